/*
 * Plays scripts against a whole network with a scripted host: every layer from the frame to the host's sockets.
 *
 * Oracles: nothing is thrown, virtual time gets on, caps hold while it runs, each frame that vanishes is counted, all that is
 * emitted is well-formed, the host is asked for nothing that it must not do (scripted-host.ts), at rest no flow is left, and after close nothing: no gauge,
 * no timer, no open socket.
 *
 * A network is dear to make, so in a series one of each world lives through SERIES_INPUTS inputs. Between two of them it comes to rest: the host closes its
 * sockets, links drain, time passes. What is cheap is checked at each step; what is not (every counter before and after every frame, frames
 * through the parsers twice) for one input of DEAR_EVERY, at the end of a network, and at every step when an input runs by itself, as it does when a failure is
 * looked at.
 *
 * Habits, a script's second byte:  bits 0-2 rest: 7 none (the next input goes on amid open flows), 6 long, else short
 *                                  bits 3-4 frames between two flushes: raw frames alone and segments by threes, 1, 8, 64
 */
import { VirtualNetwork, type NetworkOptions } from '../../shared/net/services/network.ts';
import { RelayError } from '../../shared/relay-error.ts';
import type { LinkPort } from '../../shared/net/stack/link-port.ts';
import type { Ipv4 } from '../../shared/net/wire/addr.ts';
import type { IpAddress } from '../../shared/net/wire/addr6.ts';
import { getU16, setU16 } from '../../shared/bytes.ts';
import { ip } from '../../shared/net/stack/fixture/frames.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { GuestSide, INBOUND_PORT } from './guest-side.ts';
import { ScriptedHost, type ScriptedTcp, type ScriptedUdp } from './scripted-host.ts';
import { decode, joinScripts, type Step, waitMs } from './script.ts';
import { check, type Series } from './target.ts';
import { worldOf, WORLDS, type World } from './worlds.ts';

/** inputs that a network lives through, and every how many a series looks closely */
const SERIES_INPUTS = 400;
const DEAR_EVERY = 64;
const REST_MS = 35_000;
const LONG_REST_MS = 4000 * 1000;
/** longer than all retransmissions, window probes and keepalives take together */
const SILENCE_MS = 3 * 7_200_000;
const GONE_AT_REST = ['tcpFlowsOpen', 'tcpNatFlowsOpen', 'udpFlowsOpen', 'dnsQueriesOpen', 'dnsSessionsOpen', 'pingsOpen', 'fragmentsHeld', 'arpQuestionsOpen', 'tcpBytesHeld'] as const;
const BATCHES = [0, 1, 8, 64] as const;
const ERRORS = [null, 'ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EACCES', 'EPIPE', 'EMSGSIZE'] as const;

/** `createNetwork` is for captures: default is a plain network. */
export async function playNetwork(input: Uint8Array, createNetwork?: (options: NetworkOptions) => VirtualNetwork): Promise<void> {
  const { world, habits, steps } = decode(input);
  const stage = new Stage(worldOf(world), createNetwork ?? ((options) => new VirtualNetwork(options)));
  stage.isDear = createNetwork === undefined;
  await stage.play(steps, habits);
  await stage.end();
}

/** `look` judges single frames, and is asked with the inputs that are looked at closely. */
export class NetworkSeries implements Series {
  readonly #look: (input: Uint8Array) => void;
  readonly #running = new Map<number, { stage: Stage; inputs: Uint8Array[] }>();
  #last: Uint8Array[] = [];
  #count = 0;
  frames = 0;

  constructor(look: (input: Uint8Array) => void) {
    this.#look = look;
  }

  async run(input: Uint8Array): Promise<void> {
    const { world, habits, steps } = decode(input);
    const index = world % WORLDS.length;
    let running = this.#running.get(index);
    if (running === undefined) {
      running = { stage: new Stage(WORLDS[index], (options) => new VirtualNetwork(options)), inputs: [] };
      this.#running.set(index, running);
    }
    const { stage, inputs } = running;
    inputs.push(input);
    this.#last = inputs;
    stage.isDear = this.#count++ % DEAR_EVERY === 0;
    if (stage.isDear) this.#look(input);
    if (inputs.length > 1) await stage.rest(stage.habits);
    const before = stage.frames;
    await stage.play(steps, habits);
    this.frames += stage.frames - before;
    if (inputs.length < SERIES_INPUTS) return;
    await stage.end();
    this.#running.delete(index);
  }

  async end(): Promise<void> {
    for (const { stage, inputs } of this.#running.values()) {
      this.#last = inputs;
      await stage.end();
    }
    this.#running.clear();
  }

  history(): Uint8Array {
    return joinScripts(this.#last);
  }
}

class Stage {
  /** everything is checked at every step */
  isDear = false;
  habits = 0;
  /** that guests have sent */
  frames = 0;
  readonly #world: World;
  readonly #clock = new BoundedClock();
  readonly #host: ScriptedHost;
  readonly #network: VirtualNetwork;
  readonly #guests: GuestSide[];
  readonly #ports: LinkPort[];
  readonly #caps: [string, number][];
  #second: LinkPort | null = null;
  /** frames since the last flush, and segments ever */
  #unflushed = 0;
  #segments = 0;
  #drops = 0;
  #received = 0;
  /** a rejection that nobody waited for */
  #late: unknown = null;
  /** something that was asked for comes by a promise */
  #isLate = false;

  constructor(world: World, createNetwork: (options: NetworkOptions) => VirtualNetwork) {
    this.#world = world;
    this.#host = new ScriptedHost(world);
    this.#network = createNetwork({
      clock: this.#clock, random: new Chance(7), hostNet: this.#host, config: world.config,
      log: (line) => { if (line.startsWith('drop ')) this.#drops++; },
    });
    this.#guests = world.guests.map((guest) => new GuestSide(world, guest, false));
    this.#ports = this.#guests.map((guest) => this.#network.attach(guest));
    const { maxTcpFlows, maxUdpFlows, maxLinks, maxLeases, staticLeases, mtu } = world.config;
    this.#caps = Object.entries({
      tcpFlowsOpen: maxTcpFlows, udpFlowsOpen: maxUdpFlows, linksOpen: maxLinks, fragmentsHeld: 2 * 16, batchesHeld: 16 * world.guests.length, tcpBytesHeld: maxTcpFlows * (300 * 1024 + 2 * mtu),
      pingsOpen: 32, leases: maxLeases + staticLeases.size, ipv6AddressesKnown: 256 + 2 * (maxTcpFlows + maxUdpFlows + 32), dnsQueriesOpen: 1024, dnsSessionsOpen: Math.min(256, maxTcpFlows),
    });
  }

  async play(steps: readonly Step[], habits: number): Promise<void> {
    this.habits = habits;
    for (const step of steps) {
      if (step.kind === 'rest') {
        await this.rest(this.habits);
        this.habits = step.habits;
      } else this.#play(step);
      // Forwards and pings come by promises.
      if (this.#isLate) await this.#turn();
    }
  }

  #play(step: Exclude<Step, { kind: 'rest' }>): void {
    switch (step.kind) {
      case 'frame': this.#onFrame(0, step.bytes); break;
      case 'other': this.#onFrame(this.#guests.length - 1, step.bytes); break;
      case 'segment': this.#onSegment(step); break;
      case 'wait': this.#clock.advance(waitMs(step.units)); break;
      case 'host': this.#onHost(step.which, step.what % 12, step.n); break;
      case 'link': this.#onLink(step.what % 6, Math.floor(step.what / 6) % this.#guests.length); break;
      case 'api': this.#onApi(step.what % 10, step.ip as Ipv4, step.port); break;
      case 'data': this.#onData(step.which, step.bytes, false); break;
      case 'reply': this.#onData(step.which, step.bytes, true); break;
      default: this.#onMessage(step.which, step.bytes, step.kind === 'answer');
    }
    this.#clock.advance(0);
    const gauges = this.#network.gauges();
    if (this.isDear) gauges['leases'] = this.#network.leases().length;
    // What a guest that does not read has got is his, of links that are gone as well.
    for (const { held } of this.#guests) gauges['batchesHeld'] -= held;
    for (const [name, cap] of this.#caps) if (gauges[name] > cap) throw new Error(`${name} is ${gauges[name]}, its cap ${cap}`);
  }

  /** Whatever is open ends, and time passes. */
  async rest(habits: number): Promise<void> {
    const length = habits & 7;
    if (length === 7) return;
    this.#flush();
    for (const [i, guest] of this.#guests.entries()) {
      guest.drain();
      this.#ports[i].onDrain();
    }
    this.#second?.close();
    this.#second = null;
    // DNS asks the next resolver when one fails, a dial the next address.
    for (let round = 0; round < 8 && (this.#host.tcp.length > 0 || this.#host.udp.length > 0 || this.#host.pings.length > 0); round++) {
      for (const socket of this.#host.tcp.slice()) socket.close('ECONNRESET');
      for (const socket of this.#host.udp.slice()) if ((!socket.isBound || socket.isMapping) && !socket.isClosed) socket.handlers.onError('EPIPE');
      for (const forward of this.#network.forwards()) forward.close();
      this.#pong(Infinity, null);
      await this.#turn();
      this.#clock.advance(0);
    }
    this.#clock.advance(length === 6 ? LONG_REST_MS : REST_MS);
    // A guest's half of a connection to the gateway's DNS may wait for its last acknowledgment.
    if (this.#network.gauges()['tcpFlowsOpen'] > 0) this.#clock.advance(SILENCE_MS);
    const gauges = this.#network.gauges();
    for (const name of GONE_AT_REST) if (gauges[name] !== 0) throw new Error(`at rest ${name} is ${gauges[name]}`);
    for (const [i, port] of this.#ports.entries()) {
      this.#guests[i].reset();
      if (port.closed) this.#ports[i] = this.#network.attach(this.#guests[i]);
    }
    this.#host.useResolvers(0);
    this.#host.hasV6 = this.#world.hostHasIpv6;
    if (this.isDear) this.#compareCounts();
  }

  async end(): Promise<void> {
    this.#flush();
    this.#pong(Infinity, null);
    await this.#turn();
    this.#compareCounts();
    this.#network.close();
    this.#network.close();
    for (const guest of this.#guests) guest.drain();
    this.#clock.advance(0);
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
    const left = Object.entries(this.#network.gauges()).filter(([, value]) => value !== 0);
    check(left.length === 0, () => `after close there is left: ${JSON.stringify(left)}`);
    check(this.#clock.pending === 0, () => `after close ${this.#clock.pending} timers run`);
    check(this.#host.udp.length === 0, () => 'after close a UDP socket is open');
    check(this.#host.tcp.length === 0, () => 'after close a TCP socket is open');
  }

  /** What was counted is what happened. */
  #compareCounts(): void {
    const stats = this.#network.stats();
    let drops = 0;
    for (const [name, count] of Object.entries(stats)) if (name.startsWith('drop:')) drops += count;
    check(drops === this.#drops, () => `${this.#drops} drops were noted, ${drops} counted`);
    check((stats['bugsCaught'] ?? 0) === 0, () => `${stats['bugsCaught']} exceptions were caught`);
    check(stats['framesFromGuest'] === this.#received, () => `${this.#received} frames came, ${stats['framesFromGuest']} were counted`);
    const { maxLeases, staticLeases } = this.#world.config;
    check(this.#network.leases().length <= maxLeases + staticLeases.size, () => `${this.#network.leases().length} leases`);
  }

  async #turn(): Promise<void> {
    this.#isLate = false;
    for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    if (this.#late !== null) throw this.#late;
  }

  // ---- guests ----

  #onSegment(step: Extract<Step, { kind: 'segment' }>): void {
    const which = Math.floor(step.flow / 10) % this.#guests.length;
    const frame = this.#guests[which].segment(step);
    this.#receive(which, frame);
    const batch = BATCHES[(this.habits >> 3) & 3];
    // Links deliver frames in batches of any size.
    if (batch === 0 ? ++this.#segments % 3 !== 0 : this.#unflushed >= batch) this.#flush();
  }

  #receive(which: number, frame: Uint8Array): void {
    const port = this.#ports[which];
    this.frames++;
    if (!port.closed) this.#received++;
    this.#unflushed++;
    port.receive(frame, 0, frame.length);
  }

  #flush(): void {
    this.#unflushed = 0;
    for (const port of this.#ports) port.flush();
    for (const guest of this.#guests) guest.onFlushed();
  }

  /** A frame that is no TCP segment must leave a trace: an answer, something kept or passed on, or a drop that is counted. */
  #onFrame(which: number, frame: Uint8Array): void {
    const batch = BATCHES[(this.habits >> 3) & 3];
    if (batch > 1) {
      this.#receive(which, frame);
      if (this.#unflushed >= batch) this.#flush();
      return;
    }
    this.#flush();
    this.#clock.advance(0);
    const port = this.#ports[which];
    // What is kept for a full link, and a question that others have asked, show in the counters alone.
    const isQuiet = port.closed || mayBeQuiet(frame) || (!this.isDear && (isForDns(frame) || this.#guests.some(({ isFull, held }) => isFull || held > 0)));
    const before = this.isDear ? this.#trace(frame) : '';
    const traces = this.#traces(frame);
    this.#receive(which, frame);
    this.#flush();
    this.#clock.advance(0);
    if (isQuiet) return;
    if (this.#traces(frame) === traces && (!this.isDear || this.#trace(frame) === before)) throw new Error(`a frame vanished: ${Buffer.from(frame.subarray(0, 80)).toString('hex')}`);
  }

  /** What is seen from outside. That the switch carried a frame counts for one that is not for the gateway too. */
  #traces(frame: Uint8Array): number {
    let traces = this.#drops + this.#host.activity;
    for (const guest of this.#guests) traces += guest.frames + ((frame[0] & 1) === 0 ? guest.switched : 0);
    return traces;
  }

  /** For a full link a frame waits in the network, where only counters show it. Of one for a group, that others were given it says nothing of the gateway. */
  #trace(frame: Uint8Array): string {
    const { framesFromGuest: _f, bytesFromGuest: _b, framesSwitched, framesToGuest, bytesToGuest: _c, ...stats } = this.#network.stats();
    return JSON.stringify([stats, (frame[0] & 1) === 0 ? framesSwitched + framesToGuest : 0, this.#guests.map(({ frames, held }) => [frames, held]), this.#network.leases()]);
  }

  // ---- the host ----

  #tcpSocket(which: number): ScriptedTcp | undefined {
    const { tcp } = this.#host;
    return tcp[tcp.length - 1 - which % 4];
  }

  #udpSocket(which: number): ScriptedUdp | undefined {
    const { udp } = this.#host;
    return udp[udp.length - 1 - which % 4];
  }

  #onHost(which: number, what: number, n: number): void {
    if (what === 6) return this.#accept(n);
    if (what === 7) return this.#udpSocket(which)?.handlers.onError(ERRORS[1 + n % (ERRORS.length - 1)]!);
    if (what === 8) return this.#forward(n % 2 === 0 ? 'tcp' : 'udp', n, INBOUND_PORT);
    if (what === 9) return this.#host.useResolvers(n);
    if (what === 10) return this.#pong(1 + n % 4, n % 3 === 0 ? null : n);
    const socket = this.#tcpSocket(which);
    if (socket === undefined) return;
    if (what === 0 && !socket.isOpen) {
      socket.isOpen = true;
      socket.handlers.onConnect?.();
    } else if (what === 1 && socket.isOpen && !socket.hasEnded && !socket.isPaused) {
      for (let left = n % 20_000; left > 0 && !socket.isPaused && !socket.isClosed; left -= 8192) socket.handlers.onData(new Uint8Array(Math.min(left, 8192)));
    } else if (what === 2 && socket.isOpen && !socket.hasEnded) {
      socket.hasEnded = true;
      socket.handlers.onEnd();
    } else if (what === 3) {
      socket.close(socket.isOpen ? ERRORS[n % ERRORS.length] : ERRORS[1 + n % (ERRORS.length - 1)]);
    } else if (what === 4) {
      socket.isStalled = !socket.isStalled;
    } else if (what === 5 && socket.pendingBytes > 0) {
      socket.take(n);
    } else if (what === 11) this.#host.hasV6 = n % 2 === 0;
  }

  /** The oldest pings are over. */
  #pong(count: number, rttMs: number | null): void {
    for (const resolve of this.#host.pings.splice(0, count)) resolve(rttMs);
    this.#isLate = true;
  }

  /** A connection to a forwarded port, or one that the relay hands over. */
  #accept(n: number, guestIp?: Ipv4, guestPort = INBOUND_PORT): void {
    const [listener] = this.#host.listeners;
    const socket = this.#host.accepted();
    if (n % 2 === 1 && listener !== undefined) return listener(socket);
    try {
      this.#network.forwardTcp(socket, guestPort, ...(guestIp === undefined ? [] : [guestIp]));
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      socket.close(null);
    }
  }

  #forward(protocol: 'tcp' | 'udp', hostPort: number, guestPort: number, guestIp?: Ipv4): void {
    this.#isLate = true;
    this.#network.addForward({ protocol, hostIp: ip('127.0.0.1'), hostPort, guestPort, ...(guestIp === undefined ? {} : { guestIp }) }).catch((error: unknown) => {
      if (!(error instanceof RelayError)) this.#late = error;
    });
  }

  /** Also a resolver's answer by TCP: behind its length, with the id and the question of what was asked. */
  #onData(which: number, bytes: Uint8Array, isReply: boolean): void {
    const socket = this.#tcpSocket(which);
    if (socket === undefined || !socket.isOpen || socket.hasEnded || socket.isPaused) return;
    if (!isReply || socket.lastWritten.length < 14) return void (bytes.length > 0 && socket.handlers.onData(bytes.slice()));
    const answer = answerTo(socket.lastWritten.subarray(2), bytes);
    const message = new Uint8Array(2 + answer.length);
    setU16(message, 0, answer.length);
    message.set(answer, 2);
    socket.handlers.onData(message);
  }

  #onMessage(which: number, bytes: Uint8Array, isAnswer: boolean): void {
    const socket = this.#udpSocket(which);
    if (socket === undefined) return;
    const query = socket.lastSent;
    if (isAnswer && query !== null && query.length >= 12) return socket.handlers.onMessage(answerTo(query, bytes), ip('10.0.0.53'), 53);
    // Everyone may send to a forwarded port: here the first bytes say who does.
    const isAnyone = socket.isBound && bytes.length >= 6;
    socket.handlers.onMessage(bytes.slice(), isAnyone ? (getU16(bytes, 0) * 0x10000 + getU16(bytes, 2)) as Ipv4 : ip('10.0.0.53'), isAnyone ? getU16(bytes, 4) : 53);
  }

  // ---- links, and whoever runs the network ----

  #onLink(what: number, which: number): void {
    const guest = this.#guests[which];
    if (what === 0) guest.isFull = true;
    else if (what === 1 || what === 2) {
      guest.drain();
      this.#ports[which].onDrain();
      // It may have two links.
      this.#second?.onDrain();
    } else if (what === 3) this.#ports[which].close();
    else if (what === 4 && this.#second === null && this.#network.gauges()['linksOpen'] < this.#world.config.maxLinks) this.#second = this.#network.attach(guest);
    else if (what === 5) {
      this.#second?.close();
      this.#second = null;
    }
    if (this.#ports[which].closed && what !== 3 && this.#network.gauges()['linksOpen'] < this.#world.config.maxLinks) this.#ports[which] = this.#network.attach(guest);
  }

  #onApi(what: number, address: Ipv4, port: number): void {
    if (what === 0) return this.#forward('tcp', port, port || 1, address);
    if (what === 1) return this.#forward('udp', port, port || 1, address);
    if (what === 2) return this.#accept(0, address, port || 1);
    if (what === 3) return this.#addZone(address, port);
    if (what === 4) return this.#network.forwards()[0]?.close();
    for (const flow of this.#network.flows()) {
      check([flow.guestIp, flow.remoteIp].every(isAddress) && Number.isInteger(flow.ageMs) && flow.idleMs >= 0, () => `a flow is shown as ${JSON.stringify(flow)}`);
    }
    for (const lease of this.#network.leases()) check(isAddress(lease.ip), () => `a lease of ${lease.ip}`);
    JSON.stringify([this.#network.stations(), this.#network.zones().length, this.#network.dnsLog(), this.#network.stats(), this.#network.forwards().length]);
  }

  #addZone(address: Ipv4, port: number): void {
    try {
      this.#network.addZone({ name: ['example', 'org', 'x.test', ''][port % 4], records: [{ name: 'a', regexp: null, ip: address }], defaultIp: port % 8 < 4 ? null : address });
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
    }
  }
}

/** A DNS message with the id and the question of `query`, and of `bytes` flags, counts, records. */
function answerTo(query: Uint8Array, bytes: Uint8Array): Uint8Array {
  const answer = new Uint8Array(Math.max(query.length + bytes.length - 10, query.length));
  answer.set(query);
  answer.set(bytes.subarray(0, 10), 2);
  if (bytes.length > 10) answer.set(bytes.subarray(10), query.length);
  return answer;
}

/** An address as outsiders see it: no handle (240.0.0.0/8, stack/ipv6-table.ts). */
function isAddress(address: IpAddress): boolean {
  return typeof address === 'number' ? Number.isInteger(address) && address >>> 24 !== 0xf0 : Array.isArray(address) && address.length === 4;
}

function isForDns(frame: Uint8Array): boolean {
  return frame.length >= 38 && frame[23] === 17 && getU16(frame, 14 + 4 * (frame[14] & 15) + 2) === 53;
}

/** What is taken in without a trace that we see: ARP and IPv6's neighbours are learned from, a fragment joins others, DHCP knows messages without an answer. */
function mayBeQuiet(frame: Uint8Array): boolean {
  const type = frame.length < 14 ? 0 : getU16(frame, 12);
  if (type !== 0x0800 || frame.length < 34) return type === 0x0806 || type === 0x86dd;
  const isFragment = (getU16(frame, 20) & 0x3fff) !== 0;
  const isDhcp = frame[23] === 17 && frame.length >= 38 && getU16(frame, 14 + 4 * (frame[14] & 15) + 2) === 67;
  return isFragment || isDhcp || frame[23] === 6;
}
