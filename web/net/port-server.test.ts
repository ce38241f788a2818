import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FromLink, PortRequest, ToLink } from '../port-protocol.ts';
import { BrowserNetwork } from './browser-network.ts';
import { CookieJar } from './cookie-jar.ts';
import { duplexOf, NetGuest } from './fixture/net-guest.ts';
import { PortServer, type CallPort } from './port-server.ts';

let network: BrowserNetwork;
let guest: NetGuest;
let ports: PortServer;
let server: Server;
let asked: IncomingMessage[] = [];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(() => {
  asked = [];
  network = new BrowserNetwork({ pageOrigin: 'http://page.test', acceptTls: null, fetch: () => Promise.reject(new Error('no fetch here')) });
  guest = new NetGuest((sink) => network.attach(sink));
  ports = new PortServer((port) => network.connect(guest.ip, port));
  // Node's own server, on the guest's stack.
  server = createServer((request, response) => {
    asked.push(request);
    answer(request, response);
  });
  guest.listen(80, (stream) => server.emit('connection', duplexOf(stream)));
});
afterEach(() => {
  server.closeAllConnections();
  network.close();
  guest.close();
});

/** What the service worker does, in short. */
class Frame {
  readonly seen: FromLink[] = [];
  readonly #port: MessagePort;
  #body: Uint8Array[];

  constructor(request: Partial<PortRequest>, body: Uint8Array[] = []) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#body = body;
    port1.onmessage = ({ data }: MessageEvent<FromLink>) => {
      if (data.type !== 'pull') return void this.seen.push(data);
      const bytes = this.#body.shift();
      this.send(bytes === undefined ? { type: 'end' } : { type: 'data', bytes });
    };
    ports.serve(port2);
    this.send({ type: 'request', port: 80, method: 'GET', path: '/', fields: [], hasBody: body.length > 0, ...request });
  }

  send(message: ToLink): void { this.#port.postMessage(message); }

  /** The text of the whole body, asked for piece by piece. */
  async text(): Promise<string> {
    for (;;) {
      this.send({ type: 'pull' });
      const before = this.seen.length;
      await expect.poll(() => this.seen.length > before || this.last === 'end' || this.last === 'error').toBe(true);
      if (this.last === 'end') break;
      if (this.last === 'error') throw new Error('broke off');
    }
    return this.seen.flatMap((message) => (message.type === 'data' ? [Buffer.from(message.bytes).toString('latin1')] : [])).join('');
  }

  get last(): string | undefined { return this.seen.at(-1)?.type; }

  async head(): Promise<Extract<FromLink, { type: 'head' }>> {
    await expect.poll(() => this.seen.some(({ type }) => type === 'head' || type === 'error')).toBe(true);
    const head = this.seen.find(({ type }) => type === 'head');
    if (head?.type !== 'head') throw new Error(JSON.stringify(this.seen));
    return head;
  }

  async error(): Promise<string> {
    await expect.poll(() => this.last).toBe('error');
    const error = this.seen.at(-1)!;
    return error.type === 'error' ? error.message : '';
  }

  close(): void { this.#port.close(); }
}

describe('a request of a frame', () => {
  test('reaches the server as a browser\'s, and its answer comes in pieces that were asked for', async () => {
    answer = (_request, response) => void response.writeHead(200, { 'content-type': 'text/plain', 'x-y': 'z' }).end('a'.repeat(300_000));
    const frame = new Frame({ path: '/a?b', fields: [['accept', 'text/*']] });
    const head = await frame.head();
    expect([frame.seen[0].type, head.status, head.reason, head.hasBody]).toEqual(['taken', 200, 'OK', true]);
    expect(Object.fromEntries(head.fields)).toMatchObject({ 'content-type': 'text/plain', 'x-y': 'z' });
    expect(frame.seen.some(({ type }) => type === 'data')).toBe(false);
    expect(await frame.text()).toBe('a'.repeat(300_000));
    expect([asked[0].url, asked[0].headers.host, asked[0].headers.accept]).toEqual(['/a?b', 'localhost', 'text/*']);
    frame.close();
  });

  test('a body goes with it', async () => {
    answer = (request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => { bytes += chunk.length; }).on('end', () => response.end(`${request.method} ${bytes}`));
    };
    const frame = new Frame({ method: 'POST' }, [new Uint8Array(70_000), new Uint8Array(5)]);
    expect(await frame.text()).toBe('POST 70005');
    const long = new Frame({ method: 'PUT' }, Array.from({ length: 40 }, () => new Uint8Array(50_000)));
    expect(await long.text()).toBe('PUT 2000000');
    // A simple server understands only the first.
    expect(asked.map(({ headers }) => [headers['content-length'], headers['transfer-encoding']])).toEqual([['70005', undefined], [undefined, 'chunked']]);
    for (const each of [frame, long]) each.close();
  });

  test('cookies stay with the container, and come back to it', async () => {
    answer = (_request, response) => void response.writeHead(204, { 'set-cookie': ['a=1; Path=/', 'b=2; HttpOnly'] }).end();
    const frame = new Frame({ path: '/login/x' });
    expect((await frame.head()).fields.some(([name]) => name === 'set-cookie')).toBe(false);
    await expect.poll(() => frame.last).toBe('end');
    const again = new Frame({ path: '/login/y' });
    await again.head();
    const elsewhere = new Frame({ path: '/' });
    await elsewhere.head();
    expect(asked.map(({ headers }) => headers.cookie)).toEqual([undefined, 'a=1; b=2', 'a=1']);
    for (const each of [frame, again, elsewhere]) each.close();
  });

  test('nobody there, one who speaks no HTTP, and one who breaks off', async () => {
    const nobody = new Frame({ port: 81 });
    expect(await nobody.error()).toContain('Nothing answers on port 81');
    guest.listen(82, (stream) => void stream.send(new TextEncoder().encode('220 mail\r\n\r\n')));
    const mail = new Frame({ port: 82 });
    expect(await mail.error()).toContain('does not speak HTTP');
    answer = (_request, response) => {
      response.writeHead(200, { 'content-length': 10 });
      response.write('half');
      setTimeout(() => response.destroy(), 20);
    };
    const half = new Frame({});
    await half.head();
    await expect(half.text()).rejects.toThrow('broke off');
    for (const each of [nobody, mail, half]) each.close();
  });

  test('a frame that goes away ends the connection', async () => {
    let isClosed = false;
    answer = (_request, response) => {
      response.on('close', () => { isClosed = true; });
      response.write('x'.repeat(1000));
    };
    const frame = new Frame({});
    await frame.head();
    frame.send({ type: 'cancel' });
    await expect.poll(() => isClosed).toBe(true);
    frame.close();
  });

  test('calls have a cap, and one that ends makes room', async () => {
    const calls = Array.from({ length: 1025 }, () => {
      const seen: FromLink[] = [];
      const port: CallPort = { onmessage: null, postMessage: (message) => { seen.push(message); }, close: () => {} };
      ports.serve(port);
      return { seen, port };
    });
    expect(calls.filter(({ seen }) => seen.at(-1)?.type === 'error')).toEqual([calls[1024]]);
    calls[0].port.onmessage!({ data: { type: 'cancel' } } as MessageEvent<ToLink>);
    answer = (_request, response) => void response.end('room');
    await expect.poll(async () => {
      const frame = new Frame({});
      const answered = await frame.head().then(() => true, () => false);
      frame.close();
      return answered;
    }).toBe(true);
  });
});

describe('cookies', () => {
  test('paths, deletions, and a cap', () => {
    const jar = new CookieJar();
    jar.set('a=1; Path=/x', '/');
    jar.set('b=2', '/x/y/z?q=/w');
    expect([jar.get('/'), jar.get('/x'), jar.get('/xy'), jar.get('/x/y/z'), jar.get('/x/y')]).toEqual([null, 'a=1', null, 'a=1; b=2', 'a=1; b=2']);
    jar.set('a=; Path=/x; Max-Age=0', '/');
    jar.set('b=; Path=/x/y; Expires=Thu, 01 Jan 1970 00:00:00 GMT', '/');
    for (const odd of ['', 'x', '=x', `c=${'y'.repeat(5000)}`]) jar.set(odd, '/');
    expect(jar.get('/x/y/z')).toBeNull();
    for (let i = 0; i < 200; i++) jar.set(`c${i}=1`, '/');
    expect(jar.get('/')!.split('; ').length).toBe(100);
  });
});
