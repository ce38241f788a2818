/*
 * Sections of a wasm module (core spec §5.5): read a custom one, add one, end the memory elsewhere. The rest is not looked at.
 *
 *   "\0asm" 1 0 0 0, then sections:  id u8 | size LEB128 | size bytes      a custom section (id 0) begins with its name: len LEB128 | UTF-8
 */
import { ImageBuildError } from './image-error.ts';

const MAGIC = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const CUSTOM = 0;
const MEMORY = 5;
const DATA = 11;
const DATA_COUNT = 12;
const WASM_PAGE = 65536;
const I32_CONST = 0x41;
const END = 0x0b;
/** 4 GiB is the end of wasm's addresses; the last of them are left for what a machine asks for at run time. */
const MAX_MEMORY = 4096 * 2 ** 20 - 16 * 2 ** 20;

/** The first custom section called `name`; null when there is none. Borrowed: a view into the module. */
export function readCustomSection(module: Uint8Array, name: string): Uint8Array | null {
  for (const section of sections(module)) {
    if (section.id !== CUSTOM) continue;
    const length = readLeb(module, section.start, section.end);
    if (length.value > section.end - length.next) throw new ImageBuildError('wasm module has a custom section with a broken name');
    const nameEnd = length.next + length.value;
    if (Buffer.from(module.subarray(length.next, nameEnd)).toString() === name) return module.subarray(nameEnd, section.end);
  }
  return null;
}

/** A copy of `module` with a custom section right behind the header, where a reader finds it before anything large. */
export function addCustomSection(module: Uint8Array, name: string, contents: Uint8Array): Uint8Array {
  for (const section of sections(module)) void section;
  const nameBytes = Buffer.from(name);
  const body = Buffer.concat([leb(nameBytes.length), nameBytes, contents]);
  return Buffer.concat([module.subarray(0, MAGIC.length), Uint8Array.of(CUSTOM), leb(body.length), body, module.subarray(MAGIC.length)]);
}

/**
 * `module` without the last `spare` bytes of its memory (no data lie there), and with `contents` in their place: an embedded disk. In
 * parts, to be written one after the other, as both are large. Borrowed: views of both.
 */
export function endMemory(module: Uint8Array, spare: number, contents: Uint8Array | null): Uint8Array[] {
  const parts: Uint8Array[] = [module.subarray(0, MAGIC.length)];
  const add = (id: number, ...body: Uint8Array[]): void => void parts.push(Uint8Array.of(id), leb(body.reduce((sum, { length }) => sum + length, 0)), ...body);
  let at = -1;
  let isAppended = false;
  for (const { id, start, end } of sections(module)) {
    const count = id === MEMORY || id === DATA || id === DATA_COUNT ? readLeb(module, start, end) : { value: 0, next: start };
    if (id === MEMORY) {
      // One memory, limits without a maximum.
      const pages = readLeb(module, count.next + 1, end);
      if (count.value !== 1 || module[count.next] !== 0) throw new ImageBuildError('wasm module has a memory of another kind than the machine has');
      at = pages.value * WASM_PAGE - spare;
      const length = contents?.length ?? 0;
      if (at < 0 || at + spare + length > MAX_MEMORY) throw new ImageBuildError(`memory and disk together take more than ${MAX_MEMORY / 2 ** 20} MiB`);
      add(id, leb(1), Uint8Array.of(0), leb(Math.ceil((at + length) / WASM_PAGE)));
    } else if (contents === null) {
      add(id, module.subarray(start, end));
    } else if (id === DATA_COUNT) {
      add(id, leb(count.value + 1));
    } else if (id === DATA) {
      add(id, leb(count.value + 1), module.subarray(count.next, end), Uint8Array.of(0, I32_CONST), signedLeb(at | 0), Uint8Array.of(END), leb(contents.length), contents);
      isAppended = true;
    } else {
      add(id, module.subarray(start, end));
    }
  }
  if (at < 0 || (contents !== null && !isAppended)) throw new ImageBuildError('wasm module without memory or data');
  return parts;
}

/** Walks sections; throws where the module is broken or cut off. Ids go up to 13 (tags). */
function* sections(module: Uint8Array): Generator<{ id: number; start: number; end: number }> {
  if (MAGIC.some((byte, i) => module[i] !== byte)) throw new ImageBuildError('not a wasm module');
  let off = MAGIC.length;
  while (off < module.length) {
    const id = module[off];
    const size = readLeb(module, off + 1, module.length);
    if (size.value > module.length - size.next) throw new ImageBuildError('wasm module is cut off');
    yield { id, start: size.next, end: size.next + size.value };
    off = size.next + size.value;
  }
}

function readLeb(bytes: Uint8Array, off: number, end: number): { value: number; next: number } {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    if (off + i >= end) throw new ImageBuildError('wasm module is cut off');
    value += (bytes[off + i] & 0x7f) * 2 ** (7 * i);
    if (bytes[off + i] < 0x80) return { value, next: off + i + 1 };
  }
  throw new ImageBuildError('wasm module has a broken length');
}

function leb(value: number): Uint8Array {
  const out: number[] = [];
  do {
    out.push((value % 128) | (value >= 128 ? 0x80 : 0));
    value = Math.floor(value / 128);
  } while (value > 0);
  return Uint8Array.from(out);
}

/** Signed LEB128, as constants are. */
function signedLeb(value: number): Uint8Array {
  const out: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    const isLast = (value === 0 && (low & 0x40) === 0) || (value === -1 && (low & 0x40) !== 0);
    out.push(isLast ? low : low | 0x80);
    if (isLast) return Uint8Array.from(out);
  }
}
