/** Virtual time that notices when it does not get on. */
import { VirtualClock } from '../../shared/net/stack/fixture/virtual-clock.ts';
import type { ClockTimer } from '../../shared/net/stack/clock.ts';

/** timers that one step of a script may start */
const TIMERS_MAX = 100_000;

export class BoundedClock extends VirtualClock {
  #started = 0;

  override startTimer(delayMs: number, fn: () => void): ClockTimer {
    if (++this.#started > TIMERS_MAX) throw new Error(`hang: more than ${TIMERS_MAX} timers within one step`);
    if (Number.isNaN(delayMs)) throw new Error('a timer for no time');
    return super.startTimer(delayMs, fn);
  }

  override advance(ms: number): void {
    this.#started = 0;
    super.advance(ms);
  }
}
