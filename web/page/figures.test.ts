import { describe, expect, it } from 'vitest';
import { formatBytes, formatRate, formatSeconds, RateMeter } from './figures.ts';

describe('formatBytes', () => {
  const cases: [number, string][] = [
    [0, '0 B'], [1, '1 B'], [999, '999 B'], [1000, '1.00 kB'], [1536, '1.54 kB'], [9_994, '9.99 kB'], [9_996, '10.0 kB'],
    [99_940, '99.9 kB'], [99_960, '100 kB'], [999_400, '999 kB'], [999_600, '1.00 MB'], [31_457_280, '31.5 MB'],
    [5e9, '5.00 GB'], [7.25e15, '7250 TB'], [Number.NaN, '–'], [-1, '–'], [Infinity, '–'],
  ];
  for (const [bytes, text] of cases) it(`${bytes} is ${text}`, () => expect(formatBytes(bytes)).toBe(text));

  it('never shows four digits before TB', () => {
    for (let n = 1; n < 1e12; n = Math.ceil(n * 1.013)) expect(formatBytes(n)).toMatch(/^\d{1,3}(\.\d{1,2})? (B|kB|MB|GB|TB)$/);
  });
});

it('formatRate adds per second', () => expect(formatRate(1_240_000)).toBe('1.24 MB/s'));

describe('formatSeconds', () => {
  const cases: [number, string][] = [
    [0, '0 s'], [1, '1 s'], [1000, '1 s'], [1200, '2 s'], [59_999, '1 min'], [95_000, '1 min 35 s'], [3_660_000, '1 h 1 min'], [-5, '0 s'],
    [Infinity, '–'],
  ];
  for (const [ms, text] of cases) it(`${ms} ms is ${text}`, () => expect(formatSeconds(ms)).toBe(text));
});

describe('RateMeter', () => {
  it('knows no rate before two samples', () => {
    const meter = new RateMeter(2000);
    expect(meter.perSecond()).toBe(0);
    meter.sample(0, 500);
    expect(meter.perSecond()).toBe(0);
    meter.sample(0, 900);
    expect(meter.perSecond()).toBe(0);
  });

  it('looks back over its window only', () => {
    const meter = new RateMeter(2000);
    for (let t = 0; t <= 5000; t += 500) meter.sample(t, t < 3000 ? t : 3000);
    expect(meter.perSecond()).toBe(0);
    meter.sample(5500, 4000);
    expect(meter.perSecond()).toBe(500);
  });

  it('starts anew when the total shrinks', () => {
    const meter = new RateMeter(2000);
    meter.sample(0, 0);
    meter.sample(1000, 1000);
    meter.sample(1500, 10);
    expect(meter.perSecond()).toBe(0);
    meter.sample(2000, 60);
    expect(meter.perSecond()).toBe(100);
  });
});
