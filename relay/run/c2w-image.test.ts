/*
 * An image as container2wasm makes them (shared/wasi/fixtures/c2w-image.c says what it expects) in this terminal: its flags, its
 * limits, its network.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { argumentsFit, guestArguments, guestEnvironment, otherNetArguments } from '../../shared/wasi/arguments.ts';
import { compileFixture } from '../../shared/wasi/fixtures/compile.mjs';
import { FOREIGN_IMAGE } from '../../shared/wasi/image-info.ts';

const PORTSIDE = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const FILE = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >>> 3);
/** as the guest adds up what it fetched */
const SUM = FILE.reduce((sum, byte) => (Math.imul(sum, 31) + byte) >>> 0, 0).toString(16).padStart(8, '0');

let image = '';
/** from before `--net=socket` */
let oldImage = '';
let web: Server;
let port = 0;

beforeAll(async () => {
  image = fileURLToPath(await compileFixture('c2w-image.c'));
  oldImage = fileURLToPath(await compileFixture('c2w-image.c', ['NET_WORD="qemu"']));
  web = createServer((_request, response) => void response.end(FILE));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  ({ port } = web.address() as AddressInfo);
}, 240_000);
afterAll(() => { web.close(); });

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** `portside run ARGS`; `drive` has its input, which stays open otherwise. */
function run(args: string[], drive: (child: ChildProcess, shows: (text: string) => Promise<void>) => Promise<unknown> = () => Promise.resolve()): Promise<Ended> {
  const child = spawn(process.execPath, [PORTSIDE, 'run', ...args], { stdio: 'pipe' });
  const ended: Ended = { status: null, stdout: '', stderr: '' };
  let wake = (): void => {};
  child.stdout.on('data', (bytes: Buffer) => {
    ended.stdout += bytes.toString();
    wake();
  });
  child.stderr.on('data', (bytes: Buffer) => { ended.stderr += bytes.toString(); });
  const shows = async (text: string): Promise<void> => {
    while (!ended.stdout.includes(text)) await new Promise<void>((resolve) => { wake = resolve; });
  };
  void drive(child, shows);
  return new Promise((resolve) => {
    child.on('close', (status) => resolve({ ...ended, status }));
  });
}

test('it gets its lease, asks for a name, fetches, and powers off with 0', async () => {
  const { status, stdout, stderr } = await run(['--net', image], async (child, shows) => {
    await shows('/ # ');
    child.stdin!.write('dns gateway.containers.internal\n');
    await shows('\r\ngateway.containers.internal is');
    child.stdin!.write(`get 192.168.127.254 ${port} /file\n`);
    await shows(' sum ');
    // More at once than it reads at a time.
    child.stdin!.write(`echo ${'x'.repeat(190)}\n`);
    await shows(`\r\n${'x'.repeat(190)}\r\n`);
    child.stdin!.write('state\n');
    await shows(' resized ');
    child.stdin!.write('poweroff\n');
  });
  expect(stderr).toBe('');
  expect(stdout).toContain('lease 192.168.127.3 router 192.168.127.1\r\n');
  expect(stdout).toContain('gateway.containers.internal is 192.168.127.1\r\n');
  expect(stdout).toContain(`fetched ${FILE.length} bytes sum ${SUM}\r\n`);
  expect(stdout).toContain('accepts 1 keys 128 resized 0\r\n');
  expect(status).toBe(0);
}, 60_000);

test('an old one, which knows --net=qemu only, is started once more with that', async () => {
  const { status, stdout } = await run(['--net', oldImage, 'get', '192.168.127.254', String(port), '/file']);
  expect(stdout).toBe(`lease 192.168.127.3 router 192.168.127.1\r\nfetched ${FILE.length} bytes sum ${SUM}\r\n`);
  expect(status).toBe(0);
}, 90_000);

test('its command, its flags with one dash or two, and another MAC', async () => {
  const { status, stdout } = await run(['--net', '--mac', '02:00:00:00:00:99', '-e', 'A=b c', image, '-entrypoint', '/bin/sh', '--', 'settings', 'one two', '']);
  expect(stdout).toMatch(/^lease 192\.168\.127\.3 router 192\.168\.127\.1\r\ne: \/bin\/sh\nc: settings one\\ two \nenv: A=b c\nn: 02:00:00:00:00:99\nt: \d+\n$/);
  expect(status).toBe(0);
}, 60_000);

test('without input it needs --no-stdin: the end of its input is its end', async () => {
  const [open, closed] = await Promise.all([
    run([image, '--no-stdin', 'echo', 'hello'], (child) => Promise.resolve(child.stdin!.end())),
    run([image], (child) => Promise.resolve(child.stdin!.end())),
  ]);
  expect(open).toEqual({ status: 0, stdout: 'hello\r\n', stderr: '' });
  expect(closed).toMatchObject({ status: 1, stdout: '/ # ' });
}, 60_000);

test('in a terminal that is smaller than its own, one line says so', async () => {
  const inTerminal = (cols: number, rows: number): Promise<string> => new Promise((resolve) => {
    const child = spawn('script', ['-qec', `stty cols ${cols} rows ${rows}; '${process.execPath}' '${PORTSIDE}' run '${image}' echo done`, '/dev/null'], { stdio: 'pipe' });
    let stdout = '';
    child.stdout.on('data', (bytes: Buffer) => { stdout += bytes.toString(); });
    child.on('close', () => resolve(stdout.replaceAll('\r', '')));
  });
  const [narrow, low, enough] = await Promise.all([inTerminal(50, 40), inTerminal(120, 20), inTerminal(80, 25)]);
  expect(narrow).toMatch(/^[^\n]*this terminal is 50 by 40, the container's stays 80 by 25[^\n]*\ndone\n$/);
  expect(low).toContain('this terminal is 120 by 20');
  expect(enough).toBe('done\n');
}, 60_000);

test('a flag that it can\'t take is refused before it starts, in front of IMAGE and behind it', async () => {
  for (const args of [['--hostname', 'box', image], [image, '--hostname', 'box'], ['--memory', '256', image], [image, '--memory=256', 'sh'], [image, '--foo'], ['--net', image, '--mac', 'x']]) {
    const { status, stdout, stderr } = await run(args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(args.includes('--foo') ? /--foo is no flag of this image/ : args.includes('--mac') ? /--mac takes an address/ : /--(hostname|memory): the (host name|memory) of an image that container2wasm made.*Leave --\1 out/);
  }
}, 60_000);

describe('1024 bytes of settings', () => {
  const line = (padding: number): { args: string[]; env: Record<string, string>; net: boolean } =>
    ({ args: ['echo', 'a b', '\n', 'x'.repeat(padding)], env: { 'A': 'one\ntwo', 'B': 'ü' }, net: false });
  const fits = (padding: number): boolean => {
    const given = line(padding);
    return argumentsFit(FOREIGN_IMAGE, guestArguments(FOREIGN_IMAGE, given), guestEnvironment(given)) === null;
  };
  const most = Array.from({ length: 1100 }, (_, i) => i).findLast(fits)!;

  test('what just fits, it takes; a byte more is refused before it starts', async () => {
    const start = (padding: number): Promise<Ended> => {
      const { args, env } = line(padding);
      return run([...Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]), image, ...args]);
    };
    const [good, bad] = await Promise.all([start(most), start(most + 1)]);
    expect(good).toMatchObject({ status: 0, stderr: '' });
    expect(bad).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining('1025 bytes; this image has room for 1024') });
  }, 60_000);

  test('the image agrees: what the host would refuse, it refuses', async () => {
    const { WasiHost } = await import('../../shared/wasi/imports.ts');
    const { makeContainerMemory } = await import('../../shared/memory/container-memory.ts');
    const { readFile } = await import('node:fs/promises');
    const module = await WebAssembly.compile(await readFile(image));
    const end = async (padding: number): Promise<unknown> => {
      const given = line(padding);
      const host = new WasiHost({
        memory: makeContainerMemory(false), args: guestArguments(FOREIGN_IMAGE, given), env: guestEnvironment(given), net: false, foreign: true, directories: new Map(),
      });
      const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: host.imports as WebAssembly.ModuleImports });
      return host.run(instance as unknown as Parameters<typeof host.run>[0]);
    };
    expect(await end(most)).toEqual({ kind: 'exit', code: 0 });
    expect(await end(most + 1)).toEqual({ kind: 'exit', code: 1 });
  });
});

describe('--external-bundle', () => {
  test('over the network it is the image\'s own business', async () => {
    const { status, stdout } = await run(['--net', image, '--external-bundle=9p=192.168.127.254', 'settings']);
    expect(stdout).toContain('\nb: 9p=192.168.127.254\n');
    expect(status).toBe(0);
  }, 60_000);

  test.each([
    [['--external-bundle', '/some/folder', 'sh'], true, /9p=ADDRESS.*portside convert/],
    [['--external-bundle=9p=192.168.127.254'], false, /needs a network/],
  ])('%j with net %s: refused with what to do', (args, net, words) => {
    expect(argumentsFit(FOREIGN_IMAGE, guestArguments(FOREIGN_IMAGE, { args, env: {}, net }), [])).toMatch(words);
  });

  test('an image of ours has its container', () => {
    const ours = { ...FOREIGN_IMAGE, ours: true };
    expect(argumentsFit(ours, guestArguments(ours, { args: ['--external-bundle=9p=1.2.3.4'], env: {}, net: true }), [])).toMatch(/leave --external-bundle out/);
    expect(argumentsFit(ours, guestArguments(ours, { args: ['sh', '--external-bundle=x'], env: {}, net: true }), [])).toBeNull();
  });
});

test('only our own word for the network is exchanged, not the user\'s', () => {
  const args = guestArguments(FOREIGN_IMAGE, { args: ['--net=socket', 'x'], env: {}, net: true });
  expect(otherNetArguments(args)).toEqual(['container', '--net=qemu', '--mac', '02:00:00:00:00:01', '--net=socket', 'x']);
});
