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

/** Sends the request and resolves with the response's head; the body is read from `reader`. Rejects when the server speaks no HTTP, or goes away. */
export async function exchange(stream: ByteStream, reader: ByteReader, request: ClientRequest): Promise<{ head: ResponseHead; length: BodyLength }> {
  const fields: Field[] = [...request.fields, ['connection', 'close'], ['accept-encoding', 'identity']];
  if (request.body !== null) fields.push(['transfer-encoding', 'chunked']);
  await stream.send(emitHead(`${request.method} ${request.path} HTTP/1.1`, fields));
  // A server may answer before it has read everything, and then read no more.
  const sending = request.body === null ? Promise.resolve() : sendChunks(stream, request.body);
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

async function sendChunks(stream: ByteStream, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const bytes of body) {
    if (bytes.length === 0) continue;
    await stream.send(emitLine(bytes.length.toString(16)));
    await stream.send(bytes);
    await stream.send(emitLine(''));
  }
  await stream.send(emitLine('0\r\n'));
}

function emitLine(text: string): Uint8Array {
  return Uint8Array.from(`${text}\r\n`, (char) => char.charCodeAt(0));
}
