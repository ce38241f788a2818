import { expect, test } from 'vitest';
import { TEXT_CHARS_MAX, TextTail } from './text-tail.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const SCREEN = '\x1b[1;32mgrün\x1b[0m\r\n\x1b]0;a title\x07\x1b_portside;x\x1b\\\x1b(B\x1b=prompt \x1b[?2004h# \x1b]8;;http://x/\x1b\\link\n';

test('escape sequences go, text stays, wherever the output is cut', () => {
  const stream = bytes(SCREEN);
  for (let cut = 0; cut <= stream.length; cut++) {
    const tail = new TextTail();
    tail.push(stream.subarray(0, cut));
    tail.push(stream.subarray(cut));
    expect(tail.text, `cut at ${cut}`).toBe('grün\nprompt # link\n');
  }
});

test('a sequence without an end does not swallow the output for ever', () => {
  const tail = new TextTail();
  tail.push(bytes(`\x1b]0;${'x'.repeat(5000)}`));
  tail.push(bytes('after'));
  expect(tail.text.endsWith('after')).toBe(true);
});

test('only the end is kept', () => {
  const tail = new TextTail();
  for (let i = 0; i < 3; i++) tail.push(bytes('y'.repeat(TEXT_CHARS_MAX / 2)));
  tail.push(bytes('end'));
  expect([tail.text.length, tail.text.slice(-4)]).toEqual([TEXT_CHARS_MAX, 'yend']);
});

test('what nobody has asked for is kept up to a limit, and the oldest goes', () => {
  const tail = new TextTail();
  tail.push(bytes('first'));
  expect(tail.text).toBe('first');
  for (let i = 0; i < 40; i++) tail.push(bytes(`${i}\x1b[m`.repeat(TEXT_CHARS_MAX / 64)));
  expect(tail.text.startsWith('first')).toBe(false);
  expect(tail.text.length).toBeLessThanOrEqual(TEXT_CHARS_MAX);
  tail.push(bytes('last'));
  expect(tail.text.endsWith('39last')).toBe(true);
});
