/*
 * Many deadlines on one host timer.
 *
 * A heap holds (time, owner). Owners move their deadlines with every packet, so the heap is lazy: moving one later costs
 * nothing (the owner is woken early, sees that nothing is due and asks again), moving one earlier adds an entry and
 * leaves the old one behind as stale. Invariant: an owner with `wakeAtMs` below Infinity has an entry of that time.
 */
import type { Clock, ClockTimer } from './clock.ts';
import type { Containment } from './containment.ts';

export interface Wakeable {
  /** when the queue will call `onWake`, Infinity for never; the queue's to write */
  wakeAtMs: number;
  onWake(nowMs: number): void;
  /** `onWake` threw, and nobody will wake the owner again: it ends. */
  onWakeFailed?(): void;
}

interface Entry {
  readonly atMs: number;
  readonly owner: Wakeable;
}

export class TimerQueue {
  readonly #clock: Clock;
  readonly #beforeWake: (nowMs: number) => void;
  readonly #afterWake: () => void;
  readonly #containment: Containment;
  #heap: Entry[] = [];
  #timer: ClockTimer | null = null;
  #timerAtMs = Infinity;
  #live = 0;
  #isClosed = false;

  /** `beforeWake` runs before the first of those that are due, `afterWake` when all have been woken. */
  constructor(clock: Clock, containment: Containment, beforeWake: (nowMs: number) => void, afterWake: () => void) {
    this.#clock = clock;
    this.#containment = containment;
    this.#beforeWake = beforeWake;
    this.#afterWake = afterWake;
  }

  /** owners that wait to be woken */
  get size(): number {
    return this.#live;
  }

  /** Wakes `owner` at `atMs` or somewhat earlier; Infinity leaves it to an earlier request. */
  schedule(owner: Wakeable, atMs: number): void {
    if (atMs >= owner.wakeAtMs || this.#isClosed) return;
    if (owner.wakeAtMs === Infinity) this.#live++;
    owner.wakeAtMs = atMs;
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#live) this.#dropStale();
    this.#push({ atMs, owner });
    this.#tryToArm();
  }

  /** Forgets the owner. Idempotent. */
  cancel(owner: Wakeable): void {
    if (owner.wakeAtMs === Infinity) return;
    owner.wakeAtMs = Infinity;
    this.#live--;
    if (this.#live === 0) {
      this.#heap = [];
      this.#disarm();
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { owner } of this.#heap) owner.wakeAtMs = Infinity;
    this.#heap = [];
    this.#live = 0;
    this.#disarm();
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerAtMs = Infinity;
  }

  /** Makes sure that the host's timer runs, which may have been refused before. */
  arm(): void {
    if (this.#heap.length > 0 && this.#heap[0].atMs < this.#timerAtMs) this.#tryToArm();
  }

  /** It is no fault of the owner's when the host starts no timer. */
  #tryToArm(): void {
    try {
      this.#arm();
    } catch (error) {
      this.#containment.caught('timer', error);
    }
  }

  #arm(): void {
    const top = this.#heap[0];
    if (top === undefined || top.atMs >= this.#timerAtMs) return;
    this.#disarm();
    this.#timer = this.#clock.startTimer(Math.max(0, top.atMs - this.#clock.nowMs()), () => this.#onTimer());
    this.#timerAtMs = top.atMs;
  }

  #onTimer(): void {
    this.#timer = null;
    this.#timerAtMs = Infinity;
    try {
      this.#wakeAll();
    } catch (error) {
      this.#containment.caught('timer', error);
    }
    this.#tryToArm();
  }

  #wakeAll(): void {
    const nowMs = this.#clock.nowMs();
    this.#beforeWake(nowMs);
    while (this.#heap.length > 0 && this.#heap[0].atMs <= nowMs) {
      const { atMs, owner } = this.#pop();
      if (owner.wakeAtMs !== atMs) continue;
      owner.wakeAtMs = Infinity;
      this.#live--;
      this.#containment.unfinished = null;
      try {
        owner.onWake(nowMs);
      } catch (error) {
        this.#onFailed(owner, error);
      }
    }
    this.#afterWake();
  }

  /** The others are woken as if nothing had happened. */
  #onFailed(owner: Wakeable, error: unknown): void {
    this.#containment.undo();
    this.#containment.run('timer', () => owner.onWakeFailed?.());
    this.#containment.unfinished = null;
    this.#containment.caught('timer', error);
  }

  #dropStale(): void {
    const live = this.#heap.filter(({ atMs, owner }) => owner.wakeAtMs === atMs);
    this.#heap = [];
    for (const entry of live) this.#push(entry);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (heap[parent].atMs <= entry.atMs) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop()!;
    const n = heap.length;
    if (n === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && heap[child + 1].atMs < heap[child].atMs) child++;
      if (heap[child].atMs >= last.atMs) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return top;
  }
}
