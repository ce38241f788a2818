/*
 * The terminal's size, in-band on stdin: `ESC _ portside;size=COLSxROWS ESC \`, an APC sequence, which no keyboard sends.
 * Only for images whose section says `resize`.
 */

/** what a window size may be: the guest's winsize is u16, and nobody has a screen of that many characters */
const MAX_CELLS = 4096;

export function windowSize(cols: number, rows: number): string {
  return `\x1b_portside;size=${clamp(cols)}x${clamp(rows)}\x1b\\`;
}

function clamp(cells: number): number {
  return Math.min(Math.max(Math.floor(cells) || 1, 1), MAX_CELLS);
}
