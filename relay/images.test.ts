import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestRelay } from './fixture/test-relay.ts';
import { Images } from './images.ts';

const WASM = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const BUILT = { name: 'debian', title: 'Debian', description: 'd', file: 'debian.wasm', bytes: 8, sha256: 'ab', default: true };
let dir: string;

beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'portside-images-')); });
afterEach(() => rmSync(dir, { recursive: true }));

function file(name: string, contents: string | Uint8Array): string {
  writeFileSync(join(dir, name), contents);
  return join(dir, name);
}

test('nothing built is an empty list; what is built may come later', async () => {
  const images = new Images(join(dir, 'none'));
  expect(await images.manifest()).toEqual({ version: 1, images: [] });
  const later = new Images(dir);
  expect((await later.manifest()).images).toEqual([]);
  file('manifest.json', JSON.stringify({ version: 1, images: [BUILT] }));
  expect((await later.manifest()).images).toEqual([BUILT]);
});

test('a manifest that is none is an error with its path', async () => {
  for (const text of ['', '[]', '{"version":2,"images":[]}', '{"version":1}', '{"version":1,"images":[{"name":1}]}', 'null']) {
    file('manifest.json', text);
    await expect(new Images(dir).manifest()).rejects.toMatchObject({ code: 'RELAY_BAD_IMAGE', message: expect.stringContaining('manifest.json') });
  }
});

test('files and URLs join the built ones; the first is the default where none is', async () => {
  const images = new Images(join(dir, 'none'));
  await images.add(file('my image.wasm', WASM));
  await images.add(file('other.wasm', WASM));
  file('other.disk', 'disk!');
  await images.add(join(dir, 'other.wasm'));
  await images.add('https://example.org/a/vim.wasm?x=1');
  const { images: list } = await images.manifest();
  expect(list.map(({ name, file: served }) => [name, served])).toEqual([
    ['my-image', 'my-image.wasm'], ['other', 'other.wasm'], ['other-2', 'other-2.wasm'], ['vim', 'https://example.org/a/vim.wasm?x=1'],
  ]);
  expect(list[0]).toMatchObject({ default: true, bytes: 8, sha256: '93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476' });
  expect(list[2]).toMatchObject({ disk: { file: 'other.disk', bytes: 5 } });
  expect(list[3].bytes).toBeUndefined();
  expect([...images.files.keys()]).toEqual(['my-image.wasm', 'other.wasm', 'other-2.wasm', 'other.disk']);
});

test('what is no wasm, or not there, is refused with its name', async () => {
  const images = new Images(dir);
  for (const source of [file('text.wasm', 'hello'), file('empty.wasm', ''), join(dir, 'gone.wasm'), dir, 'https://']) {
    await expect(images.add(source)).rejects.toMatchObject({ code: 'RELAY_BAD_IMAGE', message: expect.stringContaining(source) });
  }
});

test('the relay serves them: manifest, file, precompressed sibling, disk with ranges', async () => {
  const wasm = file('mine.wasm', WASM);
  file('mine.wasm.gz', 'gz');
  file('mine.disk', '0123456789');
  const relay = await TestRelay.start({ config: { images: [wasm, 'https://example.org/x.wasm'] }, files: { 'images/manifest.json': JSON.stringify({ version: 1, images: [BUILT] }) } });
  const manifest = JSON.parse((await relay.request('/images/manifest.json')).body.toString()) as { images: { name: string; default?: boolean }[] };
  expect(manifest.images.map((image) => [image.name, image.default])).toEqual([['debian', true], ['mine', undefined], ['x', undefined]]);
  const zipped = await relay.request('/images/mine.wasm', { headers: { 'accept-encoding': 'br, gzip' } });
  expect([zipped.body.toString(), zipped.headers['content-encoding'], zipped.headers['x-portside-bytes']]).toEqual(['gz', 'gzip', '8']);
  const part = await relay.request('/images/mine.disk', { headers: { range: 'bytes=2-3' } });
  expect([part.status, part.body.toString()]).toEqual([206, '23']);
  expect((await relay.health()).images).toBe(3);
  relay.write('images/manifest.json', 'broken');
  expect((await relay.request('/images/manifest.json')).body.toString()).toContain('mine');
  await relay.health();
  expect(relay.log).toEqual([expect.stringContaining('not a manifest')]);
  await relay.stop();
});
