/*
 * Bytes towards the peer, from when the application hands them over until they are acknowledged.
 *
 * Chunks are kept as they came (a host socket's reads, 64 KiB each) and copied once, when a segment is written; small ones
 * are gathered into blocks, so that a million one-byte writes are not a million objects. Positions count from the first
 * byte ever queued, as plain numbers; segments are mostly copied in order, so the chunk of the last copy is remembered.
 */

const SMALL = 1024;
const BLOCK_LEN = 4 * 1024;

export class SendQueue {
  #chunks: Uint8Array[] = [];
  #head = 0;
  /** position of the first byte of `#chunks[#head]` */
  #headPos = 0;
  /** position of the first byte not yet acknowledged */
  start = 0;
  /** one past the last queued byte */
  end = 0;
  /** the block that small chunks are gathered in is the last chunk, and has this much room behind it */
  #blockRoom = 0;
  #block: Uint8Array | null = null;
  #cursor = 0;
  #cursorPos = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Takes the chunk for good. */
  append(chunk: Uint8Array): void {
    const len = chunk.length;
    if (len === 0) return;
    if (len >= SMALL) {
      this.#chunks.push(chunk);
      this.#block = null;
    } else {
      if (this.#block === null || this.#blockRoom < len) {
        this.#block = new Uint8Array(BLOCK_LEN);
        this.#blockRoom = BLOCK_LEN;
        this.#chunks.push(this.#block.subarray(0, 0));
      }
      const used = BLOCK_LEN - this.#blockRoom;
      this.#block.set(chunk, used);
      this.#blockRoom -= len;
      const last = this.#chunks.length - 1;
      this.#chunks[last] = this.#block.subarray(0, used + len);
    }
    this.end += len;
  }

  /** Copies `len` bytes from position `pos` to `out` at `at`. */
  copyTo(out: Uint8Array, at: number, pos: number, len: number): void {
    if (pos < this.#cursorPos || this.#cursor < this.#head) {
      this.#cursor = this.#head;
      this.#cursorPos = this.#headPos;
    }
    let chunk = this.#chunks[this.#cursor];
    while (this.#cursorPos + chunk.length <= pos) {
      this.#cursorPos += chunk.length;
      chunk = this.#chunks[++this.#cursor];
    }
    let from = pos - this.#cursorPos;
    let left = len;
    let to = at;
    for (;;) {
      const take = Math.min(left, chunk.length - from);
      out.set(from === 0 && take === chunk.length ? chunk : chunk.subarray(from, from + take), to);
      left -= take;
      if (left === 0) return;
      to += take;
      from = 0;
      this.#cursorPos += chunk.length;
      chunk = this.#chunks[++this.#cursor];
    }
  }

  /** Everything before `pos` is acknowledged. */
  release(pos: number): void {
    this.start = pos;
    while (this.#head < this.#chunks.length && this.#headPos + this.#chunks[this.#head].length <= pos) {
      if (this.#head === this.#chunks.length - 1 && this.#block !== null && this.#blockRoom > 0) break;
      this.#headPos += this.#chunks[this.#head].length;
      this.#chunks[this.#head] = EMPTY;
      this.#head++;
    }
    if (this.#head >= 64 && 2 * this.#head >= this.#chunks.length) {
      this.#chunks.splice(0, this.#head);
      this.#cursor -= this.#head;
      this.#head = 0;
    }
  }

  clear(): void {
    this.#chunks = [];
    this.#block = null;
    this.#head = 0;
    this.#cursor = 0;
    this.start = this.end;
    this.#headPos = this.end;
    this.#cursorPos = this.end;
  }
}

const EMPTY = new Uint8Array(0);
