/** Time and chance of this thread. */
import type { Clock, ClockTimer, RandomSource } from '../../shared/net/stack/clock.ts';

export class BrowserClock implements Clock {
  /** a message to ourselves comes behind the events that wait, and without the 4 ms that nested timers are held back */
  readonly #channel = new MessageChannel();
  #soon: (() => void)[] = [];

  constructor() {
    this.#channel.port1.onmessage = () => {
      const due = this.#soon;
      this.#soon = [];
      for (const fn of due) fn();
    };
  }

  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  startTimer(delayMs: number, fn: () => void): ClockTimer {
    // setTimeout counts in whole milliseconds, and beyond 2^31 it fires at once.
    const timer = setTimeout(fn, Math.min(Math.ceil(delayMs), 0x7fffffff));
    return { cancel: () => clearTimeout(timer) };
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
    if (this.#soon.length === 1) this.#channel.port2.postMessage(null);
  }

  /** Nothing asked for `soon` happens any more. */
  close(): void {
    this.#channel.port1.close();
  }
}

const POOL_WORDS = 256;
const pool = new Uint32Array(POOL_WORDS);
let poolAt = POOL_WORDS;

export const browserRandom: RandomSource = {
  u32(): number {
    if (poolAt === POOL_WORDS) {
      crypto.getRandomValues(pool);
      poolAt = 0;
    }
    return pool[poolAt++];
  },
};
