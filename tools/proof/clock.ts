/*
 * How a container's clock keeps with this computer's, also over a stop of the whole process, as a tab is stopped that nobody looks at.
 *
 * The guest prints its time again and again; how much later a line arrives than it says is the clocks' offset and some delay. Delay is never
 * negative, so the least of many is the offset, as NTP does it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuSeconds } from '../cpu-seconds.ts';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const LINE = /^(\d{10})\.(\d{9})$/;
/** lines in a row over which the least delay is taken */
const WINDOW = 20;
/** what the guest does between two lines, in seconds */
const PAUSE_S = 0.1;
/** for the compiler of V8 to be done with what it began, in `ms` */
const SETTLE_MS = 3000;

export interface Drift {
  /** offset at the end minus offset at the beginning, in `ms`: what the guest's clock lost */
  ms: number;
  lines: number;
}

/** Over `seconds`; in their middle the process stands still for `stopMs`, if that is not 0. */
export async function measureDrift(image: string, seconds: number, stopMs: number): Promise<Drift> {
  const count = Math.ceil(seconds / PAUSE_S);
  const script = `i=0; while [ $i -lt ${count} ]; do date +%s.%N; i=$((i + 1)); sleep ${PAUSE_S}; done`;
  // A group of its own: what is stopped is all of it.
  const child = spawn(process.execPath, [BIN, 'run', image, 'bash', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const late: number[] = [];
  let rest = '';
  let stopped = stopMs === 0;
  child.stdout.on('data', (chunk: Buffer) => {
    const now = Date.now();
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const found = LINE.exec(line.trim());
      if (found !== null) late.push(now - Number(found[1]) * 1000 - Number(found[2]) / 1e6);
    }
    if (stopped || late.length < count / 2) return;
    stopped = true;
    process.kill(-child.pid!, 'SIGSTOP');
    void setTimeout(stopMs).then(() => process.kill(-child.pid!, 'SIGCONT'));
  });
  const status = await new Promise((resolve) => { child.on('close', resolve); });
  if (status !== 0 || late.length < 2 * WINDOW) throw new Error(`the guest ended with ${String(status)} after ${late.length} lines`);
  return { ms: Math.min(...late.slice(-WINDOW)) - Math.min(...late.slice(0, WINDOW)), lines: late.length };
}

/** Share of one processor that a container takes whose command sleeps, over `seconds`, once its start has settled. Linux only: /proc. */
export async function measureIdle(image: string, seconds: number): Promise<number> {
  const child = spawn(process.execPath, [BIN, 'run', image, 'bash', '-c', 'echo asleep; sleep 100000'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const output = once(child.stdout, 'data');
    const end = once(child, 'exit').then(() => { throw new Error('the guest ended before it slept'); });
    end.catch(() => undefined);
    await Promise.race([output, end]);
    await setTimeout(SETTLE_MS);
    const before = cpuSeconds(child.pid!);
    await setTimeout(seconds * 1000);
    return (cpuSeconds(child.pid!) - before) / seconds;
  } finally {
    child.kill('SIGKILL');
  }
}
