import { describe, expect, it } from 'vitest';
import type { ImageErrorCode } from '../protocol.ts';
import { addressFailure, failureLine, imageFailure, noImagesFailure, noListFailure, unknownImageFailure } from './failures.ts';

const URL = 'https://example.org/a.wasm';

describe('imageFailure', () => {
  const kinds: [ImageErrorCode, RegExp][] = [
    ['not-found', /not found/], ['http', /refused/], ['unreachable', /could not be reached/], ['not-wasm', /not a webassembly/], ['not-a-container', /not a container/],
    ['cut-off', /cut off/], ['compile', /incomplete or broken/], ['out-of-memory', /memory/], ['trap', /crashed/], ['arguments', /does not fit/], ['memory', /memory is fixed/],
    ['not-isolated', /isolated/], ['internal', /bug of ours/],
  ];
  for (const [code, words] of kinds) {
    it(`${code} says what happened and what to do`, () => {
      const failure = imageFailure({ code, message: 'own words' }, URL);
      expect(failureLine(failure).toLowerCase()).toMatch(words);
      expect(failure.next.length).toBeGreaterThan(20);
      expect(failure.detail).toBe(`${URL}\nown words`);
    });
  }

  it('has a card for a code that it does not know', () => {
    expect(imageFailure({ code: 'brand-new' as ImageErrorCode, message: 'x' }, URL)).toMatchObject({ title: 'Something went wrong inside Portside' });
  });

  it('does not repeat a URL that the message names', () => {
    expect(imageFailure({ code: 'http', message: `HTTP 500 from ${URL}` }, URL).detail).toBe(`HTTP 500 from ${URL}`);
    expect(imageFailure({ code: 'http', message: '' }, URL).detail).toBe(URL);
  });
});

it('names what the address got wrong', () => {
  const failure = addressFailure({ parameter: 'net', value: 'pigeon', problem: 'there is no such network', advice: 'Use ?net=none.' });
  expect(failureLine(failure)).toBe('?net= can’t be used: The address of this page says ?net=pigeon, but there is no such network. Use ?net=none.');
});

it('lists the images that there are, but not hundreds', () => {
  expect(unknownImageFailure('x', ['a', 'b']).what).toBe('This server has a, b.');
  expect(unknownImageFailure('x', []).what).toBe('This server has no images at all.');
  expect(unknownImageFailure('x', Array.from({ length: 50 }, (_, i) => `i${i}`)).what).toMatch(/i11 and more\.$/);
});

it('offers to try again where that may help', () => {
  expect(noListFailure('x').retry).toBe(true);
  expect(noImagesFailure().retry).toBe(true);
  expect(imageFailure({ code: 'not-wasm', message: '' }, URL).retry).toBe(false);
});
