/** `POST /api/session`: a session and its token for a page that may have one. server.ts has checked Host and Origin. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { LINK_PATH, type Forward, type SessionGrant } from '../../shared/link/tunnel.ts';
import { RelayError } from '../../shared/relay-error.ts';
import type { Limits } from '../config.ts';
import { replyError, replyJson } from '../reply.ts';
import type { Sessions } from '../sessions.ts';

/** When to ask again after a limit, in `s`: tabs come and go */
const RETRY_AFTER_S = 5;

export async function postSession(
  relay: { sessions: Sessions; limits: Limits; forwards: () => Forward[] },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!(await drainBody(request, relay.limits.maxBodyBytes))) {
    response.setHeader('Connection', 'close');
    return replyError(response, 413, 'RELAY_LIMIT', `the body may have ${relay.limits.maxBodyBytes} bytes; none is needed`);
  }
  try {
    const { session, token } = relay.sessions.create(request.socket.remoteAddress ?? '');
    const grant: SessionGrant = { session: session.id, token, link: LINK_PATH, mtu: relay.limits.maxMtu, forwards: relay.forwards() };
    replyJson(response, 200, grant);
  } catch (error) {
    if (!(error instanceof RelayError)) throw error;
    response.setHeader('Retry-After', RETRY_AFTER_S);
    replyError(response, 429, error.code, error.message);
  }
}

/** Reads and forgets the body. False when it is longer than `maxBytes`; the rest is then left unread. */
async function drainBody(request: IncomingMessage, maxBytes: number): Promise<boolean> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return false;
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes) return false;
  }
  return true;
}
