import { expect, test } from 'vitest';
import { WriteSlab } from './write-slab.ts';

test('the same bytes again until they are kept; what was kept is never handed out again', () => {
  const slab = new WriteSlab();
  const first = slab.take(100);
  expect(slab.take(200).byteOffset).toBe(first.byteOffset);
  const kept: Uint8Array[] = [];
  for (let i = 0; i < 5000; i++) {
    const part = slab.take(1 + ((i * 7919) % 3000)).fill(i & 0xff);
    kept.push(part);
    slab.keep(part.length);
  }
  expect(kept.findIndex((part, i) => part.some((byte) => byte !== (i & 0xff)))).toBe(-1);
  expect(slab.take(3_000_000)).toHaveLength(3_000_000);
});
