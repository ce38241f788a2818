/** ICMP of the gateway: echo for its own addresses, and the errors it owes guests, at a limited rate (RFC 1812 §4.3.2.8). */
import type { UnicastIpv4 } from '../wire/addr.ts';
import type { Ipv4View } from '../wire/ipv4.ts';
import { getIpv4, isMulticast, IPV4_ANY, IPV4_BROADCAST } from '../wire/addr.ts';
import { isChecksumRight } from '../wire/checksum.ts';
import { emitIcmp, ICMP_ECHO_REPLY, ICMP_HEADER_LEN, ICMP_PORT_UNREACHABLE, ICMP_UNREACHABLE, parseIcmp } from '../wire/icmp.ts';
import { IPPROTO_ICMP, IPV4_HEADER_LEN } from '../wire/ipv4.ts';
import type { FlowIp } from './ipv6-table.ts';
import { asV4, isV6 } from './ipv6-table.ts';
import type { Neighbor } from './neighbors.ts';
import type { Stack } from './stack.ts';
import type { Station } from './switch.ts';
import { copyOf } from '../wire/copy.ts';

/** errors that may come at once, and per second */
const ERRORS_BURST = 200;
const ERRORS_PER_SECOND = 200;
/** of the offending packet, in `bytes`: RFC 1812 §4.3.2.3 allows up to 576 in all */
const QUOTE_MAX = 548;

/** An echo request for an address that is not the gateway's. `data` is a copy. */
export interface EchoRequest {
  readonly guestIp: FlowIp;
  readonly dst: FlowIp;
  readonly id: number;
  readonly seq: number;
  readonly ttl: number;
  readonly data: Uint8Array;
}

export class Icmp {
  /** Carries an echo to the outside; `reply` with the request when it came back. */
  onEcho: ((request: EchoRequest) => void) | null = null;
  readonly #stack: Stack;
  #tokens = ERRORS_BURST;
  #tokensAtMs = 0;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** A message from `src` to `dst`, which is ours or beyond us. Borrowed. */
  receive(station: Station, neighbor: Neighbor, src: UnicastIpv4, dst: UnicastIpv4, ip: Ipv4View): void {
    const { counters } = this.#stack;
    const icmp = parseIcmp(ip.bytes, ip.payloadStart, ip.end);
    if (typeof icmp === 'string') return counters.drop(icmp);
    if (this.#stack.config.verifyChecksums && !isChecksumRight(ip.bytes, ip.payloadStart, ip.end)) return counters.drop('icmp-bad-checksum');
    if (icmp.kind === 'error') {
      const { type, code, rest, dataStart, dataEnd } = icmp;
      if (!this.#stack.guestErrors.onIcmp(station, ip.dst, type, code, rest, ip.bytes, dataStart, dataEnd)) counters.drop('icmp-unrelated');
      return;
    }
    if (icmp.kind !== 'echo-request') return counters.drop('icmp-unsupported');
    const request = { guestIp: src, dst, id: icmp.id, seq: icmp.seq, ttl: ip.ttl, data: copyOf(ip.bytes, icmp.dataStart, icmp.dataEnd) };
    if (this.#stack.isOurs(dst)) this.reply(request, neighbor);
    else if (this.onEcho !== null) this.onEcho(request);
    else counters.drop('icmp-unsupported');
  }

  /** Of either family. */
  reply(request: EchoRequest, neighbor: Neighbor | null = this.#stack.neighborOf(request.guestIp)): void {
    if (isV6(request.dst)) return this.#stack.ipv6!.icmp.reply(request, neighbor);
    if (neighbor === null) return;
    const message = new Uint8Array(ICMP_HEADER_LEN + request.data.length);
    message.set(request.data, ICMP_HEADER_LEN);
    emitIcmp(message, 0, ICMP_ECHO_REPLY, 0, request.id * 0x10000 + request.seq, request.data.length);
    this.#stack.sendIpv4(neighbor, request.dst, asV4(request.guestIp), IPPROTO_ICMP, message);
  }

  /** `packet` starts with the offender's IP header. `rest` is the second word: of "fragmentation needed", the MTU. */
  sendError(neighbor: Neighbor, packet: Uint8Array, type: number, code: number, rest = 0): void {
    const dst = getIpv4(packet, 16);
    const src = getIpv4(packet, 12);
    // RFC 1122 §3.2.2: none about a broadcast, a fragment but the first, or another error.
    if (dst === IPV4_BROADCAST || isMulticast(dst) || src === IPV4_ANY || ((packet[6] << 8) | packet[7]) & 0x1fff) return;
    if (packet[9] === IPPROTO_ICMP && packet[IPV4_HEADER_LEN] !== 8) return;
    if (!this.takeToken()) return;
    const len = Math.min(packet.length, QUOTE_MAX);
    const message = new Uint8Array(ICMP_HEADER_LEN + len);
    message.set(packet.subarray(0, len), ICMP_HEADER_LEN);
    emitIcmp(message, 0, type, code, rest, len);
    this.#stack.counters.icmpErrorsSent++;
    // Whose port it is says so himself: to traceroute that is the end of the way.
    const from = type === ICMP_UNREACHABLE && code === ICMP_PORT_UNREACHABLE ? dst : this.#stack.config.gatewayIp;
    this.#stack.sendIpv4(neighbor, from, src, IPPROTO_ICMP, message);
  }

  /** Whether one more error may be sent now, of either family. */
  takeToken(): boolean {
    const nowMs = this.#stack.nowMs;
    this.#tokens = Math.min(ERRORS_BURST, this.#tokens + ((nowMs - this.#tokensAtMs) * ERRORS_PER_SECOND) / 1000);
    this.#tokensAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
