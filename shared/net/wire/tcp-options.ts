/*
 * TCP options: a list of kind, length (both counted), value; kinds 0 and 1 are single bytes.
 *
 *   0 end | 1 no-op | 2 MSS (4) | 3 window scale (3) | 4 SACK permitted (2) | 5 SACK blocks (2 + 8n) | 8 timestamps (10)
 *
 * RFC 9293 §3.1 (MUST-6, MUST-7): unknown options are skipped by their length; an illegal length is survived.
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';

const END = 0;
const NOP = 1;
const MSS = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMPS = 8;

export const TCP_TIMESTAMPS_LEN = 12;
/** RFC 7323 §2.3 */
export const TCP_WINDOW_SCALE_MAX = 14;
/** RFC 2018 §3: four fit beside nothing, three beside timestamps */
export const TCP_SACK_MAX = 4;

/** The options of one segment. Flyweight: reused by every `parse`. */
export class TcpOptions {
  /** 0 when absent */
  mss = 0;
  /** -1 when absent */
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;
  sackCount = 0;
  readonly sackStart: number[] = [0, 0, 0, 0];
  readonly sackEnd: number[] = [0, 0, 0, 0];

  clear(): void {
    this.mss = 0;
    this.windowScale = -1;
    this.sackPermitted = false;
    this.hasTimestamps = false;
    this.sackCount = 0;
  }

  /** Reads `bytes[start, end)`. What was read before an illegal length stays valid; false says that there was one. */
  parse(bytes: Uint8Array, start: number, end: number): boolean {
    this.clear();
    let at = start;
    while (at < end) {
      const kind = bytes[at];
      if (kind === END) return true;
      if (kind === NOP) {
        at++;
        continue;
      }
      if (at + 1 >= end) return false;
      const len = bytes[at + 1];
      if (len < 2 || at + len > end) return false;
      this.#take(kind, bytes, at, len);
      at += len;
    }
    return true;
  }

  #take(kind: number, bytes: Uint8Array, at: number, len: number): void {
    if (kind === MSS && len === 4) this.mss = getU16(bytes, at + 2);
    else if (kind === WINDOW_SCALE && len === 3) this.windowScale = Math.min(bytes[at + 2], TCP_WINDOW_SCALE_MAX);
    else if (kind === SACK_PERMITTED && len === 2) this.sackPermitted = true;
    else if (kind === TIMESTAMPS && len === 10) {
      this.hasTimestamps = true;
      this.tsVal = getU32(bytes, at + 2);
      this.tsEcr = getU32(bytes, at + 6);
    } else if (kind === SACK && len >= 10 && (len - 2) % 8 === 0) {
      this.sackCount = Math.min((len - 2) / 8, TCP_SACK_MAX);
      for (let i = 0; i < this.sackCount; i++) {
        this.sackStart[i] = getU32(bytes, at + 2 + 8 * i);
        this.sackEnd[i] = getU32(bytes, at + 6 + 8 * i);
      }
    }
  }
}

/** What a SYN says, in whole words. Returns the options' length. */
export function emitSynOptions(
  out: Uint8Array, at: number, mss: number, windowScale: number, sackPermitted: boolean, timestamps: boolean, tsVal: number, tsEcr: number,
): number {
  let end = at;
  out[end] = MSS;
  out[end + 1] = 4;
  setU16(out, end + 2, mss);
  end += 4;
  if (windowScale >= 0) {
    out[end] = NOP;
    out[end + 1] = WINDOW_SCALE;
    out[end + 2] = 3;
    out[end + 3] = windowScale;
    end += 4;
  }
  if (sackPermitted) {
    out[end] = NOP;
    out[end + 1] = NOP;
    out[end + 2] = SACK_PERMITTED;
    out[end + 3] = 2;
    end += 4;
  }
  if (timestamps) end += emitTimestamps(out, end, tsVal, tsEcr);
  return end - at;
}

/** Two no-ops and the option. Returns TCP_TIMESTAMPS_LEN. */
export function emitTimestamps(out: Uint8Array, at: number, tsVal: number, tsEcr: number): number {
  out[at] = NOP;
  out[at + 1] = NOP;
  out[at + 2] = TIMESTAMPS;
  out[at + 3] = 10;
  setU32(out, at + 4, tsVal);
  setU32(out, at + 8, tsEcr);
  return TCP_TIMESTAMPS_LEN;
}

/** `count` blocks, `[start, end)` pairs in `edges`, behind two no-ops. Returns the length. */
export function emitSack(out: Uint8Array, at: number, edges: readonly number[], count: number): number {
  out[at] = NOP;
  out[at + 1] = NOP;
  out[at + 2] = SACK;
  out[at + 3] = 2 + 8 * count;
  for (let i = 0; i < 2 * count; i++) setU32(out, at + 4 + 4 * i, edges[i]);
  return 4 + 8 * count;
}
