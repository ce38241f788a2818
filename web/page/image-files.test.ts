import { expect, test } from 'vitest';
import { archiveAmong, imageAmong, notAnImage } from './image-files.ts';

const files = (...names: string[]): File[] => names.map((name) => new File(['x'], name));

test('an image, and the disk that is its own', () => {
  expect(imageAmong(files('a.txt'))).toBeNull();
  expect(imageAmong([])).toBeNull();
  expect(imageAmong(files('App.WASM'))).toMatchObject({ wasm: { name: 'App.WASM' }, disk: null });
  expect(imageAmong(files('other.disk', 'debian.disk', 'debian.wasm'))).toMatchObject({ wasm: { name: 'debian.wasm' }, disk: { name: 'debian.disk' } });
  expect(imageAmong(files('renamed.wasm', 'debian.disk'))?.disk?.name).toBe('debian.disk');
});

test('what may be an archive of an image', () => {
  expect(['app.tar', 'app.TGZ', 'app.tar.gz', 'app.tar.xz', 'app.tar.zst'].map((name) => archiveAmong(files('a.txt', name))?.name)).toEqual(['app.tar', 'app.TGZ', 'app.tar.gz', 'app.tar.xz', 'app.tar.zst']);
  expect(archiveAmong(files('app.gz', 'tar', 'app.wasm'))).toBeUndefined();
});

test('what else was given is told from an image, by what is in it', async () => {
  expect(await notAnImage(files('app.tar.gz'))).toContain('portside convert app.tar.gz');
  expect(await notAnImage(files('notes.txt'))).toBe('notes.txt is not an image: those end in .wasm.');
  expect(await notAnImage([])).toBe('There was no file.');
  expect(await notAnImage([new File(['QFI\u00fb'.slice(0, 3), Uint8Array.of(0xfb, 0, 0, 0, 3)], 'vm.img')])).toMatch(/^vm\.img is no image, but a qcow2 disk: it belongs to a virtual machine/);
  expect(await notAnImage([new File([Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0)], 'a.zip')])).toMatch(/^a\.zip is no image, but a ZIP archive: unpack it/);
});
