/** DNS over TCP at the gateway (RFC 7766): messages behind a 2-byte length, answered in any order on the same connection. */
import type { CloseReason, TcpConnection, TcpHandler } from '../stack/tcp/connection.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { TimerQueue, Wakeable } from '../stack/timers.ts';
import { getU16, setU16 } from '../../bytes.ts';
import type { DnsServer } from './dns-server.ts';
import { copyOf } from '../wire/copy.ts';

/** queries of one connection under way */
const OUTSTANDING_MAX = 16;
/** a query longer than this is nonsense */
const QUERY_MAX = 4096;
const IDLE_MS = 30_000;

export class DnsTcpSession implements TcpHandler, Wakeable {
  wakeAtMs = Infinity;
  readonly #dns: DnsServer;
  readonly #timers: TimerQueue;
  readonly #onOver: (session: DnsTcpSession) => void;
  #connection: TcpConnection | null;
  /** bytes of a message that has not come whole */
  #partial: Uint8Array = new Uint8Array(0);
  #outstanding = 0;
  #hasEnded = false;

  constructor(dns: DnsServer, timers: TimerQueue, nowMs: number, pending: PendingConnection, onOver: (session: DnsTcpSession) => void) {
    this.#dns = dns;
    this.#timers = timers;
    this.#onOver = onOver;
    this.#connection = pending.accept(this);
    timers.schedule(this, nowMs + IDLE_MS);
  }

  onWake(): void {
    this.close();
  }

  onWakeFailed(): void {
    this.close();
  }

  close(): void {
    this.#connection?.abort();
  }

  onEstablished(): void {}

  onData(bytes: Uint8Array, start: number, end: number): void {
    const joined = new Uint8Array(this.#partial.length + end - start);
    joined.set(this.#partial);
    joined.set(bytes.subarray(start, end), this.#partial.length);
    this.#partial = joined;
  }

  onTurn(): void {
    let at = 0;
    const bytes = this.#partial;
    while (bytes.length - at >= 2) {
      const len = getU16(bytes, at);
      if (len > QUERY_MAX || this.#outstanding >= OUTSTANDING_MAX) return this.close();
      if (bytes.length - at < 2 + len) break;
      this.#outstanding++;
      this.#dns.resolve(copyOf(bytes, at + 2, at + 2 + len), true, (answer) => this.#reply(answer));
      at += 2 + len;
    }
    this.#partial = copyOf(bytes, at);
  }

  onFin(): void {
    this.#hasEnded = true;
    if (this.#outstanding === 0) this.#connection?.shutdown();
  }

  onSendSpace(): void {}

  onClosed(_reason: CloseReason): void {
    this.#connection = null;
    this.#timers.cancel(this);
    this.#onOver(this);
  }

  #reply(answer: Uint8Array): void {
    this.#outstanding--;
    const message = new Uint8Array(2 + answer.length);
    setU16(message, 0, answer.length);
    message.set(answer, 2);
    this.#connection?.send(message);
    if (this.#hasEnded && this.#outstanding === 0) this.#connection?.shutdown();
  }
}
