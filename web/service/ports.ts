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
import type { Fields, FromLink, PortAddress, PortRequest, ToLink } from '../port-protocol.ts';
import { parsePortUrl, portUrl } from '../port-protocol.ts';
import { rootedStream } from './rooted.ts';

/** longest wait for the page that has the container, in `ms` */
const TAKEN_MS = 5000;
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
const NULL_BODY = new Set([101, 204, 205, 304]);

export function answerPort(event: FetchEvent, root: string, clients: Clients): boolean {
  const { request } = event;
  const target = parsePortUrl(request.url, root);
  if (target !== null) {
    event.respondWith(forward(request, target, root, clients));
    return true;
  }
  const from = parsePortUrl(request.referrer, root);
  const url = new URL(request.url);
  if (from === null || url.origin !== new URL(root).origin) return false;
  const path = `${url.pathname}${url.search}`;
  if (request.mode === 'navigate') event.respondWith(Response.redirect(portUrl(root, from.session, from.port, path), 307));
  else event.respondWith(forward(request, { ...from, path }, root, clients));
  return true;
}

async function forward(request: Request, target: PortAddress, root: string, clients: Clients): Promise<Response> {
  const port = await callPage(target.session, clients);
  if (port === null) return failure(target, root, 'There is no such container any more: its page was closed, or it was restarted.');
  const fields: Fields = [...request.headers].filter(([name]) => PASSED_ON.has(name) || name.startsWith('x-'));
  const body = request.method === 'GET' || request.method === 'HEAD' ? null : request.body ?? (await request.blob()).stream();
  send(port, { type: 'request', port: target.port, method: request.method, path: target.path, fields, hasBody: body !== null } satisfies PortRequest);
  return new Promise((resolve) => {
    const uploads = body?.getReader() ?? null;
    const downloads = new Download(port);
    port.onmessage = ({ data }: MessageEvent<FromLink>) => {
      switch (data.type) {
        case 'pull': return void upload(port, uploads);
        case 'head': return resolve(response(data, downloads, target, root));
        case 'data': return downloads.push(data.bytes);
        case 'end': return downloads.end();
        case 'error':
          // Before the head it is the answer; afterwards a body that broke off.
          downloads.fail(data.message);
          return resolve(failure(target, root, data.message));
      }
    };
  });
}

/** The port of the page that has the session, or null. */
async function callPage(session: string, clients: Clients): Promise<MessagePort | null> {
  const windows = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  const channels = windows.map(() => new MessageChannel());
  const taken = new Promise<MessagePort | null>((resolve) => {
    for (const [i, { port1 }] of channels.entries()) {
      port1.onmessage = ({ data }: MessageEvent<FromLink>) => { if (data.type === 'taken') resolve(port1); };
      windows[i].postMessage({ type: 'portside-port', session }, [channels[i].port2]);
    }
    setTimeout(() => resolve(null), TAKEN_MS);
  });
  const port = await taken;
  for (const { port1 } of channels) if (port1 !== port) port1.close();
  return port;
}

async function upload(port: MessagePort, reader: ReadableStreamDefaultReader<Uint8Array> | null): Promise<void> {
  try {
    const { done, value } = await reader?.read() ?? { done: true };
    send(port, done || value === undefined ? { type: 'end' } : { type: 'data', bytes: value });
  } catch {
    send(port, { type: 'cancel' });
  }
}

/** A body on its way to the browser. */
class Download {
  readonly stream: ReadableStream<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #isOver = false;
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
    this.stream = new ReadableStream<Uint8Array>({
      start: (controller) => { this.#controller = controller; },
      pull: () => { if (!this.#isOver) send(port, { type: 'pull' }); },
      cancel: () => {
        this.#isOver = true;
        send(port, { type: 'cancel' });
        port.close();
      },
    }, { highWaterMark: 0 });
  }

  push(bytes: Uint8Array): void {
    if (!this.#isOver) this.#controller.enqueue(bytes);
  }

  end(): void {
    this.#finish(() => this.#controller.close());
  }

  fail(message: string): void {
    this.#finish(() => this.#controller.error(new TypeError(message)));
  }

  #finish(fn: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    fn();
    this.#port.close();
  }
}

function response(head: Extract<FromLink, { type: 'head' }>, download: Download, target: PortAddress, root: string): Response {
  const headers = new Headers(head.fields.filter(([name]) => PASSED_BACK.has(name)).map(([name, value]): [string, string] => [name, value]));
  const location = head.fields.find(([name]) => name === 'location')?.[1];
  if (location !== undefined) {
    const leads = locate(location, target, root);
    if (leads === null) return failure(target, root, `The server wants to lead to ${location}, which is not in this container.`);
    headers.set('Location', leads);
  }
  let body: ReadableStream<Uint8Array> | null = head.hasBody && !NULL_BODY.has(head.status) ? download.stream : null;
  const coding = head.fields.find(([name]) => name === 'content-encoding')?.[1].trim().toLowerCase();
  if (body !== null && (coding === 'gzip' || coding === 'deflate')) {
    headers.delete('content-length');
    body = body.pipeThrough(new DecompressionStream(coding) as unknown as ReadableWritablePair<Uint8Array, Uint8Array>);
  }
  // At the root of the origin such links come here by themselves.
  if (body !== null && new URL(root).pathname !== '/' && headers.get('content-type')?.startsWith('text/html') === true) {
    headers.delete('content-length');
    const folder = new URL(portUrl(root, target.session, target.port)).pathname;
    body = body.pipeThrough(rootedStream(folder) as unknown as ReadableWritablePair<Uint8Array, Uint8Array>);
  }
  setOurs(headers, target, root);
  return new Response(body, { status: head.status < 200 ? 502 : head.status, statusText: head.reason, headers });
}

/** Where a redirect leads, within the folder of the container; null when that is elsewhere. */
function locate(location: string, target: PortAddress, root: string): string | null {
  try {
    const server = `http://localhost:${target.port}`;
    const url = new URL(location, `${server}${target.path}`);
    const port = url.port === '' ? 80 : Number(url.port);
    if (url.protocol !== 'http:' || !/^(localhost|127\.0\.0\.1|192\.168\.127\.\d+)$/.test(url.hostname)) return null;
    return portUrl(root, target.session, port, `${url.pathname}${url.search}${url.hash}`);
  } catch {
    return null;
  }
}

function setOurs(headers: Headers, target: PortAddress, root: string): void {
  const folder = portUrl(root, target.session, target.port);
  headers.set('Content-Security-Policy', [
    'sandbox allow-same-origin allow-forms allow-popups allow-downloads', "script-src 'none'", "object-src 'none'", "base-uri 'self'", "frame-ancestors 'self'",
    `form-action ${folder}`,
  ].join('; '));
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  headers.set('Referrer-Policy', 'same-origin');
}

/** A page of ours about a page that is not there. */
function failure(target: PortAddress, root: string, message: string): Response {
  const headers = new Headers({ 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store', 'X-Portside-Error': '1' });
  setOurs(headers, target, root);
  const text = message.replaceAll(/[&<>]/g, (char) => `&#${char.charCodeAt(0)};`);
  return new Response(`<!doctype html><html lang="en"><title>Port ${target.port}</title><h1>Port ${target.port} of the container</h1><p>${text}</p></html>`, { status: 502, headers });
}

function send(port: MessagePort, message: ToLink): void {
  port.postMessage(message);
}
