/*
 * `npm run proof [-- PART…]`: the same Debian on our machine and in QEMU, through the tests of python, the known answers of openssl, sqlite3's
 * own check, a large program made by gcc, and stress-ng's verification. What differs is a bug of the machine. Takes an hour or two for all; a
 * part is a name or its beginning (`python`, `python-math`). Needs qemu-system-riscv64.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureDrift, measureIdle } from './clock.ts';
import { compare } from './compare.ts';
import { C_PROGRAM, PARTS } from './parts.ts';
import { proofRoot } from './root.ts';

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
const root = await proofRoot('whole', (text) => console.error(text));
let differing = 0;
let compared = 0;
for (const part of chosen) {
  const { ours, qemu, differences: found } = await compare(root, part);
  if (part.name === 'gcc') for (const line of nativeChecksums() ?? []) if (!ours.results.includes(line)) found.push(`  this computer ${line}`);
  compared += ours.results.length;
  differing += found.length;
  const words = new Map<string, number>();
  for (const line of ours.results) {
    const word = part.name.startsWith('python') ? line.slice(line.lastIndexOf(' ') + 1) : 'results';
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  console.log(`${part.name}: ${[...words].map(([word, count]) => `${count} ${word}`).join(', ')}; ${found.length} differ (${ours.seconds.toFixed(0)} s, QEMU ${qemu.seconds.toFixed(0)} s)`);
  for (const line of found.slice(0, 20)) console.log(line);
  if (found.length > 0 && process.env['PROOF_SCREENS'] !== undefined) {
    writeFileSync(join(process.env['PROOF_SCREENS'], `${part.name}.ours`), ours.screen);
    writeFileSync(join(process.env['PROOF_SCREENS'], `${part.name}.qemu`), qemu.screen);
  }
}
if (withClock && !(await clock(root.image))) differing++;
console.log(`${compared} results compared, ${differing} differ`);
process.exitCode = differing > 0 ? 1 : 0;
