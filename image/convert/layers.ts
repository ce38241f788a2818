/*
 * Layers into a tree (OCI image-spec, "Image Layer Filesystem Changeset").
 *
 * A layer is a tar archive of what it adds or changes; `.wh.NAME` takes NAME of the layers below away, `.wh..wh..opq` all that a directory
 * has from below. Whiteouts of a layer speak of the layers below only, wherever they stand in the archive: they go first.
 * A directory over a directory keeps its contents; anything else replaces what was there, symlinks among it.
 */
import { ImageBuildError } from '../image-error.ts';
import { readTar, type TarEntry } from '../tar.ts';
import { makeInode, Tree } from '../tree.ts';

const WHITEOUT = '.wh.';
/** aufs' own names (`.wh..wh.plnk`, …): of no meaning to others, but for this one */
const WHITEOUT_META = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';
const MAX_ID = 0xffffffff;

/** What is left of what an image may unpack to. */
export interface Budget {
  entries: number;
  /** in `bytes` */
  bytes: number;
}

/** Applies one uncompressed layer; `isVerified` says that a digest vouches for it. Borrowed: file contents are views into `archive`. */
export function applyLayer(tree: Tree, archive: Uint8Array, budget: Budget, isVerified = true): void {
  const additions: TarEntry[] = [];
  for (const entry of readTar(archive, { mustEnd: !isVerified })) {
    if (--budget.entries < 0) throw new ImageBuildError('the image has more files than are allowed; --max-entries N raises the limit');
    const slash = entry.path.lastIndexOf('/');
    const name = entry.path.slice(slash + 1);
    if (name.startsWith(WHITEOUT)) whiteOut(tree, entry.path.slice(0, Math.max(0, slash)), name);
    else additions.push(entry);
  }
  for (const entry of additions) add(tree, entry);
}

function whiteOut(tree: Tree, parentPath: string, name: string): void {
  const parent = tree.lookup(parentPath);
  if (parent?.kind !== 'directory') return;
  if (name === OPAQUE) parent.children.clear();
  else if (!name.startsWith(WHITEOUT_META)) parent.children.delete(name.slice(WHITEOUT.length));
}

function add(tree: Tree, entry: TarEntry): void {
  const { path, kind, mode, uid, gid, mtime, major, minor, xattrs } = entry;
  if (kind === 'hardlink') {
    const target = tree.lookup(entry.link, false);
    if (target === null || target.kind === 'directory') throw new ImageBuildError(`a layer has a hard link to something that is not there: ${JSON.stringify(entry.link)}`);
    tree.put(path, target);
    return;
  }
  if (uid > MAX_ID || gid > MAX_ID || major > MAX_ID || minor > MAX_ID) throw new ImageBuildError(`a layer has an owner or device number that is too large: ${JSON.stringify(path)}`);
  const data = kind === 'symlink' ? Buffer.from(entry.link) : entry.data;
  tree.put(path, makeInode(kind, mode, { uid, gid, mtime, major, minor, xattrs, data }));
}
