/*
 * The host under a network that is fuzzed: sockets that do what the script says, and judge what the network does with them.
 *
 * Unlike the tests' FakeHostNet it keeps nothing of what is over, as its network lives through hundreds of inputs. Oracles: only addresses that may be
 * reached are dialled, and none that the policy denies; nothing is written behind the end or after a reset; bytes that a socket has
 * not taken do not change.
 */
import type {
  HostListener, HostNet, HostResolver, HostResolverOptions, HostTcp, HostTcpHandlers, HostUdp, HostUdpHandlers, NameCache, NameForwarder,
} from '../../shared/net/nat/host-net.ts';
import { DEFAULT_RESOLVER_OPTIONS } from '../../shared/net/nat/host-net.ts';
import { DnsForwarder } from '../../shared/net/services/dns-forwarder.ts';
import type { Stack } from '../../shared/net/stack/stack.ts';
import type { PolicyProtocol, PolicyRule } from '../../shared/net/nat/policy.ts';
import { ip, ip6 } from '../../shared/net/stack/fixture/frames.ts';
import type { Ipv4 } from '../../shared/net/wire/addr.ts';
import { formatIp, type IpAddress } from '../../shared/net/wire/addr6.ts';
import { check } from './target.ts';
import type { World } from './worlds.ts';

/** of what was sent last, for answers that repeat its question */
const KEPT_LEN = 600;

/** What the host's systems do with a socket; steps of a script ask for it. */
export class ScriptedTcp implements HostTcp {
  handlers: HostTcpHandlers;
  pendingBytes = 0;
  isPaused = true;
  /** what is written stays pending */
  isStalled = false;
  /** the peer has answered, has sent its FIN, is gone */
  isOpen = false;
  hasEnded = false;
  isClosed = false;
  lastWritten = new Uint8Array(0);
  readonly #host: ScriptedHost;
  readonly #pending: { bytes: Uint8Array; sum: number }[] = [];
  #isFinished = false;

  constructor(host: ScriptedHost, handlers: HostTcpHandlers) {
    this.#host = host;
    this.handlers = handlers;
  }

  write(bytes: Uint8Array): boolean {
    check(!this.#isFinished && !this.isClosed, () => 'a host socket is written to behind its end');
    this.#host.activity++;
    if (bytes.length <= KEPT_LEN) this.lastWritten = bytes.slice();
    if (!this.isStalled) return true;
    this.pendingBytes += bytes.length;
    this.#pending.push({ bytes, sum: sumOf(bytes) });
    return false;
  }

  cork(): void {}
  uncork(): void {}

  end(): void {
    this.#host.activity++;
    this.#isFinished = true;
  }

  reset(): void {
    this.#host.activity++;
    this.close(null);
  }

  setKeepalive(idleMs: number): void { check(Number.isFinite(idleMs) && idleMs > 0, () => `keepalive after ${idleMs} ms`); }
  pause(): void { this.isPaused = true; }
  resume(): void { this.isPaused = false; }

  /** The kernel takes some of what is pending. */
  take(len: number): void {
    this.pendingBytes = Math.max(0, this.pendingBytes - len);
    let left = this.#pending.reduce((sum, { bytes }) => sum + bytes.length, 0);
    while (this.#pending.length > 0 && left - this.#pending[0].bytes.length >= this.pendingBytes) {
      const { bytes, sum } = this.#pending.shift()!;
      left -= bytes.length;
      check(sumOf(bytes) === sum, () => 'bytes that a host socket has not taken were changed');
    }
    this.handlers.onTaken();
  }

  /** The last that is heard of it. */
  close(error: string | null): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#host.forgetTcp(this);
    this.handlers.onClose(error);
  }
}

export class ScriptedUdp implements HostUdp, HostListener {
  readonly handlers: HostUdpHandlers;
  readonly port: number;
  /** of a forward, or of a guest's port: it hears everyone */
  readonly isBound: boolean;
  isClosed = false;
  lastSent: Uint8Array | null = null;
  readonly #host: ScriptedHost;
  /** of a guest's port: asked about each destination */
  readonly #judge: ((to: IpAddress, port: number) => void) | null;

  constructor(host: ScriptedHost, handlers: HostUdpHandlers, port: number, isBound: boolean, judge: ((to: IpAddress, port: number) => void) | null = null) {
    this.#judge = judge;
    this.#host = host;
    this.handlers = handlers;
    this.port = port;
    this.isBound = isBound;
  }

  send(bytes: Uint8Array, to?: IpAddress, port?: number): void {
    check(!this.isClosed, () => 'a closed UDP socket is sent by');
    if (this.#judge !== null) this.#judge(to!, port!);
    this.#host.activity++;
    this.lastSent = bytes;
  }

  /** it stands for a port of a guest, and goes when the guest's flows are over */
  get isMapping(): boolean { return this.#judge !== null; }

  setTtl(ttl: number): void {
    check(Number.isInteger(ttl) && ttl >= 1 && ttl <= 255, () => `a time to live of ${ttl}`);
  }

  close(): void {
    this.isClosed = true;
    this.#host.forgetUdp(this);
  }
}

const NO_HANDLERS: HostTcpHandlers = { onData() {}, onEnd() {}, onTaken() {}, onClose() {} };
const RESOLVER_LISTS: readonly (readonly HostResolver[])[] = [
  [{ ip: ip('10.0.0.53'), port: 53 }], [], [{ ip: ip('10.0.0.53'), port: 53 }, { ip: ip('10.0.0.54'), port: 53 }], [{ ip: ip6('2001:db8::53'), port: 53 }, { ip: ip('127.0.0.53'), port: 53 }],
  [{ ip: ip('10.0.0.53'), port: 53 }, { ip: ip('10.0.0.53'), port: 53 }], [{ ip: ip6('fe80::53'), port: 5353 }],
];

export class ScriptedHost implements HostNet {
  /** calls that leave a trace outside */
  activity = 0;
  /** open, the newest last */
  readonly tcp: ScriptedTcp[] = [];
  readonly udp: ScriptedUdp[] = [];
  /** `accept` of each port that is listened on */
  readonly listeners = new Set<(socket: HostTcp) => void>();
  readonly pings: ((rttMs: number | null) => void)[] = [];
  hasV6: boolean;
  resolverList = RESOLVER_LISTS[0];
  readonly #world: World;
  readonly #reachable: Set<string>;
  #ports = 5000;

  constructor(world: World) {
    this.#world = world;
    this.hasV6 = world.hostHasIpv6;
    const { hostAliases, hostAliases6 } = world.config;
    // An alias of ::1 is tried at 127.0.0.1 as well.
    const aliased = [...hostAliases.values(), ...hostAliases6.map(([, to]) => to), ...(hostAliases6.length === 0 ? [] : [ip('127.0.0.1')])];
    this.#reachable = new Set([...aliased, ...RESOLVER_LISTS.flat().map((resolver) => resolver.ip)].map(formatIp));
  }

  connectTcp(to: IpAddress, port: number, handlers: HostTcpHandlers): HostTcp {
    this.#judge('tcp', to, port);
    return this.#keepTcp(handlers);
  }

  listenTcp(_ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    this.listeners.add(onAccept);
    return Promise.resolve({ port: port || 4321, close: () => this.listeners.delete(onAccept) });
  }

  connectUdp(to: IpAddress, port: number, handlers: HostUdpHandlers): HostUdp {
    this.#judge('udp', to, port);
    return this.#keepUdp(handlers, this.#ports++, false);
  }

  /** It hears everyone as well. */
  openUdp(_isV6: boolean, handlers: HostUdpHandlers): HostUdp & HostListener {
    const socket = new ScriptedUdp(this, handlers, this.#ports++, true, (to, port) => this.#judge('udp', to, port));
    this.udp.push(socket);
    return socket;
  }

  bindUdp(_ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    return Promise.resolve(this.#keepUdp(handlers, port || 4321, true));
  }

  resolvers(): readonly HostResolver[] { return this.resolverList; }
  resolverOptions(): HostResolverOptions { return DEFAULT_RESOLVER_OPTIONS; }
  createForwarder(stack: Stack, hostNet: HostNet, cache: NameCache): NameForwarder { return new DnsForwarder(stack, hostNet, cache); }
  hasIpv6(): boolean { return this.hasV6; }

  ping(to: IpAddress): Promise<number | null> {
    this.#judge('icmp', to, 0);
    this.activity++;
    return new Promise((resolve) => this.pings.push(resolve));
  }

  /** A connection that somebody made to this host, open. */
  accepted(): ScriptedTcp {
    const socket = this.#keepTcp(NO_HANDLERS);
    socket.isOpen = true;
    return socket;
  }

  useResolvers(n: number): void {
    this.resolverList = RESOLVER_LISTS[n % RESOLVER_LISTS.length];
  }

  forgetTcp(socket: ScriptedTcp): void {
    const at = this.tcp.lastIndexOf(socket);
    if (at >= 0) this.tcp.splice(at, 1);
  }

  forgetUdp(socket: ScriptedUdp): void {
    const at = this.udp.lastIndexOf(socket);
    if (at >= 0) this.udp.splice(at, 1);
  }

  #keepTcp(handlers: HostTcpHandlers): ScriptedTcp {
    this.activity++;
    const socket = new ScriptedTcp(this, handlers);
    this.tcp.push(socket);
    return socket;
  }

  #keepUdp(handlers: HostUdpHandlers, port: number, isBound: boolean): ScriptedUdp {
    const socket = new ScriptedUdp(this, handlers, port, isBound);
    this.udp.push(socket);
    return socket;
  }

  #judge(protocol: PolicyProtocol, to: IpAddress, port: number): void {
    check(typeof to === 'number' ? isWord(to) : Array.isArray(to) && to.length === 4 && to.every(isWord), () => `the host is to reach ${String(to)}, which is no address`);
    check(Number.isInteger(port) && port >= (protocol === 'icmp' ? 0 : 1) && port <= 65_535, () => `the host is to reach port ${port}`);
    const isKnown = this.#reachable.has(formatIp(to));
    check(isKnown || !isNobodys(to), () => `the host is to reach ${formatIp(to)} by ${protocol}, which is for nobody outside`);
    // The gateway's own questions to a resolver are no guest's.
    check((isKnown && (port === 53 || port === 5353)) || !isDenied(this.#world, protocol, to, port), () => `the host is to reach ${formatIp(to)}:${port} by ${protocol}, which the policy denies`);
  }
}

function isWord(word: number): boolean {
  return Number.isInteger(word) && word >= 0 && word <= 0xffffffff;
}

/** This host, this network, groups, and what is reserved. */
function isNobodys(to: IpAddress): boolean {
  if (typeof to === 'number') return to >>> 24 === 0 || to >>> 24 === 127 || to >>> 28 >= 14;
  return (to[0] === 0 && to[1] === 0 && to[2] >>> 16 === 0) || to[0] >>> 24 === 0xff || to[0] >>> 22 === 0xfe80 >> 6;
}

function isDenied({ config: { policy } }: World, protocol: PolicyProtocol, to: IpAddress, port: number): boolean {
  const rule = policy.rules.find((one) => matches(one, protocol, to, port));
  return rule === undefined ? policy.otherwise === 'deny' : !rule.allow;
}

function matches({ protocol, cidr, ports }: PolicyRule, asked: PolicyProtocol, to: IpAddress, port: number): boolean {
  if (protocol !== undefined && protocol !== asked) return false;
  if (ports !== undefined && (port < ports.first || port > ports.last)) return false;
  return cidr === undefined || bitsOf(to).startsWith(bitsOf(cidr.base).slice(0, cidr.prefixLen)) && bitsOf(to).length === bitsOf(cidr.base).length;
}

function bitsOf(address: IpAddress): string {
  return (typeof address === 'number' ? [address] : address).map((word) => word.toString(2).padStart(32, '0')).join('');
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum = (Math.imul(sum, 31) + bytes[i]) | 0;
  return sum;
}
