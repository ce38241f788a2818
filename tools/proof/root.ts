/*
 * The roots that the proof runs in: a Debian with python's own tests, gcc, sqlite3, openssl and stress-ng, from packages pinned in
 * proof.lock.json, and the same without gcc for the short proof, which is half as much to fetch. They are no images of ours: they exist
 * to be run on two machines.
 *
 *   npx tsx tools/proof/root.ts      pins anew
 */
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
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
import { CACHE, downloadPackages, PackagesGone, readLock, readPackage, type Lock } from '../../image/packages.ts';
import { takeSnapshot } from '../../image/snapshot.ts';
import { buildMachine } from '../../machine/build.ts';
import { PARTS, proofFiles, SHORT } from './parts.ts';

const GUEST = fileURLToPath(new URL('../../image/guest', import.meta.url));
const LOCK_FILE = fileURLToPath(new URL('proof.lock.json', import.meta.url));
const PACKAGES = ['bash', 'ca-certificates', 'coreutils', 'diffutils', 'findutils', 'gcc', 'grep', 'iproute2', 'libc6-dev', 'libpython3.13-testsuite', 'netbase', 'openssl', 'procps', 'python3.13', 'sed', 'sqlite3', 'stress-ng'];
/** What stress-ng's graphics need behind libEGL and libgbm: half of all bytes, and no machine here has a screen. */
const LEFT_OUT = ['libegl-mesa0', 'libllvm19', 'libz3-4', 'mesa-libgallium'];
/** What the short proof does without. */
const COMPILER = /^(gcc$|gcc-14$|gcc-14-riscv64|gcc-riscv64|cpp|binutils|linux-libc-dev|rpcsvc-proto|lib(asan|binutils|cc1|ctf|gcc-14-dev|gprofng|isl|itm|jansson|lsan|mpc|sframe|tsan|ubsan|c6-dev|c-dev-bin|crypt-dev))/;
const NAME = 'proof';
const KINDS = {
  whole: { memoryMiB: 1024, without: /^$/, parts: PARTS },
  short: { memoryMiB: 512, without: COMPILER, parts: [SHORT] },
};

export type RootKind = keyof typeof KINDS;

export interface ProofRoot {
  /** the image for our machine, its disk beside it */
  image: string;
  /** for QEMU */
  kernel: string;
  initrd: string;
  disk: string;
  memoryMiB: number;
}

/** Made once per lock, machine, agent and what is run, in .cache/proof. */
export async function proofRoot(kind: RootKind, report: (text: string) => void): Promise<ProofRoot> {
  const { memoryMiB, parts } = KINDS[kind];
  const lock = await readLock(LOCK_FILE), names = namesOf(lock, kind);
  const machine = await buildMachine(report);
  const agent = await Promise.all((await readdir(GUEST)).sort().map((name) => readFile(join(GUEST, name))));
  const key = createHash('sha256').update(JSON.stringify([machine.hash, memoryMiB, names.map((name) => lock.packages[name].sha256), [...proofFiles(parts)]])).update(Buffer.concat(agent)).digest('hex').slice(0, 24);
  const all = join(CACHE, 'proof', kind), dir = join(all, key);
  const found: ProofRoot = { image: join(dir, `${NAME}.wasm`), kernel: join(dir, 'in/kernel'), initrd: join(dir, 'in/initrd'), disk: join(dir, `${NAME}.disk`), memoryMiB };
  if (await access(found.image).then(() => true, () => false)) return found;
  await rm(all, { recursive: true, force: true });
  await make(`${dir}.new`, kind, await fetchDebian(lock, kind, report), machine.path, report);
  await rename(`${dir}.new`, dir);
  return found;
}

function namesOf(lock: Lock, kind: RootKind): string[] {
  return lock.groups.debian.filter((name) => !KINDS[kind].without.test(name));
}

/** The lock whose packages are there now: what is gone from the mirrors is replaced by what they have. */
async function fetchDebian(lock: Lock, kind: RootKind, report: (text: string) => void): Promise<Lock> {
  try {
    await downloadPackages(lock, namesOf(lock, kind), (done, total, text) => report(`${text}, ${(done / 2 ** 20).toFixed(0)} of ${(total / 2 ** 20).toFixed(0)} MiB`));
    return lock;
  } catch (error) {
    if (!(error instanceof PackagesGone)) throw error;
    report('the mirror has newer packages than proof.lock.json; `npx tsx tools/proof/root.ts` pins them');
    const fresh = await resolve();
    await downloadPackages(fresh, namesOf(fresh, kind), () => undefined);
    return fresh;
  }
}

async function make(work: string, kind: RootKind, lock: Lock, machine: string, report: (text: string) => void): Promise<void> {
  const { memoryMiB, parts } = KINDS[kind];
  const inDir = join(work, 'in');
  await mkdir(inDir, { recursive: true });
  const images = await fetchPackages(await currentLock(), ({ groups }) => [...groups.kernel, ...groups.busybox], report);
  report('unpacking');
  const debs = new Map<string, Deb>();
  for (const name of namesOf(lock, kind)) debs.set(name, await readDeb(await readPackage(lock.packages[name])));
  const tree = buildDebianRoot(debs, { epoch: EPOCH, suite: lock.suite, mirror: null });
  tree.mkdir('proof');
  for (const [name, text] of proofFiles(parts)) tree.write(`proof/${name}`, text);
  const disk = writeErofs(tree, { epoch: EPOCH, label: NAME });
  await writeFile(join(work, `${NAME}.disk`), disk);
  await writeFile(join(inDir, 'disk'), disk);
  await writeBootFiles(inDir, images, {
    memoryMiB, modules: [...NET_MODULES, ...DISK_MODULES], disk: { file: `${NAME}.disk` },
    defaults: {
      name: NAME, entrypoint: [], cmd: ['/bin/bash'], workdir: '/root', identity: ROOT_IDENTITY, greeting: '', warm: '',
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', TERM: 'dumb', LANG: 'C.UTF-8' },
    },
  });
  report('booting it for its snapshot');
  const sha256 = createHash('sha256').update(disk).digest('hex');
  await takeSnapshot(machine, inDir, join(work, `${NAME}.wasm`), { version: 1, name: NAME, title: 'Proof', net: 'qemu', resize: true, ports: true, pipes: true, terminals: 4, memoryMiB, disk: { file: `${NAME}.disk`, bytes: disk.length, sha256 } }, report);
  await rm(join(inDir, 'disk'));
}

async function resolve(): Promise<Lock> {
  const index = await fetchSignedIndex();
  const names = index.closure([...index.essential(), ...PACKAGES]).filter((name) => !LEFT_OUT.includes(name));
  return {
    version: 1, suite: 'trixie', architecture: 'riscv64', groups: { kernel: [], busybox: [], debian: names, repository: [], python: [] },
    packages: Object.fromEntries(names.map((name) => [name, pin(index, name)])),
  };
}

async function pinAnew(): Promise<void> {
  const lock = await resolve(), names = lock.groups.debian;
  await writeFile(LOCK_FILE, `${JSON.stringify(lock, null, 1)}\n`);
  console.log(`${names.length} packages, ${(Object.values(lock.packages).reduce((sum, { size }) => sum + size, 0) / 2 ** 20).toFixed(1)} MiB`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await pinAnew();
