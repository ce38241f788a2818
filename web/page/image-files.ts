/** An image from this computer: files that were chosen or dropped. */
import type { ImageFiles } from '../protocol.ts';

/** Among `files` the image and what may be its disk; null when there is no image. */
export function imageAmong(files: readonly File[]): ImageFiles | null {
  const wasm = files.find(({ name }) => /\.wasm$/i.test(name));
  if (wasm === undefined) return null;
  const disk = files.find(({ name }) => name === wasm.name.replace(/\.wasm$/i, '.disk')) ?? files.find(({ name }) => /\.disk$/i.test(name)) ?? null;
  return { wasm, disk };
}

/** What a person who gave other files should do. */
export function notAnImage(files: readonly File[]): string {
  const name = files[0]?.name ?? '';
  if (/\.(tar|tar\.gz|tgz|tar\.zst)$/i.test(name)) return `${name} has to become an image first: portside convert ${name} image.wasm`;
  return name === '' ? 'There was no file.' : `${name} is not an image: those end in .wasm.`;
}
