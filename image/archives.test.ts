/* Readers of what comes from outside (ar, tar, compression) and the tree they fill. Archives are made by the system's own tools. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, rmSync, symlinkSync, linkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readAr } from './ar.ts';
import { decompress } from './decompress.ts';
import { readDeb } from './deb.ts';
import { ImageBuildError } from './image-error.ts';
import { readTar } from './tar.ts';
import { Tree } from './tree.ts';

let dir: string;
/** Longer than the 100 bytes of a name field; ustar splits it into prefix and name. */
const LONG = `${'d'.repeat(60)}/${'n'.repeat(60)}`;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'portside-image-'));
  mkdirSync(join(dir, 'in/sub'), { recursive: true });
  writeFileSync(join(dir, 'in/sub/file'), 'hello\n', { mode: 0o640 });
  mkdirSync(join(dir, 'in/sub', LONG.split('/')[0]));
  writeFileSync(join(dir, 'in/sub', LONG), 'long');
  writeFileSync(join(dir, 'in/grüße'), '');
  linkSync(join(dir, 'in/sub/file'), join(dir, 'in/zz-link'));
  symlinkSync('../sub/file', join(dir, 'in/sub/sym'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const tar = (...flags: string[]): Uint8Array => execFileSync('tar', [...flags, '--sort=name', '--mtime=@1700000000', '--owner=5', '--group=7', '--numeric-owner', '-C', join(dir, 'in'), '-c', '.'], { maxBuffer: 1e8 });

describe('tar', () => {
  for (const format of ['ustar', 'gnu', 'pax']) {
    test(`${format} archives of GNU tar`, () => {
      const entries = new Map([...readTar(tar(`--format=${format}`))].map((entry) => [entry.path, entry]));
      expect([...entries.keys()].sort()).toEqual(['', 'grüße', 'sub', 'sub/file', `sub/${LONG.split('/')[0]}`, `sub/${LONG}`, 'sub/sym', 'zz-link'].sort());
      expect(entries.get('sub/file')).toMatchObject({ kind: 'file', mode: 0o640, uid: 5, gid: 7, mtime: 1700000000 });
      expect(Buffer.from(entries.get('sub/file')!.data).toString()).toBe('hello\n');
      expect(entries.get('zz-link')).toMatchObject({ kind: 'hardlink', link: 'sub/file' });
      expect(entries.get('sub/sym')).toMatchObject({ kind: 'symlink', link: '../sub/file' });
    });
  }

  test('pax: xattrs, sub-second times and owners that ustar can\'t hold', () => {
    const archive = execFileSync('tar', ['--format=pax', '--pax-option=SCHILY.xattr.security.capability:=raw,uid:=4000000000,mtime:=12.75', '-C', join(dir, 'in'), '-c', 'grüße']);
    const [entry] = readTar(archive);
    expect(entry).toMatchObject({ uid: 4000000000, mtime: 12 });
    expect(Buffer.from(entry.xattrs.get('security.capability')!).toString()).toBe('raw');
  });

  test('every truncation at a block, and every broken header byte that matters, is refused and never crashes', () => {
    const archive = tar('--format=pax');
    const whole = [...readTar(archive)].length;
    for (let end = 1; end < archive.length; end += 97) {
      try {
        expect([...readTar(archive.subarray(0, end))].length).toBeLessThanOrEqual(whole);
      } catch (error) {
        expect(error).toBeInstanceOf(ImageBuildError);
      }
    }
    for (let at = 0; at < 148; at++) expect(() => [...readTar(archive.with(at, archive[at] ^ 0x55))]).toThrow(ImageBuildError);
  });

  test('names that climb out are refused', () => {
    const archive = execFileSync('tar', ['-P', '--transform=s,^,../,', '-C', join(dir, 'in'), '-c', 'sub/file']);
    expect(() => [...readTar(archive)]).toThrow(/leaves its tree/);
  });

  test('pax records without end are refused, for one entry and for all', () => {
    const many = (from: number): string => Array.from({ length: 1000 }, (_, i) => `16 k${String(from + i).padStart(7, '0')}=val\n`).join('');
    expect([...readTar(paxArchive(many(0)))]).toEqual([]);
    expect(() => [...readTar(Buffer.concat([paxArchive(many(0)).subarray(0, -1024), paxArchive(many(1000))]))]).toThrow(/too many pax records/);
  });

  test('a pax record whose length lies is refused', () => {
    for (const record of ['99999 path=x\n', '0 path=x\n', '3 =\n', 'xx path=y\n', '12 path=abcd', '11 nopairs\n\n']) {
      expect(() => [...readTar(paxArchive(record))], JSON.stringify(record)).toThrow(ImageBuildError);
    }
  });
});

describe('tree', () => {
  const entry = (path: string, fields: object): Parameters<Tree['addEntry']>[0] => ({
    path, kind: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1, link: '', major: 0, minor: 0, xattrs: new Map(), data: Buffer.from('x'), ...fields,
  });

  test('a symlink that leads out ends at the root of the tree', () => {
    const tree = new Tree(0);
    tree.addEntry(entry('out', { kind: 'symlink', link: '../../../../etc' }));
    tree.addEntry(entry('out/passwd', {}));
    expect(tree.readText('etc/passwd')).toBe('x');
    expect(tree.lookup('out', false)?.kind).toBe('symlink');
  });

  test('a directory over a symlink to a directory keeps the symlink (usr-merge)', () => {
    const tree = new Tree(0);
    tree.mkdir('usr/bin');
    tree.symlink('bin', 'usr/bin');
    tree.addEntry(entry('bin', { kind: 'directory', mode: 0o755 }));
    tree.addEntry(entry('bin/sh', {}));
    expect([...tree.walk()].map(({ path }) => path)).toEqual(['', 'bin', 'usr', 'usr/bin', 'usr/bin/sh']);
  });

  test('symlink loops end, hard links need their target, files are not directories', () => {
    const tree = new Tree(0);
    tree.symlink('a', 'b');
    tree.symlink('b', 'a');
    expect(tree.lookup('a')).toBeNull();
    expect(() => tree.addEntry(entry('a/x', {}))).toThrow(ImageBuildError);
    expect(() => tree.addEntry(entry('h', { kind: 'hardlink', link: 'none' }))).toThrow(/not there/);
    tree.write('f', '');
    expect(() => tree.addEntry(entry('f/x', {}))).toThrow(/not a directory/);
  });
});

describe('ar and deb', () => {
  const member = (name: string, data: Uint8Array, size = String(data.length)): Uint8Array =>
    Buffer.concat([Buffer.from(`${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${size.padEnd(10)}\`\n`), data, Buffer.alloc(data.length & 1, '\n')]);
  const ar = (...members: Uint8Array[]): Uint8Array => Buffer.concat([Buffer.from('!<arch>\n'), ...members]);

  test('members, odd lengths padded', () => {
    expect(readAr(ar(member('a', Buffer.from('123')), member('b/', Buffer.from('45')))).map(({ name, data }) => [name, Buffer.from(data).toString()])).toEqual([['a', '123'], ['b', '45']]);
  });

  test('truncations and broken lengths', () => {
    const archive = ar(member('a', Buffer.from('1234')));
    for (let end = 0; end < archive.length; end++) if (end !== 8) expect(() => readAr(archive.subarray(0, end)), `${end}`).toThrow(ImageBuildError);
    for (const size of ['-1', '1e3', '', '99999999']) expect(() => readAr(ar(member('a', Buffer.from('12'), size)))).toThrow(ImageBuildError);
  });

  test('a package: control files and entries, gzip and xz', async () => {
    writeFileSync(join(dir, 'control'), 'Package: x\n');
    const control = execFileSync('tar', ['-C', dir, '-c', './control']);
    const xz = execFileSync('sh', ['-c', 'exec xz -c'], { input: tar('--format=gnu') });
    const deb = await readDeb(ar(member('debian-binary', Buffer.from('2.0\n')), member('control.tar.gz', gzipSync(control)), member('data.tar.xz', xz)));
    expect(Buffer.from(deb.control.get('control')!).toString()).toBe('Package: x\n');
    expect(deb.entries.map(({ path }) => path)).toContain('sub/file');
    await expect(readDeb(ar(member('debian-binary', Buffer.from('2.0\n'))))).rejects.toThrow(/control.tar/);
    await expect(readDeb(ar(member('x', Buffer.from('2.0\n'))))).rejects.toThrow(/not a Debian package/);
  });
});

describe('compression', () => {
  const text = Buffer.from('portside '.repeat(100_000));

  test('the wasm decoder and the program give the same; a bomb and garbage are refused', async () => {
    writeFileSync(join(dir, 'text'), text);
    const xz = readFileSync(execXz(join(dir, 'text')));
    for (const native of [true, false]) {
      expect(Buffer.compare(await decompress(xz, { native }), text)).toBe(0);
      await expect(decompress(xz, { native, maxBytes: 1000 })).rejects.toThrow(/more than 1000/);
      await expect(decompress(xz.subarray(0, xz.length >> 1), { native })).rejects.toThrow(ImageBuildError);
    }
    await expect(decompress(gzipSync(text), { maxBytes: 1000 })).rejects.toThrow(ImageBuildError);
    await expect(decompress(gzipSync(text).subarray(0, 50))).rejects.toThrow(ImageBuildError);
  });
});

function execXz(path: string): string {
  execFileSync('xz', ['-kf', path]);
  return `${path}.xz`;
}

/** An archive whose first entry is a pax header with `record` as its data. */
function paxArchive(record: string): Uint8Array {
  const header = Buffer.alloc(512);
  header.write('pax', 0);
  header.write('0000644\0', 100);
  header.write(record.length.toString(8).padStart(11, '0'), 124);
  header.write('x', 156);
  header.write('ustar\x0000', 257);
  header.fill(0x20, 148, 156);
  header.write(header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0') + '\0', 148);
  const data = Buffer.alloc(Math.ceil(record.length / 512) * 512);
  data.write(record);
  return Buffer.concat([header, data, Buffer.alloc(1024)]);
}
