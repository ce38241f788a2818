/** What keys send to a terminal, for the key bar and for `portside.write`. */

const ESC = '\x1b';
const ARROWS: Record<string, string> = { up: 'A', down: 'B', right: 'C', left: 'D' };

/** An arrow key: applications may have switched to the cursor keys of DECCKM. */
export function arrowKey(direction: 'up' | 'down' | 'left' | 'right', applicationMode: boolean): string {
  return `${ESC}${applicationMode ? 'O' : '['}${ARROWS[direction]}`;
}

/** Ctrl with one typed character, as a keyboard would send it; other input passes unchanged. */
export function withCtrl(data: string): string {
  if (data.length !== 1) {
    // Ctrl with an arrow: ESC [ 1 ; 5 X, in either cursor mode.
    const arrow = data.startsWith(ESC) ? /^[[O]([ABCD])$/.exec(data.slice(1)) : null;
    return arrow === null ? data : `${ESC}[1;5${arrow[1]}`;
  }
  const code = data.charCodeAt(0);
  if (data === ' ' || data === '2') return '\0';
  if (data === '/' || data === '-') return '\x1f';
  if (data === '?' || data === '8') return '\x7f';
  if (code >= 0x40 && code <= 0x7e) return String.fromCharCode(code & 0x1f);
  return data;
}

/** Text as if it were typed: a line's end is the Enter key. */
export function typed(text: string): string {
  return text.replace(/\r\n|\n/g, '\r');
}
