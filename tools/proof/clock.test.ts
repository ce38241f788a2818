/* The short form of `npm run proof -- clock`. Needs dist/images; `npm test` builds it first. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { measureDrift, measureIdle } from './clock.ts';

const hasImage = existsSync(fileURLToPath(new URL('../../dist/images/debian.wasm', import.meta.url)));
if (!hasImage) console.warn('dist/images/debian.wasm is not built: the clock is not tested');

test.runIf(hasImage)('the guest\'s clock goes on as this computer\'s does while the process is stopped', async () => {
  // A clock that stood still would have lost 3000.
  const { ms } = await measureDrift('debian', 12, 3000);
  expect(Math.abs(ms)).toBeLessThan(500);
}, 180_000);

test.runIf(hasImage)('a container that sleeps takes next to no processor', async () => {
  expect(await measureIdle('debian', 10)).toBeLessThan(0.1);
}, 180_000);
