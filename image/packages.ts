/*
 * The lock (image.lock.json) and the store of downloaded packages (.cache/packages/SHA256.deb).
 *
 * A package is whatever has the pinned SHA-256: it may come from any mirror, over any transport. Downloads go into a
 * `.part` that is continued after an interruption, checked, then renamed; so what bears its final name is whole.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configuredMirrors, type Mirror } from './apt-config.ts';
import { HttpFailure, httpGet } from './http-get.ts';
import { ImageBuildError } from './image-error.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const CACHE = join(ROOT, '.cache');
export const LOCK_FILE = fileURLToPath(new URL('image.lock.json', import.meta.url));
const PARALLEL = 4;
const ATTEMPTS = 3;

export interface LockedPackage {
  version: string;
  /** below the mirror's base */
  path: string;
  /** in `bytes` */
  size: number;
  sha256: string;
}

/** Which packages make what. `repository` is what the end-to-end tests install over the network, `python` what a test of convert runs. */
export type LockGroup = 'kernel' | 'busybox' | 'debian' | 'repository' | 'python';

export interface Lock {
  version: 1;
  suite: string;
  architecture: string;
  groups: Record<LockGroup, string[]>;
  packages: Record<string, LockedPackage>;
}

export async function readLock(file = LOCK_FILE): Promise<Lock> {
  return JSON.parse(await readFile(file, 'utf8')) as Lock;
}

/** What no configured mirror has any more: 404 everywhere. */
export class PackagesGone extends ImageBuildError {
  override name = 'PackagesGone';
}

export type DownloadProgress = (doneBytes: number, totalBytes: number, text: string) => void;

/** Path of a package's file in the store, whether it is there or not. */
export function packageFile(locked: LockedPackage): string {
  return join(CACHE, 'packages', `${locked.sha256}.deb`);
}

/** Bytes of one package from the store, their SHA-256 checked once more. */
export async function readPackage(locked: LockedPackage): Promise<Uint8Array> {
  const bytes = await readFile(packageFile(locked));
  if (createHash('sha256').update(bytes).digest('hex') === locked.sha256) return bytes;
  await rm(packageFile(locked));
  throw new ImageBuildError(`${locked.path} was damaged in .cache/packages and has been removed: start again to download it anew`);
}

/** Brings all of `names` into the store. */
export async function downloadPackages(lock: Pick<Lock, 'packages'>, names: string[], report: DownloadProgress, mirrors: Mirror[] = configuredMirrors()): Promise<void> {
  await mkdir(join(CACHE, 'packages'), { recursive: true });
  const missing: LockedPackage[] = [];
  for (const name of names) {
    const locked = lock.packages[name];
    if ((await stat(packageFile(locked)).then(({ size }) => size, () => -1)) !== locked.size) missing.push(locked);
  }
  if (missing.length === 0) return;
  if (mirrors.length === 0) throw new ImageBuildError(unavailable('apt is not configured on this machine: no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d'));

  const total = missing.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  const onBytes = (count: number): void => report((done += count), total, `${missing.length} packages`);
  const gone: string[] = [];
  // Largest first, so that the last worker is not left with the kernel.
  const queue = [...missing].sort((a, b) => b.size - a.size);
  const work = async (): Promise<void> => {
    for (let locked = queue.shift(); locked !== undefined; locked = queue.shift()) {
      if (!(await download(locked, mirrors, onBytes))) gone.push(locked.path);
    }
  };
  const results = await Promise.allSettled(Array.from({ length: PARALLEL }, work));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  if (gone.length > 0) throw new PackagesGone(unavailable(`the configured mirrors no longer have ${gone.join(', ')}`));
}

/** False: no mirror has the file. */
async function download(locked: LockedPackage, mirrors: Mirror[], onBytes: (count: number) => void): Promise<boolean> {
  const part = `${packageFile(locked)}.part`;
  let trouble = '';
  let gone = 0;
  for (const { base } of mirrors) {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      let counted = 0;
      let reports = 0;
      try {
        await httpGet(`${base}${locked.path}`, part, locked.size, (count) => {
          reports++;
          counted += count;
          onBytes(count);
        });
        if ((await sha256File(part)) === locked.sha256) {
          await rename(part, packageFile(locked));
          return true;
        }
        trouble = `${base}${locked.path} has other contents than the lock says`;
        await rm(part, { force: true });
      } catch (error) {
        if (!(error instanceof HttpFailure)) throw error;
        trouble = error.message;
        if (error.status === 404 || error.status === 410) {
          gone++;
          break;
        }
      }
      onBytes(-counted);
      // Once more only where something came (the first report is of what was there): who waits for a dead mirror waits long enough.
      if (reports < 2) break;
    }
  }
  if (gone === mirrors.length) return false;
  throw new ImageBuildError(unavailable(trouble));
}

/** The one message of a machine that can't get packages: what is missing, what works without. */
export function unavailable(reason: string): string {
  return `The default images can't be built here: ${reason}.\n`
    + 'They are made from Debian packages, which come from the mirror that apt is configured with (or from PORTSIDE_MIRROR=URL).\n'
    + 'Everything else works without them: give an image made elsewhere with --image FILE|URL.';
}

async function sha256File(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
