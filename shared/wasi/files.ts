/*
 * WASI family: files. Read-only files over a FileSource, in the shim's preopened directories.
 *
 * The shim's own files live in memory and are copied by every read; a disk of hundreds of MiB is neither wanted. A
 * source answers synchronously: the guest is blocked anyway, and whoever implements one (HTTP ranges in a worker, a
 * file descriptor in Node) brings its own cache.
 */
import type { Fd } from '@bjorn3/browser_wasi_shim';
import { Inode, PreopenDirectory, wasi } from '@bjorn3/browser_wasi_shim';
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
}

/** A directory of read-only files and of devices, as the guest finds it among its preopens. */
export function readOnlyDirectory(name: string, files: ReadonlyMap<string, FileSource | Device>): PreopenDirectory {
  const entries = new Map<string, Inode>();
  for (const [file, source] of files) entries.set(file, 'open' in source ? new DeviceInode(source) : new SourceInode(source));
  return new ReadOnlyDirectory(name, entries);
}

/** The shim's, without the ways in which a guest could make the host's memory grow. */
class ReadOnlyDirectory extends PreopenDirectory {
  /** path_open. Result: ROFS when it would create a file · else as the shim's. */
  override path_open(
    dirflags: number, path: string, oflags: number, rights: bigint, inheriting: bigint, flags: number,
  ): { ret: number; fd_obj: Fd | null } {
    const plain = oflags & ~(wasi.OFLAGS_CREAT | wasi.OFLAGS_EXCL);
    const opened = super.path_open(dirflags, path, plain, rights, inheriting, flags);
    if (plain === oflags || (opened.ret === wasi.ERRNO_SUCCESS && (oflags & wasi.OFLAGS_EXCL) === 0)) return opened;
    return { ret: opened.ret === wasi.ERRNO_SUCCESS ? wasi.ERRNO_EXIST : wasi.ERRNO_ROFS, fd_obj: null };
  }

  override path_create_directory(): number { return wasi.ERRNO_ROFS; }
  override path_link(): number { return wasi.ERRNO_ROFS; }
  override path_unlink(): { ret: number; inode_obj: null } { return { ret: wasi.ERRNO_ROFS, inode_obj: null }; }
  override path_unlink_file(): number { return wasi.ERRNO_ROFS; }
  override path_remove_directory(): number { return wasi.ERRNO_ROFS; }
}

class DeviceInode extends Inode {
  readonly #device: Device;

  constructor(device: Device) {
    super();
    this.#device = device;
  }

  override path_open(): { ret: number; fd_obj: HostFd } {
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
