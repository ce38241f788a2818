/** The network for a runtime that listens, with real sockets: a server here plays the runtime, a guest of our own stack its container. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { ApiGuest } from './fixture/api-guest.ts';
import { connect, parseConnectSpec, type Connecting, type ConnectOptions } from './connect.ts';
import { parseForward } from './listen.ts';

const folder = mkdtempSync(join(tmpdir(), 'portside-connect-'));
const path = join(folder, 'runtime');
const opened: Connecting[] = [];
let runtime: Server | null = null;
const lines: string[] = [];

afterEach(async () => {
  for (const connecting of opened.splice(0)) await connecting.close();
  await stopListening();
  rmSync(path, { force: true });
  lines.length = 0;
});

async function open(options: ConnectOptions = {}): Promise<Connecting> {
  const connecting = await connect(`unix:${path}`, { say: (line) => lines.push(line), ...options });
  opened.push(connecting);
  return connecting;
}

async function listen(onSocket: (socket: Socket) => void): Promise<void> {
  runtime = createServer(onSocket).listen(path);
  await once(runtime, 'listening');
}

async function stopListening(): Promise<void> {
  const server = runtime;
  runtime = null;
  if (server !== null) await new Promise((resolve) => server.close(resolve));
}

/** What a program on the guest's port 7 makes of `text`, by a forwarded port. */
async function shout(port: number, text: string): Promise<string> {
  const socket = dial(port, '127.0.0.1');
  socket.end(text);
  let answer = '';
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => { answer += chunk.toString(); });
  await once(socket, 'close');
  return answer;
}

test('waits for who is not there yet, serves it, and again after a break: the network stays', async () => {
  const connecting = await open({ forwards: [parseForward('0:7')] });
  const { hostPort } = connecting.network.forwards()[0];
  await expect.poll(() => lines).toEqual([`waiting for unix:${path} (ENOENT)`]);
  for (const text of ['first', 'second']) {
    let link: Socket | null = null;
    await listen((socket) => { link = socket; });
    await expect.poll(() => link, { timeout: 10_000 }).not.toBeNull();
    const guest = new ApiGuest(link!);
    await guest.isUp();
    expect(await shout(hostPort, text)).toBe(text.toUpperCase());
    guest.close();
    link!.destroy();
    await stopListening();
  }
  await expect.poll(() => lines.filter((line) => line.startsWith('waiting')).length).toBe(2);
  expect(lines.filter((line) => !line.startsWith('waiting'))).toEqual([1, 2].flatMap(() => [`connected to unix:${path}`, `unix:${path} has closed the connection`]));
  await expect.poll(() => connecting.network.stats()['linksOpen']).toBe(0);
}, 30_000);

test('who hangs up at once is asked again ever more seldom', async () => {
  const times: number[] = [];
  await listen((socket) => {
    times.push(performance.now());
    socket.destroy();
  });
  await open();
  await expect.poll(() => times.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(5);
  // 50, 100, 200 and 400 ms, and Node's timers may be 1 ms early.
  expect(times[4] - times[0]).toBeGreaterThan(740);
}, 30_000);

test('bytes that are no frames end the link, and the next one is served', async () => {
  let links = 0;
  await listen((socket) => {
    socket.on('error', () => {});
    socket.resume();
    if (links++ === 0) socket.write('HTTP/1.1 400 Bad Request\r\n\r\n');
  });
  const connecting = await open();
  await expect.poll(() => links, { timeout: 10_000 }).toBe(2);
  expect(connecting.network.stats()['linksOpen']).toBe(1);
  opened.splice(0);
  await connecting.close();
  await connecting.close();
});

test('one link only: over with it, or an error that says what to do when none comes', async () => {
  await listen((socket) => void socket.destroy());
  await (await open({ onceWithinMs: 10_000 })).ended;
  await stopListening();
  await expect((await open({ onceWithinMs: 100 })).ended).rejects.toMatchObject({ code: 'RELAY_CONNECT', message: expect.stringMatching(/nobody answers at unix:.* \((ENOENT|ECONNREFUSED)\): start what listens there/) });
});

test('a forward that cannot be had is an error at once', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  await expect(open({ forwards: [parseForward(`${(taken.address() as AddressInfo).port}:7`)] })).rejects.toMatchObject({ code: 'RELAY_FORWARD' });
  taken.close();
});

test('specs', () => {
  expect([':1234', 'h:1', 'tcp:h:1', '[::1]:2', 'unix:/x:1'].map((text) => parseConnectSpec(text).spec)).toEqual(['tcp:127.0.0.1:1234', 'tcp:h:1', 'tcp:h:1', 'tcp:[::1]:2', 'unix:/x:1']);
  expect(parseConnectSpec('[::1]:2').options).toEqual({ host: '::1', port: 2 });
  for (const bad of ['', 'h', 'h:0', 'h:70000', 'h:x', '::1:2', 'udp:h:1', 'http://h:1', 'unix:']) expect(() => parseConnectSpec(bad), bad).toThrow(expect.objectContaining({ code: 'RELAY_BAD_FLAG' }));
});
