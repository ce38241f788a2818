/*
 * Web servers in containers, as frames of this origin: a request below portside-port/ goes to the page whose container it is.
 *
 * Theory of operation
 *
 *   frame ─▶ fetch event ─▶ PortCall to all windows ─▶ the right page ─▶ link worker ─▶ TCP into the guest ─▶ response
 *
 * This worker is ended and started as the browser likes, so it keeps nothing: each request asks all windows, and the one that has the
 * session hands the port of this request to its link worker, which says `taken`.
 *
 * Power. What comes is a stranger's page on our origin. It gets no scripts, whichever way it is opened: `sandbox` without
 * allow-scripts in each response's own CSP. (With scripts and an opaque origin instead, browsers take the document out of our hands:
 * none of what it loads would come here.) Only the fields listed below pass; forms lead to the same container alone.
 *
 * Paths. Relative addresses work by themselves. An absolute one (`/style.css`) leaves the folder; its Referer tells where it
 * comes from: what a page loads is fetched from the container, and a link is redirected back into the folder. Below a folder of the origin
 * links never come here, so they are changed in the page (rooted.ts).
 */
/// <reference lib="webworker" />
import type { PortAddress, PortCall } from '../port-protocol.ts';
import { parsePortUrl, portUrl } from '../port-protocol.ts';
import { forward, type PortSite } from './port-exchange.ts';
import { rootedStream } from './rooted.ts';

/** request fields that a container's server may want */
const PASSED_ON = new Set([
  'accept', 'accept-language', 'cache-control', 'content-type', 'content-language', 'if-match', 'if-modified-since', 'if-none-match', 'if-range',
  'if-unmodified-since', 'pragma', 'range', 'user-agent',
]);
/** response fields that say what a body is, and nothing about this origin */
const PASSED_BACK = new Set([
  'accept-ranges', 'age', 'allow', 'cache-control', 'content-disposition', 'content-language', 'content-length', 'content-range', 'content-type', 'date',
  'etag', 'expires', 'last-modified', 'retry-after', 'server', 'vary', 'www-authenticate',
]);

export function answerPort(event: FetchEvent, root: string, clients: Clients): boolean {
  const { request } = event;
  const target = parsePortUrl(request.url, root);
  if (target !== null) {
    event.respondWith(forward(request, target.path, new FolderSite(target, root, clients)));
    return true;
  }
  const from = parsePortUrl(request.referrer, root);
  const url = new URL(request.url);
  if (from === null || url.origin !== new URL(root).origin) return false;
  const path = `${url.pathname}${url.search}`;
  if (request.mode === 'navigate') event.respondWith(Response.redirect(portUrl(root, from.session, from.port, path), 307));
  else event.respondWith(forward(request, path, new FolderSite(from, root, clients)));
  return true;
}

/** Ports below a folder of our own origin. */
class FolderSite implements PortSite {
  readonly port: number;
  readonly call: PortCall;
  readonly #session: string;
  readonly #root: string;
  readonly #clients: Clients;

  constructor({ session, port }: PortAddress, root: string, clients: Clients) {
    this.port = port;
    this.call = { type: 'portside-port', session };
    this.#session = session;
    this.#root = root;
    this.#clients = clients;
  }

  windows(): Promise<readonly Client[]> { return this.#clients.matchAll({ type: 'window', includeUncontrolled: true }); }
  passesOn(name: string): boolean { return PASSED_ON.has(name) || name.startsWith('x-'); }
  passesBack(name: string): boolean { return PASSED_BACK.has(name); }
  locate(port: number, path: string): string { return portUrl(this.#root, this.#session, port, path); }

  rewrite(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array> {
    // At the root of the origin such links come here by themselves.
    if (new URL(this.#root).pathname === '/' || headers.get('content-type')?.startsWith('text/html') !== true) return body;
    headers.delete('content-length');
    return body.pipeThrough(rootedStream(new URL(this.locate(this.port, '/')).pathname) as unknown as ReadableWritablePair<Uint8Array, Uint8Array>);
  }

  setOurs(headers: Headers): void {
    headers.set('Content-Security-Policy', [
      'sandbox allow-same-origin allow-forms allow-popups allow-downloads', "script-src 'none'", "object-src 'none'", "base-uri 'self'", "frame-ancestors 'self'",
      `form-action ${this.locate(this.port, '/')}`,
    ].join('; '));
    headers.set('Cross-Origin-Opener-Policy', 'same-origin');
    headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
    headers.set('Cross-Origin-Resource-Policy', 'same-origin');
    headers.set('Referrer-Policy', 'same-origin');
  }
}
