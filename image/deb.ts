/* A Debian binary package (deb(5)): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`. */
import { readAr } from './ar.ts';
import { decompress } from './decompress.ts';
import { ImageBuildError } from './image-error.ts';
import { readTar, type TarEntry } from './tar.ts';

export interface Deb {
  /** maintainer files by name: `control`, `conffiles`, `md5sums`, `postinst`, … */
  control: Map<string, Uint8Array>;
  /** what it installs, in the archive's order */
  entries: TarEntry[];
}

export async function readDeb(bytes: Uint8Array): Promise<Deb> {
  const members = readAr(bytes);
  const version = members[0]?.name === 'debian-binary' ? Buffer.from(members[0].data).toString('latin1') : '';
  if (!version.startsWith('2.')) throw new ImageBuildError('not a Debian package');
  const unpack = async (part: string): Promise<TarEntry[]> => {
    const member = members.find(({ name }) => name === `${part}.tar` || name.startsWith(`${part}.tar.`));
    if (member === undefined) throw new ImageBuildError(`Debian package without ${part}.tar`);
    return [...readTar(await decompress(member.data))];
  };
  const control = new Map((await unpack('control')).filter(({ kind }) => kind === 'file').map(({ path, data }) => [path, data]));
  if (!control.has('control')) throw new ImageBuildError('Debian package without a control file');
  return { control, entries: await unpack('data') };
}
