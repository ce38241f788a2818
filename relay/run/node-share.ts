/*
 * A real directory as a share.
 *
 * Theory of operation
 *
 * The guest names files by paths, and another program, or the guest itself by a rename, may put a link into a path while we look at it.
 * So a path is never given to the system as it is. It is walked: each directory on the way is opened by its name in the one before, as
 * a directory and without following a link (O_DIRECTORY, O_NOFOLLOW), and what is to be done is done to the last name in the last of them.
 * Node has no openat; on Linux `/proc/self/fd/N/NAME` is the same thing: the kernel starts at the open directory itself, wherever that
 * may have been moved to. Links that the guest asks to follow are read and walked the same way, from where they lie; an absolute one, and a ".."
 * above the root, end with NOTCAPABLE. The machine's 9P server asks for none: its guest follows links by itself.
 *
 * Where there is no /proc (macOS, Windows) a directory is compared with its real path instead, right before the call: a program that swaps a
 * directory for a link between the two would win. SECURITY.md says so.
 *
 * Files are opened with O_NOFOLLOW and O_NONBLOCK, and only when they are regular files or directories: no device is touched, no FIFO waited for.
 * Set-user-id bits are never set: a guest that is root in its own world makes no programs that run as us for others.
 */
import { chmodSync, closeSync, constants, fchmodSync, fdatasyncSync, fstatSync, fsyncSync, ftruncateSync, futimesSync, linkSync, lstatSync, lutimesSync, mkdirSync, openSync, readdirSync, readlinkSync, readvSync, realpathSync, renameSync, rmdirSync, statSync, symlinkSync, unlinkSync, writevSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { join, sep } from 'node:path';
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { FileEntry, FileStat, FileTimes, OpenFile, OpenHow, Share } from '../../shared/wasi/share.ts';
import { checkTarget, components, FileError, MAX_LINKS, totalBytes } from '../../shared/wasi/share.ts';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;
/** Linux's, on all processors that Node runs on: a descriptor that names a file and needs no right to it */
const O_PATH = 0o10000000;
const PERMISSIONS = 0o777;
const NS_PER_MS = 1_000_000n;

/** What Node's error codes are to the guest; anything else is EIO. */
const ERRNOS: Record<string, number> = {
  EACCES: wasi.ERRNO_ACCES, EBADF: wasi.ERRNO_BADF, EBUSY: wasi.ERRNO_BUSY, EDQUOT: wasi.ERRNO_DQUOT, EEXIST: wasi.ERRNO_EXIST, EFBIG: wasi.ERRNO_FBIG,
  EINVAL: wasi.ERRNO_INVAL, EISDIR: wasi.ERRNO_ISDIR, ELOOP: wasi.ERRNO_LOOP, EMFILE: wasi.ERRNO_MFILE, EMLINK: wasi.ERRNO_MLINK,
  ENAMETOOLONG: wasi.ERRNO_NAMETOOLONG, ENFILE: wasi.ERRNO_NFILE, ENOENT: wasi.ERRNO_NOENT, ENOMEM: wasi.ERRNO_NOMEM, ENOSPC: wasi.ERRNO_NOSPC,
  ENOTDIR: wasi.ERRNO_NOTDIR, ENOTEMPTY: wasi.ERRNO_NOTEMPTY, ENOTSUP: wasi.ERRNO_NOTSUP, ENXIO: wasi.ERRNO_NXIO, EPERM: wasi.ERRNO_PERM,
  EROFS: wasi.ERRNO_ROFS, ETXTBSY: wasi.ERRNO_TXTBSY, EXDEV: wasi.ERRNO_XDEV,
};

/** A name in a directory that is held open, or was judged, for the length of `use`. */
interface Place {
  /** for node:fs */
  path: string;
  /** '.' when it is the directory itself */
  name: string;
}

export class NodeShare implements Share {
  readonly #root: string;
  readonly #rootFd: number;
  /** /proc/self/fd leads from open directories to names in them */
  readonly #pinned: boolean;

  /** Throws Node's error when there is no such directory. `pinned` is for tests: false as where there is no /proc. */
  constructor(path: string, pinned = hasProc()) {
    this.#root = realpathSync(path);
    this.#pinned = pinned;
    this.#rootFd = openSync(this.#root, O_RDONLY | (O_DIRECTORY ?? 0));
  }

  close(): void {
    closeSync(this.#rootFd);
  }

  stat(path: string, follow: boolean): FileStat {
    return this.#at(path, follow, (place) => toStat(lstatSync(place.path, { bigint: true })));
  }

  setTimes(path: string, follow: boolean, times: FileTimes): void {
    this.#at(path, follow, (place) => {
      const { atime, mtime } = seconds(times, () => lstatSync(place.path, { bigint: true }));
      lutimesSync(place.path, atime, mtime);
    });
  }

  setMode(path: string, mode: number): void {
    this.#at(path, false, (place) => {
      if (!this.#pinned && lstatSync(place.path).isSymbolicLink()) throw new FileError(wasi.ERRNO_NOTSUP);
      // chmod(2) follows links; a descriptor is what it is.
      const fd = openSync(place.path, this.#pinned ? O_PATH | O_NOFOLLOW : O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        if (fstatSync(fd).isSymbolicLink()) throw new FileError(wasi.ERRNO_NOTSUP);
        if (this.#pinned) chmodSync(`/proc/self/fd/${fd}`, mode & PERMISSIONS);
        else fchmodSync(fd, mode & PERMISSIONS);
      } finally {
        closeSync(fd);
      }
    });
  }

  open(path: string, follow: boolean, how: OpenHow): OpenFile {
    return this.#at(path, follow, (place) => openPlace(place, how, this.#pinned));
  }

  makeDirectory(path: string): void {
    this.#at(path, false, (place) => { mkdirSync(place.path); });
  }

  removeDirectory(path: string): void {
    this.#at(path, false, (place) => {
      if (place.name === '.') throw new FileError(wasi.ERRNO_INVAL);
      rmdirSync(place.path);
    });
  }

  unlink(path: string): void {
    this.#at(path, false, (place) => {
      // unlink(2) of a directory says EISDIR on Linux and EPERM elsewhere.
      if (lstatSync(place.path).isDirectory()) throw new FileError(wasi.ERRNO_ISDIR);
      unlinkSync(place.path);
    });
  }

  rename(from: string, to: string): void {
    this.#at(from, false, (source) => {
      this.#at(to, false, (target) => {
        // By its path a directory would go, and the root with it.
        if (source.name === '.' || target.name === '.') throw new FileError(wasi.ERRNO_BUSY);
        renameSync(source.path, target.path);
      });
    });
  }

  link(from: string, to: string): void {
    this.#at(from, false, (source) => { this.#at(to, false, (target) => { linkSync(source.path, target.path); }); });
  }

  symlink(target: string, path: string): void {
    checkTarget(target);
    this.#at(path, false, (place) => { symlinkSync(target, place.path); });
  }

  readlink(path: string): string {
    return this.#at(path, false, (place) => readlinkSync(place.path));
  }

  /** Walks to where `path` leads and does `use` there. Throws FileError. */
  #at<T>(path: string, follow: boolean, use: (place: Place) => T): T {
    const walk = new Walk(this.#pinned ? this.#rootFd : this.#root);
    try {
      return use(walk.go(components(path), follow));
    } catch (error) {
      throw toFileError(error);
    } finally {
      walk.close();
    }
  }
}

/** One way from the root to a name. */
class Walk {
  /** descriptors of the directories on the way (pinned), or their real paths */
  readonly #stack: (number | string)[];

  constructor(root: number | string) {
    this.#stack = [root];
  }

  go(parts: string[], follow: boolean): Place {
    const queue = parts.filter((part) => part !== '' && part !== '.');
    for (let links = 0; queue.length > 0;) {
      const name = queue.shift()!;
      const isLast = queue.length === 0;
      if (name === '..') {
        if (this.#stack.length === 1) throw new FileError(wasi.ERRNO_NOTCAPABLE);
        this.#leave();
        continue;
      }
      const target = isLast && !follow ? null : this.#linkAt(name);
      if (target !== null) {
        if (++links > MAX_LINKS) throw new FileError(wasi.ERRNO_LOOP);
        queue.unshift(...components(target).filter((part) => part !== '' && part !== '.'));
      } else if (isLast) {
        return { path: this.#pathOf(name), name };
      } else {
        this.#enter(name);
      }
    }
    return { path: this.#pathOf('.'), name: '.' };
  }

  close(): void {
    while (this.#stack.length > 1) this.#leave();
  }

  /** Where a link of this name leads; null: it is none. */
  #linkAt(name: string): string | null {
    try {
      return readlinkSync(this.#pathOf(name));
    } catch (error) {
      // EINVAL: it is something else. UNKNOWN is Windows' word for that.
      if (['EINVAL', 'UNKNOWN'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  #enter(name: string): void {
    const path = this.#pathOf(name);
    if (typeof this.#stack[0] === 'number') {
      this.#stack.push(openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      return;
    }
    if (!statSync(path).isDirectory()) throw new FileError(wasi.ERRNO_NOTDIR);
    if (realpathSync(path) !== path) throw new FileError(wasi.ERRNO_NOTCAPABLE);
    this.#stack.push(path);
  }

  #leave(): void {
    const top = this.#stack.pop();
    if (typeof top === 'number') closeSync(top);
  }

  #pathOf(name: string): string {
    // A name with the system's own separator in it is no name (Windows has two).
    if (name.includes(sep) || name.includes('/')) throw new FileError(wasi.ERRNO_INVAL);
    const top = this.#stack.at(-1)!;
    return typeof top === 'number' ? `/proc/self/fd/${top}/${name}` : join(top, name);
  }
}

function openPlace(place: Place, how: OpenHow, pinned: boolean): NodeFile {
  const known = lstatSync(place.path, { throwIfNoEntry: false });
  if (known?.isSymbolicLink() === true && !(how.creates && how.exclusive)) throw new FileError(wasi.ERRNO_LOOP);
  if (known !== undefined && !known.isFile() && !known.isDirectory() && !known.isSymbolicLink()) throw new FileError(wasi.ERRNO_NXIO);
  const access = how.writes ? (how.reads ? O_RDWR : O_WRONLY) : O_RDONLY;
  const flags = access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (how.directory ? O_DIRECTORY : 0) | (how.creates && !how.directory ? O_CREAT : 0)
    | (how.exclusive ? O_EXCL : 0) | (how.truncates ? O_TRUNC : 0) | (how.appends ? O_APPEND : 0);
  const fd = openSync(place.path, flags, 0o666);
  const stat = fstatSync(fd);
  if (stat.isFile() || stat.isDirectory()) return new NodeFile(fd, stat.isDirectory(), pinned ? null : place.path, how.appends);
  closeSync(fd);
  throw new FileError(wasi.ERRNO_NXIO);
}

class NodeFile implements OpenFile {
  readonly isDirectory: boolean;
  readonly #fd: number;
  /** where it was when it was opened; null: /proc knows where it is */
  readonly #path: string | null;
  readonly #appends: boolean;

  constructor(fd: number, isDirectory: boolean, path: string | null, appends: boolean) {
    this.#fd = fd;
    this.isDirectory = isDirectory;
    this.#path = path;
    this.#appends = appends;
  }

  stat(): FileStat {
    return asFileErrors(() => toStat(fstatSync(this.#fd, { bigint: true })));
  }

  setTimes(times: FileTimes): void {
    asFileErrors(() => {
      const { atime, mtime } = seconds(times, () => fstatSync(this.#fd, { bigint: true }));
      futimesSync(this.#fd, atime, mtime);
    });
  }

  setMode(mode: number): void {
    asFileErrors(() => { fchmodSync(this.#fd, mode & PERMISSIONS); });
  }

  read(offset: number, into: readonly Uint8Array[]): number {
    return totalBytes(into) === 0 ? 0 : asFileErrors(() => readvSync(this.#fd, into, offset));
  }

  write(offset: number, from: readonly Uint8Array[]): number {
    // Without a position it is write(2), which appends everywhere; pwrite(2) does so on Linux only.
    return totalBytes(from) === 0 ? 0 : asFileErrors(() => (this.#appends ? writevSync(this.#fd, from) : writevSync(this.#fd, from, offset)));
  }

  setSize(size: number): void {
    asFileErrors(() => { ftruncateSync(this.#fd, size); });
  }

  sync(dataOnly: boolean): void {
    asFileErrors(() => { (dataOnly ? fdatasyncSync : fsyncSync)(this.#fd); });
  }

  list(): FileEntry[] {
    return asFileErrors(() => {
      const path = this.#path === null ? `/proc/self/fd/${this.#fd}` : this.#stillAt(this.#path);
      return readdirSync(path).flatMap((name) => {
        const stat = lstatSync(join(path, name), { bigint: true, throwIfNoEntry: false });
        return stat === undefined ? [] : [{ name, ino: stat.ino, type: typeOf(stat) }];
      });
    });
  }

  /** Its path, where another directory may be by now, or a link that leads out: then it cannot be listed any more. */
  #stillAt(path: string): string {
    const [mine, there] = [fstatSync(this.#fd, { bigint: true }), lstatSync(path, { bigint: true })];
    if (mine.ino !== there.ino || mine.dev !== there.dev || realpathSync(path) !== path) throw new FileError(wasi.ERRNO_NOENT);
    return path;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function toStat(stat: BigIntStats): FileStat {
  return {
    dev: stat.dev, ino: stat.ino, type: typeOf(stat), links: stat.nlink, size: stat.size,
    atimeNs: stat.atimeNs, mtimeNs: stat.mtimeNs, ctimeNs: stat.ctimeNs, mode: Number(stat.mode) & 0o7777,
  };
}

function typeOf(stat: BigIntStats): number {
  if (stat.isFile()) return wasi.FILETYPE_REGULAR_FILE;
  if (stat.isDirectory()) return wasi.FILETYPE_DIRECTORY;
  if (stat.isSymbolicLink()) return wasi.FILETYPE_SYMBOLIC_LINK;
  if (stat.isSocket()) return wasi.FILETYPE_SOCKET_STREAM;
  if (stat.isCharacterDevice()) return wasi.FILETYPE_CHARACTER_DEVICE;
  return stat.isBlockDevice() ? wasi.FILETYPE_BLOCK_DEVICE : wasi.FILETYPE_UNKNOWN;
}

/** For node:fs, which takes seconds: exact to a quarter of a microsecond. */
function seconds(times: FileTimes, now: () => BigIntStats): { atime: number; mtime: number } {
  const kept = times.atimeNs === null || times.mtimeNs === null ? now() : null;
  const toSeconds = (ns: bigint): number => Number(ns / NS_PER_MS) / 1000 + Number(ns % NS_PER_MS) / 1e9;
  return { atime: toSeconds(times.atimeNs ?? kept!.atimeNs), mtime: toSeconds(times.mtimeNs ?? kept!.mtimeNs) };
}

function hasProc(): boolean {
  return process.platform === 'linux' && statSync('/proc/self/fd', { throwIfNoEntry: false }) !== undefined;
}

function asFileErrors<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw toFileError(error);
  }
}

function toFileError(error: unknown): FileError {
  if (error instanceof FileError) return error;
  return new FileError(ERRNOS[(error as NodeJS.ErrnoException).code ?? ''] ?? wasi.ERRNO_IO);
}
