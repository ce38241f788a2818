/*
 * WebSockets of guests at the relay, from their first message on: the tunnel, c2w's stream and v86's frames, with sessions behind them.
 *
 * A script is a list of steps, all of one shape:  what u8, which u8, len u16, bytes.  `which` names one of the sockets or sessions that there are.
 *
 *   0 open     another socket: `which` modulo 3 is its kind
 *   1 text     a text message
 *   2 binary   a binary message
 *   3 frame    a binary message: the bytes behind their length, or for v86 as they are
 *   4 hello    for a session: bytes[0] says with which token, the next two which MTU (none: no wish)
 *   5 break    the socket is gone
 *   6 event    a ping, a pong, an error, whatever bytes[0] says
 *   7 stall    what is sent stays queued, or leaves
 *   8 wait     so many 100 ms
 *   9 session  another session
 *
 * Oracles: nothing is thrown or logged as our bug; a tunnel's first message is a hello, and the network hears nobody before one is claimed; close codes and reasons are of
 * those that there are, once per socket, and nothing is sent behind; v86's messages are frames, all others whole frames behind their lengths; caps on sessions hold;
 * with the last session all is gone.
 */
import type { WebSocket } from 'ws';
import { DEFAULT_LIMITS, shareDescriptors, type Limits } from '../../relay/config.ts';
import { Descriptors } from '../../relay/descriptors.ts';
import { Link, type LinkKind } from '../../relay/link.ts';
import { Log } from '../../relay/log.ts';
import { Sessions } from '../../relay/sessions.ts';
import { shareNetwork } from '../../relay/shared-network.ts';
import { RelayError } from '../../shared/relay-error.ts';
import type { SessionNetwork } from '../../relay/session.ts';
import { getU16, getU32, setU16, setU32 } from '../../shared/bytes.ts';
import { parseRelayMessage } from '../../shared/link/tunnel.ts';
import { VirtualNetwork, type NetworkOptions } from '../../shared/net/services/network.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { mutateBytes } from './mutate.ts';
import { mutateFrame } from './mutate-frame.ts';
import { ScriptedHost } from './scripted-host.ts';
import { check, type FuzzTarget, type Pieces, type Series } from './target.ts';
import { WORLDS } from './worlds.ts';

interface Step {
  what: number;
  which: number;
  bytes: Uint8Array;
}

const KINDS: readonly LinkKind[] = ['tunnel', 'stream', 'frames'];
const [OPEN, TEXT, BINARY, FRAME, HELLO, BREAK, EVENT, STALL, WAIT, SESSION] = Array.from({ length: 10 }, (_, i) => i);
const WHATS = 10;
const STEPS_MAX = 60;
const SOCKETS_MAX = 8;
const LIMITS: Limits = { ...DEFAULT_LIMITS, maxSessions: 5, maxSessionsPerAddress: 4 };
const CLOSE_CODES = [1000, 1011, 4400, 4401, 4408, 4409, 4429];
const NO_TOKEN = 'x'.repeat(32);

function encode(steps: readonly Step[]): Uint8Array {
  const out = new Uint8Array(steps.reduce((sum, { bytes }) => sum + 4 + bytes.length, 0));
  let at = 0;
  for (const { what, which, bytes } of steps) {
    out[at] = what;
    out[at + 1] = which;
    setU16(out, at + 2, bytes.length);
    out.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  return out;
}

function decode(input: Uint8Array): Step[] {
  const steps: Step[] = [];
  for (let at = 0; at + 4 <= input.length && steps.length < STEPS_MAX;) {
    const len = Math.min(getU16(input, at + 2), input.length - at - 4);
    steps.push({ what: input[at] % WHATS, which: input[at + 1], bytes: input.subarray(at + 4, at + 4 + len) });
    at += 4 + len;
  }
  return steps;
}

/** What a Link uses of ws's WebSocket. */
class FakeSocket {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  isStalled = false;
  readonly kind: LinkKind;
  #messages = 0;
  #isClosing = false;
  readonly #listeners = new Map<string, (...args: unknown[]) => void>();
  readonly #unsent: { len: number; done: (() => void) | undefined }[] = [];

  constructor(kind: LinkKind) {
    this.kind = kind;
  }

  get isGone(): boolean { return this.readyState === 3; }

  on(event: string, fn: (...args: never[]) => void): void {
    this.#listeners.set(event, fn as (...args: unknown[]) => void);
  }

  tell(event: string, ...args: unknown[]): void {
    this.#listeners.get(event)?.(...args);
  }

  send(data: string | Uint8Array, _options?: object, done?: () => void): void {
    check(!this.#isClosing && !this.isGone, () => 'something is sent behind the close');
    if (typeof data === 'string') {
      check(this.kind === 'tunnel', () => 'text to a client without the tunnel');
      check(typeof parseRelayMessage(data) !== 'string', () => `the relay says ${data}`);
    } else {
      check(this.kind !== 'tunnel' || this.#messages > 0, () => 'frames before the hello');
      if (this.kind === 'frames') check(data.length >= 14, () => `a frame of ${data.length} bytes`);
      else checkStream(data);
    }
    this.#messages++;
    this.bufferedAmount += data.length;
    this.#unsent.push({ len: data.length, done });
    if (!this.isStalled) this.drain();
  }

  drain(): void {
    for (let sent = this.#unsent.shift(); sent !== undefined; sent = this.#unsent.shift()) {
      this.bufferedAmount -= sent.len;
      sent.done?.();
    }
  }

  close(code: number, reason: string): void {
    check(!this.#isClosing, () => 'closed twice');
    check(CLOSE_CODES.includes(code) && Buffer.byteLength(reason) <= 123, () => `closed with ${code} ${reason}`);
    this.#isClosing = true;
    if (!this.isGone) this.readyState = 2;
  }

  ping(): void {}
  terminate(): void { this.vanish(); }

  /** It is gone, whoever wanted that: ws fails what it has not sent. */
  vanish(): void {
    if (this.isGone) return;
    this.readyState = 3;
    this.drain();
    this.tell('close');
  }
}

function checkStream(data: Uint8Array): void {
  for (let at = 0; at < data.length;) {
    const len = data.length - at >= 4 ? getU32(data, at) : -1;
    check(len >= 14 && at + 4 + len <= data.length, () => `a message with a frame of ${len} bytes`);
    at += 4 + len;
  }
}

class Stage {
  #bug: string | null = null;
  readonly #clock = new BoundedClock();
  readonly #log = new Log((line) => { if (line.includes('bug: ')) this.#bug ??= line; });
  readonly #sessions: Sessions;
  readonly #known: { id: string; token: string }[] = [];
  readonly #sockets: FakeSocket[] = [];
  readonly #links = new Set<Link>();

  constructor(createNetwork: (options: NetworkOptions) => SessionNetwork) {
    this.#sessions = new Sessions({
      limits: LIMITS, log: this.#log, clock: this.#clock, random: new Chance(5), createNetwork, hostNetFor: () => new ScriptedHost(WORLDS[0]),
      adopt: () => { throw new Error('nobody hijacks a connection here'); }, udpForwards: () => [], descriptors: new Descriptors(shareDescriptors(1024)!),
    });
    this.#addSession();
  }

  play(steps: readonly Step[]): void {
    for (const { what, which, bytes } of steps) {
      const socket = this.#sockets.length === 0 ? this.#open('tunnel') : this.#sockets[which % this.#sockets.length];
      switch (what) {
        case OPEN: this.#open(KINDS[which % KINDS.length]); break;
        case TEXT: case BINARY: if (socket !== null && !socket.isGone) socket.tell('message', Buffer.from(bytes), what === BINARY); break;
        case FRAME: if (socket !== null && !socket.isGone) socket.tell('message', Buffer.from(socket.kind === 'frames' ? bytes : framed(bytes)), true); break;
        case HELLO: if (socket !== null && !socket.isGone) socket.tell('message', Buffer.from(this.#hello(which, bytes)), false); break;
        case BREAK: socket?.vanish(); break;
        case EVENT: if (socket !== null && !socket.isGone) socket.tell(['ping', 'pong', 'error'][(bytes[0] ?? 0) % 3], new Error('Invalid WebSocket frame')); break;
        case STALL: if (socket !== null) this.#stall(socket); break;
        case WAIT: this.#clock.advance(100 * which); break;
        default: this.#addSession();
      }
      this.#clock.advance(0);
      if (this.#bug !== null) throw new Error(this.#bug);
      check(this.#sessions.size <= LIMITS.maxSessions, () => `${this.#sessions.size} sessions`);
    }
  }

  end(): void {
    for (const socket of this.#sockets) socket.vanish();
    this.#sessions.close('the relay stops', 1000);
    this.#clock.advance(0);
    if (this.#bug !== null) throw new Error(this.#bug);
    check(this.#links.size === 0, () => `${this.#links.size} links are left`);
    check(this.#sessions.size === 0, () => `${this.#sessions.size} sessions are left`);
    check(this.#sockets.every(({ bufferedAmount }) => bufferedAmount === 0), () => 'something was never sent');
  }

  /** Null at the caps. */
  #open(kind: LinkKind): FakeSocket | null {
    if (this.#sockets.length >= SOCKETS_MAX) return null;
    const refusal = this.#sessions.refusal('192.0.2.1');
    // server.ts refuses these before the upgrade.
    if (kind !== 'tunnel' && refusal !== null) return null;
    const socket = new FakeSocket(kind);
    const bare = kind === 'tunnel' ? null : this.#sessions.createBare('192.0.2.1');
    this.#sockets.push(socket);
    this.#links.add(new Link({
      limits: LIMITS, log: this.#log, forwards: () => [{ host: '127.0.0.1:80', guest: 80 }], claim: (id, token) => this.#sessions.claim(id, token), onClosed: (link) => this.#links.delete(link),
    }, socket as unknown as WebSocket, '192.0.2.1', kind, bare));
    return socket;
  }

  #addSession(): void {
    try {
      const { session, token } = this.#sessions.create('192.0.2.1');
      this.#known.push({ id: session.id, token });
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
    }
  }

  #hello(which: number, bytes: Uint8Array): string {
    const session = this.#known[which % this.#known.length];
    const other = this.#known[(which + 1) % this.#known.length];
    const token = [session.token, session.token, other.token, NO_TOKEN][(bytes[0] ?? 0) % 4];
    return JSON.stringify({ type: 'hello', version: 1, session: session.id, token, ...(bytes.length < 3 ? {} : { mtu: getU16(bytes, 1) }) });
  }

  #stall(socket: FakeSocket): void {
    socket.isStalled = !socket.isStalled;
    if (!socket.isStalled) socket.drain();
  }
}

function framed(frame: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + frame.length);
  setU32(out, 0, frame.length);
  out.set(frame, 4);
  return out;
}

/** Sessions of a series share the networks of their MTU, as c2w-net's do: making one for each hello would be most of the work. */
class LinkSeries implements Series {
  readonly frames = 0;
  readonly #shares = new Map<number, () => SessionNetwork>();
  #last = new Uint8Array(0);

  run(input: Uint8Array): void {
    this.#last = Uint8Array.from(input);
    const stage = new Stage((options) => this.#networkFor(options));
    stage.play(decode(input));
    stage.end();
  }

  end(): void {}

  history(): Uint8Array {
    return this.#last;
  }

  #networkFor(options: NetworkOptions): SessionNetwork {
    const mtu = options.config?.mtu ?? 0;
    let share = this.#shares.get(mtu);
    if (share === undefined) {
      if (this.#shares.size > 200) this.#shares.clear();
      // A clock of its own: it outlives the session's.
      share = shareNetwork(new VirtualNetwork({ ...options, clock: new BoundedClock(), random: new Chance(6) }));
      this.#shares.set(mtu, share);
    }
    return share();
  }
}

function run(input: Uint8Array): void {
  const networks: VirtualNetwork[] = [];
  const stage = new Stage((options) => {
    const network = new VirtualNetwork(options);
    networks.push(network);
    return network;
  });
  stage.play(decode(input));
  stage.end();
  for (const network of networks) {
    const { linksOpen, batchesHeld, timersOpen } = network.gauges();
    check(linksOpen + batchesHeld + timersOpen === 0, () => `a session's network is left with ${linksOpen} links, ${batchesHeld} batches, ${timersOpen} timers`);
  }
}

// ---- seeds and mutations ----

const NOTHING = new Uint8Array(0);
const step = (what: number, which = 0, bytes: Uint8Array = NOTHING): Step => ({ what, which, bytes });
const text = (value: unknown): Step => step(TEXT, 0, new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)));

function seeds(): Record<string, Uint8Array> {
  // An ARP question for the gateway.
  const arp = Uint8Array.of(255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 168, 127, 3, 0, 0, 0, 0, 0, 0, 192, 168, 127, 1);
  const hello = step(HELLO, 0, Uint8Array.of(0));
  const large = JSON.stringify({ type: 'hello', version: 1, session: 'abcdefgh_-12', token: 'abcdefgh_-123456', more: Array.from({ length: 3000 }, (_, i) => [i]) });
  return {
    'hello-and-frames': encode([hello, step(FRAME, 0, arp), step(FRAME, 0, arp), text({ type: 'bye' })]),
    'resumed': encode([hello, step(FRAME, 0, arp), step(BINARY, 0, framed(arp).subarray(0, 20)), step(BREAK), step(OPEN), step(HELLO, 1, Uint8Array.of(0)), step(FRAME, 1, arp)]),
    'replaced': encode([hello, step(OPEN, 0), step(HELLO, 1, Uint8Array.of(0)), step(FRAME, 0, arp), step(FRAME, 1, arp), step(BREAK, 0)]),
    'wrong-tokens': encode([1, 2, 3].flatMap((how) => [step(OPEN, 0), step(SESSION), step(HELLO, how, Uint8Array.of(how))])),
    'versions': encode([0, 2, '1', null, 1e99].flatMap((version, i) => [step(OPEN, 0), { ...text({ type: 'hello', version, session: 'abcdefgh_-12', token: 'abcdefgh_-123456' }), which: i }])),
    'binary-first': encode([step(OPEN, 0), step(FRAME, 0, arp), step(HELLO), step(FRAME, 0, arp)]),
    'large-and-odd': encode([text(large), step(OPEN, 0), { ...text('['.repeat(9000)), which: 1 }, step(OPEN, 0), { ...text({ type: 'later' }), which: 2 }, { ...text('{"__proto__":{"type":"bye"}}'), which: 2 }]),
    'two-hellos': encode([hello, hello, step(FRAME, 0, arp)]),
    'mtus': encode([576, 1280, 65_520, 575, 65_521].flatMap((mtu, i) => [step(OPEN, 0), step(SESSION), step(HELLO, i, Uint8Array.of(0, mtu >> 8, mtu & 255)), step(FRAME, i, arp)])),
    'v86': encode([step(OPEN, 2), step(FRAME, 0, arp), step(BINARY, 0, NOTHING), step(BINARY, 0, new Uint8Array(1519))]),
    'c2w': encode([step(OPEN, 1), step(BINARY, 0, framed(arp).subarray(0, 3)), step(BINARY, 0, framed(arp).subarray(3)), text('hello'), step(FRAME, 0, arp)]),
    'stalled': encode([hello, step(STALL), ...Array.from({ length: 20 }, () => step(FRAME, 0, arp)), step(STALL), step(EVENT, 0, Uint8Array.of(2)), step(WAIT, 250), step(FRAME, 0, arp), step(BREAK), step(WAIT, 255), step(WAIT, 255)]),
  };
}

const VALUES = ['', 'hello', 'bye', 'forwards', 1, 0, 2, -1, 1500, 576, 65_520, 65_521, 1.5, 1e308, null, true, [], {}, 'abcdefgh_-12', 'abcdefgh_-123456', 'x'.repeat(200), '\u0000', '\ud800', { toString: 1 }] as const;
const NAMES = ['type', 'version', 'session', 'token', 'mtu', 'forwards', '__proto__', 'constructor', 'length'] as const;

function mutate(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  if (chance.oneIn(20)) return mutateBytes(input, other, chance);
  const steps = decode(input);
  for (let count = 1 + chance.below(3); count > 0; count--) {
    const at = chance.below(steps.length + 1);
    const what = chance.below(8);
    if (what === 0) steps.splice(at, 1);
    else if (what === 1) steps.splice(at, 0, step(chance.below(WHATS), chance.below(6), chance.oneIn(2) ? chance.bytes(3) : NOTHING));
    else if (what === 2) steps.splice(at, 0, ...decode(other).slice(0, 1 + chance.below(5)));
    else if (what === 3 && at < steps.length) steps.splice(chance.below(steps.length), 0, steps[at]);
    else if (at < steps.length) steps[at] = mutateStep(steps[at], chance);
  }
  return encode(steps.slice(0, STEPS_MAX));
}

function mutateStep(one: Step, chance: Chance): Step {
  if (chance.oneIn(4)) return { ...one, which: chance.below(chance.oneIn(4) ? 256 : 6) };
  if (one.what === TEXT && !chance.oneIn(4)) return { ...one, bytes: mutateJson(one.bytes, chance) };
  if (one.what === FRAME) return { ...one, bytes: mutateFrame(one.bytes, WORLDS[0], 0, chance) };
  if (one.what === HELLO) return { ...one, bytes: Uint8Array.of(chance.below(4), ...(chance.oneIn(2) ? [] : [chance.edge(1), chance.edge(1)])) };
  return { ...one, bytes: mutateBytes(one.bytes, one.bytes, chance).slice(0, 4000) };
}

function mutateJson(bytes: Uint8Array, chance: Chance): Uint8Array {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    value = { type: 'hello', version: 1, session: 'abcdefgh_-12', token: 'abcdefgh_-123456' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) value = {};
  const changed = { ...(value as object), [chance.pick(NAMES)]: chance.pick(VALUES) };
  return new TextEncoder().encode(chance.oneIn(8) ? JSON.stringify([changed]) : JSON.stringify(changed)).subarray(0, 60_000);
}

function pieces(input: Uint8Array): Pieces {
  const steps = decode(input);
  return { count: steps.length, without: (from, to) => encode(steps.toSpliced(from, to - from)) };
}

export const LINK_TARGET: FuzzTarget = { name: 'websocket', seeds, mutate, run, pieces, startSeries: () => new LinkSeries() };
