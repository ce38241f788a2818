/*
 * The relay's one HTTP server: page, images, API, and the upgrade to WebSockets.
 *
 *   request ─▶ Host known? ─▶ route ─▶ page | images | API (POST, and archives: Origin known?)
 *   upgrade ─▶ Host known? ─▶ /link or /wsproxy? ─▶ Origin known? ─▶ subprotocol? ─▶ caps ─▶ WebSocket ─▶ Link ─▶ Session
 *
 * Every refusal has a body that says what to do, and one line in the log per Origin, name or address. An exception while a
 * request is handled is our bug: 500, logged, the relay lives on. Slow or silent clients meet Node's own limits on headers and idle
 * sockets, set from config.ts, and body-deadline.ts.
 *
 * "Localhost" is two addresses, and a browser may try either first: unless told otherwise the server listens on 127.0.0.1
 * and ::1, with one node:http server each and everything else shared. A machine without IPv6 has only the first.
 */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { CONVERTED_PATH } from '../shared/converted.ts';
import { BARE_SUBPROTOCOL, CLOSE_GOING_AWAY, LINK_PATH, SESSION_PATH, TUNNEL_SUBPROTOCOL, WSPROXY_PATH } from '../shared/link/tunnel.ts';
import { isExhausted } from '../shared/net/nat/host-error.ts';
import type { HostNet } from '../shared/net/nat/host-net.ts';
import type { NetworkOptions } from '../shared/net/services/network.ts';
import type { Clock, RandomSource } from '../shared/net/stack/clock.ts';
import { RelayError } from '../shared/relay-error.ts';
import { ConvertedApi } from './api/converted.ts';
import { getHealth } from './api/health.ts';
import type { NetworkApiOptions } from './api/network-api.ts';
import { postSession } from './api/session.ts';
import { BodyDeadline } from './body-deadline.ts';
import type { Limits, ServeConfig, TlsFiles } from './config.ts';
import { Converted } from './converted.ts';
import { Forwards } from './forwards.ts';
import { FrameServer } from './frame-server.ts';
import type { Descriptors } from './descriptors.ts';
import { Gate, isLoopback, type OriginVerdict } from './gate.ts';
import { Images } from './images.ts';
import { Link } from './link.ts';
import type { Log } from './log.ts';
import { logExhausted } from './network-parts.ts';
import { refuseUpgrade, replyError, replyJson, replyMethods, replyText, setCommonHeaders, shareWith } from './reply.ts';
import type { SessionNetwork } from './session.ts';
import { Sessions } from './sessions.ts';
import { pathOf, serveStatic } from './static.ts';

const HEALTH_PATH = '/api/health';
const METRICS_PATH = '/metrics';
/** followed by SESSION/ and a path of network-api.ts */
const NETWORKS_PREFIX = 'api/networks/';
const CONVERTED_FILES = 'images/converted/';
const EXPOSE_PATH = '/services/forwarder/expose';

/** What the relay is built from; main.ts brings the real ones. */
export interface RelayParts {
  config: ServeConfig;
  limits: Limits;
  log: Log;
  clock: Clock;
  random: RandomSource;
  hostNet: HostNet;
  adopt: NetworkApiOptions['adopt'];
  createNetwork: (options: NetworkOptions) => SessionNetwork;
  version: string;
  /** what this process may open; absent: no bounds */
  descriptors?: Descriptors;
}

export class RelayServer {
  readonly images: Images;
  readonly sessions: Sessions;
  readonly #parts: RelayParts;
  readonly #gate: Gate;
  readonly #forwards: Forwards;
  readonly #convertedApi: ConvertedApi | null;
  readonly #links = new Set<Link>();
  readonly #servers: Server[] = [];
  readonly #wss: WebSocketServer;
  #frames: FrameServer | null = null;
  readonly #startedMs: number;
  #port = 0;
  #closing = false;

  constructor(parts: RelayParts) {
    const { config, limits, log, clock, random, hostNet, adopt, createNetwork, descriptors = null } = parts;
    this.#parts = parts;
    this.#startedMs = clock.nowMs();
    this.#gate = new Gate(config);
    const converted = config.convertedDir === null ? null : new Converted(config.convertedDir);
    this.images = new Images(config.imagesDir, (message) => log.once('manifest', '', message), converted);
    this.#convertedApi = converted === null ? null : new ConvertedApi({ converted, limits, clock, log, names: async () => (await this.images.manifest()).images.map(({ name }) => name) });
    this.#forwards = new Forwards(hostNet, () => this.sessions.latestLinked());
    this.sessions = new Sessions({
      limits, log, clock, random, createNetwork, adopt,
      descriptors,
      hostNetFor: (session) => this.#forwards.hostNetFor(session),
      udpForwards: () => this.#forwards.udpForwards(),
    });
    this.#wss = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.maxMessageBytes,
      // What a browser has offered it wants to hear again.
      handleProtocols: (offered) => [TUNNEL_SUBPROTOCOL, BARE_SUBPROTOCOL].find((name) => offered.has(name)) ?? false,
    });
  }

  /** Opens forwards and ports. Rejects with a RelayError when one of them can't be had; close() then frees the others. */
  async start(): Promise<void> {
    const { config } = this.#parts;
    for (const source of config.images) await this.images.add(source);
    for (const forward of config.forwards) await this.#forwards.open(forward);
    await this.#listen(config.host ?? '127.0.0.1', config.port);
    if (config.host === null) await this.#listenOnIpv6Too();
    if (!config.linkAnywhere) await this.#startFrames();
  }

  /** For pages that came from this computer: others do not reach its loopback. */
  async #startFrames(): Promise<void> {
    const { config, limits, log } = this.#parts;
    const pageOrigins = ['localhost', '127.0.0.1'].map((name) => new URL(`${config.tls === null ? 'http' : 'https'}://${name}:${this.#port}`).origin);
    this.#frames = new FrameServer({ webDir: config.webDir, limits, log, pageOrigins, ...(this.#parts.descriptors === undefined ? {} : { descriptors: this.#parts.descriptors }) });
    await this.#frames.start();
  }

  /** the TCP port of the server, once started */
  get port(): number { return this.#port; }

  /** What a person opens. */
  get url(): string {
    const { host, tls } = this.#parts.config;
    const anywhere = host === null || host === '0.0.0.0' || host === '::';
    const name = anywhere ? 'localhost' : host.includes(':') ? `[${host}]` : host;
    return `${tls === null ? 'http' : 'https'}://${name}:${this.#port}/`;
  }

  /** Ends sessions, links, forwards and connections. Idempotent; resolves when all sockets are gone. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#forwards.close();
    this.sessions.close('the relay is stopping', CLOSE_GOING_AWAY);
    for (const link of this.#links) link.close(CLOSE_GOING_AWAY, 'the relay is stopping');
    const closed = this.#servers.splice(0).map((server) => new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }));
    // A moment for the close frames to leave; nobody gets more.
    if (this.#links.size > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    for (const link of this.#links) link.terminate();
    await Promise.all([...closed, this.#convertedApi?.close(), this.#frames?.close()]);
  }

  async #listen(host: string, port: number): Promise<void> {
    const { config, limits, log } = this.#parts;
    const options: ServerOptions = {
      headersTimeout: limits.headersMs,
      requestTimeout: 0,
      connectionsCheckingInterval: limits.checkMs,
      maxHeaderSize: limits.maxHeaderBytes,
    };
    const server = config.tls === null ? createServer(options) : secureServer(options, config.tls);
    server.timeout = limits.idleMs;
    server.maxConnections = limits.maxConnections;
    this.#parts.descriptors?.admit(server);
    server.on('drop', () => log.once('connections', host, `more than ${limits.maxConnections} connections at once: further ones are dropped`));
    server.on('request', (request, response) => void this.#onRequest(request, response));
    server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, host, ipv6Only: true }, () => {
        server.off('error', reject);
        resolve();
      });
    }).catch((error: NodeJS.ErrnoException) => { throw listenError(error, host, port); });
    server.on('error', (error) => log.info(`listening on ${host}: ${error.message}`));
    this.#servers.push(server);
    this.#port = (server.address() as AddressInfo).port;
  }

  async #listenOnIpv6Too(): Promise<void> {
    const port = this.#port;
    try {
      await this.#listen('::1', port);
    } catch (error) {
      // Somebody else behind half of "localhost" would get some of our page's requests.
      if (error instanceof RelayError && error.code === 'RELAY_PORT_IN_USE') throw error;
      this.#parts.log.debug(`not listening on ::1: ${(error as Error).message}`);
    }
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { log, clock, limits } = this.#parts;
    try {
      setCommonHeaders(response);
      const deadline = new BodyDeadline(clock, request, response, limits.requestMs);
      // RFC 9112 §3.2: which of two Hosts was meant is anybody's guess.
      if ((request.headersDistinct['host']?.length ?? 0) > 1) return replyText(response, 400, 'more than one Host header');
      if (!this.#isHostKnown(request)) return replyText(response, 403, this.#hostRefusal(request));
      const verdict = this.#gate.judgeOrigin(request.headers);
      if (verdict === 'allowed' && request.headers.origin !== undefined) shareWith(request.headers.origin, response);
      await this.#route(request, response, verdict, deadline);
    } catch (error) {
      // The client went away, or was cut by a limit, in the middle of its request.
      if ((error as NodeJS.ErrnoException).code === 'ECONNRESET' && request.socket.destroyed) return;
      const { code } = error as NodeJS.ErrnoException;
      if (code !== undefined && isExhausted(code)) {
        logExhausted(log, code);
        if (response.headersSent) return void response.destroy();
        response.setHeader('Retry-After', 1);
        return replyText(response, 503, 'this computer has no descriptor or memory left for the relay: try again');
      }
      log.bugOnce(`${request.method} ${request.url}`, error);
      if (response.headersSent) response.destroy();
      else replyText(response, 500, 'internal error of the relay; its log says more');
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, verdict: OriginVerdict, deadline: BodyDeadline): Promise<void> {
    const path = pathOf(request.url);
    if (path === null) return replyText(response, 400, 'malformed path');
    if (this.#parts.config.linkAnywhere) return replyUpgradeRequired(response);
    const method = request.method ?? '';
    if (method === 'OPTIONS' && verdict === 'allowed') return replyPreflight(response);
    if (`/${path}` === SESSION_PATH) {
      if (method !== 'POST') return replyMethods(response, 'POST');
      if (verdict === 'foreign') return replyError(response, 403, 'RELAY_FOREIGN_ORIGIN', this.#originRefusal(request));
      return postSession({ sessions: this.sessions, limits: this.#parts.limits, forwards: () => this.#forwards.list }, request, response);
    }
    if (`/${path}/`.startsWith(`${CONVERTED_PATH}/`)) {
      if (this.#convertedApi === null) return replyError(response, 404, 'RELAY_NOT_FOUND', 'this relay converts no archives; --convert on would let it');
      if (verdict === 'foreign' || !this.#gate.isOwn(request.headers)) return replyError(response, 403, 'RELAY_FOREIGN_ORIGIN', this.#originRefusal(request));
      return this.#convertedApi.handle(`/${path}`, request, response, deadline);
    }
    if (path.startsWith(NETWORKS_PREFIX)) return this.#callNetwork(path.slice(NETWORKS_PREFIX.length), request, response, verdict);
    if (method !== 'GET' && method !== 'HEAD') return replyMethods(response, 'GET, HEAD');
    if (`/${path}` === METRICS_PATH) return this.#sendMetrics(request, response);
    if (`/${path}` === HEALTH_PATH) {
      const { version, clock } = this.#parts;
      const count = (await this.images.manifest()).images.length;
      return getHealth({ version, startedMs: this.#startedMs, nowMs: clock.nowMs(), sessions: this.sessions, links: this.#links, frames: this.#frames?.origins ?? null }, count, response);
    }
    if (path.startsWith('api/')) return replyError(response, 404, 'RELAY_NOT_FOUND', 'no such call');
    if (`/${path}` === LINK_PATH || `/${path}` === WSPROXY_PATH) return replyUpgradeRequired(response);
    if (path === 'images/manifest.json') {
      response.setHeader('Cache-Control', 'no-cache');
      return replyJson(response, 200, await this.images.manifest());
    }
    await this.#serveFile(path, request, response);
  }

  /** `SESSION/PATH`: the API of one session's network, for whoever has its token. */
  async #callNetwork(target: string, request: IncomingMessage, response: ServerResponse, verdict: OriginVerdict): Promise<void> {
    if (verdict === 'foreign') return replyError(response, 403, 'RELAY_FOREIGN_ORIGIN', this.#originRefusal(request));
    const slash = target.indexOf('/');
    const token = /^Bearer ([\w-]{1,200})$/.exec(request.headers.authorization ?? '')?.[1];
    const session = slash < 0 || token === undefined ? null : this.sessions.claim(target.slice(0, slash), token);
    if (session === null) {
      response.setHeader('WWW-Authenticate', 'Bearer');
      return replyError(response, 401, 'RELAY_UNAUTHORIZED', 'no such session, or not its token: Authorization: Bearer TOKEN');
    }
    const path = target.slice(slash);
    if (path === EXPOSE_PATH && !isLoopback(this.#parts.config.host ?? '127.0.0.1')) {
      return replyError(response, 403, 'RELAY_FORBIDDEN', 'this relay serves other machines too: its ports are opened with -p, when it is started');
    }
    // A page elsewhere that was let in looks at its own network; ports of this machine are opened and closed by our page alone.
    if (request.method !== 'GET' && !this.#gate.isOwn(request.headers)) {
      return replyError(response, 403, 'RELAY_FORBIDDEN', 'a page of another origin may look at its network, and not change it');
    }
    const { api } = session;
    if (api === null) return replyError(response, 409, 'RELAY_NO_NETWORK', 'this session has had no link yet');
    response.setHeader('Cache-Control', 'no-store');
    return api.handle(path, request, response);
  }

  /** For a scraper on this machine: no page, and nothing that a proxy passes on. */
  async #sendMetrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { headers } = request;
    const isPassedOn = headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined;
    const site = headers['sec-fetch-site'] ?? 'none';
    if (!isLoopback(addressOf(request)) || isPassedOn || headers.origin !== undefined || site !== 'none') return replyText(response, 403, 'metrics are for programs on this machine');
    const { relayMetrics } = await import('./api/metrics.ts');
    const { contentType, text } = await relayMetrics({ sessions: this.sessions, links: this.#links, version: this.#parts.version, bugs: this.#parts.log.bugs });
    response.setHeader('Content-Type', contentType);
    response.setHeader('Cache-Control', 'no-store');
    response.end(text);
  }

  async #serveFile(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { config } = this.#parts;
    if (config.convertedDir !== null && path.startsWith(CONVERTED_FILES) && await serveStatic({ dir: config.convertedDir, announceSize: true }, path.slice(CONVERTED_FILES.length), request, response)) return;
    const image = path.startsWith('images/') ? path.slice('images/'.length) : null;
    const name = path === '' || path.endsWith('/') ? `${path}index.html` : path;
    const root = image !== null ? { dir: config.imagesDir, extra: this.images.files, announceSize: true } : { dir: config.webDir };
    if (await serveStatic(root, image ?? name, request, response)) return;
    if (path !== '') return replyText(response, 404, 'no such file');
    replyText(response, 503, `The page is not built: there is no index.html in ${config.webDir}. \`npm start\` builds it.`);
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (this.#parts.config.linkAnywhere) request.url = LINK_PATH;
    // The client may vanish at any moment; ws brings its own handler later.
    socket.on('error', () => socket.destroy());
    try {
      const refusal = this.#judgeUpgrade(request);
      if (refusal !== null) return refuseUpgrade(socket, refusal.status, refusal.text);
      this.#wss.handleUpgrade(request, socket, head, (ws) => {
        const address = addressOf(request);
        const bare = ws.protocol === TUNNEL_SUBPROTOCOL ? null : this.sessions.createBare(address);
        const kind = bare === null ? 'tunnel' : `/${pathOf(request.url)}` === WSPROXY_PATH ? 'frames' : 'stream';
        const link = new Link({
          limits: this.#parts.limits,
          log: this.#parts.log,
          forwards: () => this.#forwards.list,
          claim: (id, token) => this.sessions.claim(id, token),
          onClosed: (gone) => this.#links.delete(gone),
        }, ws, address, kind, bare);
        this.#links.add(link);
      });
    } catch (error) {
      this.#parts.log.bugOnce('upgrade', error);
      socket.destroy();
    }
  }

  #judgeUpgrade(request: IncomingMessage): { status: number; text: string } | null {
    const { limits, log } = this.#parts;
    if (this.#closing) return { status: 503, text: 'the relay is stopping' };
    if (!this.#isHostKnown(request)) return { status: 403, text: this.#hostRefusal(request) };
    const path = `/${pathOf(request.url)}`;
    if (path !== LINK_PATH && path !== WSPROXY_PATH) return { status: 404, text: `WebSockets come in at ${LINK_PATH}, or at ${WSPROXY_PATH} with a frame in each message` };
    const verdict = this.#gate.judgeOrigin(request.headers);
    if (verdict === 'foreign') return { status: 403, text: this.#originRefusal(request) };
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
    const isTunnel = path === LINK_PATH && offered.includes(TUNNEL_SUBPROTOCOL);
    if (!isTunnel && offered.some((name) => name !== BARE_SUBPROTOCOL)) {
      return { status: 400, text: path === LINK_PATH ? `of all subprotocols only ${TUNNEL_SUBPROTOCOL} and ${BARE_SUBPROTOCOL} are known here` : 'no subprotocol is known here' };
    }
    if (!isTunnel) {
      if (verdict === 'none' && !this.#gate.openToAll) {
        return { status: 403, text: `without an Origin header speak ${TUNNEL_SUBPROTOCOL}, or start the relay with --allow-origin '*'` };
      }
      const refusal = this.sessions.refusal(addressOf(request));
      if (refusal !== null) return { status: 429, text: refusal };
    } else if ([...this.#links].filter((link) => link.pending).length >= limits.maxPendingLinks) {
      log.once('pending', addressOf(request), `${limits.maxPendingLinks} links wait for their hello: refused one of ${addressOf(request)}`);
      return { status: 503, text: 'too many links that have not said hello' };
    }
    return null;
  }

  #isHostKnown(request: IncomingMessage): boolean {
    return this.#gate.acceptsHost(request.headers.host);
  }

  /** Logs, and returns what the client is told. */
  #hostRefusal(request: IncomingMessage): string {
    const host = request.headers.host ?? '(none)';
    this.#parts.log.once('host', host, `refused requests for the host name ${host}: start with --allow-host NAME if it is yours`);
    return `This relay does not answer to that host name. Open ${this.url}, or start it with --allow-host NAME.`;
  }

  /** Logs, and returns what the client is told. */
  #originRefusal(request: IncomingMessage): string {
    const origin = request.headers.origin ?? '(hidden)';
    this.#parts.log.once('origin', origin, `refused a page of ${origin}: start with --allow-origin ${origin} if it is yours`);
    return 'A page of another origin may not use this relay. Start it with --allow-origin ORIGIN to allow one.';
  }
}

function secureServer(options: ServerOptions, { cert, key }: TlsFiles): Server {
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new RelayError('RELAY_TLS', `can't read ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
    }
  };
  const pem = { cert: read(cert), key: read(key) };
  try {
    return createSecureServer({ ...options, ...pem, handshakeTimeout: options.headersTimeout });
  } catch (error) {
    throw new RelayError('RELAY_TLS', `${cert} and ${key} are no certificate with its key, in PEM: ${(error as Error).message}`);
  }
}

function replyUpgradeRequired(response: ServerResponse): void {
  response.setHeader('Upgrade', 'websocket');
  replyText(response, 426, 'this is where WebSockets come in');
}

function replyPreflight(response: ServerResponse): void {
  response.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, POST');
  response.setHeader('Access-Control-Allow-Headers', 'Authorization, Content-Type, Range, If-None-Match, If-Range');
  response.setHeader('Access-Control-Max-Age', 600);
  response.statusCode = 204;
  response.end();
}

function addressOf(request: { socket: Socket | Duplex }): string {
  return (request.socket as Socket).remoteAddress ?? '';
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): RelayError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new RelayError('RELAY_PORT_IN_USE', `port ${port} on ${host} is in use by another program. Stop it, or choose another port: --port ${port === 65_535 ? 8080 : port + 1}`);
    case 'EACCES':
      return new RelayError('RELAY_BAD_ADDRESS', `port ${port} needs rights that this user does not have. Choose one above 1023: --port 8080`);
    default:
      return new RelayError('RELAY_BAD_ADDRESS', `cannot listen on ${host}, port ${port} (${error.message}). Give an address of this machine: --host ADDR`);
  }
}
