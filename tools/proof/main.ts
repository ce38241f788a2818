/*
 * `npm run proof [-- PART…]`: the same Debian on our machine and in QEMU, through the tests of python, the known answers of openssl, sqlite3's
 * own check, a large program made by gcc, and stress-ng's verification. What differs is a bug of the machine. Takes an hour or two for all; a
 * part is a name or its beginning (`python`, `python-math`). Needs qemu-system-riscv64.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QemuGuest } from '../../image/qemu.ts';
import { CMDLINE } from '../../image/recipes.ts';
import { measureDrift, measureIdle } from './clock.ts';
import { C_PROGRAM, PARTS, type Part } from './parts.ts';
import { proofRoot, type ProofRoot } from './root.ts';

const BIN = new URL('../../bin/portside.mjs', import.meta.url).pathname;
const MEMORY_MIB = 1024;

interface Outcome {
  /** lines `= NAME RESULT`, sorted: threads may end in another order */
  results: string[];
  screen: string;
  seconds: number;
}

function outcome(screen: string, startedMs: number): Outcome {
  const lines = screen.replaceAll('\r', '').split('\n');
  return { results: lines.filter((line) => line.startsWith('= ')).sort(), screen, seconds: (Date.now() - startedMs) / 1000 };
}

async function onOurs(root: ProofRoot, part: Part): Promise<Outcome> {
  const started = Date.now();
  const child = spawn(process.execPath, [BIN, 'run', root.image, 'bash', `/proof/${part.name}.sh`], { stdio: ['ignore', 'pipe', 'pipe'], timeout: part.timeoutMs });
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => { screen += chunk.toString(); });
  child.stderr.on('data', (chunk: Buffer) => { screen += chunk.toString(); });
  await new Promise((resolve) => { child.on('close', resolve); });
  return outcome(screen, started);
}

async function onQemu(root: ProofRoot, part: Part): Promise<Outcome> {
  const started = Date.now();
  const guest = new QemuGuest({ ...root, memoryMiB: MEMORY_MIB, cmdline: CMDLINE, argv: ['bash', `/proof/${part.name}.sh`], timeoutMs: part.timeoutMs });
  await guest.exited.catch((error: Error) => { console.log(`  QEMU: ${error.message.split('\n')[0]}`); });
  return outcome(guest.screen, started);
}

/** What this computer's own gcc makes of the program: null where there is none. */
function nativeChecksums(): string[] | null {
  const folder = mkdtempSync(join(tmpdir(), 'portside-proof-'));
  try {
    writeFileSync(join(folder, 'p.c'), C_PROGRAM);
    execFileSync('gcc', ['-O1', '-ffp-contract=off', '-o', join(folder, 'p'), join(folder, 'p.c'), '-lm'], { stdio: 'ignore' });
    return execFileSync(join(folder, 'p')).toString().trim().split('\n').map((line) => `= ${line}`);
  } catch {
    return null;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function difference(ours: string[], theirs: string[]): string[] {
  return [...ours.filter((line) => !theirs.includes(line)).map((line) => `  ours ${line}`), ...theirs.filter((line) => !ours.includes(line)).map((line) => `  QEMU ${line}`)];
}

/** The guest's clock against this computer's over ten minutes, and over half a minute in which the process stands still; and what sleep costs. */
async function clock(image: string): Promise<boolean> {
  const long = await measureDrift(image, 600, 0);
  const stopped = await measureDrift(image, 60, 30_000);
  const idle = await measureIdle(image, 60);
  console.log(`clock: ${long.ms.toFixed(1)} ms lost in 600 s, ${stopped.ms.toFixed(1)} ms in 60 s with a stop of 30 s; asleep it takes ${(idle * 100).toFixed(2)} % of a processor`);
  return Math.abs(long.ms) < 50 && Math.abs(stopped.ms) < 50 && idle < 0.02;
}

const wanted = process.argv.slice(2);
const withClock = wanted.length === 0 || wanted.includes('clock');
const chosen = PARTS.filter(({ name }) => wanted.length === 0 || wanted.some((start) => name === start || name.startsWith(`${start}-`)));
if (chosen.length === 0 && !withClock) throw new Error(`no part is called ${wanted.join(', ')}; there are clock, ${PARTS.map(({ name }) => name).join(', ')}`);
const root = await proofRoot((text) => console.error(text));
let differing = 0;
let compared = 0;
for (const part of chosen) {
  const [ours, theirs] = await Promise.all([onOurs(root, part), onQemu(root, part)]);
  const found = difference(ours.results, theirs.results);
  if (part.name === 'gcc') for (const line of nativeChecksums() ?? []) if (!ours.results.includes(line)) found.push(`  this computer ${line}`);
  if (ours.results.length === 0) found.push('  ours: no results');
  compared += ours.results.length;
  differing += found.length;
  const words = new Map<string, number>();
  for (const line of ours.results) {
    const word = part.name.startsWith('python') ? line.slice(line.lastIndexOf(' ') + 1) : 'results';
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  console.log(`${part.name}: ${[...words].map(([word, count]) => `${count} ${word}`).join(', ')}; ${found.length} differ (${ours.seconds.toFixed(0)} s, QEMU ${theirs.seconds.toFixed(0)} s)`);
  for (const line of found.slice(0, 20)) console.log(line);
  if (found.length > 0 && process.env['PROOF_SCREENS'] !== undefined) {
    writeFileSync(join(process.env['PROOF_SCREENS'], `${part.name}.ours`), ours.screen);
    writeFileSync(join(process.env['PROOF_SCREENS'], `${part.name}.qemu`), theirs.screen);
  }
}
if (withClock && !(await clock(root.image))) differing++;
console.log(`${compared} results compared, ${differing} differ`);
process.exitCode = differing > 0 ? 1 : 0;
