/** Time and chance of the process. */
import { randomBytes } from 'node:crypto';
import type { Clock, ClockTimer, RandomSource } from '../../shared/net/stack/clock.ts';

export class NodeClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  /** Timers do not keep the process alive: links and sockets do. */
  startTimer(delayMs: number, fn: () => void): ClockTimer {
    // setTimeout counts in whole milliseconds, and beyond 2^31 it fires at once.
    const timer = setTimeout(fn, Math.min(Math.ceil(delayMs), 0x7fffffff));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  }

  soon(fn: () => void): void {
    setImmediate(fn);
  }
}

const POOL_LEN = 1024;
let pool = Buffer.alloc(0);
let poolAt = 0;

export const nodeRandom: RandomSource = {
  u32(): number {
    if (poolAt + 4 > pool.length) {
      pool = randomBytes(POOL_LEN);
      poolAt = 0;
    }
    poolAt += 4;
    return pool.readUInt32BE(poolAt - 4);
  },
};
