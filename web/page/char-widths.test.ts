/** The widths of the terminal against the container's own C library, and what xterm makes of them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import xterm from '@xterm/headless';
import { expect, test } from 'vitest';
import { encodeWidths } from '../../tools/widths/encode.ts';
import { CHAR_WIDTHS, columnsOf } from './char-widths.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

async function columnsInXterm(text: string): Promise<number> {
  const terminal = new xterm.Terminal({ cols: 80, allowProposedApi: true });
  terminal.unicode.register(CHAR_WIDTHS);
  terminal.unicode.activeVersion = CHAR_WIDTHS.version;
  await new Promise<void>((resolve) => terminal.write(text, resolve));
  return terminal.buffer.active.cursorX;
}

test('every code point is as wide as the debian image\'s glibc says', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-widths-'));
  try {
    execFileSync('riscv64-linux-gnu-gcc', ['-O1', join(ROOT, 'tools/widths/widths.c'), '-o', join(folder, 'widths')]);
    execFileSync(process.execPath, ['bin/portside.mjs', 'run', '--dir', `${folder}::/w`, 'debian', 'sh', '-c', '/w/widths > /w/printed'], { cwd: ROOT, stdio: 'ignore', timeout: 100_000 });
    const printed = readFileSync(join(folder, 'printed'), 'latin1');
    expect(printed.length).toBe(0x110000);
    let wrong = '';
    for (let codePoint = 0x20; codePoint < printed.length; codePoint++) {
      if (/[012]/.test(printed[codePoint]) && Number(printed[codePoint]) !== columnsOf(codePoint)) wrong += ` ${codePoint.toString(16)}`;
    }
    // What to write instead, if the image has got another glibc.
    expect(wrong, encodeWidths(printed)).toBe('');
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);

test.each([
  ['a', 1], ['é', 1], ['e\u0301', 1], ['漢字', 4], ['ｱ', 1], ['Ａ', 2], ['😀', 2], ['🫠🪿', 4], ['👍🏽', 4], ['❤\uFE0F', 1], ['1\uFE0F\u20E3', 1], ['👨\u200D👩\u200D👧', 6], ['🇩🇪', 2],
  ['\u1112\u1161\u11AB', 2], ['한', 2], ['กำ', 2], ['นี้', 1], ['\u200B', 0], ['\u0301', 0], ['𠀀', 2], ['\u{E0101}', 0],
])('%s takes %i columns, as programs in the container count', async (text, columns) => {
  expect(await columnsInXterm(`a${text}`)).toBe(1 + columns);
});
