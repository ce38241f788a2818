/** Bodies of requests: read up to a cap, as JSON objects whose names are matched as Go's decoder matches them. */
import type { IncomingMessage } from 'node:http';
import { ApiError } from './api-error.ts';

/** The object in the body. Throws ApiError: 413 beyond `maxBytes`, the rest left unread, or 400 when it is no JSON object. */
export async function readJson(request: IncomingMessage, maxBytes: number): Promise<object> {
  const tooLong = (): ApiError => new ApiError(413, `the body may have ${maxBytes} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLong();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes) throw tooLong();
    chunks.push(chunk as Buffer);
  }
  const value = parsed(Buffer.concat(chunks).toString());
  if (value === undefined) throw new ApiError(400, 'the body is no JSON');
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw new ApiError(400, 'the body is no JSON object');
  return value;
}

/** The member `name` of `object`, exactly so written or else in any case; undefined when there is none. */
export function field(object: object, name: string): unknown {
  if (Object.hasOwn(object, name)) return (object as Record<string, unknown>)[name];
  const lower = name.toLowerCase();
  return Object.entries(object).find(([key]) => key.toLowerCase() === lower)?.[1];
}

/** A string member; absent and null are empty. Throws ApiError 400 for anything else. */
export function textField(object: object, name: string): string {
  const value = field(object, name) ?? '';
  if (typeof value !== 'string') throw new ApiError(400, `${name} is not a string`);
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
