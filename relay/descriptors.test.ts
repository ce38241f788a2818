/* A relay that may open few files, and guests that open more: in processes of their own, under real limits. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { DESCRIPTORS_LEAST, shareDescriptors, udpFlowsOf } from './config.ts';
import { Descriptors } from './descriptors.ts';
import { FloodGuest, Source } from './fixture/flood.ts';
import { killLeftovers, Portside } from './fixture/portside-process.ts';
import { until } from './fixture/test-relay.ts';

// Processes of their own start slowly on a busy machine.
vi.setConfig({ testTimeout: 90_000 });

const LIMITS = [64, 256, 1024];
const BODY_BYTES = 3_000_000;
/** of the limit that is never used up, however much a guest opens */
const LEFT_LEAST = 6;

let folder: string;
const closers: (() => unknown)[] = [];
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'portside-files-')); });
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  killLeftovers();
  rmSync(folder, { recursive: true, force: true });
});

async function source(bytes: number): Promise<{ source: Source; port: number }> {
  const made = new Source(bytes);
  closers.push(() => made.close());
  return { source: made, port: await made.listen() };
}

async function joined(guest: FloodGuest): Promise<FloodGuest> {
  closers.push(() => guest.close());
  await guest.join();
  return guest;
}

/** `listen` with its API, and a guest on it. */
async function listening(files: number): Promise<{ relay: Portside; guest: FloodGuest }> {
  const relay = new Portside(['listen', `unix:${folder}/net`, '--services', `unix:${folder}/api`], { files });
  await relay.says(/listening on (.*)\n/);
  const socket = connect(join(folder, 'net'));
  await once(socket, 'connect');
  return { relay, guest: await joined(new FloodGuest(socket)) };
}

function get(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ socketPath: join(folder, 'api'), path, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => { text += chunk.toString(); });
      response.on('end', () => resolve(text));
    }).on('error', reject).end();
  });
}

/** of a process, or 0 where nothing says so */
function opened(relay: Portside): number {
  try {
    return readdirSync(`/proc/${relay.child.pid}/fd`).length;
  } catch {
    return 0;
  }
}

function expectWell(relay: Portside, files: number): void {
  expect([relay.child.exitCode, relay.child.signalCode]).toEqual([null, null]);
  expect(opened(relay)).toBeLessThanOrEqual(files - LEFT_LEAST);
  expect(relay.stderr).not.toContain('bug');
}

describe.skipIf(process.platform === 'win32')('a guest opens more than there is', () => {
  test.each(LIMITS)('datagrams to as many ports, under a limit of %i: questions are answered, TCP and the API work', async (files) => {
    const { relay, guest } = await listening(files);
    const body = await source(BODY_BYTES);
    await guest.floodUdp(2 * files);
    expect(await guest.ask()).toMatch(/^[02345]/);
    expect(await guest.download(body.port)).toBe(body.source.digest);
    expect(await get('/metrics')).toContain('portside_host_exhausted_total');
    expectWell(relay, files);
    expect(guest.isLinkGone).toBe(false);
  });

  test.each(LIMITS)('as many connections, under a limit of %i: what goes beyond is refused and said once, and what is closed can be had again', async (files) => {
    const { relay, guest } = await listening(files);
    const [silent, body] = [await source(0), await source(BODY_BYTES)];
    const count = Math.floor(1.5 * files);
    const { established, refused } = await guest.floodTcp(silent.port, count);
    expect([established > 0, refused > 0, established + refused]).toEqual([true, true, count]);
    expect(await guest.ask()).toMatch(/^[02345]/);
    expect(relay.stderr.match(/no descriptor, memory or port left/g)).toHaveLength(1);
    expect(JSON.parse(await get('/stats'))).toBeTypeOf('object');
    expect(Number(/^portside_host_exhausted_total (\d+)$/m.exec(await get('/metrics'))?.[1])).toBeGreaterThanOrEqual(refused);
    expectWell(relay, files);
    guest.hangUp();
    await until(() => silent.source.connections === 0);
    expect(await guest.download(body.port)).toBe(body.source.digest);
    expect((await guest.floodTcp(silent.port, 4)).established).toBe(4);
    expectWell(relay, files);
  });

  test.each(LIMITS)('serve, under a limit of %i: another session keeps its link, and its download ends with the right bytes', async (files) => {
    const relay = new Portside(['serve', '--port', '0', '--allow-origin', '*'], { files });
    const url = await relay.ready();
    const [silent, body] = [await source(0), await source(8 * BODY_BYTES)];
    const [flooding, downloading] = [await joined(await FloodGuest.overWebSocket(url)), await joined(await FloodGuest.overWebSocket(url))];
    let isUnderWay: () => void = () => {};
    const underWay = new Promise<void>((resolve) => (isUnderWay = resolve));
    const download = downloading.download(body.port, () => isUnderWay());
    await underWay;
    await flooding.floodUdp(2 * files);
    const { refused } = await flooding.floodTcp(silent.port, files);
    expect(refused).toBeGreaterThan(0);
    expect(await flooding.ask()).toMatch(/^[02345]/);
    expect(await download).toBe(body.source.digest);
    // While the flood is held: a third one, names, a page, numbers.
    const third = await joined(await FloodGuest.overWebSocket(url));
    expect(await third.ask()).toMatch(/^[02345]/);
    expect(await third.download(body.port)).toBe(body.source.digest);
    expect(((await (await fetch(new URL('/api/health', url))).json()) as { links: number }).links).toBe(3);
    expect((await fetch(new URL('/metrics', url))).status).toBe(200);
    expectWell(relay, files);
    expect([flooding.isLinkGone, downloading.isLinkGone, third.isLinkGone]).toEqual([false, false, false]);
  });

  test('connections to the relay itself: what goes beyond is closed, and who is there stays', async () => {
    const relay = new Portside(['serve', '--port', '0', '--allow-origin', '*'], { files: 64 });
    const url = await relay.ready();
    const guest = await joined(await FloodGuest.overWebSocket(url));
    const body = await source(BODY_BYTES);
    const { port } = new URL(url);
    const sockets = Array.from({ length: 100 }, () => connect(Number(port), '127.0.0.1').on('error', () => {}));
    closers.push(() => sockets.forEach((socket) => socket.destroy()));
    await relay.says(/(connections at once: further ones are closed)/);
    expect(await guest.download(body.port)).toBe(body.source.digest);
    expectWell(relay, 64);
    for (const socket of sockets) socket.destroy();
    await until(async () => (await fetch(new URL('/api/health', url)).catch(() => null))?.status === 200);
  });

  test('none at all: what asks the host says what it knew, what wants a socket hears EMFILE, nothing is thrown, and afterwards all is as before', () => {
    const script = fileURLToPath(new URL('./fixture/exhausted.ts', import.meta.url));
    const root = fileURLToPath(new URL('..', import.meta.url));
    const { stdout, stderr } = spawnSync('sh', ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, '--import', 'tsx', script, folder], { cwd: root, encoding: 'utf8', timeout: 25_000 });
    expect(stderr).toBe('');
    const { before, during, after, ...said } = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(before).toMatchObject({ resolvers: 1, tcp: 'connected', udp: 'ECONNREFUSED', listenTcp: 'made', bindUdp: 'made', notifier: 'sent', stale: true });
    expect(during).toEqual({ resolvers: 1, hasIpv6: before['hasIpv6'], tcp: 'EMFILE', udp: 'EMFILE', listenTcp: 'RELAY_FORWARD', bindUdp: 'RELAY_FORWARD', ping: null, notifier: 'failed', stale: true });
    // How long the system's ping takes is not ours to say.
    expect({ ...after, ping: null }).toEqual({ ...before, ping: null });
    // No file names no server, which is this computer, as for glibc.
    expect(said).toEqual({ full: 'EMFILE', convert: 'RELAY_CONVERT', noFile: 1 });
  });

  test('too few to start with: one sentence, and what to do', () => {
    const bin = fileURLToPath(new URL('../bin/portside.mjs', import.meta.url));
    const { status, stderr } = spawnSync('sh', ['-c', `ulimit -n ${DESCRIPTORS_LEAST - 1}; exec "$0" "$@"`, process.execPath, bin, 'listen', 'tcp:127.0.0.1:0'], { encoding: 'utf8', timeout: 20_000 });
    expect([status, stderr]).toEqual([1, 'portside: this process may open too few files: raise the limit first, for instance by `ulimit -n 1024` (64 at least)\n']);
  });
});

describe('shares', () => {
  test('what is free is shared out whole, and never too thin', () => {
    for (const free of [30, 100, 990, 1e6, Infinity]) {
      const shares = shareDescriptors(free)!;
      expect(shares.flows + shares.connections + shares.names).toBeLessThan(free - 8);
      expect(Math.min(shares.flows, shares.connections)).toBeGreaterThanOrEqual(6);
      expect(udpFlowsOf(shares, true, 4096)).toBeLessThanOrEqual(Math.min(4096, shares.flows / 4));
    }
    expect(shareDescriptors(20)).toBeNull();
  });

  test('a network that is alone may have all; of many, each leaves as much free as it holds', () => {
    const descriptors = new Descriptors({ flows: 16, connections: 6, names: 2 });
    const takeAll = (isAlone: boolean, isOwn = false): (() => void)[] => {
      const share = descriptors.share(isAlone);
      const taken: (() => void)[] = [];
      for (let give = share.take(isOwn); give !== null; give = share.take(isOwn)) taken.push(give);
      return taken;
    };
    const first = takeAll(false);
    const second = takeAll(false);
    const third = takeAll(false);
    expect([first.length, second.length, third.length]).toEqual([8, 4, 2]);
    // Names: its share of what is left, then the reserve.
    const names = takeAll(false, true);
    expect(names.length).toBe(1 + 2);
    for (const give of [...first, ...second, ...third, ...names]) give();
    expect(descriptors.flowsOpen).toBe(0);
    expect(takeAll(true).length).toBe(16);
  });
});
