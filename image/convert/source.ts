/*
 * Where an image comes from:
 *
 *   docker-archive:FILE[:REF]   what `docker save`, `podman save` and skopeo write: a tar with manifest.json
 *   oci:DIR[:TAG]               an OCI image layout: oci-layout, index.json, blobs/
 *   oci-archive:FILE[:TAG]      the same as a tar
 *   rootfs:FILE                 a tar of a root file system, without a configuration
 *   a path                      a tar that is one of these three, or a folder with a layout: what is in it tells
 *   [docker://]HOST[:PORT]/NAME[:TAG|@DIGEST]   a registry
 *
 * Archives may be compressed as a whole. They are read whole, and layers are views into them where they are not compressed themselves.
 * A path is unpacked to no more than all layers may have; an archive of an image has few entries, whatever its layers hold.
 * Files are opened only where they are regular ones: a name in a layout may be a pipe that never ends.
 */
import { open, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { MAX_UNPACKED } from '../decompress.ts';
import { quotedName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';
import { readTar, type TarEntry } from '../tar.ts';
import { asArray, asObject, asText, parseImageConfig, parseObject, PLAIN_CONFIG } from './image-config.ts';
import { asDescriptor, checkDigest, checkPlatform, MAX_JSON, refuseOther, resolveImage, unpack, type BlobStore, type ContainerImage, type Descriptor, type Platform } from './oci.ts';
import { isLocal, openRegistry, parseReference, type RegistryOptions } from './registry.ts';

const ANNOTATION_REF = 'org.opencontainers.image.ref.name';
/** A layer's name in a docker-archive may be a symlink to another's, and that one, too. */
const MAX_SYMLINKS = 8;
/** Files of an archive that holds images: some for each layer */
const MAX_MEMBERS = 65_536;

export interface SourceOptions extends RegistryOptions {
  platform: Platform;
}

/** Finds the image that `source` names. Layers are still to be read. */
export async function openSource(source: string, options: SourceOptions): Promise<ContainerImage> {
  const [, scheme, rest] = /^(docker-archive|oci-archive|oci|rootfs|docker):(.*)$/.exec(source) ?? [];
  switch (scheme) {
    case 'docker-archive': {
      const named = await splitTag(rest);
      return openDockerArchive(readMembers(await readArchive(named.path), named.path), named, options.platform);
    }
    case 'oci-archive': return openLayout(await splitTag(rest), options.platform, async (path) => archiveReader(readMembers(await readArchive(path), path), path));
    case 'oci': return openLayout(await splitTag(rest), options.platform, async (path) => directoryReader(path));
    case 'rootfs': return openRootfs(rest);
    case 'docker': return openRegistry(parseReference(rest.replace(/^\/\//, '')), options);
  }
  const found = await stat(source).catch(() => null);
  if (found?.isFile() === true) return openFile(source, options);
  if (found?.isDirectory() === true) return openFolder(source, options);
  if (/\.(tar|tgz|txz|tar\.\w+)$/.test(source) && !isLocal(source.split('/')[0])) throw new ImageBuildError(`${source}: no such file`);
  return openRegistry(parseReference(source), options);
}

/** `PATH:TAG`, unless all of it is a path that exists. */
async function splitTag(text: string): Promise<{ path: string; tag: string | null }> {
  const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);
  if (text === '') throw new ImageBuildError('the source names no file');
  for (let colon = text.length; colon > 0; colon = text.lastIndexOf(':', colon - 1)) {
    if (await exists(text.slice(0, colon))) return { path: text.slice(0, colon), tag: colon === text.length ? null : text.slice(colon + 1) };
  }
  throw new ImageBuildError(`${text}: no such file or folder`);
}

async function readRegular(path: string, maxBytes: number): Promise<Uint8Array> {
  const found = await stat(path).catch(() => null);
  if (found === null) throw new ImageBuildError(`${path}: no such file`);
  if (!found.isFile()) throw new ImageBuildError(`${path} is not a file`);
  if (found.size > maxBytes) throw new ImageBuildError(`${path} has ${found.size} bytes, more than the ${maxBytes} that are read here`);
  const file = await open(path, 'r').catch((error: Error) => { throw new ImageBuildError(`${path} can't be read: ${error.message}`); });
  try {
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** A file of ours, uncompressed. */
async function readArchive(path: string, maxBytes = MAX_UNPACKED): Promise<Uint8Array> {
  const bytes = await readRegular(path, MAX_UNPACKED);
  const archive = await unpack(bytes, maxBytes).catch((error: unknown) => { throw about(path, error); });
  refuseOther(archive, path, archive !== bytes);
  return archive;
}

function readMembers(archive: Uint8Array, path: string): Map<string, TarEntry> {
  const entries = new Map<string, TarEntry>();
  try {
    for (const entry of readTar(archive)) {
      entries.set(entry.path, entry);
      if (entries.size > MAX_MEMBERS) throw new ImageBuildError('it has more files than an archive of images has');
    }
  } catch (error) {
    throw about(path, error);
  }
  return entries;
}

function about(path: string, error: unknown): unknown {
  return error instanceof ImageBuildError && !error.message.startsWith(path) ? new ImageBuildError(`${path}: ${error.message}`) : error;
}

type ArchiveKind = 'docker' | 'layout' | 'root';

/** Names whose presence makes a root of an archive */
const ROOT_NAME = /^(bin|etc|usr)(\/|$)/;
const HASH = '[0-9a-f]{64}';

/** What an archive is, by its names: a root has one of those that every root has. Refuses what is known to be neither. */
function kindOf(archive: Uint8Array, path: string): ArchiveKind {
  const seen = new Set<string>();
  let misfit: string | null = null;
  try {
    for (const entry of readTar(archive, { namesOnly: true })) {
      if (ROOT_NAME.test(entry.path)) return 'root';
      if (/^(manifest\.json|oci-layout|index\.json)$/.test(entry.path)) seen.add(entry.path);
      misfit ??= misfitOf(entry.path, basename(path));
    }
  } catch (error) {
    throw about(path, error);
  }
  if (seen.has('manifest.json')) return 'docker';
  if (seen.has('oci-layout') && seen.has('index.json')) return 'layout';
  if (misfit !== null) throw new ImageBuildError(`${path} ${misfit}`);
  return 'root';
}

/** What an archive with the entry `path` is, where that is no root; null: it may be one. */
function misfitOf(path: string, file: string): string | null {
  const [, folder, name] = /^([^/]+)\/([^/]+)/.exec(path) ?? [];
  if (new RegExp(`^${HASH}/(layer\\.tar|json)$`).test(path)) return `was written by docker save before Docker 1.10, or is a part of what docker save wrote: load it and save it again (docker load -i ${file}; docker save IMAGE -o image.tar)`;
  if (/^[^/]+\.ovf$/.test(path)) return 'is an OVA, a virtual machine: portside listen gives a network to QEMU, which runs those; a container\'s root in its disk can be packed as a tar (tar -C MOUNTPOINT -cf root.tar .)';
  if (path === 'Vagrantfile' || path === 'box.img') return 'is a Vagrant box, a virtual machine: portside listen gives a network to QEMU, which runs those';
  if (folder === undefined) return null;
  if (name === 'oci-layout') return `has an OCI layout in its folder ${quotedName(folder)}: pack that folder's contents (tar -C ${folder} -cf image.tar .)`;
  if (/^(bin|etc|usr)$/.test(name)) return `has a root file system in its folder ${quotedName(folder)}: pack that folder's contents (tar -C ${folder} -cf root.tar .), or say rootfs:FILE where the folder belongs to it`;
  return null;
}

async function openFile(path: string, { platform, maxBytes }: SourceOptions): Promise<ContainerImage> {
  const archive = await readArchive(path, maxBytes);
  switch (kindOf(archive, path)) {
    case 'docker': return openDockerArchive(readMembers(archive, path), { path, tag: null }, platform);
    case 'layout': return openLayout({ path, tag: null }, platform, async () => archiveReader(readMembers(archive, path), path));
    case 'root': return rootImage(path, archive);
  }
}

/** A layout, as `oci:` has it; of others it is said how they become a source. */
async function openFolder(path: string, { platform }: SourceOptions): Promise<ContainerImage> {
  const names = await readdir(path).catch((error: Error) => { throw new ImageBuildError(`${path} can't be read: ${error.message}`); });
  if (names.includes('index.json')) return openLayout({ path, tag: null }, platform, directoryReader);
  if (names.includes('manifest.json') && names.includes('version')) throw new ImageBuildError(`${path} is a folder of skopeo's (dir:): skopeo copy dir:${path} oci-archive:image.tar makes an archive that convert takes`);
  const [folder] = names.some((name) => ROOT_NAME.test(name)) ? [path] : names.includes('rootfs') ? [join(path, 'rootfs')] : [];
  if (folder !== undefined) throw new ImageBuildError(`${path} is a folder with a root file system: pack it (tar -C ${folder} -cf root.tar .), and convert that`);
  throw new ImageBuildError(`${path} is a folder, and no OCI layout: it has no index.json`);
}

/** A file of an archive; links (between layers that are the same) followed inside it. Null: there is none. */
function member(entries: Map<string, TarEntry>, start: string): Uint8Array | null {
  let path = start;
  for (let hops = 0; hops < MAX_SYMLINKS; hops++) {
    const entry = entries.get(path);
    if (entry === undefined) return null;
    if (entry.kind === 'file') return entry.data;
    if (entry.kind === 'hardlink') path = entry.link;
    else if (entry.kind === 'symlink') path = join('/', path, '..', entry.link).slice(1);
    else return null;
  }
  return null;
}

// ---- docker-archive

async function openDockerArchive(entries: Map<string, TarEntry>, { path, tag }: { path: string; tag: string | null }, platform: Platform): Promise<ContainerImage> {
  const read = (name: string): Uint8Array => {
    const data = member(entries, name);
    if (data === null) throw new ImageBuildError(`${path} has no ${quotedName(name)}: it is no docker-archive, or a part of one${entries.has('oci-layout') ? '. It has an OCI layout: oci-archive:FILE, or the file alone, reads that' : ''}`);
    return data;
  };
  const manifest = read('manifest.json');
  if (manifest.length > MAX_JSON) throw new ImageBuildError(`manifest.json of ${path} is too large`);
  if (/^\s*\{/.test(Buffer.from(manifest.subarray(0, 100)).toString())) throw new ImageBuildError(`${path} has the manifest of one image, as skopeo's dir: has it, where a docker-archive has a list: skopeo copy dir:FOLDER oci-archive:image.tar makes an archive that convert takes`);
  const images = asArray(parseObject(Buffer.concat([Buffer.from('{"images":'), manifest, Buffer.from('}')]), `manifest.json of ${path}`).images, 'manifest.json').map((item) => asObject(item, 'an image of manifest.json'));
  const chosen = pick(images, tag, (image) => (image.RepoTags === null || image.RepoTags === undefined ? [] : asArray(image.RepoTags, 'RepoTags').map((name) => asText(name, 'a tag'))), path);
  const configName = asText(chosen.Config, 'Config');
  const configBytes = read(configName);
  if (configBytes.length > MAX_JSON) throw new ImageBuildError(`the configuration of ${path} is too large`);
  const hash = /(?:^|\/)([0-9a-f]{64})(?:\.json)?$/.exec(configName)?.[1];
  if (hash !== undefined) checkDigest(configBytes, `sha256:${hash}`, `the configuration of ${path}`);
  const config = parseImageConfig(configBytes);
  checkPlatform(config, platform, path);
  const names = asArray(chosen.Layers, 'Layers').map((name) => asText(name, 'a layer'));
  return { label: path, config, layers: names.map((name) => ({ label: name.slice(0, 80), read: async () => read(name) })) };
}

/** The image with `tag`, or the only one. */
function pick<T>(images: T[], tag: string | null, tagsOf: (image: T) => string[], path: string): T {
  const matches = tag === null ? images : images.filter((image) => tagsOf(image).some((name) => name === tag || name.endsWith(`/${tag}`) || (!tag.includes(':') && name.endsWith(`:${tag}`))));
  if (matches.length === 1) return matches[0];
  const names = images.flatMap(tagsOf).slice(0, 20).map(quotedName).join(', ');
  if (images.length === 0) throw new ImageBuildError(`${path} has no images`);
  throw new ImageBuildError(tag === null ? `${path} has ${images.length} images: name one behind a colon (${names})` : `${path} has ${matches.length === 0 ? 'no image' : 'several images'} ${quotedName(tag!)}; there is ${names || 'none with a name'}`);
}

// ---- OCI layout

/** Reads a file of a layout. */
type LayoutReader = (name: string, maxBytes: number) => Promise<Uint8Array>;

async function directoryReader(dir: string): Promise<LayoutReader> {
  if (!(await stat(dir).then((found) => found.isDirectory()))) throw new ImageBuildError(`${dir} is not a folder: oci-archive:FILE reads a layout in a tar`);
  if (!(await stat(join(dir, 'index.json')).then(() => true, () => false))) throw new ImageBuildError(`${dir} is no OCI layout: it has no index.json, no such file`);
  return (name, maxBytes) => readRegular(join(dir, name), maxBytes);
}

function archiveReader(entries: Map<string, TarEntry>, path: string): LayoutReader {
  return async (name, maxBytes) => {
    const data = member(entries, name);
    if (data === null) throw new ImageBuildError(`${path} has no ${name}: it is no OCI layout, or a part of one`);
    if (data.length > maxBytes) throw new ImageBuildError(`${name} in ${path} is too large`);
    return data;
  };
}

async function openLayout({ path, tag }: { path: string; tag: string | null }, platform: Platform, openReader: (path: string) => Promise<LayoutReader>): Promise<ContainerImage> {
  const read = await openReader(path);
  const index = parseObject(await read('index.json', MAX_JSON), `index.json of ${path}`);
  const manifests = asArray(index.manifests, `index.json of ${path}`).map((item) => asObject(item, 'a manifest of index.json'));
  const store: BlobStore = { read: ({ digest, size }: Descriptor) => read(`blobs/${digest.replace(':', '/')}`, Math.max(size, 1)) };
  const named = (manifest: Record<string, unknown>): string[] => {
    const annotations = manifest.annotations === undefined || manifest.annotations === null ? {} : asObject(manifest.annotations, 'annotations');
    return typeof annotations[ANNOTATION_REF] === 'string' ? [annotations[ANNOTATION_REF]] : [];
  };
  // Several images without a tag to choose by may be one image for several platforms.
  const isMultiPlatform = tag === null && manifests.length > 1 && manifests.every((manifest) => manifest.platform !== undefined);
  const wanted = isMultiPlatform ? index : { schemaVersion: 2, manifests: [withoutPlatform(pick(manifests, tag, named, path))] };
  return resolveImage(Buffer.from(JSON.stringify(wanted)), store, platform, path);
}

/** The image was chosen by its name: what its configuration says decides. */
function withoutPlatform(manifest: Record<string, unknown>): Record<string, unknown> {
  const { digest, size, mediaType } = asDescriptor(manifest, 'a manifest of index.json');
  return { digest, size, mediaType: mediaType || 'application/vnd.oci.image.manifest.v1+json' };
}

// ---- a root

async function openRootfs(path: string): Promise<ContainerImage> {
  const bytes = await readRegular(path, MAX_UNPACKED);
  return rootImage(path, bytes);
}

function rootImage(path: string, bytes: Uint8Array): ContainerImage {
  return { label: path, config: PLAIN_CONFIG, layers: [{ label: path, read: async () => bytes }] };
}
