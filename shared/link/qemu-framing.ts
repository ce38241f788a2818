/*
 * QEMU's framing of Ethernet over a byte stream: a big-endian length, then that many bytes of frame.
 *
 *   0                 4
 *   +-----------------+-------------------+-----------------+----
 *   | length (u32)    | frame             | length          | ...
 *   +-----------------+-------------------+-----------------+----
 *
 * The stream has no way to resynchronise, so a length that can't be right ends the link.
 */
import { getU32, setU32 } from '../bytes.ts';

export const QEMU_LENGTH_LEN = 4;
/** destination, source, type */
const ETHERNET_HEADER_LEN = 14;
/** one 802.1Q tag, which some guests count in */
const VLAN_TAG_LEN = 4;

/** The longest frame that a network of this MTU carries, in `bytes`. */
export function maxFrameLen(mtu: number): number {
  return mtu + ETHERNET_HEADER_LEN + VLAN_TAG_LEN;
}

/** Writes the length in front of a frame. Returns QEMU_LENGTH_LEN. */
export function emitFrameLength(out: Uint8Array, at: number, frameLen: number): number {
  setU32(out, at, frameLen);
  return QEMU_LENGTH_LEN;
}

/**
 * Cuts a byte stream into frames, in place.
 *
 * A frame that lies whole in the pushed bytes is handed on where it lies; only one that is cut by the end of a push is
 * copied, into a buffer of exactly its size that is never used again: a frame stays valid as long as the pushed bytes do.
 */
export class FrameDecoder {
  readonly #maxLen: number;
  readonly #onFrame: (bytes: Uint8Array, start: number, end: number) => void;
  /** the length field of a cut frame, as far as it has come */
  readonly #length = new Uint8Array(QEMU_LENGTH_LEN);
  #lengthHave = 0;
  /** the cut frame, null while its length is not yet known */
  #carry: Uint8Array | null = null;
  #carryHave = 0;
  #error: string | null = null;

  constructor(maxLen: number, onFrame: (bytes: Uint8Array, start: number, end: number) => void) {
    this.#maxLen = maxLen;
    this.#onFrame = onFrame;
  }

  /** bytes kept for a frame that is not yet whole */
  get carriedBytes(): number {
    return this.#lengthHave + this.#carryHave;
  }

  /**
   * Takes the next bytes of the stream. Returns null, or what is wrong with the stream: close the link then. After an error
   * nothing more is decoded.
   */
  push(bytes: Uint8Array, start: number, end: number): string | null {
    let at = start;
    if (this.carriedBytes > 0 && this.#error === null) at = this.#finishCut(bytes, at, end);
    while (this.#error === null && at < end) {
      if (end - at < QEMU_LENGTH_LEN) return this.#keepLength(bytes, at, end);
      const len = getU32(bytes, at);
      if (!this.#isLengthRight(len)) break;
      at += QEMU_LENGTH_LEN;
      if (end - at < len) {
        this.#lengthHave = QEMU_LENGTH_LEN;
        this.#keepFrame(len, bytes, at, end);
        break;
      }
      this.#onFrame(bytes, at, at + len);
      at += len;
    }
    return this.#error;
  }

  /** Goes on with the frame that the previous push cut. Returns where the next frame starts. */
  #finishCut(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (this.#lengthHave < QEMU_LENGTH_LEN && at < end) this.#length[this.#lengthHave++] = bytes[at++];
    if (this.#lengthHave < QEMU_LENGTH_LEN) return at;
    if (this.#carry === null) {
      const len = getU32(this.#length, 0);
      if (!this.#isLengthRight(len)) return at;
      if (end - at >= len) {
        this.#lengthHave = 0;
        this.#onFrame(bytes, at, at + len);
        return at + len;
      }
      this.#carry = new Uint8Array(len);
    }
    const carry = this.#carry;
    const take = Math.min(carry.length - this.#carryHave, end - at);
    carry.set(bytes.subarray(at, at + take), this.#carryHave);
    this.#carryHave += take;
    if (this.#carryHave === carry.length) {
      this.#carry = null;
      this.#carryHave = 0;
      this.#lengthHave = 0;
      this.#onFrame(carry, 0, carry.length);
    }
    return at + take;
  }

  #keepLength(bytes: Uint8Array, start: number, end: number): null {
    this.#length.set(bytes.subarray(start, end));
    this.#lengthHave = end - start;
    return null;
  }

  #keepFrame(len: number, bytes: Uint8Array, start: number, end: number): void {
    this.#carry = new Uint8Array(len);
    this.#carry.set(bytes.subarray(start, end));
    this.#carryHave = end - start;
  }

  #isLengthRight(len: number): boolean {
    if (len === 0) this.#error = 'frame of length 0';
    else if (len > this.#maxLen) this.#error = `frame of length ${len}, the limit is ${this.#maxLen}`;
    return this.#error === null;
  }
}
