/* A link that is cut in the middle: the session is resumed, and TCP connections of the container live on. */
import { expect, test, type BrowserContext } from '@playwright/test';
import { CutProxy } from './cut-proxy.ts';
import { Guest, noise, Server, sha256, startHostHttp } from './guest.ts';

const MIB = 1024 * 1024;

test.describe.configure({ mode: 'serial' });

const server = new Server();
const file = noise(50 * MIB);
let proxy: CutProxy;
let context: BrowserContext;
let guest: Guest;
let host: Awaited<ReturnType<typeof startHostHttp>>;

test.beforeAll(async ({ browser }) => {
  await server.start();
  proxy = await CutProxy.start(server.port);
  host = await startHostHttp(file);
  context = await browser.newContext();
  guest = new Guest(await context.newPage());
  await guest.open(`${proxy.url}?image=debian`);
  await guest.waitFor(/[#$] ?$/m);
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output).toContain('192.168.127.3');
});

test.afterAll(async () => {
  await context.close();
  await host.close();
  await proxy.close();
  await server.stop();
});

const reconnects = async (): Promise<number> => ((await guest.stats())['link'] as { reconnects: number }).reconnects;

test('a 50 MB download survives five cuts, with the right SHA-256', async () => {
  test.setTimeout(300_000);
  const before = await reconnects();
  proxy.cutAfter([1, 7, 20, 33, 45].map((mib) => mib * MIB));
  const { output } = await guest.run(`curl -sS http://192.168.127.254:${host.port}/file | sha256sum`, 280_000);
  expect(output).toBe(`${sha256(file)}  -`);
  expect(proxy.cuts).toBe(5);
  expect(await reconnects() - before).toBe(5);
});

test('an upload survives cuts as well', async () => {
  test.setTimeout(200_000);
  const cuts = proxy.cuts;
  await guest.run(`head -c ${20 * MIB} /dev/urandom > /tmp/up`, 60_000);
  const sent = (await guest.run('sha256sum < /tmp/up', 60_000)).output.split(' ')[0];
  proxy.cutAfter([], [2, 9, 15].map((mib) => mib * MIB));
  const { output } = await guest.run(`curl -sS -T /tmp/up http://192.168.127.254:${host.port}/up; rm /tmp/up`, 180_000);
  expect(output).toBe(`${sent} ${20 * MIB}`);
  expect(proxy.cuts - cuts).toBe(3);
});

test('a cut of seconds, which the guest sees: the download goes on behind it', async () => {
  test.setTimeout(200_000);
  const before = await reconnects();
  await guest.run(`(curl -sS http://192.168.127.254:${host.port}/file | head -c ${20 * MIB} | sha256sum > /tmp/sum; echo do''ne) & true`);
  const start = proxy.toPage;
  await expect.poll(() => proxy.toPage - start, { timeout: 60_000 }).toBeGreaterThan(2 * MIB);
  proxy.cut(true);
  // Longer than GRACE_MS of web/link/tunnel-client.ts: the guest is told that its link is down.
  await expect.poll(async () => (await guest.run('cat /sys/class/net/eth0/carrier')).output).toBe('0');
  await expect(guest.page.getByTestId('net-state')).toHaveAttribute('data-state', /down|connecting/);
  expect(await guest.screen()).not.toMatch(/^done$/m);
  proxy.restore();
  await guest.waitFor(/^done$/m, 150_000);
  // Beside it the shell may say that its job is done.
  expect((await guest.run('cat /tmp/sum')).output).toContain(`${sha256(file.subarray(0, 20 * MIB))}  -`);
  expect(await reconnects()).toBe(before + 1);
});
