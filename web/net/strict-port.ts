/*
 * A MessagePort from an origin that is not ours, as a CallPort: scripts of a container's page can reach it, so nothing that comes is believed.
 *
 * One request, to the one port of the container that this frame is for; then a piece of the body for each that was asked for, and not more. What else
 * comes ends the call, as does a request that does not come.
 */
import type { Fields, ToLink } from '../port-protocol.ts';
import type { CallPort } from './port-server.ts';

/** longest wait for the request, in `ms` */
const REQUEST_MS = 10_000;
/** of a piece of a body, in `bytes` */
const PIECE_MAX = 64 << 20;
const PATH_MAX = 65_536;
const FIELDS_MAX = 128;
const FIELD_MAX = 16_384;
// RFC 9110 §5.6.2
const TOKEN = /^[\w!#$%&'*+.^`|~-]{1,64}$/;

export function strictPort(port: CallPort, guestPort: number): CallPort {
  let asked = 0;
  let hasBegun = false;
  let isOver = false;
  const strict: CallPort = {
    onmessage: null,
    postMessage: (message, transfer = []) => {
      if (message.type === 'pull') asked++;
      port.postMessage(message, transfer);
    },
    close: () => {
      over();
      port.close();
    },
  };
  const over = (): void => {
    isOver = true;
    clearTimeout(timer);
  };
  const timer = setTimeout(() => give({ type: 'cancel' }), REQUEST_MS);
  const give = (message: ToLink): void => {
    if (message.type === 'cancel') over();
    strict.onmessage?.({ data: message } as MessageEvent<ToLink>);
  };
  port.onmessage = ({ data }: { data: unknown }) => {
    if (isOver) return;
    const message = parse(data, guestPort);
    const isRequest = message.type === 'request';
    if (isRequest) clearTimeout(timer);
    const isPiece = message.type === 'data' || message.type === 'end';
    const isWanted = isRequest ? !hasBegun : !isPiece || asked-- > 0;
    hasBegun ||= isRequest;
    give(isWanted ? message : { type: 'cancel' });
  };
  return strict;
}

/** What does not belong into the protocol is a `cancel`. */
function parse(data: unknown, guestPort: number): ToLink {
  const { type, method, path, fields, hasBody, bytes } = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
  if (type === 'end' || type === 'pull') return { type };
  if (type === 'data' && bytes instanceof Uint8Array && bytes.length <= PIECE_MAX) return { type, bytes };
  const isRequest = type === 'request' && isToken(method) && typeof path === 'string' && /^\/[!-~]*$/.test(path) && path.length <= PATH_MAX && areFields(fields);
  return isRequest ? { type, port: guestPort, method, path, fields, hasBody: hasBody === true } : { type: 'cancel' };
}

function areFields(fields: unknown): fields is Fields {
  return Array.isArray(fields) && fields.length <= FIELDS_MAX && fields.every((field) => Array.isArray(field) && field.length === 2 && isToken(field[0]) && typeof field[1] === 'string' && field[1].length <= FIELD_MAX);
}

function isToken(text: unknown): text is string {
  return typeof text === 'string' && TOKEN.test(text);
}
