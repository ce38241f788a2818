/*
 * gvproxy's HTTP API over one virtual network, and what we have beyond it.
 *
 *   /services/forwarder/all|expose|unexpose   ports of the host that lead into guests
 *   /services/dns/all|add                     zones
 *   /services/dhcp/leases, /leases            addresses, the gateway's and the static ones included
 *   /cam  /stats  /tunnel                     stations by link · counters · a TCP connection into a guest
 *   /flows  /services/dns/log  /metrics        ours
 *
 * Programs written for gvproxy must not notice: paths, methods, JSON names, status codes and plain text for errors are
 * gvproxy's, names in a request are read without regard to case as Go's decoder does, unknown ones are ignored. What
 * differs on purpose: a body has a cap (413), a wrong method is 405 with Allow (gvproxy: 400, or it is not looked at), a remote without an address means the network's guest, /tunnel wants POST (a browser
 * sends no Origin with an image), addresses of zones are IPv4, and port 80 of the gateway does not offer this to guests.
 *
 * Who may call it is for the server around it: serve-network-api.ts, or server.ts for sessions. `limits` says what a caller
 * may do here.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HostTcp } from '../../shared/net/nat/host-net.ts';
import type { VirtualNetwork } from '../../shared/net/services/network.ts';
import { whyNoGuest } from '../../shared/net/services/network-config.ts';
import { formatIpv4, formatMac, parseIpv4, type Ipv4, type Mac } from '../../shared/net/wire/addr.ts';
import { formatEndpoint } from '../../shared/net/wire/addr6.ts';
import { invariant } from '../../shared/invariant.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { pathOf } from '../static.ts';
import { ApiError } from './api-error.ts';
import { asZone, zoneJson } from './dns-json.ts';
import { Exposed, type ListenUnix } from './exposed.ts';
import { hijack } from './hijack.ts';
import { readJson, textField } from './json-body.ts';
import { gvproxyStats } from './network-stats.ts';

export type ApiNetwork = Pick<VirtualNetwork,
  'config' | 'addForward' | 'forwards' | 'forwardTcp' | 'leases' | 'stats' | 'flows' | 'stations' | 'zones' | 'addZone' | 'dnsLog' | 'caught'>;

export interface NetworkApiOptions {
  /** makes listeners on UNIX sockets; absent: `unix` is refused */
  listenUnix?: ListenUnix;
  /** a hijacked connection as a socket of the host's network */
  adopt: (socket: IncomingMessage['socket']) => HostTcp;
  /** forwards that this API may hold open */
  maxForwards: number;
  /** forwards listen on loopback addresses only */
  loopbackOnly: boolean;
  /** zones may have regular expressions: of somebody who may stop the process, for a bad one can */
  regexps: boolean;
  /** body of a request, in `bytes` */
  maxBodyBytes: number;
}

const READ = ['GET', 'HEAD'];
const WRITE = ['POST'];
/** every path, with the methods that it takes */
const METHODS: ReadonlyMap<string, readonly string[]> = new Map([
  ...['/services/forwarder/all', '/services/dns/all', '/services/dns/log', '/services/dhcp/leases', '/leases', '/cam', '/stats', '/flows', '/metrics'].map((path) => [path, READ] as const),
  ...['/services/forwarder/expose', '/services/forwarder/unexpose', '/services/dns/add', '/tunnel'].map((path) => [path, WRITE] as const),
]);

/** flows that one answer lists unless the question says otherwise, and at most */
const FLOWS_DEFAULT = 1000;
const FLOWS_MAX = 20_000;

export class NetworkApi {
  readonly #network: ApiNetwork;
  readonly #options: NetworkApiOptions;
  readonly #exposed: Exposed;

  constructor(network: ApiNetwork, options: NetworkApiOptions) {
    this.#network = network;
    this.#options = options;
    this.#exposed = new Exposed(network, options);
  }

  /** Answers a request for `path`, which begins with a slash and has no query. Rejects for our own bugs only. */
  async handle(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const methods = METHODS.get(path);
    if (methods === undefined) return sendError(response, 404, '404 page not found');
    if (!methods.includes(request.method ?? '')) {
      response.setHeader('Allow', methods.join(', '));
      return sendError(response, 405, methods === WRITE ? 'post only' : 'get only');
    }
    try {
      switch (path) {
        case '/services/forwarder/all': return sendJson(response, this.#exposed.list());
        case '/services/forwarder/expose': return await this.#expose(request, response);
        case '/services/forwarder/unexpose': return await this.#unexpose(request, response);
        case '/services/dns/all': return sendJson(response, this.#network.zones().map(zoneJson));
        case '/services/dns/log': return sendJson(response, this.#network.dnsLog());
        case '/services/dns/add': return await this.#addZone(request, response);
        case '/services/dhcp/leases':
        case '/leases': return sendJson(response, this.#leases());
        case '/cam': return sendJson(response, Object.fromEntries(this.#network.stations().map(({ mac, link }) => [formatMac(mac), link])));
        case '/stats': return sendJson(response, gvproxyStats(this.#network.stats()));
        case '/flows': return sendJson(response, this.#flows(queryOf(request)));
        case '/metrics': return await this.#metrics(response);
        case '/tunnel': return await this.#tunnel(request, response);
        default: invariant(false, `nothing answers ${path}`);
      }
    } catch (error) {
      if (error instanceof ApiError) return sendError(response, error.status, error.message);
      // Thrown on where the network has nobody to tell; the server around us answers then.
      this.#network.caught('call', error);
      sendError(response, 500, 'internal error of the relay; its log says more');
    }
  }

  /** Takes back what was exposed here. Idempotent. */
  close(): void {
    this.#exposed.close();
  }

  async #expose(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await this.#post(request);
    const protocol = textField(body, 'protocol') || 'tcp';
    const local = textField(body, 'local');
    await withStatus(500, () => this.#exposed.expose(protocol, local, textField(body, 'remote')));
    response.end();
  }

  async #unexpose(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await this.#post(request);
    const protocol = textField(body, 'protocol') || 'tcp';
    if (!this.#exposed.unexpose(protocol, textField(body, 'local'))) throw new ApiError(500, 'proxy not found');
    response.end();
  }

  async #addZone(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const zone = asZone(await this.#post(request));
    if (!this.#options.regexps && zone.records.some(({ regexp }) => regexp !== null)) throw new ApiError(403, 'records with a regular expression are not taken here');
    await withStatus(400, () => this.#network.addZone(zone));
    response.end();
  }

  #post(request: IncomingMessage): Promise<object> {
    return readJson(request, this.#options.maxBodyBytes);
  }

  #leases(): Record<string, string> {
    const { gatewayIp, gatewayMac, staticLeases } = this.#network.config;
    const leases = new Map<Ipv4, Mac>([[gatewayIp, gatewayMac]]);
    for (const [mac, ip] of staticLeases) leases.set(ip, mac);
    for (const { ip, mac } of this.#network.leases()) leases.set(ip, mac);
    return Object.fromEntries([...leases].map(([ip, mac]) => [formatIpv4(ip), formatMac(mac)]));
  }

  #flows(query: URLSearchParams): object {
    const asked = query.get('limit') ?? String(FLOWS_DEFAULT);
    if (!/^\d{1,5}$/.test(asked) || Number(asked) > FLOWS_MAX) throw new ApiError(400, `limit is a number up to ${FLOWS_MAX}`);
    const flows: object[] = [];
    let total = 0;
    for (const flow of this.#network.flows()) {
      if (total++ >= Number(asked)) continue;
      const { guestIp, guestPort, remoteIp, remotePort, ageMs, idleMs, ...rest } = flow;
      flows.push({
        ...rest, guest: formatEndpoint(guestIp, guestPort), remote: formatEndpoint(remoteIp, remotePort), ageMs: Math.round(ageMs), idleMs: Math.round(idleMs),
      });
    }
    return { total, flows };
  }

  async #metrics(response: ServerResponse): Promise<void> {
    // Loaded by the first scraper: it costs a start more than all the rest of this file.
    const { networkMetrics } = await import('./metrics.ts');
    const { contentType, text } = await networkMetrics(this.#network.stats());
    response.setHeader('Content-Type', contentType);
    response.end(text);
  }

  async #tunnel(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const query = queryOf(request);
    const asked = query.get('ip') ?? '';
    if (asked === '') throw new ApiError(500, 'ip is mandatory');
    const ip = parseIpv4(asked);
    const port = /^\d{1,5}$/.test(query.get('port') ?? '') ? Number(query.get('port')) : 0;
    if (port < 1 || port > 65_535) throw new ApiError(500, `port "${query.get('port') ?? ''}" is not a number from 1 to 65535`);
    if (ip === null) throw new ApiError(500, `"${asked}" is not an IPv4 address`);
    const why = whyNoGuest(this.#network.config, ip);
    if (why !== null) throw new ApiError(500, `no guest has the address ${asked}: it is ${why}`);
    const socket = await hijack(request, response);
    // Before the guest was dialled, as gvproxy does: a failed dial is a connection that ends.
    socket.write('OK');
    this.#network.forwardTcp(this.#options.adopt(socket), port, ip);
  }
}

/** What the host or a cap refuses becomes the caller's `status`. */
async function withStatus(status: number, fn: () => void | Promise<void>): Promise<void> {
  try {
    await fn();
  } catch (error) {
    throw error instanceof RelayError ? new ApiError(status, error.message) : error;
  }
}

function queryOf(request: IncomingMessage): URLSearchParams {
  const at = request.url?.indexOf('?') ?? -1;
  return new URLSearchParams(at < 0 ? '' : request.url!.slice(at + 1));
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.end(`${JSON.stringify(value)}\n`);
}

export function sendError(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent) return void response.destroy();
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  // What was not read of a body that is too long would be taken for the next request.
  if (status === 413) response.setHeader('Connection', 'close');
  response.end(`${text}\n`);
}

/** The path of a request for handle(), or null when it is malformed. */
export function apiPath(request: IncomingMessage): string | null {
  const path = pathOf(request.url);
  return path === null ? null : `/${path}`;
}
