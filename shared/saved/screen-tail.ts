/*
 * The end of what a terminal was sent: written to another one, it shows about what the first one shows. It is kept with a saved container,
 * whose programs do not know that their screen is another one.
 */
const KEPT_BYTES = 128 << 10;
const NEWLINE = 0x0a;
/** arguments of one call */
const STEP = 8192;
/** chunks from which something was taken that are remembered */
const HIDDEN_KEPT = 64;
/** What a terminal answers: asked once more, the answers would be typed into a program that does not wait for them. */
// oxlint-disable-next-line no-control-regex
const QUERIES = /\x1b\[[?>=]?[\d;]*(?:\$p|[cnqt])|\x1b\][\d;]*\?(?:\x07|\x1b\\)|\x1bP[+$]q[^\x1b]*\x1b\\/g;

export class ScreenTail {
  /** twice of what is kept, so that it moves to the front only now and then */
  readonly #bytes = new Uint8Array(2 * KEPT_BYTES);
  #len = 0;
  /** bytes that came from the container, modulo 2^32 */
  #position = 0;
  /** of late: how many bytes that came up to `position` were not to be shown, negative for what was held back before */
  readonly #hidden: { position: number; bytes: number }[] = [];
  #waiting: { position: number; resolve(): void } | null = null;

  /** Bytes of the container, in order; `shown` is what the terminal gets of them. */
  add(bytes: Uint8Array, shown = bytes): void {
    this.#position = (this.#position + bytes.length) >>> 0;
    if (shown.length !== bytes.length) this.#hidden.push({ position: this.#position, bytes: bytes.length - shown.length });
    if (this.#hidden.length > HIDDEN_KEPT) this.#hidden.shift();
    this.show(shown);
    if (this.#waiting === null || !this.#has(this.#waiting.position)) return;
    this.#waiting.resolve();
    this.#waiting = null;
  }

  /** Bytes that the terminal shows and the container did not send now: what it showed when it was saved. */
  show(bytes: Uint8Array): void {
    const part = bytes.subarray(Math.max(bytes.length - KEPT_BYTES, 0));
    if (this.#len + part.length > this.#bytes.length) {
      this.#bytes.copyWithin(0, this.#len - KEPT_BYTES, this.#len);
      this.#len = KEPT_BYTES;
    }
    this.#bytes.set(part, this.#len);
    this.#len += part.length;
  }

  /** The end of what was shown up to `position` of the container's bytes, which is near: waits until they have come. Whole lines at its beginning. */
  async until(position: number): Promise<Uint8Array<ArrayBuffer>> {
    if (!this.#has(position)) await new Promise<void>((resolve) => { this.#waiting = { position, resolve }; });
    let since = (this.#position - position) >>> 0;
    for (const hidden of this.#hidden) if (((hidden.position - position) | 0) > 0) since -= hidden.bytes;
    const end = Math.min(Math.max(this.#len - since, 0), this.#len);
    const excess = end - KEPT_BYTES;
    const start = excess > 0 ? this.#bytes.indexOf(NEWLINE, excess) + 1 : 0;
    return withoutQueries(this.#bytes.subarray(Math.min(start, end), end));
  }

  /** Positions are modulo 2^32, and less than half of that apart. */
  #has(position: number): boolean {
    return ((this.#position - position) | 0) >= 0;
  }
}

function withoutQueries(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  // One character for each byte, there and back.
  let text = '';
  for (let at = 0; at < bytes.length; at += STEP) text += String.fromCharCode(...bytes.subarray(at, at + STEP));
  return Uint8Array.from(text.replaceAll(QUERIES, ''), (char) => char.charCodeAt(0));
}
