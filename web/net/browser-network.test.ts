import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { GATEWAY_IP, ip } from '../../shared/net/stack/fixture/frames.ts';
import type { UnicastIpv4 } from '../../shared/net/wire/addr.ts';
import { formatIpv4 } from '../../shared/net/wire/addr.ts';
import { DNS_NOERROR, DNS_NXDOMAIN, DNS_TYPE_AAAA } from '../../shared/net/wire/dns.ts';
import { TcpNat } from '../../shared/net/nat/tcp-nat.ts';
import { BrowserNetwork, bugsToConsole } from './browser-network.ts';
import { duplexOf, NetGuest } from './fixture/net-guest.ts';
import { HEAD_MAX } from './http1.ts';
import { BODY_MAX } from './http-gateway.ts';
import { NAMES_MAX, NamePool } from './name-pool.ts';
import { CONNECTIONS_MAX } from './page-host-net.ts';
import type { ByteStream } from './page-socket.ts';

const ALIAS_IP = ip('192.168.127.254');
const FILE = randomBytes(3 << 20);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

let server: Server;
/** what the server was asked, in order */
let asked: IncomingMessage[] = [];
let network: BrowserNetwork;
let guest: NetGuest;
/** what fetch was called with; names lead to the local server */
let fetched: string[] = [];

function answer(request: IncomingMessage, response: ServerResponse): void {
  asked.push(request);
  const path = request.url ?? '';
  if (path === '/file') return void response.writeHead(200, { 'content-length': FILE.length, 'set-cookie': 'a=b', connection: 'keep-alive, x-hop', 'x-hop': '1', 'x-own': 'yes' }).end(FILE);
  if (path === '/moved') return void response.writeHead(302, { location: '/file' }).end();
  if (path === '/zipped') return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('unzipped'));
  if (path === '/broken') {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('half');
    return void setTimeout(() => response.destroy(), 20);
  }
  if (path === '/nothing') return void response.writeHead(204).end();
  const hash = createHash('sha256');
  request.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => response.end(hash.digest('hex')));
}

beforeAll(async () => {
  server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
const port = (): number => (server.address() as AddressInfo).port;

beforeEach(() => {
  asked = [];
  fetched = [];
  network = new BrowserNetwork({
    pageOrigin: 'http://page.test',
    acceptTls: null,
    fetch: (url, init) => {
      fetched.push(`${init.method} ${url}`);
      const { pathname, hostname } = new URL(url);
      if (hostname === 'refused.test') return Promise.reject(new TypeError('Failed to fetch'));
      return fetch(`http://127.0.0.1:${port()}${pathname}`, init);
    },
  });
  guest = new NetGuest((sink) => network.attach(sink));
});
afterEach(async () => {
  network.close();
  guest.close();
});

interface Answer { status: number; reason: string; headers: IncomingMessage['headers']; body: Buffer }

/** Node's HTTP client in the guest. */
async function ask(target: { ip: UnicastIpv4; port?: number }, options: { path?: string; method?: string; headers?: Record<string, string>; body?: Uint8Array }): Promise<Answer> {
  const stream = duplexOf(await guest.connect(target.ip, target.port ?? 80));
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => stream, path: options.path ?? '/', method: options.method ?? 'GET', headers: { host: 'example.test', connection: 'close', ...options.headers },
    }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part)).on('end', () => resolve({
        status: response.statusCode!, reason: response.statusMessage!, headers: response.headers, body: Buffer.concat(parts),
      })).on('error', reject);
    });
    request.on('error', reject).end(options.body);
  });
}

async function readAll(stream: ByteStream): Promise<string> {
  let text = '';
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) text += Buffer.from(bytes).toString('latin1');
  return text;
}

describe('names', () => {
  test('each has an address of its own, the same each time; what no URL can name has none', async () => {
    const [a, b, again] = [await guest.resolve('a.example'), await guest.resolve('b.example'), await guest.resolve('A.example')];
    expect([a.rcode, formatIpv4(a.ip as UnicastIpv4), b.rcode, formatIpv4(b.ip as UnicastIpv4), again.ip]).toEqual([DNS_NOERROR, '198.18.1.0', DNS_NOERROR, '198.18.1.1', a.ip]);
    expect(await guest.resolve('a.example', DNS_TYPE_AAAA)).toEqual({ rcode: DNS_NOERROR, ip: null });
    for (const name of ['x.invalid', '_http._tcp.example.org', 'lonely', 'printer.local']) expect([name, (await guest.resolve(name)).rcode]).toEqual([name, DNS_NXDOMAIN]);
    expect(formatIpv4((await guest.resolve('host.containers.internal')).ip as UnicastIpv4)).toBe('192.168.127.254');
  });

  test('the table is bounded, and the oldest name makes room', () => {
    const names = new NamePool();
    const first = names.ipOf('n0.example');
    for (let i = 1; i <= NAMES_MAX; i++) names.ipOf(`n${i}.example`);
    expect([names.nameOf(first), names.ipOf('n1.example')]).toEqual([`n${NAMES_MAX}.example`, first + 1]);
  });
});

describe('HTTP by fetch', () => {
  test('a file comes whole, by name, without what belongs to one connection', async () => {
    const { ip: address } = await guest.resolve('files.example');
    const { status, headers, body } = await ask({ ip: address as UnicastIpv4 }, { path: '/file', headers: { host: 'files.example' } });
    expect([status, sha256(body), headers['x-own'], headers['x-hop'], headers['set-cookie'], headers['transfer-encoding'], headers['content-length']])
      .toEqual([200, sha256(FILE), 'yes', undefined, undefined, 'chunked', undefined]);
    expect(fetched).toEqual(['GET http://files.example/file']);
  });

  test('the page\'s own server shows all: a length stays a length', async () => {
    const own = new BrowserNetwork({ pageOrigin: `http://127.0.0.1:${port()}`, acceptTls: null, fetch: (url, init) => fetch(url, init) });
    guest.close();
    guest = new NetGuest((sink) => own.attach(sink));
    const { headers, body } = await ask({ ip: ALIAS_IP, port: port() }, { path: '/file' });
    expect([sha256(body), headers['content-length']]).toEqual([sha256(FILE), String(FILE.length)]);
    expect((await ask({ ip: ALIAS_IP, port: port() }, { path: '/zipped' })).body.toString()).toBe('unzipped');
    own.close();
  });

  test('an exception of ours costs the connection in which it came, and the console hears of it once', async () => {
    const told = vi.spyOn(console, 'error').mockImplementation(() => {});
    const own = new BrowserNetwork({ pageOrigin: `http://127.0.0.1:${port()}`, acceptTls: null, fetch: (url, init) => fetch(url, init), onBug: bugsToConsole() });
    guest.close();
    guest = new NetGuest((sink) => own.attach(sink));
    const fault = vi.spyOn(TcpNat.prototype, 'onSyn').mockImplementation(() => { throw new Error('on purpose'); });
    for (let i = 0; i < 2; i++) await expect(ask({ ip: ALIAS_IP, port: port() }, { path: '/file' })).rejects.toThrow();
    fault.mockRestore();
    expect(sha256((await ask({ ip: ALIAS_IP, port: port() }, { path: '/file' })).body)).toBe(sha256(FILE));
    expect(told).toHaveBeenCalledTimes(1);
    expect(own.stats()['bugsCaught']).toBeGreaterThanOrEqual(2);
    told.mockRestore();
    own.close();
  });

  test('a client without Host is understood by the address that it asked for', async () => {
    const { ip: address } = await guest.resolve('old.example');
    const stream = await guest.connect(address as UnicastIpv4, 80);
    await stream.send(new TextEncoder().encode('GET /nothing HTTP/1.0\r\n\r\n'));
    expect(await readAll(stream)).toMatch(/^HTTP\/1\.1 204 No Content\r\n/);
    expect(fetched).toEqual(['GET http://old.example/nothing']);
  });

  test('a body goes out as it came, and fields that are the browser\'s stay here', async () => {
    const body = randomBytes(700_000);
    const headers = { 'content-type': 'text/plain', cookie: 'secret', 'user-agent': 'curl/8', 'x-key': '1', 'if-none-match': '"a"', 'transfer-encoding': 'chunked' };
    const { body: hash } = await ask({ ip: ip('203.0.113.1') }, { method: 'PUT', path: '/up', headers, body });
    expect(hash.toString()).toBe(sha256(body));
    const sent = asked[0].headers;
    expect([sent['content-type'], sent['x-key'], sent.cookie, sent['if-none-match'], sent['user-agent']]).toEqual(['text/plain', '1', undefined, undefined, expect.not.stringContaining('curl')]);
  });

  test('one connection, several requests; 100-continue; a redirect says where the answer is from', async () => {
    const stream = await guest.connect(ip('203.0.113.1'), 80);
    await stream.send(new TextEncoder().encode('PUT /a HTTP/1.1\r\nHost: x.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n'));
    expect(Buffer.from((await stream.read())!).toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    await stream.send(new TextEncoder().encode('abcGET /zipped HTTP/1.1\r\nHost: x.test\r\n\r\n\r\nHEAD /moved HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n'));
    const text = await readAll(stream);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200']);
    expect(text).toContain(sha256(Buffer.from('abc')));
    expect(text).toContain('\r\n8\r\nunzipped\r\n0\r\n\r\n');
    expect(text).toMatch(/content-location: http:\/\/127\.0\.0\.1:\d+\/file\r\n/);
    expect(text).not.toMatch(/content-encoding/i);
  });

  test('a body that breaks off is a reset, never a short file', async () => {
    await expect(ask({ ip: ip('203.0.113.1') }, { path: '/broken' })).rejects.toThrow(/aborted|reset/);
  });

  test('a client that goes away ends what was fetched for it', async () => {
    let signal: AbortSignal | null = null;
    const slow = new BrowserNetwork({ pageOrigin: 'http://page.test', acceptTls: null, fetch: (_url, init) => { signal = init.signal ?? null; return new Promise(() => {}); } });
    guest.close();
    guest = new NetGuest((sink) => slow.attach(sink));
    const stream = await guest.connect(ip('203.0.113.1'), 80);
    await stream.send(new TextEncoder().encode('GET / HTTP/1.1\r\nHost: x.test\r\n\r\n'));
    await expect.poll(() => signal).not.toBeNull();
    expect(signal!.aborted).toBe(false);
    stream.abort();
    await expect.poll(() => signal!.aborted).toBe(true);
    slow.close();
  });

  test('what the browser refuses is a 502 that says what to do', async () => {
    const { status, reason, body } = await ask({ ip: ip('203.0.113.1') }, { headers: { host: 'refused.test' } });
    expect([status, reason]).toEqual([502, 'Blocked by the browser or unreachable']);
    expect(body.toString()).toContain('Access-Control-Allow-Origin for http://page.test');
  });

  test('as an explicit proxy, on a port of the host\'s alias: absolute URLs, and CONNECT', async () => {
    await ask({ ip: ALIAS_IP, port: 3128 }, { path: 'http://proxied.example:81/file' });
    const stream = await guest.connect(ALIAS_IP, 3128);
    await stream.send(new TextEncoder().encode('CONNECT inner.example:8080 HTTP/1.1\r\nHost: inner.example:8080\r\n\r\n'));
    expect(Buffer.from((await stream.read())!).toString()).toMatch(/^HTTP\/1\.1 200 /);
    await stream.send(new TextEncoder().encode('GET /nothing HTTP/1.1\r\nHost: inner.example:8080\r\nConnection: close\r\n\r\n'));
    expect(await readAll(stream)).toMatch(/^HTTP\/1\.1 204 /);
    expect(fetched).toEqual(['GET http://proxied.example:81/file', 'GET http://inner.example:8080/nothing']);
  });

  test('the alias is this computer, whatever Host says', async () => {
    await ask({ ip: ALIAS_IP, port: 3000 }, { path: '/nothing', headers: { host: 'host.containers.internal:3000' } });
    await ask({ ip: ALIAS_IP, port: 3000 }, { path: '/nothing', headers: { host: 'elsewhere.example' } });
    expect(fetched).toEqual(['GET http://127.0.0.1:3000/nothing', 'GET http://127.0.0.1:3000/nothing']);
  });

  test.each([
    ['POST', 'page.test', 403], ['GET', 'page.test', 200], ['TRACE', 'x.test', 405], ['GET', 'user:pw@x.test', 400], ['GET', 'a b', 400],
  ])('%s to %s is answered %d', async (method, host, status) => {
    expect((await ask({ ip: ip('203.0.113.1') }, { method, headers: { host } })).status).toBe(status);
  });

  test.each([
    ['nonsense\r\n\r\n', 400], ['GET / HTTP/1.1\r\nHost : x\r\n\r\n', 400], ['GET / HTTP/1.1\r\nHost: x.test\r\n folded\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
    ['POST / HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 400],
    [`PUT / HTTP/1.1\r\nHost: x.test\r\nContent-Length: ${BODY_MAX + 1}\r\n\r\n`, 413],
    [`GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(300)}\r\n`, 400],
  ])('hostile: %j is refused, and nothing is fetched', async (text, status) => {
    const stream = await guest.connect(ip('203.0.113.1'), 80);
    await stream.send(new TextEncoder().encode(text));
    stream.finish();
    expect(await readAll(stream)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(fetched).toEqual([]);
  });

  test('a head without an end is a 400 as soon as it is too long', async () => {
    const stream = await guest.connect(ip('203.0.113.1'), 80);
    await stream.send(new TextEncoder().encode(`GET / HTTP/1.1\r\nHost: x.test\r\nX: ${'y'.repeat(HEAD_MAX)}`));
    expect(await readAll(stream)).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('a page from https:// asks by https, this computer by http', async () => {
    const secure = new BrowserNetwork({ pageOrigin: 'https://page.test', acceptTls: null, fetch: (url) => { fetched.push(url); return Promise.resolve(new Response(null)); } });
    guest.close();
    guest = new NetGuest((sink) => secure.attach(sink));
    await ask({ ip: ip('203.0.113.1') }, { path: '/x', headers: { host: 'a.test' } });
    await ask({ ip: ALIAS_IP, port: 3000 }, { path: '/y' });
    expect(fetched).toEqual(['https://a.test/x', 'http://127.0.0.1:3000/y']);
    secure.close();
  });
});

describe('what is no HTTP', () => {
  test.each([22, 443, 25])('TCP to port %d is refused at once: no way out of a browser', async (closed) => {
    const stream = await guest.connect(ip('203.0.113.1'), closed);
    await expect.poll(() => guest.counters()['drop:icmp-error'] ?? network.stats()['pageRefused']).toBeGreaterThan(0);
    stream.abort();
  });

  test('a port that may be anything is reset when TLS comes without TLS here', async () => {
    const stream = await guest.connect(ip('203.0.113.1'), 8443);
    await stream.send(Uint8Array.of(22, 3, 1, 0, 1, 0));
    await expect(stream.read()).rejects.toThrow(/reset/);
  });

  test('the gateway itself has no port but DNS', async () => {
    const stream = await guest.connect(GATEWAY_IP, 80);
    await expect(stream.read()).rejects.toThrow(/reset/);
  });

  test('connections are capped, and nothing is left when they end', async () => {
    const first = await guest.connect(ip('203.0.113.1'), 80);
    first.finish();
    expect(await first.read()).toBeNull();
    await expect.poll(() => network.stats()['pageConnectionsOpen']).toBe(0);
    const streams = await Promise.all(Array.from({ length: CONNECTIONS_MAX + 1 }, () => guest.connect(ip('203.0.113.1'), 80)));
    await expect.poll(() => network.stats()['pageConnectionsOpen']).toBe(CONNECTIONS_MAX);
    await expect.poll(() => network.stats()['pageRefused']).toBe(1);
    for (const stream of streams) stream.finish();
    await expect.poll(() => network.stats()['pageConnectionsOpen']).toBe(0);
  });
});

describe('into the guest', () => {
  test('a connection to its server, both ways, and many bytes', async () => {
    guest.listen(80, (stream) => void (async () => {
      const body = Buffer.from(await readAll(stream), 'latin1');
      await stream.send(new TextEncoder().encode(sha256(body)));
      stream.finish();
    })());
    const stream = network.connect(guest.ip, 80);
    for (let at = 0; at < FILE.length; at += 50_000) await stream.send(Uint8Array.from(FILE.subarray(at, at + 50_000)));
    stream.finish();
    expect(await readAll(stream)).toBe(sha256(FILE));
  });

  test('nobody listens, and nobody is there', async () => {
    await expect(network.connect(guest.ip, 81).read()).rejects.toThrow(/reset/);
    await expect(network.connect(ip('192.168.127.99'), 80).read()).rejects.toThrow(/reset/);
  });

  test('guests of one network reach each other', async () => {
    const other = new NetGuest((sink) => network.attach(sink), 1);
    guest.listen(7, (stream) => void stream.read().then(async (bytes) => {
      await stream.send(bytes!);
      stream.finish();
    }));
    const stream = await other.connectNeighbor(guest.ip, 7);
    await stream.send(new TextEncoder().encode('hello'));
    expect(await readAll(stream)).toBe('hello');
    other.close();
  });
});
