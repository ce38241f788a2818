/* The host's network through real sockets on the loopback, of both families. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { HostTcp, HostTcpHandlers, HostUdpHandlers } from '../../shared/net/nat/host-net.ts';
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

/** What a dialled socket has told until its end. */
function dialled(port: number, onConnect: (socket: HostTcp) => void): Promise<{ bytes: number; hasEnded: boolean; error: string | null }> {
  return new Promise((resolve) => {
    let bytes = 0;
    let hasEnded = false;
    const handlers: HostTcpHandlers = {
      onConnect: () => onConnect(socket),
      onData: (data) => { bytes += data.length; },
      onEnd: () => { hasEnded = true; }, onTaken: () => {}, onClose: (error) => resolve({ bytes, hasEnded, error }),
    };
    const socket = new NodeHostNet(new NodeClock()).connectTcp(IPV4_LOOPBACK, port, handlers);
  });
}

test('a server that answers and closes while it is sent more: the answer is read to its end, then the error is told', async () => {
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    // What it has not read makes its close a reset.
    setTimeout(() => { socket.write(Buffer.alloc(200)); socket.destroy(); }, Math.random() * 3);
  }).listen(0, '127.0.0.1');
  closers.push(() => server.close());
  await once(server, 'listening');
  for (let i = 0; i < 40; i++) {
    const { bytes, error } = await dialled((server.address() as AddressInfo).port, (socket) => {
      socket.resume();
      const upload = (left: number): void => {
        socket.write(Buffer.alloc(10_000));
        if (left > 0) setImmediate(upload, left - 1);
      };
      upload(400);
    });
    expect([bytes, ['ECONNRESET', 'EPIPE'].includes(error!)]).toEqual([200, true]);
  }
});

test('a reset while a socket is paused: what had come, in the stream and in the kernel, is delivered with it', async () => {
  for (const size of [200, 60_000, 100_000]) {
    const server = createServer((socket) => { socket.on('error', () => {}); socket.write(Buffer.alloc(size)); setTimeout(() => socket.resetAndDestroy(), 50); }).listen(0, '127.0.0.1');
    closers.push(() => server.close());
    await once(server, 'listening');
    const { bytes, error } = await dialled((server.address() as AddressInfo).port, (socket) => {
      socket.pause();
      setTimeout(() => socket.write(Buffer.alloc(10)), 100);
      setTimeout(() => socket.resume(), 150);
    });
    expect([bytes, error]).toEqual([size, 'ECONNRESET']);
  }
});

for (const [host, ip] of LOOPBACKS) {
  test.skipIf(host === '::1' && !hasLoopback6)(`UDP of ${host}: everybody sees one port, answers from any; a twin on it hears that nobody is there`, async () => {
    const hostNet = new NodeHostNet(new NodeClock());
    const peer = async (): Promise<{ port: number; answer: Promise<number>; send: (text: string, to: number) => void }> => {
      const socket = createSocket(host === '::1' ? 'udp6' : 'udp4').bind(0, host);
      closers.push(() => socket.close());
      await once(socket, 'listening');
      const answer = once(socket, 'message').then(([, from]) => (from as { port: number }).port);
      return { port: socket.address().port, answer, send: (text, to) => socket.send(text, to, host) };
    };
    const [a, b, elsewhere] = [await peer(), await peer(), await peer()];
    const got: string[] = [];
    const handlersOf = (name: string): HostUdpHandlers => ({
      onMessage: (bytes, from, port) => got.push(`${name}: ${String(bytes)} of ${formatIp(from)} ${port}`),
      onError: (error) => got.push(`${name}: ${error}`),
    });
    const mapping = hostNet.openUdp(host === '::1', handlersOf('mapping'));
    closers.push(() => mapping.close());
    const twin = hostNet.connectUdp(ip, a.port, handlersOf('twin'), mapping.port);
    closers.push(() => twin.close());
    twin.send(Buffer.from('to a'));
    mapping.send(Buffer.from('to b'), ip, b.port);
    expect([await a.answer, await b.answer]).toEqual([mapping.port, mapping.port]);
    a.send('1', mapping.port);
    elsewhere.send('2', mapping.port);
    await expect.poll(() => got.toSorted()).toEqual([`mapping: 2 of ${host} ${elsewhere.port}`, `twin: 1 of ${host} ${a.port}`]);
    got.length = 0;
    const gone = createSocket(host === '::1' ? 'udp6' : 'udp4').bind(0, host);
    await once(gone, 'listening');
    const { port } = gone.address();
    await new Promise<void>((resolve) => { gone.close(resolve); });
    const lost = hostNet.connectUdp(ip, port, handlersOf('lost'), mapping.port);
    closers.push(() => lost.close());
    lost.send(Buffer.from('anybody?'));
    await expect.poll(() => got).toEqual(['lost: ECONNREFUSED']);
  });
}

test('mappings never meet on one port; what cannot be sent names its destination', async () => {
  const hostNet = new NodeHostNet(new NodeClock());
  const errors: unknown[] = [];
  const mappings = Array.from({ length: 500 }, () => hostNet.openUdp(false, { onMessage: () => {}, onError: (...error) => errors.push(error) }));
  closers.push(() => { for (const mapping of mappings) mapping.close(); });
  expect([new Set(mappings.map(({ port }) => port)).size, mappings.every(({ port }) => port > 0)]).toEqual([500, true]);
  const ip = parseIpv4('255.255.255.255')!;
  mappings[0].send(Buffer.from('x'), ip, 9);
  await expect.poll(() => errors).toEqual([['EACCES', ip, 9]]);
});

test.skipIf(process.platform !== 'linux')('keepalive: client and accepted sockets have the system\'s, until the guest asks for a shorter one', async () => {
  const hostNet = new NodeHostNet(new NodeClock());
  const accepted: HostTcp[] = [];
  const listener = await hostNet.listenTcp(IPV4_LOOPBACK, 0, (socket) => accepted.push(socket));
  closers.push(() => listener.close());
  const silent: HostTcpHandlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };
  const outgoing = await new Promise<HostTcp>((resolve) => {
    const socket = hostNet.connectTcp(IPV4_LOOPBACK, listener.port, { ...silent, onConnect: () => resolve(socket) });
  });
  await expect.poll(() => accepted.length).toBe(1);
  for (const socket of [outgoing, accepted[0]]) closers.push(() => { socket.handlers = silent; socket.reset(); });
  /** of the connection's two ends, in seconds; `02` is the timer of keepalive, its time in hundredths */
  const timers = (): number[] => readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1).map((line) => line.trim().split(/\s+/))
    .filter(([, from, to, state, , timer]) => state === '01' && [from, to].some((end) => Number.parseInt(end.split(':')[1], 16) === listener.port) && timer.startsWith('02:'))
    .map(([, , , , , timer]) => Number.parseInt(timer.slice(3), 16) / 100);
  const system = Number(readFileSync('/proc/sys/net/ipv4/tcp_keepalive_time', 'utf8'));
  expect(timers().map((seconds) => Math.abs(seconds - system) < 60)).toEqual([true, true]);
  outgoing.setKeepalive(5400);
  accepted[0].setKeepalive(20);
  expect(timers().map((seconds) => Math.ceil(seconds)).toSorted((a, b) => a - b)).toEqual([1, 5]);
});

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
