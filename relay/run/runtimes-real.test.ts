/*
 * Containers in other runtimes, for real: wazero and wasmedge as Debian has them (tools/runtimes.ts), wasmtime where it is installed.
 * Needs dist/images. What a runtime can't do is in README's table, and each no of it is a test here.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect as dial, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { fetchRuntime, type Found } from '../../tools/runtimes.ts';
import { findCommand } from '../fixture/linux/requirements.ts';
import { killLeftovers, Portside } from '../fixture/portside-process.ts';
import { freePort } from '../host/free-port.ts';

const IMAGES = fileURLToPath(new URL('../../dist/images', import.meta.url));
const BUSYBOX = join(IMAGES, 'busybox.wasm');
const HAS_IMAGES = existsSync(BUSYBOX) && existsSync(join(IMAGES, 'debian.wasm'));
if (!HAS_IMAGES) console.log('skipped: dist/images is not built');

const wasmtime = process.env['WASMTIME'] ?? findCommand('wasmtime');
const FOUND: Record<string, Found> = HAS_IMAGES ? {
  wazero: await fetchRuntime('wazero'),
  wasmedge: await fetchRuntime('wasmedge'),
  wasmtime: wasmtime === null ? { missing: 'wasmtime is not installed' } : { path: wasmtime },
} : {};
for (const found of Object.values(FOUND)) if ('missing' in found) console.log(`skipped: ${found.missing}`);

const RUNTIMES = Object.entries(FOUND).flatMap(([name, found]) => ('path' in found ? [{ name, path: found.path }] : []));
const LISTENING = RUNTIMES.filter(({ name }) => name !== 'wasmedge');
/** a whole start in an interpreter, beside other tests */
const SLOW = 120_000;
const UP = 'i=0; while ! ip -4 addr show dev eth0 | grep -q 192.168 && [ $i -lt 100 ]; do i=$((i+1)); usleep 100000; done';

const dir = mkdtempSync(join(tmpdir(), 'portside-elsewhere-'));
const children: ChildProcess[] = [];
const servers: { close(): unknown }[] = [];
afterEach(() => {
  killLeftovers();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const server of servers.splice(0)) server.close();
});
afterAll(() => rmSync(dir, { recursive: true }));

/** Sends `bytes` as HTTP to whoever connects. */
async function serveFile(bytes: Buffer): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(Buffer.concat([Buffer.from(`HTTP/1.0 200 OK\r\nContent-Length: ${bytes.length}\r\n\r\n`), bytes])));
  }).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What `port` of this computer says to whoever comes, asked until somebody says something. */
async function greeting(port: number): Promise<string> {
  let text = '';
  await expect.poll(async () => {
    const socket = dial(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => { text += chunk.toString(); });
    await once(socket, 'close');
    return text;
  }, { timeout: 30_000, interval: 200 }).not.toBe('');
  return text;
}

describe.each(RUNTIMES)('$name', ({ name, path }) => {
  // Interpreted, a start takes wasmedge 6 to 30 s of two busy cores. What its compiler says of itself goes to stdout.
  const flags = name === 'wasmedge' ? ['--runtime-flag=--enable-jit'] : [];
  const run = (args: string[], input?: string): Portside => new Portside(['run', '--runtime', path, ...flags, ...args], input === undefined ? {} : { input });
  const outputOf = ({ stdout }: { stdout: string }): string => stdout.replace(/^\[.*\] \[info\] .*\n/gm, '');

  test('arguments, variables, entrypoint, output and status', async () => {
    const finished = await run(['-e', 'A=1 2', '-e', 'B', BUSYBOX, '--entrypoint', 'sh', '--', '-c', 'echo "$A$0[$1]"; hostname; exit 7', 'ü', 'x y'], '').finished;
    expect([finished.status, outputOf(finished)]).toEqual([7, '1 2ü[x y]\nbusybox\n']);
  }, SLOW);

  test('without a terminal bytes are bytes, and stderr is apart', async () => {
    const input = `\x03\x04\r\n\x1b\x00${'x'.repeat(100_000)}`;
    const finished = await run([BUSYBOX, 'sh', '-c', 'sha256sum; echo err >&2; exit 3'], input).finished;
    expect([finished.status, outputOf(finished), finished.stderr]).toEqual([3, `${createHash('sha256').update(input).digest('hex')}  -\n`, 'err\n']);
  }, SLOW);

  test('what is typed into a terminal arrives, and the end of it', async () => {
    const script = 'stty -echo; echo rea""dy; read a; echo "got $a"; cat >/dev/null; echo en""ded; exit 3';
    const portside = run(['-t', BUSYBOX, 'sh', '-c', script], 'first\nmore\n');
    expect(await portside.finished).toMatchObject({ status: 3, stdout: expect.stringMatching(/got first\r\n[^]*ended\r\n$/) });
  }, SLOW);

  test('--no-stdin', async () => {
    const finished = await run(['--hostname', 'other', BUSYBOX, '--no-stdin', 'hostname'], 'typed\n').finished;
    expect([finished.status, outputOf(finished)]).toEqual([0, 'other\n']);
  }, SLOW);

  test('a signal ends it, with the status that shells expect', async () => {
    const portside = run([BUSYBOX, 'sh', '-c', 'echo rea""dy; sleep 600']);
    await portside.prints(/(ready)/);
    portside.child.kill('SIGTERM');
    expect((await portside.finished).status).toBe(143);
  }, SLOW);
});

describe.each(LISTENING)('$name, on the network', ({ name, path }) => {
  test('a download through NAT, and a forwarded port into the container; nothing of ours is in its output', async () => {
    const file = randomBytes(3_000_000);
    const [port, forwarded] = [await serveFile(file), await freePort()];
    const script = `${UP}; wget -qO- http://192.168.127.254:${port}/ | sha256sum; echo from inside | nc -l -p 80; exit 4`;
    const portside = new Portside(['run', '--runtime', path, '-p', `${forwarded}:80`, BUSYBOX, 'sh', '-c', script], { input: '' });
    const sum = await portside.prints(/([0-9a-f]{64})/);
    expect(sum).toBe(createHash('sha256').update(file).digest('hex'));
    expect(await greeting(forwarded)).toBe('from inside\n');
    expect(await portside.finished).toEqual({ status: 4, stdout: `${sum}  -\n`, stderr: '' });
  }, SLOW);

  test('where directories come first the socket is found behind them: an image with a disk, and one of the user\'s', async () => {
    const port = await serveFile(Buffer.from('over the network'));
    const script = `${UP.replace('usleep 100000', 'sleep 0.1')}; cat /etc/debian_version; curl -s http://192.168.127.254:${port}/`;
    const portside = new Portside(['run', '--runtime', path, '--net', '--dir', `${dir}::/mnt/mine`, join(IMAGES, 'debian.wasm'), 'bash', '-c', script], { input: '' });
    expect(await portside.finished).toMatchObject({ status: 0, stdout: expect.stringMatching(/^13\.\d+\nover the network$/) });
  }, SLOW);

  test('`connect` serves a runtime that was started by hand, and the next one there', async () => {
    const [port, forwarded] = [await freePort(), await freePort()];
    const connect = new Portside(['connect', '-p', `${forwarded}:80`, `127.0.0.1:${port}`]);
    await connect.says(/(waiting for)/);
    for (const text of ['one', 'two']) {
      const listen = name === 'wazero' ? ['-listen', `127.0.0.1:${port}`] : ['-S', 'preview2=n', '-S', `tcplisten=127.0.0.1:${port}`];
      const child = spawn(path, ['run', ...listen, BUSYBOX, '--net=socket', 'sh', '-c', `echo ${text} | nc -l -p 80; exit 5`], { stdio: 'ignore' });
      children.push(child);
      expect(await greeting(forwarded)).toBe(`${text}\n`);
      const [status] = await once(child, 'exit') as [number];
      expect(status).toBe(5);
    }
    expect(connect.stderr.match(/connected to/g)).toHaveLength(2);
    connect.child.kill('SIGTERM');
    expect((await connect.finished).status).toBe(0);
  }, SLOW);
});

test.skipIf(!('path' in (FOUND['wasmedge'] ?? {})))('wasmedge has no listening sockets, and it is said before anything starts', async () => {
  const { path } = FOUND['wasmedge'] as { path: string };
  const { status, stderr } = await new Portside(['run', '--net', '--runtime', path, BUSYBOX]).finished;
  expect([status, stderr]).toEqual([2, expect.stringMatching(/^portside run: wasmedge can't give a container a listening socket: leave out --net and -p, or take wazero, wasmtime or the built-in runtime\nTry: /)]);
});

test.skipIf(!('path' in (FOUND['wazero'] ?? {})) || findCommand('script') === null)('a terminal is raw for the child, and gets its mode back', async () => {
  const { path } = FOUND['wazero'] as { path: string };
  const bin = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
  const line = `stty -a > ${dir}/before; ${process.execPath} ${bin} run --runtime ${path} ${BUSYBOX} sh -c 'echo rea""dy; read a; echo "got $a"; exit 6'; echo "status $?"; stty -a > ${dir}/after; cmp ${dir}/before ${dir}/after && echo same`;
  const child = spawn('script', ['-qec', line, '/dev/null']);
  children.push(child);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  await expect.poll(() => text, { timeout: 60_000 }).toContain('ready');
  child.stdin.write('typed\r');
  await expect.poll(() => text, { timeout: 60_000 }).toContain('same');
  expect(text).toMatch(/got typed[^]*status 6/);
  // Echoed once, by the guest: a terminal that was not raw would echo too.
  expect(text.match(/typed/g)).toHaveLength(2);
}, SLOW);

test('$WASMTIME and the like: a path that is not there is said in one line', async () => {
  process.env['WAZERO'] = join(dir, 'none');
  expect(await fetchRuntime('wazero')).toEqual({ missing: `wazero: there is no ${join(dir, 'none')}` });
  delete process.env['WAZERO'];
});
