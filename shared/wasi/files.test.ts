import { wasi } from '@bjorn3/browser_wasi_shim';
import { expect, test } from 'vitest';
import { readOnlyDirectory, type Device, type FileSource } from './files.ts';

const DISK: FileSource = { bytes: 7, readAt: () => true };
const DEVICE: Device = { open: () => { throw new Error('opened'); } };
const directory = readOnlyDirectory('/portside', new Map<string, FileSource | Device>([['disk', DISK], ['tty2', DEVICE]]));
const open = (path: string, oflags = 0): number => directory.path_open(0, path, oflags, 0n, 0n, 0).ret;

test('a path leads to a file or to the directory itself, and never out of it', () => {
  const { ERRNO_SUCCESS, ERRNO_NOENT, ERRNO_NOTDIR, ERRNO_NOTCAPABLE, ERRNO_INVAL } = wasi;
  const expected: Record<string, number> = {
    'disk': ERRNO_SUCCESS, './/disk': ERRNO_SUCCESS, 'x/../disk': ERRNO_SUCCESS, '.': ERRNO_SUCCESS, '': ERRNO_SUCCESS, 'disk/..': ERRNO_SUCCESS,
    'dis': ERRNO_NOENT, 'x/y': ERRNO_NOENT, 'disk/': ERRNO_NOTDIR, 'disk/x': ERRNO_NOTDIR,
    '..': ERRNO_NOTCAPABLE, 'disk/../..': ERRNO_NOTCAPABLE, '/disk': ERRNO_NOTCAPABLE, 'di\0sk': ERRNO_INVAL, '__proto__': ERRNO_NOENT,
  };
  for (const [path, errno] of Object.entries(expected)) {
    expect(open(path), `open ${path}`).toBe(errno);
    expect(directory.path_filestat_get(0, path).ret, `stat ${path}`).toBe(errno);
  }
  expect(directory.path_filestat_get(0, 'disk').filestat).toMatchObject({ filetype: wasi.FILETYPE_REGULAR_FILE, size: 7n });
  expect(directory.path_filestat_get(0, 'tty2').filestat?.filetype).toBe(wasi.FILETYPE_CHARACTER_DEVICE);
  expect(directory.path_filestat_get(0, '.').filestat?.filetype).toBe(wasi.FILETYPE_DIRECTORY);
});

test('flags of open: nothing is made, cut or taken for a directory', () => {
  expect(open('new', wasi.OFLAGS_CREAT)).toBe(wasi.ERRNO_ROFS);
  expect(open('disk', wasi.OFLAGS_CREAT)).toBe(wasi.ERRNO_SUCCESS);
  expect(open('disk', wasi.OFLAGS_CREAT | wasi.OFLAGS_EXCL)).toBe(wasi.ERRNO_EXIST);
  expect(open('disk', wasi.OFLAGS_TRUNC)).toBe(wasi.ERRNO_ROFS);
  expect(open('disk', wasi.OFLAGS_DIRECTORY)).toBe(wasi.ERRNO_NOTDIR);
  expect(open('.', wasi.OFLAGS_DIRECTORY)).toBe(wasi.ERRNO_SUCCESS);
  expect(() => open('tty2')).toThrow('opened');
  for (const errno of [directory.path_create_directory('x'), directory.path_unlink_file('disk'), directory.path_remove_directory('disk'), directory.path_unlink('disk').ret]) expect(errno).toBe(wasi.ERRNO_ROFS);
});

test('it lists itself, its parent and its files, once', () => {
  const names: string[] = [];
  const types: number[] = [];
  for (let cookie = 0n; ;) {
    const { dirent } = directory.fd_readdir_single(cookie);
    if (dirent === null) break;
    names.push(new TextDecoder().decode(dirent.dir_name));
    types.push(dirent.d_type);
    cookie = dirent.d_next;
  }
  expect(names).toEqual(['.', '..', 'disk', 'tty2']);
  expect(types).toEqual([wasi.FILETYPE_DIRECTORY, wasi.FILETYPE_DIRECTORY, wasi.FILETYPE_REGULAR_FILE, wasi.FILETYPE_CHARACTER_DEVICE]);
  expect(directory.fd_readdir_single(1n << 40n).dirent).toBeNull();
});
