/** The thread that fuzzes: it may hang, the one that watches it (watched.ts) does not. */
import { parentPort, workerData } from 'node:worker_threads';
import { fuzz } from './fuzz.ts';
import { TARGETS } from './targets.ts';
import { noteIn, type WorkerData } from './watched.ts';

const { target: name, seed, limitMs, limitRuns, memory } = workerData as WorkerData;
const target = TARGETS.find((candidate) => candidate.name === name)!;
parentPort!.postMessage(await fuzz(target, { seed, limitMs, limitRuns, onInput: noteIn(memory) }));
