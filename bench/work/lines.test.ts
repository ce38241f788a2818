import { expect, test } from 'vitest';
import { geometricMean, haveSameResult, Lines, parseLine, PartFailed, rowOf } from './lines.ts';
import { chosenParts, PARTS, scriptOf } from './parts.ts';

test('a line of the guest is a time and a checksum; a part that failed is an error; all else is no line', () => {
  expect(parseLine('= sha256sum 1234567 0 00ff')).toEqual({ name: 'sha256sum', seconds: 1.234567, sum: '00ff' });
  expect(() => parseLine('= sqlite 12 127 00ff')).toThrow(PartFailed);
  expect(() => parseLine('= sqlite 12 127 00ff')).toThrow(/sqlite ended with status 127/);
  for (const line of ['', '= ready', '! sqlite: no such file', 'sha256sum', '= sha256sum 12 0', ' = sha256sum 12 0 00ff', '= sha256sum -12 0 00ff']) expect(parseLine(line)).toBeNull();
});

test('lines come in pieces, with a terminal\'s carriage returns', () => {
  const lines = new Lines();
  expect([lines.push('= re'), lines.push('ady\r'), lines.push('\n= a 1 0 s\r\n\nx'), lines.push('\n')]).toEqual([[], [], ['= ready', '= a 1 0 s', ''], ['x']]);
});

test('a row is the medians of its rounds, of which all have to have the same result', () => {
  const rounds = (...all: Array<[seconds: number, sum: string]>) => all.map(([seconds, sum]) => ({ name: 'a', seconds, sum }));
  expect(rowOf('A', 'text', rounds([3, 's'], [1, 's'], [2, 's']), rounds([4, 's'], [9, 's'], [5, 's']))).toEqual({ title: 'A', kind: 'text', ours: 2, qemu: 5, oursCpu: null, qemuCpu: null });
  const withCpu = (...all: number[]) => all.map((cpuSeconds) => ({ name: 'a', seconds: 9, cpuSeconds, sum: 's' }));
  expect(rowOf('A', 'text', withCpu(3, 1, 2), withCpu(4, 9, 5))).toMatchObject({ oursCpu: 2, qemuCpu: 5 });
  expect(haveSameResult(rounds([3, 's'], [1, 's']))).toBe(true);
  for (const differing of [rounds([1, 's'], [1, 't']), rounds([1, 's'], [1, 's'], [1, 'x']), []]) expect(haveSameResult(differing)).toBe(false);
});

test('geometric mean', () => {
  expect(geometricMean([0.5, 2, 1])).toBeCloseTo(1, 12);
  expect(geometricMean([8, 2])).toBeCloseTo(4, 12);
});

test('at least 20 parts, each with a name of its own, which a file and a line can bear', () => {
  expect(PARTS.length).toBeGreaterThanOrEqual(20);
  expect(new Set(PARTS.map(({ name }) => name)).size).toBe(PARTS.length);
  for (const part of PARTS) {
    expect(part.name).toMatch(/^[a-z0-9][a-zA-Z0-9-]*$/);
    expect(scriptOf(part)).toMatch(/^prepare\(\) {\n[^]+\n}\nwork\(\) {\n[^]+\n}\ncheck\(\) {\n[^]+\n}\n$/);
  }
});

test('--only takes names and kinds, and says what it does not know', () => {
  expect(chosenParts('sqlite,gzip').map(({ name }) => name)).toEqual(['gzip', 'sqlite']);
  expect(chosenParts('integers').every(({ kind }) => kind === 'integers')).toBe(true);
  expect(chosenParts(undefined)).toBe(PARTS);
  expect(() => chosenParts('gzip,gsip')).toThrow(/gsip/);
});
