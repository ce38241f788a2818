/*
 * Ports and UNIX sockets of the host that lead into guests, by gvproxy's names for them.
 *
 * `local` is the key, as the caller wrote it: `:8080` (every address of the host), `127.0.0.1:8080`, or the path of a UNIX
 * socket. TCP and UDP are forwards of the network, so those made elsewhere (`-p`) are listed and taken back here too; UNIX sockets
 * are ours.
 */
import { isAbsolute } from 'node:path';
import type { HostListener, HostTcp } from '../../shared/net/nat/host-net.ts';
import type { Forward, VirtualNetwork } from '../../shared/net/services/network.ts';
import { whyNoGuest } from '../../shared/net/services/network-config.ts';
import { formatIpv4, IPV4_ANY, IPV4_LOOPBACK, parseIpv4, type Ipv4 } from '../../shared/net/wire/addr.ts';
import { ApiError } from './api-error.ts';

/** Listens on a UNIX socket. Rejects with RELAY_FORWARD when it can't be had. */
export type ListenUnix = (path: string, onAccept: (socket: HostTcp) => void) => Promise<HostListener>;

export interface ExposedJson {
  local: string;
  remote: string;
  protocol: string;
}

export interface ExposedOptions {
  listenUnix?: ListenUnix;
  maxForwards: number;
  loopbackOnly: boolean;
}

/** of sockaddr_un, without the final 0 */
const UNIX_PATH_MAX = 107;

export class Exposed {
  readonly #network: Pick<VirtualNetwork, 'config' | 'addForward' | 'forwards' | 'forwardTcp'>;
  readonly #options: ExposedOptions;
  /** what the caller called a forward of the network */
  readonly #locals = new WeakMap<Forward, string>();
  readonly #unix = new Map<string, { remote: string; listener: HostListener }>();
  /** being opened, as `protocol/local` */
  readonly #opening = new Set<string>();

  constructor(network: Pick<VirtualNetwork, 'config' | 'addForward' | 'forwards' | 'forwardTcp'>, options: ExposedOptions) {
    this.#network = network;
    this.#options = options;
  }

  list(): ExposedJson[] {
    const forwards = this.#network.forwards().map((forward) => ({
      local: this.#localOf(forward), remote: `${formatIpv4(forward.guestIp)}:${forward.guestPort}`, protocol: forward.protocol as string,
    }));
    const unix = [...this.#unix].map(([local, { remote }]) => ({ local, remote, protocol: 'unix' }));
    return [...forwards, ...unix].toSorted((a, b) => compare(a.local, b.local) || compare(a.protocol, b.protocol));
  }

  /** Throws ApiError, or RelayError when the host's side can't be had. */
  async expose(protocol: string, local: string, remote: string): Promise<void> {
    const key = `${protocol}/${local}`;
    const all = this.list();
    if (this.#opening.has(key) || all.some((one) => one.protocol === protocol && one.local === local)) {
      throw new ApiError(500, `proxy already running for ${protocol} on ${local}`);
    }
    if (all.length + this.#opening.size >= this.#options.maxForwards) throw new ApiError(500, `no more than ${this.#options.maxForwards} forwards`);
    this.#opening.add(key);
    try {
      if (protocol === 'unix') await this.#exposeUnix(local, remote);
      else if (protocol === 'tcp' || protocol === 'udp') await this.#exposePort(protocol, local, remote);
      else throw new ApiError(500, `unknown protocol ${protocol.slice(0, 20)}`);
    } finally {
      this.#opening.delete(key);
    }
  }

  /** False when there is no such thing. */
  unexpose(protocol: string, local: string): boolean {
    if (protocol === 'unix') {
      this.#unix.get(local)?.listener.close();
      return this.#unix.delete(local);
    }
    const forward = this.#network.forwards().find((one) => one.protocol === protocol && this.#localOf(one) === local);
    forward?.close();
    return forward !== undefined;
  }

  /** Closes the UNIX sockets; the network closes its forwards. Idempotent. */
  close(): void {
    for (const { listener } of this.#unix.values()) listener.close();
    this.#unix.clear();
  }

  async #exposePort(protocol: 'tcp' | 'udp', local: string, remote: string): Promise<void> {
    const guest = this.#parseRemote(remote);
    const at = parseLocal(local);
    if (this.#options.loopbackOnly && at.ip >>> 24 !== IPV4_LOOPBACK >>> 24) throw new ApiError(403, 'only addresses of 127.0.0.0/8 may be listened on, as in 127.0.0.1:8080');
    const forward = await this.#network.addForward({ protocol, hostIp: at.ip, hostPort: at.port, guestIp: guest.ip, guestPort: guest.port });
    // Of a port that the host chose, the caller must hear which one it is.
    if (at.port !== 0) this.#locals.set(forward, local);
  }

  async #exposeUnix(path: string, remote: string): Promise<void> {
    const { listenUnix } = this.#options;
    if (listenUnix === undefined) throw new ApiError(403, 'UNIX sockets are not offered here');
    const match = /^(?<scheme>[a-z-]+):\/\/(?<address>.*)$/.exec(remote)?.groups;
    if (match === undefined) throw new ApiError(500, `the remote of a UNIX socket is tcp://IP:PORT, not "${remote.slice(0, 100)}"`);
    if (match['scheme'] !== 'tcp') throw new ApiError(500, `remote protocol for unix forwarder is not implemented: ${match['scheme']}`);
    if (!isAbsolute(path) || path.includes('\0') || Buffer.byteLength(path) > UNIX_PATH_MAX) throw new ApiError(500, `a UNIX socket needs an absolute path of at most ${UNIX_PATH_MAX} bytes`);
    const guest = this.#parseRemote(match['address']);
    const listener = await listenUnix(path, (socket) => this.#network.forwardTcp(socket, guest.port, guest.ip));
    this.#unix.set(path, { remote, listener });
  }

  #localOf(forward: Forward): string {
    return this.#locals.get(forward) ?? `${formatIpv4(forward.hostIp)}:${forward.hostPort}`;
  }

  /** `IP:PORT` of a guest; without an address the network's own guest. */
  #parseRemote(text: string): { ip: Ipv4; port: number } {
    const match = /^(?<ip>.*):(?<port>\d{1,5})$/.exec(text)?.groups;
    if (match === undefined) throw new ApiError(400, `address ${text.slice(0, 100)}: missing port in address`);
    const ip = match['ip'] === '' ? this.#network.config.defaultGuestIp : parseIpv4(match['ip']);
    const port = Number(match['port']);
    if (ip === null || port < 1 || port > 65_535) throw new ApiError(500, `invalid remote addr ${text.slice(0, 100)}`);
    const why = whyNoGuest(this.#network.config, ip);
    if (why !== null) throw new ApiError(500, `invalid remote addr ${text.slice(0, 100)}: ${formatIpv4(ip)} is ${why}`);
    return { ip, port };
  }
}

function parseLocal(text: string): { ip: Ipv4; port: number } {
  const match = /^(?<ip>.*):(?<port>\d{1,5})$/.exec(text)?.groups;
  if (match === undefined) throw new ApiError(500, `address ${text.slice(0, 100)}: missing port in address`);
  const ip = match['ip'] === '' ? IPV4_ANY : match['ip'] === 'localhost' ? IPV4_LOOPBACK : parseIpv4(match['ip']);
  if (ip === null || Number(match['port']) > 65_535) throw new ApiError(500, `address ${text.slice(0, 100)}: not an IPv4 address and a port`);
  return { ip, port: Number(match['port']) };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
