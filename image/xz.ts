/*
 * xz in this process: a wasm decoder, which knows single streams. An .xz file may have several, one behind the other, with zeros between (The .xz
 * File Format 1.2, 2); each says at its end how long its parts are, so they are found from the end of the file.
 *
 *   stream   header 12 | blocks, each padded to 4 | index | footer: CRC32 u32, index / 4 - 1 as u32le, flags u16, "YZ"
 *   index    0 | count | for each block: length without padding, length unpacked | padding to 4 | CRC32 u32     numbers in 7 bits, low first
 */
import { createRequire } from 'node:module';
import { ImageBuildError } from './image-error.ts';

// A CommonJS bundle whose names Node can't see from an import.
const { XzReadableStream } = createRequire(import.meta.url)('xz-decompress') as typeof import('xz-decompress');

const HEADER_LEN = 12;
const PIECE = 65_536;
/** turns of the decoder in a row that bring nothing: a piece of input is some, an index may be many */
const MAX_BARREN = 1000;

/** Unpacks all streams of `bytes`. Throws ImageBuildError, or the decoder's own error. */
export async function unpackXz(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let room = maxBytes;
  for (const stream of streams(bytes)) {
    const reader = new XzReadableStream(readableOf(stream)).getReader();
    let barren = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        // It would wait for ever for what is cut off. All others bring something each time.
        barren = value.length === 0 ? barren + 1 : 0;
        if (barren > MAX_BARREN) throw broken();
        room -= value.length;
        if (room < 0) throw new ImageBuildError(`archive unpacks to more than ${maxBytes} bytes`);
        chunks.push(value.slice());
      }
    } catch (error) {
      // XZ_OPTIONS_ERROR
      throw (error as Error).message.endsWith('error code 6') ? new ImageBuildError('xz data with a check or a filter that only the program xz knows: install it, or pack again by xz without options') : error;
    } finally {
      // All streams share one decoder, which is free again by this.
      await reader.cancel().catch(() => undefined);
    }
  }
  return Buffer.concat(chunks, maxBytes - room);
}

/** Checks the end alone: what is cut off has none. */
export function hasXzEnd(bytes: Uint8Array): boolean {
  const end = withoutZeros(bytes);
  return bytes[end - 2] === 0x59 && bytes[end - 1] === 0x5a;
}

/** The streams from the first to the last. Throws ImageBuildError. */
function streams(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let end = withoutZeros(bytes); end > 0;) {
    if (end < 2 * HEADER_LEN + 8 || bytes[end - 2] !== 0x59 || bytes[end - 1] !== 0x5a) throw broken();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const indexLen = (view.getUint32(end - 8, true) + 1) * 4;
    const indexStart = end - HEADER_LEN - indexLen;
    if (indexStart < HEADER_LEN) throw broken();
    const start = indexStart - blocksLen(bytes.subarray(indexStart, end - HEADER_LEN)) - HEADER_LEN;
    if (!(start >= 0)) throw broken();
    found.unshift(bytes.subarray(start, end));
    end = withoutZeros(bytes.subarray(0, start));
  }
  return found;
}

function blocksLen(index: Uint8Array): number {
  let at = 1;
  const take = (): number => {
    let value = 0;
    for (let scale = 1, i = 0; ; scale *= 128, i++) {
      if (at >= index.length || i > 8) throw broken();
      const byte = index[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  if (index[0] !== 0) throw broken();
  let len = 0;
  for (let count = take(); count > 0; count--) {
    len += Math.ceil(take() / 4) * 4;
    take();
  }
  return len;
}

function withoutZeros(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

function broken(): ImageBuildError {
  return new ImageBuildError('broken xz data: it is cut off, or something else is behind it');
}

function readableOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let off = 0;
  return new ReadableStream({
    pull(controller) {
      if (off >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(off, off + PIECE));
      off += PIECE;
    },
  }, { highWaterMark: 0 });
}
