/*
 * The file of a saved container: what the browser keeps, what export and import move, what `portside run --save` writes.
 *
 *   0          8         12        16
 *   +----------+---------+---------+---------------+-------+-------+-----+
 *   | PORTSIDE | version | length  | header, JSON  | chunk | chunk | end |
 *   |          | u32 = 1 | u32     | in UTF-8      |       |       |     |
 *   +----------+---------+---------+---------------+-------+-------+-----+
 *
 *   chunk  0      4        8        12         44
 *          +------+--------+--------+----------+-----------------+
 *          | kind | stored | plain  | digest   | `stored` bytes, |
 *          | u32  | u32    | u32    | SHA-256  | deflated        |
 *          +------+--------+--------+----------+-----------------+
 *
 * All numbers are big-endian. Kinds: 1 memory (pages.ts, cut anywhere), 2 screen (bytes for the terminal), 0 the end, without bytes.
 * A digest covers the digest before it, the chunk's first 12 bytes and its bytes; the first one goes back to the file's
 * beginning. So the last digest is the checksum of the whole file, nothing can be left out, moved or changed, and neither
 * writer nor reader ever holds more than a chunk.
 *
 * A file comes from anywhere: every length is judged before anything is made of it, and what inflates to more than was said is cut
 * off there.
 */
import { getU32, setU32 } from '../bytes.ts';
import { damaged, SaveError } from './save-error.ts';

const MAGIC = 'PORTSIDE';
const VERSION = 1;
const FIXED_BYTES = 16;
const CHUNK_HEADER_BYTES = 44;
const DIGEST_AT = 12;
const MAX_HEADER_BYTES = 16 << 10;
/** plain bytes of a chunk at most */
export const CHUNK_BYTES = 256 << 10;
/** what deflate may add to bytes that it cannot make less */
const STORED_SLACK = 4096;
/** of a 32-bit machine */
const MAX_MEMORY_BYTES = 2 ** 32;
const WASM_PAGE = 65_536;
const MAX_TEXT_CHARS = 256;
const MAX_TERMINALS = 16;
const KIND_END = 0;
export const KIND_MEMORY = 1;
export const KIND_SCREEN = 2;

export interface SaveHeader {
  /** `id` is the image's own, see image-info.ts */
  image: { id: string; name: string; title: string };
  /** where the image was: a name of the server's, or a URL; empty: it is not known */
  source: string;
  savedAtMs: number;
  /** of the machine's memory */
  memoryBytes: number;
  /** of the terminal whose screen is kept */
  cols: number;
  rows: number;
  /** which terminals were open beside the first, from 2 on */
  terminals: number[];
}

export interface SaveSink {
  write(bytes: Uint8Array): void | Promise<void>;
}

/** A file, for reading anywhere in it. */
export interface SaveSource {
  readonly bytes: number;
  /** [start, end) lies within the file */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
}

export class SaveWriter {
  readonly #sink: SaveSink;
  #digest: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** written so far */
  bytes = 0;

  constructor(sink: SaveSink) {
    this.#sink = sink;
  }

  async begin(header: SaveHeader): Promise<void> {
    const json = new TextEncoder().encode(JSON.stringify(header));
    const bytes = new Uint8Array(FIXED_BYTES + json.length);
    bytes.set(new TextEncoder().encode(MAGIC));
    setU32(bytes, 8, VERSION);
    setU32(bytes, 12, json.length);
    bytes.set(json, FIXED_BYTES);
    this.#digest = await sha256(bytes);
    await this.#write(bytes);
  }

  /** At most CHUNK_BYTES. */
  async chunk(kind: number, plain: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#writeChunk(kind, plain.length, await pass(new CompressionStream('deflate-raw'), plain, CHUNK_BYTES + STORED_SLACK));
  }

  async end(): Promise<void> {
    await this.#writeChunk(KIND_END, 0, new Uint8Array(0));
  }

  async #writeChunk(kind: number, plainLen: number, stored: Uint8Array): Promise<void> {
    const bytes = new Uint8Array(CHUNK_HEADER_BYTES + stored.length);
    setU32(bytes, 0, kind);
    setU32(bytes, 4, stored.length);
    setU32(bytes, 8, plainLen);
    bytes.set(stored, CHUNK_HEADER_BYTES);
    this.#digest = await chunkDigest(this.#digest, bytes);
    bytes.set(this.#digest, DIGEST_AT);
    await this.#write(bytes);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#sink.write(bytes);
    this.bytes += bytes.length;
  }
}

export interface SaveChunk {
  kind: number;
  bytes: Uint8Array;
}

/** Reads a file from its beginning to its end. All methods throw SaveError. */
export class SaveReader {
  readonly header: SaveHeader;
  readonly #source: SaveSource;
  #at: number;
  #digest: Uint8Array<ArrayBuffer>;

  private constructor(source: SaveSource, header: SaveHeader, at: number, digest: Uint8Array<ArrayBuffer>) {
    this.#source = source;
    this.header = header;
    this.#at = at;
    this.#digest = digest;
  }

  static async open(source: SaveSource): Promise<SaveReader> {
    const fixed = source.bytes < FIXED_BYTES ? null : await source.read(0, FIXED_BYTES);
    if (fixed === null || new TextDecoder().decode(fixed.subarray(0, 8)) !== MAGIC) throw new SaveError('not-a-save', 'This file is no saved container.');
    const version = getU32(fixed, 8);
    if (version !== VERSION) throw new SaveError('too-new', `The saved container was written by a later version of Portside (format ${version}; this one knows ${VERSION}).`);
    const end = FIXED_BYTES + getU32(fixed, 12);
    if (end > FIXED_BYTES + MAX_HEADER_BYTES || end > source.bytes) throw damaged('its header does not end');
    const bytes = await source.read(0, end);
    return new SaveReader(source, parseHeader(bytes.subarray(FIXED_BYTES)), end, await sha256(bytes));
  }

  /** The next chunk; null at the end, when all was as it was written. */
  async next(): Promise<SaveChunk | null> {
    const left = this.#source.bytes - this.#at;
    if (left < CHUNK_HEADER_BYTES) throw damaged('it is cut off');
    const head = await this.#source.read(this.#at, this.#at + CHUNK_HEADER_BYTES);
    const kind = getU32(head, 0);
    const storedLen = getU32(head, 4);
    const plainLen = getU32(head, 8);
    if (storedLen > CHUNK_BYTES + STORED_SLACK || plainLen > CHUNK_BYTES) throw damaged('a part of it is too long');
    if (storedLen > left - CHUNK_HEADER_BYTES) throw damaged('it is cut off');
    const whole = await this.#source.read(this.#at, this.#at + CHUNK_HEADER_BYTES + storedLen);
    this.#digest = await chunkDigest(this.#digest, whole);
    if (!isSame(this.#digest, whole.subarray(DIGEST_AT, CHUNK_HEADER_BYTES))) throw damaged('its checksum is wrong');
    this.#at += whole.length;
    if (kind === KIND_END) {
      if (this.#at !== this.#source.bytes) throw damaged('something follows its end');
      return null;
    }
    const bytes = await inflate(whole.subarray(CHUNK_HEADER_BYTES), plainLen);
    return { kind, bytes };
  }
}

/** The digest of a chunk, of which the place of the digest itself is left out. */
async function chunkDigest(before: Uint8Array, chunk: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(before.length + chunk.length);
  bytes.set(before);
  bytes.set(chunk, before.length);
  bytes.fill(0, before.length + DIGEST_AT, before.length + CHUNK_HEADER_BYTES);
  return sha256(bytes);
}

async function inflate(stored: Uint8Array<ArrayBuffer>, plainLen: number): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await pass(new DecompressionStream('deflate-raw'), stored, plainLen);
  } catch {
    throw damaged('a part of it does not inflate');
  }
  if (bytes.length !== plainLen) throw damaged('a part of it is too short');
  return bytes;
}

/** What a stream makes of `bytes`; throws when that is more than `max` bytes. */
async function pass(stream: ZlibStream, bytes: Uint8Array<ArrayBuffer>, max: number): Promise<Uint8Array> {
  const writer = stream.writable.getWriter();
  // A failure shows where the result is read.
  writer.write(bytes).catch(() => undefined);
  writer.close().catch(() => undefined);
  const reader = stream.readable.getReader();
  const parts: Uint8Array[] = [];
  let len = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    len += value!.length;
    if (len > max) {
      reader.cancel().catch(() => undefined);
      throw new RangeError('too long');
    }
    parts.push(value!);
  }
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(len);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function parseHeader(json: Uint8Array): SaveHeader {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch {
    throw damaged('its header cannot be read');
  }
  const fields = asRecord(value);
  const image = asRecord(fields?.['image']);
  const header = fields === null || image === null ? null : {
    image: { id: text(image['id']), name: text(image['name']), title: text(image['title']) },
    source: text(fields['source']),
    savedAtMs: integer(fields['savedAtMs'], 8.64e15),
    memoryBytes: integer(fields['memoryBytes'], MAX_MEMORY_BYTES),
    cols: integer(fields['cols'], 65_535),
    rows: integer(fields['rows'], 65_535),
    terminals: Array.isArray(fields['terminals']) ? fields['terminals'].slice(0, MAX_TERMINALS).map((number: unknown) => integer(number, MAX_TERMINALS)) : [],
  };
  if (header === null || !/^[0-9a-f]{64}$/.test(header.image.id) || header.memoryBytes % WASM_PAGE !== 0) throw damaged('its header cannot be read');
  return header;
}

function asRecord(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null ? value as Record<string, unknown> : null;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT_CHARS) : '';
}

function integer(value: unknown, max: number): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max ? value : 0;
}
