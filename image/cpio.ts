/*
 * cpio in the "newc" format, as Linux unpacks an initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 *   "070701"  ino mode uid gid nlink mtime size maj min rmaj rmin namesize check   13 fields of 8 hex digits
 *   name NUL, padded to 4 from the header's start; data, padded to 4; ends with an entry named TRAILER!!!
 *
 * Names of one inode share `ino`; its data comes with the first of them, which is where the kernel creates the file.
 */
import { encodeName } from './file-name.ts';
import { typeBits, type Inode, type Tree } from './tree.ts';

const HEADER_LEN = 110;
/** The format has no room for times before 1970 and after 2106. */
const MAX_FIELD = 0xffffffff;
const TRAILER = 'TRAILER!!!';
const encoder = new TextEncoder();

export function writeCpio(tree: Tree): Uint8Array {
  const links = new Map<Inode, number>();
  for (const { inode } of tree.walk()) links.set(inode, (links.get(inode) ?? 0) + 1);
  const numbers = new Map<Inode, number>();
  const parts: Uint8Array[] = [];
  for (const { path, inode } of tree.walk()) {
    if (path === '') continue;
    const known = numbers.get(inode);
    const ino = known ?? numbers.size + 1;
    numbers.set(inode, ino);
    const data = known === undefined ? inode.data : new Uint8Array(0);
    parts.push(header(path, ino, inode, inode.kind === 'directory' ? 2 : links.get(inode)!, data.length), padded(data));
  }
  parts.push(header(TRAILER, 0, null, 1, 0));
  return Buffer.concat(parts);
}

function header(name: string, ino: number, inode: Inode | null, nlink: number, size: number): Uint8Array {
  const nameBytes = encodeName(`${name}\0`);
  const mode = inode === null ? 0 : typeBits(inode.kind) | inode.mode;
  const fields = [
    ino, mode, inode?.uid ?? 0, inode?.gid ?? 0, nlink, Math.min(Math.max(inode?.mtime ?? 0, 0), MAX_FIELD), size, 0, 0, inode?.major ?? 0, inode?.minor ?? 0, nameBytes.length, 0,
  ];
  const out = new Uint8Array(roundUp4(HEADER_LEN + nameBytes.length));
  out.set(encoder.encode(`070701${fields.map((value) => value.toString(16).padStart(8, '0')).join('')}`));
  out.set(nameBytes, HEADER_LEN);
  return out;
}

function padded(data: Uint8Array): Uint8Array {
  if (data.length % 4 === 0) return data;
  const out = new Uint8Array(roundUp4(data.length));
  out.set(data);
  return out;
}

function roundUp4(len: number): number {
  return (len + 3) & ~3;
}
