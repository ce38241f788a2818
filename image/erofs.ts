/*
 * An erofs image writer: uncompressed, 4 KiB blocks (Linux: fs/erofs/erofs_fs.h, Documentation/filesystems/erofs.rst).
 *
 * Theory of operation. The emulated CPU is what a container waits for, so nothing is compressed here (HTTP compresses the
 * way to the browser), and a page fault is one block read. The image is laid out for reads over HTTP ranges: everything
 * that a path walk touches (inodes, directories, symlinks, the ends of files) lies together at the front, contents behind it.
 *
 *   block 0                       metaEnd                                   end
 *   +------+------+---------------+---------------------+-------------------+
 *   | 1024 | super| inodes, tails | directory blocks    | file blocks       |
 *   +------+------+---------------+---------------------+-------------------+
 *
 * An inode's number (nid) is its offset / 32. Each is the extended form (64 bytes: full mtime, 32-bit owners), then its
 * xattrs, then its tail: the last partial block of its data, when it fits into the same block ("flat inline"); otherwise its
 * data is whole blocks, the last padded with zeros ("flat plain"). Directories are blocks of sorted names:
 *
 *   dirent: nid u64 | nameoff u16 | type u8 | 0     one per name, then the names, back to back; nameoff of the first / 12 = count
 *
 * The same tree gives the same bytes: order is the order of names, the UUID comes from the contents, times from the tree.
 * Left out: compression, chunks, shared xattrs, several devices, files of 4 GiB and more.
 */
import { createHash } from 'node:crypto';
import { crc32c } from './crc32c.ts';
import { encodeName, quotedName } from './file-name.ts';
import { ImageBuildError } from './image-error.ts';
import { sortedChildren, typeBits, type Inode, type InodeKind, type Tree } from './tree.ts';

const BLOCK = 4096;
const SUPER_OFFSET = 1024;
const SUPER_LEN = 128;
const MAGIC = 0xe0f5e1e2;
const SLOT = 32;
const INODE_LEN = 64;
const DIRENT_LEN = 12;
const XATTR_HEADER_LEN = 12;
const XATTR_ENTRY_LEN = 4;
const FEATURE_COMPAT_SB_CHKSUM = 1;
const FEATURE_COMPAT_MTIME = 2;
/** i_format: bit 0 extended, bits 1..3 data layout (0 flat plain, 2 flat inline) */
const FORMAT_PLAIN = 1;
const FORMAT_INLINE = 1 | (2 << 1);
/** A tail above this goes into a block of its own: packing it would leave as much unused elsewhere. */
const MAX_INLINE_TAIL = 2048;

const FILE_TYPES: Record<InodeKind, number> = { file: 1, directory: 2, char: 3, block: 4, fifo: 5, symlink: 7 };
/** erofs_xattr_entry.e_name_index; longest prefix first */
const XATTR_PREFIXES: Array<[prefix: string, index: number]> = [
  ['system.posix_acl_access', 2], ['system.posix_acl_default', 3], ['trusted.', 4], ['security.', 6], ['user.', 1],
];
const encoder = new TextEncoder();

/** One inode's place in the image. */
interface Slot {
  inode: Inode;
  path: string;
  ino: number;
  nlink: number;
  parent: Slot | null;
  /** offset of the inode in the image, in `bytes` */
  off: number;
  /** length of its contents (for a directory: of its blocks) */
  size: number;
  /** length of the inline tail, 0 if none */
  tail: number;
  xattrs: Uint8Array;
  /** offset of the whole blocks, in `bytes` */
  dataOff: number;
}

/** Writes `tree` as an erofs image. `epoch` (seconds) is the image's own time, `label` its volume name. */
export function writeErofs(tree: Tree, options: ErofsOptions): Uint8Array {
  return Buffer.concat(erofsParts(tree, options));
}

export interface ErofsOptions {
  epoch: number;
  label?: string;
}

/** The image in parts, to be written one after the other: it needs no memory but for its front. Borrowed: the files of `tree`. */
export function erofsParts(tree: Tree, options: ErofsOptions): Uint8Array[] {
  const slots = placeInodes(tree);
  const byInode = new Map([...slots.values()].map((slot) => [slot.inode, slot]));
  const { filesOff, end } = placeBlocks([...slots.values()]);
  const front = new Uint8Array(filesOff);
  const view = new DataView(front.buffer);
  const files: Uint8Array[] = [];
  for (const slot of slots.values()) {
    const isDirectory = slot.inode.kind === 'directory';
    const data = isDirectory ? directoryData(slot, byInode) : slot.inode.data;
    emitInode(view, slot);
    const inBlocks = slot.size - slot.tail;
    front.set(slot.xattrs, slot.off + INODE_LEN);
    if (isDirectory) front.set(data.subarray(0, inBlocks), slot.dataOff);
    else if (inBlocks > 0) files.push(data.subarray(0, inBlocks), new Uint8Array(roundUp(inBlocks, BLOCK) - inBlocks));
    front.set(data.subarray(inBlocks), slot.off + INODE_LEN + slot.xattrs.length);
  }
  const parts = [front, ...files];
  emitSuper(parts, end, view, byInode.get(tree.root)!, slots.size, options);
  return parts;
}

/** Gives each inode its place, tails included, in the order of names; the root is the first. */
function placeInodes(tree: Tree): Map<Inode, Slot> {
  const slots = new Map<Inode, Slot>();
  let off = SUPER_OFFSET + SUPER_LEN;
  const visit = (inode: Inode, path: string, parent: Slot | null): void => {
    const known = slots.get(inode);
    if (known !== undefined) {
      known.nlink++;
      return;
    }
    const xattrs = emitXattrs(inode, path);
    const size = inode.kind === 'directory' ? directorySize(inode) : inode.data.length;
    if (size >= 2 ** 32) throw new ImageBuildError(`${quotedName(path)} is too large for a disk image (4 GiB)`);
    let tail = size % BLOCK;
    // A symlink's target is read from where its inode lies; everything else may go elsewhere.
    if (INODE_LEN + xattrs.length + tail > BLOCK || (tail > MAX_INLINE_TAIL && inode.kind !== 'symlink')) tail = 0;
    const len = INODE_LEN + xattrs.length + tail;
    if (len <= BLOCK && (off % BLOCK) + len > BLOCK) off = roundUp(off, BLOCK);
    const slot: Slot = { inode, path, ino: slots.size + 1, nlink: 1, parent, off, size, tail, xattrs, dataOff: 0 };
    off = roundUp(off + len, SLOT);
    slots.set(inode, slot);
    if (inode.kind !== 'directory') return;
    slot.nlink = 2 + [...inode.children.values()].filter((child) => child.kind === 'directory').length;
    for (const [name, child] of sortedChildren(inode)) {
      if (child.kind === 'directory' && slots.has(child)) throw new ImageBuildError(`directory ${quotedName(`${path}/${name}`)} has two names`);
      visit(child, `${path}/${name}`, slot);
    }
  };
  visit(tree.root, '', null);
  return slots;
}

/** Gives whole blocks their place behind the inodes: directories first, then files. Returns where files begin and the image ends. */
function placeBlocks(slots: Slot[]): { filesOff: number; end: number } {
  const last = slots[slots.length - 1];
  let off = roundUp(last.off + INODE_LEN + last.xattrs.length + last.tail, BLOCK);
  let filesOff = off;
  for (const directories of [true, false]) {
    filesOff = off;
    for (const slot of slots) {
      if ((slot.inode.kind === 'directory') !== directories) continue;
      slot.dataOff = off;
      off += roundUp(slot.size - slot.tail, BLOCK);
    }
  }
  return { filesOff, end: off };
}

function emitInode(view: DataView, slot: Slot): void {
  const { off, inode } = slot;
  const u16 = (at: number, value: number): void => view.setUint16(off + at, value, true);
  const u32 = (at: number, value: number): void => view.setUint32(off + at, value, true);
  u16(0, slot.tail > 0 ? FORMAT_INLINE : FORMAT_PLAIN);
  // Count of 4-byte units behind the header, plus one; 0 is "no xattrs".
  u16(2, slot.xattrs.length === 0 ? 0 : (slot.xattrs.length - XATTR_HEADER_LEN) / 4 + 1);
  u16(4, typeBits(inode.kind) | (inode.mode & 0o7777));
  u32(8, slot.size);
  if (inode.kind === 'char' || inode.kind === 'block') u32(16, encodeDevice(inode.major, inode.minor));
  else if (slot.size > slot.tail) u32(16, slot.dataOff / BLOCK);
  u32(20, slot.ino);
  u32(24, inode.uid);
  u32(28, inode.gid);
  view.setBigUint64(off + 32, BigInt(inode.mtime), true);
  u32(44, slot.nlink);
}

/** Linux's new_encode_dev(). */
function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** What a directory holds: its names, `.` and `..` among them, in byte order. */
function directoryNames(directory: Inode): Array<{ name: Uint8Array; child: Inode | '.' | '..' }> {
  const names: Array<{ name: Uint8Array; child: Inode | '.' | '..' }> = [{ name: encoder.encode('.'), child: '.' }, { name: encoder.encode('..'), child: '..' }];
  for (const [name, child] of sortedChildren(directory)) {
    const bytes = encodeName(name);
    if (bytes.length > 255) throw new ImageBuildError(`a name is too long for a disk image: ${quotedName(name)}`);
    names.push({ name: bytes, child });
  }
  return names.sort((a, b) => Buffer.compare(a.name, b.name));
}

/** Cuts names into blocks: a block holds as many as fit with their dirents. */
function directoryBlocks(directory: Inode): Array<ReturnType<typeof directoryNames>> {
  const blocks: Array<ReturnType<typeof directoryNames>> = [];
  let room = 0;
  for (const entry of directoryNames(directory)) {
    const need = DIRENT_LEN + entry.name.length;
    if (need > room) {
      blocks.push([]);
      room = BLOCK;
    }
    blocks[blocks.length - 1].push(entry);
    room -= need;
  }
  return blocks;
}

function directorySize(directory: Inode): number {
  const blocks = directoryBlocks(directory);
  const last = blocks[blocks.length - 1].reduce((sum, { name }) => sum + DIRENT_LEN + name.length, 0);
  return (blocks.length - 1) * BLOCK + last;
}

function directoryData(slot: Slot, byInode: Map<Inode, Slot>): Uint8Array {
  const data = new Uint8Array(slot.size);
  const view = new DataView(data.buffer);
  let start = 0;
  for (const block of directoryBlocks(slot.inode)) {
    let nameOff = block.length * DIRENT_LEN;
    block.forEach(({ name, child }, i) => {
      const target = child === '.' ? slot : child === '..' ? (slot.parent ?? slot) : byInode.get(child)!;
      const at = start + i * DIRENT_LEN;
      view.setBigUint64(at, BigInt(target.off / SLOT), true);
      view.setUint16(at + 8, nameOff, true);
      view.setUint8(at + 10, FILE_TYPES[target.inode.kind]);
      data.set(name, start + nameOff);
      nameOff += name.length;
    });
    start += BLOCK;
  }
  return data;
}

/** erofs_xattr_ibody_header, then entries: name length, prefix index, value length, name, value, padded to 4. */
function emitXattrs(inode: Inode, path: string): Uint8Array {
  if (inode.xattrs.size === 0) return new Uint8Array(0);
  const parts: Uint8Array[] = [new Uint8Array(XATTR_HEADER_LEN)];
  for (const [fullName, value] of [...inode.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const prefix = XATTR_PREFIXES.find(([start]) => fullName.startsWith(start));
    if (prefix === undefined) continue;
    const name = encodeName(fullName.slice(prefix[0].length));
    const entry = new Uint8Array(roundUp(XATTR_ENTRY_LEN + name.length + value.length, 4));
    if (name.length > 255 || value.length > 0xffff) throw new ImageBuildError(`an extended attribute of ${quotedName(path)} is too long`);
    entry[0] = name.length;
    entry[1] = prefix[1];
    new DataView(entry.buffer).setUint16(2, value.length, true);
    entry.set(name, XATTR_ENTRY_LEN);
    entry.set(value, XATTR_ENTRY_LEN + name.length);
    parts.push(entry);
  }
  if (parts.length === 1) return new Uint8Array(0);
  const xattrs = Buffer.concat(parts);
  if (INODE_LEN + xattrs.length > BLOCK) throw new ImageBuildError(`the extended attributes of ${quotedName(path)} are too long`);
  return xattrs;
}

function emitSuper(parts: Uint8Array[], end: number, view: DataView, root: Slot, inodes: number, options: ErofsOptions): void {
  const [front] = parts;
  const u32 = (at: number, value: number): void => view.setUint32(SUPER_OFFSET + at, value, true);
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  const uuid = hash.digest().subarray(0, 16);
  // RFC 9562 §5.8: a UUID of our own making is version 8, variant 10.
  uuid[6] = (uuid[6] & 0x0f) | 0x80;
  uuid[8] = (uuid[8] & 0x3f) | 0x80;
  u32(0, MAGIC);
  u32(8, FEATURE_COMPAT_SB_CHKSUM | FEATURE_COMPAT_MTIME);
  view.setUint8(SUPER_OFFSET + 12, 12);
  view.setUint16(SUPER_OFFSET + 14, root.off / SLOT, true);
  view.setBigUint64(SUPER_OFFSET + 16, BigInt(inodes), true);
  view.setBigUint64(SUPER_OFFSET + 24, BigInt(options.epoch), true);
  u32(36, end / BLOCK);
  front.set(uuid, SUPER_OFFSET + 48);
  front.set(encoder.encode(options.label ?? '').subarray(0, 15), SUPER_OFFSET + 64);
  // The sum covers the rest of the super block's own block, its own field taken as zero.
  u32(4, crc32c(0xffffffff, front.subarray(SUPER_OFFSET, BLOCK)));
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
