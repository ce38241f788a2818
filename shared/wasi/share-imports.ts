/*
 * WASI family: files of shares. Each import looks at its descriptor: one of ours is served here, any other by `others`, the import that was
 * there before.
 *
 * Permission bits, which preview1 has not, are told and set where it leaves room, for machines that know (machine/host/host_files_wasi.c):
 * bytes 17 and 18 of a filestat are the mode with MODE_TOLD; FST_MODE in the flags of path_filestat_set_times or fd_filestat_set_times says that the first time is
 * a mode.
 *
 * Pointers are judged before anything is touched; results are written only when all went well.
 */
import type { Fd } from '@bjorn3/browser_wasi_shim';
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { GuestMemory } from './guest-memory.ts';
import { buffers, guarded, ShareDirectoryFd, ShareFileFd } from './share-fds.ts';
import type { FileEntry, FileStat, FileTimes, OpenHow } from './share.ts';
import { FileError } from './share.ts';
import { CONNECTION_FD, LAST_CONNECTION_FD } from './sock.ts';

type Import = (...args: never[]) => number;
type Other = (...args: unknown[]) => number;

const FILESTAT_BYTES = 64;
const DIRENT_BYTES = 24;
const PATH_MAX = 4096;
const NAME_MAX = 255;
/** descriptors of shares that may be open at a time */
const MAX_OPEN = 2048;
const MODE_TOLD = 0x8000;
const FST_MODE = 0x8000;
/** rights that mean that a file shall be written */
const WRITE_RIGHTS = BigInt(wasi.RIGHTS_FD_WRITE | wasi.RIGHTS_FD_ALLOCATE | wasi.RIGHTS_FD_FILESTAT_SET_SIZE | wasi.RIGHTS_FD_DATASYNC);
const READ_RIGHTS = BigInt(wasi.RIGHTS_FD_READ | wasi.RIGHTS_FD_READDIR);

const decoder = new TextDecoder('utf-8', { fatal: true });
const encoder = new TextEncoder();

export class ShareImports {
  readonly #memory: GuestMemory;
  readonly #fds: (Fd | undefined)[];
  #open = 0;

  constructor(memory: GuestMemory, fds: (Fd | undefined)[]) {
    this.#memory = memory;
    this.#fds = fds;
  }

  /** The imports that know shares, in front of `others`. */
  over(others: Record<string, Import>): Record<string, Import> {
    const imports: Record<string, Import> = {};
    for (const [name, ours] of Object.entries({ ...this.#descriptorCalls(), ...this.#pathCalls(), ...this.#nameCalls() })) {
      const other = others[name] as Other;
      imports[name] = (...args: unknown[]) => {
        this.#memory.refresh();
        return ours(...args.map((arg) => (typeof arg === 'number' ? arg >>> 0 : arg)) as never[]) ?? other(...args);
      };
    }
    return imports;
  }

  /** Calls about something that is open. Each gives null for a descriptor that is not ours. */
  #descriptorCalls(): Record<string, (...args: never[]) => number | null> {
    const memory = this.#memory;
    return {
      /** fd_pread, fd_pwrite: as fd_read and fd_write, at `offset` u64 and without moving the position. */
      fd_pread: (fd: number, iovs: number, count: number, offset: bigint, nread: number) => {
        const file = this.#fds[fd];
        if (!(file instanceof ShareFileFd)) return file instanceof ShareDirectoryFd ? wasi.ERRNO_ISDIR : null;
        if (!memory.has(nread, 4) || !memory.hasIovs(iovs, count)) return wasi.ERRNO_FAULT;
        return guarded(() => { memory.setU32(nread, file.file.read(position(offset), buffers(memory, iovs, count))); });
      },
      fd_pwrite: (fd: number, iovs: number, count: number, offset: bigint, nwritten: number) => {
        const file = this.#fds[fd];
        if (!(file instanceof ShareFileFd)) return file instanceof ShareDirectoryFd ? wasi.ERRNO_ISDIR : null;
        if (!memory.has(nwritten, 4) || !memory.hasIovs(iovs, count)) return wasi.ERRNO_FAULT;
        return guarded(() => { memory.setU32(nwritten, file.write(position(offset), buffers(memory, iovs, count))); });
      },

      /** fd_filestat_get: `stat` filestat*. Result: SUCCESS · BADF · FAULT. */
      fd_filestat_get: (fd: number, stat: number) => this.#withOpen(fd, stat, FILESTAT_BYTES, (file) => {
        this.#putStat(stat, file.file.stat());
      }),

      /** fd_filestat_set_size: `size` u64. Result: SUCCESS · BADF · ROFS · FBIG · NOSPC. */
      fd_filestat_set_size: (fd: number, size: bigint) => this.#withOpen(fd, 0, 0, (file) => {
        refuseReadOnly(file);
        file.file.setSize(position(size));
      }),

      /** fd_filestat_set_times: times u64 in ns, `flags` u16; with FST_MODE `atime` is a mode. Result: SUCCESS · BADF · ROFS · INVAL: both a time and "now". */
      fd_filestat_set_times: (fd: number, atime: bigint, mtime: bigint, flags: number) => this.#withOpen(fd, 0, 0, (file) => {
        refuseReadOnly(file);
        if (flags === FST_MODE) file.file.setMode(Number(BigInt.asUintN(12, atime)));
        else file.file.setTimes(toTimes(atime, mtime, flags));
      }),

      fd_sync: (fd: number) => this.#withOpen(fd, 0, 0, (file) => { file.file.sync(false); }),
      fd_datasync: (fd: number) => this.#withOpen(fd, 0, 0, (file) => { file.file.sync(true); }),

      /**
       * fd_readdir
       *   buffer  u8[len]*   entries, the last one perhaps cut off: then `used` is `len`
       *   cookie  u64        0, or what an entry gives as its next one
       *   used    u32*
       * Result: SUCCESS · BADF · NOTDIR · FAULT. The listing is that of the moment when cookie 0 was asked for.
       */
      fd_readdir: (fd: number, buffer: number, len: number, cookie: bigint, used: number) => {
        const file = this.#fds[fd];
        if (!(file instanceof ShareDirectoryFd)) return file instanceof ShareFileFd ? wasi.ERRNO_NOTDIR : null;
        if (!memory.has(buffer, len) || !memory.has(used, 4)) return wasi.ERRNO_FAULT;
        return guarded(() => { memory.setU32(used, this.#putEntries(buffer, len, cookie, file.entries(BigInt.asUintN(64, cookie)))); });
      },

      fd_close: (fd: number) => {
        const file = this.#fds[fd];
        if (!(file instanceof ShareFileFd || file instanceof ShareDirectoryFd)) return null;
        if (!(file instanceof ShareDirectoryFd && file.isRoot)) this.#open--;
        delete this.#fds[fd];
        return guarded(() => { file.fd_close(); });
      },
    };
  }

  /** Calls about what a path names. */
  #pathCalls(): Record<string, (...args: never[]) => number | null> {
    return {
      /**
       * path_open
       *   fd      u32    a directory of a share
       *   lookup  u32    1: follow a link at the path's end
       *   oflags  u16    CREAT, DIRECTORY, EXCL, TRUNC
       *   rights  u64    whether it is opened for reading, writing or both
       *   opened  u32*
       * Result: SUCCESS · what the share says · ROFS · MFILE: too many are open · FAULT.
       */
      path_open: (fd: number, lookup: number, ptr: number, len: number, oflags: number, rights: bigint, _inheriting: bigint, fdflags: number, opened: number) =>
        this.#withPath(fd, ptr, len, opened, 4, (directory, path) => {
          if (this.#open >= MAX_OPEN) throw new FileError(wasi.ERRNO_MFILE);
          const how: OpenHow = {
            reads: (rights & READ_RIGHTS) !== 0n || (rights & WRITE_RIGHTS) === 0n, writes: (rights & WRITE_RIGHTS) !== 0n && (oflags & wasi.OFLAGS_DIRECTORY) === 0,
            creates: (oflags & wasi.OFLAGS_CREAT) !== 0, exclusive: (oflags & wasi.OFLAGS_EXCL) !== 0,
            truncates: (oflags & wasi.OFLAGS_TRUNC) !== 0, directory: (oflags & wasi.OFLAGS_DIRECTORY) !== 0,
            appends: (fdflags & wasi.FDFLAGS_APPEND) !== 0,
          };
          // As Linux has it: open makes no directories.
          if (how.creates && how.directory) throw new FileError(wasi.ERRNO_INVAL);
          if (how.writes || how.creates || how.truncates) refuseReadOnly(directory);
          const file = directory.offered.share.open(path, (lookup & 1) !== 0, how);
          const free = this.#freeDescriptor();
          this.#fds[free] = file.isDirectory
            ? new ShareDirectoryFd(directory.offered, `${path}/`, file)
            : new ShareFileFd(directory.offered, file, how.appends);
          this.#open++;
          this.#memory.setU32(opened, free);
        }),

      /** path_filestat_get: `stat` filestat*. Result: SUCCESS · what the share says · FAULT. */
      path_filestat_get: (fd: number, lookup: number, ptr: number, len: number, stat: number) =>
        this.#withPath(fd, ptr, len, stat, FILESTAT_BYTES, (directory, path) => { this.#putStat(stat, directory.offered.share.stat(path, (lookup & 1) !== 0)); }),

      /** path_filestat_set_times: as fd_filestat_set_times; with FST_MODE `atime` is a mode. */
      path_filestat_set_times: (fd: number, lookup: number, ptr: number, len: number, atime: bigint, mtime: bigint, flags: number) =>
        this.#withPath(fd, ptr, len, 0, 0, (directory, path) => {
          refuseReadOnly(directory);
          const { share } = directory.offered;
          if (flags === FST_MODE) share.setMode(path, Number(BigInt.asUintN(12, atime)));
          else share.setTimes(path, (lookup & 1) !== 0, toTimes(atime, mtime, flags));
        }),

      /**
       * path_readlink
       *   buffer  u8[size]*  the target, cut off if it is longer
       *   used    u32*
       * Result: SUCCESS · INVAL: no link · what the share says · FAULT.
       */
      path_readlink: (fd: number, ptr: number, len: number, buffer: number, size: number, used: number) =>
        this.#withPath(fd, ptr, len, buffer, size, (directory, path) => {
          if (!this.#memory.has(used, 4)) throw new FileError(wasi.ERRNO_FAULT);
          const target = encoder.encode(directory.offered.share.readlink(path)).subarray(0, size);
          this.#memory.bytes.set(target, buffer);
          this.#memory.setU32(used, target.length);
        }),
    };
  }

  /** Calls that change names. All refuse with ROFS where the share may only be read; between two shares with XDEV. */
  #nameCalls(): Record<string, (...args: never[]) => number | null> {
    const change = (fd: number, ptr: number, len: number, action: (directory: ShareDirectoryFd, path: string) => void): number | null =>
      this.#withPath(fd, ptr, len, 0, 0, (directory, path) => {
        refuseReadOnly(directory);
        action(directory, path);
      });
    const pair = (from: number, ptr: number, len: number, to: number, toPtr: number, toLen: number, action: (directory: ShareDirectoryFd, path: string, toPath: string) => void): number | null =>
      change(from, ptr, len, (directory, path) => {
        const target = this.#fds[to];
        if (!(target instanceof ShareDirectoryFd) || target.offered !== directory.offered) throw new FileError(target === undefined ? wasi.ERRNO_BADF : wasi.ERRNO_XDEV);
        action(directory, path, target.prefix + this.#text(toPtr, toLen));
      });
    return {
      path_create_directory: (fd: number, ptr: number, len: number) => change(fd, ptr, len, (directory, path) => { directory.offered.share.makeDirectory(path); }),
      path_remove_directory: (fd: number, ptr: number, len: number) => change(fd, ptr, len, (directory, path) => { directory.offered.share.removeDirectory(path); }),
      path_unlink_file: (fd: number, ptr: number, len: number) => change(fd, ptr, len, (directory, path) => { directory.offered.share.unlink(path); }),
      path_symlink: (target: number, targetLen: number, fd: number, ptr: number, len: number) =>
        change(fd, ptr, len, (directory, path) => { directory.offered.share.symlink(this.#text(target, targetLen), path); }),
      path_rename: (from: number, ptr: number, len: number, to: number, toPtr: number, toLen: number) =>
        pair(from, ptr, len, to, toPtr, toLen, (directory, path, toPath) => { directory.offered.share.rename(path, toPath); }),
      /** path_link: a link at the end of the first path is linked itself, whatever `lookup` says. */
      path_link: (from: number, _lookup: number, ptr: number, len: number, to: number, toPtr: number, toLen: number) =>
        pair(from, ptr, len, to, toPtr, toLen, (directory, path, toPath) => { directory.offered.share.link(path, toPath); }),
    };
  }

  #withOpen(fd: number, out: number, outBytes: number, action: (file: ShareFileFd | ShareDirectoryFd) => void): number | null {
    const file = this.#fds[fd];
    if (!(file instanceof ShareFileFd || file instanceof ShareDirectoryFd)) return null;
    if (!this.#memory.has(out, outBytes)) return wasi.ERRNO_FAULT;
    return guarded(() => { action(file); });
  }

  #withPath(fd: number, ptr: number, len: number, out: number, outBytes: number, action: (directory: ShareDirectoryFd, path: string) => void): number | null {
    const directory = this.#fds[fd];
    if (!(directory instanceof ShareDirectoryFd)) return directory instanceof ShareFileFd ? wasi.ERRNO_NOTDIR : null;
    if (!this.#memory.has(out, outBytes)) return wasi.ERRNO_FAULT;
    return guarded(() => { action(directory, directory.prefix + this.#text(ptr, len)); });
  }

  #text(ptr: number, len: number): string {
    if (!this.#memory.has(ptr, len)) throw new FileError(wasi.ERRNO_FAULT);
    if (len > PATH_MAX) throw new FileError(wasi.ERRNO_NAMETOOLONG);
    if (len === 0) throw new FileError(wasi.ERRNO_NOENT);
    try {
      return decoder.decode(this.#memory.bytes.subarray(ptr, ptr + len));
    } catch {
      throw new FileError(wasi.ERRNO_ILSEQ);
    }
  }

  #putStat(at: number, stat: FileStat): void {
    const { view } = this.#memory;
    view.setBigUint64(at, stat.dev, true);
    view.setBigUint64(at + 8, stat.ino, true);
    view.setBigUint64(at + 16, BigInt(stat.type) | (BigInt(MODE_TOLD | stat.mode) << 8n), true);
    view.setBigUint64(at + 24, stat.links, true);
    view.setBigUint64(at + 32, stat.size, true);
    view.setBigUint64(at + 40, stat.atimeNs, true);
    view.setBigUint64(at + 48, stat.mtimeNs, true);
    view.setBigUint64(at + 56, stat.ctimeNs, true);
  }

  /** Writes entries behind `cookie` until the buffer is full. Returns how much of it is used. */
  #putEntries(buffer: number, len: number, cookie: bigint, entries: FileEntry[]): number {
    const { bytes } = this.#memory;
    let used = 0;
    const dirent = new DataView(new ArrayBuffer(DIRENT_BYTES));
    for (let i = Number(BigInt.asUintN(64, cookie)); i < entries.length && used < len; i++) {
      const name = encoder.encode(entries[i].name);
      // What cannot be asked for again is not shown.
      if (name.length > NAME_MAX) continue;
      dirent.setBigUint64(0, BigInt(i + 1), true);
      dirent.setBigUint64(8, entries[i].ino, true);
      dirent.setUint32(16, name.length, true);
      dirent.setUint32(20, entries[i].type, true);
      for (const part of [new Uint8Array(dirent.buffer), name]) {
        const fits = part.subarray(0, len - used);
        bytes.set(fits, buffer + used);
        used += fits.length;
      }
    }
    return used;
  }

  /** Below the connections, and when that is full above them. */
  #freeDescriptor(): number {
    let free = 0;
    while (this.#fds[free] !== undefined || (free >= CONNECTION_FD && free <= LAST_CONNECTION_FD)) free = free === CONNECTION_FD ? LAST_CONNECTION_FD + 1 : free + 1;
    return free;
  }
}

function refuseReadOnly(file: ShareFileFd | ShareDirectoryFd): void {
  if (file.offered.readOnly) throw new FileError(wasi.ERRNO_ROFS);
}

/** An offset or a size, which must be exact as a number. */
function position(value: bigint): number {
  const unsigned = BigInt.asUintN(64, value);
  if (unsigned > BigInt(Number.MAX_SAFE_INTEGER)) throw new FileError(wasi.ERRNO_FBIG);
  return Number(unsigned);
}

function toTimes(atime: bigint, mtime: bigint, flags: number): FileTimes {
  // One by one: whoever takes apart `wasi` itself has all of its 300 constants in the page.
  const [aGiven, aNow, mGiven, mNow] = [wasi.FSTFLAGS_ATIM, wasi.FSTFLAGS_ATIM_NOW, wasi.FSTFLAGS_MTIM, wasi.FSTFLAGS_MTIM_NOW];
  const both = (a: number, b: number): boolean => (flags & a) !== 0 && (flags & b) !== 0;
  if (flags > 15 || both(aGiven, aNow) || both(mGiven, mNow)) throw new FileError(wasi.ERRNO_INVAL);
  const now = BigInt(Date.now()) * 1_000_000n;
  const one = (given: number, isNow: number, time: bigint): bigint | null => ((flags & isNow) !== 0 ? now : (flags & given) !== 0 ? BigInt.asUintN(64, time) : null);
  return { atimeNs: one(aGiven, aNow, atime), mtimeNs: one(mGiven, mNow, mtime) };
}
