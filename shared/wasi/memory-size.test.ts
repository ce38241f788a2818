import { expect, test } from 'vitest';
import { guestArguments, memoryFits } from './arguments.ts';
import { FOREIGN_IMAGE } from './image-info.ts';
import { parseMemory } from './memory-size.ts';

test('sizes as people write them', () => {
  for (const [text, mib] of [['128', 128], ['512M', 512], [' 512MiB ', 512], ['1g', 1024], ['2G', 2048], ['2GiB', 2048], ['1000mb', 1000]] as const) expect(parseMemory(text), text).toBe(mib);
  for (const text of ['', '0', '127', '2049', '3G', '1.5G', '-512', '512K', 'lots', '512 M', '1e3', '9999999', '0x200']) expect(parseMemory(text), text).toBeNull();
});

test('an image of ours is told; of another the wish is refused, not dropped', () => {
  const line = { args: ['sh'], env: {}, net: false, memoryMiB: 1024 };
  const ours = { ...FOREIGN_IMAGE, ours: true, name: 'x' };
  expect(guestArguments(ours, line)).toEqual(['x', '--memory=1024', 'sh']);
  expect(memoryFits(ours, 1024)).toBeNull();
  expect(guestArguments(FOREIGN_IMAGE, line)).toEqual(['container', 'sh']);
  expect(memoryFits(FOREIGN_IMAGE, 1024)).toMatch(/container2wasm/);
  expect(memoryFits(FOREIGN_IMAGE, undefined)).toBeNull();
});
