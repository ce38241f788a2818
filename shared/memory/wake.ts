/*
 * The one word that a container sleeps on, and the word that says whether it has a link.
 *
 *   byte 0             32               64                          128
 *   +-----------------+----------------+---------------------------+------------------+
 *   | wake i32        | sleeps i32     | link i32                  | link counters    |
 *   | every producer  | 1 while the    | 0: no link, else the      | f64 each: see    |
 *   | adds 1          | container waits| number of the link, from 1| link-counters.ts |
 *   +-----------------+----------------+---------------------------+------------------+
 *
 * The container reads `seen = wake.value`, then looks at everything that it waits for, then sleeps unless the word has
 * moved since. A producer first makes its change visible (ring, link word), then bumps. So a change between the look
 * and the sleep is never missed, and a single wait serves stdin, frames, link and clock.
 *
 * `sleeps` spares the producers the system call of a notify while the container runs: the sleeper raises it before
 * Atomics.wait compares the word, the producer looks at it after the bump; one of them sees the other.
 */

import { localListeners, type AnyBuffer } from './local.ts';

const WAKE = 0;
const SLEEPS = 8;
const LINK = 16;

/** where the counters begin */
export const COUNTERS_AT = 128;
export const CONTROL_BYTES = 256;

export class Wake {
  readonly #words: Int32Array;
  /** not shared (local.ts): who is called at each change */
  readonly #local: Set<() => void> | null;

  constructor(control: AnyBuffer) {
    this.#local = localListeners(control);
    this.#words = new Int32Array(control, 0, COUNTERS_AT / 4);
  }

  get value(): number {
    return Atomics.load(this.#words, WAKE);
  }

  /** Something changed that the container may wait for. */
  bump(): void {
    Atomics.add(this.#words, WAKE, 1);
    if (this.#local !== null) for (const listener of this.#local) listener();
    else if (Atomics.load(this.#words, SLEEPS) !== 0) Atomics.notify(this.#words, WAKE);
  }

  /** Blocks until the word is not `seen` any more, or for `timeoutMs`. Only the container's thread may call it. */
  sleep(seen: number, timeoutMs: number): void {
    Atomics.store(this.#words, SLEEPS, 1);
    Atomics.wait(this.#words, WAKE, seen, timeoutMs);
    Atomics.store(this.#words, SLEEPS, 0);
  }

  /** 0: no link; else a number that is another one after each loss of the link */
  get link(): number {
    return Atomics.load(this.#words, LINK);
  }

  /** For the one who owns the link. */
  set link(generation: number) {
    Atomics.store(this.#words, LINK, generation);
    this.bump();
  }
}
