/*
 * What an image says of itself, read from its file without compiling it: the walk from section to section of the wasm binary
 * format (WebAssembly Core §5.5.2) touches a few bytes of each.
 *
 *   00 61 73 6d  01 00 00 00 | id  len (LEB128)  contents | id  len  contents | …      a custom section: id 0, contents begin with its name
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { butKind, KIND_HEAD_BYTES, KIND_TAIL_BYTES } from '../../shared/file-kind.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { FOREIGN_IMAGE, IMAGE_SECTION, MAX_SECTION_BYTES, parseImageInfo, type ImageInfo } from '../../shared/wasi/image-info.ts';

const MODULE_HEADER = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const MAGIC_LEN = 4;
const CUSTOM_SECTION = 0;
/** id, and the most bytes that a length of 32 bits has */
const SECTION_HEADER_LEN = 6;
const MAX_SECTIONS = 10_000;
/** the name's length is one byte: it is short */
const NAME = Buffer.concat([Buffer.from([IMAGE_SECTION.length]), Buffer.from(IMAGE_SECTION)]);

/** What else it is, and what takes that; '' where nothing is known of it. */
async function otherKind(file: FileHandle, path: string): Promise<string> {
  const { size } = await file.stat();
  return butKind(basename(path), size, await readAt(file, 0, KIND_HEAD_BYTES), await readAt(file, Math.max(0, size - KIND_TAIL_BYTES), KIND_TAIL_BYTES));
}

/** All of it. Rejects with RELAY_BAD_IMAGE for what does not begin as a wasm file, before it is read. */
export async function readImage(path: string): Promise<Buffer> {
  const { file } = await openImage(path);
  try {
    return await file.readFile();
  } catch (error) {
    throw cannotRead(path, error);
  } finally {
    await file.close();
  }
}

/** Rejects with RELAY_BAD_IMAGE for what is no wasm module. */
export async function describeImage(path: string): Promise<ImageInfo> {
  const { file, size, header } = await openImage(path);
  try {
    if (!header.equals(MODULE_HEADER)) throw new RelayError('RELAY_BAD_IMAGE', `${path} is not a wasm file${await otherKind(file, path)}`);
    let at = MODULE_HEADER.length;
    for (let sections = 0; sections < MAX_SECTIONS; sections++) {
      const head = await readAt(file, at, SECTION_HEADER_LEN);
      if (head.length === 0) return FOREIGN_IMAGE;
      const len = parseLength(head, 1);
      if (len === null) break;
      const start = at + 1 + len.bytes;
      if (start + len.value > size) break;
      if (head[0] === CUSTOM_SECTION && len.value <= NAME.length + MAX_SECTION_BYTES) {
        const contents = await readAt(file, start, len.value);
        if (contents.subarray(0, NAME.length).equals(NAME)) return parseImageInfo(contents.subarray(NAME.length));
      }
      at = start + len.value;
    }
    throw new RelayError('RELAY_BAD_IMAGE', `${path} is damaged or incomplete`);
  } finally {
    await file.close();
  }
}

/** A file that begins as wasm does; `header` is its first bytes. No device is read, no FIFO waited for. */
async function openImage(path: string): Promise<{ file: FileHandle; size: number; header: Buffer }> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw cannotRead(path, error);
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new RelayError('RELAY_BAD_IMAGE', `${path} is no file`);
    const header = await readAt(file, 0, MODULE_HEADER.length);
    if (!header.subarray(0, MAGIC_LEN).equals(MODULE_HEADER.subarray(0, MAGIC_LEN))) {
      throw new RelayError('RELAY_BAD_IMAGE', `${path} is not a wasm file${await otherKind(file, path)}`);
    }
    return { file, size: stat.size, header };
  } catch (error) {
    await file.close();
    throw error instanceof RelayError ? error : cannotRead(path, error);
  }
}

function cannotRead(path: string, error: unknown): RelayError {
  return new RelayError('RELAY_BAD_IMAGE', `can't read ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
}

/** Fewer than `len` bytes at the end of the file. */
async function readAt(file: FileHandle, at: number, len: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(len), 0, len, at);
  return buffer.subarray(0, bytesRead);
}

/** An unsigned LEB128 of 32 bits, or null. */
function parseLength(bytes: Uint8Array, off: number): { value: number; bytes: number } | null {
  let value = 0;
  for (let i = 0; i < 5 && off + i < bytes.length; i++) {
    value += (bytes[off + i] & 0x7f) * 2 ** (7 * i);
    if (bytes[off + i] < 0x80) return value < 2 ** 32 ? { value, bytes: i + 1 } : null;
  }
  return null;
}
