/* The page for everybody: axe-core on each of its states, the keyboard alone, no shift of layout, no third party, little weight. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test, type Browser, type Page } from '@playwright/test';
import { Guest, Server } from './guest.ts';

const ASSETS = fileURLToPath(new URL('../dist/web', import.meta.url));
const SHOTS = fileURLToPath(new URL('../.cache/screenshots', import.meta.url));
const SCRIPT_BYTES_MAX = 264 * 1024;
const LEVEL_AA = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 800 };
/** panel → the button that opens it; first the one that shows a connection, which the relay does not keep for ever */
const PANELS = { net: 'net-chip', about: 'about-button', image: 'image-button', container: 'container-chip', ports: 'ports-button', files: 'files-button', settings: 'settings-button' };

const server = new Server(['-p', '127.0.0.1:0:80']);

test.beforeAll(() => server.start());
test.afterAll(() => server.stop());

/** Checks what is on the screen, and keeps a picture of it. */
async function check(page: Page, name: string): Promise<void> {
  // What fades in has no contrast yet.
  await page.evaluate(() => Promise.all(document.getAnimations().filter((one) => one.effect?.getComputedTiming().iterations !== Infinity).map((one) => one.finished)));
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
  const { violations } = await new AxeBuilder({ page }).withTags(LEVEL_AA).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`), name).toEqual([]);
}

/** Loads a page whose image never comes to its end; Playwright's answer to a route has to be whole. */
async function stalled(page: Page, query: string): Promise<void> {
  await page.route('**/images/busybox.wasm', () => new Promise(() => undefined));
  await page.goto(`${server.url}${query}`);
  await expect(page.getByText('Connecting…')).toBeVisible();
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const [size, viewport] of [['desktop', DESKTOP], ['phone', PHONE]] as const) {
    const open = async (browser: Browser): Promise<Page> => (await browser.newContext({ viewport, colorScheme, hasTouch: size === 'phone', reducedMotion: 'reduce' })).newPage();

    test(`axe finds nothing: ${size}, ${colorScheme}`, async ({ browser }) => {
      const name = (state: string): string => `${state}-${size}-${colorScheme}`;
      const page = await open(browser);
      await stalled(page, '?image=busybox');
      await check(page, name('loading'));
      await page.getByRole('button', { name: 'Cancel' }).click();
      await expect(page.getByRole('alert')).toContainText('Start cancelled');
      await check(page, name('cancelled'));
      await page.unroute('**/images/busybox.wasm');
      await page.goto(`${server.url}?image=no-such-image`);
      await expect(page.getByRole('alert')).toBeVisible();
      await check(page, name('error'));
      const guest = new Guest(page);
      await guest.open(`${server.url}?image=busybox`);
      await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
      await guest.run('ls --color=always / && printf "\\033[3%dm0 " 1 2 3 4 5 6; printf "\\033[0m\\n"');
      await check(page, name('running'));
      // Something to see in the panels.
      await guest.run('httpd -p 80; httpd -p 127.0.0.1:631; nslookup host.containers.internal; nslookup nobody.containers.internal');
      await guest.write('clear; nc 192.168.127.254 $PORT &\n'.replace('$PORT', String(new URL(server.url).port)));
      await expect(page.locator('#ports-count')).toHaveText('1');
      for (const [panel, button] of Object.entries(PANELS)) {
        await page.locator(`#${button}`).click();
        await expect(page.locator(`#${panel}-panel`)).toBeVisible();
        if (panel === 'net') await expect(page.getByRole('dialog', { name: 'Network' }).getByText('TCP · established')).toBeVisible();
        await check(page, name(`${panel}-panel`));
        await page.keyboard.press('Escape');
      }
      await page.evaluate(() => (globalThis as unknown as { portside: { terminals: { open(): number | null } } }).portside.terminals.open());
      await expect(page.getByRole('tab', { name: 'Terminal 2' })).toBeVisible();
      await check(page, name('tabs'));
      await page.evaluate(() => (globalThis as unknown as { portside: { save(): Promise<unknown> } }).portside.save());
      await page.reload();
      await expect(page.getByRole('region', { name: 'A saved container' })).toBeVisible();
      await check(page, name('saved'));
      await page.getByRole('button', { name: 'Start a new one' }).click();
      await guest.ready();
      await page.locator('#container-chip').click();
      await expect(page.getByRole('link', { name: 'Resume busybox' })).toBeVisible();
      await check(page, name('saved-panel'));
      await page.keyboard.press('Escape');
      await guest.waitFor(/[#$] ?$/m);
      await guest.write('exit 3\n');
      await expect(page.getByText('exited with code 3')).toBeVisible();
      await check(page, name('exited'));
      await page.context().close();
    });
  }
}

test('a network that is gone: its notice, and axe', async ({ page }) => {
  const own = new Server();
  await own.start();
  const guest = new Guest(page);
  await guest.open(`${own.url}?image=busybox`);
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  await own.stop();
  await expect(page.getByRole('region', { name: 'Network' })).toBeVisible();
  await check(page, 'net-gone');
});

test('all of it with the keyboard', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await guest.waitFor(/[#$] ?$/m);
  // The terminal has the focus, and Tab is the shell's.
  await page.keyboard.type('echo ty"ped"\n');
  await guest.waitFor(/^typed$/m);
  await page.keyboard.press('Control+Shift+Space');
  await expect(page.locator('#image-button')).toBeFocused();
  const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.id ?? '');
  const inBar: string[] = [];
  for (let i = 0; i < 12 && (inBar.length === 0 || await focused() !== ''); i++) {
    const id = await focused();
    if (id === '' || id === 'terminal' || inBar.includes(id)) break;
    inBar.push(id);
    // Where the focus is can be seen.
    expect(await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle), id).toBe('solid');
    await page.keyboard.press('Tab');
  }
  expect(inBar.slice(0, 9)).toEqual(['image-button', 'container-chip', 'net-chip', 'ports-button', 'terminal-button', 'restart-button', 'stop-button', 'files-button', 'settings-button']);
  await page.locator('#image-button').focus();
  await page.keyboard.press('Shift+Tab');
  expect(await focused()).toBe('about-button');
  await page.locator('#settings-button').focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('dialog', { name: 'Settings' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog', { name: 'Settings' })).toBeHidden();
  await expect(page.locator('#settings-button')).toBeFocused();
  await page.keyboard.press('Escape');
  await page.keyboard.type('echo ag"ain"\n');
  await guest.waitFor(/^again$/m);
  await page.keyboard.press('Control+Shift+Space');
  await page.locator('#image-button').press('Enter');
  await expect(page.getByRole('dialog', { name: 'Images' })).toBeVisible();
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement?.closest('#image-panel') !== null)).toBe(true);
});

test('a screen reader: the mode of xterm is switched in Settings, and reads the screen', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await guest.waitFor(/[#$] ?$/m);
  await page.locator('#settings-button').press('Enter');
  await page.getByRole('switch', { name: 'Screen reader mode' }).press('Space');
  await page.keyboard.press('Escape');
  expect((await guest.run('echo read a"loud"')).output).toBe('read aloud');
  await expect(page.locator('.xterm-accessibility-tree')).toContainText('read aloud');
  await check(page, 'screen-reader');
  await page.reload();
  await guest.ready();
  await expect(page.locator('.xterm-accessibility-tree')).toHaveCount(1);
});

test('nothing shifts while it loads, and no request leaves for anybody else', async ({ page }) => {
  const origins = new Set<string>();
  page.context().on('request', (request) => origins.add(new URL(request.url()).origin));
  page.on('websocket', (socket) => origins.add(new URL(socket.url()).origin.replace('ws', 'http')));
  await page.addInitScript(() => {
    const shifts: string[] = [];
    Object.assign(globalThis, { shifts });
    new PerformanceObserver((list) => { 
      for (const entry of list.getEntries()) {
        // By whom, so that a failure says what to look at.
        const { sources } = entry as unknown as { sources: { node: Node | null; previousRect: DOMRect; currentRect: DOMRect }[] };
        for (const { node, previousRect: from, currentRect: to } of sources) {
          const element = node instanceof Element ? node : node?.parentElement;
          // The terminal scrolls: that is what it is for. Of what is in its shadow root no element is told.
          const { left, top, right, bottom } = document.getElementById('terminal')!.getBoundingClientRect();
          if (element === null || element === undefined ? to.left >= left && to.top >= top && to.right <= right && to.bottom <= bottom : element.closest('#terminal')) continue;
          shifts.push(`${element?.id || element?.className} ${from.x},${from.y} ${from.width}x${from.height} -> ${to.x},${to.y} ${to.width}x${to.height}`);
        }
      }
    })
      .observe({ type: 'layout-shift', buffered: true });
  });
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox`);
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  await guest.waitFor(/[#$] ?$/m);
  await guest.run('seq 1 200');
  await page.locator('#settings-button').press('Enter');
  await page.keyboard.press('Escape');
  expect(await page.evaluate(() => (globalThis as unknown as { shifts: string[] }).shifts)).toEqual([]);
  expect([...origins]).toEqual([server.url.slice(0, -1)]);
});

test('the JavaScript of the page is below 264 KiB compressed, and that is how the relay sends it', async ({ page }) => {
  // What a frame loads on an origin of its own is not the page's: frames.spec.ts weighs it.
  const scripts = readdirSync(ASSETS, { recursive: true }).map(String).filter((name) => name.endsWith('.js') && !name.startsWith('portside-frame'));
  expect(scripts.length).toBeGreaterThan(3);
  const sum = (compress: (bytes: Uint8Array) => Uint8Array): number => scripts.reduce((bytes, name) => bytes + compress(readFileSync(join(ASSETS, name))).length, 0);
  // As our relay would send it, and as a server with nothing but gzip does: by the build's own level.
  expect(sum((bytes) => gzipSync(bytes, { level: 9 }))).toBeLessThan(SCRIPT_BYTES_MAX);
  expect(sum(brotliCompressSync)).toBeLessThan(SCRIPT_BYTES_MAX);
  const plain: string[] = [];
  let answers = 0;
  page.on('response', (response) => {
    if (!/\.(js|css)$/.test(new URL(response.url()).pathname)) return;
    answers++;
    if (response.headers()['content-encoding'] === undefined && Number(response.headers()['content-length']) > 1000) plain.push(response.url());
  });
  await page.goto(`${server.url}?image=no-such-image`);
  await expect(page.getByRole('alert')).toBeVisible();
  expect(answers).toBeGreaterThan(3);
  expect(plain).toEqual([]);
});
