/*
 * A container image → an image of ours: one wasm with its disk inside, or a folder with the wasm and a disk that is read lazily.
 *
 * Theory of operation. The source's layers go one by one into a tree in memory (contents are views into the unpacked layers), the tree is
 * written as erofs, and the machine boots on it up to its handshake, as for the images of our own. Memory: a root of N bytes costs N, besides
 * its largest layer as it came; the disk is written in parts, and the tree let go before wizer takes its share. Nothing is unpacked on this computer's file system, so
 * names, links, owners and devices of the image mean nothing here.
 *
 * All work is done in a folder beside the output, which is renamed at the end and removed in any case. In a folder the disk is named by
 * its contents: the old wasm keeps its disk until the new one has taken its place.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { buildMachine } from '../../machine/build.ts';
import { EPOCH, writeBootFiles } from '../boot-files.ts';
import { erofsParts } from '../erofs.ts';
import { quotedName } from '../file-name.ts';
import { HttpFailure } from '../http-get.ts';
import { ImageBuildError } from '../image-error.ts';
import type { ImageDefaults } from '../initramfs.ts';
import { DISK_MODULES, NET_MODULES, SHARE_MODULES } from '../kernel.ts';
import { currentLock, fetchPackages } from '../locked.ts';
import { CACHE } from '../packages.ts';
import { takeSnapshot, type ImageSection } from '../snapshot.ts';
import { Tree } from '../tree.ts';
import { findIdentity, usableEnv, type ImageConfig } from './image-config.ts';
import { applyLayer, type Budget } from './layers.ts';
import { unpackLayer, type ContainerImage, type Platform } from './oci.ts';
import { checkPrograms } from './programs.ts';
import { prepareRoot, refuseUnbootable } from './root.ts';
import { openSource } from './source.ts';

export interface ConvertOptions {
  source: string;
  /** a file, or a folder: one that exists, or a path with a slash at its end */
  out: string;
  /** of the image, and the container's host name; null: from `out` */
  name: string | null;
  memoryMiB: number;
  platform: Platform;
  plainHttp: boolean;
  credentials: string | null;
  /** most that the layers may unpack to, in `bytes` */
  maxBytes: number;
  maxEntries: number;
  signal?: AbortSignal;
  report(text: string, done?: number, total?: number): void;
}

export interface Converted {
  name: string;
  path: string;
  bytes: number;
  disk: { path: string | null; bytes: number };
  files: number;
  /** what was left out, a line each */
  warnings: string[];
}

const DEFAULT_ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', TERM: 'xterm-256color' };
/** The machine has room for 63 characters of a disk's name, this one's hash and ending among them. */
const MAX_NAME = 40;
/** wasm engines refuse modules above 1 GiB; what is not disk takes some tens of MiB */
const MAX_EMBEDDED = 900 * 2 ** 20;
/** below IOV_MAX */
const PARTS_AT_ONCE = 512;
const BLOB_DIR = join(CACHE, 'blobs');

export async function convert(options: ConvertOptions): Promise<Converted> {
  const target = await placeOutput(options);
  const work = await mkdtemp(join(target.parent, `.${target.name}-convert-`)).catch((error: Error) => {
    throw new ImageBuildError(`${target.parent} can't be written to: ${error.message}`);
  });
  try {
    return await convertIn(work, target, options);
  } catch (error) {
    throw explained(error);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

interface Target {
  name: string;
  /** folder that the results are moved to; exists */
  parent: string;
  /** of the wasm */
  file: string;
  isFolder: boolean;
}

async function placeOutput({ out, name }: ConvertOptions): Promise<Target> {
  const path = resolve(out);
  const there = await stat(path).catch(() => null);
  const isFolder = out.endsWith('/') || there?.isDirectory() === true;
  if (isFolder && there !== null && !there.isDirectory()) throw new ImageBuildError(`${out} is not a folder`);
  if (!isFolder && there !== null && !there.isFile()) throw new ImageBuildError(`${out} is neither a file nor a folder`);
  const parent = isFolder ? path : dirname(path);
  const above = dirname(path);
  if (!(await stat(above).then((found) => found.isDirectory(), () => false))) throw new ImageBuildError(`${above}: no such folder`);
  const derived = basename(path).replace(/\.wasm$/, '').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, MAX_NAME);
  const chosen = name ?? (derived || 'container');
  // A folder that is not there yet is made when there is something to put into it: until then its parent takes the work.
  return { name: chosen, parent: isFolder && there === null ? above : parent, file: isFolder ? join(path, `${chosen}.wasm`) : path, isFolder };
}

async function convertIn(work: string, target: Target, options: ConvertOptions): Promise<Converted> {
  const { report, signal, memoryMiB } = options;
  const inDir = join(work, 'in');
  await mkdir(inDir);
  // What every image needs comes (or is compiled) while the source is read; a source that is wrong is the first to be told of.
  const parts = guestParts(report);
  parts.catch(() => undefined);
  const image = await openSource(options.source, { ...options, blobDir: BLOB_DIR });
  const { disk, settings, files } = await makeDisk(image, target.name, join(inDir, 'disk'), options);
  signal?.throwIfAborted();

  const diskFile = `${target.name}-${disk.sha256.slice(0, 12)}.disk`;
  const section: ImageSection = {
    version: 1, name: target.name, title: image.config.labels['org.opencontainers.image.title'] ?? target.name, net: 'qemu', resize: true, ports: true, pipes: true, terminals: 4, memoryMiB,
    container: { ports: image.config.ports, volumes: image.config.volumes, labels: image.config.labels },
  };
  if (target.isFolder) section.disk = { file: diskFile, ...disk };
  else if (disk.bytes > MAX_EMBEDDED) throw new ImageBuildError(`a disk of ${Math.ceil(disk.bytes / 2 ** 20)} MiB is too large for one file: name a folder for the output (${options.out.replace(/\.wasm$/, '')}/)`);

  const { machine, lock } = await parts;
  await writeBootFiles(inDir, lock, { memoryMiB, modules: [...NET_MODULES, ...SHARE_MODULES, ...DISK_MODULES], defaults: settings.defaults, disk: target.isFolder ? { file: diskFile } : 'embedded' });
  report('booting it for its snapshot');
  const wasm = join(work, 'image.wasm');
  await takeSnapshot(machine.path, inDir, wasm, section, (line) => report(`booting: ${line}`), { embed: !target.isFolder, ...(signal === undefined ? {} : { signal }) });

  signal?.throwIfAborted();
  const { size: bytes } = await stat(wasm);
  if (target.isFolder) await publishFolder(work, wasm, target, section, bytes);
  else await rename(wasm, target.file);
  await image.forget?.();
  return {
    name: target.name, path: target.file, bytes, files, warnings: settings.warnings,
    disk: { path: target.isFolder ? join(dirname(target.file), diskFile) : null, bytes: disk.bytes },
  };
}

async function guestParts(report: ConvertOptions['report']): Promise<{ machine: { path: string }; lock: Awaited<ReturnType<typeof currentLock>> }> {
  const machine = await buildMachine((text) => report(text));
  const lock = await fetchPackages(await currentLock(), (from) => [...from.groups.kernel, ...from.groups.busybox], report);
  return { machine, lock };
}

export interface Settings {
  defaults: ImageDefaults;
  warnings: string[];
}

/** Reads the layers and writes the disk to `file`; the tree lives no longer than this. */
export async function makeDisk(image: ContainerImage, name: string, file: string, options: ConvertOptions): Promise<{ disk: { bytes: number; sha256: string }; settings: Settings; files: number }> {
  const budget: Budget = { entries: options.maxEntries, bytes: options.maxBytes };
  const { config } = image;
  if (config.diffIds !== null && config.diffIds.length !== image.layers.length) throw new ImageBuildError(`${image.label} has ${image.layers.length} layers, and its configuration speaks of ${config.diffIds.length}`);
  const tree = new Tree(EPOCH);
  for (const [index, layer] of image.layers.entries()) {
    options.report(`layer ${index + 1} of ${image.layers.length}`);
    options.signal?.throwIfAborted();
    applyLayer(tree, await unpackLayer(await layer.read(), config.diffIds?.[index], budget, layer.label), budget, config.diffIds !== null);
  }
  refuseUnbootable(tree, config, image.label);
  checkPrograms(tree, config, image.label);
  const settings = makeSettings(tree, config, name);
  prepareRoot(tree, config);
  options.report('writing the disk');
  let files = 0;
  for (const { inode } of tree.walk()) if (inode.kind === 'file') files++;
  return { disk: await writeParts(file, erofsParts(tree, { epoch: EPOCH, label: name.slice(0, 15) })), settings, files };
}

async function writeParts(path: string, parts: Uint8Array[]): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'w');
  try {
    for (let from = 0; from < parts.length; from += PARTS_AT_ONCE) {
      const some = parts.slice(from, from + PARTS_AT_ONCE);
      for (const part of some) {
        hash.update(part);
        bytes += part.length;
      }
      await writeAll(file, some);
    }
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** writev may take less than it was given. */
async function writeAll(file: FileHandle, parts: Uint8Array[]): Promise<void> {
  let rest = parts.filter(({ length }) => length > 0);
  while (rest.length > 0) {
    let { bytesWritten } = await file.writev(rest);
    while (rest.length > 0 && bytesWritten >= rest[0].length) bytesWritten -= rest.shift()!.length;
    if (bytesWritten > 0) rest = [rest[0].subarray(bytesWritten), ...rest.slice(1)];
  }
}

function makeSettings(tree: Tree, config: ImageConfig, name: string): Settings {
  const { env, left } = usableEnv(config.env);
  const { home, ...identity } = findIdentity(tree, config.user);
  const warnings = left.map((variable) => `the variable ${quotedName(variable)} is left out: the guest's shell can't hand on a name like this`);
  const hasShell = tree.lookup('bin/sh')?.kind === 'file';
  return {
    warnings,
    defaults: {
      name, entrypoint: config.entrypoint, cmd: config.cmd, workdir: config.workdir, identity, greeting: '',
      // A shell that has been started once is in memory.
      env: { ...DEFAULT_ENV, HOME: home ?? '/', ...env }, warm: hasShell ? ':' : '',
    },
  };
}

/** Disk, wasm and manifest, in this order; then the disk that the wasm before had goes. */
async function publishFolder(work: string, wasm: string, target: Target, section: ImageSection, bytes: number): Promise<void> {
  const folder = dirname(target.file);
  const { file: diskFile, bytes: diskBytes } = section.disk!;
  const sha256 = createHash('sha256').update(await readFile(wasm)).digest('hex');
  const others = (await listed(folder)).filter(({ name }) => name !== target.name);
  const entry = { name: target.name, title: section.title, description: '', file: basename(target.file), bytes, sha256, disk: { file: diskFile, bytes: diskBytes }, ...(others.length === 0 ? { default: true as const } : {}) };
  const manifest = join(work, 'manifest.json');
  await writeFile(manifest, `${JSON.stringify({ version: 1, images: [...others, entry] }, null, 1)}\n`);
  await mkdir(folder, { recursive: true });
  await rename(join(work, 'in/disk'), join(folder, diskFile));
  await rename(wasm, target.file);
  await rename(manifest, join(folder, 'manifest.json'));
  const isOlder = new RegExp(`^${target.name}-[0-9a-f]{12}\\.disk$`);
  for (const file of await readdir(folder)) if (isOlder.test(file) && file !== diskFile) await rm(join(folder, file));
}

/** What a folder of images has already: theirs is not ours to forget. */
async function listed(folder: string): Promise<Array<{ name: string }>> {
  const text = await readFile(join(folder, 'manifest.json'), 'utf8').catch(() => null);
  if (text === null) return [];
  try {
    const { images } = JSON.parse(text) as { images: Array<{ name: string }> };
    return images.filter(({ name }) => typeof name === 'string');
  } catch {
    throw new ImageBuildError(`${folder} has a manifest.json that is no list of images: choose another folder`);
  }
}

/** Failures of the network, the file system and memory as what they mean to a person; our bugs stay as they are. */
function explained(error: unknown): unknown {
  if (error instanceof HttpFailure) return new ImageBuildError(error.message);
  if (!(error instanceof Error) || error instanceof ImageBuildError) return error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code !== undefined && syscall !== undefined) return new ImageBuildError(error.message);
  if (error instanceof RangeError && /allocation|invalid array|buffer/i.test(error.message)) return new ImageBuildError('the image is too large for the memory of this process');
  if (error.message.startsWith('the guest did not reach its handshake')) return new ImageBuildError(error.message);
  return error;
}
