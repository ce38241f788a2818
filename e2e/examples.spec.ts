/*
 * What the documents of container2wasm show, with our commands: a command in a small Linux, a web server behind a port of this computer,
 * python; each in the page, and where it makes sense in the terminal.
 */
import { execFile, execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test, type Page } from '@playwright/test';
import { pythonPackages } from '../image/convert/fixture.ts';
import { Guest, Server } from './guest.ts';

const PORTSIDE = fileURLToPath(new URL('../bin/portside.mjs', import.meta.url));
const HTTPD = ['sh', '-c', 'echo "ser""ving"; exec httpd -f -p 80 -h /var/www'];
const hasDpkg = spawnSync('dpkg-deb', ['--version']).error === undefined;

/** `portside ARGS` to its end. */
async function portside(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [PORTSIDE, ...args], { timeout: 110_000 });
  return stdout.replaceAll('\r', '');
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** What a web server on this computer's port says, as soon as there is one. */
async function expectItWorks(port: number): Promise<void> {
  await expect.poll(() => fetch(`http://localhost:${port}/`, { signal: AbortSignal.timeout(5000) }).then((response) => response.text(), String), { timeout: 60_000 }).toContain('It works!');
}

async function exitCode(page: Page): Promise<number | undefined> {
  return page.evaluate(() => (globalThis as unknown as { portside: { exitCode?: number } }).portside.exitCode);
}

test.describe('a command in a small Linux', () => {
  test('in the terminal', async () => {
    expect(await portside('run', 'busybox', 'uname', '-a')).toMatch(/^Linux busybox 6\..* riscv64 GNU\/Linux\n$/);
    expect((await portside('run', 'busybox', 'ls', '/')).split(/\s+/)).toEqual(expect.arrayContaining(['bin', 'etc', 'proc', 'var']));
  });

  test('in the page', async ({ page }) => {
    const server = new Server();
    await server.start();
    const guest = new Guest(page);
    await guest.open(`${server.url}?image=busybox&cmd=uname -a`);
    await expect.poll(() => guest.state()).toBe('exited');
    expect(await guest.screen()).toMatch(/^Linux busybox 6\..* riscv64 GNU\/Linux/m);
    expect(await exitCode(page)).toBe(0);
    await page.goto('about:blank');
    await server.stop();
  });
});

test.describe('httpd with -p localhost:8000:80', () => {
  test('in the terminal', async () => {
    const port = await freePort();
    const child: ChildProcess = spawn(process.execPath, [PORTSIDE, 'run', '-p', `localhost:${port}:80`, 'busybox', ...HTTPD], { stdio: ['pipe', 'ignore', 'inherit'] });
    try {
      await expectItWorks(port);
    } finally {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
    }
  });

  test('in the page', async ({ page }) => {
    const port = await freePort();
    const server = new Server(['-p', `localhost:${port}:80`]);
    await server.start();
    const guest = new Guest(page);
    const url = new URL(`${server.url}?image=busybox`);
    url.searchParams.set('cmd', `sh -c '${HTTPD[2]}'`);
    await guest.open(url.href);
    await guest.waitForText('serving');
    await expectItWorks(port);
    await page.goto('about:blank');
    await server.stop();
  });
});

test.describe('python, from a root that was converted', () => {
  let dir: string;
  let server: Server;

  test.skip(!hasDpkg, 'dpkg-deb is not installed: no python to convert');

  test.beforeAll(async () => {
    test.setTimeout(240_000);
    dir = mkdtempSync(join(tmpdir(), 'portside-python-'));
    const root = join(dir, 'root');
    mkdirSync(join(root, 'usr/lib'), { recursive: true });
    symlinkSync('usr/lib', join(root, 'lib'));
    for (const file of await pythonPackages()) execFileSync('dpkg-deb', ['-x', file, root]);
    execFileSync('tar', ['--owner=0', '--group=0', '--numeric-owner', '-C', root, '-cf', join(dir, 'python.tar'), '.']);
    await portside('convert', '--quiet', '--memory', '256', '--name', 'python', join(dir, 'python.tar'), join(dir, 'python.wasm'));
    server = new Server(['--image', join(dir, 'python.wasm')]);
    await server.start();
  });

  test.afterAll(async () => {
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('a program that asks, in the page', async ({ page }) => {
    const guest = new Guest(page);
    const url = new URL(`${server.url}?image=python`);
    // Its shell wants modules that Debian's minimal package leaves out.
    url.searchParams.set('cmd', `python3.13 -c 'import os, sys; print(os.uname().machine, sys.version_info[:2], eval(input("? "))); sys.exit(3)'`);
    await guest.open(url.href);
    await guest.waitFor(/\? ?$/, 60_000);
    await guest.write('sum(range(1000))\n');
    await guest.waitForText('riscv64 (3, 13) 499500', 60_000);
    await expect.poll(() => guest.state()).toBe('exited');
    expect(await exitCode(page)).toBe(3);
  });
});
