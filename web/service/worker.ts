/*
 * The service worker: the page without its server, and the page on a server that cannot send COOP and COEP.
 *
 * Theory of operation
 *
 *   page ─ GET ─▶ here ─▶ network ─▶ response + the headers that it lacks ─▶ page
 *                   └─ no network ─▶ the copy of the last visit
 *
 * Isolation. SharedArrayBuffer needs COOP and COEP on the page and COEP on its workers. Each response that passes here gets
 * the ones that its server did not send, so a plain static server is enough; page/isolation.ts reloads the page once.
 *
 * Offline. The built page is listed in `files.json`, which the build writes. The list is read when the worker is installed and
 * with every visit: what is new is stored, what is gone is thrown away. Files below assets/ carry a hash in their names and are
 * answered from the store; the rest comes from the network as long as there is one. Of images only the manifest is kept here:
 * the store worker keeps images. Their disks are read by range, synchronously, by a worker that is blocked, so what the store
 * worker has of a disk is handed out here.
 *
 * Ports of containers: ports.ts.
 *
 * What it leaves alone: everything that is not named above, other origins, the relay's API, and any method but GET.
 */
/// <reference lib="webworker" />
import { BYTES_HEADER, CHUNK_BYTES, chunkKey, parseCacheName, STORED_HEADER, VERSION_PARAMETER } from '../stored-image.ts';
import { answerPort } from './ports.ts';

declare const self: ServiceWorkerGlobalScope;

const PAGE_CACHE = 'portside-page';
/** what vite built, relative to us */
const LIST = 'files.json';
const MANIFEST = 'images/manifest.json';
const EXAMPLE = 'embed.html';
const FILES_MAX = 200;
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'same-origin' };

const root = new URL('./', self.location.href).href;
/** image version → its cache, so that a read of the disk need not look for it */
const disks = new Map<string, Cache>();

self.addEventListener('install', (event) => {
  event.waitUntil(refresh().catch(() => undefined).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (answerPort(event, root, self.clients)) return;
  if (request.method !== 'GET' || !url.href.startsWith(root)) return;
  const path = url.href.slice(root.length).split(/[?#]/, 1)[0];
  if (request.mode === 'navigate') {
    if (path === '' || path === 'index.html' || path === EXAMPLE) event.respondWith(page(event, path === EXAMPLE ? EXAMPLE : ''));
  } else if (path.startsWith('assets/')) {
    event.respondWith(stored(request).then((response) => response ?? fromNetwork(request)).then(isolated));
  } else if (path.startsWith('images/') && request.headers.has('Range') && url.searchParams.has(VERSION_PARAMETER)) {
    event.respondWith(disk(request, url));
  } else if (path === MANIFEST || !path.includes('/')) {
    event.respondWith(fromNetwork(request).then(isolated));
  }
});

async function page(event: FetchEvent, file: string): Promise<Response> {
  try {
    const response = await fetch(event.request);
    if (response.ok) event.waitUntil(refresh().catch(() => undefined));
    return isolated(response);
  } catch (error) {
    const response = await stored(new Request(root + file));
    if (response === undefined) throw error;
    return isolated(response);
  }
}

/** The network's answer, or the last one that was stored; rejects as fetch does. */
async function fromNetwork(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const response = await stored(request);
    if (response === undefined) throw error;
    return response;
  }
}

async function stored(request: Request): Promise<Response | undefined> {
  // A server may send Vary: Origin, of which no file of the page depends.
  return caches.match(request, { cacheName: PAGE_CACHE, ignoreVary: true, ignoreSearch: true });
}

/** Stores the page as the server has it now. Rejects when the server can't be reached, or its list is none. */
async function refresh(): Promise<void> {
  const list: unknown = await (await fetch(root + LIST, { cache: 'no-cache' })).json();
  if (!Array.isArray(list) || list.length > FILES_MAX || !list.every((name) => typeof name === 'string')) throw new Error(`${LIST} is no list`);
  const cache = await caches.open(PAGE_CACHE);
  const wanted = new Set(['', MANIFEST, ...list].map((name) => new URL(name, root).href));
  const held = new Set<string>();
  for (const { url } of await cache.keys()) {
    if (wanted.has(url)) held.add(url);
    else await cache.delete(url);
  }
  await Promise.all([...wanted].map(async (url) => {
    if (held.has(url) && url.startsWith(`${root}assets/`)) return;
    const response = await fetch(url, { cache: 'no-cache' });
    // Storage that is full is no error: the page needs its server then.
    if (response.ok) await cache.put(url, response).catch(() => undefined);
  }));
}

function isolated(response: Response): Response {
  // What a redirect leads to comes here once more.
  if (response.type === 'opaqueredirect' || response.type === 'error') return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) if (!headers.has(name)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

async function disk(request: Request, url: URL): Promise<Response> {
  const range = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(request.headers.get('Range') ?? '');
  const cache = await diskCache(url.searchParams.get(VERSION_PARAMETER)!);
  const response = range === null || cache === null ? null : await storedRange(cache, url.href, Number(range[1]), Number(range[2]) + 1);
  return response ?? fetch(request);
}

async function diskCache(version: string): Promise<Cache | null> {
  const known = disks.get(version);
  if (known !== undefined) return known;
  for (const name of await caches.keys()) {
    if (parseCacheName(name)?.version !== version) continue;
    const cache = await caches.open(name);
    disks.set(version, cache);
    return cache;
  }
  return null;
}

/** `[start, end)` of a disk, in whole chunks; null when one of them was not stored. */
async function storedRange(cache: Cache, diskUrl: string, start: number, end: number): Promise<Response | null> {
  if (start % CHUNK_BYTES !== 0) return null;
  const parts: Blob[] = [];
  let total = '';
  for (let at = start; at < end; at += CHUNK_BYTES) {
    const chunk = await cache.match(chunkKey(diskUrl, at / CHUNK_BYTES));
    if (chunk === undefined) return null;
    total = chunk.headers.get(BYTES_HEADER) ?? '*';
    parts.push(await chunk.blob());
  }
  const body = new Blob(parts);
  if (body.size !== end - start) return null;
  return new Response(body, { status: 206, headers: { 'Content-Range': `bytes ${start}-${end - 1}/${total}`, [STORED_HEADER]: '1' } });
}
