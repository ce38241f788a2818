/*
 * Both ends ours, a hostile wire between them, on virtual time: every byte is checked, and how long it took is kept as a
 * table. A change of congestion control shows as a diff of the snapshot.
 */
import { expect, test } from 'vitest';
import type { FrameBatch, LinkPort } from './link-port.ts';
import { Stack } from './stack.ts';
import type { CloseReason, TcpConnection, TcpHandler } from './tcp/connection.ts';
import { framesOf, GATEWAY_IP, GUEST_IP, GUEST_MAC, STACK_CONFIG } from './fixture/frames.ts';
import { SeededRandom, VirtualClock } from './fixture/virtual-clock.ts';

interface Wire {
  delayMs: number;
  /** of frames, 0 to 1, each direction */
  loss: number;
  duplicate: number;
  /** of frames that are held back by `delayMs` more */
  reorder: number;
  /** the receiver takes so many frames per `everyMs`, and drops what does not fit its ring */
  ring?: { frames: number; everyMs: number };
}

/** Sends `total` bytes of a pattern, and checks that the peer's are the same pattern. */
class Peer implements TcpHandler {
  connection: TcpConnection | null = null;
  received = 0;
  sent = 0;
  hasFin = false;
  closed: CloseReason | null = null;
  readonly total: number;

  constructor(total: number) {
    this.total = total;
  }

  onEstablished(): void { this.#pump(); }

  onData(bytes: Uint8Array, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      if (bytes[i] !== pattern(this.received)) throw new Error(`byte ${this.received} is wrong`);
      this.received++;
    }
  }

  onTurn(): void {}
  onFin(): void { this.hasFin = true; }
  onSendSpace(): void { this.#pump(); }
  onClosed(reason: CloseReason): void { this.closed = reason; }

  #pump(): void {
    const connection = this.connection!;
    while (this.sent < this.total && !connection.isSendFull) {
      const chunk = new Uint8Array(Math.min(20_011, this.total - this.sent));
      for (let i = 0; i < chunk.length; i++) chunk[i] = pattern(this.sent + i);
      this.sent += chunk.length;
      connection.send(chunk);
    }
    if (this.sent === this.total) connection.shutdown();
  }
}

function pattern(at: number): number {
  return (at * 7 + (at >>> 8) * 13) & 255;
}

class Network {
  readonly clock = new VirtualClock();
  readonly chance: SeededRandom;
  readonly server: Stack;
  readonly client: Stack;
  framesLost = 0;

  constructor(seed: number, wire: Wire, mtu = 1500) {
    this.chance = new SeededRandom(seed);
    const config = { ...STACK_CONFIG, mtu, aliases: [] };
    this.server = new Stack(this.clock, new SeededRandom(seed + 1), config);
    this.client = new Stack(this.clock, new SeededRandom(seed + 2), { ...config, gatewayIp: GUEST_IP, gatewayMac: GUEST_MAC });
    let toClient: LinkPort | null = null;
    const toServer = this.client.attach({ sendBatch: (batch) => this.#carry(batch, wire, () => ports.server) });
    const ports = { server: this.server.attach({ sendBatch: (batch) => this.#carry(batch, wire, () => toClient!, wire.ring) }) };
    toClient = toServer;
  }

  #inRing = 0;
  #ringFreeMs = 0;

  #carry(batch: FrameBatch, wire: Wire, to: () => LinkPort, ring?: Wire['ring']): boolean {
    for (const frame of framesOf(batch)) {
      if (this.chance.unit() < wire.loss) {
        this.framesLost++;
        continue;
      }
      const copies = this.chance.unit() < wire.duplicate ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        const lateMs = this.chance.unit() < wire.reorder ? wire.delayMs * this.chance.unit() : 0;
        if (ring === undefined) this.#deliver(frame, wire.delayMs + lateMs, to);
        else this.#throughRing(frame, wire.delayMs + lateMs, to, ring);
      }
    }
    return true;
  }

  #deliver(frame: Uint8Array, delayMs: number, to: () => LinkPort): void {
    this.clock.startTimer(delayMs, () => {
      to().receive(frame, 0, frame.length);
      to().flush();
    });
  }

  /** A NIC with `frames` slots, emptied once per `everyMs`. */
  #throughRing(frame: Uint8Array, delayMs: number, to: () => LinkPort, ring: NonNullable<Wire['ring']>): void {
    this.clock.startTimer(delayMs, () => {
      if (this.#inRing >= ring.frames) {
        this.framesLost++;
        return;
      }
      this.#inRing++;
      const nowMs = this.clock.nowMs();
      if (this.#ringFreeMs <= nowMs) this.#ringFreeMs = (Math.floor(nowMs / ring.everyMs) + 1) * ring.everyMs;
      this.#deliver(frame, this.#ringFreeMs - nowMs, () => {
        this.#inRing = Math.max(0, this.#inRing - 0.5); // receive and flush each ask
        return to();
      });
    });
  }

  /** Introduces the stacks to each other, opens `count` connections of `total` bytes each way. Returns the seconds it took. */
  transfer(down: number, up: number, count = 1): number {
    const servers: Peer[] = [];
    const clients: Peer[] = [];
    this.server.tcp.onSyn = (pending) => {
      const peer = new Peer(down);
      servers.push(peer);
      peer.connection = pending.accept(peer);
    };
    let isKnown = false;
    // ARP itself may be lost: asked until it is answered.
    const ask = (): void => this.client.neighbors.resolve(GATEWAY_IP, (isFound) => (isFound ? (isKnown = true) : ask()));
    ask();
    this.clock.runUntil(() => isKnown, 60_000);
    for (let i = 0; i < count; i++) {
      const peer = new Peer(up);
      clients.push(peer);
      peer.connection = this.client.tcp.connect(GATEWAY_IP, 80, GUEST_IP, 10_000 + i, peer);
    }
    const all = (): Peer[] => [...servers, ...clients];
    const isDone = (): boolean => all().length === 2 * count && all().every((peer) => peer.closed !== null);
    const tookMs = this.clock.runUntil(isDone, 600_000);
    for (const peer of servers) expect([peer.received, peer.hasFin, peer.closed]).toEqual([up, true, 'closed']);
    for (const peer of clients) expect([peer.received, peer.hasFin, peer.closed]).toEqual([down, true, 'closed']);
    expect(tookMs).toBeGreaterThanOrEqual(0);
    return tookMs / 1000;
  }

  expectNothingLeft(): void {
    this.clock.advance(60_000);
    for (const stack of [this.server, this.client]) {
      expect([stack.tcp.flowCount, stack.tcp.heldBytes, stack.timers.size, stack.pool.held, stack.neighbors.questionsOpen]).toEqual([0, 0, 0, 0, 0]);
    }
  }
}

const MIB = 1024 * 1024;
const CLEAN: Wire = { delayMs: 1, loss: 0, duplicate: 0, reorder: 0 };

test('throughput of 1 MiB down, by scenario', () => {
  const scenarios: [string, Wire][] = [
    ['clean 1 ms', CLEAN],
    ['clean 20 ms', { ...CLEAN, delayMs: 20 }],
    ['loss 0.1%', { ...CLEAN, loss: 0.001 }],
    ['loss 1%', { ...CLEAN, loss: 0.01 }],
    ['loss 5%', { ...CLEAN, loss: 0.05 }],
    ['loss 20%', { ...CLEAN, loss: 0.2 }],
    ['loss 1% 20 ms', { ...CLEAN, loss: 0.01, delayMs: 20 }],
    ['reorder 10%', { ...CLEAN, reorder: 0.1 }],
    ['duplicate 10%', { ...CLEAN, duplicate: 0.1 }],
    ['all of it', { delayMs: 5, loss: 0.02, duplicate: 0.05, reorder: 0.05 }],
    ['NIC of 8 frames per 10 ms', { ...CLEAN, ring: { frames: 8, everyMs: 10 } }],
    ['NIC of 64 frames per 10 ms', { ...CLEAN, ring: { frames: 64, everyMs: 10 } }],
  ];
  const table = scenarios.map(([name, wire]) => {
    const rates = [1, 2, 3].map((seed) => {
      const network = new Network(seed, wire);
      const seconds = network.transfer(MIB, 0);
      network.expectNothingLeft();
      return MIB / seconds / 1000;
    });
    return `${name.padEnd(28)} ${rates.map((rate) => rate.toFixed(0).padStart(7)).join('')} kB/s`;
  });
  expect(table.join('\n')).toMatchSnapshot();
});

test('both directions at once, every MTU, under loss, reorder and duplication', () => {
  for (const mtu of [576, 1500, 9000, 65_520]) {
    const network = new Network(mtu, { delayMs: 2, loss: 0.02, duplicate: 0.02, reorder: 0.05 }, mtu);
    network.transfer(300_000, 400_000);
    network.expectNothingLeft();
  }
});

test('fifty connections at once share a bad wire, and nothing is left of them', () => {
  const network = new Network(5, { delayMs: 2, loss: 0.03, duplicate: 0.01, reorder: 0.02 });
  network.transfer(10_000, 10_000, 50);
  network.expectNothingLeft();
});

test('empty connections close cleanly under loss', () => {
  for (let seed = 100; seed < 130; seed++) {
    const network = new Network(seed, { delayMs: 1, loss: 0.2, duplicate: 0.1, reorder: 0.1 });
    const seconds = network.transfer(0, 0);
    expect(seconds).toBeLessThan(300);
    network.expectNothingLeft();
  }
});
