/*
 * The root that the proof runs in: a Debian with python's own tests, gcc, sqlite3, openssl and stress-ng, from packages pinned in
 * proof.lock.json. It is no image of ours: it exists to be run on two machines.
 *
 *   npx tsx tools/proof/root.ts      pins anew
 */
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EPOCH, writeBootFiles } from '../../image/boot-files.ts';
import { readDeb, type Deb } from '../../image/deb.ts';
import { buildDebianRoot } from '../../image/debian-root.ts';
import { ROOT_IDENTITY } from '../../image/enter.ts';
import { writeErofs } from '../../image/erofs.ts';
import { DISK_MODULES, NET_MODULES } from '../../image/kernel.ts';
import { fetchSignedIndex, pin } from '../../image/lock.ts';
import { currentLock, fetchPackages } from '../../image/locked.ts';
import { CACHE, readLock, readPackage, type Lock } from '../../image/packages.ts';
import { takeSnapshot } from '../../image/snapshot.ts';
import { proofFiles } from './parts.ts';
import { buildMachine } from '../../machine/build.ts';

const LOCK_FILE = fileURLToPath(new URL('proof.lock.json', import.meta.url));
const PACKAGES = ['bash', 'ca-certificates', 'coreutils', 'diffutils', 'findutils', 'gcc', 'grep', 'iproute2', 'libc6-dev', 'libpython3.13-testsuite', 'netbase', 'openssl', 'procps', 'python3.13', 'sed', 'sqlite3', 'stress-ng'];
/** What stress-ng's graphics need behind libEGL and libgbm: half of all bytes, and no machine here has a screen. */
const LEFT_OUT = ['libegl-mesa0', 'libllvm19', 'libz3-4', 'mesa-libgallium'];
const NAME = 'proof';
const MEMORY_MIB = 1024;

export interface ProofRoot {
  /** the image for our machine, its disk beside it */
  image: string;
  /** for QEMU */
  kernel: string;
  initrd: string;
  disk: string;
}

/** Made once per lock, machine and agent, in .cache/proof. */
export async function proofRoot(report: (text: string) => void): Promise<ProofRoot> {
  const lock = await readLock(LOCK_FILE);
  const machine = await buildMachine(report);
  const agent = await readFile(fileURLToPath(new URL('../../image/guest/init', import.meta.url)));
  const key = createHash('sha256').update(JSON.stringify([machine.hash, lock.groups.debian.map((name) => lock.packages[name].sha256), [...proofFiles()]])).update(agent).digest('hex').slice(0, 24);
  const dir = join(CACHE, 'proof', key);
  const found: ProofRoot = { image: join(dir, `${NAME}.wasm`), kernel: join(dir, 'in/kernel'), initrd: join(dir, 'in/initrd'), disk: join(dir, `${NAME}.disk`) };
  if (await access(found.image).then(() => true, () => false)) return found;
  await rm(join(CACHE, 'proof'), { recursive: true, force: true });
  await make(`${dir}.new`, lock, machine.path, report);
  await rename(`${dir}.new`, dir);
  return found;
}

async function make(work: string, lock: Lock, machine: string, report: (text: string) => void): Promise<void> {
  const inDir = join(work, 'in');
  await mkdir(inDir, { recursive: true });
  const images = await fetchPackages(await currentLock(), ({ groups }) => [...groups.kernel, ...groups.busybox], report);
  await fetchPackages(lock, ({ groups }) => groups.debian, report);
  report('unpacking');
  const debs = new Map<string, Deb>();
  for (const name of lock.groups.debian) debs.set(name, await readDeb(await readPackage(lock.packages[name])));
  const tree = buildDebianRoot(debs, { epoch: EPOCH, suite: lock.suite, mirror: null });
  tree.mkdir('proof');
  for (const [name, text] of proofFiles()) tree.write(`proof/${name}`, text);
  const disk = writeErofs(tree, { epoch: EPOCH, label: NAME });
  await writeFile(join(work, `${NAME}.disk`), disk);
  await writeFile(join(inDir, 'disk'), disk);
  await writeBootFiles(inDir, images, {
    memoryMiB: MEMORY_MIB, modules: [...NET_MODULES, ...DISK_MODULES], disk: { file: `${NAME}.disk` },
    defaults: {
      name: NAME, entrypoint: [], cmd: ['/bin/bash'], workdir: '/root', identity: ROOT_IDENTITY, greeting: '', warm: '',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', TERM: 'dumb', LANG: 'C.UTF-8' },
    },
  });
  report('booting it for its snapshot');
  const sha256 = createHash('sha256').update(disk).digest('hex');
  await takeSnapshot(machine, inDir, join(work, `${NAME}.wasm`), { version: 1, name: NAME, title: 'Proof', net: 'qemu', resize: true, ports: true, terminals: 4, memoryMiB: MEMORY_MIB, disk: { file: `${NAME}.disk`, bytes: disk.length, sha256 } }, report);
  await rm(join(inDir, 'disk'));
}

async function pinAnew(): Promise<void> {
  const index = await fetchSignedIndex();
  const names = index.closure([...index.essential(), ...PACKAGES]).filter((name) => !LEFT_OUT.includes(name));
  const lock: Lock = {
    version: 1, suite: 'trixie', architecture: 'riscv64', groups: { kernel: [], busybox: [], debian: names, repository: [], python: [] },
    packages: Object.fromEntries(names.map((name) => [name, pin(index, name)])),
  };
  await writeFile(LOCK_FILE, `${JSON.stringify(lock, null, 1)}\n`);
  console.log(`${names.length} packages, ${(Object.values(lock.packages).reduce((sum, { size }) => sum + size, 0) / 2 ** 20).toFixed(1)} MiB`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await pinAnew();
