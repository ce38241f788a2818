import { expect, it } from 'vitest';
import { arrowKey, typed, withCtrl } from './keys.ts';

it('arrows follow the cursor mode', () => {
  expect(arrowKey('up', false)).toBe('\x1b[A');
  expect(arrowKey('left', true)).toBe('\x1bOD');
});

it('Ctrl makes control characters of one typed character', () => {
  expect(withCtrl('c')).toBe('\x03');
  expect(withCtrl('C')).toBe('\x03');
  expect(withCtrl('[')).toBe('\x1b');
  expect(withCtrl('@')).toBe('\0');
  expect(withCtrl(' ')).toBe('\0');
  expect(withCtrl('/')).toBe('\x1f');
  expect(withCtrl('?')).toBe('\x7f');
});

it('Ctrl with an arrow is its own sequence, in either mode', () => {
  expect(withCtrl('\x1b[A')).toBe('\x1b[1;5A');
  expect(withCtrl('\x1bOD')).toBe('\x1b[1;5D');
});

it('Ctrl leaves everything else alone', () => {
  for (const data of ['', '5', '\r', 'é', '|', 'paste of words', '\x1b[200~']) expect(withCtrl(data)).toBe(data === '|' ? '\x1c' : data);
});

it('a line\'s end is Enter', () => {
  expect(typed('a\nb\r\nc\rd')).toBe('a\rb\rc\rd');
  expect(typed('\x03')).toBe('\x03');
});
