/*
 * A folder of this computer (File System Access API) as a share, as far as that API goes.
 *
 * There are no links, modes or owners, and times cannot be set: modes are kept while the folder is connected, a time that is set is forgotten, links
 * are refused. A folder cannot be renamed (XDEV: programs then copy); a file can, by a copy where the browser has no `move`.
 *
 * Writing goes to a copy that the browser puts in the file's place when it is closed. So what was written stays in one such copy until somebody
 * reads, syncs or closes the file (`commit`); its size meanwhile is ours to know. Paths name files, and open files are known by them, so that two
 * descriptors of one file agree. Container and page ask at the same time: one call is done with before the next begins.
 *
 * A file that is removed or replaced while it is open lives on in memory, as long as there is room for it there; else it stays (NOSPC).
 *
 * The handle is the browser's permission: nothing outside of it can be named, and the user may take it back (ACCES).
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import type { ServedFile, ServedShare } from '../../shared/wasi/share-channel.ts';
import type { FileEntry, FileStat, OpenFile, OpenHow } from '../../shared/wasi/share.ts';
import { components, FileError, totalBytes } from '../../shared/wasi/share.ts';

const ERRNOS: Record<string, number> = {
  NotFoundError: wasi.ERRNO_NOENT, TypeMismatchError: wasi.ERRNO_NOTDIR, NotAllowedError: wasi.ERRNO_ACCES, SecurityError: wasi.ERRNO_ACCES, TypeError: wasi.ERRNO_INVAL,
  InvalidModificationError: wasi.ERRNO_NOTEMPTY, QuotaExceededError: wasi.ERRNO_NOSPC, NoModificationAllowedError: wasi.ERRNO_BUSY,
};
const NS_PER_MS = 1_000_000n;
/** what files without a name hold together, in bytes */
const NAMELESS_BYTES = 64 << 20;
/** contents are copied in portions of so many bytes */
const PORTION = 1 << 20;
const NAMELESS: OpenHow = { reads: true, writes: true, creates: true, exclusive: true, truncates: false, appends: false, directory: false };
const PERMISSIONS = 0o777;
const MAX_NAME_BYTES = 255;
const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;

type Handle = FileSystemFileHandle | FileSystemDirectoryHandle;

interface Place {
  parent: FileSystemDirectoryHandle;
  /** '' for the root itself */
  name: string;
  /** the whole path, normalized */
  path: string;
}

export class HandleShare implements ServedShare {
  readonly #root: FileSystemDirectoryHandle;
  readonly #dev: bigint;
  /** open files by path */
  readonly #open = new Map<string, FileState>();
  readonly #modes = new Map<string, number>();
  /** directories that are open */
  readonly #directories = new Set<OpenDirectory>();
  /** files that were removed while they were open */
  readonly #nameless: MemoryShare;
  /** settles when the last call that began is done with */
  #turn: Promise<unknown> = Promise.resolve();

  /** `dev` tells its files from those of other folders. */
  constructor(root: FileSystemDirectoryHandle, dev: bigint, namelessBytes = NAMELESS_BYTES) {
    this.#root = root;
    this.#dev = dev;
    this.#nameless = new MemoryShare(namelessBytes);
  }

  stat(path: string): Promise<FileStat> {
    return this.#exclusively(async () => this.#stat(await this.#find(path)));
  }

  async setTimes(path: string): Promise<void> {
    await this.stat(path);
  }

  setMode(path: string, mode: number): Promise<void> {
    return this.#exclusively(async () => {
      const place = await this.#find(path);
      await this.#stat(place);
      this.#modes.set(place.path, mode & PERMISSIONS);
    });
  }

  open(path: string, _follow: boolean, how: OpenHow): Promise<ServedFile> {
    return this.#exclusively(async () => {
      const place = await this.#find(path);
      let handle = await this.#handle(place);
      if (handle !== null && how.creates && how.exclusive) throw new FileError(wasi.ERRNO_EXIST);
      if (handle === null && !how.creates) throw new FileError(wasi.ERRNO_NOENT);
      handle ??= await place.parent.getFileHandle(place.name, { create: true });
      if (isDirectory(handle)) {
        if (how.writes || how.truncates || how.creates) throw new FileError(wasi.ERRNO_ISDIR);
        return this.#openDirectory(handle, place);
      }
      if (how.directory) throw new FileError(wasi.ERRNO_NOTDIR);
      const state = this.#open.get(place.path) ?? new FileState(handle);
      if (how.truncates) await state.setSize(0);
      this.#open.set(place.path, state);
      state.refs++;
      return this.#openFile(state, how);
    });
  }

  makeDirectory(path: string): Promise<void> {
    return this.#exclusively(async () => {
      const place = await this.#find(path);
      if (await this.#handle(place) !== null) throw new FileError(wasi.ERRNO_EXIST);
      await place.parent.getDirectoryHandle(place.name, { create: true });
    });
  }

  removeDirectory(path: string): Promise<void> {
    return this.#remove(path, true);
  }

  unlink(path: string): Promise<void> {
    return this.#remove(path, false);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#exclusively(async () => {
      const [source, target] = [await this.#find(from), await this.#find(to)];
      const handle = await this.#handle(source);
      if (handle === null) throw new FileError(wasi.ERRNO_NOENT);
      if (isDirectory(handle)) throw new FileError(wasi.ERRNO_XDEV);
      const there = await this.#handle(target);
      if (there !== null && isDirectory(there)) throw new FileError(wasi.ERRNO_ISDIR);
      if (source.path === target.path) return;
      const state = this.#open.get(source.path);
      await state?.commit();
      const moved = await this.#replacing(target, async () => {
        const copy = await target.parent.getFileHandle(target.name, { create: true });
        try {
          await (await handle.getFile()).stream().pipeTo(await copy.createWritable());
        } catch (error) {
          // Without its contents it never was.
          if (there === null) await target.parent.removeEntry(target.name);
          throw error;
        }
        return copy;
      });
      await source.parent.removeEntry(source.name);
      this.#open.delete(source.path);
      if (state !== undefined) {
        state.handle = moved;
        this.#open.set(target.path, state);
      }
      this.#modes.delete(target.path);
      const mode = this.#modes.get(source.path);
      this.#modes.delete(source.path);
      if (mode !== undefined) this.#modes.set(target.path, mode);
    });
  }

  link(): never {
    throw new FileError(wasi.ERRNO_PERM);
  }

  symlink(): never {
    throw new FileError(wasi.ERRNO_PERM);
  }

  readlink(): never {
    throw new FileError(wasi.ERRNO_INVAL);
  }

  #remove(path: string, directory: boolean): Promise<void> {
    return this.#exclusively(async () => {
      const place = await this.#find(path);
      const handle = await this.#handle(place);
      if (handle === null) throw new FileError(wasi.ERRNO_NOENT);
      if (isDirectory(handle) !== directory) throw new FileError(directory ? wasi.ERRNO_NOTDIR : wasi.ERRNO_ISDIR);
      if (place.name === '') throw new FileError(wasi.ERRNO_BUSY);
      await this.#replacing(place, () => place.parent.removeEntry(place.name));
      for (const one of this.#directories) if (one.path === place.path) one.goneMode ??= this.#modes.get(place.path) ?? DIRECTORY_MODE;
      this.#modes.delete(place.path);
    });
  }

  /** Does what takes the file of this name away. What has it open keeps it as it was, in memory. */
  async #replacing<T>(place: Place, action: () => Promise<T>): Promise<T> {
    const state = this.#open.get(place.path);
    if (state === undefined) return action();
    const kept = await state.copyTo(this.#nameless, this.#modes.get(place.path) ?? FILE_MODE);
    try {
      const result = await action();
      state.nameless = kept;
      this.#open.delete(place.path);
      return result;
    } catch (error) {
      kept.close();
      throw error;
    }
  }

  /** Nobody else's call is half done meanwhile. Throws FileError. */
  #exclusively<T>(action: () => T | Promise<T>): Promise<T> {
    const result = this.#turn.then(() => asFileErrors(action));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #find(path: string): Promise<Place> {
    const parts = normalized(path).split('/').filter((part) => part !== '');
    const name = parts.pop() ?? '';
    let parent = this.#root;
    for (const part of parts) parent = await parent.getDirectoryHandle(part);
    return { parent, name, path: [...parts, name].join('/') };
  }

  /** null: there is nothing of this name. */
  async #handle({ parent, name }: Place): Promise<Handle | null> {
    if (name === '') return parent;
    try {
      return await parent.getFileHandle(name);
    } catch (error) {
      const kind = error instanceof DOMException ? error.name : '';
      if (kind === 'NotFoundError') return null;
      if (kind === 'TypeMismatchError') return parent.getDirectoryHandle(name);
      throw error;
    }
  }

  async #stat(place: Place): Promise<FileStat> {
    const handle = await this.#handle(place);
    if (handle === null) throw new FileError(wasi.ERRNO_NOENT);
    const common = { dev: this.#dev, ino: inode(place.path), links: 1n };
    if (isDirectory(handle)) return { ...common, type: wasi.FILETYPE_DIRECTORY, size: 0n, atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n, mode: this.#modes.get(place.path) ?? DIRECTORY_MODE };
    const file = await handle.getFile();
    const timeNs = BigInt(Math.floor(file.lastModified)) * NS_PER_MS;
    const size = await this.#open.get(place.path)?.size() ?? file.size;
    return { ...common, type: wasi.FILETYPE_REGULAR_FILE, size: BigInt(size), atimeNs: timeNs, mtimeNs: timeNs, ctimeNs: timeNs, mode: this.#modes.get(place.path) ?? FILE_MODE };
  }

  /** Of an open file, wherever it is now. */
  async #statOpen(state: FileState): Promise<FileStat> {
    const { nameless } = state;
    if (nameless === null) return this.#stat(await this.#find(this.#pathOf(state)));
    const stat = nameless.stat();
    return { ...stat, dev: this.#dev, ino: inode(`${stat.ino}\0`), links: 0n };
  }

  #pathOf(state: FileState): string {
    for (const [path, one] of this.#open) if (one === state) return path;
    throw new FileError(wasi.ERRNO_NOENT);
  }

  #openFile(state: FileState, how: OpenHow): ServedFile {
    const demand = (right: boolean, errno: number): void => { if (!right) throw new FileError(errno); };
    return {
      isDirectory: false,
      stat: () => this.#exclusively(() => this.#statOpen(state)),
      setTimes: () => undefined,
      setMode: (mode) => this.#exclusively(() => {
        if (state.nameless === null) this.#modes.set(this.#pathOf(state), mode & PERMISSIONS);
        else state.nameless.setMode(mode);
      }),
      read: (offset, into) => this.#exclusively(() => {
        demand(how.reads, wasi.ERRNO_BADF);
        return state.read(offset, into);
      }),
      write: (offset, from) => this.#exclusively(async () => {
        // Where nothing is written nothing ends.
        if (totalBytes(from) === 0) return 0;
        demand(how.writes, wasi.ERRNO_BADF);
        return state.write(how.appends ? await state.size() : offset, from);
      }),
      setSize: (size) => this.#exclusively(() => {
        demand(how.writes, wasi.ERRNO_INVAL);
        return state.setSize(size);
      }),
      sync: () => this.#exclusively(() => state.commit()),
      list: () => { throw new FileError(wasi.ERRNO_NOTDIR); },
      close: () => this.#exclusively(async () => {
        if (--state.refs === 0) state.nameless?.close();
        try {
          await state.commit();
        } finally {
          if (state.refs === 0) for (const [path, one] of this.#open) if (one === state) this.#open.delete(path);
        }
      }),
    };
  }

  #openDirectory(handle: FileSystemDirectoryHandle, place: Place): ServedFile {
    const refuse = (): never => { throw new FileError(wasi.ERRNO_ISDIR); };
    const open: OpenDirectory = { path: place.path, goneMode: null };
    this.#directories.add(open);
    const gone = (mode: number): FileStat => ({ dev: this.#dev, ino: inode(`${place.path}\0`), type: wasi.FILETYPE_DIRECTORY, links: 0n, size: 0n, atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n, mode });
    return {
      isDirectory: true, stat: () => this.#exclusively(() => (open.goneMode === null ? this.#stat(place) : gone(open.goneMode))),
      setTimes: () => undefined, read: refuse, write: refuse, setSize: () => { throw new FileError(wasi.ERRNO_INVAL); }, sync: () => undefined, close: () => { this.#directories.delete(open); },
      setMode: (mode) => this.#exclusively(() => {
        if (open.goneMode === null) this.#modes.set(place.path, mode & PERMISSIONS);
        else open.goneMode = mode & PERMISSIONS;
      }),
      list: () => this.#exclusively(async () => {
        const entries: FileEntry[] = [];
        if (open.goneMode !== null) return entries;
        for await (const [name, one] of handle.entries()) {
          entries.push({ name, ino: inode(place.path === '' ? name : `${place.path}/${name}`), type: one.kind === 'directory' ? wasi.FILETYPE_DIRECTORY : wasi.FILETYPE_REGULAR_FILE });
        }
        return entries;
      }),
    };
  }
}

interface OpenDirectory {
  path: string;
  /** its mode when it was removed, and since; null: it is there */
  goneMode: number | null;
}

/** What all descriptors of a file share. */
class FileState {
  handle: FileSystemFileHandle;
  refs = 0;
  /** what it became when its name was taken away */
  nameless: OpenFile | null = null;
  #copy: FileSystemWritableFileStream | null = null;
  /** of the copy */
  #size = 0;

  constructor(handle: FileSystemFileHandle) {
    this.handle = handle;
  }

  async size(): Promise<number> {
    if (this.nameless !== null) return Number(this.nameless.stat().size);
    return this.#copy === null ? (await this.handle.getFile()).size : this.#size;
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<number> {
    if (this.nameless !== null) return this.nameless.read(offset, into);
    await this.commit();
    const file = await this.handle.getFile();
    const bytes = new Uint8Array(await file.slice(offset, offset + totalBytes(into)).arrayBuffer());
    let at = 0;
    for (const part of into) {
      part.set(bytes.subarray(at, at + part.length));
      at += part.length;
    }
    return bytes.length;
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<number> {
    if (this.nameless !== null) return this.nameless.write(offset, from);
    const copy = await this.#writable();
    let at = offset;
    for (const part of from) {
      await copy.write({ type: 'write', position: at, data: part as Uint8Array<ArrayBuffer> });
      at += part.length;
    }
    this.#size = Math.max(this.#size, at);
    return at - offset;
  }

  async setSize(size: number): Promise<void> {
    if (this.nameless !== null) {
      this.nameless.setSize(size);
      return;
    }
    await (await this.#writable()).truncate(size);
    this.#size = size;
  }

  /** What was written becomes the file. */
  async commit(): Promise<void> {
    const copy = this.#copy;
    this.#copy = null;
    await copy?.close();
  }

  /** All of it as a file without a name in `share`. */
  async copyTo(share: MemoryShare, mode: number): Promise<OpenFile> {
    await this.commit();
    const file = await this.handle.getFile();
    const copy = share.open('file', false, NAMELESS);
    share.unlink('file');
    try {
      copy.setMode(mode);
      copy.setSize(file.size);
      for (let at = 0; at < file.size; at += PORTION) copy.write(at, [new Uint8Array(await file.slice(at, at + PORTION).arrayBuffer())]);
    } catch (error) {
      copy.close();
      throw error;
    }
    return copy;
  }

  async #writable(): Promise<FileSystemWritableFileStream> {
    if (this.#copy === null) {
      this.#size = (await this.handle.getFile()).size;
      this.#copy = await this.handle.createWritable({ keepExistingData: true });
    }
    return this.#copy;
  }
}

function isDirectory(handle: Handle): handle is FileSystemDirectoryHandle {
  return handle.kind === 'directory';
}

function normalized(path: string): string {
  const parts = components(path).filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new FileError(wasi.ERRNO_NOTCAPABLE);
  if (parts.some((part) => new TextEncoder().encode(part).length > MAX_NAME_BYTES)) throw new FileError(wasi.ERRNO_NAMETOOLONG);
  return parts.join('/');
}

/** FNV-1a of the path, 64 bits: there are no inode numbers. */
function inode(path: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(path)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

async function asFileErrors<T>(action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(ERRNOS[error instanceof Error ? error.name : ''] ?? wasi.ERRNO_IO);
  }
}
