/* portside/web on other people's pages: the element, the module, and the page that shows both. */
import { createServer, type Server as HttpServer } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test, type Page } from '@playwright/test';
import { Server } from './guest.ts';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const TYPES: Record<string, string> = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json' };
/** somebody's page, which knows nothing of us but an address */
const PAGE = `<!doctype html><html lang="en"><title>Mine</title><body><script type="module" src="/vendor/portside/portside.js"></script>
<portside-terminal style="height: 300px" image="busybox" net="none" cmd="sh -c 'echo from the el''ement; cat'"></portside-terminal></body></html>`;

const relay = new Server();
let site: HttpServer;
let url: string;

test.beforeAll(async () => {
  await relay.start();
  site = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://x');
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    if (pathname === '/') return void response.setHeader('content-type', 'text/html').end(PAGE);
    const name = normalize(pathname.replace('/vendor/portside/', ''));
    const file = join(DIST, name.startsWith('images/') ? name : join('web', name));
    if (name.startsWith('..') || !existsSync(file)) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
  });
  await new Promise<void>((resolve) => site.listen(0, 'localhost', resolve));
  url = `http://localhost:${(site.address() as AddressInfo).port}/`;
});

test.afterAll(async () => {
  site.closeAllConnections();
  site.close();
  await relay.stop();
});

interface Element {
  container: { text: string; state: string; write(text: string): boolean; waitForText(pattern: string): Promise<unknown>; exited: Promise<number> } | null;
}
const text = (page: Page): Promise<string> => page.evaluate(() => (document.querySelector('portside-terminal') as unknown as Element).container?.text ?? '');

test('the element runs a container on a page of somebody else, and ends it with the page', async ({ page }) => {
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(url);
  await expect.poll(() => text(page)).toContain('from the element');
  // Keys go to it, and its terminal shows what comes.
  await page.locator('portside-terminal').click();
  await page.keyboard.type('typed\n');
  await expect.poll(async () => (await text(page)).match(/typed/g)?.length).toBe(2);
  await expect(page.locator('portside-terminal .xterm-rows')).toContainText('from the element');
  const states = await page.evaluate(async () => {
    const element = document.querySelector('portside-terminal')!;
    const seen: string[] = [];
    element.addEventListener('portside-state', (event) => seen.push((event as CustomEvent<{ state: string; exitCode?: number }>).detail.state));
    element.setAttribute('cmd', "sh -c 'exit 4'");
    await new Promise<void>((resolve) => element.addEventListener('portside-state', (event) => {
      if ((event as CustomEvent<{ state: string; exitCode?: number }>).detail.exitCode === 4) resolve();
    }));
    element.remove();
    return [...seen, String((element as unknown as Element).container)];
  });
  expect(states[0]).toBe('loading');
  expect(states.slice(-2)).toEqual(['exited', 'null']);
  expect(errors).toEqual([]);
});

test('startContainer: write, wait, status; and an Error that says what is wrong', async ({ page }) => {
  await page.goto(url);
  const result = await page.evaluate(async () => {
    const path = '/vendor/portside/portside.js';
    const { startContainer } = await import(path) as { startContainer(options: unknown): Promise<NonNullable<Element['container']>> };
    const container = await startContainer({ image: 'busybox', net: 'none', cmd: ['sh', '-c', 'echo what; read x; echo "got $x"; exit 6'] });
    container.write('this\n');
    await container.waitForText('got this');
    const status = await container.exited;
    const late = await container.waitForText('never').catch((error: Error) => error.message);
    const wrong = await startContainer({ image: 'no-such' }).catch((error: Error) => error.message);
    const net = await startContainer({ image: 'busybox', net: 'pigeon' }).catch((error: Error) => error.message);
    return { status, late, wrong, net };
  });
  expect(result.status).toBe(6);
  expect(result.late).toMatch(/ended \(exited\) without/);
  expect(result.wrong).toMatch(/no image .no-such/);
  expect(result.net).toMatch(/no such network/);
});

test('startContainer: ports that listen are told, opened on the relay\'s computer, and closed; its network can be looked at; resize', async ({ page }) => {
  // On the relay's own origin, for that alone opens ports.
  await page.goto(`${relay.url}embed.html`);
  const result = await page.evaluate(async () => {
    interface Module {
      startContainer(options: object): Promise<NonNullable<Element['container']> & {
        openPort(port: number): Promise<{ host: string }>; closePort(port: object): Promise<void>; resize(cols: number, rows: number): void; stop(): void; stats(): { uptimeMs: number };
        network: { leases(): Promise<{ ip: string }[]>; flows(): Promise<{ total: number }> };
      }>;
    }
    const path = './portside.js';
    const { startContainer } = await import(new URL(path, location.href).href) as Module;
    let told = (_ports: unknown): void => undefined;
    const listening = new Promise((resolve) => { told = (ports) => { if ((ports as unknown[]).length > 0) resolve(ports); }; });
    const container = await startContainer({ image: 'busybox', onPorts: (ports: unknown) => told(ports) });
    await container.waitForText('# ');
    const opened = await container.openPort(8080);
    container.write('echo served >/tmp/index.html; httpd -h /tmp -p 8080\n');
    const ports = await listening;
    container.resize(100, 31);
    container.write('until [ "$(stty size)" = "31 100" ]; do :; done; stty size\n');
    await container.waitForText('31 100');
    return { ports, opened, leases: await container.network.leases(), uptime: container.stats().uptimeMs, keep: Object.assign(globalThis, { container, opened }) !== null };
  });
  expect(result.ports).toEqual([{ port: 8080, local: false }]);
  expect(result.uptime).toBeGreaterThan(0);
  expect(result.leases.map(({ ip }) => ip)).toContain('192.168.127.1');
  await expect.poll(async () => (await fetch(`http://${result.opened.host}/`)).text().catch(String)).toBe('served\n');
  await page.evaluate(() => {
    const { container, opened } = globalThis as unknown as { container: { closePort(port: object): Promise<void> }; opened: object };
    return container.closePort(opened);
  });
  await expect(fetch(`http://${result.opened.host}/`)).rejects.toThrow();
});

test('<portside-terminal ports>: each is opened when the network is up, and told with its address; what is no port, with an error', async ({ page }) => {
  await page.goto(`${relay.url}embed.html`);
  const told = await page.evaluate(() => new Promise<{ port: number; url?: string; error?: Error }[]>((resolve) => {
    const element = document.createElement('portside-terminal');
    const details: { port: number; url?: string; error?: Error }[] = [];
    element.addEventListener('portside-port', (event) => {
      if (details.push((event as CustomEvent<{ port: number }>).detail) === 2) resolve(details);
    });
    element.setAttribute('image', 'busybox');
    element.setAttribute('cmd', "sh -c 'echo from the element >/tmp/index.html; httpd -f -h /tmp -p 80'");
    element.setAttribute('ports', '80, 123456');
    document.querySelector('portside-terminal')!.replaceWith(element);
  }));
  expect(told.find(({ port }) => port === 123_456)?.error).toBeDefined();
  const served = told.find(({ port }) => port === 80)!.url!;
  expect(served).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  await expect.poll(() => fetch(served).then((response) => response.text(), String)).toBe('from the element\n');
});

test('bare elements show terminals of one container; looks change as they are; what is typed can be kept from it', async ({ page }) => {
  await page.goto(url);
  await page.evaluate(async () => {
    const path = '/vendor/portside/portside.js';
    const { Container } = await import(path) as typeof import('../web/embed/portside.ts');
    document.body.innerHTML = '';
    const [first, second] = ['first', 'second'].map((id) => {
      const element = document.createElement('portside-terminal');
      element.setAttribute('bare', '');
      element.setAttribute('style', 'height: 200px');
      element.id = id;
      document.body.append(element);
      return element;
    });
    const container = new Container({ image: 'busybox', net: 'none', terminal: first });
    await container.ready;
    await container.waitForText('# ');
    const closed = new Promise<void>((resolve) => {
      const line = container.openTerminal({ terminal: second, onClosed: resolve });
      if (line?.number !== 2) throw new Error('no second terminal');
    });
    Object.assign(globalThis, { container, hasClosed: closed, first, second });
  });
  const screen = (id: string): Promise<string> => page.evaluate((name) => document.querySelector<import('../web/embed/portside.ts').PortsideTerminal>(`#${name}`)!.screen(), id);
  await expect.poll(() => screen('second')).toContain('#');
  await page.locator('#second').click();
  await page.keyboard.type('tty; echo se"cond"\n');
  await expect.poll(() => screen('second')).toMatch(/^second$/m);
  await page.locator('#first').click();
  await page.keyboard.type('echo fi"rst"\n');
  await expect.poll(() => screen('first')).toMatch(/^first$/m);
  expect(await screen('first')).not.toContain('second');

  // Each as it was told, and none anew.
  const size = (): Promise<number> => page.locator('#first .xterm-rows').evaluate((rows) => parseFloat(getComputedStyle(rows).fontSize));
  await page.evaluate(() => {
    const { first } = globalThis as unknown as { first: import('../web/embed/portside.ts').PortsideTerminal };
    first.setAttribute('font-size', '20');
    first.settings = { theme: 'dark' };
    first.addEventListener('portside-input', (event) => event.preventDefault(), { once: true });
  });
  await expect.poll(size).toBe(20);
  expect(await page.locator('#first').evaluate((element) => [getComputedStyle(element).colorScheme, element.getAttribute('theme')])).toEqual(['dark', 'dark']);
  await page.locator('#first').click();
  await page.keyboard.type('Xecho ke"pt"\n');
  await expect.poll(() => screen('first')).toMatch(/^kept$/m);

  await page.locator('#second').click();
  await page.keyboard.type('exit\n');
  await page.evaluate(() => (globalThis as unknown as { hasClosed: Promise<void> }).hasClosed);
});

test('a start is cancelled; a container is kept and goes on; files are shared; each failure has a code', async ({ page }) => {
  await page.goto(url);
  const result = await page.evaluate(async () => {
    const path = '/vendor/portside/portside.js';
    const { Container, ContainerError, listImages, listSaves, removeSave, sharedFolder, startContainer } = await import(path) as typeof import('../web/embed/portside.ts');
    const codeOf = (error: unknown): string => (error instanceof ContainerError ? error.code : String(error));
    const [image] = (await listImages('/vendor/portside/')).filter(({ name }) => name === 'busybox');
    const cancel = new AbortController();
    const phases: string[] = [];
    const cancelled = await startContainer({
      image, net: 'none', signal: cancel.signal,
      onProgress: ({ phase }) => {
        phases.push(phase);
        cancel.abort();
      },
    }).catch(codeOf);

    const container = await startContainer({ image, net: 'none', share: true });
    await sharedFolder().put('folder/file', new Blob(['from the page\n']));
    await container.waitForText('# ');
    container.write('cat /mnt/share/folder/file; x=kept\n');
    await container.waitForText('from the page');
    const { name, bytes } = await container.save('embedded');
    container.stop();
    const saves = (await listSaves()).map((save) => save.name);
    const again = await startContainer({ resume: name, net: 'none' });
    again.write('echo "it was $x"\n');
    await again.waitForText('it was kept');
    const { chosen, state } = again;
    again.stop();
    await removeSave(name);
    const gone = await new Container({ resume: name }).ready.catch(codeOf);
    return { phases, cancelled, bytes, saves, chosen: chosen?.source, state, gone, after: (await listSaves()).length };
  });
  expect(result).toEqual({ phases: ['download'], cancelled: 'cancelled', bytes: result.bytes, saves: ['embedded'], chosen: 'busybox', state: 'running', gone: 'no-save', after: 0 });
  expect(result.bytes).toBeGreaterThan(100_000);
});

test('the example page works, and axe finds nothing', async ({ page }) => {
  await page.goto(`${relay.url}embed.html`);
  await expect.poll(() => text(page)).toContain('BusyBox');
  await page.getByRole('button', { name: 'Run it' }).click();
  await expect(page.locator('#result')).toHaveText('The container says 42.');
  await page.getByRole('button', { name: 'Start' }).click();
  const state = page.locator('#state');
  await expect(state).toHaveText('running');
  await page.getByRole('button', { name: 'Another terminal' }).click();
  await expect(page.locator('#terminals portside-terminal').nth(1).locator('.xterm-rows')).toContainText('# ');
  await page.getByLabel('Font size').fill('16');
  await page.getByRole('button', { name: 'Send a file' }).click();
  await expect(page.locator('#first .xterm-rows')).toContainText('It is 2');
  await page.getByRole('button', { name: 'Keep' }).click();
  await expect(state).toHaveText(/^Kept, /);
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect(state).toHaveText('stopped');
  await expect(page.locator('#terminals portside-terminal')).toHaveCount(1);
  await page.getByRole('button', { name: 'Go on' }).click();
  await expect(state).toHaveText('running');
  // So does the terminal that was open.
  await expect(page.locator('#terminals portside-terminal')).toHaveCount(2);
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: fileURLToPath(new URL(`../.cache/screenshots/embed-${colorScheme}.png`, import.meta.url)) });
    const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21aa']).analyze();
    expect(violations.map(({ id, nodes }) => `${id} ${nodes[0]?.html}`)).toEqual([]);
  }
});

test('moving the element keeps its container and its text; taking it out ends it', async ({ page }) => {
  await page.goto(url);
  await expect.poll(() => text(page)).toContain('from the element');
  await page.evaluate(() => {
    const element = document.querySelector('portside-terminal')!;
    Object.assign(globalThis, { before: (element as unknown as Element & { container: object }).container });
    document.body.append(Object.assign(document.createElement('div'), { id: 'other' }));
    document.getElementById('other')!.append(element);
  });
  const isSame = (): Promise<boolean> => page.evaluate(() => (document.querySelector('portside-terminal') as unknown as { container: object | null }).container === (globalThis as unknown as { before: object }).before);
  expect(await isSame()).toBe(true);
  // Out and in again, as frameworks do it, with a turn of the event loop in between.
  await page.evaluate(async () => {
    const element = document.querySelector('portside-terminal')!;
    element.remove();
    await new Promise((resolve) => { setTimeout(resolve); });
    document.body.prepend(element);
  });
  await page.evaluate(() => { (document.body as unknown as { moveBefore?: (node: Node, before: null) => void }).moveBefore?.(document.querySelector('portside-terminal')!, null); });
  expect(await isSame()).toBe(true);
  await page.locator('portside-terminal').click();
  await page.keyboard.type('still here\n');
  await expect.poll(() => text(page)).toMatch(/still here\s+still here/);
  await page.evaluate(() => document.querySelector('portside-terminal')!.remove());
  await expect.poll(() => page.evaluate(() => (globalThis as unknown as { before: { state: string } }).before.state)).toBe('stopped');
});
