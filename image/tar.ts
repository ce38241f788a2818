/*
 * tar archives: ustar, GNU long names and base-256 numbers, and pax headers (POSIX.1-2017 pax, "ustar Interchange Format").
 *
 *   0      100  108  116  124   136   148   156  157       257   265   297   329  337  345     500
 *   +------+----+----+----+-----+-----+-----+----+---------+-----+-----+-----+----+----+-------+---+
 *   | name |mode|uid |gid |size |mtime|chk  |type|link name|magic|uname|gname|maj |min |prefix |   |
 *   +------+----+----+----+-----+-----+-----+----+---------+-----+-----+-----+----+----+-------+---+
 *   then `size` bytes, padded to 512. Two zero blocks end the archive; so does its end, as some writers forget them.
 *
 * Archives come from outside. The reader judges lengths, checksums and names; paths that it hands out are relative,
 * without `.`, `..`, empty or NUL-bearing components, so that a consumer can't be led out of its tree by a name. Where a
 * symlink inside the archive leads is the consumer's concern (tree.ts resolves inside its own root).
 */
import { ImageBuildError } from './image-error.ts';

const BLOCK = 512;
const decoder = new TextDecoder();

/** Longest name or pax record block that is believed, in `bytes`. */
const MAX_EXTENDED_LEN = 1024 * 1024;
const MAX_PATH_LEN = 4096;
/** pax records that one entry may have, those for all entries among them: they are copied for each */
const MAX_PAX_RECORDS = 1024;

export type TarKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

export interface TarEntry {
  /** relative to the root, no leading slash; '' is the root itself */
  path: string;
  kind: TarKind;
  /** permission bits, set-id and sticky bits included */
  mode: number;
  uid: number;
  gid: number;
  /** seconds since 1970, whole */
  mtime: number;
  /** target of a symlink as written; path (as `path`) of a hard link's other name */
  link: string;
  major: number;
  minor: number;
  /** extended attributes by their full name, `security.capability` */
  xattrs: Map<string, Uint8Array>;
  /** Borrowed: a view into the archive */
  data: Uint8Array;
}

const KINDS: Record<string, TarKind> = {
  '\0': 'file', 0: 'file', 7: 'file', 1: 'hardlink', 2: 'symlink', 3: 'char', 4: 'block', 5: 'directory', 6: 'fifo',
};

/**
 * Walks the entries of an uncompressed archive. Throws ImageBuildError where it is broken. `mustEnd` refuses one without its zero
 * blocks at the end: for an archive that no digest vouches for, they say that it is whole.
 */
export function* readTar(archive: Uint8Array, options: { mustEnd?: boolean } = {}): Generator<TarEntry> {
  let off = 0;
  let global: Pax = new Map();
  let local: Pax = new Map();
  while (off + BLOCK <= archive.length) {
    const header = archive.subarray(off, off + BLOCK);
    if (isZero(header)) return;
    checkSum(header);
    const type = String.fromCharCode(header[156]);
    const size = local.has('size') ? decimal(text(local.get('size')!)) : number(header, 124, 12);
    const start = off + BLOCK;
    // Links carry no data, whatever their size field says.
    const dataLen = type === '1' || type === '2' ? 0 : size;
    if (dataLen > archive.length - start) throw new ImageBuildError('tar archive is cut off');
    const data = archive.subarray(start, start + dataLen);
    off = start + Math.ceil(dataLen / BLOCK) * BLOCK;

    if ('xgLK'.includes(type)) {
      if (data.length > MAX_EXTENDED_LEN) throw new ImageBuildError('tar archive has an extended header that is too long');
      if (type === 'x') local = merged(local, readPax(data));
      else if (type === 'g') global = merged(global, readPax(data));
      else local.set(type === 'L' ? 'path' : 'linkpath', untilNul(data));
      continue;
    }
    const kind = KINDS[type];
    if (kind === undefined) throw new ImageBuildError(`tar archive has an entry of unknown type ${JSON.stringify(type)}`);
    yield entry(header, kind, data, merged(global, local));
    local = new Map();
  }
  if (off < archive.length) throw new ImageBuildError('tar archive is cut off in a header');
  if (options.mustEnd) throw new ImageBuildError('tar archive is cut off: its end is missing');
}

function entry(header: Uint8Array, kind: TarKind, data: Uint8Array, pax: Pax): TarEntry {
  const field = (key: string, otherwise: () => number): number => (pax.has(key) ? Math.floor(decimal(text(pax.get(key)!))) : otherwise());
  // Some writers say that a file is older than 1970 when they know no time.
  const isBefore1970 = pax.has('mtime') && pax.get('mtime')![0] === 0x2d;
  const rawPath = pax.has('path') ? text(pax.get('path')!) : ustarName(header);
  const rawLink = pax.has('linkpath') ? text(pax.get('linkpath')!) : text(untilNul(header.subarray(157, 257)));
  if (rawLink.includes('\0') || rawLink.length > MAX_PATH_LEN) throw new ImageBuildError('tar archive has a broken link target');
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of pax) if (key.startsWith('SCHILY.xattr.')) xattrs.set(key.slice('SCHILY.xattr.'.length), value);
  return {
    path: cleanPath(rawPath),
    // Archives before ustar mark a directory by the slash at its end alone.
    kind: kind === 'file' && rawPath.endsWith('/') ? 'directory' : kind,
    mode: number(header, 100, 8) & 0o7777,
    uid: field('uid', () => number(header, 108, 8)),
    gid: field('gid', () => number(header, 116, 8)),
    mtime: isBefore1970 ? 0 : field('mtime', () => number(header, 136, 12)),
    link: kind === 'hardlink' ? cleanPath(rawLink) : rawLink,
    major: kind === 'char' || kind === 'block' ? number(header, 329, 8) : 0,
    minor: kind === 'char' || kind === 'block' ? number(header, 337, 8) : 0,
    xattrs,
    data: kind === 'file' ? data : data.subarray(0, 0),
  };
}

/** `path` without leading slashes and `.` components. Throws where it would climb. */
export function cleanPath(path: string): string {
  if (path.includes('\0') || path.length > MAX_PATH_LEN) throw new ImageBuildError('archive has a broken path');
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new ImageBuildError(`archive has a path that leaves its tree: ${JSON.stringify(path)}`);
  if (parts.some((part) => part.length > 255)) throw new ImageBuildError('archive has a name of more than 255 characters');
  return parts.join('/');
}

type Pax = Map<string, Uint8Array>;

function merged(base: Pax, over: Pax): Pax {
  if (base.size + over.size > MAX_PAX_RECORDS) throw new ImageBuildError('tar archive has too many pax records');
  return over.size === 0 ? base : new Map([...base, ...over]);
}

/** pax records: `LEN key=value\n`, LEN decimal and counting the whole record. */
function readPax(data: Uint8Array): Pax {
  const pax: Pax = new Map();
  let off = 0;
  while (off < data.length) {
    const space = data.indexOf(0x20, off);
    const len = space < 0 || space - off > 8 ? NaN : decimal(text(data.subarray(off, space)));
    const end = off + len;
    if (!(len > space - off + 2 && end <= data.length && data[end - 1] === 0x0a)) throw new ImageBuildError('tar archive has a broken pax record');
    const equals = data.indexOf(0x3d, space);
    if (equals < 0 || equals >= end) throw new ImageBuildError('tar archive has a broken pax record');
    pax.set(text(data.subarray(space + 1, equals)), data.subarray(equals + 1, end - 1));
    off = end;
  }
  return pax;
}

function ustarName(header: Uint8Array): string {
  const name = text(untilNul(header.subarray(0, 100)));
  // GNU's old magic "ustar  " keeps other things where ustar has its prefix.
  const isUstar = text(header.subarray(257, 263)) === 'ustar\0';
  const prefix = isUstar ? text(untilNul(header.subarray(345, 500))) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** A numeric field: octal ASCII, or GNU base-256 when the first bit is set. */
function number(header: Uint8Array, off: number, len: number): number {
  if ((header[off] & 0x80) !== 0) {
    if (header[off] !== 0x80) throw new ImageBuildError('tar archive has a negative number');
    let value = 0;
    for (let i = off + 1; i < off + len; i++) value = value * 256 + header[i];
    if (!Number.isSafeInteger(value)) throw new ImageBuildError('tar archive has a number that is too large');
    return value;
  }
  const digits = text(untilNul(header.subarray(off, off + len))).trim();
  if (!/^[0-7]*$/.test(digits)) throw new ImageBuildError('tar archive has a broken number');
  return digits === '' ? 0 : parseInt(digits, 8);
}

function decimal(digits: string): number {
  const value = Number(digits);
  if (!/^\d{1,15}(\.\d*)?$/.test(digits) || !Number.isFinite(value)) throw new ImageBuildError('tar archive has a broken number');
  return value;
}

/** POSIX: the sum of all header bytes, those of the checksum field taken as spaces. */
function checkSum(header: Uint8Array): void {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i];
  if (number(header, 148, 8) !== sum) throw new ImageBuildError('tar archive has a header with a wrong checksum');
}

function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
