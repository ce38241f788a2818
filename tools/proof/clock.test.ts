/* The short form of `npm run proof -- clock`. Needs dist/images; `npm test` builds it first. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { measureDrift, measureIdle } from './clock.ts';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const hasImage = existsSync(fileURLToPath(new URL('../../dist/images/debian.wasm', import.meta.url)));
if (!hasImage) console.warn('dist/images/debian.wasm is not built: the clock is not tested');

test.runIf(hasImage)('the guest\'s clock goes on as this computer\'s does while the process is stopped', async () => {
  // A clock that stood still would have lost 3000.
  const { ms } = await measureDrift('debian', 12, 3000);
  expect(Math.abs(ms)).toBeLessThan(500);
}, 180_000);

test.runIf(hasImage)('the guest\'s wall clock follows this computer\'s where that moves and the monotonic one does not, as after its sleep', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'portside-clock-')), later = join(dir, 'later');
  const preload = pathToFileURL(fileURLToPath(new URL('fixture/two-hours-later.mjs', import.meta.url))).href;
  const child = spawn(process.execPath, ['--import', preload, BIN, 'run', 'debian', 'bash', '-c', 'while :; do echo $EPOCHSECONDS; sleep 0.1; done'], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, PORTSIDE_TEST_LATER: later } });
  const closed = once(child, 'close');
  const seen = { first: 0, last: 0 }, end = Date.now() + 60_000;
  try {
    for await (const chunk of child.stdout) {
      for (const [text] of (chunk as Buffer).toString().matchAll(/\d{10}/g)) {
        seen.last = Number(text);
        if (seen.first === 0) writeFileSync(later, '');
        seen.first ||= seen.last;
      }
      if (seen.last - seen.first > 3600 || Date.now() > end) break;
    }
    expect(seen.last - seen.first).toBeGreaterThanOrEqual(7190);
    expect(seen.last - seen.first).toBeLessThan(7320);
  } finally {
    child.kill('SIGKILL');
    await closed;
    rmSync(dir, { recursive: true });
  }
}, 120_000);

test.runIf(hasImage)('a container that sleeps takes next to no processor', async () => {
  expect(await measureIdle('debian', 10)).toBeLessThan(0.1);
}, 180_000);
