/** What programs in the container ask of the terminal by operating system commands (OSC): hostile text, like all that they print. */

/** largest text that OSC 52 may put on the clipboard, in bytes */
const COPY_MAX = 100_000;
/** characters of a title that are kept */
const TITLE_MAX = 80;

/** The text of `Pc;Pd`, for the clipboard or the selection. Null for a question (`?`), which nobody answers, for what is no base64 of UTF-8, and for too much. */
export function copiedText(data: string): string | null {
  const match = /^[cpqs0-7]*;(?<base64>[A-Za-z0-9+/=]*)$/.exec(data);
  const base64 = match?.groups!['base64'] ?? '';
  // Nothing would empty the clipboard, which is what nobody asked for.
  if (base64 === '' || base64.length > Math.ceil(COPY_MAX / 3) * 4) return null;
  try {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** One line of readable characters: no controls, nothing that turns the text around or has no width of its own. */
export function shortTitle(title: string): string {
  // oxlint-disable-next-line no-control-regex
  const line = title.replaceAll(/[\0-\x1f\x7f-\x9f]+/g, ' ').replaceAll(/[\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, '').trim();
  const chars = Array.from(line);
  return chars.length <= TITLE_MAX ? line : `${chars.slice(0, TITLE_MAX - 1).join('')}…`;
}
