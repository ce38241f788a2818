/* The whole relay: a guest's frames through a WebSocket, the real network, real host sockets. */
import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { VirtualNetwork } from '../shared/net/services/network.ts';
import { Stack } from '../shared/net/stack/stack.ts';
import { formatIpv4, formatMac } from '../shared/net/wire/addr.ts';
import { GATEWAY, HOST_ALIAS, TinyGuest } from './fixture/tiny-guest.ts';
import { frame, TestRelay, until, type TestRelayOptions } from './fixture/test-relay.ts';
import { NodeClock } from './host/node-clock.ts';
import { NodeHostNet } from './host/node-host-net.ts';

const BODY = Buffer.from(Array.from({ length: 400_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
const closers: (() => unknown)[] = [];
afterEach(async () => { for (const close of closers.splice(0).toReversed()) await close(); });

async function start(options: TestRelayOptions = {}): Promise<TestRelay> {
  const relay = await TestRelay.start({ hostNet: new NodeHostNet(new NodeClock()), clock: new NodeClock(), createNetwork: (given) => new VirtualNetwork(given), ...options });
  closers.push(() => relay.stop());
  return relay;
}

async function startHttp(): Promise<number> {
  const server: Server = createServer((_request, response) => response.end(BODY)).listen(0, '127.0.0.1');
  closers.push(() => { server.closeAllConnections(); server.close(); });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function joined(relay: TestRelay): Promise<TinyGuest> {
  const guest = new TinyGuest(await relay.link(await relay.newSession()));
  await guest.dhcp();
  await guest.arp(GATEWAY);
  return guest;
}

const REQUEST = 'GET / HTTP/1.0\r\nHost: x\r\n\r\n';

function bodyOf(answer: Uint8Array): Buffer {
  const bytes = Buffer.from(answer);
  return bytes.subarray(bytes.indexOf('\r\n\r\n') + 4);
}

test('lease, gateway, echo, names, and a download from a server on the loopback', async () => {
  const relay = await start();
  const guest = new TinyGuest(await relay.link(await relay.newSession()));
  const lease = await guest.dhcp();
  expect([lease.type, formatIpv4(lease.yourIp), formatIpv4(lease.router!), formatIpv4(lease.dns!), lease.mtu]).toEqual(['ack', '192.168.127.3', '192.168.127.1', '192.168.127.1', 1500]);
  expect(formatMac(await guest.arp(GATEWAY))).toBe('5a:94:ef:e4:0c:dd');
  expect(await guest.ping(GATEWAY)).toBe(true);
  expect(await guest.lookUp('host.containers.internal')).toEqual({ rcode: 0, address: HOST_ALIAS });
  const answer = await guest.tcp(HOST_ALIAS, await startHttp(), REQUEST);
  expect(bodyOf(answer).equals(BODY)).toBe(true);
  await expect(guest.tcp(HOST_ALIAS, 1, REQUEST)).rejects.toThrow('refused');
  expect(relay.log).toEqual([]);
});

test('a client without the tunnel that comes back finds a new network, and keeps its address in it', async () => {
  // As v86 and c2w's page do: the guest behind them hears nothing of it, and neither asks for a lease nor for the gateway again.
  const relay = await start();
  const first = relay.socket({ protocol: null });
  await first.opened();
  const guest = new TinyGuest(first, '00:22:15:01:02:03');
  expect(formatIpv4((await guest.dhcp()).yourIp)).toBe('192.168.127.3');
  await guest.arp(GATEWAY);
  first.ws.terminate();
  const second = relay.socket({ protocol: 'binary' });
  await second.opened();
  guest.relink(second);
  expect(bodyOf(await guest.tcp(HOST_ALIAS, await startHttp(), REQUEST)).equals(BODY)).toBe(true);
});

test('two tabs: the same address in two networks, each with its own traffic', async () => {
  const relay = await start();
  const [a, b] = [await joined(relay), await joined(relay)];
  expect([formatIpv4(a.ip), formatIpv4(b.ip)]).toEqual(['192.168.127.3', '192.168.127.3']);
  const port = await startHttp();
  const [left, right] = await Promise.all([a.tcp(HOST_ALIAS, port, REQUEST), b.tcp(HOST_ALIAS, port, REQUEST)]);
  expect([bodyOf(left).equals(BODY), bodyOf(right).equals(BODY)]).toEqual([true, true]);
});

test('a link that is cut in the middle of a download: the connection goes on over the next one', async () => {
  const relay = await start();
  const grant = await relay.newSession();
  const first = await relay.link(grant);
  const guest = new TinyGuest(first);
  await guest.dhcp();
  await guest.arp(GATEWAY);
  let cut = false;
  const answer = guest.tcp(HOST_ALIAS, await startHttp(), REQUEST, (bytes) => {
    if (cut || bytes < BODY.length / 2) return;
    cut = true;
    first.ws.terminate();
    // What was under way is lost; the guest does not know.
    void relay.link(grant).then((second) => guest.relink(second));
  }).catch((error: unknown) => error);
  expect(bodyOf(await answer as Uint8Array).equals(BODY)).toBe(true);
  expect(cut).toBe(true);
  expect((await relay.health()).sessions).toMatchObject({ open: 1, linked: 1 });
});

test('-p: a connection to the host port reaches the guest as one of its network', async () => {
  const relay = await start({ config: { forwards: [{ protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 0, guestPort: 80 }] } });
  const grant = await relay.newSession();
  const guest = new TinyGuest(await relay.link(grant));
  await guest.dhcp();
  await guest.arp(GATEWAY);
  const page = new Promise<string>((resolve, reject) => {
    get(`http://${grant.forwards[0].host}/`, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => { text += chunk.toString(); });
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
  const request = await guest.serveOnce(80, 'HTTP/1.0 200 OK\r\n\r\nIt works!');
  expect(request).toMatch(/^GET \/ HTTP\/1\.1\r\n/);
  expect(await page).toBe('It works!');
});

test('our own bug in a network costs that guest a frame: its link stays, and so does everybody else', async () => {
  const relay = await start();
  relay.hasBugs = true;
  const other = await joined(relay);
  const port = await startHttp();
  const link = await relay.link(await relay.newSession());
  const lost = vi.spyOn(Stack.prototype, 'onFrame').mockImplementationOnce(() => { throw new Error('on purpose'); });
  link.ws.send(frame(new Uint8Array(60).fill(0xff, 0, 6)));
  await until(() => relay.log.length > 0);
  lost.mockRestore();
  const guest = new TinyGuest(link);
  expect((await guest.dhcp()).type).toBe('ack');
  await guest.arp(GATEWAY);
  for (const each of [guest, other]) expect(bodyOf(await each.tcp(HOST_ALIAS, port, REQUEST)).equals(BODY)).toBe(true);
  expect(relay.log).toEqual([expect.stringMatching(/^portside: bug: an exception cost a guest one frame.*\nError: on purpose\n\s+at /)]);
  expect((await relay.health()).sessions).toMatchObject({ open: 2, linked: 2 });
  expect((await relay.request('/metrics')).body.toString()).toMatch(/^portside_bugs_caught_total 1$/m);
});

test('an MTU that the client asked for is the one that DHCP offers and TCP uses', async () => {
  const relay = await start();
  const guest = new TinyGuest(await relay.link(await relay.newSession(), 9000));
  expect((await guest.dhcp()).mtu).toBe(9000);
});
