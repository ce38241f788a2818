/** Buffers in which frames leave for a link. They come back when the transport has written them, and are used again. */
import type { FrameBatch } from './link-port.ts';

/** Room for two frames of the largest MTU with their lengths, or 89 of 1514 bytes. */
export const BATCH_LEN = 132 * 1024;
/** buffers kept for reuse; beyond it they are left to the collector */
const KEEP = 16;

export class Batch implements FrameBatch {
  readonly bytes: Uint8Array = new Uint8Array(BATCH_LEN);
  end = 0;
  frames = 0;
  readonly #pool: BatchPool;
  isLent = false;

  constructor(pool: BatchPool) {
    this.#pool = pool;
  }

  release(): void {
    if (!this.isLent) return;
    this.isLent = false;
    this.#pool.put(this);
  }
}

export class BatchPool {
  readonly #free: Batch[] = [];
  #held = 0;

  /** batches that are being filled or written */
  get held(): number {
    return this.#held;
  }

  take(): Batch {
    this.#held++;
    const batch = this.#free.pop() ?? new Batch(this);
    batch.end = 0;
    batch.frames = 0;
    batch.isLent = true;
    return batch;
  }

  put(batch: Batch): void {
    this.#held--;
    if (this.#free.length < KEEP) this.#free.push(batch);
  }
}
