/** Whether a port of this computer can be had, by taking it for a moment. */
import { createServer } from 'node:net';

/** Null, or Node's code of what stands in the way. */
export function canListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}
