/* v86's way: one frame in each message, no length, no subprotocol. */
import { afterEach, expect, test } from 'vitest';
import { maxFrameLen } from '../shared/link/qemu-framing.ts';
import type { FrameSink, LinkPort } from '../shared/net/stack/link-port.ts';
import { EchoNetwork, FLOOD_BATCH_BYTES, frame, FRAME_FLOOD, TestRelay, until, type TestRelayOptions } from './fixture/test-relay.ts';

const relays: TestRelay[] = [];

async function start(options: TestRelayOptions = {}): Promise<TestRelay> {
  const relay = await TestRelay.start(options);
  relays.push(relay);
  return relay;
}

afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
});

/** A link whose messages are kept apart. */
async function link(relay: TestRelay): Promise<{ socket: ReturnType<TestRelay['socket']>; received: Uint8Array[] }> {
  const socket = relay.socket({ protocol: null, path: '/wsproxy' });
  const received: Uint8Array[] = [];
  socket.ws.on('message', (data) => received.push(data as Buffer));
  await socket.opened();
  return { socket, received };
}

const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte);

test('each message is a frame, in both directions, of every length that the MTU allows', async () => {
  const relay = await start();
  const { socket, received } = await link(relay);
  const sent = [1, 2, 3, 4, 5, 60, 1514, maxFrameLen(1500)].map((length, i) => filled(length, i + 1));
  for (const bytes of sent) socket.ws.send(bytes);
  await until(() => received.length >= sent.length);
  expect(received.map((bytes) => [...bytes])).toEqual(sent.map((bytes) => [...bytes]));
  expect(relay.networks[0].options.config?.mtu).toBe(1500);
  expect((await relay.health()).sessions).toMatchObject({ open: 1, linked: 1 });
});

/** Answers each frame with a batch of three: the same twice, and one that is a byte longer. */
class TripleNetwork extends EchoNetwork {
  released = 0;

  override attach(sink: FrameSink): LinkPort {
    const receive = (bytes: Uint8Array, from: number, end: number): void => {
      const batch = frame(bytes.slice(from, end), bytes.slice(from, end), filled(end - from + 1, 9));
      sink.sendBatch({ bytes: batch, end: batch.length, frames: 3, release: () => { this.released++; } });
    };
    return { receive, flush: () => {}, onDrain: () => {}, close: () => {}, closed: false };
  }
}

test('a batch of the network leaves as one message per frame, and is given back once', async () => {
  const networks: TripleNetwork[] = [];
  const relay = await start({ createNetwork: (options) => {
    networks.push(new TripleNetwork(options));
    return networks[0];
  } });
  const { socket, received } = await link(relay);
  for (const length of [20, 1000]) socket.ws.send(filled(length, 7));
  await until(() => received.length >= 6);
  expect(received.map((bytes) => [bytes.length, bytes[0]])).toEqual([[20, 7], [20, 7], [21, 9], [1000, 7], [1000, 7], [1001, 9]]);
  await until(() => networks[0].released >= 2);
  expect(networks[0].released).toBe(2);
});

test.each([
  ['of length 0', new Uint8Array(0), 'length 0'],
  ['that is too long', new Uint8Array(maxFrameLen(1500) + 1), `length ${maxFrameLen(1500) + 1}`],
  ['of text', 'ping', 'text'],
])('a message %s closes its link with a reason, and no other', async (_what, message, reason) => {
  const relay = await start();
  const good = await link(relay);
  const bad = await link(relay);
  bad.socket.ws.send(filled(20, 1));
  bad.socket.ws.send(message);
  expect([await bad.socket.ended(), bad.socket.reason]).toEqual(['close 4400', expect.stringContaining(reason)]);
  expect(bad.received).toHaveLength(1);
  good.socket.ws.send(filled(20, 2));
  await until(() => good.received.length === 1);
  expect((await relay.health()).sessions).toMatchObject({ open: 1, linked: 1 });
});

test('a session that ends with its link, under the caps of all sessions', async () => {
  const relay = await start({ limits: { maxSessionsPerAddress: 2 } });
  const first = await link(relay);
  await link(relay);
  expect(await relay.socket({ protocol: null, path: '/wsproxy' }).ended()).toBe('http 429');
  first.socket.ws.terminate();
  await until(() => relay.networks[0].closed);
  await link(relay);
});

test('no subprotocol of the tunnel, no path below', async () => {
  const relay = await start();
  expect(await relay.socket({ path: '/wsproxy' }).ended()).toBe('http 400');
  expect(await relay.socket({ protocol: null, path: '/wsproxy/x' }).ended()).toBe('http 404');
  expect((await relay.request('/wsproxy')).status).toBe(426);
});

test('a client that does not read is held back', async () => {
  const relay = await start({ limits: { highWaterBytes: 256 * 1024, lowWaterBytes: 64 * 1024 } });
  const { socket } = await link(relay);
  socket.ws.pause();
  socket.ws.send(filled(10, FRAME_FLOOD));
  await until(() => relay.networks[0].fullTimes > 0);
  expect((await relay.health()).queuedBytes).toBeLessThanOrEqual(256 * 1024 + 2 * FLOOD_BATCH_BYTES);
  const stuck = relay.networks[0].floodBatches;
  socket.ws.resume();
  await until(() => relay.networks[0].floodBatches > stuck + 100);
});
