import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FromLink, ToLink } from '../port-protocol.ts';
import { BrowserNetwork, receiveFrames, seatIp } from './browser-network.ts';
import { NetGuest } from './fixture/net-guest.ts';
import type { ByteStream } from './page-socket.ts';
import type { CallPort } from './port-server.ts';
import { standForGateway, TabGateway, TabMember, type LockSource, type MemberGuest } from './tab-network.ts';

/** Exclusive locks of this process, in the order in which they were asked for: what a browser has over its tabs. */
class Locks implements LockSource {
  readonly #tails = new Map<string, Promise<unknown>>();

  async request(name: string, { signal }: { signal?: AbortSignal }, callback: (lock: unknown) => Promise<unknown>): Promise<unknown> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    let free = (): void => {};
    this.#tails.set(name, new Promise<void>((resolve) => { free = resolve; }));
    await before;
    try {
      return signal?.aborted === true ? undefined : await callback({});
    } finally {
      free();
    }
  }
}

/** A tab: a guest, and whichever part of the network it plays. */
class Tab {
  readonly guest: NetGuest;
  readonly fetched: string[] = [];
  network: BrowserNetwork | null = null;
  gateway: TabGateway | null = null;
  member: TabMember | null;
  welcomes = 0;
  readonly end: MemberGuest & { hasRoom: boolean };
  readonly #candidacy: { release(): void };
  /** as the pump is to the rings */
  #toGuest: ((bytes: Uint8Array) => void) | null = null;
  #fromGuest: ((bytes: Uint8Array<ArrayBuffer>) => void) | null = null;

  constructor(name: string, seat: number, locks: Locks) {
    this.guest = new NetGuest((sink) => {
      this.#toGuest = (bytes) => {
        const copy = Uint8Array.from(bytes);
        sink.sendBatch({ bytes: copy, end: copy.length, frames: 1, release() {} });
      };
      const parts: Uint8Array[] = [];
      return {
        closed: false, onDrain() {}, close() {},
        receive: (bytes, start, end) => { parts.push(Uint8Array.of(0, 0, (end - start) >> 8, end - start), bytes.slice(start, end)); },
        flush: () => this.#fromGuest?.(new Uint8Array(Buffer.concat(parts.splice(0)))),
      };
    }, seat);
    this.end = {
      receive: (bytes) => { this.#toGuest!(bytes); return true; },
      hasRoom: true,
      onWelcome: () => {
        this.welcomes++;
        this.#fromGuest = (bytes) => this.member?.send(bytes);
      },
    };
    this.member = new TabMember(name, seat, this.end, locks);
    this.#candidacy = standForGateway(locks, name, () => {
      this.member?.close();
      this.member = null;
      const network = new BrowserNetwork({ pageOrigin: 'http://page.test', acceptTls: null, fetch: (url) => { this.fetched.push(url); return Promise.resolve(new Response('fetched')); } });
      this.network = network;
      const port = network.attach({ sendBatch: (batch) => { this.#toGuest!(batch.bytes.subarray(0, batch.end)); batch.release(); return true; } });
      this.#fromGuest = (bytes) => receiveFrames(port, bytes);
      this.gateway = new TabGateway(name, network, locks);
    });
  }

  /** As a tab that is closed or crashes: its locks are free, and nothing else is said. */
  close(): void {
    this.#fromGuest = null;
    this.member?.close();
    this.gateway?.close();
    this.network?.close();
    this.#candidacy.release();
    this.guest.close();
  }
}

let locks: Locks;
const tabs: Tab[] = [];
let count = 0;
const name = (): string => `test-${process.pid}-${count}`;
const open = (seat: number): Tab => {
  const tab = new Tab(name(), seat, locks);
  tabs.push(tab);
  return tab;
};

beforeEach(() => {
  locks = new Locks();
  count++;
});
afterEach(() => {
  for (const tab of tabs.splice(0)) tab.close();
});

async function readAll(stream: ByteStream): Promise<string> {
  let text = '';
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) text += Buffer.from(bytes).toString('latin1');
  return text;
}

/** Serves `text` on a port of the guest. */
function serve(tab: Tab, port: number, text: string): void {
  tab.guest.listen(port, (stream) => void (async () => {
    await stream.read();
    await stream.send(new TextEncoder().encode(text));
    stream.finish();
  })());
}

async function askNeighbor(from: Tab, seat: number, port: number): Promise<string> {
  const stream = await from.guest.connectNeighbor(seatIp(seat), port);
  await stream.send(new TextEncoder().encode('?'));
  return readAll(stream);
}

async function askOutside(from: Tab): Promise<string> {
  const stream = await from.guest.connect(0xcb007101 as never, 80);
  await stream.send(new TextEncoder().encode('GET /x HTTP/1.0\r\nHost: a.test\r\n\r\n'));
  return readAll(stream);
}

describe('tabs of one network', () => {
  test('one is the gateway; guests reach each other, and the outside through it', async () => {
    const [a, b, c] = [open(0), open(1), open(2)];
    await expect.poll(() => a.gateway?.memberCount).toBe(2);
    serve(b, 7, 'I am b');
    serve(a, 7, 'I am a');
    expect([await askNeighbor(a, 1, 7), await askNeighbor(c, 1, 7), await askNeighbor(c, 0, 7)]).toEqual(['I am b', 'I am b', 'I am a']);
    expect(await askOutside(b)).toContain('fetched');
    expect([a.fetched, b.fetched]).toEqual([['http://a.test/x'], []]);
  });

  test('many bytes from tab to tab, and a guest that is slow', async () => {
    const [, b, c] = [open(0), open(1), open(2)];
    await expect.poll(() => tabs[0].gateway?.memberCount).toBe(2);
    serve(b, 7, 'x'.repeat(4 << 20));
    c.end.hasRoom = false;
    const all = askNeighbor(c, 1, 7);
    await expect.poll(() => b.guest.counters()['framesToGuest'] ?? 0).toBeGreaterThan(0);
    c.end.hasRoom = true;
    expect((await all).length).toBe(4 << 20);
  });

  test('when the gateway goes another takes its place, and what was between others goes on', async () => {
    const [a, b, c] = [open(0), open(1), open(2)];
    await expect.poll(() => a.gateway?.memberCount).toBe(2);
    let finish = (): void => {};
    b.guest.listen(7, (stream) => void (async () => {
      await stream.send(new TextEncoder().encode('before'));
      await new Promise<void>((resolve) => { finish = resolve; });
      await stream.send(new TextEncoder().encode(' and after'));
      stream.finish();
    })());
    const stream = await c.guest.connectNeighbor(seatIp(1), 7);
    expect(Buffer.from((await stream.read())!).toString()).toBe('before');
    a.close();
    tabs.shift();
    await expect.poll(() => b.gateway?.memberCount).toBe(1);
    finish();
    expect(await readAll(stream)).toBe(' and after');
    expect(await askOutside(c)).toContain('fetched');
    expect(b.fetched).toEqual(['http://a.test/x']);
  });

  test('a member that goes is forgotten, and its seat may be another\'s', async () => {
    const [a, b] = [open(0), open(1)];
    await expect.poll(() => a.gateway?.memberCount).toBe(1);
    b.close();
    tabs.pop();
    await expect.poll(() => a.gateway?.memberCount).toBe(0);
    const again = open(1);
    await expect.poll(() => a.gateway?.memberCount).toBe(1);
    serve(again, 7, 'the new one');
    expect(await askNeighbor(a, 1, 7)).toBe('the new one');
    expect(a.network!.stats()['linksOpen']).toBe(2);
  });

  test('a frame of a member shows a port of its own guest, through the gateway', async () => {
    const [a, b] = [open(0), open(1)];
    await expect.poll(() => a.gateway?.memberCount).toBe(1);
    serve(b, 80, 'HTTP/1.0 200 OK\r\n\r\nfrom b');
    const { port1, port2 } = new MessageChannel();
    const seen: FromLink[] = [];
    port1.onmessage = ({ data }: MessageEvent<FromLink>) => { seen.push(data); };
    b.member!.servePort(port2);
    // Only then does the service worker send its request.
    await expect.poll(() => seen.map(({ type }) => type)).toEqual(['taken']);
    port1.postMessage({ type: 'request', port: 80, method: 'GET', path: '/', fields: [], hasBody: false });
    await expect.poll(() => seen.map(({ type }) => type)).toEqual(['taken', 'head']);
    port1.postMessage({ type: 'pull' });
    await expect.poll(() => seen.map(({ type }) => type)).toEqual(['taken', 'head', 'data', 'end']);
    port1.close();
  });

  test('a member\'s calls have a cap, and one that is cancelled makes room', async () => {
    const [a, b] = [open(0), open(1)];
    await expect.poll(() => a.gateway?.memberCount).toBe(1);
    const serveOne = (): { port: CallPort; isClosed: boolean } => {
      const one = { isClosed: false, port: { onmessage: null, postMessage: () => {}, close: () => { one.isClosed = true; } } as CallPort };
      b.member!.servePort(one.port);
      return one;
    };
    const calls = Array.from({ length: 257 }, serveOne);
    expect(calls.map(({ isClosed }) => isClosed).indexOf(true)).toBe(256);
    calls[0].port.onmessage!({ data: { type: 'cancel' } } as MessageEvent<ToLink>);
    expect(serveOne().isClosed).toBe(false);
  });
});
