/* What `guest/run.sh` writes, and what is made of many such lines. */
import { median } from '../report.ts';

export interface Measured {
  name: string;
  seconds: number;
  /** what the part printed or made, as a checksum */
  sum: string;
}

const LINE = /^= (\S+) (\d+) (\d+) (\S+)$/;

/** `= NAME MICROSECONDS STATUS CHECKSUM`; null for any other line. Throws when the part failed. */
export function parseLine(line: string): Measured | null {
  const found = LINE.exec(line);
  if (found === null) return null;
  const [, name, microseconds, status, sum] = found;
  if (status !== '0') throw new Error(`${name} ended with status ${status}`);
  return { name, seconds: Number(microseconds) / 1e6, sum };
}

/** A terminal's or a pipe's text in pieces → its whole lines. */
export class Lines {
  #rest = '';

  push(text: string): string[] {
    const lines = (this.#rest + text).replaceAll('\r', '').split('\n');
    this.#rest = lines.pop()!;
    return lines;
  }
}

export interface Row {
  title: string;
  kind: string;
  /** medians, in `s` */
  ours: number;
  qemu: number;
}

/** Of all rounds of one part. Throws where the results differ, between rounds or machines. */
export function rowOf(title: string, kind: string, ours: Measured[], qemu: Measured[]): Row {
  const sums = new Set([...ours, ...qemu].map(({ sum }) => sum));
  if (sums.size !== 1) throw new Error(`${title}: the results differ: ours ${ours.map(({ sum }) => sum).join(', ')}; QEMU ${qemu.map(({ sum }) => sum).join(', ')}`);
  return { title, kind, ours: median(ours.map(({ seconds }) => seconds)), qemu: median(qemu.map(({ seconds }) => seconds)) };
}

export function geometricMean(values: number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
