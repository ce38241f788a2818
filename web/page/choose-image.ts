/** Which image an address means: the one way from `?image=` to a URL, for the page and for the element. */
import type { Address } from './address.ts';
import { noImagesFailure, noListFailure, unknownImageFailure, type Failure } from './failures.ts';
import type { ImageFiles } from '../protocol.ts';
import { defaultImage, type ListedImage } from './images.ts';

/** `source` is what `?image=` says of it; empty for `files` of the user's, of which `url` is only a name */
export type ChosenImage = Pick<ListedImage, 'url' | 'bytes' | 'sha256' | 'title'> & { source: string; files?: ImageFiles };

/** `list` is asked only for an image that is named, or for the default; it rejects with a sentence for the user. */
export async function chooseImage(wanted: Address['image'], list: () => Promise<ListedImage[]>): Promise<ChosenImage | { failure: Failure }> {
  if (wanted !== null && 'url' in wanted) return { url: wanted.url, bytes: 0, sha256: null, title: lastSegment(wanted.url), source: wanted.url };
  let images: ListedImage[];
  try {
    images = await list();
  } catch (error) {
    return { failure: noListFailure(error instanceof Error ? error.message : String(error)) };
  }
  const image = wanted === null ? defaultImage(images) : images.find(({ name }) => name === wanted.name);
  if (image !== undefined) return { ...image, source: image.name };
  return { failure: wanted === null ? noImagesFailure() : unknownImageFailure(wanted.name, images.map(({ name }) => name)) };
}

function lastSegment(url: string): string {
  const { pathname, host } = new URL(url);
  const name = pathname.split('/').at(-1) ?? '';
  try {
    return name === '' ? host : decodeURIComponent(name);
  } catch {
    return name;
  }
}
