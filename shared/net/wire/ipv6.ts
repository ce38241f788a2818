/*
 * IPv6 header (RFC 8200) and the extension headers behind it.
 *
 *   0                        4                 6        7        8                24               40
 *   +------------------------+-----------------+--------+--------+----------------+----------------+---------------------
 *   |ver| class | flow label | payload length  | next   | hops   | source         | destination    | extensions, payload
 *   +------------------------+-----------------+--------+--------+----------------+----------------+---------------------
 *
 *   fragment header (44):  | next | 0 | offset (13), 0 (2), more (1) | identification (32) |
 *   the others (0, 43, 60): | next | length in 8 bytes, without the first | ...             |
 *
 * `wrap` walks the extensions up to the upper layer or a fragment header. What it does not know it refuses: routing headers that
 * still want routing (RFC 5095), options that ask to be refused when unknown (§4.2), more than EXTENSIONS_MAX.
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';
import type { Ipv6 } from './addr6.ts';
import { getIpv6, setIpv6 } from './addr6.ts';

export const IPV6_HEADER_LEN = 40;
export const IPV6_FRAGMENT_HEADER_LEN = 8;
export const IPPROTO_ICMPV6 = 58;
export const IPPROTO_FRAGMENT = 44;
export const IPV6_HOP_LIMIT = 64;
/** RFC 8200 §5 */
export const IPV6_MTU_MIN = 1280;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const DESTINATION_OPTIONS = 60;
const EXTENSIONS_MAX = 8;
const OPTION_PAD1 = 0;

export type Ipv6Drop = 'ipv6-truncated' | 'ipv6-bad-version' | 'ipv6-bad-extension';

/** Reads one packet in place. Borrowed. */
export class Ipv6View {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  /** one past the last byte by the payload length: Ethernet padding lies behind it */
  end = 0;
  /** of the upper layer; of a fragment, what lies behind its fragment header */
  payloadStart = 0;
  /** the upper layer's number; of a fragment, what its fragment header names */
  protocol = 0;
  /** where in `bytes` the number of the upper layer stands */
  protocolAt = 0;
  /** where the fragment header is, -1 when there is none */
  fragmentAt = -1;
  /** where in `bytes` the fragment header is named */
  fragmentNamedAt = -1;

  wrap(bytes: Uint8Array, start: number, end: number): Ipv6Drop | null {
    if (end - start < IPV6_HEADER_LEN) return 'ipv6-truncated';
    if (bytes[start] >>> 4 !== 6) return 'ipv6-bad-version';
    const stop = start + IPV6_HEADER_LEN + getU16(bytes, start + 4);
    if (stop > end) return 'ipv6-truncated';
    this.bytes = bytes;
    this.start = start;
    this.end = stop;
    this.payloadStart = start + IPV6_HEADER_LEN;
    this.protocolAt = start + 6;
    this.protocol = bytes[start + 6];
    this.fragmentAt = -1;
    return isExtension(this.protocol) ? this.#walk() : null;
  }

  #walk(): Ipv6Drop | null {
    const { bytes, end } = this;
    for (let count = 0; isExtension(this.protocol); count++) {
      const at = this.payloadStart;
      const kind = this.protocol;
      const len = kind === IPPROTO_FRAGMENT || at + 2 > end ? IPV6_FRAGMENT_HEADER_LEN : 8 + 8 * bytes[at + 1];
      if (count === EXTENSIONS_MAX || at + len > end) return 'ipv6-bad-extension';
      // §4.1: hop-by-hop options come first or not at all.
      if (kind === HOP_BY_HOP && count > 0) return 'ipv6-bad-extension';
      if (kind === ROUTING && (bytes[at + 2] === 0 || bytes[at + 3] !== 0)) return 'ipv6-bad-extension';
      if ((kind === HOP_BY_HOP || kind === DESTINATION_OPTIONS) && !areOptionsKnown(bytes, at + 2, at + len)) return 'ipv6-bad-extension';
      if (kind === IPPROTO_FRAGMENT) this.fragmentNamedAt = this.protocolAt;
      this.payloadStart = at + len;
      this.protocol = bytes[at];
      this.protocolAt = at;
      if (kind !== IPPROTO_FRAGMENT) continue;
      this.fragmentAt = at;
      return null;
    }
    return null;
  }

  get payloadLength(): number { return getU16(this.bytes, this.start + 4); }
  get hopLimit(): number { return this.bytes[this.start + 7]; }
  get src(): Ipv6 { return getIpv6(this.bytes, this.start + 8); }
  get dst(): Ipv6 { return getIpv6(this.bytes, this.start + 24); }
  get isFragment(): boolean { return this.fragmentAt >= 0; }
  /** in `bytes` */
  get fragmentOffset(): number { return getU16(this.bytes, this.fragmentAt + 2) & 0xfff8; }
  get isMoreFragments(): boolean { return (this.bytes[this.fragmentAt + 3] & 1) !== 0; }
  get identification(): number { return getU32(this.bytes, this.fragmentAt + 4); }
}

/** TTL or hop limit of the packet at `ipStart`, of either family */
export function hopsLeft(bytes: Uint8Array, ipStart: number): number {
  return bytes[ipStart] >>> 4 === 6 ? bytes[ipStart + 7] : bytes[ipStart + 8];
}

function isExtension(protocol: number): boolean {
  return protocol === HOP_BY_HOP || protocol === DESTINATION_OPTIONS || protocol === ROUTING || protocol === IPPROTO_FRAGMENT;
}

/** False when an option does not fit, or is unknown and says by its highest bits that it may not be skipped. */
function areOptionsKnown(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end;) {
    const kind = bytes[at];
    if (kind === OPTION_PAD1) {
      at++;
      continue;
    }
    if (at + 2 > end || at + 2 + bytes[at + 1] > end) return false;
    if (kind >= 0x40) return false;
    at += 2 + bytes[at + 1];
  }
  return true;
}

/** Writes a header at `off` in front of `payloadLen` bytes. Returns IPV6_HEADER_LEN. */
export function emitIpv6(
  out: Uint8Array, off: number, src: Ipv6, dst: Ipv6, protocol: number, payloadLen: number, hopLimit = IPV6_HOP_LIMIT,
): number {
  setU32(out, off, 0x60000000);
  setU16(out, off + 4, payloadLen);
  out[off + 6] = protocol;
  out[off + 7] = hopLimit;
  setIpv6(out, off + 8, src);
  setIpv6(out, off + 24, dst);
  return IPV6_HEADER_LEN;
}

/** Returns IPV6_FRAGMENT_HEADER_LEN. `offset` is in bytes, a multiple of 8. */
export function emitFragmentHeader(out: Uint8Array, off: number, protocol: number, offset: number, isMore: boolean, identification: number): number {
  out[off] = protocol;
  out[off + 1] = 0;
  setU16(out, off + 2, offset | (isMore ? 1 : 0));
  setU32(out, off + 4, identification);
  return IPV6_FRAGMENT_HEADER_LEN;
}
