/** `portside images`: what is built, as a table or as JSON. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Images, type ManifestImage } from '../images.ts';
import { IMAGES_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { parseFlags } from './flags.ts';

const MIB = 1024 * 1024;

/** One image with what its files weigh, in bytes; null where there is no such file. */
export interface ImageListing {
  name: string;
  title: string;
  path: string;
  default: boolean;
  raw: number | null;
  br: number | null;
  gz: number | null;
  disk: number | null;
}

export async function images(args: string[], context: CliContext): Promise<number> {
  const flags = parseFlags(args, IMAGES_FLAGS);
  const dir = flags.images ?? join(context.root, 'dist/images');
  const listings = await Promise.all((await new Images(dir).built()).images.map((image) => listing(dir, image)));
  if (flags.json) context.print(JSON.stringify(listings, null, 2));
  else if (listings.length === 0) context.print(`No images in ${dir}: \`npm start\` builds them.`);
  else for (const line of table(listings)) context.print(line);
  return 0;
}

async function listing(dir: string, image: ManifestImage): Promise<ImageListing> {
  const path = join(dir, image.file);
  const disk = image.disk === undefined ? null : await sizeOf(join(dir, image.disk.file));
  const [raw, br, gz] = await Promise.all([sizeOf(path), sizeOf(`${path}.br`), sizeOf(`${path}.gz`)]);
  return { name: image.name, title: image.title, path, default: image.default === true, raw, br, gz, disk };
}

async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(({ size }) => size, () => null);
}

function table(listings: ImageListing[]): string[] {
  const rows = [
    ['NAME', 'WASM', 'BROTLI', 'GZIP', 'DISK', 'PATH'],
    ...listings.map((image) => [image.default ? `${image.name} *` : image.name, mib(image.raw), mib(image.br), mib(image.gz), mib(image.disk), image.path]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const isText = (column: number): boolean => column === 0 || column === rows[0].length - 1;
  return rows.map((row) => row.map((cell, column) => (isText(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ').trimEnd());
}

function mib(bytes: number | null): string {
  return bytes === null ? '-' : `${(bytes / MIB).toFixed(1)} MiB`;
}
