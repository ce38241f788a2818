import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { wholeFrames } from '../../shared/link/frame-writer.ts';
import { TUNNEL_SUBPROTOCOL } from '../../shared/link/tunnel.ts';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { Ring } from '../../shared/memory/ring.ts';
import type { NetMode, NetStatus } from '../protocol.ts';
import { Backoff } from './backoff.ts';
import { HIGH_WATER, Pump } from './pump.ts';
import { GRACE_MS, TunnelClient } from './tunnel-client.ts';

const ORIGIN = 'http://relay.test:8080';
const GRANT = { session: 'session-1', token: 't'.repeat(32), link: '/link', mtu: 1500, forwards: [] };

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static all: FakeSocket[] = [];
  binaryType = '';
  bufferedAmount = 0;
  sent: (string | Uint8Array)[] = [];
  closedWith: number | null = null;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly url: string;
  readonly protocol: string | undefined;

  constructor(url: string, protocol?: string) {
    if (!/^wss?:/.test(url)) throw new SyntaxError(`no WebSocket: ${url}`);
    this.url = url;
    this.protocol = protocol;
    FakeSocket.all.push(this);
  }

  send(data: string | Uint8Array): void { this.sent.push(data); }
  close(code: number): void { this.closedWith = code; }

  says(message: unknown): void { this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) }); }
  sends(bytes: Uint8Array): void { this.onmessage?.({ data: bytes.slice().buffer }); }
  breaks(code = 1006, reason = ''): void { this.onclose?.({ code, reason }); }
  get texts(): unknown[] { return this.sent.filter((data) => typeof data === 'string').map((data) => JSON.parse(data) as unknown); }
}

const frame = (len: number, fill: number): Uint8Array => Uint8Array.from([0, 0, len >> 8, len & 255, ...new Uint8Array(len).fill(fill)]);

let memory = makeContainerMemory(true);
let pump = new Pump(memory, null);
let status: NetStatus[] = [];
let grants: (() => Response | Promise<Response>)[] = [];
let client: TunnelClient;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  status = [];
  grants = [];
  memory = makeContainerMemory(true);
  pump = new Pump(memory, null);
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('fetch', async () => (grants.shift() ?? (() => Response.json(GRANT)))());
});
afterEach(() => {
  client.close();
  pump.close();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const last = (): FakeSocket => FakeSocket.all.at(-1)!;

async function open(mode: Extract<NetMode, { kind: 'relay' | 'delegate' }> = { kind: 'relay' }): Promise<void> {
  client = new TunnelClient(mode, ORIGIN, pump, (now) => status.push(now));
  client.open();
  await settle();
}

function up(resumed = false): void {
  last().onopen?.();
  last().says({ type: 'hello', version: 1, mtu: 1500, resumed, forwards: [{ host: '127.0.0.1:8000', guest: 80 }] });
}

function received(): number {
  return new Ring(memory.toGuest).readable;
}

describe('a relay', () => {
  test('grant, hello, up, forwards, bye', async () => {
    await open({ kind: 'relay', mtu: 9000 });
    expect([last().url, last().protocol, last().binaryType]).toEqual(['ws://relay.test:8080/link', TUNNEL_SUBPROTOCOL, 'arraybuffer']);
    expect(pump.wake.link).toBe(0);
    up();
    expect(last().texts).toEqual([{ type: 'hello', version: 1, session: GRANT.session, token: GRANT.token, mtu: 9000 }]);
    expect(pump.wake.link).toBe(1);
    last().says({ type: 'forwards', forwards: [] });
    last().says({ type: 'news-of-later', x: 1 });
    expect(status).toEqual([
      { state: 'connecting' }, { state: 'up', forwards: [{ host: '127.0.0.1:8000', guest: 80 }] }, { state: 'up', forwards: [] },
    ]);
    client.close();
    expect(last().texts.at(-1)).toEqual({ type: 'bye' });
    expect([last().closedWith, pump.wake.link]).toEqual([1000, 0]);
  });

  test('a break that is mended in time does not show in the guest, and half a frame leaves nothing behind', async () => {
    await open();
    up();
    last().sends(frame(60, 1).subarray(0, 40));
    last().breaks();
    expect(status.at(-1)).toMatchObject({ state: 'down', retryAtMs: expect.any(Number) });
    await vi.advanceTimersByTimeAsync(1000);
    expect(FakeSocket.all.length).toBe(2);
    up(true);
    expect(last().texts[0]).toMatchObject({ session: GRANT.session, token: GRANT.token });
    last().sends(frame(20, 2));
    expect([received(), pump.wake.link, pump.counters.reconnects]).toEqual([24, 1, 1]);
    await vi.advanceTimersByTimeAsync(2 * GRACE_MS);
    expect(pump.wake.link).toBe(1);
  });

  test('a long break takes the guest\'s link down, and a new one comes up', async () => {
    await open();
    up();
    last().breaks();
    for (let i = 0; i < 12; i++) {
      await vi.advanceTimersByTimeAsync(1000);
      if (FakeSocket.all.at(-1)!.closedWith === null) last().breaks();
    }
    expect(pump.wake.link).toBe(0);
    await vi.advanceTimersByTimeAsync(10_000);
    up(true);
    expect(pump.wake.link).toBe(2);
  });

  test('a relay that has forgotten the session gives a new one, with a new network behind it', async () => {
    await open();
    up();
    last().breaks(1001);
    await vi.advanceTimersByTimeAsync(600);
    grants.push(() => Response.json({ ...GRANT, session: 'session-2' }));
    last().onopen?.();
    last().breaks(4401, 'unknown session');
    await settle();
    up(false);
    expect(last().texts[0]).toMatchObject({ session: 'session-2' });
    expect(pump.wake.link).toBe(2);
  });

  test.each([
    ['{"type":"hello","version":2}'], ['{"type":"hello"}'], ['nonsense'], ['[]'], ['x'.repeat(20_000)],
  ])('a wrong word closes the link: %s', async (word) => {
    await open();
    last().onopen?.();
    last().says(word);
    expect([last().closedWith, status.at(-1)!.state]).toEqual([4400, 'down']);
    await vi.advanceTimersByTimeAsync(1000);
    expect(FakeSocket.all.length).toBe(2);
  });

  test('frames before hello, and garbage for frames, close the link', async () => {
    await open();
    last().onopen?.();
    last().sends(frame(20, 1));
    expect([last().closedWith, received()]).toEqual([4400, 0]);
    await vi.advanceTimersByTimeAsync(1000);
    up();
    last().sends(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1));
    expect([last().closedWith, received(), pump.wake.link]).toEqual([4400, 0, 1]);
  });

  test('silence is no answer', async () => {
    await open();
    await vi.advanceTimersByTimeAsync(10_500);
    expect([FakeSocket.all[0].closedWith, FakeSocket.all.length]).toEqual([1000, 2]);
  });

  test.each([
    ['403', () => new Response('', { status: 403 })], ['404', () => new Response('', { status: 404 })],
    ['a page', () => new Response('<!doctype html>')], ['another host', () => Response.json({ ...GRANT, link: 'ws://evil.test/link' })],
  ])('%s is a refusal: nothing is tried again', async (_name, answer) => {
    grants.push(answer);
    await open();
    expect(status.at(-1)).toMatchObject({ state: 'refused', detail: expect.any(String) });
    await vi.advanceTimersByTimeAsync(60_000);
    expect([FakeSocket.all.length, status.length]).toEqual([0, 2]);
  });

  test('a relay that is away is asked again, ever more slowly, at once when told so, and never after close', async () => {
    let asked = 0;
    vi.stubGlobal('fetch', async () => {
      asked++;
      throw new TypeError('Failed to fetch');
    });
    await open();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toBeGreaterThan(7);
    expect(asked).toBeLessThan(16);
    const before = asked;
    client.retry();
    await settle();
    expect(asked).toBe(before + 1);
    client.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toBe(before + 1);
  });

  test('replaced is for good', async () => {
    await open();
    up();
    last().breaks(4409);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([status.at(-1)!.state, FakeSocket.all.length, pump.wake.link]).toEqual(['refused', 1, 0]);
  });
});

describe('a delegate', () => {
  test('speaks frames from the first byte, and is no relay', async () => {
    await open({ kind: 'delegate', url: 'ws://other.test:9999/' });
    expect(last().protocol).toBeUndefined();
    last().onopen?.();
    expect([last().sent, pump.wake.link, status.at(-1)!.state]).toEqual([[], 1, 'up']);
    last().sends(frame(30, 1));
    last().says('hello');
    expect([received(), last().closedWith]).toEqual([34, null]);
    client.close();
    expect(last().sent).toEqual([]);
  });

  test('what is no URL is refused', async () => {
    await open({ kind: 'delegate', url: 'http://other.test/' });
    expect(status.at(-1)!.state).toBe('refused');
  });
});

describe('the pump', () => {
  beforeEach(() => { client = new TunnelClient({ kind: 'relay' }, ORIGIN, pump, () => {}); });

  function fromGuest(...frames: Uint8Array[]): void {
    const ring = new Ring(memory.fromGuest);
    for (const each of frames) ring.write(each, 0, each.length);
  }

  test('sends whole frames in batches, and waits while the socket is full', async () => {
    const socket = new FakeSocket('ws://x/');
    pump.socket = socket;
    socket.bufferedAmount = HIGH_WATER;
    fromGuest(...Array.from({ length: 100 }, (_, i) => frame(1500, i)));
    await vi.advanceTimersByTimeAsync(50);
    expect(socket.sent).toEqual([]);
    socket.bufferedAmount = 0;
    await vi.advanceTimersByTimeAsync(50);
    const sizes = socket.sent.map((data) => data.length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100 * 1504);
    expect(sizes.length).toBe(3);
    expect(sizes.every((size) => size % 1504 === 0)).toBe(true);
    expect(pump.counters).toMatchObject({ framesFromGuest: 100, framesDropped: 0 });
  });

  test('without a socket it throws frames away, counted, so that the guest never waits', async () => {
    fromGuest(frame(100, 1), frame(200, 2));
    await settle();
    expect([new Ring(memory.fromGuest).readable, pump.counters.framesDropped]).toEqual([0, 2]);
  });

  test('drops whole frames that a guest does not fetch, and counts them', () => {
    pump.socket = new FakeSocket('ws://x/');
    const batch = new Uint8Array(64 * 60_004);
    for (let i = 0; i < 64; i++) batch.set(frame(60_000, i), i * 60_004);
    for (let i = 0; i < 4; i++) expect(pump.receive(batch)).toBe(true);
    const held = new Ring(memory.toGuest);
    const count = { frames: 0 };
    expect(wholeFrames(held, held.capacity, count)).toBe(held.readable);
    expect(count.frames + pump.counters.framesDropped).toBe(256);
    expect(pump.counters.framesToGuest).toBe(count.frames);
  });
});

test('backoff: half a second, doubled, at most ten, jittered downwards', () => {
  const backoff = new Backoff(() => 0);
  expect([1, 2, 3, 4, 5, 6, 7].map(() => backoff.next())).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  backoff.reset();
  expect(backoff.next()).toBe(500);
  const shortest = new Backoff(() => 1);
  expect(shortest.next()).toBe(333);
});
