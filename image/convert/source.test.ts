/* Sources in files: layouts, archives, platforms, and all that can be wrong with them. Real tools' output is read in convert.test.ts. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ImageBuildError } from '../image-error.ts';
import { BlobShelf, INDEX, tarOf } from './fixture.ts';
import { unpackLayer, type ContainerImage } from './oci.ts';
import { openSource } from './source.ts';

let dir: string;
let count = 0;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-source-')); });
afterAll(() => rmSync(dir, { recursive: true }));

const RISCV = { os: 'linux', architecture: 'riscv64', variant: null };
const LAYER = tarOf([{ path: 'a', data: 'hello' }]);
const open = (source: string, platform = RISCV): Promise<ContainerImage> =>
  openSource(source, { platform, plainHttp: false, credentials: null, blobDir: join(dir, 'blobs'), maxBytes: 1e6, report: () => undefined });

/** A layout in a folder of its own; returns its path. */
function layout(shelf: BlobShelf, index: unknown): string {
  const path = join(dir, `layout-${count++}`);
  mkdirSync(join(path, 'blobs/sha256'), { recursive: true });
  writeFileSync(join(path, 'index.json'), typeof index === 'string' ? index : JSON.stringify(index));
  for (const [digest, bytes] of shelf.blobs) writeFileSync(join(path, 'blobs', digest.replace(':', '/')), bytes);
  return path;
}

function archive(files: Record<string, Uint8Array | string>): string {
  const path = join(dir, `archive-${count++}.tar`);
  writeFileSync(path, tarOf(Object.entries(files).map(([name, data]) => ({ path: name, data }))));
  return path;
}

async function firstLayer(image: ContainerImage): Promise<string> {
  const bytes = await unpackLayer(await image.layers[0].read(), image.config.diffIds?.[0], { entries: 1, bytes: 1e6 }, 'layer');
  return Buffer.from(bytes).toString('latin1', 512, 517);
}

describe('an OCI layout', () => {
  test('layers plain, gzip and zstd (by Node or by the library), as a folder and as an archive', async () => {
    const zstd = (bytes: Uint8Array): Uint8Array => execFileSync('zstd', ['-q', '-c', '--check', '-19'], { input: bytes });
    for (const [pack, suffix] of [[(x: Uint8Array) => x, ''], [gzipSync, '+gzip'], [zstd, '+zstd']] as const) {
      const shelf = new BlobShelf();
      const path = layout(shelf, { schemaVersion: 2, manifests: [shelf.addImage({}, [LAYER], pack, suffix)] });
      for (const [digest, bytes] of shelf.blobs) writeFileSync(join(path, 'blobs', digest.replace(':', '/')), bytes);
      expect(await firstLayer(await open(`oci:${path}`)), suffix).toBe('hello');
      execFileSync('tar', ['-C', path, '-czf', `${path}.tar`, '.']);
      expect(await firstLayer(await open(`oci-archive:${path}.tar`)), suffix).toBe('hello');
    }
  });

  test('one of several: by tag, by platform, through an index', async () => {
    const shelf = new BlobShelf();
    const amd64 = shelf.addImage({ architecture: 'amd64' }, [tarOf([{ path: 'a', data: 'amd64' }])]);
    const riscv64 = shelf.addImage({}, [LAYER]);
    const both = shelf.addJson({ schemaVersion: 2, manifests: [{ ...amd64, platform: { os: 'linux', architecture: 'amd64' } }, { ...riscv64, platform: RISCV }, { ...amd64, platform: { os: 'unknown', architecture: 'unknown' } }] }, INDEX);
    const ref = (name: string): object => ({ annotations: { 'org.opencontainers.image.ref.name': name } });
    const path = layout(shelf, { schemaVersion: 2, manifests: [{ ...amd64, ...ref('old') }, { ...riscv64, ...ref('new') }, { ...both, ...ref('both') }] });
    expect(await firstLayer(await open(`oci:${path}:new`))).toBe('hello');
    expect(await firstLayer(await open(`oci:${path}:both`))).toBe('hello');
    expect(await firstLayer(await open(`oci:${path}:old`, { ...RISCV, architecture: 'amd64' }))).toBe('amd64');
    await expect(open(`oci:${path}`)).rejects.toThrow(/has 3 images: name one behind a colon \("old", "new", "both"\)/);
    await expect(open(`oci:${path}:gone`)).rejects.toThrow(/no image "gone"; there is "old"/);
    await expect(open(`oci:${path}:old`)).rejects.toThrow(/made for linux\/amd64, not for linux\/riscv64, which Portside's machine runs\. Choose a tag .*--platform linux\/amd64$/);
    const onlyAmd64 = shelf.addJson({ schemaVersion: 2, manifests: [{ ...amd64, platform: { os: 'linux', architecture: 'amd64' } }, { ...amd64, platform: { os: 'linux', architecture: 'arm64' } }] }, INDEX);
    await expect(open(`oci:${layout(shelf, { manifests: [onlyAmd64] })}`)).rejects.toThrow(/made for linux\/amd64, linux\/arm64/);
  });

  test('a bad digest, a cut blob, a wrong diff id: nothing of it is believed', async () => {
    const shelf = new BlobShelf();
    const manifest = shelf.addImage({}, [LAYER], gzipSync, '+gzip');
    const path = layout(shelf, { manifests: [manifest] });
    const layerDigest = [...shelf.blobs].find(([, bytes]) => bytes[0] === 0x1f)![0];
    const file = join(path, 'blobs', layerDigest.replace(':', '/'));
    writeFileSync(file, shelf.blobs.get(layerDigest)!.map((byte, i) => (i === 20 ? byte ^ 1 : byte)));
    await expect(firstLayer(await open(`oci:${path}`))).rejects.toThrow(/does not have the digest/);
    writeFileSync(file, shelf.blobs.get(layerDigest)!.subarray(0, 30));
    await expect(firstLayer(await open(`oci:${path}`))).rejects.toThrow(/cut off/);
    rmSync(file);
    await expect(firstLayer(await open(`oci:${path}`))).rejects.toThrow(/no such file/);
    const other = new BlobShelf();
    const lies = other.addImage({ rootfs: { type: 'layers', diff_ids: [`sha256:${'0'.repeat(64)}`] } }, [LAYER]);
    await expect(firstLayer(await open(`oci:${layout(other, { manifests: [lies] })}`))).rejects.toThrow(/uncompressed, does not have the digest/);
  });

  test('broken documents are one clear line each', async () => {
    const blob = { mediaType: '', digest: `sha256:${'a'.repeat(64)}`, size: 1 };
    const documents: unknown[] = ['', '[', '[]', {}, { manifests: [] }, { manifests: 1 }, { manifests: [1] }, { manifests: [{ digest: 'sha256:../../etc/passwd', size: 1 }] }, { manifests: [{ ...blob, size: -1 }] }, { manifests: [{ ...blob, size: 1e12 }] }, { manifests: [blob] }, { manifests: [{ ...blob, digest: 'md5:00' }] }];
    for (const index of documents) {
      const failure = await open(`oci:${layout(new BlobShelf(), index)}`).catch((error: Error) => error);
      expect(failure, JSON.stringify(index)).toBeInstanceOf(ImageBuildError);
      expect((failure as Error).message).not.toContain('\n');
    }
    const shelf = new BlobShelf();
    for (const manifest of [{ schemaVersion: 1 }, { config: blob }, { config: blob, layers: {} }, { config: blob, layers: [{ ...blob, mediaType: 'text/html' }] }, { config: { ...blob, size: 1e10 }, layers: [] }, { schemaVersion: 2, config: shelf.addJson([], ''), layers: [] }]) {
      await expect(open(`oci:${layout(shelf, { manifests: [shelf.addJson(manifest, '')] })}`), JSON.stringify(manifest)).rejects.toThrow(ImageBuildError);
    }
  });

  test('an index that holds itself ends', async () => {
    const shelf = new BlobShelf();
    let inner = shelf.addImage({}, [LAYER]);
    for (let i = 0; i < 8; i++) inner = shelf.addJson({ manifests: [{ ...inner, platform: RISCV }] }, INDEX);
    await expect(open(`oci:${layout(shelf, { manifests: [inner] })}`)).rejects.toThrow(/without an end/);
  });

  test('a pipe in a layout is not opened', async () => {
    const path = layout(new BlobShelf(), '{}');
    rmSync(join(path, 'index.json'));
    execFileSync('mkfifo', [join(path, 'index.json')]);
    await expect(open(`oci:${path}`)).rejects.toThrow(/is not a file/);
  });
});

describe('a docker-archive', () => {
  const config = JSON.stringify({ os: 'linux', architecture: 'riscv64' });

  test('tags; a layer that is a link to another; names that lead out', async () => {
    const manifest = (layer: string): string => JSON.stringify([{ Config: 'c.json', RepoTags: ['registry.example/x:1'], Layers: [layer] }, { Config: 'c.json', RepoTags: null, Layers: [] }]);
    const file = join(dir, 'linked.tar');
    const members = (layer: string): Parameters<typeof tarOf>[0] => [
      { path: 'c.json', data: config }, { path: 'one/layer.tar', data: LAYER }, { path: 'two/layer.tar', type: '2', link: '../one/layer.tar' }, { path: 'loop', type: '2', link: 'loop' }, { path: 'out', type: '2', link: '../../../etc/passwd' }, { path: 'manifest.json', data: manifest(layer) },
    ];
    writeFileSync(file, tarOf(members('two/layer.tar')));
    expect(await firstLayer(await open(`docker-archive:${file}:registry.example/x:1`))).toBe('hello');
    expect(await firstLayer(await open(`docker-archive:${file}:x:1`))).toBe('hello');
    await expect(open(`docker-archive:${file}`)).rejects.toThrow(/has 2 images/);
    for (const layer of ['loop', 'out', '/etc/passwd', '../../etc/passwd', 'none']) {
      writeFileSync(file, tarOf(members(layer)));
      await expect(firstLayer(await open(`docker-archive:${file}:x:1`)), layer).rejects.toThrow(/has no/);
    }
  });

  test('a configuration that is not what its name says; archives of something else; cut ones', async () => {
    const named = `${'0'.repeat(64)}.json`;
    await expect(open(`docker-archive:${archive({ 'manifest.json': JSON.stringify([{ Config: named, Layers: [] }]), [named]: config })}`)).rejects.toThrow(/digest/);
    await expect(open(`docker-archive:${archive({ x: 'y' })}`)).rejects.toThrow(/has no "manifest.json"/);
    for (const manifest of ['', '{}', '[]', '[1]', '[{}]', '[{"Config":1}]', '[{"Config":"c"}]', '1]}, {"images":[']) {
      await expect(open(`docker-archive:${archive({ 'manifest.json': manifest, c: config })}`), manifest).rejects.toThrow(ImageBuildError);
    }
    const whole = tarOf([{ path: 'manifest.json', data: JSON.stringify([{ Config: 'c', Layers: ['l'] }]) }, { path: 'c', data: config }, { path: 'l', data: LAYER }]);
    for (let end = 0; end < whole.length - 1024; end += 300) {
      const file = join(dir, 'cut.tar');
      writeFileSync(file, whole.subarray(0, end));
      await expect(open(`docker-archive:${file}`).then(firstLayer), `${end}`).rejects.toThrow(ImageBuildError);
    }
  });
});

test('a root: plain or compressed; a bomb stops at the limit', async () => {
  for (const [name, bytes] of [['r.tar', LAYER], ['r.tgz', gzipSync(LAYER)]] as const) {
    writeFileSync(join(dir, name), bytes);
    expect(await firstLayer(await open(join(dir, name)))).toBe('hello');
  }
  const bomb = gzipSync(Buffer.alloc(50e6));
  const zstdBomb = execFileSync('zstd', ['-q', '-c'], { input: Buffer.alloc(50e6) });
  for (const bytes of [bomb, zstdBomb]) await expect(unpackLayer(bytes, undefined, { entries: 1, bytes: 1e6 }, 'x')).rejects.toThrow(/--max-size/);
  const budget = { entries: 1, bytes: LAYER.length + 10 };
  await unpackLayer(LAYER, undefined, budget, 'x');
  await expect(unpackLayer(LAYER, undefined, budget, 'x')).rejects.toThrow(/--max-size/);
});

test('a path: what is in the archive says what it is, compressed or not', async () => {
  const shelf = new BlobShelf();
  const inLayout = layout(shelf, { schemaVersion: 2, manifests: [shelf.addImage({ config: { Cmd: ['oci'] } }, [LAYER])] });
  writeFileSync(join(inLayout, 'oci-layout'), '{}');
  execFileSync('tar', ['-C', inLayout, '-cf', join(dir, 'any-oci.tar'), '.']);
  const config = JSON.stringify({ os: 'linux', architecture: 'riscv64', config: { Cmd: ['docker'] } });
  const docker = tarOf([{ path: 'c.json', data: config }, { path: 'l.tar', data: LAYER }, { path: 'manifest.json', data: JSON.stringify([{ Config: 'c.json', Layers: ['l.tar'] }]) }]);
  writeFileSync(join(dir, 'any-docker.tar.gz'), gzipSync(docker));
  // A root may have files of those names, too.
  writeFileSync(join(dir, 'any-root.tar'), tarOf([{ path: 'hello', data: 'hello' }, { path: 'manifest.json', data: '[]' }, { path: 'oci-layout' }, { path: 'index.json' }, { path: 'usr/bin/x' }]));
  for (const [name, cmd] of [['any-oci.tar', 'oci'], ['any-docker.tar.gz', 'docker'], ['any-root.tar', '/bin/sh']]) {
    const image = await open(join(dir, name));
    expect([name, image.config.cmd, await firstLayer(image)]).toEqual([name, [cmd], 'hello']);
  }
  await expect(open(`rootfs:${join(dir, 'any-oci.tar')}`)).resolves.toMatchObject({ config: { cmd: ['/bin/sh'] } });
  for (const bytes of [docker.subarray(0, 1300), gzipSync(docker).subarray(0, 100)]) {
    writeFileSync(join(dir, 'any-cut.tar'), bytes);
    await expect(open(join(dir, 'any-cut.tar'))).rejects.toThrow(/any-cut\.tar: .*(cut off|unexpected end)/);
  }
  writeFileSync(join(dir, 'any-bomb.tar.gz'), gzipSync(Buffer.alloc(50e6)));
  await expect(open(join(dir, 'any-bomb.tar.gz'))).rejects.toThrow(/--max-size/);
});

test('an archive of an image has no more files than that', async () => {
  const file = archive({ 'manifest.json': '[]', ...Object.fromEntries(Array.from({ length: 65_536 }, (_, i) => [`${i}`, ''])) });
  await expect(open(`docker-archive:${file}`)).rejects.toThrow(/more files/);
});

describe('what is no image', () => {
  const MODULE = Buffer.from('\0asm\x01\0\0\0', 'latin1');
  const file = (name: string, bytes: Uint8Array | string): string => {
    writeFileSync(join(dir, name), bytes);
    return join(dir, name);
  };

  test('is named, and what takes it; whatever the scheme, and in what it is packed', async () => {
    const iso = Buffer.alloc(40_000);
    iso.write('CD001', 32_769);
    const ext4 = Buffer.alloc(4096);
    ext4.writeUInt16LE(0xef53, 1080);
    for (const [name, bytes, text] of [
      ['some.wasm', MODULE, /some\.wasm is a WebAssembly module, no container image: .*portside run some\.wasm starts it/], ['disk.qcow2', Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), /is a qcow2 disk, no container image: it belongs to a virtual machine \(portside listen/],
      ['live.iso', iso, /is an ISO image/], ['root.ext4', ext4, /is an ext2, ext3 or ext4 file system.*tar -C MOUNTPOINT/], ['root.sqfs', 'hsqs\0\0', /unsquashfs root\.sqfs/], ['app.zip', 'PK\x03\x04\0', /is a ZIP archive, no container image: unpack it/],
      ['login.tar', '<!doctype html><title>Sign in</title>', /is a web page/], ['manifest.tar', '{"schemaVersion":2,"layers":[]}', /is the manifest of a container image, which only names its layers.*: convert takes the image itself/], ['empty.tar', '', /is an empty file/],
      ['random.bin', Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * i * 7) >> 3)), /is no tar archive, and nothing else that is known here: convert takes/],
    ] as const) {
      const path = file(name, bytes);
      for (const source of [path, `docker-archive:${path}`, `oci-archive:${path}`, `rootfs:${path}`]) {
        const failure = await open(source).then(async (image) => unpackLayer(await image.layers[0].read(), undefined, { entries: 1, bytes: 1e6 }, image.layers[0].label)).catch((error: Error) => error);
        expect((failure as Error).message, source).toMatch(text);
        expect(failure).toBeInstanceOf(ImageBuildError);
      }
      if (bytes.length > 0) await expect(open(file(`${name}.gz`, gzipSync(bytes))), `${name}.gz`).rejects.toThrow(/, unpacked, is (a|an|the|no|nothing) /);
    }
    await expect(open(join(dir, 'some.wasm.gz'))).rejects.toThrow(/portside run some\.wasm starts it/);
    expect((await open(file('zeros.tar', Buffer.alloc(10_240)))).label).toContain('zeros.tar');
  });

  test('archives of other things', async () => {
    const hash = 'a'.repeat(64);
    for (const [members, text] of [
      [[`${hash}/VERSION`, `${hash}/json`, `${hash}/layer.tar`, 'repositories'], /was written by docker save before Docker 1\.10.*docker load -i/], [['my-image/oci-layout', 'my-image/index.json'], /has an OCI layout in its folder "my-image": pack that folder's contents \(tar -C my-image/],
      [['config.json', 'rootfs/bin/sh'], /has a root file system in its folder "rootfs": pack that folder's contents \(tar -C rootfs/], [['vm.ovf', 'vm-disk1.vmdk'], /is an OVA/], [['metadata.json', 'Vagrantfile', 'box.img'], /is a Vagrant box/], [['manifest.json', 'version', hash], /skopeo copy dir:/],
    ] as const) {
      await expect(open(archive(Object.fromEntries(members.map((name) => [name, '{"schemaVersion":2}'])))), String(text)).rejects.toThrow(text);
    }
    await expect(open(`docker-archive:${archive({ 'oci-layout': '{}', 'index.json': '{}' })}`)).rejects.toThrow(/has no "manifest\.json".*oci-archive:FILE/);
    await expect(open(`oci-archive:${archive({ x: '' })}`)).rejects.toThrow(/has no index\.json: it is no OCI layout/);
  });

  test('folders: a layout needs no scheme, others are told how they become a source', async () => {
    const shelf = new BlobShelf();
    expect(await firstLayer(await open(layout(shelf, { schemaVersion: 2, manifests: [shelf.addImage({}, [LAYER])] })))).toBe('hello');
    const folder = (...names: string[]): string => {
      const path = mkdtempSync(join(dir, 'folder-'));
      for (const name of names) mkdirSync(join(path, name));
      return path;
    };
    await expect(open(folder('usr', 'etc'))).rejects.toThrow(/is a folder with a root file system: pack it \(tar -C /);
    await expect(open(folder('rootfs'))).rejects.toThrow(/\(tar -C [^ ]*\/rootfs -cf root\.tar \.\)/);
    await expect(open(folder('manifest.json', 'version'))).rejects.toThrow(/a folder of skopeo's \(dir:\)/);
    await expect(open(folder('x'))).rejects.toThrow(/is a folder, and no OCI layout/);
    await expect(open(`oci:${folder('x')}`)).rejects.toThrow(/is no OCI layout: it has no index\.json/);
  });

  test('a registry\'s artifact that is a module, and a layer that is none', async () => {
    const shelf = new BlobShelf();
    const config = shelf.addJson({ os: 'linux', architecture: 'riscv64' }, 'application/vnd.oci.image.config.v1+json');
    const artifact = shelf.addJson({ schemaVersion: 2, config, layers: [shelf.add(MODULE, 'application/wasm')] }, '');
    await expect(open(`oci:${layout(shelf, { manifests: [artifact] })}`)).rejects.toThrow(/one of its layers is "application\/wasm"\. A WebAssembly module .* portside run/);
    const other = new BlobShelf();
    await expect(firstLayer(await open(`oci:${layout(other, { manifests: [other.addImage({}, [MODULE])] })}`))).rejects.toThrow(/layer layer is a WebAssembly module/);
  });
});

test('what names nothing', async () => {
  for (const [source, text] of [['none.tar', 'no such file'], ['docker-archive:', 'names no file'], ['docker-archive:/none/x', 'no such file'], ['oci:/none', 'no such file'], ['alpine', 'names no registry'], ['library/alpine:3', 'names no registry'], ['h.example/UPPER', 'lower case'], ['h.example/x:', 'tag'], ['h.example/x@sha256:12', 'digest'], [`oci:${'/dev/null'}`, 'is not a folder: oci-archive:']]) {
    await expect(open(source), source).rejects.toThrow(new RegExp(text));
  }
});
