/*
 * The gateway: what is behind the switch's own port.
 *
 *   Port.receive -> Switch -> onFrame -> ARP | IPv4 -> (reassembly) -> ICMP | UDP | TCP -> their handlers
 *                                     -> IPv6 (ipv6.ts), likewise
 *   Port.flush   -> flush: connections take their turns, ports send their batches
 *
 * Nothing is sent while frames come in: handlers collect, `flush` answers the batch as a whole. What happens outside a batch (a
 * host socket delivers, a timer fires) asks for a flush by `wantFlush`; it comes when the events at hand have been handled.
 * Time is read once per batch, `nowMs`.
 */
import type { Ipv4, Mac, UnicastIpv4 } from '../wire/addr.ts';
import { broadcastOf, inCidr, IPV4_ANY, IPV4_BROADCAST, isUnicast } from '../wire/addr.ts';
import { getU16 } from '../../bytes.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.ts';
import {
  emitIpv4, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPV4_DONT_FRAGMENT, IPV4_HEADER_LEN, IPV4_MORE_FRAGMENTS, Ipv4View,
} from '../wire/ipv4.ts';
import { emitIpv6, IPV6_HEADER_LEN, IPV6_MTU_MIN } from '../wire/ipv6.ts';
import { ICMP_FRAGMENTATION_NEEDED, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from '../wire/icmp.ts';
import { ICMPV6_PACKET_TOO_BIG } from '../wire/icmpv6.ts';
import { BatchPool } from './batch-pool.ts';
import type { Clock, RandomSource } from './clock.ts';
import { Containment } from './containment.ts';
import { Counters } from './counters.ts';
import { GuestErrors } from './guest-errors.ts';
import { Icmp } from './icmp.ts';
import type { Ipv6Config } from './ipv6.ts';
import { Ipv6Layer } from './ipv6.ts';
import type { FlowIp } from './ipv6-table.ts';
import { asV4, asV6, Ipv6Table, isV6 } from './ipv6-table.ts';
import type { FrameSink, LinkPort } from './link-port.ts';
import type { Neighbor } from './neighbors.ts';
import { Neighbors } from './neighbors.ts';
import { Reassembler } from './reassembly.ts';
import type { Station, SwitchHost } from './switch.ts';
import { Switch } from './switch.ts';
import type { TcpHost } from './tcp/tcp.ts';
import { Tcp } from './tcp/tcp.ts';
import { TimerQueue } from './timers.ts';
import { Udp } from './udp.ts';

export interface StackConfig {
  readonly subnet: Ipv4;
  readonly prefixLen: number;
  readonly gatewayIp: UnicastIpv4;
  readonly gatewayMac: Mac;
  /** further addresses that the gateway answers for */
  readonly aliases: readonly UnicastIpv4[];
  readonly mtu: number;
  readonly maxLinks: number;
  readonly maxTcpFlows: number;
  readonly tcpWindowMax: number;
  readonly tcpMemoryBudget: number;
  readonly tcpKeepaliveMs: number;
  readonly tcpTimestamps: boolean;
  readonly verifyChecksums: boolean;
  /** null: IPv6 frames are dropped */
  readonly ipv6: Ipv6Config | null;
}

/** of the one datagram that may come from 0.0.0.0 and go to everyone */
const DHCP_SERVER_PORT = 67;
const VLAN_TAG_LEN = 4;
/** after a look at the host's IPv6 that threw */
const REFRESH_AGAIN_MS = 10_000;
/** a network that is made before its guest: how long the guest's first link may take */
const STARTING_MS = 10_000;

export class Stack implements SwitchHost, TcpHost {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly config: StackConfig;
  readonly counters: Counters;
  readonly containment: Containment;
  readonly timers: TimerQueue;
  readonly pool = new BatchPool();
  readonly switch: Switch;
  readonly neighbors: Neighbors;
  readonly addresses: Ipv6Table;
  readonly ipv6: Ipv6Layer | null;
  readonly icmp: Icmp;
  readonly udp: Udp;
  readonly tcp: Tcp;
  readonly guestErrors: GuestErrors;
  readonly gatewayMac: Mac;
  readonly maxFrameLen: number;
  readonly maxLinks: number;
  nowMs: number;
  /** Runs in each flush before TCP's turns, for what else collects during a batch. */
  onFlush: (() => void) | null = null;
  readonly log: ((line: string) => void) | undefined;
  readonly #ours: ReadonlySet<FlowIp>;
  readonly #broadcastIp: Ipv4;
  readonly #ip = new Ipv4View();
  readonly #reassembler: Reassembler;
  #identification: number;
  /** when routers are next to be advertised, Infinity without IPv6 */
  #refreshAtMs = Infinity;
  #isFlushWanted = false;
  #isFlushing = false;
  #isClosed = false;

  constructor(clock: Clock, random: RandomSource, config: StackConfig, log?: (line: string) => void, containment: Containment = new Containment(new Counters(log))) {
    this.clock = clock;
    this.random = random;
    this.config = config;
    this.log = log;
    this.nowMs = clock.nowMs();
    this.gatewayMac = config.gatewayMac;
    this.maxFrameLen = config.mtu + ETHERNET_HEADER_LEN + VLAN_TAG_LEN;
    this.maxLinks = config.maxLinks;
    this.#broadcastIp = broadcastOf(config.subnet, config.prefixLen);
    this.#identification = random.u32() & 0xffff;
    this.containment = containment;
    this.counters = containment.counters;
    this.timers = new TimerQueue(clock, this.containment, (nowMs) => (this.nowMs = nowMs), () => this.flush());
    const startingUntilMs = this.nowMs + STARTING_MS;
    this.switch = new Switch(this, this.pool, this.containment);
    this.neighbors = new Neighbors(
      this.switch, this.timers, config.gatewayMac, config.gatewayIp, (ip) => isUnicast(ip) && this.isOurs(ip), (ip) => this.isGuestAddress(ip),
      () => !this.switch.hasHadLink && clock.nowMs() < startingUntilMs, log,
    );
    this.addresses = new Ipv6Table(random);
    this.ipv6 = config.ipv6 === null ? null : new Ipv6Layer(this, config.ipv6);
    if (this.ipv6 !== null) this.#refreshAtMs = this.nowMs;
    this.#ours = new Set<FlowIp>([config.gatewayIp, ...config.aliases, ...(this.ipv6?.ours ?? [])]);
    this.#reassembler = new Reassembler('ipv4', this.timers, (reason) => this.counters.drop(reason));
    this.icmp = new Icmp(this);
    this.udp = new Udp(this);
    this.guestErrors = new GuestErrors(this);
    this.tcp = new Tcp(this, {
      mtu: config.mtu, gatewayMac: config.gatewayMac, windowMax: config.tcpWindowMax, memoryBudget: config.tcpMemoryBudget,
      keepaliveMs: config.tcpKeepaliveMs, maxFlows: config.maxTcpFlows, timestamps: config.tcpTimestamps, verifyChecksums: config.verifyChecksums,
    });
  }

  get datagramsHeld(): number {
    return this.#reassembler.datagramsHeld + (this.ipv6?.datagramsHeld ?? 0);
  }

  attach(sink: FrameSink): LinkPort {
    const port = this.switch.attach(sink);
    this.containment.run('call', () => this.ipv6?.ndp.onAttach(port));
    // What waited for a way goes out when the caller has its port.
    this.wantFlush();
    return port;
  }

  isOurs(ip: FlowIp): boolean {
    return this.#ours.has(ip);
  }

  neighborOf(ip: FlowIp): Neighbor | null {
    return isV6(ip) ? this.ipv6!.ndp.find(ip) : this.neighbors.find(ip);
  }

  /** The largest packet that reaches this neighbor, as far as is known, in `bytes`. */
  mtuTo(neighbor: Neighbor): number {
    return neighbor.pathMtuUntilMs > this.nowMs ? Math.min(neighbor.pathMtu, this.config.mtu) : this.config.mtu;
  }

  // ---- from guests ----

  onBatchStart(): void {
    this.#readClock();
    if (this.nowMs < this.#refreshAtMs) return;
    this.#refreshAtMs = this.nowMs + REFRESH_AGAIN_MS;
    this.containment.run('frame', () => { this.#refreshAtMs = this.ipv6!.ndp.refresh(); });
  }

  #readClock(): void {
    try {
      this.nowMs = this.clock.nowMs();
    } catch (error) {
      this.containment.caught('call', error);
    }
  }

  onFrame(station: Station, bytes: Uint8Array, start: number, end: number): void {
    const etherType = getU16(bytes, start + 12);
    if (etherType === ETHERTYPE_IPV4) return this.#onIpv4(station, bytes, start + ETHERNET_HEADER_LEN, end);
    if (etherType === ETHERTYPE_IPV6 && this.ipv6 !== null) return this.ipv6.receive(station, bytes, start + ETHERNET_HEADER_LEN, end);
    if (etherType !== ETHERTYPE_ARP) return this.counters.drop('ethernet-unknown-type');
    const drop = this.neighbors.onArp(station, bytes, start + ETHERNET_HEADER_LEN, end);
    if (drop !== null) this.counters.drop(drop);
  }

  onStationMoved(station: Station): void {
    this.tcp.onStationMoved(station);
  }

  #onIpv4(station: Station, bytes: Uint8Array, start: number, end: number): void {
    const ip = this.#ip;
    const { counters } = this;
    const drop = ip.wrap(bytes, start, end);
    if (drop !== null) return counters.drop(drop);
    if (this.config.verifyChecksums && !ip.isHeaderChecksumRight) return counters.drop('ipv4-bad-checksum');
    const src = ip.src;
    if (src === IPV4_ANY) return this.#onUnconfigured(station);
    if (!isUnicast(src)) return counters.drop('ipv4-bad-source');
    let neighbor: Neighbor | null = null;
    if (station.knownIp === src) neighbor = this.neighbors.find(src);
    if (neighbor === null || neighbor.station !== station) {
      if (!this.isGuestAddress(src)) return counters.drop('ipv4-bad-source');
      neighbor = this.neighbors.learn(src, station);
    }
    if (ip.isFragment) {
      const whole = this.#reassembler.add(ip, this.nowMs);
      if (whole === null || ip.wrap(whole, 0, whole.length) !== null) return;
    }
    this.#route(station, neighbor, src);
  }

  #route(station: Station, neighbor: Neighbor, src: UnicastIpv4): void {
    const ip = this.#ip;
    const dst = ip.dst;
    const protocol = ip.protocol;
    if (protocol === IPPROTO_UDP && this.#isDhcp(dst)) return this.udp.receiveDhcp(station, ip.src, dst, ip.bytes, ip.payloadStart, ip.end);
    if (!isUnicast(dst) || dst === this.#broadcastIp) return this.counters.drop('ipv4-bad-destination');
    if (protocol === IPPROTO_TCP && ip.ttl > 1) return this.tcp.receive(neighbor, src, dst, ip.bytes, ip.start, ip.payloadStart, ip.end);
    if (ip.ttl <= 1 && !this.isOurs(dst)) {
      this.counters.drop('ipv4-ttl-exceeded');
      return this.icmp.sendError(neighbor, ip.bytes.subarray(ip.start, ip.end), ICMP_TIME_EXCEEDED, 0);
    }
    if (protocol === IPPROTO_TCP) this.tcp.receive(neighbor, src, dst, ip.bytes, ip.start, ip.payloadStart, ip.end);
    else if (protocol === IPPROTO_UDP) this.udp.receive(station, neighbor, src, dst, ip.bytes, ip.start, ip.payloadStart, ip.end);
    else if (protocol === IPPROTO_ICMP) this.icmp.receive(station, neighbor, src, dst, ip);
    else {
      this.counters.drop('ipv4-unknown-protocol');
      this.icmp.sendError(neighbor, ip.bytes.subarray(ip.start, ip.end), ICMP_UNREACHABLE, 2);
    }
  }

  /** A guest without an address may only ask for one. */
  #onUnconfigured(station: Station): void {
    const ip = this.#ip;
    if (ip.protocol !== IPPROTO_UDP || ip.isFragment || !this.#isDhcp(ip.dst)) return this.counters.drop('ipv4-bad-source');
    this.udp.receiveDhcp(station, ip.src, ip.dst, ip.bytes, ip.payloadStart, ip.end);
  }

  /** Whether the datagram at hand asks a DHCP server, and this one: RFC 2131 §4.1, and §4.4.5 for a lease that is renewed. */
  #isDhcp(dst: Ipv4): boolean {
    if (dst !== IPV4_BROADCAST && dst !== this.#broadcastIp && dst !== this.config.gatewayIp) return false;
    const { bytes, payloadStart, end } = this.#ip;
    return end - payloadStart >= 4 && getU16(bytes, payloadStart + 2) === DHCP_SERVER_PORT;
  }

  /** Whether a guest can have this address. */
  isGuestAddress(ip: Ipv4): ip is UnicastIpv4 {
    return isUnicast(ip) && inCidr(ip, { base: this.config.subnet, prefixLen: this.config.prefixLen }) && !this.isOurs(ip) && ip !== this.#broadcastIp && ip !== this.config.subnet;
  }

  // ---- to guests ----

  /** Sends a message that the MTU may force into fragments. False when it was dropped. The cold way. */
  sendIpv4(neighbor: Neighbor, src: Ipv4, dst: Ipv4, protocol: number, message: Uint8Array): boolean {
    const station = neighbor.station;
    const port = station?.port ?? null;
    if (station === null || port === null) {
      this.counters.drop('to-guest-no-neighbor');
      return false;
    }
    const mtu = this.mtuTo(neighbor);
    const isWhole = IPV4_HEADER_LEN + message.length <= mtu;
    const pieceLen = isWhole ? message.length : (mtu - IPV4_HEADER_LEN) & ~7;
    // RFC 6864 §4.1: only what is fragmented needs an identification.
    if (!isWhole) this.#identification = (this.#identification + 1) & 0xffff;
    for (let from = 0; from === 0 || from < message.length; from += pieceLen) {
      const to = Math.min(from + pieceLen, message.length);
      const at = port.reserve(ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + to - from);
      if (at < 0) return false;
      const ip = at + emitEthernet(port.bytes, at, station.mac, this.gatewayMac, ETHERTYPE_IPV4);
      const fragment = isWhole ? IPV4_DONT_FRAGMENT : (from >> 3) | (to < message.length ? IPV4_MORE_FRAGMENTS : 0);
      emitIpv4(port.bytes, ip, src, dst, protocol, to - from, isWhole ? 0 : this.#identification, fragment);
      port.bytes.set(message.subarray(from, to), ip + IPV4_HEADER_LEN);
    }
    this.wantFlush();
    return true;
  }

  /**
   * Room in the station's batch for a packet of ours, of either family, with its Ethernet and IP headers written. Returns where in the port's
   * `bytes` its payload goes, -1 when there is no way or no room, which is counted.
   */
  reservePacket(station: Station | null, src: FlowIp, dst: FlowIp, protocol: number, payloadLen: number): number {
    if (!isV6(dst)) return this.reserveIpv4(station, asV4(src), dst, protocol, payloadLen);
    const at = this.#reserve(station, ETHERTYPE_IPV6, IPV6_HEADER_LEN + payloadLen);
    if (at < 0) return -1;
    return at + emitIpv6(station!.port!.bytes, at, this.addresses.addressOf(asV6(src)), this.addresses.addressOf(dst), protocol, payloadLen);
  }

  /** The same for addresses that need not be anybody's: DHCP answers everyone. */
  reserveIpv4(station: Station | null, src: Ipv4, dst: Ipv4, protocol: number, payloadLen: number): number {
    const at = this.#reserve(station, ETHERTYPE_IPV4, IPV4_HEADER_LEN + payloadLen);
    return at < 0 ? -1 : at + emitIpv4(station!.port!.bytes, at, src, dst, protocol, payloadLen);
  }

  /** Room for an IP packet of ours, with the Ethernet header in front of it. */
  #reserve(station: Station | null, etherType: number, len: number): number {
    const port = station?.port ?? null;
    if (station === null || port === null) {
      this.counters.drop('to-guest-no-neighbor');
      return -1;
    }
    const at = port.reserve(ETHERNET_HEADER_LEN + len);
    return at < 0 ? -1 : at + emitEthernet(port.bytes, at, station.mac, this.gatewayMac, etherType);
  }

  /** `code` is one of ICMP's, of whichever family `packet` is. */
  sendIcmpError(neighbor: Neighbor, packet: Uint8Array, code: number): void {
    if (packet[0] >>> 4 === 6) return this.ipv6!.icmp.sendUnreachable(neighbor, packet, code);
    this.icmp.sendError(neighbor, packet, ICMP_UNREACHABLE, code);
  }

  /** `packet`, of either family, was longer than `mtu`, which its way takes. */
  sendTooBig(neighbor: Neighbor, packet: Uint8Array, mtu: number): void {
    if (packet[0] >>> 4 === 6) return this.ipv6!.icmp.sendError(neighbor, packet, ICMPV6_PACKET_TOO_BIG, 0, Math.max(mtu, IPV6_MTU_MIN));
    this.icmp.sendError(neighbor, packet, ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED, mtu);
  }

  // ---- turns ----

  wantFlush(): void {
    if (this.#isFlushWanted || this.#isFlushing || this.#isClosed) return;
    this.#readClock();
    try {
      this.clock.soon(() => {
        if (this.#isFlushWanted) this.flush();
      });
      this.#isFlushWanted = true;
    } catch (error) {
      this.containment.caught('call', error);
    }
  }

  /** Answers everything. What handlers cause meanwhile is done in the same flush. */
  flush(): void {
    if (this.#isFlushing || this.#isClosed) return;
    this.#isFlushing = true;
    this.#isFlushWanted = false;
    try {
      this.#readClock();
      if (this.onFlush !== null) this.containment.run('flush', this.onFlush);
      this.tcp.runTurns();
      this.switch.flushPorts();
      this.timers.arm();
    } catch (error) {
      this.containment.caught('flush', error);
    } finally {
      this.#isFlushing = false;
    }
    // A sink that drained while its batch was being sent.
    if (this.tcp.hasDirty) this.wantFlush();
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    const { containment } = this;
    containment.run('call', () => this.tcp.close());
    containment.run('call', () => this.switch.flushPorts());
    this.#isClosed = true;
    containment.run('call', () => this.neighbors.close());
    containment.run('call', () => this.#reassembler.close());
    containment.run('call', () => this.ipv6?.close());
    containment.run('call', () => this.timers.close());
    containment.run('call', () => this.switch.close());
  }
}

