/*
 * The images that the relay serves: those built (imagesDir with its manifest.json), those named by --image, and those made of archives
 * (converted.ts).
 *
 * The manifest is read again for each request, as images may be built while we run. A file is served under its own name with
 * what lies beside it (NAME.wasm.br, NAME.wasm.gz, NAME.disk); a URL goes into the manifest as it is and the page fetches it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, open, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { butKind, KIND_HEAD_BYTES } from '../shared/file-kind.ts';
import { RelayError } from '../shared/relay-error.ts';
import type { Converted } from './converted.ts';

export interface Manifest {
  version: 1;
  images: ManifestImage[];
}

/** One image. Size and digest are absent for one that is a URL. */
export interface ManifestImage {
  name: string;
  title: string;
  description: string;
  /** file name below /images/, or a URL */
  file: string;
  /** uncompressed, in `bytes` */
  bytes?: number;
  /** hex */
  sha256?: string;
  disk?: { file: string; bytes: number };
  default?: true;
  /** made of an archive, and can be removed under this id */
  converted?: string;
}

const WASM_MAGIC = Buffer.from([0, 0x61, 0x73, 0x6d]);

export class Images {
  /** files outside of imagesDir, by the name they are served as */
  readonly files = new Map<string, string>();
  readonly #dir: string;
  readonly #extra: ManifestImage[] = [];
  readonly #onBroken: ((message: string) => void) | null;
  readonly #converted: Converted | null;

  /** `onBroken` is told of a manifest that is none, and it counts as empty then; without it `manifest` rejects. */
  constructor(dir: string, onBroken: ((message: string) => void) | null = null, converted: Converted | null = null) {
    this.#dir = dir;
    this.#onBroken = onBroken;
    this.#converted = converted;
  }

  /** Adds a file or URL of `--image`. Rejects with RELAY_BAD_IMAGE. */
  async add(source: string): Promise<void> {
    if (/^https?:\/\//i.test(source)) this.#addUrl(source);
    else await this.#addFile(resolve(source));
  }

  async manifest(): Promise<Manifest> {
    const built = await this.built().catch((error: unknown): Manifest => {
      if (!(error instanceof RelayError) || this.#onBroken === null) throw error;
      this.#onBroken(error.message);
      return { version: 1, images: [] };
    });
    const images = [...built.images, ...this.#extra];
    const names = new Set(images.map(({ name }) => name));
    // One that was built since has the name first.
    for (const image of await this.#converted?.list() ?? []) images.push(names.has(image.name) ? { ...image, name: `${image.name}-${image.converted.slice(0, 4)}` } : image);
    if (images.length > 0 && !images.some((image) => image.default)) images[0] = { ...images[0], default: true };
    return { version: 1, images };
  }

  /** Only what lies in imagesDir; empty when nothing was built. Rejects with RELAY_BAD_IMAGE for a manifest that is none. */
  async built(): Promise<Manifest> {
    const path = join(this.#dir, 'manifest.json');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') return { version: 1, images: [] };
      throw error;
    }
    const manifest = parseManifest(text);
    if (manifest === null) throw new RelayError('RELAY_BAD_IMAGE', `${path} is not a manifest of version 1: build the images again`);
    return manifest;
  }

  #addUrl(source: string): void {
    if (!URL.canParse(source)) throw new RelayError('RELAY_BAD_IMAGE', `--image ${source} is not a URL`);
    const url = new URL(source);
    const name = this.#freeName(basename(url.pathname).replace(/\.wasm$/i, '') || url.hostname);
    this.#extra.push({ name, title: name, description: url.href, file: url.href });
  }

  async #addFile(path: string): Promise<void> {
    const bytes = await checkWasm(path);
    const name = this.#freeName(basename(path).replace(/\.wasm$/i, ''));
    const file = `${name}.wasm`;
    const image: ManifestImage = { name, title: name, description: path, file, bytes, sha256: await sha256Of(path) };
    this.files.set(file, path);
    // Its disk, if it has one, is asked for by the name inside the image: the one that lies beside it.
    const disk = path.replace(/\.wasm$/i, '.disk');
    if (disk !== path && await exists(disk)) {
      this.files.set(basename(disk), disk);
      image.disk = { file: basename(disk), bytes: (await stat(disk)).size };
    }
    this.#extra.push(image);
  }

  /** `wanted` with what URLs and file names can't hold replaced, and a number if it is taken by another --image. */
  #freeName(wanted: string): string {
    const plain = wanted.replace(/[^\w.+-]/g, '-').replace(/^\.+/, '').slice(0, 100) || 'image';
    let name = plain;
    for (let n = 2; this.#extra.some((image) => image.name === name); n++) name = `${plain}-${n}`;
    return name;
  }
}

function parseManifest(text: string): Manifest | null {
  try {
    const value = JSON.parse(text) as Manifest;
    const right = value.version === 1 && Array.isArray(value.images) && value.images.every((image) => typeof image.name === 'string' && typeof image.file === 'string');
    return right ? value : null;
  } catch {
    return null;
  }
}

/** The size of a wasm file, in bytes. */
async function checkWasm(path: string): Promise<number> {
  try {
    const handle = await open(path);
    try {
      const { size } = await handle.stat();
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(KIND_HEAD_BYTES), 0, KIND_HEAD_BYTES, 0);
      const head = buffer.subarray(0, bytesRead);
      if (!WASM_MAGIC.equals(head.subarray(0, WASM_MAGIC.length))) throw new RelayError('RELAY_BAD_IMAGE', `--image ${path} is not a wasm file${butKind(basename(path), size, head)}`);
      return size;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof RelayError) throw error;
    throw new RelayError('RELAY_BAD_IMAGE', `--image ${path} cannot be read: ${(error as Error).message}`);
  }
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(() => true, () => false);
}
