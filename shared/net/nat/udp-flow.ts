/*
 * UDP between guests and the host.
 *
 * A guest's datagram to a new destination opens a flow: a connected host socket of its own, so that the host's kernel tells us
 * of ICMP errors and lets nobody else answer. A forwarded port has one bound socket for all peers; each peer becomes a flow
 * from a port of the gateway. Flows end when idle: sooner while nobody has answered (as conntrack does), and at once
 * after the answer to a DNS query, whose port no client uses twice.
 */
import { FlowTable } from '../stack/flow-table.ts';
import type { FlowIp } from '../stack/ipv6-table.ts';
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
import type { Policy } from './policy.ts';
import { isAllowed } from './policy.ts';
import { copyOf } from '../wire/copy.ts';
import { hopsLeft } from '../wire/ipv6.ts';

const UNANSWERED_IDLE_MS = 30_000;
const DNS_PORT = 53;
/** IP header and 8 bytes: what an ICMP error must quote */
const QUOTE_LEN = 68;
const EPHEMERAL_FIRST = 32_768;
/** what systems send with: a smaller one was chosen on purpose */
const TTL_DEFAULT = 64;

export class UdpNat {
  readonly #stack: Stack;
  readonly #hostNet: HostNet;
  readonly #policy: Policy;
  readonly #aliases: HostAliases;
  readonly #idleMs: number;
  readonly #maxFlows: number;
  readonly #flows: FlowTable<UdpFlow>;
  /** flows of forwarded ports by "socket peer" */
  readonly #forwarded = new Map<HostUdp, Map<number, UdpFlow>>();
  #nextPort = EPHEMERAL_FIRST;

  constructor(stack: Stack, hostNet: HostNet, policy: Policy, aliases: HostAliases, idleMs: number, maxFlows: number) {
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
    if (this.#flows.size >= this.#maxFlows) {
      counters.drop('udp-flow-cap');
      return null;
    }
    const quote = copyOf(datagram.bytes, datagram.ipStart, Math.min(datagram.end, datagram.ipStart + QUOTE_LEN));
    const flow = new UdpFlow(this, this.#stack, src, srcPort, dst, dstPort, this.#idleMs, quote);
    flow.dialledIp = hostIp;
    this.#keep(flow);
    counters.udpFlowsMade++;
    flow.socket = this.#hostNet.connectUdp(hostIp, dstPort, {
      onMessage: (bytes) => flow.sendToGuest(bytes),
      onError: (error) => flow.onError(error),
    });
    return flow;
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
    if (this.#flows.size >= this.#maxFlows) return this.#stack.counters.drop('udp-flow-cap');
    const { gatewayIp } = this.#stack.config;
    const port = this.#freePort(guestIp, guestPort, gatewayIp);
    const flow = new UdpFlow(this, this.#stack, guestIp, guestPort, gatewayIp, port, this.#idleMs, null);
    flow.peer = { socket, ip: peerIp, port: peerPort, forget: () => peers.delete(key) };
    peers.set(key, flow);
    this.#keep(flow);
    this.#stack.counters.udpFlowsMade++;
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

  /** A flow holds its addresses while it is in the table. */
  #keep(flow: UdpFlow): void {
    this.#flows.set(flow.guestIp, flow.guestPort, flow.remoteIp, flow.remotePort, flow);
    this.#stack.addresses.retain(flow.guestIp);
    this.#stack.addresses.retain(flow.remoteIp);
  }

  remove(flow: UdpFlow): void {
    if (!this.#flows.delete(flow.guestIp, flow.guestPort, flow.remoteIp, flow.remotePort)) return;
    this.#stack.addresses.release(flow.guestIp);
    this.#stack.addresses.release(flow.remoteIp);
  }

  close(): void {
    for (const flow of this.#flows.values()) this.#stack.containment.run('call', () => flow.close());
    this.#forwarded.clear();
  }
}

class UdpFlow implements Wakeable {
  wakeAtMs = Infinity;
  readonly guestIp: FlowIp;
  readonly guestPort: number;
  readonly remoteIp: FlowIp;
  readonly remotePort: number;
  /** of a guest's flow */
  socket: HostUdp | null = null;
  dialledIp: IpAddress | null = null;
  /** of a forwarded flow */
  peer: { socket: HostUdp; ip: Ipv4; port: number; forget: () => void } | null = null;
  readonly #nat: UdpNat;
  readonly #stack: Stack;
  readonly #idleMs: number;
  readonly #quote: Uint8Array | null;
  readonly #bornMs: number;
  #bytesFromGuest = 0;
  #bytesToGuest = 0;
  #lastMs: number;
  #hasAnswer = false;
  /** the socket's, in hops */
  #hostTtl = TTL_DEFAULT;
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
    this.#idleMs = idleMs;
    this.#quote = quote;
    this.#bornMs = stack.nowMs;
    this.#lastMs = stack.nowMs;
    stack.timers.schedule(this, this.#lastMs + this.#patienceMs);
  }

  get #patienceMs(): number {
    return this.#hasAnswer ? this.#idleMs : Math.min(this.#idleMs, UNANSWERED_IDLE_MS);
  }

  info(nowMs: number): FlowInfo {
    const { guestPort, remotePort, peer } = this;
    const { addresses } = this.#stack;
    const remoteIp = addresses.ipOf(this.remoteIp);
    return {
      protocol: 'udp', from: peer === null ? 'guest' : 'host', guestIp: addresses.ipOf(this.guestIp), guestPort, remoteIp, remotePort,
      host: peer === null ? formatEndpoint(this.dialledIp ?? remoteIp, remotePort) : formatEndpoint(peer.ip, peer.port),
      bytesFromGuest: this.#bytesFromGuest, bytesToGuest: this.#bytesToGuest,
      ageMs: nowMs - this.#bornMs, idleMs: nowMs - this.#lastMs, state: this.#hasAnswer ? 'answered' : 'unanswered',
    };
  }

  /** `ttl` is what the datagram had when it came to us. */
  sendToHost(payload: Uint8Array, ttl: number, nowMs: number): void {
    this.#lastMs = nowMs;
    this.#bytesFromGuest += payload.length;
    if (this.peer !== null) {
      this.#hasAnswer = true;
      this.peer.socket.send(payload, this.peer.ip, this.peer.port);
      return;
    }
    // A datagram that may go less far than ours would must not: its sender is measuring the way (traceroute).
    const hostTtl = ttl < TTL_DEFAULT ? Math.max(ttl - 1, 1) : TTL_DEFAULT;
    if (hostTtl !== this.#hostTtl) {
      this.#hostTtl = hostTtl;
      this.socket?.setTtl(hostTtl);
    }
    this.socket?.send(payload);
  }

  sendToGuest(payload: Uint8Array): void {
    if (this.#isClosed) return;
    const neighbor = this.#stack.neighborOf(this.guestIp);
    if (neighbor === null || !this.#stack.udp.send(neighbor, this.remoteIp, this.remotePort, this.guestPort, payload)) this.#stack.counters.udpDropped++;
    else this.#bytesToGuest += payload.length;
    this.#lastMs = this.#stack.nowMs;
    if (this.peer === null) {
      this.#hasAnswer = true;
      if (this.remotePort === DNS_PORT) this.close();
    }
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
    }
    // The port may answer later: the flow stays, unless the socket itself is broken.
    if (error !== 'ECONNREFUSED' && error !== 'EHOSTUNREACH' && error !== 'ENETUNREACH' && error !== 'EMSGSIZE') this.close();
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
    this.socket?.close();
    this.peer?.forget();
    this.#nat.remove(this);
  }
}
