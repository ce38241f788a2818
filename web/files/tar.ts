/*
 * A tar archive of a folder, as POSIX.1-2017 pax describes it: a ustar header of 512 bytes per entry, its contents padded to 512, two empty
 * blocks at the end. A name beyond ustar's 100 bytes, or beyond ASCII, gets a pax header in front.
 */
const BLOCK = 512;
const NAME_BYTES = 100;
const encoder = new TextEncoder();

export interface TarEntry {
  /** with a slash at its end for a folder */
  path: string;
  mode: number;
  mtimeMs: number;
  /** contents of a file */
  bytes?: Uint8Array<ArrayBuffer>;
  /** target of a link */
  link?: string;
}

/** The parts of the archive, in order. */
export function tarParts(entries: Iterable<TarEntry>): Uint8Array<ArrayBuffer>[] {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (const entry of entries) {
    const records = [...(fits(entry.path) ? [] : [record('path', entry.path)]), ...(entry.link === undefined || fits(entry.link) ? [] : [record('linkpath', entry.link)])];
    if (records.length > 0) {
      const bytes = encoder.encode(records.join(''));
      parts.push(header({ path: 'pax', mode: 0o644, mtimeMs: entry.mtimeMs, bytes }, 'x'), bytes, padding(bytes.length));
    }
    parts.push(header(entry, entry.link !== undefined ? '2' : entry.path.endsWith('/') ? '5' : '0'));
    if (entry.bytes !== undefined) parts.push(entry.bytes, padding(entry.bytes.length));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return parts;
}

function fits(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text) && text.length <= NAME_BYTES;
}

/** "LENGTH key=value\n", where LENGTH counts itself. */
function record(key: string, value: string): string {
  const rest = encoder.encode(` ${key}=${value}\n`).length;
  let len = rest + 1;
  while (String(len).length + rest !== len) len = String(len).length + rest;
  return `${len} ${key}=${value}\n`;
}

function padding(len: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((BLOCK - (len % BLOCK)) % BLOCK);
}

function header(entry: TarEntry, type: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLOCK);
  const text = (value: string, at: number, room: number): void => { bytes.set(encoder.encode(value).subarray(0, room), at); };
  const octal = (value: number, at: number, len: number): void => { text(`${Math.floor(value).toString(8).padStart(len - 1, '0')}\0`, at, len); };
  text(entry.path, 0, NAME_BYTES);
  octal(entry.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(entry.bytes?.length ?? 0, 124, 12);
  octal(Math.max(entry.mtimeMs / 1000, 0), 136, 12);
  text(type, 156, 1);
  text(entry.link ?? '', 157, NAME_BYTES);
  text('ustar\x0000', 257, 8);
  // The sum counts its own field as blanks.
  text(' '.repeat(8), 148, 8);
  octal(bytes.reduce((sum, byte) => sum + byte, 0), 148, 7);
  bytes[155] = 0x20;
  return bytes;
}
