/*
 * Follows a wasm file as it arrives, from section to section, and knows whether it could end here.
 *
 *   00 61 73 6d | version u32 | id u8, size leb128, size bytes | id, size, bytes | …
 */

const MAGIC = [0x00, 0x61, 0x73, 0x6d];
const HEADER_BYTES = 8;
/** most bytes of a leb128 u32 */
const LEB_BYTES = 5;
/** the highest that the last of them can be */
const LAST_LEB_BYTE = 0x0f;

export class WasmSections {
  /** bytes of the magic and the version that were seen */
  #header = 0;
  /** content of the current section still to come */
  #left = 0;
  /** bytes of the current section's size that were seen; -1: its id comes next */
  #sizeBytes = -1;
  #size = 0;

  /** Takes the next bytes. False when the file is no wasm; what is merely odd is left to the compiler. */
  push(bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.length - at);
        this.#left -= skipped;
        at += skipped;
      } else if (!this.#step(bytes[at++])) {
        return false;
      }
    }
    return true;
  }

  get tooShort(): boolean {
    return this.#header < MAGIC.length;
  }

  /** Behind the last byte of a section, or of the header. */
  get complete(): boolean {
    return this.#header === HEADER_BYTES && this.#left === 0 && this.#sizeBytes === -1;
  }

  #step(byte: number): boolean {
    if (this.#header < HEADER_BYTES) {
      const at = this.#header++;
      return at >= MAGIC.length || byte === MAGIC[at];
    }
    if (this.#sizeBytes === -1) {
      this.#sizeBytes = 0;
      this.#size = 0;
      return true;
    }
    this.#size += (byte & 0x7f) * 2 ** (7 * this.#sizeBytes);
    this.#sizeBytes++;
    // More than 32 bits, or yet another byte.
    if (this.#sizeBytes === LEB_BYTES && byte > LAST_LEB_BYTE) return false;
    if ((byte & 0x80) === 0) {
      this.#left = this.#size;
      this.#sizeBytes = -1;
    }
    return true;
  }
}
