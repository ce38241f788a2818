/**
 * Virtual time that notices when it does not get on.
 *
 * A heap, and cancelled events leave it when they are many: a network that lives through hundreds of inputs starts and cancels
 * more timers than the sorted list of the tests' clock (virtual-clock.ts) is made for.
 */
import type { Clock, ClockTimer } from '../../shared/net/stack/clock.ts';

/** timers that one step of a script may start, and as many more per second that it lasts: a dozen flows may poll a link */
const TIMERS_MAX = 20_000;
const TIMERS_PER_SECOND = 200;
/** cancelled events that are carried along at least */
const CANCELLED_MAX = 64;

class Event implements ClockTimer {
  readonly atMs: number;
  readonly order: number;
  readonly #clock: BoundedClock;
  fn: (() => void) | null;

  constructor(clock: BoundedClock, atMs: number, order: number, fn: () => void) {
    this.#clock = clock;
    this.atMs = atMs;
    this.order = order;
    this.fn = fn;
  }

  cancel(): void {
    if (this.fn === null) return;
    this.fn = null;
    this.#clock.onCancel();
  }

  isBefore(other: Event): boolean {
    return this.atMs < other.atMs || (this.atMs === other.atMs && this.order < other.order);
  }
}

export class BoundedClock implements Clock {
  #nowMs = 1000;
  #order = 0;
  #heap: Event[] = [];
  #cancelled = 0;
  #left = TIMERS_MAX;

  nowMs(): number { return this.#nowMs; }
  wallMs(): number { return 1_700_000_000_000 + this.#nowMs; }

  startTimer(delayMs: number, fn: () => void): ClockTimer {
    if (--this.#left < 0) throw new Error('hang: timers without end within one step');
    if (Number.isNaN(delayMs)) throw new Error('a timer for no time');
    const event = new Event(this, this.#nowMs + Math.max(0, delayMs), this.#order++, fn);
    this.#push(event);
    return event;
  }

  soon(fn: () => void): void {
    this.startTimer(0, fn);
  }

  /** Events that are still to come. */
  get pending(): number {
    return this.#heap.length - this.#cancelled;
  }

  /** Runs what is due within `ms`, in order. */
  advance(ms: number): void {
    this.#left = TIMERS_MAX + (ms / 1000) * TIMERS_PER_SECOND;
    const untilMs = this.#nowMs + ms;
    while (this.#heap.length > 0 && this.#heap[0].atMs <= untilMs) {
      const event = this.#pop();
      const { fn } = event;
      if (fn === null) {
        this.#cancelled--;
        continue;
      }
      event.fn = null;
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      fn();
    }
    this.#nowMs = untilMs;
  }

  /** An event of ours will not run. */
  onCancel(): void {
    this.#cancelled++;
    if (this.#cancelled < CANCELLED_MAX || this.#cancelled < this.#heap.length >> 1) return;
    const live = this.#heap.filter(({ fn }) => fn !== null);
    this.#heap = [];
    this.#cancelled = 0;
    for (const event of live) this.#push(event);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(event);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent].isBefore(event)) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): Event {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop()!;
    const n = heap.length;
    if (n === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && heap[child + 1].isBefore(heap[child])) child++;
      if (last.isBefore(heap[child])) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return top;
  }
}
