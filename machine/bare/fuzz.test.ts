/* A minute of the fuzzer, the same programs each time; `npm run fuzz:machine` runs others, for longer. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Bench, MISSING_TOOLS } from './bare.ts';
import { Fuzzer } from './fuzz.ts';

const BATCHES = 12;
/** each of their blocks is a module of its own */
const TRANSLATED = 400;

const folder = mkdtempSync(join(tmpdir(), 'portside-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));
if (MISSING_TOOLS.length > 0) console.warn(`${MISSING_TOOLS.join(', ')} not installed: random programs are not compared with QEMU`);

test.runIf(MISSING_TOOLS.length === 0)('random programs end as they do on QEMU', async () => {
  const fuzzer = new Fuzzer(await Bench.create(folder), folder);
  for (let batch = 0; batch < BATCHES; batch++) {
    const findings = await fuzzer.batch(BigInt(batch), batch % 4 === 0 ? ['native', 'wasm'] : ['wasm']);
    expect(findings.map(({ name, target, differences, listing }) => `${name} on ${target}: ${differences.join('; ')}\n${listing}`)).toEqual([]);
  }
}, 300_000);

test.runIf(MISSING_TOOLS.length === 0)('… and so they do where all that runs is translated first', async () => {
  const fuzzer = new Fuzzer(await Bench.create(folder), folder);
  const findings = await fuzzer.batch(BigInt(BATCHES), ['translated'], TRANSLATED);
  expect(findings.map(({ name, differences, listing }) => `${name}: ${differences.join('; ')}\n${listing}`)).toEqual([]);
}, 300_000);
