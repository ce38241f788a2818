/** How many files this process may open, and has open. */
import { readdirSync, readFileSync } from 'node:fs';

/** How many descriptors the process may have; Node has raised the soft limit to the hard one. Infinity where there is no such limit. */
export function descriptorLimit(): number {
  if (process.platform === 'win32') return Infinity;
  if (process.platform === 'linux') {
    try {
      const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
      if (soft !== undefined) return soft === 'unlimited' ? Infinity : Number(soft);
    } catch {
      // No /proc: a report knows too, but takes longer.
    }
  }
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const { userLimits } = process.report.getReport() as unknown as { userLimits?: { open_files?: { soft: number | string } } };
  const soft = Number(userLimits?.open_files?.soft ?? Infinity);
  return Number.isNaN(soft) ? Infinity : soft;
}

/** at a start, where it can't be seen: tsx and Node hold so many */
const OPEN_AT_START = 32;

export function descriptorsOpen(): number {
  try {
    return readdirSync('/dev/fd').length;
  } catch {
    return OPEN_AT_START;
  }
}
