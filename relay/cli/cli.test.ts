/* Command lines, first as parsed, then through bin/portside.mjs in a process of its own. */
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { killLeftovers, Portside } from '../fixture/portside-process.ts';
import { COMMAND_TABLES } from './command-tables.ts';
import { parseForward } from './flags.ts';
import { parseListen } from './listen.ts';
import { parseRun } from './run.ts';
import { parseServe } from './serve.ts';

const BAD = { code: 'RELAY_BAD_FLAG' };
let dir: string;
let images: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'portside-cli-'));
  images = join(dir, 'dist/images');
  mkdirSync(images, { recursive: true });
  const entry = { name: 'busybox', title: 'BusyBox', description: '', file: 'busybox.wasm', bytes: 4, sha256: '', disk: { file: 'busybox.disk', bytes: 3 }, default: true };
  writeFileSync(join(images, 'manifest.json'), JSON.stringify({ version: 1, images: [entry] }));
  writeFileSync(join(images, 'busybox.wasm'), new Uint8Array(2 * 1024 * 1024));
  writeFileSync(join(images, 'busybox.wasm.br'), 'br');
  writeFileSync(join(images, 'busybox.disk'), 'dsk');
});
afterAll(() => rmSync(dir, { recursive: true }));

describe('flags', () => {
  const context = { env: {}, root: '/r' };

  test('serve: defaults, and every flag', () => {
    expect(parseServe([], context)).toEqual({
      port: 8080, host: null, forwards: [], images: [], allowOrigins: [], allowHosts: [], mtu: null, tls: null, linkAnywhere: false, webDir: '/r/dist/web', imagesDir: '/r/dist/images', convertedDir: '/r/dist/converted', pcap: null, verbose: false, logFormat: 'text',
    });
    const args = '--port 0 --host 0.0.0.0 -p 8000:80 --publish=53:53/udp --image a.wasm --image https://e.example/b.wasm --allow-origin https://E.example --allow-host n --mtu 9000 --web /w --images /i --convert on --converted /c/d --pcap /p --verbose --log-format json --tls-cert /c --tls-key k';
    expect(parseServe(args.split(' '), context)).toEqual({
      port: 0, host: '0.0.0.0', images: ['a.wasm', 'https://e.example/b.wasm'], allowOrigins: ['https://e.example'], allowHosts: ['n'], mtu: 9000, webDir: '/w', imagesDir: '/i', convertedDir: '/c/d', tls: { cert: '/c', key: join(process.cwd(), 'k') }, linkAnywhere: false, pcap: '/p', verbose: true, logFormat: 'json',
      forwards: [{ protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 8000, guestPort: 80 }, { protocol: 'udp', hostIp: '127.0.0.1', hostPort: 53, guestPort: 53 }],
    });
    expect([parseServe([], { ...context, env: { PORT: '9' } }).port, parseServe(['--port', '7'], { ...context, env: { PORT: '9' } }).port]).toEqual([9, 7]);
    expect(parseServe(['--host', 'localhost'], context).host).toBeNull();
  });

  test('serve: archives are converted where nobody else can come in, unless told', () => {
    const dirs = ['', '--host 127.0.0.1', '--host ::1', '--allow-origin http://localhost:5173', '--host 0.0.0.0', '--host 192.168.1.2', '--allow-host relay.example', '--allow-origin https://demo.example', "--allow-origin *", '--convert off', '--host 0.0.0.0 --convert on']
      .map((args) => parseServe(args === '' ? [] : args.split(' '), context).convertedDir !== null);
    expect(dirs).toEqual([true, true, true, true, false, false, false, false, false, false, true]);
  });

  test('serve: what is wrong is named', () => {
    for (const args of ['--port 65536', '--port x', '--port -1', '--mtu 575', '--mtu 65521', '--allow-origin example.org', '--nonsense', 'word', '--port', '-p 80', '-p 1:0', '-p 1:70000', '-p host:1:2', '-p ::1:80:80', '-p 1:2/sctp', '--verbose=yes', '--log-format xml', '--convert maybe', '--tls-cert /c']) {
      expect(() => parseServe(args.split(' '), context), args).toThrow(expect.objectContaining(BAD));
    }
    expect(() => parseServe([], { ...context, env: { PORT: 'x' } })).toThrow('PORT takes a number');
  });

  test('-p', () => {
    expect(parseForward('0.0.0.0:0:80/tcp')).toEqual({ protocol: 'tcp', hostIp: '0.0.0.0', hostPort: 0, guestPort: 80 });
    expect(parseForward('localhost:1:2').hostIp).toBe('127.0.0.1');
    for (const text of ['', ':', '1', '1:', ':1', '1.2.3:1:2', '256.0.0.1:1:2', '1:2:3:4:5', '1:2/', '-1:2', '1:2 ', '1e3:2']) expect(() => parseForward(text), text).toThrow(expect.objectContaining(BAD));
  });

  test('run: own flags, then IMAGE, then what is the image\'s, untouched', async () => {
    const at = { env: { HERE: 'here' }, root: dir, warn: () => {} };
    const args = ['--net', '-p', '8000:80', '--mac', '02-00-00-00-00-42', '--hostname', 'h', '-e', 'A=1=2', '--env', 'HERE', '-e', 'GONE', '-e', 'EMPTY=', 'busybox', '--hostname', 'x', '--net', '--', 'sh', '-c', '-p'];
    expect(await parseRun(args, at)).toEqual({
      image: join(images, 'busybox.wasm'), net: true, mac: '02:00:00:00:00:42', hostname: 'h', env: { A: '1=2', HERE: 'here', EMPTY: '' },
      forwards: [{ protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 8000, guestPort: 80 }],
      args: ['--hostname', 'x', '--net', '--', 'sh', '-c', '-p'],
    });
    expect(await parseRun(['busybox', '--help'], at)).toEqual({ image: join(images, 'busybox.wasm'), net: false, env: {}, forwards: [], args: ['--help'] });
    expect(await parseRun(['-p', '1:2', '--', 'busybox', 'ls'], at)).toMatchObject({ net: true, args: ['ls'] });
    expect(await parseRun(['--pcap', '/p', 'busybox'], at)).toMatchObject({ net: true, pcap: '/p' });
    expect((await parseRun([join(images, 'busybox.wasm')], at)).image).toBe(join(images, 'busybox.wasm'));
    for (const wrong of [[], ['--net'], ['--nonsense', 'busybox'], ['--mac', '01:00:00:00:00:00', 'busybox'], ['--mac', 'x', 'busybox'], ['--hostname', '-h', 'busybox'], ['--hostname', 'a b', 'busybox'], ['-e', '1=2', 'busybox'], ['-p', '1', 'busybox']]) {
      await expect(parseRun(wrong, at), wrong.join(' ')).rejects.toMatchObject(BAD);
    }
    await expect(parseRun(['nope'], at)).rejects.toMatchObject({ code: 'RELAY_NO_IMAGE', message: expect.stringContaining('busybox') });
  });

  test('run: another runtime, with its own flags and folders', async () => {
    const at = { env: {}, root: dir, warn: () => {} };
    const args = ['--runtime', 'wazero', '--runtime-flag=-interpreter', '--wasi-addr', '127.0.0.1:1', '--dir', `${images}::/mnt/src:ro`, '--mapdir', `/same::${dir}`, 'busybox', 'ls'];
    expect(await parseRun(args, at)).toMatchObject({
      elsewhere: { runtime: 'wazero', old: false, runtimeFlags: ['-interpreter'], wasiAddress: '127.0.0.1:1' },
      directories: [{ host: images, guest: '/mnt/src', readOnly: true }, { host: dir, guest: '/same', readOnly: false }],
    });
    expect((await parseRun(['--runtime', '/w', '--wasmtime-cli-13', 'busybox'], at)).elsewhere).toMatchObject({ runtime: '/w', old: true, runtimeFlags: [], wasiAddress: null });
    await expect(parseRun(['--runtime-flag=x', 'busybox'], at)).rejects.toMatchObject(BAD);
  });

  test('run: --dir and --mapdir', async () => {
    const at = { env: {}, root: dir, warn: () => {} };
    const directories = async (...flags: string[]): Promise<unknown> => (await parseRun([...flags, 'busybox'], at)).directories;
    expect(await directories('--dir', `${images}::/work/`, '--dir', `${dir}:ro`, '--mapdir', `/a//b::${dir}`)).toEqual([
      { host: images, guest: '/work', readOnly: false }, { host: dir, guest: dir, readOnly: true }, { host: dir, guest: '/a/b', readOnly: false },
    ]);
    expect(await directories('--dir', `${images}/..::/x::y`).catch((error: Error) => error.message)).toContain('takes HOST[::GUEST][:ro]');
    expect(await directories('--dir', `${images}/..::/x:ro`)).toEqual([{ host: join(dir, 'dist'), guest: '/x', readOnly: true }]);
    const wrong: [string[], string][] = [
      [['--dir', `${images}/none::/x`], 'make it first'], [['--dir', `${join(images, 'busybox.wasm')}::/x`], 'share the one that it lies in'], [['--dir', `${dir}::work`], 'must be absolute'],
      [['--dir', `${dir}::/`], "the container's own"], [['--dir', `${dir}::/x/../proc/`], "the container's own"], [['--dir', `${dir}::/x`, '--mapdir', `/x::${images}`], 'both be /x'],
      [['--mapdir', dir], 'takes GUEST::HOST'], [['--dir', '::/x'], 'takes HOST'], [['--dir', `${dir}::/a\nb`], 'line break'],
    ];
    for (const [flags, message] of wrong) await expect(directories(...flags), flags.join(' ')).rejects.toMatchObject({ ...BAD, message: expect.stringContaining(message) });
  });

  test('run: --save and --resume are of the built-in runtime', async () => {
    const at = { env: {}, root: dir, warn: () => {} };
    expect(await parseRun(['--save', '/s', '--resume', '/r', 'busybox'], at)).toMatchObject({ save: '/s', resume: '/r' });
    await expect(parseRun(['--resume', '/r', '--runtime', 'wazero', 'busybox'], at)).rejects.toMatchObject(BAD);
  });

  test('listen: SPEC anywhere, forwards to any guest', () => {
    expect(parseListen(['unix:/tmp/x'])).toMatchObject({ spec: 'unix:/tmp/x', given: {}, forwards: [], verbose: false, services: [], config: null, notification: null, logFormat: 'text' });
    expect(parseListen('--services unix:/a --services tcp:127.0.0.1:0 --config f unix:/x --notification n --log-format json'.split(' ')))
      .toMatchObject({ spec: 'unix:/x', services: ['unix:/a', 'tcp:127.0.0.1:0'], config: 'f', notification: 'n', logFormat: 'json' });
    expect(parseListen('-p 8000:80 tcp:127.0.0.1:0 --mtu 9000 --publish 0.0.0.0:53:192.168.127.4:54/udp --verbose'.split(' '))).toMatchObject({
      spec: 'tcp:127.0.0.1:0', given: { mtu: 9000 }, verbose: true,
      forwards: [
        { protocol: 'tcp', hostIp: 0x7f000001, hostPort: 8000, guestPort: 80 },
        { protocol: 'udp', hostIp: 0, hostPort: 53, guestIp: 0xc0a87f04, guestPort: 54 },
      ],
    });
    for (const args of ['', '--verbose', '--mtu 575 unix:/x', '-p 1 unix:/x', 'unix:/x unix:/y', '--nonsense unix:/x']) {
      expect(() => parseListen(args.split(' ').filter(Boolean)), args).toThrow(expect.objectContaining(BAD));
    }
  });
});

// What a failed test has left running.
afterEach(killLeftovers);

describe('the program', () => {
  test('help, version, unknown commands and flags', async () => {
    const [none, help, serveHelp, runHelp, version, unknown, flag] = await Promise.all([
      [], ['help'], ['serve', '--help'], ['help', 'run'], ['--version'], ['serv'], ['serve', '--prot', '1'],
    ].map((args) => new Portside(args).finished));
    expect([none.status, help.status, serveHelp.status, runHelp.status, version.status, unknown.status, flag.status]).toEqual([2, 0, 0, 0, 0, 2, 2]);
    expect([...help.stdout.matchAll(/^ {2}portside (\w+) /gm)].map((match) => match[1])).toEqual([...Object.keys(COMMAND_TABLES), 'help']);
    expect([serveHelp.stdout.includes('--allow-origin'), runHelp.stdout.includes('--hostname')]).toEqual([true, true]);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(unknown.stderr).toBe('portside: no command "serv"; did you mean serve? Try: portside help\n');
    expect(flag.stderr).toMatch(/^portside serve: .*--prot.*\nTry: portside help serve\n$/);
  });

  test('images, as a table and as JSON', async () => {
    const [table, json, empty] = await Promise.all([['images', '--images', images], ['images', '--json', '--images', images], ['images', '--images', dir]].map((args) => new Portside(args).finished));
    expect(table.stdout).toMatch(/^NAME .*PATH\nbusybox \* +2\.0 MiB +0\.0 MiB +- +0\.0 MiB +\/.*busybox\.wasm\n$/);
    expect(JSON.parse(json.stdout)).toEqual([{ name: 'busybox', title: 'BusyBox', path: join(images, 'busybox.wasm'), default: true, raw: 2 * 1024 * 1024, br: 2, gz: null, disk: 3 }]);
    expect([empty.status, empty.stdout]).toEqual([0, expect.stringContaining('No images')]);
  });

  test('run: an image that is not there is one line and status 1', async () => {
    const done = await new Portside(['run', 'no-such-image']).finished;
    expect([done.status, done.stdout, done.stderr.split('\n').length]).toEqual([1, '', 2]);
    expect(done.stderr).toContain('no-such-image');
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('serve: ready, serves, and %s ends it quickly with status 0', async (signal) => {
    const portside = new Portside(['serve', '--port', '0', '--images', images]);
    const url = await portside.ready();
    expect(portside.stdout).toBe(`Portside is ready: ${url}\n`);
    expect(url).toMatch(/^http:\/\/localhost:\d+\/$/);
    const response = await fetch(`${url}images/manifest.json`);
    expect(await response.json()).toMatchObject({ images: [{ name: 'busybox' }] });
    const socket = new WebSocket(`${url.replace('http', 'ws')}link`, 'portside.v1');
    await once(socket, 'open');
    const started = performance.now();
    portside.child.kill(signal);
    expect(await portside.finished).toEqual({ status: 0, stdout: expect.any(String), stderr: '' });
    expect(performance.now() - started).toBeLessThan(2000);
  });

  test('listen: says where, prints counters at SIGUSR1, and ends with status 0; what is wrong is one line', async () => {
    const portside = new Portside(['listen', 'tcp:127.0.0.1:0']);
    const spec = await portside.says(/^portside: listening on (tcp:127\.0\.0\.1:\d+)\n/);
    const link = connect(Number(spec.split(':')[2]), '127.0.0.1');
    await once(link, 'connect');
    portside.child.kill('SIGUSR1');
    expect(JSON.parse(await portside.says(/^(\{.*\})\n/m))).toMatchObject({ linksOpen: 1, framesFromGuest: 0 });
    const [taken, wrong] = await Promise.all([['listen', spec], ['listen', 'udp:1']].map((args) => new Portside(args).finished));
    expect([taken.status, taken.stderr]).toEqual([1, `portside listen: can't listen on ${spec}: EADDRINUSE\n`]);
    expect([wrong.status, wrong.stderr]).toEqual([2, 'portside listen: "udp:1" is neither tcp:HOST:PORT nor unix:PATH\nTry: portside help listen\n']);
    portside.child.kill('SIGTERM');
    expect((await portside.finished).status).toBe(0);
    link.destroy();
  });

  test('listen: a network from a file, its API on a path, a supervisor that hears, and a log for programs', async () => {
    const at = (name: string): string => join(dir, name);
    writeFileSync(at('net.json'), JSON.stringify({ mtu: 4000, dhcpStaticLeases: { '192.168.127.9': '02:00:00:00:00:09' } }));
    const heard: string[] = [];
    const supervisor = createServer((socket) => socket.on('data', (chunk) => heard.push(chunk.toString()))).listen(at('notify'));
    await once(supervisor, 'listening');
    const portside = new Portside(['listen', `unix:${at('net')}`, '--services', `unix:${at('api')}`, '--config', at('net.json'), '--notification', at('notify'), '--log-format', 'json']);
    await portside.says(/(listening on)/);
    const records = portside.stderr.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(records).toMatchObject([{ level: 'info', spec: `unix:${at('api')}` }, { level: 'info', msg: `listening on unix:${at('net')}`, spec: `unix:${at('net')}` }]);
    const [response] = await once(get({ socketPath: at('api'), path: '/leases' }), 'response') as [AsyncIterable<Buffer>];
    let text = '';
    for await (const chunk of response) text += chunk.toString();
    expect(JSON.parse(text)).toEqual({ '192.168.127.1': '5a:94:ef:e4:0c:dd', '192.168.127.9': '02:00:00:00:00:09' });
    await expect.poll(() => heard).toEqual(['{"notification_type":"ready"}\n']);
    writeFileSync(at('bad.json'), '{"mtu":1}');
    const bad = await new Portside(['listen', `unix:${at('other')}`, '--config', at('bad.json')]).finished;
    expect([bad.status, bad.stderr]).toEqual([1, 'portside listen: configuration: mtu is a number from 576 to 65520, not 1\n']);
    portside.child.kill('SIGTERM');
    expect((await portside.finished).status).toBe(0);
    expect([existsSync(at('api')), existsSync(at('net'))]).toEqual([false, false]);
    await new Promise((resolve) => supervisor.close(resolve));
  });

  test('serve --pcap: what passes on a link is in the file when the relay ends; a file that cannot be is one line', async () => {
    const file = join(dir, 'x.pcapng');
    const portside = new Portside(['serve', '--port', '0', '--images', images, '--allow-origin', '*', '--pcap', file]);
    const socket = new WebSocket(`${(await portside.ready()).replace('http', 'ws')}link`);
    await once(socket, 'open');
    // Who has the gateway's address?
    socket.send(Buffer.from('0000002affffffffffff02000000000108060001080006040001020000000001c0a87f03000000000000c0a87f01', 'hex'));
    const [reply] = await once(socket, 'message') as [Buffer];
    socket.close();
    portside.child.kill('SIGTERM');
    expect(await portside.finished).toMatchObject({ status: 0, stderr: '' });
    const capture = readFileSync(file);
    expect([capture.includes('net1.link1'), capture.includes(reply.subarray(4)), capture.includes(Buffer.from('ffffffffffff0200000000010806', 'hex'))]).toEqual([true, true, true]);
    const refused = await new Portside(['serve', '--port', '0', '--images', images, '--pcap', join(dir, 'no/file')]).finished;
    expect([refused.status, refused.stderr]).toEqual([1, `portside serve: can't write ${join(dir, 'no/file')}: ENOENT\n`]);
  });

  test('serve --log-format json: a record with the URL when it is ready, and the line for people', async () => {
    const portside = new Portside(['serve', '--port', '0', '--images', images, '--log-format', 'json']);
    const url = await portside.ready();
    expect(JSON.parse(await portside.says(/^(\{.*\})\n/m))).toMatchObject({ level: 'info', msg: 'ready', url });
    portside.child.kill('SIGTERM');
    expect((await portside.finished).status).toBe(0);
  });

  test('serve: no images and no page still starts, and says so once', async () => {
    const portside = new Portside(['serve', '--images', join(dir, 'none'), '--web', join(dir, 'none')], { env: { PORT: '0' } });
    const url = await portside.ready();
    expect(portside.stdout.split('\n').filter((line) => line.includes('--image FILE|URL'))).toHaveLength(1);
    const page = await fetch(url);
    expect([page.status, await page.text()]).toEqual([503, expect.stringContaining('npm start')]);
    portside.child.kill('SIGTERM');
    expect((await portside.finished).status).toBe(0);
  });

  test('serve: a port in use is one sentence that says what to do, status 1', async () => {
    const first = new Portside(['serve', '--port', '0', '--images', images]);
    const { port } = new URL(await first.ready());
    const second = await new Portside(['serve', '--port', port, '--images', images]).finished;
    expect([second.status, second.stdout]).toEqual([1, '']);
    expect(second.stderr).toBe(`portside serve: port ${port} on 127.0.0.1 is in use by another program. Stop it, or choose another port: --port ${Number(port) + 1}\n`);
    first.child.kill('SIGTERM');
    await first.finished;
  });
});
