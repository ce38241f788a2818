/*
 * IPv6 of the gateway: what stack.ts does for IPv4, beside it.
 *
 *   Stack.onFrame -> Ipv6Layer.receive -> (reassembly) -> ICMPv6 and neighbor discovery | UDP | TCP -> the same handlers as IPv4's
 *
 * The network is one /64 of unique local addresses. Guests make their own by SLAAC; the gateway is fe80::1 and the prefix's ::1, further
 * addresses of ours are aliases. Above this file an address is a handle (ipv6-table.ts): a packet holds its two while it
 * is handled, and whoever goes on with them holds them himself.
 *
 * Refused here, not in the NAT: destinations whose first 80 bits are zero (unspecified, loopback, and addresses that mean an IPv4
 * one: a policy for IPv4 must not be passed by writing ::ffff:10.0.0.1), link-local ones that are not ours, groups, and from link-local
 * sources what leaves the link (RFC 4007 §9).
 */
import { getU32 } from '../../bytes.ts';
import { invariant } from '../../invariant.ts';
import type { Mac } from '../wire/addr.ts';
import type { Ipv6 } from '../wire/addr6.ts';
import { inCidr6, IPV6_PREFIX_LEN, isLinkLocal6, isMulticast6 } from '../wire/addr6.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, ETHERTYPE_IPV6 } from '../wire/ethernet.ts';
import {
  ICMPV6_ADDRESS_UNREACHABLE, ICMPV6_BEYOND_SCOPE, ICMPV6_PARAMETER_PROBLEM, ICMPV6_TIME_EXCEEDED, ICMPV6_UNREACHABLE,
} from '../wire/icmpv6.ts';
import { IPPROTO_TCP, IPPROTO_UDP } from '../wire/ipv4.ts';
import {
  emitFragmentHeader, emitIpv6, IPPROTO_FRAGMENT, IPPROTO_ICMPV6, IPV6_FRAGMENT_HEADER_LEN, IPV6_HEADER_LEN, IPV6_HOP_LIMIT, Ipv6View,
} from '../wire/ipv6.ts';
import { Icmpv6 } from './icmpv6.ts';
import type { Ipv6Handle } from './ipv6-table.ts';
import { Ndp } from './ndp.ts';
import type { Neighbor } from './neighbors.ts';
import { Reassembler } from './reassembly.ts';
import type { Stack } from './stack.ts';
import type { Port, Station } from './switch.ts';

export interface Ipv6Config {
  /** first address of the network, a /64 */
  readonly prefix: Ipv6;
  readonly gatewayIp: Ipv6;
  /** what the gateway calls itself in neighbor discovery */
  readonly linkLocalIp: Ipv6;
  /** further addresses that the gateway answers for */
  readonly aliases: readonly Ipv6[];
  /** Whether it leads to the world: if not, guests get addresses but no default route. Asked anew now and then. */
  readonly hasRoute: () => boolean;
}

export class Ipv6Layer {
  readonly config: Ipv6Config;
  readonly gateway: Ipv6Handle;
  readonly linkLocal: Ipv6Handle;
  /** handles that are ours, held for good */
  readonly ours: ReadonlySet<Ipv6Handle>;
  readonly ndp: Ndp;
  readonly icmp: Icmpv6;
  readonly #stack: Stack;
  readonly #ip = new Ipv6View();
  readonly #reassembler: Reassembler;
  #identification: number;
  /** of the packet before */
  #lastSrc: Ipv6Handle | null = null;
  #lastDst: Ipv6Handle | null = null;

  constructor(stack: Stack, config: Ipv6Config) {
    this.#stack = stack;
    this.config = config;
    const own = (ip: Ipv6): Ipv6Handle => {
      const handle = stack.addresses.acquireAddress(ip);
      invariant(handle !== null, 'more addresses of the gateway than the table holds');
      return handle;
    };
    this.gateway = own(config.gatewayIp);
    this.linkLocal = own(config.linkLocalIp);
    this.ours = new Set([this.gateway, this.linkLocal, ...config.aliases.map(own)]);
    this.ndp = new Ndp(stack, this);
    this.icmp = new Icmpv6(stack, this);
    this.#reassembler = new Reassembler('ipv6', stack.timers, (reason) => stack.counters.drop(reason));
    this.#identification = stack.random.u32();
  }

  get datagramsHeld(): number {
    return this.#reassembler.datagramsHeld;
  }

  isInPrefix(ip: Ipv6): boolean {
    return inCidr6(ip, { base: this.config.prefix, prefixLen: IPV6_PREFIX_LEN });
  }

  /** Addresses that a station may speak from. */
  isGuestAddress(ip: Ipv6, handle: Ipv6Handle): boolean {
    return (isLinkLocal6(ip) || this.isInPrefix(ip)) && !this.ours.has(handle);
  }

  // ---- from guests ----

  receive(station: Station, bytes: Uint8Array, start: number, end: number): void {
    const { addresses, counters } = this.#stack;
    const ip = this.#ip;
    const drop = ip.wrap(bytes, start, end);
    if (drop !== null) return counters.drop(drop);
    const src = this.#hold(this.#lastSrc, bytes, start + 8);
    if (src === null) return counters.drop('ipv6-address-cap');
    const dst = this.#hold(this.#lastDst, bytes, start + 24);
    try {
      if (dst === null) return counters.drop('ipv6-address-cap');
      this.#lastSrc = src;
      this.#lastDst = dst;
      this.#receive(station, src, dst);
    } finally {
      if (dst !== null) addresses.release(dst);
      addresses.release(src);
    }
  }

  #hold(last: Ipv6Handle | null, bytes: Uint8Array, at: number): Ipv6Handle | null {
    const a = getU32(bytes, at);
    const b = getU32(bytes, at + 4);
    const c = getU32(bytes, at + 8);
    const d = getU32(bytes, at + 12);
    return last !== null && this.#stack.addresses.retainIf(last, a, b, c, d) ? last : this.#stack.addresses.acquire(a, b, c, d);
  }

  #receive(station: Station, src: Ipv6Handle, dst: Ipv6Handle): void {
    const ip = this.#ip;
    const { addresses, counters } = this.#stack;
    const source = addresses.addressOf(src);
    if (source[0] === 0) {
      // RFC 4291 §2.5.2: a guest without an address, which may ask whether one is free and where routers are.
      const isUnspecified = source[1] === 0 && source[2] === 0 && source[3] === 0;
      if (!isUnspecified || ip.protocol !== IPPROTO_ICMPV6 || ip.isFragment) return counters.drop('ipv6-bad-source');
      return this.icmp.receive(station, null, src, dst, ip);
    }
    let neighbor = this.ndp.find(src);
    if (neighbor === null || neighbor.station !== station) {
      if (!this.isGuestAddress(source, src)) return counters.drop('ipv6-bad-source');
      neighbor = this.ndp.learn(src, station);
      if (neighbor === null) return counters.drop('ipv6-neighbor-cap');
    }
    if (ip.isFragment) {
      const whole = this.#reassembler.addV6(ip, this.#stack.nowMs);
      if (whole === null) return;
      const drop = ip.wrap(whole, 0, whole.length);
      if (drop !== null || ip.isFragment) return counters.drop(drop ?? 'ipv6-bad-fragment');
    }
    if (this.ours.has(dst) || this.#isCarried(neighbor, source, addresses.addressOf(dst))) this.#deliver(station, neighbor, src, dst);
  }

  /** Whether a packet for `target`, which is not ours, goes on. If not, that is counted and told where it should be. */
  #isCarried(neighbor: Neighbor, source: Ipv6, target: Ipv6): boolean {
    const ip = this.#ip;
    const { counters } = this.#stack;
    if (isMulticast6(target)) {
      if (ip.protocol === IPPROTO_ICMPV6) return true;
      counters.drop('ipv6-bad-destination');
      return false;
    }
    const isAlwaysElsewhere = (target[0] === 0 && target[1] === 0 && target[2] >>> 16 === 0) || isLinkLocal6(target);
    if (isAlwaysElsewhere || this.isInPrefix(target) || isLinkLocal6(source)) {
      counters.drop('ipv6-bad-destination');
      if (!isAlwaysElsewhere) this.icmp.sendError(neighbor, this.#packet(), ICMPV6_UNREACHABLE, isLinkLocal6(source) ? ICMPV6_BEYOND_SCOPE : ICMPV6_ADDRESS_UNREACHABLE);
      return false;
    }
    if (ip.hopLimit > 1) return true;
    counters.drop('ipv6-hops-exceeded');
    this.icmp.sendError(neighbor, this.#packet(), ICMPV6_TIME_EXCEEDED, 0);
    return false;
  }

  #deliver(station: Station, neighbor: Neighbor, src: Ipv6Handle, dst: Ipv6Handle): void {
    const ip = this.#ip;
    const { tcp, udp, counters } = this.#stack;
    if (ip.protocol === IPPROTO_TCP) tcp.receive(neighbor, src, dst, ip.bytes, ip.start, ip.payloadStart, ip.end);
    else if (ip.protocol === IPPROTO_UDP) udp.receive(station, neighbor, src, dst, ip.bytes, ip.start, ip.payloadStart, ip.end);
    else if (ip.protocol === IPPROTO_ICMPV6) this.icmp.receive(station, neighbor, src, dst, ip);
    else {
      counters.drop('ipv6-unknown-protocol');
      this.icmp.sendError(neighbor, this.#packet(), ICMPV6_PARAMETER_PROBLEM, 1, ip.protocolAt - ip.start);
    }
  }

  #packet(): Uint8Array {
    return this.#ip.bytes.subarray(this.#ip.start, this.#ip.end);
  }

  // ---- to guests ----

  /** Sends a message that the MTU may force into fragments. False when it was dropped. The cold way. */
  send(neighbor: Neighbor, src: Ipv6, dst: Ipv6, protocol: number, message: Uint8Array): boolean {
    const { counters } = this.#stack;
    const mtu = this.#stack.mtuTo(neighbor);
    const port = neighbor.station?.port ?? null;
    if (port === null) {
      counters.drop('to-guest-no-neighbor');
      return false;
    }
    this.#stack.wantFlush();
    const { mac } = neighbor.station!;
    if (IPV6_HEADER_LEN + message.length <= mtu) return this.#sendPacket(port, mac, src, dst, protocol, message, IPV6_HOP_LIMIT);
    const pieceLen = (mtu - IPV6_HEADER_LEN - IPV6_FRAGMENT_HEADER_LEN) & ~7;
    this.#identification = (this.#identification + 1) >>> 0;
    for (let from = 0; from < message.length; from += pieceLen) {
      const to = Math.min(from + pieceLen, message.length);
      const piece = new Uint8Array(IPV6_FRAGMENT_HEADER_LEN + to - from);
      emitFragmentHeader(piece, 0, protocol, from, to < message.length, this.#identification);
      piece.set(message.subarray(from, to), IPV6_FRAGMENT_HEADER_LEN);
      if (!this.#sendPacket(port, mac, src, dst, IPPROTO_FRAGMENT, piece, IPV6_HOP_LIMIT)) return false;
    }
    return true;
  }

  #sendPacket(port: Port, mac: Mac, src: Ipv6, dst: Ipv6, protocol: number, payload: Uint8Array, hopLimit: number): boolean {
    const at = port.reserve(ETHERNET_HEADER_LEN + IPV6_HEADER_LEN + payload.length);
    if (at < 0) return false;
    port.bytes.set(payload, this.emitHeaders(port.bytes, at, mac, src, dst, protocol, payload.length, hopLimit));
    return true;
  }

  /** Writes Ethernet and IPv6 headers at `at`. Returns where the payload goes. */
  emitHeaders(out: Uint8Array, at: number, mac: Mac, src: Ipv6, dst: Ipv6, protocol: number, payloadLen: number, hopLimit: number): number {
    const ip = at + emitEthernet(out, at, mac, this.#stack.gatewayMac, ETHERTYPE_IPV6);
    return ip + emitIpv6(out, ip, src, dst, protocol, payloadLen, hopLimit);
  }

  close(): void {
    this.#reassembler.close();
    this.ndp.close();
    for (const ip of this.ours) this.#stack.addresses.release(ip);
  }
}
