/**
 * Input on its way into a ring of the container. The page must never block, so what does not fit waits here, is moved on by a timer, and
 * refused beyond QUEUE_BYTES.
 */
import type { Ring } from '../../shared/memory/ring.ts';
import type { Wake } from '../../shared/memory/wake.ts';

const QUEUE_BYTES = 4 << 20;
const RETRY_MS = 10;

export class InputQueue {
  readonly #ring: Ring;
  readonly #wake: Wake;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(ring: Ring, wake: Wake) {
    this.#ring = ring;
    this.#wake = wake;
  }

  /** False when too much is waiting: then nothing of it was taken. */
  write(bytes: Uint8Array): boolean {
    if (this.#waitingBytes + bytes.length > QUEUE_BYTES) return false;
    let sent = 0;
    if (this.#waiting.length === 0) {
      sent = this.#ring.write(bytes, 0, bytes.length);
      this.#wake.bump();
    }
    if (sent < bytes.length) {
      this.#waiting.push(bytes.slice(sent));
      this.#waitingBytes += bytes.length - sent;
      this.#timer ??= setTimeout(this.#move, RETRY_MS);
    }
    return true;
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#waiting = [];
  }

  readonly #move = (): void => {
    this.#timer = null;
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0];
      const sent = this.#ring.write(first, 0, first.length);
      this.#waitingBytes -= sent;
      if (sent < first.length) {
        this.#waiting[0] = first.subarray(sent);
        this.#timer = setTimeout(this.#move, RETRY_MS);
        break;
      }
      this.#waiting.shift();
    }
    this.#wake.bump();
  };
}
