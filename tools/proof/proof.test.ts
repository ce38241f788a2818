/* The short proof: something of each of its parts, on both machines at once. `npm run proof` is all of it. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { compare } from './compare.ts';
import { SHORT } from './parts.ts';
import { proofRoot } from './root.ts';

const hasQemu = spawnSync('qemu-system-riscv64', ['--version']).status === 0;
if (!hasQemu) console.warn('no qemu-system-riscv64: the short proof is left out');

test.runIf(hasQemu)('openssl, sqlite3, python\'s tests and stress-ng come out as in QEMU', async () => {
  const { ours, qemu, differences } = await compare(await proofRoot('short', () => undefined), SHORT);
  console.log(`the short proof: ${ours.results.length} results; ${ours.seconds.toFixed(0)} s, QEMU ${qemu.seconds.toFixed(0)} s`);
  expect(differences, ours.screen.slice(-4000)).toEqual([]);
  expect(ours.results.length).toBeGreaterThan(150);
}, 2 * SHORT.timeoutMs);
