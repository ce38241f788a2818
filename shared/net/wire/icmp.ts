/*
 * ICMP (RFC 792): echo, and the errors that a gateway owes its guests.
 *
 *   0    1    2        4                 8
 *   +----+----+--------+-----------------+---------------------------------------------
 *   |type|code|checksum| id, sequence    | echo: data
 *   |    |    |        | unused, or MTU  | error: IP header of the offender + at least 8 bytes
 *   +----+----+--------+-----------------+---------------------------------------------
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';
import { foldChecksum, sumBytes } from './checksum.ts';

export const ICMP_HEADER_LEN = 8;
export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;

/** codes of ICMP_UNREACHABLE */
export const ICMP_NET_UNREACHABLE = 0;
export const ICMP_HOST_UNREACHABLE = 1;
export const ICMP_PORT_UNREACHABLE = 3;
export const ICMP_FRAGMENTATION_NEEDED = 4;
export const ICMP_ADMIN_PROHIBITED = 13;

/** `data` is a range of the message that was parsed: borrowed. */
export type IcmpRepr =
  | { readonly kind: 'echo-request' | 'echo-reply'; readonly id: number; readonly seq: number; readonly dataStart: number; readonly dataEnd: number }
  | { readonly kind: 'error'; readonly type: number; readonly code: number; readonly rest: number; readonly dataStart: number; readonly dataEnd: number };

export type IcmpDrop = 'icmp-truncated' | 'icmp-unsupported';

export function parseIcmp(bytes: Uint8Array, start: number, end: number): IcmpRepr | IcmpDrop {
  if (end - start < ICMP_HEADER_LEN) return 'icmp-truncated';
  const type = bytes[start];
  const dataStart = start + ICMP_HEADER_LEN;
  if (type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY) {
    if (bytes[start + 1] !== 0) return 'icmp-unsupported';
    const kind = type === ICMP_ECHO_REQUEST ? 'echo-request' : 'echo-reply';
    return { kind, id: getU16(bytes, start + 4), seq: getU16(bytes, start + 6), dataStart, dataEnd: end };
  }
  if (type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED) {
    return { kind: 'error', type, code: bytes[start + 1], rest: getU32(bytes, start + 4), dataStart, dataEnd: end };
  }
  return 'icmp-unsupported';
}

/** Writes the header at `off` in front of `dataLen` bytes that already lie behind it, checksum included. */
export function emitIcmp(out: Uint8Array, off: number, type: number, code: number, rest: number, dataLen: number): number {
  out[off] = type;
  out[off + 1] = code;
  setU16(out, off + 2, 0);
  setU32(out, off + 4, rest >>> 0);
  setU16(out, off + 2, foldChecksum(sumBytes(out, off, off + ICMP_HEADER_LEN + dataLen)));
  return ICMP_HEADER_LEN;
}
