/* Descriptors of a share, in the table of the shim: its root, directories and files that were opened in it. */
import { Fd, wasi } from '@bjorn3/browser_wasi_shim';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { ALL_RIGHTS, HostFd } from './host-fd.ts';
import type { FileEntry, OfferedShare, OpenFile } from './share.ts';
import { FileError } from './share.ts';

/** A directory: the root of a share, which is a preopen, or one that was opened. */
export class ShareDirectoryFd extends Fd {
  readonly offered: OfferedShare;
  /** from the share's root, with a slash at its end; '' for the root */
  readonly prefix: string;
  readonly isRoot: boolean;
  /** null until somebody asks: a root needs none */
  #open: OpenFile | null;
  #entries: FileEntry[] | null = null;

  constructor(offered: OfferedShare, prefix: string, open: OpenFile | null) {
    super();
    this.offered = offered;
    this.prefix = prefix;
    this.isRoot = open === null;
    this.#open = open;
  }

  get file(): OpenFile {
    this.#open ??= this.offered.share.open('.', false, { reads: true, writes: false, creates: false, exclusive: false, truncates: false, appends: false, directory: true });
    return this.#open;
  }

  /** What was there when the listing began: names that come and go meanwhile move none of the others. */
  entries(cookie: bigint): FileEntry[] {
    if (cookie === 0n || this.#entries === null) this.#entries = this.file.list();
    return this.#entries;
  }

  override fd_prestat_get(): { ret: number; prestat: wasi.Prestat | null } {
    if (!this.isRoot) return { ret: wasi.ERRNO_BADF, prestat: null };
    return { ret: wasi.ERRNO_SUCCESS, prestat: wasi.Prestat.dir(this.offered.name) };
  }

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat } {
    const fdstat = new wasi.Fdstat(wasi.FILETYPE_DIRECTORY, 0);
    fdstat.fs_rights_base = ALL_RIGHTS;
    fdstat.fs_rights_inherited = ALL_RIGHTS;
    return { ret: wasi.ERRNO_SUCCESS, fdstat };
  }

  override fd_close(): number {
    this.#open?.close();
    this.#open = null;
    return wasi.ERRNO_SUCCESS;
  }
}

/**
 * A file. Always ready; its position moves with fd_read and fd_write only. With APPEND all writes go to the end, fd_pwrite's too, as Linux
 * has it: by the share where it was opened so, else (fd_fdstat_set_flags) by the size that the file has then.
 */
export class ShareFileFd extends HostFd {
  readonly filetype = wasi.FILETYPE_REGULAR_FILE;
  readonly offered: OfferedShare;
  readonly file: OpenFile;
  readonly #openedToAppend: boolean;
  #appends: boolean;
  /** null: at the end, behind what was appended */
  #position: number | null = 0;

  constructor(offered: OfferedShare, file: OpenFile, append: boolean) {
    super();
    this.offered = offered;
    this.file = file;
    this.#openedToAppend = append;
    this.#appends = append;
  }

  protected override get missingRights(): bigint {
    return this.offered.readOnly ? BigInt(wasi.RIGHTS_FD_WRITE) : 0n;
  }

  override readReady(): number {
    try {
      const size = Number(this.file.stat().size);
      return Math.max(size - (this.#position ?? size), 0);
    } catch {
      // A read will say what is wrong.
      return 0;
    }
  }

  override writeReady(): number {
    return 1;
  }

  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    return guarded(() => {
      const at = this.#here();
      const done = this.file.read(at, buffers(memory, iovs, count));
      this.#position = at + done;
      memory.setU32(nread, done);
    });
  }

  override writev(memory: GuestMemory, iovs: number, count: number, nwritten: number): number {
    return guarded(() => {
      const at = this.#appends ? 0 : this.#here();
      const done = this.write(at, buffers(memory, iovs, count));
      this.#position = this.#appends ? null : at + done;
      memory.setU32(nwritten, done);
    });
  }

  /** Throws FileError, as whatever the share throws. */
  write(offset: number, from: readonly Uint8Array[]): number {
    return this.file.write(this.#appends && !this.#openedToAppend ? Number(this.file.stat().size) : offset, from);
  }

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat } {
    const { ret, fdstat } = super.fd_fdstat_get();
    if (this.#appends) fdstat.fs_flags |= wasi.FDFLAGS_APPEND;
    return { ret, fdstat };
  }

  /** Result: SUCCESS · NOTSUP: what was opened to append does nothing else. */
  override fd_fdstat_set_flags(flags: number): number {
    if (this.#openedToAppend && (flags & wasi.FDFLAGS_APPEND) === 0) return wasi.ERRNO_NOTSUP;
    this.#appends = (flags & wasi.FDFLAGS_APPEND) !== 0;
    return super.fd_fdstat_set_flags(flags);
  }

  override fd_seek(offset: bigint, whence: number): { ret: number; offset: bigint } {
    let position = -1;
    const ret = guarded(() => {
      const base = whence === wasi.WHENCE_SET ? 0 : whence === wasi.WHENCE_CUR ? this.#here() : whence === wasi.WHENCE_END ? Number(this.file.stat().size) : Number.NaN;
      position = base + Number(offset);
    });
    if (ret !== wasi.ERRNO_SUCCESS) return { ret, offset: 0n };
    if (!(position >= 0) || !Number.isSafeInteger(position)) return { ret: wasi.ERRNO_INVAL, offset: 0n };
    this.#position = position;
    return { ret: wasi.ERRNO_SUCCESS, offset: BigInt(position) };
  }

  override fd_tell(): { ret: number; offset: bigint } {
    let position = 0;
    const ret = guarded(() => { position = this.#here(); });
    return { ret, offset: BigInt(position) };
  }

  #here(): number {
    this.#position ??= Number(this.file.stat().size);
    return this.#position;
  }

  override fd_close(): number {
    this.file.close();
    return wasi.ERRNO_SUCCESS;
  }
}

/** The guest's buffers; those that touch become one, for a host call may cost more than a copy. Judged by `hasIovs`. */
export function buffers(memory: GuestMemory, iovs: number, count: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const ptr = memory.u32(iovs + i * IOV_BYTES);
    const len = memory.u32(iovs + i * IOV_BYTES + 4);
    if (len === 0) continue;
    if (ptr !== end || start === end) {
      if (end > start) parts.push(memory.bytes.subarray(start, end));
      start = ptr;
    }
    end = ptr + len;
  }
  if (end > start) parts.push(memory.bytes.subarray(start, end));
  return parts;
}

/** Runs `action`; what it throws, as an errno. */
export function guarded(action: () => void): number {
  try {
    action();
    return wasi.ERRNO_SUCCESS;
  } catch (error) {
    return error instanceof FileError ? error.errno : wasi.ERRNO_IO;
  }
}
