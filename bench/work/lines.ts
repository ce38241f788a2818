/* What `guest/run.sh` writes, and what is made of many such lines. */
import { median } from '../report.ts';

export interface Measured {
  name: string;
  /** by the guest's clock */
  seconds: number;
  /** CPU time of the machine's process meanwhile, where it can be told */
  cpuSeconds?: number;
  /** what the part printed or made, as a checksum */
  sum: string;
}

const LINE = /^= (\S+) (\d+) (\d+) (\S+)$/;

/** A command that did not succeed, on a machine that goes on. */
export class PartFailed extends Error {
  override name = 'PartFailed';
}

/** `= NAME MICROSECONDS STATUS CHECKSUM`; null for any other line. Throws PartFailed. */
export function parseLine(line: string): Measured | null {
  const found = LINE.exec(line);
  if (found === null) return null;
  const [, name, microseconds, status, sum] = found;
  if (status !== '0') throw new PartFailed(`${name} ended with status ${status}`);
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
  /** the same of CPU time; null where it can't be told */
  oursCpu: number | null;
  qemuCpu: number | null;
}

/** Of all rounds of one part. */
export function rowOf(title: string, kind: string, ours: Measured[], qemu: Measured[]): Row {
  const seconds = (all: Measured[]): number => median(all.map((one) => one.seconds));
  const cpu = (all: Measured[]): number | null => (all.some((one) => one.cpuSeconds === undefined) ? null : median(all.map((one) => one.cpuSeconds!)));
  return { title, kind, ours: seconds(ours), qemu: seconds(qemu), oursCpu: cpu(ours), qemuCpu: cpu(qemu) };
}

/** Whether all rounds on all machines came to the same. */
export function haveSameResult(all: Measured[]): boolean {
  return new Set(all.map(({ sum }) => sum)).size === 1;
}

export function geometricMean(values: number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
