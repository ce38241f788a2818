/* v86 (the npm package, a Debian i386 kernel) on a page of another origin, with our relay as its network: /wsproxy. */
import { createServer, type Server as HttpServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { expect, test } from '@playwright/test';
import { noise, Server, sha256, startHostHttp } from './guest.ts';
import { buildPc } from './v86/pc.ts';

const V86 = dirname(createRequire(import.meta.url).resolve('v86'));
const TYPES: Record<string, string> = { '/': 'text/html', '/empty': 'text/html', '/libv86.mjs': 'text/javascript', '/v86.wasm': 'application/wasm' };
const file = noise(1024 * 1024);

let site: HttpServer;
let origin: string;
let host: Awaited<ReturnType<typeof startHostHttp>>;
const relay = new Server();
let friend: Server;

test.beforeAll(async () => {
  // The first time it downloads 50 MiB of kernel.
  test.setTimeout(300_000);
  const pc = await buildPc();
  const files: Record<string, Uint8Array> = {
    '/empty': new Uint8Array(0),
    '/': readFileSync(new URL('v86/page.html', import.meta.url)),
    '/libv86.mjs': readFileSync(join(V86, 'libv86.mjs')),
    '/v86.wasm': readFileSync(join(V86, 'v86.wasm')),
    ...Object.fromEntries(Object.entries(pc).map(([name, bytes]) => [`/${name}`, bytes as Uint8Array])),
  };
  site = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://x');
    const body = files[pathname];
    if (body === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': TYPES[pathname] ?? 'application/octet-stream', 'content-length': body.length }).end(body);
  });
  await new Promise<void>((resolve) => site.listen(0, 'localhost', resolve));
  origin = `http://localhost:${(site.address() as AddressInfo).port}`;
  host = await startHostHttp(file);
  friend = new Server(['--allow-origin', origin]);
  await Promise.all([relay.start(), friend.start()]);
});

test.afterAll(async () => {
  site?.closeAllConnections();
  site?.close();
  await host?.close();
  await Promise.all([relay.stop(), friend?.stop()]);
});

for (const [card, driver] of [['virtio', 'virtio_net'], ['ne2k', 'ne2k-pci']]) {
  test(`Linux with the ${card} card gets an address, downloads a file and sends it back`, async ({ page }) => {
    // 10 s on an idle machine; the emulator wants a processor, and may have to share it.
    test.setTimeout(300_000);
    const query = new URLSearchParams({ card, relay: `ws://localhost:${friend.port}/wsproxy`, url: `http://192.168.127.254:${host.port}/file` });
    await page.goto(`${origin}/?${query.toString()}`);
    await expect.poll(() => page.evaluate(() => (globalThis as unknown as { serial: string }).serial), { timeout: 280_000 }).toContain('the end');
    const serial = await page.evaluate(() => (globalThis as unknown as { serial: string }).serial);
    expect(serial).toContain(`card: ${driver}`);
    expect(serial).toMatch(/address: 192\.168\.127\.\d+\/24/);
    expect(serial).toContain(`sha256: ${sha256(file)}`);
    const [, sum, bytes] = /sent: (\w+) +- (\d+)/.exec(serial) ?? [];
    expect(serial).toContain(`answer: ${sum} ${bytes}`);
    expect(Number(bytes)).toBeGreaterThan(file.length);
  });
}

test('a relay that was not started with --allow-origin lets no such page in', async ({ page }) => {
  await page.goto(`${origin}/empty`);
  const open = (url: string): Promise<string> => page.evaluate((address) => new Promise<string>((resolve) => {
    const socket = new WebSocket(address);
    socket.onopen = () => resolve('open');
    socket.onerror = () => resolve('refused');
  }), url);
  expect(await open(`ws://localhost:${relay.port}/wsproxy`)).toBe('refused');
  expect(await open(`ws://localhost:${friend.port}/wsproxy`)).toBe('open');
  expect(relay.output).toContain(`refused a page of ${origin}`);
});
