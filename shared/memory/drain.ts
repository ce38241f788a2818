/*
 * Reads a ring in a thread that must not block: the page, the link worker, Node's main thread.
 *
 * Theory of operation
 *
 * One turn takes what there is and hands it to `onReadable`, which consumes as much as it likes and says when the next
 * turn may come: the consumer's pace is the only flow control, for while nobody takes bytes the ring fills and its
 * producer blocks. With nothing to read, the drain sleeps on the ring's signal with Atomics.waitAsync; where that is missing
 * (Firefox before 145) the producer rings a MessagePort instead. Both ends must agree on which: `wakeMode`.
 *
 * `close` is final and silent. The end of the ring (closed by its producer, and empty) is reported once.
 */
import type { Ring } from './ring.ts';

/** `suspending`: no memory is shared, and the container's stack is put aside while it waits (JSPI) */
export type WakeMode = 'wait-async' | 'message' | 'suspending';

/** What this runtime can do. */
export function wakeMode(): Exclude<WakeMode, 'suspending'> {
  return typeof (Atomics as { waitAsync?: unknown }).waitAsync === 'function' ? 'wait-async' : 'message';
}

export interface DrainHandler {
  /**
   * The ring holds bytes. Read some, then call `next`, now or later, exactly once. Not reading and calling `next` at
   * once would spin.
   */
  onReadable(ring: Ring, next: () => void): void;
  /** The producer has closed the ring and everything was read. */
  onEnd?(): void;
}

/** The receiving end of a bell; web and Node MessagePorts both fit after a line of adaptation. */
export interface Bell {
  onRing(listener: () => void): void;
}

export class Drain {
  readonly #ring: Ring;
  readonly #handler: DrainHandler;
  readonly #bell: Bell | null;
  #closed = false;
  /** in #run's loop: a `next` that is called at once only asks for another round */
  #looping = false;
  #again = false;
  /** armed: the next thing to happen is a wake-up */
  #waiting = false;

  /** Starts at once. `bell` where Atomics.waitAsync is missing. */
  constructor(ring: Ring, handler: DrainHandler, bell: Bell | null) {
    this.#ring = ring;
    this.#handler = handler;
    this.#bell = bell;
    bell?.onRing(this.#onWake);
    this.#next();
  }

  close(): void {
    this.#closed = true;
  }

  /** A bell may come late, when the handler is at work already: then it is nobody's turn. */
  readonly #onWake = (): void => {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#next();
  };

  readonly #next = (): void => {
    this.#again = true;
    if (this.#looping) return;
    this.#looping = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      this.#turn();
    }
    this.#looping = false;
  };

  #turn(): void {
    // The flag is read before the bytes are counted: what was written before the close is never missed.
    const ended = this.#ring.closed;
    if (this.#ring.readable > 0) {
      this.#handler.onReadable(this.#ring, this.#next);
      return;
    }
    if (ended) {
      this.#closed = true;
      this.#handler.onEnd?.();
      return;
    }
    const { words, index, seen } = this.#ring.armConsumer();
    if (this.#ring.readable > 0 || this.#ring.closed) {
      this.#again = true;
      return;
    }
    this.#waiting = true;
    if (this.#bell !== null) return;
    const wait = Atomics.waitAsync(words, index, seen);
    if (wait.async) {
      void wait.value.then(this.#onWake);
    } else {
      this.#waiting = false;
      this.#again = true;
    }
  }
}
