/** Soft keyboards as they were recorded: what each did to the field, step by step, and the line that a shell makes of what was sent. */
import { describe, expect, test } from 'vitest';
import { copiedText, shortTitle } from './osc.ts';
import { harmless } from './paste.ts';
import { edit, SoftInput } from './soft-input.ts';

test.each([
  ['', 'ls', 'ls'], ['ls', 'ls', ''], ['ls', 'ls -l', ' -l'], ['gti', 'git ', '\x7f\x7fit '], ['ls ', 'ls. ', '\x7f. '], ['abc', '', '\x7f\x7f\x7f'], ['abc', 'abXc', '\x7fXc'],
  ['a😀', 'a', '\x7f'], ['a😀', 'a😁b', '\x7f😁b'], ['e\u0301', 'e', '\x7fe'], ['e', 'e\u0301', '\u0301'], ['x👨\u200D👩', 'x', '\x7f\x7f'], ['', 'a\nb', 'a\rb'], ['', 'a\r\n', 'a\r'], ['', 'a\x1b[201~', 'a[201~'],
])('from %j to %j', (before, after, sent) => {
  expect(edit(before, after)).toBe(sent);
});

/** A line discipline with a cursor at its end. */
function lineOf(sent: string): string {
  let line = '';
  for (const char of sent) line = char === '\x7f' ? Array.from(line).slice(0, -1).join('') : char === '\x17' ? line.replace(/\S*\s*$/, '') : line + char;
  return line;
}

class Keyboard {
  readonly field = { value: '' };
  sent = '';
  readonly input: SoftInput;
  readonly isTouch: boolean;

  constructor(isTouch: boolean) {
    this.isTouch = isTouch;
    this.input = new SoftInput(this.field, () => isTouch, (data) => { this.sent += data; });
  }

  get line(): string { return lineOf(this.sent); }

  /** Down and up; what the key does to the field comes in between. */
  key(key: string, keyCode: number, modifiers = {}, change = (): void => {}): boolean {
    const isXterms = this.input.onKey({ key, keyCode, ctrlKey: false, altKey: false, metaKey: false, ...modifiers });
    change();
    this.input.onKeyUp();
    return isXterms;
  }

  /** A change of the field, as an InputEvent tells of it. */
  change(type: string, value: string): void {
    this.input.onBeforeInput(type);
    this.field.value = value;
    this.input.onInput();
  }

  /** Gboard's way for a letter or a rubout: code 229, and the word so far as a composition. */
  composes(value: string): void {
    this.key('Unidentified', 229);
    this.change('insertCompositionText', value);
  }

  /** The end of a composition; `xtermSends` is what xterm makes of it, where it hears of it. */
  ends(xtermSends = ''): void {
    if (this.input.onCompositionEnd()) return;
    if (xtermSends !== '') this.sent += this.input.instead(xtermSends);
    this.input.onComposed();
  }
}

describe.each([true, false])('on a touch screen %s', (isTouch) => {
  test('Gboard: a word, its suggestion, another word', () => {
    const board = new Keyboard(isTouch);
    board.input.onCompositionStart();
    for (const value of ['g', 'gt', 'gti']) board.composes(value);
    board.change('insertCompositionText', 'git');
    board.ends('git');
    board.change('insertText', 'git ');
    board.input.onCompositionStart();
    for (const value of ['git s', 'git st']) board.composes(value);
    board.ends('st');
    expect([board.line, board.field.value]).toEqual(['git st', 'git st']);
  });

  test('Gboard: an older word is taken up again and replaced', () => {
    const board = new Keyboard(isTouch);
    board.input.onCompositionStart();
    for (const value of ['g', 'gt', 'gti']) board.composes(value);
    board.ends('gti');
    expect(board.line).toBe('gti');
    // xterm counts from the end of the field, and would send nothing, or a tail.
    board.input.onCompositionStart();
    board.change('insertCompositionText', 'git');
    board.ends('');
    board.change('insertText', 'git ');
    expect(board.line).toBe('git ');
  });

  test('a suggestion replaces what stood there; two spaces become a full stop; the caret moves', () => {
    const board = new Keyboard(isTouch);
    for (const value of ['l', 'ls']) { board.key('Unidentified', 229); board.change('insertText', value); }
    board.change('insertReplacementText', 'lsof ');
    expect(board.line).toBe('lsof ');
    board.change('insertText', 'lsof. ');
    expect(board.line).toBe('lsof. ');
    board.key('Unidentified', 229);
    expect(board.line).toBe('lsof. ');
    board.change('insertText', 'lXsof. ');
    expect(board.line).toBe('lXsof. ');
  });

  test('rubouts: in a word, word by word, in an empty field', () => {
    const board = new Keyboard(isTouch);
    board.input.onCompositionStart();
    for (const value of ['a', 'ab', 'a']) board.composes(value);
    board.ends('a');
    expect(board.line).toBe('a');
    board.key('Unidentified', 229);
    board.change('deleteContentBackward', '');
    expect(board.line).toBe('');
    board.sent = 'from before';
    board.key('Unidentified', 229);
    board.input.onBeforeInput('deleteContentBackward');
    expect(board.line).toBe('from befor');
    board.input.onBeforeInput('deleteWordBackward');
    expect(board.line).toBe('from ');
  });

  test('Enter, as a key and as a line break, ends the line for the field too', () => {
    const board = new Keyboard(isTouch);
    board.change('insertText', 'ls');
    expect(board.key('Enter', 13)).toBe(true);
    expect(board.field.value).toBe('');
    board.change('insertText', 'pwd');
    board.key('Unidentified', 229);
    board.change('insertLineBreak', 'pwd\n');
    expect([board.sent, board.field.value]).toEqual(['lspwd\r', '']);
  });

  test('dictation and emoji without any key', () => {
    const board = new Keyboard(isTouch);
    board.change('insertText', 'echo high');
    board.change('insertReplacementText', 'echo hi');
    board.change('insertText', 'echo hi 👍🏽');
    expect(board.line).toBe('echo hi 👍🏽');
  });

  test('Japanese: what is chosen arrives once', () => {
    const board = new Keyboard(isTouch);
    board.input.onCompositionStart();
    for (const value of ['n', 'に', 'にh', 'にほ', 'にほん', '日本']) board.composes(value);
    board.ends('日本');
    expect(board.line).toBe('日本');
    if (!isTouch) expect(board.sent).toBe('日本');
  });

  test('a composition that a key ends is sent once, before the key', () => {
    const board = new Keyboard(isTouch);
    board.input.onCompositionStart();
    board.composes('日本');
    board.key('Enter', 13);
    // xterm sends what was composed, then the key.
    if (!isTouch) board.sent += board.input.instead('日本');
    board.sent += board.input.instead('\r');
    board.ends();
    if (!isTouch) expect(board.sent).toBe('日本\r');
  });

  test('what the terminal answers to a program is not taken for a composition', () => {
    const board = new Keyboard(isTouch);
    board.input.onCompositionStart();
    board.composes('に');
    expect(board.input.instead('\x1b[?1;2c')).toBe('\x1b[?1;2c');
  });

  test('a field that is emptied from outside is no rubout', () => {
    const board = new Keyboard(isTouch);
    board.change('insertText', 'abc');
    board.field.value = '';
    board.change('insertText', 'd');
    expect(board.line).toBe('abcd');
  });

  test('a long text empties the field, and is sent whole', () => {
    const board = new Keyboard(isTouch);
    board.change('insertText', 'x'.repeat(5000));
    expect([board.sent.length, board.field.value]).toEqual([5000, '']);
  });
});

test('iOS, whose keys have codes: letters and rubouts go by the field, so that a correction finds its word', () => {
  const board = new Keyboard(true);
  for (const [key, code, value] of [['g', 71, 'g'], ['t', 84, 'gt'], ['i', 73, 'gti'], ['i', 73, 'gtii']] as const) {
    expect(board.key(key, code)).toBe(false);
    board.change('insertText', value);
  }
  expect(board.key('Backspace', 8)).toBe(false);
  board.change('deleteContentBackward', 'gti');
  board.change('insertReplacementText', 'git ');
  expect(board.line).toBe('git ');
  expect([board.key('c', 67, { ctrlKey: true }), board.field.value]).toEqual([true, '']);
  expect(board.key('Backspace', 8)).toBe(true);
});

test('keys of a desktop are xterm\'s, what they change in the field is not sent again', () => {
  const board = new Keyboard(false);
  expect([board.key('a', 65), board.key('Shift', 16), board.key('Backspace', 8), board.key('ArrowLeft', 37)]).toEqual([true, true, true, true]);
  // With a screen reader xterm lets the letter through.
  board.input.onKey({ key: 'b', keyCode: 66, ctrlKey: false, altKey: false, metaKey: false }, true);
  board.change('insertText', 'b');
  expect([board.sent, board.field.value]).toEqual(['', 'b']);
});

test('pastes keep tabs and lines, and no other control', () => {
  expect(harmless('a\tb\r\nc\nd')).toBe('a\tb\r\nc\nd');
  expect(harmless('x\x1b[201~\ny\x9b201~\x9d52;c;YQ==\x07\0\x03\x04\x7f\x08z')).toBe('x[201~\ny201~52;c;YQ==z');
  expect(harmless('grün 日本 😀 \u200d')).toBe('grün 日本 😀 \u200d');
});

test('OSC 52: text for the clipboard, and nothing else', () => {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  expect([copiedText(`c;${base64('grün\n')}`), copiedText(`;${base64('x')}`), copiedText(`pc;${base64('y')}`)]).toEqual(['grün\n', 'x', 'y']);
  expect(copiedText(`c;${base64('x'.repeat(100_000))}`)?.length).toBe(100_000);
  for (const data of ['c;?', 'c;', 'c', '', ';', 'x;YQ==', 'c;YQ==;', 'c;Y', 'c;\x00', 'c;gICA', `c;${base64('x'.repeat(100_010))}`]) expect(copiedText(data)).toBeNull();
});

test('titles are one short line that can be read', () => {
  expect([shortTitle('vim README'), shortTitle(' a\x07b\nc '), shortTitle('\u202eevil\u200b'), shortTitle('')]).toEqual(['vim README', 'a b c', 'evil', '']);
  expect(Array.from(shortTitle('😀'.repeat(200)))).toHaveLength(80);
});
