import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { Drain } from './drain.ts';
import { Ring, ringBytes } from './ring.ts';

function pair(capacity: number): { producer: Ring; consumer: Ring; buffer: SharedArrayBuffer } {
  const buffer = new SharedArrayBuffer(ringBytes(capacity));
  return { producer: new Ring(buffer), consumer: new Ring(buffer), buffer };
}

const pattern = (from: number, len: number): Uint8Array => Uint8Array.from({ length: len }, (_, i) => ((from + i) * 2654435761) >>> 24);

test('wraps around, at every offset and length', () => {
  const { producer, consumer } = pair(64);
  const into = new Uint8Array(80);
  let sent = 0;
  let got = 0;
  for (let len = 0; len <= 64; len++) {
    for (let turn = 0; turn < 3; turn++) {
      expect(producer.write(pattern(sent, len), 0, len)).toBe(len);
      sent += len;
      expect([consumer.readable, producer.writable]).toEqual([len, 64 - len]);
      expect(consumer.read(into, 7, 80)).toBe(len);
      expect(into.subarray(7, 7 + len)).toEqual(pattern(got, len));
      got += len;
    }
  }
});

test('takes what fits and no more; a full ring is not an empty one', () => {
  const { producer, consumer } = pair(32);
  expect(producer.write(pattern(0, 50), 0, 50)).toBe(32);
  expect(producer.write(pattern(0, 1), 0, 1)).toBe(0);
  expect(consumer.readable).toBe(32);
  const into = new Uint8Array(32);
  expect(consumer.peek(into, 0, 32)).toBe(32);
  expect(into).toEqual(pattern(0, 32));
  consumer.skip(32);
  expect([consumer.readable, producer.writable]).toEqual([0, 32]);
});

test('put is unseen until publish, and rollback forgets it', () => {
  const { producer, consumer } = pair(64);
  producer.putU32(0xdeadbeef);
  producer.put(pattern(0, 10), 0, 10);
  expect([consumer.readable, producer.writable]).toEqual([0, 50]);
  producer.rollback();
  expect(producer.writable).toBe(64);
  producer.putU32(0x01020304);
  producer.publish();
  expect([consumer.readable, consumer.u32At(0)]).toEqual([4, 0x01020304]);
});

test('counters pass 2^32', () => {
  const { buffer } = pair(64);
  new Int32Array(buffer).set([-5], 0);
  new Int32Array(buffer).set([-5], 16);
  const producer = new Ring(buffer);
  const consumer = new Ring(buffer);
  const into = new Uint8Array(64);
  for (let i = 0; i < 4; i++) {
    expect(producer.write(pattern(i * 40, 40), 0, 40)).toBe(40);
    expect([consumer.readable, producer.writable]).toEqual([40, 24]);
    expect(consumer.read(into, 0, 64)).toBe(40);
    expect(into.subarray(0, 40)).toEqual(pattern(i * 40, 40));
  }
});

test('waitForRoom gives up in time', () => {
  const { producer } = pair(32);
  producer.write(pattern(0, 32), 0, 32);
  const start = performance.now();
  expect(producer.waitForRoom(1, 30)).toBe(false);
  expect(performance.now() - start).toBeGreaterThan(25);
});

const PRODUCER = `
  import { workerData, parentPort } from 'node:worker_threads';
  import { register } from 'tsx/esm/api';
  register();
  const { Ring } = await import(workerData.ring);
  const ring = new Ring(workerData.buffer);
  if (workerData.bell) ring.bell = () => parentPort.postMessage('bell');
  let seed = 1, sent = 0;
  const bytes = new Uint8Array(5000);
  while (sent < workerData.total) {
    seed = (seed * 1103515245 + 12345) >>> 0;
    const len = Math.min(1 + (seed >>> 8) % 4999, workerData.total - sent);
    for (let i = 0; i < len; i++) bytes[i] = ((sent + i) * 2654435761) >>> 24;
    for (let at = 0; at < len;) {
      at += ring.write(bytes, at, len);
      if (at < len) ring.waitForRoom(1, Infinity);
    }
    sent += len;
    if (seed % 97 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
  ring.close();
`;

/** A thread that writes `total` bytes in portions of all sizes, and this one as their reader. */
async function transfer(total: number, capacity: number, bell: boolean): Promise<number> {
  const { consumer, buffer } = pair(capacity);
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(PRODUCER.replace("'tsx/esm/api'", `'${import.meta.resolve('tsx/esm/api')}'`))}`), {
    workerData: { buffer, total, bell, ring: new URL('./ring.ts', import.meta.url).href },
  });
  let got = 0;
  let wrong = 0;
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    const bells: (() => void)[] = [];
    if (bell) worker.on('message', () => { for (const ring of bells) ring(); });
    const into = new Uint8Array(3000);
    const drain = new Drain(consumer, {
      onReadable(ring, next) {
        const len = ring.read(into, 0, into.length);
        for (let i = 0; i < len; i++) if (into[i] !== ((got + i) * 2654435761) >>> 24) wrong++;
        got += len;
        if (got % 5 === 0) setImmediate(next);
        else next();
      },
      onEnd: resolve,
    }, bell ? { onRing: (listener) => { bells.push(listener); } } : null);
    expect(drain).toBeDefined();
  });
  await worker.terminate();
  expect(wrong).toBe(0);
  return got;
}

test('two threads, millions of bytes: waitAsync', async () => {
  expect(await transfer(6_000_000, 4096, false)).toBe(6_000_000);
}, 30_000);

test('two threads, millions of bytes: bells', async () => {
  expect(await transfer(3_000_000, 4096, true)).toBe(3_000_000);
}, 30_000);
