/* What goes wrong, each with a clear word and without a hang. */
import { mkdtempSync, writeFileSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test, type Page } from '@playwright/test';
import { WebSocket } from 'ws';
import { Guest, Server } from './guest.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const server = new Server();
let folder: string;
let url: string;
let files: ReturnType<typeof createServer>;

/** The smallest wasm that is not a container: a module with nothing in it. */
const EMPTY_WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

test.beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-e2e-'));
  const busybox = readFileSync(join(ROOT, 'dist/images/busybox.wasm'));
  const bodies: Record<string, Uint8Array> = {
    '/text.wasm': new TextEncoder().encode('<!doctype html><p>not wasm</p>'),
    '/empty.wasm': EMPTY_WASM,
    '/half.wasm': busybox.subarray(0, busybox.length >> 1),
  };
  // Another origin than the page's, that allows to be read.
  files = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    const headers = { 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' };
    if (path === '/broken-off.wasm') {
      response.writeHead(200, { ...headers, 'content-length': busybox.length });
      response.write(busybox.subarray(0, busybox.length >> 1), () => response.destroy());
      return;
    }
    const body = bodies[path];
    response.writeHead(body === undefined ? 404 : 200, headers);
    response.end(body);
  });
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  writeFileSync(join(folder, 'elsewhere.wasm'), busybox);
  await server.start();
});

test.afterAll(async () => {
  files.closeAllConnections();
  files.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

async function expectFailure(page: Page, query: string, message: RegExp): Promise<void> {
  await page.goto(`${server.url}${query}`);
  await expect(page.getByRole('alert').filter({ hasText: message }).first()).toBeVisible();
  const guest = new Guest(page);
  await expect.poll(() => guest.state()).toBe('failed');
  const rejected = await guest.ready().then(() => 'ready', (error: Error) => error.message);
  expect(rejected).not.toBe('ready');
  // What to do next is on the page, as something to press.
  expect(await page.getByRole('button').count()).toBeGreaterThan(0);
}

test('an image name that does not exist', ({ page }) => expectFailure(page, '?image=no-such-image', /no-such-image/));
test('a URL that answers 404', ({ page }) => expectFailure(page, `?image=${url}/none.wasm`, /not found|404/i));
test('a URL that is not wasm', ({ page }) => expectFailure(page, `?image=${url}/text.wasm`, /not a (web)?assembly|not wasm/i));
test('a wasm that is not a container', ({ page }) => expectFailure(page, `?image=${url}/empty.wasm`, /not a container/i));
test('an image cut off half-way', ({ page }) => expectFailure(page, `?image=${url}/half.wasm`, /cut off|incomplete|broken/i));
test('a download that breaks off', ({ page }) => expectFailure(page, `?image=${url}/broken-off.wasm`, /cut off|incomplete|broke|network/i));
test('a server that is not there', ({ page }) => expectFailure(page, '?image=http://127.0.0.1:9/x.wasm', /could not|reach|network/i));
test('a value of ?net= that does not exist', ({ page }) => expectFailure(page, '?image=busybox&net=pigeon', /pigeon/));

test('a delegate that is not there: the page says so, the shell works', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=delegate=ws://127.0.0.1:9`);
  await guest.waitFor(/[#$] ?$/m);
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', /down|connecting|refused/);
  expect((await guest.run('echo wo"rks"')).output).toBe('works');
});

test('no network at all is a choice, and an idle container uses no CPU', async ({ page, browser }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await guest.waitFor(/[#$] ?$/m);
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'off');
  expect((await guest.run('ip -o addr show dev eth0')).output).not.toContain('inet ');
  // Processor time of Chromium's renderers: after the start (V8 still compiles in the background) it must come to rest. One
  // spinning worker would take the whole second, for ever.
  const cdp = await browser.newBrowserCDPSession();
  const rendererSeconds = async (): Promise<number> => {
    const { processInfo } = await cdp.send('SystemInfo.getProcessInfo');
    return processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { cpuTime }) => sum + cpuTime, 0);
  };
  let before = await rendererSeconds();
  expect(before).toBeGreaterThan(0);
  await expect.poll(async () => {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const [from, to] = [before, await rendererSeconds()];
    before = to;
    return to - from;
  }, { timeout: 20_000, intervals: [0] }).toBeLessThan(0.1);
  expect((await guest.run('echo aw"ake"')).output).toBe('awake');
});

test('an image made elsewhere: --image FILE', async ({ page }) => {
  const own = new Server(['--image', join(folder, 'elsewhere.wasm')]);
  await own.start();
  const guest = new Guest(page);
  await guest.open(`${own.url}?image=elsewhere&net=none`);
  await guest.waitFor(/[#$] ?$/m);
  expect((await guest.run('uname -m')).output).toBe('riscv64');
  await page.goto('about:blank');
  await own.stop();
});

test('?cmd= runs a command, and its status is the container\'s', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none&cmd=${encodeURIComponent("sh -c 'echo \"two  words\"; exit 3'")}`);
  await expect.poll(() => guest.state()).toBe('exited');
  expect(await guest.screen()).toContain('two  words');
  await expect(page.getByText(/exited with code 3/i).first()).toBeVisible();
});

test('a foreign Origin gets 403, a wrong token 4401, each logged once', async () => {
  const link = `${server.url.replace('http', 'ws')}link`;
  const attempt = (origin: string): Promise<string> => new Promise((resolve) => {
    const socket = new WebSocket(link, 'portside.v1', { headers: { origin } });
    socket.on('unexpected-response', (_request, response) => resolve(`http ${response.statusCode}`));
    socket.on('error', () => undefined);
    socket.on('open', () => socket.send(JSON.stringify({ type: 'hello', version: 1, session: 'no-such-session', token: 'not-a-token-that-was-given-out' })));
    socket.on('close', (code) => resolve(`close ${code}`));
  });
  expect(await attempt('https://evil.example')).toBe('http 403');
  expect(await attempt('https://evil.example')).toBe('http 403');
  const own = server.url.slice(0, -1);
  expect(await attempt(own)).toBe('close 4401');
  expect(await attempt(own)).toBe('close 4401');
  expect(server.output.match(/refused .*evil\.example/g)).toHaveLength(1);
  expect(server.output.match(/4401|token/gi)?.length).toBe(1);
});
