/** The host's network through Node. */
import { execFile } from 'node:child_process';
import type { Socket as DgramSocket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { readFileSync, statSync } from 'node:fs';
import type { Server } from 'node:net';
import { connect, createServer, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import {
  DEFAULT_RESOLVER_OPTIONS, type HostListener, type HostNet, type HostResolver, type HostResolverOptions, type HostTcp, type HostTcpHandlers, type HostUdp,
  type HostUdpHandlers, type NameCache, type NameForwarder,
} from '../../shared/net/nat/host-net.ts';
import { DnsForwarder } from '../../shared/net/services/dns-forwarder.ts';
import type { Clock } from '../../shared/net/stack/clock.ts';
import type { Stack } from '../../shared/net/stack/stack.ts';
import type { Ipv4 } from '../../shared/net/wire/addr.ts';
import { formatIpv4, IPV4_LOOPBACK, parseIpv4 } from '../../shared/net/wire/addr.ts';
import type { IpAddress } from '../../shared/net/wire/addr6.ts';
import { formatIp, isLinkLocal6, parseIpv6 } from '../../shared/net/wire/addr6.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { removeStaleSocket } from './unix-socket.ts';

const RESOLV_CONF = '/etc/resolv.conf';
/** glibc's MAXNS, RES_MAXRETRANS in `s`, RES_MAXRETRY */
const RESOLVERS_MAX = 3;
const TIMEOUT_MAX_S = 30;
const ATTEMPTS_MAX = 5;
const DNS_PORT = 53;
const INTERFACES_EVERY_MS = 5000;
const PING_WAIT_S = 5;
/** datagrams that Node may queue on one socket before we drop, in `bytes` */
const UDP_QUEUE_MAX = 1024 * 1024;
/** asked for each UDP socket, in `bytes`: Linux gives what net.core.rmem_max lets it, twice the default; a burst waits there for its turn */
const UDP_RECEIVE_BUFFER = 1024 * 1024;
const LISTEN_BACKLOG = 511;
/** datagrams that may wait for their socket to be connected: as many questions as one socket of the DNS takes */
const EARLY_MAX = 256;

export class NodeHostNet implements HostNet {
  readonly #resolvConf: string;
  #resolverConfig = parseResolvConf('');
  /** of the file that was read; empty: of none */
  #resolvConfStamp = '';
  #hasIpv6 = false;
  #interfacesReadMs = -Infinity;

  readonly #clock: Clock;

  /** `resolvConf` is where the resolvers are read from: a parameter for tests. */
  constructor(clock: Clock, resolvConf: string = RESOLV_CONF) {
    this.#clock = clock;
    this.#resolvConf = resolvConf;
  }

  connectTcp(ip: IpAddress, port: number, handlers: HostTcpHandlers, zone?: string): HostTcp {
    const host = withZone(ip, zone);
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    refuseItself(socket, host, port);
    socket.pause();
    return new NodeTcp(socket, handlers);
  }

  listenTcp(ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    return new Promise((resolve, reject) => {
      const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => onAccept(this.adopt(socket)));
      server.once('error', (error: NodeJS.ErrnoException) => reject(forwardError(error, ip, port)));
      server.listen({ host: formatIpv4(ip), port, backlog: LISTEN_BACKLOG }, () => {
        server.removeAllListeners('error');
        // EMFILE and the like while accepting: that connection is lost, the listener lives.
        server.on('error', () => {});
        const address = server.address();
        resolve({ port: typeof address === 'object' && address !== null ? address.port : port, close: () => server.close() });
      });
    });
  }

  /** The same on a UNIX socket, which may replace one that nobody listens on. */
  async listenUnix(path: string, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    await removeStaleSocket(path);
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => onAccept(this.adopt(socket)));
      server.once('error', (error: NodeJS.ErrnoException) => reject(new RelayError('RELAY_FORWARD', `can't listen on ${path}: ${error.code ?? error.message}`)));
      server.listen({ path, backlog: LISTEN_BACKLOG }, () => {
        server.removeAllListeners('error');
        server.on('error', () => {});
        resolve({ port: 0, close: () => server.close() });
      });
    });
  }

  /** A socket that is connected already; set `handlers`, then `resume`. It should allow half-open connections. */
  adopt(socket: Socket): HostTcp {
    socket.pause();
    return new NodeTcp(socket, SILENT);
  }

  connectUdp(ip: IpAddress, port: number, handlers: HostUdpHandlers, zone?: string): HostUdp {
    const socket = createSocket({ type: typeof ip === 'number' ? 'udp4' : 'udp6', recvBufferSize: UDP_RECEIVE_BUFFER });
    const udp = new NodeUdp(socket, handlers);
    socket.connect(port, withZone(ip, zone), (error?: Error) => (error === undefined || error === null ? udp.onReady() : udp.onFailed(error)));
    return udp;
  }

  bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    return new Promise((resolve, reject) => {
      const socket = createSocket({ type: 'udp4', recvBufferSize: UDP_RECEIVE_BUFFER });
      const onError = (error: NodeJS.ErrnoException): void => reject(forwardError(error, ip, port));
      socket.once('error', onError);
      socket.bind(port, formatIpv4(ip), () => {
        socket.removeListener('error', onError);
        const udp = new NodeUdp(socket, handlers);
        udp.onReady();
        resolve(udp);
      });
    });
  }

  resolvers(): readonly HostResolver[] {
    this.#readResolvConf();
    return this.#resolverConfig.resolvers;
  }

  /** Whether resolv.conf does; else this computer is asked. */
  namesResolver(): boolean {
    this.#readResolvConf();
    return this.#resolverConfig.isNamed;
  }

  resolverOptions(): HostResolverOptions {
    return this.#resolverConfig.options;
  }

  /** Looks each time, as glibc does: 2 µs, and a laptop that has changed networks asks the right ones at once. */
  #readResolvConf(): void {
    let stamp = '';
    let text = '';
    try {
      const { mtimeMs, ctimeMs, ino, size } = statSync(this.#resolvConf);
      stamp = `${mtimeMs} ${ctimeMs} ${ino} ${size}`;
      if (stamp === this.#resolvConfStamp) return;
      text = readFileSync(this.#resolvConf, 'utf8');
    } catch {
      if (stamp === '' && this.#resolvConfStamp === '') return;
      stamp = '';
    }
    this.#resolvConfStamp = stamp;
    this.#resolverConfig = parseResolvConf(text);
  }

  createForwarder(stack: Stack, hostNet: HostNet, cache: NameCache): NameForwarder {
    return new DnsForwarder(stack, hostNet, cache);
  }

  hasIpv6(): boolean {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#interfacesReadMs < INTERFACES_EVERY_MS) return this.#hasIpv6;
    this.#interfacesReadMs = nowMs;
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    this.#hasIpv6 = addresses.some(({ family, internal, address }) => {
      const ip = family === 'IPv6' && !internal ? parseIpv6(address) : null;
      return ip !== null && !isLinkLocal6(ip);
    });
    return this.#hasIpv6;
  }

  ping(ip: IpAddress, payloadLen: number, ttl: number): Promise<number | null> {
    return new Promise((resolve) => {
      const args = ['-n', '-c', '1', '-W', String(PING_WAIT_S), '-s', String(payloadLen), '-t', String(Math.max(1, ttl - 1)), formatIp(ip)];
      const startMs = this.#clock.nowMs();
      execFile('ping', args, { timeout: (PING_WAIT_S + 1) * 1000 }, (error) => resolve(error === null ? this.#clock.nowMs() - startMs : null));
    });
  }
}

/** A resolv.conf as glibc reads it: at most three servers, and this computer when it names none. */
export function parseResolvConf(text: string): { resolvers: readonly HostResolver[]; options: HostResolverOptions; isNamed: boolean } {
  const resolvers: HostResolver[] = [];
  let options = DEFAULT_RESOLVER_OPTIONS;
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line.split(/[#;]/, 1)[0].trim().split(/\s+/);
    if (keyword === 'options') options = words.reduce(withOption, options);
    if (keyword !== 'nameserver' || resolvers.length >= RESOLVERS_MAX) continue;
    const [address, zone] = (words[0] ?? '').split('%');
    const ip = parseIpv4(address) ?? parseIpv6(address);
    if (ip !== null) resolvers.push({ ip, port: DNS_PORT, ...(zone === undefined || zone === '' ? {} : { zone }) });
  }
  const isNamed = resolvers.length > 0;
  if (!isNamed) resolvers.push({ ip: IPV4_LOOPBACK, port: DNS_PORT });
  return { resolvers, options, isNamed };
}

function withOption(options: HostResolverOptions, word: string): HostResolverOptions {
  const [name, value] = word.split(':');
  const n = Number.parseInt(value ?? '', 10);
  if (name === 'timeout' && n >= 0) return { ...options, timeoutMs: 1000 * Math.min(Math.max(n, 1), TIMEOUT_MAX_S) };
  if (name === 'attempts' && n >= 0) return { ...options, attempts: Math.min(Math.max(n, 1), ATTEMPTS_MAX) };
  if (name === 'rotate') return { ...options, isRotating: true };
  return name === 'use-vc' ? { ...options, isTcpOnly: true } : options;
}

function withZone(ip: IpAddress, zone: string | undefined): string {
  return zone === undefined ? formatIp(ip) : `${formatIp(ip)}%${zone}`;
}

function forwardError(error: NodeJS.ErrnoException, ip: Ipv4, port: number): RelayError {
  return new RelayError('RELAY_FORWARD', `can't listen on ${formatIpv4(ip)}:${port}: ${error.code ?? error.message}`);
}

/**
 * A dial to a closed port of this host, whose own port happens to be the same, reaches itself (RFC 9293 §3.5, simultaneous open):
 * the kernel calls that connected. Nobody is there, so it is refused.
 */
export function refuseItself(socket: Socket, host: string, port: number): void {
  socket.once('connect', () => {
    if (socket.localPort !== port || socket.localAddress !== host) return;
    socket.destroy(Object.assign(new Error('connected to itself'), { code: 'ECONNREFUSED' }));
  });
}

const SILENT: HostTcpHandlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };

class NodeTcp implements HostTcp {
  handlers: HostTcpHandlers;
  readonly #socket: Socket;
  #error: string | null = null;
  readonly #onWritten = (): void => this.handlers.onTaken();

  constructor(socket: Socket, handlers: HostTcpHandlers) {
    this.#socket = socket;
    this.handlers = handlers;
    socket.on('connect', () => { if (!socket.destroyed) this.handlers.onConnect?.(); });
    socket.on('data', (bytes: Buffer) => this.handlers.onData(bytes));
    socket.on('end', () => {
      if (!this.#isResetUnsaid()) return this.handlers.onEnd();
      this.#error = 'ECONNRESET';
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (this.#error = error.code ?? 'EIO'));
    socket.on('close', () => this.handlers.onClose(this.#error));
    // Listening to 'data' has set it flowing.
    socket.pause();
  }

  /**
   * libuv reports data with a reset right behind it as data and a clean end: half a file would pass for a whole one. The
   * kernel still knows: a TCP socket that has not ended its own half and has no peer any more was reset. (After our own end nothing tells the two apart.)
   */
  #isResetUnsaid(): boolean {
    const socket = this.#socket;
    // Asks the kernel as long as nobody has asked before; a UNIX socket has no such addresses at all.
    return socket instanceof Socket && socket.localAddress !== undefined && !socket.writableEnded && socket.remoteAddress === undefined;
  }

  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  get peer(): string | undefined {
    const { remoteAddress, remotePort } = this.#socket;
    return remoteAddress === undefined ? undefined : `${remoteAddress}:${remotePort}`;
  }

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return true;
    socket.write(bytes, this.#onWritten);
    // A socket of the kernel's whose queue is empty has written all in this call; other streams may have kept the bytes.
    return socket.writableLength === 0 && socket.constructor === Socket;
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  end(): void {
    if (!this.#socket.destroyed) this.#socket.end();
  }

  reset(): void {
    if (this.#socket.destroyed) return;
    // Before it is connected there is nothing to reset, and what is no TCP socket (a UNIX socket has no address) can't.
    if (this.#socket instanceof Socket && this.#socket.remoteAddress !== undefined) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }
}

class NodeUdp implements HostUdp, HostListener {
  readonly #socket: DgramSocket;
  readonly #handlers: HostUdpHandlers;
  /** what was to be sent or set before the socket was connected */
  #early: (() => void)[] | null = [];
  #isClosed = false;

  constructor(socket: DgramSocket, handlers: HostUdpHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.on('message', (bytes, peer) => {
      if (!this.#isClosed) this.#handlers.onMessage(bytes, parseIpv4(peer.address) ?? (0 as Ipv4), peer.port);
    });
    socket.on('error', (error) => this.onFailed(error));
  }

  get port(): number {
    return this.#socket.address().port;
  }

  onReady(): void {
    const early = this.#early ?? [];
    this.#early = null;
    for (const act of early) act();
  }

  onFailed(error: NodeJS.ErrnoException): void {
    if (!this.#isClosed) this.#handlers.onError(error.code ?? 'EIO');
  }

  send(bytes: Uint8Array, ip?: Ipv4, port?: number): void {
    if (this.#isClosed) return;
    if (this.#early !== null) return this.#later(() => this.send(bytes, ip, port));
    if (this.#socket.getSendQueueSize() > UDP_QUEUE_MAX) return;
    if (ip === undefined || port === undefined) this.#socket.send(bytes, this.#onSent);
    else this.#socket.send(bytes, port, formatIpv4(ip), this.#onSent);
  }

  setTtl(ttl: number): void {
    if (this.#isClosed) return;
    if (this.#early !== null) return this.#later(() => this.setTtl(ttl));
    this.#socket.setTTL(ttl);
  }

  #later(act: () => void): void {
    if (this.#early!.length < EARLY_MAX) this.#early!.push(act);
  }

  readonly #onSent = (error: Error | null): void => {
    if (error !== null && error !== undefined) this.onFailed(error);
  };

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#early = null;
    this.#socket.close();
  }
}
