import { describe, expect, test } from 'vitest';
import { ByteReader, ProtocolError } from './byte-reader.ts';
import type { BodyLength } from './http1.ts';
import { emitHead, endToEnd, isPersistent, parseChunkSize, parseRequestHead, parseResponseHead, requestBody, responseBody } from './http1.ts';

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** A stream that comes in pieces of `size`. */
function cut(text: string, size: number): ByteReader {
  const bytes = bytesOf(text);
  let at = 0;
  return new ByteReader({ read: () => Promise.resolve(at >= bytes.length ? null : bytes.slice(at, at += size)) });
}

async function bodyOf(reader: ByteReader, length: BodyLength): Promise<string> {
  let text = '';
  for await (const part of reader.body(length)) text += String.fromCharCode(...part);
  return text;
}

describe('heads', () => {
  test('what is right comes back as it was', () => {
    const head = { method: 'GET', target: '/a?b', minor: 1, fields: [['host', 'x'], ['x-empty', '']] as const };
    const text = String.fromCharCode(...emitHead('GET /a?b HTTP/1.1', head.fields));
    expect(parseRequestHead(text.slice(0, -4))).toEqual(head);
    expect(parseResponseHead('HTTP/1.0 404 Not there \r\nA:  b \r\nA: c')).toEqual({ status: 404, reason: 'Not there ', minor: 0, fields: [['a', 'b'], ['a', 'c']] });
    expect(parseResponseHead('HTTP/1.1 200')).toMatchObject({ status: 200, reason: '' });
  });

  test.each([
    ['GET  / HTTP/1.1', 'http-start-line'], ['GET / HTTP/2.0', 'http-start-line'], ['GET /\tx HTTP/1.1', 'http-start-line'], ['G(T / HTTP/1.1', 'http-start-line'],
    ['GET / HTTP/1.1\r\n: x', 'http-field'], ['GET / HTTP/1.1\r\na : x', 'http-field'], ['GET / HTTP/1.1\r\na', 'http-field'], ['GET / HTTP/1.1\r\na: b\0', 'http-field'],
    ['GET / HTTP/1.1\r\na: b\rc', 'http-field'], [`GET / HTTP/1.1${'\r\na: b'.repeat(201)}`, 'http-too-many-fields'],
  ])('%j is %s', (text, drop) => expect(parseRequestHead(text)).toBe(drop));

  test('nobody puts a line of his own into a head', () => {
    expect(String.fromCharCode(...emitHead('GET /a\r\nX: y HTTP/1.1', [['a', 'b\r\nc: d'], ['e', '\u20ac']]))).toBe('GET /a??X: y HTTP/1.1\r\na: b??c: d\r\ne: ?\r\n\r\n');
  });

  test('how long a body is', () => {
    const request = (...lines: string[]): unknown => requestBody(parseRequestHead(['POST / HTTP/1.1', ...lines].join('\r\n')) as never);
    expect([request(), request('Content-Length: 7'), request('Content-Length: 7, 7'), request('Transfer-Encoding: Chunked')])
      .toEqual([{ kind: 'length', bytes: 0 }, { kind: 'length', bytes: 7 }, { kind: 'length', bytes: 7 }, { kind: 'chunked' }]);
    for (const line of ['Content-Length: -1', 'Content-Length: 1,2', 'Content-Length:', 'Content-Length: 0x10', 'Content-Length: 9999999999999999']) expect(request(line)).toBe('http-length');
    for (const line of ['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked, gzip', 'Transfer-Encoding: chunked\r\nContent-Length: 1']) expect(request(line)).toBe('http-coding');
    const response = (status: number, method: string): unknown => responseBody({ status, reason: '', minor: 1, fields: [] }, method);
    expect([response(200, 'GET'), response(200, 'HEAD'), response(204, 'GET'), response(304, 'GET'), response(100, 'GET')].map((length) => (length as BodyLength).kind))
      .toEqual(['close', 'length', 'length', 'length', 'length']);
  });

  test('what belongs to one connection stays there', () => {
    const fields = [['connection', 'close, X-Mine'], ['x-mine', '1'], ['te', 'trailers'], ['keep', '1'], ['transfer-encoding', 'chunked']] as const;
    expect(endToEnd(fields)).toEqual([['keep', '1']]);
    expect([isPersistent({ minor: 1, fields }), isPersistent({ minor: 1, fields: [] }), isPersistent({ minor: 0, fields: [] }), isPersistent({ minor: 0, fields: [['connection', 'Keep-Alive']] })])
      .toEqual([false, true, false, true]);
  });

  test('sizes of chunks', () => expect(['0', 'fF', '10;a=b', '10 ', '', 'g', '-1', '123456789', ' 1'].map(parseChunkSize)).toEqual([0, 255, 16, 16, -1, -1, -1, -1, -1]));
});

describe('a stream, however it is cut', () => {
  const stream = '\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\nT: u\r\n\r\nHEAD /2 HTTP/1.1\n\nrest';
  test.each([1, 2, 3, 5, 7, 16, 1000])('in pieces of %d', async (size) => {
    const reader = cut(stream, size);
    expect(await reader.head()).toBe('GET / HTTP/1.1\r\nA: b');
    expect(await bodyOf(reader, { kind: 'chunked' })).toBe('abc0123456789');
    expect(await reader.head()).toBe('HEAD /2 HTTP/1.1');
    expect(await bodyOf(reader, { kind: 'length', bytes: 2 })).toBe('re');
    expect(await bodyOf(reader, { kind: 'close' })).toBe('st');
    expect(await reader.head()).toBeNull();
  });

  test('every truncation is an end or an error, never a whole message', async () => {
    const whole = stream.slice(0, stream.indexOf('HEAD'));
    for (let end = 0; end < whole.length; end++) {
      const reader = cut(whole.slice(0, end), 3);
      const outcome = reader.head().then(async (head) => (head === null ? 'nothing' : bodyOf(reader, { kind: 'chunked' }))).catch((error: unknown) => error);
      expect([end, await outcome]).toEqual([end, end <= 2 ? 'nothing' : expect.any(ProtocolError)]);
    }
  });

  test.each(['g\r\n', '3\r\nabcd\r\n', `${'1'.repeat(9000)}`, `0\r\n${'a: b\r\n'.repeat(150)}\r\n`])('chunks that are none: %.20j', async (text) => {
    await expect(bodyOf(cut(text, 100), { kind: 'chunked' })).rejects.toThrow(ProtocolError);
  });
});
