/*
 * The question whether programs in the container may put text on the clipboard (OSC 52), and the doing of it.
 *
 * It is asked once for all terminals of a page, until that is loaded anew; who refuses is not asked again. Some browsers want a click or a key for each
 * copy: where the browser refuses one, the bar comes back with a button for it. It never takes the focus: somebody is typing.
 */
import { make, makeButton, setText } from '../page/dom.ts';

/** null: not asked yet */
let isAllowed: boolean | null = null;

export class CopyBar {
  readonly element = make('div', 'ask');
  readonly #words = make('p', 'ask-words');
  readonly #yes: HTMLButtonElement;
  readonly #no: HTMLButtonElement;
  #text = '';

  /** `focusTerminal` after an answer */
  constructor(focusTerminal: () => void) {
    this.#yes = makeButton('Allow', 'ask-button', () => {
      isAllowed = true;
      this.#close(focusTerminal);
      void this.#write();
    });
    this.#no = makeButton('Refuse', 'ask-button', () => {
      // What the browser refused is no question of whether.
      isAllowed ??= false;
      this.#close(focusTerminal);
    });
    this.#words.setAttribute('role', 'status');
    this.element.append(this.#words, this.#yes, this.#no);
    this.element.hidden = true;
  }

  /** A program wants this on the clipboard. */
  copy(text: string): void {
    if (isAllowed === false) return;
    this.#text = text;
    if (isAllowed === true) void this.#write();
    else this.#ask(`A program in the container wants to put ${countOf(text)} on the clipboard.`, 'Allow', 'Refuse');
  }

  async #write(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.#text);
      this.element.hidden = true;
    } catch {
      this.#ask(`The browser wants a click before it puts ${countOf(this.#text)} on the clipboard.`, 'Copy', 'Not now');
    }
  }

  #ask(words: string, yes: string, no: string): void {
    setText(this.#yes, yes);
    setText(this.#no, no);
    this.element.hidden = false;
    setText(this.#words, words);
  }

  #close(focusTerminal: () => void): void {
    this.element.hidden = true;
    focusTerminal();
  }
}

function countOf(text: string): string {
  const { length } = Array.from(text);
  return length === 1 ? 'one character' : `${length.toLocaleString('en')} characters`;
}
