/*
 * gzip, xz, zstd and more, told apart by their magic. gzip is Node's; xz is the machine's `xz` where it exists (twice as fast) and a wasm decoder
 * elsewhere; zstd is zstd.ts'. Debian's packages are all xz. What only old or rare archives have (bzip2, lzma, lz4, lzip, compress) is
 * unpacked by the machine's program for it, and refused where there is none. Output is capped: a small archive can unpack to any size.
 */
import { spawn } from 'node:child_process';
import * as zlib from 'node:zlib';
import { ImageBuildError } from './image-error.ts';
import { hasXzEnd, unpackXz } from './xz.ts';
import { isZstd, unpackZstd } from './zstd.ts';

/** Most that one archive may unpack to, in `bytes`. */
export const MAX_UNPACKED = 2 * 1024 * 1024 * 1024;

/** A header asks for up to 4 GiB; xz -9 takes 64 MiB. */
const XZ_MEMORY = '--memlimit-decompress=512MiB';

export type Compression = 'gzip' | 'xz' | 'zstd' | 'bzip2' | 'lzma' | 'lz4' | 'lzip' | 'compress' | 'none';

/** What unpacks the rare ones to stdout. gzip knows compress' `.Z`. */
const TOOLS: Partial<Record<Compression, string>> = { bzip2: 'bzip2', lzma: 'xz', lz4: 'lz4', lzip: 'lzip', compress: 'gzip' };

export function compressionOf(bytes: Uint8Array): Compression {
  const starts = (...magic: number[]): boolean => magic.every((byte, i) => bytes[i] === byte);
  if (starts(0x1f, 0x8b)) return 'gzip';
  if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) return 'xz';
  if (isZstd(bytes)) return 'zstd';
  // The block's own magic behind it, or that of an empty stream's end.
  if (starts(0x42, 0x5a, 0x68) && (bytes[4] === 0x31 || bytes[4] === 0x17)) return 'bzip2';
  if (starts(0x04, 0x22, 0x4d, 0x18) || starts(0x02, 0x21, 0x4c, 0x18)) return 'lz4';
  if (starts(0x4c, 0x5a, 0x49, 0x50)) return 'lzip';
  if (starts(0x1f, 0x9d)) return 'compress';
  // lzma has no magic: the properties that its tools write, a dictionary of a power of two, and a size or none.
  if (starts(0x5d, 0x00, 0x00) && bytes.length > 13 && (bytes[12] === 0 || bytes[12] === 0xff)) return 'lzma';
  return 'none';
}

/** Unpacks `bytes`; what is not compressed comes back as it is. `native: false` keeps to what this process can do itself. */
export async function decompress(bytes: Uint8Array, options: { maxBytes?: number; native?: boolean } = {}): Promise<Uint8Array> {
  const { maxBytes = MAX_UNPACKED, native = true } = options;
  const compression = compressionOf(bytes);
  switch (compression) {
    case 'none':
      return bytes;
    case 'gzip':
      return guard('gzip', () => zlib.gunzipSync(bytes, { maxOutputLength: maxBytes }));
    case 'xz': {
      if (!hasXzEnd(bytes)) throw new ImageBuildError('broken xz data: it is cut off');
      const unpacked = native ? await runTool('xz', bytes, maxBytes) : null;
      return unpacked ?? guard('xz', () => unpackXz(bytes, maxBytes));
    }
    case 'zstd':
      return guard('zstd', () => unpackZstd(bytes, { maxBytes, native }));
    default: {
      const tool = TOOLS[compression]!;
      const unpacked = native ? await runTool(tool, bytes, maxBytes) : null;
      if (unpacked === null) throw new ImageBuildError(`it is compressed by ${compression}, and there is no ${tool} on this computer: unpack it elsewhere, and take it as it is or compressed by gzip, xz or zstd`);
      return unpacked;
    }
  }
}

async function guard(format: string, unpack: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await unpack();
  } catch (error) {
    if (error instanceof ImageBuildError) throw error;
    throw new ImageBuildError(`broken ${format} data: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Pipes `bytes` through `TOOL -dc`. Null: there is no such program here. */
function runTool(tool: string, bytes: Uint8Array, maxBytes: number): Promise<Uint8Array | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, tool === 'xz' ? ['-dc', '-T0', XZ_MEMORY] : ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] });
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
      else reject(new ImageBuildError(`broken ${tool} data: ${complaint.trim().replace(/\s+/g, ' ').slice(0, 200) || `status ${code}`}`));
    });
    // A tool that gives up early closes its input: its exit code says why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(bytes);
  });
}
