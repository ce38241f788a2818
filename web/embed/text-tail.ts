/*
 * The text of a container's output, as a program reads it: UTF-8 decoded, escape sequences removed, line ends as \n, the last
 * TEXT_CHARS_MAX characters of it. No screen is kept: what a full-screen program draws comes in the order of its drawing.
 */

export const TEXT_CHARS_MAX = 1 << 20;
/** an escape sequence that is longer than this is none */
const ESCAPE_CHARS_MAX = 4096;

/** CSI; OSC, APC, DCS and their like up to BEL or ST; charset selections; other two-character sequences */
// oxlint-disable-next-line no-control-regex
const ESCAPE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]_P^X][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])/g;
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]/g;

export class TextTail {
  #text = '';
  /** begins with an escape sequence that has not ended */
  #open = '';
  readonly #decoder = new TextDecoder();

  get text(): string { return this.#text; }

  push(bytes: Uint8Array): void {
    // A decoder takes no shared memory; `bytes` is a copy already.
    const text = (this.#open + this.#decoder.decode(bytes as Uint8Array<ArrayBuffer>, { stream: true })).replaceAll(ESCAPE, '');
    const at = text.indexOf('\x1b');
    const isOpen = at !== -1 && text.length - at <= ESCAPE_CHARS_MAX;
    this.#open = isOpen ? text.slice(at) : '';
    this.#text = (this.#text + (isOpen ? text.slice(0, at) : text.replaceAll('\x1b', '')).replaceAll(CONTROL, '')).slice(-TEXT_CHARS_MAX);
  }

  clear(): void {
    this.#text = '';
  }
}
