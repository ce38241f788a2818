/* The packages that a build uses: those of image.lock.json, or what replaced them when no mirror had them any more. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageBuildError } from './image-error.ts';
import { fetchSignedIndex, resolveLock } from './lock.ts';
import { CACHE, downloadPackages, LOCK_FILE, PackagesGone, readLock, type Lock } from './packages.ts';

export type PackagesReport = (text: string, done?: number, total?: number) => void;

/** image.lock.json, or what replaced it. */
export async function currentLock(): Promise<Lock> {
  const replaced = await readFile(relockFile(), 'utf8').catch(() => null);
  return replaced === null ? readLock() : (JSON.parse(replaced) as Lock);
}

/** Downloads what `packagesOf` picks; what is gone from the mirrors is resolved anew from a signed index. Returns the lock that holds. */
export async function fetchPackages(lock: Lock, packagesOf: (lock: Lock) => string[], report: PackagesReport): Promise<Lock> {
  const download = (from: Lock): Promise<void> =>
    downloadPackages(from, [...new Set(packagesOf(from))], (done, total, text) => report(`${text}, ${mib(done)} of ${mib(total)}`, done, total));
  try {
    await download(lock);
    return lock;
  } catch (error) {
    if (!(error instanceof PackagesGone)) throw error;
    report('the mirror has newer packages than image.lock.json: resolving them anew from its signed index');
    const fresh = await fetchSignedIndex().then(resolveLock, (reason: Error) => {
      throw new ImageBuildError(`${error.message}\nResolving newer ones failed, too: ${reason.message}`);
    });
    await download(fresh);
    await writeFile(relockFile(), JSON.stringify(fresh));
    report('newer packages are in use; `npx tsx image/lock.ts` pins them');
    return fresh;
  }
}

function relockFile(): string {
  return join(CACHE, `relock-${createHash('sha256').update(readFileSync(LOCK_FILE)).digest('hex').slice(0, 16)}.json`);
}

export function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
