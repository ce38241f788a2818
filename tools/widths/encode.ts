/*
 * `node --import tsx tools/widths/encode.ts FILE`: the text of WIDTHS in web/page/char-widths.ts, of what widths.c printed in the debian image.
 *
 * Runs of one width, each its length in base 36 and a letter: A 0, B 1, C 2 columns. What has no width (unassigned, controls) goes on as what is
 * before it: blocks are assigned as wholes.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export function encodeWidths(printed: string): string {
  let text = '';
  let width = '1';
  let length = 0;
  const end = (): void => {
    if (length > 0) text += length.toString(36) + 'ABC'[Number(width)];
    length = 0;
  };
  for (const [codePoint, one] of [...printed].entries()) {
    // The controls below are no business of a table.
    if (codePoint >= 0x20 && one !== width && /[012]/.test(one)) {
      end();
      width = one;
    }
    length++;
  }
  end();
  return text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(encodeWidths(readFileSync(process.argv[2], 'latin1')));
