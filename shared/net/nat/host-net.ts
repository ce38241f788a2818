/*
 * The host's network as the NAT sees it. relay/host/node-host-net.ts is the real one, tests bring their own.
 *
 * Errors are errno names ("ECONNREFUSED"): host-error.ts makes of them what the guest gets to see.
 * Byte ownership: what `onData` delivers is the receiver's for good; what `write` is given must not change until the
 * socket has taken it (`pendingBytes` has fallen accordingly).
 */
import type { Stack } from '../stack/stack.ts';
import type { Ipv4 } from '../wire/addr.ts';
import type { IpAddress } from '../wire/addr6.ts';
import type { DnsQuestion } from '../wire/dns.ts';

export interface HostTcpHandlers {
  /** The dial succeeded. Never called for an accepted or adopted socket. */
  onConnect?(): void;
  onData(bytes: Uint8Array): void;
  /** The peer has sent its FIN: no more data. */
  onEnd(): void;
  /** The kernel has taken bytes that `write` had left pending. */
  onTaken(): void;
  /** The last call: after both directions ended (null) or an error. */
  onClose(error: string | null): void;
  /** In place of the last call, which threw: nothing is to be left. */
  onLost?(): void;
}

/** A host TCP socket, or anything that behaves as one. Half-open is allowed in each direction. */
export interface HostTcp {
  /** Set before anything else is called on an accepted socket, which is paused until `resume`. */
  handlers: HostTcpHandlers;
  /** Hands bytes over: what the kernel does not take at once stays in `pendingBytes`. True: `bytes` may be written over now. */
  write(bytes: Uint8Array): boolean;
  /** Gathers the writes until `uncork` into one system call. */
  cork(): void;
  uncork(): void;
  /** FIN, behind what is pending. */
  end(): void;
  /** RST. `onClose` follows. */
  reset(): void;
  pause(): void;
  resume(): void;
  /** Asks the peer whether it is still there when nothing was heard from it for so long. One that is not is `onClose('ETIMEDOUT')`. */
  setKeepalive(idleMs: number): void;
  /** written and not yet taken by the kernel, in `bytes` */
  readonly pendingBytes: number;
  /** who is at the other end, as `ADDRESS:PORT`; undefined where that has no name */
  readonly peer?: string | undefined;
}

export interface HostUdpHandlers {
  onMessage(bytes: Uint8Array, srcIp: IpAddress, srcPort: number): void;
  /** An ICMP error came back for a connected socket, what was sent to `toIp:toPort` could not be, or, without those, the socket failed. */
  onError(error: string, toIp?: IpAddress, toPort?: number): void;
}

export interface HostUdp {
  /** Sends to the connected peer, or to `ip:port`. Keeps `bytes`. Drops when the kernel's queue is full. */
  send(bytes: Uint8Array, ip?: IpAddress, port?: number): void;
  /** How many hops what is sent from now on may take. Not of one that was bound. */
  setTtl(ttl: number): void;
  close(): void;
}

export interface HostListener {
  /** the port that was really bound */
  readonly port: number;
  close(): void;
}

export interface HostResolver {
  readonly ip: IpAddress;
  readonly port: number;
  /** the interface that a link-local address is on; absent: none */
  readonly zone?: string;
}

/** How the host's own programs ask, as resolv.conf says. */
export interface HostResolverOptions {
  /** for one answer, in `ms` */
  readonly timeoutMs: number;
  /** times that each is asked */
  readonly attempts: number;
  /** each question begins with another one */
  readonly isRotating: boolean;
  /** TCP only */
  readonly isTcpOnly: boolean;
}

/** glibc's */
export const DEFAULT_RESOLVER_OPTIONS: HostResolverOptions = { timeoutMs: 5000, attempts: 2, isRotating: false, isTcpOnly: false };

/** A message without EDNS's OPT (but when it is signed), or the code of an error. */
export type NameOutcome = Uint8Array | number;

/** Answers of resolvers while they live. */
export interface NameCache {
  /** Keeps a copy, when the message may be kept at all. It has no OPT. */
  add(key: string, message: Uint8Array, questionEnd: number, nowMs: number): void;
  clear(): void;
}

/** Who knows the names that are not the network's own. */
export interface NameForwarder {
  /** questions under way */
  readonly queriesOpen: number;
  readonly socketsOpen: number;
  /** Before the cache is asked: empties it when what it has is worth nothing any more. */
  noticeChange(): void;
  /** `reply` is called once. `query` is kept; `cacheKey` is where its answer may be kept. */
  ask(cacheKey: string, query: Uint8Array, question: DnsQuestion, isTcp: boolean, reply: (outcome: NameOutcome) => void): void;
  /** Nobody is answered any more. */
  close(): void;
}

/** How many sockets of the host a network may hold. */
export interface SocketBudget {
  /** Room for one more, as what gives it back: to be called once. Null: there is none. `isOwn`: the gateway's own, for names. */
  take(isOwn: boolean): (() => void) | null;
}

export interface HostNet {
  /** Dials; `onConnect` or `onClose` follows. `zone` is the interface that a link-local address is on. */
  connectTcp(ip: IpAddress, port: number, handlers: HostTcpHandlers, zone?: string): HostTcp;
  /** Resolves when bound, rejects with a RelayError when it can't. `onAccept` must set `handlers`. */
  listenTcp(ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener>;
  /** A socket that exchanges datagrams with one peer only; from `localPort`, that of a socket of `openUdp`, where that is given. */
  connectUdp(ip: IpAddress, port: number, handlers: HostUdpHandlers, localPort?: number, zone?: string): HostUdp;
  /** A socket that sends to anybody, and hears anybody, from any free port: 0 when there was none, and then `onError` follows. */
  openUdp(isV6: boolean, handlers: HostUdpHandlers): HostUdp & HostListener;
  /** A socket for everyone's datagrams. */
  bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener>;
  /** The host's DNS servers at this moment. The same array as long as nothing has changed. */
  resolvers(): readonly HostResolver[];
  /** What goes with them. */
  resolverOptions(): HostResolverOptions;
  /** For one network, which sees its host as `hostNet`. A page has another one than a computer with resolvers, and does not carry theirs. */
  createForwarder(stack: Stack, hostNet: HostNet, cache: NameCache): NameForwarder;
  /** Whether the host has an IPv6 address that reaches beyond its link. Looked up anew now and then; cheap to call. */
  hasIpv6(): boolean;
  /** Round trip to `ip` by the system's ping, or null when there is none or no answer. */
  ping(ip: IpAddress, payloadLen: number, ttl: number): Promise<number | null>;
}
