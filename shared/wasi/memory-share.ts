/*
 * A directory in memory as a share: what a page has without a disk.
 *
 * Nodes are files, directories and links; a name is an entry in a directory's map, so that a file may have several names, and one that is open
 * lives on without any. The contents of a file grow by doubling; all files together hold at most `capacity` bytes, and the tree at most
 * MAX_NODES nodes: beyond that the guest gets NOSPC. Holes take memory, like everything else.
 *
 * `onChange` is called behind each change of names or contents, for whoever shows them.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { FileEntry, FileStat, FileTimes, OpenFile, OpenHow, Share } from './share.ts';
import { checkTarget, components, FileError, MAX_LINKS, totalBytes } from './share.ts';

const MAX_NODES = 100_000;
const MAX_NAME_BYTES = 255;
/** smallest allocation for a file that is written, in bytes */
const MIN_ROOM = 4096;
const PERMISSIONS = 0o777;

abstract class Node {
  readonly ino: bigint;
  abstract readonly type: number;
  mode: number;
  links = 1;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;

  constructor(ino: bigint, mode: number, nowNs: bigint) {
    this.ino = ino;
    this.mode = mode;
    this.atimeNs = this.mtimeNs = this.ctimeNs = nowNs;
  }

  abstract get size(): number;
}

class FileNode extends Node {
  readonly type = wasi.FILETYPE_REGULAR_FILE;
  /** contents, and room behind them, which is zero */
  bytes = new Uint8Array(0);
  length = 0;
  /** descriptors: without one and without a name its bytes are free again */
  open = 0;

  get size(): number {
    return this.length;
  }
}

class DirectoryNode extends Node {
  readonly type = wasi.FILETYPE_DIRECTORY;
  readonly entries = new Map<string, Node>();
  parent: DirectoryNode | null;
  /** nothing is made in it, and it stays where it is: something else is shown in its place */
  isSealed = false;

  constructor(ino: bigint, mode: number, nowNs: bigint, parent: DirectoryNode | null) {
    super(ino, mode, nowNs);
    this.parent = parent;
  }

  get size(): number {
    return this.entries.size;
  }
}

class LinkNode extends Node {
  readonly type = wasi.FILETYPE_SYMBOLIC_LINK;
  readonly target: string;

  constructor(ino: bigint, nowNs: bigint, target: string) {
    super(ino, PERMISSIONS, nowNs);
    this.target = target;
  }

  get size(): number {
    return new TextEncoder().encode(this.target).length;
  }
}

interface Found {
  parent: DirectoryNode;
  /** '' for the root itself */
  name: string;
  node: Node | null;
}

export class MemoryShare implements Share {
  onChange: (() => void) | null = null;
  readonly #capacity: number;
  readonly #root: DirectoryNode;
  #nextIno = 1n;
  #nodes = 0;
  #used = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#root = new DirectoryNode(this.#nextIno++, 0o755, now(), null);
  }

  /** bytes that the files hold */
  get used(): number {
    return this.#used;
  }

  stat(path: string, follow: boolean): FileStat {
    return toStat(this.#node(path, follow));
  }

  setTimes(path: string, follow: boolean, times: FileTimes): void {
    setTimes(this.#node(path, follow), times);
    this.onChange?.();
  }

  setMode(path: string, mode: number): void {
    const node = this.#node(path, false);
    if (node instanceof LinkNode) throw new FileError(wasi.ERRNO_NOTSUP);
    setMode(node, mode);
    this.onChange?.();
  }

  open(path: string, follow: boolean, how: OpenHow): OpenFile {
    const found = this.#find(path, follow);
    if (found.node !== null && how.creates && how.exclusive) throw new FileError(wasi.ERRNO_EXIST);
    if (found.node === null && !how.creates) throw new FileError(wasi.ERRNO_NOENT);
    const node = found.node ?? this.#add(found, new FileNode(this.#nextIno, 0o644, now()));
    if (node instanceof LinkNode) throw new FileError(wasi.ERRNO_LOOP);
    if (node instanceof DirectoryNode) {
      if (how.writes || how.truncates || how.creates) throw new FileError(wasi.ERRNO_ISDIR);
      return new OpenMemoryDirectory(this, node);
    }
    if (how.directory) throw new FileError(wasi.ERRNO_NOTDIR);
    const file = node as FileNode;
    if (how.truncates) this.resize(file, 0);
    file.open++;
    return new OpenMemoryFile(this, file, how);
  }

  makeDirectory(path: string): void {
    const found = this.#find(path, false);
    if (found.node !== null) throw new FileError(wasi.ERRNO_EXIST);
    this.#add(found, new DirectoryNode(this.#nextIno, 0o755, now(), found.parent));
  }

  removeDirectory(path: string): void {
    const found = this.#find(path, false);
    if (found.node === null) throw new FileError(wasi.ERRNO_NOENT);
    if (!(found.node instanceof DirectoryNode)) throw new FileError(wasi.ERRNO_NOTDIR);
    if (found.name === '') throw new FileError(wasi.ERRNO_INVAL);
    if (found.node.isSealed) throw new FileError(wasi.ERRNO_BUSY);
    if (found.node.entries.size > 0) throw new FileError(wasi.ERRNO_NOTEMPTY);
    this.#remove(found);
  }

  unlink(path: string): void {
    const found = this.#find(path, false);
    if (found.node === null) throw new FileError(wasi.ERRNO_NOENT);
    if (found.node instanceof DirectoryNode) throw new FileError(wasi.ERRNO_ISDIR);
    this.#remove(found);
  }

  rename(from: string, to: string): void {
    const source = this.#find(from, false);
    const target = this.#find(to, false);
    const { node } = source;
    if (node === null) throw new FileError(wasi.ERRNO_NOENT);
    // A path that ends in ".." names no entry that could be another.
    if (node === this.#root || target.node === this.#root || source.name === '' || target.name === '') throw new FileError(wasi.ERRNO_BUSY);
    if (isSealed(node) || isSealed(target.node)) throw new FileError(wasi.ERRNO_BUSY);
    checkPlace(target);
    if (target.node === node) return;
    if (node instanceof DirectoryNode) {
      for (let above: DirectoryNode | null = target.parent; above !== null; above = above.parent) if (above === node) throw new FileError(wasi.ERRNO_INVAL);
      if (target.node !== null && !(target.node instanceof DirectoryNode)) throw new FileError(wasi.ERRNO_NOTDIR);
      if (target.node !== null && target.node.size > 0) throw new FileError(wasi.ERRNO_NOTEMPTY);
    } else if (target.node instanceof DirectoryNode) {
      throw new FileError(wasi.ERRNO_ISDIR);
    }
    if (target.node !== null) this.#remove(target);
    source.parent.entries.delete(source.name);
    target.parent.entries.set(target.name, node);
    if (node instanceof DirectoryNode) node.parent = target.parent;
    this.#touched(source.parent);
    this.#touched(target.parent);
    node.ctimeNs = now();
  }

  link(from: string, to: string): void {
    const { node } = this.#find(from, false);
    if (node === null) throw new FileError(wasi.ERRNO_NOENT);
    if (node instanceof DirectoryNode) throw new FileError(wasi.ERRNO_PERM);
    const target = this.#find(to, false);
    if (target.node !== null) throw new FileError(wasi.ERRNO_EXIST);
    checkPlace(target);
    target.parent.entries.set(target.name, node);
    node.links++;
    node.ctimeNs = now();
    this.#touched(target.parent);
  }

  symlink(target: string, path: string): void {
    checkTarget(target);
    const found = this.#find(path, false);
    if (found.node !== null) throw new FileError(wasi.ERRNO_EXIST);
    this.#add(found, new LinkNode(this.#nextIno, now(), target));
  }

  readlink(path: string): string {
    const node = this.#node(path, false);
    if (!(node instanceof LinkNode)) throw new FileError(wasi.ERRNO_INVAL);
    return node.target;
  }

  /** Makes a directory that stays empty and where it is, until it is removed by `removeSealed`. */
  makeSealed(path: string): void {
    this.makeDirectory(path);
    (this.#node(path, false) as DirectoryNode).isSealed = true;
  }

  removeSealed(path: string): void {
    (this.#node(path, false) as DirectoryNode).isSealed = false;
    this.removeDirectory(path);
  }

  /** Makes room for `length` bytes, or cuts; what is new is zero. For OpenMemoryFile. */
  resize(file: FileNode, length: number): void {
    if (this.#used - file.length + length > this.#capacity) throw new FileError(wasi.ERRNO_NOSPC);
    if (length > file.bytes.length) {
      const grown = new Uint8Array(Math.min(Math.max(length, file.bytes.length * 2, MIN_ROOM), Math.max(length, this.#capacity)));
      grown.set(file.bytes.subarray(0, file.length));
      file.bytes = grown;
    } else if (length < file.length) {
      if (length < file.bytes.length / 4) file.bytes = file.bytes.slice(0, Math.max(length, MIN_ROOM));
      file.bytes.fill(0, length, Math.min(file.length, file.bytes.length));
    }
    this.#used += length - file.length;
    file.length = length;
    this.changed(file);
  }

  /** The contents are others. For OpenMemoryFile. */
  changed(file: FileNode): void {
    file.mtimeNs = file.ctimeNs = now();
    this.onChange?.();
  }

  /** A descriptor was closed. For OpenMemoryFile. */
  closed(file: FileNode): void {
    file.open--;
    this.#freeUnused(file);
  }

  #freeUnused(node: Node): void {
    if (!(node instanceof FileNode) || node.links > 0 || node.open > 0) return;
    this.#used -= node.length;
    node.length = 0;
    node.bytes = new Uint8Array(0);
  }

  #add<T extends Node>(found: Found, node: T): T {
    checkPlace(found);
    if (this.#nodes >= MAX_NODES) throw new FileError(wasi.ERRNO_NOSPC);
    this.#nodes++;
    this.#nextIno++;
    found.parent.entries.set(found.name, node);
    this.#touched(found.parent);
    return node;
  }

  #remove(found: Found): void {
    const node = found.node!;
    found.parent.entries.delete(found.name);
    node.links--;
    node.ctimeNs = now();
    if (node.links === 0) this.#nodes--;
    this.#freeUnused(node);
    this.#touched(found.parent);
  }

  #touched(directory: DirectoryNode): void {
    directory.mtimeNs = directory.ctimeNs = now();
    this.onChange?.();
  }

  #node(path: string, follow: boolean): Node {
    const { node } = this.#find(path, follow);
    if (node === null) throw new FileError(wasi.ERRNO_NOENT);
    return node;
  }

  /** Walks to the last name of a path. All before it must be there. */
  #find(path: string, follow: boolean): Found {
    const queue = components(path).filter((part) => part !== '' && part !== '.');
    let at = this.#root;
    for (let links = 0; queue.length > 0;) {
      const name = queue.shift()!;
      if (name === '..') {
        if (at.parent === null) throw new FileError(wasi.ERRNO_NOTCAPABLE);
        at = at.parent;
        continue;
      }
      if (isTooLong(name)) throw new FileError(wasi.ERRNO_NAMETOOLONG);
      const node = at.entries.get(name) ?? null;
      const isLast = queue.length === 0;
      if (node instanceof LinkNode && (!isLast || follow)) {
        if (++links > MAX_LINKS) throw new FileError(wasi.ERRNO_LOOP);
        queue.unshift(...components(node.target).filter((part) => part !== '' && part !== '.'));
      } else if (isLast) {
        return { parent: at, name, node };
      } else if (node === null) {
        throw new FileError(wasi.ERRNO_NOENT);
      } else if (node instanceof DirectoryNode) {
        at = node;
      } else {
        throw new FileError(wasi.ERRNO_NOTDIR);
      }
    }
    return { parent: at.parent ?? at, name: '', node: at };
  }
}

class OpenMemoryFile implements OpenFile {
  readonly isDirectory = false;
  readonly #share: MemoryShare;
  readonly #node: FileNode;
  readonly #how: OpenHow;

  constructor(share: MemoryShare, node: FileNode, how: OpenHow) {
    this.#share = share;
    this.#node = node;
    this.#how = how;
  }

  stat(): FileStat {
    return toStat(this.#node);
  }

  setTimes(times: FileTimes): void {
    setTimes(this.#node, times);
    this.#share.onChange?.();
  }

  setMode(mode: number): void {
    setMode(this.#node, mode);
    this.#share.onChange?.();
  }

  read(offset: number, into: readonly Uint8Array[]): number {
    if (totalBytes(into) === 0) return 0;
    if (!this.#how.reads) throw new FileError(wasi.ERRNO_BADF);
    let at = offset;
    for (const part of into) {
      const piece = this.#node.bytes.subarray(Math.min(at, this.#node.length), Math.min(at + part.length, this.#node.length));
      part.set(piece);
      at += piece.length;
      if (piece.length < part.length) break;
    }
    return at - offset;
  }

  write(offset: number, from: readonly Uint8Array[]): number {
    const bytes = totalBytes(from);
    if (bytes === 0) return 0;
    if (!this.#how.writes) throw new FileError(wasi.ERRNO_BADF);
    let at = this.#how.appends ? this.#node.length : offset;
    if (at + bytes > this.#node.length) this.#share.resize(this.#node, at + bytes);
    for (const part of from) {
      this.#node.bytes.set(part, at);
      at += part.length;
    }
    this.#share.changed(this.#node);
    return bytes;
  }

  setSize(size: number): void {
    if (!this.#how.writes) throw new FileError(wasi.ERRNO_INVAL);
    this.#share.resize(this.#node, size);
  }

  sync(): void {
    // There is nothing behind memory.
  }

  list(): FileEntry[] {
    throw new FileError(wasi.ERRNO_NOTDIR);
  }

  close(): void {
    this.#share.closed(this.#node);
  }
}

class OpenMemoryDirectory implements OpenFile {
  readonly isDirectory = true;
  readonly #share: MemoryShare;
  readonly #node: DirectoryNode;

  constructor(share: MemoryShare, node: DirectoryNode) {
    this.#share = share;
    this.#node = node;
  }

  stat(): FileStat {
    return toStat(this.#node);
  }

  setTimes(times: FileTimes): void {
    setTimes(this.#node, times);
    this.#share.onChange?.();
  }

  setMode(mode: number): void {
    setMode(this.#node, mode);
    this.#share.onChange?.();
  }

  read(): number {
    throw new FileError(wasi.ERRNO_ISDIR);
  }

  write(): number {
    throw new FileError(wasi.ERRNO_ISDIR);
  }

  setSize(): void {
    throw new FileError(wasi.ERRNO_INVAL);
  }

  sync(): void {
    // There is nothing behind memory.
  }

  list(): FileEntry[] {
    return [...this.#node.entries].map(([name, { ino, type }]) => ({ name, ino, type }));
  }

  close(): void {
    // It holds nothing.
  }
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

function setTimes(node: Node, times: FileTimes): void {
  node.atimeNs = times.atimeNs ?? node.atimeNs;
  node.mtimeNs = times.mtimeNs ?? node.mtimeNs;
  node.ctimeNs = now();
}

function setMode(node: Node, mode: number): void {
  node.mode = mode & PERMISSIONS;
  node.ctimeNs = now();
}

function toStat(node: Node): FileStat {
  const { ino, type, links, size, atimeNs, mtimeNs, ctimeNs, mode } = node;
  return { dev: 1n, ino, type, links: BigInt(links), size: BigInt(size), atimeNs, mtimeNs, ctimeNs, mode };
}

function isSealed(node: Node | null): boolean {
  return node instanceof DirectoryNode && node.isSealed;
}

/** Whether an entry may be made there. */
function checkPlace({ parent, name }: Found): void {
  if (name === '') throw new FileError(wasi.ERRNO_EXIST);
  if (parent.isSealed) throw new FileError(wasi.ERRNO_BUSY);
}

/** In UTF-8, of which a character of JavaScript's takes three bytes at most. */
function isTooLong(name: string): boolean {
  return name.length * 3 > MAX_NAME_BYTES && new TextEncoder().encode(name).length > MAX_NAME_BYTES;
}
