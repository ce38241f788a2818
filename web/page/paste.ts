/** Pasted text as a terminal may have it. */

/**
 * Without control characters but for tabs and line ends: `ESC [ 2 0 1 ~` would end a bracketed paste, after which a line end runs what was pasted, and a
 * program without brackets would take the rest for keys. DEL and C1 (U+0080 to U+009F), which are controls as well, go too.
 */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g, '');
}
