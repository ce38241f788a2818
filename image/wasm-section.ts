/*
 * Custom sections of a wasm module (core spec §5.5.3): read one, add one. The rest of the module is not looked at.
 *
 *   "\0asm" 1 0 0 0, then sections:  id u8 | size LEB128 | size bytes      a custom section (id 0) begins with its name: len LEB128 | UTF-8
 */
import { ImageBuildError } from './image-error.ts';

const MAGIC = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const CUSTOM = 0;

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
