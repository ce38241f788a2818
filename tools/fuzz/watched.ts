/**
 * Fuzzing under watch: in a thread of its own, which shows the input that it is at in shared memory. When that stays the same for
 * too long, the thread is ended and the input is the failure.
 */
import { Worker } from 'node:worker_threads';
import type { FuzzResult } from './fuzz.ts';
import { INPUT_MAX } from './mutate.ts';

/** time that one input may take: all take a few ms, and two cores may be busy */
const HANG_MS = 20_000;
const LOOK_MS = 500;

export interface WorkerData {
  target: string;
  seed: number;
  limitMs: number;
  limitRuns: number;
  /** how many inputs were started, the length of the current one, and that one */
  memory: SharedArrayBuffer;
}

export function fuzzWatched(target: string, options: { seed: number; limitMs: number; limitRuns: number }): Promise<FuzzResult> {
  const memory = new SharedArrayBuffer(8 + 2 * INPUT_MAX);
  const progress = new Int32Array(memory, 0, 2);
  const workerData: WorkerData = { target, ...options, memory };
  const worker = new Worker(new URL('./worker.mjs', import.meta.url), { workerData });
  return new Promise((resolve, reject) => {
    let seen = -1;
    let sinceMs = performance.now();
    const watch = setInterval(() => {
      const now = Atomics.load(progress, 0);
      // Until the first input it loads, which takes its time on a busy machine.
      if (now !== seen || now === 0) {
        seen = now;
        sinceMs = performance.now();
      } else if (performance.now() - sinceMs > HANG_MS) {
        finish(() => resolve({ runs: now, failure: { input: Uint8Array.from(new Uint8Array(memory, 8, Atomics.load(progress, 1))), error: `hang: one input takes more than ${HANG_MS} ms` } }));
      }
    }, LOOK_MS);
    const finish = (settle: () => void): void => {
      clearInterval(watch);
      void worker.terminate();
      settle();
    };
    worker.on('message', (result: FuzzResult) => finish(() => resolve(result)));
    worker.on('error', (error) => finish(() => reject(error)));
  });
}
