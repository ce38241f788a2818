/*
 * tar archives: v7, ustar, GNU's (long names, base-256 numbers, sparse files, dumpdirs) and pax headers (POSIX.1-2017 pax, "ustar Interchange
 * Format"), with the records that GNU tar, libarchive's bsdtar and star add to them.
 *
 *   0      100  108  116  124   136   148   156  157       257   265   297   329  337  345     500
 *   +------+----+----+----+-----+-----+-----+----+---------+-----+-----+-----+----+----+-------+---+
 *   | name |mode|uid |gid |size |mtime|chk  |type|link name|magic|uname|gname|maj |min |prefix |   |
 *   +------+----+----+----+-----+-----+-----+----+---------+-----+-----+-----+----+----+-------+---+
 *   then `size` bytes, padded to 512. Two zero blocks end the archive; so does its end, as some writers forget them.
 *
 * GNU's old format has other things where ustar has its prefix; of a sparse file (type S): 386 four extents (offset 12, length 12), 482
 * whether a block of 21 more follows, 483 the file's real size.
 *
 * Archives come from outside. The reader judges lengths, checksums and names; paths that it hands out are relative,
 * without `.`, `..`, empty or NUL-bearing components, so that a consumer can't be led out of its tree by a name. Where a
 * symlink inside the archive leads is the consumer's concern (tree.ts resolves inside its own root). Names are texts as file-name.ts has them.
 * What it can't read right it refuses, with the entry's name: another volume's continuation, records of unknown meaning about a file's contents.
 */
import { decodeName, encodeName, quotedName } from './file-name.ts';
import { ImageBuildError } from './image-error.ts';

const BLOCK = 512;

/** Longest name or pax record block that is believed, in `bytes`. */
const MAX_EXTENDED_LEN = 1024 * 1024;
const MAX_PATH_LEN = 4096;
const MAX_NAME_LEN = 255;
/** pax records that one entry may have, those for all entries among them: they are copied for each */
const MAX_PAX_RECORDS = 1024;
/** Most that the sparse files of one archive may come to, in `bytes`, unless told otherwise */
const MAX_SPARSE = 2 * 1024 * 1024 * 1024;
const REPACK = 'pack it again with tar --format=pax';

export type TarKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

export interface TarEntry {
  /** relative to the root, no leading slash; '' is the root itself */
  path: string;
  kind: TarKind;
  /** permission bits, set-id and sticky bits included */
  mode: number;
  uid: number;
  gid: number;
  /** seconds since 1970, whole, negative before */
  mtime: number;
  /** target of a symlink as written; path (as `path`) of a hard link's other name */
  link: string;
  major: number;
  minor: number;
  /** extended attributes by their full name, `security.capability` */
  xattrs: Map<string, Uint8Array>;
  /** POSIX ACLs as text, `user::rw-,user:bob:r--,…` (POSIX.1e draft, 23.3): users by name want a passwd to be looked up in */
  acls?: { access?: string; default?: string };
  /** Borrowed: a view into the archive, but for sparse files */
  data: Uint8Array;
}

export interface TarOptions {
  /** refuses an archive without its zero blocks at the end: where no digest vouches for it, they say that it is whole */
  mustEnd?: boolean;
  /** `bytes` is what sparse files may still come to, and is counted down */
  sparse?: { bytes: number };
  /** entries come without contents, which costs nothing for sparse files */
  namesOnly?: boolean;
}

const KINDS: Record<string, TarKind> = {
  '\0': 'file', 0: 'file', 7: 'file', S: 'file', 1: 'hardlink', 2: 'symlink', 3: 'char', 4: 'block', 5: 'directory', D: 'directory', 6: 'fifo',
};
/** Headers about the entry behind them: pax (X: Solaris' of before POSIX), GNU's long names. */
const ABOUT_NEXT = 'xXgLK';
/** Whatever their size field says, nothing follows these. */
const HEADER_ONLY = '23456';

/** Walks the entries of an uncompressed archive. Throws ImageBuildError where it is broken. */
export function* readTar(archive: Uint8Array, options: TarOptions = {}): Generator<TarEntry> {
  const reader = new TarReader(archive, options);
  for (;;) {
    const next = reader.next();
    if (next === null) return;
    yield next;
  }
}

/** Whether a tar archive begins here: with a header whose checksum is right. */
export function isTarHeader(bytes: Uint8Array): boolean {
  return bytes.length >= BLOCK && !isZero(bytes.subarray(0, BLOCK)) && hasChecksum(bytes.subarray(0, BLOCK));
}

class TarReader {
  readonly #archive: Uint8Array;
  readonly #options: TarOptions;
  readonly #sparse: { bytes: number };
  #off = 0;
  #global: Pax = new Map();
  #local: Pax = new Map();

  constructor(archive: Uint8Array, options: TarOptions) {
    this.#archive = archive;
    this.#options = options;
    this.#sparse = options.sparse ?? { bytes: MAX_SPARSE };
  }

  /** Null: the archive has ended. */
  next(): TarEntry | null {
    const archive = this.#archive;
    while (this.#off + BLOCK <= archive.length) {
      const header = archive.subarray(this.#off, this.#off + BLOCK);
      if (isZero(header)) {
        refuseMore(archive, this.#off + BLOCK);
        return null;
      }
      let name = '';
      try {
        if (!hasChecksum(header)) throw new ImageBuildError('has a header with a wrong checksum');
        name = nameOf(this.#local, header);
        const found = this.#read(header);
        if (found !== null) return found;
      } catch (error) {
        throw error instanceof ImageBuildError ? new ImageBuildError(`tar archive: ${name === '' ? 'it' : `its entry ${quotedName(name)}`} ${error.message}`) : error;
      }
    }
    if (this.#off < archive.length) throw new ImageBuildError('tar archive is cut off in a header');
    if (this.#local.size > 0) throw new ImageBuildError('tar archive is cut off: an entry is missing');
    if (this.#options.mustEnd === true) throw new ImageBuildError('tar archive is cut off: its end is missing');
    return null;
  }

  /** Reads the entry at `#off` and goes behind it. Null: it is none of its own. */
  #read(header: Uint8Array): TarEntry | null {
    const type = String.fromCharCode(header[156]);
    if (ABOUT_NEXT.includes(type)) {
      const data = this.#take(number(header, 124, 12));
      if (data.length > MAX_EXTENDED_LEN) throw new ImageBuildError('has an extended header that is too long');
      if (type === 'g') this.#global = merged(this.#global, readPax(data));
      else if (type === 'x' || type === 'X') this.#local = merged(this.#local, readPax(data));
      else this.#local.set(type === 'L' ? 'path' : 'linkpath', untilNul(data));
      return null;
    }
    const pax = merged(this.#global, this.#local);
    this.#local = new Map();
    for (const key of ['GNU.volume.offset', 'GNU.volume.filename', 'GNU.volume.size']) {
      if (pax.has(key)) throw new ImageBuildError('goes on from another volume: unpack all volumes together (tar --multi-volume), and pack them as one archive');
    }
    const size = integer(pax, 'size') ?? number(header, 124, 12);
    switch (type) {
      case 'V': // a volume's label
        this.#take(size);
        return null;
      case 'M':
        throw new ImageBuildError('goes on from another volume: unpack all volumes together (tar --multi-volume), and pack them as one archive');
      case 'D':
        refusePartialDump(this.#take(size));
        return entry(header, 'directory', pax, NOTHING);
      case 'S':
        return this.#readOldSparse(header, pax, size);
    }
    const kind = KINDS[type];
    if (kind === undefined) throw new ImageBuildError(`is of the unknown type ${quotedName(type)}: ${REPACK}`);
    if (kind === 'directory' && pax.has('GNU.dumpdir')) refusePartialDump(pax.get('GNU.dumpdir')!);
    if (HEADER_ONLY.includes(type) || (type === '1' && !this.#linkHasBody(header, size))) {
      this.#off += BLOCK;
      return entry(header, kind, pax, NOTHING);
    }
    const data = this.#take(size);
    return entry(header, kind, pax, type === '1' ? NOTHING : this.#paxSparse(pax, data) ?? data);
  }

  /** Contents of `size` bytes behind the header at `#off`, which goes behind them. */
  #take(size: number): Uint8Array {
    if (size < 0) throw new ImageBuildError('has a negative size');
    const start = this.#off + BLOCK;
    if (size > this.#archive.length - start) throw new ImageBuildError('is cut off, or goes on in another volume');
    this.#off = start + Math.ceil(size / BLOCK) * BLOCK;
    return this.#archive.subarray(start, start + size);
  }

  /**
   * pax lets a hard link bring the contents along; ustar and older formats write a size there and nothing behind it. What follows tells: a
   * header (or the end) right behind means nothing, one behind `size` bytes means contents.
   */
  #linkHasBody(header: Uint8Array, size: number): boolean {
    const start = this.#off + BLOCK;
    const isEnd = (at: number): boolean => at >= this.#archive.length || isZero(this.#archive.subarray(at, at + BLOCK)) || hasChecksum(this.#archive.subarray(at, at + BLOCK));
    if (size === 0 || !isUstar(header) || isEnd(start)) return false;
    return isEnd(start + Math.ceil(size / BLOCK) * BLOCK);
  }

  #readOldSparse(header: Uint8Array, pax: Pax, size: number): TarEntry {
    if (isUstar(header)) throw new ImageBuildError(`is a sparse file of star's own kind: ${REPACK}`);
    const realSize = number(header, 483, 12);
    const map: number[] = [];
    const extents = (block: Uint8Array, from: number, count: number): void => {
      for (let at = from; at < from + count * 24 && block[at + 12] !== 0; at += 24) map.push(number(block, at, 12), number(block, at + 12, 12));
    };
    extents(header, 386, 4);
    let isExtended = header[482] !== 0;
    while (isExtended) {
      const block = this.#archive.subarray(this.#off + BLOCK, this.#off + 2 * BLOCK);
      if (block.length < BLOCK) throw new ImageBuildError('is cut off in its map');
      extents(block, 0, 21);
      isExtended = block[504] !== 0;
      this.#off += BLOCK;
    }
    return entry(header, 'file', pax, this.#expand(realSize, map, this.#take(size)));
  }

  /** The contents of a sparse file as GNU tar 0.0, 0.1 and 1.0 and bsdtar write them in pax archives; null: it is none. */
  #paxSparse(pax: Pax, data: Uint8Array): Uint8Array | null {
    const known = ['major', 'minor', 'name', 'realsize', 'size', 'numblocks', 'map'];
    const records = [...pax.keys()].filter((key) => key.startsWith('GNU.sparse.')).map((key) => key.slice('GNU.sparse.'.length));
    const starSize = integer(pax, 'SCHILY.realsize');
    if (records.length === 0) {
      if (starSize !== undefined && starSize !== data.length) throw new ImageBuildError(`is a sparse file of star's own kind: ${REPACK}`);
      return null;
    }
    const [major, minor] = [integer(pax, 'GNU.sparse.major') ?? 0, integer(pax, 'GNU.sparse.minor')];
    const realSize = integer(pax, 'GNU.sparse.realsize') ?? integer(pax, 'GNU.sparse.size');
    if (records.some((record) => !known.includes(record)) || realSize === undefined || major > 1 || (major === 1 && minor !== 0)) throw new ImageBuildError(`is a sparse file of an unknown kind: ${REPACK}, without --sparse`);
    if (major === 1) {
      const { map, end } = sparseMap(data);
      return this.#expand(realSize, map, data.subarray(end));
    }
    const map = text(pax.get('GNU.sparse.map') ?? NOTHING);
    const blocks = integer(pax, 'GNU.sparse.numblocks');
    const numbers = map === '' ? [] : map.split(',').map(decimal);
    if (blocks !== undefined && numbers.length !== 2 * blocks) throw new ImageBuildError('has a sparse map that does not fit');
    return this.#expand(realSize, numbers, data);
  }

  /** `map`: offset and length of each extent in the file, whose contents `data` has one behind the other. */
  #expand(realSize: number, map: number[], data: Uint8Array): Uint8Array {
    let end = 0;
    let stored = 0;
    for (let i = 0; i < map.length; i += 2) {
      const [at, len] = [map[i], map[i + 1]];
      if (!(at >= end && len >= 0 && at + len <= realSize)) throw new ImageBuildError('has a sparse map that does not fit');
      end = at + len;
      stored += len;
    }
    if (map.length % 2 !== 0 || stored !== data.length || realSize < 0) throw new ImageBuildError('has a sparse map that does not fit');
    if (this.#options.namesOnly === true) return NOTHING;
    if (realSize > this.#sparse.bytes) throw new ImageBuildError(`is a sparse file of ${realSize} bytes, more than is allowed: leave it out (tar --exclude), or raise the limit with --max-size MIB`);
    this.#sparse.bytes -= realSize;
    const file = new Uint8Array(realSize);
    for (let i = 0, from = 0; i < map.length; from += map[i + 1], i += 2) file.set(data.subarray(from, from + map[i + 1]), map[i]);
    return file;
  }
}

const NOTHING = new Uint8Array(0);

/** Format 1.0: decimal numbers, each with a newline, padded to a block, in front of the contents: how many extents, then those. */
function sparseMap(data: Uint8Array): { map: number[]; end: number } {
  let at = 0;
  const line = (): number => {
    const end = data.indexOf(0x0a, at);
    if (end < 0 || end - at > 20) throw new ImageBuildError('has a broken sparse map');
    const value = decimal(text(data.subarray(at, end)));
    at = end + 1;
    return value;
  };
  const count = line();
  // Each extent takes four bytes at least.
  if (count > data.length / 4) throw new ImageBuildError('has a broken sparse map');
  const map = Array.from({ length: 2 * count }, line);
  return { map, end: Math.ceil(at / BLOCK) * BLOCK };
}

/** A dumpdir lists a folder, `Y` what is in the archive and `N` what is not, as it has not changed since the dump before: a part of a root. */
function refusePartialDump(dumpdir: Uint8Array): void {
  for (const item of text(dumpdir).split('\0')) {
    if (item.startsWith('N')) throw new ImageBuildError(`is of an incremental dump that leaves ${quotedName(item.slice(1))} out: unpack all dumps (tar --listed-incremental=/dev/null -x), and pack the whole`);
  }
}

/** Behind the end: nothing, or what tar does not look at. A second archive would be lost without a word. */
function refuseMore(archive: Uint8Array, from: number): void {
  for (let at = from; at + BLOCK <= archive.length; at += BLOCK) {
    const block = archive.subarray(at, at + BLOCK);
    if (isZero(block)) continue;
    if (hasChecksum(block)) throw new ImageBuildError(`tar archive: behind its end begins another one, with ${quotedName(nameOf(new Map(), block))}: join them with tar --concatenate, or unpack both and pack them as one`);
    return;
  }
}

function entry(header: Uint8Array, kind: TarKind, pax: Pax, data: Uint8Array): TarEntry {
  const rawPath = nameOf(pax, header);
  const rawLink = decodeName(valueOf(pax, 'linkpath') ?? untilNul(header.subarray(157, 257)));
  if (rawLink.includes('\0') || encodeName(rawLink).length >= MAX_PATH_LEN) throw new ImageBuildError('has a broken link target');
  if (kind === 'symlink' && rawLink === '') throw new ImageBuildError('is a symlink to nothing');
  const isDevice = kind === 'char' || kind === 'block';
  const acls = aclsOf(pax);
  return {
    path: cleanPath(rawPath),
    // Archives before ustar mark a directory by the slash at its end alone.
    kind: kind === 'file' && rawPath.endsWith('/') ? 'directory' : kind,
    mode: number(header, 100, 8) & 0o7777,
    uid: integer(pax, 'uid') ?? number(header, 108, 8),
    gid: integer(pax, 'gid') ?? number(header, 116, 8),
    mtime: integer(pax, 'mtime') ?? number(header, 136, 12),
    link: kind === 'hardlink' ? cleanPath(rawLink) : rawLink,
    major: isDevice ? integer(pax, 'SCHILY.devmajor') ?? number(header, 329, 8) : 0,
    minor: isDevice ? integer(pax, 'SCHILY.devminor') ?? number(header, 337, 8) : 0,
    xattrs: xattrsOf(pax),
    ...(acls === null ? {} : { acls }),
    data: kind === 'file' ? data : NOTHING,
  };
}

/** By GNU tar and star (SCHILY, value as it is), libarchive (name and value encoded, beside the former), and GNU tar's --selinux. */
function xattrsOf(pax: Pax): Map<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of pax) {
    if (key.startsWith('SCHILY.xattr.')) {
      // GNU tar's: a key ends at its first "=".
      xattrs.set(key.slice('SCHILY.xattr.'.length).replaceAll('%3D', '=').replaceAll('%25', '%'), value);
    } else if (key.startsWith('LIBARCHIVE.xattr.')) {
      const name = key.slice('LIBARCHIVE.xattr.'.length).replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
      if (!pax.has(`SCHILY.xattr.${name}`)) xattrs.set(name, Buffer.from(text(value), 'base64'));
    } else if (key === 'RHT.security.selinux' && value.length > 0) {
      // The kernel's attribute ends with a NUL.
      xattrs.set('security.selinux', Buffer.concat([value, Buffer.of(0)]));
    }
  }
  for (const name of xattrs.keys()) if (name === '' || name.includes('\0')) throw new ImageBuildError('has an extended attribute without a name');
  return xattrs;
}

function aclsOf(pax: Pax): { access?: string; default?: string } | null {
  const [access, byDefault] = [valueOf(pax, 'SCHILY.acl.access'), valueOf(pax, 'SCHILY.acl.default')];
  if (access === undefined && byDefault === undefined) return null;
  return { ...(access === undefined ? {} : { access: text(access) }), ...(byDefault === undefined ? {} : { default: text(byDefault) }) };
}

/** `path` without leading slashes and `.` components. Throws where it would climb. */
export function cleanPath(path: string): string {
  if (path.includes('\0') || path.length > MAX_PATH_LEN) throw new ImageBuildError('has a broken path');
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new ImageBuildError(`has a path that leaves its tree: ${quotedName(path)}`);
  // A character takes up to three bytes.
  if (parts.some((part) => part.length > MAX_NAME_LEN / 3 && encodeName(part).length > MAX_NAME_LEN)) throw new ImageBuildError('has a name of more than 255 bytes');
  return parts.join('/');
}

type Pax = Map<string, Uint8Array>;

function merged(base: Pax, over: Pax): Pax {
  if (base.size + over.size > MAX_PAX_RECORDS) throw new ImageBuildError('has too many pax records');
  return over.size === 0 ? base : new Map([...base, ...over]);
}

/** POSIX: an empty value takes the record away, and the header's own field counts again. */
function valueOf(pax: Pax, key: string): Uint8Array | undefined {
  const value = pax.get(key);
  return value === undefined || value.length === 0 ? undefined : value;
}

/** A record as a number, rounded down; undefined: there is none. */
function integer(pax: Pax, key: string): number | undefined {
  const value = valueOf(pax, key);
  if (value === undefined) return undefined;
  const digits = text(value);
  return digits.startsWith('-') ? -Math.ceil(decimal(digits.slice(1))) + 0 : Math.floor(decimal(digits));
}

/** pax records: `LEN key=value\n`, LEN decimal and counting the whole record. */
function readPax(data: Uint8Array): Pax {
  const pax: Pax = new Map();
  const sparse: Uint8Array[] = [];
  let off = 0;
  while (off < data.length) {
    const space = data.indexOf(0x20, off);
    const len = space < 0 || space - off > 8 ? NaN : decimal(text(data.subarray(off, space)));
    const end = off + len;
    if (!(len > space - off + 2 && end <= data.length && data[end - 1] === 0x0a)) throw new ImageBuildError('has a broken pax record');
    const equals = data.indexOf(0x3d, space);
    if (equals < 0 || equals >= end) throw new ImageBuildError('has a broken pax record');
    const key = decodeName(data.subarray(space + 1, equals));
    const value = data.subarray(equals + 1, end - 1);
    // GNU's format 0.0 repeats these two: a map as that of 0.1.
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      if ((key === 'GNU.sparse.offset') !== (sparse.length % 2 === 0)) throw new ImageBuildError('has a broken sparse map');
      sparse.push(value);
    } else {
      pax.set(key, value);
    }
    off = end;
  }
  if (sparse.length > 0) pax.set('GNU.sparse.map', Buffer.from(sparse.map(text).join(',')));
  return pax;
}

/** The entry's name as it is written. A sparse file in a pax archive has another one for readers that don't know of it. */
function nameOf(pax: Pax, header: Uint8Array): string {
  const written = valueOf(pax, 'GNU.sparse.name') ?? valueOf(pax, 'path');
  if (written !== undefined) return decodeName(written);
  const name = decodeName(untilNul(header.subarray(0, 100)));
  const prefix = isUstar(header) ? decodeName(untilNul(header.subarray(345, 500))) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** GNU's old magic "ustar  " keeps other things where ustar has its prefix, and v7 has none. */
function isUstar(header: Uint8Array): boolean {
  return text(header.subarray(257, 263)) === 'ustar\0';
}

/** A numeric field: octal ASCII, or GNU base-256 (two's complement) when the first bit is set. */
function number(header: Uint8Array, off: number, len: number): number {
  if ((header[off] & 0x80) !== 0) {
    // The first bit is the mark, the second the sign.
    let value = (header[off] & 0x40) === 0 ? header[off] & 0x3f : (header[off] & 0x3f) - 0x40;
    for (let i = off + 1; i < off + len; i++) value = value * 256 + header[i];
    if (!Number.isSafeInteger(value)) throw new ImageBuildError('has a number that is too large');
    return value;
  }
  const digits = text(untilNul(header.subarray(off, off + len))).trim();
  if (!/^[0-7]*$/.test(digits)) throw new ImageBuildError('has a broken number');
  return digits === '' ? 0 : parseInt(digits, 8);
}

function decimal(digits: string): number {
  const value = Number(digits);
  if (!/^\d{1,15}(\.\d*)?$/.test(digits) || !Number.isFinite(value)) throw new ImageBuildError('has a broken number');
  return value;
}

/** POSIX: the sum of all header bytes, those of the checksum field taken as spaces. Some old writers took the bytes as signed. */
function hasChecksum(header: Uint8Array): boolean {
  let [sum, signed] = [8 * 0x20, 8 * 0x20];
  for (let i = 0; i < header.length; i++) {
    if (i >= 148 && i < 156) continue;
    sum += header[i];
    signed += (header[i] << 24) >> 24;
  }
  const digits = text(untilNul(header.subarray(148, 156))).trim();
  if (!/^[0-7]+$/.test(digits) || header.length < BLOCK) return false;
  const written = parseInt(digits, 8);
  return written === sum || written === signed;
}

function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
