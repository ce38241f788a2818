/** ICMPv6 of the gateway: echo, the errors it owes guests (RFC 4443, at a rate shared with ICMP's), and the door to neighbor discovery. */
import type { Ipv6 } from '../wire/addr6.ts';
import { getIpv6, IPV6_ALL_NODES, IPV6_ALL_ROUTERS, isLinkLocal6, isMulticast6, isSameIpv6 } from '../wire/addr6.ts';
import { copyOf } from '../wire/copy.ts';
import {
  emitIcmpv6, ICMPV6_ADDRESS_UNREACHABLE, ICMPV6_ADMIN_PROHIBITED, ICMPV6_ECHO_REPLY, ICMPV6_HEADER_LEN, ICMPV6_NO_ROUTE, ICMPV6_PORT_UNREACHABLE,
  ICMPV6_UNREACHABLE, isIcmpv6ChecksumRight, NDP_HOP_LIMIT, parseIcmpv6,
} from '../wire/icmpv6.ts';
import { ICMP_ADMIN_PROHIBITED, ICMP_HOST_UNREACHABLE, ICMP_NET_UNREACHABLE } from '../wire/icmp.ts';
import { IPPROTO_TCP, IPPROTO_UDP } from '../wire/ipv4.ts';
import type { Ipv6View } from '../wire/ipv6.ts';
import { IPPROTO_ICMPV6, IPV6_HEADER_LEN, IPV6_MTU_MIN } from '../wire/ipv6.ts';
import type { EchoRequest } from './icmp.ts';
import type { Ipv6Layer } from './ipv6.ts';
import type { Ipv6Handle } from './ipv6-table.ts';
import { asV6 } from './ipv6-table.ts';
import type { Neighbor } from './neighbors.ts';
import type { Stack } from './stack.ts';
import type { Station } from './switch.ts';

/** RFC 4443 §2.4 (c): as much of the offender as fits the least MTU */
const QUOTE_MAX = IPV6_MTU_MIN - IPV6_HEADER_LEN - ICMPV6_HEADER_LEN;

export class Icmpv6 {
  readonly #stack: Stack;
  readonly #layer: Ipv6Layer;

  constructor(stack: Stack, layer: Ipv6Layer) {
    this.#stack = stack;
    this.#layer = layer;
  }

  /** `neighbor` is null for the unspecified source. */
  receive(station: Station, neighbor: Neighbor | null, src: Ipv6Handle, dst: Ipv6Handle, ip: Ipv6View): void {
    const { addresses, counters, config } = this.#stack;
    const source = addresses.addressOf(src);
    const target = addresses.addressOf(dst);
    if (config.verifyChecksums && !isIcmpv6ChecksumRight(ip.bytes, ip.payloadStart, ip.end, source, target)) return counters.drop('icmpv6-bad-checksum');
    const message = parseIcmpv6(ip.bytes, ip.payloadStart, ip.end);
    if (typeof message === 'string') return counters.drop(message);
    switch (message.kind) {
      case 'listener': return;
      case 'error': {
        const { type, code, rest, dataStart, dataEnd } = message;
        if (!this.#stack.guestErrors.onIcmpv6(station, dst, type, code, rest, ip.bytes, dataStart, dataEnd)) counters.drop('icmpv6-unrelated');
        return;
      }
      case 'echo-reply': return counters.drop('icmpv6-unsupported');
      case 'echo-request': {
        if (neighbor === null) return counters.drop('ipv6-bad-source');
        const data = copyOf(ip.bytes, message.dataStart, message.dataEnd);
        return this.#onEcho(neighbor, { guestIp: src, dst, id: message.id, seq: message.seq, ttl: ip.hopLimit, data }, dst, target);
      }
      default:
        // RFC 4861 §6.1, §7.1: what a router has forwarded is not from the link.
        if (ip.hopLimit !== NDP_HOP_LIMIT) return counters.drop('ndp-malformed');
        return this.#layer.ndp.onMessage(station, neighbor, neighbor === null ? null : source, message);
    }
  }

  #onEcho(neighbor: Neighbor, request: EchoRequest, dst: Ipv6Handle, target: Ipv6): void {
    if (this.#layer.ours.has(dst)) return this.reply(request, neighbor);
    if (isMulticast6(target)) {
      if (isSameIpv6(target, IPV6_ALL_NODES) || isSameIpv6(target, IPV6_ALL_ROUTERS)) this.reply({ ...request, dst: this.#layer.linkLocal }, neighbor);
      return;
    }
    if (this.#stack.icmp.onEcho !== null) this.#stack.icmp.onEcho(request);
    else this.#stack.counters.drop('icmpv6-unsupported');
  }

  reply(request: EchoRequest, neighbor: Neighbor | null): void {
    if (neighbor === null) return;
    const { addresses } = this.#stack;
    const src = addresses.addressOf(asV6(request.dst));
    const dst = addresses.addressOf(asV6(request.guestIp));
    const message = new Uint8Array(ICMPV6_HEADER_LEN + request.data.length);
    message.set(request.data, ICMPV6_HEADER_LEN);
    emitIcmpv6(message, 0, src, dst, ICMPV6_ECHO_REPLY, 0, request.id * 0x10000 + request.seq, request.data.length);
    this.#layer.send(neighbor, src, dst, IPPROTO_ICMPV6, message);
  }

  /** As for IPv4: `code` is one of ICMP's. */
  sendUnreachable(neighbor: Neighbor, packet: Uint8Array, code: number): void {
    this.sendError(neighbor, packet, ICMPV6_UNREACHABLE, codeFor(code));
  }

  /** `packet` starts with the offender's IP header. */
  sendError(neighbor: Neighbor, packet: Uint8Array, type: number, code: number, rest = 0): void {
    const dst = getIpv6(packet, 8);
    const target = getIpv6(packet, 24);
    // RFC 4443 §2.4 (e): none about a group or another error. What has extension headers could hide one.
    const protocol = packet[6];
    if (isMulticast6(target) || (protocol === IPPROTO_ICMPV6 && packet[IPV6_HEADER_LEN] < 128)) return;
    if (rest === 0 && protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP && protocol !== IPPROTO_ICMPV6) return;
    if (!this.#stack.icmp.takeToken()) return;
    const { config } = this.#layer;
    // Whose port it is says so himself: to traceroute that is the end of the way.
    const isPort = type === ICMPV6_UNREACHABLE && code === ICMPV6_PORT_UNREACHABLE;
    const src = isPort ? target : isLinkLocal6(dst) ? config.linkLocalIp : config.gatewayIp;
    const len = Math.min(packet.length, QUOTE_MAX);
    const message = new Uint8Array(ICMPV6_HEADER_LEN + len);
    message.set(packet.subarray(0, len), ICMPV6_HEADER_LEN);
    emitIcmpv6(message, 0, src, dst, type, code, rest, len);
    this.#stack.counters.icmpErrorsSent++;
    this.#layer.send(neighbor, src, dst, IPPROTO_ICMPV6, message);
  }
}

function codeFor(icmpCode: number): number {
  switch (icmpCode) {
    case ICMP_NET_UNREACHABLE: return ICMPV6_NO_ROUTE;
    case ICMP_HOST_UNREACHABLE: return ICMPV6_ADDRESS_UNREACHABLE;
    case ICMP_ADMIN_PROHIBITED: return ICMPV6_ADMIN_PROHIBITED;
    default: return ICMPV6_PORT_UNREACHABLE;
  }
}
