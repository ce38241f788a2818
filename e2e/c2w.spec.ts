/*
 * Images and pages of container2wasm's. The image is shared/wasi/fixtures/c2w-image.c, of a size as theirs; the page is c2w/page.html,
 * which works as their example does. Both are ours: no image of theirs can be fetched by a test.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, type Page } from '@playwright/test';
import { endMemory } from '../image/wasm-section.ts';
import { compileFixture } from '../shared/wasi/fixtures/compile.mjs';
import { GVPROXY, GvproxyBridge } from './c2w/gvproxy.ts';
import { Guest, noise, Server, sha256, startHostHttp } from './guest.ts';

const MIB = 1024 * 1024;
const file = noise(2 * MIB);
/** as the guest adds up what it fetched */
const fetched = `fetched ${file.length} bytes sum ${file.reduce((sum, byte) => (Math.imul(sum, 31) + byte) >>> 0, 0).toString(16).padStart(8, '0')}`;

let folder: string;
let site: HttpServer;
let origin: string;
let host: Awaited<ReturnType<typeof startHostHttp>>;
let server: Server;
let friend: Server;

test.beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-c2w-'));
  const image = readFileSync(await compileFixture('c2w-image.c'));
  writeFileSync(join(folder, 'c2w.wasm'), Buffer.concat(endMemory(image, 0, noise(120 * MIB))));
  writeFileSync(join(folder, 'c2w-old.wasm'), readFileSync(await compileFixture('c2w-image.c', ['NET_WORD="qemu"'])));
  const files: Record<string, [string, Uint8Array]> = {
    '/': ['text/html', readFileSync(new URL('c2w/page.html', import.meta.url))],
    '/worker.js': ['text/javascript', readFileSync(new URL('c2w/worker.js', import.meta.url))],
    '/image.wasm': ['application/wasm', image],
  };
  site = createServer((request, response) => {
    const found = files[new URL(request.url ?? '/', 'http://x').pathname];
    if (found === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': found[0], 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }).end(found[1]);
  });
  await new Promise<void>((resolve) => site.listen(0, 'localhost', resolve));
  origin = `http://localhost:${(site.address() as AddressInfo).port}`;
  host = await startHostHttp(file);
  server = new Server(['--image', join(folder, 'c2w.wasm'), '--image', join(folder, 'c2w-old.wasm')]);
  await server.start();
  friend = new Server(['--allow-origin', origin, '--allow-origin', new URL(server.url).origin]);
  await friend.start();
});

test.afterAll(async () => {
  site?.closeAllConnections();
  site?.close();
  await host?.close();
  await Promise.all([server?.stop(), friend?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** Types a line and waits for what the guest says to it. */
async function say(guest: Guest, line: string, answer: RegExp | string): Promise<void> {
  await guest.write(`${line}\r`);
  await guest.waitForText(answer, 60_000);
}

for (const [name, net] of [['c2w', ''], ['c2w', 'delegate'], ['c2w-old', '']]) {
  test(`our page runs ${name}.wasm over ${net === '' ? 'its own relay' : 'a server that speaks c2w-net\'s way'}`, async ({ page }) => {
    const guest = new Guest(page);
    await guest.open(`${server.url}?image=${name}${net === '' ? '' : `&net=delegate=ws://localhost:${friend.port}/link`}`);
    await guest.waitForText('lease 192.168.127.3 router 192.168.127.1', 90_000);
    await say(guest, 'dns gateway.containers.internal', 'gateway.containers.internal is 192.168.127.1');
    await say(guest, `get 192.168.127.254 ${host.port} /file`, fetched);
    // More than it reads at a time, and nothing about the size of the window.
    await say(guest, `echo ${'x'.repeat(180)}`, new RegExp(`\\n${'x'.repeat(180)}\\n`));
    await page.setViewportSize({ width: 900, height: 600 });
    await say(guest, 'state', 'accepts 1 keys 128 resized 0');
    await guest.write('poweroff\r');
    await expect.poll(() => guest.state()).toBe('exited');
    expect(await page.evaluate(() => (globalThis as unknown as { portside: { exitCode: number } }).portside.exitCode)).toBe(0);
  });
}

test('its terminal is 80 by 25, all of it is seen, at any size of the window', async ({ page }) => {
  const guest = new Guest(page);
  const look = (): Promise<{ size: string; fits: boolean; font: number; scrolls: boolean }> => page.evaluate(() => {
    const terminal = document.querySelector('portside-terminal')!;
    const place = terminal.shadowRoot!.querySelector<HTMLElement>('.host')!;
    const screen = place.querySelector('.xterm-screen')!.getBoundingClientRect();
    const room = place.getBoundingClientRect();
    const { cols, rows } = terminal.size();
    return {
      size: `${cols}x${rows}`, fits: screen.right <= room.right + 1 && screen.bottom <= room.bottom + 1 && screen.right <= innerWidth && screen.bottom <= innerHeight,
      font: screen.height / rows, scrolls: place.scrollWidth > place.clientWidth + 1,
    };
  });
  await page.setViewportSize({ width: 1280, height: 800 });
  await guest.open(`${server.url}?image=c2w&net=none`);
  await guest.waitForText('/ #', 90_000);
  const large = await look();
  expect(large).toMatchObject({ size: '80x25', fits: true, scrolls: false });
  await page.screenshot({ path: test.info().outputPath('c2w-1280.png') });
  for (const [width, height] of [[390, 844], [844, 390], [360, 640], [700, 300]]) {
    await page.setViewportSize({ width, height });
    await expect.poll(look).toMatchObject({ size: '80x25', fits: true, scrolls: false });
    if (width === 390) {
      // What would wrap at 50 columns is one line here, as the guest takes it to be.
      await say(guest, `echo ${'x'.repeat(70)}`, new RegExp(`\\n${'x'.repeat(70)}\\n`));
      expect((await page.evaluate(() => document.querySelector('portside-terminal')!.screen())).split('\n')).toContain('x'.repeat(70));
      await page.screenshot({ path: test.info().outputPath('c2w-390.png') });
    }
  }
  // Nobody reads smaller characters than these: then it scrolls in its place.
  await page.setViewportSize({ width: 280, height: 600 });
  await expect.poll(look).toMatchObject({ size: '80x25', fits: false, scrolls: true });
  await page.setViewportSize({ width: 1280, height: 800 });
  await expect.poll(async () => (await look()).font).toBe(large.font);
  // The next container of the same terminal follows again.
  await guest.open(`${server.url}?image=busybox&net=none`);
  await expect.poll(async () => (await look()).size).not.toBe('80x25');
});

test('a flag that it can\'t take is named, and what to do', async ({ page }) => {
  for (const [query, title, words] of [
    ['memory=1G', 'memory is fixed', /\?memory=: the memory of an image that container2wasm made.*Leave \?memory= out/],
    [`cmd=${encodeURIComponent('--memory=256 sh')}`, 'does not fit', /--memory: the memory of an image.*Leave --memory out/],
    [`cmd=${encodeURIComponent('--hostname box sh')}`, 'does not fit', /--hostname: the host name of an image/],
    [`cmd=${encodeURIComponent('--foo sh')}`, 'does not fit', /--foo is no flag of this image/],
    [`net=browser&cmd=${encodeURIComponent('--mac 02:11:22:33:44:55 sh')}`, 'does not fit', /Leave --mac out/],
  ] as const) {
    await page.goto(`${server.url}?image=c2w-old&${query}`);
    const card = page.locator('.card:visible');
    await expect(card).toContainText(title);
    await expect(card).toContainText(words);
    await card.getByRole('button', { name: 'Start without it' }).click();
    await expect.poll(() => page.url()).not.toMatch(/memory=|cmd=/);
  }
});

test('what does not fit such an image, or is no bundle for it, is said before it starts', async ({ page }) => {
  for (const [command, words] of [[`echo '${' '.repeat(800)}'`, 'room for 1024'], ['--external-bundle=/bundle sh', '9p=ADDRESS']]) {
    await page.goto(`${server.url}?image=c2w-old&cmd=${encodeURIComponent(command)}`);
    const error = await page.evaluate(() => (globalThis as unknown as { portside: { ready: Promise<void> } }).portside.ready.then(() => 'ready', (reason: Error) => reason.message));
    expect(error).toContain(words);
  }
});

test('our page has gvproxy, which is what c2w-net is made of, as its network', async ({ page }) => {
  test.skip(GVPROXY === undefined, 'gvproxy is not installed (Debian 13 has it): ?net=delegate is tried with our relay only');
  const bridge = await GvproxyBridge.start();
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=delegate=${bridge.url}`);
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  const { output } = await guest.run(`wget -q -O - http://192.168.127.254:${host.port}/file | sha256sum`, 90_000);
  expect(output.split('\n').at(-1)).toBe(`${sha256(file)}  -`);
  await page.goto('about:blank');
  await bridge.stop();
});

function open(page: Page, relay: Server, args: string[]): Promise<unknown> {
  const query = new URLSearchParams([['ws', `ws://localhost:${relay.port}/link`], ...args.map((arg) => ['arg', arg])]);
  return page.goto(`${origin}/?${query.toString()}`);
}

test('a page as c2w\'s has our relay as its network when its Origin is allowed', async ({ page }) => {
  await open(page, friend, ['--net=socket', '--mac', '02:00:00:00:00:01', '--no-stdin', 'get', '192.168.127.254', String(host.port), '/file']);
  await expect(page.locator('#output')).toHaveText(`lease 192.168.127.3 router 192.168.127.1\r\n${fetched}\r\nexit\n`, { timeout: 90_000 });
});

test('and is refused when it is not', async ({ page }) => {
  await open(page, server, ['--net=socket', '--mac', '02:00:00:00:00:01', '--no-stdin', 'echo', 'no']);
  await expect(page.locator('#output')).toContainText('closed 1006');
  await expect.poll(() => server.output).toContain(`refused a page of ${origin}`);
  await expect(page.locator('#output')).not.toContainText('lease');
});
