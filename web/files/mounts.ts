/*
 * The folder in memory, with folders of this computer in it: a path whose first name is that of a connected folder is that folder's, all others
 * are memory's. A connected folder has an empty one of its name in memory, so that listings show it; that one can be neither moved, removed nor
 * filled, whatever path leads there, and names do not move between the two (XDEV: programs copy).
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { MemoryShare } from '../../shared/wasi/memory-share.ts';
import type { ServedFile, ServedShare } from '../../shared/wasi/share-channel.ts';
import type { FileStat, FileTimes, OpenHow } from '../../shared/wasi/share.ts';
import { FileError } from '../../shared/wasi/share.ts';
import { HandleShare } from './handle-share.ts';

export class Mounts implements ServedShare {
  readonly #memory: MemoryShare;
  readonly #mounts = new Map<string, HandleShare>();
  #nextDev = 2n;

  constructor(memory: MemoryShare) {
    this.#memory = memory;
  }

  has(name: string): boolean {
    return this.#mounts.has(name);
  }

  /** Connects a folder. Returns its name: its own, with a number behind it if that is taken. */
  connect(handle: FileSystemDirectoryHandle): string {
    for (let i = 1; ; i++) {
      const name = i === 1 ? handle.name : `${handle.name} ${i}`;
      try {
        this.#memory.makeSealed(name);
      } catch (error) {
        if (error instanceof FileError && error.errno === wasi.ERRNO_EXIST) continue;
        throw error;
      }
      this.#mounts.set(name, new HandleShare(handle, this.#nextDev++));
      return name;
    }
  }

  disconnect(name: string): void {
    if (this.#mounts.delete(name)) this.#memory.removeSealed(name);
  }

  stat(path: string, follow: boolean): FileStat | Promise<FileStat> {
    const [share, below] = this.#route(path);
    return share.stat(below, follow);
  }

  setTimes(path: string, follow: boolean, times: FileTimes): void | Promise<void> {
    const [share, below] = this.#route(path);
    return share.setTimes(below, follow, times);
  }

  setMode(path: string, mode: number): void | Promise<void> {
    const [share, below] = this.#route(path);
    return share.setMode(below, mode);
  }

  open(path: string, follow: boolean, how: OpenHow): ServedFile | Promise<ServedFile> {
    const [share, below] = this.#route(path);
    return share.open(below, follow, how);
  }

  makeDirectory(path: string): void | Promise<void> {
    const [share, below] = this.#route(path);
    return share.makeDirectory(below);
  }

  removeDirectory(path: string): void | Promise<void> {
    const [share, below] = this.#route(path, true);
    return share.removeDirectory(below);
  }

  unlink(path: string): void | Promise<void> {
    const [share, below] = this.#route(path);
    return share.unlink(below);
  }

  rename(from: string, to: string): void | Promise<void> {
    const [share, below] = this.#route(from, true);
    const [other, target] = this.#route(to, true);
    if (share !== other) throw new FileError(wasi.ERRNO_XDEV);
    return share.rename(below, target);
  }

  link(from: string, to: string): void | Promise<void> {
    const [share, below] = this.#route(from);
    const [other, target] = this.#route(to);
    if (share !== other) throw new FileError(wasi.ERRNO_XDEV);
    return share.link(below, target);
  }

  symlink(target: string, path: string): void | Promise<void> {
    const [share, below] = this.#route(path);
    return share.symlink(target, below);
  }

  readlink(path: string): string | Promise<string> {
    const [share, below] = this.#route(path);
    return share.readlink(below);
  }

  /** Whose a path is, and its path there. `moves`: the call would move or remove what it names. */
  #route(path: string, moves = false): [ServedShare, string] {
    const [first, ...rest] = path.split('/').filter((part) => part !== '' && part !== '.');
    const mount = path.startsWith('/') || first === undefined ? undefined : this.#mounts.get(first);
    if (mount === undefined) return [this.#memory, path];
    if (moves && rest.length === 0) throw new FileError(wasi.ERRNO_BUSY);
    return [mount, rest.length === 0 ? '.' : rest.join('/')];
  }
}
