/*
 * One image and the store: what of it lies in the Cache API already, and what is told to the store worker (web/store).
 *
 * With a SHA-256 from the manifest the stored copy of that version is the image. Without one only the server knows whether the
 * copy is still right: its ETag says so before the body has come, and when it cannot be reached the last copy will do.
 */
import { cacheName, CHUNK_BYTES, parseCacheName, VERSION_PARAMETER, type StoreMessage } from '../stored-image.ts';

export class ImageKeeper {
  readonly #url: string;
  readonly #sha256: string | null;
  readonly #store: MessagePort | null;
  /** of the image that is started; null while nobody knows */
  #version: string | null;

  constructor(url: string, sha256: string | null, store: MessagePort | null) {
    this.#url = url;
    this.#sha256 = sha256;
    this.#store = store;
    this.#version = sha256;
  }

  /** The stored copy of exactly this version, if there is one. */
  async stored(): Promise<Response | null> {
    return this.#sha256 === null ? null : this.#find(this.#sha256);
  }

  /** The last stored copy, of whatever version: for a server that cannot be reached. */
  async anyVersion(): Promise<Response | null> {
    if (this.#store === null || this.#sha256 !== null) return null;
    const version = (await caches.keys()).map(parseCacheName).findLast((cache) => cache?.imageUrl === this.#url)?.version;
    return version === undefined ? null : this.#find(version);
  }

  /** The stored copy of the version whose ETag this response has. */
  async sameAs(response: Response): Promise<Response | null> {
    const etag = response.headers.get('ETag');
    return this.#sha256 !== null || etag === null ? null : this.#find(etag);
  }

  async forget(): Promise<void> {
    if (this.#store !== null && this.#version !== null) await caches.delete(cacheName(this.#version, this.#url));
  }

  /** The body of `response` is about to come: `keep` each part, then `end`. */
  begin(response: Response): void {
    this.#version = this.#sha256 ?? response.headers.get('ETag');
    if (this.#version !== null) this.#tell({ type: 'begin', url: this.#url, version: this.#version });
  }

  /** Borrowed. */
  keep(bytes: Uint8Array): void {
    if (this.#store === null || this.#version === null) return;
    const copy = new Uint8Array(bytes);
    this.#tell({ type: 'bytes', bytes: copy }, copy.buffer);
  }

  end(): void {
    if (this.#version !== null) this.#tell({ type: 'end' });
  }

  /** Where the disk beside the image is; with its version where the service worker may answer from the store. */
  diskUrl(file: string): string {
    const url = new URL(file, this.#url);
    if (this.#store !== null && this.#version !== null && url.origin === location.origin) url.searchParams.set(VERSION_PARAMETER, this.#version);
    return url.href;
  }

  /** A part of the disk, from `start` on, that the network gave. Borrowed. */
  keepDisk(diskUrl: string, total: number, start: number, bytes: Uint8Array): void {
    const version = this.#version;
    if (this.#store === null || version === null || !new URL(diskUrl).searchParams.has(VERSION_PARAMETER)) return;
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const copy = new Uint8Array(bytes.subarray(at, at + CHUNK_BYTES));
      const chunk = (start + at) / CHUNK_BYTES;
      this.#tell({ type: 'disk', imageUrl: this.#url, version, diskUrl, chunk, total, bytes: copy }, copy.buffer);
    }
  }

  async #find(version: string): Promise<Response | null> {
    if (this.#store === null) return null;
    try {
      const response = await caches.match(this.#url, { cacheName: cacheName(version, this.#url), ignoreVary: true });
      if (response === undefined) return null;
      this.#version = version;
      return response;
    } catch {
      // Storage is forbidden here.
      return null;
    }
  }

  #tell(message: StoreMessage, bytes?: ArrayBuffer): void {
    this.#store?.postMessage(message, bytes === undefined ? [] : [bytes]);
  }
}
