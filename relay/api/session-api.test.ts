/* What a session's owner, and a scraper, may ask of a relay that serves many; and that nobody else may. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { SessionGrant } from '../../shared/link/tunnel.ts';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { GATEWAY, TinyGuest } from '../fixture/tiny-guest.ts';
import { TestRelay, until, type TestRelayOptions, type TestResponse } from '../fixture/test-relay.ts';
import { NodeClock } from '../host/node-clock.ts';
import { NodeHostNet } from '../host/node-host-net.ts';

const relays: TestRelay[] = [];
afterEach(async () => { await Promise.all(relays.splice(0).map((relay) => relay.stop())); });

async function start(options: TestRelayOptions = {}): Promise<TestRelay> {
  const relay = await TestRelay.start({ hostNet: new NodeHostNet(new NodeClock()), clock: new NodeClock(), createNetwork: (given) => new VirtualNetwork(given), ...options });
  relays.push(relay);
  return relay;
}

async function joined(relay: TestRelay): Promise<{ grant: SessionGrant; guest: TinyGuest }> {
  const grant = await relay.newSession();
  const guest = new TinyGuest(await relay.link(grant));
  await guest.dhcp();
  await guest.arp(GATEWAY);
  return { grant, guest };
}

function call(relay: TestRelay, grant: { session: string; token: string }, path: string, body?: object, headers: Record<string, string> = {}): Promise<TestResponse> {
  return relay.request(`/api/networks/${grant.session}${path}`, {
    method: body === undefined ? 'GET' : 'POST', headers: { authorization: `Bearer ${grant.token}`, ...headers }, ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const json = (response: TestResponse): unknown => JSON.parse(response.body.toString());

test('a tab opens a port for itself, looks at its network, and takes the port back', async () => {
  const relay = await start();
  const { grant, guest } = await joined(relay);
  expect((await call(relay, grant, '/services/forwarder/expose', { local: '127.0.0.1:0', remote: ':80' }, { origin: relay.origin })).status).toBe(200);
  const [{ local, ...rest }] = json(await call(relay, grant, '/services/forwarder/all')) as { local: string }[];
  expect(rest).toEqual({ remote: '192.168.127.3:80', protocol: 'tcp' });
  const socket = connect(Number(local.split(':')[1]), '127.0.0.1');
  socket.write('ask');
  const served = guest.serveOnce(80, 'answer');
  await until(async () => (json(await call(relay, grant, '/flows')) as { total: number }).total === 1);
  const [heard] = await once(socket, 'data') as [Buffer];
  expect([await served, heard.toString()]).toEqual(['ask', 'answer']);
  socket.destroy();
  expect(json(await call(relay, grant, '/leases'))).toMatchObject({ '192.168.127.3': '02:00:00:00:00:01' });
  expect((await call(relay, grant, '/services/forwarder/unexpose', { local })).status).toBe(200);
  expect(json(await call(relay, grant, '/services/forwarder/all'))).toEqual([]);
  expect((await call(relay, grant, '/nothing')).status).toBe(404);
});

test('a tunnel through the relay', async () => {
  const relay = await start();
  const { grant, guest } = await joined(relay);
  const socket = connect(relay.server.port, '127.0.0.1');
  let heard = '';
  socket.on('data', (chunk: Buffer) => { heard += chunk.toString(); });
  socket.write(`POST /api/networks/${grant.session}/tunnel?ip=192.168.127.3&port=80 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${grant.token}\r\n\r\n`);
  await until(() => heard === 'OK');
  socket.write('ask');
  expect(await guest.serveOnce(80, 'answer')).toBe('ask');
  await until(() => heard === 'OKanswer');
  socket.destroy();
});

test('limits of a session: loopback only, no paths, no regular expressions, a number of ports; they end with it', async () => {
  const relay = await start({ limits: { maxForwardsPerSession: 2 } });
  const { grant } = await joined(relay);
  const expose = async (local: string, protocol = 'tcp'): Promise<number> => (await call(relay, grant, '/services/forwarder/expose', { local, remote: protocol === 'unix' ? 'tcp://:80' : ':80', protocol })).status;
  expect([await expose(':0'), await expose('0.0.0.0:0'), await expose('/tmp/x.sock', 'unix')]).toEqual([403, 403, 403]);
  expect([await expose('127.0.0.1:0'), await expose('127.9.9.9:0', 'udp'), await expose('127.0.0.1:0')]).toEqual([200, 200, 500]);
  const add = async (record: object): Promise<number> => (await call(relay, grant, '/services/dns/add', { Name: 'x.', Records: [record] })).status;
  expect([await add({ Name: 'a', IP: '10.0.0.1' }), await add({ Regexp: '(a+)+b', IP: '10.0.0.1' })]).toEqual([200, 403]);
  const [{ local }] = json(await call(relay, grant, '/services/forwarder/all')) as { local: string }[];
  const guest = relay.socket();
  await guest.opened();
  guest.ws.send(JSON.stringify({ type: 'hello', version: 1, session: grant.session, token: grant.token }));
  await guest.text(0);
  guest.ws.send(JSON.stringify({ type: 'bye' }));
  await until(async () => (await call(relay, grant, '/leases')).status === 401);
  await expect(once(connect(Number(local.split(':')[1]), '127.0.0.1'), 'connect')).rejects.toThrow(/ECONNREFUSED/);
});

test('only with the token, from no foreign page, for one network; a page elsewhere that was let in may look, and not change', async () => {
  const relay = await start({ config: { allowOrigins: ['https://friend.example'] } });
  const { grant } = await joined(relay);
  const other = await relay.newSession();
  const status = async (headers: Record<string, string>, given: { session: string; token: string } = grant): Promise<number> => (await call(relay, given, '/leases', undefined, headers)).status;
  expect([await status({}), await status({ origin: relay.origin })]).toEqual([200, 200]);
  for (const authorization of ['', 'Bearer', `Bearer ${other.token}`, `Basic ${grant.token}`, grant.token, `Bearer ${'x'.repeat(300)}`]) expect(await status({ authorization })).toBe(401);
  expect(await status({}, { session: other.session, token: grant.token })).toBe(401);
  expect((await relay.request(`/api/networks/${grant.session}`, { headers: { authorization: `Bearer ${grant.token}` } })).status).toBe(401);
  for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }, { host: 'evil.example' }] as Record<string, string>[]) expect(await status(headers)).toBe(403);
  // No network before the first link.
  expect(await status({}, other)).toBe(409);
  const shared = await call(relay, grant, '/leases', undefined, { origin: 'https://friend.example' });
  expect([shared.status, shared.headers['access-control-allow-origin']]).toEqual([200, 'https://friend.example']);
  for (const headers of [{ origin: 'https://friend.example' }, { origin: relay.origin, 'sec-fetch-site': 'cross-site' }] as Record<string, string>[]) {
    expect((await call(relay, grant, '/services/forwarder/expose', { local: '127.0.0.1:0', remote: ':80' }, headers)).status).toBe(403);
  }
  const preflight = await relay.request(`/api/networks/${grant.session}/leases`, { method: 'OPTIONS', headers: { origin: 'https://friend.example' } });
  expect(preflight.headers['access-control-allow-headers']?.toLowerCase()).toContain('authorization');
  expect((await call(relay, grant, '/services/dns/add', { Name: 'x'.repeat(5000) })).status).toBe(413);
});

test('a relay for other machines opens no ports for its sessions', async () => {
  const relay = await start({ config: { host: '0.0.0.0', allowOrigins: ['*'] } });
  const { grant } = await joined(relay);
  const answer = await call(relay, grant, '/services/forwarder/expose', { local: '127.0.0.1:0', remote: ':80' });
  expect([answer.status, (json(answer) as { error: string }).error]).toEqual([403, 'RELAY_FORBIDDEN']);
  expect((await call(relay, grant, '/leases')).status).toBe(200);
});

test('metrics: sessions, links and all networks there were, without a name of any; for this machine only', async () => {
  const relay = await start();
  const { grant } = await joined(relay);
  const scrape = (headers: Record<string, string> = {}): Promise<TestResponse> => relay.request('/metrics', { headers });
  const value = (text: string, name: string): number => Number(text.split('\n').find((line) => line.startsWith(`${name} `))?.split(' ')[1]);
  const first = (await scrape()).body.toString();
  expect(first).toMatch(/^portside_sessions\{state="linked"\} 1$/m);
  expect([value(first, 'portside_links'), value(first, 'portside_sessions_made_total'), value(first, 'portside_links_open')]).toEqual([1, 1, 1]);
  expect(value(first, 'portside_frames_from_guest_total')).toBeGreaterThan(2);
  expect(value(first, 'process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(first).not.toContain(grant.session);
  relay.server.sessions.close('test', 1000);
  const second = (await scrape()).body.toString();
  // Counters outlive their session, gauges do not.
  expect(value(second, 'portside_frames_from_guest_total')).toBeGreaterThanOrEqual(value(first, 'portside_frames_from_guest_total'));
  expect(second).not.toMatch(/^portside_links_open [^0]/m);
  for (const headers of [{ origin: relay.origin }, { origin: 'null' }, { 'sec-fetch-site': 'same-origin' }, { 'x-forwarded-for': '10.0.0.1' }, { forwarded: 'for=10.0.0.1' }, { host: 'evil.example' }] as Record<string, string>[]) {
    expect((await scrape(headers)).status).toBe(403);
  }
  expect((await relay.request('/metrics', { method: 'POST' })).status).toBe(405);
});
