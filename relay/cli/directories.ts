/** `--dir HOST[::GUEST][:ro]` and `--mapdir GUEST::HOST[:ro]`, the two ways in which WASI runtimes and c2w-net write them. */
import { stat } from 'node:fs/promises';
import { posix, resolve } from 'node:path';
import { RelayError } from '../../shared/relay-error.ts';
import type { SharedDirectory } from '../run/container-protocol.ts';

/** Places that are not to be covered: the container would not start, or not be itself. */
const RESERVED = ['/', '/proc', '/sys', '/dev', '/portside', '/in'];
const MAX_GUEST_CHARS = 1000;

/** Rejects with RELAY_BAD_FLAG. */
export async function parseDirectories(dirs: readonly string[], mapdirs: readonly string[]): Promise<SharedDirectory[]> {
  const asked = [...dirs.map((text) => parseDirectory('--dir', text)), ...mapdirs.map((text) => parseDirectory('--mapdir', text))];
  for (const { flag, directory: { host, guest } } of asked) {
    const found = await stat(host).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) throw new RelayError('RELAY_BAD_FLAG', found.code === 'ENOENT' ? `${flag}: there is no directory ${host}; make it first` : `${flag}: ${host} can't be used: ${found.message}`);
    if (!found.isDirectory()) throw new RelayError('RELAY_BAD_FLAG', `${flag}: ${host} is no directory; share the one that it lies in`);
    if (asked.filter(({ directory }) => directory.guest === guest).length > 1) throw new RelayError('RELAY_BAD_FLAG', `${flag}: two directories can't both be ${guest} in the container`);
  }
  return asked.map(({ directory }) => directory);
}

function parseDirectory(flag: '--dir' | '--mapdir', text: string): { flag: string; directory: SharedDirectory } {
  const readOnly = text.endsWith(':ro');
  const [first, second, ...more] = (readOnly ? text.slice(0, -':ro'.length) : text).split('::');
  const form = flag === '--dir' ? 'HOST[::GUEST][:ro], as in ./src::/work' : 'GUEST::HOST, as in /work::./src';
  if (first === '' || second === '' || more.length > 0 || (flag === '--mapdir' && second === undefined)) throw new RelayError('RELAY_BAD_FLAG', `${flag} takes ${form}, not "${text}"`);
  const [host, guest] = flag === '--dir' ? [first, second ?? resolve(first)] : [second, first];
  if (!guest.startsWith('/')) throw new RelayError('RELAY_BAD_FLAG', `${flag} ${text}: the directory in the container must be absolute, as /work is; "${guest}" is not`);
  const place = posix.normalize(guest).replace(/(.)\/+$/, '$1');
  if (RESERVED.includes(place)) throw new RelayError('RELAY_BAD_FLAG', `${flag} ${text}: ${place} is the container's own; choose another place for it, as in ${host}::/mnt/share`);
  if (place.length > MAX_GUEST_CHARS || /[\0\n]/.test(place)) throw new RelayError('RELAY_BAD_FLAG', `${flag}: the directory in the container has too long a name, or one with a line break`);
  return { flag, directory: { host: resolve(host), guest: place, readOnly } };
}
