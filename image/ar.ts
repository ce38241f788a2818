/*
 * ar archives, as far as Debian packages use them (deb(5)): names of up to 16 bytes, no symbol tables.
 *
 *   "!<arch>\n"  then per member:
 *   0              16     28   34   40      48       58  60
 *   +--------------+------+----+----+-------+--------+---+--------------+
 *   | name, spaces | time | uid| gid| mode  | size   |`\n| size bytes, padded to 2 with \n
 *   +--------------+------+----+----+-------+--------+---+--------------+
 *
 * Numbers are decimal ASCII. Archives come from outside: every length is checked before it is used.
 */
import { quotedName } from './file-name.ts';
import { ImageBuildError } from './image-error.ts';

const MAGIC = '!<arch>\n';
const HEADER_LEN = 60;
const NAME_LEN = 16;
const SIZE = 48;
const SIZE_LEN = 10;
const END_MARK = 58;

export interface ArMember {
  name: string;
  /** Borrowed: a view into the archive */
  data: Uint8Array;
}

/** The members of an archive, in order. */
export function readAr(archive: Uint8Array): ArMember[] {
  if (latin1(archive, 0, MAGIC.length) !== MAGIC) throw new ImageBuildError('not an ar archive: its first line is wrong');
  const members: ArMember[] = [];
  let off = MAGIC.length;
  while (off < archive.length) {
    if (off + HEADER_LEN > archive.length) throw new ImageBuildError('ar archive is cut off in a header');
    if (archive[off + END_MARK] !== 0x60 || archive[off + END_MARK + 1] !== 0x0a) throw new ImageBuildError('ar archive has a broken header');
    // GNU ar ends names with a slash, dpkg-deb does not.
    const name = latin1(archive, off, off + NAME_LEN).trimEnd().replace(/\/$/, '');
    const digits = latin1(archive, off + SIZE, off + SIZE + SIZE_LEN).trimEnd();
    if (!/^\d{1,10}$/.test(digits)) throw new ImageBuildError('ar archive has a broken length');
    const start = off + HEADER_LEN;
    const end = start + Number(digits);
    if (end > archive.length) throw new ImageBuildError(`ar archive is cut off in ${quotedName(name)}`);
    members.push({ name, data: archive.subarray(start, end) });
    off = end + (end & 1);
  }
  return members;
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}
