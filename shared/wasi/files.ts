/*
 * WASI family: files. Read-only files over a FileSource, in preopened directories of ours.
 *
 * The shim's own files live in memory and are copied by every read; a disk of hundreds of MiB is neither wanted. A
 * source answers synchronously: the guest is blocked anyway, and whoever implements one (HTTP ranges in a worker, a
 * file descriptor in Node) brings its own cache.
 */
import { Fd, Inode, wasi } from '@bjorn3/browser_wasi_shim';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';

export interface FileSource {
  /** length of the file in bytes */
  readonly bytes: number;
  /** Fills `into` from `offset` on; both lie within the file. False when it cannot be read: the guest gets EIO. */
  readAt(offset: number, into: Uint8Array): boolean;
}

/** What the guest opens as a character device. */
export interface Device {
  open(): HostFd;
  /** what the instance exports that is about to start */
  bind?(exports: Record<string, unknown>): void;
}

/** A directory of read-only files and of devices, as the guest finds it among its preopens. */
export function readOnlyDirectory(name: string, files: ReadonlyMap<string, FileSource | Device>): Fd {
  const inodes = new Map<string, DeviceInode | SourceInode>();
  for (const [file, source] of files) inodes.set(file, 'open' in source ? new DeviceInode(source) : new SourceInode(source));
  return new ReadOnlyDirectory(name, inodes, Inode.issue_ino());
}

/** A flat directory that a guest cannot change. The shim's own can do all that, and is as long as the rest of the shim. */
export class ReadOnlyDirectory extends Fd {
  readonly #name: string;
  readonly #inodes: ReadonlyMap<string, DeviceInode | SourceInode>;
  readonly #ino: bigint;

  constructor(name: string, inodes: ReadonlyMap<string, DeviceInode | SourceInode>, ino: bigint) {
    super();
    this.#name = name;
    this.#inodes = inodes;
    this.#ino = ino;
  }

  override fd_prestat_get(): { ret: number; prestat: wasi.Prestat } {
    return { ret: wasi.ERRNO_SUCCESS, prestat: wasi.Prestat.dir(this.#name) };
  }

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat } {
    return { ret: wasi.ERRNO_SUCCESS, fdstat: new wasi.Fdstat(wasi.FILETYPE_DIRECTORY, 0) };
  }

  override fd_filestat_get(): { ret: number; filestat: wasi.Filestat } {
    return { ret: wasi.ERRNO_SUCCESS, filestat: new wasi.Filestat(this.#ino, wasi.FILETYPE_DIRECTORY, 0n) };
  }

  override fd_seek(): { ret: number; offset: bigint } { return { ret: wasi.ERRNO_BADF, offset: 0n }; }
  override fd_tell(): { ret: number; offset: bigint } { return { ret: wasi.ERRNO_BADF, offset: 0n }; }

  /** Itself, its parent (which is itself to a guest), then the files. */
  override fd_readdir_single(cookie: bigint): { ret: number; dirent: wasi.Dirent | null } {
    const entries: [string, bigint, number][] = [['.', this.#ino, wasi.FILETYPE_DIRECTORY], ['..', this.#ino, wasi.FILETYPE_DIRECTORY]];
    for (const [name, inode] of this.#inodes) entries.push([name, inode.ino, inode.stat().filetype]);
    const entry = entries[Number(cookie)];
    return { ret: wasi.ERRNO_SUCCESS, dirent: entry === undefined ? null : new wasi.Dirent(cookie + 1n, entry[1], entry[0], entry[2]) };
  }

  /** Result: NOTCAPABLE: it leads out of here · INVAL: a NUL in it · NOENT · NOTDIR: through a file, or a file with a slash behind it. */
  override path_filestat_get(_flags: number, path: string): { ret: number; filestat: wasi.Filestat | null } {
    const found = this.#find(path);
    if (found === this) return this.fd_filestat_get();
    return found instanceof Inode ? { ret: wasi.ERRNO_SUCCESS, filestat: found.stat() } : { ret: found as number, filestat: null };
  }

  /** path_open. Result: ROFS when it would create a file · EXIST when it had to · NOTDIR when it is none · else as path_filestat_get's. */
  override path_open(_dirflags: number, path: string, oflags: number): { ret: number; fd_obj: Fd | null } {
    const found = this.#find(path);
    const fails = (ret: number): { ret: number; fd_obj: null } => ({ ret, fd_obj: null });
    if (typeof found === 'number') return fails(found === wasi.ERRNO_NOENT && (oflags & wasi.OFLAGS_CREAT) !== 0 ? wasi.ERRNO_ROFS : found);
    if ((oflags & wasi.OFLAGS_EXCL) !== 0) return fails(wasi.ERRNO_EXIST);
    if (found instanceof ReadOnlyDirectory) return { ret: wasi.ERRNO_SUCCESS, fd_obj: new ReadOnlyDirectory(this.#name, this.#inodes, this.#ino) };
    return (oflags & wasi.OFLAGS_DIRECTORY) !== 0 ? fails(wasi.ERRNO_NOTDIR) : found.path_open(oflags);
  }

  override path_create_directory(): number { return wasi.ERRNO_ROFS; }
  override path_link(): number { return wasi.ERRNO_ROFS; }
  override path_lookup(): { ret: number; inode_obj: null } { return { ret: wasi.ERRNO_ROFS, inode_obj: null }; }
  override path_unlink(): { ret: number; inode_obj: null } { return { ret: wasi.ERRNO_ROFS, inode_obj: null }; }
  override path_unlink_file(): number { return wasi.ERRNO_ROFS; }
  override path_remove_directory(): number { return wasi.ERRNO_ROFS; }

  /** What is there, or an errno. */
  #find(path: string): DeviceInode | SourceInode | this | number {
    if (path.startsWith('/')) return wasi.ERRNO_NOTCAPABLE;
    if (path.includes('\0')) return wasi.ERRNO_INVAL;
    const names: string[] = [];
    for (const name of path.split('/')) {
      if (name === '..') {
        if (names.pop() === undefined) return wasi.ERRNO_NOTCAPABLE;
      } else if (name !== '' && name !== '.') {
        names.push(name);
      }
    }
    if (names.length === 0) return this;
    const inode = this.#inodes.get(names[0]);
    if (inode === undefined) return wasi.ERRNO_NOENT;
    return names.length > 1 || path.endsWith('/') ? wasi.ERRNO_NOTDIR : inode;
  }
}

class DeviceInode extends Inode {
  readonly #device: Device;

  constructor(device: Device) {
    super();
    this.#device = device;
  }

  override path_open(_oflags: number): { ret: number; fd_obj: HostFd } {
    return { ret: wasi.ERRNO_SUCCESS, fd_obj: this.#device.open() };
  }

  override stat(): wasi.Filestat {
    return new wasi.Filestat(this.ino, wasi.FILETYPE_CHARACTER_DEVICE, 0n);
  }
}

class SourceInode extends Inode {
  readonly #source: FileSource;

  constructor(source: FileSource) {
    super();
    this.#source = source;
  }

  /** path_open, once the path was resolved. Result: ROFS when it would create or truncate · else a SourceFd. */
  override path_open(oflags: number): { ret: number; fd_obj: SourceFd | null } {
    // Rights are not looked at: wasi-libc asks for all that a mode may need, and a write fails by itself.
    if ((oflags & wasi.OFLAGS_TRUNC) !== 0) return { ret: wasi.ERRNO_ROFS, fd_obj: null };
    return { ret: wasi.ERRNO_SUCCESS, fd_obj: new SourceFd(this.#source, this) };
  }

  override stat(): wasi.Filestat {
    return new wasi.Filestat(this.ino, wasi.FILETYPE_REGULAR_FILE, BigInt(this.#source.bytes));
  }
}

export class SourceFd extends HostFd {
  readonly filetype = wasi.FILETYPE_REGULAR_FILE;
  readonly #source: FileSource;
  readonly #inode: SourceInode;
  #position = 0;

  constructor(source: FileSource, inode: SourceInode) {
    super();
    this.#source = source;
    this.#inode = inode;
  }

  protected override get missingRights(): bigint {
    return BigInt(wasi.RIGHTS_FD_WRITE);
  }

  override readReady(): number {
    return Math.max(this.#source.bytes - this.#position, 0);
  }

  override writeReady(): number {
    return -1;
  }

  override fd_filestat_get(): { ret: number; filestat: wasi.Filestat } {
    return { ret: wasi.ERRNO_SUCCESS, filestat: this.#inode.stat() };
  }

  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    const errno = this.pread(memory, iovs, count, this.#position, nread);
    if (errno === wasi.ERRNO_SUCCESS) this.#position += memory.u32(nread);
    return errno;
  }

  override writev(): number {
    return wasi.ERRNO_BADF;
  }

  /** fd_pread. Result: SUCCESS with the count, 0 at the end of the file · IO: the source failed. */
  pread(memory: GuestMemory, iovs: number, count: number, offset: number, nread: number): number {
    let at = offset;
    for (let i = 0; i < count && at < this.#source.bytes; i++) {
      const ptr = memory.u32(iovs + i * IOV_BYTES);
      const len = Math.min(memory.u32(iovs + i * IOV_BYTES + 4), this.#source.bytes - at);
      if (len > 0 && !this.#source.readAt(at, memory.bytes.subarray(ptr, ptr + len))) return wasi.ERRNO_IO;
      at += len;
    }
    memory.setU32(nread, at - offset);
    return wasi.ERRNO_SUCCESS;
  }

  override fd_seek(offset: bigint, whence: number): { ret: number; offset: bigint } {
    const base = whence === wasi.WHENCE_SET ? 0
      : whence === wasi.WHENCE_CUR ? this.#position
      : whence === wasi.WHENCE_END ? this.#source.bytes : -1;
    const position = base + Number(offset);
    if (base < 0 || position < 0 || !Number.isSafeInteger(position)) return { ret: wasi.ERRNO_INVAL, offset: 0n };
    this.#position = position;
    return { ret: wasi.ERRNO_SUCCESS, offset: BigInt(position) };
  }

  override fd_tell(): { ret: number; offset: bigint } {
    return { ret: wasi.ERRNO_SUCCESS, offset: BigInt(this.#position) };
  }
}
