/** How the container's worker waits without shared memory: on its own event loop (shared/wasi/suspending.ts). */
import { localListeners } from '../../shared/memory/local.ts';
import type { Wake } from '../../shared/memory/wake.ts';
import type { Suspend } from '../../shared/wasi/suspending.ts';

/** longest time between two turns of the event loop while the guest computes, in ms */
const BREATH_MS = 8;

export function eventLoopSuspend(control: ArrayBuffer, wake: Wake): Suspend {
  let wakeUp: (() => void) | null = null;
  localListeners(control)!.add(() => wakeUp?.());
  const { port1, port2 } = new MessageChannel();
  let breathed: (() => void) | null = null;
  // A message is a turn of the event loop without the 4 ms of a nested timer.
  port2.onmessage = () => breathed?.();
  let lastMs = performance.now();
  return {
    sleep: (seen, timeoutMs) => new Promise((resolve) => {
      if (wake.value !== seen || timeoutMs <= 0) return resolve();
      const timer = timeoutMs === Infinity ? undefined : setTimeout(() => wakeUp?.(), Math.min(timeoutMs, 0x7fffffff));
      wakeUp = () => {
        clearTimeout(timer);
        wakeUp = null;
        lastMs = performance.now();
        resolve();
      };
    }),
    breathe: () => {
      if (performance.now() - lastMs < BREATH_MS) return null;
      return new Promise((resolve) => {
        breathed = () => {
          lastMs = performance.now();
          resolve();
        };
        port1.postMessage(0);
      });
    },
  };
}
