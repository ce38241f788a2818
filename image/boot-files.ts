/* What the machine boots for a snapshot (ARCHITECTURE.md, "The machine and its guest agent"): kernel, initrd and config in a folder. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeCpio } from './cpio.ts';
import { readDeb } from './deb.ts';
import { addBusyboxRoot, buildInitramfs, type ImageDefaults } from './initramfs.ts';
import { loadKernel } from './kernel.ts';
import { memoryLines } from './memory.ts';
import { readPackage, type Lock } from './packages.ts';
import { CMDLINE } from './recipes.ts';

/** Time stamp of all that has none of its own, and of the machine's clock while it boots: 2025-11-24T15:20:00Z. */
export const EPOCH = 1_764_000_000;

export interface BootOptions {
  memoryMiB: number;
  modules: string[];
  defaults: ImageDefaults;
  /** name of a disk beside the image; 'embedded', or null for none: the initramfs is the root */
  disk: { file: string } | 'embedded' | null;
}

/** Writes all but the disk itself. The packages are in the store. */
export async function writeBootFiles(inDir: string, lock: Lock, options: BootOptions): Promise<void> {
  const { memoryMiB, modules, defaults, disk } = options;
  const kernel = await loadKernel(lock);
  const busybox = await readDeb(await readPackage(lock.packages[lock.groups.busybox[0]]));
  const initramfs = await buildInitramfs(busybox, kernel.modules(modules), defaults, EPOCH);
  if (disk === null) addBusyboxRoot(initramfs);
  const config = [...memoryLines(memoryMiB), `cmdline=${CMDLINE}`, `epoch=${EPOCH}`];
  if (disk !== null && disk !== 'embedded') config.push(`disk=${disk.file}`);
  await writeFile(join(inDir, 'kernel'), kernel.image);
  await writeFile(join(inDir, 'initrd'), writeCpio(initramfs));
  await writeFile(join(inDir, 'config'), `${config.join('\n')}\n`);
}
