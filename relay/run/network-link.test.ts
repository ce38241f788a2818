import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';
import type { FrameBatch, FrameSink } from '../../shared/net/stack/link-port.ts';
import { NetworkLink } from './network-link.ts';

/** A network that notes what reaches it. */
function network(memory = makeContainerMemory(true)) {
  const seen: string[] = [];
  let sink: FrameSink | null = null;
  const link = new NetworkLink(memory, (given) => {
    sink = given;
    let closed = false;
    return {
      receive: (bytes, start, end) => { seen.push(`${bytes[start]}*${end - start}`); },
      flush: () => { seen.push('flush'); },
      onDrain: () => { seen.push('drain'); },
      close: () => { closed = true; },
      get closed() { return closed; },
    };
  });
  return { memory, seen, link, sink: sink! as FrameSink };
}

const framed = (len: number, fill: number): Uint8Array => Uint8Array.from([0, 0, len >> 8, len & 255, ...new Uint8Array(len).fill(fill)]);

function batch(bytes: Uint8Array): FrameBatch & { released: number } {
  return { bytes, end: bytes.length, frames: 1, released: 0, release() { this.released++; } };
}

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

test('frames of the guest arrive without their lengths, a flush behind each batch', () => {
  const memory = makeContainerMemory(true);
  const ring = new Ring(memory.fromGuest);
  for (const frame of [framed(60, 1), framed(1514, 2), framed(20, 3)]) ring.write(frame, 0, frame.length);
  const { seen, link } = network(memory);
  expect(new Wake(memory.control).link).toBe(1);
  expect(seen).toEqual(['1*60', '2*1514', '3*20', 'flush']);
  link.close();
});

test('batches lie in the ring when sendBatch returns, and are released', () => {
  const { memory, sink, link } = network();
  const sent = batch(framed(60, 7));
  expect(sink.sendBatch(sent)).toBe(true);
  expect(sent.released).toBe(1);
  const ring = new Ring(memory.toGuest);
  expect([ring.readable, ring.u32At(0)]).toEqual([64, 60]);
  link.close();
});

test('a guest that does not read holds the network back, until it has read; nothing is dropped', async () => {
  const { memory, sink, seen, link } = network();
  const ring = new Ring(memory.toGuest);
  let sent = 0;
  for (let more = true; more; sent++) more = sink.sendBatch(batch(framed(60_000, sent & 255)));
  expect(ring.readable).toBe(sent * 60_004);
  await vi.advanceTimersByTimeAsync(100);
  expect(seen).toEqual([]);
  ring.skip(ring.readable);
  await vi.advanceTimersByTimeAsync(10);
  expect(seen).toEqual(['drain']);
  link.close();
});
