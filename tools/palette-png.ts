/*
 * A screenshot with 256 colours: a third of its bytes, for pictures that lie in the repository. Reads what Chromium writes (8 bits a
 * channel, RGB or RGBA, not interlaced; alpha is dropped) and writes an indexed PNG.
 */
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLORS = 256;
/** colours that are to be unlike each other */
const KINDS = 96;
const KIND_DISTANCE = 40 ** 2;
const RGB = 2;
const RGBA = 6;
const INDEXED = 3;

export function toPalette(png: Buffer): Buffer {
  const { width, height, pixels } = decode(png);
  const palette = commonColors(pixels);
  const nearest = new Map<number, number>();
  const rows = Buffer.alloc((width + 1) * height);
  for (let i = 0; i < pixels.length; i++) {
    const color = pixels[i];
    let index = nearest.get(color);
    if (index === undefined) nearest.set(color, index = closest(palette, color));
    // Filter 0 in front of each row: with indices no other helps.
    rows[Math.floor(i / width) * (width + 1) + 1 + (i % width)] = index;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, INDEXED, 0, 0, 0], 8);
  const table = Buffer.from(palette.flatMap((color) => [color >> 16, (color >> 8) & 255, color & 255]));
  return Buffer.concat([SIGNATURE, chunk('IHDR', header), chunk('PLTE', table), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}

/** Pixels as 0xRRGGBB. */
export function decode(png: Buffer): { width: number; height: number; pixels: Uint32Array } {
  let width = 0, height = 0, channels = 0;
  const data: Buffer[] = [];
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    const type = png.toString('latin1', at + 4, at + 8);
    const body = png.subarray(at + 8, at + 8 + length);
    if (type === 'IHDR') {
      [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
      if (body[8] !== 8 || (body[9] !== RGB && body[9] !== RGBA) || body[12] !== 0) throw new Error('only 8-bit RGB and RGBA, not interlaced');
      channels = body[9] === RGB ? 3 : 4;
    } else if (type === 'IDAT') {
      data.push(body);
    }
    at += 12 + length;
  }
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  const pixels = new Uint32Array(width * height);
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const row = unfilter(raw[y * (stride + 1)], raw.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)), above, channels);
    for (let x = 0; x < width; x++) pixels[y * width + x] = (row[x * channels] << 16) | (row[x * channels + 1] << 8) | row[x * channels + 2];
    above = row;
  }
  return { width, height, pixels };
}

/** PNG (third edition) §9.2. */
function unfilter(filter: number, filtered: Uint8Array, above: Uint8Array, channels: number): Uint8Array<ArrayBuffer> {
  const row = new Uint8Array(filtered.length);
  for (let i = 0; i < row.length; i++) {
    const left = i < channels ? 0 : row[i - channels];
    const up = above[i];
    const corner = i < channels ? 0 : above[i - channels];
    row[i] = filtered[i] + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
  }
  return row;
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
}

/** The most frequent ones; first one of each kind, so that a small red dot stays red in a picture of blues. */
function commonColors(pixels: Uint32Array): number[] {
  const counts = new Map<number, number>();
  for (const color of pixels) counts.set(color, (counts.get(color) ?? 0) + 1);
  const byCount = [...counts].toSorted((a, b) => b[1] - a[1]).map(([color]) => color);
  const palette: number[] = [];
  for (const color of byCount) {
    if (palette.length === KINDS) break;
    if (palette.every((other) => distance(other, color) > KIND_DISTANCE)) palette.push(color);
  }
  const kinds = new Set(palette);
  for (const color of byCount) {
    if (palette.length === COLORS) break;
    if (!kinds.has(color)) palette.push(color);
  }
  return palette;
}

function closest(palette: number[], color: number): number {
  let best = 0, bestDistance = Infinity;
  for (let i = 0; i < palette.length; i++) {
    const to = distance(palette[i], color);
    if (to < bestDistance) [best, bestDistance] = [i, to];
  }
  return best;
}

/** squared, of two colours as points */
function distance(a: number, b: number): number {
  const [red, green, blue] = [(a >> 16) - (b >> 16), ((a >> 8) & 255) - ((b >> 8) & 255), (a & 255) - (b & 255)];
  return red * red + green * green + blue * blue;
}

function chunk(type: string, body: Buffer): Buffer {
  const out = Buffer.alloc(12 + body.length);
  out.writeUInt32BE(body.length, 0);
  out.write(type, 4, 'latin1');
  body.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + body.length)), 8 + body.length);
  return out;
}
