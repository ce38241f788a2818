/*
 * The worker that owns the folder which page and container share.
 *
 *   container worker ─ request in shared memory, bell ─▶ here ◀─ comlink ─ page
 *
 * The container's worker is blocked while it runs, and the page must not be: so the folder lives in a thread that always answers. It is in
 * memory, outlives restarts of the container, and ends with the page. Folders of this computer may be connected in it (mounts.ts).
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import { ShareServer } from '../../shared/wasi/share-channel.ts';
import type { FileStat, OpenHow } from '../../shared/wasi/share.ts';
import { FileError } from '../../shared/wasi/share.ts';
import type { FileItem, FilesApi } from '../protocol.ts';
import { Mounts } from './mounts.ts';
import { tarParts, type TarEntry } from './tar.ts';

/** what the folder holds at most, in bytes */
const CAPACITY = 512 << 20;
/** contents are moved in portions of so many bytes */
const PORTION = 1 << 20;
/** changes are told at most so often, in ms */
const CHANGE_MS = 150;
const FOLDER: OpenHow = { reads: true, writes: false, creates: false, exclusive: false, truncates: false, appends: false, directory: true };
const READ: OpenHow = { ...FOLDER, directory: false };
const REPLACE: OpenHow = { ...READ, writes: true, creates: true, truncates: true };

export class FilesWorker implements FilesApi {
  readonly #memory = new MemoryShare(CAPACITY);
  readonly #share = new Mounts(this.#memory);
  #server: ShareServer | null = null;

  async serve(buffer: SharedArrayBuffer, bell: MessagePort): Promise<void> {
    void this.#server?.close();
    const server = new ShareServer(buffer, this.#share);
    this.#server = server;
    bell.onmessage = () => { void server.onBell(); };
  }

  async list(path: string): Promise<FileItem[] | null> {
    try {
      const items: FileItem[] = [];
      for (const name of await this.#names(path)) {
        const { type, size } = await this.#share.stat(under(path, name), false);
        const kind = path === '' && this.#share.has(name) ? 'connected' : type === wasi.FILETYPE_DIRECTORY ? 'folder' : type === wasi.FILETYPE_SYMBOLIC_LINK ? 'link' : 'file';
        items.push({ name, kind, bytes: Number(size) });
      }
      const isFolder = (item: FileItem): boolean => item.kind === 'folder' || item.kind === 'connected';
      return items.toSorted((a, b) => Number(isFolder(b)) - Number(isFolder(a)) || a.name.localeCompare(b.name));
    } catch (error) {
      if (error instanceof FileError) return null;
      throw error;
    }
  }

  put(path: string, file: Blob): Promise<void> {
    return inWords(path, async () => {
      await this.#makeFolders(path.split('/').slice(0, -1));
      const open = await this.#share.open(path, false, REPLACE);
      try {
        for (let at = 0; at < file.size; at += PORTION) await open.write(at, [new Uint8Array(await file.slice(at, at + PORTION).arrayBuffer())]);
        await open.close();
      } catch (error) {
        // Half a file looks like a whole one.
        await this.#share.unlink(path);
        await open.close();
        throw error;
      }
    });
  }

  remove(path: string): Promise<void> {
    return inWords(path, () => this.#remove(path));
  }

  read(path: string): Promise<{ blob: Blob; isArchive: boolean }> {
    return inWords(path, async () => {
      const stat = await this.#share.stat(path, true);
      if (stat.type !== wasi.FILETYPE_DIRECTORY) return { blob: new Blob([await this.#contents(path, stat)]), isArchive: false };
      const entries: TarEntry[] = [];
      await this.#collect(path, '', entries);
      return { blob: new Blob(tarParts(entries), { type: 'application/x-tar' }), isArchive: true };
    });
  }

  connect(handle: FileSystemDirectoryHandle): Promise<string> {
    return inWords(handle.name, () => this.#share.connect(handle));
  }

  async disconnect(name: string): Promise<void> {
    this.#share.disconnect(name);
  }

  async watch(onChange: () => void): Promise<void> {
    let waiting = false;
    this.#memory.onChange = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        onChange();
      }, CHANGE_MS);
    };
  }

  async #names(path: string): Promise<string[]> {
    const folder = await this.#share.open(path === '' ? '.' : path, false, FOLDER);
    return (await folder.list()).map(({ name }) => name);
  }

  async #makeFolders(names: string[]): Promise<void> {
    for (let i = 1; i <= names.length; i++) {
      try {
        await this.#share.makeDirectory(names.slice(0, i).join('/'));
      } catch (error) {
        if (!(error instanceof FileError && error.errno === wasi.ERRNO_EXIST)) throw error;
      }
    }
  }

  async #remove(path: string): Promise<void> {
    if ((await this.#share.stat(path, false)).type !== wasi.FILETYPE_DIRECTORY) return this.#share.unlink(path);
    for (const name of await this.#names(path)) await this.#remove(under(path, name));
    await this.#share.removeDirectory(path);
  }

  /** Adds what is below `path`, named from there on. */
  async #collect(path: string, below: string, entries: TarEntry[]): Promise<void> {
    for (const name of await this.#names(path)) {
      const at = under(path, name);
      const stat = await this.#share.stat(at, false);
      const entry = { path: `${below}${name}`, mode: stat.mode, mtimeMs: Number(stat.mtimeNs / 1_000_000n) };
      if (stat.type === wasi.FILETYPE_SYMBOLIC_LINK) {
        entries.push({ ...entry, link: await this.#share.readlink(at) });
      } else if (stat.type === wasi.FILETYPE_DIRECTORY) {
        entries.push({ ...entry, path: `${entry.path}/` });
        await this.#collect(at, `${entry.path}/`, entries);
      } else {
        entries.push({ ...entry, bytes: await this.#contents(at, stat) });
      }
    }
  }

  /** A copy: the container goes on writing. */
  async #contents(path: string, stat: FileStat): Promise<Uint8Array<ArrayBuffer>> {
    const file = await this.#share.open(path, true, READ);
    try {
      const bytes = new Uint8Array(Number(stat.size));
      return bytes.subarray(0, await file.read(0, [bytes]));
    } finally {
      await file.close();
    }
  }
}

function under(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}

/** Runs `action`; a FileError becomes an Error with a sentence about `path`. */
async function inWords<T>(path: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new Error(`${path}: ${words(error.errno)}`, { cause: error });
  }
}

function words(errno: number): string {
  switch (errno) {
    case wasi.ERRNO_NOSPC: return `the folder is full (it holds ${CAPACITY >> 20} MiB).`;
    case wasi.ERRNO_ACCES: return 'this browser no longer lets us in.';
    case wasi.ERRNO_NOENT: return 'it is gone.';
    case wasi.ERRNO_ISDIR: return 'there is a folder of this name.';
    case wasi.ERRNO_NOTDIR: return 'there is a file where a folder is needed.';
    case wasi.ERRNO_LOOP: return 'there is a link of this name.';
    case wasi.ERRNO_NAMETOOLONG: return 'the name is too long.';
    case wasi.ERRNO_NOTCAPABLE: return 'the link leads out of the folder.';
    default: return `it cannot be done (error ${errno}).`;
  }
}
