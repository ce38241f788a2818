/*
 * Ports of the host that lead into a guest (`serve -p`).
 *
 * They belong to the relay and not to a session: opened once at start, where a taken port can still be an error that a person
 * reads, and kept while tabs come and go. What arrives goes to the session whose link came last ("the tab opened last");
 * without one a connection is closed at once, and a datagram is dropped.
 *
 * TCP: an accepted socket is handed to that session's network and stays there, whatever tab comes later. UDP: there is one
 * host socket, while a network's forward binds one of its own. So a network is given a HostNet whose bindUdp on that address
 * and port joins the shared socket: all networks may send through it, and datagrams go to the session that linked last.
 */
import type { Forward } from '../shared/link/tunnel.ts';
import type { HostListener, HostNet, HostResolver, HostTcp, HostUdp, HostUdpHandlers } from '../shared/net/nat/host-net.ts';
import { parseIpv4, type Ipv4 } from '../shared/net/wire/addr.ts';
import type { IpAddress } from '../shared/net/wire/addr6.ts';
import { RelayError } from '../shared/relay-error.ts';
import type { ForwardRequest } from './config.ts';
import type { Session } from './session.ts';

interface SharedUdp {
  readonly ip: Ipv4;
  readonly port: number;
  readonly socket: HostUdp;
  readonly guestPort: number;
  /** of each session's network that joined */
  readonly handlers: Map<Session, HostUdpHandlers>;
}

export class Forwards {
  /** as the page is told */
  readonly list: Forward[] = [];
  readonly #hostNet: HostNet;
  readonly #target: () => Session | null;
  readonly #listeners: HostListener[] = [];
  readonly #udp: SharedUdp[] = [];

  /** `target` names the session that gets what arrives now, if any. */
  constructor(hostNet: HostNet, target: () => Session | null) {
    this.#hostNet = hostNet;
    this.#target = target;
  }

  /** Rejects with RELAY_FORWARD when the host's side can't be opened. */
  async open(request: ForwardRequest): Promise<void> {
    const ip = parseIpv4(request.hostIp);
    if (ip === null) throw new RelayError('RELAY_BAD_FLAG', `-p: ${request.hostIp} is not an IPv4 address`);
    let hostPort: number;
    try {
      hostPort = request.protocol === 'tcp' ? await this.#openTcp(ip, request) : await this.#openUdp(ip, request);
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      throw new RelayError('RELAY_FORWARD', `-p ${request.hostPort}:${request.guestPort}/${request.protocol}: ${error.message}. Choose another host port.`);
    }
    const forward: Forward = { host: `${request.hostIp}:${hostPort}`, guest: request.guestPort };
    if (request.protocol === 'udp') forward.protocol = 'udp';
    this.list.push(forward);
  }

  /** The HostNet for the network of `session`: with a share in the UDP sockets. */
  hostNetFor(session: Session): HostNet {
    return new SharingHostNet(this.#hostNet, (ip, port, handlers) => {
      const shared = this.#udp.find((udp) => udp.ip === ip && udp.port === port);
      if (shared === undefined) return null;
      shared.handlers.set(session, handlers);
      return {
        port,
        send: (bytes, toIp, toPort) => shared.socket.send(bytes, toIp, toPort),
        setTtl: () => {},
        close: () => { if (shared.handlers.get(session) === handlers) shared.handlers.delete(session); },
      };
    });
  }

  /** The UDP forwards that a new network must join. */
  udpForwards(): { hostIp: Ipv4; hostPort: number; guestPort: number }[] {
    return this.#udp.map((udp) => ({ hostIp: udp.ip, hostPort: udp.port, guestPort: udp.guestPort }));
  }

  /** Idempotent. */
  close(): void {
    for (const listener of this.#listeners.splice(0)) listener.close();
    this.#udp.length = 0;
  }

  async #openTcp(ip: Ipv4, request: ForwardRequest): Promise<number> {
    const listener = await this.#hostNet.listenTcp(ip, request.hostPort, (socket) => {
      const session = this.#target();
      if (session === null) refuse(socket);
      else session.forwardTcp(socket, request.guestPort);
    });
    this.#listeners.push(listener);
    return listener.port;
  }

  async #openUdp(ip: Ipv4, request: ForwardRequest): Promise<number> {
    const handlers = new Map<Session, HostUdpHandlers>();
    const current = (): HostUdpHandlers | undefined => {
      const session = this.#target();
      return session === null ? undefined : handlers.get(session);
    };
    const socket = await this.#hostNet.bindUdp(ip, request.hostPort, {
      onMessage: (bytes, srcIp, srcPort) => current()?.onMessage(bytes, srcIp, srcPort),
      onError: (error, toIp, toPort) => current()?.onError(error, toIp, toPort),
    });
    this.#listeners.push(socket);
    const { port } = socket;
    this.#udp.push({ ip, port, socket, guestPort: request.guestPort, handlers });
    return port;
  }
}

class SharingHostNet implements HostNet {
  readonly #hostNet: HostNet;
  readonly #share: (ip: Ipv4, port: number, handlers: HostUdpHandlers) => (HostUdp & HostListener) | null;

  constructor(hostNet: HostNet, share: (ip: Ipv4, port: number, handlers: HostUdpHandlers) => (HostUdp & HostListener) | null) {
    this.#hostNet = hostNet;
    this.#share = share;
  }

  bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    const shared = port === 0 ? null : this.#share(ip, port, handlers);
    return shared !== null ? Promise.resolve(shared) : this.#hostNet.bindUdp(ip, port, handlers);
  }

  connectTcp(...args: Parameters<HostNet['connectTcp']>): HostTcp { return this.#hostNet.connectTcp(...args); }
  listenTcp(ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> { return this.#hostNet.listenTcp(ip, port, onAccept); }
  connectUdp(...args: Parameters<HostNet['connectUdp']>): HostUdp { return this.#hostNet.connectUdp(...args); }
  openUdp(...args: Parameters<HostNet['openUdp']>): HostUdp & HostListener { return this.#hostNet.openUdp(...args); }
  resolvers(): readonly HostResolver[] { return this.#hostNet.resolvers(); }
  resolverOptions(): ReturnType<HostNet['resolverOptions']> { return this.#hostNet.resolverOptions(); }
  createForwarder(...args: Parameters<HostNet['createForwarder']>): ReturnType<HostNet['createForwarder']> { return this.#hostNet.createForwarder(...args); }
  hasIpv6(): boolean { return this.#hostNet.hasIpv6(); }
  ping(ip: IpAddress, payloadLen: number, ttl: number): Promise<number | null> { return this.#hostNet.ping(ip, payloadLen, ttl); }
}

function refuse(socket: HostTcp): void {
  socket.handlers = { onData: () => {}, onEnd: () => {}, onTaken: () => {}, onClose: () => {} };
  socket.reset();
}
