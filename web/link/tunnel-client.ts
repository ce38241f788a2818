/*
 * Keeps one container linked: asks for a session, opens the WebSocket, says hello, and does so again after a break.
 *
 * Theory of operation
 *
 *                    ┌──────────── backoff 0.5 s … 10 s, or `online`, or retry() ──────────┐
 *                    ▼                                                                     │
 *   open() ──▶ connecting: grant? ─ POST /api/session ─▶ WebSocket ─ hello ─▶ up ── close ─┴─▶ down
 *                    │                                                           4409 ─▶ refused (for good)
 *                    └─ 403, or a delegate's URL that is no URL ─▶ refused
 *
 * A grant is kept over breaks: the relay then resumes the session, with its network, flows and leases. It is thrown away
 * when the relay does not know it any more (4401, after a restart of the relay): then a new one is asked for.
 *
 * What the guest sees. The link word (wake.ts) goes up with the first connection. A break that is resumed within
 * GRACE_MS shows nowhere: lost frames are TCP's to repair. After GRACE_MS the word is 0 and the guest's link is down; and
 * when a connection comes back with another network behind it, the word gets a new number, so the guest connects anew
 * and asks for an address again.
 *
 * A delegate (c2w-net) has neither session nor hello: the byte stream starts at once, and the network behind it counts as
 * the same if it is back in time.
 *
 * Everything that the relay sends is hostile: parsed, capped, and a wrong word closes the connection.
 */
import type { Forward, RelayHello, SessionGrant } from '../../shared/link/tunnel.ts';
import {
  CLOSE_LIMIT, CLOSE_MALFORMED, CLOSE_NORMAL, CLOSE_REPLACED, CLOSE_UNAUTHORIZED, HELLO_TIMEOUT_MS, parseRelayMessage,
  parseSessionGrant, SESSION_PATH, TUNNEL_SUBPROTOCOL, TUNNEL_VERSION,
} from '../../shared/link/tunnel.ts';
import type { NetMode, NetStatus, NetworkReply } from '../protocol.ts';
import { Backoff } from './backoff.ts';
import type { Pump } from './pump.ts';

/** the guest's link stays up for so long after a break, in ms */
export const GRACE_MS = 5000;
/** longest time between opening a WebSocket and being up, in ms */
const CONNECT_TIMEOUT_MS = HELLO_TIMEOUT_MS;
/** longest time for the answer of POST /api/session, in ms */
const GRANT_TIMEOUT_MS = 10_000;
const API_TIMEOUT_MS = 10_000;
/** longest answer of the API that is read, in bytes */
const API_BYTES_MAX = 1 << 20;
const NO_FORWARDS: Forward[] = [];

export type TunnelMode = Extract<NetMode, { kind: 'relay' | 'delegate' }>;

/** A reason not to try again. */
class Refused extends Error {}

export class TunnelClient {
  readonly #mode: TunnelMode;
  readonly #origin: string;
  readonly #pump: Pump;
  readonly #onStatus: (status: NetStatus) => void;
  readonly #backoff = new Backoff();

  #grant: SessionGrant | null = null;
  /** the grant came with this very attempt */
  #freshGrant = false;
  #socket: WebSocket | null = null;
  /** number of the link that the guest sees, or saw last */
  #generation = 0;
  #up = false;
  #wasUp = false;
  #closed = false;
  #retryTimer: ReturnType<typeof setTimeout> | null = null;
  #graceTimer: ReturnType<typeof setTimeout> | null = null;
  #connectTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(mode: TunnelMode, origin: string, pump: Pump, onStatus: (status: NetStatus) => void) {
    this.#mode = mode;
    this.#origin = origin;
    this.#pump = pump;
    this.#onStatus = onStatus;
  }

  /** Connects, now and after every break. */
  open(): void {
    if (!this.#closed) void this.#connect();
  }

  /** Ends a wait for the next attempt. */
  retry(): void {
    if (this.#retryTimer === null) return;
    this.#backoff.reset();
    this.#clearRetry();
    void this.#connect();
  }

  /** A call of the API of this session's network. Null without a session; rejects when the relay does not answer. */
  async callNetwork(path: string, body: object | null): Promise<NetworkReply | null> {
    if (this.#grant === null) return null;
    const { session, token } = this.#grant;
    const response = await fetch(new URL(`/api/networks/${session}${path}`, this.#origin), {
      method: body === null ? 'GET' : 'POST', headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(API_TIMEOUT_MS),
      ...(body === null ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await textOf(response, API_BYTES_MAX) };
  }

  /** Ends the session: the relay forgets it. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#clearRetry();
    this.#clearConnectTimer();
    if (this.#graceTimer !== null) clearTimeout(this.#graceTimer);
    const socket = this.#socket;
    this.#socket = null;
    this.#pump.socket = null;
    this.#pump.wake.link = 0;
    if (socket !== null) {
      detach(socket);
      if (this.#up && this.#mode.kind === 'relay') socket.send('{"type":"bye"}');
      socket.close(CLOSE_NORMAL);
    }
    this.#onStatus({ state: 'off' });
  }

  async #connect(): Promise<void> {
    this.#onStatus({ state: 'connecting' });
    let socket: WebSocket;
    try {
      socket = this.#mode.kind === 'relay'
        ? new WebSocket(await this.#linkUrl(), TUNNEL_SUBPROTOCOL)
        : openDelegate(this.#mode.url);
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      if (this.#closed) return;
      if (error instanceof Refused) this.#refuse(detail);
      else this.#retryLater(detail);
      return;
    }
    if (this.#closed) {
      socket.close(CLOSE_NORMAL);
      return;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => { this.#onOpen(socket); };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => { this.#onMessage(socket, data); };
    socket.onclose = ({ code, reason }) => { this.#onClose(socket, code, reason); };
    this.#connectTimer = setTimeout(() => { this.#drop(socket, CLOSE_NORMAL, 'The relay does not answer.'); }, CONNECT_TIMEOUT_MS);
  }

  /** Where the relay takes links; asks for a session first if there is none. Throws Refused, or an Error to try again. */
  async #linkUrl(): Promise<string> {
    this.#freshGrant = this.#grant === null;
    this.#grant ??= await requestGrant(this.#origin);
    const url = new URL(this.#grant.link, this.#origin);
    // The token goes to whom we have it from, and to nobody else.
    if (url.host !== new URL(this.#origin).host) throw new Refused('The relay names another host for its link.');
    url.protocol = url.protocol === 'https:' || url.protocol === 'wss:' ? 'wss:' : 'ws:';
    return url.href;
  }

  #onOpen(socket: WebSocket): void {
    if (this.#mode.kind === 'delegate') {
      this.#onUp(socket, true, NO_FORWARDS);
      return;
    }
    const { session, token } = this.#grant!;
    const wish = this.#mode.mtu === undefined ? {} : { mtu: this.#mode.mtu };
    socket.send(JSON.stringify({ type: 'hello', version: TUNNEL_VERSION, session, token, ...wish }));
  }

  #onMessage(socket: WebSocket, data: unknown): void {
    if (data instanceof ArrayBuffer) {
      if (!this.#up) this.#drop(socket, CLOSE_MALFORMED, 'The relay sent frames before its hello.');
      else if (!this.#pump.receive(new Uint8Array(data))) this.#drop(socket, CLOSE_MALFORMED, 'The network sent what is no frame.');
      return;
    }
    if (this.#mode.kind === 'delegate') return;
    const message = parseRelayMessage(data);
    if (message === 'tunnel-unknown-type') return;
    if (typeof message === 'string') this.#drop(socket, CLOSE_MALFORMED, `The relay does not speak our protocol (${message}).`);
    else if (message.type === 'forwards') this.#onForwards(message.forwards);
    else if (!this.#up) this.#onHello(socket, message);
  }

  #onHello(socket: WebSocket, hello: RelayHello): void {
    this.#onUp(socket, hello.resumed, hello.forwards);
  }

  #onForwards(forwards: Forward[]): void {
    if (this.#up) this.#onStatus({ state: 'up', forwards });
  }

  /** The connection carries frames. `resumed`: behind it is the network that the guest knows. */
  #onUp(socket: WebSocket, resumed: boolean, forwards: Forward[]): void {
    this.#clearConnectTimer();
    if (this.#graceTimer !== null) clearTimeout(this.#graceTimer);
    this.#graceTimer = null;
    this.#up = true;
    this.#backoff.reset();
    this.#pump.socket = socket;
    if (this.#wasUp) this.#pump.counters.reconnects++;
    this.#wasUp = true;
    if (this.#pump.wake.link === 0 || !resumed) this.#pump.wake.link = ++this.#generation;
    this.#onStatus({ state: 'up', forwards });
  }

  #onClose(socket: WebSocket, code: number, reason: string): void {
    if (socket !== this.#socket) return;
    const wasUp = this.#up;
    this.#socket = null;
    this.#clearConnectTimer();
    this.#pump.socket = null;
    if (wasUp) this.#graceTimer = setTimeout(() => { this.#pump.wake.link = 0; }, GRACE_MS);
    this.#up = false;
    if (code === CLOSE_REPLACED) {
      this.#refuse('Another link of the same session took over.');
    } else if (code === CLOSE_UNAUTHORIZED && !this.#freshGrant) {
      // A relay that was started anew knows no old sessions: ask for a new one at once.
      this.#grant = null;
      void this.#connect();
    } else {
      if (code === CLOSE_UNAUTHORIZED) this.#grant = null;
      if (code === CLOSE_LIMIT) this.#backoff.atMost();
      this.#retryLater(this.#whyClosed(wasUp, code, reason));
    }
  }

  /** A sentence for the user. */
  #whyClosed(wasUp: boolean, code: number, reason: string): string {
    const who = this.#mode.kind === 'relay' ? 'The relay' : this.#mode.url;
    if (code === CLOSE_UNAUTHORIZED) return `${who} does not let this session in.`;
    if (code === CLOSE_LIMIT) return `${who} has reached a limit${reason === '' ? '.' : `: ${reason}`}`;
    if (reason !== '') return `${who} closed the link: ${reason} (${code}).`;
    return wasUp ? `The link to ${this.#mode.kind === 'relay' ? 'the relay' : who} broke (${code}).` : `${who} cannot be reached (${code}).`;
  }

  /** Closes a connection for a reason of ours, without waiting for the other side. */
  #drop(socket: WebSocket, code: number, reason: string): void {
    if (socket !== this.#socket) return;
    detach(socket);
    socket.close(code);
    this.#onClose(socket, code, reason);
  }

  #retryLater(detail: string): void {
    const delayMs = this.#backoff.next();
    this.#onStatus({ state: 'down', detail, retryAtMs: Date.now() + delayMs });
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = null;
      void this.#connect();
    }, delayMs);
  }

  #refuse(detail: string): void {
    this.#pump.wake.link = 0;
    this.#onStatus({ state: 'refused', detail });
  }

  #clearRetry(): void {
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
  }

  #clearConnectTimer(): void {
    if (this.#connectTimer !== null) clearTimeout(this.#connectTimer);
    this.#connectTimer = null;
  }
}

async function requestGrant(origin: string): Promise<SessionGrant> {
  let response: Response;
  try {
    response = await fetch(new URL(SESSION_PATH, origin), { method: 'POST', signal: AbortSignal.timeout(GRANT_TIMEOUT_MS) });
  } catch (error) {
    throw new Error('The relay cannot be reached.', { cause: error });
  }
  if (response.status === 403) throw new Refused('The relay does not let this page in (403).');
  if (response.status === 404 || response.status === 405) throw new Refused('There is no relay at the server of this page.');
  if (!response.ok) throw new Error(`The relay answers ${response.status}.`);
  const grant = parseSessionGrant(await response.text());
  if (typeof grant === 'string') throw new Refused(`The server of this page is no relay (${grant}).`);
  return grant;
}

/** Rejects when it is longer than `maxBytes`. */
async function textOf(response: Response, maxBytes: number): Promise<string> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
    bytes += read.value.length;
    if (bytes > maxBytes) {
      await reader!.cancel();
      throw new Error(`The relay's answer is longer than ${maxBytes} bytes.`);
    }
    text += decoder.decode(read.value, { stream: true });
  }
  return text + decoder.decode();
}

/** Only what the WebSocket constructor itself refuses is for good: it throws a SyntaxError or a SecurityError. */
function openDelegate(url: string): WebSocket {
  try {
    return new WebSocket(url);
  } catch (error) {
    throw new Refused(`${url} is no WebSocket that this page may open: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function detach(socket: WebSocket): void {
  socket.onopen = null;
  socket.onmessage = null;
  socket.onclose = null;
}
