/*
 * The text of a container's output, as a program reads it: UTF-8 decoded, escape sequences removed, line ends as \n, the last
 * TEXT_CHARS_MAX characters of it. No screen is kept: what a full-screen program draws comes in the order of its drawing.
 *
 * Most output is never asked for, so it is kept as it came until somebody does, UNREAD_BYTES of it.
 */

export const TEXT_CHARS_MAX = 1 << 20;
/** output that nobody has asked for, in `bytes` */
const UNREAD_BYTES = 2 * TEXT_CHARS_MAX;
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
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;

  get text(): string {
    for (const bytes of this.#unread) this.#read(bytes);
    this.#unread = [];
    this.#unreadBytes = 0;
    return this.#text;
  }

  /** `bytes` is kept. */
  push(bytes: Uint8Array): void {
    this.#unread.push(bytes);
    this.#unreadBytes += bytes.length;
    while (this.#unreadBytes > UNREAD_BYTES && this.#unread.length > 1) {
      this.#unreadBytes -= this.#unread.shift()!.length;
      this.#text = this.#open = '';
    }
  }

  #read(bytes: Uint8Array): void {
    // A decoder takes no shared memory; `bytes` is a copy already.
    const text = (this.#open + this.#decoder.decode(bytes as Uint8Array<ArrayBuffer>, { stream: true })).replaceAll(ESCAPE, '');
    const at = text.indexOf('\x1b');
    const isOpen = at !== -1 && text.length - at <= ESCAPE_CHARS_MAX;
    this.#open = isOpen ? text.slice(at) : '';
    this.#text = (this.#text + (isOpen ? text.slice(0, at) : text.replaceAll('\x1b', '')).replaceAll(CONTROL, '')).slice(-TEXT_CHARS_MAX);
  }
}
