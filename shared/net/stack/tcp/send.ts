/*
 * The sending half of a connection: what may go now, what was lost, how fast.
 *
 *      acknowledged | in flight (SentRing)     | queued, not sent |
 *   ---------------+--------------------------+------------------+----> sequence
 *                  una                        nxt
 *
 * Loss is detected by time (RACK, RFC 8985): a segment is lost when one sent a reordering window later has arrived. It finds
 * lost retransmissions too, which matters here: the guest's NIC drops in bursts, whatever does not fit its ring. A tail
 * that was lost is found by a probe (TLP). Without SACK, three duplicate acknowledgments mark the first segment (RFC 6582).
 *
 * How fast: slow start and congestion avoidance (RFC 5681) with a first window of 10 segments (RFC 6928); in recovery
 * proportional rate reduction (RFC 6937), so that what leaves is bound to what arrives: a guest that takes 8 packets per
 * 10 ms is offered about that, instead of a burst that drops again. Left out: CUBIC (round trips here are below a
 * millisecond), undo of spurious recoveries, ECN, Nagle (the host's writer has already decided).
 */
import type { TcpOptions } from '../../wire/tcp-options.ts';
import { Rto } from './rto.ts';
import { SendQueue } from './send-queue.ts';
import { HAS_SYN, LOST, RETRANSMITTED, SACKED, SentRing } from './sent-ring.ts';
import type { Seq } from './seq.ts';
import { seqAdd, seqDiff, seqLe, seqLt } from './seq.ts';

const CWND_MAX = 8 * 1024 * 1024;
const DUP_THRESH = 3;
/** RFC 8985 §7.3: the peer's longest delay of an acknowledgment */
const MAX_ACK_DELAY_MS = 200;
const PROBE_MIN_MS = 10;

export type CongestionState = 'open' | 'recovery' | 'loss';

export class SendSide {
  readonly iss: Seq;
  una: Seq;
  nxt: Seq;
  /** peer's window behind `una`, unscaled, in `bytes` */
  wnd = 0;
  /** largest window ever offered, in `bytes` */
  maxWnd = 0;
  wl1: Seq;
  wl2: Seq;
  /** shift of the peer's window fields */
  scale = 0;
  /** payload of a full segment, options already subtracted, in `bytes` */
  mss: number;
  hasSack = false;
  readonly queue = new SendQueue();
  readonly sent = new SentRing();
  readonly rto = new Rto();
  cwnd: number;
  ssthresh = Infinity;
  state: CongestionState = 'open';
  /** recovery ends when this is acknowledged */
  recoveryPoint: Seq;
  dupAcks = 0;
  /** the window of congestion, and nothing else, stopped the last output */
  isCwndLimited = false;
  /** when the retransmission timer, RACK's or TLP's runs out; Infinity: off */
  timerAtMs = Infinity;
  timerKind: 'rto' | 'rack' | 'probe' = 'rto';
  #prrDelivered = 0;
  #prrOut = 0;
  #recoverFlight = 0;
  /** of the segment sent last among those that have arrived */
  #rackMs = -1;
  #rackEnd: Seq;
  #rackRttMs = 0;
  /** reordering was seen: RACK waits a quarter round trip before it declares loss */
  #hasReordering = false;
  /** highest sequence that has arrived */
  #forwardAck: Seq;
  /** end of flight when a tail probe was sent; null: none is out */
  #probeEnd: Seq | null = null;
  #lastSendMs = 0;
  /** `una` is behind the SYN, from where on each number is a byte */
  #isSynAcked = false;

  constructor(iss: Seq, mss: number) {
    this.iss = iss;
    this.una = iss;
    this.nxt = iss;
    this.wl1 = iss;
    this.wl2 = iss;
    this.recoveryPoint = iss;
    this.#rackEnd = iss;
    this.#forwardAck = iss;
    this.mss = mss;
    this.cwnd = initialWindow(mss);
  }

  setMss(mss: number): void {
    this.mss = mss;
    this.cwnd = initialWindow(mss);
  }

  /** The path takes less than was thought. What was longer is lost for that reason, which says nothing about congestion. */
  lowerMss(mss: number): void {
    this.mss = mss;
    this.sent.cutTo(mss);
  }

  get flight(): number {
    return seqDiff(this.nxt, this.una);
  }

  /** queued and never sent, in `bytes` of payload */
  get unsent(): number {
    return Math.max(0, this.queue.end - this.#posOf(this.nxt));
  }

  /** position in the queue of a sequence number at or behind `una` */
  posOf(seq: Seq): number {
    return this.#posOf(seq);
  }

  #posOf(seq: Seq): number {
    // The first byte of data is iss + 1. Positions are counted from `una`, as sequence numbers wrap.
    if (!this.#isSynAcked) return this.queue.start + Math.max(0, seqDiff(seq, this.una) - 1);
    return this.queue.start + seqDiff(seq, this.una);
  }

  onSent(len: number, flags: number, nowMs: number): void {
    this.sent.push(this.nxt, len, flags, nowMs);
    this.nxt = seqAdd(this.nxt, len);
    this.#prrOut += len;
    this.#lastSendMs = nowMs;
    if (this.timerAtMs === Infinity) this.armTimer(nowMs);
  }

  onRetransmitted(i: number, nowMs: number): void {
    this.sent.onRetransmit(i, nowMs);
    this.#prrOut += this.sent.len(i);
    this.#lastSendMs = nowMs;
    if (this.timerAtMs === Infinity) this.armTimer(nowMs);
  }

  /** May `len` more bytes leave, for all that congestion control says? */
  hasCwndFor(len: number): boolean {
    return this.sent.pipe + len <= this.cwnd || this.sent.pipe === 0;
  }

  /** RFC 5681 §4.1: after a pause longer than RTO the old window says nothing about the network any more. */
  onBeforeOutput(nowMs: number): void {
    if (this.sent.count === 0 && nowMs - this.#lastSendMs > this.rto.ms) this.cwnd = Math.min(this.cwnd, initialWindow(this.mss));
  }

  /**
   * An acceptable acknowledgment. `una` moves, the scoreboard learns, loss is judged, the window of congestion follows.
   * Returns how many bytes of sequence space were acknowledged.
   */
  onAck(ack: Seq, options: TcpOptions | null, isDuplicate: boolean, tsRttMs: number, nowMs: number): number {
    const acked = seqDiff(ack, this.una);
    const sent = this.sent;
    let delivered = 0;
    let sampleMs = -1;
    while (sent.count > 0 && seqLe(sent.end(0), ack)) {
      if ((sent.flags(0) & SACKED) === 0) {
        delivered += sent.len(0);
        if ((sent.flags(0) & RETRANSMITTED) === 0) sampleMs = nowMs - sent.sentMs(0);
        this.#onArrived(0, nowMs);
      }
      sent.shift();
    }
    if (acked > 0) {
      if (sent.count > 0 && seqLt(sent.seq(0), ack)) {
        delivered += seqDiff(ack, sent.seq(0));
        sent.trimFirst(ack);
      }
      const pos = this.#posOf(ack);
      this.una = ack;
      this.#isSynAcked = true;
      if (pos > this.queue.end) this.queue.release(this.queue.end);
      else this.queue.release(pos);
      this.dupAcks = 0;
      this.rto.onProgress();
    } else if (isDuplicate) {
      this.dupAcks++;
    }
    if (this.hasSack && options !== null && options.sackCount > 0) delivered += this.#onSack(options, nowMs);
    if (tsRttMs >= 0) sampleMs = tsRttMs;
    if (sampleMs >= 0) this.rto.sample(sampleMs);
    const rackAtMs = this.#onCongestion(acked, delivered, nowMs);
    if (acked > 0 || delivered > 0) this.armTimer(nowMs);
    this.#armRack(rackAtMs);
    return acked;
  }

  #onSack(options: TcpOptions, nowMs: number): number {
    let delivered = 0;
    for (let k = 0; k < options.sackCount; k++) {
      const start = options.sackStart[k] as Seq;
      const end = options.sackEnd[k] as Seq;
      // RFC 2883: a block at or below `una` reports a duplicate. Beyond `nxt` or inverted: nonsense.
      if (!seqLt(start, end) || seqLe(end, this.una) || seqLt(this.nxt, end)) continue;
      this.sent.forEachWithin(start, end, (i) => {
        delivered += this.sent.len(i);
        this.#onArrived(i, nowMs);
        this.sent.markSacked(i);
      });
    }
    return delivered;
  }

  /** RFC 8985 §6.2 steps 1 to 3, for a segment that is seen to have arrived. */
  #onArrived(i: number, nowMs: number): void {
    const sent = this.sent;
    const sentMs = sent.sentMs(i);
    const end = sent.end(i);
    const isRetransmitted = (sent.flags(i) & RETRANSMITTED) !== 0;
    if (seqLt(end, this.#forwardAck) && !isRetransmitted) this.#hasReordering = true;
    else if (seqLt(this.#forwardAck, end)) this.#forwardAck = end;
    // Acknowledged sooner than a round trip after its retransmission: it was the original.
    if (isRetransmitted && nowMs - sentMs < this.rto.minRttMs) return;
    if (sentMs > this.#rackMs || (sentMs === this.#rackMs && seqLt(this.#rackEnd, end))) {
      this.#rackMs = sentMs;
      this.#rackEnd = end;
      this.#rackRttMs = nowMs - sentMs;
    }
  }

  /** RFC 8985 §6.2 step 5. Marks what is lost; returns when the next segment would be, Infinity for none. */
  #detectLoss(nowMs: number): number {
    const sent = this.sent;
    let nextMs = Infinity;
    if (this.#rackMs < 0) return nextMs;
    const reorderMs =
      !this.#hasReordering && (this.state !== 'open' || sent.sackedCount >= DUP_THRESH) ? 0 : Math.min(this.rto.minRttMs / 4, Math.max(0, this.rto.srttMs));
    for (let i = 0; i < sent.count; i++) {
      const flags = sent.flags(i);
      if ((flags & (SACKED | LOST)) !== 0) continue;
      const sentMs = sent.sentMs(i);
      if (sentMs > this.#rackMs || (sentMs === this.#rackMs && !seqLt(sent.end(i), this.#rackEnd))) {
        // In order of sequence nothing behind can have been sent earlier, unless it was sent again.
        if ((flags & RETRANSMITTED) === 0 && sent.sackedCount === 0) break;
        continue;
      }
      const dueMs = sentMs + this.#rackRttMs + reorderMs;
      if (dueMs <= nowMs) sent.markLost(i);
      else if (dueMs < nextMs) nextMs = dueMs;
    }
    return nextMs;
  }

  /** Returns when RACK wants to look again. */
  #onCongestion(acked: number, delivered: number, nowMs: number): number {
    const sent = this.sent;
    if (this.state !== 'open' && seqLe(this.recoveryPoint, this.una)) {
      if (this.state === 'recovery') this.cwnd = Math.max(this.ssthresh, 2 * this.mss);
      this.state = 'open';
    }
    let rackAtMs = Infinity;
    if (this.hasSack) {
      if (sent.sackedCount > 0 || this.state !== 'open') rackAtMs = this.#detectLoss(nowMs);
    } else if (sent.count > 0 && (this.dupAcks === DUP_THRESH || (this.state === 'recovery' && acked > 0))) {
      // RFC 6582: the first segment, and on each partial acknowledgment the next first one.
      sent.markLost(0);
    }
    if (this.state === 'open' && sent.lostCount > 0) this.#enterRecovery(delivered);
    if (this.state === 'recovery') this.#reduceRate(delivered, acked);
    else if (acked > 0 && this.isCwndLimited) this.#growWindow(acked);
    return rackAtMs;
  }

  #armRack(atMs: number): void {
    if (atMs >= this.timerAtMs) return;
    this.timerAtMs = atMs;
    this.timerKind = 'rack';
  }

  #enterRecovery(delivered: number): void {
    this.state = 'recovery';
    this.recoveryPoint = this.nxt;
    this.#recoverFlight = Math.max(this.flight + delivered, this.mss);
    this.ssthresh = Math.max(this.#recoverFlight >> 1, 2 * this.mss);
    this.#prrDelivered = 0;
    this.#prrOut = 0;
  }

  /** RFC 6937, with the slow start reduction bound. */
  #reduceRate(delivered: number, acked: number): void {
    // Without SACK a duplicate acknowledgment says that one segment has arrived somewhere.
    const arrived = delivered > 0 || acked > 0 ? delivered : this.hasSack ? 0 : this.mss;
    this.#prrDelivered += arrived;
    const pipe = this.sent.pipe;
    let allowed: number;
    if (pipe > this.ssthresh) allowed = Math.ceil((this.#prrDelivered * this.ssthresh) / this.#recoverFlight) - this.#prrOut;
    else allowed = Math.min(this.ssthresh - pipe, Math.max(this.#prrDelivered - this.#prrOut, arrived) + this.mss);
    if (this.#prrOut === 0) allowed = Math.max(allowed, this.mss);
    this.cwnd = pipe + Math.max(0, allowed);
  }

  #growWindow(acked: number): void {
    if (this.cwnd < this.ssthresh) this.cwnd += acked;
    else this.cwnd += Math.max(1, Math.floor((this.mss * acked) / this.cwnd));
    if (this.cwnd > CWND_MAX) this.cwnd = CWND_MAX;
  }

  /** RFC 6298 §5, or RFC 8985 §7.2 where a tail probe comes first. */
  armTimer(nowMs: number): void {
    const sent = this.sent;
    if (sent.count === 0) {
      this.timerAtMs = Infinity;
      this.#probeEnd = null;
      return;
    }
    if (this.#probeEnd !== null && seqLe(this.#probeEnd, this.una)) this.#probeEnd = null;
    this.timerKind = 'rto';
    this.timerAtMs = nowMs + this.rto.ms;
    const mayProbe = this.hasSack && this.state === 'open' && sent.sackedCount === 0 && this.#probeEnd === null && this.rto.srttMs >= 0;
    if (!mayProbe || (sent.flags(0) & HAS_SYN) !== 0) return;
    const waitMs = Math.max(PROBE_MIN_MS, 2 * this.rto.srttMs) + (sent.count === 1 ? MAX_ACK_DELAY_MS : 0);
    if (waitMs < this.rto.ms) {
      this.timerKind = 'probe';
      this.timerAtMs = nowMs + waitMs;
    }
  }

  /** The timer of RACK ran out: what it waited for is lost. */
  onRackTimer(nowMs: number): void {
    const rackAtMs = this.#onCongestion(0, 0, nowMs);
    this.armTimer(nowMs);
    this.#armRack(rackAtMs);
  }

  /** A tail probe is due (RFC 8985 §7.3). The caller sends new data if it can, else the last segment again. */
  onProbeTimer(nowMs: number): void {
    this.#probeEnd = this.nxt;
    this.timerKind = 'rto';
    this.timerAtMs = nowMs + this.rto.ms;
  }

  /** RFC 6298 §5.4 to §5.6, RFC 5681 §3.1: start again with one segment, all in flight is lost. */
  onRtoTimer(nowMs: number): void {
    // RFC 5681 §3.1 (4): ssthresh is not lowered again when the same segment is lost again.
    if (this.rto.backoff === 0) this.ssthresh = Math.max(this.flight >> 1, 2 * this.mss);
    this.rto.onTimeout();
    this.state = 'loss';
    this.recoveryPoint = this.nxt;
    this.cwnd = this.mss;
    this.dupAcks = 0;
    this.#probeEnd = null;
    this.sent.markAllLost(this.rto.backoff > 1);
    this.isCwndLimited = true;
    this.timerKind = 'rto';
    this.timerAtMs = nowMs + this.rto.ms;
  }

  clear(): void {
    this.queue.clear();
    this.sent.clear();
    this.timerAtMs = Infinity;
  }
}

/** RFC 6928: 10 segments, at least 14600 bytes unless segments are very large. */
function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600));
}
