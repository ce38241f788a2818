import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { describeImage, readImage } from './image-file.ts';
import { openSave } from './save-on-disk.ts';

const folder = mkdtempSync(join(tmpdir(), 'portside-image-file-'));
afterAll(() => { rmSync(folder, { recursive: true }); });
const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const file = (bytes: number[]): string => {
  const path = join(folder, 'image.wasm');
  writeFileSync(path, Uint8Array.from(bytes));
  return path;
};
const bad = (message: RegExp): unknown => expect.objectContaining({ code: 'RELAY_BAD_IMAGE', message: expect.stringMatching(message) });

test('an image that was cut off, or whose lengths are none, is damaged', async () => {
  expect(await describeImage(file([...HEADER, 1, 1, 0]))).toMatchObject({ ours: false });
  for (const cut of [[1], [1, 90], [1, 2, 0], [0, 0xff, 0xff, 0xff, 0xff, 0x0f], [0, 0x80, 0x80, 0x80, 0x80, 0x10], [0, 0x80, 0x80, 0x80, 0x80, 0x80, 0], [1, 1, 0, 9]]) {
    await expect(describeImage(file([...HEADER, ...cut])), cut.join(' ')).rejects.toEqual(bad(/is damaged or incomplete$/));
  }
  for (const none of [[], HEADER.slice(0, 3), [...HEADER.slice(0, 3), 0x6e]]) for (const read of [describeImage, readImage]) await expect(read(file(none))).rejects.toEqual(bad(/is not a wasm file(, but .+)?$/));
});

test.runIf(process.platform === 'linux')('what is no file is neither waited for nor read to its end, as an image or as a save', async () => {
  const fifo = join(folder, 'fifo');
  expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
  for (const path of [fifo, folder, '/dev/zero']) {
    for (const read of [describeImage, readImage]) await expect(read(path)).rejects.toEqual(bad(/is no file$/));
    await expect(openSave(path)).rejects.toMatchObject({ code: 'RELAY_BAD_SAVE', message: `${path} is no file` });
  }
  await expect(readImage(join(folder, 'none'))).rejects.toEqual(bad(/can't read .*: ENOENT$/));
}, 10_000);
