/** What every benchmark prints with its figures: which machine, which Node, which commit; and the statistics used. */
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

/** One line: processor, cores, memory, Node, commit (with `+` when the work tree differs from it). */
export function machineLine(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim();
  const dirty = git('status', '--porcelain') === '' ? '' : '+';
  return `${cpus()[0].model.trim()} x ${cpus().length}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}, commit ${git('rev-parse', '--short', 'HEAD')}${dirty}`;
}

/** The value below which `share` (0 to 1) of `values` lie; nearest rank. */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
}

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** Prints a table of equally many columns, padded. */
export function table(rows: string[][]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ')).join('\n');
}
