/* Saved containers in the browser: kept, resumed after a reload, exported, imported, refused where they do not fit. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from '@playwright/test';
import { expect, test, type Guest } from '../playwright/fixture.ts';
import { startHostHttp } from './guest.ts';

const IMAGE = fileURLToPath(new URL('../dist/images/busybox.wasm', import.meta.url));

// What is fetched is to be seen here, not taken from what a service worker kept.
test.use({ image: 'busybox', serviceWorkers: 'block' });
test.setTimeout(180_000);

interface Scripting {
  save(name?: string): Promise<{ name: string; bytes: number; pausedMs: number }>;
  saves(): Promise<{ name: string; image: string; bytes: number }[]>;
  error: { code: string; message: string } | null;
  state: string;
}

const saves = (page: Page): ReturnType<Scripting['saves']> => page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.saves());

/** A file, a process that counts, and a mark on the screen. */
async function makeState(container: Guest): Promise<void> {
  await container.waitForText("Enter 'help'");
  await container.run('echo kept >/tmp/file; (while :; do echo x >>/tmp/count; sleep 0.1; done) & echo mark-on-the-sc""reen');
}

async function expectState(container: Guest): Promise<void> {
  expect((await container.run('cat /tmp/file')).output).toContain('kept');
  const lines = async (): Promise<number> => Number(/\d+/.exec((await container.run('wc -l </tmp/count')).output)![0]);
  const before = await lines();
  await expect.poll(lines, { timeout: 60_000 }).toBeGreaterThan(before);
}

test('kept by the panel, offered after a reload, with screen, files, processes, time and network', async ({ page, container }) => {
  const host = await startHostHttp(Buffer.from('from the host'));
  await makeState(container);
  await page.getByTestId('container-state').click();
  const panel = page.getByRole('dialog', { name: 'Container' });
  await panel.getByRole('button', { name: 'Keep this container' }).click();
  await expect(panel.getByText(/^Kept: [\d.]+ [kM]B\. The container stood still for/)).toBeVisible({ timeout: 60_000 });
  await expect(panel.getByRole('link', { name: 'Resume busybox' })).toBeVisible();
  expect(await saves(page)).toMatchObject([{ name: 'busybox', image: 'busybox' }]);
  await page.keyboard.press('Escape');
  await container.run('echo later >/tmp/file');

  await page.reload();
  const card = page.getByRole('region', { name: 'A saved container' });
  await expect(card.getByText(/“busybox”.*just now/)).toBeVisible();
  await card.getByRole('button', { name: 'Resume' }).click();
  await container.ready();
  await container.waitForText('mark-on-the-screen');
  await expectState(container);
  await expect.poll(async () => Math.abs(Number(/\d{10}/.exec((await container.run('date +%s')).output)![0]) - Date.now() / 1000), { timeout: 60_000 }).toBeLessThan(2);
  await expect.poll(async () => (await container.run(`wget -q -O - http://192.168.127.254:${host.port}/`)).output, { timeout: 60_000 }).toContain('from the host');
  // A restart is a new container.
  await page.getByRole('button', { name: 'Restart' }).click();
  await container.ready();
  expect((await container.run('cat /tmp/file')).output).toContain('No such file');
  await host.close();
});

test('exported, deleted, imported, resumed by the address; a new one is one click away', async ({ page, container }, info) => {
  await makeState(container);
  await page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.save('mine'));
  await page.getByTestId('container-state').click();
  const panel = page.getByRole('dialog', { name: 'Container' });
  const download = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Export mine' }).click();
  expect((await download).suggestedFilename()).toBe('mine.portside');
  const file = info.outputPath('mine.portside');
  await (await download).saveAs(file);
  await panel.getByRole('button', { name: 'Delete mine' }).click();
  await expect.poll(() => saves(page)).toEqual([]);

  const damaged = info.outputPath('damaged.portside');
  writeFileSync(damaged, readFileSync(file).subarray(0, -50));
  await panel.getByLabel(/^Import a container/).setInputFiles(damaged);
  await expect(panel.getByText('The saved container is damaged: it is cut off.')).toBeVisible();
  expect(await saves(page)).toEqual([]);

  await panel.getByLabel(/^Import a container/).setInputFiles(file);
  await page.waitForURL(/resume=mine/);
  await container.ready();
  await expectState(container);
  const url = new URL(page.url());
  url.search = '?image=busybox';
  await page.goto(url.href);
  await page.getByRole('button', { name: 'Start a new one' }).click();
  await container.ready();
  expect((await container.run('cat /tmp/file')).output).toContain('No such file');
});

test('another version of the image is refused with a clear word, and so is a name that is not there', async ({ page, container }) => {
  await container.waitForText("Enter 'help'");
  await page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.save('old'));
  // The same image with another id: what a build of another day would be.
  const bytes = readFileSync(IMAGE);
  const at = bytes.indexOf('"id":"') + 6;
  bytes[at] = bytes[at] === 0x30 ? 0x31 : 0x30;
  await page.route('**/other.wasm', (route) => route.fulfill({ body: bytes, contentType: 'application/wasm', headers: { 'Cross-Origin-Resource-Policy': 'same-origin' } }));
  const url = new URL(page.url());
  url.search = '?image=./other.wasm&net=none&resume=old';
  await page.goto(url.href);
  await expect(page.getByRole('heading', { name: 'Saved with another version of the image' })).toBeVisible({ timeout: 60_000 });
  await expect(page.getByText('another version of the image busybox')).toBeVisible();
  expect((await saves(page)).map(({ name }) => name)).toEqual(['old']);

  url.search = '?image=busybox&net=none&resume=nothing';
  await page.goto(url.href);
  await expect(page.getByRole('heading', { name: 'There is no saved container “nothing”' })).toBeVisible();
  await page.getByRole('button', { name: 'Start without it' }).click();
  await page.getByRole('button', { name: 'Start a new one' }).click();
  await container.ready();
});

test('a file that is dropped on the page goes on; one that is something else leaves the page as it is', async ({ page, container }, info) => {
  await makeState(container);
  await page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.save('dropped'));
  await page.getByTestId('container-state').click();
  const panel = page.getByRole('dialog', { name: 'Container' });
  const download = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Export dropped' }).click();
  const file = info.outputPath('dropped.portside');
  await (await download).saveAs(file);
  await page.keyboard.press('Escape');
  const drop = async (name: string, bytes: Uint8Array): Promise<void> => {
    const data = await page.evaluateHandle(([called, base64]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], called));
      return transfer;
    }, [name, Buffer.from(bytes).toString('base64')] as const);
    await page.dispatchEvent('#stage', 'drop', { dataTransfer: data });
  };
  await drop('notes.portside', Buffer.from('these are notes'));
  await expect(panel.getByText('This file is no saved container.')).toBeVisible();
  await page.keyboard.press('Escape');
  expect((await container.run('echo still here')).output).toContain('still here');
  await drop('dropped.portside', readFileSync(file));
  await page.waitForURL(/resume=dropped-2/);
  await container.ready();
  await expectState(container);
});

test('no room: the page says what to do, keeps nothing half, and the container goes on', async ({ page, container }) => {
  await makeState(container);
  // What does not compress, so that the file needs the room.
  await container.run('head -c 20000000 /dev/urandom >/tmp/noise');
  const devtools = await page.context().newCDPSession(page);
  const { usage } = await devtools.send('Storage.getUsageAndQuota', { origin: new URL(page.url()).origin });
  await devtools.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin, quotaSize: usage + 1_000_000 });
  await page.getByTestId('container-state').click();
  const panel = page.getByRole('dialog', { name: 'Container' });
  await panel.getByRole('button', { name: 'Keep this container' }).click();
  await expect(panel.getByText(/^This browser has no room left for it\. Delete saved containers/)).toBeVisible({ timeout: 60_000 });
  expect(await saves(page)).toEqual([]);
  await page.keyboard.press('Escape');
  await expectState(container);
  await devtools.send('Storage.overrideQuotaForOrigin', { origin: new URL(page.url()).origin });
  await page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.save());
  expect(await saves(page)).toMatchObject([{ name: 'busybox' }]);
});
