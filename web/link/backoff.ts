/** Delays between attempts: from half a second, doubled up to ten, each shortened at random by up to a third. */

const FIRST_MS = 500;
const LAST_MS = 10_000;
/** so that many tabs do not come back to a restarted relay at once */
const JITTER = 1 / 3;

export class Backoff {
  readonly #random: () => number;
  #nextMs = FIRST_MS;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** Delay before the next attempt, in ms. */
  next(): number {
    const delayMs = this.#nextMs * (1 - JITTER * this.#random());
    this.#nextMs = Math.min(this.#nextMs * 2, LAST_MS);
    return Math.round(delayMs);
  }

  /** The next delay is the first one. */
  reset(): void {
    this.#nextMs = FIRST_MS;
  }

  /** The next delay is the longest one. */
  atMost(): void {
    this.#nextMs = LAST_MS;
  }
}
