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
export async function notAnImage(files: readonly File[]): Promise<string> {
  const [file] = files;
  if (file === undefined) return 'There was no file.';
  const { name, size } = file;
  if (ARCHIVE.test(name)) return `${name} has to become an image first: portside convert ${name} image.wasm`;
  // Rarely wanted: it comes when it is.
  const { fileKind, KIND_HEAD_BYTES, KIND_TAIL_BYTES } = await import('../../shared/file-kind.ts');
  const read = async (part: Blob): Promise<Uint8Array> => new Uint8Array(await part.arrayBuffer());
  // A folder is none that can be read.
  const kind = await Promise.all([read(file.slice(0, KIND_HEAD_BYTES)), read(file.slice(Math.max(0, size - KIND_TAIL_BYTES)))])
    .then(([head, tail]) => fileKind(name, size, head, tail), () => null);
  return kind === null || kind.what.startsWith('a text') ? `${name} is not an image: those end in .wasm.` : `${name} is no image, but ${kind.what}: ${kind.next}.`;
}
