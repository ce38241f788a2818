/*
 * How images lie in the Cache API, where the container's worker and the service worker find what the store worker has put.
 *
 *   cache `portside-image VERSION URL`        one for each image: thrown away whole when another version is stored
 *     URL                                     the wasm, uncompressed
 *     DISK-URL?chunk=N                        chunk N of the disk beside it, as far as it was read
 *
 * VERSION is the SHA-256 of the manifest; of an image without a manifest its ETag.
 */

/** what a disk is cached by, in `bytes` */
export const CHUNK_BYTES = 256 << 10;
/** query of a disk's URL: the version of the image that it belongs to */
export const VERSION_PARAMETER = 'of';
/** uncompressed length of the whole file, as our relay says it */
export const BYTES_HEADER = 'X-Portside-Bytes';
/** with bytes that came from the cache */
export const STORED_HEADER = 'X-Portside-Stored';

const PREFIX = 'portside-image';

export function cacheName(version: string, imageUrl: string): string {
  return `${PREFIX} ${encodeURIComponent(version)} ${imageUrl}`;
}

/** Null when the cache is none of ours. */
export function parseCacheName(name: string): { version: string; imageUrl: string } | null {
  const [prefix, version, imageUrl] = name.split(' ');
  return prefix === PREFIX && imageUrl !== undefined ? { version: decodeURIComponent(version), imageUrl } : null;
}

export function chunkKey(diskUrl: string, chunk: number): string {
  const key = new URL(diskUrl);
  key.search = `?chunk=${chunk}`;
  return key.href;
}

/** What the container's worker tells the store worker. Bytes are transferred. */
export type StoreMessage =
  /** an image starts to arrive; another one that has not ended is forgotten */
  | { type: 'begin'; url: string; version: string }
  | { type: 'bytes'; bytes: Uint8Array<ArrayBuffer> }
  /** it is complete, and a container */
  | { type: 'end' }
  | { type: 'disk'; imageUrl: string; version: string; diskUrl: string; chunk: number; total: number; bytes: Uint8Array<ArrayBuffer> };
