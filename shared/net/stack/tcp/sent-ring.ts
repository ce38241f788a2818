/*
 * Every segment in flight, in sequence order: what RACK (RFC 8985) and SACK (RFC 2018) need to know of it.
 *
 * A ring of records in typed arrays; record i is `#at(i)`, i counted from the oldest. Lengths are in sequence space, so
 * SYN and FIN count one. Invariant: `pipe` is the sum of the lengths of records neither SACKED nor LOST;
 * a retransmission clears LOST and puts its bytes back into the pipe.
 */
import type { Seq } from './seq.ts';
import { seqDiff, seqLe, seqLt } from './seq.ts';

export const SACKED = 1;
export const LOST = 2;
/** sent more than once: no round trip sample (Karn) */
export const RETRANSMITTED = 4;
export const HAS_FIN = 8;
export const HAS_SYN = 16;

export class SentRing {
  #seq = new Uint32Array(16);
  #len = new Int32Array(16);
  #flags = new Uint8Array(16);
  #sentMs = new Float64Array(16);
  #head = 0;
  #count = 0;
  /** bytes believed to be on the way */
  pipe = 0;
  sackedCount = 0;
  lostCount = 0;
  /** no record before this one is LOST */
  #lostHint = 0;

  get count(): number {
    return this.#count;
  }

  seq(i: number): Seq { return this.#seq[this.#at(i)] as Seq; }
  len(i: number): number { return this.#len[this.#at(i)]; }
  end(i: number): Seq { const at = this.#at(i); return ((this.#seq[at] + this.#len[at]) >>> 0) as Seq; }
  flags(i: number): number { return this.#flags[this.#at(i)]; }
  sentMs(i: number): number { return this.#sentMs[this.#at(i)]; }

  push(seq: Seq, len: number, flags: number, nowMs: number): void {
    if (this.#count === this.#seq.length) this.#grow();
    const at = (this.#head + this.#count++) & (this.#seq.length - 1);
    this.#seq[at] = seq;
    this.#len[at] = len;
    this.#flags[at] = flags;
    this.#sentMs[at] = nowMs;
    this.pipe += len;
  }

  /** Removes the oldest record, wholly acknowledged. */
  shift(): void {
    const flags = this.#flags[this.#head];
    if ((flags & (SACKED | LOST)) === 0) this.pipe -= this.#len[this.#head];
    if ((flags & SACKED) !== 0) this.sackedCount--;
    if ((flags & LOST) !== 0) this.lostCount--;
    this.#head = (this.#head + 1) & (this.#seq.length - 1);
    this.#count--;
    if (this.#lostHint > 0) this.#lostHint--;
  }

  /** The oldest record was acknowledged up to `una`, somewhere inside it. */
  trimFirst(una: Seq): void {
    const cut = seqDiff(una, this.#seq[this.#head] as Seq);
    if ((this.#flags[this.#head] & (SACKED | LOST)) === 0) this.pipe -= cut;
    this.#seq[this.#head] = una;
    this.#len[this.#head] -= cut;
  }

  markSacked(i: number): void {
    const at = this.#at(i);
    if ((this.#flags[at] & SACKED) !== 0) return;
    if ((this.#flags[at] & LOST) !== 0) {
      this.#flags[at] &= ~LOST;
      this.lostCount--;
    } else this.pipe -= this.#len[at];
    this.#flags[at] |= SACKED;
    this.sackedCount++;
  }

  markLost(i: number): void {
    const at = this.#at(i);
    if ((this.#flags[at] & (SACKED | LOST)) !== 0) return;
    this.#flags[at] |= LOST;
    this.pipe -= this.#len[at];
    this.lostCount++;
    if (i < this.#lostHint) this.#lostHint = i;
  }

  /** Everything that is not SACKED is lost; with `forgetSacks`, that too (the peer may have reneged, RFC 2018 §8). */
  markAllLost(forgetSacks: boolean): void {
    for (let i = 0; i < this.#count; i++) {
      const at = this.#at(i);
      if (forgetSacks && (this.#flags[at] & SACKED) !== 0) {
        this.#flags[at] &= ~SACKED;
        this.sackedCount--;
        this.pipe += this.#len[at];
      }
      this.markLost(i);
    }
  }

  onRetransmit(i: number, nowMs: number): void {
    const at = this.#at(i);
    if ((this.#flags[at] & LOST) !== 0) {
      this.#flags[at] &= ~LOST;
      this.lostCount--;
      this.pipe += this.#len[at];
    }
    this.#flags[at] |= RETRANSMITTED;
    this.#sentMs[at] = nowMs;
  }

  /** Cuts what carries more than `max` bytes of payload into records of that length; what had not arrived of it is LOST. */
  cutTo(max: number): void {
    const old = Array.from({ length: this.#count }, (_, i) => ({ seq: this.seq(i), len: this.len(i), flags: this.flags(i), sentMs: this.sentMs(i) }));
    this.clear();
    for (const { seq, len, flags, sentMs } of old) {
      const payloadLen = len - ((flags & HAS_FIN) !== 0 ? 1 : 0);
      const isCut = payloadLen > max && (flags & HAS_SYN) === 0;
      for (let from = 0; from < len;) {
        // The FIN stays with the last byte.
        const to = isCut && payloadLen - from > max ? from + max : len;
        const own = flags & ~(SACKED | LOST | (to < len ? HAS_FIN : 0));
        this.push(((seq + from) >>> 0) as Seq, to - from, own, sentMs);
        if ((flags & SACKED) !== 0) this.markSacked(this.#count - 1);
        else if (isCut || (flags & LOST) !== 0) this.markLost(this.#count - 1);
        from = to;
      }
    }
  }

  /** index of the oldest LOST record, -1 for none */
  firstLost(): number {
    if (this.lostCount === 0) return -1;
    let i = this.#lostHint;
    while (i < this.#count && (this.flags(i) & LOST) === 0) i++;
    this.#lostHint = i;
    return i < this.#count ? i : -1;
  }

  /** index of the first record that ends behind `seq` */
  indexOf(seq: Seq): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (seqLe(this.end(mid), seq)) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Calls `fn` for every record not yet SACKED that lies wholly within `[start, end)`. */
  forEachWithin(start: Seq, end: Seq, fn: (i: number) => void): void {
    for (let i = this.indexOf(start); i < this.#count && seqLe(this.end(i), end); i++) {
      if (!seqLt(this.seq(i), start) && (this.flags(i) & SACKED) === 0) fn(i);
    }
  }

  clear(): void {
    this.#head = 0;
    this.#count = 0;
    this.pipe = 0;
    this.sackedCount = 0;
    this.lostCount = 0;
    this.#lostHint = 0;
  }

  #at(i: number): number {
    return (this.#head + i) & (this.#seq.length - 1);
  }

  #grow(): void {
    const old = this.#seq.length;
    const seq = new Uint32Array(2 * old);
    const len = new Int32Array(2 * old);
    const flags = new Uint8Array(2 * old);
    const sentMs = new Float64Array(2 * old);
    for (let i = 0; i < this.#count; i++) {
      const at = this.#at(i);
      seq[i] = this.#seq[at];
      len[i] = this.#len[at];
      flags[i] = this.#flags[at];
      sentMs[i] = this.#sentMs[at];
    }
    this.#seq = seq;
    this.#len = len;
    this.#flags = flags;
    this.#sentMs = sentMs;
    this.#head = 0;
  }
}
