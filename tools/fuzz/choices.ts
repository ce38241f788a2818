/** Choices out of an input: each takes its next byte or bytes, so that any bytes are a script. Behind the end all are zero. */
export class Choices {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** nothing is left */
  get isOver(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  /** little-endian */
  u32(): number {
    return (this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)) >>> 0;
  }

  /** 0 to n - 1, n at most 256 */
  below(n: number): number {
    return this.byte() % n;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** As many as there are, at most `len`. */
  take(len: number): Uint8Array {
    const taken = this.#bytes.slice(this.#at, this.#at + len);
    this.#at += len;
    return taken;
  }
}
