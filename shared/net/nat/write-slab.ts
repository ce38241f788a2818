/*
 * Where the parts of a batch are joined before they are written to a host socket.
 *
 * Nearly always the kernel takes all at once, and the same bytes can be written over by the next batch: they stay in the
 * processor's cache, and the collector has nothing to do. What a socket keeps stays where it is, and the next batch goes behind it; a
 * slab that is used up is left to the sockets that still hold parts of it.
 */
const SLAB_LEN = 1024 * 1024;

export class WriteSlab {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** `len` bytes to write to, valid until the next call unless `keep` is called. */
  take(len: number): Uint8Array {
    if (this.#at + len > this.#bytes.length) {
      this.#bytes = new Uint8Array(Math.max(SLAB_LEN, len));
      this.#at = 0;
    }
    return this.#bytes.subarray(this.#at, this.#at + len);
  }

  /** The `len` bytes taken last are somebody else's from now on. */
  keep(len: number): void {
    this.#at += len;
  }
}
