/* Pages over TLS: two tabs on the network of c2w-net's WebSocket server, and one of our own server. Needs openssl. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, type Page } from '@playwright/test';
import { killLeftovers, Portside } from '../relay/fixture/portside-process.ts';
import { freePort } from '../relay/host/free-port.ts';
import { Guest, Server } from './guest.ts';

test.skip(spawnSync('openssl', ['version']).error !== undefined, 'openssl is not installed');
// A certificate that its own maker has signed.
test.use({ ignoreHTTPSErrors: true });

const folder = mkdtempSync(join(tmpdir(), 'portside-tls-'));
const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];

test.beforeAll(() => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' });
});
test.afterAll(() => rmSync(folder, { recursive: true }));
test.afterEach(killLeftovers);

/** A tab with its shell, once it has an address; returns that. */
async function openTab(page: Page, url: string): Promise<{ guest: Guest; ip: string }> {
  const guest = new Guest(page);
  await guest.open(url);
  await guest.waitFor(/[#$] ?$/m);
  let ip: string | undefined;
  await expect.poll(async () => {
    ip = /inet (192\.168\.127\.\d+)/.exec((await guest.run('ip -4 -o addr show dev eth0')).output)?.[1];
    return ip;
  }, { timeout: 60_000 }).toBeDefined();
  return { guest, ip: ip! };
}

async function readAll(port: number): Promise<string> {
  const socket = createConnection(port, '127.0.0.1');
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  await new Promise((resolve) => socket.on('close', resolve));
  return text;
}

test('c2w-net over TLS: two tabs reach each other, and -p leads to the last one', async ({ browser }) => {
  const server = new Server();
  await server.start();
  const origin = new URL(server.url).origin;
  const port = await freePort();
  const net = new Portside(['-listen-ws', '-enable-tls', '-ws-cert', cert, '-ws-key', key, '-allow-origin', origin, '-p', `${port}:80`, 'localhost:0'], { program: 'c2w-net' });
  const delegate = await net.says(/listening on (wss:\S+)\n/);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  try {
    const first = await openTab(await context.newPage(), `${server.url}?image=busybox&net=delegate=${delegate}`);
    const second = await openTab(await context.newPage(), `${server.url}?image=busybox&net=delegate=${delegate}`);
    expect(second.ip).not.toBe(first.ip);
    await first.guest.run('(echo from the first | nc -l -p 80) & true');
    await expect.poll(async () => (await second.guest.run(`nc ${first.ip} 80 </dev/null`)).output, { timeout: 30_000 }).toContain('from the first');
    await second.guest.run('(echo from the second | nc -l -p 80) & true');
    await expect.poll(() => readAll(port), { timeout: 30_000 }).toBe('from the second\n');
  } finally {
    await context.close();
    await server.stop();
  }
});

test('serve over https: the page is isolated, and its network goes by wss', async ({ page }) => {
  const server = new Server(['--tls-cert', cert, '--tls-key', key]);
  await server.start();
  expect(server.url).toMatch(/^https:\/\/localhost:/);
  const { ip } = await openTab(page, `${server.url}?image=busybox`);
  expect(ip).toBe('192.168.127.3');
  expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(true);
  await page.close();
  await server.stop();
});
