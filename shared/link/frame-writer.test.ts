import { expect, test } from 'vitest';
import { Ring, ringBytes } from '../memory/ring.ts';
import { FrameWriter, wholeFrames } from './frame-writer.ts';

function setup(capacity: number, onFull: (needed: number) => boolean = () => false) {
  const buffer = new SharedArrayBuffer(ringBytes(capacity));
  const ring = new Ring(buffer);
  return { writer: new FrameWriter(ring, 1000, onFull), reader: new Ring(buffer) };
}

function stream(...lengths: number[]): Uint8Array {
  return Uint8Array.from(lengths.flatMap((len, n) => [0, 0, len >> 8, len & 255, ...Array.from({ length: len }, (_, i) => n + i)]));
}

function take(ring: Ring): Uint8Array {
  const bytes = new Uint8Array(ring.readable);
  ring.read(bytes, 0, bytes.length);
  return bytes;
}

test('a stream cut at every byte arrives whole, frame by frame', () => {
  const bytes = stream(1, 60, 300, 14);
  const count = { frames: 0 };
  for (let step = 1; step < bytes.length; step++) {
    const { writer, reader } = setup(512);
    let cut = 0;
    for (let at = 0; at < bytes.length; at += step) {
      if (!writer.write(bytes, at, Math.min(at + step, bytes.length))) cut++;
      if (wholeFrames(reader, 1 << 20, count) !== reader.readable) cut++;
    }
    expect(cut).toBe(0);
    expect(take(reader)).toEqual(bytes);
    expect([writer.frames, writer.bytes, writer.dropped]).toEqual([4, bytes.length, 0]);
  }
});

test('without room a frame is dropped whole, and the next one has its chance', () => {
  const { writer, reader } = setup(256);
  expect(writer.write(stream(200, 100, 20), 0, stream(200, 100, 20).length)).toBe(true);
  expect([writer.frames, writer.dropped]).toEqual([2, 1]);
  const count = { frames: 0 };
  expect(wholeFrames(reader, 204, count)).toBe(204);
  expect(wholeFrames(reader, 1 << 20, count)).toBe(228);
  expect(count.frames).toBe(2);
});

test('onFull may make room', () => {
  const asked: number[] = [];
  const { writer, reader } = setup(256, (needed) => {
    asked.push(needed);
    take(reader);
    return true;
  });
  expect(writer.write(stream(200, 100), 0, 308)).toBe(true);
  expect([asked, writer.dropped, reader.readable]).toEqual([[104], 0, 104]);
});

test.each([[0], [1001], [0xffffffff]])('a length of %d is garbage', (length) => {
  const { writer, reader } = setup(4096);
  expect(writer.write(stream(5), 0, 9)).toBe(true);
  expect(writer.write(Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length, 1, 2, 3), 0, 7)).toBe(false);
  expect(reader.readable).toBe(9);
});

test('reset forgets a frame that was cut off', () => {
  const { writer, reader } = setup(256);
  for (const cut of [1, 3, 4, 5, 63]) {
    writer.write(stream(60), 0, cut);
    writer.reset();
    expect(reader.readable).toBe(0);
  }
  expect(writer.write(stream(7), 0, 11)).toBe(true);
  expect(take(reader)).toEqual(stream(7));
});
