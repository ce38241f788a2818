/*
 * Writes a QEMU byte stream into a ring, frame by whole frame.
 *
 *   stream, cut anywhere:  ..|len|frame..|..frame|le|n|frame|..
 *   ring, as published:    |len|frame|len|frame|
 *
 * Theory of operation
 *
 * Both writers of frames use it: the container (sock_send → fromGuest) and the link (WebSocket → toGuest). The ring's
 * head moves only at the end of a frame. So its consumer never meets half a frame, may cut and skip at boundaries, and a
 * stream that breaks in the middle (`reset`) leaves nothing behind. Room for a whole frame is made sure of when its
 * length is known; without room the frame is dropped whole and counted, which TCP repairs, while a missing half would
 * put every later frame out of step.
 *
 * What it never does: keep bytes of its own, other than up to 3 of a length that was cut.
 */
import { getU32 } from '../bytes.ts';
import type { Ring } from '../memory/ring.ts';

const LENGTH_BYTES = 4;

export class FrameWriter {
  /** frames published */
  frames = 0;
  /** bytes published, lengths included */
  bytes = 0;
  /** frames dropped for want of room */
  dropped = 0;

  readonly #ring: Ring;
  readonly #maxFrame: number;
  readonly #onFull: (needed: number) => boolean;
  /** bytes of the next length that were read, 0 to 3 */
  #lengthHave = 0;
  #length = 0;
  /** bytes of the current frame still to come */
  #left = 0;
  /** bytes of the current frame with its length */
  #size = 0;
  #dropping = false;

  /**
   * `maxFrame` is the longest frame that the ring's reader takes, and fits the ring. `onFull` may wait for room for
   * `needed` bytes; when it returns false the frame is dropped.
   */
  constructor(ring: Ring, maxFrame: number, onFull: (needed: number) => boolean) {
    this.#ring = ring;
    this.#maxFrame = Math.min(maxFrame, ring.capacity - LENGTH_BYTES);
    this.#onFull = onFull;
  }

  /**
   * Takes `bytes[start, end)` of the stream. False when a length is 0 or too long: the stream is garbage from there on,
   * and the writer takes no more before `reset`.
   */
  write(bytes: Uint8Array, start: number, end: number): boolean {
    let at = start;
    while (at < end) {
      if (this.#left === 0) {
        if (this.#lengthHave === 0 && end - at >= LENGTH_BYTES) {
          this.#length = getU32(bytes, at);
          at += LENGTH_BYTES;
        } else {
          this.#length = ((this.#length << 8) | bytes[at++]) >>> 0;
          if (++this.#lengthHave < LENGTH_BYTES) continue;
          this.#lengthHave = 0;
        }
        if (!this.#begin()) return false;
      }
      const len = Math.min(this.#left, end - at);
      if (!this.#dropping) this.#ring.put(bytes, at, at + len);
      at += len;
      this.#left -= len;
      if (this.#left === 0) this.#finish();
    }
    return true;
  }

  /** The stream starts anew; a frame that was under way is forgotten. */
  reset(): void {
    this.#ring.rollback();
    this.#lengthHave = 0;
    this.#length = 0;
    this.#left = 0;
  }

  /** The next byte of the stream begins a frame. */
  get atFrame(): boolean {
    return this.#left === 0 && this.#lengthHave === 0;
  }

  #begin(): boolean {
    const length = this.#length;
    this.#length = 0;
    if (length === 0 || length > this.#maxFrame) return false;
    this.#left = length;
    this.#size = length + LENGTH_BYTES;
    this.#dropping = this.#ring.writable < this.#size && !this.#onFull(this.#size);
    if (!this.#dropping) this.#ring.putU32(length);
    return true;
  }

  #finish(): void {
    if (this.#dropping) {
      this.dropped++;
      return;
    }
    this.#ring.publish();
    this.frames++;
    this.bytes += this.#size;
  }
}

/**
 * Bytes of the whole frames at the front of a ring that FrameWriter fills: as many as fit in `limit`, yet at least one
 * frame if there is any. `count` is told how many frames that are.
 */
export function wholeFrames(ring: Ring, limit: number, count: { frames: number }): number {
  const readable = ring.readable;
  let len = 0;
  count.frames = 0;
  while (len < readable) {
    const next = len + LENGTH_BYTES + ring.u32At(len);
    if (count.frames > 0 && next > limit) break;
    len = next;
    count.frames++;
  }
  return len;
}
