/*
 * What real tools write, held against what they themselves unpack: GNU tar and bsdtar in all of their formats, sparse files, extended
 * attributes, ACLs, and every compressor. Needs root (owners, devices) and the tools, which .ci/run installs; what is missing is said.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, closeSync, ftruncateSync, linkSync, lstatSync, lutimesSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compressionOf, decompress } from '../decompress.ts';
import { writeErofs } from '../erofs.ts';
import { decodeName, encodeName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';
import { Tree, type Inode } from '../tree.ts';
import { tarOf, type TarMember } from './fixture.ts';
import { applyLayer } from './layers.ts';
import { unpackLayer } from './oci.ts';
import { openSource } from './source.ts';

const has = (tool: string): boolean => spawnSync(tool, ['--help']).error === undefined;
const TOOLS = ['tar', 'bsdtar', 'setfattr', 'getfattr', 'setfacl', 'pigz', 'pzstd', 'zstd', 'bzip2', 'lz4', 'fsck.erofs'];
const missing = TOOLS.filter((tool) => !has(tool));
const canRun = missing.length === 0 && process.getuid?.() === 0;
if (!canRun) console.warn(`archives of real tools are not tested: ${missing.length > 0 ? `no ${missing.join(', ')}` : 'not root'}`);

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-tools-')); });
afterAll(() => rmSync(dir, { recursive: true }));

/** Extents of 4 KiB with holes between them: one map has more of them than fit into a header, and into the block behind it. */
function sparseFile(path: string, offsets: number[], size: number): void {
  const file = openSync(path, 'w');
  for (const at of offsets) writeSync(file, Buffer.alloc(Math.min(4096, size - at), `at ${at}`), 0, undefined, at);
  ftruncateSync(file, size);
  closeSync(file);
}

/** What every format holds. */
function makePlain(root: string): void {
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'empty'));
  chmodSync(join(root, 'empty'), 0o1777);
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nstaff:x:50:\n');
  for (const len of [0, 1, 511, 512, 513, 70_000]) writeFileSync(join(root, `len-${len}`), Buffer.alloc(len, 'portside'));
  writeFileSync(join(root, 'set-id'), 'x');
  chownSync(join(root, 'set-id'), 1000, 70_000);
  chmodSync(join(root, 'set-id'), 0o6755);
  linkSync(join(root, 'len-513'), join(root, 'a-link'));
  linkSync(join(root, 'len-513'), join(root, 'z-link'));
  symlinkSync('../len-1', join(root, 'etc/relative'));
  symlinkSync('/none/../at/all', join(root, 'etc/dangling'));
}

/** And what only some do. */
function makeFull(root: string): void {
  makePlain(root);
  mkdirSync(join(root, 'd'.repeat(120)));
  writeFileSync(join(root, 'd'.repeat(120), 'n'.repeat(255)), 'long');
  symlinkSync('x/'.repeat(150), join(root, 'long-link'));
  writeFileSync(join(root, 'größe 漢字'), 'utf-8');
  for (const name of [[0xff, 0x2e], [0xfe, 0x2e], [0xef, 0xbb, 0xbf, 0x62], [0xed, 0xa0, 0x80]]) writeFileSync(Buffer.concat([Buffer.from(`${root}/odd-`), Buffer.from(name)]), Buffer.from(name));
  symlinkSync(Buffer.from([0x61, 0xff, 0x62]), join(root, 'odd-link'));
  execFileSync('mkfifo', [join(root, 'fifo')]);
  execFileSync('mknod', ['-m', '640', join(root, 'char'), 'c', '10', '70000']);
  execFileSync('mknod', ['-m', '600', join(root, 'block'), 'b', '7', '3']);
  writeFileSync(join(root, 'of-a-large-owner'), '');
  chownSync(join(root, 'of-a-large-owner'), 4_000_000_000, 3_000_000_000);
  writeFileSync(join(root, 'old'), '');
  lutimesSync(join(root, 'old'), -86_400, -86_400);
}

function makeSparse(root: string): void {
  mkdirSync(root);
  sparseFile(join(root, 'two'), [0, 1 << 20], 3 << 20);
  sparseFile(join(root, 'many'), Array.from({ length: 70 }, (_, i) => i * 65_536 + 4096), 75 * 65_536);
  sparseFile(join(root, 'hole'), [], 1 << 20);
  sparseFile(join(root, 'data-at-its-end'), [9 * 65_536], 9 * 65_536 + 1000);
  mkdirSync(join(root, 'd'.repeat(90)));
  sparseFile(join(root, 'd'.repeat(90), 'n'.repeat(90)), [1 << 16], 1 << 20);
}

interface Seen { kind: string; mode: number; owner: string; mtime: number; contents: string; links: string[]; xattrs: Record<string, string> }

/** All of a tree that a tool can unpack, by path; names that are hard links of each other know so. */
function seenInTree(tree: Tree): Record<string, Seen> {
  const names = new Map<Inode, string[]>();
  for (const { path, inode } of tree.walk()) names.set(inode, [...(names.get(inode) ?? []), path]);
  return Object.fromEntries([...tree.walk()].filter(({ path }) => path !== '').map(({ path, inode }): [string, Seen] => [path, {
    kind: inode.kind, mode: inode.kind === 'symlink' ? 0 : inode.mode, owner: `${inode.uid}:${inode.gid}`, mtime: inode.kind === 'symlink' ? 0 : inode.mtime,
    contents: inode.kind === 'char' || inode.kind === 'block' ? `${inode.major}:${inode.minor}` : Buffer.from(inode.data).toString('latin1'),
    links: inode.kind === 'directory' ? [] : names.get(inode)!,
    xattrs: Object.fromEntries([...inode.xattrs].map(([name, value]) => [name, Buffer.from(value).toString('hex')]).toSorted()),
  }]));
}

function seenInFolder(root: string): Record<string, Seen> {
  const seen = new Map<string, Seen & { inode: bigint }>();
  const attributes = xattrsBelow(root);
  const visit = (path: string): void => {
    const raw = Buffer.concat([Buffer.from(`${root}/`), encodeName(path)]);
    const found = lstatSync(raw, { bigint: true });
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : found.isSymbolicLink() ? 'symlink' : found.isFIFO() ? 'fifo' : found.isCharacterDevice() ? 'char' : 'block';
    const device = Number(found.rdev);
    if (path !== '') {
      seen.set(path, {
        kind, mode: kind === 'symlink' ? 0 : Number(found.mode) & 0o7777, owner: `${found.uid}:${found.gid}`,
        mtime: kind === 'symlink' ? 0 : Number((found.mtimeNs - (found.mtimeNs < 0n ? 999_999_999n : 0n)) / 1_000_000_000n),
        contents: kind === 'file' ? readFileSync(raw).toString('latin1') : kind === 'symlink' ? readlinkSync(raw, { encoding: 'buffer' }).toString('latin1') : kind === 'char' || kind === 'block' ? `${(device >> 8) & 0xfff}:${(device & 0xff) | ((device >> 12) & 0xfff00)}` : '',
        links: [], xattrs: attributes.get(path) ?? {}, inode: found.ino,
      });
    }
    if (kind === 'directory') for (const name of readdirSync(raw, { encoding: 'buffer' })) visit(path === '' ? decodeName(name) : `${path}/${decodeName(name)}`);
  };
  visit('');
  const paths = [...seen.keys()].toSorted((a, b) => Buffer.compare(encodeName(a), encodeName(b)));
  return Object.fromEntries(paths.map((path) => {
    const { inode, ...rest } = seen.get(path)!;
    return [path, { ...rest, links: rest.kind === 'directory' ? [] : paths.filter((other) => seen.get(other)!.inode === inode) }];
  }));
}

function xattrsBelow(root: string): Map<string, Record<string, string>> {
  const text = execFileSync('getfattr', ['-R', '-h', '-P', '-d', '-m', '-', '-e', 'hex', '.'], { cwd: root, encoding: 'latin1' });
  const found = new Map<string, Record<string, string>>();
  for (const block of text.split('\n\n').filter((part) => part.includes('# file: '))) {
    const [head, ...lines] = block.trim().split('\n');
    const path = Buffer.from(head.slice('# file: '.length).replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))), 'latin1');
    found.set(decodeName(path), Object.fromEntries(lines.map((line): [string, string] => {
      const equals = line.indexOf('=');
      return equals < 0 ? [line, ''] : [line.slice(0, equals).replace('\\075', '='), line.slice(equals + 1).replace(/^0x/, '')];
    }).toSorted()));
  }
  return found;
}

let count = 0;

/** A tree of what `archive` holds, and what `unpack` makes of it in a folder. */
function expectSame(archive: Uint8Array, unpack: (folder: string) => void): Tree {
  const tree = new Tree(0);
  applyLayer(tree, archive, { entries: 10_000, bytes: 1e9 });
  const folder = join(dir, `out-${count++}`);
  mkdirSync(folder);
  unpack(folder);
  expect(seenInTree(tree)).toEqual(seenInFolder(folder));
  expect(Object.keys(seenInTree(tree)).length).toBeGreaterThan(2);
  rmSync(folder, { recursive: true });
  return tree;
}

/** fsck.erofs takes the disk that is made of it. */
function expectSound(tree: Tree): void {
  const disk = join(dir, 'disk');
  writeFileSync(disk, writeErofs(tree, { epoch: 0 }));
  execFileSync('fsck.erofs', ['--extract', disk], { stdio: ['ignore', 'ignore', 'pipe'] });
}

const gnuUnpack = (archive: string, ...flags: string[]) => (folder: string): void => void execFileSync('tar', ['-xpf', archive, '--numeric-owner', ...flags, '-C', folder], { stdio: ['ignore', 'ignore', 'pipe'] });
const bsdUnpack = (archive: string, ...flags: string[]) => (folder: string): void => void execFileSync('bsdtar', ['-xpf', archive, '--numeric-owner', ...flags, '-C', folder], { stdio: ['ignore', 'ignore', 'pipe'] });

describe.skipIf(!canRun)('real tools', () => {
  let [plain, full, sparse, attributes] = ['', '', '', ''];

  beforeAll(() => {
    [plain, full, sparse, attributes] = ['plain', 'full', 'sparse', 'attributes'].map((name) => join(dir, name));
    makePlain(plain);
    makeFull(full);
    makeSparse(sparse);
    makePlain(attributes);
    for (const [name, value] of [['user.text', '0x00ff3d0a'], ['user.empty', ''], ['security.capability', '0x0100000200002000000000000000000000000000'], ['trusted.x', '0x79']]) execFileSync('setfattr', ['-n', name, ...(value === '' ? [] : ['-v', value]), join(attributes, 'len-1')]);
    execFileSync('setfacl', ['-m', 'u:1001:rwx,g:50:r,m:rx', join(attributes, 'set-id')]);
    execFileSync('setfacl', ['-m', 'd:u:12345:rw,u:65000:r', join(attributes, 'empty')]);
  });

  test.each(['v7', 'oldgnu', 'gnu', 'ustar', 'pax'])('GNU tar --format=%s', (format) => {
    const root = format === 'v7' || format === 'ustar' ? plain : full;
    const archive = join(dir, 'gnu.tar');
    execFileSync('tar', [`--format=${format}`, '--numeric-owner', '-C', root, '-cf', archive, '.']);
    expectSound(expectSame(readFileSync(archive), gnuUnpack(archive)));
  });

  test.each([['oldgnu', ''], ['gnu', ''], ['pax', '0.0'], ['pax', '0.1'], ['pax', '1.0']])('GNU tar --sparse --format=%s, sparse format %s', (format, version) => {
    const archive = join(dir, 'sparse.tar');
    execFileSync('tar', ['--sparse', `--format=${format}`, ...(version === '' ? [] : [`--sparse-version=${version}`]), '--numeric-owner', '-C', sparse, '-cf', archive, '.']);
    const bytes = readFileSync(archive);
    expect(bytes.length).toBeLessThan(1e6);
    const tree = expectSame(bytes, gnuUnpack(archive));
    expect(tree.lookup('two')!.data.length).toBe(3 << 20);
    // What it comes to counts, not what it is in the archive.
    expect(() => applyLayer(new Tree(0), bytes, { entries: 100, bytes: 5e6 })).toThrow(/its entry "\.\/[a-z-]+" is a sparse file of \d+ bytes, more than is allowed: leave it out/);
    for (let end = 512; end < bytes.length - 10_240; end += 1031) expect(() => applyLayer(new Tree(0), bytes.subarray(0, end), { entries: 100, bytes: 1e8 }, false), `${end}`).toThrow(ImageBuildError);
  });

  test.each(['v7', 'ustar', 'gnutar', 'pax'])('bsdtar --format=%s', (format) => {
    const root = format === 'pax' || format === 'gnutar' ? full : plain;
    const archive = join(dir, 'bsd.tar');
    execFileSync('bsdtar', [`--format=${format}`, '--numeric-owner', '-C', root, '-cf', archive, '.'], { env: { ...process.env, LC_ALL: 'C.UTF-8' }, stdio: ['ignore', 'ignore', 'pipe'] });
    expectSound(expectSame(readFileSync(archive), bsdUnpack(archive)));
  });

  test('bsdtar: sparse files, attributes and ACLs', () => {
    for (const root of [sparse, attributes]) {
      const archive = join(dir, 'bsd-more.tar');
      execFileSync('bsdtar', ['--format=pax', '--xattrs', '--acls', '--numeric-owner', '-C', root, '-cf', archive, '.'], { stdio: ['ignore', 'ignore', 'pipe'] });
      expectSound(expectSame(readFileSync(archive), bsdUnpack(archive, '--xattrs', '--acls')));
    }
  });

  test('GNU tar: attributes, ACLs with numbers and with names, SELinux\' labels', () => {
    const archive = join(dir, 'attributes.tar');
    // Not for bsdtar, which makes two of it.
    execFileSync('setfattr', ['-n', 'user.a=b%c', '-v', '0x31', join(attributes, 'len-1')]);
    execFileSync('tar', ['--format=pax', '--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner', '-C', attributes, '-cf', archive, '.']);
    const tree = expectSame(readFileSync(archive), gnuUnpack(archive, '--xattrs', '--xattrs-include=*', '--acls'));
    expectSound(tree);
    expect([...tree.lookup('len-1')!.xattrs.keys()]).toContain('user.a=b%c');
    const named = (user: string): Uint8Array => execFileSync('tar', ['--format=pax', `--pax-option=SCHILY.acl.access:=user::rw-%2Cuser:${user}:r--%2Cgroup::r--%2Cmask::r--%2Cother::---`.replaceAll('%2C', '\n'), '--pax-option=RHT.security.selinux:=system_u:object_r:etc_t:s0', '-C', plain, '-cf', '-', 'etc']);
    const withBob = new Tree(0);
    applyLayer(withBob, named('bob'), { entries: 100, bytes: 1e6 });
    // The user by the root's own passwd: 1001, which is 0x3e9.
    expect(Buffer.from(withBob.lookup('etc/group')!.xattrs.get('system.posix_acl_access')!).toString('hex')).toBe('0200000001000600ffffffff02000400e903000004000400ffffffff10000400ffffffff20000000ffffffff');
    expect(Buffer.from(withBob.lookup('etc/group')!.xattrs.get('security.selinux')!).toString()).toBe('system_u:object_r:etc_t:s0\0');
    expect(() => applyLayer(new Tree(0), named('nobody-here'), { entries: 100, bytes: 1e6 })).toThrow(/"etc\/?[a-z]*" has an ACL for the user "nobody-here", whom the image does not have/);
  });

  test('incremental dumps: a whole one is a root, a partial one is refused by name; labels are no files', () => {
    const archive = join(dir, 'dump.tar');
    const dump = (format: string): void => void execFileSync('tar', [`--format=${format}`, '-V', 'a label', '--numeric-owner', '-g', join(dir, 'snar'), '-C', plain, '-cf', archive, '.']);
    for (const format of ['gnu', 'pax']) {
      rmSync(join(dir, 'snar'), { force: true });
      dump(format);
      expectSame(readFileSync(archive), gnuUnpack(archive));
      dump(format);
      expect(() => applyLayer(new Tree(0), readFileSync(archive), { entries: 100, bytes: 1e6 })).toThrow(/its entry "\.\/" is of an incremental dump that leaves "[^"]+" out: unpack all dumps/);
    }
  });

  test('each of several volumes is refused, by the name of what goes on elsewhere', () => {
    for (const format of ['gnu', 'pax']) {
      const volumes = [1, 2, 3].map((n) => join(dir, `volume-${format}-${n}.tar`));
      execFileSync('tar', ['-M', '-L', '40', `--format=${format}`, ...volumes.flatMap((path) => ['-f', path]), '-C', plain, '-c', 'len-70000', 'len-1']);
      for (const volume of volumes.slice(0, 2)) expect(() => applyLayer(new Tree(0), readFileSync(volume), { entries: 100, bytes: 1e6 }), volume).toThrow(/its entry "[^"]*len-70000(\.2)?" (is cut off, or )?goes on (in|from) another volume/);
    }
  });

  test('appended entries count, and so do archives that tar has joined; a second archive behind the end does not get lost', () => {
    const [one, two] = [join(dir, 'one.tar'), join(dir, 'two.tar')];
    execFileSync('tar', ['-C', plain, '-cf', one, 'etc', 'len-513', 'a-link']);
    writeFileSync(join(dir, 'len-513'), 'newer');
    execFileSync('tar', ['-C', dir, '-rf', one, 'len-513']);
    expectSame(readFileSync(one), gnuUnpack(one));
    execFileSync('tar', ['-C', plain, '-cf', two, 'empty']);
    expect(() => applyLayer(new Tree(0), Buffer.concat([readFileSync(one), readFileSync(two)]), { entries: 100, bytes: 1e6 })).toThrow(/behind its end begins another one, with "empty\/": join them with tar --concatenate/);
    execFileSync('tar', ['-Af', one, two]);
    expectSame(readFileSync(one), gnuUnpack(one));
  });

  test('absolute names, and names with a dot in front, are where the tools put them', () => {
    const archive = join(dir, 'absolute.tar');
    execFileSync('tar', ['-P', '--transform=s,^,/.//,', '-C', plain, '-cf', archive, 'etc', 'len-1'], { stdio: ['ignore', 'ignore', 'pipe'] });
    expectSame(readFileSync(archive), gnuUnpack(archive));
  });
});

const hasImageTools = canRun && has('umoci') && has('skopeo');
if (!hasImageTools) console.warn('layers of image tools are not tested: no umoci, no skopeo, or others missing');

describe.skipIf(!hasImageTools)('images', () => {
  test('layers of all kinds of changes: the root is what umoci unpacks, and so it is after skopeo has packed them as zstd, zstd:chunked or a docker-archive', { timeout: 120_000 }, async () => {
    const dirOf = (path: string): TarMember => ({ path: `${path}/`, type: '5', mode: 0o755 });
    const layers: TarMember[][] = [
      [
        dirOf('.'), dirOf('bin'), dirOf('writable'), dirOf('writable/etc'), { path: 'writable/etc/passwd', data: 'root:x:0:0::/:/bin/sh\n' }, { path: 'etc', type: '2', link: '/writable/etc' }, { path: 'up', type: '2', link: '../../writable' },
        { path: 'bin/one', data: 'one', mode: 0o4755, uid: 7, gid: 8 }, { path: 'bin/two', type: '1', link: 'bin/one' }, dirOf('a'), { path: 'a/file', data: 'f' }, dirOf('a/dir'), { path: 'a/dir/deep', data: 'd' }, dirOf('opaque'), { path: 'opaque/old', data: 'o' },
        { path: 'pipe', type: '6' }, { path: 'loop7', type: '4', major: 7, minor: 300 }, { path: 'tty', type: '3', major: 4, minor: 64 }, { path: 'kind-1', data: 'file' }, dirOf('kind-2'), { path: 'kind-2/x', data: 'x' }, { path: 'kind-3', type: '2', link: 'a' }, { path: 'gone', data: 'g' },
      ],
      [
        { path: 'etc/new', data: 'through a link' }, { path: 'up/more', data: 'above' }, { path: 'a/.wh.file' }, { path: '.wh.gone' }, { path: 'opaque/.wh..wh..opq' }, { path: 'opaque/new', data: 'n' }, { path: 'linked', type: '1', link: 'bin/two' },
        dirOf('kind-1'), { path: 'kind-1/y', data: 'y' }, { path: 'kind-2', type: '6' }, dirOf('kind-3'), { path: 'a/dir/', type: '5', mode: 0o700 },
      ],
      [{ path: 'bin/one', data: 'changed' }, { path: 'a/.wh.dir' }, { path: '.wh.kind-1' }, { path: 'etc/.wh.passwd' }],
    ];
    const layout = join(dir, 'layout');
    execFileSync('umoci', ['init', '--layout', layout]);
    execFileSync('umoci', ['new', '--image', `${layout}:x`]);
    for (const [i, members] of layers.entries()) {
      writeFileSync(join(dir, `layer-${i}.tar`), tarOf(members));
      execFileSync('umoci', ['raw', 'add-layer', '--image', `${layout}:x`, join(dir, `layer-${i}.tar`)]);
    }
    execFileSync('umoci', ['config', '--image', `${layout}:x`, '--os', 'linux', '--architecture', 'riscv64']);
    execFileSync('umoci', ['unpack', '--image', `${layout}:x`, join(dir, 'bundle')], { stdio: ['ignore', 'ignore', 'pipe'] });
    const expected = seenInFolder(join(dir, 'bundle/rootfs'));
    expect(Object.keys(expected).length).toBeGreaterThan(15);

    const copy = (...args: string[]): void => void execFileSync('skopeo', ['--insecure-policy', 'copy', '--quiet', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    for (const format of ['zstd', 'zstd:chunked']) copy('--dest-compress', '--dest-compress-format', format, `oci:${layout}:x`, `oci:${join(dir, format.replace(':', '-'))}:x`);
    copy(`oci:${layout}:x`, `docker-archive:${join(dir, 'x.docker.tar')}:registry.example/x:1`);
    const options = { platform: { os: 'linux', architecture: 'riscv64', variant: null }, plainHttp: false, credentials: null, blobDir: dir, maxBytes: 1e8, report: () => undefined };
    for (const source of [layout, join(dir, 'zstd'), join(dir, 'zstd-chunked'), join(dir, 'x.docker.tar')]) {
      const image = await openSource(source, options);
      const tree = new Tree(0);
      for (const [i, layer] of image.layers.entries()) applyLayer(tree, await unpackLayer(await layer.read(), image.config.diffIds?.[i], { entries: 1e4, bytes: 1e8 }, layer.label), { entries: 1e4, bytes: 1e8 });
      expect(seenInTree(tree), source).toEqual(expected);
      expectSound(tree);
    }
  });
});

describe.skipIf(!canRun)('compressors', () => {
  const part = tarOf([{ path: 'a', data: Buffer.alloc(300_000, 'portside ') }, { path: 'b', data: Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) >> 7)) }]);
  const half = part.length >> 1;
  const run = (tool: string, input: Uint8Array, ...flags: string[]): Buffer => execFileSync(tool, [...flags, '-c'], { input, maxBuffer: 1e8 });
  const twice = (pack: (piece: Uint8Array) => Uint8Array): Buffer => Buffer.concat([pack(part.subarray(0, half)), pack(part.subarray(half))]);
  const skippable = (data: string): Buffer => Buffer.concat([Buffer.of(0x5e, 0x2a, 0x4d, 0x18, data.length, 0, 0, 0), Buffer.from(data)]);
  const zstd = (piece: Uint8Array): Buffer => run('zstd', piece, '-q', '--check');

  test.each([
    ['gzip of pigz', 'gzip', () => run('pigz', part, '-b', '32')], ['gzip in members', 'gzip', () => twice((piece) => gzipSync(piece))],
    ['xz', 'xz', () => run('xz', part)], ['xz in streams', 'xz', () => Buffer.concat([twice((piece) => run('xz', piece)), Buffer.alloc(8)])], ['xz in blocks', 'xz', () => run('xz', part, '--block-size=100000')],
    ['zstd', 'zstd', () => zstd(part)], ['zstd --no-check', 'zstd', () => run('zstd', part, '-q', '--no-check')], ['zstd in frames', 'zstd', () => twice(zstd)],
    ['zstd of pzstd', 'zstd', () => { writeFileSync(join(dir, 'p'), part); execFileSync('pzstd', ['-q', '-f', '-p', '4', join(dir, 'p'), '-o', join(dir, 'p.zst')]); return readFileSync(join(dir, 'p.zst')); }],
    ['zstd with notes before, between and behind', 'zstd', () => Buffer.concat([skippable('before'), zstd(part.subarray(0, half)), skippable(''), zstd(part.subarray(half)), skippable('a list of contents')])],
    ['bzip2', 'bzip2', () => run('bzip2', part)], ['lz4', 'lz4', () => run('lz4', part, '-q')], ['lz4 of old', 'lz4', () => run('lz4', part, '-q', '-l')], ['lzma', 'lzma', () => run('xz', part, '--format=lzma')],
  ])('%s', { timeout: 30_000 }, async (_, format, pack) => {
    const packed = pack();
    expect(compressionOf(packed)).toBe(format);
    const inProcess = ['gzip', 'xz', 'zstd'].includes(format);
    for (const native of inProcess ? [true, false] : [true]) {
      expect(Buffer.compare(await decompress(packed, { native }), part), `native: ${native}`).toBe(0);
      await expect(decompress(packed, { native, maxBytes: 100_000 })).rejects.toThrow(/more than 100000|larger than 100000/);
    }
    if (!inProcess) await expect(decompress(packed, { native: false })).rejects.toThrow(new RegExp(`compressed by ${format}, and there is no .*: unpack it elsewhere`));
    for (const end of [5, packed.length >> 1, packed.length - 5]) {
      const cut = await decompress(packed.subarray(0, end)).catch((error: unknown) => error);
      // What is cut between two members, or within what comes behind them, is whole to its tools, too.
      if (cut instanceof Uint8Array) expect(part.subarray(0, cut.length).equals(cut) || end === 5, `${end}`).toBe(true);
      else expect(cut, `${end}`).toBeInstanceOf(ImageBuildError);
    }
  });

  test('zstd: many small frames that ask for the largest window cost no more than small ones; larger windows are refused', async () => {
    const frames = (many: number, window: number): Buffer => Buffer.concat(Array.from({ length: many }, () => Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, window, 0x0b, 0x00, 0x00, 0x61)));
    const start = performance.now();
    expect(Buffer.from(await decompress(frames(5000, 0x88), { native: false })).equals(Buffer.alloc(5000, 'a'))).toBe(true);
    // 40 s and more when each takes its 128 MiB.
    expect(performance.now() - start).toBeLessThan(10_000);
    for (const native of [true, false]) await expect(decompress(frames(1, 0x90), { native })).rejects.toThrow(/with a window of 268435456 bytes: pack it again without --long/);
    const far = Buffer.concat([Buffer.alloc(3_000_000, 'portside '), Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * i) >> 5)), Buffer.alloc(3_000_000, 'portside ')]);
    for (const level of ['-1', '-19', '--fast=3']) expect(Buffer.compare(await decompress(run('zstd', far, '-q', level), { native: false }), far), level).toBe(0);
  }, 60_000);

  test('zstd: a byte that has changed is found by the checksum, with Node and without', async () => {
    // Not compressible, so that a changed byte is a changed byte of the contents.
    const noise = Buffer.from(Array.from({ length: 5000 }, (_, i) => Math.imul(i * i + 12_345, 2_654_435_761) >>> 24));
    const packed = zstd(noise);
    for (const native of [true, false]) {
      expect(Buffer.compare(await decompress(packed, { native }), noise)).toBe(0);
      for (const at of [100, 3000, packed.length - 1]) await expect(decompress(Uint8Array.from(packed).with(at, packed[at] ^ 1), { native }), `byte ${at}`).rejects.toThrow(/broken zstd data/);
      await expect(decompress(Buffer.concat([packed, Buffer.from('garbage')]), { native })).rejects.toThrow(/something else begins/);
    }
  });
});
