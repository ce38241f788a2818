/*
 * Plays a script against a whole network with a scripted host: every layer from the frame to the host's sockets.
 *
 * Oracles: nothing is thrown, virtual time gets on, caps hold while it runs, each frame that vanishes is counted, all that is
 * emitted is well-formed, and after close nothing is left: no gauge, no timer, no open socket.
 */
import { FakeHostNet, type FakeTcp } from '../../shared/net/services/fake-host-net.ts';
import { VirtualNetwork, type NetworkOptions } from '../../shared/net/services/network.ts';
import type { NetworkConfig } from '../../shared/net/services/network-config.ts';
import type { LinkPort } from '../../shared/net/stack/link-port.ts';
import { getU16 } from '../../shared/bytes.ts';
import { ip } from '../../shared/net/stack/fixture/frames.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { GuestSide, INBOUND_PORT } from './guest-side.ts';
import { decode, type Step, waitMs } from './script.ts';
import { check } from './target.ts';

const CONFIG = { mtu: 1500, maxTcpFlows: 12, maxUdpFlows: 8, maxLinks: 3, maxLeases: 4, tcpWindowMax: 256 * 1024, tcpMemoryBudget: 64 * 1024 } satisfies Partial<NetworkConfig>;
// One lease more: the guest's address is static, and needs no room.
const CAPS: Record<string, number> = { tcpFlowsOpen: 12, udpFlowsOpen: 8, linksOpen: 3, fragmentsHeld: 2 * 16, batchesHeld: 16, tcpBytesHeld: 12 * 300 * 1024, pingsOpen: 32, leases: 5, ipv6AddressesKnown: 256 + 2 * (12 + 8 + 32) };
const ERRORS = [null, 'ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EACCES', 'EPIPE', 'EMSGSIZE'] as const;

/** What the host has said on a socket: the fake one is told no more than a real one would. */
interface Said {
  isOpen: boolean;
  hasEnded: boolean;
  isClosed: boolean;
}

/** `createNetwork` is for captures: default is a plain network. */
export async function playNetwork(input: Uint8Array, createNetwork?: (options: NetworkOptions) => VirtualNetwork): Promise<void> {
  const stage = new Stage(createNetwork ?? ((options) => new VirtualNetwork(options)));
  for (const step of decode(input)) {
    stage.play(step);
    // Forwards and pings come by promises.
    await Promise.resolve();
  }
  await stage.end();
}

class Stage {
  readonly #clock = new BoundedClock();
  readonly #hostNet = new FakeHostNet();
  readonly #network: VirtualNetwork;
  readonly #guest = new GuestSide(CONFIG.mtu, false);
  readonly #said = new Map<FakeTcp, Said>();
  #port: LinkPort;
  #second: LinkPort | null = null;
  #batched = 0;

  constructor(createNetwork: (options: NetworkOptions) => VirtualNetwork) {
    this.#network = createNetwork({ clock: this.#clock, random: new Chance(7), hostNet: this.#hostNet, config: CONFIG });
    this.#port = this.#network.attach(this.#guest);
  }

  play(step: Step): void {
    switch (step.kind) {
      case 'frame': this.#onFrame(step.bytes); break;
      case 'segment': this.#receive(this.#guest.segment(step)); break;
      case 'wait': this.#clock.advance(waitMs(step.units)); break;
      case 'host': this.#onHost(step.which, step.what % 10, step.n); break;
      case 'link': this.#onLink(step.what % 6); break;
      default: this.#onMessage(step.which, step.bytes, step.kind === 'answer');
    }
    this.#clock.advance(0);
    const stats = this.#network.stats();
    stats['leases'] = this.#network.leases().length;
    for (const [name, cap] of Object.entries(CAPS)) check(stats[name] <= cap, () => `${name} is ${stats[name]}, its cap ${cap}`);
  }

  async end(): Promise<void> {
    this.#flush();
    this.#network.close();
    this.#network.close();
    this.#guest.drain();
    this.#clock.advance(0);
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
    const left = Object.entries(this.#network.stats()).filter(([name, value]) => /(Open|Held)$/.test(name) && value !== 0);
    check(left.length === 0, () => `after close there is left: ${JSON.stringify(left)}`);
    check(this.#clock.pending === 0, () => `after close ${this.#clock.pending} timers run`);
    check([...this.#hostNet.udp, ...this.#hostNet.mappings].every((socket) => socket.isClosed), () => 'after close a UDP socket is open');
    check(this.#hostNet.tcp.every((socket) => socket.isReset || this.#saidOf(socket).isClosed), () => 'after close a TCP socket is open');
  }

  #receive(frame: Uint8Array): void {
    this.#port.receive(frame, 0, frame.length);
    // Links deliver frames in batches of any size.
    if (++this.#batched % 3 !== 0) this.#flush();
  }

  #flush(): void {
    this.#port.flush();
  }

  /** A frame that is no TCP segment must leave a trace: an answer, something kept or passed on, or a drop that is counted. */
  #onFrame(frame: Uint8Array): void {
    this.#flush();
    this.#clock.advance(0);
    const before = this.#trace();
    const received = this.#network.stats()['framesFromGuest'];
    const wasClosed = this.#port.closed;
    this.#port.receive(frame, 0, frame.length);
    this.#flush();
    this.#clock.advance(0);
    check(wasClosed || this.#network.stats()['framesFromGuest'] === received + 1, () => 'a frame was not counted');
    check(mayBeQuiet(frame) || this.#trace() !== before, () => `a frame vanished: ${Buffer.from(frame.subarray(0, 80)).toString('hex')}`);
  }

  #trace(): string {
    const { framesFromGuest: _f, bytesFromGuest: _b, ...stats } = this.#network.stats();
    return JSON.stringify([stats, this.#guest.frames, this.#guest.held, this.#network.leases(), [...this.#hostNet.udp, ...this.#hostNet.mappings].map((socket) => socket.sent.length)]);
  }

  #saidOf(socket: FakeTcp): Said {
    let said = this.#said.get(socket);
    if (said === undefined) this.#said.set(socket, said = { isOpen: false, hasEnded: false, isClosed: false });
    return said;
  }

  #onHost(which: number, what: number, n: number): void {
    const { tcp, udp } = this.#hostNet;
    if (what === 6) return this.#accept();
    if (what === 7) return void udp.filter((socket) => !socket.isClosed).at(-1 - which % 4)?.handlers.onError(ERRORS[1 + n % (ERRORS.length - 1)]!);
    if (what === 8) return void this.#network.addForward({ protocol: n % 2 === 0 ? 'tcp' : 'udp', hostIp: ip('127.0.0.1'), hostPort: n, guestPort: INBOUND_PORT });
    if (what === 9) return this.#hostNet.resolverList = n % 3 === 0 ? [] : [{ ip: ip('10.0.0.53'), port: 53 }, { ip: ip('10.0.0.54'), port: 53 }].slice(n % 2), undefined;
    const socket = tcp.filter((candidate) => !candidate.isReset && !this.#saidOf(candidate).isClosed).at(-1 - which % 4);
    if (socket === undefined) return;
    const said = this.#saidOf(socket);
    if (what === 0 && !said.isOpen) {
      said.isOpen = true;
      socket.handlers.onConnect?.();
    } else if (what === 1 && said.isOpen && !said.hasEnded && !socket.isPaused) {
      for (let left = n % 20_000; left > 0 && !socket.isPaused && !socket.isReset; left -= 8192) socket.handlers.onData(new Uint8Array(Math.min(left, 8192)));
    } else if (what === 2 && said.isOpen && !said.hasEnded) {
      said.hasEnded = true;
      socket.handlers.onEnd();
    } else if (what === 3) {
      const error = said.isOpen ? ERRORS[n % ERRORS.length] : ERRORS[1 + n % (ERRORS.length - 1)];
      said.isClosed = true;
      // A closed socket takes a reset in silence.
      socket.isReset = true;
      socket.handlers.onClose(error);
    } else if (what === 4) {
      socket.isStalled = !socket.isStalled;
    } else if (what === 5 && socket.pendingBytes > 0) {
      socket.pendingBytes = Math.max(0, socket.pendingBytes - n);
      socket.handlers.onTaken();
    }
  }

  /** A connection to a forwarded port, or one that the relay hands over. */
  #accept(): void {
    const handlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };
    const socket = this.#hostNet.connectTcp(ip('127.0.0.1'), 1, handlers) as FakeTcp;
    this.#saidOf(socket).isOpen = true;
    this.#network.forwardTcp(socket, INBOUND_PORT);
  }

  #onLink(what: number): void {
    if (what === 0) this.#guest.isFull = true;
    else if (what === 1 || what === 2) {
      this.#guest.drain();
      this.#port.onDrain();
    } else if (what === 3) this.#port.close();
    else if (what === 4 && this.#second === null) this.#second = this.#network.attach(this.#guest);
    else if (what === 5) {
      this.#second?.close();
      this.#second = null;
    }
    if (this.#port.closed && what !== 3) this.#port = this.#network.attach(this.#guest);
  }

  #onMessage(which: number, bytes: Uint8Array, isAnswer: boolean): void {
    const { udp, mappings } = this.#hostNet;
    const socket = (which % 3 === 2 ? mappings : udp).filter((candidate) => !candidate.isClosed).at(-1 - which % 4);
    if (socket === undefined) return;
    const query = socket.sent.at(-1);
    if (!isAnswer || query === undefined) return socket.handlers.onMessage(Uint8Array.from(bytes), ip('10.0.0.53'), 53);
    const head = new Uint8Array(10);
    head.set(bytes.subarray(0, 10));
    socket.handlers.onMessage(Uint8Array.from([...query.subarray(0, 2), ...head, ...query.subarray(12), ...bytes.subarray(10)]), ip('10.0.0.53'), 53);
  }
}

/** What is taken in without a trace that we see: ARP and IPv6's neighbours are learned from, a fragment joins others, DHCP knows messages without an answer. */
function mayBeQuiet(frame: Uint8Array): boolean {
  const type = frame.length < 14 ? 0 : getU16(frame, 12);
  if (type !== 0x0800 || frame.length < 34) return type === 0x0806 || type === 0x86dd;
  const isFragment = (getU16(frame, 20) & 0x3fff) !== 0;
  const isDhcp = frame[23] === 17 && frame.length >= 38 && getU16(frame, 14 + 4 * (frame[14] & 15) + 2) === 67;
  return isFragment || isDhcp || frame[23] === 6;
}
