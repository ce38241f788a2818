/* The kernel and the modules of an image, from Debian's kernel package; kept unpacked in .cache/kernel by the package's hash. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decompress } from './decompress.ts';
import { readDeb } from './deb.ts';
import { ImageBuildError } from './image-error.ts';
import { loadOrder, stripModule } from './kernel-modules.ts';
import { CACHE, readPackage, type Lock } from './packages.ts';

/** What a machine with a network needs; the console and RTC drivers are built in. */
export const NET_MODULES = ['virtio_mmio', 'virtio_net'];
/** What shared directories need. */
export const SHARE_MODULES = ['9pnet_virtio', '9p'];
/** What a root on a disk needs besides; libcrc32c asks for crc32c_generic by an alias (softdep), not as a dependency. */
export const DISK_MODULES = ['virtio_blk', 'crc32c_generic', 'erofs', 'overlay'];

export interface Kernel {
  /** as in `uname -r` */
  release: string;
  /** uncompressed Image */
  image: Uint8Array;
  /** stripped modules by name, in the order to load them */
  modules(names: string[]): Map<string, Uint8Array>;
}

interface KernelIndex {
  release: string;
  /** load order and needs of every module kept */
  closures: Record<string, string[]>;
}

/** Part of the cache key: what this file makes of a package. */
const RECIPE = 1;

export async function loadKernel(lock: Lock): Promise<Kernel> {
  const locked = lock.packages[lock.groups.kernel[0]];
  const key = createHash('sha256').update(JSON.stringify([RECIPE, locked.sha256, NET_MODULES, SHARE_MODULES, DISK_MODULES])).digest('hex').slice(0, 16);
  const dir = join(CACHE, 'kernel', key);
  const known = await readFile(join(dir, 'index.json'), 'utf8').catch(() => null);
  if (known === null) await unpackKernel(await readPackage(locked), dir);
  const index = JSON.parse(known ?? (await readFile(join(dir, 'index.json'), 'utf8'))) as KernelIndex;
  const files = new Map<string, Uint8Array>();
  for (const name of new Set(Object.values(index.closures).flat())) files.set(name, await readFile(join(dir, `${name}.ko`)));
  return {
    release: index.release,
    image: await readFile(join(dir, 'vmlinux')),
    modules: (names) => new Map(names.flatMap((name) => index.closures[name]).map((name) => [name, files.get(name)!])),
  };
}

async function unpackKernel(bytes: Uint8Array, dir: string): Promise<void> {
  const { entries } = await readDeb(bytes);
  const image = entries.find(({ path }) => /^boot\/vmlinu[xz]-/.test(path));
  if (image === undefined) throw new ImageBuildError('the kernel package has no kernel');
  const packed = new Map(entries.flatMap((entry) => {
    const name = /\/([^/]+)\.ko(\.xz|\.zst|\.gz)?$/.exec(entry.path)?.[1];
    return name === undefined ? [] : [[name.replaceAll('-', '_'), entry.data]];
  }));
  const read = async (name: string): Promise<Uint8Array | null> => {
    const data = packed.get(name);
    return data === undefined ? null : decompress(data);
  };
  const index: KernelIndex = { release: image.path.replace(/^boot\/vmlinu[xz]-/, ''), closures: {} };
  const temporary = `${dir}.new`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  for (const name of [...NET_MODULES, ...SHARE_MODULES, ...DISK_MODULES]) {
    const order = await loadOrder([name], read);
    if (!order.has(name)) throw new ImageBuildError(`the kernel package has no module ${name}`);
    index.closures[name] = [...order.keys()];
    for (const [needed, module] of order) await writeFile(join(temporary, `${needed}.ko`), stripModule(module));
  }
  await writeFile(join(temporary, 'vmlinux'), await decompress(image.data));
  await writeFile(join(temporary, 'index.json'), JSON.stringify(index));
  await rm(dir, { recursive: true, force: true });
  await rename(temporary, dir);
}
