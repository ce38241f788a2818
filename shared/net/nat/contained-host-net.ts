/*
 * The seam between a network and its host: what comes through it in either direction costs one flow at most.
 *
 *   host's event ─▶ ContainedTcp.onData … ─▶ handlers of a flow      what these throw is our bug: the flow is told that its socket broke (EIO), the socket is reset
 *   flow's call  ─▶ ContainedTcp.write …  ─▶ the host's socket       what that throws, likewise
 *
 * A host that has no socket to give, be it that it throws or that the budget is used up, answers as one whose dial failed: by `onClose` or
 * `onError` with EMFILE or its like, never within the call. Every socket is counted against the budget until the host has closed it.
 *
 * There is one object per socket, no copy, and nothing is allocated per event.
 */
import { RelayError } from '../../relay-error.ts';
import type { Containment } from '../stack/containment.ts';
import type { Ipv4 } from '../wire/addr.ts';
import type { IpAddress } from '../wire/addr6.ts';
import { isExhausted } from './host-error.ts';
import type { HostListener, HostNet, HostResolver, HostTcp, HostTcpHandlers, HostUdp, HostUdpHandlers, SocketBudget } from './host-net.ts';

const BOUNDLESS: SocketBudget = { take: () => () => {} };
const NO_ROOM = 'EMFILE';
/** what a flow hears of a bug of ours: none of the errors that leave it alive */
const BROKEN = 'EIO';

export interface SeamOptions {
  containment: Containment;
  /** calls back when the caller has returned */
  soon: (fn: () => void) => void;
  onExhausted?: ((error: string) => void) | undefined;
  /** absent: without bounds */
  budget?: SocketBudget | undefined;
}

/** What all sockets of one network share. */
class Seam {
  readonly containment: Containment;
  readonly soon: (fn: () => void) => void;
  readonly budget: SocketBudget;
  readonly #onExhausted: ((error: string) => void) | undefined;

  constructor({ containment, soon, onExhausted, budget = BOUNDLESS }: SeamOptions) {
    this.containment = containment;
    this.soon = soon;
    this.budget = budget;
    this.#onExhausted = onExhausted;
  }

  /** Counts an error if it is the host's own trouble. */
  note(error: string | null): void {
    if (error === null || !isExhausted(error)) return;
    this.containment.counters.hostExhausted++;
    if (this.#onExhausted !== undefined) this.containment.run('host', () => this.#onExhausted!(error));
  }
}

export class ContainedHostNet implements HostNet {
  readonly #hostNet: HostNet;
  readonly #seam: Seam;
  readonly #containment: Containment;
  readonly #isOwn: boolean;
  #hadIpv6 = false;
  #knownResolvers: readonly HostResolver[] = [];

  /** `isOwn`: sockets are the gateway's own. */
  constructor(hostNet: HostNet, options: SeamOptions, isOwn: boolean) {
    this.#hostNet = hostNet;
    this.#seam = new Seam(options);
    this.#containment = options.containment;
    this.#isOwn = isOwn;
  }

  connectTcp(...[ip, port, handlers, ...more]: Parameters<HostNet['connectTcp']>): HostTcp {
    const give = this.#seam.budget.take(this.#isOwn);
    const tcp = new ContainedTcp(this.#seam, handlers, give);
    if (give === null) tcp.breakSoon(NO_ROOM);
    else {
      try {
        tcp.socket = this.#hostNet.connectTcp(ip, port, tcp, ...more);
      } catch (error) {
        tcp.breakSoon(this.#codeOf(error));
      }
    }
    return tcp;
  }

  /** A socket that was accepted, or comes from elsewhere; null when there is no room for it: it was reset. */
  adopt(socket: HostTcp): HostTcp | null {
    const give = this.#seam.budget.take(this.#isOwn);
    if (give === null) {
      this.#seam.note(NO_ROOM);
      socket.handlers = SILENT;
      this.#containment.run('host', () => socket.reset());
      return null;
    }
    const tcp = new ContainedTcp(this.#seam, SILENT, give);
    tcp.socket = socket;
    socket.handlers = tcp;
    return tcp;
  }

  async listenTcp(ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    const give = this.#takeListener();
    try {
      const listener = await this.#hostNet.listenTcp(ip, port, (socket) => this.#onAccept(socket, onAccept));
      return new ContainedListener(listener, give);
    } catch (error) {
      give();
      throw error;
    }
  }

  #onAccept(socket: HostTcp, onAccept: (socket: HostTcp) => void): void {
    const tcp = this.adopt(socket);
    if (tcp !== null && !this.#containment.run('host', () => onAccept(tcp))) tcp.reset();
  }

  connectUdp(...[ip, port, handlers, ...more]: Parameters<HostNet['connectUdp']>): HostUdp {
    return this.#makeUdp(handlers, true, (udp) => this.#hostNet.connectUdp(ip, port, udp, ...more));
  }

  /** One that the host makes at once. `isOnePeers`: with one peer only. */
  #makeUdp(handlers: HostUdpHandlers, isOnePeers: boolean, make: (udp: ContainedUdp) => HostUdp): ContainedUdp {
    const give = this.#seam.budget.take(this.#isOwn);
    const udp = new ContainedUdp(this.#seam, handlers, give, isOnePeers);
    if (give === null) udp.breakSoon(NO_ROOM);
    else {
      try {
        udp.socket = make(udp);
      } catch (error) {
        udp.breakSoon(this.#codeOf(error));
      }
    }
    return udp;
  }

  openUdp(isV6: boolean, handlers: HostUdpHandlers): HostUdp & HostListener {
    return this.#makeUdp(handlers, false, (udp) => {
      const socket = this.#hostNet.openUdp(isV6, udp);
      udp.port = socket.port;
      return socket;
    });
  }

  async bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    const give = this.#takeListener();
    const udp = new ContainedUdp(this.#seam, handlers, give, false);
    try {
      const socket = await this.#hostNet.bindUdp(ip, port, udp);
      udp.socket = socket;
      udp.port = socket.port;
      return udp;
    } catch (error) {
      give();
      throw error;
    }
  }

  resolvers(): readonly HostResolver[] {
    this.#containment.run('host', () => { this.#knownResolvers = this.#hostNet.resolvers(); });
    return this.#knownResolvers;
  }

  resolverOptions(): ReturnType<HostNet['resolverOptions']> { return this.#hostNet.resolverOptions(); }

  /** Its sockets are contained as well: they are made by the `hostNet` that it is given. */
  createForwarder(...args: Parameters<HostNet['createForwarder']>): ReturnType<HostNet['createForwarder']> { return this.#hostNet.createForwarder(...args); }

  hasIpv6(): boolean {
    this.#containment.run('host', () => { this.#hadIpv6 = this.#hostNet.hasIpv6(); });
    return this.#hadIpv6;
  }

  /** Rejects where the host's does. */
  ping(ip: IpAddress, payloadLen: number, ttl: number): Promise<number | null> {
    try {
      return this.#hostNet.ping(ip, payloadLen, ttl);
    } catch (error) {
      this.#containment.caught('host', error);
      return Promise.resolve(null);
    }
  }

  #takeListener(): () => void {
    const give = this.#seam.budget.take(this.#isOwn);
    if (give !== null) return give;
    this.#seam.note(NO_ROOM);
    throw new RelayError('RELAY_FORWARD', 'the host has no descriptor left for another port: close a forward, or raise its limit (ulimit -n)');
  }

  /** Of what a HostNet should not have thrown. */
  #codeOf(error: unknown): string {
    const { code } = error as { code?: unknown };
    if (typeof code === 'string' && isExhausted(code)) return code;
    this.#containment.caught('host', error);
    return BROKEN;
  }
}

const SILENT: HostTcpHandlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };

/** The host's socket to the flow, and the flow's handlers to the host's socket. */
class ContainedTcp implements HostTcp, HostTcpHandlers {
  handlers: HostTcpHandlers;
  /** null: there is none to be had */
  socket: HostTcp | null = null;
  readonly #seam: Seam;
  readonly #containment: Containment;
  #give: (() => void) | null;
  /** `handlers` have heard their last */
  #isOver = false;

  constructor(seam: Seam, handlers: HostTcpHandlers, give: (() => void) | null) {
    this.#seam = seam;
    this.#containment = seam.containment;
    this.handlers = handlers;
    this.#give = give;
  }

  // ---- the host speaks ----

  onConnect(): void {
    if (this.#isOver) return;
    this.#containment.unfinished = null;
    try {
      this.handlers.onConnect?.();
    } catch (error) {
      this.#fail(error);
    }
  }

  onData(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#containment.unfinished = null;
    try {
      this.handlers.onData(bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  onEnd(): void {
    if (this.#isOver) return;
    this.#containment.unfinished = null;
    try {
      this.handlers.onEnd();
    } catch (error) {
      this.#fail(error);
    }
  }

  onTaken(): void {
    if (this.#isOver) return;
    this.#containment.unfinished = null;
    try {
      this.handlers.onTaken();
    } catch (error) {
      this.#fail(error);
    }
  }

  onClose(error: string | null): void {
    this.#give?.();
    this.#give = null;
    this.#end(error);
  }

  #end(error: string | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#seam.note(error);
    this.#containment.unfinished = null;
    try {
      this.handlers.onClose(error);
    } catch (bug) {
      this.#containment.undo();
      this.#containment.run('host', () => this.handlers.onLost?.());
      this.#containment.unfinished = null;
      this.#containment.caught('host', bug);
    }
  }

  /** What threw may have left its flow in any state: both sides of it end. */
  #fail(error: unknown): void {
    this.#containment.undo();
    this.#end(BROKEN);
    try {
      this.socket?.reset();
    } catch (second) {
      this.#containment.caught('host', second);
    }
    this.#containment.unfinished = null;
    this.#containment.caught('host', error);
  }

  // ---- the flow speaks ----

  /** Tells the flow by itself what is wrong, when it has returned to where it called from. */
  breakSoon(error: string): void {
    const broken = (): void => this.onClose(error);
    if (!this.#containment.run('host', () => this.#seam.soon(broken))) broken();
  }

  #onThrown(error: unknown): void {
    this.breakSoon(BROKEN);
    this.#containment.caught('host', error);
  }

  get pendingBytes(): number { return this.socket?.pendingBytes ?? 0; }
  get peer(): string | undefined { return this.socket?.peer; }

  write(bytes: Uint8Array): boolean {
    if (this.socket === null) return true;
    try {
      return this.socket.write(bytes);
    } catch (error) {
      this.#onThrown(error);
      return false;
    }
  }

  cork(): void { this.socket?.cork(); }
  uncork(): void { this.socket?.uncork(); }

  end(): void {
    try {
      this.socket?.end();
    } catch (error) {
      this.#onThrown(error);
    }
  }

  reset(): void {
    // One that there is none of says its end by itself.
    try {
      this.socket?.reset();
    } catch (error) {
      this.#onThrown(error);
    }
  }

  setKeepalive(idleMs: number): void {
    try {
      this.socket?.setKeepalive(idleMs);
    } catch (error) {
      this.#onThrown(error);
    }
  }

  pause(): void {
    try {
      this.socket?.pause();
    } catch (error) {
      this.#onThrown(error);
    }
  }

  resume(): void {
    try {
      this.socket?.resume();
    } catch (error) {
      this.#onThrown(error);
    }
  }
}

class ContainedUdp implements HostUdp, HostListener, HostUdpHandlers {
  socket: HostUdp | null = null;
  /** of a bound one, else 0 */
  port = 0;
  readonly #seam: Seam;
  readonly #containment: Containment;
  readonly #handlers: HostUdpHandlers;
  #give: (() => void) | null;
  /** one peer only: what goes wrong with a datagram of his ends it */
  readonly #isOnePeers: boolean;
  #isClosed = false;

  constructor(seam: Seam, handlers: HostUdpHandlers, give: (() => void) | null, isOnePeers: boolean) {
    this.#seam = seam;
    this.#containment = seam.containment;
    this.#handlers = handlers;
    this.#give = give;
    this.#isOnePeers = isOnePeers;
  }

  onMessage(bytes: Uint8Array, srcIp: Parameters<HostUdpHandlers['onMessage']>[1], srcPort: number): void {
    if (this.#isClosed) return;
    this.#containment.unfinished = null;
    try {
      this.#handlers.onMessage(bytes, srcIp, srcPort);
    } catch (error) {
      this.#containment.undo();
      if (this.#isOnePeers) this.onError(BROKEN);
      this.#containment.unfinished = null;
      this.#containment.caught('host', error);
    }
  }

  onError(...what: Parameters<HostUdpHandlers['onError']>): void {
    if (this.#isClosed) return;
    this.#seam.note(what[0]);
    if (!this.#containment.run('host', () => this.#handlers.onError(...what))) this.close();
  }

  breakSoon(error: string): void {
    const broken = (): void => this.onError(error);
    if (!this.#containment.run('host', () => this.#seam.soon(broken))) broken();
  }

  send(bytes: Uint8Array, ip?: Parameters<HostUdp['send']>[1], port?: number): void {
    try {
      this.socket?.send(bytes, ip, port);
    } catch (error) {
      this.breakSoon(BROKEN);
      this.#containment.caught('host', error);
    }
  }

  setTtl(ttl: number): void {
    try {
      this.socket?.setTtl(ttl);
    } catch (error) {
      this.#containment.caught('host', error);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#give?.();
    this.#give = null;
    this.#containment.run('host', () => this.socket?.close());
  }
}

class ContainedListener implements HostListener {
  readonly #listener: HostListener;
  #give: (() => void) | null;

  constructor(listener: HostListener, give: () => void) {
    this.#listener = listener;
    this.#give = give;
  }

  get port(): number { return this.#listener.port; }

  close(): void {
    this.#listener.close();
    this.#give?.();
    this.#give = null;
  }
}
