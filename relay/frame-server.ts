/*
 * The origin of frames: where the page shows a container's web server with its scripts (`?net=browser`), which must not be the page's own origin.
 *
 * A listener of its own, on loopback and any free port, under names that end in `.localhost`, which browsers lead to loopback by themselves: each frame makes up
 * a name, so each is an origin, and another site than the page's. It has the three files of the bootstrap (web/frame/) and nothing else: no page, no image, no API, no
 * WebSocket. `frame-ancestors` names the pages that it is for; no other can frame it.
 *
 * Without it (no port to be had) the page shows such servers without scripts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Limits } from './config.ts';
import type { Descriptors } from './descriptors.ts';
import type { Log } from './log.ts';
import { replyMethods, replyText } from './reply.ts';
import { pathOf, serveStatic } from './static.ts';

const FILES = new Set(['portside-frame.html', 'portside-frame.js', 'portside-frame-worker.js']);
const HOST = /^[a-z0-9-]{1,63}\.localhost(:\d{1,5})?$/i;
/** free ports of 127.0.0.1 that are tried for one that is free on ::1 as well */
const TRIES = 8;

export interface FrameServerParts {
  /** folder of the built page */
  webDir: string;
  limits: Limits;
  log: Log;
  /** origins of the page, as browsers write them */
  pageOrigins: readonly string[];
  descriptors?: Descriptors;
}

export class FrameServer {
  readonly #parts: FrameServerParts;
  readonly #policy: string;
  #servers: Server[] = [];
  #port = 0;

  constructor(parts: FrameServerParts) {
    this.#parts = parts;
    this.#policy = [
      'sandbox allow-scripts allow-same-origin allow-forms allow-popups allow-downloads', "default-src 'none'", "script-src 'self'", "style-src 'unsafe-inline'", "worker-src 'self'",
      "connect-src 'self'", "frame-src 'self'", "base-uri 'none'", "form-action 'none'", `frame-ancestors ${parts.pageOrigins.join(' ')}`,
    ].join('; ');
  }

  /** Its origins, with a star for the name of one; null when it does not listen. */
  get origins(): string | null { return this.#port === 0 ? null : `http://*.localhost:${this.#port}`; }

  /** Never rejects: who can't have it does without. */
  async start(): Promise<void> {
    for (let i = 0; i < TRIES && this.#port === 0; i++) {
      try {
        const first = await this.#listen('127.0.0.1', 0);
        const { port } = first.address() as AddressInfo;
        this.#servers = [first];
        // Half of "localhost" in other hands would be a frame's server, too.
        const second = await this.#listen('::1', port).catch((error: NodeJS.ErrnoException) => error);
        if (second instanceof Error && second.code === 'EADDRINUSE') await this.close();
        else this.#port = port;
        if (!(second instanceof Error)) this.#servers.push(second);
      } catch (error) {
        return this.#parts.log.info(`no origin for frames, which will have no scripts: ${(error as Error).message}`);
      }
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#port = 0;
    await Promise.all(this.#servers.splice(0).map((server) => new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    })));
  }

  async #listen(host: string, port: number): Promise<Server> {
    const { limits, log } = this.#parts;
    const server = createServer({ headersTimeout: limits.headersMs, requestTimeout: limits.requestMs, connectionsCheckingInterval: limits.checkMs, maxHeaderSize: limits.maxHeaderBytes });
    server.timeout = limits.idleMs;
    server.maxConnections = limits.maxConnections;
    this.#parts.descriptors?.admit(server);
    server.on('request', (request, response) => {
      void this.#answer(request, response).catch((error: unknown) => {
        log.bugOnce(`frame ${request.method} ${request.url}`, error);
        response.destroy();
      });
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, host, ipv6Only: true }, resolve);
    });
    server.on('error', (error) => log.info(`listening on ${host} for frames: ${error.message}`));
    return server;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('Content-Security-Policy', this.#policy);
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    // Framing is a load across origins; frame-ancestors says whose.
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    response.setHeader('Referrer-Policy', 'no-referrer');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    if ((request.headersDistinct['host']?.length ?? 0) > 1 || !HOST.test(request.headers.host ?? '')) return replyText(response, 403, 'frames have names that end in .localhost');
    if (request.method !== 'GET' && request.method !== 'HEAD') return replyMethods(response, 'GET, HEAD');
    const name = pathOf(request.url);
    if (name !== null && FILES.has(name) && await serveStatic({ dir: this.#parts.webDir }, name, request, response)) return;
    replyText(response, 404, 'Portside shows ports of containers here, in frames of its page only.');
  }
}
