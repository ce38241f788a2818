/*
 * A machine that translates has its code compiled in the page's worker, under the relay's Content-Security-Policy and wherever else the page lies.
 * shared/wasi/fixtures/translator.c stands for one; its translated code calls a helper that waits.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, type Page } from '@playwright/test';
import { compileTranslator } from '../shared/wasi/fixtures/translator-image.ts';
import { Firefox, hasFirefox } from './firefox.ts';
import { Guest, Server } from './guest.ts';
import { StaticServer } from './static-server.ts';

const DONE = /version 1, threshold 0, modules 0, bytes 0, flags 0\s+index 0: Invalid argument\s+translated: 1000/;
const NONE = /open: No such file or directory/;

let folder: string;
let server: Server;
test.beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-compiler-'));
  copyFileSync(await compileTranslator(), join(folder, 'translator.wasm'));
  server = new Server(['--image', join(folder, 'translator.wasm')]);
  await server.start();
});
test.afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function ended(page: Page, url: string, text: RegExp, status: number): Promise<void> {
  const guest = new Guest(page);
  await page.goto(url);
  await expect.poll(() => guest.state()).toBe('exited');
  await expect.poll(() => page.evaluate(() => portside.screen())).toMatch(text);
  expect(await page.evaluate(() => portside.exitCode)).toBe(status);
}

test('a page with threads compiles; ?translate=off does not', async ({ page }) => {
  await ended(page, `${server.url}?image=translator&net=none`, DONE, 0);
  expect(await page.evaluate(() => portside.stats()?.waitingMode)).toBe('block');
  await ended(page, `${server.url}?image=translator&net=none&translate=off`, NONE, 1);
  await page.goto(`${server.url}?image=translator&net=none&translate=never`);
  await expect(page.getByRole('alert')).toContainText('it is on or off');
});

test('without shared memory translated code calls what suspends', async ({ browser }) => {
  const bytes = readFileSync(join(folder, 'translator.wasm'));
  const site: HttpServer = createServer((_request, response) => void response.writeHead(200, { 'access-control-allow-origin': '*', 'content-type': 'application/wasm' }).end(bytes));
  await new Promise<void>((resolve) => site.listen(0, 'localhost', resolve));
  const files = await StaticServer.start('/');
  const context = await browser.newContext({ serviceWorkers: 'block' });
  try {
    const page = await context.newPage();
    await ended(page, `${files.url}?net=none&image=http://localhost:${(site.address() as AddressInfo).port}/translator.wasm`, DONE, 0);
    expect(await page.evaluate(() => portside.stats()?.waitingMode)).toBe('suspend');
  } finally {
    await context.close();
    await files.stop();
    site.closeAllConnections();
    site.close();
  }
});

test('Firefox compiles', async () => {
  test.skip(!hasFirefox, 'firefox-esr is not installed: the page is tested in Chromium only');
  const firefox = await Firefox.start();
  try {
    await firefox.goto(`${server.url}?image=translator&net=none`);
    await expect.poll(() => firefox.evaluate('[portside.state, portside.exitCode]')).toEqual(['exited', 0]);
    expect(await firefox.evaluate<string>('portside.screen()')).toMatch(DONE);
  } finally {
    await firefox.stop();
  }
});

test('an embedding page says how it translates', async ({ page }) => {
  await page.goto(`${server.url}embed.html`);
  const text = await page.evaluate(async () => {
    const { Container } = await import(/* @vite-ignore */ `${location.origin}/portside.js` as string) as { Container: new (options: object) => { text: string; exited: Promise<number> } };
    const container = new Container({ image: 'translator', net: 'none', translate: { threshold: 1, modules: 16, lockstep: true } });
    await container.exited;
    return container.text;
  });
  expect(text).toContain('version 1, threshold 1, modules 16, bytes 0, flags 1');
  expect(text).toContain('translated: 1000');
});
