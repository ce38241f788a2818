/*
 * The host's network where the host is a browser: HostNet without a socket.
 *
 *   TCP to port 80, or from 1024 up ─▶ served in this page, by what its first bytes are: HTTP (http-gateway.ts) or TLS
 *   TCP to port 443 ─────────────────▶ TLS, and HTTP in it
 *   any other TCP ───────────────────▶ ICMP: administratively prohibited
 *   UDP to port 53 ──────────────────▶ answered by the pool of names
 *   any other UDP ───────────────────▶ ICMP: administratively prohibited
 *
 * A browser gives a page fetch and nothing below it, so what is not HTTP has no way out, and the guest should hear that at once
 * instead of waiting. From 1024 up a server may be one for HTTP: the guest speaks first or is reset after FIRST_WORD_MS.
 */
import {
  DEFAULT_RESOLVER_OPTIONS, type HostListener, type HostNet, type HostResolver, type HostResolverOptions, type HostTcp, type HostTcpHandlers, type HostUdp,
  type HostUdpHandlers, type NameForwarder,
} from '../../shared/net/nat/host-net.ts';
import type { Clock } from '../../shared/net/stack/clock.ts';
import { IPV4_ANY, parseIpv4 } from '../../shared/net/wire/addr.ts';
import type { IpAddress } from '../../shared/net/wire/addr6.ts';
import { formatIp } from '../../shared/net/wire/addr6.ts';
import { DNS_SERVFAIL } from '../../shared/net/wire/dns.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { ByteReader } from './byte-reader.ts';
import type { NamePool } from './name-pool.ts';
import { PageSocket, type ByteStream } from './page-socket.ts';

const DNS_PORT = 53;
const HTTP_PORT = 80;
const HTTPS_PORT = 443;
const FREE_PORTS_FROM = 1024;
/** connections that are served at a time */
export const CONNECTIONS_MAX = 256;
const FIRST_WORD_MS = 10_000;
/** the first byte of a TLS record with a ClientHello, RFC 8446 §5.1 */
const TLS_HANDSHAKE = 22;
/** Where guests are said to find DNS: an address of the pool's range that no name gets. */
const RESOLVERS: readonly HostResolver[] = [{ ip: parseIpv4('198.18.0.53')!, port: DNS_PORT }];

/** Where a guest connected to, as a URL would name it. */
export interface Destination {
  readonly host: string;
  readonly port: number;
}

export interface PageServices {
  /** Serves HTTP on what the guest has connected to. Resolves when that is over, or with a destination that a tunnel is wanted to. */
  serveHttp(stream: ByteStream, reader: ByteReader, destination: Destination, scheme: 'http' | 'https'): Promise<Destination | null>;
  /** Takes the guest's ClientHello; null: there is no TLS here */
  acceptTls: ((stream: ByteStream, reader: ByteReader, destination: Destination) => Promise<ByteStream>) | null;
}

export class PageHostNet implements HostNet {
  readonly #clock: Clock;
  readonly #names: NamePool;
  readonly #services: PageServices;
  readonly #sockets = new Set<PageSocket>();
  /** connections and datagrams that were refused: why something does not work */
  refused = 0;

  constructor(clock: Clock, names: NamePool, services: PageServices) {
    this.#clock = clock;
    this.#names = names;
    this.#services = services;
  }

  get connectionsOpen(): number {
    return this.#sockets.size;
  }

  connectTcp(ip: IpAddress, port: number, handlers: HostTcpHandlers): HostTcp {
    const socket = new PageSocket(handlers);
    // The caller has no socket before we return.
    queueMicrotask(() => {
      if (socket.isOver) return;
      const error = this.#judge(port);
      if (error !== null) {
        this.refused++;
        socket.fail(error);
        return;
      }
      this.#sockets.add(socket);
      void socket.closed.then(() => this.#sockets.delete(socket));
      handlers.onConnect?.();
      void this.#serve(socket, { host: this.#hostOf(ip), port });
    });
    return socket;
  }

  #judge(port: number): string | null {
    if (port === HTTPS_PORT && this.#services.acceptTls === null) return 'EACCES';
    if (port !== HTTP_PORT && port !== HTTPS_PORT && port < FREE_PORTS_FROM) return 'EACCES';
    return this.#sockets.size >= CONNECTIONS_MAX ? 'ECONNREFUSED' : null;
  }

  #hostOf(ip: IpAddress): string {
    const text = formatIp(ip);
    return typeof ip === 'number' ? this.#names.nameOf(ip) ?? text : `[${text}]`;
  }

  async #serve(socket: PageSocket, destination: Destination): Promise<void> {
    const reader = new ByteReader(socket);
    try {
      const tunnel = await this.#speak(socket, reader, destination);
      // A client that takes us for a proxy; what it asks for within the tunnel is not another one.
      if (tunnel !== null && await this.#speak(socket, reader, tunnel) !== null) socket.abort();
    } catch {
      // The guest went away, or speaks what is neither HTTP nor TLS.
      socket.abort();
    }
  }

  async #speak(socket: PageSocket, reader: ByteReader, destination: Destination): Promise<Destination | null> {
    const timer = this.#clock.startTimer(FIRST_WORD_MS, () => socket.abort());
    const first = await reader.peek().finally(() => timer.cancel());
    if (first === null) {
      socket.finish();
      return null;
    }
    if (first[0] !== TLS_HANDSHAKE) return this.#services.serveHttp(socket, reader, destination, 'http');
    if (this.#services.acceptTls === null) {
      socket.abort();
      return null;
    }
    const inner = await this.#services.acceptTls(socket, reader, destination);
    return this.#services.serveHttp(inner, new ByteReader(inner), destination, 'https');
  }

  listenTcp(): Promise<HostListener> {
    return Promise.reject(new RelayError('RELAY_FORWARD', 'a page cannot listen on ports of its computer'));
  }

  connectUdp(_ip: IpAddress, port: number, handlers: HostUdpHandlers): HostUdp {
    let isClosed = false;
    return {
      send: (bytes) => {
        const answer = port === DNS_PORT ? this.#names.answer(bytes) : null;
        if (port !== DNS_PORT) this.refused++;
        // The caller is in the middle of its datagram.
        queueMicrotask(() => {
          if (isClosed) return;
          if (answer !== null) handlers.onMessage(answer, IPV4_ANY, DNS_PORT);
          else if (port !== DNS_PORT) handlers.onError('EACCES');
        });
      },
      setTtl() {},
      close() { isClosed = true; },
    };
  }

  /** Nothing leaves by it: what a guest sends goes to the connected sockets, which say why not. */
  openUdp(): HostUdp & HostListener {
    return { port: 1, send() {}, setTtl() {}, close() {} };
  }

  bindUdp(): Promise<HostUdp & HostListener> {
    return Promise.reject(new RelayError('RELAY_FORWARD', 'a page cannot listen on ports of its computer'));
  }

  resolvers(): readonly HostResolver[] {
    return RESOLVERS;
  }

  resolverOptions(): HostResolverOptions {
    return DEFAULT_RESOLVER_OPTIONS;
  }

  /** The pool of names knows at once; nothing of it is worth keeping. */
  createForwarder(): NameForwarder {
    return {
      queriesOpen: 0,
      socketsOpen: 0,
      noticeChange() {},
      ask: (_key, query, _question, _isTcp, reply) => reply(this.#names.answer(query) ?? DNS_SERVFAIL),
      close() {},
    };
  }

  hasIpv6(): boolean {
    return false;
  }

  ping(): Promise<number | null> {
    return Promise.resolve(null);
  }

  /** Idempotent. */
  close(): void {
    for (const socket of this.#sockets) socket.abort();
  }
}
