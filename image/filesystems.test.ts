/* Writers of file systems, judged by the system's own readers: cpio, the kernel's erofs (or fsck.erofs where it can't be mounted). */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeCpio } from './cpio.ts';
import { crc32c } from './crc32c.ts';
import { writeErofs } from './erofs.ts';
import { makeInode, Tree } from './tree.ts';

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-fs-')); });
afterAll(() => rmSync(dir, { recursive: true }));

/** Sizes at which the layout changes: empty, inline, too long to be inline, whole blocks, and each one off. */
const SIZES = [0, 1, 2047, 2048, 2049, 4031, 4032, 4033, 4095, 4096, 4097, 6143, 6144, 6145, 8192, 100_003];

function sample(): Tree {
  const tree = new Tree(1_700_000_000);
  for (const size of SIZES) tree.write(`sizes/${size}`, Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 0xff), 0o600);
  for (let i = 0; i < 700; i++) tree.write(`many/file-with-a-rather-long-name-${i}`, `${i}`);
  tree.symlink('link', '/sizes/1');
  tree.symlink('long-link', 'x'.repeat(3000));
  tree.put('linked', tree.lookup('sizes/4097')!);
  tree.put('owned', makeInode('file', 0o4755, { uid: 100_000, gid: 70_000, mtime: 5_000_000_000, data: Buffer.from('o') }));
  tree.put('null', makeInode('char', 0o666, { major: 1, minor: 3 }));
  tree.put('disk', makeInode('block', 0o660, { major: 259, minor: 300 }));
  tree.put('pipe', makeInode('fifo', 0o600));
  tree.put('cap', makeInode('file', 0o755, { data: Buffer.from('c'), xattrs: new Map([['security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')], ['user.note', Buffer.from('hello')]]) }));
  tree.mkdir('empty', 0o1777);
  return tree;
}

/** A listing that two readers of the same tree agree on. */
function listing(tree: Tree): string[] {
  return [...tree.walk()].filter(({ path }) => path !== '').map(({ path, inode }) => `${path} ${inode.kind === 'file' ? inode.data.length : inode.kind}`).sort();
}

test('cpio: every name with its mode, owner and data; data of a hard link once, at its first name', () => {
  const tree = sample();
  const entries = readNewc(Buffer.from(writeCpio(tree)));
  expect([...entries.keys()].sort()).toEqual(listing(tree).map((line) => line.replace(/ \S+$/, '')).sort());
  for (const size of SIZES) expect(entries.get(`sizes/${size}`)!.data.equals(tree.lookup(`sizes/${size}`)!.data)).toBe(size !== 4097);
  expect(entries.get('linked')).toMatchObject({ ino: entries.get('sizes/4097')!.ino, nlink: 2, data: Buffer.from(tree.lookup('linked')!.data) });
  expect(entries.get('owned')).toMatchObject({ mode: 0o104755, uid: 100_000, gid: 70_000 });
  expect(entries.get('null')).toMatchObject({ mode: 0o020666, major: 1, minor: 3 });
  expect(entries.get('link')!.data.toString()).toBe('/sizes/1');
});

/** A reader of its own, after the kernel's buffer-format.rst. */
function readNewc(archive: Buffer): Map<string, { ino: number; mode: number; uid: number; gid: number; nlink: number; major: number; minor: number; data: Buffer }> {
  const entries = new Map();
  for (let off = 0; ;) {
    expect(archive.toString('latin1', off, off + 6)).toBe('070701');
    const field = (index: number): number => parseInt(archive.toString('latin1', off + 6 + index * 8, off + 14 + index * 8), 16);
    const name = archive.toString('utf8', off + 110, off + 110 + field(11) - 1);
    const start = (off + 110 + field(11) + 3) & ~3;
    if (name === 'TRAILER!!!') return entries;
    entries.set(name, { ino: field(0), mode: field(1), uid: field(2), gid: field(3), nlink: field(4), major: field(9), minor: field(10), data: archive.subarray(start, start + field(6)) });
    off = (start + field(6) + 3) & ~3;
  }
}

test('CRC-32C of the check string', () => {
  // RFC 3720 §B.4 inverts at the end, erofs does not.
  expect((crc32c(0xffffffff, Buffer.from('123456789')) ^ 0xffffffff) >>> 0).toBe(0xe3069283);
});

test('the same tree gives the same erofs, another tree another UUID', () => {
  const image = writeErofs(sample(), { epoch: 1, label: 'test' });
  expect(Buffer.compare(image, writeErofs(sample(), { epoch: 1, label: 'test' }))).toBe(0);
  const other = sample();
  other.write('sizes/1', 'z');
  expect(Buffer.compare(image.subarray(1072, 1088), writeErofs(other, { epoch: 1, label: 'test' }).subarray(1072, 1088))).not.toBe(0);
});

test('an erofs tool or the kernel reads every file, name, owner, mode, time, device and attribute', () => {
  const tree = sample();
  const file = join(dir, 'disk.erofs');
  const mountPoint = join(dir, 'mnt');
  mkdirSync(mountPoint);
  writeFileSync(file, writeErofs(tree, { epoch: 1_700_000_000, label: 'test' }));
  const fsck = spawnSync('fsck.erofs', [file]);
  if (fsck.error === undefined) expect([fsck.status, fsck.stderr.toString()]).toEqual([0, '']);
  const mount = spawnSync('mount', ['-t', 'erofs', '-o', 'loop,ro', file, mountPoint]);
  if (mount.status !== 0) {
    // Neither a tool nor the right to mount: nothing here can judge.
    if (fsck.error !== undefined) console.warn('erofs is not checked: no fsck.erofs, no right to mount');
    return;
  }
  try {
    const found = execFileSync('find', ['.', '-mindepth', '1', '(', '-type', 'f', '-printf', '%P %s\\n', ')', '-o', '-printf', '%P %y\\n'], { cwd: mountPoint }).toString().trim().split('\n')
      .map((line) => line.replace(/ d$/, ' directory').replace(/ l$/, ' symlink').replace(/ c$/, ' char').replace(/ b$/, ' block').replace(/ p$/, ' fifo'));
    expect(found.sort()).toEqual(listing(tree));
    for (const { path, inode } of tree.walk()) if (inode.kind === 'file') expect(readFileSync(join(mountPoint, path)).equals(inode.data), path).toBe(true);
    const stat = (path: string): string => execFileSync('stat', ['-c', '%a %u %g %Y %h %t:%T', join(mountPoint, path)]).toString().trim();
    expect(stat('owned')).toBe('4755 100000 70000 5000000000 1 0:0');
    expect(stat('linked')).toBe('600 0 0 1700000000 2 0:0');
    expect(stat('disk')).toBe('660 0 0 0 1 103:12c');
    expect(stat('empty')).toBe('1777 0 0 1700000000 2 0:0');
    expect(execFileSync('readlink', [join(mountPoint, 'long-link')]).toString().trim()).toBe('x'.repeat(3000));
    const attrs = spawnSync('getfattr', ['-d', '-m', '-', '-e', 'hex', join(mountPoint, 'cap')]);
    if (attrs.error === undefined) expect(attrs.stdout.toString()).toMatch(/security.capability=0x0100000200200000000000000000000000000000\nuser.note=0x68656c6c6f/);
  } finally {
    spawnSync('umount', [mountPoint]);
  }
});
