/* A container's web server in a frame with its scripts: what they can do, and what they can't. The network is the page's own. */
import { readFileSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test, type BrowserContext, type FrameLocator, type Page } from '@playwright/test';
import { CHROMIUM_LAUNCH } from './chromium.ts';
import { Guest, Server, sha256 } from './guest.ts';
import { StaticServer } from './static-server.ts';

// Playwright switches the partitioning of storage off, without which no service worker is let into a frame of another site; the last such flag wins.
test.use({ launchOptions: { ...CHROMIUM_LAUNCH, args: [...CHROMIUM_LAUNCH.args, '--disable-features=PaintHolding'] } });
test.describe.configure({ mode: 'serial' });

const FRAME = '.port-card-frame';
const FILES: Record<string, string> = {
  'index.html': '<!doctype html><title>before</title><img id=dot src=/dot.svg><pre id=out></pre><a id=sub href=/sub>sub</a><form method=post action=/cgi-bin/echo><input name=word value=hello><button>Send</button></form><script type=module src=/app.js></script>',
  'sub/index.html': '<!doctype html><p id=s>below</p><script>document.getElementById("s").textContent += " " + location.pathname</script><a id=away href=http://127.0.0.1:PAGE_PORT/>away</a>',
  'dot.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"/>',
  'lib.js': 'export const word = "by the container";',
  // What it tries is told by what became of it.
  'app.js': `
    import { word } from './lib.js';
    document.title = word;
    const tried = async (name, action) => { results[name] = await Promise.resolve().then(action).then((value) => 'did ' + value, (error) => error.name); };
    const results = {};
    results.get = await (await fetch('/cgi-bin/echo?a=1')).json();
    results.post = await (await fetch('cgi-bin/echo', { method: 'POST', body: JSON.stringify({ b: 2 }), headers: { 'Content-Type': 'application/json', 'X-Mine': '3' } })).json();
    results.worker = await new Promise((resolve) => { new Worker('worker.js').onmessage = ({ data }) => resolve(data); });
    results.cookie = document.cookie;
    await tried('parent', () => parent.parent.document.title);
    await tried('portside', () => parent.parent.portside.screen());
    await tried('top', () => { top.location = '/'; });
    await tried('service worker', async () => (await navigator.serviceWorker.register('/lib.js')).scope);
    for (const page of ['http://localhost:PAGE_PORT', 'http://127.0.0.1:PAGE_PORT']) {
      await tried('health ' + page, async () => (await fetch(page + '/api/health')).status);
      await tried('blind ' + page, async () => (await fetch(page + '/', { mode: 'no-cors' })).type);
      await tried('session ' + page, async () => (await fetch(page + '/api/session', { method: 'POST' })).status);
      await tried('image ' + page, () => new Promise((resolve, reject) => { const image = new Image(); image.onload = resolve; image.onerror = () => reject(new Error()); image.src = page + '/favicon.svg'; }));
      await tried('link ' + page, () => new Promise((resolve, reject) => { const socket = new WebSocket(page.replace('http', 'ws') + '/link', 'portside.v1'); socket.onopen = resolve; socket.onerror = () => reject(new Error()); }));
    }
    document.getElementById('out').textContent = JSON.stringify(results);`,
  'worker.js': 'fetch("/cgi-bin/echo?w").then((response) => response.json()).then(({ query }) => postMessage(query))',
};
const CGI = '#!/bin/sh\nprintf "Content-Type: application/json\\r\\nSet-Cookie: seen=1; Path=/\\r\\n\\r\\n"\nread -r body\n'
  + 'echo "{\\"method\\":\\"$REQUEST_METHOD\\",\\"query\\":\\"$QUERY_STRING\\",\\"body\\":\\"$(echo "$body" | tr -d \'\\042\')\\",\\"mine\\":\\"$HTTP_X_MINE\\",\\"cookie\\":\\"$HTTP_COOKIE\\"}"\n';

let relay: Server;
let context: BrowserContext;
let page: Page;
let guest: Guest;

/** The container's document: in the bootstrap's frame, in the page's. */
const inside = (where = page): FrameLocator => where.frameLocator(FRAME).frameLocator('iframe');

async function serveSite(at: Guest, pagePort: number): Promise<void> {
  const site = { ...FILES, 'cgi-bin/echo': CGI };
  await at.run('mkdir -p /www/sub /www/cgi-bin; cd /www');
  for (const [path, text] of Object.entries(site)) {
    const code = Buffer.from(text.replaceAll('PAGE_PORT', String(pagePort))).toString('base64');
    // A shell reads a line of 1024 characters.
    for (const part of code.match(/.{1,800}/g)!) await at.run(`echo ${part} >> ${path}.64`);
    await at.run(`base64 -d < ${path}.64 > ${path}`);
  }
  await at.run('chmod +x cgi-bin/echo; httpd -p 80 -h /www');
}

test.beforeAll(async ({ browser }) => {
  relay = new Server();
  await relay.start();
  context = await browser.newContext();
  page = await context.newPage();
  guest = new Guest(page);
  await guest.open(`${relay.url}?image=busybox&net=browser`);
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.3/24');
  await serveSite(guest, relay.port);
});

test.afterAll(async () => {
  await context.close();
  await relay.stop();
});

test('scripts run: modules, images, a worker, GET and POST of its API, a form, links', async () => {
  await page.locator('#ports-button').click();
  const panel = page.getByRole('dialog', { name: 'Ports' });
  await panel.locator('.port-item').filter({ hasText: '80' }).getByRole('button', { name: 'Here' }).click();
  await expect(inside().locator('#out')).toContainText('"link http://127.0.0.1');
  const results = JSON.parse(await inside().locator('#out').innerText()) as Record<string, unknown>;
  expect(results['get']).toMatchObject({ method: 'GET', query: 'a=1' });
  expect(results['post']).toEqual({ method: 'POST', query: '', body: '{b:2}', mine: '3', cookie: 'seen=1' });
  expect([results['worker'], results['cookie']]).toEqual(['w', '']);
  expect(await inside().locator('html').evaluate(() => document.title)).toBe('by the container');
  expect(await inside().locator('#dot').evaluate((image) => (image as HTMLImageElement).naturalWidth)).toBe(20);
  await expect(page.locator('.port-card-kind')).toBeHidden();
  await inside().locator('button').click();
  await expect(inside().locator('body')).toContainText('word=hello');
  await page.locator('.port-card-path').fill('/');
  await page.locator('.port-card-path').press('Enter');
  // The server redirects to /sub/.
  await inside().locator('#sub').click();
  await expect(inside().locator('#s')).toHaveText('below /sub/');
  await expect(page.locator('.port-card-path')).toHaveValue('/sub/');
  const axe = await new AxeBuilder({ page }).include('#port-card').exclude(FRAME).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']).analyze();
  expect(axe.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`)).toEqual([]);
});

test('and reach nothing but their container: not the page, not the relay, no other origin', async () => {
  await page.locator('.port-card-path').fill('/');
  await page.locator('.port-card-path').press('Enter');
  await expect(inside().locator('#out')).toContainText('"link http://127.0.0.1');
  const { get: _get, post: _post, worker: _worker, cookie: _cookie, ...tried } = JSON.parse(await inside().locator('#out').innerText()) as Record<string, string>;
  expect(Object.keys(tried).length).toBe(14);
  expect(Object.entries(tried).filter(([, became]) => became.startsWith('did '))).toEqual([]);
  // A link that leads elsewhere leads nowhere.
  await inside().locator('#sub').click();
  await inside().locator('#away').click();
  await expect.poll(() => page.frames().at(-1)!.url()).toContain('chrome-error:');
  expect(page.url()).toContain(relay.url);
});

test('the container\'s origin is another site than the page, and new each time', async () => {
  const source = await page.locator(FRAME).getAttribute('src');
  expect(source).toMatch(/^http:\/\/80-[0-9a-f-]{36}\.localhost:\d+\/portside-frame\.html$/);
  // In Chromium a process of its own, therefore.
  const cdp = await context.newCDPSession(page);
  const { targetInfos } = await cdp.send('Target.getTargets');
  expect(targetInfos.filter(({ type, url }) => type === 'iframe' && url === source).length).toBe(1);
  await cdp.detach();
  await page.locator('#port-card').getByRole('button', { name: 'Close' }).click();
  await expect(page.locator('#port-card')).toBeHidden();
  await page.evaluate(() => (globalThis as unknown as { portside: { showPort(port: number): void } }).portside.showPort(80));
  await expect(inside().locator('#out')).toContainText('"link http://127.0.0.1');
  expect(await page.locator(FRAME).getAttribute('src')).not.toBe(source);
});

test('a large file comes whole', async () => {
  const { output } = await guest.run('head -c 12000000 /dev/urandom > /www/big; sha256sum < /www/big', 110_000);
  const hash = await inside().locator('body').evaluate(async () => {
    const digest = await crypto.subtle.digest('SHA-256', await (await fetch('/big')).arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  });
  expect(`${hash}  -`).toBe(output);
});

test('an upload arrives whole', async () => {
  await guest.run(`printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n"\\nhead -c $CONTENT_LENGTH | sha256sum\\n' > /www/cgi-bin/sum; chmod +x /www/cgi-bin/sum`);
  const sent = new Uint8Array(700_000).map((_, i) => (i * 7) >> 3);
  const received = await inside().locator('body').evaluate(async () => (await fetch('/cgi-bin/sum', { method: 'POST', body: new Uint8Array(700_000).map((_, i) => (i * 7) >> 3) })).text());
  expect(received.trim()).toBe(`${sha256(sent)}  -`);
});

test('a page of somebody else that frames it gets nothing, and opened by itself it shows nothing', async () => {
  const url = (await page.locator(FRAME).getAttribute('src'))!;
  const foreign: HttpServer = createServer((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.end(`<script>heard = []; onmessage = ({ data }) => heard.push(data)</script><iframe src="${url}" onload="loaded = true"></iframe>`);
  });
  await new Promise<void>((resolve) => foreign.listen(0, '127.0.0.1', resolve));
  const other = await context.newPage();
  await other.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`);
  await expect.poll(() => other.evaluate(() => (globalThis as unknown as { loaded?: boolean }).loaded)).toBe(true);
  expect(other.frames()[1].url()).toContain('chrome-error:');
  expect(await other.evaluate(() => (globalThis as unknown as { heard: unknown[] }).heard)).toEqual([]);
  await other.goto(url);
  await expect(other.locator('body')).toContainText('in frames of its page');
  await other.close();
  foreign.closeAllConnections();
  foreign.close();
});

test('on static servers, as docs/hosting.md says: one for the page, one for frames; that it must say which page it is for', async () => {
  const [site, frames] = [await StaticServer.start('/demo/'), await StaticServer.start('/')];
  site.meta = `<meta name="portside-frame-origin" content="${frames.origin.replace('localhost', '*.localhost')}">`;
  const required = { 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'cross-origin' };
  frames.headers = { ...required, 'Content-Security-Policy': `frame-ancestors ${site.origin}` };
  const at = new Guest(await context.newPage());
  await at.page.goto(`${site.url}?image=busybox&net=browser`);
  await expect.poll(() => at.state().catch(() => 'reloading'), { timeout: 60_000 }).toBe('running');
  await serveSite(at, relay.port);
  const show = (): Promise<void> => at.page.evaluate(() => (globalThis as unknown as { portside: { showPort(port: number): void } }).portside.showPort(80));
  await show();
  await expect(inside(at.page).locator('#out')).toContainText('"link http://127.0.0.1');
  // The script of a service worker always comes from the server: the container's page can't have one of its own.
  expect(frames.requests.filter((path) => !path.startsWith('/portside-frame'))).toEqual(['/lib.js']);
  // One that any page may frame serves none.
  frames.headers = required;
  await at.page.locator('#port-card').getByRole('button', { name: 'Close' }).click();
  await show();
  await expect(at.page.locator('.port-card-kind')).toBeVisible();
  await expect(at.page.locator('.port-card-kind')).toHaveAttribute('title', /frame-ancestors/);
  await expect(at.page.frameLocator(FRAME).locator('#dot')).toBeVisible();
  expect(await at.page.frameLocator(FRAME).locator('html').evaluate(() => document.title)).toBe('before');
  // One that is not there.
  await frames.stop();
  await at.page.reload();
  await at.ready();
  await at.run(`mkdir /www; echo '<p id=p>no scr''ipts</p>' > /www/index.html; httpd -p 80 -h /www`);
  await show();
  await expect(at.page.frameLocator(FRAME).locator('#p')).toHaveText('no scripts');
  await expect(at.page.locator('.port-card-kind')).toHaveAttribute('title', /does not answer/);
  await at.page.close();
  await site.stop();
});

test('portside.js: frameUrl is for a frame of anybody\'s page', async () => {
  const mine = await context.newPage();
  await mine.goto(`${relay.url}embed.html`);
  const url = await mine.evaluate(async () => {
    interface Module { startContainer(options: object): Promise<{ write(text: string): void; waitForText(text: string): Promise<unknown>; frameUrl(port: number): Promise<string> }> }
    const { startContainer } = await import(new URL('./portside.js', location.href).href) as Module;
    const container = await startContainer({ image: 'busybox', net: 'browser' });
    container.write(`mkdir /www; echo '<p id=p></p><script>p.textContent = "it ru" + "ns"</script>' > /www/index.html; httpd -p 80 -h /www && echo serv''ing\n`);
    await container.waitForText('serving');
    const frame = document.createElement('iframe');
    frame.id = 'mine';
    frame.src = await container.frameUrl(80);
    document.body.append(frame);
    return frame.src;
  });
  expect(url).toMatch(/^http:\/\/80-[0-9a-f-]{36}\.localhost:\d+\/portside-frame\.html$/);
  await expect(mine.frameLocator('#mine').frameLocator('iframe').locator('#p')).toHaveText('it runs');
  await mine.close();
});

test('what a frame loads of ours is whole in two files, below 4 KiB compressed', () => {
  for (const [name, bytesMax] of [['portside-frame.js', 1100], ['portside-frame-worker.js', 2600]] as const) {
    const script = readFileSync(new URL(`../dist/web/${name}`, import.meta.url), 'utf8');
    expect(script).not.toMatch(/\bimport\b/);
    expect(gzipSync(script).length).toBeLessThan(bytesMax);
  }
});
