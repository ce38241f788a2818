/* container2wasm's command line, first as parsed, then through bin/c2w-net.mjs in a process of its own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as dial, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { compileFixture } from '../../shared/wasi/fixtures/compile.mjs';
import { formatIpv4 } from '../../shared/net/wire/addr.ts';
import { ApiGuest } from '../fixture/api-guest.ts';
import { killLeftovers, Portside } from '../fixture/portside-process.ts';
import { GuestSocket } from '../fixture/test-relay.ts';
import { TinyGuest } from '../fixture/tiny-guest.ts';
import { freePort } from '../host/free-port.ts';
import { parseC2wNet, runArguments, type C2wNetCommand } from './c2w-net.ts';

const BUSYBOX = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
if (!existsSync(BUSYBOX)) console.log('skipped: dist/images is not built');
const BAD = { code: 'RELAY_BAD_FLAG' };
const PAGE = 'http://localhost:8080';
const OPENSSL = spawnSync('openssl', ['version']).error === undefined;
if (!OPENSSL) console.log('skipped: openssl is not installed');

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-c2w-')); });
afterAll(() => rmSync(dir, { recursive: true }));
afterEach(killLeftovers);

function c2wNet(args: string[]): Portside {
  return new Portside(args, { program: 'c2w-net' });
}

/** What a program on the guest's port 7 makes of `text`, by a forwarded port. */
async function shout(port: number, text: string): Promise<string> {
  const socket = dial(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(text);
  const [answer] = await once(socket, 'data') as [Buffer];
  socket.destroy();
  return answer.toString();
}

function parsed(line: string): C2wNetCommand {
  return parseC2wNet(line.split(' ')) as C2wNetCommand;
}

describe('flags', () => {
  test('one dash or two, values behind = or a blank, booleans as Go reads them, and the rest is words', () => {
    const all = ['--listen-ws', '--enable-tls', '--ws-cert=/c', '--ws-key', '/k', '-p', '8000:80', '--p=localhost:8001:81', '--mac', '02:00:00:00:00:09', '--debug', '--allow-origin', PAGE, '--allow-host=h', '--wasi-addr', '127.0.0.1:1', '--wasmtime-cli-13', ':8888'];
    const command = parseC2wNet(all);
    expect(command).toMatchObject({
      mode: 'listen-ws', words: [':8888'], tls: { cert: '/c', key: '/k' }, mac: '02:00:00:00:00:09', verbose: true, allowOrigins: [PAGE], allowHosts: ['h'],
      forwards: [{ hostIp: '127.0.0.1', hostPort: 8000, guestPort: 80 }, { hostIp: '127.0.0.1', hostPort: 8001, guestPort: 81 }],
    });
    expect(parseC2wNet(all.map((word) => word.replace(/^--/, '-')))).toEqual(command);
    expect(parsed('-debug=false -listen-ws=0 h:1')).toMatchObject({ mode: 'connect', words: ['h:1'], verbose: false });
    expect(parsed('-debug=T -invoke -listen-ws x.wasm --debug=0 -p 1')).toMatchObject({ mode: 'invoke', words: ['x.wasm', '--debug=0', '-p', '1'], verbose: true });
    expect(parsed('--invoke -- --x')).toMatchObject({ words: ['--x'] });
    expect([['-h'], ['--help'], ['-debug', '-help']].map(parseC2wNet)).toEqual(['help', 'help', 'help']);
  });

  test('what is wrong is named', () => {
    for (const line of ['', '--invoke', '--listen-ws', '--nonsense x', '-debug=maybe x', '-p', '-p 80 x', '--mac x x', '--enable-tls --listen-ws h:1', '--enable-tls --ws-cert c --listen-ws h:1', '--allow-origin x h:1', 'h:1 h:2', '--listen-ws h:1 -debug']) {
      expect(() => parseC2wNet(line.split(' ').filter(Boolean)), line).toThrow(expect.objectContaining(BAD));
    }
  });

  test('--invoke is `run` with a network, the image\'s own --net left to it', () => {
    expect(runArguments(parsed('--invoke -p localhost:8000:80 --mac 02:00:00:00:00:09 --debug out.wasm --net=socket --no-stdin -net socket=listenfd=4 --entrypoint --net sh --net=x')))
      .toEqual(['--net', '--publish=localhost:8000:80', '--mac=02:00:00:00:00:09', '--verbose', '--', 'out.wasm', '--no-stdin', '--entrypoint=--net', 'sh', '--net=x']);
    expect(runArguments(parsed('--invoke --runtime /w --wasi-addr 127.0.0.1:1 --wasmtime-cli-13 out.wasm'))).toEqual(['--net', '--runtime=/w', '--wasi-addr=127.0.0.1:1', '--wasmtime-cli-13', '--', 'out.wasm']);
    expect(runArguments(parsed('--invoke --wasi-addr 127.0.0.1:1 --wasmtime-cli-13 out.wasm'))).toEqual(['--net', '--', 'out.wasm']);
  });
});

describe('--listen-ws', () => {
  /** A page's WebSocket, at the path that c2w's examples use. */
  function page(url: string, headers: Record<string, string> = { origin: PAGE }): GuestSocket {
    return new GuestSocket(new WebSocket(url, [], { headers, ...(OPENSSL && url.startsWith('wss') ? { ca: readFileSync(join(dir, 'cert.pem')) } : {}) }));
  }

  test('pages of allowed origins are on one network, at any path; others are refused, and the log says how to let them in', async () => {
    const server = c2wNet(['--listen-ws', '--allow-origin', PAGE, 'localhost:0']);
    const url = await server.says(/listening on (ws:\/\/localhost:\d+\/)\n/);
    const [first, second] = [page(url), page(`${url}any/path`)];
    await Promise.all([first.opened(), second.opened()]);
    const guests = [new TinyGuest(first, '02:00:00:00:0a:01'), new TinyGuest(second, '02:00:00:00:0a:02')];
    for (const guest of guests) await guest.dhcp();
    expect(guests.map(({ ip }) => formatIpv4(ip))).toEqual(['192.168.127.3', '192.168.127.4']);
    expect(await page(url, { origin: 'https://evil.example' }).ended()).toBe('http 403');
    expect(await page(url, {}).ended()).toBe('http 403');
    expect(await page(url, { origin: PAGE, host: 'evil.example' }).ended()).toBe('http 403');
    expect(server.stderr).toContain('--allow-origin https://evil.example');
    const answer = await fetch(url.replace('ws', 'http'));
    expect([answer.status, await answer.text()]).toEqual([426, 'this is where WebSockets come in\n']);
    server.child.kill('SIGTERM');
    expect((await server.finished).status).toBe(0);
  });

  test('-p leads to the page that came last, whatever address it has', async () => {
    const port = await freePort();
    const server = c2wNet(['--listen-ws', '--debug', '--allow-origin', PAGE, '-p', `${port}:7`, 'localhost:0']);
    const url = await server.says(/listening on (ws:\S+)\n/);
    for (const last of ['3', '4']) {
      const mac = `02:00:00:00:0b:0${last}`;
      const socket = page(url);
      await socket.opened();
      await new TinyGuest(socket, mac).dhcp();
      expect(server.stderr).toContain(`dhcp ack ${mac} 192.168.127.${last}`);
      const guest = new ApiGuest(createWebSocketStream(socket.ws) as unknown as Socket, `192.168.127.${last}`, mac);
      await guest.isUp();
      expect(await shout(port, `to ${last}`)).toBe(`TO ${last}`);
    }
    server.child.kill('SIGTERM');
    await server.finished;
  });

  test.skipIf(!OPENSSL)('--enable-tls: wss, with the certificate that was given; a wrong one is one line', async () => {
    const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const server = c2wNet(['-listen-ws', '-enable-tls', '-ws-cert', cert, '-ws-key', key, '-allow-origin', PAGE, 'localhost:0']);
    const url = await server.says(/listening on (wss:\S+)\n/);
    const socket = page(url);
    await socket.opened();
    expect(formatIpv4((await new TinyGuest(socket).dhcp()).yourIp)).toBe('192.168.127.3');
    server.child.kill('SIGTERM');
    expect((await server.finished).status).toBe(0);
    const [swapped, gone] = await Promise.all([[key, cert], [cert, join(dir, 'none')]].map(([c, k]) => c2wNet(['--listen-ws', '--enable-tls', '--ws-cert', c, '--ws-key', k, 'localhost:0']).finished));
    expect([swapped.status, swapped.stderr]).toEqual([1, expect.stringMatching(/^c2w-net: .*key\.pem and .*cert\.pem are no certificate with its key, in PEM: .*\n$/)]);
    expect([gone.status, gone.stderr]).toEqual([1, `c2w-net: can't read ${join(dir, 'none')}: ENOENT\n`]);
  });
});

test('ADDR: a network for the runtime that listens there, with its forwards, until it hangs up', async () => {
  const runtime = createServer().listen(0, '127.0.0.1');
  await once(runtime, 'listening');
  const { port } = runtime.address() as AddressInfo;
  const free = await freePort();
  const accepted = once(runtime, 'connection') as Promise<[Socket]>;
  const net = c2wNet(['-p', `${free}:7`, '--mac', '02:00:00:00:00:01', `127.0.0.1:${port}`]);
  const [socket] = await accepted;
  const guest = new ApiGuest(socket);
  await guest.isUp();
  expect(await shout(free, 'hello')).toBe('HELLO');
  guest.close();
  socket.destroy();
  expect((await net.finished).status).toBe(0);
  await new Promise((resolve) => runtime.close(resolve));
});

test.skipIf(!existsSync(BUSYBOX))('--invoke -p: a web server in the container, as container2wasm\'s documents show it', async () => {
  const port = await freePort();
  const script = 'mkdir /www; echo "It works!" >/www/index.html; httpd -f -p 80 -h /www';
  const net = c2wNet(['--invoke', '-p', `localhost:${port}:80`, BUSYBOX, '--net=socket', 'sh', '-c', script]);
  const ask = (): Promise<string> => fetch(`http://127.0.0.1:${port}/`).then((response) => response.text(), () => '');
  await expect.poll(ask, { timeout: 60_000, interval: 200 }).toBe('It works!\n');
  net.child.kill('SIGTERM');
  expect((await net.finished).status).toBe(143);
}, 90_000);

test('--invoke: arguments and status are the container\'s', async () => {
  const image = fileURLToPath(await compileFixture('conformance.c'));
  const [args, exit, none] = await Promise.all([
    c2wNet(['--invoke', '--wasi-addr', '127.0.0.1:1234', image, '--net=socket', 'args', 'ü']).finished,
    c2wNet(['-invoke', '-wasmtime-cli-13', image, 'exit', '42']).finished,
    c2wNet(['--invoke', join(dir, 'none.wasm')]).finished,
  ]);
  expect(args).toMatchObject({ status: 0, stdout: expect.stringMatching(/\[02:00:00:00:00:01\]\[args\]\[ü\]/) });
  expect(exit.status).toBe(42);
  expect([none.status, none.stderr]).toEqual([1, expect.stringContaining('none.wasm')]);
}, 120_000);
