/*
 * The guest's linear memory, as the imports see it.
 *
 * Every pointer and length comes from the guest and is hostile: `has` judges a range before anything touches it. Views
 * are kept until the memory grows (its buffer is then another one), so that a call allocates nothing; each import calls
 * `refresh` first. Pointers arrive as signed i32: make them unsigned with `>>> 0` where they come in.
 *
 * 64-bit fields are read as numbers, exact up to 2^53: times in nanoseconds stay below for a century of uptime, and
 * BigInts would be garbage on the hot path.
 */

const TWO_32 = 2 ** 32;
/** most buffers in one call, as Linux's IOV_MAX */
const MAX_IOVS = 1024;
export const IOV_BYTES = 8;

export class GuestMemory {
  bytes = new Uint8Array(0);
  view = new DataView(this.bytes.buffer);
  #memory: WebAssembly.Memory | null = null;

  /** The memory of the instance that is about to start. */
  bind(memory: WebAssembly.Memory): void {
    this.#memory = memory;
    this.refresh();
  }

  /** Looks whether the memory has grown. */
  refresh(): void {
    const buffer = this.#memory!.buffer;
    if (buffer === this.bytes.buffer) return;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** Whether `len` bytes at `ptr` lie within the memory; both unsigned. */
  has(ptr: number, len: number): boolean {
    return ptr + len <= this.bytes.length;
  }

  /** Whether an array of iovecs and every buffer that it names lie within the memory. */
  hasIovs(iovs: number, count: number): boolean {
    if (count > MAX_IOVS || !this.has(iovs, count * IOV_BYTES)) return false;
    for (let i = 0; i < count; i++) {
      if (!this.has(this.u32(iovs + i * IOV_BYTES), this.u32(iovs + i * IOV_BYTES + 4))) return false;
    }
    return true;
  }

  u32(ptr: number): number {
    return this.view.getUint32(ptr, true);
  }

  setU32(ptr: number, value: number): void {
    this.view.setUint32(ptr, value, true);
  }

  /** A u64 as a number, rounded above 2^53. */
  u64(ptr: number): number {
    return this.view.getUint32(ptr + 4, true) * TWO_32 + this.view.getUint32(ptr, true);
  }
}
