/*
 * GET to a file, over a proxy where one is configured. Node 20's fetch knows no proxies, hence this: plain requests through
 * the proxy with an absolute URL, TLS through CONNECT. A file that is partly there is continued with a range.
 */
import { createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { proxyFor } from './apt-config.ts';

const MAX_REDIRECTS = 5;
/** Silence after which a server counts as gone, in `ms` */
const IDLE_MS = 15_000;

/** What is asked of a server besides the URL. */
export type HttpHeaders = Record<string, string>;

/** An answer that is not the file: a status, or no answer at all (status 0). */
export class HttpFailure extends Error {
  override name = 'HttpFailure';
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Fetches `url` into `file`, which may hold the beginning already. `maxBytes` is the most that is accepted. */
export async function httpGet(url: string, file: string, maxBytes: number, onBytes: (count: number) => void = () => undefined): Promise<void> {
  let from = await stat(file).then(({ size }) => size, () => 0);
  if (from >= maxBytes) from = 0;
  const response = await follow(url, from);
  // 200 to a range request: the server sends everything.
  if (response.statusCode === 200) from = 0;
  let total = from;
  onBytes(from);
  response.on('data', (chunk: Buffer) => {
    total += chunk.length;
    onBytes(chunk.length);
    if (total > maxBytes) response.destroy(new HttpFailure(`${url} is longer than it should be`, 0));
  });
  try {
    await pipeline(response, createWriteStream(file, { flags: from > 0 ? 'a' : 'w' }));
  } catch (error) {
    throw error instanceof HttpFailure ? error : new HttpFailure(`${url}: ${reasonOf(error)}`, 0);
  }
}

async function follow(start: string, from: number): Promise<IncomingMessage> {
  let url = new URL(start);
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const response = await httpSend(url, from > 0 ? { range: `bytes=${from}-` } : {});
    const status = response.statusCode ?? 0;
    if (status === 200 || status === 206) return response;
    response.resume();
    // The part on disk is not a beginning of this file: once more from the start.
    if (status === 416 && from > 0) from = 0;
    else if (status >= 300 && status < 400 && response.headers.location !== undefined) url = new URL(response.headers.location, url);
    else throw new HttpFailure(`${url.href} answers ${status}`, status);
    if (!/^https?:$/.test(url.protocol)) throw new HttpFailure(`${start} leads to ${url.protocol}`, 0);
  }
  throw new HttpFailure(`${start}: too many redirects`, 0);
}

/** One GET; redirects and statuses are the caller's. Rejects with HttpFailure of status 0 when there is no answer. */
export async function httpSend(url: URL, extra: HttpHeaders): Promise<IncomingMessage> {
  const headers: HttpHeaders = { 'user-agent': 'portside', ...extra };
  const proxy = await proxyFor(url);
  const tunnel = proxy !== null && url.protocol === 'https:' ? await connectThrough(proxy, url) : undefined;
  return new Promise((resolve, reject) => {
    const viaProxy = proxy !== null && tunnel === undefined;
    const target = viaProxy
      ? { host: proxy.hostname, port: proxy.port || 80, path: url.href, headers: { ...headers, host: url.host, ...authorization(proxy) } }
      : { host: url.hostname, port: url.port || undefined, path: `${url.pathname}${url.search}`, headers };
    const make = url.protocol === 'https:' && !viaProxy ? httpsRequest : httpRequest;
    const request = make({ ...target, timeout: IDLE_MS, ...(tunnel === undefined ? {} : { createConnection: () => tunnel }) }, resolve);
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', (error) => reject(new HttpFailure(`${url.host}: ${reasonOf(error)}`, 0)));
    request.end();
  });
}

function connectThrough(proxy: URL, url: URL): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const authority = `${url.hostname}:${url.port || 443}`;
    const request = httpRequest({ host: proxy.hostname, port: proxy.port || 80, method: 'CONNECT', path: authority, timeout: IDLE_MS, headers: { host: authority, ...authorization(proxy) } });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', (error) => reject(new HttpFailure(`proxy ${proxy.host}: ${reasonOf(error)}`, 0)));
    request.on('connect', (response, socket) => {
      if (response.statusCode !== 200) return reject(new HttpFailure(`proxy ${proxy.host} answers ${response.statusCode}`, response.statusCode ?? 0));
      const secure = tlsConnect({ socket, servername: url.hostname }, () => resolve(secure));
      secure.on('error', (error) => reject(new HttpFailure(`${url.host}: ${reasonOf(error)}`, 0)));
    });
    request.end();
  });
}

function authorization(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {};
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
}

export function reasonOf(error: unknown): string {
  // Happy eyeballs reports an AggregateError with an empty message.
  const first = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error ? first.message : String(first);
}
