import { deflateSync, inflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { decode, toPalette } from './palette-png.ts';

/** A PNG of one row with each of the five filters, written by hand. */
function picture(width: number, rows: [filter: number, bytes: number[]][]): Buffer {
  const part = (type: string, body: Buffer): Buffer => Buffer.concat([Buffer.from([0, 0, body.length >> 8, body.length & 255]), Buffer.from(type), body, Buffer.alloc(4)]);
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, rows.length, 8, 2, 0, 0, 0]);
  return Buffer.concat([Buffer.alloc(8), part('IHDR', header), part('IDAT', deflateSync(Buffer.from(rows.flatMap(([filter, bytes]) => [filter, ...bytes]))))]);
}

test('all filters are undone', () => {
  const { pixels } = decode(picture(2, [
    [0, [1, 2, 3, 10, 20, 30]], [1, [1, 2, 3, 9, 18, 27]], [2, [0, 0, 0, 0, 0, 0]], [3, [1, 1, 2, 4, 9, 13]], [4, [0, 0, 0, 0, 0, 0]],
  ]));
  expect([...pixels].map((color) => color.toString(16))).toEqual(['10203', 'a141e', '10203', 'a141e', '10203', 'a141e', '10203', '9141d', '10203', '9141d']);
});

test('a picture of few colours keeps them', () => {
  const indexed = toPalette(picture(2, [[0, [1, 2, 3, 250, 0, 9]], [0, [250, 0, 9, 250, 0, 9]]]));
  const body = (type: string): Buffer => {
    const at = indexed.indexOf(type);
    return indexed.subarray(at + 4, at + 4 + indexed.readUInt32BE(at - 4));
  };
  expect([...body('PLTE')]).toEqual([250, 0, 9, 1, 2, 3]);
  expect([...inflateSync(body('IDAT'))]).toEqual([0, 1, 0, 0, 0, 0]);
  expect(body('IHDR')[9]).toBe(3);
});
