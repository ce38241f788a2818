/*
 * An exception of ours at every entry of a network, one at a time: a guest loses a frame or a flow, another one's download ends well, and
 * nothing is left when both are done. Faults are patched into one method, for the first guest only, or thrown by the clock, the host or a link.
 */
import { afterEach, expect, test, vi } from 'vitest';
import { TcpFlow } from '../nat/tcp-flow.ts';
import { TcpNat } from '../nat/tcp-nat.ts';
import { UdpNat } from '../nat/udp-flow.ts';
import type { Clock, ClockTimer } from '../stack/clock.ts';
import { BugFilter } from '../stack/containment.ts';
import { Icmp } from '../stack/icmp.ts';
import type { FrameBatch, LinkPort } from '../stack/link-port.ts';
import { Neighbors } from '../stack/neighbors.ts';
import { Reassembler } from '../stack/reassembly.ts';
import { Stack } from '../stack/stack.ts';
import { Switch } from '../stack/switch.ts';
import type { CloseReason, TcpConnection, TcpHandler } from '../stack/tcp/connection.ts';
import { TcpConnection as Connection } from '../stack/tcp/connection.ts';
import { SegmentWriter } from '../stack/tcp/segment-writer.ts';
import { Udp } from '../stack/udp.ts';
import { ethernet, framesOf, GATEWAY_IP, GATEWAY_MAC, ip, ipv4, STACK_CONFIG, udp } from '../stack/fixture/frames.ts';
import { SeededRandom, VirtualClock } from '../stack/fixture/virtual-clock.ts';
import type { Mac, UnicastIpv4 } from '../wire/addr.ts';
import { IPV4_ANY, MAC_BROADCAST, parseMac } from '../wire/addr.ts';
import { DHCP_LEN_MAX, emitDhcp } from '../wire/dhcp.ts';
import { DhcpServer } from './dhcp-server.ts';
import { DnsServer } from './dns-server.ts';
import { DnsTcpSession } from './dns-tcp.ts';
import { FakeHostNet, FakeTcp, FakeUdp } from './fake-host-net.ts';
import { VirtualNetwork } from './network.ts';

const HOST = ip('192.168.127.254');
const OUTSIDE = ip('9.9.9.9');
const TOTAL = 400_000;
const FIRST = { ip: ip('192.168.127.3'), mac: parseMac('02:00:00:00:00:01')! };
const SECOND = { ip: ip('192.168.127.4'), mac: parseMac('02:00:00:00:00:02')! };

afterEach(() => vi.restoreAllMocks());

const boom = (): never => { throw new Error('thrown on purpose'); };

function pattern(at: number): number {
  return (at * 7 + (at >>> 8) * 13) & 255;
}

/** The network's clock: the guests have theirs. */
class FaultyClock implements Clock {
  readonly #clock: Clock;
  /** what is to throw, and how often */
  readonly faults = new Map<keyof Clock, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  #meet(name: keyof Clock): void {
    const left = this.faults.get(name) ?? 0;
    if (left === 0) return;
    this.faults.set(name, left - 1);
    boom();
  }

  nowMs(): number {
    this.#meet('nowMs');
    return this.#clock.nowMs();
  }

  wallMs(): number { return this.#clock.wallMs(); }

  startTimer(delayMs: number, fn: () => void): ClockTimer {
    this.#meet('startTimer');
    return this.#clock.startTimer(delayMs, fn);
  }

  soon(fn: () => void): void {
    this.#meet('soon');
    this.#clock.soon(fn);
  }
}

/** Reads to the end, and knows what it should read. */
class Download implements TcpHandler {
  connection: TcpConnection | null = null;
  received = 0;
  wrong = 0;
  hasFin = false;
  closed: CloseReason | null = null;

  onEstablished(): void { this.connection!.send(Uint8Array.of(1, 2, 3)); }
  onData(bytes: Uint8Array, start: number, end: number): void {
    for (let i = start; i < end; i++) if (bytes[i] !== pattern(this.received++)) this.wrong++;
  }
  onTurn(): void {}
  onFin(): void {
    this.hasFin = true;
    this.connection!.shutdown();
  }
  onSendSpace(): void {}
  onClosed(reason: CloseReason): void { this.closed = reason; }
}

class Guest {
  readonly stack: Stack;
  readonly inner: LinkPort;
  readonly ip: UnicastIpv4;
  readonly mac: Mac;
  outer: LinkPort | null = null;
  readonly #toGuest: (batch: FrameBatch) => boolean;
  /** its link throws what it is given away, so often */
  linkFaults = 0;

  constructor(lab: Lab, { ip: address, mac }: { ip: UnicastIpv4; mac: Mac }) {
    this.ip = address;
    this.mac = mac;
    this.stack = new Stack(lab.clock, new SeededRandom(address), { ...STACK_CONFIG, aliases: [], gatewayIp: address, gatewayMac: mac });
    const carry = (to: () => LinkPort) => (batch: FrameBatch): boolean => {
      const frames = framesOf(batch);
      lab.clock.startTimer(1, () => {
        for (const frame of frames) to().receive(frame, 0, frame.length);
        to().flush();
      });
      return true;
    };
    this.inner = this.stack.attach({ sendBatch: carry(() => this.outer!) });
    this.#toGuest = carry(() => this.inner);
    this.plugIn(lab);
    this.stack.neighbors.resolve(GATEWAY_IP, () => {});
    this.stack.neighbors.resolve(HOST, () => {});
    this.stack.neighbors.learn(OUTSIDE, this.stack.neighbors.find(GATEWAY_IP)?.station ?? this.stack.switch.stationAt(this.inner as never, GATEWAY_MAC)!);
    lab.clock.advance(10);
  }

  /** By a link of its own, in place of the one that it may have. */
  plugIn(lab: Lab): void {
    this.outer?.close();
    this.outer = lab.network.attach({ sendBatch: (batch) => (this.linkFaults-- > 0 ? boom() : this.#toGuest(batch)) });
  }

  connect(to = HOST, port = 80): Download {
    const download = new Download();
    download.connection = this.stack.tcp.connect(to, port, this.ip, 20_000 + port, download);
    return download;
  }

  sendUdp(to: UnicastIpv4, port: number, payload = Uint8Array.of(1), srcPort = 4000): void {
    this.stack.udp.send(this.stack.neighbors.find(to)!, this.ip, srcPort, port, payload);
  }

  sendFrame(frame: Uint8Array): void {
    this.outer!.receive(frame, 0, frame.length);
    this.outer!.flush();
  }
}

class Lab {
  readonly clock = new VirtualClock();
  readonly faulty = new FaultyClock(this.clock);
  readonly hostNet = new FakeHostNet();
  readonly bugs: string[] = [];
  readonly network: VirtualNetwork;
  readonly first: Guest;
  readonly second: Guest;
  #download: Download | null = null;
  #source: FakeTcp | null = null;
  #sent = 0;

  constructor() {
    this.network = new VirtualNetwork({
      clock: this.faulty, random: new SeededRandom(7), hostNet: this.hostNet, config: { verifyChecksums: true },
      onBug: (place) => this.bugs.push(place),
    });
    this.first = new Guest(this, FIRST);
    this.second = new Guest(this, SECOND);
  }

  /** The second guest's download, as far as `share` of it. */
  download(share: number): void {
    if (this.#download === null) {
      this.#download = this.second.connect();
      this.clock.advance(5);
      this.#source = this.hostNet.tcp.at(-1)!;
      this.#source.handlers.onConnect!();
    }
    this.#pump(share);
  }

  #pump(share: number): void {
    const download = this.#download!;
    const source = this.#source!;
    const end = Math.floor(TOTAL * share);
    const isThere = this.clock.runUntil(() => {
      while (this.#sent < end && !source.isPaused) {
        const chunk = Uint8Array.from({ length: Math.min(20_011, end - this.#sent) }, (_, i) => pattern(this.#sent + i));
        this.#sent += chunk.length;
        source.handlers.onData(chunk);
      }
      return download.received >= end;
    }, 60_000);
    if (isThere < 0) throw new Error(`the other guest's download stands at ${download.received} of ${end} (${download.closed})`);
  }

  /** The rest of the download, and then nothing is left. */
  finish(): void {
    this.#pump(1);
    this.#source!.handlers.onEnd();
    this.clock.advance(1000);
    this.#source!.handlers.onClose(null);
    this.clock.advance(60_000);
    expect([this.#download!.received, this.#download!.wrong, this.#download!.hasFin, this.#download!.closed]).toEqual([TOTAL, 0, true, 'closed']);
    this.expectNothingLeft();
  }

  expectNothingLeft(): void {
    this.clock.advance(200_000);
    const left = Object.entries(this.network.stats()).filter(([name, value]) => /(Open|Held)$/.test(name) && name !== 'linksOpen' && value !== 0);
    expect(left).toEqual([]);
    expect(this.hostNet.tcp.filter((socket) => !socket.isReset && !socket.hasEnded && socket !== this.#source)).toEqual([]);
    this.network.close();
    expect(this.hostNet.udp.every((socket) => socket.isClosed)).toBe(true);
    expect(this.network.stats()).toMatchObject({ linksOpen: 0, timersOpen: 0, batchesHeld: 0, tcpFlowsOpen: 0, ipv6AddressesKnown: 0 });
  }
}

/** Throws the next time that `method` of `type` is called, of an object (or for an address) of the first guest's where `isFirst` says so. */
function fault<T extends object>(type: { prototype: T }, method: keyof T & string, isFirst: (self: never, args: never[]) => boolean = () => true): void {
  const real = type.prototype[method] as (...args: unknown[]) => unknown;
  let isLeft = true;
  vi.spyOn(type.prototype, method as never).mockImplementation(function fails(this: T, ...args: unknown[]): unknown {
    if (!isLeft || !isFirst(this as never, args as never[])) return real.apply(this, args);
    isLeft = false;
    return boom();
  } as never);
}

/** The network's own, not a guest's stack in this test. */
const ofFirst = (connection: TcpConnection): boolean => connection.guestIp === FIRST.ip && connection.remoteIp !== FIRST.ip;

function connected(lab: Lab): { download: Download; socket: FakeTcp } {
  const download = lab.first.connect();
  lab.clock.advance(5);
  const socket = lab.hostNet.tcp.at(-1)!;
  socket.handlers.onConnect!();
  lab.clock.advance(5);
  return { download, socket };
}

const DNS_QUERY = Uint8Array.of(0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0x61, 1, 0x62, 0, 0, 1, 0, 1);

function discover(lab: Lab): void {
  const message = new Uint8Array(DHCP_LEN_MAX);
  const none = IPV4_ANY;
  const len = emitDhcp({ type: 'discover', fromClient: true, xid: 9, broadcast: false, clientIp: none, yourIp: none, relayIp: none, clientMac: FIRST.mac }, message, 0);
  const everyone = ip('255.255.255.255');
  lab.first.sendFrame(ethernet(MAC_BROADCAST, FIRST.mac, 0x0800, ipv4(none, everyone, 17, udp(none, everyone, 68, 67, message.subarray(0, len)))));
}

/** `place: what happens`. Each throws at least once. */
const ENTRIES: Record<string, (lab: Lab) => void | Promise<void>> = {
  // ---- frames ----
  'frame: a SYN': (lab) => {
    fault(TcpNat, 'onSyn');
    const download = lab.first.connect();
    lab.clock.advance(10);
    expect(download.closed).toBe('refused');
  },
  'frame: a segment of a connection': (lab) => {
    const { download, socket } = connected(lab);
    fault(Connection, 'onSegment', ofFirst);
    download.connection!.send(new Uint8Array(1000));
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'frame: data for its host socket': (lab) => {
    const { download, socket } = connected(lab);
    fault(TcpFlow, 'onData');
    download.connection!.send(new Uint8Array(1000));
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'frame: an answer that is half written': (lab) => {
    fault(Icmp, 'reply');
    lab.first.sendFrame(ethernet(GATEWAY_MAC, FIRST.mac, 0x0800, ipv4(FIRST.ip, GATEWAY_IP, 1, Uint8Array.of(8, 0, 0xf4, 0xf5, 0, 1, 0, 1, 1, 2, 2, 6))));
  },
  'frame: a datagram': (lab) => {
    fault(UdpNat, 'onDatagram');
    lab.first.sendUdp(OUTSIDE, 9);
  },
  'frame: a fragment': (lab) => {
    fault(Reassembler, 'add');
    lab.first.sendFrame(ethernet(GATEWAY_MAC, FIRST.mac, 0x0800, ipv4(FIRST.ip, OUTSIDE, 17, new Uint8Array(64), { fragment: 0x2000 })));
  },
  'frame: ARP': (lab) => {
    fault(Neighbors, 'onArp', (self: { find(at: UnicastIpv4): unknown }) => self.find(SECOND.ip) !== null);
    lab.first.stack.neighbors.resolve(ip('192.168.127.99'), () => {});
  },
  'frame: DHCP': (lab) => {
    fault(DhcpServer, 'onMessage');
    discover(lab);
  },
  'frame: a question by UDP': (lab) => {
    fault(DnsServer, 'resolve');
    lab.first.sendUdp(GATEWAY_IP, 53, DNS_QUERY);
  },
  'frame: a station of a new MAC': (lab) => {
    fault(Switch, 'stationAt');
    lab.first.sendFrame(ethernet(GATEWAY_MAC, parseMac('02:00:00:00:00:77')!, 0x0806, new Uint8Array(28)));
  },
  'call: who hears of guests': (lab) => {
    lab.network.onPresence = boom;
    lab.first.sendFrame(ethernet(GATEWAY_MAC, parseMac('02:00:00:00:00:77')!, 0x0806, new Uint8Array(28)));
  },
  // ---- turns and links ----
  'turn: of a connection': (lab) => {
    const { download, socket } = connected(lab);
    fault(Connection, 'turn', ofFirst);
    socket.handlers.onData(new Uint8Array(5000));
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'turn: a segment that is half written': (lab) => {
    const { download, socket } = connected(lab);
    fault(SegmentWriter, 'write');
    socket.handlers.onData(new Uint8Array(5000));
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'turn: bytes for a host socket': (lab) => {
    const { download, socket } = connected(lab);
    fault(TcpFlow, 'onTurn');
    download.connection!.send(new Uint8Array(1000));
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'link: that throws what it is given': (lab) => {
    const { socket } = connected(lab);
    lab.first.linkFaults = 1;
    socket.handlers.onData(new Uint8Array(5000));
    lab.clock.advance(2000);
    hangUp(socket);
  },
  'link: that comes in place of another': (lab) => {
    const { download, socket } = connected(lab);
    fault(Connection, 'onPathChanged', ofFirst);
    lab.first.plugIn(lab);
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  // ---- timers and the clock ----
  'timer: of a connection': (lab) => {
    const { download, socket } = connected(lab);
    fault(Connection, 'onWake', ofFirst);
    lab.first.linkFaults = 1;
    socket.handlers.onData(new Uint8Array(5000));
    lab.clock.advance(3000);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'timer: of fragments': (lab) => {
    lab.first.sendFrame(ethernet(GATEWAY_MAC, FIRST.mac, 0x0800, ipv4(FIRST.ip, OUTSIDE, 17, new Uint8Array(64), { fragment: 0x2000 })));
    fault(Reassembler, 'onWake');
    lab.clock.advance(60_000);
  },
  'host: a datagram socket can\'t be closed': (lab) => {
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
    vi.spyOn(lab.hostNet.udp.at(-1)!, 'close').mockImplementationOnce(boom);
    lab.clock.advance(120_000);
    lab.hostNet.udp.at(-1)!.close();
  },
  'timer: of a session of questions': (lab) => {
    const download = lab.first.connect(GATEWAY_IP, 53);
    lab.clock.advance(10);
    fault(DnsTcpSession, 'onWake');
    lab.clock.advance(60_000);
    expect(download.closed).toBe('reset');
  },
  'call: the time can\'t be told': (lab) => {
    lab.faulty.faults.set('nowMs', 6);
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
  },
  'call: no flush can be asked for': (lab) => {
    const { socket } = connected(lab);
    lab.faulty.faults.set('soon', 3);
    socket.handlers.onData(new Uint8Array(5000));
    lab.clock.advance(1000);
    hangUp(socket);
  },
  'timer: none can be started': (lab) => {
    lab.faulty.faults.set('startTimer', 3);
    lab.download(0.7);
  },
  // ---- the host ----
  'host: a dial succeeds': (lab) => {
    fault(TcpFlow, 'onHostConnect');
    const { download, socket } = connected(lab);
    expect([download.closed, socket.isReset]).toEqual(['refused', true]);
  },
  'host: data comes': (lab) => {
    const { download, socket } = connected(lab);
    fault(TcpFlow, 'onHostData');
    socket.handlers.onData(new Uint8Array(5000));
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'host: its peer ends': (lab) => {
    const { download, socket } = connected(lab);
    fault(TcpFlow, 'onHostEnd');
    socket.handlers.onEnd();
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'host: bytes were taken': (lab) => {
    const { download, socket } = connected(lab);
    fault(TcpFlow, 'onHostTaken');
    socket.handlers.onTaken();
    lab.clock.advance(10);
    expect([download.closed, socket.isReset]).toEqual(['reset', true]);
  },
  'host: a socket is gone': (lab) => {
    const { download, socket } = connected(lab);
    fault(TcpFlow, 'onHostClose');
    socket.isReset = true;
    socket.handlers.onClose(null);
    lab.clock.advance(10);
    expect(download.closed).toBe('reset');
  },
  'host: a datagram comes': (lab) => {
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
    fault(Udp, 'send');
    const socket = lab.hostNet.udp.at(-1)!;
    socket.handlers.onMessage(Uint8Array.of(1), OUTSIDE, 9);
    expect(socket.isClosed).toBe(true);
  },
  'host: a dial throws': (lab) => {
    vi.spyOn(lab.hostNet, 'connectTcp').mockImplementationOnce(boom);
    const download = lab.first.connect();
    lab.clock.advance(10);
    expect(download.closed).toBe('refused');
  },
  'host: a datagram socket can\'t be made': (lab) => {
    vi.spyOn(lab.hostNet, 'openUdp').mockImplementationOnce(boom);
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
    expect(lab.network.stats()['udpFlowsOpen']).toBe(0);
  },
  'host: a socket for one question can\'t be made': (lab) => {
    vi.spyOn(lab.hostNet, 'connectUdp').mockImplementationOnce(boom);
    lab.first.sendUdp(OUTSIDE, 53);
    lab.clock.advance(10);
    expect(lab.network.stats()['udpFlowsOpen']).toBe(0);
  },
  'host: the twin of a datagram socket can\'t be made': (lab) => {
    vi.spyOn(lab.hostNet, 'connectUdp').mockImplementationOnce(boom);
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
    // Its port has another socket, which serves all.
    expect([lab.network.stats()['udpFlowsOpen'], lab.hostNet.mappings.at(-1)!.sent.length > 0]).toEqual([1, true]);
    lab.hostNet.mappings.at(-1)!.handlers.onError('EIO');
  },
  'host: a write throws': (lab) => {
    const { download, socket } = connected(lab);
    vi.spyOn(socket, 'write').mockImplementation(boom);
    download.connection!.send(new Uint8Array(1000));
    lab.clock.advance(10);
    socket.isReset = true;
    expect(download.closed).toBe('reset');
  },
  'host: pause, resume, end and reset throw': (lab) => {
    const { download, socket } = connected(lab);
    for (const name of ['pause', 'resume', 'end', 'reset'] as const) vi.spyOn(socket, name).mockImplementation(boom);
    download.connection!.shutdown();
    lab.clock.advance(10);
    socket.isReset = true;
    expect(download.closed).toBe('reset');
  },
  'host: a datagram can\'t be sent': (lab) => {
    vi.spyOn(FakeUdp.prototype, 'send').mockImplementationOnce(boom);
    lab.first.sendUdp(OUTSIDE, 53);
    lab.clock.advance(10);
    expect(lab.network.stats()['udpFlowsOpen']).toBe(0);
  },
  'host: its resolvers can\'t be read': (lab) => {
    vi.spyOn(lab.hostNet, 'resolvers').mockImplementationOnce(boom);
    lab.first.sendUdp(GATEWAY_IP, 53, DNS_QUERY);
    lab.clock.advance(10_000);
  },
  'call: an answer for a guest': (lab) => {
    lab.first.sendUdp(GATEWAY_IP, 53, DNS_QUERY);
    lab.clock.advance(10);
    const socket = lab.hostNet.udp.at(-1)!;
    const query = socket.sent.at(-1)!;
    fault(Udp, 'send');
    socket.handlers.onMessage(Uint8Array.from([query[0], query[1], 0x81, 0x80, ...query.subarray(4)]), OUTSIDE, 53);
    lab.clock.advance(10_000);
  },
  'host: whether it has IPv6': (lab) => {
    vi.spyOn(lab.hostNet, 'hasIpv6').mockImplementationOnce(boom);
    lab.clock.advance(20_000);
    lab.first.sendUdp(OUTSIDE, 9);
    lab.clock.advance(10);
    expect(lab.hostNet.udp.at(-1)!.sent.length).toBe(1);
  },
  'host: a ping throws': (lab) => {
    vi.spyOn(lab.hostNet, 'ping').mockImplementationOnce(boom);
    echo(lab);
  },
  'host: a ping fails': async (lab) => {
    vi.spyOn(lab.hostNet, 'ping').mockImplementationOnce(() => Promise.reject(new Error('on purpose')));
    echo(lab);
    await Promise.resolve();
  },
  'host: a ping comes back': async (lab) => {
    lab.hostNet.rttMs = 5;
    fault(Icmp, 'reply');
    echo(lab);
    await Promise.resolve();
  },
  // ---- calls ----
  'host: a connection to a forwarded port': async (lab) => {
    await lab.network.addForward({ protocol: 'tcp', hostIp: ip('127.0.0.1'), hostPort: 1, guestPort: 80 });
    fault(TcpNat, 'forward');
    const socket = new FakeTcp('who came', { onData() {}, onEnd() {}, onTaken() {}, onClose() {} });
    lab.hostNet.accept!(socket);
    expect(socket.isReset).toBe(true);
  },
  'host: a datagram to a forwarded port': async (lab) => {
    await lab.network.addForward({ protocol: 'udp', hostIp: ip('127.0.0.1'), hostPort: 1, guestPort: 80 });
    fault(UdpNat, 'onForwarded');
    const socket = lab.hostNet.udp.at(-1)!;
    socket.handlers.onMessage(Uint8Array.of(1), OUTSIDE, 9);
    // One peer's: the port stays open for the others.
    expect([socket.isClosed, lab.network.forwards().length]).toEqual([false, 1]);
  },
  'call: a socket that is handed over': (lab) => {
    fault(TcpNat, 'forward');
    const socket = new FakeTcp('who came', { onData() {}, onEnd() {}, onTaken() {}, onClose() {} });
    lab.network.forwardTcp(socket, 80);
    expect(socket.isReset).toBe(true);
  },
};

/** The host's peer resets. */
function hangUp(socket: FakeTcp): void {
  // A closed socket takes a reset in silence.
  socket.isReset = true;
  socket.handlers.onClose('ECONNRESET');
}

function echo(lab: Lab): void {
  lab.first.sendFrame(ethernet(GATEWAY_MAC, FIRST.mac, 0x0800, ipv4(FIRST.ip, OUTSIDE, 1, Uint8Array.of(8, 0, 0xf4, 0xf5, 0, 1, 0, 1, 1, 2, 2, 6))));
}

test.each(Object.keys(ENTRIES))('%s', async (name) => {
  const lab = new Lab();
  lab.download(0.5);
  await ENTRIES[name](lab);
  lab.clock.advance(10);
  for (let turn = 0; turn < 4; turn++) await Promise.resolve();
  expect(lab.bugs).toContain(name.slice(0, name.indexOf(':')));
  expect(lab.network.stats()['bugsCaught']).toBe(lab.bugs.length);
  lab.finish();
});

test('a frame whose writer threw does not leave, and with it nothing of what the buffer held before', () => {
  const lab = new Lab();
  const { socket } = connected(lab);
  const before = lab.network.stats();
  const real = SegmentWriter.prototype.write;
  vi.spyOn(SegmentWriter.prototype, 'write').mockImplementationOnce(function half(this: SegmentWriter, ...args) {
    // Room is made, as by a writer that fails in the middle.
    real.apply(this, args);
    return boom();
  });
  socket.handlers.onData(new Uint8Array(500));
  lab.clock.advance(10);
  const after = lab.network.stats();
  // The reset alone.
  expect([after['framesToGuest'] - before['framesToGuest'], after['bytesToGuest'] - before['bytesToGuest'], lab.bugs]).toEqual([1, 54, ['turn']]);
});

test('without an onBug it is thrown again, when what it cost has been freed', () => {
  const clock = new VirtualClock();
  const hostNet = new FakeHostNet();
  const network = new VirtualNetwork({ clock, random: new SeededRandom(1), hostNet });
  const port = network.attach({ sendBatch: (batch) => { batch.release(); return true; } });
  fault(UdpNat, 'onDatagram');
  const frame = ethernet(GATEWAY_MAC, FIRST.mac, 0x0800, ipv4(FIRST.ip, OUTSIDE, 17, udp(FIRST.ip, OUTSIDE, 1, 2, new Uint8Array(1))));
  expect(() => port.receive(frame, 0, frame.length)).toThrow('thrown on purpose');
  port.receive(frame, 0, frame.length);
  port.flush();
  expect([hostNet.udp.length, network.stats()['bugsCaught']]).toEqual([1, 1]);
});

test('a bug is news once for each place, whatever its message quotes, and not without end', () => {
  const filter = new BugFilter();
  const at = (line: number, message = 'x'): Error => Object.assign(new Error(message), { stack: `Error: ${message}\n    at f (a.ts:${line}:1)\n    at g (b.ts:1:1)` });
  expect([filter.isNews(at(1)), filter.isNews(at(1, 'another\n    at h (c.ts:9:9)')), filter.isNews(at(2)), filter.isNews('text'), filter.isNews('another text')]).toEqual([true, false, true, true, false]);
  const news = Array.from({ length: 1000 }, (_, i) => filter.isNews(at(i + 10))).filter(Boolean).length;
  expect(news).toBe(97);
});
