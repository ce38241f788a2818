/** A bell for a drain whose producer does not ring: where Atomics.waitAsync is missing and bytes are rare or few. */
import type { Bell } from './drain.ts';
import { wakeMode } from './drain.ts';

/** time between two looks at the ring, in ms */
const LOOK_MS = 5;

/** Null where a drain needs no bell. Rings until `over` says true. */
export function timerBell(over: () => boolean): Bell | null {
  if (wakeMode() === 'wait-async') return null;
  return {
    onRing: (listener) => {
      const look = (): void => {
        if (over()) return;
        listener();
        setTimeout(look, LOOK_MS);
      };
      setTimeout(look, LOOK_MS);
    },
  };
}
