/*
 * A tour of the page, in pictures: `.cache/screenshots/tour-*.png`. With PORTSIDE_TOUR=1 those of README are taken anew: docs/tour-*.png,
 * with a palette, since they lie in the repository.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test, type Page } from '@playwright/test';
import { toPalette } from '../tools/palette-png.ts';
import { Guest, noise, Server, startHostHttp } from './guest.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SITE = `<!doctype html><meta charset=utf-8><style>body{font:16px system-ui;margin:0;display:grid;place-items:center;min-height:100vh;background:linear-gradient(160deg,#eaf6fa,#fff)}
main{max-width:26em;padding:2em}h1{font-size:30px;margin:0 0 .4em;color:#086a80}</style><main><h1>Hello from the container</h1><p>This page is served by httpd in BusyBox, in this tab, and comes through the relay.</p></main>`;

const server = new Server();

test.beforeAll(() => server.start());
test.afterAll(() => server.stop());

async function picture(page: Page, name: string): Promise<void> {
  const path = join(ROOT, '.cache/screenshots', `tour-${name}.png`);
  // Of a cursor that blinks there would be two pictures.
  await page.screenshot({ path, animations: 'disabled' });
  if (process.env['PORTSIDE_TOUR'] !== undefined) writeFileSync(join(ROOT, 'docs', `tour-${name}.png`), toPalette(readFileSync(path)));
}

async function online(guest: Guest): Promise<void> {
  await guest.open(`${server.url}?image=busybox`);
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
}

test('a website in the container, opened beside its terminal', async ({ browser }) => {
  const page = await browser.newPage({ colorScheme: 'dark', viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
  const guest = new Guest(page);
  await online(guest);
  await guest.run(`mkdir -p /srv; echo ${Buffer.from(SITE).toString('base64')} | base64 -d >/srv/index.html`);
  await guest.write('clear\n');
  await guest.waitFor(/^busybox:~# ?$/);
  await guest.write('ls -l /srv\nhttpd -h /srv -p 8080\n');
  await expect(page.locator('#ports-count')).toHaveText('1');
  await page.locator('#ports-button').click();
  await page.locator('.port-item').getByRole('button', { name: 'Open' }).click();
  await page.locator('.port-item').getByRole('button', { name: 'Here' }).click();
  await expect(page.frameLocator('#port-card iframe').getByRole('heading')).toHaveText('Hello from the container');
  await page.locator('#ports-button').click();
  await expect(page.locator('.port-item').getByRole('button', { name: 'Close' })).toBeVisible();
  await picture(page, 'ports');
  await page.close();
});

test('what the network carries', async ({ browser }) => {
  const page = await browser.newPage({ colorScheme: 'light', viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
  const guest = new Guest(page);
  const host = await startHostHttp(noise(4_000_000));
  await online(guest);
  await guest.write('clear\n');
  await guest.waitFor(/^busybox:~# ?$/);
  await guest.write(`wget -O file http://host.containers.internal:${host.port}/ && sha256sum file\nsleep 300 | nc host.containers.internal ${host.port} &\nnslookup gateway.containers.internal\n`);
  await guest.waitFor(/ {2}file$/m, 60_000);
  await page.locator('#net-chip').click();
  await expect(page.getByRole('dialog', { name: 'Network' }).getByText('TCP · established').first()).toBeVisible();
  await page.getByRole('button', { name: 'Start a capture' }).click();
  await expect(page.getByRole('button', { name: 'Stop and save' })).toBeVisible();
  await picture(page, 'network');
  await page.close();
  await host.close();
});

test('a phone', async ({ browser }) => {
  const page = await browser.newPage({ colorScheme: 'dark', viewport: { width: 390, height: 844 }, hasTouch: true, reducedMotion: 'reduce' });
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=debian`);
  await guest.waitFor(/[#$] ?$/m);
  await guest.write('clear\n');
  await guest.waitFor(/^[^\n]*# ?$/);
  await guest.write('grep -E "^(NAME|VERSION)=" /etc/os-release\nuname -m\ndf -h / | tail -1\n');
  await guest.waitFor(/^riscv64$/m);
  await guest.waitFor(/% \/\n[^\n]*# ?$/);
  await picture(page, 'phone');
  await page.close();
});
