import { expect, test } from 'vitest';
import { ImageBuildError } from './image-error.ts';
import { addCustomSection, endMemory, readCustomSection } from './wasm-section.ts';

/** A module that the engine accepts: one empty function type. */
const MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0);

for (const size of [0, 1, 118, 119, 20_000]) {
  test(`round trip of ${size} bytes, and the engine agrees`, async () => {
    const contents = Uint8Array.from({ length: size }, (_, i) => i & 0xff);
    const module = addCustomSection(MODULE, 'portside', contents);
    expect(Buffer.compare(readCustomSection(module, 'portside')!, contents)).toBe(0);
    expect(readCustomSection(module, 'other')).toBeNull();
    const found = WebAssembly.Module.customSections(await WebAssembly.compile(new Uint8Array(module)), 'portside');
    expect(Buffer.compare(Buffer.from(found[0]), contents)).toBe(0);
  });
}

test('truncations and lying lengths are refused', () => {
  const module = addCustomSection(MODULE, 'portside', Buffer.from('{}'));
  // The ends of the header and of each section are modules of their own.
  const whole = [8, 8 + 2 + 11];
  for (let end = 0; end < module.length; end++) {
    const look = (): unknown => readCustomSection(module.subarray(0, end), 'absent');
    if (whole.includes(end)) expect(look()).toBeNull();
    else expect(look, `${end}`).toThrow(ImageBuildError);
  }
  expect(() => readCustomSection(Uint8Array.of(...MODULE.subarray(0, 8), 0, 3, 0x80, 0x80, 0x7f), 'x')).toThrow(ImageBuildError);
  expect(() => readCustomSection(Uint8Array.of(...MODULE.subarray(0, 8), 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01), 'x')).toThrow(ImageBuildError);
  expect(() => addCustomSection(Buffer.from('<!doctype html>'), 'x', new Uint8Array(0))).toThrow(/not a wasm/);
});

/** (memory (export "m") 1) (data (i32.const 8) "hi"), with a data count section. */
const WITH_DATA = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 0x6d, 2, 0, 12, 1, 1, 11, 8, 1, 0, 0x41, 8, 0x0b, 2, 0x68, 0x69);

for (const size of [0, 1, 63, 64, 65_536, 65_537]) {
  test(`${size} bytes behind the memory: the engine finds them there`, async () => {
    const contents = Uint8Array.from({ length: size }, (_, i) => (i * 3 + 1) & 0xff);
    const { instance } = await WebAssembly.instantiate(new Uint8Array(Buffer.concat(endMemory(WITH_DATA, 0, contents))));
    const memory = new Uint8Array((instance.exports.m as WebAssembly.Memory).buffer);
    expect(memory.length).toBe(65_536 * (1 + Math.ceil(size / 65_536)));
    expect(Buffer.from(memory.subarray(8, 10)).toString()).toBe('hi');
    expect(Buffer.compare(memory.subarray(65_536, 65_536 + size), contents)).toBe(0);
  });
}

test('spare memory goes, and what comes takes its place', async () => {
  const large = Uint8Array.from(WITH_DATA).with(12, 5);
  const pagesOf = async (parts: Uint8Array[]): Promise<Uint8Array> => new Uint8Array(((await WebAssembly.instantiate(new Uint8Array(Buffer.concat(parts)))).instance.exports.m as WebAssembly.Memory).buffer);
  expect((await pagesOf(endMemory(large, 3 * 65_536, null))).length).toBe(2 * 65_536);
  const memory = await pagesOf(endMemory(large, 3 * 65_536, Uint8Array.of(1, 2)));
  expect([memory.length, memory[2 * 65_536], memory[2 * 65_536 + 1], memory[8]]).toEqual([3 * 65_536, 1, 2, 0x68]);
  expect(() => endMemory(large, 6 * 65_536, null)).toThrow(ImageBuildError);
});

test('a module without memory, with a limit to it, or cut off takes nothing', () => {
  expect(() => endMemory(MODULE, 0, new Uint8Array(1))).toThrow(/without memory/);
  expect(() => endMemory(WITH_DATA.with(11, 1), 0, new Uint8Array(1))).toThrow(ImageBuildError);
  for (let end = 0; end < WITH_DATA.length; end++) expect(() => endMemory(WITH_DATA.subarray(0, end), 0, new Uint8Array(1)), `${end}`).toThrow(ImageBuildError);
});
