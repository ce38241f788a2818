import type { Fd } from '@bjorn3/browser_wasi_shim';
import { wasi } from '@bjorn3/browser_wasi_shim';
import { expect, test } from 'vitest';
import { GuestMemory } from './guest-memory.ts';
import { MemoryShare } from './memory-share.ts';
import { ShareDirectoryFd, ShareFileFd } from './share-fds.ts';
import { ShareImports } from './share-imports.ts';

const NAMES = [
  'fd_pread', 'fd_pwrite', 'fd_filestat_get', 'fd_filestat_set_size', 'fd_filestat_set_times', 'fd_sync', 'fd_datasync', 'fd_readdir', 'fd_close', 'path_open', 'path_filestat_get',
  'path_filestat_set_times', 'path_readlink', 'path_create_directory', 'path_remove_directory', 'path_unlink_file', 'path_symlink', 'path_rename', 'path_link',
];
/** parameters that are 64 bits wide */
const WIDE: Record<string, number[]> = { fd_pread: [3], fd_pwrite: [3], fd_filestat_set_size: [1], fd_filestat_set_times: [1, 2], fd_readdir: [3], path_open: [5, 6], path_filestat_set_times: [4, 5] };
/** answer of an import that is not ours */
const OTHER = 1000;
const ROOT = 3;
const READ_ONLY = 4;

class Guest {
  readonly memory = new GuestMemory();
  readonly fds: (Fd | undefined)[] = [];
  readonly share = new MemoryShare(1 << 16);
  readonly imports: Record<string, (...args: unknown[]) => number>;

  constructor() {
    this.memory.bind({ buffer: new ArrayBuffer(65_536) } as unknown as WebAssembly.Memory);
    this.fds[ROOT] = new ShareDirectoryFd({ name: '/s', share: this.share, readOnly: false }, '', null);
    this.fds[READ_ONLY] = new ShareDirectoryFd({ name: '/r', share: this.share, readOnly: true }, '', null);
    this.imports = new ShareImports(this.memory, this.fds).over(Object.fromEntries(NAMES.map((name) => [name, () => OTHER]))) as never;
  }

  /** Puts text at 100 and gives [pointer, length]. */
  text(text: string, at = 100): [number, number] {
    const bytes = new TextEncoder().encode(text);
    this.memory.bytes.set(bytes, at);
    return [at, bytes.length];
  }

  open(fd: number, path: string, oflags: number, rights: number): number {
    return this.imports['path_open'](fd, 0, ...this.text(path), oflags, BigInt(rights), 0n, 0, 8);
  }
}

test('a file from its making to its end; modes travel beside WASI\'s own fields', () => {
  const guest = new Guest();
  const { imports, memory } = guest;
  expect(guest.open(ROOT, 'file', wasi.OFLAGS_CREAT, wasi.RIGHTS_FD_WRITE | wasi.RIGHTS_FD_READ)).toBe(0);
  const fd = memory.u32(8);
  // Two buffers, the second right behind the first.
  memory.bytes.set([1, 2, 3, 4, 5], 200);
  for (const [i, [ptr, len]] of [[200, 2], [202, 3]].entries()) {
    memory.setU32(300 + 8 * i, ptr);
    memory.setU32(304 + 8 * i, len);
  }
  expect([imports['fd_pwrite'](fd, 300, 2, 4n, 8), memory.u32(8)]).toEqual([0, 5]);
  expect([imports['fd_pread'](fd, 300, 1, 5n, 8), memory.u32(8), memory.bytes[200], memory.bytes[201]]).toEqual([0, 2, 2, 3]);
  expect(imports['path_filestat_set_times'](ROOT, 0, ...guest.text('file'), BigInt(0o4751), 0n, 0x8000)).toBe(0);
  expect(imports['path_filestat_get'](ROOT, 0, ...guest.text('file'), 400)).toBe(0);
  expect([memory.bytes[416], memory.view.getUint16(417, true), memory.u64(432)]).toEqual([wasi.FILETYPE_REGULAR_FILE, 0x8000 | 0o751, 9]);
  expect(imports['path_filestat_set_times'](ROOT, 0, ...guest.text('file'), 0n, 0n, 3)).toBe(wasi.ERRNO_INVAL);
  expect([imports['fd_close'](fd), imports['fd_pread'](fd, 300, 1, 0n, 8)]).toEqual([0, OTHER]);
});

test('what is appended goes to the end, by whichever call; a descriptor says that it appends, and has a mode', () => {
  const guest = new Guest();
  const { imports, memory } = guest;
  const open = (fdflags: number): number => {
    expect(imports['path_open'](ROOT, 0, ...guest.text('log'), wasi.OFLAGS_CREAT, BigInt(wasi.RIGHTS_FD_WRITE | wasi.RIGHTS_FD_READ), 0n, fdflags, 8)).toBe(0);
    return memory.u32(8);
  };
  const [first, second, plain] = [open(wasi.FDFLAGS_APPEND), open(wasi.FDFLAGS_APPEND), open(0)];
  const file = (fd: number): ShareFileFd => guest.fds[fd] as ShareFileFd;
  const iov = (text: string): void => {
    memory.setU32(300, 200);
    memory.setU32(304, guest.text(text, 200)[1]);
  };
  const write = (fd: number, text: string): void => {
    iov(text);
    expect([file(fd).writev(memory, 300, 1, 8), memory.u32(8)]).toEqual([0, text.length]);
  };
  const content = (): string => {
    memory.setU32(300, 1000);
    memory.setU32(304, 100);
    expect(imports['fd_pread'](plain, 300, 1, 0n, 8)).toBe(0);
    return new TextDecoder().decode(memory.bytes.slice(1000, 1000 + memory.u32(8)));
  };
  write(first, 'one ');
  write(second, 'two ');
  expect(file(first).fd_seek(0n, wasi.WHENCE_SET).ret).toBe(0);
  write(first, 'three ');
  expect(file(first).fd_tell().offset).toBe(14n);
  iov('four');
  expect(imports['fd_pwrite'](second, 300, 1, 2n, 8)).toBe(0);
  expect(content()).toBe('one two three four');
  // Set later, it holds as well; what was opened so stays so.
  expect([first, plain].map((fd) => file(fd).fd_fdstat_get().fdstat.fs_flags)).toEqual([wasi.FDFLAGS_APPEND, 0]);
  expect(file(first).fd_fdstat_set_flags(0)).toBe(wasi.ERRNO_NOTSUP);
  expect(file(plain).fd_fdstat_set_flags(wasi.FDFLAGS_APPEND)).toBe(0);
  write(plain, '!');
  expect(content()).toBe('one two three four!');
  expect(imports['path_unlink_file'](ROOT, ...guest.text('log'))).toBe(0);
  expect(imports['fd_filestat_set_times'](first, BigInt(0o4604), 0n, 0x8000)).toBe(0);
  expect(imports['fd_filestat_get'](second, 400)).toBe(0);
  expect([memory.view.getUint16(417, true), memory.u64(424)]).toEqual([0x8000 | 0o604, 0]);
});

test('a directory is listed in portions, whatever is removed meanwhile', () => {
  const guest = new Guest();
  for (let i = 0; i < 50; i++) guest.share.makeDirectory(`name-${i}`);
  const seen: string[] = [];
  for (let cookie = 0n, used = 100; used === 100;) {
    expect(guest.imports['fd_readdir'](ROOT, 1000, 100, cookie, 8)).toBe(0);
    used = guest.memory.u32(8);
    for (let at = 1000; at + 24 <= 1000 + used;) {
      const len = guest.memory.u32(at + 16);
      if (at + 24 + len > 1000 + used) break;
      cookie = BigInt(guest.memory.u64(at));
      const name = new TextDecoder().decode(guest.memory.bytes.slice(at + 24, at + 24 + len));
      seen.push(name);
      guest.share.removeDirectory(name);
      at += 24 + len;
    }
  }
  expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => `name-${i}`));
});

test('where nothing may be changed nothing is', () => {
  const guest = new Guest();
  guest.share.makeDirectory('d');
  guest.share.open('file', false, { reads: true, writes: true, creates: true, exclusive: false, truncates: false, appends: false, directory: false }).close();
  const path = (): [number, number] => guest.text('file');
  const other = (): [number, number] => guest.text('other', 200);
  const calls: [string, unknown[]][] = [
    ['path_create_directory', [READ_ONLY, ...other()]], ['path_remove_directory', [READ_ONLY, ...guest.text('d')]], ['path_unlink_file', [READ_ONLY, ...path()]],
    ['path_symlink', [...path(), READ_ONLY, ...other()]], ['path_rename', [READ_ONLY, ...path(), READ_ONLY, ...other()]], ['path_link', [READ_ONLY, 0, ...path(), READ_ONLY, ...other()]],
    ['path_filestat_set_times', [READ_ONLY, 0, ...path(), 0n, 0n, 1]], ['fd_filestat_set_times', [READ_ONLY, 0n, 0n, 1]],
  ];
  for (const [name, args] of calls) expect(guest.imports[name](...args), name).toBe(wasi.ERRNO_ROFS);
  for (const [oflags, rights] of [[0, wasi.RIGHTS_FD_WRITE], [wasi.OFLAGS_TRUNC, wasi.RIGHTS_FD_READ], [wasi.OFLAGS_CREAT, 0]]) expect(guest.open(READ_ONLY, 'file', oflags, rights)).toBe(wasi.ERRNO_ROFS);
  expect(guest.open(READ_ONLY, 'file', 0, wasi.RIGHTS_FD_READ)).toBe(0);
  expect(guest.imports['path_rename'](ROOT, ...path(), READ_ONLY, ...other())).toBe(wasi.ERRNO_XDEV);
  expect(guest.share.stat('d', false).links).toBe(1n);
});

test('no more is open than may be, and not where connections have their numbers', () => {
  const guest = new Guest();
  expect(guest.open(ROOT, 'file', wasi.OFLAGS_CREAT, wasi.RIGHTS_FD_WRITE)).toBe(0);
  let opened = 1;
  while (guest.open(ROOT, 'file', 0, wasi.RIGHTS_FD_READ) === 0) opened++;
  expect([opened, guest.open(ROOT, 'file', 0, 0)]).toEqual([2048, wasi.ERRNO_MFILE]);
  expect(guest.fds.slice(200, 1000).every((fd) => fd === undefined)).toBe(true);
  expect(guest.imports['fd_close'](150)).toBe(0);
  expect([guest.open(ROOT, 'file', 0, 0), guest.memory.u32(8)]).toEqual([0, 150]);
});

test('arguments that lie get errnos: nothing throws, nothing grows', () => {
  const guest = new Guest();
  let seed = 1;
  const pick = (bound: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % bound;
  };
  const texts = ['a', 'b/c', '..', '/', '.', 'a\0', 'x'.repeat(300)];
  const results = new Set<number>();
  for (let round = 0; round < 40_000; round++) {
    const name = NAMES[pick(NAMES.length)];
    guest.text(texts[pick(texts.length)]);
    guest.text(texts[pick(3)], 200);
    for (let at = 300; at < 332; at += 4) guest.memory.setU32(at, pick(4) === 0 ? pick(2 ** 24) * 256 : pick(2000));
    const word = (): number => [pick(8), 100, 200, 300, pick(70_000), 65_536 - pick(8), 0xffff_ffff - pick(4), -1, pick(64)][pick(9)];
    const args = Array.from({ length: 9 }, (_, i) => (WIDE[name]?.includes(i) === true ? [0n, -1n, BigInt(pick(100)), 1n << 40n, 64n][pick(5)] : word()));
    // Descriptors are where they are: otherwise most calls would end there.
    if (!name.startsWith('path_symlink') && pick(4) > 0) args[0] = [ROOT, ROOT, READ_ONLY, 5, 6][pick(5)];
    const result = guest.imports[name](...args);
    results.add(result);
    if (guest.fds.filter((fd) => fd instanceof ShareFileFd).length > 20) for (const [fd, file] of guest.fds.entries()) if (file instanceof ShareFileFd) guest.imports['fd_close'](fd);
    if (guest.fds[ROOT] === undefined || guest.fds[READ_ONLY] === undefined) {
      guest.fds[ROOT] = new ShareDirectoryFd({ name: '/s', share: guest.share, readOnly: false }, '', null);
      guest.fds[READ_ONLY] = new ShareDirectoryFd({ name: '/r', share: guest.share, readOnly: true }, '', null);
    }
  }
  for (const errno of [0, wasi.ERRNO_FAULT, wasi.ERRNO_NOENT, wasi.ERRNO_ROFS, wasi.ERRNO_NOTCAPABLE, OTHER]) expect(results).toContain(errno);
  expect([...results].every((result) => Number.isInteger(result))).toBe(true);
  expect(guest.memory.bytes.length).toBe(65_536);
  expect(guest.share.used).toBeLessThanOrEqual(1 << 16);
});
