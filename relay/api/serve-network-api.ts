/*
 * The API of one network on a socket of its own (`listen --services`): `unix:PATH`, or `tcp:HOST:PORT` on loopback.
 *
 * Whoever reaches the socket commands the network and ports of this host. A UNIX socket is guarded by its file (mode 0600).
 * On TCP every local program may call, but no website: a page's requests carry an Origin or a Sec-Fetch-Site and are refused
 * whatever they say, no answer is shared by CORS, and the Host header must be a name that only this machine has.
 */
import { chmodSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { RelayError } from '../../shared/relay-error.ts';
import { Gate } from '../gate.ts';
import type { Descriptors } from '../descriptors.ts';
import { NodeClock } from '../host/node-clock.ts';
import { NodeHostNet } from '../host/node-host-net.ts';
import { removeStaleSocket } from '../host/unix-socket.ts';
import type { Log } from '../log.ts';
import { apiPath, NetworkApi, sendError, type ApiNetwork } from './network-api.ts';

export interface ServingApi {
  /** where it listens: `tcp:HOST:PORT` with the port really bound, or `unix:PATH` */
  readonly spec: string;
  /** Idempotent; resolves when the sockets are gone. */
  close(): Promise<void>;
}

const MAX_FORWARDS = 1024;
const MAX_BODY_BYTES = 64 * 1024;
/** requests and tunnels at once */
const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_MS = 10_000;
const REQUEST_MS = 15_000;

/** Rejects with RELAY_LISTEN when `spec` is none, or can't be listened on. */
export async function serveNetworkApi(network: ApiNetwork, spec: string, log: Log, descriptors?: Descriptors): Promise<ServingApi> {
  const at = parseServicesSpec(spec);
  const hostNet = new NodeHostNet(new NodeClock());
  const api = new NetworkApi(network, {
    listenUnix: (path, onAccept) => hostNet.listenUnix(path, onAccept), adopt: (socket) => hostNet.adopt(socket),
    maxForwards: MAX_FORWARDS, loopbackOnly: false, regexps: true, maxBodyBytes: MAX_BODY_BYTES,
  });
  const gate = 'path' in at ? null : new Gate({ host: at.host, allowHosts: [], allowOrigins: [] });
  const server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    void answer(request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  descriptors?.admit(server);
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const refusal = refusalOf(request, gate);
      if (refusal !== null) {
        log.once('services', refusal, `${spec} refused a request: ${refusal}`);
        return sendError(response, 403, refusal);
      }
      const path = apiPath(request);
      if (path === null) return sendError(response, 400, 'malformed path');
      await api.handle(path, request, response);
    } catch (error) {
      if (request.socket.destroyed) return;
      log.bugOnce(`${request.method} ${request.url}`, error);
      sendError(response, 500, 'internal error of the relay; its log says more');
    }
  }
  if ('path' in at) await removeStaleSocket(at.path);
  await bind(server, at, spec);
  if ('path' in at) chmodSync(at.path, 0o600);
  let closed: Promise<void> | null = null;
  return {
    spec: 'path' in at ? spec : boundSpec(server),
    close: () => closed ??= new Promise((resolve) => {
      api.close();
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}

/** `unix:PATH` or `tcp:HOST:PORT`, gvproxy's `unix://PATH` and `tcp://HOST:PORT` too. TCP is for loopback. */
export function parseServicesSpec(spec: string): { path: string } | { host: string; port: number } {
  const match = /^(?:unix:(?:\/\/)?(?<path>.+)|tcp:(?:\/\/)?(?<host>[^:/]*|\[[^\]/]*\]):(?<port>\d{1,5}))$/.exec(spec)?.groups;
  if (match?.['path'] !== undefined) return { path: match['path'] };
  const host = (match?.['host'] || '127.0.0.1').replace(/^\[(.*)\]$/, '$1');
  const port = Number(match?.['port'] ?? 65_536);
  if (port > 65_535) throw new RelayError('RELAY_LISTEN', `"${spec}" is neither tcp:HOST:PORT nor unix:PATH`);
  if (host !== 'localhost' && host !== '::1' && !/^127(\.\d{1,3}){3}$/.test(host)) {
    throw new RelayError('RELAY_LISTEN', `"${spec}": whoever reaches this socket commands the network, so it listens on loopback only. Take tcp:127.0.0.1:PORT, or unix:PATH`);
  }
  return { host, port };
}

/** Why a request must not be answered, or null. */
function refusalOf(request: IncomingMessage, gate: Gate | null): string | null {
  if (request.headers.origin !== undefined) return 'a web page may not call this';
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'none') return 'a web page may not call this';
  if (gate === null) return null;
  if ((request.headersDistinct['host']?.length ?? 0) > 1) return 'more than one Host header';
  return gate.acceptsHost(request.headers.host) ? null : 'this does not answer to that host name';
}

async function bind(server: Server, at: { path: string } | { host: string; port: number }, spec: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(new RelayError('RELAY_LISTEN', `can't listen on ${spec}: ${error.code ?? error.message}`)));
    server.listen(at, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve();
    });
  });
}

function boundSpec(server: Server): string {
  const { address, port } = server.address() as { address: string; port: number };
  return `tcp:${address.includes(':') ? `[${address}]` : address}:${port}`;
}
