/*
 * Targets that read what others packed: tar archives as layers, OCI layouts and docker-archives, registries' answers, compressed data. All end
 * in a tree that a disk can be made of, or in an ImageBuildError for a person: nothing else is thrown, nothing is written elsewhere, and
 * memory and time stay within what the input and the budgets say.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { makeDisk } from '../../image/convert/convert.ts';
import { tarOf, type TarMember } from '../../image/convert/fixture.ts';
import { findIdentity, PLAIN_CONFIG } from '../../image/convert/image-config.ts';
import { applyLayer } from '../../image/convert/layers.ts';
import { unpackLayer, type ContainerImage } from '../../image/convert/oci.ts';
import { openRegistry, parseReference } from '../../image/convert/registry.ts';
import { prepareRoot } from '../../image/convert/root.ts';
import { openSource } from '../../image/convert/source.ts';
import { compressionOf, decompress } from '../../image/decompress.ts';
import { writeErofs } from '../../image/erofs.ts';
import { encodeName } from '../../image/file-name.ts';
import { HttpFailure, type HttpHeaders } from '../../image/http-get.ts';
import { ImageBuildError } from '../../image/image-error.ts';
import { readTar } from '../../image/tar.ts';
import { Tree, type Inode } from '../../image/tree.ts';
import type { Chance } from './chance.ts';
import { mutateBytes } from './mutate.ts';
import { check, type FuzzTarget } from './target.ts';

const BLOCK = 512;
const RISCV = { os: 'linux', architecture: 'riscv64', variant: null };
/** What an image may unpack to here, in `bytes` */
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_ENTRIES = 1000;
/** Time that one input may take, in `ms`: a few are usual, and two cores may be busy */
const MAX_MS = 10_000;
/** One tree of so many is looked at by erofs' own tool as well, which takes longer than all the rest */
const FSCK_EVERY = 400;
const TOOL_EVERY = 200;

const has = (tool: string): boolean => spawnSync(tool, ['--help'], { stdio: 'ignore' }).error === undefined;
const tools = { fsck: has('fsck.erofs'), zstd: has('zstd'), gzip: has('gzip') };

let folder: string | null = null;
/** A folder of this process' own, which goes with it. */
function workFolder(): string {
  if (folder === null) {
    const made = mkdtempSync(join(tmpdir(), 'portside-fuzz-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    folder = made;
  }
  return folder;
}

/** Runs `read`, which succeeds or says in one sentence why not. Returns whether it did. */
async function succeeds(read: () => void | Promise<void>): Promise<boolean> {
  const start = performance.now();
  try {
    await read();
    return true;
  } catch (error) {
    if (!(error instanceof ImageBuildError) && !(error instanceof HttpFailure)) throw error;
    check(error.message.length > 10 && error.message.length < 2500, () => `a message of ${error.message.length} characters: ${error.message.slice(0, 300)}`);
    // oxlint-disable-next-line no-control-regex
    check(!/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(error.message), () => `a message that plays with terminals: ${JSON.stringify(error.message)}`);
    return false;
  } finally {
    const took = performance.now() - start;
    check(took < MAX_MS, () => `${Math.round(took)} ms for one input`);
  }
}

// ---- tar

let trees = 0;

/** Names, owners and contents are what a file system can have, and a disk can be made of them. */
function checkTree(tree: Tree, maxBytes: number): void {
  let bytes = 0;
  const seen = new Set<Inode>();
  for (const { path, inode } of tree.walk()) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    check(path === '' || (name !== '' && name !== '.' && name !== '..' && !name.includes('\0') && encodeName(name).length <= 255), () => `a name ${JSON.stringify(path)}`);
    check([inode.uid, inode.gid].every((id) => Number.isInteger(id) && id >= 0 && id < 0xffffffff), () => `${JSON.stringify(path)} is owned by ${inode.uid}:${inode.gid}`);
    check(Number.isSafeInteger(inode.mtime) && inode.mode >= 0 && inode.mode <= 0o7777, () => `${JSON.stringify(path)} has mode ${inode.mode}, time ${inode.mtime}`);
    check(inode.kind !== 'symlink' || (inode.data.length > 0 && inode.data.length < 4096 && !inode.data.includes(0)), () => `${JSON.stringify(path)} links to ${inode.data.length} bytes`);
    check(inode.kind === 'directory' || inode.children.size === 0, () => `${JSON.stringify(path)} is a ${inode.kind} with children`);
    if (!seen.has(inode)) bytes += inode.data.length;
    seen.add(inode);
  }
  check(bytes <= maxBytes, () => `${bytes} bytes in files, of at most ${maxBytes}`);
  const disk = writeErofs(tree, { epoch: 0 });
  check(disk.length % 4096 === 0 && disk.length < 4 * maxBytes + seen.size * 16_384 + 65_536, () => `a disk of ${disk.length} bytes for ${bytes} in ${seen.size} inodes`);
  if (!tools.fsck || ++trees % FSCK_EVERY !== 0) return;
  const file = join(workFolder(), 'checked.erofs');
  writeFileSync(file, disk);
  const { status, stderr, stdout } = spawnSync('fsck.erofs', ['--extract', file], { encoding: 'utf8' });
  check(status === 0, () => `fsck.erofs: ${stderr}${stdout}`);
}

/** The input as a layer, and once more as the next one; then what convert does with the tree. */
async function runTar(input: Uint8Array): Promise<void> {
  const tree = new Tree(0);
  const isRead = await succeeds(() => {
    const budget = { entries: MAX_ENTRIES, bytes: MAX_BYTES };
    applyLayer(tree, input, budget);
    applyLayer(tree, input, budget, false);
    check(budget.entries >= 0 && budget.bytes >= 0, () => JSON.stringify(budget));
  });
  await succeeds(() => {
    const [all, names] = [[...readTar(input, { sparse: { bytes: MAX_BYTES } })], [...readTar(input, { namesOnly: true })]];
    check(all.every(({ path, kind, link }, i) => path === names[i].path && kind === names[i].kind && link === names[i].link) && all.length === names.length, () => 'names alone are others');
  });
  if (!isRead) return;
  await succeeds(() => {
    findIdentity(tree, 'app:staff');
    prepareRoot(tree, { ...PLAIN_CONFIG, workdir: '/etc/a/b', volumes: ['/var/run/x', '/a'] });
    for (const path of ['proc', 'sys', 'dev', 'run', 'etc', 'etc/a/b', 'var/run/x', 'a']) check(tree.lookup(path)?.kind === 'directory', () => `${path} is no directory`);
    for (const path of ['etc/hosts', 'etc/hostname', 'etc/resolv.conf']) check(tree.lookup(path)?.kind === 'file', () => `${path} is no file`);
  });
  await succeeds(() => checkTree(tree, 2 * input.length + MAX_BYTES));
}

const pax = (...records: string[]): TarMember => ({
  path: 'pax', type: 'x', data: records.map((record) => {
    const rest = Buffer.byteLength(record) + 2;
    let len = rest + 1;
    while (String(len).length + rest !== len) len = String(len).length + rest;
    return `${len} ${record}\n`;
  }).join(''),
});

function oldSparse(): Uint8Array {
  const archive = tarOf([{ path: 'sparse', type: 'S', data: Buffer.alloc(BLOCK * 3, 'map and data ') }, { path: 'behind', data: 'x' }]);
  const octal = (value: number, at: number): void => void archive.write(value.toString(8).padStart(11, '0'), at);
  archive.write('ustar  \0', 257);
  for (let i = 0; i < 4; i++) for (const [k, value] of [i * 4096, 256].entries()) octal(value, 386 + 24 * i + 12 * k);
  archive[482] = 1;
  octal(65_536, 483);
  octal(6 * 256, 124);
  // The block behind the header goes on with the map; what was there is moved on.
  const more = Buffer.alloc(BLOCK);
  for (let i = 0; i < 2; i++) for (const [k, value] of [(i + 4) * 4096, 256].entries()) more.write(value.toString(8).padStart(11, '0'), 24 * i + 12 * k);
  return repaired(Buffer.concat([archive.subarray(0, BLOCK), more, archive.subarray(BLOCK)]));
}

function tarSeeds(): Record<string, Uint8Array> {
  const dir = (path: string): TarMember => ({ path: `${path}/`, type: '5', mode: 0o755 });
  return {
    'plain': tarOf([dir('.'), dir('./etc'), { path: './etc/passwd', data: 'root:x:0:0::/:/bin/sh\napp:x:5:6::/home:/bin/sh\n' }, { path: './a', data: 'a' }, { path: './b', type: '1', link: './a' }, { path: './c', type: '2', link: '../../etc' }, { path: './null', type: '3', major: 1, minor: 3 }, { path: './pipe', type: '6' }]),
    'links': tarOf([{ path: 'etc', type: '2', link: '/writable/etc' }, { path: 'etc/group', data: 'staff:x:50:\n' }, { path: 'x', type: '2', link: 'y' }, { path: 'y', type: '2', link: 'x' }, { path: 'run', type: '2', link: '../../var/run' }, { path: 'dev', type: '2', link: 'x' }, { path: 'etc/resolv.conf', type: '2', link: '../run/r' }]),
    'whiteouts': tarOf([dir('d'), { path: 'd/.wh..wh..opq' }, { path: 'd/new' }, { path: '.wh.a' }, { path: '.wh..wh.plnk/', type: '5' }, { path: '.wh..wh.plnk/12.3', data: 'x' }, { path: 'l', type: '1', link: '.wh..wh.plnk/12.3' }, { path: 'd/gone', type: '3', major: 0, minor: 0 }]),
    'estargz': tarOf([{ path: '.no.prefetch.landmark', data: '\x0f' }, { path: 'a', data: 'a' }, { path: 'stargz.index.json', data: '{"version":1,"entries":[]}' }]),
    'pax': tarOf([{ ...pax('comment=x'), type: 'g' }, pax(`path=${'long/'.repeat(30)}name`, 'mtime=-1.5', 'uid=4000000000', 'SCHILY.xattr.user.x=y', 'LIBARCHIVE.xattr.user.z=eQ', 'RHT.security.selinux=l'), { path: 'short', data: 'x' }, pax('linkpath=größe', 'path='), { path: 's', type: '2', link: 't' }]),
    'acl': tarOf([pax('SCHILY.acl.access=user::rw-,user:app:r--,user:7:r-x,group::r--,mask::r--,other::---', 'SCHILY.acl.default='), dir('a'), { path: 'etc/passwd', data: 'app:x:5:6:\n' }]),
    'gnu': tarOf([{ path: '././@LongLink', type: 'L', data: `${'n'.repeat(150)}\0` }, { path: '././@LongLink', type: 'K', data: `${'t'.repeat(150)}\0` }, { path: 'n', type: '2', link: 't' }, { path: 'label', type: 'V' }, { path: 'dumped/', type: 'D', data: 'Yx\0Dy\0\0' }]),
    'sparse-old': oldSparse(),
    'sparse-0': tarOf([pax('GNU.sparse.size=9000', 'GNU.sparse.numblocks=2', 'GNU.sparse.offset=0', 'GNU.sparse.numbytes=5', 'GNU.sparse.offset=8000', 'GNU.sparse.numbytes=3'), { path: 'zero', data: 'fiveand' }, pax('GNU.sparse.size=9000', 'GNU.sparse.numblocks=1', 'GNU.sparse.map=100,4', 'GNU.sparse.name=one'), { path: 'GNUSparseFile.0/one', data: 'four' }]),
    'sparse-1': tarOf([pax('GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.name=name', 'GNU.sparse.realsize=70000'), { path: 'GNUSparseFile.0/name', data: `${'2\n0\n4\n65536\n4\n'.padEnd(BLOCK, '\0')}fourmore` }]),
    'body-of-a-link': tarOf([{ path: 'a', data: 'contents' }, { path: 'b', type: '1', link: 'a', data: 'contents' }, { path: 'c', data: 'c' }]),
  };
}

const NAMES = ['..', '../x', '/', '.', './', '', 'a', 'a/', 'a/../b', '/etc/passwd', 'etc', 'etc/passwd', 'run/', '.wh.a', '.wh..wh..opq', '.wh..wh.plnk/1', 'd/.wh.x', 'stargz.index.json', 'x/y/z', 'b', 'proc', 'etc/resolv.conf', '\xff\xfe', '\xef\xbb\xbfx', 'n'.repeat(100)];
const RECORDS = ['path=..', 'path=', 'path=a/b', 'linkpath=/etc', 'size=0', 'size=99999999999', 'size=-1', 'uid=-1', 'gid=4294967295', 'mtime=-0.5', 'mtime=99999999999999', 'GNU.sparse.realsize=999999999', 'GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.map=0,1,2', 'GNU.sparse.size=5', 'GNU.volume.offset=5', 'GNU.dumpdir=Nx', 'SCHILY.devmajor=5000', 'SCHILY.realsize=7', 'SCHILY.acl.access=user:x:rwx', 'SCHILY.xattr.trusted.overlay.opaque=y', 'SCHILY.xattr.trusted.overlay.redirect=/x', `SCHILY.xattr.user.long=${'v'.repeat(5000)}`, 'SCHILY.xattr.=x', 'LIBARCHIVE.xattr.user.%00=eQ'];
const TYPES = ['0', '\0', '1', '2', '3', '4', '5', '6', '7', 'x', 'g', 'X', 'L', 'K', 'S', 'D', 'M', 'V', 'A'];

/** Where headers are, as their own sizes say. */
function headersOf(archive: Uint8Array): number[] {
  const found: number[] = [];
  for (let off = 0; off + BLOCK <= archive.length;) {
    found.push(off);
    const size = parseInt(Buffer.from(archive.subarray(off + 124, off + 135)).toString('latin1'), 8);
    off += BLOCK + (size > 0 && size < archive.length ? Math.ceil(size / BLOCK) * BLOCK : 0);
  }
  return found;
}

/** Checksums as they should be: without them no mutation gets anywhere. */
function repaired(archive: Uint8Array): Uint8Array {
  for (const off of headersOf(archive)) {
    const header = archive.subarray(off, off + BLOCK);
    if (header.every((byte) => byte === 0)) continue;
    header.fill(0x20, 148, 156);
    header.set(Buffer.from(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0`), 148);
  }
  return archive;
}

function mutateTar(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  let archive = Uint8Array.from(input);
  for (let count = chance.oneIn(4) ? 1 + chance.below(5) : 1; count > 0; count--) archive = mutateMember(archive, other, chance);
  return chance.oneIn(12) ? archive : Uint8Array.from(repaired(archive));
}

function mutateMember(archive: Uint8Array<ArrayBuffer>, other: Uint8Array, chance: Chance): Uint8Array<ArrayBuffer> {
  const headers = headersOf(archive);
  if (headers.length === 0) return Uint8Array.from(mutateBytes(archive, other, chance));
  const at = chance.pick(headers);
  const next = headers.find((off) => off > at) ?? archive.length;
  const put = (off: number, len: number, text: string): Uint8Array<ArrayBuffer> => {
    archive.fill(0, at + off, at + off + len);
    archive.set(Buffer.from(text, 'latin1').subarray(0, len), at + off);
    return archive;
  };
  const [field, len] = chance.pick([[100, 8], [108, 8], [116, 8], [124, 12], [136, 12], [329, 8], [337, 8], [386, 12], [398, 12], [410, 12], [483, 12]] as const);
  switch (chance.below(12)) {
    case 0: return put(156, 1, chance.pick(TYPES));
    case 1: return put(0, 100, chance.pick(NAMES));
    case 2: return put(157, 100, chance.pick(NAMES));
    case 3: return put(field, len, chance.edge(chance.pick([1, 2, 4])).toString(8));
    case 4: {
      // base-256, of either sign
      archive[at + field] = chance.pick([0x80, 0xff, 0x80, 0x81]);
      archive.set(chance.bytes(chance.below(len)), at + field + 1);
      return archive;
    }
    case 5: return put(257, 8, chance.pick(['ustar\x0000', 'ustar  \0', '']));
    case 6: return Uint8Array.from(Buffer.concat([archive.subarray(0, at), tarOf([{ ...pax(chance.pick(RECORDS), ...(chance.oneIn(2) ? [chance.pick(RECORDS)] : [])), type: chance.oneIn(6) ? 'g' : 'x' }]).subarray(0, -1024), archive.subarray(at)]));
    case 7: return Uint8Array.from(Buffer.concat([archive.subarray(0, at), archive.subarray(next)]));
    case 8: {
      const from = headersOf(other);
      const start = from.length === 0 ? 0 : chance.pick(from);
      return Uint8Array.from(Buffer.concat([archive.subarray(0, at), other.subarray(start, start + BLOCK * (1 + chance.below(4))), archive.subarray(at)]));
    }
    case 9: return Uint8Array.from(mutateBytes(archive, other, chance));
    case 10: {
      const data = mutateBytes(archive.subarray(at + BLOCK, next), other, chance);
      archive.set(data.subarray(0, next - at - BLOCK), at + BLOCK);
      return archive;
    }
    default: return chance.oneIn(4) ? archive.slice(0, next) : put(482, 1, '\x01');
  }
}

// ---- documents: images' and registries'

/** In documents: @NAME is the digest of the part of that name, #NAME its length, %NAME the 64 digits of its digest. */
function filledIn(text: string, parts: Map<string, Uint8Array>): string {
  return text.replace(/([@#%])(index|manifest|config|layer)\b/g, (whole, mark: string, name: string) => {
    const bytes = parts.get(name);
    if (bytes === undefined) return whole;
    if (mark === '#') return String(bytes.length);
    const digits = createHash('sha256').update(bytes).digest('hex');
    return mark === '%' ? digits : `sha256:${digits}`;
  });
}

const TEXTS = ['""', '"x"', '"@layer"', '"@config"', '"@manifest"', '"sha256:../../x"', '"../../../etc/passwd"', '"\\u0000"', '"\\udc80"', '"/"', '"application/vnd.oci.image.index.v1+json"', '"unknown"', '"\\u001b[2J"', '0', '-1', '1e309', '1.5', '4294967296', '#layer', 'null', 'true', '{}', '[]', '[[]]', '{"a":{}}'];

/** Replaces a word of JSON by another, or one of another document: the rest stays a document. */
function mutateDocument(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  let text = Buffer.from(input).toString('latin1');
  for (let count = 1 + chance.below(3); count > 0; count--) {
    if (chance.oneIn(4)) {
      text = Buffer.from(mutateBytes(Buffer.from(text, 'latin1'), other, chance)).toString('latin1');
      continue;
    }
    const words = [...text.matchAll(/"[^"\n]*"|[@#%]?[\w.-]+|[{}[\]]/g)];
    const others = [...Buffer.from(other).toString('latin1').matchAll(/"[^"\n]*"|[\w.-]+/g)];
    if (words.length === 0) continue;
    const { index, 0: word } = chance.pick(words);
    const by = chance.oneIn(3) && others.length > 0 ? chance.pick(others)[0] : chance.oneIn(6) ? '' : chance.oneIn(6) ? `${word},${word}` : chance.pick(TEXTS);
    text = text.slice(0, index) + by + text.slice(index + word.length);
  }
  return Uint8Array.from(Buffer.from(text, 'latin1').subarray(0, 16_384));
}

const SEPARATOR = '\n====\n';
const LAYER = tarOf([{ path: 'bin/sh', data: Buffer.concat([Buffer.from('\x7fELF\x02\x01\x01', 'latin1'), Buffer.alloc(11), Buffer.of(243, 0), Buffer.alloc(44)]), mode: 0o755 }, { path: 'etc/passwd', data: 'app:x:5:6::/home/app:/bin/sh\n' }]);

const INDEX_TEXT = '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"@manifest","size":#manifest,"platform":{"os":"linux","architecture":"riscv64"},"annotations":{"org.opencontainers.image.ref.name":"tag"}}]}';
const MANIFEST_TEXT = '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"@config","size":#config},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"@layer","size":#layer}]}';
const CONFIG_TEXT = '{"os":"linux","architecture":"riscv64","config":{"Entrypoint":["sh"],"Cmd":["-c","x"],"Env":["A=b","PATH=/bin"],"User":"app","WorkingDir":"/w","ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["@layer"]}}';
const DOCKER_TEXT = '[{"Config":"%config.json","RepoTags":["registry.example/x:tag"],"Layers":["%layer/layer.tar"]}]';

/** Scheme and documents of an image in an archive, which openSource and makeDisk get as a file. */
async function runImage(input: Uint8Array): Promise<void> {
  const [scheme = '', indexText = '', manifestText = '', configText = '', dockerText = ''] = Buffer.from(input).toString('utf8').split(SEPARATOR);
  const parts = new Map<string, Uint8Array>([['layer', LAYER]]);
  for (const [name, text] of [['config', configText], ['manifest', manifestText], ['index', indexText]] as const) parts.set(name, Buffer.from(filledIn(text, parts)));
  const digits = (name: string): string => filledIn(`%${name}`, parts);
  const file = join(mkdtempSync(join(workFolder(), 'image-')), 'x.tar');
  const here = join(file, '..');
  const members: TarMember[] = scheme.startsWith('docker')
    ? [{ path: 'manifest.json', data: filledIn(dockerText, parts) }, { path: `${digits('config')}.json`, data: parts.get('config')! }, { path: `${digits('layer')}/layer.tar`, data: LAYER }]
    : [{ path: 'oci-layout', data: '{"imageLayoutVersion":"1.0.0"}' }, { path: 'index.json', data: parts.get('index')! }, ...['index', 'manifest', 'config', 'layer'].map((name) => ({ path: `blobs/sha256/${digits(name)}`, data: parts.get(name)! }))];
  // Long names are cut by the header: what is looked up is not there then, which is an error like others.
  writeFileSync(file, tarOf(members.map((member) => ({ ...member, path: member.path.slice(0, 100) }))));
  const options = { source: `${scheme === 'path' ? '' : 'oci-archive:'}${file}`, out: '', name: null, memoryMiB: 128, platform: RISCV, plainHttp: false, credentials: null, maxBytes: MAX_BYTES, maxEntries: MAX_ENTRIES, blobDir: here, report: () => undefined };
  if (scheme.startsWith('docker')) options.source = `docker-archive:${file}`;
  const isMade = await succeeds(async () => {
    const image = await openSource(options.source, options);
    await makeDisk(image, 'fuzz', join(here, 'disk'), options);
  });
  const left = readdirSync(here).toSorted();
  check(left.every((name) => ['disk', 'x.tar'].includes(name)) && (!isMade || left.includes('disk')), () => `left: ${left.join()}`);
  rmSync(here, { recursive: true });
}

// ---- registries

const HOME = 'registry.example:5000';
const SECRET = 'user:secret-of-mine';
const TOKEN = 'token-of-mine';

/** One answer: status, headers, body. Bodies: a document with its digests filled in, or one of these. */
const REGISTRY_SEEDS: Record<string, string[]> = {
  'open': ['200\n\n@@manifest', '200\n\n@@config', '200\n\n@@layer'],
  'token': ['401\nwww-authenticate: Bearer realm="https://auth.example/token",service="s",scope="repository:x:pull"\n\nno', `200\n\n{"token":"${TOKEN}"}`, '200\n\n@@index', '200\n\n@@manifest', '200\n\n@@config', '302\nlocation: https://cdn.example/blob?x=1\n\nmoved', '200\ncontent-length: #layer\n\n@@layer'],
  'basic': ['401\nwww-authenticate: Basic realm="x"\n\n', '200\ndocker-content-digest: @manifest\n\n@@manifest', '200\n\n@@config', '200\n\n@@half', '206\ncontent-range: bytes 1024-2047/2048\n\n@@rest'],
  'broken': ['200\n\n@@manifest', '200\n\n@@config', '200\n\n@@cut', '500\n\n{"errors":[{"message":"no"}]}', '416\n\n', '200\n\n@@endless'],
  'refused': ['404\n\n{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}'],
};

/** Headers and documents by their marks, the script's bodies as a stream that may never end or break off. */
function answerOf(text: string, parts: Map<string, Uint8Array>): IncomingMessage {
  const [head, ...rest] = text.split('\n\n');
  const [status, ...lines] = head.split('\n');
  const body = rest.join('\n\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    // As Node's parser has them: names in small letters, no control characters in values.
    if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = filledIn(line.slice(colon + 1).trim(), parts).replace(/[^\x20-\x7e\x80-\xff]/g, '');
  }
  const isEndless = body.startsWith('@@endless');
  const stream = new Readable({ read() { if (isEndless) setImmediate(() => this.push(Buffer.alloc(65_536))); } });
  const known = /^@@(index|manifest|config|layer)$/.exec(body);
  if (known !== null) stream.push(parts.get(known[1])!);
  else if (body.startsWith('@@half')) stream.push(LAYER.subarray(0, 1024));
  else if (body.startsWith('@@rest')) stream.push(LAYER.subarray(1024));
  else if (body.startsWith('@@cut')) stream.push(LAYER.subarray(0, 700));
  else if (!isEndless && body !== '') stream.push(Buffer.from(filledIn(body, parts)));
  if (body.startsWith('@@cut')) setImmediate(() => stream.destroy(new Error('aborted')));
  else if (!isEndless) stream.push(null);
  return Object.assign(stream, { statusCode: Number(/^\d{3}/.exec(status)?.[0] ?? 200), headers }) as unknown as IncomingMessage;
}

async function runRegistry(input: Uint8Array): Promise<void> {
  const parts = new Map<string, Uint8Array>([['layer', LAYER]]);
  for (const [name, text] of [['config', CONFIG_TEXT], ['manifest', MANIFEST_TEXT], ['index', INDEX_TEXT]] as const) parts.set(name, Buffer.from(filledIn(text, parts)));
  const answers = Buffer.from(input).toString('latin1').split(SEPARATOR).slice(0, 40);
  const blobDir = mkdtempSync(join(workFolder(), 'blobs-'));
  const open: IncomingMessage[] = [];
  let asked = 0;
  const send = async (url: URL, headers: HttpHeaders): Promise<IncomingMessage> => {
    check(++asked < 400, () => `${asked} requests`);
    check(url.protocol === 'https:', () => `${url.href} is asked`);
    const { authorization = '' } = headers;
    // A password is for the registry and for the token server that it names, a token for the registry alone.
    check(authorization === '' || url.host === HOME || authorization.startsWith('Basic '), () => `${url.host} gets ${authorization}`);
    check(!url.href.includes('secret-of-mine'), () => `${url.href} has the password`);
    const text = answers.shift();
    if (text === undefined || text === '') throw new HttpFailure('the script has no more answers', 0);
    const answer = answerOf(text, parts);
    open.push(answer);
    return answer;
  };
  let image: ContainerImage | null = null;
  const isRead = await succeeds(async () => {
    image = await openRegistry(parseReference(`${HOME}/x:tag`), { platform: RISCV, plainHttp: false, credentials: SECRET, blobDir, maxBytes: 100_000, report: () => undefined, send });
    for (const [i, layer] of image.layers.entries()) {
      const bytes = await unpackLayer(await layer.read(), image.config.diffIds?.[i], { entries: 100, bytes: 100_000 }, 'x');
      check(Buffer.compare(bytes, LAYER) === 0, () => 'a layer that is not the layer');
    }
  });
  check(!isRead || image !== null, () => 'no image');
  // Bodies were taken to their end, or let go: none is read on behind the result.
  await new Promise((resolve) => setImmediate(resolve));
  check(open.every((message) => message.destroyed || message.readableEnded || !message.readableFlowing), () => 'a body that goes on');
  for (const message of open) message.destroy();
  const left = readdirSync(blobDir);
  check(left.every((name) => /^sha256-[0-9a-f]{64}(\.part)?$/.test(name)), () => `left: ${left.join()}`);
  await (image as ContainerImage | null)?.forget?.();
  rmSync(blobDir, { recursive: true });
}

// ---- compressed data

let unpackings = 0;

async function runCompressed(input: Uint8Array): Promise<void> {
  const compression = compressionOf(input);
  // Those that programs unpack are their programs' concern.
  if (!['gzip', 'xz', 'zstd', 'none'].includes(compression)) return;
  let unpacked: Uint8Array | null = null;
  await succeeds(async () => {
    unpacked = await decompress(input, { maxBytes: MAX_BYTES, native: false });
  });
  const result = unpacked as Uint8Array | null;
  if (result === null || compression === 'none') return;
  check(result.length <= MAX_BYTES, () => `${result.length} bytes`);
  const tool = compression === 'zstd' ? tools.zstd : compression === 'gzip' && tools.gzip;
  if (!tool || ++unpackings % TOOL_EVERY !== 0) return;
  const { stdout, status, stderr } = spawnSync(compression, ['-dc'], { input, maxBuffer: 2 * MAX_BYTES });
  // gzip's 2: it warns of what is behind the end.
  check((status === 0 || (status === 2 && compression === 'gzip')) && stdout.equals(result), () => `${compression} has ${stdout.length} bytes (${stderr.toString().trim()}), and here there are ${result.length}`);
}

/** A frame of raw and repeated blocks, single segment, without a checksum. */
function zstdFrame(contents: string, repeated: number): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(contents.length + repeated);
  const block = (type: number, len: number, isLast: boolean): Buffer => {
    const head = (len << 3) | (type << 1) | (isLast ? 1 : 0);
    return Buffer.of(head & 0xff, (head >> 8) & 0xff, head >> 16);
  };
  return Buffer.concat([Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0), size, block(0, contents.length, false), Buffer.from(contents), block(1, repeated, true), Buffer.of(0x7a)]);
}

/** "portside " twenty times, by zstd 1.5.4 with --check and by xz 5.4: not made here, as others would make others. */
const ZSTD_CHECKED = Buffer.from('KLUv/QRYhQAASHBvcnRzaWRlIAEAKFLlCMj5rUA=', 'base64');
const XZ = Buffer.from('/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4ACzABBdADgbyqwhrx/FSTcqXvowAAAAs/KyeAABKLQBAAAAN5pRdT4wDYsCAAAAAAFZWg==', 'base64');

function compressedSeeds(): Record<string, Uint8Array> {
  const skippable = Buffer.concat([Buffer.of(0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0), Buffer.from('note')]);
  // Stored, so that every zlib makes the same of it.
  const stored = Uint8Array.from(gzipSync('stored by gzip', { level: 0 }));
  stored[9] = 3;
  return {
    'zstd': Uint8Array.from(zstdFrame('portside', 1000)),
    'zstd-checked': Uint8Array.from(ZSTD_CHECKED),
    'zstd-frames': Uint8Array.from(Buffer.concat([skippable, zstdFrame('a', 2), skippable, zstdFrame('b', 100_000), skippable])),
    'zstd-bomb': Uint8Array.from(Buffer.concat(Array.from({ length: 60 }, () => zstdFrame('x', 131_072)))),
    'zstd-window': Uint8Array.from(Buffer.concat(Array.from({ length: 30 }, () => Buffer.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00)))),
    'xz': Uint8Array.from(XZ),
    'xz-streams': Uint8Array.from(Buffer.concat([XZ, Buffer.alloc(4), XZ])),
    'gzip': stored,
    'gzip-members': Uint8Array.from(Buffer.concat([stored, stored])),
  };
}

export const ARCHIVE_TARGETS: readonly FuzzTarget[] = [
  { name: 'tar', seeds: () => Object.fromEntries(Object.entries(tarSeeds()).map(([name, bytes]) => [name, Uint8Array.from(bytes)])), mutate: mutateTar, run: runTar },
  {
    name: 'oci', mutate: mutateDocument, run: runImage,
    seeds: () => Object.fromEntries(['oci', 'docker', 'path'].map((scheme) => [scheme, Uint8Array.from(Buffer.from([scheme, INDEX_TEXT, MANIFEST_TEXT, CONFIG_TEXT, DOCKER_TEXT].join(SEPARATOR)))])),
  },
  {
    name: 'registry', mutate: mutateDocument, run: runRegistry,
    seeds: () => Object.fromEntries(Object.entries(REGISTRY_SEEDS).map(([name, answers]) => [name, Uint8Array.from(Buffer.from(answers.join(SEPARATOR), 'latin1'))])),
  },
  { name: 'compressed', seeds: compressedSeeds, run: runCompressed },
];
