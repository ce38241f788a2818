/*
 * Who may talk to the relay. Pure: headers in, verdict out; server.ts acts on it.
 *
 * The threat is a web page of somebody else in the user's own browser: it can reach ws://localhost and http://localhost,
 * and what it would find there is this machine's network. Three checks, each against a different way in:
 *
 * - Host: a page of evil.example whose name is re-pointed at 127.0.0.1 (DNS rebinding) is same-origin with us, but its
 *   requests still carry its name. We answer only to names that nobody else can have: localhost, the loopback literals, the
 *   address listened on, and what --allow-host and --allow-origin name. Listening on all addresses, any IP literal is
 *   fine too: rebinding needs a name.
 * - Origin, on everything that changes state (POST, WebSocket upgrade): must be our own (scheme aside, equal to Host: TLS
 *   may end in front of us) or allowed by name. `null` (sandboxed frames, files) is nobody's.
 * - Sec-Fetch-Site, where the browser sends it: script cannot forge it, so `cross-site` or `same-site` without an allowed
 *   Origin is refused even if Origin is missing.
 *
 * A client without Origin is no browser page. It may ask for a session (a local program can do all that the relay could do for
 * it) and speak portside.v1 with the token; a bare byte stream, which needs no token, it gets only with --allow-origin '*'.
 */

/** The headers that matter here, as Node's http gives them. */
export interface RequestHeaders {
  host?: string | undefined;
  origin?: string | undefined;
  'sec-fetch-site'?: string | string[] | undefined;
}

export type OriginVerdict =
  /** our own page */
  | 'own'
  /** named by --allow-origin, or everyone is */
  | 'allowed'
  /** no browser page: neither Origin nor Sec-Fetch-Site */
  | 'none'
  | 'foreign';

export class Gate {
  readonly #hosts: Set<string>;
  readonly #anyLiteral: boolean;
  readonly #origins: Set<string>;
  /** every Origin is allowed, and clients that have none */
  readonly openToAll: boolean;

  constructor(options: { host: string | null; allowHosts: string[]; allowOrigins: string[] }) {
    this.openToAll = options.allowOrigins.includes('*');
    this.#origins = new Set(options.allowOrigins.filter((origin) => origin !== '*').map((origin) => origin.toLowerCase()));
    this.#hosts = new Set(['localhost', '127.0.0.1', '[::1]', ...options.allowHosts.map((name) => name.toLowerCase())]);
    for (const origin of this.#origins) this.#hosts.add(new URL(origin).hostname);
    if (options.host !== null) this.#hosts.add(hostnameOf(options.host.includes(':') ? `[${options.host}]` : options.host) ?? options.host);
    this.#anyLiteral = options.host === '0.0.0.0' || options.host === '::';
  }

  acceptsHost(host: string | undefined): boolean {
    const name = hostnameOf(host);
    if (name === null) return false;
    return this.#hosts.has(name) || (this.#anyLiteral && isIpLiteral(name));
  }

  judgeOrigin(headers: RequestHeaders): OriginVerdict {
    const site = headers['sec-fetch-site'];
    const origin = headers.origin?.toLowerCase();
    if (origin === undefined) {
      if (site === undefined) return 'none';
      return site === 'same-origin' || site === 'none' ? 'own' : 'foreign';
    }
    if (this.openToAll || this.#origins.has(origin)) return 'allowed';
    if (site !== undefined && site !== 'same-origin') return 'foreign';
    return sameHost(origin, headers.host) ? 'own' : 'foreign';
  }

  /** Our own page, or no page at all: not one that was let in from elsewhere. */
  isOwn(headers: RequestHeaders): boolean {
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
    return headers.origin === undefined || sameHost(headers.origin.toLowerCase(), headers.host);
  }
}

/** `ORIGIN` of --allow-origin as browsers send it, or null: scheme://host[:port] and nothing behind. */
export function parseOrigin(text: string): string | null {
  if (text === '*') return text;
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
  const bare = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  return bare ? url.origin : null;
}

/** A name or address that means this computer to itself. */
export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || address === '[::1]' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(address);
}

function sameHost(origin: string, host: string | undefined): boolean {
  if (host === undefined || !URL.canParse(origin)) return false;
  const url = new URL(origin);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return false;
  // Parsed with the Origin's scheme, so that a default port is dropped on both sides.
  const own = `${url.protocol}//${host}`;
  return URL.canParse(own) && new URL(own).host === url.host;
}

/** The name in a Host header: lower case, without port, IPv6 in brackets; null if it is none. */
function hostnameOf(host: string | undefined): string | null {
  if (host === undefined || !/^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?$/i.test(host)) return null;
  const name = host.replace(/:\d{1,5}$/, '').toLowerCase();
  // A name may end in the root's dot; "localhost." is localhost.
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

function isIpLiteral(name: string): boolean {
  return name.startsWith('[') || /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
}
