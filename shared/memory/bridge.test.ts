/* Two sides with rings of their own, joined over a port, in one thread: bytes, frames, back-pressure, the end, the link word. */
import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { FrameWriter, wholeFrames } from '../link/frame-writer.ts';
import { MAX_FRAME_BYTES } from '../link/tunnel.ts';
import { Bridge, type BridgePort } from './bridge.ts';
import { makeLocalMemory, STDIN_BYTES, TO_GUEST_BYTES } from './container-memory.ts';
import { Drain } from './drain.ts';
import { localBell, localListeners } from './local.ts';
import { Ring } from './ring.ts';
import { Wake } from './wake.ts';

const channels: MessageChannel[] = [];
afterEach(() => { for (const { port1 } of channels.splice(0)) port1.close(); });

function bridges(): [Bridge, Bridge] {
  const channel = new MessageChannel();
  channels.push(channel);
  return [new Bridge(channel.port1 as unknown as BridgePort), new Bridge(channel.port2 as unknown as BridgePort)];
}

/** Writes all of `bytes` into a ring over `buffer`, waiting for room. */
async function writeAll(buffer: ArrayBuffer, bytes: Uint8Array): Promise<void> {
  const ring = new Ring(buffer);
  for (let at = 0; at < bytes.length;) {
    at += ring.write(bytes, at, bytes.length);
    // The other end may have read it all within the write.
    if (ring.writable === 0) await new Promise<void>((resolve) => { localListeners(buffer)!.add(resolve); });
  }
}

describe('bridge', () => {
  test('bytes arrive in order, far more than the rings hold; a slow reader holds the writer back; the end comes last', async () => {
    const [here, there] = [makeLocalMemory(false), makeLocalMemory(false)];
    const [out, into] = bridges();
    out.send('stdin', here.stdin, 'bytes');
    const wake = new Wake(there.control);
    into.receive('stdin', there.stdin, wake);
    const bytes = Uint8Array.from({ length: 5 * STDIN_BYTES + 7 }, (_, i) => (i * 31) >>> 3);
    let written = false;
    void writeAll(here.stdin, bytes).then(() => {
      written = true;
      new Ring(here.stdin).close();
    });
    const reader = new Ring(there.stdin);
    // Nobody reads: both rings fill, and no more.
    await vi.waitFor(() => expect(reader.readable).toBe(STDIN_BYTES));
    expect([written, wake.value > 0]).toEqual([false, true]);
    const got: Uint8Array[] = [];
    await new Promise<void>((resolve) => {
      const drain = new Drain(reader, {
        onReadable: (ring, next) => {
          const part = new Uint8Array(Math.min(ring.readable, 1000));
          ring.read(part, 0, part.length);
          got.push(part);
          next();
        },
        onEnd: resolve,
      }, localBell(there.stdin));
      expect(drain).toBeDefined();
    });
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
  });

  test('frames are whole on the other side at every moment, and none is lost', async () => {
    const [here, there] = [makeLocalMemory(true), makeLocalMemory(true)];
    const [out, into] = bridges();
    out.send('toGuest', here.toGuest, 'frames');
    into.receive('toGuest', there.toGuest, null);
    const writer = new FrameWriter(new Ring(here.toGuest), MAX_FRAME_BYTES, () => false);
    const reader = new Ring(there.toGuest);
    const counted = { frames: 0 };
    let sent = 0, received = 0;
    for (let round = 0; received < 600; round++) {
      while (sent < 600) {
        const length = 1 + ((sent * 7919) % MAX_FRAME_BYTES);
        const frame = new Uint8Array(4 + length);
        new DataView(frame.buffer).setUint32(0, length);
        if (new Ring(here.toGuest).writable < frame.length) break;
        expect(writer.write(frame, 0, frame.length)).toBe(true);
        sent++;
      }
      expect(wholeFrames(reader, Infinity, counted)).toBe(reader.readable);
      received += counted.frames;
      if (round % 3 === 2 || reader.readable < TO_GUEST_BYTES / 2) reader.skip(reader.readable);
      else received -= counted.frames;
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    expect([received, writer.dropped]).toEqual([600, 0]);
  });

  test('the link word is told to the other side', async () => {
    const there = makeLocalMemory(true);
    const wake = new Wake(there.control);
    const [out, into] = bridges();
    into.hear(wake);
    const before = wake.value;
    out.tell(3);
    await vi.waitFor(() => expect(wake.link).toBe(3));
    expect(wake.value).not.toBe(before);
  });
});
