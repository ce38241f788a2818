/*
 * The receiving half of a connection: what is in order, what came too early, and the window.
 *
 *     in order, with the application | free          |
 *   --------------------------------+---------------+-----------> sequence
 *                                   nxt             edge
 *         held (not yet taken by       ^ pieces that came early, at most PIECES_MAX,
 *         the host socket)             copied, reported by SACK
 *
 * `edge` is the right edge that the peer was last told, and never moves left (RFC 9293 §3.8.6.2.1, "do not shrink").
 * It moves right only as far as `held` leaves room in `bufferMax`, so a host socket that does not take data closes the
 * window, and the flow holds at most `bufferMax` bytes. `bufferMax` starts small and doubles while the host keeps up.
 * Data is given on as it lies in the frame (borrowed); only early data is copied.
 */
import { TCP_SACK_MAX } from '../../wire/tcp-options.ts';
import type { Seq } from './seq.ts';
import { seqAdd, seqDiff, seqLe, seqLt } from './seq.ts';
import { copyOf } from '../../wire/copy.ts';

export const RECEIVE_BUFFER_INITIAL = 256 * 1024;
/** what a flow may still hold when all flows together hold too much */
export const RECEIVE_BUFFER_LEAST = 32 * 1024;
/** early pieces of one flow: beyond it they are dropped, and sent again by the peer */
const PIECES_MAX = 512;

interface Piece {
  seq: Seq;
  readonly bytes: Uint8Array;
}

export class ReceiveSide {
  irs: Seq;
  nxt: Seq;
  edge: Seq;
  /** what the peer's window fields are not, but ours are shifted by */
  scale = 0;
  bufferMax = RECEIVE_BUFFER_INITIAL;
  /** with the application, in `bytes` */
  held = 0;
  /** position of the peer's FIN, null until it has come, in order or not */
  finSeq: Seq | null = null;
  #pieces: Piece[] = [];
  /** start of the piece that came last: its block is the first to be reported (RFC 2018 §4) */
  #latest: Seq | null = null;
  #deliveredSinceGrown = 0;
  readonly sackEdges: number[] = [0, 0, 0, 0, 0, 0, 0, 0];

  constructor(irs: Seq) {
    this.irs = irs;
    this.nxt = seqAdd(irs, 1);
    this.edge = this.nxt;
  }

  get hasEarly(): boolean {
    return this.#pieces.length > 0;
  }

  get earlyCount(): number {
    return this.#pieces.length;
  }

  /** The window to announce now, in the units of the header; moves `edge`. */
  announce(): number {
    const free = Math.max(0, this.bufferMax - this.held);
    let window = Math.min(free >>> this.scale, 0xffff);
    const promised = seqDiff(this.edge, this.nxt);
    // Rounding must not take back what was promised.
    if (window << this.scale < promised) window = Math.min(Math.ceil(promised / (1 << this.scale)), 0xffff);
    const edge = seqAdd(this.nxt, window << this.scale);
    if (seqLt(this.edge, edge)) this.edge = edge;
    return window;
  }

  /** RFC 9293 §3.8.6.2.2: a larger window is worth a segment of its own only when much larger, or the first after none. */
  isUpdateWorthwhile(mss: number): boolean {
    const free = Math.max(0, this.bufferMax - this.held);
    const gain = free - seqDiff(this.edge, this.nxt);
    return gain >= Math.min(this.bufferMax >> 1, Math.max(2 * mss, 128 * 1024)) || (seqDiff(this.edge, this.nxt) < mss && gain >= mss);
  }

  /** In-order data was handed on. Grows the buffer while the host takes all that comes. */
  onDelivered(len: number, bufferLimit: number): void {
    this.#deliveredSinceGrown += len;
    if (this.#deliveredSinceGrown < 2 * this.bufferMax) return;
    this.#deliveredSinceGrown = 0;
    if (this.held <= this.bufferMax >> 2 && 2 * this.bufferMax <= bufferLimit) this.bufferMax *= 2;
  }

  /** Keeps data that lies beyond `nxt`, copied. False when it was refused. */
  keepEarly(seq: Seq, bytes: Uint8Array, start: number, end: number): boolean {
    const pieces = this.#pieces;
    let at = pieces.length;
    while (at > 0 && seqLt(seq, pieces[at - 1].seq)) at--;
    let from = start;
    if (at > 0) {
      const before = pieces[at - 1];
      const overlap = seqDiff(seqAdd(before.seq, before.bytes.length), seqAdd(seq, from - start));
      if (overlap > 0) from += overlap;
    }
    let to = end;
    // Pieces behind that are covered go; one that is partly covered keeps its tail and cuts ours.
    while (at < pieces.length && seqLe(seqAdd(pieces[at].seq, pieces[at].bytes.length), seqAdd(seq, end - start))) pieces.splice(at, 1);
    if (at < pieces.length) {
      const overlap = seqDiff(seqAdd(seq, end - start), pieces[at].seq);
      if (overlap > 0) to -= overlap;
    }
    this.#latest = seq;
    if (from >= to) return true;
    if (pieces.length >= PIECES_MAX) return false;
    pieces.splice(at, 0, { seq: seqAdd(seq, from - start), bytes: copyOf(bytes, from, to) });
    return true;
  }

  /** The next early piece that has come into order, `nxt` not yet moved; null for none. */
  takeInOrder(): Uint8Array | null {
    while (this.#pieces.length > 0 && seqLe(this.#pieces[0].seq, this.nxt)) {
      const piece = this.#pieces.shift()!;
      const old = seqDiff(this.nxt, piece.seq);
      if (old < piece.bytes.length) return old === 0 ? piece.bytes : piece.bytes.subarray(old);
    }
    return null;
  }

  /** Fills `sackEdges` with up to `max` blocks. Returns how many. */
  fillSack(max: number): number {
    const edges = this.sackEdges;
    let count = 0;
    let firstAt = -1;
    const limit = Math.min(max, TCP_SACK_MAX);
    // Twice over the pieces: the block of the latest first, then the others from the left.
    for (let pass = 0; pass < 2 && count < limit; pass++) {
      let i = 0;
      while (i < this.#pieces.length && count < limit) {
        const from = i;
        const start = this.#pieces[i].seq;
        let end = seqAdd(start, this.#pieces[i].bytes.length);
        while (++i < this.#pieces.length && this.#pieces[i].seq === end) end = seqAdd(end, this.#pieces[i].bytes.length);
        const isLatest = this.#latest !== null && seqLe(start, this.#latest) && seqLt(this.#latest, end);
        if (pass === 0 ? !isLatest : from === firstAt) continue;
        if (pass === 0) firstAt = from;
        edges[2 * count] = start;
        edges[2 * count + 1] = end;
        count++;
        if (pass === 0) break;
      }
    }
    return count;
  }

  clear(): void {
    this.#pieces = [];
  }
}
