/** gvproxy's API over a real network: a guest of our own stack behind a link, real sockets of the host on 127.0.0.1. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { ApiGuest } from '../fixture/api-guest.ts';
import { until } from '../fixture/test-relay.ts';
import { NodeClock, nodeRandom } from '../host/node-clock.ts';
import { NodeHostNet } from '../host/node-host-net.ts';
import { Log } from '../log.ts';
import { parseServicesSpec, serveNetworkApi, type ServingApi } from './serve-network-api.ts';

let folder: string;
let network: VirtualNetwork;
let guest: ApiGuest;
let api: ServingApi;
const lines: string[] = [];
const sockets: Socket[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-api-'));
  const clock = new NodeClock();
  network = new VirtualNetwork({ clock, random: nodeRandom, hostNet: new NodeHostNet(clock) });
  guest = new ApiGuest(network);
  lines.length = 0;
  api = await serveNetworkApi(network, `unix:${join(folder, 'api.sock')}`, new Log((line) => lines.push(line)));
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await api.close();
  guest.close();
  network.close();
  rmSync(folder, { recursive: true });
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  json: () => unknown;
}

function ask(path: string, body?: string | object, options: { method?: string; headers?: Record<string, string>; spec?: string } = {}): Promise<Answer> {
  const at = parseServicesSpec(options.spec ?? api.spec);
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      ...('path' in at ? { socketPath: at.path } : at), path, agent: false,
      method: options.method ?? (body === undefined ? 'GET' : 'POST'), headers: options.headers ?? {},
    }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => { text += chunk.toString(); });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: () => JSON.parse(text) as unknown }));
    });
    request.on('error', reject);
    request.end(typeof body === 'object' ? JSON.stringify(body) : body);
  });
}

/** Connects, and answers with what came back after `text` was sent and the connection ended. */
async function exchange(at: { host: string; port: number } | { path: string }, text: string): Promise<string> {
  const socket = connect(at);
  sockets.push(socket);
  let heard = '';
  socket.on('data', (chunk: Buffer) => { heard += chunk.toString(); });
  socket.on('error', () => {});
  socket.end(text);
  await once(socket, 'close');
  return heard;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('forwarder', () => {
  test('expose, list, use, unexpose: tcp', async () => {
    const local = `127.0.0.1:${await freePort()}`;
    expect(await ask('/services/forwarder/all')).toMatchObject({ status: 200, text: '[]\n' });
    expect(await ask('/services/forwarder/expose', { local, remote: '192.168.127.3:7' })).toMatchObject({ status: 200, text: '' });
    expect((await ask('/services/forwarder/all')).json()).toEqual([{ local, remote: '192.168.127.3:7', protocol: 'tcp' }]);
    expect(await exchange({ host: '127.0.0.1', port: Number(local.split(':')[1]) }, 'hello')).toBe('HELLO');
    expect(await ask('/services/forwarder/unexpose', { local, protocol: 'udp' })).toMatchObject({ status: 500, text: 'proxy not found\n' });
    expect(await ask('/services/forwarder/unexpose', { local })).toMatchObject({ status: 200, text: '' });
    expect((await ask('/services/forwarder/all')).text).toBe('[]\n');
    await expect(once(connect(Number(local.split(':')[1]), '127.0.0.1'), 'connect')).rejects.toThrow(/ECONNREFUSED/);
    expect(await ask('/services/forwarder/unexpose', { local })).toMatchObject({ status: 500, text: 'proxy not found\n' });
  });

  test('a UNIX socket leads to a guest; a stale one is replaced, a live one and a file are not', async () => {
    const local = join(folder, 'web.sock');
    const expose = (remote: string, path = local): Promise<Answer> => ask('/services/forwarder/expose', { protocol: 'unix', local: path, remote });
    expect(await expose('tcp://192.168.127.3:7')).toMatchObject({ status: 200 });
    expect(await exchange({ path: local }, 'over a path')).toBe('OVER A PATH');
    expect(await expose('tcp://192.168.127.3:7')).toMatchObject({ status: 500, text: expect.stringContaining('already running') });
    expect((await ask('/services/forwarder/all')).json()).toEqual([{ local, remote: 'tcp://192.168.127.3:7', protocol: 'unix' }]);
    for (const remote of ['192.168.127.3:7', 'ssh-tunnel://root@192.168.127.3/run/x', 'tcp://nowhere:7', 'tcp://192.168.127.3:0']) {
      expect((await expose(remote, join(folder, 'other.sock'))).status).toBe(500);
    }
    writeFileSync(join(folder, 'file'), 'mine');
    for (const path of [join(folder, 'file'), 'relative', '/x'.padEnd(108, 'x'), api.spec.slice(5)]) expect((await expose('tcp://192.168.127.3:7', path)).status).toBe(500);
    expect(await ask('/services/forwarder/unexpose', { protocol: 'unix', local })).toMatchObject({ status: 200 });
    expect([existsSync(local), existsSync(join(folder, 'file'))]).toEqual([false, true]);
    expect((await ask('/services/forwarder/all')).json()).toEqual([]);
  });

  test('udp is a forward of its own beside tcp; those made elsewhere are listed, and taken back', async () => {
    const port = await freePort();
    const local = `127.0.0.1:${port}`;
    for (const protocol of ['tcp', 'udp']) expect((await ask('/services/forwarder/expose', { local, remote: ':7', protocol })).status).toBe(200);
    const made = await network.addForward({ protocol: 'tcp', hostIp: 0x7f000001 as never, hostPort: 0, guestPort: 9 });
    const all = (await ask('/services/forwarder/all')).json() as { local: string; protocol: string }[];
    expect(all).toContainEqual({ local: `127.0.0.1:${made.hostPort}`, remote: '192.168.127.3:9', protocol: 'tcp' });
    expect(all.filter((one) => one.local === local).map((one) => one.protocol)).toEqual(['tcp', 'udp']);
    expect((await ask('/services/forwarder/unexpose', { local: `127.0.0.1:${made.hostPort}` })).status).toBe(200);
    expect(network.forwards().length).toBe(2);
  });

  test('two at once for one local address: one of them wins', async () => {
    const body = { local: `127.0.0.1:${await freePort()}`, remote: '192.168.127.3:7' };
    const answers = await Promise.all([ask('/services/forwarder/expose', body), ask('/services/forwarder/expose', body)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 500]);
    expect(network.forwards().length).toBe(1);
  });

  test('what can not be had says why', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const local = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const expose = async (body: object | string): Promise<[number, string]> => {
      const { status, text } = await ask('/services/forwarder/expose', body);
      return [status, text];
    };
    expect(await expose({ local, remote: '192.168.127.3:80' })).toEqual([500, expect.stringContaining('EADDRINUSE')]);
    expect(await expose({ local: '127.0.0.1:0', remote: '192.168.127.3' })).toEqual([400, expect.stringContaining('missing port')]);
    expect(await expose({ local: 'nonsense', remote: ':80' })).toEqual([500, expect.stringContaining('missing port')]);
    expect(await expose({ local: '[::1]:80', remote: ':80' })).toEqual([500, expect.stringContaining('not an IPv4')]);
    for (const [ip, why] of [['240.0.0.3', 'reserved'], ['255.255.255.255', 'everyone on the link'], ['127.0.0.1', 'loopback'], ['192.168.127.1', 'the gateway'], ['192.168.127.254', 'an alias'], ['10.0.0.3', 'not in 192.168.127.0/24']]) {
      for (const protocol of ['tcp', 'udp']) expect(await expose({ local: '127.0.0.1:0', remote: `${ip}:80`, protocol })).toEqual([500, expect.stringMatching(`invalid remote addr ${ip}:80: ${ip} is .*${why}`)]);
      expect(await expose({ local: '/tmp/never.sock', remote: `tcp://${ip}:80`, protocol: 'unix' })).toEqual([500, expect.stringContaining(`${ip} is`)]);
      expect((await ask('/services/forwarder/unexpose', { local: `${ip}:80` })).status).toBe(500);
    }
    expect(await expose({ local: '127.0.0.1:0', remote: 'x:80' })).toEqual([500, expect.stringContaining('invalid remote')]);
    expect(await expose({ local: '127.0.0.1:0', remote: ':80', protocol: 'sctp' })).toEqual([500, 'unknown protocol sctp\n']);
    expect(await expose({ local: 1 })).toEqual([400, 'local is not a string\n']);
    for (const body of ['', '{"local', '[]', '"x"', '3']) expect((await expose(body))[0]).toBe(400);
    taken.close();
  });
});

describe('zones, addresses, numbers', () => {
  test('zones: those that every network has, what is added, and what is no zone', async () => {
    expect((await ask('/services/dns/all')).json()).toEqual([
      { Name: 'containers.internal.', Records: [{ Name: 'gateway', IP: '192.168.127.1', Regexp: null }, { Name: 'host', IP: '192.168.127.254', Regexp: null }], DefaultIP: '' },
      { Name: 'docker.internal.', Records: [{ Name: 'gateway', IP: '192.168.127.1', Regexp: null }, { Name: 'host', IP: '192.168.127.254', Regexp: null }], DefaultIP: '' },
    ]);
    // The names of members are matched in any case, as Go does.
    expect((await ask('/services/dns/add', { name: 'Test.', records: [{ Name: 'a', ip: '10.0.0.1' }, { Regexp: '^b', IP: '10.0.0.2' }], DefaultIP: '10.0.0.3', other: 1 })).status).toBe(200);
    expect((await ask('/services/dns/all')).json()).toContainEqual({
      Name: 'test.', Records: [{ Name: 'a', IP: '10.0.0.1', Regexp: null }, { Name: '', IP: '10.0.0.2', Regexp: '^b' }], DefaultIP: '10.0.0.3',
    });
    for (const bad of [{ Records: 3 }, { Records: [3] }, { Records: [{ IP: 'x' }] }, { Records: [{ Regexp: '(', IP: '10.0.0.1' }] }, { Name: 'a b' }, { DefaultIP: '::1' }, { DefaultIP: '240.0.0.1' }, { Records: [{ Name: 'a', IP: '224.0.0.1' }] }, { Name: 'x'.repeat(300) }]) {
      expect((await ask('/services/dns/add', bad)).status).toBe(400);
    }
    const many = { Name: 'many.', Records: Array.from({ length: 1500 }, () => ({ Name: 'a', IP: '10.0.0.1' })) };
    expect([(await ask('/services/dns/add', many)).status, (await ask('/services/dns/add', many)).status, (await ask('/services/dns/add', many)).status]).toEqual([200, 200, 400]);
    expect(network.zones().length).toBe(4);
  });

  test('our own bug while a request is answered: one answer of 500, counted, told once, and the next is answered', async () => {
    const bugs: string[] = [];
    const clock = new NodeClock();
    const other = new VirtualNetwork({ clock, random: nodeRandom, hostNet: new NodeHostNet(clock), onBug: (place, error) => bugs.push(`${place}: ${String(error)}`) });
    const itsApi = await serveNetworkApi(other, `unix:${join(folder, 'other.sock')}`, new Log((line) => lines.push(line)));
    const asked = (path: string): Promise<Answer> => ask(path, undefined, { spec: itsApi.spec });
    vi.spyOn(other, 'flows').mockImplementation(() => { throw new Error('on purpose'); });
    expect([(await asked('/flows')).status, (await asked('/flows')).status, (await asked('/leases')).status]).toEqual([500, 500, 200]);
    expect([bugs, lines]).toEqual([['call: Error: on purpose', 'call: Error: on purpose'], []]);
    expect((await asked('/metrics')).text).toMatch(/^portside_bugs_caught_total 2$/m);
    // A network that nobody listens to: the server says it.
    vi.spyOn(network, 'flows').mockImplementation(() => { throw new Error('on purpose'); });
    expect([(await ask('/flows')).status, (await ask('/flows')).status, (await ask('/leases')).status]).toEqual([500, 500, 200]);
    expect(lines).toEqual([expect.stringMatching(/^portside: bug: GET \/flows.*\nError: on purpose\n\s+at /)]);
    await itsApi.close();
    other.close();
  });

  test('leases, stations, counters, flows, metrics', async () => {
    await guest.isUp();
    const leases = { '192.168.127.1': '5a:94:ef:e4:0c:dd', '192.168.127.3': '02:00:00:00:00:01' };
    expect((await ask('/leases')).json()).toEqual(leases);
    expect((await ask('/services/dhcp/leases')).json()).toEqual(leases);
    expect((await ask('/cam')).json()).toEqual({ '02:00:00:00:00:01': 1 });
    const stats = (await ask('/stats')).json() as Record<string, number>;
    expect(stats['BytesReceived']).toBeGreaterThan(0);
    expect(stats).toMatchObject({ DroppedPackets: 0, TCP: { CurrentConnected: 0, Retransmits: 0 }, Portside: { linksOpen: 1 } });
    const metrics = (await ask('/metrics')).text;
    expect(metrics).toMatch(/^# TYPE portside_frames_from_guest_total counter$/m);
    expect(metrics).toMatch(/^portside_links_open 1$/m);

    const port = await freePort();
    await ask('/services/forwarder/expose', { local: `127.0.0.1:${port}`, remote: ':7' });
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    socket.write('abc');
    await once(socket, 'data');
    const { total, flows } = (await ask('/flows')).json() as { total: number; flows: Record<string, unknown>[] };
    expect([total, flows]).toEqual([1, [{
      protocol: 'tcp', from: 'host', guest: '192.168.127.3:7', remote: expect.stringMatching(/^192\.168\.127\.1:\d+$/), host: `127.0.0.1:${socket.localPort}`,
      bytesFromGuest: 3, bytesToGuest: 3, ageMs: expect.any(Number), idleMs: expect.any(Number), state: 'established',
    }]]);
    await guest.lookUp('gateway.containers.internal', 1);
    expect((await ask('/services/dns/log')).json()).toMatchObject([{ name: 'gateway.containers.internal', type: 'A', via: 'gateway', status: 'NOERROR', answers: ['192.168.127.1'] }]);
    expect((await ask('/flows?limit=0')).json()).toEqual({ total: 1, flows: [] });
    expect([(await ask('/flows?limit=20001')).status, (await ask('/flows?limit=x')).status]).toEqual([400, 400]);
  });
});

describe('tunnel', () => {
  function open(query: string, more = ''): { socket: Socket; heard: () => string } {
    const socket = connect(api.spec.slice('unix:'.length));
    sockets.push(socket);
    let heard = '';
    socket.on('data', (chunk: Buffer) => { heard += chunk.toString('latin1'); });
    socket.on('error', () => {});
    socket.write(`POST /tunnel?${query} HTTP/1.1\r\nHost: x\r\n${more}\r\n`);
    return { socket, heard: () => heard };
  }

  test('OK comes bare, then every byte passes both ways, and ends travel', async () => {
    const { socket, heard } = open('ip=192.168.127.3&port=7');
    await until(() => heard() === 'OK');
    const bytes = 'POST /x HTTP/1.1\r\n\r\n'.repeat(20_000);
    socket.end(bytes);
    await once(socket, 'end');
    expect(heard() === `OK${bytes.toUpperCase()}`).toBe(true);
    await until(() => network.stats()['tcpNatFlowsOpen'] === 0);
  });

  test('nobody there: OK, then the end; the guest of another address too', async () => {
    for (const query of ['ip=192.168.127.3&port=9', 'ip=192.168.127.77&port=7']) {
      const { socket, heard } = open(query);
      await once(socket, 'close');
      expect(heard()).toBe('OK');
    }
  }, 15_000);

  test('a second request on the connection may be the tunnel; one with a length as well', async () => {
    const socket = connect(api.spec.slice('unix:'.length));
    sockets.push(socket);
    let heard = '';
    socket.on('data', (chunk: Buffer) => { heard += chunk.toString(); });
    socket.write('GET /cam HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => heard.endsWith('}\n'));
    heard = '';
    socket.write('POST /tunnel?ip=192.168.127.3&port=7 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
    await until(() => heard === 'OK');
    socket.end('x');
    await once(socket, 'end');
    expect(heard).toBe('OKX');
  });

  test('what is no tunnel is an answer, and the API closes with tunnels open', async () => {
    expect(await ask('/tunnel?ip=192.168.127.3&port=7')).toMatchObject({ status: 405, text: 'post only\n' });
    expect(await ask('/tunnel', '')).toMatchObject({ status: 500, text: 'ip is mandatory\n' });
    for (const query of ['ip=192.168.127.3', 'ip=192.168.127.3&port=x', 'ip=192.168.127.3&port=0', 'ip=192.168.127.3&port=65536', 'ip=x&port=7']) {
      expect((await ask(`/tunnel?${query}`, '')).status).toBe(500);
    }
    for (const ip of ['240.0.0.3', '0.0.0.0', '127.0.0.1', '224.0.0.1', '192.168.127.1', '8.8.8.8']) {
      expect(await ask(`/tunnel?ip=${ip}&port=7`, '')).toMatchObject({ status: 500, text: expect.stringContaining(`no guest has the address ${ip}: it is `) });
    }
    const { socket, heard } = open('ip=192.168.127.3&port=7');
    await until(() => heard() === 'OK');
    const closed = once(socket, 'close');
    await api.close();
    await closed;
  });
});

describe('who may call', () => {
  test('no page, whatever it sends; on TCP no foreign host name either', async () => {
    const tcp = await serveNetworkApi(network, 'tcp:127.0.0.1:0', new Log((line) => lines.push(line)));
    const statusWith = async (headers: Record<string, string>, spec = tcp.spec): Promise<number> => (await ask('/services/dns/add', { Name: 'x.' }, { headers, spec })).status;
    const host = tcp.spec.slice('tcp:'.length);
    expect([await statusWith({}), await statusWith({ host: `localhost:${host.split(':')[1]}` }), await statusWith({ 'sec-fetch-site': 'none' })]).toEqual([200, 200, 200]);
    for (const headers of [{ origin: 'https://evil.example' }, { origin: `http://${host}` }, { origin: 'null' }, { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-origin' }] as Record<string, string>[]) {
      expect([await statusWith(headers), await statusWith(headers, api.spec)]).toEqual([403, 403]);
    }
    expect([await statusWith({ host: 'evil.example' }), await statusWith({ host: 'evil.example' }, api.spec)]).toEqual([403, 200]);
    const preflight = await ask('/services/dns/add', undefined, { method: 'OPTIONS', headers: { origin: 'https://evil.example' }, spec: tcp.spec });
    expect(preflight.status).toBe(403);
    expect(network.zones().filter(({ name }) => name === 'x').length).toBe(1);
    await tcp.close();
  });

  test('methods, unknown paths and long bodies', async () => {
    for (const [paths, allow, wrong] of [
      [['/services/forwarder/expose', '/services/forwarder/unexpose', '/services/dns/add', '/tunnel'], 'POST', ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']],
      [['/services/forwarder/all', '/services/dns/all', '/services/dns/log', '/services/dhcp/leases', '/leases', '/cam', '/stats', '/flows', '/metrics'], 'GET, HEAD', ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']],
    ] as const) {
      for (const path of paths) {
        for (const method of wrong) expect([path, method, await ask(path, undefined, { method })]).toMatchObject([path, method, { status: 405, headers: { allow } }]);
      }
    }
    expect(await ask('/leases', undefined, { method: 'HEAD' })).toMatchObject({ status: 200, text: '' });
    for (const path of ['/services/forwarder/expose', '/services/forwarder/unexpose', '/services/dns/add']) {
      expect(await ask(path, 'x'.repeat(64 * 1024 + 1))).toMatchObject({ status: 413 });
      expect(await ask(path, 'x'.repeat(200_000), { headers: { 'transfer-encoding': 'chunked' } }).catch(() => ({ status: 413 }))).toMatchObject({ status: 413 });
    }
    for (const path of ['/', '/services', '/services/', '/services/forwarder/all/', '/connect', '/stats/x', '/services/%2e%2e/stats']) {
      expect(await ask(path)).toMatchObject({ status: 404, text: '404 page not found\n' });
    }
    expect((await ask('/%zz')).status).toBe(400);
  });

  test('the socket is for its owner; a spec off this machine is refused', async () => {
    expect(statSync(api.spec.slice('unix:'.length)).mode & 0o777).toBe(0o600);
    expect(parseServicesSpec('unix:///run/x.sock')).toEqual({ path: '/run/x.sock' });
    expect([parseServicesSpec('tcp://127.0.0.1:80'), parseServicesSpec('tcp::80'), parseServicesSpec('tcp:[::1]:80')]).toEqual([{ host: '127.0.0.1', port: 80 }, { host: '127.0.0.1', port: 80 }, { host: '::1', port: 80 }]);
    for (const spec of ['tcp:0.0.0.0:80', 'tcp:10.0.0.1:80', 'tcp:127.0.0.1:70000', 'udp:1', '']) expect(() => parseServicesSpec(spec)).toThrow(expect.objectContaining({ code: 'RELAY_LISTEN' }));
    await expect(serveNetworkApi(network, api.spec, new Log(() => {}))).rejects.toThrow(/EADDRINUSE/);
  });
});
