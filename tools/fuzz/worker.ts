/** The thread that fuzzes: it may hang, the one that watches it (watched.ts) does not. */
import { parentPort, workerData } from 'node:worker_threads';
import { fuzz } from './fuzz.ts';
import { TARGETS } from './targets.ts';
import type { WorkerData } from './watched.ts';

const { target: name, seed, limitMs, limitRuns, memory } = workerData as WorkerData;
const progress = new Int32Array(memory, 0, 2);
const bytes = new Uint8Array(memory, 8);

const target = TARGETS.find((candidate) => candidate.name === name)!;
parentPort!.postMessage(await fuzz(target, {
  seed, limitMs, limitRuns,
  onInput: (input) => {
    bytes.set(input);
    Atomics.store(progress, 1, input.length);
    Atomics.add(progress, 0, 1);
  },
}));
