/*
 * Text that does not come from keys: soft keyboards with their suggestions and corrections, input methods, dictation, emoji pickers.
 *
 * Theory of operation
 *
 *   xterm's hidden field ─ what it held before, what it holds now ─▶ edit() ─▶ rubouts, then the new text ─▶ the shell
 *
 * Such input changes the field and says little about it: keydown has code 229, a suggestion replaces a word, two spaces become ". ", an input
 * method writes a word again and again until it is chosen. So the field is the truth: whatever differs behind the part that stayed the same
 * is rubbed out and written anew. A caret that moves changes nothing, and sends nothing.
 *
 * Real keys are xterm's, and empty the field: it would no longer be what is in front of the cursor. But for a touch screen, where letters of
 * a keyboard go to the field as well: the soft keyboard has to know the word that it wants to correct.
 *
 * Composition: on a touch screen each step is sent at once, as people expect of a terminal (vi would not hear a key otherwise). Elsewhere it is an
 * input method for Chinese or Japanese, whose steps are no text yet: xterm shows them at the cursor, and the result is sent when it is chosen.
 * What xterm sends of it is wrong where an older word was taken up again: `instead` puts ours in its place.
 */
import { columnsOf } from './char-widths.ts';
import { harmless } from './paste.ts';

const RUBOUT = '\x7f';
const RUBOUT_WORD = '\x17';
const KEY_OF_INPUT_METHOD = 229;
const MODIFIERS = new Set(['Shift', 'Control', 'Alt', 'AltGraph', 'Meta', 'CapsLock']);
/** code units that the field may hold before it is emptied */
const FIELD_MAX = 2000;

/** What turns `before` into `after` at the end of a line: rubouts, then text. */
export function edit(before: string, after: string): string {
  const old = Array.from(before);
  const wanted = Array.from(after);
  let same = 0;
  while (same < old.length && same < wanted.length && old[same] === wanted[same]) same++;
  // A mark goes with its letter: rubbing out takes both.
  while (same > 0 && same < old.length && isMark(old[same])) same--;
  return RUBOUT.repeat(old.slice(same).filter((char) => !isMark(char)).length) + harmless(wanted.slice(same).join('')).replaceAll(/\r\n?|\n/g, '\r');
}

function isMark(char: string): boolean {
  return columnsOf(char.codePointAt(0)!) === 0;
}

/** The field that is typed into: xterm's textarea. */
export interface InputField {
  value: string;
}

/** Of a KeyboardEvent */
export interface Key {
  key: string;
  keyCode: number;
  ctrlKey: boolean;
  altKey: boolean;
  metaKey: boolean;
}

export class SoftInput {
  readonly #field: InputField;
  readonly #isTouch: () => boolean;
  readonly #send: (data: string) => void;
  /** what the field held when it was last looked at */
  #known = '';
  /** whether the key that is down is xterm's to answer */
  #isKey = false;
  /** what the field held before the composition, null while there is none */
  #composedOn: string | null = null;

  constructor(field: InputField, isTouch: () => boolean, send: (data: string) => void) {
    this.#field = field;
    this.#isTouch = isTouch;
    this.#send = send;
  }

  /** A key goes down. False: xterm must not answer it, since it will change the field. `keepsField`: a screen reader reads from it. */
  onKey(key: Key, keepsField = false): boolean {
    if (MODIFIERS.has(key.key)) return true;
    const isPlain = Array.from(key.key).length === 1 || (key.key === 'Backspace' && this.#field.value !== '');
    const isForField = isPlain && !key.ctrlKey && !key.altKey && !key.metaKey && this.#isTouch();
    this.#isKey = key.keyCode !== KEY_OF_INPUT_METHOD && !isForField;
    if (this.#isKey && this.#composedOn === null && !keepsField) this.forget();
    return this.#isKey;
  }

  /** A key goes up: what changes the field now is not its doing. */
  onKeyUp(): void {
    this.#isKey = false;
  }

  /** Whether xterm is to answer the key that is down. */
  get isKey(): boolean { return this.#isKey; }

  /** Before a change of the field; `type` is an InputEvent's. */
  onBeforeInput(type: string): void {
    this.#known = this.#field.value;
    if (this.#isKey || this.#composedOn !== null || this.#known !== '') return;
    // Nothing changes in an empty field; the line in front of the cursor may well hold something.
    if (type === 'deleteContentBackward') this.#send(RUBOUT);
    else if (type === 'deleteWordBackward') this.#send(RUBOUT_WORD);
  }

  /** The field has changed. True: that was dealt with, xterm must not hear of it. */
  onInput(): boolean {
    if (this.#isKey) {
      this.#known = this.#field.value;
      return false;
    }
    if (this.#composedOn !== null && !this.#isTouch()) return false;
    this.#follow();
    return true;
  }

  /** True: xterm must not hear of it. */
  onCompositionStart(): boolean {
    this.onComposed();
    this.#composedOn = this.#known = this.#field.value;
    this.#isKey = false;
    return this.#isTouch();
  }

  /** True: xterm must not hear of it. Else `onComposed` is to be called when xterm has dealt with it. */
  onCompositionEnd(): boolean {
    if (!this.#isTouch()) return false;
    this.#composedOn = null;
    this.#follow();
    return true;
  }

  /** What to send in place of what xterm sends: of a composition it is ours. */
  instead(data: string): string {
    // What the terminal answers to programs begins with ESC, and so do the mouse's reports.
    if (this.#composedOn === null || data.startsWith('\x1b')) return data;
    const before = this.#composedOn;
    this.#composedOn = null;
    this.#known = this.#field.value;
    return edit(before, this.#known);
  }

  /** A composition is over, and xterm has sent it if it wanted to. Idempotent. */
  onComposed(): void {
    if (this.#composedOn === null) return;
    this.#known = this.#composedOn;
    this.#composedOn = null;
    this.#follow();
  }

  /** The field starts anew: it lost the focus, something was pasted. */
  forget(): void {
    if (this.#field.value !== '') this.#field.value = '';
    this.#known = '';
    this.#composedOn = null;
  }

  #follow(): void {
    const { value } = this.#field;
    const data = edit(this.#known, value);
    this.#known = value;
    if (data !== '') this.#send(data);
    if (this.#composedOn === null && (value.length > FIELD_MAX || /[\r\n]/.test(value))) this.forget();
  }
}

/** Connects it with xterm's field, whose events it sees first. */
export function setUpSoftInput(host: HTMLElement, field: HTMLTextAreaElement, send: (data: string) => void): SoftInput {
  const coarse = matchMedia('(pointer: coarse)');
  const input = new SoftInput(field, () => coarse.matches, send);
  const on = (type: string, listener: (event: Event) => boolean | void): void => {
    host.addEventListener(type, (event) => {
      if (event.target === field && listener(event) === true) event.stopPropagation();
    }, true);
  };
  on('beforeinput', (event) => input.onBeforeInput((event as InputEvent).inputType));
  on('input', () => input.onInput());
  on('compositionstart', () => input.onCompositionStart());
  on('compositionupdate', () => coarse.matches);
  on('compositionend', () => input.onCompositionEnd());
  // Behind xterm's listener, and its timer.
  host.addEventListener('compositionend', () => setTimeout(() => input.onComposed()));
  on('blur', () => input.forget());
  return input;
}
