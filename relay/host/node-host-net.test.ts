/* The host's network through real sockets on the loopback, of both families. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { HostTcpHandlers } from '../../shared/net/nat/host-net.ts';
import { IPV4_LOOPBACK, parseIpv4 } from '../../shared/net/wire/addr.ts';
import { formatIp, IPV6_LOOPBACK } from '../../shared/net/wire/addr6.ts';
import { NodeClock } from './node-clock.ts';
import { NodeHostNet, parseResolvConf, refuseItself } from './node-host-net.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => { for (const close of closers.splice(0).toReversed()) await close(); });

const hasLoopback6 = Object.values(networkInterfaces()).flat().some((address) => address?.address === '::1');
const LOOPBACKS = [['127.0.0.1', IPV4_LOOPBACK], ['::1', IPV6_LOOPBACK]] as const;

for (const [host, ip] of LOOPBACKS) {
  const isHere = host !== '::1' || hasLoopback6;
  test.skipIf(!isHere)(`TCP to ${host}: data both ways, both ends; nobody there is ECONNREFUSED`, async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.on('data', (bytes) => socket.end(`<${String(bytes)}>`))).listen(0, host);
    closers.push(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const dial = (to: number): Promise<string> => new Promise((resolve) => {
      let text = '';
      const handlers: HostTcpHandlers = {
        onConnect: () => { socket.write(Buffer.from('hello')); socket.resume(); },
        onData: (bytes) => { text += Buffer.from(bytes).toString(); },
        onEnd: () => socket.end(), onTaken: () => {}, onClose: (error) => resolve(error ?? text),
      };
      const socket = new NodeHostNet(new NodeClock()).connectTcp(ip, to, handlers);
    });
    expect(await dial(port)).toBe('<hello>');
    await new Promise((resolve) => server.close(resolve));
    expect(await dial(port)).toBe('ECONNREFUSED');
  });

  test.skipIf(!isHere)(`a socket of ${host} that reaches itself is refused`, async () => {
    const server = createServer().listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const socket = connect({ host, port, localAddress: host, localPort: port });
    refuseItself(socket, host, port);
    const [error] = await once(socket, 'error') as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
  });

  test.skipIf(!isHere)(`UDP to ${host}: what is sent before the socket is ready goes out in order, TTLs between`, async () => {
    const peer = createSocket(host === '::1' ? 'udp6' : 'udp4');
    peer.on('message', (bytes, from) => peer.send(`<${bytes.toString()}>`, from.port, from.address));
    peer.bind(0, host);
    closers.push(() => peer.close());
    await once(peer, 'listening');
    const got: string[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      const udp = new NodeHostNet(new NodeClock()).connectUdp(ip, peer.address().port, {
        onMessage: (bytes) => { if (got.push(Buffer.from(bytes).toString()) === 3) resolve(); }, onError: (error) => reject(new Error(error)),
      });
      closers.push(() => udp.close());
      udp.send(Buffer.from('a'));
      udp.setTtl(1);
      udp.send(Buffer.from('b'));
      udp.setTtl(64);
      udp.send(Buffer.from('c'));
    });
    await ended;
    expect(got).toEqual(['<a>', '<b>', '<c>']);
  });
}

test('hasIpv6 says what the interfaces say', () => {
  const expected = Object.values(networkInterfaces()).flat().some((address) => address?.family === 'IPv6' && !address.internal && !/^fe[89ab]/.test(address.address));
  expect(new NodeHostNet(new NodeClock()).hasIpv6()).toBe(expected);
});

test('resolv.conf: servers of both families, at most three, with their zones; options within glibc\'s bounds', () => {
  const text = 'search x\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\n# nameserver 9.9.9.9\nnameserver bad\nnameserver 10.0.0.53;x\r\nnameserver ::1\n';
  const read = (conf: string): string[] => parseResolvConf(conf).resolvers.map(({ ip, port, zone }) => `${formatIp(ip)} ${port} ${zone ?? ''}`.trim());
  expect(read(text)).toEqual(['2001:db8::53 53', 'fe80::1 53 eth0', '10.0.0.53 53']);
  // resolv.conf(5): without a server it is this computer.
  expect([read(''), read('search x\n')]).toEqual([['127.0.0.1 53'], ['127.0.0.1 53']]);
  expect(parseResolvConf(text).options).toEqual({ timeoutMs: 5000, attempts: 2, isRotating: false, isTcpOnly: false });
  expect(parseResolvConf('options ndots:2 timeout:1 rotate\noptions attempts:9 use-vc').options).toEqual({ timeoutMs: 1000, attempts: 5, isRotating: true, isTcpOnly: true });
  expect(parseResolvConf('options timeout:0 attempts:x timeout:99').options).toMatchObject({ timeoutMs: 30_000, attempts: 2 });
});

test('resolv.conf is read again at once when it changes, is replaced, goes away and comes back', () => {
  const dir = mkdtempSync(join(tmpdir(), 'portside-resolv-'));
  closers.push(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'resolv.conf');
  // The clock stands still: nothing is a matter of time.
  const hostNet = new NodeHostNet({ nowMs: () => 0, wallMs: () => 0, startTimer: () => ({ cancel: () => {} }), soon: () => {} }, path);
  const servers = (): string => hostNet.resolvers().map(({ ip }) => formatIp(ip)).join();
  expect([servers(), hostNet.namesResolver()]).toEqual(['127.0.0.1', false]);
  writeFileSync(path, 'nameserver 10.0.0.1\n');
  expect([servers(), hostNet.namesResolver()]).toEqual(['10.0.0.1', true]);
  expect(hostNet.resolvers()).toBe(hostNet.resolvers());
  writeFileSync(path, 'nameserver 10.0.0.1\nnameserver 10.0.0.2\n');
  expect(servers()).toBe('10.0.0.1,10.0.0.2');
  writeFileSync(`${path}.new`, 'nameserver 10.0.0.3\n');
  renameSync(`${path}.new`, path);
  expect(servers()).toBe('10.0.0.3');
  rmSync(path);
  expect(servers()).toBe('127.0.0.1');
  writeFileSync(path, 'nameserver 10.0.0.3\noptions attempts:3\n');
  expect([servers(), hostNet.resolverOptions().attempts]).toEqual(['10.0.0.3', 3]);
});

test('ping: the system\'s program with the hops that are left, and no answer where there is none', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'portside-ping-'));
  const path = process.env['PATH'];
  closers.push(() => { process.env['PATH'] = path; rmSync(dir, { recursive: true }); });
  const hostNet = new NodeHostNet(new NodeClock());
  process.env['PATH'] = dir;
  expect(await hostNet.ping(parseIpv4('127.0.0.1')!, 56, 64)).toBeNull();
  const seen = join(dir, 'seen');
  writeFileSync(join(dir, 'ping'), `#!/bin/sh\necho "$*" >>'${seen}'\ncase "$*" in *127.0.0.2) exit 1;; esac\n`, { mode: 0o755 });
  expect(await hostNet.ping(parseIpv4('127.0.0.1')!, 56, 64)).toBeGreaterThanOrEqual(0);
  expect(await hostNet.ping(IPV6_LOOPBACK, 8, 1)).toBeGreaterThanOrEqual(0);
  expect(await hostNet.ping(parseIpv4('127.0.0.2')!, 8, 3)).toBeNull();
  expect(readFileSync(seen, 'utf8')).toBe('-n -c 1 -W 5 -s 56 -t 63 127.0.0.1\n-n -c 1 -W 5 -s 8 -t 1 ::1\n-n -c 1 -W 5 -s 8 -t 2 127.0.0.2\n');
});
