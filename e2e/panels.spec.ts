/* The panels of the bar: what they say is true, and what they hand out can be used. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '../playwright/fixture.ts';
import { noise, startHostHttp } from './guest.ts';

const MIB = 1024 * 1024;
const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8')) as { version: string };

test.use({ image: 'busybox' });

test('About: versions, image, waiting mode, who isolates the page, what is kept', async ({ page, container }) => {
  await container.waitForText('Enter \'help\'');
  const about = page.getByRole('dialog', { name: 'About' });
  const fact = (name: string): ReturnType<typeof page.locator> => about.locator(`dt:text-is("${name}") + dd`);
  await page.getByRole('button', { name: 'About Portside' }).click();
  await expect(fact('Portside')).toHaveText(version);
  await expect(fact('Relay')).toHaveText(version);
  await expect(fact('Image')).toHaveText('BusyBox, by Portside');
  await expect(fact('Memory')).toHaveText('128 MiB');
  await expect(fact('Threads wake by')).toHaveText('Atomics.waitAsync');
  await expect(fact('Isolated by')).toHaveText('the server’s headers');
  await expect(about.getByText('WebAssembly SIMD: yes')).toBeVisible();
  await page.keyboard.press('Escape');
  // Stored while the container runs; then it can be forgotten.
  await expect.poll(async () => (await page.evaluate(() => caches.keys())).some((name) => name.startsWith('portside-image'))).toBe(true);
  await page.getByRole('button', { name: 'About Portside' }).click();
  await expect(about.getByText(/^One image, for starts without a download/)).toBeVisible();
  await about.getByRole('button', { name: 'Forget stored images' }).click();
  await expect(about.getByText(/^No images/)).toBeVisible();
});

test('Network: live rates, and a capture of both directions that tshark reads', async ({ page, container }) => {
  const body = noise(4 * MIB);
  const host = await startHostHttp(body);
  await expect.poll(async () => (await container.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  const panel = page.getByRole('dialog', { name: 'Network' });
  await page.locator('#net-chip').click();
  await panel.getByRole('button', { name: 'Start a capture' }).click();
  await expect(panel.getByRole('button', { name: 'Stop and save' })).toBeVisible();
  await container.run(`wget -q -O /dev/null http://192.168.127.254:${host.port}/file`);
  await expect(panel.getByText(/^[\d,]+ frames, [\d.]+ MB$/)).toBeVisible();
  await expect(panel.locator('dt:text-is("To the container") + dd')).toHaveText(/^[\d.]+ MB · /);
  const download = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Stop and save' }).click();
  const file = await (await download).path();
  expect((await download).suggestedFilename()).toMatch(/^portside-.*\.pcapng$/);
  await expect(panel.getByRole('button', { name: 'Start a capture' })).toBeVisible();
  const bytes = readFileSync(file);
  expect(bytes.readUInt32LE(0)).toBe(0x0a0d0d0a);
  // Every byte of the download is in it, and what asked for it.
  expect(bytes.length).toBeGreaterThan(4 * MIB);
  expect(bytes.includes('GET /file HTTP/1')).toBe(true);
  expect(bytes.includes(Buffer.from(body.subarray(0, 400)))).toBe(true);
  const tshark = spawnSync('tshark', ['-r', file, '-q', '-z', 'conv,tcp'], { encoding: 'utf8' });
  if (tshark.error === undefined) {
    expect(tshark.status, tshark.stderr).toBe(0);
    expect(tshark.stdout).toMatch(new RegExp(`192\\.168\\.127\\.3:\\d+ .*192\\.168\\.127\\.254:${host.port}`));
  } else {
    console.log('tshark is not installed: it was not asked whether the capture is sound');
  }
  // What is being captured when the container ends is not lost.
  await panel.getByRole('button', { name: 'Start a capture' }).click();
  await container.run(`wget -q -O /dev/null http://192.168.127.254:${host.port}/file`);
  await container.write('exit\n');
  await expect.poll(() => container.state()).toBe('exited');
  const late = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Stop and save' }).click();
  expect(readFileSync(await (await late).path()).length).toBeGreaterThan(4 * MIB);
  await host.close();
});

test.describe('portside/playwright', () => {
  test.use({ net: 'none', cmd: "sh -c 'echo \"what [now]?\"; read x; echo \"got $x\"; exit 6'" });

  test('types keys and waits for text, literally or by a pattern', async ({ container, portside }) => {
    await container.waitForText('what [now]?');
    await container.type('this\n');
    expect((await container.waitForText(/got (\w+)/))[1]).toBe('this');
    await expect.poll(() => container.state()).toBe('exited');
    expect(portside.port).toBeGreaterThan(0);
  });
});
