/*
 * The internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit big-endian words.
 *
 * Sums are kept unfolded as plain numbers (exact up to 2^53), added with `+`, and folded once at the end. A sum of an
 * odd number of bytes counts as if padded with a zero; only the last part of a whole may be odd.
 */
import type { Ipv4 } from './addr.ts';
import { simdSum, SUM_MEMORY } from './simd-sum.ts';

/** below it the call costs more than it saves, in `bytes` */
const SIMD_LEAST = 64;

/** Sum of `bytes[start, end)`, unfolded. */
export function sumBytes(bytes: Uint8Array, start: number, end: number): number {
  // High and low bytes apart: no shift per word, and 2^22 words fit in an int32 before either overflows.
  let high = 0;
  let low = 0;
  let i = start;
  if (end - start >= SIMD_LEAST && bytes.buffer === SUM_MEMORY) {
    i += (end - start) & ~15;
    low = simdSum(bytes.byteOffset + start, bytes.byteOffset + i);
  }
  for (const stop = end - 15; i < stop; i += 16) {
    high += bytes[i] + bytes[i + 2] + bytes[i + 4] + bytes[i + 6] + bytes[i + 8] + bytes[i + 10] + bytes[i + 12] + bytes[i + 14];
    low += bytes[i + 1] + bytes[i + 3] + bytes[i + 5] + bytes[i + 7] + bytes[i + 9] + bytes[i + 11] + bytes[i + 13] + bytes[i + 15];
  }
  for (const stop = end - 1; i < stop; i += 2) {
    high += bytes[i];
    low += bytes[i + 1];
  }
  if (i < end) high += bytes[i];
  return high * 256 + low;
}

/** The checksum field's value for an unfolded `sum`. */
export function foldChecksum(sum: number): number {
  let folded = (sum & 0xffff) + Math.floor(sum / 0x10000);
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/** RFC 9293 §3.1, RFC 768: source, destination, zero and protocol, length of the transport header with its payload. */
export function pseudoHeaderSum(src: Ipv4, dst: Ipv4, protocol: number, len: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + len;
}

/** True when `bytes[start, end)`, its checksum field included, sums to all ones together with `initial`. */
export function isChecksumRight(bytes: Uint8Array, start: number, end: number, initial = 0): boolean {
  return foldChecksum(sumBytes(bytes, start, end) + initial) === 0;
}
