/*
 * The images that were made of archives, on this computer's disk:
 *
 *   DIR/ID/image.json            the manifest's entry; `file` is relative to ID
 *   DIR/ID/NAME.wasm, NAME-….disk
 *   DIR/.work-PID-…              an archive on its way, or what is being removed
 *
 * ID is what the archive's SHA-256 begins with, so that the same archive is found again. A folder is renamed when it is whole: what is below
 * an ID can be served. Work of a process that is no more goes when the next work begins. Several relays may share a folder.
 */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ManifestImage } from './images.ts';
import { printable } from './printable.ts';

const ID_CHARS = 32;
const ID = /^[0-9a-f]{32}$/;
const WORK = /^\.work-(\d{1,10})-/;
const MAX_TITLE_CHARS = 80;

/** An image, and which folder it is in. */
export type ConvertedImage = ManifestImage & { converted: string };

export class Converted {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  static idOf(sha256: string): string {
    return sha256.slice(0, ID_CHARS);
  }

  /** By name. What can't be read is left out. */
  async list(): Promise<ConvertedImage[]> {
    const images = await Promise.all((await this.#ids()).map((id) => this.find(id)));
    return images.filter((image) => image !== null).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async find(id: string): Promise<ConvertedImage | null> {
    try {
      const image = JSON.parse(await readFile(join(this.dir, id, 'image.json'), 'utf8')) as ManifestImage;
      return typeof image.name === 'string' && typeof image.file === 'string' ? { ...image, file: `converted/${id}/${image.file}`, converted: id } : null;
    } catch {
      return null;
    }
  }

  /** All of them together, in `bytes`. */
  async bytes(): Promise<number> {
    let sum = 0;
    for (const id of await this.#ids()) {
      for (const file of await readdir(join(this.dir, id)).catch(() => [])) sum += await stat(join(this.dir, id, file)).then(({ size }) => size, () => 0);
    }
    return sum;
  }

  /** A new folder for work, which its maker removes. */
  async openWork(): Promise<string> {
    await mkdir(this.dir, { recursive: true });
    for (const name of await readdir(this.dir)) {
      const pid = WORK.exec(name)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) await rm(join(this.dir, name), { recursive: true, force: true });
    }
    return mkdtemp(join(this.dir, `.work-${process.pid}-`));
  }

  /** Takes over `out`, a folder as `portside convert` makes it, as the image `id`. `taken` are names that others have. */
  async adopt(out: string, id: string, fileName: string, taken: ReadonlySet<string>): Promise<ConvertedImage> {
    const { images: [made] } = JSON.parse(await readFile(join(out, 'manifest.json'), 'utf8')) as { images: ManifestImage[] };
    const { default: _, ...image } = made;
    const title = image.title === image.name ? baseName(fileName) : image.title;
    const entry: ManifestImage = { ...image, name: freeName(image.name, taken), title: printable(title, MAX_TITLE_CHARS), description: `made of ${printable(fileName, MAX_TITLE_CHARS)}` };
    await writeFile(join(out, 'image.json'), `${JSON.stringify(entry)}\n`);
    await rm(join(out, 'manifest.json'));
    await rename(out, join(this.dir, id)).catch(async (error: Error) => {
      // Another relay was faster.
      if (await this.find(id) === null) throw error;
    });
    return (await this.find(id))!;
  }

  /** False when there is none. */
  async remove(id: string): Promise<boolean> {
    if (!ID.test(id)) return false;
    const work = await this.openWork();
    try {
      return await rename(join(this.dir, id), join(work, id)).then(() => true, () => false);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  async #ids(): Promise<string[]> {
    return (await readdir(this.dir).catch(() => [])).filter((name) => ID.test(name));
  }
}

/** What `portside convert --name` takes, from the name of an archive. */
export function imageNameOf(fileName: string): string {
  return baseName(fileName).toLowerCase().replace(/[^a-z0-9]+/g, '-').slice(0, 40).replace(/^-+|-+$/g, '') || 'container';
}

function baseName(fileName: string): string {
  return fileName.replace(/(\.tar)?(\.(tar|tgz|txz|tzst|gz|xz|zst))?$/i, '');
}

function freeName(wanted: string, taken: ReadonlySet<string>): string {
  let name = wanted;
  for (let n = 2; taken.has(name); n++) name = `${wanted}-${n}`;
  return name;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
