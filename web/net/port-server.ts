/*
 * The link worker's end of port-protocol.ts: a request of the service worker becomes a TCP connection into the container.
 *
 * A piece of a body moves when the other side asks for it, so that a slow frame slows the container's server, and a large upload
 * waits in the frame. Whoever goes away (the frame, the container's server, this page) ends both.
 */
import type { Fields, FromLink, ToLink } from '../port-protocol.ts';
import { ByteReader } from './byte-reader.ts';
import { CookieJar } from './cookie-jar.ts';
import { exchange } from './http-client.ts';
import type { Field } from './http1.ts';
import { endToEnd } from './http1.ts';
import type { ByteStream } from './page-socket.ts';

/** requests under way at a time; what comes beyond waits */
const REQUESTS_MAX = 32;
/** with those that wait; what comes beyond is refused */
const CALLS_MAX = 1024;
/** longest wait for the head of an answer: a server may think for long, but a port that swallows everything is none */
const ANSWER_MS = 120_000;

/** the part of a MessagePort that is used here */
export interface CallPort {
  onmessage: ((event: MessageEvent<ToLink>) => void) | null;
  postMessage(message: FromLink, transfer?: Transferable[]): void;
  close(): void;
}

export class PortServer {
  readonly #connect: (port: number) => ByteStream;
  readonly #cookies = new CookieJar();
  #calls = 0;
  #open = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(connect: (port: number) => ByteStream) {
    this.#connect = connect;
  }

  /** Takes one request's port. */
  serve(port: CallPort): void {
    const call = new Call(port);
    port.postMessage({ type: 'taken' });
    if (this.#calls >= CALLS_MAX) return call.fail('Too many requests at once.');
    this.#calls++;
    void this.#handle(call).catch((error: unknown) => call.fail(error instanceof Error ? error.message : String(error))).finally(() => { this.#calls--; });
  }

  async #handle(call: Call): Promise<void> {
    const request = await call.next();
    if (request.type !== 'request') return call.close();
    while (this.#open >= REQUESTS_MAX) await new Promise<void>((resolve) => { this.#waiting.push(resolve); });
    this.#open++;
    const stream = this.#connect(request.port);
    const timer = setTimeout(() => stream.abort(), ANSWER_MS);
    call.onGone = () => stream.abort();
    try {
      const reader = new ByteReader(stream);
      const { head, length } = await exchange(stream, reader, {
        method: request.method, path: request.path, fields: this.#fields(request.port, request.path, request.fields), body: request.hasBody ? call.body() : null,
      }).catch((error: unknown) => { throw new Error(this.#why(request.port, error), { cause: error }); });
      clearTimeout(timer);
      for (const [name, value] of head.fields) if (name === 'set-cookie') this.#cookies.set(value, request.path);
      const hasBody = length.kind !== 'length' || length.bytes > 0;
      call.send({ type: 'head', status: head.status, reason: head.reason, fields: endToEnd(head.fields).filter(([name]) => name !== 'set-cookie'), hasBody });
      for await (const bytes of reader.body(length)) {
        await call.pulled();
        call.send({ type: 'data', bytes: bytes.slice() });
      }
      call.send({ type: 'end' });
      call.close();
    } finally {
      clearTimeout(timer);
      stream.abort();
      this.#open--;
      this.#waiting.shift()?.();
    }
  }

  #fields(port: number, path: string, fields: Fields): Field[] {
    const cookies = this.#cookies.get(path);
    return [['host', port === 80 ? 'localhost' : `localhost:${port}`], ...fields, ...(cookies === null ? [] : [['cookie', cookies] as const])];
  }

  #why(port: number, error: unknown): string {
    return `Nothing answers on port ${port} of the container (${error instanceof Error ? error.message : String(error)}).`;
  }
}

/** One MessagePort, as something to wait on. */
class Call {
  onGone: (() => void) | null = null;
  readonly #port: CallPort;
  readonly #messages: ToLink[] = [];
  #wake: (() => void) | null = null;
  #pulls = 0;
  #pullWaiter: (() => void) | null = null;
  #isGone = false;

  constructor(port: CallPort) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      if (data.type === 'pull') {
        this.#pulls++;
        this.#pullWaiter?.();
      } else if (data.type === 'cancel') {
        this.#gone();
      } else {
        this.#messages.push(data);
        this.#wake?.();
      }
    };
  }

  async next(): Promise<ToLink> {
    while (this.#messages.length === 0) {
      if (this.#isGone) throw new Error('the frame went away');
      await new Promise<void>((resolve) => { this.#wake = resolve; });
    }
    return this.#messages.shift()!;
  }

  /** The request's body, piece by piece, as it is asked for. */
  async *body(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      this.send({ type: 'pull' });
      const message = await this.next();
      if (message.type !== 'data') return;
      yield message.bytes;
    }
  }

  /** Resolves when the frame wants a piece. */
  async pulled(): Promise<void> {
    while (this.#pulls === 0) {
      if (this.#isGone) throw new Error('the frame went away');
      await new Promise<void>((resolve) => { this.#pullWaiter = resolve; });
    }
    this.#pulls--;
  }

  send(message: FromLink): void {
    if (this.#isGone) return;
    this.#port.postMessage(message, message.type === 'data' ? [message.bytes.buffer as ArrayBuffer] : []);
  }

  fail(message: string): void {
    this.send({ type: 'error', message });
    this.close();
  }

  /** The other side hears of it by what was sent before. */
  close(): void {
    this.#isGone = true;
    this.#wake?.();
    this.#pullWaiter?.();
  }

  #gone(): void {
    this.#isGone = true;
    this.onGone?.();
    this.#wake?.();
    this.#pullWaiter?.();
    this.#port.close();
  }
}
