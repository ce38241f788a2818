/*
 * Archives handed to a relay: who may, what is too much, and that nothing of a failed one is left. Real server, real folders, and the real
 * converter, which boots a machine: there is one whole conversion here, and e2e/archives.spec.ts has it in the page.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readBusybox, tarOf } from '../../image/convert/fixture.ts';
import { Converted, imageNameOf } from '../converted.ts';
import { TestRelay, until, type TestRelayOptions, type TestResponse } from '../fixture/test-relay.ts';

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-converted-')); });
afterAll(() => rmSync(dir, { recursive: true }));

const relays: TestRelay[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
});

const GARBAGE = 'this is no archive';

async function start(options: TestRelayOptions = {}, folder = mkdtempSync(join(dir, 'c-'))): Promise<{ relay: TestRelay; folder: string }> {
  const relay = await TestRelay.start({ ...options, config: { convertedDir: folder, ...options.config } });
  relays.push(relay);
  return { relay, folder };
}

function post(relay: TestRelay, body: string | Uint8Array, name = 'app.tar', headers: Record<string, string> = {}): Promise<TestResponse> {
  return relay.request(`/api/converted?name=${encodeURIComponent(name)}`, { method: 'POST', headers: { origin: relay.origin, ...headers }, body });
}

/** The lines of an answer that are not empty. */
function notices(response: TestResponse): Record<string, string>[] {
  return response.body.toString().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, string>);
}

/** An upload that says it has `bytes`, and sends `body`. */
function begin(relay: TestRelay, bytes: number, body: string | Uint8Array = '0123456789'): { socket: Socket; answer: () => string } {
  const socket = connect(relay.server.port, '127.0.0.1');
  sockets.push(socket);
  let heard = '';
  socket.on('data', (chunk: Buffer) => { heard += chunk.toString(); });
  socket.on('error', () => undefined);
  socket.write(`POST /api/converted HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Length: ${bytes}\r\n\r\n`);
  socket.write(body);
  return { socket, answer: () => heard };
}

/** of all processes, where the system tells */
function commandLines(): string[] {
  if (!existsSync('/proc/self/cmdline')) return [];
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    } catch {
      return '';
    }
  });
}

async function smallArchive(): Promise<Buffer> {
  const layer = tarOf([
    { path: 'bin', type: '5', mode: 0o755 }, { path: 'bin/busybox', data: await readBusybox(), mode: 0o755 }, { path: 'bin/sh', type: '2', link: 'busybox' },
  ]);
  const config = JSON.stringify({ os: 'linux', architecture: 'riscv64', config: { Cmd: ['/bin/sh'] } });
  return tarOf([{ path: 'c.json', data: config }, { path: 'layer.tar', data: layer }, { path: 'manifest.json', data: JSON.stringify([{ Config: 'c.json', RepoTags: ['a:1'], Layers: ['layer.tar'] }]) }]);
}

describe('who may', () => {
  test('nobody, where it is off', async () => {
    const { relay } = await start({ config: { convertedDir: null } });
    for (const method of ['GET', 'POST']) expect((await relay.request('/api/converted', { method, headers: { origin: relay.origin } })).status).toBe(404);
  });

  test('our own page and programs; no page of another origin, not even one that is let in', async () => {
    const { relay, folder } = await start({ config: { allowOrigins: ['https://friend.example'] } });
    const offer = await relay.request('/api/converted');
    expect([offer.status, JSON.parse(offer.body.toString())]).toEqual([200, { maxBytes: 2_000_000_000 }]);
    const foreign: Record<string, string>[] = [{ origin: 'https://evil.example' }, { origin: 'https://friend.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }, { origin: relay.origin, 'sec-fetch-site': 'same-site' }, { host: 'evil.example' }];
    for (const headers of foreign) {
      for (const [method, path] of [['GET', ''], ['POST', ''], ['DELETE', `/${'a'.repeat(32)}`]]) {
        expect([headers, (await relay.request(`/api/converted${path}`, { method, headers, body: GARBAGE })).status]).toEqual([headers, 403]);
      }
    }
    expect(readdirSync(folder)).toEqual([]);
    for (const [method, path, status] of [['PUT', '', 405], ['GET', '/x', 405], ['DELETE', '/..', 404], ['DELETE', '/..%2f..', 404], ['DELETE', `/${'a'.repeat(32)}`, 404], ['DELETE', '', 405]] as const) {
      expect([method, path, (await relay.request(`/api/converted${path}`, { method })).status]).toEqual([method, path, status]);
    }
  });
});

describe('what is too much', () => {
  test('an archive beyond the cap, announced or not', async () => {
    const { relay, folder } = await start({ limits: { maxArchiveBytes: 100_000 } });
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }] as Record<string, string>[]) {
      const answer = await post(relay, Buffer.alloc(20_000_000), 'app.tar', headers);
      expect([answer.status, JSON.parse(answer.body.toString())]).toMatchObject([413, { error: 'RELAY_LIMIT' }]);
      expect(readdirSync(folder)).toEqual([]);
    }
    expect((await post(relay, Buffer.alloc(100_001), 'app.tar')).status).toBe(413);
    expect((await post(relay, Buffer.alloc(100_000, 1))).status).toBe(200);
    expect(JSON.parse((await post(relay, '')).body.toString())).toMatchObject({ error: 'RELAY_CONVERT', message: 'The archive is empty.' });
  });

  test('another one while one is under way, and only then', async () => {
    const { relay, folder } = await start();
    const { socket } = begin(relay, 100);
    await until(() => readdirSync(folder).length === 1);
    const answer = await post(relay, GARBAGE);
    expect([answer.status, answer.headers['retry-after'], JSON.parse(answer.body.toString()).error]).toEqual([429, '5', 'RELAY_BUSY']);
    socket.destroy();
    await until(() => readdirSync(folder).length === 0);
    // Whoever has an answer may come again at once.
    for (let i = 0; i < 2; i++) expect((await post(relay, GARBAGE)).status).toBe(200);
  });

  test('all of them beyond the cap of the folder', async () => {
    const { relay, folder } = await start({ limits: { maxConvertedBytes: 10 } });
    const id = join(folder, 'b'.repeat(32));
    mkdirSync(id);
    writeFileSync(join(id, 'image.json'), '{"name":"old","file":"old.wasm"}');
    const answer = await post(relay, GARBAGE);
    expect([answer.status, JSON.parse(answer.body.toString()).error]).toEqual([507, 'RELAY_FULL']);
    expect((await relay.request(`/api/converted/${'b'.repeat(32)}`, { method: 'DELETE', headers: { origin: relay.origin } })).status).toBe(204);
    expect((await post(relay, GARBAGE)).status).toBe(200);
  });

  test('an archive that takes too long to come; it has more time than other bodies', async () => {
    const { relay, folder } = await start({ limits: { requestMs: 50, uploadMs: 800 } });
    const startedMs = performance.now();
    const { answer } = begin(relay, 20);
    await until(() => answer() !== '');
    expect(answer()).toMatch(/^HTTP\/1.1 408/);
    expect(performance.now() - startedMs).toBeGreaterThan(700);
    await until(() => readdirSync(folder).length === 0);
  });

  const mount = join(tmpdir(), `portside-full-${process.pid}`);
  mkdirSync(mount);
  const canMount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', mount]).status === 0;
  if (!canMount) console.warn('a full disk is not tested: not root, or no tmpfs');
  afterAll(() => {
    if (canMount) execFileSync('umount', [mount]);
    rmSync(mount, { recursive: true });
  });

  test.skipIf(!canMount)('a disk that is full, for the archive or for its image', async () => {
    const { relay } = await start({}, mount);
    const answer = await post(relay, Buffer.alloc(5_000_000, 1));
    expect([answer.status, JSON.parse(answer.body.toString()).error]).toEqual([507, 'RELAY_FULL']);
    expect(readdirSync(mount)).toEqual([]);
    expect(notices(await post(relay, await smallArchive())).at(-1)).toMatchObject({ error: 'RELAY_FULL' });
    expect(readdirSync(mount)).toEqual([]);
  }, 60_000);
});

describe('what is no image, and what ends early', () => {
  test('garbage, cut archives, bombs, another processor: a line that says so, without our paths', async () => {
    const { relay, folder } = await start({ limits: { maxUnpackedBytes: 1024 * 1024 } });
    const archive = tarOf([{ path: 'c.json', data: '{"os":"linux","architecture":"amd64"}' }, { path: 'manifest.json', data: '[{"Config":"c.json","Layers":[]}]' }]);
    for (const [body, text] of [[GARBAGE, 'a-b.tar is a text, no container image'], ['\0asm\x01\0\0\0', 'is a WebAssembly module, no container image: if it is an image of Portside or container2wasm, portside run'], [gzipSync(Buffer.from('QFI\xfb', 'latin1')), 'a-b.tar, unpacked, is a qcow2 disk'], ['<!doctype html><p>404', 'is a web page (HTML)'], [archive.subarray(0, 1300), 'cut off'], [gzipSync(Buffer.alloc(5e6)), 'unpacks to more'], [archive, 'made for linux/amd64'], [tarOf([{ path: '../../etc/passwd' }]), 'leaves its tree']] as const) {
      const answer = await post(relay, body, '../a b.tar');
      expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/x-ndjson; charset=utf-8']);
      const last = notices(answer).at(-1)!;
      expect(last).toMatchObject({ error: 'RELAY_CONVERT' });
      expect(last['message']).toContain(text);
      expect(last['message']).not.toContain(folder);
      expect(readdirSync(folder)).toEqual([]);
    }
  }, 120_000);

  test('an upload that is cut, a client that leaves a conversion, one that takes too long, a relay that stops', async () => {
    const { relay, folder } = await start({ limits: { convertMs: 1 } });
    for (const cut of ['end', 'destroy'] as const) {
      const { socket } = begin(relay, 1000);
      await until(() => readdirSync(folder).length === 1);
      socket[cut]();
      await until(() => readdirSync(folder).length === 0);
    }
    const archive = await smallArchive();
    expect(notices(await post(relay, archive)).at(-1)).toMatchObject({ error: 'RELAY_CONVERT', message: expect.stringContaining('took more than') });
    expect(readdirSync(folder)).toEqual([]);

    for (const leave of ['client', 'relay']) {
      const next = await start();
      const { socket, answer } = begin(next.relay, archive.length, archive);
      await until(() => answer().includes('"step"'));
      const [work] = readdirSync(next.folder);
      expect(work).toMatch(/^\.work-/);
      if (leave === 'client') socket.destroy();
      else await next.relay.server.close();
      await until(() => readdirSync(next.folder).length === 0);
      // The whole group has ended: nobody makes files there any more.
      await until(() => !commandLines().some((line) => line.includes(join(next.folder, work))));
    }
  }, 60_000);

  test('work of a process that is no more goes with the next archive', async () => {
    const { relay, folder } = await start();
    mkdirSync(join(folder, '.work-4194305-abc/out'), { recursive: true });
    mkdirSync(join(folder, `.work-${process.ppid}-abc`));
    await post(relay, GARBAGE);
    expect(readdirSync(folder)).toEqual([`.work-${process.ppid}-abc`]);
  });
});

test('an archive becomes an image: listed, served, found again, removed', async () => {
  const { relay, folder } = await start({ files: { 'images/manifest.json': JSON.stringify({ version: 1, images: [{ name: 'my-app-1', file: 'x.wasm' }] }) } });
  const archive = gzipSync(await smallArchive());
  const answer = await post(relay, archive, 'My App_1.tar.gz');
  const said = notices(answer);
  expect(said.at(-1)).toEqual({ name: 'my-app-1-2' });
  expect(said.map(({ step }) => step)).toContain('booting it for its snapshot');
  const listed = async (from: TestRelay): Promise<Record<string, unknown>[]> => JSON.parse((await from.request('/images/manifest.json')).body.toString()).images;
  const [, image] = await listed(relay);
  const id = image['converted'] as string;
  expect(image).toMatchObject({ name: 'my-app-1-2', title: 'My App_1', description: 'made of My App_1.tar.gz', file: `converted/${id}/my-app-1.wasm`, disk: { bytes: expect.any(Number) } });
  const wasm = await relay.request(`/images/${image['file']}`);
  expect([wasm.status, wasm.headers['content-type'], wasm.headers['x-portside-bytes'], wasm.body.length]).toEqual([200, 'application/wasm', String(image['bytes']), image['bytes']]);
  const disk = `/images/converted/${id}/${(image['disk'] as { file: string }).file}`;
  expect((await relay.request(disk, { headers: { range: 'bytes=1024-1027' } })).body.toString('hex')).toBe('e2e1f5e0');
  expect((await relay.request('/images/converted/../../etc/passwd')).status).toBe(404);
  expect(readdirSync(folder)).toEqual([id]);

  // Once more, under another name and to another relay of the same folder: it is there already.
  const { relay: second } = await start({ limits: { convertMs: 1 } }, folder);
  expect(notices(await post(second, archive, 'other.tar.gz'))).toEqual([{ name: 'my-app-1-2' }]);
  expect((await listed(second)).map(({ name }) => name)).toEqual(['my-app-1-2']);

  expect((await relay.request(`/api/converted/${id}`, { method: 'DELETE', headers: { origin: relay.origin } })).status).toBe(204);
  expect([(await listed(relay)).length, (await relay.request(disk)).status, readdirSync(folder)]).toEqual([1, 404, []]);
}, 120_000);

test('names of images, and folders that are none', async () => {
  for (const [file, name] of [['python-3.13.tar', 'python-3-13'], ['A B.tar.gz', 'a-b'], ['x.tgz', 'x'], ['.tar', 'container'], ['中文.tar', 'container'], [`${'a'.repeat(39)}..b.tar.zst`, 'a'.repeat(39)], ['', 'container']]) expect([file, imageNameOf(file)]).toEqual([file, name]);
  const folder = mkdtempSync(join(dir, 'c-'));
  for (const [id, text] of [['c'.repeat(32), 'no JSON'], ['d'.repeat(32), '{}'], ['e'.repeat(32), '{"name":"e","file":"e.wasm"}'], ['not-an-id', '{"name":"n","file":"n.wasm"}']]) {
    mkdirSync(join(folder, id));
    writeFileSync(join(folder, id, 'image.json'), text);
  }
  expect((await new Converted(folder).list()).map(({ name }) => name)).toEqual(['e']);
  expect(await new Converted(join(folder, 'none')).list()).toEqual([]);
});
