/*
 * A Debian of its own from packages pinned in a lock file, to be run on two machines: ours, as an image with its disk beside it, and QEMU, as
 * kernel, initrd and the same disk. No image of ours that anybody is offered: the proof and the benchmarks make theirs here.
 *
 * Made once, in .cache/FOLDER: the disk per lock and contents, the image per disk, machine and agent, so that another machine costs a
 * snapshot and no unpacking. Older ones are removed.
 */
import { createHash } from 'node:crypto';
import { access, link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EPOCH, writeBootFiles } from '../image/boot-files.ts';
import { readDeb, type Deb } from '../image/deb.ts';
import { buildDebianRoot } from '../image/debian-root.ts';
import { ROOT_IDENTITY } from '../image/enter.ts';
import { writeErofs } from '../image/erofs.ts';
import { DISK_MODULES, NET_MODULES } from '../image/kernel.ts';
import { fetchSignedIndex, pin } from '../image/lock.ts';
import { currentLock, fetchPackages } from '../image/locked.ts';
import { CACHE, downloadPackages, PackagesGone, readLock, readPackage, type Lock } from '../image/packages.ts';
import { takeSnapshot } from '../image/snapshot.ts';
import type { Tree } from '../image/tree.ts';
import { buildMachine } from '../machine/build.ts';

const GUEST = fileURLToPath(new URL('../image/guest', import.meta.url));

export interface DebianSpec {
  /** of the image and of its disk */
  name: string;
  title: string;
  /** below .cache; nobody else's */
  folder: string;
  lockFile: string;
  /** what is pinned anew: these, what is essential, and all that they depend on */
  wanted: string[];
  /** what of that is left out all the same */
  leftOut?: string[];
  /** pinned and fetched for `lay`, and not installed */
  repository?: string[];
  /** of the lock's packages, which are installed; default: all */
  isInstalled?: (name: string) => boolean;
  memoryMiB: number;
  /** what `lay` goes by, for the key: whatever JSON can say */
  contents: unknown;
  /** Puts into the root what is in no package. */
  lay(tree: Tree, debs: Map<string, Deb>, lock: Lock): void | Promise<void>;
}

export interface LockedDebian {
  /** the image for our machine, its disk beside it */
  image: string;
  /** for QEMU */
  kernel: string;
  initrd: string;
  disk: string;
  memoryMiB: number;
}

type Report = (text: string) => void;

export async function lockedDebian(spec: DebianSpec, report: Report): Promise<LockedDebian> {
  const lock = await readLock(spec.lockFile);
  const machine = await buildMachine(report);
  const agent = await Promise.all((await readdir(GUEST)).sort().map((name) => readFile(join(GUEST, name))));
  const diskKey = digest(JSON.stringify([fetchedOf(lock, spec).map((name) => lock.packages[name].sha256), installedOf(lock, spec), spec.contents]));
  const key = digest(JSON.stringify([machine.hash, spec.memoryMiB, diskKey]), ...agent);
  const all = join(CACHE, spec.folder), dir = join(all, key), kept = join(all, `${diskKey}.disk`);
  const found: LockedDebian = { image: join(dir, `${spec.name}.wasm`), kernel: join(dir, 'in/kernel'), initrd: join(dir, 'in/initrd'), disk: join(dir, `${spec.name}.disk`), memoryMiB: spec.memoryMiB };
  if (await isThere(found.image)) return found;
  await mkdir(all, { recursive: true });
  for (const name of await readdir(all)) if (join(all, name) !== kept) await rm(join(all, name), { recursive: true });
  if (!(await isThere(kept))) {
    await writeFile(`${kept}.new`, await makeDisk(spec, await fetchDebian(lock, spec, report), report));
    await rename(`${kept}.new`, kept);
  }
  await makeImage(`${dir}.new`, spec, kept, machine.path, report);
  await rename(`${dir}.new`, dir);
  return found;
}

/** Resolves the packages anew, from a signed index, and writes the lock file. */
export async function pinAnew(spec: DebianSpec): Promise<void> {
  const lock = await resolve(spec), names = Object.keys(lock.packages);
  await writeFile(spec.lockFile, `${JSON.stringify(lock, null, 1)}\n`);
  console.log(`${names.length} packages, ${(names.reduce((sum, name) => sum + lock.packages[name].size, 0) / 2 ** 20).toFixed(1)} MiB`);
}

function installedOf(lock: Lock, { isInstalled = () => true }: DebianSpec): string[] {
  return lock.groups.debian.filter(isInstalled);
}

function fetchedOf(lock: Lock, spec: DebianSpec): string[] {
  return [...installedOf(lock, spec), ...lock.groups.repository];
}

/** The lock whose packages are there now: what is gone from the mirrors is replaced by what they have. */
async function fetchDebian(lock: Lock, spec: DebianSpec, report: Report): Promise<Lock> {
  try {
    await downloadPackages(lock, fetchedOf(lock, spec), (done, total, text) => report(`${text}, ${(done / 2 ** 20).toFixed(0)} of ${(total / 2 ** 20).toFixed(0)} MiB`));
    return lock;
  } catch (error) {
    if (!(error instanceof PackagesGone)) throw error;
    report(`the mirror has newer packages than ${spec.lockFile} pins`);
    const fresh = await resolve(spec);
    await downloadPackages(fresh, fetchedOf(fresh, spec), () => undefined);
    return fresh;
  }
}

async function makeDisk(spec: DebianSpec, lock: Lock, report: Report): Promise<Uint8Array> {
  report('unpacking');
  const debs = new Map<string, Deb>();
  for (const name of installedOf(lock, spec)) debs.set(name, await readDeb(await readPackage(lock.packages[name])));
  const tree = buildDebianRoot(debs, { epoch: EPOCH, suite: lock.suite, mirror: null });
  await spec.lay(tree, debs, lock);
  return writeErofs(tree, { epoch: EPOCH, label: spec.name });
}

async function makeImage(work: string, spec: DebianSpec, disk: string, machine: string, report: Report): Promise<void> {
  const { name, title, memoryMiB } = spec, file = `${name}.disk`;
  const inDir = join(work, 'in');
  await mkdir(inDir, { recursive: true });
  const images = await fetchPackages(await currentLock(), ({ groups }) => [...groups.kernel, ...groups.busybox], report);
  await link(disk, join(work, file));
  await link(disk, join(inDir, 'disk'));
  await writeBootFiles(inDir, images, {
    memoryMiB, modules: [...NET_MODULES, ...DISK_MODULES], disk: { file },
    defaults: {
      name, entrypoint: [], cmd: ['/bin/bash'], workdir: '/root', identity: ROOT_IDENTITY, greeting: '', warm: '',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', TERM: 'dumb', LANG: 'C.UTF-8' },
    },
  });
  report('booting it for its snapshot');
  const bytes = await readFile(disk);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  await takeSnapshot(machine, inDir, join(work, `${name}.wasm`), { version: 1, name, title, net: 'qemu', resize: true, ports: true, pipes: true, terminals: 4, memoryMiB, disk: { file, bytes: bytes.length, sha256 } }, report);
  await rm(join(inDir, 'disk'));
}

async function resolve({ wanted, leftOut = [], repository = [] }: DebianSpec): Promise<Lock> {
  const index = await fetchSignedIndex();
  const debian = index.closure([...index.essential(), ...wanted]).filter((name) => !leftOut.includes(name));
  return {
    version: 1, suite: 'trixie', architecture: 'riscv64', groups: { kernel: [], busybox: [], debian, repository, python: [] },
    packages: Object.fromEntries([...debian, ...repository].map((name) => [name, pin(index, name)])),
  };
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}

function digest(text: string, ...more: Uint8Array[]): string {
  const hash = createHash('sha256').update(text);
  for (const bytes of more) hash.update(bytes);
  return hash.digest('hex').slice(0, 24);
}
