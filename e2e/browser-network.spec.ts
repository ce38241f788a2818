/* The network in the page: the built page on a server that sends files and nothing else, and no relay anywhere. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test, type BrowserContext } from '@playwright/test';
import { aptSetupCommand, buildAptRepository } from '../image/apt-repo.ts';
import { Guest, noise, Server, sha256 } from './guest.ts';
import { StaticServer } from './static-server.ts';

test.describe.configure({ mode: 'serial' });

const file = noise(5 << 20);
let site: StaticServer;
let files: HttpServer;
let filesPort = 0;
let context: BrowserContext;
let guest: Guest;

test.beforeAll(async ({ browser }) => {
  site = await StaticServer.start('/');
  // Another server, which lets every page read what it has, but for /closed.
  files = createServer((request, response) => {
    if (request.url !== '/closed') response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Allow-Methods', 'GET, PUT');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    if (request.method === 'GET') return void response.end(file);
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
  });
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
  filesPort = (files.address() as AddressInfo).port;
  // Of the https server below; what the container trusts is another matter.
  context = await browser.newContext({ ignoreHTTPSErrors: true });
  guest = new Guest(await context.newPage());
  await guest.page.goto(`${site.url}?image=debian`);
  await expect.poll(() => guest.state().catch(() => 'reloading'), { timeout: 60_000 }).toBe('running');
  await guest.waitFor(/[#$] ?$/m);
});

test.afterAll(async () => {
  await context.close();
  await site.stop();
  files.closeAllConnections();
  files.close();
});

test('without a relay the page has a network, and says which', async () => {
  await expect(guest.page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  await expect(guest.page.getByTestId('net-state')).toContainText('Browser only');
  await guest.page.getByTestId('net-state').click();
  await expect(guest.page.locator('#net-panel')).toContainText('There is no relay at the server of this page.');
  await guest.page.keyboard.press('Escape');
  await expect.poll(async () => (await guest.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.3/24');
});

test('curl and wget bring files whole: of this computer, and of the page\'s own server', async () => {
  expect((await guest.run(`curl -s http://host.containers.internal:${filesPort}/file | sha256sum`)).output).toBe(`${sha256(file)}  -`);
  const own = `http://localhost:${new URL(site.url).port}/favicon.svg`;
  const expected = sha256(new Uint8Array(await (await fetch(own)).arrayBuffer()));
  expect((await guest.run(`curl -s -x http://192.168.127.254:3128 ${own} | sha256sum`)).output).toBe(`${expected}  -`);
});

test('an upload arrives intact', async () => {
  const { output } = await guest.run(`head -c 3000000 /dev/urandom > /tmp/up; sha256sum < /tmp/up; curl -s -T /tmp/up http://192.168.127.254:${filesPort}/up`);
  const [sent, received] = output.split('  -\n');
  expect([sent.length, received]).toEqual([64, sent]);
});

test('HTTPS: the container trusts what the page is for it, and gets the file whole', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'portside-https-'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const server = createHttpsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) => void response.writeHead(200, { 'Access-Control-Allow-Origin': '*' }).end(file));
  rmSync(dir, { recursive: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `https://host.containers.internal:${(server.address() as AddressInfo).port}/file`;
  expect((await guest.run(`curl -sS ${url} | sha256sum`)).output).toBe(`${sha256(file)}  -`);
  // By the container's own bundle, as apt does, and by nobody's.
  expect((await guest.run(`env -i curl -sS ${url} | sha256sum`)).output).toBe(`${sha256(file)}  -`);
  expect((await guest.run(`env -i curl -sS --cacert /dev/null ${url} | sha256sum`)).output).not.toContain(sha256(file));
  server.closeAllConnections();
  server.close();
});

test('apt-get installs a package, from a server that allows CORS', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-apt-'));
  await buildAptRepository(folder);
  const packages = new Map(readdirSync(folder).map((name) => [`/${name}`, readFileSync(join(folder, name))]));
  rmSync(folder, { recursive: true });
  const repository = createServer((request, response) => {
    const body = packages.get((request.url ?? '').replace('/./', '/'));
    response.writeHead(body === undefined ? 404 : 200, { 'Access-Control-Allow-Origin': '*' }).end(body);
  });
  await new Promise<void>((resolve) => repository.listen(0, '127.0.0.1', resolve));
  await guest.run(aptSetupCommand(`http://192.168.127.254:${(repository.address() as AddressInfo).port}`));
  const installed = await guest.run('apt-get update && apt-get install -y figlet', 110_000);
  repository.closeAllConnections();
  repository.close();
  expect(installed.status, installed.output).toBe(0);
  expect((await guest.run('figlet hello')).output).toContain('|_| |_|\\___|_|_|\\___/');
});

test('what CORS forbids is an answer that says so, and what is no HTTP is refused at once', async () => {
  const { output } = await guest.run(`curl -s -w '%{http_code}' http://192.168.127.254:${filesPort}/closed`);
  expect(output).toContain('Access-Control-Allow-Origin');
  expect(output.slice(-3)).toBe('502');
  expect((await guest.run('curl -sS --max-time 20 telnet://192.168.127.254:22 </dev/null')).status).toBe(7);
  expect((await guest.run('getent hosts no-such-name.invalid')).status).toBe(2);
});

test('a web server in the container opens in a frame: text, images, absolute links, no scripts', async () => {
  const page = await context.newPage();
  const server = new Guest(page);
  await server.open(`${site.url}?image=busybox&net=browser&ports=80`);
  await expect(page.locator('.port-card-note')).toContainText('Nothing answers there yet');
  await server.run([
    'mkdir -p /www/sub', 'cd /www',
    `printf '<h1 id=t>from the cont''ainer</h1><img src=dot.svg><img src=/dot.svg><a id=abs href=/sub/>there</a><script>document.title="owned"</script>' > index.html`,
    `printf '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"/>' > dot.svg`,
    `printf '<p id=s>below</p><a id=up href=../index.html>up</a><form method=post action=../cgi-bin/echo><input name=word value=hello><button>Send</button></form>' > sub/index.html`,
    'mkdir cgi-bin', `printf '#!/bin/sh\\nprintf "Content-Type: text/html\\\\r\\\\nSet-Cookie: seen=1; Path=/\\\\r\\\\n\\\\r\\\\n"\\nread -r body\\necho "<p id=got>$body, $HTTP_COOKIE</p><a href=/sub/>again</a>"\\n' > cgi-bin/echo`,
    'chmod +x cgi-bin/echo', 'httpd -p 80 -h /www',
  ].join('; '));
  const frame = page.frameLocator('.port-card-frame');
  await expect(frame.locator('#t')).toHaveText('from the container');
  await expect.poll(() => frame.locator('img').evaluateAll((images) => images.map((image) => (image as HTMLImageElement).naturalWidth))).toEqual([20, 20]);
  expect(await page.locator('.port-card-frame').evaluate((element) => (element as HTMLIFrameElement).contentDocument?.title)).toBe('');
  await expect(page.locator('.port-card-kind')).toBeVisible();
  await expect(page.locator('.port-card-kind')).toHaveAttribute('title', /no origin for frames/);
  await frame.locator('#abs').click();
  await expect(frame.locator('#s')).toHaveText('below');
  await expect(page.locator('.port-card-path')).toHaveValue('/sub/');
  // A form, and a cookie that the browser never sees.
  for (const cookie of ['', 'seen=1']) {
    await frame.locator('button').click();
    await expect(frame.locator('#got')).toHaveText(`word=hello, ${cookie}`.trim());
    await frame.locator('a').click();
    await expect(frame.locator('#s')).toHaveText('below');
  }
  expect(await page.evaluate(() => document.cookie)).toBe('');
  await frame.locator('#up').click();
  await expect(frame.locator('#t')).toHaveText('from the container');
  // What is in the frame is the container's.
  const axe = await new AxeBuilder({ page }).include('#port-card').exclude('.port-card-frame').withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']).analyze();
  expect(axe.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`)).toEqual([]);
  // In a tab of its own it has no scripts either.
  const url = await page.evaluate(() => (globalThis as unknown as { portside: { openPort(port: number): Promise<string> } }).portside.openPort(80));
  const tab = await context.newPage();
  await tab.goto(url);
  await expect(tab.locator('#t')).toHaveText('from the container');
  expect(await tab.title()).toBe('');
  await tab.close();
  await page.close();
});

test('tabs of one origin share a network: ping, wget, a frame; and it outlives the tab that was its gateway', async () => {
  const url = `${site.url}?image=busybox&net=browser=lab`;
  const [a, b, c] = [new Guest(await context.newPage()), new Guest(await context.newPage()), new Guest(await context.newPage())];
  for (const [i, tab] of [a, b, c].entries()) {
    await tab.open(url);
    await expect.poll(async () => (await tab.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain(`192.168.127.${3 + i}/24`);
  }
  await b.run(`mkdir /www; printf '<h1 id=t>of b</h1>' > /www/index.html; httpd -p 80 -h /www`);
  expect((await a.run('ping -c 2 -W 10 192.168.127.4')).status).toBe(0);
  expect((await a.run('wget -q -O - http://192.168.127.4/')).output).toContain('of b');
  // What the second tab fetches goes out by the first one.
  expect((await b.run(`wget -q -O - http://192.168.127.254:${filesPort}/file | sha256sum`)).output).toBe(`${sha256(file)}  -`);
  await b.page.evaluate(() => (globalThis as unknown as { portside: { showPort(port: number): void } }).portside.showPort(80));
  await expect(b.page.frameLocator('.port-card-frame').locator('#t')).toHaveText('of b');
  await a.page.close();
  expect((await c.run('wget -q -O - http://192.168.127.4/')).output).toContain('of b');
  expect((await c.run(`wget -q -O - http://192.168.127.254:${filesPort}/file | sha256sum`)).output).toBe(`${sha256(file)}  -`);
  await b.page.close();
  await c.page.close();
});

test('a page of a relay loads the stack only when it is asked for, and then does without the relay', async ({ page }) => {
  const relay = new Server();
  await relay.start();
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const at = new Guest(page);
  await at.open(`${relay.url}?image=busybox`);
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  await expect(page.getByTestId('net-state')).toContainText('Online');
  expect(asked.filter((path) => path.includes('browser-link'))).toEqual([]);
  await at.open(`${relay.url}?image=busybox&net=browser`);
  await expect(page.getByTestId('net-state')).toContainText('Browser only');
  await expect.poll(async () => (await at.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.3/24');
  await at.run(`mkdir /www; printf '<h1 id=t>by the relay</h1>' > /www/index.html; httpd -p 80 -h /www`);
  await page.evaluate(() => (globalThis as unknown as { portside: { showPort(port: number): void } }).portside.showPort(80));
  await expect(page.frameLocator('.port-card-frame').locator('#t')).toHaveText('by the relay');
  // As Playwright sets Chromium up it keeps service workers out of frames of another site: frames.spec.ts is the other case.
  await expect(page.locator('.port-card-kind')).toBeVisible();
  await expect(page.locator('.port-card-kind')).toHaveAttribute('title', /Service ?Worker/);
  // The relay would take a container's request for the page's.
  const { output } = await at.run(`wget -S -O - --post-data x http://192.168.127.254:${relay.port}/api/session 2>&1 | grep HTTP/`);
  expect(output).toContain('403');
  await page.goto('about:blank');
  await relay.stop();
});

test('below a folder of its origin: absolute links and images', async ({ page }) => {
  const folder = await StaticServer.start('/some/demo/');
  const at = new Guest(page);
  await page.goto(`${folder.url}?image=busybox`);
  await expect.poll(() => at.state().catch(() => 'reloading'), { timeout: 60_000 }).toBe('running');
  await at.run([
    'mkdir -p /www/sub', `printf '<img src=/dot.svg><a id=abs href=/sub>there</a>' > /www/index.html`, `printf '<p id=s>below</p><a id=home href="/">home</a>' > /www/sub/index.html`,
    `printf '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"/>' > /www/dot.svg`, 'httpd -p 8080 -h /www',
  ].join('; '));
  await page.evaluate(() => (globalThis as unknown as { portside: { showPort(port: number): void } }).portside.showPort(8080));
  const frame = page.frameLocator('.port-card-frame');
  await expect.poll(() => frame.locator('img').evaluate((image) => (image as HTMLImageElement).naturalWidth)).toBe(20);
  // The server redirects to /sub/.
  await frame.locator('#abs').click();
  await expect(frame.locator('#s')).toHaveText('below');
  await expect(page.locator('.port-card-path')).toHaveValue('/sub/');
  await frame.locator('#home').click();
  await expect(frame.locator('#abs')).toHaveText('there');
  await page.goto('about:blank');
  await folder.stop();
});
