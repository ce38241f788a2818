/*
 * zstd (RFC 8878): frames one behind the other, as pzstd, `zstd:chunked` and concatenation make them, and skippable frames between them,
 * which hold others' notes (pzstd's sizes, the contents of a chunked layer). Frames are found here, block by block, and unpacked one by one:
 * by Node where it can (22.15 and later), else by a library, which knows no checksums. Those are then held against the contents here.
 *
 *   frame   magic u32le | descriptor u8 | window u8, unless single segment | dictionary id | content size | blocks | checksum u32le, where there is one
 *   block   u24le: bit 0 last, 1..2 type (0 raw, 1 one byte repeated, 2 compressed), then its length | contents
 */
import * as zlib from 'node:zlib';
import { Decompress as ZstdStream } from 'fzstd';
import xxhash from 'xxhash-wasm';
import { ImageBuildError } from './image-error.ts';

const MAGIC = 0xfd2fb528;
/** of skippable frames, but for their last four bits */
const SKIPPABLE = 0x184d2a50;
/** What the format's own tool unpacks without being told to, in `bytes`: memory goes there before anything is checked */
const MAX_WINDOW = 128 * 1024 * 1024;
const MAX_BLOCK = 128 * 1024;
const PIECE = 65_536;

interface Frame {
  start: number;
  end: number;
  /** in `bytes`; null: not said */
  contentSize: number | null;
  hasChecksum: boolean;
  /** where the window's byte is, 0 where there is none, and what it asks for, in `bytes` */
  windowOff: number;
  window: number;
  /** what its blocks can come to, in `bytes` */
  most: number;
}

/** Whether `bytes` begin as frames of either kind do. */
export function isZstd(bytes: Uint8Array): boolean {
  if (bytes.length < 8) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Others (lz4) have skippable frames, too: what comes behind them tells.
  let off = 0;
  while (off + 8 <= bytes.length && isSkippable(view.getUint32(off, true))) off += 8 + view.getUint32(off + 4, true);
  return off + 4 <= bytes.length && view.getUint32(off, true) === MAGIC;
}

/** Unpacks all frames. Throws ImageBuildError. */
export async function unpackZstd(bytes: Uint8Array, options: { maxBytes: number; native?: boolean }): Promise<Uint8Array> {
  const { maxBytes, native = true } = options;
  const inNode = native ? (zlib as { zstdDecompressSync?: (data: Uint8Array, options: object) => Uint8Array }).zstdDecompressSync : undefined;
  const { create64 } = await xxhash();
  const chunks: Uint8Array[] = [];
  let room = maxBytes;
  const keep = (chunk: Uint8Array): void => {
    room -= chunk.length;
    if (room < 0) throw new ImageBuildError(`archive unpacks to more than ${maxBytes} bytes`);
    chunks.push(chunk);
  };
  for (const frame of frames(bytes)) {
    if ((frame.contentSize ?? 0) > room) throw new ImageBuildError(`archive unpacks to more than ${maxBytes} bytes`);
    const packed = inNode === undefined ? withLeastWindow(bytes, frame) : bytes.subarray(frame.start, frame.end);
    const before = room;
    if (inNode !== undefined) {
      keep(inNode(packed, { maxOutputLength: Math.max(1, room) }));
    } else {
      const hash = frame.hasChecksum ? create64() : null;
      // Fed in pieces, so that it stops at the cap, and not behind it.
      const stream = new ZstdStream((chunk) => {
        keep(chunk);
        hash?.update(chunk);
      });
      for (let off = 0; off < packed.length; off += PIECE) stream.push(packed.subarray(off, off + PIECE), off + PIECE >= packed.length);
      const written = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
      if (hash !== null && Number(hash.digest() & 0xffffffffn) !== written.getUint32(packed.length - 4, true)) throw new ImageBuildError('broken zstd data: its checksum is wrong');
    }
    if (frame.contentSize !== null && before - room !== frame.contentSize) throw new ImageBuildError('broken zstd data: it has another length than it says');
  }
  return Buffer.concat(chunks, maxBytes - room);
}

/** The library takes memory for the whole window, for each frame: for many small ones of large windows it would be busy with that alone. */
function withLeastWindow(bytes: Uint8Array, { start, end, windowOff, window, most }: Frame): Uint8Array {
  if (windowOff === 0 || most >= window) return bytes.subarray(start, end);
  const packed = bytes.slice(start, end);
  packed[windowOff - start] = Math.max(0, Math.ceil(Math.log2(most || 1)) - 10) << 3;
  return packed;
}

function isSkippable(magic: number): boolean {
  return (magic & 0xfffffff0) >>> 0 === SKIPPABLE;
}

function* frames(bytes: Uint8Array): Generator<Frame> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const need = (end: number): void => {
    if (end > bytes.length) throw new ImageBuildError('broken zstd data: it is cut off');
  };
  for (let off = 0; off < bytes.length;) {
    need(off + 5);
    const magic = view.getUint32(off, true);
    if (isSkippable(magic)) {
      need(off + 8);
      off += 8 + view.getUint32(off + 4, true);
      need(off);
      continue;
    }
    if (magic !== MAGIC) throw new ImageBuildError(`broken zstd data: something else begins at byte ${off}`);
    const start = off;
    const descriptor = bytes[off + 4];
    const isSingle = (descriptor & 0x20) !== 0;
    const sizeLen = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6];
    const dictionaryLen = [0, 1, 2, 4][descriptor & 3];
    off += 5;
    need(off + (isSingle ? 0 : 1) + dictionaryLen + sizeLen);
    let window = 0;
    let windowOff = 0;
    if (!isSingle) {
      const base = 2 ** (10 + (bytes[off] >> 3));
      window = base + (base / 8) * (bytes[off] & 7);
      windowOff = off;
      off++;
    }
    if ((descriptor & 0x08) !== 0) throw new ImageBuildError('broken zstd data: a reserved bit is set');
    if (bytes.subarray(off, off + dictionaryLen).some((byte) => byte !== 0)) throw new ImageBuildError('zstd data that wants a dictionary, which is not here: pack it again without one');
    off += dictionaryLen;
    const contentSize = sizeLen === 0 ? null : sizeLen === 1 ? bytes[off] : sizeLen === 2 ? view.getUint16(off, true) + 256 : sizeLen === 4 ? view.getUint32(off, true) : Number(view.getBigUint64(off, true));
    if (window > MAX_WINDOW) throw new ImageBuildError(`zstd data with a window of ${window} bytes: pack it again without --long, or unpack it first (zstd -d --long=31)`);
    off += sizeLen;
    let most = 0;
    for (let isLast = false; !isLast;) {
      need(off + 3);
      const block = view.getUint16(off, true) | (bytes[off + 2] << 16);
      const type = (block >> 1) & 3;
      if (type === 3) throw new ImageBuildError('broken zstd data: a block of an unknown type');
      isLast = (block & 1) !== 0;
      most += type === 2 ? MAX_BLOCK : block >>> 3;
      off += 3 + (type === 1 ? 1 : block >>> 3);
    }
    const hasChecksum = (descriptor & 0x04) !== 0;
    off += hasChecksum ? 4 : 0;
    need(off);
    yield { start, end: off, contentSize, hasChecksum, windowOff, window, most };
  }
}
