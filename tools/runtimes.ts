/*
 * Other WASI runtimes for tests and benchmarks, unpacked into .cache/runtimes and never installed: wazero from Debian's sid, and
 * wasmedge from trixie with all that it links to, started by its own loader. Both are pinned in runtimes.lock.json and come from the
 * mirrors that this machine is configured with; $WAZERO, $WASMEDGE and $WASMTIME name others.
 *
 *   const wazero = await fetchRuntime('wazero');      // { path } or { missing: 'why, in one line' }
 *   npx tsx tools/runtimes.ts                         // pins what Debian has today, from signed indices
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ImageBuildError } from '../image/image-error.ts';
import { fetchSignedIndex, pin } from '../image/lock.ts';
import { CACHE, downloadPackages, packageFile, type LockedPackage } from '../image/packages.ts';
import { findCommand } from '../relay/fixture/linux/requirements.ts';

const LOCK_FILE = fileURLToPath(new URL('runtimes.lock.json', import.meta.url));
const ARCHITECTURE = 'amd64';
const SUITES = { wazero: 'sid', wasmedge: 'trixie' } as const;
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

export type FetchedRuntime = keyof typeof SUITES;
type RuntimesLock = Record<FetchedRuntime, { suite: string; packages: Record<string, LockedPackage> }>;

export type Found = { path: string } | { missing: string };

/** The program, fetched when first wanted. */
export async function fetchRuntime(name: FetchedRuntime): Promise<Found> {
  const named = process.env[name.toUpperCase()];
  if (named !== undefined) return existsSync(named) ? { path: named } : { missing: `${name}: there is no ${named}` };
  if (process.arch !== 'x64' || process.platform !== 'linux') return { missing: `${name}: it is pinned for Linux on x86-64 only` };
  if (findCommand('dpkg-deb') === null) return { missing: `${name}: dpkg-deb is not installed` };
  const { packages } = (JSON.parse(readFileSync(LOCK_FILE, 'utf8')) as RuntimesLock)[name];
  const root = join(CACHE, 'runtimes', `${name}-${createHash('sha256').update(JSON.stringify(packages)).digest('hex').slice(0, 16)}`);
  try {
    if (!existsSync(root)) await unpack(packages, root, name === 'wasmedge');
  } catch (error) {
    if (!(error instanceof ImageBuildError)) throw error;
    const [line] = error.message.split('\n');
    return { missing: `${name} can't be fetched: ${line.replace(/^[^:]*: /, '')}` };
  }
  return { path: name === 'wazero' ? join(root, 'usr/bin/wazero') : join(root, 'wasmedge') };
}

async function unpack(packages: Record<string, LockedPackage>, root: string, needsLoader: boolean): Promise<void> {
  await downloadPackages({ packages }, Object.keys(packages), () => undefined);
  await mkdir(join(CACHE, 'runtimes'), { recursive: true });
  const made = await mkdtemp(`${root}.`);
  for (const locked of Object.values(packages)) await promisify(execFile)('dpkg-deb', ['-x', packageFile(locked), made]);
  if (needsLoader) await writeStarter(made, root);
  await chmod(made, 0o755);
  // Somebody else may have done the same meanwhile.
  await rename(made, root).catch(() => rm(made, { recursive: true }));
}

/** This machine's libraries may be older than those that it was linked with. */
async function writeStarter(made: string, root: string): Promise<void> {
  const start = `#!/bin/sh\nexec '${root}/${LIBRARIES}/ld-linux-x86-64.so.2' --library-path '${root}/${LIBRARIES}' '${root}/usr/bin/wasmedge' "$@"\n`;
  await writeFile(join(made, 'wasmedge'), start);
  await chmod(join(made, 'wasmedge'), 0o755);
}

async function lockAll(): Promise<void> {
  const lock: Partial<RuntimesLock> = {};
  for (const name of Object.keys(SUITES) as FetchedRuntime[]) {
    const suite = SUITES[name];
    const index = await fetchSignedIndex(suite, ARCHITECTURE);
    // wazero is one static program.
    const names = name === 'wazero' ? [name] : index.closure([name]);
    lock[name] = { suite, packages: Object.fromEntries(names.map((one) => [one, pin(index, one)])) };
  }
  await writeFile(LOCK_FILE, `${JSON.stringify(lock, null, 1)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await lockAll();
