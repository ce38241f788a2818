import { expect, test } from 'vitest';
import { ImageBuildError } from './image-error.ts';
import { addCustomSection, readCustomSection } from './wasm-section.ts';

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
