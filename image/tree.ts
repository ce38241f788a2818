/*
 * A root file system in memory: what packages and layers are unpacked into, and what cpio.ts and erofs.ts write out.
 *
 * Hard links are one Inode under several names. A path is resolved as the kernel would resolve it inside this root:
 * symlinks on the way are followed (an absolute target starts at this root, `..` stops there), so an archive whose
 * `bin -> /usr/bin` or `data -> ../../../etc` comes first can only ever write into the tree. Where something is made, a link
 * to what is not there yet has its target made, as container engines do.
 */
import { decodeName, encodeName, quotedName } from './file-name.ts';
import { ImageBuildError } from './image-error.ts';
import type { TarEntry } from './tar.ts';

export type InodeKind = 'directory' | 'file' | 'symlink' | 'char' | 'block' | 'fifo';

export interface Inode {
  kind: InodeKind;
  /** permission bits, set-id and sticky bits included */
  mode: number;
  uid: number;
  gid: number;
  /** seconds since 1970, whole */
  mtime: number;
  /** contents of a file, target of a symlink, else empty */
  data: Uint8Array;
  major: number;
  minor: number;
  xattrs: Map<string, Uint8Array>;
  /** names in a directory, else empty */
  children: Map<string, Inode>;
}

/** Linux's limit on symlinks in one path (MAXSYMLINKS) */
const MAX_SYMLINKS = 40;
/** Deepest directory: PATH_MAX leaves room for no more, and writers of trees recurse. */
const MAX_DEPTH = 2048;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function makeInode(kind: InodeKind, mode: number, fields: Partial<Inode> = {}): Inode {
  return {
    kind, mode, uid: 0, gid: 0, mtime: 0, data: new Uint8Array(0), major: 0, minor: 0, xattrs: new Map(), children: new Map(), ...fields,
  };
}

export class Tree {
  readonly root: Inode;
  /** mtime of what is made without one, in seconds */
  readonly #mtime: number;

  constructor(mtime: number) {
    this.#mtime = mtime;
    this.root = makeInode('directory', 0o755, { mtime });
  }

  /** The inode at `path`, symlinks followed (the last one too, unless told otherwise); null where there is none. */
  lookup(path: string, followLast = true): Inode | null {
    return this.#walk(path, followLast, false);
  }

  /**
   * Where `path` leads, all links followed inside this root, as a path without any: what is not there yet has its name all the same. Null
   * for a loop of links, and below what is no directory.
   */
  locate(path: string): string | null {
    const todo = path.split('/').toReversed();
    let trail: Array<{ name: string; inode: Inode | undefined }> = [];
    let links = 0;
    while (todo.length > 0) {
      const name = todo.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        trail.pop();
        continue;
      }
      const here = trail.length === 0 ? this.root : trail[trail.length - 1].inode;
      if (here !== undefined && here.kind !== 'directory') return null;
      const next = here?.children.get(name);
      if (next?.kind === 'symlink') {
        if (++links > MAX_SYMLINKS) return null;
        const target = decodeName(next.data);
        if (target.startsWith('/')) trail = [];
        todo.push(...target.split('/').toReversed());
      } else {
        if (trail.length > MAX_DEPTH) throw new ImageBuildError('a tree of directories is too deep');
        trail.push({ name, inode: next });
      }
    }
    return trail.map(({ name }) => name).join('/');
  }

  /**
   * Makes the directory `path` and those above it where they are missing, where links lead to; what exists stays as it is. Anything else
   * that is in the way, a loop of links among it, is replaced.
   */
  mkdir(path: string, mode = 0o755): Inode {
    const at = this.locate(path) ?? path;
    const there = this.lookup(at, false);
    if (there?.kind === 'directory') return there;
    const inode = makeInode('directory', mode, { mtime: this.#mtime });
    this.put(at, inode);
    return inode;
  }

  /** Makes the file `path` where there is none, where links lead to. A link to something else is replaced, and so is one below `besides`. */
  touch(path: string, besides: string[]): void {
    const at = this.locate(path);
    const isOk = at !== null && !besides.includes(at.split('/')[0]);
    const there = isOk ? this.lookup(at, false) : null;
    if (there?.kind !== 'file') this.write(isOk && there === null ? at : path, '');
  }

  write(path: string, data: Uint8Array | string, mode = 0o644): void {
    this.put(path, makeInode('file', mode, { mtime: this.#mtime, data: typeof data === 'string' ? encoder.encode(data) : data }));
  }

  symlink(path: string, target: string): void {
    this.put(path, makeInode('symlink', 0o777, { mtime: this.#mtime, data: encodeName(target) }));
  }

  /** Text of a file, or null where there is none. */
  readText(path: string): string | null {
    const inode = this.lookup(path);
    return inode?.kind === 'file' ? decoder.decode(inode.data) : null;
  }

  /** Puts `inode` at `path`, replacing what is there. A directory over a directory keeps the children of the old one. */
  put(path: string, inode: Inode): void {
    const { parent, name } = this.#parentOf(path);
    if (name === '') {
      if (inode.kind !== 'directory') throw new ImageBuildError('the root of a tree must be a directory');
      Object.assign(this.root, { ...inode, children: this.root.children });
      return;
    }
    const old = parent.children.get(name);
    if (inode.kind === 'directory' && old?.kind === 'directory') Object.assign(old, { ...inode, children: old.children });
    else parent.children.set(name, inode);
  }

  remove(path: string): void {
    const split = path.lastIndexOf('/');
    this.lookup(path.slice(0, Math.max(0, split)))?.children.delete(path.slice(split + 1));
  }

  /** Adds one entry of an archive. A directory over a symlink to a directory leaves the symlink: that is how /bin stays /usr/bin. */
  addEntry(entry: TarEntry): void {
    if (entry.kind === 'hardlink') {
      const target = this.lookup(entry.link, false);
      if (target === null || target.kind === 'directory') throw new ImageBuildError(`${quotedName(entry.path)} is a hard link to something that is not there: ${quotedName(entry.link)}`);
      this.put(entry.path, target);
      return;
    }
    if (entry.kind === 'directory' && this.lookup(entry.path, false)?.kind === 'symlink' && this.lookup(entry.path)?.kind === 'directory') return;
    const { kind, mode, uid, gid, mtime, major, minor, xattrs } = entry;
    this.put(entry.path, makeInode(kind, mode, { uid, gid, mtime, major, minor, xattrs, data: kind === 'symlink' ? encodeName(entry.link) : entry.data }));
  }

  /** All names below the root, parents before children, names in byte order; `path` without leading slash, '' first. */
  *walk(): Generator<{ path: string; inode: Inode }> {
    yield* walkBelow('', this.root);
  }

  #walk(path: string, followLast: boolean, make: boolean): Inode | null {
    // Components still to go, nearest last; `trail` holds the directories from the root to where we are.
    const todo = path.split('/').toReversed();
    const trail: Inode[] = [this.root];
    let links = 0;
    while (todo.length > 0) {
      const name = todo.pop()!;
      const here = trail[trail.length - 1];
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (trail.length > 1) trail.pop();
        continue;
      }
      if (here.kind !== 'directory') return null;
      let next = here.children.get(name);
      if (next === undefined && make) here.children.set(name, (next = makeInode('directory', 0o755, { mtime: this.#mtime })));
      if (next === undefined) return null;
      if (next.kind === 'symlink' && (followLast || todo.length > 0)) {
        if (++links > MAX_SYMLINKS) return null;
        const target = decodeName(next.data);
        if (target.startsWith('/')) trail.length = 1;
        todo.push(...target.split('/').toReversed());
      } else {
        if (trail.length > MAX_DEPTH) throw new ImageBuildError('a tree of directories is too deep');
        trail.push(next);
      }
    }
    return trail[trail.length - 1];
  }

  /** The directory that has (or will have) `path`, made where it is missing, and the name there: '' for the root. */
  #parentOf(path: string): { parent: Inode; name: string } {
    const clean = path.split('/').filter((part) => part !== '' && part !== '.');
    const name = clean.pop() ?? '';
    if (name === '..') throw new ImageBuildError(`a name in a tree can't be ".."`);
    const parent = this.#walk(clean.join('/'), true, true);
    if (parent?.kind !== 'directory') throw new ImageBuildError(`${quotedName(path)} can't be: ${quotedName(clean.join('/'))} is not a directory`);
    return { parent, name };
  }
}

/** A directory's names in the order of their bytes, as erofs needs them and as keeps builds the same everywhere. */
export function sortedChildren(directory: Inode): Array<[name: string, inode: Inode]> {
  return [...directory.children].map(([name, inode]) => ({ name, inode, key: encodeName(name) }))
    .sort((a, b) => Buffer.compare(a.key, b.key)).map(({ name, inode }) => [name, inode]);
}

function* walkBelow(path: string, inode: Inode): Generator<{ path: string; inode: Inode }> {
  yield { path, inode };
  if (inode.kind !== 'directory') return;
  for (const [name, child] of sortedChildren(inode)) yield* walkBelow(path === '' ? name : `${path}/${name}`, child);
}

/** S_IFMT bits of a kind. */
export function typeBits(kind: InodeKind): number {
  return { fifo: 0o010000, char: 0o020000, directory: 0o040000, block: 0o060000, file: 0o100000, symlink: 0o120000 }[kind];
}
