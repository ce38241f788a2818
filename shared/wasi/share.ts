/*
 * A directory that the guest may use, whatever it is made of: real files (relay/run/node-share.ts), memory (memory-share.ts).
 *
 * The interface is what WASI's path and descriptor calls come down to; share-imports.ts is WASI's side of it. All calls are
 * synchronous, since the guest is blocked anyway. What fails throws FileError with WASI's errno; anything else that is thrown is EIO to the
 * guest.
 *
 * Paths come from the guest as they are: a share resolves them, "." and ".." and links included, and must not let any of them lead out
 * of it. Only the last component's link is ever left alone, where `follow` is false or the call is about the link itself.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';

export class FileError extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

export interface FileStat {
  dev: bigint;
  ino: bigint;
  /** one of WASI's FILETYPE_… */
  type: number;
  links: bigint;
  size: bigint;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  /** permission bits */
  mode: number;
}

export interface FileEntry {
  name: string;
  ino: bigint;
  type: number;
}

/** Times to set, in nanoseconds since 1970; null leaves one as it is. */
export interface FileTimes {
  atimeNs: bigint | null;
  mtimeNs: bigint | null;
}

export interface OpenHow {
  reads: boolean;
  writes: boolean;
  /** make it when it is not there; `exclusive`: it must not be there */
  creates: boolean;
  exclusive: boolean;
  truncates: boolean;
  /** every write goes to the end that the file has then, whatever offset it names, and whoever else writes */
  appends: boolean;
  /** only a directory will do */
  directory: boolean;
}

export interface OpenFile {
  readonly isDirectory: boolean;
  stat(): FileStat;
  setTimes(times: FileTimes): void;
  setMode(mode: number): void;
  /** Fills the buffers one after the other; returns how many bytes, short at the end of the file. BADF: not opened to read; so for write. */
  read(offset: number, into: readonly Uint8Array[]): number;
  /** At `offset`, or at the end where it was opened so. Returns how many bytes. */
  write(offset: number, from: readonly Uint8Array[]): number;
  /** INVAL: not opened to write. */
  setSize(size: number): void;
  sync(dataOnly: boolean): void;
  /** Of a directory, in an order that holds for this call. */
  list(): FileEntry[];
  close(): void;
}

export interface Share {
  stat(path: string, follow: boolean): FileStat;
  setTimes(path: string, follow: boolean, times: FileTimes): void;
  setMode(path: string, mode: number): void;
  open(path: string, follow: boolean, how: OpenHow): OpenFile;
  makeDirectory(path: string): void;
  removeDirectory(path: string): void;
  unlink(path: string): void;
  rename(from: string, to: string): void;
  link(from: string, to: string): void;
  symlink(target: string, path: string): void;
  readlink(path: string): string;
}

/** A share that the guest is offered. */
export interface OfferedShare {
  /** where the guest shall see it, absolute */
  name: string;
  share: Share;
  /** every change is refused with ROFS */
  readOnly: boolean;
}

/** longest path, with the NUL behind it, as Linux */
const MAX_PATH_BYTES = 4096;
/** most links that one path may lead over, as Linux */
export const MAX_LINKS = 40;

/** Splits a path of the guest. Throws FileError for what is no relative path. */
export function components(path: string): string[] {
  if (path.startsWith('/')) throw new FileError(wasi.ERRNO_NOTCAPABLE);
  if (path.includes('\0')) throw new FileError(wasi.ERRNO_INVAL);
  return path.split('/');
}

/** Throws FileError for what Linux takes for no link's target. */
export function checkTarget(target: string): void {
  if (target === '') throw new FileError(wasi.ERRNO_NOENT);
  if (target.includes('\0')) throw new FileError(wasi.ERRNO_INVAL);
  if (new TextEncoder().encode(target).length >= MAX_PATH_BYTES) throw new FileError(wasi.ERRNO_NAMETOOLONG);
}

/** Sum of the lengths of buffers. */
export function totalBytes(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) sum += part.length;
  return sum;
}
