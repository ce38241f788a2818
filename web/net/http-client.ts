/** One HTTP/1.1 request over a connection of its own: what a browser would be to the container's server. */
import type { ByteReader } from './byte-reader.ts';
import { ProtocolError } from './byte-reader.ts';
import type { BodyLength, Field, ResponseHead } from './http1.ts';
import { emitHead, parseResponseHead, responseBody } from './http1.ts';
import type { ByteStream } from './page-socket.ts';

export interface ClientRequest {
  readonly method: string;
  readonly path: string;
  /** without those that frame the message */
  readonly fields: readonly Field[];
  /** piece by piece; null: none */
  readonly body: AsyncIterable<Uint8Array> | null;
}

/** answers before the answer, RFC 9110 §15.2 */
const INTERIM_MAX = 8;
/** of a body, in `bytes` */
const READ_AHEAD_MAX = 1 << 20;

/** Sends the request and resolves with the response's head; the body is read from `reader`. Rejects when the server speaks no HTTP, or goes away. */
export async function exchange(stream: ByteStream, reader: ByteReader, request: ClientRequest): Promise<{ head: ResponseHead; length: BodyLength }> {
  const fields: Field[] = [...request.fields, ['connection', 'close'], ['accept-encoding', 'identity']];
  const body = request.body === null ? null : await measure(request.body[Symbol.asyncIterator]());
  if (body !== null) fields.push(body.length === null ? ['transfer-encoding', 'chunked'] : ['content-length', String(body.length)]);
  await stream.send(emitHead(`${request.method} ${request.path} HTTP/1.1`, fields));
  // A server may answer before it has read everything, and then read no more.
  const sending = body === null ? Promise.resolve() : sendBody(stream, body);
  let isAnswered = false;
  const failed = sending.then(() => new Promise<never>(() => {}), (error: unknown) => { if (!isAnswered) throw error; return new Promise<never>(() => {}); });
  const answer = await Promise.race([readHead(reader, request.method), failed]);
  isAnswered = true;
  return answer;
}

async function readHead(reader: ByteReader, method: string): Promise<{ head: ResponseHead; length: BodyLength }> {
  for (let i = 0; i <= INTERIM_MAX; i++) {
    const text = await reader.head();
    if (text === null) throw new ProtocolError('the server ended the connection without an answer');
    const head = parseResponseHead(text);
    if (typeof head === 'string') throw new ProtocolError(`the server does not speak HTTP (${head})`);
    if (head.status < 200 && head.status !== 101) continue;
    const length = responseBody(head, method);
    if (typeof length === 'string') throw new ProtocolError(`the body has no clear length (${length})`);
    return { head, length };
  }
  throw new ProtocolError('the server never comes to its answer');
}

interface Body {
  /** null: it is longer than what was read ahead */
  readonly length: number | null;
  readonly parts: readonly Uint8Array[];
  readonly rest: AsyncIterator<Uint8Array>;
}

/** Reads ahead: a form's length can be told then, and simple servers understand no chunks. */
async function measure(rest: AsyncIterator<Uint8Array>): Promise<Body> {
  const parts: Uint8Array[] = [];
  let length = 0;
  while (length < READ_AHEAD_MAX) {
    const { done, value } = await rest.next();
    if (done === true) return { length, parts, rest };
    parts.push(value);
    length += value.length;
  }
  return { length: null, parts, rest };
}

async function sendBody(stream: ByteStream, { length, parts, rest }: Body): Promise<void> {
  for (const part of parts) await (length === null ? sendChunk(stream, part) : stream.send(part));
  if (length !== null) return;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) await sendChunk(stream, next.value);
  await stream.send(emitLine('0\r\n'));
}

async function sendChunk(stream: ByteStream, bytes: Uint8Array): Promise<void> {
  if (bytes.length === 0) return;
  await stream.send(emitLine(bytes.length.toString(16)));
  await stream.send(bytes);
  await stream.send(emitLine(''));
}

function emitLine(text: string): Uint8Array {
  return Uint8Array.from(`${text}\r\n`, (char) => char.charCodeAt(0));
}
