/*
 * HTTP/1.1 messages (RFC 9112) as bytes: heads to values and back, and how long a body is. Pure; nothing here throws.
 *
 *   GET /path HTTP/1.1\r\n          start line
 *   Host: example.org\r\n           fields, name ":" value
 *   \r\n
 *   body                            by Content-Length, in chunks, or until the end of the connection
 *
 * What comes is hostile. Where two readings of a message are possible (two lengths, a length beside chunks, a folded line, a
 * blank before the colon) it is refused: another reader along the way could see another message.
 */

/** longest head that is read, in bytes */
export const HEAD_MAX = 64 << 10;
const FIELDS_MAX = 200;

export type Field = readonly [name: string, value: string];

export interface RequestHead {
  readonly method: string;
  /** as it came: a path, a URL (of a client that takes us for a proxy), or `host:port` of CONNECT */
  readonly target: string;
  /** 0 for HTTP/1.0, else 1 */
  readonly minor: number;
  /** names in lower case, in the order in which they came */
  readonly fields: readonly Field[];
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: number;
  readonly fields: readonly Field[];
}

export type HttpDrop = 'http-start-line' | 'http-field' | 'http-too-many-fields' | 'http-length' | 'http-coding';

/** What follows a head. `close`: everything until the connection ends. */
export type BodyLength = { readonly kind: 'length'; readonly bytes: number } | { readonly kind: 'chunked' } | { readonly kind: 'close' };

/** RFC 9110 §5.6.2 */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// oxlint-disable-next-line no-control-regex
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** `text` is a head without the empty line at its end, each byte a character. */
export function parseRequestHead(text: string): RequestHead | HttpDrop {
  const lines = text.split('\n');
  const start = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([\x21-\x7e\x80-\xff]{1,16384}) HTTP\/1\.([01])$/.exec(trimCr(lines[0]));
  if (start === null) return 'http-start-line';
  const fields = parseFields(lines);
  return typeof fields === 'string' ? fields : { method: start[1], target: start[2], minor: Number(start[3]), fields };
}

export function parseResponseHead(text: string): ResponseHead | HttpDrop {
  const lines = text.split('\n');
  const start = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(trimCr(lines[0]));
  if (start === null) return 'http-start-line';
  const fields = parseFields(lines);
  return typeof fields === 'string' ? fields : { minor: Number(start[1]), status: Number(start[2]), reason: start[3] ?? '', fields };
}

function parseFields(lines: readonly string[]): Field[] | HttpDrop {
  if (lines.length - 1 > FIELDS_MAX) return 'http-too-many-fields';
  const fields: Field[] = [];
  for (const raw of lines.slice(1)) {
    const line = trimCr(raw);
    const colon = line.indexOf(':');
    // RFC 9112 §5.1 and §5.2: no blank before the colon, no folded lines.
    if (colon < 1 || !TOKEN.test(line.slice(0, colon))) return 'http-field';
    const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, '');
    if (!VALUE.test(value)) return 'http-field';
    fields.push([line.slice(0, colon).toLowerCase(), value]);
  }
  return fields;
}

function trimCr(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

/** The first value of a field, or null. `name` in lower case. */
export function fieldOf(fields: readonly Field[], name: string): string | null {
  return fields.find((field) => field[0] === name)?.[1] ?? null;
}

/** All words of a list field, in lower case. */
export function wordsOf(fields: readonly Field[], name: string): string[] {
  return fields.flatMap((field) => (field[0] === name ? field[1].toLowerCase().split(',').map((word) => word.trim()) : [])).filter((word) => word !== '');
}

/** RFC 9112 §6.3, requests. */
export function requestBody(head: RequestHead): BodyLength | HttpDrop {
  const length = declaredLength(head.fields);
  if (typeof length === 'string') return length;
  return length ?? { kind: 'length', bytes: 0 };
}

/** The same, responses to `method`. */
export function responseBody(head: ResponseHead, method: string): BodyLength | HttpDrop {
  if (method === 'HEAD' || head.status < 200 || head.status === 204 || head.status === 304) return { kind: 'length', bytes: 0 };
  const length = declaredLength(head.fields);
  if (typeof length === 'string') return length;
  return length ?? { kind: 'close' };
}

function declaredLength(fields: readonly Field[]): BodyLength | HttpDrop | null {
  const codings = wordsOf(fields, 'transfer-encoding');
  const lengths = new Set(wordsOf(fields, 'content-length'));
  if (codings.length > 0) return codings.length === 1 && codings[0] === 'chunked' && lengths.size === 0 ? { kind: 'chunked' } : 'http-coding';
  if (lengths.size === 0) return fieldOf(fields, 'content-length') === null ? null : 'http-length';
  const [length] = lengths;
  return lengths.size === 1 && /^\d{1,15}$/.test(length) ? { kind: 'length', bytes: Number(length) } : 'http-length';
}

/** Of a line `SIZE[;EXTENSION]`; -1 when it is none. */
export function parseChunkSize(line: string): number {
  const size = /^([0-9a-fA-F]{1,8})[\t ]*(?:;.*)?$/.exec(trimCr(line));
  return size === null ? -1 : Number.parseInt(size[1], 16);
}

/** Whether the connection may carry another message behind this one. */
export function isPersistent(head: { minor: number; fields: readonly Field[] }): boolean {
  const words = wordsOf(head.fields, 'connection');
  return head.minor === 0 ? words.includes('keep-alive') && !words.includes('close') : !words.includes('close');
}

/** RFC 9110 §7.6.1: fields that are about one connection. */
const HOP_BY_HOP = new Set([
  'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade',
]);

/** Without what concerns only the connection that the message came by. */
export function endToEnd(fields: readonly Field[]): Field[] {
  const named = new Set(wordsOf(fields, 'connection'));
  return fields.filter(([name]) => !HOP_BY_HOP.has(name) && !named.has(name));
}

/** A head as it goes on the wire, the empty line included. Characters beyond a byte and line ends in values become `?`. */
export function emitHead(startLine: string, fields: readonly Field[]): Uint8Array {
  const text = `${[startLine, ...fields.map(([name, value]) => `${name}: ${value}`)].map((line) => line.replaceAll(/[\r\n\0]|[^\0-\xff]/g, '?')).join('\r\n')}\r\n\r\n`;
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** Bytes as text, each a character. */
export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
