/*
 * Takes a connection out of node:http's hands after its request was read, as Go's Hijack does: what follows on it is the
 * caller's, byte for byte, and nothing of HTTP is ever answered.
 *
 * Node offers that for upgrades only, and gvproxy's clients send a plain POST. So the listeners that node:http put on the
 * socket are removed, its parser among them. Two things are delicate. node:http resumes the socket when a request is complete, so
 * we wait for that first. And the parser reads the handle by itself until it sees a 'data' listener that is not its own; a
 * pause before that would stop the handle for good. What comes before our answer goes to the parser and ends the connection: clients wait
 * for the first answer, as gvproxy's must.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** 'close' stays: it frees the parser and the server's count */
const TAKEN = ['data', 'end', 'drain', 'timeout', 'error'] as const;

/** The connection, paused. A body of the request is read and forgotten. Rejects when the client goes away meanwhile. */
export async function hijack(request: IncomingMessage, response: ServerResponse): Promise<IncomingMessage['socket']> {
  const { socket } = request;
  request.resume();
  await once(request, 'end');
  for (const event of TAKEN) socket.removeAllListeners(event);
  socket.on('data', ignore);
  socket.pause();
  socket.off('data', ignore);
  socket.setTimeout(0);
  response.detachSocket(socket);
  socket.on('error', () => socket.destroy());
  return socket;
}

function ignore(): void {}
