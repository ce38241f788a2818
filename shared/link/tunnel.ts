/*
 * The tunnel: how a page and a relay speak over one WebSocket (subprotocol `portside.v1`).
 *
 * Theory of operation
 *
 *   page                                         relay
 *    │ POST /api/session ────────────────────────▶ │  same origin only; makes a session
 *    │ ◀──────────────── SessionGrant (HTTP, JSON) │
 *    │ WebSocket /link, `portside.v1` ────────────▶│  Origin is checked before the upgrade
 *    │ text   ClientHello ────────────────────────▶│  first message, within HELLO_TIMEOUT_MS
 *    │ ◀──────────────────────── text  RelayHello  │  `resumed` says whether the network was kept
 *    │ binary QEMU frames, split and joined at will ◀──▶
 *    │ ◀─────────────────────── text  forwards     │  whenever the list changes
 *    │ text   bye ────────────────────────────────▶│  the session ends at once
 *
 * A WebSocket that breaks leaves the session alive for the relay's grace time; a ClientHello with the same session
 * and token resumes it. Both ends then start their frame decoders anew: a frame cut in two by the break is lost,
 * and so are those in flight, which TCP repairs.
 *
 * Without the subprotocol, or with `binary`, which is what c2w's page asks for, the byte stream starts at once and there are no
 * text messages: c2w-net's way. At WSPROXY_PATH each binary message is one frame instead, without a length: v86's way.
 *
 * Everything here comes from a peer, so the parsers take `unknown`, never throw, copy only the fields they know
 * and cap each of them. A message of an unknown type is `tunnel-unknown-type`: ignore it, so that a newer peer may
 * say more than we understand. Every other drop deserves CLOSE_MALFORMED.
 */

export const TUNNEL_SUBPROTOCOL = 'portside.v1';
export const TUNNEL_VERSION = 1;
/** what a client names that speaks c2w-net's way and wants a name for it */
export const BARE_SUBPROTOCOL = 'binary';

export const SESSION_PATH = '/api/session';
export const LINK_PATH = '/link';
export const WSPROXY_PATH = '/wsproxy';

/** WebSocket close codes of the tunnel */
export const CLOSE_NORMAL = 1000;
/** the relay is going away; a client reconnects */
export const CLOSE_GOING_AWAY = 1001;
/** our own bug ended this session; a client reconnects */
export const CLOSE_INTERNAL = 1011;
/** malformed hello or frame */
export const CLOSE_MALFORMED = 4400;
/** wrong token or unknown session: ask for a new session */
export const CLOSE_UNAUTHORIZED = 4401;
/** no hello in time */
export const CLOSE_HELLO_TIMEOUT = 4408;
/** a newer link of the same session took over: do not reconnect */
export const CLOSE_REPLACED = 4409;
/** a limit was reached: reconnect later */
export const CLOSE_LIMIT = 4429;

export const HELLO_TIMEOUT_MS = 10_000;
/** longest text message, in UTF-16 units */
export const MAX_CONTROL_CHARS = 16_384;
/** longest binary message that a relay should accept, in bytes: senders stay far below */
export const MAX_MESSAGE_BYTES = 1 << 20;
/** bytes per binary message at which a sender stops adding frames to a batch */
export const BATCH_BYTES = 64 << 10;

export const MTU_MIN = 576;
export const MTU_DEFAULT = 1500;
export const MTU_MAX = 65_520;
/** an Ethernet header with one VLAN tag, in bytes */
export const ETHERNET_OVERHEAD = 18;
/** longest frame that any link may carry, without its 4-byte length */
export const MAX_FRAME_BYTES = MTU_MAX + ETHERNET_OVERHEAD;

/** longest list of forwards in a message */
export const MAX_FORWARDS = 256;
const MAX_HOST_CHARS = 80;
const SESSION_PATTERN = /^[A-Za-z0-9_-]{8,64}$/;
const TOKEN_PATTERN = /^[A-Za-z0-9_-]{16,128}$/;
const MAX_LINK_CHARS = 256;

/** A port of the host that leads into the guest. */
export interface Forward {
  /** `ip:port` on which the host listens */
  host: string;
  /** port in the guest */
  guest: number;
  /** `tcp` when absent */
  protocol?: 'tcp' | 'udp';
}

/** Answer of `POST /api/session`. */
export interface SessionGrant {
  session: string;
  token: string;
  /** path or absolute URL of the WebSocket */
  link: string;
  /** largest IP packet that the relay takes, in bytes */
  mtu: number;
  forwards: Forward[];
}

export interface ClientHello {
  type: 'hello';
  version: 1;
  session: string;
  token: string;
  /** wish of the client, in bytes; the relay's answer decides */
  mtu?: number;
}

export interface ClientBye {
  type: 'bye';
}

export type ClientMessage = ClientHello | ClientBye;

export interface RelayHello {
  type: 'hello';
  version: 1;
  mtu: number;
  /** the session's network is the one of the link before */
  resumed: boolean;
  forwards: Forward[];
}

export interface RelayForwards {
  type: 'forwards';
  forwards: Forward[];
}

export type RelayMessage = RelayHello | RelayForwards;

/** Why a control message was refused. */
export type TunnelDrop =
  | 'tunnel-too-long'
  | 'tunnel-not-json'
  | 'tunnel-bad-shape'
  | 'tunnel-bad-version'
  | 'tunnel-unknown-type';

/** What a client said, as the relay reads it. `data` is the text of one message. */
export function parseClientMessage(data: unknown): ClientMessage | TunnelDrop {
  const message = parseObject(data);
  if (typeof message === 'string') return message;
  switch (message.type) {
    case 'hello': {
      if (message.version !== TUNNEL_VERSION) return 'tunnel-bad-version';
      if (!matches(message.session, SESSION_PATTERN) || !matches(message.token, TOKEN_PATTERN)) return 'tunnel-bad-shape';
      const hello: ClientHello = { type: 'hello', version: 1, session: message.session, token: message.token };
      if (message.mtu !== undefined) {
        if (!isMtu(message.mtu)) return 'tunnel-bad-shape';
        hello.mtu = message.mtu;
      }
      return hello;
    }
    case 'bye':
      return { type: 'bye' };
    default:
      return typeof message.type === 'string' ? 'tunnel-unknown-type' : 'tunnel-bad-shape';
  }
}

/** What a relay said, as the page reads it. `data` is the text of one message. */
export function parseRelayMessage(data: unknown): RelayMessage | TunnelDrop {
  const message = parseObject(data);
  if (typeof message === 'string') return message;
  switch (message.type) {
    case 'hello': {
      if (message.version !== TUNNEL_VERSION) return 'tunnel-bad-version';
      const forwards = parseForwards(message.forwards);
      if (!isMtu(message.mtu) || typeof message.resumed !== 'boolean' || forwards === null) return 'tunnel-bad-shape';
      return { type: 'hello', version: 1, mtu: message.mtu, resumed: message.resumed, forwards };
    }
    case 'forwards': {
      const forwards = parseForwards(message.forwards);
      return forwards === null ? 'tunnel-bad-shape' : { type: 'forwards', forwards };
    }
    default:
      return typeof message.type === 'string' ? 'tunnel-unknown-type' : 'tunnel-bad-shape';
  }
}

/** The body of the answer to `POST /api/session`. `data` is its text. */
export function parseSessionGrant(data: unknown): SessionGrant | TunnelDrop {
  const grant = parseObject(data);
  if (typeof grant === 'string') return grant;
  const forwards = parseForwards(grant.forwards);
  if (!matches(grant.session, SESSION_PATTERN) || !matches(grant.token, TOKEN_PATTERN)) return 'tunnel-bad-shape';
  if (typeof grant.link !== 'string' || grant.link.length > MAX_LINK_CHARS) return 'tunnel-bad-shape';
  if (!isMtu(grant.mtu) || forwards === null) return 'tunnel-bad-shape';
  return { session: grant.session, token: grant.token, link: grant.link, mtu: grant.mtu, forwards };
}

function parseObject(data: unknown): Record<string, unknown> | TunnelDrop {
  if (typeof data !== 'string') return 'tunnel-not-json';
  if (data.length > MAX_CONTROL_CHARS) return 'tunnel-too-long';
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return 'tunnel-not-json';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'tunnel-bad-shape';
  return value as Record<string, unknown>;
}

/** An absent list is an empty one; null when it is anything but a list of forwards. */
function parseForwards(value: unknown): Forward[] | null {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_FORWARDS) return null;
  const forwards: Forward[] = [];
  for (const item of value as unknown[]) {
    if (typeof item !== 'object' || item === null) return null;
    const { host, guest, protocol } = item as Record<string, unknown>;
    if (typeof host !== 'string' || host.length > MAX_HOST_CHARS || !isInteger(guest, 1, 65_535)) return null;
    if (protocol === undefined) forwards.push({ host, guest });
    else if (protocol === 'tcp' || protocol === 'udp') forwards.push({ host, guest, protocol });
    else return null;
  }
  return forwards;
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function isMtu(value: unknown): value is number {
  return isInteger(value, MTU_MIN, MTU_MAX);
}

function isInteger(value: unknown, min: number, max: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
}
