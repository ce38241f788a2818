/* What docker save wrote, dropped on the page or chosen: the relay makes an image of it, and its shell answers. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test, type Page } from '@playwright/test';
import { readBusybox, tarOf } from '../image/convert/fixture.ts';
import { Guest, Server } from './guest.ts';
import { StaticServer } from './static-server.ts';

/** of one conversion, on a machine with other work */
const CONVERT_MS = 90_000;

let folder: string;
let server: Server;

test.beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-archives-'));
  server = new Server(['--converted', join(folder, 'converted')]);
  await server.start();
});

test.afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What `docker save` writes of a busybox for `architecture`; returns its path. */
async function archive(name: string, architecture = 'riscv64'): Promise<string> {
  const layer = tarOf([
    { path: 'bin', type: '5', mode: 0o755 }, { path: 'bin/busybox', data: await readBusybox(), mode: 0o755 },
    ...['sh', 'uname', 'cat'].map((applet) => ({ path: `bin/${applet}`, type: '2', link: 'busybox' })), { path: 'greeting', data: `hello from ${name}\n` },
  ]);
  const digest = 'a'.repeat(64);
  const path = join(folder, name);
  const bytes = tarOf([
    { path: `${digest}.tar`, data: layer }, { path: 'config.json', data: JSON.stringify({ os: 'linux', architecture, config: { Cmd: ['/bin/sh'], Env: ['PS1=made: '] } }) },
    { path: 'manifest.json', data: JSON.stringify([{ Config: 'config.json', RepoTags: ['made:1'], Layers: [`${digest}.tar`] }]) },
  ]);
  writeFileSync(path, name.endsWith('gz') ? gzipSync(bytes) : bytes);
  return path;
}

/** Drops a file of this computer on the page, as a browser hands it over. */
async function drop(page: Page, path: string): Promise<void> {
  await page.evaluate(() => document.body.append(Object.assign(document.createElement('input'), { type: 'file', id: 'to-drop' })));
  await page.locator('#to-drop').setInputFiles(path);
  const transfer = await page.evaluateHandle(() => {
    const input = document.querySelector<HTMLInputElement>('#to-drop')!;
    const data = new DataTransfer();
    data.items.add(input.files![0]);
    input.remove();
    return data;
  });
  await page.dispatchEvent('#stage', 'drop', { dataTransfer: transfer });
}

const card = (page: Page): ReturnType<Page['locator']> => page.getByRole('region', { name: /^Opening / });

test('dropped: progress to the end, a shell that answers, an image in the list that stays until it is removed', async ({ page }) => {
  test.setTimeout(3 * CONVERT_MS);
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await drop(page, await archive('My App.tar'));
  await expect(card(page)).toBeVisible();
  await expect(card(page).getByRole('progressbar', { name: 'Opening My App.tar' })).toBeVisible();
  await expect(card(page).getByRole('button', { name: 'Cancel' })).toBeFocused();
  await expect(card(page).locator('[aria-current=step]')).toHaveText('Convert');
  await expect(card(page)).toContainText('Booting it for its snapshot', { timeout: CONVERT_MS });
  expect((await new AxeBuilder({ page }).include('.progress-card').analyze()).violations).toEqual([]);
  // What ran before runs until then.
  expect(await guest.state()).toBe('running');
  await page.waitForURL((url) => url.searchParams.get('image') === 'my-app', { timeout: CONVERT_MS });
  await guest.ready();
  await guest.waitForText(/^made:$/m);
  expect((await guest.run('cat /greeting; uname -m')).output).toBe('hello from My App.tar\nriscv64');

  await page.reload();
  await guest.ready();
  await page.locator('#image-button').click();
  const panel = page.getByRole('dialog', { name: 'Images' });
  await expect(panel.getByRole('link', { name: /^My App/ })).toHaveAttribute('aria-current', 'true');
  await expect(panel.getByRole('link', { name: /^My App/ })).toContainText('made of My App.tar');
  // The one that runs reads its disk.
  await expect(panel.getByRole('button', { name: 'Remove My App' })).toHaveCount(0);
  await panel.getByRole('link', { name: /^BusyBox/ }).click();
  await page.waitForURL((url) => url.searchParams.get('image') === 'busybox');
  await guest.ready();
  await page.locator('#image-button').click();
  await panel.getByRole('button', { name: 'Remove My App' }).press('Enter');
  await expect(panel.getByRole('link', { name: /^My App/ })).toHaveCount(0);
  await expect(panel.getByRole('link').first()).toBeFocused();
  expect(readdirSync(join(folder, 'converted'))).toEqual([]);
});

test('one for another processor, and one that is broken: the card says so, and the container goes on', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await guest.waitForText(/[#$] ?$/m);
  await drop(page, await archive('foreign.tar.gz', 'amd64'));
  const alert = page.getByRole('alert');
  await expect(alert).toContainText('foreign.tar.gz is made for linux/amd64, not for linux/riscv64');
  await expect(alert).toContainText('docker save');
  await expect(alert.getByRole('button', { name: 'Close' })).toBeFocused();
  expect((await new AxeBuilder({ page }).include('[role=alert]').analyze()).violations).toEqual([]);
  await page.keyboard.press('Enter');
  await expect(alert).toBeHidden();

  // Chosen with the keyboard, cut in the middle.
  writeFileSync(join(folder, 'cut.tar'), readFileSync(await archive('whole.tar')).subarray(0, 100_000));
  await page.locator('#image-button').press('Enter');
  const chooser = page.waitForEvent('filechooser');
  await page.getByLabel('Open a file…').press('Enter');
  await (await chooser).setFiles(join(folder, 'cut.tar'));
  await expect(alert).toContainText(/cut\.tar: tar archive: its entry "[^"]+" is cut off/);
  await page.keyboard.press('Enter');
  await guest.type('echo st"ill" here\n');
  await guest.waitForText(/^still here$/m);
  expect(readdirSync(join(folder, 'converted'))).toEqual([]);
});

test('cancelled: nothing is left, and the next one is taken at once', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  for (let i = 0; i < 2; i++) {
    await drop(page, await archive('later.tar'));
    await expect(card(page)).toContainText('Booting', { timeout: CONVERT_MS });
    await page.keyboard.press('Enter');
    await expect(card(page)).toBeHidden();
    await expect.poll(() => readdirSync(join(folder, 'converted'))).toEqual([]);
  }
  await guest.type('echo st"ill" here\n');
  await guest.waitForText(/^still here$/m);
});

test('one at a time, and a relay that goes away: both can be tried again', async ({ page, context }) => {
  const own = new Server(['--converted', join(folder, 'own')]);
  await own.start();
  const guest = new Guest(page);
  const other = await context.newPage();
  await new Guest(other).open(`${own.url}?image=busybox&net=none`);
  await guest.open(`${own.url}?image=busybox&net=none`);
  await drop(page, await archive('one.tar'));
  await expect(card(page)).toContainText('Booting', { timeout: CONVERT_MS });
  await drop(other, await archive('two.tar'));
  await expect(other.getByRole('alert')).toContainText('Another archive is being converted');
  await own.stop();
  await expect(page.getByRole('alert')).toContainText(/broke off|stopping/);
  await other.getByRole('button', { name: 'Try again' }).click();
  await expect(other.getByRole('alert')).toContainText('broke off');
  await other.close();
  expect(readdirSync(join(folder, 'own'))).toEqual([]);
});

test('a tar of something else is for the container', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  writeFileSync(join(folder, 'notes.tar'), tarOf([{ path: 'notes.txt', data: 'mine' }]));
  await drop(page, join(folder, 'notes.tar'));
  await expect.poll(async () => (await guest.run('head -c 9 /mnt/share/notes.tar')).output).toBe('notes.txt');
});

test('where no relay makes images there is the command that does', async ({ page }) => {
  const files = await StaticServer.start('/some/where/');
  const guest = new Guest(page);
  await page.goto(`${files.url}?image=busybox&net=none`);
  // The page reloads itself once; what is evaluated in between may meet the old document.
  await expect.poll(() => guest.state().catch(() => 'reloading')).toBe('running');
  await drop(page, await archive('hint.tar'));
  await expect(page.locator('#hint')).toContainText('portside convert hint.tar');
  await page.goto('about:blank');
  await files.stop();
});
