/** What the stack knows of time and chance: both come from outside, so tests run it on virtual time, seeded. */

export interface ClockTimer {
  /** Idempotent, and harmless after it fired. */
  cancel(): void;
}

export interface Clock {
  /** monotonic, in `ms`, fractions allowed */
  nowMs(): number;
  /** wall clock, in `ms` since 1970 */
  wallMs(): number;
  /** Calls `fn` once, not before `delayMs` have passed. */
  startTimer(delayMs: number, fn: () => void): ClockTimer;
  /** Calls `fn` once, when the events that are ready now have been handled (setImmediate, not a microtask). */
  soon(fn: () => void): void;
}

export interface RandomSource {
  /** unpredictable, 0 to 2^32 - 1 */
  u32(): number;
}
