/*
 * HTTP of guests, by the browser's fetch.
 *
 *   guest ─▶ request head ─▶ URL ─▶ body, whole ─▶ fetch ─▶ status, fields, body as it arrives ─▶ guest
 *
 * Theory of operation
 *
 * One connection carries one request after the other, as HTTP/1.1 has it. The URL comes from the request: of a client that takes us for
 * a proxy from the target, else from Host, else from the address that the guest connected to. The host's alias always means this
 * computer, whatever Host says. A page from https:// may not fetch http://, so there http becomes https.
 *
 * What fetch does not let us do, and what comes of it. A body is sent when all of it has come (browsers stream uploads over HTTP/2 only,
 * and no page can know): BODY_MAX. Redirects are followed, since their target is hidden; Content-Location says where the answer is from.
 * Bodies arrive decoded, so Content-Length and Content-Encoding go, but for answers of the page's own server, whose fields we see
 * all. Fields that a page may not set (Host, Cookie, Origin, User-Agent, …) are the browser's; those which would only
 * cost a preflight go too. Cookies and the user's logins are never sent. CORS decides which servers answer at all: a refusal, which looks to a
 * page like a server that is away, becomes 502 with a text for a person.
 *
 * The page's own server would take our requests for the page's: it gets GET and HEAD, nothing else.
 */
import type { ByteReader } from './byte-reader.ts';
import { ProtocolError } from './byte-reader.ts';
import type { Field, RequestHead } from './http1.ts';
import { emitHead, endToEnd, fieldOf, isPersistent, parseRequestHead, requestBody, wordsOf } from './http1.ts';
import type { Destination } from './page-host-net.ts';
import type { ByteStream } from './page-socket.ts';

/** longest body of a request, in bytes */
export const BODY_MAX = 64 << 20;
/** fetches under way at a time; what comes beyond waits */
const FETCHES_MAX = 64;

/** fields of requests that stay here: the browser's own, those that fetch would answer differently for, and mere wishes to caches */
const NOT_SENT = new Set([
  'host', 'content-length', 'expect', 'user-agent', 'accept-encoding', 'cookie', 'cookie2', 'origin', 'referer', 'via', 'dnt', 'date',
  'if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'cache-control', 'pragma', 'upgrade-insecure-requests',
]);
const NOT_RETURNED = new Set(['content-length', 'content-encoding', 'set-cookie', 'alt-svc', 'strict-transport-security']);

export interface GatewayEnv {
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** the page's: `https://host:port` */
  readonly pageOrigin: string;
}

/** Loopback under any name. */
function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || /^127(\.\d{1,3}){3}$/.test(hostname) || hostname === '[::1]';
}

export class HttpGateway {
  readonly #env: GatewayEnv;
  readonly #page: URL;
  #fetching = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(env: GatewayEnv) {
    this.#env = env;
    this.#page = new URL(env.pageOrigin);
  }

  /** Serves requests until the connection ends. Resolves with a destination when the client wants a tunnel to it. Rejects when the stream breaks. */
  async serve(stream: ByteStream, reader: ByteReader, destination: Destination, scheme: 'http' | 'https'): Promise<Destination | null> {
    // What nobody waits for any more need not be fetched.
    const gone = new AbortController();
    void stream.closed.then(() => gone.abort());
    for (;;) {
      let text: string | null;
      try {
        text = await reader.head();
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        return refuse(stream, '400 Bad Request', error.message);
      }
      if (text === null) {
        stream.finish();
        return null;
      }
      const head = parseRequestHead(text);
      if (typeof head === 'string') return refuse(stream, '400 Bad Request', `not a request (${head})`);
      if (head.method === 'CONNECT') {
        const tunnel = parseAuthority(head.target);
        if (tunnel === null) return refuse(stream, '400 Bad Request', 'CONNECT wants HOST:PORT');
        await stream.send(emitHead('HTTP/1.1 200 Connection established', []));
        return tunnel;
      }
      if (!await this.#answer(stream, reader, head, destination, scheme, gone.signal)) {
        stream.finish();
        // What still comes is read, or the guest would see a reset before it has read the answer.
        while (await reader.peek() !== null) reader.takeRest();
        return null;
      }
    }
  }

  /** False: the connection ends with this answer. */
  async #answer(stream: ByteStream, reader: ByteReader, head: RequestHead, destination: Destination, scheme: 'http' | 'https', signal: AbortSignal): Promise<boolean> {
    const length = requestBody(head);
    if (typeof length === 'string') return sendError(stream, head, '400 Bad Request', `the body has no clear length (${length})`, false);
    const url = this.#urlOf(head, destination, scheme);
    const refusal = url === null ? ['400 Bad Request', 'neither the request nor its Host field names a server'] as const : this.#judge(head, url);
    const isTooLong = length.kind === 'length' && length.bytes > BODY_MAX;
    if (refusal !== null || isTooLong) {
      const hasBody = length.kind !== 'length' || length.bytes > 0;
      const [status, why] = refusal ?? ['413 Content Too Large', `a page sends at most ${BODY_MAX >> 20} MiB at once`];
      return sendError(stream, head, status, why, !hasBody);
    }
    if (wordsOf(head.fields, 'expect').includes('100-continue')) await stream.send(emitHead('HTTP/1.1 100 Continue', []));
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of reader.body(length)) {
      bytes += part.length;
      if (bytes > BODY_MAX) return sendError(stream, head, '413 Content Too Large', `a page sends at most ${BODY_MAX >> 20} MiB at once`, false);
      parts.push(part);
    }
    await this.#turn();
    try {
      return await this.#fetch(stream, head, url!, bytes === 0 ? null : new Blob(parts as BlobPart[]), signal);
    } finally {
      this.#fetching--;
      this.#waiting.shift()?.();
    }
  }

  async #turn(): Promise<void> {
    while (this.#fetching >= FETCHES_MAX) await new Promise<void>((resolve) => { this.#waiting.push(resolve); });
    this.#fetching++;
  }

  async #fetch(stream: ByteStream, head: RequestHead, url: URL, body: Blob | null, signal: AbortSignal): Promise<boolean> {
    let response: Response;
    try {
      response = await this.#env.fetch(url.href, {
        method: head.method, headers: sentFields(head.fields), body: head.method === 'GET' || head.method === 'HEAD' ? null : body,
        mode: 'cors', credentials: 'omit', cache: 'no-store', redirect: 'follow', referrerPolicy: 'no-referrer', signal,
      });
    } catch (error) {
      return sendError(stream, head, '502 Blocked by the browser or unreachable', this.#whyBlocked(url, error), true);
    }
    try {
      return await sendResponse(stream, head, response, new URL(response.url === '' ? url : response.url).origin === this.#page.origin);
    } catch (error) {
      // The guest must not take half a body for a whole one.
      stream.abort();
      throw error;
    }
  }

  #urlOf(head: RequestHead, destination: Destination, scheme: 'http' | 'https'): URL | null {
    const isProxied = /^https?:\/\//i.test(head.target);
    if (!isProxied && !head.target.startsWith('/')) return null;
    const host = fieldOf(head.fields, 'host');
    const port = destination.port === (scheme === 'https' ? 443 : 80) ? '' : `:${destination.port}`;
    // Host may name any port; the one that was connected to counts where it names none.
    const authority = isLoopback(destination.host) || host === null || host === '' ? `${destination.host}${port}` : host;
    const url = parseUrl(isProxied ? head.target : `${scheme}://${authority}${head.target}`);
    if (url === null || url.username !== '' || url.password !== '') return null;
    url.hash = '';
    if (/^(host|gateway)\.(containers|docker)\.internal$/.test(url.hostname) || url.hostname === '192.168.127.254') url.hostname = '127.0.0.1';
    if (this.#page.protocol === 'https:' && url.protocol === 'http:' && !isLoopback(url.hostname)) {
      url.protocol = 'https:';
      if (url.port === '80') url.port = '';
    }
    return url;
  }

  /** Null: it may go. */
  #judge(head: RequestHead, url: URL): readonly [string, string] | null {
    if (head.method === 'TRACE' || head.method === 'TRACK') return ['405 Method Not Allowed', `a page cannot send ${head.method}`];
    if (wordsOf(head.fields, 'upgrade').includes('websocket')) return ['501 Not Implemented', 'WebSockets need a relay: ?net=relay=https://HOST'];
    const isReading = head.method === 'GET' || head.method === 'HEAD';
    if (!isReading && this.#isPagesServer(url)) return ['403 Forbidden', 'the server of this page would take this request for the page\'s own'];
    return null;
  }

  /** The page's origin, or the same port of this computer under another name. */
  #isPagesServer(url: URL): boolean {
    if (url.origin === this.#page.origin) return true;
    const portOf = (of: URL): string => (of.port !== '' ? of.port : of.protocol === 'https:' ? '443' : '80');
    return isLoopback(url.hostname) && isLoopback(this.#page.hostname) && portOf(url) === portOf(this.#page);
  }

  #whyBlocked(url: URL, error: unknown): string {
    return [
      `The browser did not fetch ${url.origin}${url.pathname} (${error instanceof Error ? error.message : String(error)}).`,
      'It does not tell a page why. Either the server cannot be reached, or its certificate is not valid, or it does not let other pages read',
      `what it serves: then it would have to send Access-Control-Allow-Origin for ${this.#page.origin} (CORS).`,
      'A relay reaches every server: run one, and open this page with ?net=relay=https://HOST.',
    ].join('\n');
  }
}

const LAST_CHUNK = Uint8Array.of(0x30, 13, 10, 13, 10);
const CRLF = Uint8Array.of(13, 10);

/** `isOpen`: all fields of the response can be seen. */
async function sendResponse(stream: ByteStream, head: RequestHead, response: Response, isOpen: boolean): Promise<boolean> {
  const fields = [...response.headers].filter(([name]) => !NOT_RETURNED.has(name));
  // Of other servers a page does not see how the body was encoded, and so not how long it is now.
  const length = isOpen && !response.headers.has('content-encoding') ? response.headers.get('content-length') : null;
  const hasNoBody = head.method === 'HEAD' || response.status === 204 || response.status === 304;
  const isChunked = length === null && !hasNoBody && head.minor === 1;
  const keep = isPersistent(head) && (isChunked || hasNoBody || length !== null);
  const out: Field[] = endToEnd(fields);
  if (response.redirected) out.push(['content-location', response.url]);
  if (length !== null && response.status !== 204) out.push(['content-length', length]);
  if (isChunked) out.push(['transfer-encoding', 'chunked']);
  out.push(['via', '1.1 portside'], ['connection', keep ? 'keep-alive' : 'close']);
  await stream.send(emitHead(`HTTP/1.1 ${response.status} ${response.statusText}`, out));
  if (hasNoBody) {
    void response.body?.cancel().catch(() => undefined);
    return keep;
  }
  if (response.body !== null) await sendBody(stream, response.body, isChunked);
  if (isChunked) await stream.send(LAST_CHUNK);
  return keep;
}

async function sendBody(stream: ByteStream, body: ReadableStream<Uint8Array>, isChunked: boolean): Promise<void> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (value.length === 0) continue;
      if (isChunked) await stream.send(Uint8Array.from(`${value.length.toString(16)}\r\n`, (char) => char.charCodeAt(0)));
      await stream.send(value);
      if (isChunked) await stream.send(CRLF);
    }
  } catch (error) {
    void reader.cancel().catch(() => undefined);
    throw error;
  }
}

function sentFields(fields: readonly Field[]): Headers {
  const headers = new Headers();
  for (const [name, value] of endToEnd(fields)) {
    if (!NOT_SENT.has(name) && !name.startsWith('sec-') && !name.startsWith('proxy-')) headers.append(name, value);
  }
  return headers;
}

function parseAuthority(target: string): Destination | null {
  const url = /^[^/?#@]+:\d{1,5}$/.test(target) ? parseUrl(`http://${target}`) : null;
  if (url === null) return null;
  return { host: url.hostname, port: url.port === '' ? 80 : Number(url.port) };
}

function parseUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** Answers with an error; false ends the connection. */
async function sendError(stream: ByteStream, head: RequestHead, status: string, text: string, mayKeep: boolean): Promise<boolean> {
  const body = new TextEncoder().encode(`portside: ${text}\n`);
  const keep = mayKeep && isPersistent(head);
  await stream.send(emitHead(`HTTP/1.1 ${status}`, [
    ['content-type', 'text/plain; charset=utf-8'], ['content-length', String(body.length)], ['via', '1.1 portside'], ['connection', keep ? 'keep-alive' : 'close'],
  ]));
  if (head.method !== 'HEAD') await stream.send(body);
  return keep;
}

async function refuse(stream: ByteStream, status: string, text: string): Promise<null> {
  await sendError(stream, { method: 'GET', target: '', minor: 1, fields: [] }, status, text, false);
  stream.finish();
  return null;
}
