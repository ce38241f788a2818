/** Virtual time that notices when it does not get on. */
import { VirtualClock } from '../../shared/net/stack/fixture/virtual-clock.ts';
import type { ClockTimer } from '../../shared/net/stack/clock.ts';

/** timers that one step of a script may start, and as many more per second that it lasts: a dozen flows may poll a link */
const TIMERS_MAX = 20_000;
const TIMERS_PER_SECOND = 200;

export class BoundedClock extends VirtualClock {
  #left = TIMERS_MAX;

  override startTimer(delayMs: number, fn: () => void): ClockTimer {
    if (--this.#left < 0) throw new Error('hang: timers without end within one step');
    if (Number.isNaN(delayMs)) throw new Error('a timer for no time');
    return super.startTimer(delayMs, fn);
  }

  override advance(ms: number): void {
    this.#left = TIMERS_MAX + (ms / 1000) * TIMERS_PER_SECOND;
    super.advance(ms);
  }
}
