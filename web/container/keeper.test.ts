import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { cacheName, CHUNK_BYTES, chunkKey, parseCacheName, type StoreMessage } from '../stored-image.ts';
import { ImageKeeper } from './keeper.ts';

const URL_OF_IMAGE = 'http://localhost:8080/images/x.wasm';
const SHA = 'a'.repeat(64);

/** cache name → body of the image in it */
let held: Map<string, string>;
let told: StoreMessage[];
const port = { postMessage: (message: StoreMessage) => { told.push(message); } } as unknown as MessagePort;

beforeEach(() => {
  held = new Map();
  told = [];
  vi.stubGlobal('location', new URL('http://localhost:8080/'));
  vi.stubGlobal('caches', {
    keys: async () => [...held.keys()],
    match: async (_url: string, { cacheName: name }: { cacheName: string }) => (held.has(name) ? new Response(held.get(name)) : undefined),
    delete: async (name: string) => held.delete(name),
  });
});
afterEach(() => { vi.unstubAllGlobals(); });

test('names of caches are read back, and only our own', () => {
  for (const version of [SHA, '"1-2 3.br"', 'W/"%20"']) expect(parseCacheName(cacheName(version, URL_OF_IMAGE))).toEqual({ version, imageUrl: URL_OF_IMAGE });
  for (const name of ['portside-page', '', 'portside-image', `portside-image ${SHA}`, 'other a b']) expect(parseCacheName(name)).toBeNull();
  expect(chunkKey('http://x/y.disk?of=1', 7)).toBe('http://x/y.disk?chunk=7');
});

test('with a SHA-256 exactly that version is taken, and nothing else', async () => {
  held.set(cacheName('b'.repeat(64), URL_OF_IMAGE), 'old');
  const keeper = new ImageKeeper(URL_OF_IMAGE, SHA, port);
  expect([await keeper.stored(), await keeper.anyVersion(), await keeper.sameAs(new Response('', { headers: { etag: 'b'.repeat(64) } }))]).toEqual([null, null, null]);
  held.set(cacheName(SHA, URL_OF_IMAGE), 'new');
  expect(await (await keeper.stored())?.text()).toBe('new');
  await keeper.forget();
  expect(await keeper.stored()).toBeNull();
});

test('without one the ETag decides, and the last copy serves when nobody answers', async () => {
  held.set(cacheName('"1"', URL_OF_IMAGE), 'one');
  const keeper = new ImageKeeper(URL_OF_IMAGE, null, port);
  expect(await keeper.stored()).toBeNull();
  expect(await keeper.sameAs(new Response('', { headers: { etag: '"2"' } }))).toBeNull();
  expect(await keeper.sameAs(new Response(''))).toBeNull();
  expect(await (await keeper.sameAs(new Response('', { headers: { etag: '"1"' } })))?.text()).toBe('one');
  expect(await (await keeper.anyVersion())?.text()).toBe('one');
  expect(await new ImageKeeper('http://localhost:8080/other.wasm', null, port).anyVersion()).toBeNull();
});

test('what arrives is told as copies; an image that nobody can tell from another is not kept', () => {
  const keeper = new ImageKeeper(URL_OF_IMAGE, null, port);
  keeper.begin(new Response(''));
  keeper.keep(Uint8Array.of(1));
  keeper.end();
  expect([told, keeper.diskUrl('x.disk')]).toEqual([[], 'http://localhost:8080/images/x.disk']);
  keeper.begin(new Response('', { headers: { etag: '"1"' } }));
  const bytes = Uint8Array.of(1, 2);
  keeper.keep(bytes);
  bytes.fill(9);
  keeper.end();
  expect(told).toEqual([{ type: 'begin', url: URL_OF_IMAGE, version: '"1"' }, { type: 'bytes', bytes: Uint8Array.of(1, 2) }, { type: 'end' }]);
});

test('a disk is told chunk by chunk, of our own origin only', () => {
  const keeper = new ImageKeeper(URL_OF_IMAGE, SHA, port);
  const url = keeper.diskUrl('x.disk');
  expect(url).toBe(`http://localhost:8080/images/x.disk?of=${SHA}`);
  keeper.keepDisk(url, 3 * CHUNK_BYTES, CHUNK_BYTES, new Uint8Array(CHUNK_BYTES + 5));
  expect(told.map((message) => message.type === 'disk' && [message.chunk, message.bytes.length, message.bytes.buffer.byteLength])).toEqual([[1, CHUNK_BYTES, CHUNK_BYTES], [2, 5, 5]]);
  const foreign = new ImageKeeper('https://elsewhere.example/x.wasm', SHA, port);
  expect(foreign.diskUrl('x.disk')).toBe('https://elsewhere.example/x.disk');
});

test('a browser that stores nothing is asked for nothing', async () => {
  vi.stubGlobal('caches', undefined);
  const keeper = new ImageKeeper(URL_OF_IMAGE, SHA, null);
  expect([await keeper.stored(), await keeper.anyVersion()]).toEqual([null, null]);
  keeper.keep(Uint8Array.of(1));
  expect(keeper.diskUrl('x.disk')).not.toContain('of=');
});
