import { expect, test } from 'vitest';
import { seqAdd, seqDiff, seqLe, seqLt, seqMax, toSeq } from './seq.ts';

test('comparisons hold across the wrap', () => {
  const a = toSeq(0xfffffff0);
  const b = seqAdd(a, 0x20);
  expect([b, seqDiff(b, a), seqDiff(a, b), seqLt(a, b), seqLt(b, a), seqLe(a, a), seqMax(a, b)]).toEqual([0x10, 0x20, -0x20, true, false, true, b]);
});
