/*
 * One request of a document, answered by a server in a container: what the page's service worker (ports.ts) and the one of the frame
 * origin (frame-worker.ts) have in common. How each finds the page, and what it lets pass, is its PortSite.
 */
/// <reference lib="webworker" />
import type { Fields, FromLink, PortRequest, ToLink } from '../port-protocol.ts';

/** longest wait for the page that has the container, in `ms` */
const TAKEN_MS = 5000;
const NULL_BODY = new Set([101, 204, 205, 304]);

export interface PortSite {
  readonly port: number;
  /** the windows that may have the container */
  windows(): Promise<readonly Client[]>;
  /** what they are asked for */
  readonly call: object;
  passesOn(name: string): boolean;
  passesBack(name: string): boolean;
  /** the address under which this origin shows a path of a port of the container; null when it does not */
  locate(port: number, path: string): string | null;
  /** what each response of this origin has, whatever the container's server says */
  setOurs(headers: Headers): void;
  rewrite?(body: ReadableStream<Uint8Array>, headers: Headers): ReadableStream<Uint8Array>;
}

/** `path` begins with a slash and has its query. */
export async function forward(request: Request, path: string, site: PortSite): Promise<Response> {
  const port = await callPage(site);
  if (port === null) return failure(site, 'There is no such container any more: its page was closed, or it was restarted.');
  const fields: Fields = [...request.headers].filter(([name]) => site.passesOn(name));
  const body = request.method === 'GET' || request.method === 'HEAD' ? null : request.body ?? (await request.blob()).stream();
  send(port, { type: 'request', port: site.port, method: request.method, path, fields, hasBody: body !== null } satisfies PortRequest);
  return new Promise((resolve) => {
    const uploads = body?.getReader() ?? null;
    const downloads = new Download(port);
    port.onmessage = ({ data }: MessageEvent<FromLink>) => {
      switch (data.type) {
        case 'pull': return void upload(port, uploads);
        case 'head': return resolve(response(data, downloads, path, site));
        case 'data': return downloads.push(data.bytes);
        case 'end': return downloads.end();
        case 'error':
          // Before the head it is the answer; afterwards a body that broke off.
          downloads.fail(data.message);
          return resolve(failure(site, data.message));
      }
    };
  });
}

/** The port of the page that has the container, or null. */
async function callPage(site: PortSite): Promise<MessagePort | null> {
  const windows = await site.windows();
  const channels = windows.map(() => new MessageChannel());
  const taken = new Promise<MessagePort | null>((resolve) => {
    for (const [i, { port1 }] of channels.entries()) {
      port1.onmessage = ({ data }: MessageEvent<FromLink>) => { if (data.type === 'taken') resolve(port1); };
      windows[i].postMessage(site.call, [channels[i].port2]);
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

function response(head: Extract<FromLink, { type: 'head' }>, download: Download, path: string, site: PortSite): Response {
  const headers = new Headers(head.fields.filter(([name]) => site.passesBack(name)).map(([name, value]): [string, string] => [name, value]));
  const location = head.fields.find(([name]) => name === 'location')?.[1];
  if (location !== undefined) {
    const leads = locate(location, path, site);
    if (leads !== null) headers.set('Location', leads);
    else if (head.status >= 300 && head.status < 400) return failure(site, `The server wants to lead to ${location}, which is not shown here.`);
    else headers.delete('Location');
  }
  let body: ReadableStream<Uint8Array> | null = head.hasBody && !NULL_BODY.has(head.status) ? download.stream : null;
  const coding = head.fields.find(([name]) => name === 'content-encoding')?.[1].trim().toLowerCase();
  if (body !== null && (coding === 'gzip' || coding === 'deflate')) {
    headers.delete('content-length');
    body = body.pipeThrough(new DecompressionStream(coding) as unknown as ReadableWritablePair<Uint8Array, Uint8Array>);
  }
  if (body !== null && site.rewrite !== undefined) body = site.rewrite(body, headers);
  site.setOurs(headers);
  return new Response(body, { status: head.status < 200 ? 502 : head.status, statusText: head.reason, headers });
}

/** Where a redirect leads; null when that is nowhere in the container. */
function locate(location: string, path: string, site: PortSite): string | null {
  try {
    const url = new URL(location, `http://localhost:${site.port}${path}`);
    if (url.protocol !== 'http:' || !/^(localhost|127\.0\.0\.1|192\.168\.127\.\d+)$/.test(url.hostname)) return null;
    return site.locate(url.port === '' ? 80 : Number(url.port), `${url.pathname}${url.search}${url.hash}`);
  } catch {
    return null;
  }
}

/** A page of ours about a page that is not there. */
function failure(site: PortSite, message: string): Response {
  const headers = new Headers({ 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store', 'X-Portside-Error': '1' });
  site.setOurs(headers);
  const text = message.replaceAll(/[&<>]/g, (char) => `&#${char.charCodeAt(0)};`);
  return new Response(`<!doctype html><html lang="en"><title>Port ${site.port}</title><h1>Port ${site.port} of the container</h1><p>${text}</p></html>`, { status: 502, headers });
}

function send(port: MessagePort, message: ToLink): void {
  port.postMessage(message);
}
