/*
 * TCP header (RFC 9293 §3.1).
 *
 *   0        2        4             8             12   13   14       16       18       20
 *   +--------+--------+-------------+-------------+----+----+--------+--------+--------+----------
 *   |src port|dst port| sequence    | acknowledgm.|off |flag| window |checksum| urgent | options, payload
 *   +--------+--------+-------------+-------------+----+----+--------+--------+--------+----------
 *
 * `off` is the header's length in words, in the upper four bits. The window is as sent, unscaled.
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';
import type { Ipv4 } from './addr.ts';
import { foldChecksum, pseudoHeaderSum, sumBytes } from './checksum.ts';
import { IPPROTO_TCP } from './ipv4.ts';

export const TCP_HEADER_LEN = 20;
export const TCP_HEADER_MAX = 60;
export const TCP_FIN = 1;
export const TCP_SYN = 2;
export const TCP_RST = 4;
export const TCP_PSH = 8;
export const TCP_ACK = 16;
export const TCP_URG = 32;

export type TcpDrop = 'tcp-truncated' | 'tcp-bad-offset';

/** Reads one segment in place. Borrowed. */
export class TcpView {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;
  payloadStart = 0;

  wrap(bytes: Uint8Array, start: number, end: number): TcpDrop | null {
    if (end - start < TCP_HEADER_LEN) return 'tcp-truncated';
    const headerLen = (bytes[start + 12] >>> 4) << 2;
    if (headerLen < TCP_HEADER_LEN) return 'tcp-bad-offset';
    if (headerLen > end - start) return 'tcp-truncated';
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.payloadStart = start + headerLen;
    return null;
  }

  get srcPort(): number { return getU16(this.bytes, this.start); }
  get dstPort(): number { return getU16(this.bytes, this.start + 2); }
  get seq(): number { return getU32(this.bytes, this.start + 4); }
  get ack(): number { return getU32(this.bytes, this.start + 8); }
  /** the six flags of RFC 793; ECE and CWR are not ours to judge */
  get flags(): number { return this.bytes[this.start + 13] & 0x3f; }
  get window(): number { return getU16(this.bytes, this.start + 14); }
  get payloadLen(): number { return this.end - this.payloadStart; }
  get optionsStart(): number { return this.start + TCP_HEADER_LEN; }
  get hasOptions(): boolean { return this.payloadStart !== this.start + TCP_HEADER_LEN; }

  isChecksumRight(src: Ipv4, dst: Ipv4): boolean {
    return foldChecksum(sumBytes(this.bytes, this.start, this.end) + pseudoHeaderSum(src, dst, IPPROTO_TCP, this.end - this.start)) === 0;
  }
}

export interface TcpRepr {
  readonly srcPort: number;
  readonly dstPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
}

/**
 * Writes a header at `off`: `optionsLen` bytes of options (a multiple of 4) and `payloadLen` bytes of payload already lie
 * behind it. The cold way, for resets and tests; connections write over a template. Returns the header's length.
 */
export function emitTcp(tcp: TcpRepr, out: Uint8Array, off: number, src: Ipv4, dst: Ipv4, optionsLen: number, payloadLen: number): number {
  const headerLen = TCP_HEADER_LEN + optionsLen;
  setU16(out, off, tcp.srcPort);
  setU16(out, off + 2, tcp.dstPort);
  setU32(out, off + 4, tcp.seq);
  setU32(out, off + 8, tcp.ack);
  out[off + 12] = headerLen << 2;
  out[off + 13] = tcp.flags;
  setU16(out, off + 14, tcp.window);
  setU32(out, off + 16, 0);
  const len = headerLen + payloadLen;
  setU16(out, off + 16, foldChecksum(sumBytes(out, off, off + len) + pseudoHeaderSum(src, dst, IPPROTO_TCP, len)));
  return headerLen;
}
