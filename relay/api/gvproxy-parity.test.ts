/*
 * The same curl calls against our API and, where it is installed, against gvproxy itself: status and shape of what comes
 * back must be the same, and so must what a guest sees of it: names, and who reaches it. Without gvproxy (in PATH, in podman's folder, or named by $GVPROXY) ours is held to the table alone.
 */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { ApiGuest } from '../fixture/api-guest.ts';
import { until } from '../fixture/test-relay.ts';
import { NodeClock, nodeRandom } from '../host/node-clock.ts';
import { NodeHostNet } from '../host/node-host-net.ts';
import { Log } from '../log.ts';
import { gvproxyStats } from './network-stats.ts';
import { serveNetworkApi, type ServingApi } from './serve-network-api.ts';

const GVPROXY = [process.env['GVPROXY'], spawnSync('which', ['gvproxy']).stdout?.toString().trim(), '/usr/libexec/podman/gvproxy', '/usr/lib/podman/gvproxy']
  .find((path) => path !== undefined && path !== '' && existsSync(path));
const CURL = spawnSync('curl', ['--version']).status === 0;
if (!CURL) console.log('skipped: curl is not installed');
if (GVPROXY === undefined) console.log('gvproxy is not installed: ours is compared with the table only');

/** One that is running, ours or theirs. */
interface Peer {
  folder: string;
  api: string;
  /** a port of this machine that it may open */
  port: number;
}

interface Call {
  path: string;
  /** of a POST; functions of the peer, where ports and paths differ */
  body?: (peer: Peer) => object | string;
  method?: string;
  status: number;
  /** where ours differs on purpose */
  ours?: number;
  /** of the answer, by `shapeOf`; absent: an error text that may be worded as one likes */
  shape?: unknown;
}

const ZONE = { Name: 'string', Records: [{ Name: 'string', IP: 'string', Regexp: 'null' }], DefaultIP: 'string' };
const ENTRY = { local: 'string', remote: 'string', protocol: 'string' };
const local = ({ port }: Peer): string => `127.0.0.1:${port}`;
const DNS_TYPE_A = 1;
const DNS_TYPE_AAAA = 28;
const EXPOSE = '/services/forwarder/expose';
const UNEXPOSE = '/services/forwarder/unexpose';
const ADD = '/services/dns/add';

const CALLS: Call[] = [
  { path: EXPOSE, body: (peer) => ({ local: local(peer), remote: '192.168.127.3:80' }), status: 200, shape: '' },
  { path: EXPOSE, body: (peer) => ({ local: local(peer), remote: '192.168.127.3:80' }), status: 500 },
  { path: EXPOSE, body: (peer) => ({ local: local(peer), remote: '192.168.127.3:80', protocol: 'udp' }), status: 200, shape: '' },
  { path: EXPOSE, body: (peer) => ({ local: join(peer.folder, 'x.sock'), remote: 'tcp://192.168.127.3:80', protocol: 'unix' }), status: 200, shape: '' },
  { path: EXPOSE, body: (peer) => ({ local: join(peer.folder, 'y.sock'), remote: '192.168.127.3:80', protocol: 'unix' }), status: 500 },
  { path: EXPOSE, body: (peer) => ({ local: join(peer.folder, 'y.sock'), remote: 'ssh-tunnel://u@192.168.127.3/run/x', protocol: 'unix' }), status: 500 },
  { path: EXPOSE, body: () => ({ local: '127.0.0.1:0', remote: '192.168.127.3' }), status: 400 },
  { path: EXPOSE, body: () => ({ local: 'nonsense', remote: '192.168.127.3:80' }), status: 500 },
  { path: EXPOSE, body: () => ({ local: '127.0.0.1:0', remote: '192.168.127.3:80', protocol: 'sctp' }), status: 500 },
  { path: EXPOSE, body: () => ({ local: 1 }), status: 400 },
  { path: EXPOSE, body: () => '', status: 400 },
  { path: EXPOSE, body: () => '{"local', status: 400 },
  { path: EXPOSE, status: 400, ours: 405, shape: 'post only\n' },
  { path: EXPOSE, method: 'PUT', status: 400, ours: 405, shape: 'post only\n' },
  { path: '/services/forwarder/all', status: 200, shape: [ENTRY] },
  { path: '/services/forwarder/all', body: () => '', status: 200, ours: 405 },
  { path: UNEXPOSE, body: () => ({ local: '127.0.0.1:9' }), status: 500, shape: 'proxy not found\n' },
  { path: UNEXPOSE, body: (peer) => ({ local: local(peer) }), status: 200, shape: '' },
  { path: UNEXPOSE, body: (peer) => ({ local: local(peer) }), status: 500, shape: 'proxy not found\n' },
  { path: UNEXPOSE, body: (peer) => ({ local: local(peer), protocol: 'udp' }), status: 200, shape: '' },
  { path: UNEXPOSE, body: (peer) => ({ LOCAL: join(peer.folder, 'x.sock'), Protocol: 'unix' }), status: 200, shape: '' },
  { path: UNEXPOSE, status: 400, ours: 405, shape: 'post only\n' },
  { path: '/services/dns/all', status: 200, shape: [ZONE] },
  { path: ADD, body: () => ({ Name: 'a.test.', Records: [{ Name: 'x', IP: '10.0.0.1' }, { Regexp: '^y', IP: '10.0.0.2' }], DefaultIP: '10.0.0.3' }), status: 200, shape: '' },
  { path: ADD, body: () => ({ name: 'a.test.', records: [{ name: 'z', ip: '10.0.0.4' }] }), status: 200, shape: '' },
  { path: ADD, body: () => ({ name: 'b.test.', records: [{ name: 'z', ip: 'nonsense' }] }), status: 400 },
  { path: ADD, body: () => ({ name: 'b.test.', records: [{ regexp: '(', ip: '10.0.0.1' }] }), status: 400 },
  { path: ADD, body: () => '[', status: 400 },
  { path: ADD, status: 400, ours: 405, shape: 'post only\n' },
  { path: '/services/dns/all', status: 200, shape: [ZONE] },
  { path: '/services/dhcp/leases', status: 200, shape: { IP: 'MAC' } },
  { path: '/leases', status: 200, shape: { IP: 'MAC' } },
  { path: '/cam', status: 200, shape: { MAC: 'number' } },
  { path: '/tunnel', body: () => '', status: 500 },
  { path: '/tunnel?ip=192.168.127.3', body: () => '', status: 500 },
  { path: '/tunnel?ip=192.168.127.3&port=x', body: () => '', status: 500 },
  { path: '/', status: 404, shape: '404 page not found\n' },
  { path: '/services/', status: 404, shape: '404 page not found\n' },
  { path: '/services/forwarder/nothing', status: 404, shape: '404 page not found\n' },
];

/** Types in place of values; lists by their first member; addresses as keys become what they are. Text stays. */
function shapeOf(text: string): unknown {
  const shape = (value: unknown): unknown => {
    if (value === null) return 'null';
    if (Array.isArray(value)) return value.slice(0, 1).map(shape);
    if (typeof value !== 'object') return typeof value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [nameOf(key), nameOf(key) === 'IP' && key !== 'IP' ? nameOf(String(member)) : shape(member)]));
  };
  try {
    return shape(JSON.parse(text));
  } catch {
    return text;
  }
}

function nameOf(key: string): string {
  return /^\d+(\.\d+){3}$/.test(key) ? 'IP' : /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(key) ? 'MAC' : key;
}

async function curl(peer: Peer, call: Call): Promise<{ status: number; text: string }> {
  const body = call.body?.(peer);
  const args = ['-s', '--max-time', '5', '--unix-socket', peer.api, '-w', '%{stderr}%{http_code}', `http://unix${call.path}`];
  if (call.method !== undefined) args.push('-X', call.method);
  if (body !== undefined) args.push('-d', typeof body === 'string' ? body : JSON.stringify(body));
  return new Promise((resolve) => execFile('curl', args, (_error, text, status) => resolve({ status: Number(status), text })));
}

async function compare(peer: Peer, isOurs: boolean): Promise<void> {
  const seen: unknown[] = [];
  for (const call of CALLS) {
    const { status, text } = await curl(peer, call);
    seen.push({ path: call.path, status, ...('shape' in call ? { shape: shapeOf(text) } : {}) });
  }
  expect(seen).toEqual(CALLS.map(({ path, status, ours = status, ...rest }) => ({ path, status: isOurs ? ours : status, ...('shape' in rest ? { shape: rest.shape } : {}) })));
}

/** By name and type, after the calls of the table: what the gateway answers a guest. */
const NAMES: [string, number, string][] = [
  ['x.a.test', DNS_TYPE_A, '0 10.0.0.1'], ['yyy.a.test', DNS_TYPE_A, '0 10.0.0.2'], ['z.a.test', DNS_TYPE_A, '0 10.0.0.4'], ['q.a.test', DNS_TYPE_A, '3'],
  ['x.a.test', DNS_TYPE_AAAA, '0'], ['host.containers.internal', DNS_TYPE_A, '0 192.168.127.254'], ['gateway.docker.internal', DNS_TYPE_A, '0 192.168.127.1'],
  ['nobody.containers.internal', DNS_TYPE_A, '3'],
];

async function compareNames(guest: ApiGuest): Promise<void> {
  const seen: [string, number, string][] = [];
  for (const [name, type] of NAMES) seen.push([name, type, await guest.lookUp(name, type)]);
  expect(seen).toEqual(NAMES);
}

/** What comes back from a guest that shouts: through a tunnel, a forwarded port, and a path. */
async function shouts(peer: Peer): Promise<string[]> {
  const path = join(peer.folder, 'shout.sock');
  await curl(peer, { path: EXPOSE, body: () => ({ local: local(peer), remote: '192.168.127.3:7' }), status: 200 });
  await curl(peer, { path: EXPOSE, body: () => ({ local: path, remote: 'tcp://192.168.127.3:7', protocol: 'unix' }), status: 200 });
  const heard = async (socket: Socket, text: string, whenHeard: string): Promise<string> => {
    let answer = '';
    socket.on('data', (chunk: Buffer) => { answer += chunk.toString(); });
    socket.write(text);
    await until(() => answer !== '');
    if (whenHeard !== '') {
      socket.write(whenHeard);
      await until(() => answer.length > 2);
    }
    socket.destroy();
    return answer;
  };
  return [
    await heard(connect(peer.api), 'POST /tunnel?ip=192.168.127.3&port=7 HTTP/1.1\r\nHost: unix\r\n\r\n', 'tunnel'),
    await heard(connect(peer.port, '127.0.0.1'), 'port', ''),
    await heard(connect(path), 'path', ''),
  ];
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function makePeer(): Promise<Peer> {
  const folder = mkdtempSync(join(tmpdir(), 'portside-parity-'));
  return { folder, api: join(folder, 'api.sock'), port: await freePort() };
}

describe.skipIf(!CURL)('ours', () => {
  let peer: Peer;
  let network: VirtualNetwork;
  let serving: ServingApi;
  let guest: ApiGuest;

  beforeAll(async () => {
    peer = await makePeer();
    const clock = new NodeClock();
    network = new VirtualNetwork({ clock, random: nodeRandom, hostNet: new NodeHostNet(clock) });
    serving = await serveNetworkApi(network, `unix:${peer.api}`, new Log(() => {}));
    await network.addForward({ protocol: 'tcp', hostIp: 0x7f000001 as never, hostPort: 0, guestPort: 22 });
    guest = new ApiGuest(network);
    await guest.isUp();
  });

  afterAll(async () => {
    guest.close();
    await serving.close();
    network.close();
    rmSync(peer.folder, { recursive: true });
  });

  test('answers as the table says', () => compare(peer, true));
  test('names', () => compareNames(guest));
  test('a guest is reached', async () => expect(await shouts(peer)).toEqual(['OKTUNNEL', 'PORT', 'PATH']));
  test('has the counters of gvproxy that it names', async () => {
    const stats = shapeOf((await curl(peer, { path: '/stats', status: 200 })).text);
    expect(stats).toMatchObject({ BytesSent: 'number', BytesReceived: 'number', DroppedPackets: 'number', NICs: { Rx: { Bytes: 'number', Packets: 'number' } }, TCP: { Retransmits: 'number' } });
  });
});

describe.skipIf(!CURL || GVPROXY === undefined)('gvproxy', () => {
  let peer: Peer;
  let child: ChildProcess;
  let guest: ApiGuest;

  beforeAll(async () => {
    peer = await makePeer();
    const link = join(peer.folder, 'qemu.sock');
    child = spawn(GVPROXY!, ['-listen', `unix://${peer.api}`, '-listen-qemu', `unix://${link}`, '-ssh-port', String(await freePort())], { stdio: 'ignore' });
    await until(() => existsSync(peer.api) && existsSync(link));
    guest = new ApiGuest(connect(link));
    await guest.isUp();
    await until(async () => (await curl(peer, { path: '/cam', status: 200 })).text.includes('02:00'));
  });

  afterAll(async () => {
    guest.close();
    const ended = once(child, 'exit');
    // It waits for its guests at SIGTERM.
    child.kill('SIGKILL');
    await ended;
    rmSync(peer.folder, { recursive: true });
  });

  test('answers as the table says', () => compare(peer, false));
  test('names', () => compareNames(guest));
  test('a guest is reached', async () => expect(await shouts(peer)).toEqual(['OKTUNNEL', 'PORT', 'PATH']));
  test('every counter that we have under its name is there', async () => {
    const { Portside: _, ...stats } = gvproxyShape();
    expect(shapeOf((await curl(peer, { path: '/stats', status: 200 })).text)).toMatchObject(stats);
  });
});

/** The shape of our own /stats. */
function gvproxyShape(): { Portside: unknown } {
  const clock = new NodeClock();
  const network = new VirtualNetwork({ clock, random: nodeRandom, hostNet: new NodeHostNet(clock) });
  const shape = shapeOf(JSON.stringify(gvproxyStats(network.stats())));
  network.close();
  return shape as { Portside: unknown };
}
