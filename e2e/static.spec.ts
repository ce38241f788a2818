/* The built page on a server that sends files and nothing else, and without any server at all. */
import { expect, test, type Page, type Worker } from '@playwright/test';
import type { Portside } from '../web/page/scripting.ts';
import { Guest, noise, Server, sha256, startHostHttp } from './guest.ts';
import { StaticServer } from './static-server.ts';

declare const portside: Portside;

/** Resolves when the service worker has stored the page, and the store worker the image. */
async function stored(page: Page): Promise<void> {
  await expect.poll(() => page.evaluate(async () => {
    const names = await caches.keys();
    const held = names.includes('portside-page') ? (await (await caches.open('portside-page')).keys()).length : 0;
    const images = names.filter((name) => name.startsWith('portside-image'));
    const wasm = images.length > 0 ? await caches.match(images[0].split(' ')[2], { cacheName: images[0] }) : undefined;
    return navigator.serviceWorker.controller !== null && held > 5 && wasm !== undefined;
  })).toBe(true);
}

test('below any path, without COOP and COEP: one reload, and the container runs', async ({ page }) => {
  const files = await StaticServer.start('/some/where/');
  const guest = new Guest(page);
  await page.goto(`${files.url}?image=busybox&net=none`);
  // The page reloads itself once; what is evaluated in between may meet the old document.
  await expect.poll(() => guest.state().catch(() => 'reloading')).toBe('running');
  await guest.waitFor(/[#$] ?$/m);
  expect((await guest.run('uname -m')).output).toBe('riscv64');
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  const visits = (): number => files.requests.filter((path) => path === '/some/where/').length;
  // Twice by the page; the service worker has fetched it as well.
  expect(visits()).toBeLessThanOrEqual(4);
  // The second visit needs no reload.
  const marks: string[] = [];
  page.on('framenavigated', () => marks.push(page.url()));
  await page.goto(`${files.url}?image=busybox&net=none`);
  await guest.ready();
  expect(marks.length).toBe(1);
  expect(await page.evaluate(() => sessionStorage.getItem('portside.isolating'))).toBeNull();
  await files.stop();
});

/** The page finds a browser without JSPI. */
async function withoutJspi(page: Page): Promise<void> {
  await page.addInitScript(() => { Reflect.deleteProperty(WebAssembly, 'Suspending'); });
}

test('without a service worker the container suspends instead of blocking: shell, network, a busy guest, its end', async ({ browser }) => {
  const files = await StaticServer.start('/');
  const relay = new Server(['--allow-origin', files.origin]);
  await relay.start();
  const body = noise(5_000_000);
  const host = await startHostHttp(body);
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  const guest = new Guest(page);
  await page.goto(`${files.url}?image=busybox&net=relay=${relay.url}`);
  await guest.ready();
  expect(await page.evaluate(() => [crossOriginIsolated, portside.stats()?.waitingMode])).toEqual([false, 'suspend']);
  await guest.waitFor(/[#$] ?$/m);
  expect((await guest.run('seq 1 20000 | sha256sum')).output).toBe(`${sha256(new TextEncoder().encode(Array.from({ length: 20_000 }, (_, i) => `${i + 1}\n`).join('')))}  -`);
  const size = await page.evaluate(() => { const { cols, rows } = portside.size(); return `${rows} ${cols}`; });
  expect((await guest.run('stty size')).output).toBe(size);
  expect(Number((await guest.run('seq 1 200000 | tail -1', 60_000)).output)).toBe(200_000);
  // Much output and a loop that never waits: keys reach it all the same.
  await guest.write('seq 300000 100000000\n');
  await guest.waitFor(/^300\d\d\d$/m);
  await guest.write('\x03');
  await guest.write('echo be""gun; while :; do :; done\n');
  await guest.waitFor(/^begun$/m);
  await guest.write('\x03');
  expect((await guest.run('echo still $((40 + 2))', 60_000)).output).toBe('still 42');
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  expect((await guest.run(`wget -q -O - http://192.168.127.254:${host.port}/file | sha256sum`, 60_000)).output).toBe(`${sha256(body)}  -`);
  await expect.poll(() => page.evaluate(() => portside.stats()?.link?.bytesToGuest ?? 0)).toBeGreaterThan(body.length);
  await guest.write('exit 7\n');
  await expect.poll(() => guest.state()).toBe('exited');
  expect(await page.evaluate(() => portside.exitCode)).toBe(7);
  await context.close();
  await host.close();
  await relay.stop();
  await files.stop();
});

test('without a service worker a saved container goes on; what takes shared memory is not offered', async ({ page, browser }, info) => {
  const server = new Server();
  await server.start();
  const isolated = new Guest(page);
  await page.goto(`${server.url}?image=busybox&net=none`);
  await isolated.ready();
  await isolated.waitFor(/[#$] ?$/m);
  await isolated.run('echo kept >/tmp/file');
  await page.evaluate(() => portside.save('mine'));
  await page.locator('#container-chip').click();
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export mine' }).click();
  const file = info.outputPath('mine.portside');
  await (await download).saveAs(file);

  const files = await StaticServer.start('/');
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const other = await context.newPage();
  const guest = new Guest(other);
  await other.goto(`${files.url}?image=busybox&net=none`);
  await guest.ready();
  await other.locator('#container-chip').click();
  await other.getByLabel(/^Import a container/).setInputFiles(file);
  await other.waitForURL(/resume=mine/);
  await guest.ready();
  expect(await other.evaluate(() => portside.stats()?.waitingMode)).toBe('suspend');
  // The first mark is that of the other page, on the screen that was kept.
  await guest.run('true');
  expect((await guest.run('cat /tmp/file')).output).toBe('kept');
  expect(await other.evaluate(() => portside.save('again').then(() => '', (error: Error) => error.message))).toContain('not isolated');
  expect(await other.evaluate(() => portside.terminals.open())).toBeNull();
  await expect(other.locator('#terminal-button')).toBeDisabled();
  await expect(other.locator('#files-button')).toBeHidden();
  await context.close();
  await files.stop();
  await server.stop();
});

test('without a service worker and JSPI it says what is missing, and never loops', async ({ browser }) => {
  const files = await StaticServer.start('/');
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await withoutJspi(page);
  let visits = 0;
  page.on('framenavigated', () => { visits++; });
  await page.goto(`${files.url}?image=busybox&net=none`);
  await expect(page.getByRole('alert').filter({ hasText: /not isolated/ })).toBeVisible();
  await expect(page.getByRole('alert')).toContainText('Cross-Origin-Opener-Policy');
  expect(visits).toBe(1);
  await context.close();
  await files.stop();
});

test('a service worker that does not help leads to one reload, and a word', async ({ page }) => {
  const files = await StaticServer.start('/');
  await withoutJspi(page);
  // A browser that isolates nothing, whatever the headers say.
  await page.addInitScript(() => { Object.defineProperty(globalThis, 'crossOriginIsolated', { value: false }); });
  let visits = 0;
  page.on('framenavigated', () => { visits++; });
  await page.goto(`${files.url}?image=busybox&net=none`);
  await expect(page.getByRole('alert').filter({ hasText: /still does not isolate/ })).toBeVisible();
  expect(visits).toBe(2);
  await files.stop();
});

test('a relay elsewhere: ?net=relay=, for origins that it allows', async ({ page }) => {
  const files = await StaticServer.start('/demo/');
  const relay = new Server(['--allow-origin', files.origin]);
  await relay.start();
  const stranger = new Server();
  await stranger.start();
  const host = await startHostHttp(new TextEncoder().encode('over the relay'));
  const guest = new Guest(page);
  await page.goto(`${files.url}?image=busybox&net=relay=${relay.url}`);
  await expect.poll(() => guest.state().catch(() => 'reloading')).toBe('running');
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  const { output } = await guest.run(`wget -q -O - http://192.168.127.254:${host.port}/ | sha256sum`);
  expect(output).toBe(`${sha256(new TextEncoder().encode('over the relay'))}  -`);
  // Its page looks at its own network there, and opens no port of that machine.
  await page.locator('#net-chip').click();
  await page.getByRole('radio', { name: 'Addresses' }).check();
  await expect(page.locator('.traffic-table tbody tr').filter({ hasText: '192.168.127.3' })).toContainText('02:00:00:00:00:01');
  await page.keyboard.press('Escape');
  await page.locator('#ports-button').click();
  await page.getByLabel('Another port of the container').fill('80');
  await page.keyboard.press('Enter');
  await expect(page.locator('.port-problem')).toContainText('a page of another origin may look at its network, and not change it');
  await page.keyboard.press('Escape');
  // A link of a demo: an image by its name, with a command.
  await page.goto(`${files.url}?image=busybox&cmd=sh -c 'echo a de""mo; cat'&net=relay=${relay.url}`);
  await guest.ready();
  await guest.waitFor(/^a demo$/m);
  // One that was not told of this origin keeps it out; the shell works.
  await page.goto(`${files.url}?image=busybox&net=relay=${stranger.url}`);
  await guest.ready();
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', /down|refused/);
  expect(stranger.output).toContain(files.origin);
  await page.goto('about:blank');
  await host.close();
  await relay.stop();
  await stranger.stop();
  await files.stop();
});

test('the second start needs no server: page, image and what was read of its disk', async ({ page }) => {
  const server = new Server();
  await server.start();
  const url = `${server.url}?image=debian&net=none`;
  const guest = new Guest(page);
  await guest.open(url);
  await guest.waitFor(/[#$] ?$/m);
  // Read now from the disk, and after that from nowhere else than the store.
  const sum = (await guest.run('cat /usr/bin/vim.tiny | sha256sum', 60_000)).output;
  expect(sum).toMatch(/^[0-9a-f]{64}/);
  await stored(page);
  await server.stop();
  await page.reload();
  await guest.ready();
  await guest.waitFor(/[#$] ?$/m);
  expect((await guest.run('cat /usr/bin/vim.tiny | sha256sum', 60_000)).output).toBe(sum);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
});

test('an image of another version takes the place of the old one, and a full storage is no error', async ({ page }) => {
  const server = new Server();
  await server.start();
  await page.goto(`${server.url}favicon.svg`);
  const imageUrl = `${server.url}images/busybox.wasm`;
  await page.evaluate(async (image) => {
    await (await caches.open(`portside-image ${'0'.repeat(64)} ${image}`)).put(image, new Response('an old version'));
  }, imageUrl);
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await stored(page);
  const names = async (): Promise<string[]> => (await page.evaluate(() => caches.keys())).filter((name) => name.startsWith('portside-image'));
  await expect.poll(names).toHaveLength(1);
  expect((await names())[0]).not.toContain('0'.repeat(64));
  // Less than an image: nothing can be kept, and nothing is said of it.
  await page.evaluate(async () => { for (const name of await caches.keys()) await caches.delete(name); });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Storage.overrideQuotaForOrigin', { origin: new URL(server.url).origin, quotaSize: 1 << 20 });
  const store = hookStore(page);
  await page.reload();
  await guest.ready();
  await guest.waitFor(/[#$] ?$/m);
  await expect.poll(store.refusal).toBe('QuotaExceededError');
  expect((await guest.run('echo wo"rks"')).output).toBe('works');
  await expect.poll(names).toEqual([]);
  await page.goto('about:blank');
  await server.stop();
});

/** Listens to the Cache API in the store worker of the next visit. */
function hookStore(page: Page): { refusal(): Promise<string | undefined> } {
  let store: Worker | undefined;
  page.on('worker', (worker) => {
    // The container's worker is blocked and may never answer.
    void worker.evaluate(() => {
      if (self.name !== 'store') return false;
      // oxlint-disable-next-line typescript/unbound-method
      const { put } = Cache.prototype;
      Cache.prototype.put = function (...args) {
        return put.apply(this, args).catch((error: DOMException) => {
          Object.assign(globalThis, { refused: error.name });
          throw error;
        });
      };
      return true;
    }).then((isStore) => { if (isStore) store = worker; }, () => undefined);
  });
  return { refusal: async () => store?.evaluate(() => (globalThis as unknown as { refused?: string }).refused) };
}
