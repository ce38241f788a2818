/*
 * POSIX ACLs: the text that archives have, and the attribute that the kernel reads (linux/posix_acl_xattr.h).
 *
 *   text       user::rw-,user:bob:r--,group::r--,mask::r--,other::---     bsdtar and star put the number behind: user:bob:r--:1001
 *   attribute  version u32le 2 | for each entry, sorted: tag u16le, permissions u16le, id u32le
 */
import { quotedName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';

const VERSION = 2;
const NO_ID = 0xffffffff;
/** by the text's first word; with a name, and without */
const TAGS: Record<string, { named: number; plain: number }> = {
  user: { named: 0x02, plain: 0x01 }, group: { named: 0x08, plain: 0x04 }, mask: { named: 0, plain: 0x10 }, other: { named: 0, plain: 0x20 },
};

/** Number of a user or group by its name, or null. */
export type IdOf = (kind: 'user' | 'group', name: string) => number | null;

/** The attribute for `text`; null where it says no more than a mode does. Throws ImageBuildError where it is broken, or names somebody that `idOf` does not know. */
export function aclAttribute(text: string, idOf: IdOf): Uint8Array | null {
  const entries = text.split(/[,\n]/).map((line) => line.replace(/#.*/, '').trim()).filter((line) => line !== '').map((line) => {
    const [kind, name = '', permissions = '', number] = line.split(':').map((part) => part.trim());
    const tag = name === '' ? TAGS[kind]?.plain : TAGS[kind]?.named;
    if (tag === undefined || tag === 0 || !/^[r-][w-][x-]$/.test(permissions)) throw new ImageBuildError(`has a broken ACL: ${quotedName(line)}`);
    const bits = [...permissions].reduce((sum, char) => sum * 2 + (char === '-' ? 0 : 1), 0);
    if (name === '') return { tag, bits, id: NO_ID };
    const written = number ?? name;
    const id = /^\d{1,10}$/.test(written) ? Number(written) : idOf(kind as 'user' | 'group', name);
    if (id === null || id >= NO_ID) throw new ImageBuildError(`has an ACL for the ${kind} ${quotedName(name)}, whom the image does not have: pack it again with tar --numeric-owner, or without --acls`);
    return { tag, bits, id };
  });
  if (entries.every(({ tag, id }) => id === NO_ID && tag !== TAGS.mask.plain)) return null;
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const attribute = Buffer.alloc(4 + 8 * entries.length);
  attribute.writeUInt32LE(VERSION, 0);
  entries.forEach(({ tag, bits, id }, i) => {
    attribute.writeUInt16LE(tag, 4 + 8 * i);
    attribute.writeUInt16LE(bits, 6 + 8 * i);
    attribute.writeUInt32LE(id, 8 + 8 * i);
  });
  return attribute;
}
