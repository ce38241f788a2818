/*
 * Names of files are bytes to Linux, in UTF-8 for the most part. Here they are texts in which a byte that is no UTF-8 stands as the lone
 * surrogate U+DC80 + byte - 0x80 (as in Python's PEP 383), and becomes that byte again when it is written: no two names become one.
 */
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const ESCAPED = /[\udc80-\udcff]/u;
/** longest name that a message quotes whole, in characters */
const MAX_QUOTED = 200;

/** Length of the UTF-8 sequence that `lead` begins, 0 where it begins none. */
function sequenceLen(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

function tryDecode(bytes: Uint8Array): string | null {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}

export function decodeName(bytes: Uint8Array): string {
  const whole = tryDecode(bytes);
  if (whole !== null) return whole;
  let text = '';
  for (let at = 0; at < bytes.length;) {
    const len = sequenceLen(bytes[at]);
    const part = len === 0 || at + len > bytes.length ? null : tryDecode(bytes.subarray(at, at + len));
    text += part ?? String.fromCharCode(0xdc00 + bytes[at]);
    at += part === null ? 1 : len;
  }
  return text;
}

export function encodeName(name: string): Uint8Array {
  if (!ESCAPED.test(name)) return Buffer.from(name);
  return Buffer.concat([...name].map((char) => (ESCAPED.test(char) ? Buffer.of(char.charCodeAt(0) - 0xdc00) : Buffer.from(char))));
}

/** `name` in a message: quoted, without control characters, not endless. */
export function quotedName(name: string): string {
  const text = name.length > MAX_QUOTED ? `${name.slice(0, MAX_QUOTED)}…` : name;
  return JSON.stringify(text).replace(/[\u007f-\u009f]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
}
