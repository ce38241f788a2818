/*
 * IPv4 header (RFC 791).
 *
 *   0        1        2                 4
 *   +--------+--------+-----------------+-----------------+-----------------+
 *   |ver |ihl| dscp   | total length    | identification  |0DM| frag offset |
 *   +--------+--------+-----------------+-----------------+-----------------+
 *   8        9        10                12                16                20
 *   | ttl    |protocol| header checksum | source          | destination     | options (ihl - 5 words)
 *   +--------+--------+-----------------+-----------------+-----------------+
 */
import { getU16, setU16 } from '../../bytes.ts';
import type { Ipv4 } from './addr.ts';
import { getIpv4, setIpv4 } from './addr.ts';
import { foldChecksum, isChecksumRight, sumBytes } from './checksum.ts';

export const IPV4_HEADER_LEN = 20;
export const IPPROTO_ICMP = 1;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
/** what we send: RFC 1700's recommended default */
export const IPV4_TTL = 64;

export type Ipv4Drop = 'ipv4-truncated' | 'ipv4-bad-version' | 'ipv4-bad-header-length' | 'ipv4-bad-length';

/** Reads one packet in place. Borrowed. */
export class Ipv4View {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  /** one past the last byte by the total length: Ethernet padding lies behind it */
  end = 0;
  payloadStart = 0;

  wrap(bytes: Uint8Array, start: number, end: number): Ipv4Drop | null {
    if (end - start < IPV4_HEADER_LEN) return 'ipv4-truncated';
    const first = bytes[start];
    if (first >>> 4 !== 4) return 'ipv4-bad-version';
    const headerLen = (first & 15) << 2;
    if (headerLen < IPV4_HEADER_LEN) return 'ipv4-bad-header-length';
    const total = getU16(bytes, start + 2);
    if (total < headerLen) return 'ipv4-bad-length';
    if (total > end - start) return 'ipv4-truncated';
    this.bytes = bytes;
    this.start = start;
    this.end = start + total;
    this.payloadStart = start + headerLen;
    return null;
  }

  get identification(): number { return getU16(this.bytes, this.start + 4); }
  get isDontFragment(): boolean { return (this.bytes[this.start + 6] & 0x40) !== 0; }
  get isMoreFragments(): boolean { return (this.bytes[this.start + 6] & 0x20) !== 0; }
  /** in `bytes` */
  get fragmentOffset(): number { return (getU16(this.bytes, this.start + 6) & 0x1fff) << 3; }
  get isFragment(): boolean { return (getU16(this.bytes, this.start + 6) & 0x3fff) !== 0; }
  get ttl(): number { return this.bytes[this.start + 8]; }
  get protocol(): number { return this.bytes[this.start + 9]; }
  get src(): Ipv4 { return getIpv4(this.bytes, this.start + 12); }
  get dst(): Ipv4 { return getIpv4(this.bytes, this.start + 16); }
  get isHeaderChecksumRight(): boolean { return isChecksumRight(this.bytes, this.start, this.payloadStart); }
}

/**
 * Writes a 20-byte header at `off`, checksum included, in front of `payloadLen` bytes. `fragment` is the field of flags
 * and offset as on the wire. RFC 6864 §4.1: an atomic datagram (DF, not fragmented) may have any identification.
 */
export function emitIpv4(
  out: Uint8Array, off: number, src: Ipv4, dst: Ipv4, protocol: number, payloadLen: number,
  identification = 0, fragment = IPV4_DONT_FRAGMENT,
): number {
  out[off] = 0x45;
  out[off + 1] = 0;
  setU16(out, off + 2, IPV4_HEADER_LEN + payloadLen);
  setU16(out, off + 4, identification);
  setU16(out, off + 6, fragment);
  out[off + 8] = IPV4_TTL;
  out[off + 9] = protocol;
  setU16(out, off + 10, 0);
  setIpv4(out, off + 12, src);
  setIpv4(out, off + 16, dst);
  setU16(out, off + 10, foldChecksum(sumBytes(out, off, off + IPV4_HEADER_LEN)));
  return IPV4_HEADER_LEN;
}
