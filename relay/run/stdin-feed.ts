/*
 * This process's stdin, into the stdin ring of a container.
 *
 * When the ring is full the stream is paused and looked at again after RETRY_MS, which the ring bridges: the guest does not wait. The
 * stream's end closes the ring. What else is to reach the guest by stdin (window sizes) goes through `push`, in turn.
 */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';

const RETRY_MS = 1;

export class StdinFeed {
  readonly #ring: Ring;
  readonly #wake: Wake;
  /** true: the bytes are not the guest's */
  readonly #isKept: (bytes: Uint8Array) => boolean;
  #pending: Uint8Array | null = null;
  #reads = false;
  #ended = false;
  #retry: NodeJS.Timeout | null = null;

  constructor(memory: ContainerMemory, isKept: (bytes: Uint8Array) => boolean = () => false) {
    this.#ring = new Ring(memory.stdin);
    this.#wake = new Wake(memory.control);
    this.#isKept = isKept;
  }

  /** Begins to read stdin. */
  open(): void {
    this.#reads = true;
    process.stdin.on('data', this.#onInput);
    process.stdin.on('end', this.#onEnd);
    process.stdin.on('error', this.#onEnd);
  }

  close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (!this.#reads) return;
    this.#reads = false;
    process.stdin.off('data', this.#onInput);
    process.stdin.off('end', this.#onEnd);
    process.stdin.off('error', this.#onEnd);
    process.stdin.pause();
    // A pipe that nobody writes to would keep the process alive.
    process.stdin.unref?.();
  }

  /** Behind what waits for room. */
  push(bytes: Uint8Array): void {
    this.#pending = this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#move();
  }

  readonly #onInput = (bytes: Uint8Array): void => {
    if (!this.#isKept(bytes)) this.push(bytes);
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#move();
  };

  readonly #move = (): void => {
    this.#retry = null;
    if (this.#pending !== null) {
      const sent = this.#ring.write(this.#pending, 0, this.#pending.length);
      this.#pending = sent === this.#pending.length ? null : this.#pending.subarray(sent);
    }
    if (this.#pending !== null) {
      process.stdin.pause();
      this.#retry ??= setTimeout(this.#move, RETRY_MS);
    } else if (this.#ended) {
      this.#ring.close();
    } else if (this.#reads && process.stdin.isPaused()) {
      process.stdin.resume();
    }
    this.#wake.bump();
  };
}
