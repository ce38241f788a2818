/** The first `maxChars` of what a stranger wrote, for a terminal or a line of a log; `instead` stands for each control character. */
export function printable(text: string, maxChars: number, instead = '?'): string {
  // oxlint-disable-next-line no-control-regex
  return text.slice(0, maxChars).replace(/[\u0000-\u001f\u007f-\u009f]/g, instead);
}
