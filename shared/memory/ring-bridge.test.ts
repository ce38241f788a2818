import { expect, test } from 'vitest';
import { Drain } from './drain.ts';
import { receiveRing, sendRing, type BridgePort } from './ring-bridge.ts';
import { Ring, ringBytes } from './ring.ts';
import { Wake } from './wake.ts';

const CAPACITY = 4096;

/** Two rings of this thread, joined. */
function joined(): { from: Ring; to: Ring; onWritten: { fn: () => void }; ports: MessageChannel } {
  const [one, other] = [new ArrayBuffer(ringBytes(CAPACITY)), new ArrayBuffer(ringBytes(CAPACITY))];
  const ports = new MessageChannel();
  const onWritten = { fn: () => {} };
  const from = new Ring(one);
  from.bell = sendRing(one, ports.port1 as BridgePort);
  receiveRing(other, ports.port2 as BridgePort, () => { onWritten.fn(); });
  return { from, to: new Ring(other), onWritten, ports };
}

test('every byte comes over, in order, at the consumer\'s pace, and the end behind them', async () => {
  const { from, to, onWritten } = joined();
  const sent = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >>> 8)) & 0xff);
  const got: number[] = [];
  let most = 0;
  const ended = new Promise<void>((resolve) => {
    void new Drain(to, {
      onReadable(ring, next) {
        most = Math.max(most, ring.readable);
        const bytes = new Uint8Array(Math.min(ring.readable, 1000));
        ring.read(bytes, 0, bytes.length);
        got.push(...bytes);
        setTimeout(next, 0);
      },
      onEnd: resolve,
    }, { onRing: (listener) => { onWritten.fn = listener; } });
  });
  for (let at = 0; at < sent.length;) {
    at += from.write(sent, at, Math.min(sent.length, at + 777));
    if (from.writable === 0) await new Promise((resolve) => { setTimeout(resolve, 0); });
  }
  from.close();
  await ended;
  expect(Uint8Array.from(got)).toEqual(sent);
  expect(most).toBeLessThanOrEqual(CAPACITY);
});

test('a consumer that takes nothing costs two rings and the allowance between them', async () => {
  const { from } = joined();
  const chunk = new Uint8Array(512);
  let taken = 0;
  for (let idle = 0; idle < 20;) {
    const len = from.write(chunk, 0, chunk.length);
    taken += len;
    idle = len === 0 ? idle + 1 : 0;
    await new Promise((resolve) => { setTimeout(resolve, 1); });
  }
  expect(taken).toBeLessThanOrEqual(3 * CAPACITY);
  expect(taken).toBeGreaterThanOrEqual(2 * CAPACITY);
});

test('a wake word of one thread: a bump ends a sleep, a time ends it, and a bump before it is not missed', async () => {
  const control = new ArrayBuffer(256);
  const [sleeper, producer] = [new Wake(control), new Wake(control)];
  const seen = sleeper.value;
  const asleep = sleeper.sleepAsync(seen, Infinity);
  producer.bump();
  await asleep;
  expect(sleeper.value).not.toBe(seen);
  await sleeper.sleepAsync(seen, Infinity);
  await sleeper.sleepAsync(sleeper.value, 5);
  expect(new Ring(new ArrayBuffer(ringBytes(16))).waitForRoom(17, Infinity)).toBe(false);
});
