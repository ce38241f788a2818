/*
 * The host's network through Node.
 *
 * Any call may find the host without descriptors, memory or ports. What returns a promise rejects then; what returns a socket throws the errno, or says it by
 * `onClose` and `onError`: a network's own seam (contained-host-net.ts) makes one of both. What asks about the host (resolvers, hasIpv6) says what it knew before. Nothing
 * throws out of an event.
 */
import { spawn } from 'node:child_process';
import type { Socket as DgramSocket, SocketOptions } from 'node:dgram';
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
    // Without a time keepalive is the system's: 2 hours, then 9 questions in 11 minutes.
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
    refuseItself(socket, host, port);
    socket.pause();
    return new NodeTcp(socket, handlers);
  }

  listenTcp(ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    return new Promise((resolve, reject) => {
      const server: Server = createServer(
        { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true },
        (socket) => onAccept(this.adopt(socket)),
      );
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

  connectUdp(ip: IpAddress, port: number, handlers: HostUdpHandlers, localPort?: number, zone?: string): HostUdp {
    const socket = newUdpSocket(typeof ip !== 'number', localPort !== undefined);
    const udp = new NodeUdp(socket, handlers, ip, port);
    if (localPort !== undefined) socket.bind({ port: localPort, exclusive: true });
    if (!udp.isBroken) socket.connect(port, withZone(ip, zone), (error?: Error) => (error === undefined || error === null ? udp.onReady() : udp.onFailed(error)));
    return udp;
  }

  openUdp(isV6: boolean, handlers: HostUdpHandlers): HostUdp & HostListener {
    const socket = newUdpSocket(isV6, true);
    const udp = new NodeUdp(socket, handlers);
    const port = freeUdpPort(isV6);
    if (port === 0) udp.failSoon('EMFILE');
    else socket.bind({ port, exclusive: true });
    if (!udp.isBroken) udp.onReady();
    return udp;
  }

  bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    return new Promise((resolve, reject) => {
      const socket = newUdpSocket(false, false);
      const onError = (error: NodeJS.ErrnoException): void => {
        socket.close();
        reject(forwardError(error, ip, port));
      };
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
    } catch (error) {
      // No file names no server. That it can't be read just now says nothing about what is in it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return;
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
    let addresses;
    try {
      addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    } catch {
      // Asking takes a descriptor: what was true before probably still is.
      return this.#hasIpv6;
    }
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
      try {
        // Its exit status says it all: without pipes it costs no descriptors while it waits.
        const child = spawn('ping', args, { timeout: (PING_WAIT_S + 1) * 1000, stdio: 'ignore' });
        child.on('error', () => resolve(null));
        child.on('exit', (code) => resolve(code === 0 ? this.#clock.nowMs() - startMs : null));
      } catch {
        resolve(null);
      }
    });
  }
}

/** Addresses are never names: without this each bind, connect and send would wait for a turn of the event loop. */
function asItIs(address: string, family: number, done: (error: null, address: string, family: number) => void): void {
  done(null, address, family);
}

/** `isShared`: its port may be that of others who say so too. */
function newUdpSocket(isV6: boolean, isShared: boolean): DgramSocket {
  return createSocket({
    type: isV6 ? 'udp6' : 'udp4', ipv6Only: isV6, reuseAddr: isShared,
    lookup: asItIs as unknown as NonNullable<SocketOptions['lookup']>,
  });
}

/**
 * A UDP port that nobody has, 0 when there is none. Where ports may be shared, Linux gives out those that are shared already, our own or
 * another program's; who asks for one of his own gets a free one.
 */
function freeUdpPort(isV6: boolean): number {
  const probe = newUdpSocket(isV6, false);
  let hasFailed = false;
  probe.on('error', () => (hasFailed = true));
  probe.bind({ port: 0, exclusive: true });
  const port = hasFailed ? 0 : probe.address().port;
  probe.close();
  return port;
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

/** what a write says of a connection that is gone: its kernel still holds what had arrived before */
const GONE: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT', 'ENOTCONN', 'EHOSTUNREACH', 'ENETUNREACH']);

type Written = (error?: Error | null) => void;

const SILENT: HostTcpHandlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };

/*
 * An error in one direction must not take away what has arrived in the other: a server that answers and closes while it is still sent
 * something has its answer in our kernel, and a reset right behind. Node destroys a socket at the first error, so:
 *
 *   a write fails     the stream is not told (`#absorb`); it is read to its end, what is written from then on goes nowhere
 *   a read fails      what the stream had read and, being paused, kept, is delivered when it closes
 */
class NodeTcp implements HostTcp {
  handlers: HostTcpHandlers;
  readonly #socket: Socket;
  #error: string | null = null;
  /** a write has failed: all that is left to do is reading */
  #isWriteBroken = false;
  #hasEnded = false;
  #isReset = false;
  #afterWrite: Written = () => {};
  readonly #onWritten = (): void => this.handlers.onTaken();

  constructor(socket: Socket, handlers: HostTcpHandlers) {
    this.#socket = socket;
    this.handlers = handlers;
    socket.on('connect', () => { if (!socket.destroyed) this.handlers.onConnect?.(); });
    socket.on('data', (bytes: Buffer) => this.handlers.onData(bytes));
    socket.on('end', () => {
      this.#hasEnded = true;
      if (!this.#isWriteBroken && !this.#isResetUnsaid()) return this.handlers.onEnd();
      this.#error ??= 'ECONNRESET';
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (this.#error ??= error.code ?? 'EIO'));
    socket.on('close', () => {
      if (this.#error !== null && !this.#isReset) this.#deliverRest();
      this.handlers.onClose(this.#error);
    });
    this.#absorbWriteErrors();
    // Listening to 'data' has set it flowing.
    socket.pause();
  }

  /** What a stream's writers call, wrapped: `_write` and `_writev` are what Node documents for it. One call is out at a time. */
  #absorbWriteErrors(): void {
    /* oxlint-disable no-underscore-dangle -- Node's names */
    const socket = this.#socket;
    const write = socket._write.bind(socket);
    const writev = socket._writev?.bind(socket);
    socket._write = (chunk, encoding, done) => { if (this.#mayWrite(done)) write(chunk, encoding, this.#absorb); };
    if (writev !== undefined) socket._writev = (chunks, done) => { if (this.#mayWrite(done)) writev(chunks, this.#absorb); };
    /* oxlint-enable no-underscore-dangle */
  }

  #mayWrite(done: Written): boolean {
    this.#afterWrite = done;
    if (this.#isWriteBroken) process.nextTick(done);
    return !this.#isWriteBroken;
  }

  readonly #absorb: Written = (error) => {
    const { code } = (error ?? {}) as NodeJS.ErrnoException;
    if (code === undefined || !GONE.has(code)) return this.#afterWrite(error);
    this.#error ??= code;
    this.#isWriteBroken = true;
    this.#afterWrite();
    if (this.#hasEnded) this.#socket.destroy();
  };

  #deliverRest(): void {
    for (let rest: Buffer | null = this.#socket.read(); rest !== null; rest = this.#socket.read()) this.handlers.onData(rest);
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
    if (socket.destroyed || socket.writableEnded || this.#isWriteBroken) return true;
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
    this.#isReset = true;
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

  setKeepalive(idleMs: number): void {
    // UNIX sockets have nothing of the kind, TLS's is that of the socket below.
    this.#socket.setKeepAlive(true, Math.max(1000, Math.round(idleMs / 1000) * 1000));
  }
}

class NodeUdp implements HostUdp, HostListener {
  readonly #socket: DgramSocket;
  readonly #handlers: HostUdpHandlers;
  /** what was to be sent or set before the socket was connected */
  #early: (() => void)[] | null = [];
  #isClosed = false;
  #port = 0;
  /** The socket could not be had. */
  isBroken = false;
  /** of the datagram before: most come from the same */
  #lastAddress = '';
  #lastIp: IpAddress | null = null;

  /** `ip:port` is the only peer of one that is to be connected. */
  constructor(socket: DgramSocket, handlers: HostUdpHandlers, ip?: IpAddress, port = 0) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.on('message', (bytes, peer) => {
      if (this.#isClosed) return;
      if (ip !== undefined) return this.#handlers.onMessage(bytes, ip, port);
      const from = this.#parse(peer.address);
      if (from !== null) this.#handlers.onMessage(bytes, from, peer.port);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#early === null) return this.onFailed(error);
      // Binding fails within the call.
      this.failSoon(error.code ?? 'EIO');
    });
  }

  #parse(address: string): IpAddress | null {
    if (address === this.#lastAddress) return this.#lastIp;
    this.#lastAddress = address;
    return this.#lastIp = parseIpv4(address) ?? parseIpv6(address);
  }

  get port(): number {
    return this.#port;
  }

  onReady(): void {
    const early = this.#early ?? [];
    this.#early = null;
    if (this.#isClosed) return;
    try {
      this.#socket.setRecvBufferSize(UDP_RECEIVE_BUFFER);
    } catch {
      // The host gives less.
    }
    this.#port = this.#socket.address().port;
    for (const act of early) act();
  }

  /** Tells it when the caller has what it called for. */
  failSoon(code: string): void {
    this.isBroken = true;
    process.nextTick(() => this.onFailed(Object.assign(new Error(code), { code })));
  }

  onFailed(error: NodeJS.ErrnoException): void {
    if (!this.#isClosed) this.#handlers.onError(error.code ?? 'EIO');
  }

  send(bytes: Uint8Array, ip?: IpAddress, port?: number): void {
    if (this.#isClosed) return;
    if (this.#early !== null) return this.#later(() => this.send(bytes, ip, port));
    try {
      if (this.#socket.getSendQueueSize() > UDP_QUEUE_MAX) return;
      if (ip === undefined || port === undefined) this.#socket.send(bytes, this.#onSent);
      else this.#socket.send(bytes, port, formatIp(ip), this.#onSent);
    } catch (error) {
      this.onFailed(error as NodeJS.ErrnoException);
    }
  }

  setTtl(ttl: number): void {
    if (this.#isClosed) return;
    if (this.#early !== null) return this.#later(() => this.setTtl(ttl));
    try {
      this.#socket.setTTL(ttl);
    } catch {
      // The socket has failed: its error is on the way.
    }
  }

  #later(act: () => void): void {
    if (this.#early!.length < EARLY_MAX) this.#early!.push(act);
  }

  readonly #onSent = (error: Error | null): void => {
    if (error === null || error === undefined || this.#isClosed) return;
    // Node says whom it was for, where that was not the peer.
    const { code, address, port } = error as { code?: string; address?: string; port?: number };
    // A queue that is full: a datagram is lost, as datagrams are.
    if (code === 'ENOBUFS' || code === 'ENOMEM' || code === 'EAGAIN') return;
    const ip = address === undefined ? null : parseIpv4(address) ?? parseIpv6(address);
    if (ip === null || port === undefined) this.#handlers.onError(code ?? 'EIO');
    else this.#handlers.onError(code ?? 'EIO', ip, port);
  };

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#early = null;
    this.#socket.close();
  }
}
