/*
 * Pins packages: `npx tsx image/lock.ts` resolves what the images are made of against the release's index and writes
 * image.lock.json. The index is fetched by apt-get into a private state directory (as any user), with its signature checked
 * by the machine's Debian keyring; nothing of the machine's own apt is touched.
 *
 * A mirror in the middle of an update serves an index that its release file does not know yet; apt refuses it, and so do we.
 * `--index FILE` takes an index that was fetched otherwise, unverified: for such a day, and said aloud.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { configuredMirrors } from './apt-config.ts';
import { ImageBuildError } from './image-error.ts';
import { LOCK_FILE, type Lock, type LockGroup, type LockedPackage } from './packages.ts';
import { PackageIndex } from './resolve.ts';

const SUITE = 'trixie';
const ARCHITECTURE = 'riscv64';
/** What the container offers besides the essential packages. */
const DEBIAN_PACKAGES = [
  'apt', 'bash', 'ca-certificates', 'coreutils', 'curl', 'debian-archive-keyring', 'gzip', 'iproute2', 'less', 'mawk', 'nano', 'netbase', 'procps', 'sed', 'tar', 'vim-tiny',
];
const REPOSITORY_PACKAGES = ['figlet'];
/** What python needs besides packages of the container's. */
const PYTHON_PACKAGES = ['libexpat1', 'libpython3.13-minimal', 'python3.13-minimal'];
const KERNEL_META = `linux-image-${ARCHITECTURE}`;

export function resolveLock(index: PackageIndex): Lock {
  const kernel = /^(linux-image-[a-z0-9+.-]+)/.exec(index.get(KERNEL_META).get('depends') ?? '')?.[1];
  if (kernel === undefined) throw new ImageBuildError(`${KERNEL_META} does not say which kernel it stands for`);
  const groups: Record<LockGroup, string[]> = {
    // Only files of the kernel package itself are used: its dependencies are for installing it.
    kernel: [kernel],
    busybox: ['busybox-static'],
    debian: index.closure([...index.essential(), ...DEBIAN_PACKAGES]),
    repository: REPOSITORY_PACKAGES,
    python: PYTHON_PACKAGES,
  };
  const names = [...new Set(Object.values(groups).flat())].sort();
  return { version: 1, suite: SUITE, architecture: ARCHITECTURE, groups, packages: Object.fromEntries(names.map((name) => [name, pin(index, name)])) };
}

export function pin(index: PackageIndex, name: string): LockedPackage {
  const stanza = index.get(name);
  const field = (key: string, pattern: RegExp): string => {
    const value = stanza.get(key) ?? '';
    if (!pattern.test(value)) throw new ImageBuildError(`the package index has a broken ${key} for ${name}`);
    return value;
  };
  return {
    version: field('version', /^\S+$/),
    path: field('filename', /^pool\/(?!.*\.\.)[A-Za-z0-9+.~_/%:-]+$/),
    size: Number(field('size', /^\d{1,10}$/)),
    sha256: field('sha256', /^[0-9a-f]{64}$/),
  };
}

/** The release's index with its signature checked. Needs apt-get, not root. */
export async function fetchSignedIndex(): Promise<PackageIndex> {
  const mirror = configuredMirrors().find(({ security }) => !security);
  if (mirror === undefined) throw new ImageBuildError('apt is not configured on this machine: no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d');
  const dir = await mkdtemp(join(tmpdir(), 'portside-apt-'));
  try {
    for (const path of ['state/lists/partial', 'cache/archives/partial', 'etc/apt.conf.d', 'etc/preferences.d']) await mkdir(join(dir, path), { recursive: true });
    const signedBy = mirror.keyring === null ? '' : ` signed-by=${mirror.keyring}`;
    await writeFile(join(dir, 'etc/sources.list'), `deb [arch=${ARCHITECTURE}${signedBy}] ${mirror.base} ${SUITE} main\n`);
    await writeFile(join(dir, 'status'), '');
    const options = {
      'Dir::State': join(dir, 'state'), 'Dir::State::status': join(dir, 'status'), 'Dir::Cache': join(dir, 'cache'),
      'Dir::Etc::sourcelist': join(dir, 'etc/sources.list'), 'Dir::Etc::sourceparts': '-', 'Dir::Etc::preferencesparts': join(dir, 'etc/preferences.d'),
      'APT::Architecture': ARCHITECTURE, 'APT::Architectures': ARCHITECTURE, 'APT::Sandbox::User': '', 'Acquire::Languages': 'none',
      'Acquire::GzipIndexes': 'false', 'Acquire::Check-Valid-Until': 'true',
    };
    const args = Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
    await promisify(execFile)('apt-get', [...args, '--error-on=any', 'update'], { maxBuffer: 1e8 }).catch((error: Error & { code?: unknown; stderr?: string }) => {
      if (error.code === 'ENOENT') throw new ImageBuildError('resolving packages anew needs apt-get, which is not installed here');
      const complaints = (error.stderr ?? '').split('\n').filter((line) => /^[EW]:/.test(line)).join('\n  ');
      const outOfStep = /unexpected size|Hash Sum mismatch|Mirror sync/i.test(complaints);
      throw new ImageBuildError(`the mirror gives no index of ${SUITE} that can be trusted${outOfStep ? ' (its index and its signed release file are out of step: it is being updated, try later)' : ''}:\n  ${complaints || error.message}`);
    });
    const lists = await readdir(join(dir, 'state/lists'));
    const name = lists.find((file) => file.endsWith('_Packages'));
    if (name === undefined) throw new ImageBuildError(`the mirror has no index of ${SUITE} for ${ARCHITECTURE}`);
    return new PackageIndex(await readFile(join(dir, 'state/lists', name), 'utf8'));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function main(argv: string[]): Promise<void> {
  const at = argv.indexOf('--index');
  if (at >= 0) console.warn(`lock: ${argv[at + 1]} is taken as it is, no signature is checked`);
  const index = at >= 0 ? new PackageIndex(await readFile(argv[at + 1], 'utf8')) : await fetchSignedIndex();
  const lock = resolveLock(index);
  await writeFile(`${LOCK_FILE}.new`, `${JSON.stringify(lock, null, 1)}\n`);
  await rename(`${LOCK_FILE}.new`, LOCK_FILE);
  const bytes = Object.values(lock.packages).reduce((sum, { size }) => sum + size, 0);
  console.log(`lock: ${Object.keys(lock.packages).length} packages of ${index.size}, ${(bytes / 2 ** 20).toFixed(1)} MiB`);
}

if (process.argv[1] === LOCK_FILE.replace(/image\.lock\.json$/, 'lock.ts')) {
  await main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(`lock: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  });
}
