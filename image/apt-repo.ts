/*
 * A small apt repository made from locked packages, for tests that install something in a container without the outside world.
 * Flat form (sources.list(5): a suite that is a path), unsigned; the container trusts it by `aptSource`.
 *
 *   await buildAptRepository(dir);                       // then serve `dir` over HTTP on the host's loopback
 *   in the container:  aptSetupCommand('http://192.168.127.254:PORT')  &&  apt-get update && apt-get install -y figlet
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readDeb } from './deb.ts';
import { downloadPackages, packageFile, readLock, readPackage } from './packages.ts';

/** Writes Packages, Packages.gz, Release and the packages of the lock's `repository` group into `dir`. Returns the packages' names. */
export async function buildAptRepository(dir: string): Promise<string[]> {
  const lock = await readLock();
  const names = lock.groups.repository;
  await downloadPackages(lock, names, () => undefined);
  await mkdir(dir, { recursive: true });
  const stanzas: string[] = [];
  for (const name of names) {
    const locked = lock.packages[name];
    const { control } = await readDeb(await readPackage(locked));
    // Versions hold characters that apt escapes in URLs; a test's server need not know.
    const file = `${name}.deb`;
    await copyFile(packageFile(locked), join(dir, file));
    stanzas.push(`${Buffer.from(control.get('control')!).toString().trimEnd()}\nFilename: ./${file}\nSize: ${locked.size}\nSHA256: ${locked.sha256}\n`);
  }
  const index = Buffer.from(stanzas.join('\n'));
  const files = { Packages: index, 'Packages.gz': gzipSync(index) };
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(dir, name), bytes);
  const sums = Object.entries(files).map(([name, bytes]) => ` ${createHash('sha256').update(bytes).digest('hex')} ${bytes.length} ${name}`);
  await writeFile(join(dir, 'Release'), ['Origin: Portside', 'Label: Portside tests', `Architectures: ${lock.architecture}`, `Date: ${new Date().toUTCString().replace('GMT', 'UTC')}`, 'SHA256:', ...sums, ''].join('\n'));
  return names;
}

/** Line for sources.list; `url` is where the repository's folder is served, no slash at its end. */
export function aptSource(url: string): string {
  return `deb [trusted=yes] ${url} ./`;
}

/** Shell command that makes the repository the container's only one. */
export function aptSetupCommand(url: string): string {
  return `rm -f /etc/apt/sources.list.d/*; echo '${aptSource(url)}' >/etc/apt/sources.list`;
}
