/*
 * ICMP errors that guests send about what we have sent them.
 *
 *   too big (RFC 1191, RFC 8201)   a guest that routes for others has a smaller link: segments of that connection get smaller and go again at once,
 *                                  datagrams to that address are fragmented, later connections to it begin so, for PATH_MTU_MS
 *   unreachable                    ends a connection that we are opening; a UDP flow, when it is the port that nobody listens on
 *
 * Anything may be forged (RFC 5927): an error counts only when it comes from the station that the address is reached by, quotes a packet to
 * it from the address that the error is sent to, of a flow that exists, and, of TCP, a sequence number that is under way. A link is taken to
 * be no smaller than Linux takes it, however small it says to be: small segments cost the host more than the guest.
 */
import { isUnicast } from '../wire/addr.ts';
import { isSameIpv6, type IpAddress } from '../wire/addr6.ts';
import { ICMP_FRAGMENTATION_NEEDED, ICMP_PORT_UNREACHABLE, ICMP_UNREACHABLE } from '../wire/icmp.ts';
import { ICMPV6_PACKET_TOO_BIG, ICMPV6_PORT_UNREACHABLE, ICMPV6_UNREACHABLE } from '../wire/icmpv6.ts';
import { IPPROTO_TCP } from '../wire/ipv4.ts';
import { IPV6_MTU_MIN } from '../wire/ipv6.ts';
import { parseQuote, plateauBelow, type Quote } from '../wire/quote.ts';
import type { FlowIp, Ipv6Handle } from './ipv6-table.ts';
import { toSeq } from './tcp/seq.ts';
import type { Stack } from './stack.ts';
import type { Station } from './switch.ts';

/** smallest MTU of a path that is believed, in `bytes`; Linux's min_pmtu */
const PATH_MTU_MIN = 552;
/** RFC 1191 §6.3: how long it is believed */
const PATH_MTU_MS = 600_000;

/** Who is asked about UDP, whose flows the stack does not know. */
export interface UdpOwner {
  has(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): boolean;
  onGuestRefused(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): void;
}

export class GuestErrors {
  udpOwner: UdpOwner | null = null;
  readonly #stack: Stack;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** `bytes[start, end)` is what the error quotes, `rest` its second word, `to` whom it was sent to. False: it says nothing to us. */
  onIcmp(station: Station, to: IpAddress, type: number, code: number, rest: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (type !== ICMP_UNREACHABLE) return false;
    const quote = parseQuote(bytes, start, end);
    if (quote === null || typeof quote.src !== 'number' || quote.src !== to) return false;
    if (code !== ICMP_FRAGMENTATION_NEEDED) return this.#onUnreachable(station, quote, code === ICMP_PORT_UNREACHABLE);
    const mtu = rest & 0xffff;
    // Routers of before RFC 1191 say 0.
    return this.#onTooBig(station, quote, Math.max(mtu === 0 ? plateauBelow(quote.len) : mtu, PATH_MTU_MIN));
  }

  onIcmpv6(station: Station, to: Ipv6Handle, type: number, code: number, rest: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (type !== ICMPV6_UNREACHABLE && type !== ICMPV6_PACKET_TOO_BIG) return false;
    const quote = parseQuote(bytes, start, end);
    if (quote === null || typeof quote.src === 'number') return false;
    const { addresses } = this.#stack;
    if (!isSameIpv6(quote.src, addresses.addressOf(to))) return false;
    if (type === ICMPV6_UNREACHABLE) return this.#onUnreachable(station, quote, code === ICMPV6_PORT_UNREACHABLE);
    // RFC 8201 §4: less than every link must carry is no reason to send less.
    return this.#onTooBig(station, quote, Math.max(rest, IPV6_MTU_MIN));
  }

  #onTooBig(station: Station, quote: Quote, mtu: number): boolean {
    return this.#heed(station, quote, (guestIp, remoteIp) => {
      const neighbor = this.#stack.neighborOf(guestIp)!;
      if (mtu >= this.#stack.mtuTo(neighbor) && quote.protocol !== IPPROTO_TCP) return false;
      const isUnderWay = quote.protocol === IPPROTO_TCP
        ? this.#stack.tcp.connectionOf(guestIp, quote.dstPort, remoteIp, quote.srcPort)?.onPathMtu(mtu, toSeq(quote.seq)) === true
        : this.udpOwner?.has(guestIp, quote.dstPort, remoteIp, quote.srcPort) === true;
      if (!isUnderWay) return false;
      neighbor.pathMtu = Math.min(mtu, this.#stack.mtuTo(neighbor));
      neighbor.pathMtuUntilMs = this.#stack.nowMs + PATH_MTU_MS;
      return true;
    });
  }

  #onUnreachable(station: Station, quote: Quote, isPort: boolean): boolean {
    return this.#heed(station, quote, (guestIp, remoteIp) => {
      if (quote.protocol === IPPROTO_TCP) {
        return this.#stack.tcp.connectionOf(guestIp, quote.dstPort, remoteIp, quote.srcPort)?.onUnreachable(toSeq(quote.seq)) === true;
      }
      if (!isPort || this.udpOwner?.has(guestIp, quote.dstPort, remoteIp, quote.srcPort) !== true) return false;
      this.udpOwner.onGuestRefused(guestIp, quote.dstPort, remoteIp, quote.srcPort);
      return true;
    });
  }

  #heed(station: Station, quote: Quote, fn: (guestIp: FlowIp, remoteIp: FlowIp) => boolean): boolean {
    const isHeeded = this.#withFlow(station, quote, fn);
    if (isHeeded) this.#stack.counters.icmpErrorsHeeded++;
    return isHeeded;
  }

  /** Calls `fn` with what the two are called above the wire, if the one that was sent to is reached by this station. */
  #withFlow(station: Station, quote: Quote, fn: (guestIp: FlowIp, remoteIp: FlowIp) => boolean): boolean {
    const { addresses } = this.#stack;
    const { src, dst } = quote;
    if (typeof dst === 'number' || typeof src === 'number') {
      if (typeof dst !== 'number' || typeof src !== 'number' || !isUnicast(dst) || !isUnicast(src)) return false;
      return this.#stack.neighborOf(dst)?.station === station && fn(dst, src);
    }
    const guestIp = addresses.acquireAddress(dst);
    const remoteIp = addresses.acquireAddress(src);
    try {
      return guestIp !== null && remoteIp !== null && this.#stack.neighborOf(guestIp)?.station === station && fn(guestIp, remoteIp);
    } finally {
      if (guestIp !== null) addresses.release(guestIp);
      if (remoteIp !== null) addresses.release(remoteIp);
    }
  }
}
