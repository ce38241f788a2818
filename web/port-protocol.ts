/*
 * What passes between the service worker and the link worker when a container's web server is looked at: one MessagePort per request.
 *
 *   frame ─ GET …/portside-port/SESSION/PORT/path ─▶ service worker ─ PortCall, with a MessagePort ─▶ page ─▶ link worker
 *   service worker ◀─ taken, head, data …, end or error ─ link worker;   ─ body …, end of body, pull, cancel ─▶
 *
 * Each side sends a piece of a body only when the other has asked for one (`pull`): nothing piles up in a port.
 */

/** first folder of such addresses, below the page's own */
export const PORT_FOLDER = 'portside-port';

export type Fields = readonly (readonly [name: string, value: string])[];

/** To every page of the origin; the one whose container it is hands the port on. */
export interface PortCall {
  readonly type: 'portside-port';
  readonly session: string;
}

export interface PortRequest {
  readonly type: 'request';
  readonly port: number;
  readonly method: string;
  /** with its query */
  readonly path: string;
  readonly fields: Fields;
  readonly hasBody: boolean;
}

/** to the link worker */
export type ToLink = PortRequest | { readonly type: 'data'; readonly bytes: Uint8Array } | { readonly type: 'end' } | { readonly type: 'pull' } | { readonly type: 'cancel' };

/** from the link worker */
export type FromLink =
  | { readonly type: 'taken' }
  | { readonly type: 'head'; readonly status: number; readonly reason: string; readonly fields: Fields; readonly hasBody: boolean }
  | { readonly type: 'data'; readonly bytes: Uint8Array }
  | { readonly type: 'end' }
  | { readonly type: 'pull' }
  /** nothing more comes; `message` is a sentence for a person */
  | { readonly type: 'error'; readonly message: string };

export interface PortAddress {
  readonly session: string;
  readonly port: number;
  /** beginning with a slash, with its query */
  readonly path: string;
}

const ADDRESS = new RegExp(`^${PORT_FOLDER}/([\\da-f]{32})/(\\d{1,5})(/.*)?$`);

/** The port that a URL means, seen from the page's folder `root`; null when it means none. */
export function parsePortUrl(href: string, root: string): PortAddress | null {
  if (!href.startsWith(root)) return null;
  const found = ADDRESS.exec(href.slice(root.length).split('#', 1)[0].replace(/^([^?]*\/\d+)(?=\?|$)/, '$1/'));
  if (found === null) return null;
  const port = Number(found[2]);
  return port >= 1 && port <= 65_535 ? { session: found[1], port, path: found[3] ?? '/' } : null;
}

export function portUrl(root: string, session: string, port: number, path = '/'): string {
  return `${root}${PORT_FOLDER}/${session}/${port}${path}`;
}
