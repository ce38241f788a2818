/*
 * Buffers in which frames leave for a link. They come back when the transport has written them, and are used again.
 *
 * All pools of a thread share the buffers that lie in the memory of wire/simd-sum.ts: the last one that came back is still in
 * the processor's cache, and is the first to be taken. When all are out (links that do not drain), or where there is no such
 * memory, buffers are made, and left to the collector.
 */
import { SUM_MEMORY, SUM_MEMORY_LEN } from '../wire/simd-sum.ts';
import type { FrameBatch } from './link-port.ts';

/** Room for two frames of the largest MTU with their lengths, or 89 of 1514 bytes. */
export const BATCH_LEN = 132 * 1024;
const SHARED_BUFFERS = SUM_MEMORY === null ? 0 : Math.floor(SUM_MEMORY_LEN / BATCH_LEN);

/** made so far, of SHARED_BUFFERS */
let made = 0;
const free: Uint8Array[] = [];

function takeBuffer(): Uint8Array {
  const known = free.pop();
  if (known !== undefined) return known;
  if (made >= SHARED_BUFFERS) return new Uint8Array(BATCH_LEN);
  return new Uint8Array(SUM_MEMORY!, BATCH_LEN * made++, BATCH_LEN);
}

export class Batch implements FrameBatch {
  readonly bytes: Uint8Array = takeBuffer();
  end = 0;
  frames = 0;
  readonly #pool: BatchPool;
  #isLent = true;

  constructor(pool: BatchPool) {
    this.#pool = pool;
  }

  release(): void {
    if (!this.#isLent) return;
    this.#isLent = false;
    this.#pool.put(this);
  }

  /** As `release`, where nobody knows any more who still reads the bytes: no other batch gets them. Idempotent. */
  abandon(): void {
    if (!this.#isLent) return;
    this.#isLent = false;
    this.#pool.forget();
  }
}

export class BatchPool {
  #held = 0;

  /** batches that are being filled or written */
  get held(): number {
    return this.#held;
  }

  take(): Batch {
    this.#held++;
    return new Batch(this);
  }

  forget(): void {
    this.#held--;
  }

  put(batch: Batch): void {
    this.#held--;
    if (batch.bytes.buffer === SUM_MEMORY) free.push(batch.bytes);
  }
}
