/*
 * The worker that keeps images for the next start, off the way of this one.
 *
 * Theory of operation
 *
 *   container worker ─ begin, bytes…, end, disk… ─▶ here ─▶ Cache API ─▶ container worker, service worker (next time)
 *
 * The container's worker cannot store anything itself: it is blocked from `_start` on. So it posts what it has fetched, and
 * what is stored is stored while the container runs. An image is kept only when its bytes have the SHA-256 that its version
 * says: it will be started without asking anybody. Then its older versions go.
 *
 * Storage that is full, or forbidden, is no error: images of other URLs are thrown away, the oldest first, and when that does not
 * help the image is simply not kept.
 */
import { BYTES_HEADER, cacheName, chunkKey, parseCacheName, type StoreMessage } from '../stored-image.ts';

const SHA256_PATTERN = /^[0-9a-f]{64}$/;

interface Arriving {
  url: string;
  version: string;
  bytes: Uint8Array<ArrayBuffer>[];
}

let arriving: Arriving | null = null;
/** one thing after the other, so that an eviction never meets a put */
let work: Promise<void> = Promise.resolve();

function take(message: StoreMessage): void {
  switch (message.type) {
    case 'begin':
      arriving = { url: message.url, version: message.version, bytes: [] };
      break;
    case 'bytes':
      arriving?.bytes.push(message.bytes);
      break;
    case 'end': {
      const image = arriving;
      arriving = null;
      if (image !== null) enqueue(() => storeImage(image));
      break;
    }
    case 'disk':
      enqueue(() => storeChunk(message));
      break;
  }
}

function enqueue(task: () => Promise<void>): void {
  // Whatever the storage of this browser does: the container runs, and the next start downloads again.
  work = work.then(task).catch(() => undefined);
}

async function storeImage({ url, version, bytes }: Arriving): Promise<void> {
  const blob = new Blob(bytes, { type: 'application/wasm' });
  if (SHA256_PATTERN.test(version) && await sha256(blob) !== version) return;
  const name = cacheName(version, url);
  await put(name, url, () => new Response(blob, { headers: { [BYTES_HEADER]: String(blob.size) } }));
  for (const other of await caches.keys()) {
    if (other !== name && parseCacheName(other)?.imageUrl === url) await caches.delete(other);
  }
}

async function storeChunk({ imageUrl, version, diskUrl, chunk, total, bytes }: Extract<StoreMessage, { type: 'disk' }>): Promise<void> {
  const name = cacheName(version, imageUrl);
  // Without its image a disk is of no use.
  if (await caches.has(name)) await put(name, chunkKey(diskUrl, chunk), () => new Response(bytes, { headers: { [BYTES_HEADER]: String(total) } }));
}

/** Makes room for it if need be; throws when there is none. */
async function put(name: string, key: string, response: () => Response): Promise<void> {
  for (;;) {
    try {
      await (await caches.open(name)).put(key, response());
      return;
    } catch (error) {
      const full = error instanceof DOMException && error.name === 'QuotaExceededError';
      const oldest = (await caches.keys()).find((other) => other !== name && parseCacheName(other) !== null);
      if (full && oldest !== undefined) {
        await caches.delete(oldest);
        continue;
      }
      // Half an image is none.
      if (await caches.match(parseCacheName(name)!.imageUrl, { cacheName: name }) === undefined) await caches.delete(name);
      throw error;
    }
  }
}

async function sha256(blob: Blob): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Each message of the page brings the port of one container worker. */
self.addEventListener('message', ({ data: port }: MessageEvent<MessagePort>) => {
  port.onmessage = ({ data }: MessageEvent<StoreMessage>) => { take(data); };
});
