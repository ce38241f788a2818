/** A host for tests: sockets are objects that the test holds in its hands. */
import {
  DEFAULT_RESOLVER_OPTIONS, type HostListener, type HostNet, type HostResolver, type HostResolverOptions, type HostTcp, type HostTcpHandlers, type HostUdp,
  type HostUdpHandlers, type NameCache, type NameForwarder,
} from '../nat/host-net.ts';
import type { Stack } from '../stack/stack.ts';
import type { Ipv4 } from '../wire/addr.ts';
import { parseIpv4 } from '../wire/addr.ts';
import type { IpAddress } from '../wire/addr6.ts';
import { formatEndpoint, formatIp } from '../wire/addr6.ts';
import { DnsForwarder } from './dns-forwarder.ts';

export class FakeTcp implements HostTcp {
  handlers: HostTcpHandlers;
  readonly to: string;
  readonly sent: Uint8Array[] = [];
  written = 0;
  pendingBytes = 0;
  isPaused = true;
  hasEnded = false;
  isReset = false;
  readonly keepalives: number[] = [];
  /** what is written stays pending */
  isStalled = false;

  constructor(to: string, handlers: HostTcpHandlers) {
    this.to = to;
    this.handlers = handlers;
  }

  write(bytes: Uint8Array): boolean {
    this.sent.push(bytes);
    this.written += bytes.length;
    if (this.isStalled) this.pendingBytes += bytes.length;
    return !this.isStalled;
  }
  cork(): void {}
  uncork(): void {}
  end(): void { this.hasEnded = true; }
  reset(): void {
    if (this.isReset) return;
    this.isReset = true;
    this.handlers.onClose(null);
  }
  pause(): void { this.isPaused = true; }
  resume(): void { this.isPaused = false; }
  setKeepalive(idleMs: number): void { this.keepalives.push(idleMs); }
}

export class FakeUdp implements HostUdp, HostListener {
  readonly to: string;
  readonly handlers: HostUdpHandlers;
  readonly port: number;
  readonly sent: Uint8Array[] = [];
  /** where to, of what was not sent to the peer of a connected one */
  readonly sentTo: string[] = [];
  readonly ttls: number[] = [];
  isClosed = false;

  constructor(to: string, handlers: HostUdpHandlers, port = 5000) {
    this.to = to;
    this.handlers = handlers;
    this.port = port;
  }

  send(bytes: Uint8Array, ip?: IpAddress, port?: number): void {
    this.sent.push(bytes);
    if (ip !== undefined && port !== undefined) this.sentTo.push(formatEndpoint(ip, port));
  }
  setTtl(ttl: number): void { this.ttls.push(ttl); }
  close(): void { this.isClosed = true; }
}

export class FakeHostNet implements HostNet {
  readonly tcp: FakeTcp[] = [];
  readonly udp: FakeUdp[] = [];
  /** those of `openUdp`; a twin of one has its port */
  readonly mappings: FakeUdp[] = [];
  readonly pinged: string[] = [];
  /** what a ping returns */
  rttMs: number | null = null;
  hasV6 = true;
  accept: ((socket: HostTcp) => void) | null = null;
  resolverList: HostResolver[] = [{ ip: parseIpv4('10.0.0.53')!, port: 53 }];
  options: HostResolverOptions = DEFAULT_RESOLVER_OPTIONS;

  connectTcp(ip: IpAddress, port: number, handlers: HostTcpHandlers): HostTcp {
    const socket = new FakeTcp(`${formatIp(ip)}:${port}`, handlers);
    this.tcp.push(socket);
    return socket;
  }

  listenTcp(_ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    this.accept = onAccept;
    return Promise.resolve({ port: port || 4321, close: () => (this.accept = null) });
  }

  connectUdp(ip: IpAddress, port: number, handlers: HostUdpHandlers, localPort?: number): HostUdp {
    const socket = new FakeUdp(`${formatIp(ip)}:${port}`, handlers, localPort);
    this.udp.push(socket);
    return socket;
  }

  openUdp(isV6: boolean, handlers: HostUdpHandlers): HostUdp & HostListener {
    const socket = new FakeUdp(isV6 ? '::' : '0.0.0.0', handlers, 40_000 + this.mappings.length);
    this.mappings.push(socket);
    return socket;
  }

  bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    const socket = new FakeUdp(`${formatIp(ip)}:${port}`, handlers);
    this.udp.push(socket);
    return Promise.resolve(socket);
  }

  resolvers(): readonly HostResolver[] { return this.resolverList; }
  resolverOptions(): HostResolverOptions { return this.options; }
  createForwarder(stack: Stack, hostNet: HostNet, cache: NameCache): NameForwarder { return new DnsForwarder(stack, hostNet, cache); }
  hasIpv6(): boolean { return this.hasV6; }
  ping(ip: IpAddress): Promise<number | null> {
    this.pinged.push(formatIp(ip));
    return Promise.resolve(this.rttMs);
  }
}
