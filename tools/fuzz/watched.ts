/**
 * Fuzzing under watch: in a thread of its own, which shows the input that it is at in shared memory, and as many as fit of those before it. When that stays
 * the same for too long, the thread is ended and the input is the failure: with what ran before it on the same network, where inputs come in series.
 *
 *   memory: how many inputs were started, where the current one lies, then (length u32, bytes) of each since the last time that it was full
 */
import { Worker } from 'node:worker_threads';
import type { FuzzResult } from './fuzz.ts';
import { INPUT_MAX } from './mutate.ts';
import { joinScripts, scriptPieces } from './script.ts';
import type { FuzzTarget } from './target.ts';
import { sameWorld } from './worlds.ts';

/** time that one input may take: all take a few ms, and two cores may be busy */
const HANG_MS = 20_000;
const LOOK_MS = 500;
const MEMORY_LEN = 2 * 1024 * 1024;
const HEAD_LEN = 8;

export interface WorkerData {
  target: string;
  seed: number;
  limitMs: number;
  limitRuns: number;
  memory: SharedArrayBuffer;
}

export function fuzzWatched(target: FuzzTarget, options: { seed: number; limitMs: number; limitRuns: number }): Promise<FuzzResult> {
  const memory = new SharedArrayBuffer(MEMORY_LEN);
  const progress = new Int32Array(memory, 0, 2);
  const workerData: WorkerData = { target: target.name, ...options, memory };
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
        finish(() => resolve({ runs: now, frames: 0, failure: { input: hungInput(memory, target), error: `hang: one input takes more than ${HANG_MS} ms` } }));
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

/** Notes inputs where fuzzWatched looks. */
export function noteIn(memory: SharedArrayBuffer): (input: Uint8Array) => void {
  const progress = new Int32Array(memory, 0, 2);
  const view = new DataView(memory);
  const bytes = new Uint8Array(memory);
  let end = HEAD_LEN;
  return (input) => {
    if (end + 4 + INPUT_MAX > MEMORY_LEN) end = HEAD_LEN;
    view.setUint32(end, input.length);
    bytes.set(input, end + 4);
    Atomics.store(progress, 1, end);
    Atomics.add(progress, 0, 1);
    end += 4 + input.length;
  };
}

function hungInput(memory: SharedArrayBuffer, target: FuzzTarget): Uint8Array {
  const view = new DataView(memory);
  const current = Atomics.load(new Int32Array(memory, 0, 2), 1);
  const inputs: Uint8Array[] = [];
  for (let at = HEAD_LEN; at <= current; at += 4 + view.getUint32(at)) inputs.push(Uint8Array.from(new Uint8Array(memory, at + 4, view.getUint32(at))));
  const last = inputs.at(-1) ?? new Uint8Array(0);
  return target.pieces === scriptPieces && target.startSeries !== undefined ? joinScripts(inputs.filter((input) => sameWorld(input, last))) : last;
}
