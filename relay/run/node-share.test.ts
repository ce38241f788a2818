import { chmodSync, existsSync, linkSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { wasi } from '@bjorn3/browser_wasi_shim';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { exercise, EXPECTED } from '../../shared/wasi/fixtures/share-exercise.ts';
import type { OpenHow } from '../../shared/wasi/share.ts';
import { FileError } from '../../shared/wasi/share.ts';
import { NodeShare } from './node-share.ts';

const READ: OpenHow = { reads: true, writes: false, creates: false, exclusive: false, truncates: false, appends: false, directory: false };
const CREATE: OpenHow = { ...READ, writes: true, creates: true };
const linux = process.platform === 'linux';

let folder = '';
let root = '';
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'portside-node-share-')));
  root = join(folder, 'root');
  mkdirSync(join(root, 'dir/deep'), { recursive: true });
  writeFileSync(join(root, 'dir/file'), 'inside');
  mkdirSync(join(folder, 'outside'));
  writeFileSync(join(folder, 'outside/file'), 'outside');
});
afterEach(() => { rmSync(folder, { recursive: true }); });

/** errno of what `action` throws; 0 when it succeeds. */
function errno(action: () => unknown): number {
  try {
    action();
    return 0;
  } catch (error) {
    if (error instanceof FileError) return error.errno;
    throw error;
  }
}

function content(share: NodeShare, path: string, follow = false): string {
  const file = share.open(path, follow, READ);
  try {
    const bytes = new Uint8Array(100);
    return new TextDecoder().decode(bytes.subarray(0, file.read(0, [bytes])));
  } finally {
    file.close();
  }
}

describe.each([...(linux ? [['by descriptors', true] as const] : []), ['by real paths', false] as const])('confined %s', (_name, pinned) => {
  let share: NodeShare;
  beforeEach(() => { share = new NodeShare(root, pinned); });
  afterEach(() => { share.close(); });

  test('paths that leave the root are refused, whatever is asked of them', () => {
    symlinkSync('..', join(root, 'up'));
    symlinkSync(join(folder, 'outside'), join(root, 'absolute'));
    symlinkSync('../outside/file', join(root, 'to-file'));
    symlinkSync('dir/../../outside', join(root, 'winding'));
    const outside = ['../outside/file', 'dir/../../outside/file', 'up/outside/file', 'absolute/file', 'winding/file', '/etc/passwd', join(folder, 'outside/file')];
    for (const path of outside) {
      const calls = [
        () => share.stat(path, true), () => share.stat(path, false), () => share.open(path, true, READ), () => share.open(path, false, CREATE),
        () => { share.unlink(path); }, () => { share.rename(path, 'taken'); }, () => { share.rename('dir/file', path); }, () => { share.link(path, 'linked'); },
        () => { share.link('dir/file', path); }, () => { share.symlink('x', path); }, () => { share.makeDirectory(`${path}x`); }, () => share.readlink(path),
        () => { share.setMode(path, 0o777); }, () => { share.setTimes(path, false, { atimeNs: 1n, mtimeNs: 1n }); }, () => { share.removeDirectory(path); },
      ];
      for (const call of calls) expect(errno(call), `${path}: ${call}`).not.toBe(0);
    }
    // A link itself may be looked at and removed; through it there is no way.
    expect(share.stat('to-file', false).type).toBe(wasi.FILETYPE_SYMBOLIC_LINK);
    expect(errno(() => share.stat('to-file', true))).toBe(wasi.ERRNO_NOTCAPABLE);
    expect(errno(() => share.open('to-file', false, CREATE))).toBe(wasi.ERRNO_LOOP);
    expect(errno(() => { share.setMode('to-file', 0o777); })).not.toBe(0);
    share.setTimes('to-file', false, { atimeNs: 0n, mtimeNs: 0n });
    share.unlink('to-file');
    expect(readFileSync(join(folder, 'outside/file'), 'utf8')).toBe('outside');
    expect(statSync(join(folder, 'outside/file')).mtimeMs).toBeGreaterThan(1);
    expect(existsSync(join(root, 'to-file'))).toBe(false);
  });

  test('the root stays, whatever path leads to it', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const other = new NodeShare(empty, pinned);
    for (const path of ['.', './', './/.']) {
      expect([errno(() => { other.removeDirectory(path); }), errno(() => { other.rename(path, 'a'); }), errno(() => { other.unlink(path); })]).toEqual([wasi.ERRNO_INVAL, wasi.ERRNO_BUSY, wasi.ERRNO_ISDIR]);
      expect(errno(() => { share.rename('dir', path); })).toBe(wasi.ERRNO_BUSY);
    }
    other.close();
    expect(existsSync(empty)).toBe(true);
  });

  test('an open directory is listed where it is, or not at all', () => {
    const directory = share.open('dir', false, { ...READ, directory: true });
    renameSync(join(root, 'dir'), join(root, 'moved'));
    symlinkSync('../outside', join(root, 'dir'));
    const names = (): string[] => directory.list().map(({ name }) => name).toSorted();
    if (pinned) expect(names()).toEqual(['deep', 'file']);
    else expect(errno(names)).toBe(wasi.ERRNO_NOENT);
    rmSync(join(root, 'dir'));
    mkdirSync(join(root, 'dir/another'), { recursive: true });
    if (pinned) expect(names()).toEqual(['deep', 'file']);
    else expect(errno(names)).toBe(wasi.ERRNO_NOENT);
    directory.close();
  });

  test('it does what every share does', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const other = new NodeShare(empty, pinned);
    expect(exercise(other)).toEqual(EXPECTED);
    other.close();
  });

  test('links within the root lead where they say', () => {
    symlinkSync('dir', join(root, 'link'));
    symlinkSync('../dir/file', join(root, 'dir/self'));
    symlinkSync('loop', join(root, 'loop'));
    expect([content(share, 'link/file'), content(share, 'link/deep/../file'), content(share, 'dir/self', true), content(share, './dir//file')]).toEqual(Array.from({ length: 4 }, () => 'inside'));
    expect(errno(() => share.stat('loop', true))).toBe(wasi.ERRNO_LOOP);
    expect(errno(() => share.stat('loop/x', false))).toBe(wasi.ERRNO_LOOP);
    expect(errno(() => share.stat('dir/file/x', false))).toBe(wasi.ERRNO_NOTDIR);
    expect(errno(() => share.stat('none/x', false))).toBe(wasi.ERRNO_NOENT);
    expect(errno(() => share.stat('a\0b', false))).toBe(wasi.ERRNO_INVAL);
  });

  test.runIf(linux)('no FIFO is waited for, no device opened', () => {
    expect(spawnSync('mkfifo', [join(root, 'fifo')]).status).toBe(0);
    expect(errno(() => share.open('fifo', false, READ))).toBe(wasi.ERRNO_NXIO);
    expect(errno(() => share.open('fifo', false, { ...READ, writes: true }))).toBe(wasi.ERRNO_NXIO);
    expect(share.stat('fifo', false).type).toBe(wasi.FILETYPE_UNKNOWN);
  });

  test('modes are set but for those that give away rights; times to the microsecond', () => {
    share.setMode('dir/file', 0o6751);
    expect(statSync(join(root, 'dir/file')).mode & 0o7777).toBe(0o751);
    share.setTimes('dir/file', false, { atimeNs: 1_600_000_000_123_456_000n, mtimeNs: 1_500_000_000_654_321_000n });
    const { atimeNs, mtimeNs } = share.stat('dir/file', false);
    expect(Math.abs(Number(atimeNs - 1_600_000_000_123_456_000n))).toBeLessThanOrEqual(1000);
    expect(Math.abs(Number(mtimeNs - 1_500_000_000_654_321_000n))).toBeLessThanOrEqual(1000);
    share.setTimes('dir/file', false, { atimeNs: null, mtimeNs: 0n });
    expect(Math.abs(Number(share.stat('dir/file', false).atimeNs - atimeNs))).toBeLessThanOrEqual(1000);
  });

  test('the sizes, holes and ends of files', () => {
    const file = share.open('sparse', false, CREATE);
    const far = 5 * 2 ** 30;
    expect(file.write(far, [new Uint8Array([1, 2]), new Uint8Array([3])])).toBe(3);
    const parts = [new Uint8Array(2), new Uint8Array(4)];
    expect(file.read(far - 1, parts)).toBe(4);
    expect(parts.map((part) => [...part])).toEqual([[0, 1], [2, 3, 0, 0]]);
    expect(file.read(far + 3, parts)).toBe(0);
    expect(file.stat().size).toBe(BigInt(far + 3));
    file.setSize(1);
    file.sync(true);
    expect(statSync(join(root, 'sparse')).size).toBe(1);
    file.close();
    expect(errno(() => share.open('sparse', false, { ...CREATE, exclusive: true }))).toBe(wasi.ERRNO_EXIST);
    expect(errno(() => share.open('dir', false, CREATE))).toBe(wasi.ERRNO_ISDIR);
    expect(errno(() => share.open('sparse', false, { ...READ, directory: true }))).toBe(wasi.ERRNO_NOTDIR);
    expect(errno(() => { share.unlink('dir'); })).toBe(wasi.ERRNO_ISDIR);
    expect(errno(() => { share.removeDirectory('dir'); })).toBe(wasi.ERRNO_NOTEMPTY);
    linkSync(join(root, 'sparse'), join(root, 'second'));
    expect(share.stat('second', false).links).toBe(2n);
  });

  test('a listing says what is there, and names that this computer cannot read are errors', () => {
    const directory = share.open('dir', false, { ...READ, directory: true });
    expect(directory.list().map(({ name, type }) => [name, type]).toSorted()).toEqual([['deep', wasi.FILETYPE_DIRECTORY], ['file', wasi.FILETYPE_REGULAR_FILE]]);
    directory.close();
    chmodSync(join(root, 'dir/file'), 0);
    if (process.getuid?.() !== 0) expect(errno(() => share.open('dir/file', false, READ))).toBe(wasi.ERRNO_ACCES);
  });
});

/** Swaps root/swap between the directory `real` and a link to the outside, as fast as it can, until it is told to end. */
const SWAPPER = `
  const { renameSync, symlinkSync } = require('node:fs');
  const { join } = require('node:path');
  const { workerData, parentPort } = require('node:worker_threads');
  const { root, stop } = workerData;
  symlinkSync('../outside', join(root, 'link'));
  let swaps = 0;
  parentPort.postMessage('ready');
  while (Atomics.load(stop, 0) === 0) {
    renameSync(join(root, 'swap'), join(root, 'real'));
    renameSync(join(root, 'link'), join(root, 'swap'));
    renameSync(join(root, 'swap'), join(root, 'link'));
    renameSync(join(root, 'real'), join(root, 'swap'));
    swaps++;
  }
  parentPort.postMessage(swaps);
`;

test.runIf(linux)('a directory that becomes a link while it is looked at does not lead out', async () => {
  renameSync(join(root, 'dir'), join(root, 'swap'));
  const share = new NodeShare(root);
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const swapper = new Worker(SWAPPER, { eval: true, workerData: { root, stop } });
  await new Promise((resolve) => { swapper.once('message', resolve); });
  const seen = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    try {
      seen.add(content(share, 'swap/file'));
      share.makeDirectory(`swap/made-${i % 100}`);
    } catch (error) {
      expect(error).toBeInstanceOf(FileError);
    }
  }
  const swaps = new Promise((resolve) => { swapper.once('message', resolve); });
  Atomics.store(stop, 0, 1);
  expect(await swaps).toBeGreaterThan(10);
  await swapper.terminate();
  share.close();
  expect([...seen]).toEqual(['inside']);
  expect(spawnSync('ls', [join(folder, 'outside')], { encoding: 'utf8' }).stdout).toBe('file\n');
}, 60_000);
