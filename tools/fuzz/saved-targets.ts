/*
 * Files from strangers: saved containers, as --resume and the page's import take them, and images.
 *
 * A script says what a save's file holds; its digests are made right, so that what lies behind them is reached, unless the script wants one
 * wrong. Whatever it is, it ends in a SaveError or with just those pages of memory changed that it names.
 */
import { deflateRawSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeImage } from '../../relay/run/image-file.ts';
import { openSave } from '../../relay/run/save-on-disk.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { checkSave, loadSave } from '../../shared/saved/resume.ts';
import { SaveError } from '../../shared/saved/save-error.ts';
import type { SaveSource } from '../../shared/saved/save-file.ts';
import { FOREIGN_IMAGE, IMAGE_SECTION, MAX_SECTION_BYTES, parseImageInfo, type ImageInfo } from '../../shared/wasi/image-info.ts';
import { WasmSections } from '../../web/container/wasm-sections.ts';
import { Chance } from './chance.ts';
import { Choices } from './choices.ts';
import { check, type FuzzTarget } from './target.ts';

const PAGE = 4096;
const WASM_PAGE = 65_536;
/** of the machine, in pages of wasm: as it starts, and at most */
const MEMORY_START = 1;
const MEMORY_MAX = 4;
const PATTERN = 0x5a;
const ID = 'ab'.repeat(32);
const INFO: ImageInfo = { ...FOREIGN_IMAGE, ours: true, id: ID, name: 'debian' };
/** what a reader may hold of a file, for all that it says: the largest chunk, plain and deflated, and some */
const READ_MAX = 1 << 20;

/** A file in memory, which is asked for parts of it only, and for no large ones. */
function sourceOf(file: Uint8Array): SaveSource {
  return {
    bytes: file.length,
    read: (start, end) => {
      check(Number.isSafeInteger(start) && start >= 0 && start <= end && end <= file.length, () => `${start} to ${end} of ${file.length} bytes is read`);
      check(end - start <= READ_MAX, () => `${end - start} bytes are read at once`);
      return Promise.resolve(file.slice(start, end));
    },
  };
}

const HEADER = { image: { id: ID, name: 'debian', title: 'Debian' }, source: 'debian', savedAtMs: 1_700_000_000_000, memoryBytes: 2 * WASM_PAGE, cols: 80, rows: 24, terminals: [2] };

/**
 * The file that a script describes:
 *   flags u8: 1 header as it is in the script · 2 no end · 4 something behind the end · 8 a wrong digest; memory u8, in wasm pages; header length u16 and
 *   bytes, then chunks: kind u8, flags u8 (1 stored as it is, 2 said to be shorter, 4 said to be longer, 8 repeated by 64), length u16 and bytes.
 */
function fileOf(input: Uint8Array): { file: Uint8Array; plain: Uint8Array } {
  const choices = new Choices(input);
  const flags = choices.byte();
  const memory = choices.byte();
  const own = choices.take(choices.byte() | (choices.byte() << 8));
  const json = (flags & 1) !== 0 ? own : Buffer.from(JSON.stringify({ ...HEADER, memoryBytes: memory === 255 ? 2 ** 32 : memory * WASM_PAGE }));
  const head = Buffer.concat([Buffer.from('PORTSIDE'), Buffer.from([0, 0, 0, 1]), Buffer.alloc(4), json]);
  head.writeUInt32BE(json.length, 12);
  let digest = createHash('sha256').update(head).digest();
  const parts: Uint8Array[] = [head];
  const plain: Uint8Array[] = [];
  const add = (kind: number, stored: Uint8Array, plainLen: number): void => {
    const chunk = Buffer.alloc(44 + stored.length);
    chunk.writeUInt32BE(kind, 0);
    chunk.writeUInt32BE(stored.length, 4);
    chunk.writeUInt32BE(plainLen, 8);
    chunk.set(stored, 44);
    digest = createHash('sha256').update(digest).update(chunk).digest();
    chunk.set(digest, 12);
    parts.push(chunk);
  };
  while (!choices.isOver) {
    const kind = choices.byte();
    const how = choices.byte();
    let bytes = choices.take(choices.byte() | (choices.byte() << 8));
    if ((how & 8) !== 0) bytes = Uint8Array.from({ length: Math.min(bytes.length * 64, 300_000) }, (_, i) => bytes[i % bytes.length]);
    if (kind === 1) plain.push(bytes);
    add(kind, (how & 1) !== 0 ? bytes : deflateRawSync(bytes), Math.max(bytes.length + ((how & 2) !== 0 ? -1 - (how >> 4) : 0) + ((how & 4) !== 0 ? 1 + (how >> 4) : 0), 0));
  }
  if ((flags & 2) === 0) add(0, new Uint8Array(0), 0);
  if ((flags & 4) !== 0) parts.push(Buffer.from([0]));
  const file = Buffer.concat(parts);
  if ((flags & 8) !== 0) file[file.length - 1 - (flags >> 4)] ^= 1;
  return { file: Uint8Array.from(file), plain: Buffer.concat(plain) };
}

/** Pages that runs in `plain` name, as pages.ts draws them, up to where they stop making sense. */
function pagesOf(plain: Uint8Array): Set<number> {
  const view = new DataView(plain.buffer, plain.byteOffset, plain.length);
  const pages = new Set<number>();
  for (let at = 0; at + 8 <= plain.length;) {
    const first = view.getUint32(at);
    const field = view.getUint32(at + 4);
    const count = field & 0x7fff_ffff;
    if (count === 0 || count > 64) break;
    for (let i = 0; i < count; i++) pages.add(first + i);
    at += 8 + (field >>> 31 === 1 ? 0 : count * PAGE);
  }
  return pages;
}

async function outcomeOf<T>(action: () => Promise<T>): Promise<T | SaveError> {
  try {
    return await action();
  } catch (error) {
    check(error instanceof SaveError, () => `no SaveError but ${error instanceof Error ? error.stack : String(error)}`);
    check(/^[A-Z].*\.$/s.test(error.message) && error.message.length < 1000, () => `its message is ${error.message}`);
    return error;
  }
}

/** As WebAssembly.Memory, without the address space that each of those takes. */
class MachineMemory {
  buffer = new Uint8Array(MEMORY_START * WASM_PAGE).fill(PATTERN).buffer;

  grow(pages: number): number {
    const before = this.buffer.byteLength / WASM_PAGE;
    if (!Number.isInteger(pages) || pages < 0 || before + pages > MEMORY_MAX) throw new RangeError(`${pages} pages more`);
    const grown = new Uint8Array((before + pages) * WASM_PAGE);
    grown.set(new Uint8Array(this.buffer));
    this.buffer = grown.buffer;
    return before;
  }
}

async function judge(file: Uint8Array, plain: Uint8Array | null): Promise<void> {
  const checked = await outcomeOf(() => checkSave(sourceOf(file)));
  const memory = new MachineMemory();
  const loaded = await outcomeOf(() => loadSave(sourceOf(file), INFO, memory as unknown as WebAssembly.Memory));
  if (!(loaded instanceof SaveError)) {
    check(!(checked instanceof SaveError), () => `it is loaded, and yet ${String(checked)}`);
    check(memory.buffer.byteLength === loaded.header.memoryBytes, () => `${memory.buffer.byteLength} bytes of memory, not ${loaded.header.memoryBytes}`);
    check(loaded.screen.reduce((sum, part) => sum + part.length, 0) <= 4 << 20, () => 'too much of a screen');
  } else if (!(checked instanceof SaveError)) {
    check(['other-image', 'out-of-memory', 'damaged'].includes(loaded.code), () => `it is whole, and yet ${String(loaded)}`);
  }
  if (plain === null) return;
  const named = pagesOf(plain);
  const bytes = new Uint8Array(memory.buffer);
  for (let page = 0; page < bytes.length / PAGE; page++) {
    if (named.has(page)) continue;
    const was = page < (MEMORY_START * WASM_PAGE) / PAGE ? PATTERN : 0;
    check(bytes.subarray(page * PAGE, (page + 1) * PAGE).every((byte) => byte === was), () => `page ${page} was written, which no run names`);
  }
}

let folder: string | null = null;

/** Writes `bytes` where a user's file would be. */
function onDisk(bytes: Uint8Array): string {
  if (folder === null) {
    const made = mkdtempSync(join(tmpdir(), 'portside-fuzz-'));
    folder = made;
    process.once('exit', () => { rmSync(made, { recursive: true, force: true }); });
  }
  const path = join(folder, 'file');
  writeFileSync(path, bytes);
  return path;
}

async function runSave(input: Uint8Array): Promise<void> {
  const { file, plain } = fileOf(input);
  await judge(file, plain);
  // Cut off anywhere, and with a bit turned anywhere.
  const chance = new Chance(input.length);
  const cut = await outcomeOf(() => checkSave(sourceOf(file.slice(0, chance.below(file.length)))));
  check(cut instanceof SaveError, () => 'a part of it passes for the whole');
  const at = chance.below(file.length);
  const turned = await outcomeOf(() => checkSave(sourceOf(file.with(at, file[at] ^ (1 << chance.below(8))))));
  check(turned instanceof SaveError, () => `byte ${at} is another, and nobody sees it`);
  // The input itself as a file of this computer.
  const source = await openSave(onDisk(input));
  try {
    await outcomeOf(() => checkSave(source));
  } finally {
    await source.close();
  }
}

function run(first: number, count: number, zeros: boolean, value: number): number[] {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(first, 0);
  head.writeUInt32BE((count | (zeros ? 0x8000_0000 : 0)) >>> 0, 4);
  return [...head, ...Array.from({ length: zeros ? 0 : count * PAGE }, () => value)];
}

function saveSeeds(): Record<string, Uint8Array> {
  const u16 = (value: number): number[] => [value & 255, value >> 8];
  const chunk = (kind: number, how: number, bytes: number[]): number[] => [kind, how, ...u16(bytes.length), ...bytes];
  const file = (flags: number, memory: number, header: string, ...chunks: number[][]): Uint8Array => {
    const own = [...Buffer.from(header)];
    return Uint8Array.from([flags, memory, ...u16(own.length), ...own, ...chunks.flat()]);
  };
  const pages = [...run(1, 2, false, 7), ...run(5, 3, true, 0), ...run(17, 1, false, 9)];
  return {
    'whole': file(0, 2, '', chunk(1, 0, pages.slice(0, 5000)), chunk(1, 0, pages.slice(5000)), chunk(2, 0, [...Buffer.from('$ ls\r\n')])),
    'no-end': file(2, 2, '', chunk(1, 0, run(0, 1, true, 0))),
    'behind-its-end': file(4, 2, ''),
    'wrong-digest': file(8, 2, '', chunk(2, 0, [1, 2, 3])),
    'bomb': file(0, 2, '', chunk(2, 8 | 2, Array.from({ length: 4000 }, () => 0))),
    'not-deflated': file(0, 2, '', chunk(1, 1, run(0, 1, true, 0)), chunk(2, 4, [1])),
    'smaller-memory': file(0, 0, ''),
    'larger-memory': file(0, 255, '', chunk(1, 0, run(1_048_575, 1, true, 0))),
    'pages-beyond': file(0, 2, '', chunk(1, 0, run(31, 2, false, 1))),
    'pages-twice': file(0, 2, '', chunk(1, 0, [...run(3, 1, true, 0), ...run(3, 1, false, 1)])),
    'unknown-part': file(0, 1, '', chunk(9, 0, [1])),
    'header': file(1, 0, JSON.stringify({ ...HEADER, terminals: [1, -2, 1e300, 'x', ...Array.from({ length: 40 }, () => 3)], cols: -1, savedAtMs: 1e99, source: 'x'.repeat(300) })),
    'other-image': file(1, 0, JSON.stringify({ ...HEADER, image: { id: 'cd'.repeat(32), name: 'debian', title: 3 } })),
    'headers-at-odds': file(1, 0, '{"image":{"id":"","__proto__":{"id":1}},"memoryBytes":65537,"memoryBytes":-0}'),
    'raw': Uint8Array.from([...Buffer.from('PORTSIDE'), 0, 0, 0, 1, 0, 0, 0x40, 0, ...Buffer.from('{}')]),
  };
}

/** Sections of a module as the specification has them: [id, start of its contents, end], or null where they are none. */
function sectionsOf(file: Uint8Array): [number, number, number][] | null {
  if (file.length < 8 || Buffer.from(file.subarray(0, 8)).toString('hex') !== '0061736d01000000') return null;
  const sections: [number, number, number][] = [];
  for (let at = 8; at < file.length;) {
    const id = file[at++];
    let size = 0n;
    let shift = 0n;
    for (;;) {
      if (at >= file.length || shift > 28n) return null;
      const byte = file[at++];
      size |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) break;
    }
    if (size >= 2n ** 32n || BigInt(at) + size > BigInt(file.length)) return null;
    sections.push([id, at, at + Number(size)]);
    at += Number(size);
  }
  return sections;
}

async function runImageFile(input: Uint8Array): Promise<void> {
  const sections = sectionsOf(input);
  const name = Uint8Array.from([IMAGE_SECTION.length, ...Buffer.from(IMAGE_SECTION)]);
  const ours = sections?.find(([id, start, end]) => id === 0 && end - start <= name.length + MAX_SECTION_BYTES && Buffer.from(input.subarray(start, end)).subarray(0, name.length).equals(name));
  let described: ImageInfo | RelayError;
  try {
    described = await describeImage(onDisk(input));
  } catch (error) {
    check(error instanceof RelayError && error.code === 'RELAY_BAD_IMAGE', () => `no error about the image but ${error instanceof Error ? error.stack : String(error)}`);
    described = error;
  }
  if (sections === null) {
    // What stands in front of the damage may be told, or not.
    check(described instanceof RelayError || described.ours || Buffer.from(input).includes(Buffer.from(name)), () => 'a damaged image is taken for a whole one of somebody else\'s');
  } else {
    const expected = ours === undefined ? FOREIGN_IMAGE : parseImageInfo(input.subarray(ours[1] + name.length, ours[2]));
    check(JSON.stringify(described) === JSON.stringify(expected), () => `${JSON.stringify(described)}, not ${JSON.stringify(expected)}`);
  }
  if (!(described instanceof RelayError)) judgeInfo(described);
  judgeInfo(parseImageInfo(input));
  // As it arrives, in pieces: it could end here if and only if it is whole.
  const chance = new Chance(input.length);
  const arriving = new WasmSections();
  let isWasm = true;
  for (let at = 0; at < input.length && isWasm;) {
    const len = 1 + chance.below(chance.pick([1, 5, 400, 100_000]));
    isWasm = arriving.push(input.subarray(at, at + len));
    at += len;
  }
  if (sections !== null) check(isWasm && arriving.complete, () => 'it came whole, and is not taken for that');
  else check(!isWasm || !arriving.complete || input[4] !== 1 || input[5] + input[6] + input[7] !== 0, () => 'it is damaged, and taken for whole');
}

/** An image says what it likes, within what is made of it. */
function judgeInfo(info: ImageInfo): void {
  check(info.name.length <= 128 && info.title.length <= 128 && info.terminals >= 1 && info.terminals <= 4 && (info.id === null || /^[0-9a-f]{64}$/.test(info.id)), () => JSON.stringify(info));
  check(info.disk === null || (/^[^./\\][^/\\\0]*$/.test(info.disk.file) && Number.isSafeInteger(info.disk.bytes) && info.disk.bytes >= 0), () => JSON.stringify(info.disk));
  check(info.memoryMiB === null || info.memoryMiB > 0, () => `${info.memoryMiB} MiB`);
}

function imageSeeds(): Record<string, Uint8Array> {
  const leb = (value: number): number[] => (value < 128 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)]);
  const section = (id: number, bytes: number[]): number[] => [id, ...leb(bytes.length), ...bytes];
  const text = (value: string): number[] => [value.length, ...Buffer.from(value)];
  const wasm = (...parts: number[][]): Uint8Array => Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...parts.flat()]);
  const ours = (info: unknown): number[] => section(0, [...text(IMAGE_SECTION), ...Buffer.from(JSON.stringify(info))]);
  const info = { version: 1, id: ID, name: 'debian', title: 'Debian 13', net: 'qemu', resize: true, ports: true, terminals: 4, memoryMiB: 512, disk: { file: 'debian.disk', bytes: 123, sha256: ID } };
  return {
    'ours': wasm(section(1, [0]), section(0, [...text('name'), 1, 2, 3]), ours(info), section(10, Array.from({ length: 300 }, () => 1))),
    'another-s': wasm(section(1, [0]), section(5, [1, 0, 1])),
    'at-odds': wasm(ours({ version: 1, id: 'AB', name: 1, title: 'x'.repeat(200), net: 'x', terminals: 1e9, memoryMiB: -1, disk: { file: '../x', bytes: -1 } })),
    'twice': wasm(ours({ version: 2 }), ours(info)),
    'edges': wasm([0, 0x80, 0x80, 0x80, 0x80, 0x00, 0, 0x88, 0x80, 0x80, 0x80, 0x00, ...text('portsid')]),
    'beyond': wasm([0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]),
    'too-wide': wasm([0, 0xff, 0xff, 0xff, 0xff, 0x7f], [0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
    'cut-off': wasm(section(10, Array.from({ length: 50 }, () => 1)).slice(0, -1)),
    'no-length': wasm([0]),
    'prototype': wasm(section(0, [...text(IMAGE_SECTION), ...Buffer.from('{"version":1,"__proto__":{"disk":{"file":"a","bytes":1}},"name":"\\u0000\\ud800"}')])),
  };
}

export const SAVED_TARGETS: readonly FuzzTarget[] = [
  { name: 'save-file', seeds: saveSeeds, run: runSave },
  { name: 'image-file', seeds: imageSeeds, run: runImageFile },
];
