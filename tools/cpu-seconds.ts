/* What a process has cost. Linux only: /proc. */
import { readFileSync } from 'node:fs';

/** CPU time of all threads of a process, in `s`: fields 14 and 15 of proc_pid_stat(5), in ticks of 1/100 s; the name before them may hold anything but the last bracket. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
