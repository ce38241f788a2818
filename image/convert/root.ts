/* The root of an image before it becomes a disk: what can't be one is refused, and what container engines mount or make is put in its place. */
import { quotedName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';
import type { Inode, Tree } from '../tree.ts';
import { PLAIN_CONFIG, type ImageConfig } from './image-config.ts';

/** Where the agent mounts file systems of its own: nothing of the image shows below */
const MOUNTED = ['proc', 'sys', 'dev'];

/**
 * What container engines mount or make: mount points, the files that the agent writes, working directory, volumes. Links of the image are
 * followed inside the root, and their targets made; a loop of links, or a file in the place of a folder, is replaced.
 */
export function prepareRoot(tree: Tree, config: ImageConfig): void {
  for (const path of [...MOUNTED, 'run', 'etc']) tree.mkdir(path);
  if (tree.lookup('tmp') === null) tree.mkdir('tmp', 0o1777);
  for (const path of ['etc/hostname', 'etc/hosts', 'etc/resolv.conf']) tree.touch(path, MOUNTED);
  for (const path of [config.workdir, ...config.volumes]) {
    if (path.split('/').includes('..')) throw new ImageBuildError(`the image's configuration has a path that climbs: ${quotedName(path)}`);
    const there = tree.lookup(path);
    if (there !== null && there.kind !== 'directory') throw new ImageBuildError(`the image's configuration has ${quotedName(path)} as a folder, and its root as a ${there.kind}`);
    tree.mkdir(path);
  }
}

/** Refuses what holds nothing; and, where no configuration says that it is an image at all, what has nothing in it that could be run. */
export function refuseUnbootable(tree: Tree, config: ImageConfig, label: string): void {
  if (tree.root.children.size === 0) throw new ImageBuildError(`${label} is empty`);
  if (config !== PLAIN_CONFIG) return;
  for (const { inode } of tree.walk()) if (isProgram(inode)) return;
  throw new ImageBuildError(`${label} has no program in it: convert takes container images, and tars of a root file system (tar -C ROOT -cf root.tar .)`);
}

/** ELF, or a script that names its interpreter. */
function isProgram({ kind, mode, data }: Inode): boolean {
  return kind === 'file' && (mode & 0o111) !== 0 && ((data[0] === 0x7f && data[1] === 0x45) || (data[0] === 0x23 && data[1] === 0x21));
}
