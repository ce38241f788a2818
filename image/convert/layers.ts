/*
 * Layers into a tree (OCI image-spec, "Image Layer Filesystem Changeset").
 *
 * A layer is a tar archive of what it adds or changes; `.wh.NAME` takes NAME of the layers below away, `.wh..wh..opq` all that a directory
 * has from below. Whiteouts of a layer speak of the layers below only, wherever they stand in the archive: what the layer itself has put
 * somewhere, by name, stays. Entries are taken in their order, as a path may lead through links that the layer replaces.
 * A directory over a directory keeps its contents; anything else replaces what was there, symlinks among it.
 *
 * Left out: aufs' own files, of which hard links may speak all the same, and what estargz adds to a layer for its reader (a list of
 * contents at its end, and with it a landmark). A device 0:0 and the attributes of overlayfs are that file system's own whiteouts.
 */
import { decodeName, encodeName, quotedName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';
import { readTar, type TarEntry } from '../tar.ts';
import { makeInode, type Inode, type Tree } from '../tree.ts';
import { aclAttribute } from './acl.ts';
import { idIn } from './image-config.ts';

const WHITEOUT = '.wh.';
/** aufs' own names (`.wh..wh.plnk`, …): of no meaning to others, but for this one */
const WHITEOUT_META = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';
const STARGZ_TOC = 'stargz.index.json';
const STARGZ_LANDMARKS = ['.prefetch.landmark', '.no.prefetch.landmark'];
/** attributes that overlayfs writes for itself */
const OVERLAY = ['trusted.overlay.', 'user.overlay.'];
const NOTHING = new Uint8Array(0);
/** Linux: (uid_t)-1 is nobody's */
const MAX_ID = 0xfffffffe;
/** Linux's dev_t: 12 and 20 bits */
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;

/** What is left of what an image may unpack to. */
export interface Budget {
  entries: number;
  /** in `bytes` */
  bytes: number;
}

/** Applies one uncompressed layer; `isVerified` says that a digest vouches for it. Borrowed: file contents are views into `archive`. */
export function applyLayer(tree: Tree, archive: Uint8Array, budget: Budget, isVerified = true): void {
  const layer = new Layer(tree);
  for (const entry of readTar(archive, { mustEnd: !isVerified, sparse: budget })) {
    if (--budget.entries < 0) throw new ImageBuildError('the image has more files than are allowed; --max-entries N raises the limit');
    layer.take(entry);
  }
  layer.end();
}

class Layer {
  readonly #tree: Tree;
  /** names that this layer has put into directories, by directory */
  readonly #own = new Map<Inode, Set<string>>();
  /** aufs' files by their names, for the hard links to them */
  readonly #aufs = new Map<string, Inode>();
  readonly #acls: Array<{ inode: Inode; entry: TarEntry }> = [];
  /** a regular file of that name at the root */
  #toc: Inode | null = null;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  take(entry: TarEntry): void {
    const parts = entry.path.split('/');
    const name = parts[parts.length - 1];
    const inside = parts.slice(0, -1).find((part) => part.startsWith(WHITEOUT));
    if (inside?.startsWith(WHITEOUT_META)) {
      if (entry.kind === 'file') this.#aufs.set(entry.path, makeFrom(entry));
    } else if (inside !== undefined) {
      throw new ImageBuildError(`a layer has ${quotedName(entry.path)} inside of a whiteout, which is no folder`);
    } else if (name.startsWith(WHITEOUT) || isOverlayWhiteout(entry)) {
      this.#whiteOut(parts.slice(0, -1).join('/'), name.startsWith(WHITEOUT) ? name : `${WHITEOUT}${name}`);
    } else {
      this.#add(entry);
    }
  }

  /** What can be told only when all of the layer is there. */
  end(): void {
    const { children } = this.#tree.root;
    if (this.#toc !== null && children.get(STARGZ_TOC) === this.#toc) {
      children.delete(STARGZ_TOC);
      for (const name of STARGZ_LANDMARKS) if (this.#own.get(this.#tree.root)?.has(name) === true && children.get(name)?.kind === 'file') children.delete(name);
    }
    for (const { inode, entry } of this.#acls) {
      try {
        for (const [kind, text] of Object.entries(entry.acls!)) {
          const attribute = aclAttribute(text, (who, name) => idIn(this.#tree, who, name));
          if (attribute !== null) inode.xattrs.set(`system.posix_acl_${kind}`, attribute);
        }
      } catch (error) {
        throw error instanceof ImageBuildError ? new ImageBuildError(`${quotedName(entry.path)} ${error.message}`) : error;
      }
    }
  }

  #whiteOut(parentPath: string, name: string): void {
    const parent = this.#tree.lookup(parentPath);
    if (parent?.kind !== 'directory') return;
    if (name === OPAQUE) this.#dropLower(parent);
    else if (!name.startsWith(WHITEOUT_META)) this.#dropName(parent, name.slice(WHITEOUT.length));
  }

  #dropName(parent: Inode, name: string): void {
    const child = parent.children.get(name);
    if (child === undefined) return;
    if (this.#own.get(parent)?.has(name) !== true) parent.children.delete(name);
    else if (child.kind === 'directory') this.#dropLower(child);
  }

  #dropLower(directory: Inode): void {
    for (const name of directory.children.keys()) this.#dropName(directory, name);
  }

  #add(entry: TarEntry): void {
    if (entry.path === '' && entry.kind !== 'directory') throw new ImageBuildError(`a layer has an entry without a name, a ${entry.kind}`);
    const inode = entry.kind === 'hardlink' ? this.#linked(entry) : makeFrom(entry);
    if (entry.kind === 'directory' && OVERLAY.some((prefix) => decodeName(inode.xattrs.get(`${prefix}opaque`) ?? NOTHING) === 'y')) this.#whiteOut(entry.path, OPAQUE);
    for (const name of inode.xattrs.keys()) if (OVERLAY.some((prefix) => name.startsWith(prefix))) inode.xattrs.delete(name);
    this.#tree.put(entry.path, inode);
    this.#markOwn(entry.path);
    // Over a directory the old inode has taken all that is new.
    if (entry.acls !== undefined) this.#acls.push({ inode: this.#tree.lookup(entry.path, false)!, entry });
    if (entry.path === STARGZ_TOC) this.#toc = isToc(entry) ? inode : null;
  }

  /** All names on the way, as well: a folder that holds what is this layer's is not another layer's to be taken away. */
  #markOwn(path: string): void {
    const slash = path.lastIndexOf('/');
    let directory: Inode | undefined = this.#tree.root;
    for (const name of [...this.#tree.locate(path.slice(0, Math.max(0, slash)))!.split('/'), path.slice(slash + 1)]) {
      if (name === '' || directory === undefined) continue;
      const names = this.#own.get(directory);
      if (names === undefined) this.#own.set(directory, new Set([name]));
      else names.add(name);
      directory = directory.children.get(name);
    }
  }

  #linked({ path, link }: TarEntry): Inode {
    const target = this.#aufs.get(link) ?? this.#tree.lookup(link, false);
    if (target === null) throw new ImageBuildError(`a layer has ${quotedName(path)} as a hard link to something that is not there (yet): ${quotedName(link)}`);
    if (target.kind === 'directory') throw new ImageBuildError(`a layer has ${quotedName(path)} as a hard link to a folder: ${quotedName(link)}`);
    return target;
  }
}

function makeFrom({ path, kind, mode, uid, gid, mtime, major, minor, xattrs, link, data }: TarEntry): Inode {
  if (uid < 0 || gid < 0 || uid > MAX_ID || gid > MAX_ID) throw new ImageBuildError(`a layer has ${quotedName(path)} with the owner ${uid}:${gid}, which Linux can't have: pack it again with tar --owner=ID --group=ID`);
  if (major < 0 || minor < 0 || major > MAX_MAJOR || minor > MAX_MINOR) throw new ImageBuildError(`a layer has ${quotedName(path)} as the device ${major}:${minor}, which Linux can't have`);
  for (const prefix of OVERLAY) {
    if (xattrs.has(`${prefix}redirect`) || xattrs.has(`${prefix}metacopy`)) throw new ImageBuildError(`a layer has ${quotedName(path)} from inside of an overlay, with contents that are elsewhere: pack the mounted root instead`);
  }
  if (kind === 'hardlink') throw new TypeError('a hard link has no inode of its own');
  return makeInode(kind, mode, { uid, gid, mtime, major, minor, xattrs, data: kind === 'symlink' ? encodeName(link) : data });
}

function isOverlayWhiteout({ kind, major, minor, xattrs }: TarEntry): boolean {
  return (kind === 'char' && major === 0 && minor === 0) || OVERLAY.some((prefix) => xattrs.has(`${prefix}whiteout`));
}

/** What estargz calls its list: a root may have a file of that name for reasons of its own. */
function isToc({ kind, data }: TarEntry): boolean {
  return kind === 'file' && /^\s*\{\s*"version"\s*:\s*1\s*,\s*"entries"\s*:/.test(decodeName(data.subarray(0, 200)));
}
