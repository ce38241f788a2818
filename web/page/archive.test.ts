/* What tells an archive of an image from other tars: its first name, as docker, podman, skopeo, buildkit and bazel write it. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { tarOf } from '../../image/convert/fixture.ts';
import { isImageArchive } from './archive.ts';

const DIGEST = '7a63127bd71f4609da166f906d0574433177bd7c86d3ef87b006542c033cefec';
const file = (...paths: string[]): Buffer => tarOf(paths.map((path) => ({ path, type: path.endsWith('/') ? '5' : '0' })));
const isImage = (...parts: (string | Uint8Array)[]): Promise<boolean> => isImageArchive(new File(parts.map((part) => new Uint8Array(typeof part === 'string' ? Buffer.from(part, 'latin1') : part)), 'x.tar'));

test('archives of images, compressed or not', async () => {
  for (const paths of [['blobs/', `blobs/sha256/${DIGEST}`], [`blobs/sha256/${DIGEST}`], ['oci-layout'], ['index.json'], ['./', './index.json'], ['./', 'blobs'], ['manifest.json'], [`${DIGEST}/`, `${DIGEST}/VERSION`], [`${DIGEST}.tar`], [`${DIGEST}.json`], [`sha256:${DIGEST}`]]) {
    expect([paths, await isImage(file(...paths)), await isImage(gzipSync(file(...paths)))]).toEqual([paths, true, true]);
  }
});

test('archives whose names have pax headers or GNU\'s in front of them', async () => {
  const pax = { path: './PaxHeaders/x', type: 'x', data: '20 mtime=1700000.5\n' };
  for (const members of [[pax, { path: 'blobs/', type: '5' }], [{ ...pax, type: 'g' }, pax, { path: './', type: '5' }, { ...pax, data: 'x'.repeat(2000) }, { path: './oci-layout' }], [{ path: '././@LongLink', type: 'L', data: 'n'.repeat(600) }, { path: 'manifest.json' }]]) expect(await isImage(tarOf(members))).toBe(true);
  expect(await isImage(tarOf([pax, { path: 'notes.txt' }, { path: 'manifest.json' }]))).toBe(false);
  expect(await isImage(tarOf([pax]))).toBe(false);
});

test('other files', async () => {
  for (const paths of [['notes.txt'], ['./', './notes.txt'], ['bin/', 'manifest.json'], ['app/index.json'], ['index.json5'], ['manifest.jsonl'], [DIGEST.slice(1)], ['blobstore/x'], ['./', './', './blobs/']]) {
    expect([paths, await isImage(file(...paths)), await isImage(gzipSync(file(...paths)))]).toEqual([paths, false, false]);
  }
  for (const parts of [[], ['\x1f'], ['\x1f\x8b'], ['\x1f\x8bno gzip'], ['manifest.json'], [new Uint8Array(100_000)]]) expect(await isImage(...parts)).toBe(false);
  // The beginning is enough.
  expect(await isImage(gzipSync(file('blobs/', ...Array.from({ length: 3000 }, (_, i) => `blobs/${Math.sin(i)}`))).subarray(0, -10))).toBe(true);
});
