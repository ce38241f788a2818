/* Ports of the host into sessions: real sockets on the host's side, a network that echoes on the other. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { HostListener, HostUdp } from '../shared/net/nat/host-net.ts';
import type { Forward, ForwardSpec, NetworkOptions } from '../shared/net/services/network.ts';
import { EchoNetwork, TestRelay, until } from './fixture/test-relay.ts';
import type { ForwardRequest } from './config.ts';
import { NodeClock } from './host/node-clock.ts';
import { NodeHostNet } from './host/node-host-net.ts';

let relay: TestRelay;
const networks: UdpEchoNetwork[] = [];
const closers: (() => void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) close();
  networks.length = 0;
  await relay.stop();
});

/** Answers each datagram of its forwards with its own number in front. */
class UdpEchoNetwork extends EchoNetwork {
  readonly number: number;
  bound: (HostUdp & HostListener) | null = null;

  constructor(options: NetworkOptions) {
    super(options);
    this.number = networks.push(this);
  }

  override addForward(spec?: ForwardSpec): never {
    // The one caller awaits it: a promise serves.
    return this.#bind(spec!) as never;
  }

  async #bind(spec: ForwardSpec): Promise<Forward> {
    this.bound = await this.options.hostNet.bindUdp(spec.hostIp, spec.hostPort, {
      onMessage: (bytes, srcIp, srcPort) => this.bound!.send(Uint8Array.of(this.number, ...bytes), srcIp, srcPort),
      onError: () => {},
    });
    return spec as Forward;
  }

  override close(): void {
    super.close();
    this.bound?.close();
  }
}

async function start(forwards: Partial<ForwardRequest>[]): Promise<number[]> {
  relay = await TestRelay.start({
    config: { forwards: forwards.map((forward) => ({ protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 0, guestPort: 80, ...forward })) },
    hostNet: new NodeHostNet(new NodeClock()),
    createNetwork: (options) => new UdpEchoNetwork(options),
  });
  const { forwards: list } = await relay.newSession();
  return list.map((forward) => Number(forward.host.split(':')[1]));
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  closers.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Resolves when the host's side has hung up, without ever having sent a byte. */
function hungUp(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.on('data', () => expect.unreachable());
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

test('TCP goes to the session that linked last, and stays where it is', async () => {
  const [port] = await start([{ guestPort: 8080 }]);
  await hungUp(port);

  const grant = await relay.newSession();
  const first = await relay.link(grant);
  expect(first.texts[0]).toMatchObject({ forwards: [{ host: `127.0.0.1:${port}`, guest: 8080 }] });
  const older = await dial(port);
  await until(() => networks[0].forwarded.length === 1);
  expect(networks[0].forwarded[0].guestPort).toBe(8080);

  const second = await relay.link(await relay.newSession());
  await dial(port);
  await until(() => networks[1].forwarded.length === 1);
  older.write('still here');
  expect((await once(older, 'data') as [Buffer])[0].toString()).toBe('still here');

  second.ws.send('{"type":"bye"}');
  await second.ended();
  await dial(port);
  await until(() => networks[0].forwarded.length === 2);
  first.ws.terminate();
  await until(async () => (await relay.health()).sessions.linked === 0);
  await hungUp(port);
});

test('UDP shares one socket: datagrams go to the session that linked last', async () => {
  const [port] = await start([{ protocol: 'udp', guestPort: 53 }]);
  const client = createSocket('udp4');
  closers.push(() => client.close());
  const ask = async (byte: number): Promise<number[]> => {
    client.send(Uint8Array.of(byte), port, '127.0.0.1');
    const [answer] = await once(client, 'message') as [Buffer];
    return [...answer];
  };
  client.send('nobody listens', port, '127.0.0.1');
  const first = await relay.link(await relay.newSession());
  expect(first.texts[0]).toMatchObject({ forwards: [{ host: `127.0.0.1:${port}`, guest: 53, protocol: 'udp' }] });
  expect(await ask(7)).toEqual([1, 7]);
  const second = await relay.link(await relay.newSession());
  expect(await ask(8)).toEqual([2, 8]);
  // That session ends, the socket lives on.
  second.ws.send('{"type":"bye"}');
  expect(await second.ended()).toBe('close 1000');
  expect(await ask(9)).toEqual([1, 9]);
});

test('a host port that is taken is an error at start, in one sentence', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  closers.push(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  await expect(start([{ hostPort: port }])).rejects.toMatchObject({ code: 'RELAY_FORWARD', message: expect.stringContaining(`${port}:80/tcp`) });
  await start([]);
});
