/**
 * Splits a command line into argv as a POSIX shell would, without expanding anything: blanks part words, '…' is
 * literal, in "…" a backslash escapes only " \ $ and `, outside quotes a backslash takes the next character as it is.
 * An empty pair of quotes is an empty word.
 */
export type Words = { argv: string[] } | { problem: string };

const BLANKS = ' \t\r\n';
const ESCAPABLE_IN_DOUBLE_QUOTES = '"\\$`';

export function splitWords(line: string): Words {
  const argv: string[] = [];
  let word: string | null = null;
  let quote: '' | "'" | '"' = '';
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (quote === "'") {
      if (c === "'") quote = '';
      else word += c;
    } else if (quote === '"') {
      if (c === '"') quote = '';
      else if (c === '\\' && i + 1 < line.length && ESCAPABLE_IN_DOUBLE_QUOTES.includes(line[i + 1])) word += line[++i];
      else word += c;
    } else if (c === "'" || c === '"') {
      quote = c;
      word ??= '';
    } else if (c === '\\') {
      if (++i === line.length) return { problem: 'it ends in a lone backslash' };
      word = (word ?? '') + line[i];
    } else if (BLANKS.includes(c)) {
      if (word !== null) argv.push(word);
      word = null;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (quote !== '') return { problem: `a ${quote === "'" ? 'single' : 'double'} quote is never closed` };
  if (word !== null) argv.push(word);
  return { argv };
}
