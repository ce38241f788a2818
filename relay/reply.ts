/** Short HTTP answers, and the headers that every answer carries. */
import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * What the page may do. It compiles wasm, starts workers of its own and styles from script (xterm.js writes style elements).
 * It connects anywhere over WebSocket (`?net=delegate=`) and fetch (`?image=URL`), and runs no code from elsewhere.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "manifest-src 'self'",
  "connect-src 'self' ws: wss: http: https:",
  // Ports of the container: from our own service worker, opened by the relay, or each on an origin of its own (frame-server.ts).
  "frame-src 'self' http://localhost:* http://127.0.0.1:* http://*.localhost:*",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ');

const COMMON_HEADERS: Record<string, string> = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy': CONTENT_SECURITY_POLICY,
  // Not `no-referrer`: that turns the Origin of some same-origin requests into `null`.
  'Referrer-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
};

export function setCommonHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(COMMON_HEADERS)) response.setHeader(name, value);
}

/** Lets a page of `origin` read the answer, which --allow-origin named. */
export function shareWith(origin: string, response: ServerResponse): void {
  response.setHeader('Access-Control-Allow-Origin', origin);
  response.setHeader('Access-Control-Expose-Headers', 'X-Portside-Bytes, Content-Range, ETag');
  response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
  response.setHeader('Vary', 'Origin');
}

export function replyText(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  finish(response, `${text}\n`);
}

export function replyJson(response: ServerResponse, status: number, value: unknown): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  finish(response, `${JSON.stringify(value)}\n`);
}

/** `error` is a code for programs, `message` says what to do. */
export function replyError(response: ServerResponse, status: number, error: string, message: string): void {
  replyJson(response, status, { error, message });
}

/** Says no to a method that `path` does not know. */
export function replyMethods(response: ServerResponse, methods: string): void {
  response.setHeader('Allow', methods);
  replyText(response, 405, `use ${methods}`);
}

/** Refuses an upgrade: there is no ServerResponse for one. */
export function refuseUpgrade(socket: Duplex, status: number, text: string): void {
  const body = `${text}\n`;
  socket.once('finish', () => socket.destroy());
  socket.end([
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    '',
    body,
  ].join('\r\n'));
}

function finish(response: ServerResponse, body: string): void {
  if (!response.hasHeader('Cache-Control')) response.setHeader('Cache-Control', 'no-store');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
}
