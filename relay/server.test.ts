import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { FLOOD_BATCH_BYTES, frame, FRAME_FLOOD, FRAME_THROW, TestRelay, until, type GuestSocket, type TestRelayOptions } from './fixture/test-relay.ts';
import { VERDICTS } from './fixture/verdicts.ts';

const relays: TestRelay[] = [];
const sockets: Socket[] = [];

async function start(options: TestRelayOptions = {}): Promise<TestRelay> {
  const relay = await TestRelay.start(options);
  relays.push(relay);
  return relay;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
});

const PING = Uint8Array.of(1, 2, 3, 4, 5);

/** A raw connection that has sent `text`; `ended` resolves with all that came back. */
function raw(relay: TestRelay, text: string): { socket: Socket; ended: Promise<string> } {
  const socket = connect(relay.server.port, '127.0.0.1');
  sockets.push(socket);
  let heard = '';
  socket.on('data', (chunk: Buffer) => { heard += chunk.toString('latin1'); });
  socket.on('error', () => {});
  const ended = new Promise<string>((resolve) => socket.once('close', () => resolve(heard)));
  socket.write(text);
  return { socket, ended };
}

function upgrade(headers: string, path = '/link'): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${headers}\r\n`;
}

/** The status that an upgrade with exactly these headers gets. */
async function attempt(relay: TestRelay, headers: Record<string, string>, more: string, path?: string): Promise<number> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const { socket } = raw(relay, upgrade(`${lines}${more}`, path).replace('Host: localhost\r\n', ''));
  const [chunk] = await once(socket, 'data') as [Buffer];
  socket.destroy();
  return Number(chunk.toString().split(' ')[1]);
}

/** The value once it has stopped changing. */
async function settled(value: () => number): Promise<number> {
  let last = -1;
  while (last !== value()) {
    last = value();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return last;
}

describe('who is let in', () => {
  test.each(VERDICTS)('Host $host, Origin $origin, Sec-Fetch-Site $site: POST $post, tunnel $tunnel, bare $bare', async (given) => {
    const relay = await start({ config: { allowOrigins: given.allow ?? ['https://friend.example'] } });
    const fill = (text: string): string => text.replace('PORT', String(relay.server.port));
    const headers: Record<string, string> = { host: fill(given.host ?? 'localhost:PORT') };
    if (given.origin !== undefined) headers.origin = fill(given.origin);
    if (given.site !== undefined) headers['sec-fetch-site'] = given.site;
    expect((await relay.request('/api/session', { method: 'POST', headers })).status).toBe(given.post);
    const bare = await attempt(relay, headers, '');
    const tunnel = await attempt(relay, headers, 'Sec-WebSocket-Protocol: portside.v1\r\n');
    const wsproxy = await attempt(relay, headers, '', '/wsproxy');
    expect({ tunnel, bare, wsproxy }).toEqual({ tunnel: given.tunnel, bare: given.bare, wsproxy: given.bare });
  });

  test('a foreign Host gets nothing at all: neither page, images nor API', async () => {
    const relay = await start();
    for (const path of ['/', '/images/manifest.json', '/api/health', '/link']) {
      const response = await relay.request(path, { headers: { host: 'evil.example' } });
      expect([response.status, response.body.toString()]).toEqual([403, expect.stringContaining('--allow-host')]);
    }
    expect(relay.log).toEqual([expect.stringContaining('evil.example')]);
    expect(await raw(relay, 'GET / HTTP/1.0\r\n\r\n').ended).toMatch(/^HTTP\/1.1 403/);
  });

  test('refusals are logged once per Origin, and a flood of Origins does not flood the log', async () => {
    const relay = await start({ limits: { maxLoggedRefusals: 3 } });
    for (const name of ['a', 'a', 'b', 'a', 'c', 'd', 'e', 'f']) {
      const socket = relay.socket({ headers: { origin: `https://${name}.evil.example` } });
      expect(await socket.ended()).toBe('http 403');
      await until(() => socket.reason.includes('--allow-origin'));
      expect((await relay.request('/api/session', { method: 'POST', headers: { origin: `https://${name}.evil.example` } })).status).toBe(403);
    }
    expect(relay.log.map((line) => /https:\/\/\w|too many/.exec(line)?.[0])).toEqual(['https://a', 'https://b', 'https://c', 'too many']);
  });

  test('a peer cannot write control characters into our log', async () => {
    const relay = await start();
    await relay.request('/', { headers: { host: `evil\u009b31m.example${'x'.repeat(2000)}` } });
    expect(relay.log[0]).toMatch(/evil\?31m/);
    expect(relay.log[0].length).toBeLessThan(600);
  });

  test('an allowed Origin may read the answers, others may not', async () => {
    const relay = await start({ config: { allowOrigins: ['https://friend.example'] } });
    const friend = await relay.request('/images/manifest.json', { headers: { origin: 'https://friend.example' } });
    expect(friend.headers).toMatchObject({ 'access-control-allow-origin': 'https://friend.example', 'cross-origin-resource-policy': 'cross-origin', 'vary': 'Origin' });
    const preflight = await relay.request('/api/session', { method: 'OPTIONS', headers: { origin: 'https://friend.example' } });
    expect([preflight.status, preflight.headers['access-control-allow-methods']]).toEqual([204, 'GET, HEAD, POST']);
    for (const origin of ['https://evil.example', relay.origin]) {
      expect((await relay.request('/images/manifest.json', { headers: { origin } })).headers['access-control-allow-origin']).toBeUndefined();
    }
    expect((await relay.request('/api/session', { method: 'OPTIONS', headers: { origin: 'https://evil.example' } })).status).toBe(405);
  });
});

describe('API', () => {
  test('a session has an id, a token of its own and what hello needs', async () => {
    const relay = await start();
    const [first, second] = [await relay.newSession(), await relay.newSession()];
    expect(first).toMatchObject({ link: '/link', mtu: 65_520, forwards: [] });
    expect(Buffer.from(first.token, 'base64url').length).toBeGreaterThanOrEqual(16);
    expect(new Set([first.token, second.token, first.session, second.session]).size).toBe(4);
    expect((await relay.request('/api/session')).status).toBe(405);
    expect((await relay.request('/api/other')).status).toBe(404);
    expect(await relay.health()).toMatchObject({ status: 'ok', version: '0.0.0-test', uptime: expect.any(Number), sessions: { open: 2, unclaimed: 2, linked: 0 }, images: 0 });
  });

  test('caps: sessions in all, sessions of one address, body', async () => {
    const relay = await start({ limits: { maxSessions: 3, maxSessionsPerAddress: 2, maxBodyBytes: 10 } });
    const post = (body?: string): ReturnType<TestRelay['request']> => relay.request('/api/session', { method: 'POST', headers: { origin: relay.origin }, ...(body === undefined ? {} : { body }) });
    expect((await post('x'.repeat(10))).status).toBe(200);
    const tooLong = await post('x'.repeat(11));
    expect([tooLong.status, tooLong.headers.connection]).toEqual([413, 'close']);
    const chunked = raw(relay, `POST /api/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n${'x'.repeat(11)}\r\n`);
    expect(await chunked.ended).toMatch(/^HTTP\/1.1 413/);
    expect((await post()).status).toBe(200);
    const refused = await post();
    expect([refused.status, refused.headers['retry-after'], JSON.parse(refused.body.toString())]).toEqual([429, '5', { error: 'RELAY_LIMIT', message: expect.stringContaining('2 sessions') }]);
    expect(await relay.socket({ protocol: null }).ended()).toBe('http 429');
    expect((await relay.health()).sessions).toMatchObject({ open: 2, made: 2 });
  });

  test('a session that nobody claims is forgotten, and makes room', async () => {
    const relay = await start({ limits: { claimMs: 30, maxSessions: 1 } });
    const grant = await relay.newSession();
    await until(async () => (await relay.health()).sessions.open === 0);
    await relay.newSession();
    await expect(relay.link(grant)).rejects.toThrow('close 4401');
  });
});

describe('links', () => {
  test('hello, frames there and back in one message per batch, MTU as wished within bounds', async () => {
    const relay = await start({ limits: { maxMtu: 9000 } });
    const grant = await relay.newSession();
    const link = await relay.link(grant);
    expect(link.texts).toEqual([{ type: 'hello', version: 1, mtu: 1500, resumed: false, forwards: [] }]);
    const many = Array.from({ length: 200 }, (_, i) => Uint8Array.of(i, 1, 2));
    link.ws.send(frame(...many));
    expect(await link.frames(200)).toHaveLength(200);
    expect(link.messages).toBe(1);
    const large = await relay.link(await relay.newSession(), 65_520);
    expect(large.texts[0]).toMatchObject({ mtu: 9000 });
    expect(relay.networks.map((network) => network.options.config?.mtu)).toEqual([1500, 9000]);
  });

  test('the stream may be cut anywhere', async () => {
    const relay = await start();
    const link = await relay.link(await relay.newSession());
    for (const byte of frame(PING, PING)) link.ws.send(Uint8Array.of(byte));
    expect((await link.frames(2)).map((bytes) => [...bytes])).toEqual([[...PING], [...PING]]);
  });

  test('a wrong token or an unknown session is 4401, logged once, and costs the session nothing', async () => {
    const relay = await start();
    const grant = await relay.newSession();
    const other = await relay.newSession();
    const wrong = [
      { ...grant, token: other.token }, { ...grant, session: 'unknown-session' }, { ...grant, token: `${grant.token}A` },
      { ...grant, token: grant.token.slice(0, -1) }, { ...grant, session: other.session },
    ];
    for (const claim of wrong) await expect(relay.link(claim)).rejects.toThrow('close 4401');
    expect(relay.log).toEqual(['portside: refused a link of 127.0.0.1: wrong token or unknown session']);
    expect((await relay.link(grant)).texts).toHaveLength(1);
  });

  test('no hello in time is 4408; anything else first is 4400', async () => {
    const impatient = await start({ limits: { helloMs: 50 } });
    expect(await impatient.socket().ended()).toBe('close 4408');
    const relay = await start();
    const first: (string | Uint8Array)[] = [
      'not json', '[]', '{}', '{"type":"hello"}', '{"type":"hello","version":2}', '{"type":"hello","version":1,"session":"../../../etc","token":"x"}',
      JSON.stringify({ type: 'hello', version: 1, session: 'x'.repeat(12), token: 'x'.repeat(32), mtu: 1e9 }), 'x'.repeat(20_000), frame(PING),
    ];
    for (const message of first) {
      const socket = relay.socket();
      await socket.opened();
      socket.ws.send(message);
      expect([message.slice(0, 40), await socket.ended()]).toEqual([message.slice(0, 40), 'close 4400']);
    }
    expect(relay.networks).toEqual([]);
  });

  test('a bad frame closes its own link with a reason, and no other', async () => {
    const relay = await start();
    const good = await relay.link(await relay.newSession());
    for (const [bytes, reason] of [[Uint8Array.of(0, 0, 0, 0), 'length 0'], [Uint8Array.of(0, 0, 6, 0), 'length 1536'], [Uint8Array.of(0xff, 0xff, 0xff, 0xff), 'length 4294967295']] as const) {
      const bad = await relay.link(await relay.newSession());
      bad.ws.send(Buffer.concat([frame(PING), bytes]));
      expect([await bad.ended(), bad.reason]).toEqual(['close 4400', expect.stringContaining(reason)]);
      expect(await bad.frames(1)).toHaveLength(1);
    }
    good.ws.send(frame(PING));
    expect(await good.frames(1)).toHaveLength(1);
    expect((await relay.health()).sessions).toMatchObject({ open: 4, linked: 1, broken: 3 });
  });

  test('a second hello is 4400, an unknown message is ignored, too large a message is 1009', async () => {
    const relay = await start({ limits: { maxMessageBytes: 1000 } });
    const grant = await relay.newSession();
    const link = await relay.link(grant);
    link.ws.send('{"type":"news"}');
    link.ws.send(frame(PING));
    await link.frames(1);
    link.ws.send(JSON.stringify({ type: 'hello', version: 1, session: grant.session, token: grant.token }));
    expect(await link.ended()).toBe('close 4400');
    const large = await relay.link(grant);
    large.ws.send(new Uint8Array(1001));
    expect(await large.ended()).toBe('close 1009');
  });

  test('without a subprotocol the stream starts at once, and text has no place in it', async () => {
    const relay = await start();
    const bare = relay.socket({ protocol: null });
    await bare.opened();
    bare.ws.send(frame(PING));
    expect(await bare.frames(1)).toHaveLength(1);
    expect(bare.texts).toEqual([]);
    expect((await relay.health()).sessions).toMatchObject({ open: 1, linked: 1 });
    bare.ws.send('{"type":"bye"}');
    expect(await bare.ended()).toBe('close 4400');
    expect((await relay.health()).sessions.open).toBe(0);
    expect(relay.networks[0].closed).toBe(true);
    expect(await relay.socket({ protocol: 'nonsense' }).ended()).toBe('http 400');
  });

  test('`binary`, which c2w\'s page asks for, is the same with that name', async () => {
    const relay = await start();
    const bare = relay.socket({ protocol: 'binary' });
    await bare.opened();
    expect(bare.ws.protocol).toBe('binary');
    bare.ws.send(frame(PING).subarray(0, 3));
    bare.ws.send(frame(PING).subarray(3));
    expect(await bare.frames(1)).toHaveLength(1);
    expect(bare.texts).toEqual([]);
  });

  test('two sessions have two networks, and one network each for all their links', async () => {
    const relay = await start();
    const [a, b] = [await relay.link(await relay.newSession()), await relay.link(await relay.newSession())];
    a.ws.send(frame(Uint8Array.of(7)));
    b.ws.send(frame(Uint8Array.of(8)));
    expect([...(await a.frames(1))[0], ...(await b.frames(1))[0]]).toEqual([7, 8]);
    expect(relay.networks).toHaveLength(2);
    expect([a.messages, b.messages]).toEqual([1, 1]);
  });

  test('a client that does not read is held back: the network hears that the link is full, and when it has room', async () => {
    const relay = await start({ limits: { highWaterBytes: 256 * 1024, lowWaterBytes: 64 * 1024 } });
    const link = await relay.link(await relay.newSession(), 65_520);
    link.ws.pause();
    link.ws.send(frame(Uint8Array.of(FRAME_FLOOD)));
    await until(() => relay.networks[0].fullTimes > 0);
    const stuck = await settled(() => relay.networks[0].floodBatches);
    expect(stuck).toBeLessThan(1000);
    expect((await relay.health()).queuedBytes).toBeLessThanOrEqual(256 * 1024 + 2 * FLOOD_BATCH_BYTES);
    link.ws.resume();
    await until(() => relay.networks[0].floodBatches > stuck + 100);
  });

  test('links without hello are capped; each that leaves makes room', async () => {
    const relay = await start({ limits: { maxPendingLinks: 3 } });
    const waiting: GuestSocket[] = [relay.socket(), relay.socket(), relay.socket()];
    for (const socket of waiting) await socket.opened();
    expect(await relay.socket().ended()).toBe('http 503');
    waiting[0].ws.terminate();
    await until(async () => (await relay.health()).links === 2);
    await relay.link(await relay.newSession());
  });

  test('a peer that is silent is asked, then cut; one that answers stays', async () => {
    const relay = await start({ limits: { heartbeatMs: 40, graceMs: 5_000 } });
    const alive = await relay.link(await relay.newSession());
    const dead = await relay.link(await relay.newSession());
    dead.ws.pause();
    await until(async () => (await relay.health()).sessions.broken === 1);
    expect([alive.state, (await relay.health()).links]).toEqual(['open', 1]);
  });
});

describe('resume', () => {
  test('within the grace time the network is the same, and streams start anew', async () => {
    const relay = await start();
    const grant = await relay.newSession();
    const first = await relay.link(grant, 9000);
    first.ws.send(frame(PING).subarray(0, 6));
    first.ws.ping();
    await new Promise((resolve) => first.ws.once('pong', resolve));
    first.ws.terminate();
    await until(async () => (await relay.health()).sessions.broken === 1);
    const second = await relay.link(grant);
    expect(second.texts).toEqual([{ type: 'hello', version: 1, mtu: 9000, resumed: true, forwards: [] }]);
    second.ws.send(frame(PING));
    expect((await second.frames(1)).map((bytes) => [...bytes])).toEqual([[...PING]]);
    expect(relay.networks.map((network) => [network.attached, network.closed])).toEqual([[2, false]]);
  });

  test('after it the session is gone', async () => {
    const relay = await start({ limits: { graceMs: 30 } });
    const grant = await relay.newSession();
    (await relay.link(grant)).ws.terminate();
    await until(() => relay.networks[0].closed);
    await expect(relay.link(grant)).rejects.toThrow('close 4401');
    expect((await relay.health()).sessions.open).toBe(0);
  });

  test('a newer link replaces the older one (4409), which cannot end the session any more', async () => {
    const relay = await start();
    const grant = await relay.newSession();
    const older = await relay.link(grant);
    const newer = await relay.link(grant);
    expect(await older.ended()).toBe('close 4409');
    newer.ws.send(frame(PING));
    expect(await newer.frames(1)).toHaveLength(1);
    expect((await relay.health()).sessions).toMatchObject({ open: 1, linked: 1 });
  });

  test('bye ends the session at once', async () => {
    const relay = await start();
    const grant = await relay.newSession();
    const link = await relay.link(grant);
    link.ws.send('{"type":"bye"}');
    expect(await link.ended()).toBe('close 1000');
    expect([relay.networks[0].closed, (await relay.health()).sessions.open]).toEqual([true, 0]);
    await expect(relay.link(grant)).rejects.toThrow('close 4401');
  });
});

test('our own bug between link and network ends that session with 1011, and the relay lives on', async () => {
  const relay = await start();
  relay.hasBugs = true;
  const [bad, good] = [await relay.link(await relay.newSession()), await relay.link(await relay.newSession())];
  bad.ws.send(frame(Uint8Array.of(FRAME_THROW)));
  expect(await bad.ended()).toBe('close 1011');
  good.ws.send(frame(PING));
  expect(await good.frames(1)).toHaveLength(1);
  expect(relay.networks.map((network) => network.closed)).toEqual([true, false]);
  expect((await relay.health()).sessions).toMatchObject({ open: 1, linked: 1 });
  expect(relay.log).toEqual([expect.stringMatching(/^portside: bug: session .*\n.*a bug in/)]);
});

test('a network that cannot be made closes the link with 1011', async () => {
  const relay = await start({ createNetwork: () => { throw new Error('no network'); } });
  relay.hasBugs = true;
  await expect(relay.link(await relay.newSession())).rejects.toThrow('close 1011');
  expect((await relay.health()).sessions.open).toBe(0);
});

describe('malformed and slow clients', () => {
  test('upgrades that are none get an answer and leave the server well', async () => {
    const relay = await start();
    const own = `Origin: http://localhost\r\n`;
    const cases: [string, RegExp][] = [
      [upgrade(own, '/'), /^HTTP\/1.1 404/],
      [upgrade(own, '/link/../x'), /^HTTP\/1.1 404/],
      [upgrade(own, '/%'), /^HTTP\/1.1 404/],
      [upgrade('Origin: https://evil.example\r\n'), /^HTTP\/1.1 403/],
      [upgrade(`${own}Sec-WebSocket-Protocol: nonsense\r\n`), /^HTTP\/1.1 400/],
      [upgrade('Sec-WebSocket-Protocol: portside.v1,,\r\n'), /^HTTP\/1.1 400/],
      [upgrade('Sec-WebSocket-Protocol: portside.v1\r\n').replace('13', '7'), /^HTTP\/1.1 (400|426)/],
      [upgrade('Sec-WebSocket-Protocol: portside.v1\r\n').replace('AAAA==', ''), /^HTTP\/1.1 400/],
      [upgrade('Sec-WebSocket-Protocol: portside.v1\r\n').replace('GET', 'POST'), /^HTTP\/1.1 405/],
      [upgrade('Sec-WebSocket-Protocol: portside.v1\r\n').replace('Upgrade: websocket', 'Upgrade: h2c'), /^HTTP\/1.1 400/],
      ['NONSENSE\r\n\r\n', /^HTTP\/1.1 400/],
      ['GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n', /^HTTP\/1.1 400/],
      [`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1.1 431/],
      ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc', /^HTTP\/1.1 400/],
    ];
    for (const [text, answer] of cases) expect([text.slice(0, 60), (await raw(relay, text).ended).slice(0, 12)]).toEqual([text.slice(0, 60), expect.stringMatching(answer)]);
    expect(await relay.request('/link').then(({ status }) => status)).toBe(426);
    expect((await relay.request('/')).status).toBe(200);
  });

  test('bad WebSocket frames end that link only', async () => {
    const relay = await start();
    for (const bytes of [Buffer.from([0x82, 0x01, 0x00]), Buffer.from([0xff, 0xff]), Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]), Buffer.from([0x89, 0xfe, 0xff, 0xff])]) {
      const { socket, ended } = raw(relay, upgrade('Sec-WebSocket-Protocol: portside.v1\r\n'));
      await once(socket, 'data');
      socket.write(bytes);
      // ws answers with a close frame; we do not, and are cut.
      expect((await ended).charCodeAt(0)).toBeGreaterThan(0);
    }
    await until(async () => (await relay.health()).links === 0);
  }, 15_000);

  test('headers that never end, a body that never comes, an idle connection: cut', async () => {
    const relay = await start({ limits: { headersMs: 150, requestMs: 300, checkMs: 20, idleMs: 400 } });
    const headers = raw(relay, 'GET / HTTP/1.1\r\nHost: localhost\r\n');
    const drip = setInterval(() => headers.socket.write('X: y\r\n'), 30);
    expect(await headers.ended).toMatch(/^HTTP\/1.1 408/);
    clearInterval(drip);
    expect(await raw(relay, 'POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx').ended).toMatch(/^HTTP\/1.1 408/);
    expect(await raw(relay, '').ended).toMatch(/^$|408/);
    // Each of these has time-outs of its own; a WebSocket is none of their business.
    const link = await relay.link(await relay.newSession());
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(link.state).toBe('open');
    expect(relay.log).toEqual([]);
  });

  test('connections are capped', async () => {
    const relay = await start({ limits: { maxConnections: 4 } });
    const held = Array.from({ length: 4 }, () => raw(relay, 'GET / HTTP/1.1\r\n'));
    await Promise.all(held.map(({ socket }) => (socket.connecting ? once(socket, 'connect') : undefined)));
    expect(await raw(relay, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n').ended).toBe('');
    held[0].socket.destroy();
    await until(async () => (await relay.request('/').then(({ status }) => status, () => 0)) === 200);
    expect(relay.log).toEqual([expect.stringContaining('4 connections')]);
  });
});

describe('listening', () => {
  test('on both addresses of localhost by default, and the URL says localhost', async () => {
    const relay = await start({ config: { host: null } });
    expect(relay.server.url).toBe(`http://localhost:${relay.server.port}/`);
    expect((await fetch(`http://127.0.0.1:${relay.server.port}/`)).status).toBe(200);
    const six = await fetch(`http://[::1]:${relay.server.port}/`).then(({ status }) => status, (error: { cause: { code: string } }) => error.cause.code);
    expect([200, 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'ENETUNREACH']).toContain(six);
  });

  test('a port that is taken is one sentence that says what to do', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const relay = new TestRelay({ config: { port } });
    await expect(relay.server.start()).rejects.toMatchObject({ code: 'RELAY_PORT_IN_USE', message: expect.stringContaining(`--port ${port + 1}`) });
    await expect(new TestRelay({ config: { host: '203.0.113.1' } }).server.start()).rejects.toMatchObject({ code: 'RELAY_BAD_ADDRESS' });
    await relay.stop();
    taken.close();
  });

  test('close ends links with 1001, is quick and may be called twice', async () => {
    const relay = await start();
    const link = await relay.link(await relay.newSession());
    raw(relay, 'GET / HTTP/1.1\r\n');
    const started = performance.now();
    await Promise.all([relay.server.close(), relay.server.close()]);
    expect(await link.ended()).toBe('close 1001');
    expect(performance.now() - started).toBeLessThan(1000);
    expect(relay.networks[0].closed).toBe(true);
    await expect(relay.request('/')).rejects.toThrow('ECONNREFUSED');
  });
});
