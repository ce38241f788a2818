/* One part of the proof on both machines, and in what their results differ. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { QemuGuest } from '../../image/qemu.ts';
import { CMDLINE } from '../../image/recipes.ts';
import type { Part } from './parts.ts';
import type { LockedDebian } from '../locked-debian.ts';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));

export interface Outcome {
  /** lines `= NAME RESULT`, sorted: threads may end in another order */
  results: string[];
  screen: string;
  seconds: number;
}

export interface Comparison {
  ours: Outcome;
  qemu: Outcome;
  /** what one machine says and the other does not; empty: equal */
  differences: string[];
}

export async function compare(root: LockedDebian, part: Part): Promise<Comparison> {
  const [ours, qemu] = await Promise.all([onOurs(root, part), onQemu(root, part)]);
  const differences = [...missing('ours', ours.results, qemu.results), ...missing('QEMU', qemu.results, ours.results)];
  if (ours.results.length === 0) differences.push('  ours: no results');
  return { ours, qemu, differences };
}

async function onOurs(root: LockedDebian, part: Part): Promise<Outcome> {
  const started = Date.now();
  const child = spawn(process.execPath, [BIN, 'run', root.image, 'bash', `/proof/${part.name}.sh`], { stdio: ['ignore', 'pipe', 'pipe'], timeout: part.timeoutMs });
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => { screen += chunk.toString(); });
  child.stderr.on('data', (chunk: Buffer) => { screen += chunk.toString(); });
  await new Promise((resolve) => { child.on('close', resolve); });
  return outcome(screen, started);
}

async function onQemu(root: LockedDebian, part: Part): Promise<Outcome> {
  const started = Date.now();
  const guest = new QemuGuest({ ...root, cmdline: CMDLINE, argv: ['bash', `/proof/${part.name}.sh`], timeoutMs: part.timeoutMs });
  await guest.exited.catch((error: Error) => { console.log(`  QEMU: ${error.message.split('\n')[0]}`); });
  return outcome(guest.screen, started);
}

function outcome(screen: string, startedMs: number): Outcome {
  const lines = screen.replaceAll('\r', '').split('\n');
  return { results: lines.filter((line) => line.startsWith('= ')).sort(), screen, seconds: (Date.now() - startedMs) / 1000 };
}

function missing(who: string, results: string[], others: string[]): string[] {
  const known = new Set(others);
  return results.filter((line) => !known.has(line)).map((line) => `  ${who} ${line}`);
}
