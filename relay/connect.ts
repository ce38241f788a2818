/*
 * A network for whoever listens for one: another WASI runtime that holds a container's listening socket (wasmtime's `tcplisten`,
 * wazero's `-listen`), or anything else that speaks QEMU's framing. `portside connect` is its command line; listen.ts is the other
 * way round.
 *
 * Theory of operation
 *
 *   idle ── dial ─▶ dialling ── connected ─▶ linked ── closed ─▶ waiting ── after #delayMs ─▶ dialling …
 *                       └──────── refused ───────────────────────▲
 *
 * The network is made once and outlives its links: flows, leases and forwards are there again when the runtime, or the machine in
 * it, accepts the next connection. The time between two attempts doubles from RETRY_MIN_MS to RETRY_MAX_MS, and starts anew after a
 * link that lasted: a peer that accepts and hangs up at once is not hammered. There is at most one socket and one timer.
 *
 * With `onceWithinMs` there is one link only: `ended` resolves when it is over, and rejects with RELAY_CONNECT when none came in
 * that time. Without it `ended` never settles.
 */
import { createConnection, type NetConnectOpts, type Socket } from 'node:net';
import type { VirtualNetwork } from '../shared/net/services/network.ts';
import { RelayError } from '../shared/relay-error.ts';
import { openNetwork, plugIn, type ListenOptions } from './listen.ts';

/** time from one attempt to the next, in `ms` */
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2000;
/** how long an attempt may take, in `ms` */
const DIAL_MS = 10_000;
/** a link that lasted so long was one, in `ms` */
const LASTING_MS = 2000;

export interface ConnectOptions extends ListenOptions {
  /** lines for a person: connected, gone, waiting */
  say?: (line: string) => void;
  /** one link only, which must come within so many `ms` */
  onceWithinMs?: number;
}

export interface Connecting {
  readonly network: VirtualNetwork;
  /** as `tcp:HOST:PORT` or `unix:PATH` */
  readonly spec: string;
  /** of `onceWithinMs` */
  readonly ended: Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** `[tcp:]HOST:PORT` or `unix:PATH`; no HOST is this computer. Rejects with RELAY_BAD_FLAG, or with RELAY_FORWARD for a forward that can't be had. */
export async function connect(spec: string, options: ConnectOptions = {}): Promise<Connecting> {
  const at = parseConnectSpec(spec);
  const network = openNetwork(options);
  try {
    for (const forward of options.forwards ?? []) await network.addForward(forward);
  } catch (error) {
    network.close();
    throw error;
  }
  return new Connector(network, at, options);
}

class Connector implements Connecting {
  readonly network: VirtualNetwork;
  readonly spec: string;
  readonly ended: Promise<void>;
  readonly #at: Target;
  readonly #options: ConnectOptions;
  readonly #startedMs = performance.now();
  #socket: Socket | null = null;
  #retry: NodeJS.Timeout | null = null;
  #delayMs = RETRY_MIN_MS;
  /** said since the last link that there is none */
  #saidWaiting = false;
  #closed = false;
  #resolve: () => void = () => {};
  #reject: (error: RelayError) => void = () => {};

  constructor(network: VirtualNetwork, at: Target, options: ConnectOptions) {
    this.network = network;
    this.spec = at.spec;
    this.#at = at;
    this.#options = options;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not ask for one link need not look at its end.
    this.ended.catch(() => {});
    this.#dial();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.network.close();
    this.#socket?.destroy();
  }

  #dial(): void {
    this.#retry = null;
    const socket = createConnection({ ...this.#at.options, noDelay: true } as NetConnectOpts);
    let reason = 'no answer';
    let linkedMs: number | null = null;
    this.#socket = socket;
    socket.setTimeout(DIAL_MS, () => socket.destroy());
    socket.on('error', (error: NodeJS.ErrnoException) => { reason = error.code ?? error.message; });
    socket.on('connect', () => {
      socket.setTimeout(0);
      linkedMs = performance.now();
      this.#saidWaiting = false;
      this.#options.say?.(`connected to ${this.spec}`);
      plugIn(this.network, socket, this.#options.log);
    });
    socket.on('close', () => {
      this.#socket = null;
      if (this.#closed) return;
      if (linkedMs === null) this.#onRefused(reason);
      else this.#onGone(performance.now() - linkedMs);
    });
  }

  #onRefused(reason: string): void {
    const { say, onceWithinMs } = this.#options;
    if (onceWithinMs !== undefined && performance.now() - this.#startedMs >= onceWithinMs) {
      return this.#reject(new RelayError('RELAY_CONNECT', `nobody answers at ${this.spec} (${reason}): start what listens there, such as a runtime with the container, and give its address`));
    }
    if (!this.#saidWaiting) say?.(`waiting for ${this.spec} (${reason})`);
    this.#saidWaiting = true;
    this.#retryLater();
  }

  #onGone(lastedMs: number): void {
    this.#options.say?.(`${this.spec} has closed the connection`);
    if (this.#options.onceWithinMs !== undefined) return this.#resolve();
    if (lastedMs >= LASTING_MS) this.#delayMs = RETRY_MIN_MS;
    this.#retryLater();
  }

  #retryLater(): void {
    this.#retry = setTimeout(() => this.#dial(), this.#delayMs);
    this.#delayMs = Math.min(2 * this.#delayMs, RETRY_MAX_MS);
  }
}

interface Target {
  options: { path: string } | { host: string; port: number };
  spec: string;
}

export function parseConnectSpec(text: string): Target {
  const match = /^(?:unix:(?<path>.+)|(?:tcp:)?(?:(?<host>[^:[\]]*)|\[(?<host6>[0-9a-f:.]+)\]):(?<port>\d{1,5}))$/i.exec(text)?.groups;
  if (match?.['path'] !== undefined) return { options: { path: match['path'] }, spec: text };
  const port = Number(match?.['port'] ?? 0);
  if (!(port >= 1 && port <= 65_535)) throw new RelayError('RELAY_BAD_FLAG', `"${text}" is neither HOST:PORT nor unix:PATH`);
  const host = match!['host6'] ?? (match!['host'] || '127.0.0.1');
  return { options: { host, port }, spec: `tcp:${host.includes(':') ? `[${host}]` : host}:${port}` };
}
