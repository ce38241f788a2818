import { expect, test } from 'vitest';
import { emitFrameLength, FrameDecoder, maxFrameLen } from './qemu-framing.ts';

function framed(...frames: number[][]): Uint8Array {
  const out = new Uint8Array(frames.reduce((sum, f) => sum + 4 + f.length, 0)).fill(0xa5);
  let at = 0;
  for (const frame of frames) {
    at += emitFrameLength(out, at, frame.length);
    out.set(frame, at);
    at += frame.length;
  }
  return out;
}

/** Decodes with the given cuts; frames are looked at only when all is pushed, as they are borrowed until flush. */
function decode(stream: Uint8Array, cuts: number[], maxLen = 1518): { frames: number[][]; error: string | null; carried: number } {
  const seen: Uint8Array[] = [];
  const decoder = new FrameDecoder(maxLen, (bytes, start, end) => seen.push(bytes.subarray(start, end)));
  let error: string | null = null;
  let from = 0;
  for (const cut of [...cuts, stream.length]) {
    error ??= decoder.push(stream, from, cut);
    from = cut;
  }
  return { frames: seen.map((f) => [...f]), error, carried: decoder.carriedBytes };
}

const FRAMES = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11]];

test('every pair of cuts gives the same frames', () => {
  const stream = framed(...FRAMES);
  for (let a = 0; a <= stream.length; a++) {
    for (let b = a; b <= stream.length; b++) expect(decode(stream, [a, b])).toEqual({ frames: FRAMES, error: null, carried: 0 });
  }
});

test('byte by byte, and a stream that ends inside a frame keeps only that frame', () => {
  const stream = framed(...FRAMES);
  expect(decode(stream, Array.from({ length: stream.length }, (_, i) => i)).frames).toEqual(FRAMES);
  const cut = decode(stream.subarray(0, stream.length - 2), []);
  expect([cut.frames.length, cut.carried]).toEqual([2, 4 + 5]);
});

test('a length of 0 or above the limit is an error for good, at every cut', () => {
  for (const [stream, what] of [[framed([9], []), /length 0/], [framed([9], Array.from({ length: 21 }, () => 7)), /length 21, the limit is 20/]] as const) {
    for (let cut = 0; cut <= stream.length; cut++) {
      const result = decode(stream, [cut], 20);
      expect(result.frames).toEqual([[9]]);
      expect(result.error).toMatch(what);
    }
  }
  const decoder = new FrameDecoder(20, () => expect.unreachable());
  expect(decoder.push(Uint8Array.of(255, 255, 255, 255), 0, 4)).not.toBeNull();
  expect(decoder.push(framed([1]), 0, 5)).not.toBeNull();
});

test('the limit itself passes', () => {
  expect(maxFrameLen(1500)).toBe(1518);
  expect(decode(framed(Array.from({ length: 1518 }, () => 1)), []).error).toBeNull();
});
