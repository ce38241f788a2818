/*
 * gzip, xz and zstd, told apart by their magic. gzip is Node's; xz is the machine's `xz` where it exists (twice as fast)
 * and a wasm decoder elsewhere; zstd is Node's (22.15 and later) or a JavaScript decoder. Debian's packages are all xz.
 * Output is capped: a small archive can unpack to any size.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import * as zlib from 'node:zlib';
import { Decompress as ZstdStream } from 'fzstd';
import { ImageBuildError } from './image-error.ts';

// A CommonJS bundle whose names Node can't see from an import.
const { XzReadableStream } = createRequire(import.meta.url)('xz-decompress') as typeof import('xz-decompress');

/** Most that one archive may unpack to, in `bytes`. */
export const MAX_UNPACKED = 2 * 1024 * 1024 * 1024;

export type Compression = 'gzip' | 'xz' | 'zstd' | 'none';

export function compressionOf(bytes: Uint8Array): Compression {
  const starts = (...magic: number[]): boolean => magic.every((byte, i) => bytes[i] === byte);
  if (starts(0x1f, 0x8b)) return 'gzip';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz';
  if (starts(0x28, 0xb5, 0x2f, 0xfd)) return 'zstd';
  return 'none';
}

/** Unpacks `bytes`; what is not compressed comes back as it is. `native: false` keeps to what this process can do itself. */
export async function decompress(bytes: Uint8Array, options: { maxBytes?: number; native?: boolean } = {}): Promise<Uint8Array> {
  const { maxBytes = MAX_UNPACKED, native = true } = options;
  switch (compressionOf(bytes)) {
    case 'none':
      return bytes;
    case 'gzip':
      return guard('gzip', () => zlib.gunzipSync(bytes, { maxOutputLength: maxBytes }));
    case 'xz': {
      // The wasm decoder waits forever for what is cut off; a whole file ends with the footer's magic (and padding by fours).
      if (!endsWithXzFooter(bytes)) throw new ImageBuildError('broken xz data: it is cut off');
      const unpacked = native ? await runTool('xz', bytes, maxBytes) : null;
      return unpacked ?? guard('xz', () => collect(new XzReadableStream(streamOf(bytes)), maxBytes));
    }
    case 'zstd': {
      const inNode = (zlib as { zstdDecompressSync?: (data: Uint8Array, options: object) => Uint8Array }).zstdDecompressSync;
      if (inNode !== undefined) return guard('zstd', () => inNode(bytes, { maxOutputLength: maxBytes }));
      return guard('zstd', () => unpackZstd(bytes, maxBytes));
    }
  }
}

function endsWithXzFooter(bytes: Uint8Array): boolean {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes[end - 2] === 0x59 && bytes[end - 1] === 0x5a;
}

async function guard(format: string, unpack: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await unpack();
  } catch (error) {
    if (error instanceof ImageBuildError) throw error;
    throw new ImageBuildError(`broken ${format} data: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let off = 0;
  return new ReadableStream({
    pull(controller) {
      if (off >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(off, off + 65536));
      off += 65536;
    },
  });
}

async function collect(stream: ReadableStream<Uint8Array>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks, total);
    total += value.length;
    if (total > maxBytes) throw new ImageBuildError(`archive unpacks to more than ${maxBytes} bytes`);
    chunks.push(value.slice());
  }
}

/** The decoder is fed in pieces, so that it stops at the cap, and not behind it. */
function unpackZstd(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const stream = new ZstdStream((chunk) => {
    total += chunk.length;
    if (total > maxBytes) throw new ImageBuildError(`archive unpacks to more than ${maxBytes} bytes`);
    chunks.push(chunk);
  });
  for (let off = 0; off < bytes.length; off += 65536) stream.push(bytes.subarray(off, off + 65536), off + 65536 >= bytes.length);
  return Buffer.concat(chunks, total);
}

/** Pipes `bytes` through `TOOL -dc`. Null: there is no such program here. */
function runTool(tool: string, bytes: Uint8Array, maxBytes: number): Promise<Uint8Array | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, ['-dc', '-T0'], { stdio: ['pipe', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    let total = 0;
    let complaint = '';
    child.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? resolve(null) : reject(error)));
    child.stdout.on('data', (chunk: Buffer) => {
      total += chunk.length;
      if (total <= maxBytes) chunks.push(chunk);
      else child.kill();
    });
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString().slice(0, 500)));
    child.on('close', (code) => {
      if (total > maxBytes) reject(new ImageBuildError(`archive unpacks to more than ${maxBytes} bytes`));
      else if (code === 0) resolve(Buffer.concat(chunks, total));
      else reject(new ImageBuildError(`broken ${tool} data: ${complaint.trim()}`));
    });
    // A tool that gives up early closes its input: its exit code says why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(bytes);
  });
}
