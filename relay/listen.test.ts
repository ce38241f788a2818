/** The network with real sockets: a guest made of our own stack, over a UNIX socket, against servers on 127.0.0.1. */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FrameDecoder } from '../shared/link/qemu-framing.ts';
import type { LinkPort } from '../shared/net/stack/link-port.ts';
import { Stack } from '../shared/net/stack/stack.ts';
import type { CloseReason, TcpConnection, TcpHandler } from '../shared/net/stack/tcp/connection.ts';
import { GUEST_IP, GUEST_MAC, ip, STACK_CONFIG } from '../shared/net/stack/fixture/frames.ts';
import type { UnicastIpv4 } from '../shared/net/wire/addr.ts';
import { NodeClock, nodeRandom } from './host/node-clock.ts';
import { parseResolvConf } from './host/node-host-net.ts';
import type { Listening } from './listen.ts';
import { listen, parseForward } from './listen.ts';

const ALIAS = ip('192.168.127.254');
const GATEWAY = ip('192.168.127.1');

/** A guest's program: what arrives is hashed, `onEnd` is asked when the peer has ended. */
class Program implements TcpHandler {
  connection: TcpConnection | null = null;
  readonly hash = createHash('sha256');
  received = 0;
  readonly #toSend: Buffer;
  readonly #endsItself: boolean;
  #sent = 0;
  #resolve: (reason: CloseReason) => void = () => {};
  readonly closed = new Promise<CloseReason>((resolve) => (this.#resolve = resolve));

  constructor(toSend: Buffer, endsItself = true) {
    this.#toSend = toSend;
    this.#endsItself = endsItself;
  }

  onEstablished(): void { this.#pump(); }
  onData(bytes: Uint8Array, start: number, end: number): void {
    this.hash.update(bytes.subarray(start, end));
    this.received += end - start;
  }
  onTurn(): void {}
  onFin(): void {}
  onSendSpace(): void { this.#pump(); }
  onClosed(reason: CloseReason): void { this.#resolve(reason); }

  #pump(): void {
    while (this.#sent < this.#toSend.length && !this.connection!.isSendFull) {
      this.connection!.send(this.#toSend.subarray(this.#sent, (this.#sent += 50_000)));
    }
    if (this.#sent >= this.#toSend.length && this.#endsItself) this.connection!.shutdown();
  }
}

class Guest {
  readonly stack = new Stack(new NodeClock(), nodeRandom, { ...STACK_CONFIG, gatewayIp: GUEST_IP, gatewayMac: GUEST_MAC, aliases: [] });
  readonly #socket: Socket;
  readonly #port: LinkPort;

  constructor(path: string) {
    const socket = connect(path);
    this.#socket = socket;
    this.#port = this.stack.attach({
      sendBatch: (batch) => {
        socket.write(batch.bytes.subarray(0, batch.end), () => batch.release());
        return true;
      },
    });
    const decoder = new FrameDecoder(1518, (bytes, start, end) => this.#port.receive(bytes, start, end));
    socket.on('data', (chunk: Buffer) => {
      decoder.push(chunk, 0, chunk.length);
      this.#port.flush();
    });
    socket.on('error', () => {});
  }

  resolve(address: UnicastIpv4): Promise<boolean> {
    return new Promise((resolve) => this.stack.neighbors.resolve(address, resolve));
  }

  async run(address: UnicastIpv4, port: number, toSend: Buffer, endsItself = true): Promise<{ program: Program; reason: CloseReason }> {
    expect(await this.resolve(address)).toBe(true);
    const program = new Program(toSend, endsItself);
    program.connection = this.stack.tcp.connect(address, port, GUEST_IP, 20_000 + Math.floor(Math.random() * 20_000), program);
    return { program, reason: await program.closed };
  }

  close(): void {
    this.stack.close();
    this.#socket.destroy();
  }
}

let folder: string;
let listening: Listening;
let guest: Guest;
const servers: { close(): void }[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-net-'));
  listening = await listen(`unix:${join(folder, 'net.sock')}`);
  guest = new Guest(join(folder, 'net.sock'));
});

afterEach(async () => {
  guest.close();
  for (const server of servers.splice(0)) server.close();
  await listening.close();
  const left = (): unknown[] => Object.entries(listening.network.stats()).filter(([name, value]) => /(Open|Held)$/.test(name) && value !== 0);
  await expect.poll(left).toEqual([]);
  rmSync(folder, { recursive: true });
});

async function serve(onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, onSocket);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('a datagram to DHCP\'s port of an address that is nobody\'s is one counted drop; the network goes on', async () => {
  const arp = 'ffffffffffff 020000000001 0806 0001080006040001 020000000001 c0a87f03 000000000000 c0a87f01';
  const datagram = `ffffffffffff 020000000001 0800 45000148 00004000 4011f9f9 c0a87f03 f0ffffff 0044 0043 0134 80b6 010106000000000900000000c0a87f03 ${'00'.repeat(284)}`;
  const frames = [arp, datagram, datagram.replace('4011f9f9 c0a87f03 f0ffffff', '4011faf7 c0a87f03 f0000001')].map((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  const raw = connect(join(folder, 'net.sock'));
  raw.on('error', () => {});
  for (const frame of frames) raw.write(Buffer.concat([Buffer.from([0, 0, frame.length >> 8, frame.length & 255]), frame]));
  await expect.poll(() => listening.network.stats()['drop:ipv4-bad-destination']).toBe(2);
  raw.destroy();
  expect(await guest.resolve(GATEWAY)).toBe(true);
});

test('8 MB each way through the NAT arrive intact, each direction ending by itself', async () => {
  const down = randomBytes(8_000_000);
  const up = randomBytes(8_000_000);
  let uploaded = '';
  const port = await serve((socket) => {
    const hash = createHash('sha256');
    socket.on('data', (chunk: Buffer) => hash.update(chunk));
    socket.on('end', () => {
      uploaded = hash.digest('hex');
      socket.end(down);
    });
  });
  const { program, reason } = await guest.run(ALIAS, port, up);
  expect([uploaded, program.hash.digest('hex'), program.received, reason]).toEqual([sha256(up), sha256(down), down.length, 'closed']);
});

test('a reader that stalls holds at most the windows in the relay, and gets everything in the end', async () => {
  const up = randomBytes(12_000_000);
  let release: () => void = () => {};
  let uploaded = 0;
  const port = await serve((socket) => {
    socket.pause();
    release = () => socket.resume();
    socket.on('data', (chunk: Buffer) => (uploaded += chunk.length));
    socket.on('end', () => socket.end());
  });
  const done = guest.run(ALIAS, port, up);
  let held = 0;
  // The sender has been stopped when what is held no longer grows.
  await expect.poll(() => {
    const before = held;
    held = listening.network.stats()['tcpBytesHeld'];
    return held > 0 && held === before;
  }, { interval: 100, timeout: 10_000 }).toBe(true);
  // The scaled window is rounded up while it closes, so that it never shrinks: some bytes above the cap, as Linux does.
  expect(held).toBeLessThanOrEqual(1.05 * listening.network.config.tcpWindowMax);
  release();
  expect((await done).reason).toBe('closed');
  expect(uploaded).toBe(up.length);
});

test('a closed port refuses; a server that resets resets', async () => {
  const port = await serve((socket) => socket.on('data', () => socket.resetAndDestroy()));
  expect((await guest.run(ALIAS, port, Buffer.alloc(10))).reason).toBe('reset');
  servers.splice(0).forEach((server) => server.close());
  expect((await guest.run(ALIAS, port, Buffer.alloc(10))).reason).toBe('refused');
});

test('data with a reset right behind it ends in a reset, not as if it were complete', async () => {
  const port = await serve((socket) => {
    socket.on('data', () => {
      socket.write('half of it');
      socket.resetAndDestroy();
    });
  });
  expect((await guest.run(ALIAS, port, Buffer.alloc(10), false)).reason).toBe('reset');
});

test('a forwarded port reaches a server in the guest, and a second forward of it says that it is taken', async () => {
  expect(await guest.resolve(GATEWAY)).toBe(true);
  const reply = randomBytes(500_000);
  guest.stack.tcp.onSyn = (pending) => {
    if (pending.remotePort !== 8080) return pending.refuse();
    const program = new Program(reply);
    program.connection = pending.accept(program);
  };
  const { network } = listening;
  const forward = await network.addForward(parseForward('127.0.0.1:0:8080'));
  await expect(network.addForward(parseForward(`${forward.hostPort}:8080`))).rejects.toThrow(/can't listen on 127.0.0.1:\d+: EADDRINUSE/);
  const got = await new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    connect(forward.hostPort, '127.0.0.1').on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks))).on('error', reject);
  });
  expect(sha256(got)).toBe(sha256(reply));
  const closed = await network.addForward(parseForward('127.0.0.1:0:9'));
  const outcome = await new Promise((resolve) => connect(closed.hostPort, '127.0.0.1').on('error', (error: NodeJS.ErrnoException) => resolve(error.code)).on('end', () => resolve('end')));
  expect(outcome).toBe('ECONNRESET');
});

test('UDP through the NAT and back, and to a forwarded port', async () => {
  const echo = createSocket('udp4');
  servers.push(echo);
  echo.on('message', (bytes, peer) => echo.send(Buffer.concat([Buffer.from('re:'), bytes]), peer.port, peer.address));
  await new Promise<void>((resolve) => echo.bind(0, '127.0.0.1', resolve));
  await guest.resolve(ALIAS);
  await guest.resolve(GATEWAY);
  const arrival = (): Promise<string> => new Promise((resolve) => {
    guest.stack.udp.onDatagram = (d) => resolve(`${d.srcPort === echo.address().port ? 'echo' : 'peer'} ${d.dstPort} ${Buffer.from(d.bytes.subarray(d.start, d.end)).toString()}`);
  });
  guest.stack.udp.send(guest.stack.neighbors.find(ALIAS)!, GUEST_IP, 5555, echo.address().port, Buffer.from('hello'));
  expect(await arrival()).toBe('echo 5555 re:hello');
  const forward = await listening.network.addForward(parseForward('127.0.0.1:0:7777/udp'));
  const peer = createSocket('udp4');
  servers.push(peer);
  peer.send('knock', forward.hostPort, '127.0.0.1');
  expect(await arrival()).toBe('peer 7777 knock');
});

test('bytes that are no frames end that link and no other', async () => {
  const bad = connect(join(folder, 'net.sock'));
  bad.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  // A new link hears that there is a router.
  bad.resume();
  await new Promise((resolve) => bad.on('close', resolve));
  const port = await serve((socket) => socket.end('still here'));
  expect((await guest.run(ALIAS, port, Buffer.alloc(0))).program.received).toBe(10);
});

test('a stale UNIX socket is replaced, a live one is not; bad specs are refused', async () => {
  await expect(listen(listening.spec)).rejects.toThrow(/EADDRINUSE/);
  await expect(listen('udp:1')).rejects.toThrow(/neither/);
  await expect(listen('tcp:127.0.0.1:0', { config: { mtu: 100 } })).rejects.toThrow(/mtu 100/);
  const tcp = await listen('tcp:127.0.0.1:0');
  expect(tcp.spec).toMatch(/^tcp:127\.0\.0\.1:\d+$/);
  await tcp.close();
});

test('forwards and resolv.conf are parsed', () => {
  expect(parseForward('8000:80')).toEqual({ protocol: 'tcp', hostIp: ip('127.0.0.1'), hostPort: 8000, guestPort: 80 });
  expect(parseForward('0.0.0.0:53:192.168.127.9:54/udp')).toEqual({ protocol: 'udp', hostIp: 0, hostPort: 53, guestIp: ip('192.168.127.9'), guestPort: 54 });
  for (const bad of ['80', '1:2:3:4:5', '70000:1', '1:0', 'a:b', '1:2/sctp']) expect(() => parseForward(bad)).toThrow(/is not/);
  expect(parseResolvConf('# x\nnameserver 10.0.0.1\nnameserver ::1\n search a\nnameserver\t10.0.0.2 # y').resolvers).toEqual([{ ip: ip('10.0.0.1'), port: 53 }, { ip: [0, 0, 0, 1], port: 53 }, { ip: ip('10.0.0.2'), port: 53 }]);
});
