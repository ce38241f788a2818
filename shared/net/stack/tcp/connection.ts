/*
 * One TCP connection with a guest (RFC 9293 §3.10). You should have read RFC 9293, 5681, 6298, 7323, 8985 before.
 *
 * Theory of operation
 *
 * Two ways in. A guest's SYN waits in `PendingConnection` until the NAT has dialled the host; `accept()` makes the connection
 * in SYN-RECEIVED. `Tcp.connect` makes one in SYN-SENT, for a port forward. Everything then comes by three doors:
 *
 *   onSegment   a segment of the guest: judges it (§3.10.7.4), moves SendSide and ReceiveSide, hands data on, borrowed
 *   send, shutdown, abort, setHeld      the application (a NAT flow) speaks
 *   onWake      a deadline has passed: retransmission, probe, delayed acknowledgment, keepalive, end of TIME-WAIT
 *
 * None of them writes a frame. They mark the connection dirty, and `turn`, once per batch, does it all: the application
 * flushes what it collected (one writev to the host), data leaves as windows allow, and one acknowledgment answers the whole batch.
 * A turn sends at most QUANTUM bytes, then it is another connection's turn: flows share a link fairly.
 *
 * When to acknowledge. At the end of the batch, except that a small segment is left to ride on the answer when this connection
 * has shown to be a dialogue (`#isDialogue`: we sent data soon after receiving some), at most ACK_DELAY_MS. RFC 9293 §3.8.6.3.
 *
 * Windows are the flow control, end to end. `setHeld` says what the host socket has not taken: ReceiveSide announces less.
 * `isSendFull` and `onSendSpace` pause and resume the host socket: at most SEND_HIGH bytes wait besides the peer's own window.
 * When the link is full the port says so, and the connection waits for it to drain instead of for a timer.
 *
 * Who owns what. SendSide: una, nxt, congestion, loss. ReceiveSide: nxt, window, early pieces. SegmentWriter: header
 * template. The connection: state, options agreed on, deadlines. Every deadline is a field, Infinity when off; `#armTimers`
 * asks the TimerQueue for the earliest.
 *
 * Hostile peers. RFC 5961: a RST or SYN counts only at exactly `rcv.nxt`, an acknowledgment only near `una`; anything else earns
 * at most CHALLENGES_PER_SECOND answers. Urgent data is delivered in line, its pointer ignored (RFC 6093). Left out: ECN,
 * path MTU discovery without ICMP (RFC 4821: there is one link, and behind it a router only where a guest is one), Nagle.
 *
 * TIME-WAIT lasts TIME_WAIT_MS, not 4 minutes: the only path is a link that keeps order, nothing old can be under way for longer.
 */
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN } from '../../wire/tcp.ts';
import type { TcpView } from '../../wire/tcp.ts';
import { emitSack, emitSynOptions, TCP_SACK_MAX } from '../../wire/tcp-options.ts';
import type { TcpOptions } from '../../wire/tcp-options.ts';
import type { FlowIp } from '../ipv6-table.ts';
import { asV4, asV6, isV6 } from '../ipv6-table.ts';
import type { Neighbor } from '../neighbors.ts';
import type { Wakeable } from '../timers.ts';
import { RECEIVE_BUFFER_INITIAL, ReceiveSide } from './receive.ts';
import { SegmentWriter } from './segment-writer.ts';
import { SegmentWriterV6 } from './segment-writer-v6.ts';
import { SendSide } from './send.ts';
import { HAS_FIN, HAS_SYN } from './sent-ring.ts';
import type { Seq } from './seq.ts';
import { seqAdd, seqDiff, seqLe, seqLt, toSeq } from './seq.ts';
import type { Tcp } from './tcp.ts';

export type TcpState =
  | 'syn-sent' | 'syn-received' | 'established' | 'fin-wait-1' | 'fin-wait-2' | 'close-wait' | 'closing' | 'last-ack' | 'time-wait' | 'closed';

/** `closed`: both directions ended. `aborted`: by us. `refused`: the guest answered our SYN with a RST. */
export type CloseReason = 'closed' | 'aborted' | 'reset' | 'refused' | 'timed-out';

/** What a connection tells its application. */
export interface TcpHandler {
  onEstablished(): void;
  /** In order, without gaps. Borrowed until `onTurn`. */
  onData(bytes: Uint8Array, start: number, end: number): void;
  /** The batch in which data came is over: hand it on, then say by `setHeld` what is still yours. */
  onTurn(): void;
  /** The peer's FIN: no more data. */
  onFin(): void;
  /** `isSendFull` was true and no longer is. */
  onSendSpace(): void;
  /** The guest asks by a keepalive probe whether its peer is still there, after `idleMs` without a word from the guest. */
  onKeepalive?(idleMs: number): void;
  /** The last call. */
  onClosed(reason: CloseReason): void;
}

/** bytes that one connection sends before it is another one's turn */
const QUANTUM = 64 * 1024;
/** queued and unsent bytes at which the application must pause, and at which it may go on */
const SEND_HIGH = 256 * 1024;
const SEND_LOW = 128 * 1024;
/** deviates from RFC 9293 §3.8.6.3 (up to 500 ms): guests with Nagle's algorithm wait for it */
const ACK_DELAY_MS = 20;
const DIALOGUE_MS = 40;
const TIME_WAIT_MS = 10_000;
/** RFC 9293 §3.8.3, R2: time-outs in a row after which a peer counts as dead; with backoff some 10 minutes */
const TIMEOUTS_MAX = 15;
const SYN_TIMEOUTS_MAX = 6;
const PROBES_MAX = 15;
const KEEPALIVE_EVERY_MS = 75_000;
const KEEPALIVE_MAX = 9;
/** A guest that repeats its last byte sooner is retransmitting (RFC 9293 §3.8.4); one whose window is closed asks for that. */
const KEEPALIVE_LEAST_MS = 900;
const CHALLENGES_PER_SECOND = 10;

export class TcpConnection implements Wakeable {
  state: TcpState;
  readonly neighbor: Neighbor;
  readonly guestIp: FlowIp;
  readonly guestPort: number;
  readonly remoteIp: FlowIp;
  readonly remotePort: number;
  readonly snd: SendSide;
  readonly rcv: ReceiveSide;
  readonly bornMs: number;
  bytesFromGuest = 0;
  bytesToGuest = 0;
  wakeAtMs = Infinity;
  /** in the list of those that want a turn */
  isDirty = false;
  readonly #tcp: Tcp;
  #handler: TcpHandler;
  readonly #writer: SegmentWriter | SegmentWriterV6;
  #hasTimestamps = false;
  /** both sides scale windows, be it by 0 */
  #hasScale = false;
  /** RFC 7323 §4.3: the peer's value to be echoed, and the one that PAWS compares with */
  #tsRecent = 0;
  #tsRecentMs = 0;
  #mssFromUs: number;
  #finWanted = false;
  #finSent = false;
  #finAcked = false;
  /** a RST is to follow what is queued */
  #resetWanted = false;
  #hasDelivered = false;
  #isWaitingForPort = false;
  #wasSendFull = false;
  #ackNow = false;
  /** the application took data: a larger window may be worth a segment of its own */
  #hasRoomNews = false;
  /** in-order bytes since the last acknowledgment left */
  #unacked = 0;
  #isDialogue = false;
  #lastDataMs = -Infinity;
  #lastHeardMs: number;
  /** when the guest's last segment came that was no keepalive probe */
  #lastActiveMs: number;
  /** window probes since the window closed, and since the peer was heard */
  #probes = 0;
  #probesUnanswered = 0;
  #keepaliveProbes = 0;
  #challenges = 0;
  #challengesSinceMs = -Infinity;
  #ackAtMs = Infinity;
  #persistAtMs = Infinity;
  #keepaliveAtMs = Infinity;
  #timeWaitAtMs = Infinity;

  /** For Tcp and PendingConnection only. `irs` null: we send the first SYN. */
  constructor(
    tcp: Tcp, neighbor: Neighbor, guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number, iss: Seq, irs: Seq | null, handler: TcpHandler,
  ) {
    this.#tcp = tcp;
    this.neighbor = neighbor;
    this.guestIp = guestIp;
    this.guestPort = guestPort;
    this.remoteIp = remoteIp;
    this.remotePort = remotePort;
    this.#handler = handler;
    this.#mssFromUs = tcp.mssFor(guestIp);
    this.bornMs = tcp.nowMs;
    this.#lastHeardMs = tcp.nowMs;
    this.#lastActiveMs = tcp.nowMs;
    this.state = irs === null ? 'syn-sent' : 'syn-received';
    this.snd = new SendSide(iss, this.#mssFromUs);
    this.rcv = new ReceiveSide(irs ?? toSeq(0));
    this.#writer = isV6(guestIp)
      ? new SegmentWriterV6(neighbor, tcp.gatewayMac, tcp.addresses.addressOf(asV6(remoteIp)), remotePort, tcp.addresses.addressOf(guestIp), guestPort)
      : new SegmentWriter(neighbor, tcp.gatewayMac, asV4(remoteIp), remotePort, guestIp, guestPort);
  }

  /** when the guest's last segment came */
  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  // ---- the application speaks ----

  /** Takes the chunk for good and sends it as windows allow. Ignored once the connection has ended. */
  send(chunk: Uint8Array): void {
    if (this.state === 'closed' || this.state === 'time-wait' || this.#finWanted || this.#resetWanted) return;
    this.snd.queue.append(chunk);
    this.bytesToGuest += chunk.length;
    if (this.snd.unsent >= SEND_HIGH) this.#wasSendFull = true;
    this.#tcp.markDirty(this);
  }

  /** Pause the source: `onSendSpace` follows. */
  get isSendFull(): boolean {
    return this.#wasSendFull;
  }

  /** FIN, behind all that was queued. Data of the peer still arrives. */
  shutdown(): void {
    if (this.#finWanted) return;
    this.#finWanted = true;
    this.#tcp.markDirty(this);
  }

  /** RST. `onClosed('aborted')` follows at once. */
  abort(): void {
    if (this.state === 'closed') return;
    if (this.state !== 'syn-sent' && this.state !== 'time-wait') this.#sendReset();
    this.#end('aborted');
  }

  /** `abort` after an exception of ours, whatever of it works. Throws what its handler throws. */
  fail(): void {
    try {
      this.abort();
    } finally {
      this.#end('aborted');
    }
  }

  onWakeFailed(): void {
    this.fail();
  }

  /** RST, once the peer has all that was queued: a failure behind an answer must not take the answer away. `onClosed('aborted')` follows then. */
  abortBehind(): void {
    if (this.state === 'syn-sent') return this.abort();
    this.#resetWanted = true;
    this.#tcp.markDirty(this);
  }

  /** How many delivered bytes the application has not got rid of. */
  setHeld(bytes: number): void {
    const change = bytes - this.rcv.held;
    if (change === 0 || this.state === 'closed' || this.state === 'time-wait') return;
    this.#tcp.heldBytes += change;
    this.rcv.held = bytes;
    if (change > 0 || !this.rcv.isUpdateWorthwhile(this.snd.mss)) return;
    this.#hasRoomNews = true;
    this.#tcp.markDirty(this);
  }

  /** The peer's station came back by another link: what was lost meanwhile is sent again now. */
  onPathChanged(): void {
    if (this.snd.sent.count === 0 && this.snd.unsent === 0) return;
    if (this.snd.timerAtMs !== Infinity) {
      this.snd.timerAtMs = this.#tcp.nowMs;
      this.snd.timerKind = 'rto';
    }
    this.#armTimers();
    this.#tcp.markDirty(this);
  }

  /** A router says that a packet of ours, from `seq` on, was longer than its link takes (RFC 1191 §6.4). False when there is no such packet. */
  onPathMtu(mtu: number, seq: Seq): boolean {
    const { snd } = this;
    if (this.state === 'closed' || seqLt(seq, snd.una) || !seqLt(seq, snd.nxt)) return false;
    const mss = this.#tcp.mssFor(this.guestIp, mtu) - (this.#hasTimestamps ? 12 : 0);
    if (mss >= snd.mss) return false;
    snd.lowerMss(mss);
    this.#tcp.markDirty(this);
    return true;
  }

  /** Somebody says that our SYN can't reach the guest. Later than that it is no reason to end anything (RFC 5927 §4). */
  onUnreachable(seq: Seq): boolean {
    if (this.state !== 'syn-sent' || seq !== this.snd.iss) return false;
    this.#end('refused');
    return true;
  }

  // ---- opening ----

  /** Active: the first SYN. */
  start(): void {
    this.#sendSyn();
    this.#tcp.markDirty(this);
  }

  /** Passive: takes the guest's options, answers SYN-ACK. */
  startAccepted(options: TcpOptions, window: number): void {
    this.#agree(options);
    // The window of a SYN is never scaled, RFC 7323 §2.2.
    this.snd.wnd = this.snd.maxWnd = window;
    this.snd.wl1 = this.rcv.irs;
    this.#sendSyn();
    this.#tcp.markDirty(this);
  }

  #agree(options: TcpOptions): void {
    const { snd, rcv } = this;
    this.#hasScale = options.windowScale >= 0;
    if (this.#hasScale) {
      snd.scale = options.windowScale;
      rcv.scale = this.#tcp.windowScale;
    }
    rcv.bufferMax = Math.min(RECEIVE_BUFFER_INITIAL, this.#tcp.windowMax, 0xffff << rcv.scale);
    snd.hasSack = options.sackPermitted;
    this.#hasTimestamps = options.hasTimestamps && this.#tcp.usesTimestamps;
    this.#writer.hasTimestamps = this.#hasTimestamps;
    this.#tsRecent = options.tsVal;
    this.#tsRecentMs = this.#tcp.nowMs;
    // RFC 9293 §3.7.1: 536 unless the peer said otherwise; a silly value would cost a frame per byte.
    const peerMss = Math.max(options.mss === 0 ? 536 : options.mss, 88);
    snd.setMss(Math.min(peerMss, this.#mssFromUs, this.#tcp.mssTo(this.neighbor)) - (this.#hasTimestamps ? 12 : 0));
  }

  #sendSyn(): void {
    const { snd, rcv } = this;
    const isAnswer = this.state === 'syn-received';
    const options = this.#tcp.scratch;
    const timestamps = isAnswer ? this.#hasTimestamps : this.#tcp.usesTimestamps;
    const scale = isAnswer ? (this.#hasScale ? rcv.scale : -1) : this.#tcp.windowScale;
    const len = emitSynOptions(options, 0, this.#mssFromUs, scale, !isAnswer || snd.hasSack, timestamps, this.#tcp.tsNow, this.#tsRecent);
    const window = Math.min(rcv.bufferMax, 0xffff);
    const hadTimestamps = this.#writer.hasTimestamps;
    this.#writer.hasTimestamps = false;
    this.#writer.write(snd.iss, isAnswer ? rcv.nxt : toSeq(0), isAnswer ? TCP_SYN | TCP_ACK : TCP_SYN, window, options, len, snd.queue, 0, 0);
    this.#writer.hasTimestamps = hadTimestamps;
    if (isAnswer && seqLt(rcv.edge, seqAdd(rcv.nxt, window))) rcv.edge = seqAdd(rcv.nxt, window);
    if (snd.nxt === snd.iss) snd.onSent(1, HAS_SYN, this.#tcp.nowMs);
    else snd.onRetransmitted(0, this.#tcp.nowMs);
  }

  // ---- a segment arrives ----

  /** RFC 9293 §3.10.7. `options` is null when there are none. Borrowed. */
  onSegment(tcp: TcpView, options: TcpOptions | null): void {
    const nowMs = this.#tcp.nowMs;
    this.#lastHeardMs = nowMs;
    this.#keepaliveProbes = 0;
    this.#probesUnanswered = 0;
    if (this.state === 'syn-sent') return this.#onSynSent(tcp, options);
    const { rcv } = this;
    const flags = tcp.flags;
    const seq = toSeq(tcp.seq);
    const payloadLen = tcp.payloadLen;
    if (this.#hasTimestamps && options !== null && options.hasTimestamps && !this.#isTimely(options, flags, nowMs)) return this.#challenge();
    const segLen = payloadLen + (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
    if (segLen > 1 || seqDiff(rcv.nxt, seq) !== 1 || (flags & (TCP_SYN | TCP_FIN | TCP_RST)) !== 0) this.#lastActiveMs = nowMs;
    else if (nowMs - this.#lastActiveMs >= KEEPALIVE_LEAST_MS && seqLt(rcv.nxt, rcv.edge)) this.#handler.onKeepalive?.(nowMs - this.#lastActiveMs);
    const isInWindow = segLen === 0
      ? seqLe(rcv.nxt, seq) && seqLe(seq, rcv.edge)
      : seqLt(seq, rcv.edge) && seqLt(rcv.nxt, seqAdd(seq, segLen));
    // §3.10.7.4: with a window of zero, acknowledgments are still valid.
    if (!isInWindow && !(seq === rcv.nxt && (flags & (TCP_SYN | TCP_RST)) === 0)) return this.#onUnacceptable(seq, flags);
    if ((flags & TCP_RST) !== 0) {
      // RFC 5961 §3.2
      if (seq === rcv.nxt) this.#end('reset');
      else this.#challenge();
      return;
    }
    if ((flags & TCP_SYN) !== 0) return this.#challenge(); // RFC 5961 §4.2
    if ((flags & TCP_ACK) === 0) return;
    if (!this.#onAck(tcp, seq, options, segLen)) return;
    if (this.#hasTimestamps && options !== null && options.hasTimestamps && seqLe(seq, rcv.nxt)) {
      this.#tsRecent = options.tsVal;
      this.#tsRecentMs = nowMs;
    }
    if (payloadLen > 0) {
      if (isInWindow) this.#onPayload(tcp, seq, nowMs);
      else this.#ackNow = true;
    }
    if ((flags & TCP_FIN) !== 0 && isInWindow) this.#noteFin(seqAdd(seq, payloadLen));
    this.#takeFin();
    this.#tcp.markDirty(this);
  }

  /** RFC 7323 §5.3, PAWS. */
  #isTimely(options: TcpOptions, flags: number, nowMs: number): boolean {
    if ((flags & TCP_RST) !== 0 || ((options.tsVal - this.#tsRecent) | 0) >= 0) return true;
    // §5.5: a value that is 24 days old says nothing.
    return nowMs - this.#tsRecentMs > 24 * 86_400_000;
  }

  #onUnacceptable(seq: Seq, flags: number): void {
    if ((flags & TCP_RST) !== 0) return;
    this.#tcp.counters.drop('tcp-out-of-window');
    if (this.state === 'syn-received' && (flags & TCP_SYN) !== 0 && seq === this.rcv.irs) return this.#sendSyn();
    if (this.state === 'time-wait' && (flags & TCP_FIN) !== 0) this.#startTimeWait();
    // A retransmission of what has been acknowledged: the acknowledgment was lost, so it is repeated, once per batch.
    if (seqLt(seq, this.rcv.nxt) && (flags & TCP_SYN) === 0) {
      this.#ackNow = true;
      this.#tcp.markDirty(this);
    } else this.#challenge();
  }

  #onSynSent(tcp: TcpView, options: TcpOptions | null): void {
    const { snd, rcv } = this;
    const flags = tcp.flags;
    const ack = toSeq(tcp.ack);
    const hasAck = (flags & TCP_ACK) !== 0;
    if (hasAck && (seqLe(ack, snd.iss) || seqLt(snd.nxt, ack))) {
      if ((flags & TCP_RST) === 0) this.#tcp.sendResetFor(this.neighbor, this.remoteIp, this.guestIp, tcp);
      return;
    }
    if ((flags & TCP_RST) !== 0) {
      if (hasAck) this.#end('refused');
      return;
    }
    if ((flags & TCP_SYN) === 0) return;
    rcv.irs = toSeq(tcp.seq);
    rcv.nxt = seqAdd(rcv.irs, 1);
    rcv.edge = rcv.nxt;
    const offered = options ?? this.#tcp.noOptions;
    this.#agree(offered);
    snd.wnd = snd.maxWnd = tcp.window;
    snd.wl1 = rcv.irs;
    snd.wl2 = ack;
    const firstWindow = Math.min(rcv.bufferMax, 0xffff);
    rcv.edge = seqAdd(rcv.nxt, firstWindow);
    if (hasAck) {
      snd.onAck(ack, null, false, -1, this.#tcp.nowMs);
      this.#becomeEstablished();
      this.#ackNow = true;
    } else {
      // Simultaneous open, RFC 9293 §3.5 figure 7.
      this.state = 'syn-received';
      this.#sendSyn();
    }
    this.#tcp.markDirty(this);
  }

  /** §3.10.7.4 "fifth". False: the segment ends here. */
  #onAck(tcp: TcpView, seq: Seq, options: TcpOptions | null, segLen: number): boolean {
    const { snd } = this;
    const nowMs = this.#tcp.nowMs;
    const ack = toSeq(tcp.ack);
    if (this.state === 'syn-received') {
      if (seqLe(ack, snd.una) || seqLt(snd.nxt, ack)) {
        this.#tcp.sendResetFor(this.neighbor, this.remoteIp, this.guestIp, tcp);
        return false;
      }
      if (snd.rto.backoff > 0) snd.rto.onHandshakeTimeout();
      snd.wnd = tcp.window << snd.scale;
      snd.maxWnd = Math.max(snd.maxWnd, snd.wnd);
      snd.wl1 = seq;
      snd.wl2 = ack;
      snd.onAck(ack, null, false, -1, nowMs);
      this.#becomeEstablished();
      return true;
    }
    // RFC 5961 §5.2: old by more than the largest window, or for what was never sent.
    if (seqLt(snd.nxt, ack) || seqDiff(snd.una, ack) > Math.max(snd.maxWnd, 1)) {
      this.#challenge();
      return false;
    }
    if (seqLt(ack, snd.una)) return true;
    const window = tcp.window << snd.scale;
    const isDuplicate = ack === snd.una && segLen === 0 && window === snd.wnd && snd.sent.count > 0;
    const hasSackBlocks = options !== null && options.sackCount > 0;
    if (ack !== snd.una || isDuplicate || hasSackBlocks) {
      const tsRttMs = this.#hasTimestamps && ack !== snd.una && options !== null && options.hasTimestamps && options.tsEcr !== 0 ? this.#tcp.tsAge(options.tsEcr) : -1;
      snd.onAck(ack, options, isDuplicate, tsRttMs, nowMs);
    }
    if (seqLt(snd.wl1, seq) || (snd.wl1 === seq && seqLe(snd.wl2, ack))) {
      if (window > 0) {
        this.#probes = 0;
        if (window !== snd.wnd) this.#persistAtMs = Infinity;
      }
      snd.wnd = window;
      snd.wl1 = seq;
      snd.wl2 = ack;
      if (window > snd.maxWnd) snd.maxWnd = window;
    }
    if (this.#finSent && !this.#finAcked && snd.una === snd.nxt) {
      this.#finAcked = true;
      this.#onFinAcked();
    }
    return this.state !== 'closed';
  }

  #onFinAcked(): void {
    if (this.state === 'fin-wait-1') this.state = 'fin-wait-2';
    else if (this.state === 'closing') this.#startTimeWait();
    else if (this.state === 'last-ack') this.#end('closed');
  }

  #onPayload(tcp: TcpView, seq: Seq, nowMs: number): void {
    const { rcv } = this;
    if (this.state !== 'established' && this.state !== 'fin-wait-1' && this.state !== 'fin-wait-2') {
      this.#ackNow = true;
      return;
    }
    let start = tcp.payloadStart;
    let end = tcp.end;
    const old = seqDiff(rcv.nxt, seq);
    if (old > 0) {
      start += old;
      this.#ackNow = true;
      if (start >= end) return;
    }
    const beyond = seqDiff(seqAdd(seq, tcp.payloadLen), rcv.edge);
    if (beyond > 0) end -= beyond;
    if (start >= end) return;
    if (old < 0) {
      this.#ackNow = true;
      this.#tcp.counters.tcpOutOfOrder++;
      if (!rcv.keepEarly(seq, tcp.bytes, start, end)) this.#tcp.counters.drop('tcp-reassembly-cap');
      return;
    }
    this.#deliver(tcp.bytes, start, end, nowMs);
    if (!rcv.hasEarly) return;
    this.#ackNow = true;
    for (let piece = rcv.takeInOrder(); piece !== null; piece = rcv.takeInOrder()) this.#deliver(piece, 0, piece.length, nowMs);
  }

  #deliver(bytes: Uint8Array, start: number, end: number, nowMs: number): void {
    const len = end - start;
    this.rcv.nxt = seqAdd(this.rcv.nxt, len);
    this.#unacked += len;
    this.bytesFromGuest += len;
    this.#lastDataMs = nowMs;
    this.#hasDelivered = true;
    this.#handler.onData(bytes, start, end);
    this.rcv.onDelivered(len, this.#tcp.windowLimit(this.rcv.scale));
  }

  #noteFin(finSeq: Seq): void {
    if (this.rcv.finSeq === null) this.rcv.finSeq = finSeq;
  }

  /** §3.10.7.4 "eighth", once all before the FIN has come. */
  #takeFin(): void {
    const { rcv } = this;
    if (rcv.finSeq === null || rcv.finSeq !== rcv.nxt) return;
    const before = this.state;
    if (before !== 'established' && before !== 'fin-wait-1' && before !== 'fin-wait-2') return;
    rcv.nxt = seqAdd(rcv.nxt, 1);
    if (seqLt(rcv.edge, rcv.nxt)) rcv.edge = rcv.nxt;
    this.#ackNow = true;
    if (before === 'established') this.state = 'close-wait';
    else if (before === 'fin-wait-1') this.state = 'closing';
    this.#handOn();
    this.#handler.onFin();
    if (before === 'fin-wait-2') this.#startTimeWait();
  }

  #becomeEstablished(): void {
    this.state = 'established';
    this.#keepaliveAtMs = this.#tcp.nowMs + this.#tcp.keepaliveMs;
    this.#handler.onEstablished();
  }

  /** RFC 5961 §7: at most so many answers to what may be forged. */
  #challenge(): void {
    const nowMs = this.#tcp.nowMs;
    if (nowMs - this.#challengesSinceMs >= 1000) {
      this.#challengesSinceMs = nowMs;
      this.#challenges = 0;
    }
    if (this.#challenges++ >= CHALLENGES_PER_SECOND) return;
    this.#ackNow = true;
    this.#tcp.markDirty(this);
  }

  // ---- the turn ----

  /** Once per batch: hand on, send, acknowledge. Returns true when it could send more at once. */
  turn(): boolean {
    if (this.state === 'closed') return false;
    const nowMs = this.#tcp.nowMs;
    this.#handOn();
    // The application may have aborted.
    if ((this.state as TcpState) === 'closed') return false;
    const hasMore = this.state === 'syn-sent' || this.state === 'syn-received' || this.state === 'time-wait' ? false : this.#output(nowMs);
    if (this.#resetWanted && this.#isAllTaken) {
      this.abort();
      return false;
    }
    if (this.state !== 'syn-sent' && this.state !== 'syn-received' && !hasMore) this.#acknowledge(nowMs);
    this.#armTimers();
    if (this.#wasSendFull && this.snd.unsent <= SEND_LOW) {
      this.#wasSendFull = false;
      this.#handler.onSendSpace();
    }
    return hasMore;
  }

  /** The peer has acknowledged everything, the FIN included where there is one. */
  get #isAllTaken(): boolean {
    return this.snd.unsent === 0 && this.snd.sent.count === 0 && this.#finWanted === this.#finSent;
  }

  #handOn(): void {
    if (!this.#hasDelivered) return;
    this.#hasDelivered = false;
    this.#handler.onTurn();
  }

  #acknowledge(nowMs: number): void {
    const { rcv, snd } = this;
    if (!this.#ackNow && this.#unacked > 0) {
      if (!this.#isDialogue || this.#unacked > snd.mss) this.#ackNow = true;
      else if (this.#ackAtMs === Infinity) this.#ackAtMs = nowMs + ACK_DELAY_MS;
    }
    if (this.#hasRoomNews && rcv.isUpdateWorthwhile(snd.mss)) this.#ackNow = true;
    this.#hasRoomNews = false;
    // A full link drops what comes on top: the acknowledgment stays due until it has drained, or the guest would wait out a timer.
    if (this.#ackNow && (this.#writer.port === null || this.#hasWay())) this.#sendAck(snd.nxt);
  }

  /** Sends what may go. True when only the quantum stopped it. */
  #output(nowMs: number): boolean {
    const { snd } = this;
    let quantum = QUANTUM;
    let isCwndLimited = false;
    snd.onBeforeOutput(nowMs);
    for (;;) {
      const lost = snd.sent.firstLost();
      const len = lost >= 0 ? snd.sent.len(lost) : this.#nextLen();
      const isFinDue = lost < 0 && this.#finWanted && !this.#finSent && snd.unsent === Math.max(0, len);
      if (lost < 0 && len === 0 && !isFinDue) break;
      if (!this.#hasWay()) return false;
      if (!snd.hasCwndFor(len)) {
        isCwndLimited = true;
        break;
      }
      if (quantum <= 0) return true;
      quantum -= Math.max(len, 1);
      const isSent = lost >= 0 ? this.#sendAgain(lost, nowMs) : this.#sendNew(len, isFinDue, nowMs);
      if (!isSent) break;
    }
    snd.isCwndLimited = isCwndLimited;
    const isStuck = snd.unsent > 0 && snd.sent.count === 0;
    if (!isStuck) this.#persistAtMs = Infinity;
    else if (this.#persistAtMs === Infinity) this.#persistAtMs = this.#probeAtMs(nowMs);
    return false;
  }

  /** False while no link leads to the guest, or while it is full; then `turn` is called when it has drained. */
  #hasWay(): boolean {
    const port = this.#writer.port;
    if (port === null) {
      // Time passes as if it had been sent and lost, each time longer: what is queued goes when the station is back.
      if (this.snd.timerAtMs === Infinity && this.#persistAtMs === Infinity) this.#persistAtMs = this.#probeAtMs(this.#tcp.nowMs);
      return false;
    }
    if (!port.isFull) return true;
    if (!this.#isWaitingForPort) {
      this.#isWaitingForPort = true;
      port.whenDrained(() => {
        this.#isWaitingForPort = false;
        if (this.state !== 'closed') this.#tcp.markDirty(this);
      });
    }
    return false;
  }

  /** Payload of the next new segment, 0 for none. RFC 9293 §3.8.6.2.1: no silly windows. */
  #nextLen(): number {
    const { snd } = this;
    const unsent = snd.unsent;
    if (unsent === 0 || this.#finSent) return 0;
    const usable = seqDiff(seqAdd(snd.una, snd.wnd), snd.nxt);
    const len = Math.min(unsent, snd.mss, usable);
    if (len <= 0) return 0;
    if (len === unsent || len === snd.mss || 2 * len >= snd.maxWnd) return len;
    return 0;
  }

  #sendNew(len: number, hasFin: boolean, nowMs: number): boolean {
    const { snd, rcv } = this;
    const isLast = snd.unsent === len;
    const flags = TCP_ACK | (isLast && len > 0 ? TCP_PSH : 0) | (hasFin ? TCP_FIN : 0);
    this.#stampTime();
    const isWritten = this.#writer.write(snd.nxt, rcv.nxt, flags, rcv.announce(), null, 0, snd.queue, snd.posOf(snd.nxt), len);
    if (!isWritten) return false;
    if (len > 0 && nowMs - this.#lastDataMs < DIALOGUE_MS) this.#isDialogue = true;
    snd.onSent(len + (hasFin ? 1 : 0), hasFin ? HAS_FIN : 0, nowMs);
    if (hasFin) {
      this.#finSent = true;
      this.state = this.state === 'close-wait' ? 'last-ack' : 'fin-wait-1';
    }
    this.#onAcknowledged();
    return true;
  }

  #sendAgain(i: number, nowMs: number): boolean {
    const { snd, rcv } = this;
    const hasFin = (snd.sent.flags(i) & HAS_FIN) !== 0;
    const len = snd.sent.len(i) - (hasFin ? 1 : 0);
    this.#stampTime();
    const flags = TCP_ACK | (len > 0 ? TCP_PSH : 0) | (hasFin ? TCP_FIN : 0);
    const seq = snd.sent.seq(i);
    if (!this.#writer.write(seq, rcv.nxt, flags, rcv.announce(), null, 0, snd.queue, snd.posOf(seq), len)) return false;
    snd.onRetransmitted(i, nowMs);
    this.#tcp.counters.tcpRetransmits++;
    this.#onAcknowledged();
    return true;
  }

  /** A segment without data: acknowledgment, with SACK when something came early. */
  #sendAck(seq: Seq): void {
    const { rcv, snd } = this;
    const options = this.#tcp.scratch;
    let optionsLen = 0;
    if (rcv.hasEarly && snd.hasSack) {
      const count = rcv.fillSack(this.#hasTimestamps ? TCP_SACK_MAX - 1 : TCP_SACK_MAX);
      if (count > 0) optionsLen = emitSack(options, 0, rcv.sackEdges, count);
    }
    this.#stampTime();
    if (!this.#writer.write(seq, rcv.nxt, TCP_ACK, rcv.announce(), options, optionsLen, snd.queue, 0, 0)) return;
    if (seq === snd.nxt) this.#onAcknowledged(true);
  }

  #onAcknowledged(isBare = false): void {
    this.#unacked = 0;
    this.#ackAtMs = Infinity;
    // A data segment carries no SACK blocks: while something is missing, an acknowledgment of its own follows.
    if (isBare || !this.rcv.hasEarly) this.#ackNow = false;
  }

  #stampTime(): void {
    if (!this.#hasTimestamps) return;
    this.#writer.tsVal = this.#tcp.tsNow;
    this.#writer.tsEcr = this.#tsRecent;
  }

  #sendReset(): void {
    this.#stampTime();
    this.#writer.write(this.snd.nxt, this.rcv.nxt, TCP_RST | TCP_ACK, 0, null, 0, this.snd.queue, 0, 0);
    this.#tcp.counters.tcpResetsSent++;
    this.#tcp.wantFlush();
  }

  // ---- deadlines ----

  onWake(nowMs: number): void {
    if (this.#timeWaitAtMs <= nowMs) return this.#end('closed');
    if (this.snd.timerAtMs <= nowMs) this.#onSendTimer(nowMs);
    if ((this.state as TcpState) === 'closed') return;
    if (this.#persistAtMs <= nowMs) this.#onPersist(nowMs);
    if ((this.state as TcpState) === 'closed') return;
    if (this.#ackAtMs <= nowMs) {
      this.#ackAtMs = Infinity;
      this.#isDialogue = false;
      this.#ackNow = true;
    }
    if (this.#keepaliveAtMs <= nowMs) this.#onKeepalive(nowMs);
    if ((this.state as TcpState) === 'closed') return;
    this.#tcp.markDirty(this);
  }

  #onSendTimer(nowMs: number): void {
    const { snd } = this;
    if (snd.timerKind === 'rack') return snd.onRackTimer(nowMs);
    if (snd.timerKind === 'probe') {
      snd.onProbeTimer(nowMs);
      // New data goes by itself in this turn where it can; the last segment, again, where it can't.
      if (this.#nextLen() === 0 && snd.sent.count > 0 && this.#hasWay()) this.#sendAgain(snd.sent.count - 1, nowMs);
      return;
    }
    if (this.#writer.port?.isFull === true) {
      // Not lost, but queued in the link.
      snd.timerAtMs = nowMs + snd.rto.ms;
      return;
    }
    this.#tcp.counters.tcpTimeouts++;
    const isHandshake = this.state === 'syn-sent' || this.state === 'syn-received';
    if (snd.rto.backoff >= (isHandshake ? SYN_TIMEOUTS_MAX : TIMEOUTS_MAX)) {
      if (!isHandshake) this.#sendReset();
      return this.#end('timed-out');
    }
    snd.onRtoTimer(nowMs);
    if (isHandshake) this.#sendSyn();
  }

  /** When to look again whether the window, or the way, is open. */
  #probeAtMs(nowMs: number): number {
    return nowMs + this.snd.rto.ms * 2 ** Math.min(this.#probes, 8);
  }

  /** RFC 9293 §3.8.6.1. The probe carries no byte: like Linux's, its old sequence number makes the peer repeat its window. */
  #onPersist(nowMs: number): void {
    this.#persistAtMs = Infinity;
    const { snd } = this;
    if (snd.unsent === 0 || snd.sent.count > 0) return;
    this.#probes++;
    // §3.8.6.1: while the peer answers, its window may stay closed for ever.
    if (this.#probesUnanswered++ >= PROBES_MAX) {
      this.#sendReset();
      return this.#end('timed-out');
    }
    const usable = seqDiff(seqAdd(snd.una, snd.wnd), snd.nxt);
    // §3.8.6.2.1: the override that ends a silly window.
    if (usable > 0 && this.#hasWay()) this.#sendNew(Math.min(usable, snd.unsent, snd.mss), false, nowMs);
    else this.#sendAck(seqAdd(snd.una, -1));
  }

  /** RFC 9293 §3.8.4 */
  #onKeepalive(nowMs: number): void {
    const idleMs = nowMs - this.#lastHeardMs;
    if (idleMs < this.#tcp.keepaliveMs) {
      this.#keepaliveAtMs = this.#lastHeardMs + this.#tcp.keepaliveMs;
      return;
    }
    if (this.#keepaliveProbes++ >= KEEPALIVE_MAX) {
      this.#sendReset();
      return this.#end('timed-out');
    }
    this.#keepaliveAtMs = nowMs + Math.min(KEEPALIVE_EVERY_MS, this.#tcp.keepaliveMs);
    if (this.snd.sent.count === 0) this.#sendAck(seqAdd(this.snd.nxt, -1));
  }

  #armTimers(): void {
    if (this.state === 'closed') return;
    this.#tcp.timers.schedule(this, Math.min(this.snd.timerAtMs, this.#persistAtMs, this.#ackAtMs, this.#keepaliveAtMs, this.#timeWaitAtMs));
  }

  #startTimeWait(): void {
    const isFirst = this.state !== 'time-wait';
    this.state = 'time-wait';
    this.#timeWaitAtMs = this.#tcp.nowMs + TIME_WAIT_MS;
    this.#keepaliveAtMs = Infinity;
    this.#ackNow = true;
    this.#tcp.markDirty(this);
    if (!isFirst) return;
    this.snd.clear();
    this.#letGo();
    const handler = this.#handler;
    this.#handler = DEAF;
    handler.onClosed('closed');
  }

  /** What the host socket still has to take is from now on its own affair. */
  #letGo(): void {
    this.#tcp.heldBytes -= this.rcv.held;
    this.rcv.held = 0;
  }

  #end(reason: CloseReason): void {
    if (this.state === 'closed') return;
    if (reason === 'closed' || reason === 'reset') this.#handOn();
    if ((this.state as TcpState) === 'closed') return;
    // The acknowledgment of the peer's last segment must not be lost with the connection.
    if (reason === 'closed' && this.#ackNow) this.#sendAck(this.snd.nxt);
    this.#letGo();
    this.state = 'closed';
    this.snd.clear();
    this.rcv.clear();
    this.#tcp.remove(this);
    const handler = this.#handler;
    this.#handler = DEAF;
    handler.onClosed(reason);
  }
}

/** Who listens when the application has been told the end. */
const DEAF: TcpHandler = { onEstablished() {}, onData() {}, onTurn() {}, onFin() {}, onSendSpace() {}, onClosed() {} };
