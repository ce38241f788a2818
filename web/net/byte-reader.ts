/*
 * Reads a byte stream by heads, lines and lengths: what HTTP/1.1 and TLS need of a connection.
 *
 * Chunks are kept as they came and handed out as views of them: a body is not copied. Only a head or a line that was cut is joined, and
 * neither is longer than HEAD_MAX.
 */
import type { BodyLength } from './http1.ts';
import { HEAD_MAX, latin1, parseChunkSize } from './http1.ts';

/** One direction of a connection. */
export interface ByteSource {
  /** The next bytes, the reader's for good; null at the end. Rejects when the connection breaks. */
  read(): Promise<Uint8Array | null>;
}

const LF = 10;
const CR = 13;
const LINE_MAX = 8192;
/** of all trailer fields behind a chunked body, in lines */
const TRAILERS_MAX = 100;

/** The peer does not speak what it should, or stopped in the middle of it. */
export class ProtocolError extends Error {}

export class ByteReader {
  readonly #source: ByteSource;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Bytes that were read and not asked for yet: of another protocol, after an upgrade. */
  takeRest(): Uint8Array {
    const rest = this.#rest;
    this.#rest = new Uint8Array(0);
    return rest;
  }

  /** The next bytes without taking them; null at the end. */
  async peek(): Promise<Uint8Array | null> {
    while (this.#rest.length === 0) if (!await this.#more()) return null;
    return this.#rest;
  }

  /** So many bytes, a copy; null when the stream has ended before them. Throws ProtocolError when it ends within. */
  async exactly(length: number): Promise<Uint8Array<ArrayBuffer> | null> {
    if (await this.peek() === null) return null;
    const out = new Uint8Array(length);
    let at = 0;
    for await (const piece of this.#take(length)) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  /** A head without its empty line; null when the stream ends before it begins. Throws ProtocolError. */
  async head(): Promise<string | null> {
    // RFC 9112 §2.2: an empty line or two in front of a request are forgiven.
    for (let at = 0; ;) {
      while (at < this.#rest.length && at < 4 && (this.#rest[at] === CR || this.#rest[at] === LF)) at++;
      if (at < this.#rest.length) {
        this.#rest = this.#rest.subarray(at);
        break;
      }
      if (!await this.#more()) return null;
    }
    for (let from = 0; ;) {
      const end = endOfHead(this.#rest, from);
      if (end > HEAD_MAX || (end < 0 && this.#rest.length > HEAD_MAX)) throw new ProtocolError('the head is too long');
      if (end >= 0) {
        const text = latin1(this.#rest.subarray(0, end));
        this.#rest = this.#rest.subarray(end);
        return text.replace(/\r?\n\r?\n$/, '');
      }
      from = Math.max(0, this.#rest.length - 3);
      if (!await this.#more()) throw new ProtocolError('the connection ended within a head');
    }
  }

  /** The body behind a head, piece by piece. Throws ProtocolError when it ends early. */
  async *body(length: BodyLength): AsyncGenerator<Uint8Array, void, undefined> {
    switch (length.kind) {
      case 'length': return yield* this.#take(length.bytes);
      case 'close': {
        for (let bytes = await this.peek(); bytes !== null; bytes = await this.peek()) yield this.takeRest();
        return;
      }
      case 'chunked': return yield* this.#chunks();
    }
  }

  async *#chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const size = parseChunkSize(await this.#line());
      if (size < 0) throw new ProtocolError('a chunk without a size');
      if (size === 0) break;
      yield* this.#take(size);
      if ((await this.#line()).trim() !== '') throw new ProtocolError('a chunk that is longer than it says');
    }
    for (let lines = 0; (await this.#line()).trim() !== ''; lines++) if (lines >= TRAILERS_MAX) throw new ProtocolError('too many trailers');
  }

  async *#take(bytes: number): AsyncGenerator<Uint8Array, void, undefined> {
    for (let left = bytes; left > 0;) {
      if (await this.peek() === null) throw new ProtocolError('the connection ended within a body');
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async #line(): Promise<string> {
    for (let from = 0; ;) {
      const end = this.#rest.indexOf(LF, from);
      if (end > LINE_MAX || (end < 0 && this.#rest.length > LINE_MAX)) throw new ProtocolError('a line is too long');
      if (end >= 0) {
        const text = latin1(this.#rest.subarray(0, end));
        this.#rest = this.#rest.subarray(end + 1);
        return text;
      }
      from = this.#rest.length;
      if (!await this.#more()) throw new ProtocolError('the connection ended within a line');
    }
  }

  async #more(): Promise<boolean> {
    const bytes = await this.#source.read();
    if (bytes === null) return false;
    if (this.#rest.length === 0) {
      this.#rest = bytes;
    } else {
      const joined = new Uint8Array(this.#rest.length + bytes.length);
      joined.set(this.#rest);
      joined.set(bytes, this.#rest.length);
      this.#rest = joined;
    }
    return true;
  }
}

/** One past the first empty line, searched from `from`; -1 when there is none yet. */
function endOfHead(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}
