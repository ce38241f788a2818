/*
 * How many columns a character takes: as the container's C library says (wcwidth of Debian's glibc, in C.UTF-8), since that is what shells, ncurses and
 * full-screen programs there count by, character by character: a family of emoji joined by ZWJ is three wide ones to them. xterm's own table is of
 * 2009, its addons go by other rules or years; RATIONALE.md has the numbers. `tools/widths/` makes WIDTHS, char-widths.test.ts compares it with the image.
 */
import type { IUnicodeVersionProvider } from '@xterm/xterm';

/** runs of one width: length in base 36, then A, B or C for 0, 1 or 2 columns */
const WIDTHS =
  'lcB34A7nB7A7bB19A1B1A1B2A1B2A1B9A1sBbA1B1A1aBlAgB1A2tB7A2B6A2B2A1B4AzB1AuBtA2hBbA1mB9A9B1AoB4A1B9A1B3A1B7A15B5A1lB9A16BoA1BwA1jB1A1B1A4B8A4B1A3B7AaB' +
  '2AtB1A1mB1A4B6A6B1AkB4AoB5A1lB2A3BoAnB2A3B1AbB2A1lB1A4B8A4B3AiB4AkB8A1mB1A2B1A1B6A6BaAbB4AsB1A1pB1AcB3A1cB1A3B1A1jB1A1B3A5BiAaB4ArB1A1mB1A2B1A6B1A5B9A' +
  'dB4AqB2A1lB2A4B5A7B1AkB4ArB1A20B5A3B6A2hB1A2BbA8B8A2qB1A2B9AbB8A20B2ArB1A1B1A1B1A1jBeA1B5A1B2A5B1dA8B1A2uB4A1B6A1B2A2B2ApB2A4B3AgB4AdB1A2B2A6B1AfB1A2q' +
  'B2oC4gA9pB3AqaB3AtB2AuBeAiBeA1gB2A1B7A8B1A2BbA9B3A17B5A39B2AyB1A3aB3A4B2A9B1A6B7A5zB2A2B3A1kB1A1B9A1B1A2B8A6BdA1cB2cA1cB1A1B5A1B1A5B1A14B9AcB2AwB4A2B2' +
  'A1B3A1kB1A1B2A3B1A1B3A1mB8A2B5A45B3A1BdA1B7A4B1A6B1A3B2A5iB1sAejB5AqB5A1dBgA2oB1cAeyB2CdB2C5aB4C3B1C2B1CehB2ClB2CqB8CgBcC17B1CaB6C3B1CdB1C8B2ChB2C5B2C' +
  '8B1C5B1ClB1C7B2C1B1C4B1C2B1C7B1C4B2CsB1CzB1C1B1C4B3C1B1C1pB3CoB1CeB1CnvB2C1fB1C4B1CbdB3A3xB1A2oBwA3kBbuC4AhC2B2gC2A5lC1AmsrCbjB4A1BaAwB2A28B2A7kB1A3B1' +
  'A4B1ApB2A5B4A44BaAiBiAdB1A12B8ApBbAeBwC3A1cB1A2B4A2B2A13B1A1vB6A2B2A2BbA3B1A8B1A1bB1A1fB1A1B3A2B2A5B2A1B1A16B2A8BbA6cB1A2B1A4B3AgB8moC1n4A4xsBe8CuB1Ak' +
  'hBgAgCgA1sC3zB2A2oC1rB1A1rB8CetB3nA2oB1A45BaA1a9BfA14B8A4lB6AftBcA1lB5A8tB2A27B4A1yBbA1dB4A3fB1A1iBfA15B1A2B2AaB3A1dB4A2B2A7BbA1fB3A10B5A1B9A1pB1AcB2A' +
  '1gB9AaB4A2B1A2nB3A2B1A1B2A6B1A2B1rA2nB1A3BdAgB2A1lB2A3B1A11BqA1nB7AcB1A1B1A1B1AeBvA1kB8A2B3A1B1AnB1A2cB6A1B1A4B2A1B2A6mB6A4B2A1B2ArB10A1fB8A2B1A1B2A2y' +
  'B1A1B1A2B6A1B1A2tB1A1B1A2B4A1B9A73B9A1B2A74B2A1B1A4B1A40B8A4B1AwBaA14B6A2B4A8B9A1B6A2B3A1aBdA1B2AbaBeA1B1A2aBnA1B7A1B2A1B23A1dBlA1B9A1sB3A2B1A1B1A9nB2' +
  'AbB2A1gB8A2B1A1B1AnB2eA428B1A6BpA8u6BcA3B3A1xcB5A1nB7At4B1A1rB4A25B4CcAf0wC4dB2A1B31cAlcB28AevB3A9BgA2B7AuB4A44B3A57B3bC1ahB1jA4B1eA8B1AeB1AmBv9A74B1c' +
  'A2nB35A1cB7AafBiA18B4Ae4B4A72B2AkgB1cA1wB7A1btB1C5mB2C59B1C2BaC2tB81CcB9C1B1yC1BmCcB17C4B5CcBhC3B1C3B1zC1B1C1B57C2B1rCdB4C1BoCiB1CqB2CdB1C2eB2dC1cB1yC' +
  '6B1C3B3C2BbCbB5C4BcC68BwC7gB1bC1BaC1B55C34B40CzkBgutdC1ekfA2t4wB';

/** first code points of the runs, and the width of each */
const STARTS: number[] = [];
const COLUMNS: (0 | 1 | 2)[] = [];
for (let at = 0, from = 0; at < WIDTHS.length; at++) {
  const end = at;
  while (WIDTHS[at] > 'C' || WIDTHS[at] < 'A') at++;
  STARTS.push(from);
  from += Number.parseInt(WIDTHS.slice(end, at), 36);
  COLUMNS.push((WIDTHS.charCodeAt(at) - 65) as 0 | 1 | 2);
}
/** the first that is not one column wide */
const FIRST_ODD = STARTS[1];

export function columnsOf(codePoint: number): 0 | 1 | 2 {
  if (codePoint < FIRST_ODD) return 1;
  let low = 1;
  let high = STARTS.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (STARTS[middle] <= codePoint) low = middle;
    else high = middle;
  }
  return COLUMNS[low];
}

/** For `Terminal.unicode`. What takes no column is drawn with the character before it. */
export const CHAR_WIDTHS: IUnicodeVersionProvider = {
  version: 'container',
  wcwidth: columnsOf,
  // xterm's packing: bit 0 whether it joins the one before, bits 1 and 2 the width of both together.
  charProperties(codePoint, preceding) {
    const columns = columnsOf(codePoint);
    const before = (preceding >> 1) & 3;
    return columns === 0 && before > 0 ? (before << 1) | 1 : columns << 1;
  },
};
