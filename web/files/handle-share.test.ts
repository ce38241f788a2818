import { wasi } from '@bjorn3/browser_wasi_shim';
import { beforeEach, describe, expect, test } from 'vitest';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import type { ServedFile } from '../../shared/wasi/share-channel.ts';
import type { OpenHow } from '../../shared/wasi/share.ts';
import { FakeFolder } from './fake-handles.ts';
import { HandleShare } from './handle-share.ts';
import { Mounts } from './mounts.ts';

const READ: OpenHow = { reads: true, writes: false, creates: false, exclusive: false, truncates: false, appends: false, directory: false };
const WRITE: OpenHow = { ...READ, writes: true, creates: true };
const APPEND: OpenHow = { ...WRITE, appends: true };
const errno = (number: number): unknown => expect.objectContaining({ errno: number });
const bytes = (text: string): Uint8Array[] => [new TextEncoder().encode(text)];
const read = async (file: ServedFile): Promise<string> => {
  const into = new Uint8Array(10_000);
  return new TextDecoder().decode(into.subarray(0, await file.read(0, [into])));
};

let folder: FakeFolder;
let share: HandleShare;
const onDisk = (path: string): string => new TextDecoder().decode(folder.tree()[path]);
beforeEach(() => {
  folder = new FakeFolder('project');
  share = new HandleShare(folder.handle, 2n, 1000);
});

describe('a folder of this computer', () => {
  test('two that append lose nothing, whether they hold it open or open it for each line, and whatever offset they name', async () => {
    const held = await share.open('log', false, APPEND);
    const writers = [1, 2, 3].map(async (writer) => {
      for (let i = 0; i < 100; i++) {
        const file = writer === 1 ? held : await share.open('log', false, APPEND);
        await file.write(0, bytes(`${writer} ${i}\n`));
        if (file !== held) await file.close();
      }
    });
    await Promise.all(writers);
    await held.close();
    const lines = onDisk('log').split('\n').slice(0, -1);
    expect(lines.toSorted()).toEqual([1, 2, 3].flatMap((writer) => Array.from({ length: 100 }, (_, i) => `${writer} ${i}`)).toSorted());
    for (const writer of ['1', '2', '3']) expect(lines.filter((line) => line.startsWith(writer)).map((line) => Number(line.slice(2)))).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  test('what another program wrote meanwhile is appended to', async () => {
    const file = await share.open('log', false, APPEND);
    await file.write(0, bytes('one '));
    await file.sync(false);
    const other = await (await folder.handle.getFileHandle('log')).createWritable({ keepExistingData: true });
    await other.write({ type: 'write', position: 4, data: new TextEncoder().encode('another') });
    await other.close();
    expect((await file.stat()).size).toBe(11n);
    await file.write(0, bytes(' two'));
    await file.close();
    expect(onDisk('log')).toBe('one another two');
  });

  test('one of many that create a file exclusively is the first', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => share.open('lock', false, { ...WRITE, exclusive: true })));
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', ...Array.from({ length: 4 }, () => 'rejected')]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toEqual(errno(wasi.ERRNO_EXIST));
  });

  test('those that open a file at the same time write the same one', async () => {
    const files = await Promise.all([share.open('f', false, WRITE), share.open('f', false, WRITE)]);
    await Promise.all([files[0].write(0, bytes('ab')), files[1].write(2, bytes('cd'))]);
    for (const file of files) await file.close();
    expect(onDisk('f')).toBe('abcd');
    expect(folder.writers()).toBe(0);
  });

  test('a file that is removed while it is open is there for those who have it', async () => {
    const file = await share.open('f', false, WRITE);
    await file.write(0, bytes('old'));
    await share.setMode('f', 0o600);
    await share.unlink('f');
    expect(folder.tree()).toEqual({});
    await expect(share.stat('f')).rejects.toEqual(errno(wasi.ERRNO_NOENT));
    const other = await share.open('f', false, { ...WRITE, exclusive: true });
    await other.write(0, bytes('another'));
    expect(await file.stat()).toMatchObject({ links: 0n, size: 3n, mode: 0o600, type: wasi.FILETYPE_REGULAR_FILE });
    await file.write(3, bytes('er'));
    await file.setMode(0o640);
    expect([await read(file), (await file.stat()).mode]).toEqual(['older', 0o640]);
    await file.setSize(2);
    expect([(await file.stat()).size, (await other.stat()).size]).toEqual([2n, 7n]);
    expect((await file.stat()).ino).not.toBe((await other.stat()).ino);
    await file.close();
    await other.close();
    expect([onDisk('f'), folder.writers()]).toEqual(['another', 0]);
  });

  test('so is one that is replaced by a rename, and the one that replaces it goes on under its new name', async () => {
    const old = await share.open('f', false, WRITE);
    await old.write(0, bytes('old'));
    const other = await share.open('g', false, WRITE);
    await other.write(0, bytes('other'));
    await share.rename('g', 'f');
    await other.write(5, bytes('!'));
    expect([await read(old), await read(other)]).toEqual(['old', 'other!']);
    await old.write(0, bytes('OLD'));
    await old.close();
    await other.close();
    expect([Object.keys(folder.tree()), onDisk('f')]).toEqual([['f'], 'other!']);
  });

  test('what finds no room without its name keeps it; the room comes back', async () => {
    const file = await share.open('f', false, WRITE);
    await file.setSize(1001);
    await expect(share.unlink('f')).rejects.toEqual(errno(wasi.ERRNO_NOSPC));
    expect((await share.stat('f')).size).toBe(1001n);
    for (let i = 0; i < 5; i++) {
      await file.setSize(900);
      const copy = await share.open('g', false, WRITE);
      await copy.write(0, [new Uint8Array(900)]);
      await share.unlink('g');
      await copy.close();
    }
    await file.close();
  });

  test('what writes nothing makes nothing longer, and names have an end', async () => {
    const file = await share.open('f', false, WRITE);
    await file.write(0, bytes('abc'));
    expect([await file.write(5000, [new Uint8Array(0)]), (await file.stat()).size]).toEqual([0, 3n]);
    await file.close();
    expect(onDisk('f')).toBe('abc');
    await expect(share.makeDirectory('ü'.repeat(128))).rejects.toEqual(errno(wasi.ERRNO_NAMETOOLONG));
    const reader = await share.open('f', false, READ);
    await expect(reader.write(0, bytes('x'))).rejects.toEqual(errno(wasi.ERRNO_BADF));
    await expect(reader.setSize(0)).rejects.toEqual(errno(wasi.ERRNO_INVAL));
    await reader.close();
  });

  test('a folder that is removed while it is open is not the next one of its name', async () => {
    await share.makeDirectory('d');
    const open = await share.open('d', false, { ...READ, directory: true });
    await share.removeDirectory('d');
    await open.setMode(0o700);
    expect([(await open.stat()).mode, (await open.stat()).links, await open.list()]).toEqual([0o700, 0n, []]);
    await share.makeDirectory('d');
    await (await share.open('d/f', false, WRITE)).close();
    expect([(await share.stat('d')).mode, await open.list()]).toEqual([0o755, []]);
    await open.close();
  });

  test('its root stays, and truncation when it is opened is that of all', async () => {
    await expect(share.removeDirectory('.')).rejects.toEqual(errno(wasi.ERRNO_BUSY));
    const file = await share.open('f', false, WRITE);
    await file.write(0, bytes('long'));
    await (await share.open('f', false, { ...WRITE, truncates: true })).close();
    await file.write(1, bytes('x'));
    await file.close();
    expect(onDisk('f')).toBe('\0x');
  });
});

describe('folders in the folder of memory', () => {
  test('nothing gets below a connected one but what is its own, whatever path leads there', async () => {
    const memory = new MemoryShare(10_000);
    const mounts = new Mounts(memory);
    expect(mounts.connect(folder.handle)).toBe('project');
    await mounts.makeDirectory('a');
    await mounts.symlink('project', 'link');
    await mounts.symlink('a', 'project2');
    for (const path of ['a/../project', 'link', './/a/.././project']) {
      expect(() => mounts.open(`${path}/x`, true, WRITE)).toThrow(errno(wasi.ERRNO_BUSY));
      expect(() => mounts.makeDirectory(`${path}/x`)).toThrow(errno(wasi.ERRNO_BUSY));
      expect(() => mounts.rename('a', `${path}/a`)).toThrow(errno(wasi.ERRNO_BUSY));
    }
    expect(() => mounts.removeDirectory('a/../project')).toThrow(errno(wasi.ERRNO_BUSY));
    expect(() => mounts.rename('a/../project', 'b')).toThrow(errno(wasi.ERRNO_BUSY));
    expect(() => mounts.rename('a', 'a/../project')).toThrow(errno(wasi.ERRNO_BUSY));
    await mounts.makeDirectory('project/d');
    expect(Object.keys(folder.tree())).toEqual(['d/']);
    mounts.disconnect('project');
    expect(() => memory.stat('project', false)).toThrow(errno(wasi.ERRNO_NOENT));
  });
});
