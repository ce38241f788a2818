/*
 * `npx tsx image/build.ts [busybox] [debian]`: packages → initramfs (and disk) → snapshot → dist/images/NAME.wasm with its
 * .br and .gz siblings, and manifest.json.
 *
 * Theory of operation. An image is a function of its key: a hash over the machine, this folder's sources, the locked packages, the
 * mirror that goes into the container's sources.list and the tools' versions. A finished image lies in .cache/images/NAME/KEY; dist/images holds
 * copies. When the key's folder is there nothing is done but to look; so a second build takes a second and needs no network.
 * Otherwise: download what is missing (4 at a time), unpack in this process, write the boot files to KEY.new/in, let wizer take the
 * snapshot, compress, rename KEY.new to KEY, remove older keys. An interruption leaves a .new folder that the next build removes.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { buildMachine, type MachineBuild } from '../machine/build.ts';
import { configuredMirrors } from './apt-config.ts';
import { EPOCH, writeBootFiles } from './boot-files.ts';
import { readDeb, type Deb } from './deb.ts';
import { buildDebianRoot } from './debian-root.ts';
import { writeErofs } from './erofs.ts';
import { ImageBuildError } from './image-error.ts';
import { currentLock, fetchPackages, mib } from './locked.ts';
import { CACHE, readPackage, ROOT, type Lock } from './packages.ts';
import { CMDLINE, RECIPES, type Recipe } from './recipes.ts';
import { takeSnapshot, type ImageSection } from './snapshot.ts';

export { ImageBuildError } from './image-error.ts';

export interface BuildEvent {
  step: string;
  text: string;
  done?: number;
  total?: number;
}

/** One image as manifest.json lists it. */
export interface BuiltImage {
  name: string;
  title: string;
  description: string;
  /** below dist/images */
  file: string;
  /** of the wasm, uncompressed */
  bytes: number;
  sha256: string;
  disk?: { file: string; bytes: number };
  default?: true;
}

const DIST = join(ROOT, 'dist/images');
const GUESTS = join(CACHE, 'guest');
const FOLDER = fileURLToPath(new URL('.', import.meta.url));
/** brotli's 5 takes a tenth of the time of 9 for 5 % more bytes. */
const BROTLI_QUALITY = 5;
const GZIP_LEVEL = 6;
const RESULT = 'image.json';

/** Builds what is missing of `names` and lists them in dist/images/manifest.json, with what was built before. */
export async function buildImages(names: string[], report: (event: BuildEvent) => void): Promise<BuiltImage[]> {
  for (const name of names) if (!Object.hasOwn(RECIPES, name)) throw new ImageBuildError(`there is no recipe for an image called ${JSON.stringify(name)}; there is ${Object.keys(RECIPES).join(', ')}`);
  const machine = await buildMachine((text) => report({ step: 'machine', text }));
  const lock = await currentLock();
  const missing: string[] = [];
  for (const name of names) if ((await readResult(keyDir(name, machine, lock))) === null) missing.push(name);
  const usable = missing.length > 0 ? await fetchPackages(lock, (from) => missing.flatMap((name) => packagesOf(RECIPES[name], from)), (text, done, total) => report({ step: 'packages', text, done, total })) : lock;
  await mkdir(DIST, { recursive: true });
  // One after the other: unpacking and compressing fill a core each, wizer another.
  const built: BuiltImage[] = [];
  for (const name of names) built.push(await buildOne(name, machine, usable, report));
  await writeManifest(built);
  return built;
}

function packagesOf(recipe: Recipe, lock: Lock): string[] {
  return [...lock.groups.kernel, ...lock.groups.busybox, ...(recipe.root === null ? [] : lock.groups[recipe.root])];
}

function keyDir(name: string, machine: MachineBuild, lock: Lock): string {
  const recipe = RECIPES[name];
  const hash = createHash('sha256');
  const packages = packagesOf(recipe, lock).map((id) => lock.packages[id].sha256);
  hash.update(JSON.stringify([machine.hash, name, recipe, CMDLINE, packages, recipe.root === null ? null : mirrorBase(), wizerVersion(), process.versions.brotli, process.versions.zlib]));
  for (const folder of ['', 'guest']) {
    for (const file of readdirSync(join(FOLDER, folder), { withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name).sort()) {
      // What the sources make is in the key, not what tests, resolves or looks at them.
      if (/\.test\.ts$|^(lock|locked|apt-repo|qemu|apt-config|http-get|resolve|census)\.ts$|\.json$/.test(file)) continue;
      hash.update(`${file}\0`).update(readFileSync(join(FOLDER, folder, file)));
    }
  }
  return join(CACHE, 'images', name, hash.digest('hex').slice(0, 24));
}

function wizerVersion(): string {
  return (JSON.parse(readFileSync(join(ROOT, 'node_modules/@bytecodealliance/wizer/package.json'), 'utf8')) as { version: string }).version;
}

function mirrorBase(): string | null {
  return configuredMirrors().find(({ security }) => !security)?.base ?? null;
}

async function buildOne(name: string, machine: MachineBuild, lock: Lock, report: (event: BuildEvent) => void): Promise<BuiltImage> {
  const dir = keyDir(name, machine, lock);
  const known = await readResult(dir);
  const image = known ?? (await make(name, dir, machine, lock, (text, done, total) => report({ step: name, text, done, total })));
  if (known === null) await removeOlder(dir);
  await publish(dir, image);
  report({ step: name, text: `${mib(image.bytes)}, ${known === null ? 'built' : 'from the cache'}` });
  return image;
}

async function make(name: string, dir: string, machine: MachineBuild, lock: Lock, report: (text: string, done?: number, total?: number) => void): Promise<BuiltImage> {
  const recipe = RECIPES[name];
  const work = `${dir}.new`;
  const inDir = join(work, 'in');
  await rm(work, { recursive: true, force: true });
  await mkdir(inDir, { recursive: true });

  const section: ImageSection = { version: 1, name, title: recipe.title, net: 'qemu', resize: true, ports: true, pipes: true, terminals: 4, memoryMiB: recipe.memoryMiB };
  const image: BuiltImage = { name, title: recipe.title, description: recipe.description, file: `${name}.wasm`, bytes: 0, sha256: '', ...(recipe.isDefault ? { default: true as const } : {}) };

  if (recipe.root !== null) {
    const file = `${name}.disk`;
    const disk = writeErofs(await unpackRoot(lock, recipe.root, report), { epoch: EPOCH, label: name });
    await writeFile(join(work, file), disk);
    await copyFile(join(work, file), join(inDir, 'disk'));
    section.disk = { file, bytes: disk.length, sha256: sha256(disk) };
    image.disk = { file, bytes: disk.length };
  }
  report('unpacking the kernel');
  await writeBootFiles(inDir, lock, { memoryMiB: recipe.memoryMiB, modules: recipe.modules, defaults: recipe.defaults, disk: image.disk ?? null });

  report('booting the guest for its snapshot');
  const wasm = join(work, image.file);
  await takeSnapshot(machine.path, inDir, wasm, section, (line) => report(`booting: ${line}`));
  await keepGuest(name, inDir);
  const bytes = await readFile(wasm);
  image.bytes = bytes.length;
  image.sha256 = sha256(bytes);
  report('compressing');
  await compress(wasm, bytes);

  await writeFile(join(work, RESULT), JSON.stringify(image));
  await rm(dir, { recursive: true, force: true });
  await rename(work, dir);
  return image;
}

/** Moves what a snapshot was made from to `GUESTS/NAME`: tests and benchmarks boot it on the machine and in QEMU. */
async function keepGuest(name: string, inDir: string): Promise<void> {
  const kept = join(GUESTS, name);
  await mkdir(GUESTS, { recursive: true });
  await rm(kept, { recursive: true, force: true });
  await rename(inDir, kept);
}

/** Builds `name` once more, without the cache of images, and names the files that came out differently. */
export async function rebuildDiffers(name: string): Promise<string[]> {
  const machine = await buildMachine();
  const lock = await currentLock();
  const dir = keyDir(name, machine, lock);
  const again = join(CACHE, 'images-again', name);
  try {
    await make(name, again, machine, lock, () => undefined);
    const differing: string[] = [];
    for (const file of await readdir(again)) if (!(await readFile(join(again, file))).equals(await readFile(join(dir, file)))) differing.push(file);
    return differing;
  } finally {
    await rm(join(again, '..'), { recursive: true, force: true });
  }
}

async function unpackRoot(lock: Lock, group: keyof Lock['groups'], report: (text: string, done?: number, total?: number) => void): Promise<ReturnType<typeof buildDebianRoot>> {
  const debs = new Map<string, Deb>();
  const names = lock.groups[group];
  for (const id of names) {
    report(`unpacking ${id}`, debs.size, names.length);
    debs.set(id, await readDeb(await readPackage(lock.packages[id])));
  }
  return buildDebianRoot(debs, { epoch: EPOCH, suite: lock.suite, mirror: mirrorBase() });
}

async function compress(file: string, bytes: Uint8Array): Promise<void> {
  const [brotli, gzipped] = await Promise.all([
    promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY, [constants.BROTLI_PARAM_LGWIN]: 22, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
    promisify(gzip)(bytes, { level: GZIP_LEVEL }),
  ]);
  await writeFile(`${file}.br`, brotli);
  await writeFile(`${file}.gz`, gzipped);
}

/** Copies an image's files to dist/images unless they are there, unchanged since. */
async function publish(dir: string, image: BuiltImage): Promise<void> {
  const stamp = join(DIST, `.${image.name}.key`);
  const files = (await readdir(dir)).filter((file) => file !== RESULT);
  const states = await Promise.all(files.map(async (file) => [file, (await stat(join(DIST, file)).catch(() => null))?.size ?? -1, (await stat(join(dir, file))).size] as const));
  if ((await readFile(stamp, 'utf8').catch(() => '')) === dir && states.every(([, there, here]) => there === here)) return;
  for (const file of files) {
    await copyFile(join(dir, file), join(DIST, `${file}.new`));
    await rename(join(DIST, `${file}.new`), join(DIST, file));
  }
  await writeFile(stamp, dir);
}

/** Lists `built` and those listed before whose files are still there. */
async function writeManifest(built: BuiltImage[]): Promise<void> {
  const file = join(DIST, 'manifest.json');
  const before = await readFile(file, 'utf8').then((text) => (JSON.parse(text) as { images: BuiltImage[] }).images, () => []);
  const others: BuiltImage[] = [];
  for (const image of before) {
    const size = await stat(join(DIST, image.file)).then((found) => found.size, () => -1);
    if (size === image.bytes && Object.hasOwn(RECIPES, image.name) && !built.some(({ name }) => name === image.name)) others.push(image);
  }
  const order = Object.keys(RECIPES);
  const images = [...built, ...others].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const text = `${JSON.stringify({ version: 1, images }, null, 1)}\n`;
  if ((await readFile(file, 'utf8').catch(() => '')) === text) return;
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

async function readResult(dir: string): Promise<BuiltImage | null> {
  return readFile(join(dir, RESULT), 'utf8').then((text) => JSON.parse(text) as BuiltImage, () => null);
}

async function removeOlder(dir: string): Promise<void> {
  const parent = join(dir, '..');
  for (const entry of await readdir(parent)) if (join(parent, entry) !== dir) await rm(join(parent, entry), { recursive: true, force: true });
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Plain lines; `--again` builds each image a second time and compares. */
async function main(argv: string[]): Promise<void> {
  const names = argv.filter((arg) => arg !== '--again');
  const started = Date.now();
  let last = '';
  const images = await buildImages(names.length > 0 ? names : Object.keys(RECIPES), ({ step, text }) => {
    // Progress in bytes would be a line per packet here.
    const line = `${step}: ${text.replace(/[\d.]+ MiB of .*/, '…')}`;
    if (line !== last) console.log(`[${((Date.now() - started) / 1000).toFixed(1)} s] ${line}`);
    last = line;
  });
  for (const { name } of argv.includes('--again') ? images : []) {
    const differing = await rebuildDiffers(name);
    console.log(`[${((Date.now() - started) / 1000).toFixed(1)} s] ${name}: built again, ${differing.length === 0 ? 'the same bytes' : `DIFFERENT: ${differing.join(', ')}`}`);
    if (differing.length > 0) process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(process.argv.slice(2)).catch((error: unknown) => {
    if (!(error instanceof ImageBuildError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  });
}
