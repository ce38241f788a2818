/** An image from this computer: files that were chosen or dropped. */
import type { ImageFiles } from '../protocol.ts';

const ARCHIVE = /\.(tar|tgz|txz|tar\.(gz|xz|zst))$/i;

/** Among `files` the image and what may be its disk; null when there is no image. */
export function imageAmong(files: readonly File[]): ImageFiles | null {
  const wasm = files.find(({ name }) => /\.wasm$/i.test(name));
  if (wasm === undefined) return null;
  const disk = files.find(({ name }) => name === wasm.name.replace(/\.wasm$/i, '.disk')) ?? files.find(({ name }) => /\.disk$/i.test(name)) ?? null;
  return { wasm, disk };
}

/** Among `files` the first that may be an archive of an image, by its name. */
export function archiveAmong(files: readonly File[]): File | undefined {
  return files.find(({ name }) => ARCHIVE.test(name));
}

/** What a person who gave other files should do. */
export function notAnImage(files: readonly File[]): string {
  const name = files[0]?.name ?? '';
  if (ARCHIVE.test(name)) return `${name} has to become an image first: portside convert ${name} image.wasm`;
  return name === '' ? 'There was no file.' : `${name} is not an image: those end in .wasm.`;
}
