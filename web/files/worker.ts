/*
 * The worker that owns the folder which page and container share.
 *
 *   container worker ─ request in shared memory, bell ─▶ here ◀─ comlink ─ page
 *
 * The container's worker is blocked while it runs, and the page must not be: so the folder lives in a thread that always answers. It is in
 * memory, outlives restarts of the container, and ends with the page.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import { expose } from 'comlink';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import { ShareServer } from '../../shared/wasi/share-channel.ts';
import type { FileStat, OpenFile, OpenHow } from '../../shared/wasi/share.ts';
import { FileError } from '../../shared/wasi/share.ts';
import type { FileItem, FilesApi } from '../protocol.ts';
import { tarParts, type TarEntry } from './tar.ts';

/** what the folder holds at most, in bytes */
const CAPACITY = 512 << 20;
/** contents are moved in portions of so many bytes */
const PORTION = 1 << 20;
/** changes are told at most so often, in ms */
const CHANGE_MS = 150;
const FOLDER: OpenHow = { reads: true, writes: false, creates: false, exclusive: false, truncates: false, directory: true };
const READ: OpenHow = { ...FOLDER, directory: false };
const REPLACE: OpenHow = { ...READ, writes: true, creates: true, truncates: true };

class FilesWorker implements FilesApi {
  readonly #share = new MemoryShare(CAPACITY);
  #server: ShareServer | null = null;

  async serve(buffer: SharedArrayBuffer, bell: MessagePort): Promise<void> {
    void this.#server?.close();
    const server = new ShareServer(buffer, this.#share);
    this.#server = server;
    bell.onmessage = () => { void server.onBell(); };
  }

  async list(path: string): Promise<FileItem[] | null> {
    try {
      const items = this.#names(path).map((name): FileItem => {
        const { type, size } = this.#share.stat(under(path, name), false);
        return { name, kind: type === wasi.FILETYPE_DIRECTORY ? 'folder' : type === wasi.FILETYPE_SYMBOLIC_LINK ? 'link' : 'file', bytes: Number(size) };
      });
      return items.toSorted((a, b) => Number(b.kind === 'folder') - Number(a.kind === 'folder') || a.name.localeCompare(b.name));
    } catch (error) {
      if (error instanceof FileError) return null;
      throw error;
    }
  }

  async put(path: string, file: Blob): Promise<void> {
    const open = inWords(path, () => {
      this.#makeFolders(path.split('/').slice(0, -1));
      return this.#share.open(path, false, REPLACE);
    });
    try {
      for (let at = 0; at < file.size; at += PORTION) {
        const bytes = new Uint8Array(await file.slice(at, at + PORTION).arrayBuffer());
        inWords(path, () => open.write(at, [bytes]));
      }
    } catch (error) {
      // Half a file looks like a whole one.
      this.#share.unlink(path);
      throw error;
    } finally {
      open.close();
    }
  }

  async remove(path: string): Promise<void> {
    inWords(path, () => { this.#remove(path); });
  }

  async read(path: string): Promise<{ blob: Blob; isArchive: boolean }> {
    return inWords(path, () => {
      const stat = this.#share.stat(path, true);
      if (stat.type !== wasi.FILETYPE_DIRECTORY) return { blob: new Blob([this.#contents(path, stat)]), isArchive: false };
      return { blob: new Blob(tarParts(this.#entries(path, '')), { type: 'application/x-tar' }), isArchive: true };
    });
  }

  async watch(onChange: () => void): Promise<void> {
    let waiting = false;
    this.#share.onChange = () => {
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        onChange();
      }, CHANGE_MS);
    };
  }

  #names(path: string): string[] {
    const folder = this.#share.open(path === '' ? '.' : path, false, FOLDER);
    return folder.list().map(({ name }) => name);
  }

  #makeFolders(names: string[]): void {
    names.forEach((_name, i) => {
      try {
        this.#share.makeDirectory(names.slice(0, i + 1).join('/'));
      } catch (error) {
        if (!(error instanceof FileError && error.errno === wasi.ERRNO_EXIST)) throw error;
      }
    });
  }

  #remove(path: string): void {
    if (this.#share.stat(path, false).type !== wasi.FILETYPE_DIRECTORY) return this.#share.unlink(path);
    for (const name of this.#names(path)) this.#remove(under(path, name));
    this.#share.removeDirectory(path);
  }

  /** What is below `path`, named from there on. */
  * #entries(path: string, below: string): Generator<TarEntry> {
    for (const name of this.#names(path)) {
      const at = under(path, name);
      const stat = this.#share.stat(at, false);
      const common = { path: `${below}${name}`, mode: stat.mode, mtimeMs: Number(stat.mtimeNs / 1_000_000n) };
      if (stat.type === wasi.FILETYPE_SYMBOLIC_LINK) {
        yield { ...common, link: this.#share.readlink(at) };
      } else if (stat.type === wasi.FILETYPE_DIRECTORY) {
        yield { ...common, path: `${common.path}/` };
        yield* this.#entries(at, `${common.path}/`);
      } else {
        yield { ...common, bytes: this.#contents(at, stat) };
      }
    }
  }

  /** A copy: the container goes on writing. */
  #contents(path: string, stat: FileStat): Uint8Array<ArrayBuffer> {
    const file: OpenFile = this.#share.open(path, true, READ);
    try {
      const bytes = new Uint8Array(Number(stat.size));
      return bytes.subarray(0, file.read(0, [bytes]));
    } finally {
      file.close();
    }
  }
}

function under(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`;
}

/** Runs `action`; a FileError becomes an Error with a sentence about `path`. */
function inWords<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new Error(`${path}: ${words(error.errno)}`, { cause: error });
  }
}

function words(errno: number): string {
  switch (errno) {
    case wasi.ERRNO_NOSPC: return `the folder is full (it holds ${CAPACITY >> 20} MiB).`;
    case wasi.ERRNO_NOENT: return 'it is gone.';
    case wasi.ERRNO_ISDIR: return 'there is a folder of this name.';
    case wasi.ERRNO_NOTDIR: return 'there is a file where a folder is needed.';
    case wasi.ERRNO_LOOP: return 'there is a link of this name.';
    case wasi.ERRNO_NAMETOOLONG: return 'the name is too long.';
    case wasi.ERRNO_NOTCAPABLE: return 'the link leads out of the folder.';
    default: return `it cannot be done (error ${errno}).`;
  }
}

expose(new FilesWorker());
