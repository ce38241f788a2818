/*
 * A disk beside the image, read lazily over HTTP ranges by a guest that is blocked anyway.
 *
 * Theory of operation
 *
 * The disk is seen as chunks of CHUNK_BYTES. A read takes them from a cache that drops the longest unused one beyond
 * CACHE_BYTES; a miss fetches the chunk, and a miss right behind the chunk that was fetched last fetches READ_AHEAD at
 * once, since that is how a file is read. The request is a synchronous XMLHttpRequest: the container's worker has no event
 * loop to wait in. A failure is tried again ATTEMPTS times, with pauses; then the guest gets EIO, and the next read tries
 * anew. A server that ignores ranges sends everything once, which is then kept whole. What the network gave is offered to
 * `onFetched`, for the next visit; the service worker answers these requests from what was kept then.
 *
 * The pauses are the one place besides poll and full rings where the guest's thread sleeps.
 */
import type { FileSource } from '../../shared/wasi/files.ts';
import { CHUNK_BYTES, STORED_HEADER } from '../stored-image.ts';

/** of workers; the DOM's library does not know it */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

const CACHE_BYTES = 64 << 20;
/** chunks of one request when reads come in sequence */
const READ_AHEAD = 4;
const ATTEMPTS = 4;
/** pause before the second attempt, in ms; four times as long before each one that follows */
const FIRST_PAUSE_MS = 100;

/** Bytes `[start, end)` of the disk, or all of it; null when they cannot be had. */
export type FetchRange = (start: number, end: number) => Uint8Array | null;

export class RangeSource implements FileSource {
  readonly bytes: number;
  /** requests made, for tests and statistics */
  requests = 0;

  readonly #fetch: FetchRange;
  readonly #pause: (ms: number) => void;
  readonly #cached: number;
  /** chunk number → its bytes, the longest unused first */
  readonly #chunks = new Map<number, Uint8Array>();
  /** the chunk behind the one fetched last */
  #expected = 0;
  #whole: Uint8Array | null = null;

  constructor(bytes: number, fetchRange: FetchRange, pause: (ms: number) => void = sleep, cacheBytes = CACHE_BYTES) {
    this.bytes = bytes;
    this.#fetch = fetchRange;
    this.#pause = pause;
    this.#cached = Math.max(READ_AHEAD, Math.floor(cacheBytes / CHUNK_BYTES));
  }

  readAt(offset: number, into: Uint8Array): boolean {
    for (let done = 0; done < into.length;) {
      const at = offset + done;
      const number = Math.floor(at / CHUNK_BYTES);
      const chunk = this.#chunk(number);
      if (chunk === null) return false;
      const start = at - number * CHUNK_BYTES;
      const len = Math.min(into.length - done, chunk.length - start);
      if (len <= 0) return false;
      into.set(chunk.subarray(start, start + len), done);
      done += len;
    }
    return true;
  }

  #chunk(number: number): Uint8Array | null {
    if (this.#whole !== null) return this.#whole.subarray(number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES);
    const chunk = this.#chunks.get(number);
    if (chunk === undefined) return this.#load(number);
    this.#chunks.delete(number);
    this.#chunks.set(number, chunk);
    return chunk;
  }

  #load(number: number): Uint8Array | null {
    const start = number * CHUNK_BYTES;
    let count = number === this.#expected && number > 0 ? READ_AHEAD : 1;
    for (let i = 1; i < count; i++) if (this.#chunks.has(number + i)) count = i;
    const end = Math.min(start + count * CHUNK_BYTES, this.bytes);
    const bytes = this.#attempt(start, end);
    if (bytes === null) return null;
    if (bytes.length === this.bytes && end - start !== this.bytes) {
      this.#whole = bytes;
      this.#chunks.clear();
      return this.#chunk(number);
    }
    for (let i = 0; start + i * CHUNK_BYTES < end; i++) {
      this.#chunks.set(number + i, bytes.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES));
      this.#expected = number + i + 1;
    }
    for (const oldest of this.#chunks.keys()) {
      if (this.#chunks.size <= this.#cached) break;
      if (oldest !== number) this.#chunks.delete(oldest);
    }
    return this.#chunks.get(number)!;
  }

  #attempt(start: number, end: number): Uint8Array | null {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (attempt > 0) this.#pause(FIRST_PAUSE_MS * 4 ** (attempt - 1));
      this.requests++;
      const bytes = this.#fetch(start, end);
      if (bytes !== null && (bytes.length === end - start || bytes.length === this.bytes)) return bytes;
    }
    return null;
  }
}

/** A disk that the user has given as a file: read where it lies. */
export class BlobSource implements FileSource {
  readonly bytes: number;
  readonly #blob: Blob;
  readonly #reader = new FileReaderSync();

  constructor(blob: Blob) {
    this.bytes = blob.size;
    this.#blob = blob;
  }

  readAt(offset: number, into: Uint8Array): boolean {
    try {
      into.set(new Uint8Array(this.#reader.readAsArrayBuffer(this.#blob.slice(offset, offset + into.length))));
      return true;
    } catch {
      // The file was changed or taken away meanwhile.
      return false;
    }
  }
}

function sleep(ms: number): void {
  if (typeof SharedArrayBuffer === 'undefined') {
    // Nothing to sleep on: the pauses of a disk that cannot be read are spent awake.
    for (const endMs = performance.now() + ms; performance.now() < endMs;);
    return;
  }
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Ranges of `url`, of which the manifest says that it is `bytes` long. `onFetched` hears of what the network gave; borrowed. */
export function httpRanges(url: string, bytes: number, onFetched: (start: number, bytes: Uint8Array) => void): FetchRange {
  return (start, end) => {
    const request = new XMLHttpRequest();
    try {
      request.open('GET', url, false);
      request.responseType = 'arraybuffer';
      request.setRequestHeader('Range', `bytes=${start}-${end - 1}`);
      request.send();
    } catch {
      return null;
    }
    if (request.status !== 206 && request.status !== 200) return null;
    // Another length is another disk than the image was made with.
    const range = request.getResponseHeader('Content-Range');
    if (range !== null && range !== `bytes ${start}-${end - 1}/${bytes}`) return null;
    const got = new Uint8Array(request.response as ArrayBuffer);
    if (request.status === 206 && got.length === end - start && request.getResponseHeader(STORED_HEADER) === null) onFetched(start, got);
    return got;
  };
}
