/** What the page parses of a guest's when the network is its own: HTTP, and TLS. */
import { Authority, makeAuthority } from '../../web/net/tls/authority.ts';
import { parseClientHello } from '../../web/net/tls/client-hello.ts';
import { acceptTls } from '../../web/net/tls/tls-server.ts';
import { ByteReader, ProtocolError } from '../../web/net/byte-reader.ts';
import { HttpGateway } from '../../web/net/http-gateway.ts';
import { parseRequestHead, parseResponseHead, requestBody, responseBody } from '../../web/net/http1.ts';
import { ConnectionLost, type ByteStream } from '../../web/net/page-socket.ts';
import { Chance } from './chance.ts';
import { check, type FuzzTarget } from './target.ts';

const PAGE = 'http://page.test';
const text = (...lines: string[]): Uint8Array => Uint8Array.from(lines.join('\r\n'), (char) => char.charCodeAt(0));

/** A stream of these bytes, cut by chance, whose other direction is kept. */
class Played implements ByteStream {
  readonly sent: Uint8Array[] = [];
  readonly closed = new Promise<void>(() => {});
  isOver = false;
  readonly #bytes: Uint8Array;
  readonly #chance: Chance | null;
  #at = 0;

  constructor(bytes: Uint8Array, chance: Chance | null) {
    this.#bytes = bytes;
    this.#chance = chance;
  }

  read(): Promise<Uint8Array | null> {
    if (this.#at >= this.#bytes.length) return Promise.resolve(null);
    const start = this.#at;
    this.#at += this.#chance === null ? this.#bytes.length : 1 + this.#chance.below(this.#chance.pick([1, 3, 20, 2000]));
    return Promise.resolve(this.#bytes.slice(start, this.#at));
  }

  send(bytes: Uint8Array): Promise<void> {
    check(!this.isOver, () => 'something is sent behind the end');
    this.sent.push(bytes);
    return Promise.resolve();
  }

  finish(): void { this.isOver = true; }
  abort(): void { this.isOver = true; }
}

/** All messages of a stream as text, and how it ends. */
async function messages(stream: ByteStream, isResponse: boolean): Promise<string[]> {
  const seen: string[] = [];
  const reader = new ByteReader(stream);
  try {
    for (;;) {
      const head = await reader.head();
      if (head === null) return [...seen, 'end'];
      const parsed = isResponse ? parseResponseHead(head) : parseRequestHead(head);
      if (typeof parsed === 'string') return [...seen, parsed];
      const length = 'status' in parsed ? responseBody(parsed, 'GET') : requestBody(parsed);
      seen.push(JSON.stringify([parsed, length]));
      if (typeof length === 'string') return seen;
      let body = '';
      for await (const part of reader.body(length)) body += Buffer.from(part).toString('latin1');
      seen.push(body);
    }
  } catch (error) {
    check(error instanceof ProtocolError, () => `${String(error)} is no error of HTTP`);
    return [...seen, error.message];
  }
}

/** However a stream is cut, it says the same. */
async function runHttp(input: Uint8Array): Promise<void> {
  const stream = input.subarray(1);
  for (const isResponse of [false, true]) {
    const whole = await messages(new Played(stream, null), isResponse);
    const cut = await messages(new Played(stream, new Chance(input[0] ?? 0)), isResponse);
    check(JSON.stringify(whole) === JSON.stringify(cut), () => `${JSON.stringify(whole)} is ${JSON.stringify(cut)} in pieces`);
  }
}

/** Whatever a guest says, fetch is asked only for what a page may ask, and what comes back is HTTP. */
async function runGateway(input: Uint8Array): Promise<void> {
  const stream = new Played(input.subarray(1), new Chance(input[0] ?? 0));
  const gateway = new HttpGateway({
    pageOrigin: PAGE,
    fetch: (href, init) => {
      const url = new URL(href);
      check(/^https?:$/.test(url.protocol) && url.username === '' && url.hash === '', () => `${href} is fetched`);
      check(init.credentials === 'omit' && init.mode === 'cors', () => 'fetched with the user\'s credentials');
      check(url.origin !== PAGE || init.method === 'GET' || init.method === 'HEAD', () => `${init.method} to the page's own server`);
      const headers = init.headers as Headers;
      for (const name of ['host', 'cookie', 'origin', 'transfer-encoding', 'content-length', 'connection']) check(!headers.has(name), () => `${name} is sent`);
      // What the browser's fetch would say to such a method.
      if (/^(connect|trace|track)$/i.test(init.method ?? '')) return Promise.reject(new TypeError('not allowed'));
      return Promise.resolve(new Response(init.method === 'HEAD' ? null : 'fetched', { headers: { 'x-a': 'b' } }));
    },
  });
  await gateway.serve(stream, new ByteReader(stream), { host: 'a.test', port: 80 }, 'http').catch((error: unknown) => {
    check(error instanceof ProtocolError, () => String(error));
  });
  const out = Buffer.concat(stream.sent).toString('latin1');
  check(out === '' || /^HTTP\/1\.1 [1-5]\d\d /.test(out), () => `answered with ${out.slice(0, 100)}`);
}

let authority: Promise<Authority> | null = null;

/** No hello is too odd: an alert or a flight, in records, and an end. */
async function runTls(input: Uint8Array): Promise<void> {
  const bytes = input.subarray(1);
  const hello = parseClientHello(bytes.subarray(9));
  if (typeof hello !== 'string') {
    check(hello.sessionId.length <= 32 && hello.recordMax >= 63 && hello.recordMax <= 16_384, () => JSON.stringify(hello));
    check(hello.serverName === null || /^[a-z0-9._-]{1,253}$/.test(hello.serverName), () => `the name ${hello.serverName}`);
  }
  authority ??= makeAuthority(1_700_000_000_000).then((stored) => new Authority(stored));
  const known = await authority;
  const stream = new Played(bytes, new Chance(input[0] ?? 0));
  const outcome: unknown = await acceptTls(stream, new ByteReader(stream), (name) => known.certificateFor(name ?? 'x.test')).then(() => 'a connection', (error: unknown) => error);
  check(outcome instanceof ProtocolError || outcome instanceof ConnectionLost, () => `it came to ${String(outcome)}`);
  check(stream.isOver, () => 'nobody ended the connection');
  const out = Buffer.concat(stream.sent);
  let at = 0;
  while (at < out.length) {
    check([20, 21, 22, 23].includes(out[at]) && out[at + 1] === 3 && out[at + 2] === 3 && at + 5 <= out.length, () => `no record at ${at}`);
    at += 5 + out.readUInt16BE(at + 3);
  }
  check(at === out.length, () => 'a record that is cut off');
}

function httpSeeds(): Record<string, Uint8Array> {
  return {
    'requests': text('\x03GET /a?b HTTP/1.1', 'Host: x.test', '', 'POST /c HTTP/1.1', 'Host: x.test', 'Content-Length: 5', 'Content-Type: text/plain', '', 'helloHEAD / HTTP/1.0', '', ''),
    'chunks': text('\x07PUT / HTTP/1.1', 'Host: x.test', 'Transfer-Encoding: chunked', 'Expect: 100-continue', '', '3;a=b', 'abc', 'A', '0123456789', '0', 'T: r', '', 'GET / HTTP/1.1', 'Host: x', '', ''),
    'responses': text('\x05HTTP/1.1 100 Continue', '', 'HTTP/1.1 200 OK', 'Content-Length: 2', 'Set-Cookie: a=b', '', 'okHTTP/1.0 404 Not Found', '', 'rest'),
    'proxy': text('\x02GET http://x.test:81/ HTTP/1.1', 'Host: y.test', 'Proxy-Connection: keep-alive', 'Connection: x-mine', 'X-Mine: 1', '', 'CONNECT x.test:443 HTTP/1.1', '', ''),
    'to-the-page': text('\x01POST / HTTP/1.1', 'Host: page.test', 'Content-Length: 0', '', 'GET / HTTP/1.1', 'Host: page.test', 'Upgrade: websocket', '', ''),
    'two-lengths': text('\x01POST / HTTP/1.1', 'Host: x.test', 'Content-Length: 1', 'Content-Length: 2', '', 'ab'),
  };
}

function tlsSeeds(): Record<string, Uint8Array> {
  const u16 = (value: number): number[] => [value >> 8, value & 255];
  const vector = (bytes: number[], length: 1 | 2): number[] => [...length === 1 ? [bytes.length] : u16(bytes.length), ...bytes];
  const extension = (type: number, bytes: number[]): number[] => [...u16(type), ...vector(bytes, 2)];
  const name = Array.from('www.example.test', (char) => char.charCodeAt(0));
  const hello = (group: number, key: number[], ...more: number[][]): Uint8Array => {
    const extensions = [
      extension(0, vector([0, ...vector(name, 2)], 2)), extension(10, vector([...u16(0x1d), ...u16(0x17)], 2)), extension(13, vector(u16(0x0403), 2)),
      extension(43, vector([3, 4, 3, 3], 1)), extension(51, vector([...u16(group), ...vector(key, 2)], 2)), ...more,
    ].flat();
    const body = [3, 3, ...Array.from({ length: 32 }, (_, i) => i), ...vector(Array.from({ length: 32 }, (_, i) => 64 + i), 1), ...vector([0x13, 1, 0x13, 2], 2), 1, 0, ...vector(extensions, 2)];
    const message = [1, 0, ...u16(body.length), ...body];
    return Uint8Array.of(9, 22, 3, 1, ...u16(message.length), ...message);
  };
  const key = Array.from({ length: 32 }, (_, i) => i + 9);
  const http = Array.from('http/1.1', (char) => char.charCodeAt(0));
  const first = hello(0x1d, key);
  return {
    'hello': first,
    'of-another-group': hello(0x18, [...key, ...key, ...key, 1]),
    'with-protocols': hello(0x1d, key, extension(16, vector(vector(http, 1), 2)), extension(28, u16(1000))),
    'twice': Uint8Array.of(...hello(0x18, key), ...first.subarray(1)),
    'then-data': Uint8Array.of(...first, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 20, ...key.slice(0, 20)),
    'then-an-alert': Uint8Array.of(...first, 21, 3, 3, 0, 2, 2, 48),
  };
}

export const PAGE_TARGETS: readonly FuzzTarget[] = [
  { name: 'http', seeds: httpSeeds, run: runHttp },
  { name: 'http-gateway', seeds: httpSeeds, run: runGateway },
  { name: 'tls-server', seeds: tlsSeeds, run: runTls },
];
