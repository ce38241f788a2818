/*
 * The way of a machine's memory out of a container that cannot hear: from the thread that the guest blocks to the one that writes
 * the file.
 *
 * Theory of operation
 *
 *   collector: save word = WANTED, bump ─▶ poll of the container: `/portside/save` is readable ─▶ the machine reads from it
 *   SaveFd (container): begin, runs of pages…, end ─▶ save ring ─▶ SaveCollector ─▶ SaveWriter ─▶ file
 *
 * The machine stands still while it reads, so what is written is one moment of it. The ring is the only buffer: a slow file makes
 * the container stand still for longer, and no more memory is needed than the ring and a chunk.
 *
 *   message  0        4
 *            +--------+----------------+
 *            | length | payload        |    u32, big-endian; published whole
 *            +--------+----------------+
 *
 * The first message is `memory bytes / 65536, bytes written to stdout so far` (u32 each), those that follow are runs (pages.ts); one of
 * length END closes a save, one of length FAILED says that it could not be made.
 *
 * The save word: NONE ─ collector ─▶ WANTED ─ container ─▶ NONE. A collector that gives up sets CANCELLED, and the container stops at
 * its next message. A file that cannot be written does not stop the container: what still comes is read and dropped.
 *
 * Where Atomics.waitAsync is missing the collector looks at the ring every few ms (timer-bell.ts): saves are rare.
 */
import type { ContainerMemory } from '../memory/container-memory.ts';
import { Drain } from '../memory/drain.ts';
import { Ring } from '../memory/ring.ts';
import { timerBell } from '../memory/timer-bell.ts';
import { Wake } from '../memory/wake.ts';
import { changedPages, countField, PAGE_BYTES, RUN_HEADER_BYTES } from './pages.ts';
import type { SaveHeader, SaveSink } from './save-file.ts';
import { CHUNK_BYTES, KIND_MEMORY, KIND_SCREEN, SaveWriter } from './save-file.ts';
import { SaveError } from './save-error.ts';

export const SAVE_NONE = 0;
export const SAVE_WANTED = 1;
const SAVE_CANCELLED = 2;

const LENGTH_BYTES = 4;
const END = 0;
const FAILED = 0xffff_ffff;
const BEGIN_BYTES = 8;
const WASM_PAGE = 65_536;
/** how long the container waits for room before it looks whether it is still wanted, in ms */
const LOOK_MS = 200;

/** Sends the memory of the container whose thread this is. `baseline` makes the memory that its image starts with. */
export function sendMemory(shared: ContainerMemory, memory: ArrayBuffer, baseline: () => ArrayBuffer): void {
  const ring = new Ring(shared.save);
  const wake = new Wake(shared.control);
  const bytes = new Uint8Array(memory);
  let cancelled = false;
  const begin = (len: number, payload: number): boolean => {
    while (!cancelled && !ring.waitForRoom(LENGTH_BYTES + payload, LOOK_MS)) cancelled = wake.save === SAVE_CANCELLED;
    if (!cancelled) ring.putU32(len);
    return !cancelled;
  };
  try {
    const before = baseline();
    if (!begin(BEGIN_BYTES, BEGIN_BYTES)) return;
    ring.putU32(memory.byteLength / WASM_PAGE);
    ring.putU32(new Ring(shared.stdout).published);
    ring.publish();
    changedPages(memory, before, (first, count, zeros) => {
      const len = RUN_HEADER_BYTES + (zeros ? 0 : count * PAGE_BYTES);
      if (!begin(len, len)) return;
      ring.putU32(first);
      ring.putU32(countField(count, zeros));
      if (!zeros) ring.put(bytes, first * PAGE_BYTES, (first + count) * PAGE_BYTES);
      ring.publish();
    });
    if (!begin(END, 0)) return;
  } catch {
    // The memory that the image starts with needs room, too.
    if (!begin(FAILED, 0)) return;
  } finally {
    wake.save = SAVE_NONE;
  }
  ring.publish();
}

/** What the file says beside what the container tells itself. */
export interface SaveDetails extends Omit<SaveHeader, 'memoryBytes' | 'savedAtMs'> {
  /** What the terminal was sent until `position`, bytes of stdout modulo 2^32: what it shows. */
  screen(position: number): Promise<Uint8Array<ArrayBuffer>>;
}

export interface SaveSummary {
  /** of the file */
  bytes: number;
  /** of memory that differs from the image's */
  changedBytes: number;
  /** how long the container stood still, in ms */
  pausedMs: number;
}

/** Saves one moment of a running container into `sink`. Made once per save. */
export class SaveCollector {
  /** rejects with SaveError, or with what the sink threw */
  readonly done: Promise<SaveSummary>;

  readonly #wake: Wake;
  readonly #writer: SaveWriter;
  readonly #details: SaveDetails;
  readonly #drain: Drain;
  readonly #plain = new Uint8Array(CHUNK_BYTES);
  #plainLen = 0;
  #position = -1;
  #changedBytes = 0;
  #begunAtMs = 0;
  #failure: unknown = null;
  #settle: { resolve(summary: SaveSummary): void; reject(error: unknown): void };
  #over = false;

  constructor(memory: ContainerMemory, details: SaveDetails, sink: SaveSink) {
    this.#wake = new Wake(memory.control);
    this.#writer = new SaveWriter(sink);
    this.#details = details;
    const { promise, resolve, reject } = withResolvers<SaveSummary>();
    this.done = promise;
    this.#settle = { resolve, reject };
    // What a save that was given up has left.
    const ring = new Ring(memory.save);
    ring.skip(ring.readable);
    this.#drain = new Drain(ring, { onReadable: (readable, next) => { void this.#take(readable, next); } }, timerBell(() => this.#over));
    this.#wake.save = SAVE_WANTED;
  }

  /** Gives up; `done` rejects with `error`. */
  cancel(error: SaveError): void {
    if (this.#over) return;
    this.#wake.save = SAVE_CANCELLED;
    this.#finish(error);
  }

  /** All messages that are there. */
  async #take(ring: Ring, next: () => void): Promise<void> {
    while (!this.#over && ring.readable >= LENGTH_BYTES) {
      const len = ring.u32At(0);
      if (len === END || len === FAILED) {
        ring.skip(LENGTH_BYTES);
        await this.#onEnd(len === FAILED);
        return;
      }
      await this.#takeMessage(ring, len);
    }
    next();
  }

  async #takeMessage(ring: Ring, len: number): Promise<void> {
    if (this.#position < 0) {
      this.#position = ring.u32At(LENGTH_BYTES + 4);
      this.#begunAtMs = performance.now();
      const memoryBytes = ring.u32At(LENGTH_BYTES) * WASM_PAGE;
      ring.skip(LENGTH_BYTES + len);
      const { image, source, cols, rows, terminals } = this.#details;
      await this.#attempt(() => this.#writer.begin({ image, source, savedAtMs: Date.now(), memoryBytes, cols, rows, terminals }));
      return;
    }
    ring.skip(LENGTH_BYTES);
    this.#changedBytes += len - RUN_HEADER_BYTES;
    for (let left = len; left > 0;) {
      const part = Math.min(left, CHUNK_BYTES - this.#plainLen);
      ring.read(this.#plain, this.#plainLen, this.#plainLen + part);
      this.#plainLen += part;
      left -= part;
      if (this.#plainLen === CHUNK_BYTES) await this.#writeChunk();
    }
  }

  async #writeChunk(): Promise<void> {
    const len = this.#plainLen;
    this.#plainLen = 0;
    await this.#attempt(() => this.#writer.chunk(KIND_MEMORY, this.#plain.subarray(0, len)));
  }

  /** A failure to write is reported at the end: the container is still sending, and is heard out. */
  async #attempt(write: () => Promise<void>): Promise<void> {
    if (this.#failure !== null) return;
    try {
      await write();
    } catch (error) {
      this.#failure = error;
    }
  }

  async #onEnd(failed: boolean): Promise<void> {
    const pausedMs = performance.now() - this.#begunAtMs;
    try {
      if (failed) throw new SaveError('out-of-memory', 'There is not enough memory to save this container: the memory that its image starts with is needed once more.');
      if (this.#plainLen > 0) await this.#writeChunk();
      if (this.#failure !== null) throw this.#failure;
      const screen = await this.#details.screen(this.#position);
      for (let at = 0; at < screen.length; at += CHUNK_BYTES) await this.#writer.chunk(KIND_SCREEN, screen.subarray(at, at + CHUNK_BYTES));
      await this.#writer.end();
      this.#finish(null, { bytes: this.#writer.bytes, changedBytes: this.#changedBytes, pausedMs });
    } catch (error) {
      this.#finish(error);
    }
  }

  #finish(error: unknown, summary?: SaveSummary): void {
    if (this.#over) return;
    this.#over = true;
    this.#drain.close();
    if (summary === undefined) this.#settle.reject(error);
    else this.#settle.resolve(summary);
  }
}

/** Promise.withResolvers, which Node 20 has not. */
function withResolvers<T>(): { promise: Promise<T>; resolve(value: T): void; reject(error: unknown): void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
