/*
 * UDP between guests and the host.
 *
 * A flow is a guest's port and a destination; what is sent from one port of a guest leaves from one port of the host, whomever it is for
 * (udp-mapping.ts). A question to DNS or NTP has a connected socket of its own instead: nobody needs to know its port, the kernel lets
 * nobody else answer, and it is gone soon after the answer.
 *
 * A forwarded port has one bound socket for all peers; each peer becomes a flow from a port of the gateway.
 *
 * Flows end when idle: sooner while nobody has answered (as conntrack does). A full table never refuses: the flow that was idle for
 * longest makes room, at first one that nobody has answered, so that a scan does not end a conversation.
 */
import { FlowTable } from '../stack/flow-table.ts';
import { isV6, type FlowIp } from '../stack/ipv6-table.ts';
import type { Stack } from '../stack/stack.ts';
import type { Wakeable } from '../stack/timers.ts';
import type { Datagram } from '../stack/udp.ts';
import type { Ipv4, UnicastIpv4 } from '../wire/addr.ts';
import { formatEndpoint, type IpAddress } from '../wire/addr6.ts';
import { ICMP_ADMIN_PROHIBITED, ICMP_HOST_UNREACHABLE, ICMP_NET_UNREACHABLE, ICMP_PORT_UNREACHABLE } from '../wire/icmp.ts';
import type { FlowInfo } from './flow-list.ts';
import type { HostAliases } from './host-aliases.ts';
import { isExhausted } from './host-error.ts';
import type { HostNet, HostUdp } from './host-net.ts';
import { IdleList, type Idler } from './idle-list.ts';
import type { Policy } from './policy.ts';
import { isAllowed } from './policy.ts';
import { UdpMapping } from './udp-mapping.ts';
import { copyOf } from '../wire/copy.ts';
import { IPV4_HEADER_LEN } from '../wire/ipv4.ts';
import { hopsLeft, IPV6_HEADER_LEN } from '../wire/ipv6.ts';
import { plateauBelow } from '../wire/quote.ts';
import { UDP_HEADER_LEN } from '../wire/udp.ts';

const UNANSWERED_IDLE_MS = 30_000;
/** DNS and NTP: a question, an answer, and no more */
const ONE_SHOT_PORTS: ReadonlySet<number> = new Set([53, 123]);
/** when each question has its answer; one may have been sent twice */
const ONE_SHOT_IDLE_MS = 3000;
/** IP header and 8 bytes: what an ICMP error must quote */
const QUOTE_LEN = 68;
const EPHEMERAL_FIRST = 32_768;
/** what systems send with: a smaller one was chosen on purpose */
const TTL_DEFAULT = 64;
/** what ends no flow: the port may answer later */
const PASSING: ReadonlySet<string> = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EMSGSIZE']);

export class UdpNat {
  readonly #stack: Stack;
  readonly #hostNet: HostNet;
  readonly #policy: Policy;
  readonly #aliases: HostAliases;
  readonly #idleMs: number;
  readonly #maxFlows: number;
  readonly #flows: FlowTable<UdpFlow>;
  readonly #unanswered = new IdleList<UdpFlow>();
  readonly #answered = new IdleList<UdpFlow>();
  /** by guest address and port */
  readonly #mappings = new Map<number, UdpMapping>();
  /** flows of forwarded ports by "socket peer" */
  readonly #forwarded = new Map<HostUdp, Map<number, UdpFlow>>();
  #nextPort = EPHEMERAL_FIRST;
  /** null when it has been told that the table is full */
  #notice: ((line: string) => void) | null;

  constructor(
    stack: Stack, hostNet: HostNet, policy: Policy, aliases: HostAliases, idleMs: number, maxFlows: number, notice: (line: string) => void = () => {},
  ) {
    this.#notice = notice;
    this.#stack = stack;
    this.#hostNet = hostNet;
    this.#policy = policy;
    this.#aliases = aliases;
    this.#idleMs = idleMs;
    this.#maxFlows = maxFlows;
    this.#flows = new FlowTable(stack.random.u32());
  }

  get flowCount(): number {
    return this.#flows.size;
  }

  /** ports of the host that stand for ports of guests */
  get mappingCount(): number {
    return this.#mappings.size;
  }

  *flows(nowMs: number): Iterable<FlowInfo> {
    for (const flow of this.#flows.values()) yield flow.info(nowMs);
  }

  /** A datagram for beyond the gateway, or for a forwarded flow at it. Borrowed. */
  onDatagram(datagram: Datagram, mayOpen: boolean): void {
    const { src, srcPort, dst, dstPort } = datagram;
    let flow = this.#flows.get(src, srcPort, dst, dstPort);
    if (flow === null) {
      flow = mayOpen ? this.#open(datagram) : null;
      if (flow === null) {
        if (mayOpen) return;
        this.#stack.counters.drop('udp-no-listener');
        return this.#refuse(datagram, ICMP_PORT_UNREACHABLE);
      }
    }
    flow.sendToHost(copyOf(datagram.bytes, datagram.start, datagram.end), hopsLeft(datagram.bytes, datagram.ipStart), this.#stack.nowMs);
  }

  #open(datagram: Datagram): UdpFlow | null {
    const { src, srcPort, dst, dstPort } = datagram;
    const { counters } = this.#stack;
    const hostIp = this.#aliases.hostAddress(dst);
    if (dstPort === 0) {
      counters.drop('udp-no-listener');
      return null;
    }
    if (!isAllowed(this.#policy, 'udp', hostIp, dstPort)) {
      counters.drop('udp-denied');
      this.#refuse(datagram, ICMP_ADMIN_PROHIBITED);
      return null;
    }
    const quote = copyOf(datagram.bytes, datagram.ipStart, Math.min(datagram.end, datagram.ipStart + QUOTE_LEN));
    const flow = new UdpFlow(this, this.#stack, src, srcPort, dst, dstPort, this.#idleMs, quote);
    flow.dialledIp = hostIp;
    this.#keep(flow);
    if (!flow.isOneShot) this.#map(flow, hostIp);
    if (flow.mapping === null || (flow.mapping.socket.port > 0 && flow.mapping.takeTwin(flow))) {
      flow.own = this.#hostNet.connectUdp(hostIp, dstPort, {
        onMessage: (bytes) => flow.sendToGuest(bytes),
        onError: (error) => flow.onOwnError(error),
      }, flow.mapping?.socket.port);
    }
    return flow;
  }

  /** Gives a flow its part in the mapping of its guest's port. */
  #map(flow: UdpFlow, hostIp: IpAddress): void {
    const { guestIp, guestPort } = flow;
    const key = guestIp * 0x10000 + guestPort;
    let mapping = this.#mappings.get(key);
    if (mapping === undefined) {
      const made = new UdpMapping(guestIp, guestPort, TTL_DEFAULT);
      made.socket = this.#hostNet.openUdp(isV6(guestIp), {
        onMessage: (bytes, ip, port) => this.#onMapped(made, bytes, ip, port),
        onError: (error, ip, port) => this.#onMappingError(made, error, ip, port),
      });
      mapping = made;
      this.#mappings.set(key, mapping);
    }
    flow.mapping = mapping;
    mapping.add(flow, hostIp, flow.remotePort);
  }

  #onMapped(mapping: UdpMapping, bytes: Uint8Array, ip: IpAddress, port: number): void {
    const known = mapping.flowOf(ip, port);
    if (known !== null) return known.sendToGuest(bytes);
    const { counters } = this.#stack;
    const remoteIp = mapping.nameOf(ip);
    if (remoteIp === null || port === 0) return counters.drop('udp-filtered');
    if (!isAllowed(this.#policy, 'udp', ip, port)) return counters.drop('udp-denied');
    const { guestIp, guestPort } = mapping;
    if (this.#flows.get(guestIp, guestPort, remoteIp, port) !== null) return counters.drop('udp-filtered');
    const flow = new UdpFlow(this, this.#stack, guestIp, guestPort, remoteIp, port, this.#idleMs, null);
    flow.dialledIp = ip;
    this.#keep(flow);
    flow.mapping = mapping;
    mapping.add(flow, ip, port);
    flow.sendToGuest(bytes);
  }

  /** `ip:port` is whom it was about, where that is known: all others go on. */
  #onMappingError(mapping: UdpMapping, error: string, ip?: IpAddress, port?: number): void {
    if (ip !== undefined && port !== undefined) return mapping.flowOf(ip, port)?.onError(error);
    for (const flow of mapping.flows()) flow.onError(error);
  }

  #refuse(datagram: Datagram, code: number): void {
    this.#stack.sendIcmpError(datagram.neighbor, datagram.bytes.subarray(datagram.ipStart, datagram.end), code);
  }

  /** A datagram that reached a forwarded port of the host, from `peerIp:peerPort`. */
  onForwarded(socket: HostUdp, guestIp: UnicastIpv4, guestPort: number, peerIp: Ipv4, peerPort: number, bytes: Uint8Array): void {
    let peers = this.#forwarded.get(socket);
    if (peers === undefined) {
      peers = new Map();
      this.#forwarded.set(socket, peers);
    }
    const key = peerIp * 0x10000 + peerPort;
    const known = peers.get(key);
    if (known !== undefined) return known.sendToGuest(bytes);
    const { gatewayIp } = this.#stack.config;
    const port = this.#freePort(guestIp, guestPort, gatewayIp);
    const flow = new UdpFlow(this, this.#stack, guestIp, guestPort, gatewayIp, port, this.#idleMs, null);
    flow.peer = { socket, ip: peerIp, port: peerPort, forget: () => peers.delete(key) };
    this.#keep(flow);
    peers.set(key, flow);
    this.#stack.neighbors.resolve(guestIp, (isFound) => {
      if (isFound) flow.sendToGuest(bytes);
      else flow.close();
    });
  }

  #freePort(guestIp: UnicastIpv4, guestPort: number, gatewayIp: UnicastIpv4): number {
    do {
      this.#nextPort = this.#nextPort >= 65_535 ? EPHEMERAL_FIRST : this.#nextPort + 1;
    } while (this.#flows.get(guestIp, guestPort, gatewayIp, this.#nextPort) !== null);
    return this.#nextPort;
  }

  /** The flows of a forward that was taken back. */
  closeForwarded(socket: HostUdp): void {
    for (const flow of this.#forwarded.get(socket)?.values() ?? []) flow.close();
    this.#forwarded.delete(socket);
  }

  /** Whether a datagram between the two may be under way, to or from the guest. */
  has(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): boolean {
    return this.#flows.get(guestIp, guestPort, remoteIp, remotePort) !== null;
  }

  /** The guest says that nobody listens there: as on a host, the port of a program that has gone is closed. */
  onGuestRefused(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): void {
    const flow = this.#flows.get(guestIp, guestPort, remoteIp, remotePort);
    if (flow === null) return;
    this.#stack.counters.udpRefusedByGuest++;
    flow.close();
  }

  /** A flow holds its addresses while it is in the table. */
  #keep(flow: UdpFlow): void {
    if (this.#flows.size >= this.#maxFlows) {
      this.#notice?.(`${this.#maxFlows} UDP flows are open: from now on each new one ends the one that was idle for longest`);
      this.#notice = null;
      this.evict();
    }
    this.#stack.counters.udpFlowsMade++;
    this.#flows.set(flow.guestIp, flow.guestPort, flow.remoteIp, flow.remotePort, flow);
    this.#unanswered.add(flow);
    this.#stack.addresses.retain(flow.guestIp);
    this.#stack.addresses.retain(flow.remoteIp);
  }

  /** Ends the flow that was idle for longest. */
  evict(): void {
    const flow = this.#unanswered.oldest ?? this.#answered.oldest;
    if (flow === null) return;
    this.#stack.counters.udpFlowsEvicted++;
    flow.close();
  }

  onHeard(flow: UdpFlow): void {
    (flow.hasAnswer ? this.#answered : this.#unanswered).touch(flow);
  }

  onAnswered(flow: UdpFlow): void {
    this.#unanswered.remove(flow);
    this.#answered.add(flow);
  }

  remove(flow: UdpFlow): void {
    if (!this.#flows.delete(flow.guestIp, flow.guestPort, flow.remoteIp, flow.remotePort)) return;
    (flow.hasAnswer ? this.#answered : this.#unanswered).remove(flow);
    const { mapping } = flow;
    if (mapping !== null) {
      mapping.remove(flow, flow.dialledIp!, flow.remotePort);
      if (mapping.isUnused) {
        mapping.socket.close();
        this.#mappings.delete(mapping.guestIp * 0x10000 + mapping.guestPort);
      }
    }
    this.#stack.addresses.release(flow.guestIp);
    this.#stack.addresses.release(flow.remoteIp);
  }

  close(): void {
    for (const flow of this.#flows.values()) this.#stack.containment.run('call', () => flow.close());
    this.#forwarded.clear();
  }
}

export class UdpFlow implements Wakeable, Idler {
  wakeAtMs = Infinity;
  older: Idler | null = null;
  newer: Idler | null = null;
  readonly guestIp: FlowIp;
  readonly guestPort: number;
  readonly remoteIp: FlowIp;
  readonly remotePort: number;
  readonly isOneShot: boolean;
  /** connected: a one-shot's only socket, or a twin of the mapping's */
  own: HostUdp | null = null;
  /** of a guest's flow that is no one-shot */
  mapping: UdpMapping | null = null;
  /** of a guest's flow */
  dialledIp: IpAddress | null = null;
  /** of a forwarded flow */
  peer: { socket: HostUdp; ip: Ipv4; port: number; forget: () => void } | null = null;
  /** Either side has heard the other. */
  hasAnswer = false;
  readonly #nat: UdpNat;
  readonly #stack: Stack;
  readonly #idleMs: number;
  readonly #quote: Uint8Array | null;
  readonly #bornMs: number;
  #bytesFromGuest = 0;
  #bytesToGuest = 0;
  /** of the guest's last packet, in `bytes` */
  #lastLen = 0;
  /** of a one-shot: datagrams of the guest's without an answer yet */
  #questions = 0;
  #lastMs: number;
  /** of `own`, in hops */
  #ownTtl = TTL_DEFAULT;
  #isClosed = false;

  constructor(
    nat: UdpNat, stack: Stack, guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number, idleMs: number, quote: Uint8Array | null,
  ) {
    this.#nat = nat;
    this.#stack = stack;
    this.guestIp = guestIp;
    this.guestPort = guestPort;
    this.remoteIp = remoteIp;
    this.remotePort = remotePort;
    // Deviates from RFC 4787 REQ-1 there, and may from REQ-5, which knows shorter times for well-known ports.
    this.isOneShot = quote !== null && ONE_SHOT_PORTS.has(remotePort);
    this.#idleMs = idleMs;
    this.#quote = quote;
    // Not the batch's time: a host's datagram comes at any time, and the last batch may be hours ago.
    this.#bornMs = stack.clock.nowMs();
    this.#lastMs = this.#bornMs;
    stack.timers.schedule(this, this.#lastMs + this.#patienceMs);
  }

  get #patienceMs(): number {
    if (!this.hasAnswer) return Math.min(this.#idleMs, UNANSWERED_IDLE_MS);
    return this.isOneShot && this.#questions <= 0 ? Math.min(this.#idleMs, ONE_SHOT_IDLE_MS) : this.#idleMs;
  }

  info(nowMs: number): FlowInfo {
    const { guestPort, remotePort, peer } = this;
    const { addresses } = this.#stack;
    const remoteIp = addresses.ipOf(this.remoteIp);
    return {
      protocol: 'udp', from: peer === null ? 'guest' : 'host', guestIp: addresses.ipOf(this.guestIp), guestPort, remoteIp, remotePort,
      host: peer === null ? formatEndpoint(this.dialledIp ?? remoteIp, remotePort) : formatEndpoint(peer.ip, peer.port),
      bytesFromGuest: this.#bytesFromGuest, bytesToGuest: this.#bytesToGuest,
      ageMs: nowMs - this.#bornMs, idleMs: nowMs - this.#lastMs, state: this.hasAnswer ? 'answered' : 'unanswered',
    };
  }

  #noteAnswer(): void {
    if (this.hasAnswer) return this.#nat.onHeard(this);
    this.hasAnswer = true;
    this.#nat.onAnswered(this);
  }

  /** `ttl` is what the datagram had when it came to us. */
  sendToHost(payload: Uint8Array, ttl: number, nowMs: number): void {
    this.#lastMs = nowMs;
    this.#bytesFromGuest += payload.length;
    this.#lastLen = payload.length + UDP_HEADER_LEN + (isV6(this.guestIp) ? IPV6_HEADER_LEN : IPV4_HEADER_LEN);
    if (this.#quote === null) {
      // The other side had spoken first.
      this.#noteAnswer();
      if (this.peer !== null) return this.peer.socket.send(payload, this.peer.ip, this.peer.port);
    } else {
      this.#questions++;
      this.#nat.onHeard(this);
    }
    // A datagram that may go less far than ours would must not: its sender is measuring the way (traceroute).
    const hostTtl = ttl < TTL_DEFAULT ? Math.max(ttl - 1, 1) : TTL_DEFAULT;
    const { own, mapping } = this;
    if (own !== null) {
      if (hostTtl !== this.#ownTtl) own.setTtl(hostTtl);
      this.#ownTtl = hostTtl;
      return own.send(payload);
    }
    if (mapping === null) return;
    if (hostTtl !== mapping.ttl) mapping.socket.setTtl(hostTtl);
    mapping.ttl = hostTtl;
    mapping.socket.send(payload, this.dialledIp!, this.remotePort);
  }

  sendToGuest(payload: Uint8Array): void {
    if (this.#isClosed) return;
    const neighbor = this.#stack.neighborOf(this.guestIp);
    if (neighbor === null || !this.#stack.udp.send(neighbor, this.remoteIp, this.remotePort, this.guestPort, payload)) this.#stack.counters.udpDropped++;
    else this.#bytesToGuest += payload.length;
    this.#lastMs = this.#stack.nowMs;
    if (this.#quote === null) return this.#nat.onHeard(this);
    this.#questions--;
    this.#noteAnswer();
    if (this.isOneShot && this.#questions <= 0) this.#stack.timers.schedule(this, this.#lastMs + this.#patienceMs);
  }

  /** The twin can't be had, or broke: the mapping's socket does without it. */
  onOwnError(error: string): void {
    const isOfSocket = !PASSING.has(error) && error !== 'EACCES' && error !== 'EPERM';
    if (this.mapping === null || !isOfSocket) return this.onError(error);
    this.dropOwnSocket();
  }

  dropOwnSocket(): void {
    this.own?.close();
    this.own = null;
  }

  onError(error: string): void {
    const neighbor = this.#stack.neighborOf(this.guestIp);
    if (neighbor !== null && this.#quote !== null) {
      const code = error === 'ECONNREFUSED' ? ICMP_PORT_UNREACHABLE
        : error === 'EHOSTUNREACH' ? ICMP_HOST_UNREACHABLE
        : error === 'ENETUNREACH' ? ICMP_NET_UNREACHABLE
        // What the host lacks now it may have later.
        : isExhausted(error) ? ICMP_HOST_UNREACHABLE
        : error === 'EACCES' || error === 'EPERM' ? ICMP_ADMIN_PROHIBITED : -1;
      if (code >= 0) this.#stack.sendIcmpError(neighbor, this.#quote, code);
      // Only who has asked not to have it cut is told.
      else if (error === 'EMSGSIZE' && (isV6(this.guestIp) || (this.#quote[6] & 0x40) !== 0)) this.#stack.sendTooBig(neighbor, this.#quote, plateauBelow(this.#lastLen));
    }
    if (PASSING.has(error)) return;
    this.close();
    // Its next datagram is to find room.
    if (isExhausted(error)) this.#nat.evict();
  }

  onWake(nowMs: number): void {
    const dueMs = this.#lastMs + this.#patienceMs;
    if (dueMs <= nowMs) this.close();
    else this.#stack.timers.schedule(this, dueMs);
  }

  onWakeFailed(): void {
    this.close();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stack.timers.cancel(this);
    this.own?.close();
    this.peer?.forget();
    this.#nat.remove(this);
  }
}
