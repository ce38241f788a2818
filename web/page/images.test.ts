import { describe, expect, it } from 'vitest';
import { defaultImage, parseManifest } from './images.ts';

const MANIFEST_URL = 'http://localhost:8080/images/manifest.json';
const entry = { name: 'debian', title: 'Debian 13', description: 'bash', file: 'debian.wasm', bytes: 1000, sha256: 'a'.repeat(64), disk: { file: 'debian.disk', bytes: 5000 } };
const list = (...images: unknown[]) => parseManifest({ version: 1, images }, MANIFEST_URL);

describe('parseManifest', () => {
  it('resolves files against the list', () => {
    expect(list(entry)).toEqual([
      { name: 'debian', title: 'Debian 13', description: 'bash', url: 'http://localhost:8080/images/debian.wasm', bytes: 1000, sha256: 'a'.repeat(64), diskBytes: 5000, isDefault: false, converted: null },
    ]);
  });

  it('fills in what may be missing', () => {
    expect(list({ name: 'x', file: 'x.wasm', bytes: -3, sha256: 'AB', disk: 7 })).toMatchObject([{ title: 'x', description: '', bytes: 0, sha256: null, diskBytes: 0 }]);
  });

  it('believes no id that is none', () => {
    expect(list({ ...entry, converted: 'b'.repeat(32) }, { ...entry, converted: '../x' }, { ...entry, converted: 1 })?.map(({ converted }) => converted)).toEqual(['b'.repeat(32), null, null]);
  });

  it('leaves out entries that cannot be used', () => {
    expect(list(null, 'x', {}, { name: '', file: 'a' }, { name: 'a' }, { name: 'a', file: 'javascript:x' }, { name: 'a', file: 'http://:' }, entry)).toHaveLength(1);
    expect(list(...Array.from({ length: 300 }, () => entry))).toHaveLength(200);
  });

  it('refuses what is not a manifest', () => {
    for (const manifest of [null, 1, 'x', [], {}, { version: 2, images: [] }, { version: 1, images: {} }]) expect(parseManifest(manifest, MANIFEST_URL)).toBeNull();
  });
});

describe('defaultImage', () => {
  it('is the marked one, else the first', () => {
    expect(defaultImage(list({ ...entry, name: 'a' }, { ...entry, name: 'b', default: true })!)?.name).toBe('b');
    expect(defaultImage(list({ ...entry, name: 'a' }, { ...entry, name: 'b' })!)?.name).toBe('a');
    expect(defaultImage([])).toBeUndefined();
  });
});
