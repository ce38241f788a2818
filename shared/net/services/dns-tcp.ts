/*
 * DNS over TCP at the gateway (RFC 7766): messages behind a 2-byte length, answered in any order on the same connection.
 *
 *   bytes -> #unread -> resolve, OUTSTANDING_MAX at a time -> answers as they come
 *
 * A client may send as many questions as it likes: what is not taken yet is held, and the receive window says so. It must also
 * read: while the connection is full, no further question is taken. After its FIN all that it asked is answered, then comes ours.
 * A connection on which nothing has happened for IDLE_MS is ended, and reset when it stays open; when there are too many, the one that has been idle longest.
 */
import type { CloseReason, TcpConnection, TcpHandler } from '../stack/tcp/connection.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { Stack } from '../stack/stack.ts';
import type { Wakeable } from '../stack/timers.ts';
import { getU16 } from '../../bytes.ts';
import { DNS_HEADER_LEN, framed } from '../wire/dns.ts';
import type { DnsServer } from './dns-server.ts';
import { copyOf } from '../wire/copy.ts';

/** queries of one connection under way */
export const OUTSTANDING_MAX = 100;
/** a query longer than this is nonsense */
const QUERY_MAX = 4096;
export const IDLE_MS = 30_000;

export class DnsTcpSession implements TcpHandler, Wakeable {
  wakeAtMs = Infinity;
  /** when the client was heard, or took an answer */
  lastActiveMs: number;
  readonly #dns: DnsServer;
  readonly #stack: Stack;
  readonly #onOver: (session: DnsTcpSession) => void;
  #connection: TcpConnection | null;
  /** came and not taken yet: questions that must wait, the beginning of one */
  #unread: Uint8Array = new Uint8Array(0);
  #outstanding = 0;
  /** no further questions: the client has ended, or sent what is none */
  #hasEnded = false;
  #isClosing = false;

  constructor(dns: DnsServer, stack: Stack, pending: PendingConnection, onOver: (session: DnsTcpSession) => void) {
    this.#dns = dns;
    this.#stack = stack;
    this.#onOver = onOver;
    this.lastActiveMs = stack.nowMs;
    this.#connection = pending.accept(this);
    stack.timers.schedule(this, stack.nowMs + IDLE_MS);
  }

  onWake(nowMs: number): void {
    if (nowMs - this.lastActiveMs >= IDLE_MS && (this.#outstanding === 0 || this.#connection?.isSendFull === true)) {
      if (this.#isClosing) return this.close();
      this.#isClosing = true;
      this.#hasEnded = true;
      this.lastActiveMs = nowMs;
      this.#connection?.shutdown();
    }
    this.#take();
    if (this.#connection !== null) this.#stack.timers.schedule(this, Math.max(this.lastActiveMs + IDLE_MS, nowMs + 1));
  }

  onWakeFailed(): void {
    this.close();
  }

  close(): void {
    this.#connection?.abort();
  }

  onEstablished(): void {}

  onData(bytes: Uint8Array, start: number, end: number): void {
    if (this.#hasEnded) return;
    const joined = new Uint8Array(this.#unread.length + end - start);
    joined.set(this.#unread);
    joined.set(bytes.subarray(start, end), this.#unread.length);
    this.#unread = joined;
    this.lastActiveMs = this.#stack.nowMs;
  }

  onTurn(): void {
    this.#take();
  }

  onFin(): void {
    this.#take();
    this.#hasEnded = true;
    this.#shutdownWhenDone();
  }

  onSendSpace(): void {
    this.lastActiveMs = this.#stack.nowMs;
    this.#take();
  }

  onClosed(_reason: CloseReason): void {
    this.#connection = null;
    this.#stack.timers.cancel(this);
    this.#onOver(this);
  }

  #take(): void {
    let at = 0;
    const bytes = this.#unread;
    while (this.#connection !== null && this.#outstanding < OUTSTANDING_MAX && !this.#connection.isSendFull && bytes.length - at >= 2) {
      const len = getU16(bytes, at);
      if (len < DNS_HEADER_LEN || len > QUERY_MAX) {
        this.#stack.counters.drop('dns-malformed');
        return this.#refuse();
      }
      if (bytes.length - at < 2 + len) break;
      this.#outstanding++;
      if (!this.#dns.resolve(copyOf(bytes, at + 2, at + 2 + len), true, (answer) => this.#onAnswer(answer))) {
        this.#outstanding--;
        return this.#refuse();
      }
      at += 2 + len;
    }
    if (at > 0) this.#unread = copyOf(bytes, at);
    this.#connection?.setHeld(this.#unread.length);
    this.#shutdownWhenDone();
  }

  /** What came is no question: nothing more is read, and what was asked before is answered. */
  #refuse(): void {
    this.#hasEnded = true;
    this.#unread = new Uint8Array(0);
    this.#connection?.setHeld(0);
    this.#shutdownWhenDone();
  }

  #shutdownWhenDone(): void {
    // What is left after the client's FIN may be questions that wait, or the beginning of one that never comes.
    const isQuestion = this.#unread.length >= 2 && this.#unread.length >= 2 + getU16(this.#unread, 0);
    if (this.#hasEnded && this.#outstanding === 0 && !isQuestion) this.#connection?.shutdown();
  }

  #onAnswer(answer: Uint8Array): void {
    this.#outstanding--;
    if (this.#connection === null) return;
    this.lastActiveMs = this.#stack.nowMs;
    this.#connection.send(framed(answer));
    // The next question is taken later: this may be in the middle of others' answers.
    if (this.#unread.length >= 2) this.#stack.timers.schedule(this, this.#stack.nowMs);
    this.#shutdownWhenDone();
  }
}
