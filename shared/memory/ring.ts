/*
 * A byte ring between one producer and one consumer, over a SharedArrayBuffer.
 *
 *   byte 0        64        128              192              256                256 + capacity
 *   +------------+---------+----------------+----------------+------------------+
 *   | head i32   | tail i32| closed i32     | waits i32 of   | data             |
 *   | written by | by the  | waits i32 of   | the consumer   | capacity bytes,  |
 *   | producer   | consumer| the producer   | signal i32     | a power of two   |
 *   |            |         |                | abandoned i32  |                  |
 *   +------------+---------+----------------+----------------+------------------+
 *
 * Theory of operation
 *
 * `head` and `tail` count bytes since the beginning, modulo 2^32, so that `head - tail` is what can be read, and a full
 * ring differs from an empty one. Each has one writer. Data is written before `head` is stored and read after `head` was
 * loaded; Atomics are sequentially consistent, so nobody sees a byte that is not there yet.
 *
 * A producer may `put` in several steps and `publish` at the end: frames become visible whole, and `rollback` forgets
 * one that was cut off. `write` is put and publish in one.
 *
 * Who sleeps, and on what:
 *   - a producer that finds no room: on `tail`, in `waitForRoom` (workers only)
 *   - a consumer in a page or in a worker with an event loop: on `signal`, with Atomics.waitAsync: drain.ts
 *   - the container, as a consumer: on the wake word of wake.ts, never here; its producers bump that
 * A sleeper first raises its flag, then looks once more; the other side moves its counter, then looks at the flag. One of
 * the two always sees the other, and where nobody sleeps, moving bytes costs no system call.
 * Where waitAsync does not exist, `bell` replaces the notify: a posted message, since posts from a blocked worker arrive.
 *
 * Copies go through `set(subarray)`: a small garbage view, but a third of the time of a loop at 1500 bytes; up to
 * LOOP_BYTES a loop is faster and allocates nothing.
 *
 * Over a plain ArrayBuffer everything works the same within one thread (the JSPI mode), but that `waitForRoom` can't wait.
 */
import { invariant } from '../invariant.ts';

/** bytes before the data: four cache lines, so that the two sides do not share one */
export const RING_HEADER_BYTES = 256;

// Indices of i32 words
const HEAD = 0;
const TAIL = 16;
const CLOSED = 32;
const PRODUCER_WAITS = 33;
const CONSUMER_WAITS = 48;
const SIGNAL = 49;
const ABANDONED = 50;

/** largest copy that is done byte by byte */
const LOOP_BYTES = 32;

/** Size of the buffer for a ring of `capacity` bytes, a power of two. */
export function ringBytes(capacity: number): number {
  return RING_HEADER_BYTES + capacity;
}

/**
 * One side's view of a ring. Use it as producer or as consumer, not as both from one object in two threads: each side
 * makes its own.
 */
export class Ring {
  readonly capacity: number;
  /** called instead of Atomics.notify when the consumer waits for a message */
  bell: (() => void) | null = null;

  readonly #words: Int32Array;
  readonly #data: Uint8Array;
  readonly #mask: number;
  /** producer: one past the last byte that was put, modulo 2^32 */
  #put: number;
  // Invariant: #put - tail <= capacity, and head lies between the two.

  constructor(buffer: ArrayBufferLike) {
    this.capacity = buffer.byteLength - RING_HEADER_BYTES;
    invariant(this.capacity > 0 && (this.capacity & (this.capacity - 1)) === 0, 'ring capacity is a power of two');
    this.#words = new Int32Array(buffer, 0, RING_HEADER_BYTES / 4);
    this.#data = new Uint8Array(buffer, RING_HEADER_BYTES);
    this.#mask = this.capacity - 1;
    this.#put = Atomics.load(this.#words, HEAD);
  }

  // Producer ------------------------------------------------------------------------------------------------------

  /** Room in bytes, for the producer: behind what was put. */
  get writable(): number {
    return this.capacity - ((this.#put - Atomics.load(this.#words, TAIL)) >>> 0);
  }

  /** Copies what fits of `bytes[start, end)` and publishes it. Returns how many bytes that was. */
  write(bytes: Uint8Array, start: number, end: number): number {
    const len = Math.min(end - start, this.writable);
    if (len <= 0) return 0;
    this.put(bytes, start, start + len);
    this.publish();
    return len;
  }

  /** Copies `bytes[start, end)` behind what was put before, unseen until `publish`. There must be room. */
  put(bytes: Uint8Array, start: number, end: number): void {
    const len = end - start;
    const at = this.#put & this.#mask;
    const first = Math.min(len, this.capacity - at);
    copy(bytes, start, this.#data, at, first);
    if (first < len) copy(bytes, start + first, this.#data, 0, len - first);
    this.#put = (this.#put + len) | 0;
  }

  /** Puts a big-endian u32. There must be room for its 4 bytes. */
  putU32(value: number): void {
    const at = this.#put;
    this.#data[at & this.#mask] = value >>> 24;
    this.#data[(at + 1) & this.#mask] = value >>> 16;
    this.#data[(at + 2) & this.#mask] = value >>> 8;
    this.#data[(at + 3) & this.#mask] = value;
    this.#put = (at + 4) | 0;
  }

  /** Shows the consumer what was put, and wakes it if it waits. */
  publish(): void {
    Atomics.store(this.#words, HEAD, this.#put);
    this.#wakeConsumer();
  }

  /** Forgets what was put and not published. */
  rollback(): void {
    this.#put = Atomics.load(this.#words, HEAD);
  }

  /** No more bytes will come. What is in the ring can still be read. */
  close(): void {
    Atomics.store(this.#words, CLOSED, 1);
    this.#wakeConsumer();
  }

  #wakeConsumer(): void {
    if (Atomics.load(this.#words, CONSUMER_WAITS) === 0) return;
    Atomics.store(this.#words, CONSUMER_WAITS, 0);
    Atomics.add(this.#words, SIGNAL, 1);
    if (this.bell !== null) this.bell();
    else Atomics.notify(this.#words, SIGNAL);
  }

  /**
   * Blocks until `bytes` fit (at most the capacity) or `timeoutMs` have passed. Returns whether they fit.
   * Only for threads that may block; where the memory is not shared it says at once how things are.
   */
  waitForRoom(bytes: number, timeoutMs: number): boolean {
    if (this.#words.buffer instanceof ArrayBuffer) return this.writable >= bytes;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const tail = Atomics.load(this.#words, TAIL);
      Atomics.store(this.#words, PRODUCER_WAITS, 1);
      if (this.writable >= bytes || this.abandoned) break;
      const left = deadline - performance.now();
      if (left <= 0) break;
      Atomics.wait(this.#words, TAIL, tail, left);
    }
    Atomics.store(this.#words, PRODUCER_WAITS, 0);
    return this.writable >= bytes;
  }

  /** Nobody will read any more. */
  get abandoned(): boolean {
    return Atomics.load(this.#words, ABANDONED) !== 0;
  }

  // Consumer ------------------------------------------------------------------------------------------------------

  /** Bytes that can be read. */
  get readable(): number {
    return (Atomics.load(this.#words, HEAD) - Atomics.load(this.#words, TAIL)) >>> 0;
  }

  /** Bytes that were published since the beginning, modulo 2^32. */
  get published(): number {
    return Atomics.load(this.#words, HEAD) >>> 0;
  }

  /** The producer will write no more; `readable` may still be above 0. */
  get closed(): boolean {
    return Atomics.load(this.#words, CLOSED) !== 0;
  }

  /** Moves up to `end - start` bytes into `into`. Returns how many there were. */
  read(into: Uint8Array, start: number, end: number): number {
    const len = this.peek(into, start, end);
    if (len > 0) this.skip(len);
    return len;
  }

  /** As `read`, and leaves the bytes in the ring. */
  peek(into: Uint8Array, start: number, end: number): number {
    const len = Math.min(end - start, this.readable);
    if (len <= 0) return 0;
    const at = Atomics.load(this.#words, TAIL) & this.#mask;
    const first = Math.min(len, this.capacity - at);
    copy(this.#data, at, into, start, first);
    if (first < len) copy(this.#data, 0, into, start + first, len - first);
    return len;
  }

  /** The big-endian u32 at `off` behind the oldest byte; its 4 bytes must be readable. */
  u32At(off: number): number {
    const at = Atomics.load(this.#words, TAIL) + off;
    return ((this.#data[at & this.#mask] << 24) | (this.#data[(at + 1) & this.#mask] << 16)
      | (this.#data[(at + 2) & this.#mask] << 8) | this.#data[(at + 3) & this.#mask]) >>> 0;
  }

  /** Drops the oldest `len` bytes, which must be readable, and wakes a producer that waits for room. */
  skip(len: number): void {
    const words = this.#words;
    Atomics.store(words, TAIL, (Atomics.load(words, TAIL) + len) | 0);
    if (Atomics.load(words, PRODUCER_WAITS) !== 0) Atomics.notify(words, TAIL);
  }

  /** The consumer has gone for good: a producer that waits for room waits no longer, and may look at `abandoned`. */
  abandon(): void {
    Atomics.store(this.#words, ABANDONED, 1);
    Atomics.notify(this.#words, TAIL);
  }

  /**
   * Announces a consumer that is about to wait. It then looks at `readable` and `closed` once more, and sleeps for as
   * long as `words[index]` is `seen`. For drain.ts, which owns the waiting itself.
   */
  armConsumer(): { words: Int32Array; index: number; seen: number } {
    const seen = Atomics.load(this.#words, SIGNAL);
    Atomics.store(this.#words, CONSUMER_WAITS, 1);
    return { words: this.#words, index: SIGNAL, seen };
  }
}

function copy(from: Uint8Array, start: number, into: Uint8Array, at: number, len: number): void {
  if (len <= LOOP_BYTES) {
    for (let i = 0; i < len; i++) into[at + i] = from[start + i];
  } else {
    into.set(from.subarray(start, start + len), at);
  }
}
