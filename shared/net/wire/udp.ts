/*
 * UDP header (RFC 768).
 *
 *   0        2        4        6        8
 *   +--------+--------+--------+--------+---------
 *   |src port|dst port| length |checksum| payload
 *   +--------+--------+--------+--------+---------
 *
 * `length` counts the header. Checksum 0 means "none was computed", which IPv4 permits: we accept it and never send it.
 */
import { getU16, setU16 } from '../../bytes.ts';
import type { Ipv4 } from './addr.ts';
import { foldChecksum, pseudoHeaderSum, sumBytes } from './checksum.ts';
import { IPPROTO_UDP } from './ipv4.ts';

export const UDP_HEADER_LEN = 8;

export type UdpDrop = 'udp-truncated' | 'udp-bad-length';

/** Reads one datagram in place. Borrowed. */
export class UdpView {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  /** one past the last payload byte, by the UDP length and not by the IP length */
  end = 0;

  wrap(bytes: Uint8Array, start: number, end: number): UdpDrop | null {
    if (end - start < UDP_HEADER_LEN) return 'udp-truncated';
    const len = getU16(bytes, start + 4);
    // RFC 768 "Length": at least 8. Less than the IP payload is legal padding; more is not.
    if (len < UDP_HEADER_LEN || len > end - start) return 'udp-bad-length';
    this.bytes = bytes;
    this.start = start;
    this.end = start + len;
    return null;
  }

  get srcPort(): number { return getU16(this.bytes, this.start); }
  get dstPort(): number { return getU16(this.bytes, this.start + 2); }
  get checksum(): number { return getU16(this.bytes, this.start + 6); }
  get payloadStart(): number { return this.start + UDP_HEADER_LEN; }

  isChecksumRight(src: Ipv4, dst: Ipv4): boolean {
    if (this.checksum === 0) return true;
    return foldChecksum(sumBytes(this.bytes, this.start, this.end) + pseudoHeaderSum(src, dst, IPPROTO_UDP, this.end - this.start)) === 0;
  }
}

/** Writes the header at `off`, checksum included, in front of `payloadLen` bytes that already lie behind it. */
export function emitUdp(out: Uint8Array, off: number, src: Ipv4, dst: Ipv4, srcPort: number, dstPort: number, payloadLen: number): number {
  const len = UDP_HEADER_LEN + payloadLen;
  setU16(out, off, srcPort);
  setU16(out, off + 2, dstPort);
  setU16(out, off + 4, len);
  setU16(out, off + 6, 0);
  const checksum = foldChecksum(sumBytes(out, off, off + len) + pseudoHeaderSum(src, dst, IPPROTO_UDP, len));
  // RFC 768: a computed checksum of zero is sent as all ones.
  setU16(out, off + 6, checksum === 0 ? 0xffff : checksum);
  return UDP_HEADER_LEN;
}
