import { mkdirSync, symlinkSync, utimesSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestRelay, type TestResponse } from './fixture/test-relay.ts';
import { parseRange } from './static.ts';

const DISK = Uint8Array.from({ length: 1000 }, (_, i) => i & 0xff);
let relay: TestRelay;

beforeAll(async () => {
  relay = await TestRelay.start({
    files: {
      'web/index.html': 'page',
      'web/assets/main-CkQ3xZ9a.js': 'hashed',
      'web/assets/plain.css': 'plain',
      'web/.secret': 'secret',
      'web/empty.txt': '',
      'images/a.wasm': 'uncompressed wasm',
      'images/a.wasm.br': 'br',
      'images/a.wasm.gz': 'gzip!',
      'images/only-gz.wasm': 'uncompressed',
      'images/only-gz.wasm.gz': 'gz',
      'images/a.disk': DISK,
      'secret.txt': 'secret',
      'web-not/x.txt': 'secret',
    },
  });
  mkdirSync(join(relay.dir, 'outside'));
  relay.write('outside/file.txt', 'secret');
  symlinkSync(join(relay.dir, 'outside'), join(relay.dir, 'web/folder-link'));
  symlinkSync(join(relay.dir, 'secret.txt'), join(relay.dir, 'web/file-link.txt'));
  symlinkSync(join(relay.dir, 'secret.txt'), join(relay.dir, 'images/only-gz.wasm.br'));
});
afterAll(() => relay.stop());

const get = (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<TestResponse> => relay.request(path, { headers, method });

test('the page, its headers, and HEAD', async () => {
  const page = await get('/');
  expect([page.status, page.body.toString(), page.headers['content-type'], page.headers['cache-control']]).toEqual([200, 'page', 'text/html; charset=utf-8', 'no-cache']);
  expect(page.headers).toMatchObject({
    'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp', 'cross-origin-resource-policy': 'same-origin',
    'x-content-type-options': 'nosniff', 'referrer-policy': 'same-origin', 'vary': 'Accept-Encoding',
  });
  expect(page.headers['content-security-policy']).toMatch(/default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
  const head = await get('/?image=debian', {}, 'HEAD');
  expect([head.status, head.body.length, head.headers['content-length'], head.headers.etag]).toEqual([200, 0, '4', page.headers.etag]);
  expect((await get('/assets/main-CkQ3xZ9a.js')).headers['cache-control']).toBe('public, max-age=31536000, immutable');
  expect((await get('/assets/plain.css')).headers['cache-control']).toBe('no-cache');
  expect((await get('/empty.txt')).headers['content-length']).toBe('0');
  expect((await get('/', {}, 'DELETE')).status).toBe(405);
});

test('no spelling of a path leads out of the folder', async () => {
  const attempts = [
    '/../secret.txt', '/..%2fsecret.txt', '/%2e%2e/secret.txt', '/%2e%2e%2fsecret.txt', '/assets/../../secret.txt', '/..%5csecret.txt', '/..\\secret.txt',
    '/%252e%252e/secret.txt', '/./../secret.txt', '//secret.txt', '/.%2e/secret.txt', '/assets/%00/../plain.css', '/index.html%00.txt', '/%c0%ae%c0%ae/secret.txt',
    '/images/../web/.secret', '/images/..%2f..%2fsecret.txt', '/../web-not/x.txt', '/.secret', '/%2esecret', '/folder-link/file.txt', '/file-link.txt',
    '/assets', '/assets/', '/images/', '/images', `/${'a'.repeat(300)}`, `/${'a/'.repeat(40)}b`, '/C:/secret.txt', '/index.html/', '/index.html/x',
  ];
  for (const path of attempts) {
    const response = await get(path);
    expect([path, response.status >= 400 && response.status < 500, response.body.includes('secret')]).toEqual([path, true, false]);
  }
  for (const path of ['/%', '/%zz', '/%ff']) expect((await get(path)).status).toBe(400);
  expect((await get('http://localhost/')).status).toBe(400);
});

describe('representations', () => {
  const cases: [string | undefined, string | undefined, string][] = [
    [undefined, undefined, 'uncompressed wasm'],
    ['', undefined, 'uncompressed wasm'],
    ['gzip, deflate, br, zstd', 'br', 'br'],
    ['gzip', 'gzip', 'gzip!'],
    ['x-gzip', 'gzip', 'gzip!'],
    ['br;q=0.5, gzip;q=0.8', 'gzip', 'gzip!'],
    ['br;q=0, gzip', 'gzip', 'gzip!'],
    ['br;q=0, gzip;q=0.0', undefined, 'uncompressed wasm'],
    ['*', 'br', 'br'],
    ['*, br;q=0', 'gzip', 'gzip!'],
    ['identity, br;q=0.5', undefined, 'uncompressed wasm'],
    ['identity;q=0.1, BR;Q=1', 'br', 'br'],
    ['br;q=nonsense', undefined, 'uncompressed wasm'],
    ['zstd', undefined, 'uncompressed wasm'],
  ];
  test.each(cases)('Accept-Encoding %j gets %j', async (accept, coding, body) => {
    const response = await get('/images/a.wasm', accept === undefined ? {} : { 'accept-encoding': accept });
    expect([response.headers['content-encoding'], response.body.toString(), response.headers['content-length']]).toEqual([coding, body, String(body.length)]);
    expect(response.headers).toMatchObject({ 'content-type': 'application/wasm', 'x-portside-bytes': '17', 'vary': 'Accept-Encoding' });
  });

  test('a sibling that is a symlink out of the folder is none; the next one is taken', async () => {
    const response = await get('/images/only-gz.wasm', { 'accept-encoding': 'br, gzip' });
    expect([response.headers['content-encoding'], response.body.toString(), response.headers['x-portside-bytes']]).toEqual(['gzip', 'gz', '12']);
  });

  test('each has its own ETag, and If-None-Match answers 304 without a body', async () => {
    const plain = (await get('/images/a.wasm')).headers.etag!;
    const brotli = (await get('/images/a.wasm', { 'accept-encoding': 'br' })).headers.etag!;
    expect(plain).toMatch(/^"[\w-]+"$/);
    expect(brotli).not.toBe(plain);
    for (const list of [plain, `W/${plain}`, `"other", ${plain}`, '*']) {
      const response = await get('/images/a.wasm', { 'if-none-match': list });
      expect([response.status, response.body.length, response.headers.etag]).toEqual([304, 0, plain]);
    }
    expect((await get('/images/a.wasm', { 'if-none-match': brotli })).status).toBe(200);
    expect((await get('/images/a.wasm', { 'if-none-match': plain, 'accept-encoding': 'br' })).status).toBe(200);
    expect((await get('/images/a.wasm', { 'if-match': '"other"' })).status).toBe(412);
    expect((await get('/images/a.wasm', { 'if-match': `W/${plain}` })).status).toBe(412);
    expect((await get('/images/a.wasm', { 'if-match': plain })).status).toBe(200);
  });

  test('dates: If-Modified-Since, unless there is an ETag to go by; a changed file has another ETag', async () => {
    const { headers } = await get('/images/a.wasm');
    const date = headers['last-modified']!;
    expect((await get('/images/a.wasm', { 'if-modified-since': date })).status).toBe(304);
    expect((await get('/images/a.wasm', { 'if-modified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' })).status).toBe(200);
    expect((await get('/images/a.wasm', { 'if-modified-since': 'yesterday' })).status).toBe(200);
    expect((await get('/images/a.wasm', { 'if-modified-since': date, 'if-none-match': '"x"' })).status).toBe(200);
    expect((await get('/images/a.wasm', { 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' })).status).toBe(412);
    utimesSync(join(relay.dir, 'images/a.wasm'), 1_000_000_000, 1_000_000_000);
    const changed = await get('/images/a.wasm', { 'if-none-match': headers.etag! });
    expect([changed.status, changed.headers['last-modified']]).toEqual([200, 'Sun, 09 Sep 2001 01:46:40 GMT']);
  });
});

describe('ranges', () => {
  test('one range of the plain file', async () => {
    for (const [range, start, stop] of [['bytes=0-0', 0, 1], ['bytes=10-19', 10, 20], ['bytes=990-', 990, 1000], ['bytes=-5', 995, 1000], ['bytes=-5000', 0, 1000], ['bytes=999-5000', 999, 1000]] as const) {
      const response = await get('/images/a.disk', { range });
      expect([response.status, response.headers['content-range'], response.headers['content-length']]).toEqual([206, `bytes ${start}-${stop - 1}/1000`, String(stop - start)]);
      expect(new Uint8Array(response.body)).toEqual(DISK.slice(start, stop));
    }
  });

  test('beyond the end is 416; what we do not know is ignored', async () => {
    for (const range of ['bytes=1000-', 'bytes=1000-1001', 'bytes=-0']) {
      const response = await get('/images/a.disk', { range });
      expect([response.status, response.headers['content-range'], response.body.length]).toEqual([416, 'bytes */1000', 0]);
    }
    for (const range of ['bytes=5-1', 'bytes=0-1,4-5', 'lines=1-2', 'bytes=', 'bytes=-', 'bytes=a-b', 'bytes=1', `bytes=0-${'9'.repeat(30)}`]) {
      expect([range, (await get('/images/a.disk', { range })).status]).toEqual([range, 200]);
    }
    expect(parseRange('bytes=0-0', 0)).toBe('unsatisfiable');
  });

  test('a range is never of a compressed form, and If-Range guards it', async () => {
    const response = await get('/images/a.wasm', { 'range': 'bytes=0-3', 'accept-encoding': 'br' });
    expect([response.status, response.body.toString(), response.headers['content-encoding'], response.headers['x-portside-bytes']]).toEqual([206, 'unco', undefined, '17']);
    const etag = response.headers.etag!;
    const status = async (ifRange: string): Promise<number> => (await get('/images/a.wasm', { 'range': 'bytes=0-3', 'if-range': ifRange })).status;
    expect([await status(etag), await status(`W/${etag}`), await status('"other"')]).toEqual([206, 200, 200]);
    expect([await status(response.headers['last-modified']!), await status('Thu, 01 Jan 1970 00:00:00 GMT')]).toEqual([206, 200]);
    expect((await get('/images/a.wasm', { 'range': 'bytes=0-3', 'if-none-match': etag })).status).toBe(304);
    const head = await get('/images/a.wasm', { range: 'bytes=0-3' }, 'HEAD');
    expect([head.status, head.headers['content-length'], head.headers['accept-ranges']]).toEqual([200, '17', 'bytes']);
  });
});

test('a reader that goes away in the middle leaves nothing behind, and no complaint', async () => {
  relay.write('images/large.wasm', new Uint8Array(8 * 1024 * 1024));
  await new Promise<void>((resolve) => {
    const socket = connect(relay.server.port, '127.0.0.1', () => socket.write('GET /images/large.wasm HTTP/1.1\r\nHost: localhost\r\n\r\n'));
    socket.once('data', () => socket.destroy());
    socket.once('close', () => resolve());
  });
  expect((await get('/images/large.wasm')).body.length).toBe(8 * 1024 * 1024);
  expect(relay.log).toEqual([]);
});
