/*
 * A TCP connection between a guest and code in this page: to the NAT a host socket, to that code a pair of promises.
 *
 *   guest ─▶ TcpFlow ─ write ─▶ [queue] ─ read() ─▶ page        held = what was not read: the guest's window closes
 *   guest ◀─ TcpFlow ◀─ onData ─ send() ◀── page                send() waits while the flow says pause
 *
 * Each direction ends by itself, as TCP's do. `reset` from either side ends both: what the page waits for then rejects.
 * The names tell who speaks: `read send finish abort` are the page's, `write end reset pause resume` the NAT's.
 */
import type { HostTcp, HostTcpHandlers } from '../../shared/net/nat/host-net.ts';
import type { ByteSource } from './byte-reader.ts';

/** What a protocol spoken in this page needs of a connection; TLS wraps one into another. */
export interface ByteStream extends ByteSource {
  /** Takes the bytes for good; resolves when there is room for more. Rejects when the connection is gone. */
  send(bytes: Uint8Array): Promise<void>;
  /** No more will be sent. */
  finish(): void;
  /** Ends both directions without ceremony. Idempotent. */
  abort(): void;
  /** Resolves when the connection is over, however it came to that. */
  readonly closed: Promise<void>;
}

/** The connection was reset. */
export class ConnectionLost extends Error {
  constructor(message = 'the connection was reset') {
    super(message);
  }
}

const SILENT: HostTcpHandlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };

export class PageSocket implements HostTcp, ByteStream {
  handlers: HostTcpHandlers;
  pendingBytes = 0;
  readonly peer: string | undefined;
  readonly closed: Promise<void>;

  readonly #queue: Uint8Array[] = [];
  #reader: { resolve(bytes: Uint8Array | null): void; reject(error: Error): void } | null = null;
  #writers: { resolve(): void; reject(error: Error): void }[] = [];
  /** what the page wrote before the guest's side was ready */
  #early: Uint8Array[] = [];
  #isPaused = true;
  #guestEnded = false;
  #pageEnded = false;
  #endTold = false;
  #isOver = false;
  #settleClosed: () => void = () => {};

  constructor(handlers: HostTcpHandlers = SILENT, peer?: string) {
    this.handlers = handlers;
    this.peer = peer;
    this.closed = new Promise((resolve) => { this.#settleClosed = resolve; });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  // ---- the page's side ----

  read(): Promise<Uint8Array | null> {
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.pendingBytes -= bytes.length;
      // Not within the call: the flow may answer with more.
      queueMicrotask(() => { if (!this.#isOver) this.handlers.onTaken(); });
      return Promise.resolve(bytes);
    }
    if (this.#guestEnded) return Promise.resolve(null);
    if (this.#isOver) return Promise.reject(new ConnectionLost());
    return new Promise((resolve, reject) => { this.#reader = { resolve, reject }; });
  }

  send(bytes: Uint8Array): Promise<void> {
    if (this.#isOver || this.#pageEnded) return Promise.reject(new ConnectionLost());
    if (bytes.length === 0) return Promise.resolve();
    if (!this.#isPaused) {
      this.handlers.onData(bytes);
      if (!this.#isPaused) return Promise.resolve();
    } else {
      this.#early.push(bytes);
    }
    return new Promise((resolve, reject) => { this.#writers.push({ resolve, reject }); });
  }

  /** FIN, behind what was written. */
  finish(): void {
    if (this.#pageEnded) return;
    this.#pageEnded = true;
    this.#tellEnd();
  }

  /** RST. */
  abort(): void {
    this.#over('ECONNABORTED');
  }

  /** The connection never came about, or broke: an errno, as HostNet's are. */
  fail(error: string): void {
    this.#over(error);
  }

  // ---- the NAT's side, HostTcp ----

  write(bytes: Uint8Array): boolean {
    if (this.#isOver || bytes.length === 0) return true;
    const reader = this.#reader;
    if (reader !== null) {
      this.#reader = null;
      reader.resolve(bytes);
      return false;
    }
    this.#queue.push(bytes);
    this.pendingBytes += bytes.length;
    return false;
  }

  cork(): void {}
  uncork(): void {}

  end(): void {
    if (this.#guestEnded) return;
    this.#guestEnded = true;
    const reader = this.#reader;
    this.#reader = null;
    reader?.resolve(null);
    this.#overIfBothEnded();
  }

  reset(): void {
    this.#over(null);
  }

  pause(): void {
    this.#isPaused = true;
  }

  /** The other end is in this page: it can't vanish. */
  setKeepalive(): void {}

  resume(): void {
    if (!this.#isPaused || this.#isOver) return;
    this.#isPaused = false;
    while (this.#early.length > 0 && !this.#isPaused) this.handlers.onData(this.#early.shift()!);
    if (this.#isPaused) return;
    for (const writer of this.#writers.splice(0)) writer.resolve();
    this.#tellEnd();
  }

  #tellEnd(): void {
    if (!this.#pageEnded || this.#endTold || this.#isOver || this.#early.length > 0) return;
    this.#endTold = true;
    this.handlers.onEnd();
    this.#overIfBothEnded();
  }

  #overIfBothEnded(): void {
    if (this.#guestEnded && this.#endTold) this.#over(null);
  }

  #over(error: string | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#early = [];
    const lost = new ConnectionLost();
    this.#reader?.reject(lost);
    this.#reader = null;
    for (const writer of this.#writers.splice(0)) writer.reject(lost);
    this.#settleClosed();
    this.handlers.onClose(error);
  }
}
