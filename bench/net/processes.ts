/** What a process and its descendants cost, from /proc. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
// Fields of /proc/PID/stat behind the command, which may hold blanks.
const PARENT = 1;
const USER_TICKS = 11;
const CHILD_SYSTEM_TICKS = 14;

export interface Cost {
  cpuSeconds: number;
  peakMiB: number;
}

/** `root` and its living descendants. */
function tree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const parent = statFields(Number(name))?.[PARENT];
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const all = [root];
  for (const pid of all) all.push(...(children.get(pid) ?? []));
  return all;
}

function statFields(pid: number): number[] | null {
  const stat = readOrNull(`/proc/${pid}/stat`);
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number);
}

/** Null when the process has ended. */
function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** User and system time so far, of children that have ended too. */
function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) for (const value of statFields(pid)?.slice(USER_TICKS, CHILD_SYSTEM_TICKS + 1) ?? []) ticks += value;
  return ticks / TICKS_PER_SECOND;
}

function peakMiB(pids: readonly number[]): number {
  let kib = 0;
  for (const pid of pids) kib += Number(/^VmHWM:\s+(\d+)/m.exec(readOrNull(`/proc/${pid}/status`) ?? '')?.[1] ?? 0);
  return kib / 1024;
}

/** Runs `work`, and says what `root` and its descendants have spent meanwhile. */
export async function costOf<T>(root: number, work: () => Promise<T>): Promise<{ result: T; cost: Cost }> {
  const pids = tree(root);
  for (const pid of pids) {
    try {
      // proc(5): 5 resets the peak
      writeFileSync(`/proc/${pid}/clear_refs`, '5');
    } catch {
      // it has just ended
    }
  }
  const before = cpuSeconds(pids);
  const result = await work();
  return { result, cost: { cpuSeconds: cpuSeconds(pids) - before, peakMiB: peakMiB(pids) } };
}
