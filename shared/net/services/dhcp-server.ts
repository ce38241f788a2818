/*
 * DHCP server of the gateway (RFC 2131 §4.3).
 *
 * A MAC gets the same address as long as its lease, expired or not, is remembered. Addresses come from `staticLeases`, then from
 * the pool; when the pool is used up, the lease that expired first is given away. A declined address is set aside. The MTU
 * (option 26) is offered to clients that ask for it, or to all by `offerMtuAlways`.
 */
import type { Station } from '../stack/switch.ts';
import type { Stack } from '../stack/stack.ts';
import type { Ipv4, Mac } from '../wire/addr.ts';
import { broadcastOf, formatIpv4, formatMac, inCidr, IPV4_ANY, IPV4_BROADCAST, maskOf } from '../wire/addr.ts';
import type { DhcpMessageType, DhcpRepr } from '../wire/dhcp.ts';
import { DHCP_CLIENT_PORT, DHCP_LEN_MAX, DHCP_OPTION_MTU, DHCP_SERVER_PORT, emitDhcp, parseDhcp } from '../wire/dhcp.ts';
import type { NetworkConfig } from './network-config.ts';

export interface Lease {
  ip: Ipv4;
  mac: Mac;
  hostname: string;
  /** by `Clock.nowMs` */
  expiresMs: number;
}

/** how long an offered address is kept for its client, and a declined one from everyone */
const OFFER_MS = 60_000;
const DECLINED_MS = 600_000;
const HOSTNAME_MAX = 63;

export class DhcpServer {
  readonly #stack: Stack;
  readonly #config: NetworkConfig;
  readonly #log: ((line: string) => void) | undefined;
  readonly #byMac = new Map<Mac, Lease>();
  readonly #byIp = new Map<Ipv4, Lease>();
  readonly #declinedUntilMs = new Map<Ipv4, number>();

  constructor(stack: Stack, config: NetworkConfig, log?: (line: string) => void) {
    this.#stack = stack;
    this.#config = config;
    this.#log = log;
  }

  /** leases that have not expired */
  leases(): readonly Lease[] {
    return [...this.#byMac.values()].filter((lease) => lease.expiresMs > this.#stack.nowMs);
  }

  /** A message of a client: `bytes[start, end)`, borrowed. */
  onMessage(station: Station, bytes: Uint8Array, start: number, end: number): void {
    const request = parseDhcp(bytes, start, end);
    if (typeof request === 'string') return this.#stack.counters.drop(request);
    if (!request.fromClient || request.clientMac !== station.mac) return this.#stack.counters.drop('dhcp-malformed');
    switch (request.type) {
      case 'discover': return this.#onDiscover(station, request);
      case 'request': return this.#onRequest(station, request);
      case 'decline': return this.#onDecline(request);
      case 'release': return this.#onRelease(request);
      case 'inform': return this.#reply(station, request, 'ack', IPV4_ANY);
      default: return this.#stack.counters.drop('dhcp-unsupported');
    }
  }

  #onDiscover(station: Station, request: DhcpRepr): void {
    const ip = this.#choose(request);
    if (ip === null) return this.#stack.counters.drop('dhcp-pool-empty');
    this.#keep(request, ip, OFFER_MS);
    this.#reply(station, request, 'offer', ip);
  }

  #onRequest(station: Station, request: DhcpRepr): void {
    // §4.3.2: another server's offer was taken.
    if (request.serverId !== undefined && request.serverId !== this.#config.gatewayIp) {
      this.#forget(this.#byMac.get(request.clientMac));
      return;
    }
    const wanted = request.requestedIp ?? request.clientIp;
    const ip = this.#choose(request);
    if (ip === null || ip !== wanted) {
      this.#log?.(`dhcp nak ${formatMac(request.clientMac)} wants ${formatIpv4(wanted)}`);
      return this.#reply(station, request, 'nak', IPV4_ANY);
    }
    this.#keep(request, ip, this.#config.leaseSeconds * 1000);
    this.#log?.(`dhcp ack ${formatMac(request.clientMac)} ${formatIpv4(ip)}`);
    this.#reply(station, request, 'ack', ip);
  }

  #onDecline(request: DhcpRepr): void {
    const lease = this.#byMac.get(request.clientMac);
    if (lease === undefined || request.requestedIp !== lease.ip) return;
    this.#forget(lease);
    // A static address has no substitute: it is offered again.
    if (this.#config.staticLeases.get(request.clientMac) !== lease.ip) this.#declinedUntilMs.set(lease.ip, this.#stack.nowMs + DECLINED_MS);
  }

  #onRelease(request: DhcpRepr): void {
    const lease = this.#byMac.get(request.clientMac);
    // §4.3.4: the address stays with the client's identity, and may be given to others.
    if (lease !== undefined && lease.ip === request.clientIp) lease.expiresMs = this.#stack.nowMs;
  }

  /** The address for this client: its own, what it asks for, or the next free one. Null when there is none. */
  #choose(request: DhcpRepr): Ipv4 | null {
    const own = this.#config.staticLeases.get(request.clientMac) ?? this.#byMac.get(request.clientMac)?.ip;
    if (own !== undefined) return own;
    if (this.#byMac.size >= this.#config.maxLeases) this.#forgetExpired();
    if (this.#byMac.size >= this.#config.maxLeases) return null;
    for (const wanted of [request.requestedIp, request.clientIp]) {
      if (wanted !== undefined && this.#isInPool(wanted) && this.#isFree(wanted)) return wanted;
    }
    for (let ip = this.#config.poolStart as number; ip <= this.#config.poolEnd; ip++) if (this.#isFree(ip as Ipv4)) return ip as Ipv4;
    let oldest: Lease | null = null;
    for (const lease of this.#byMac.values()) {
      if (lease.expiresMs <= this.#stack.nowMs && this.#isInPool(lease.ip) && (oldest === null || lease.expiresMs < oldest.expiresMs)) oldest = lease;
    }
    return oldest?.ip ?? null;
  }

  #isInPool(ip: Ipv4): boolean {
    return ip >= this.#config.poolStart && ip <= this.#config.poolEnd;
  }

  #isFree(ip: Ipv4): boolean {
    if (this.#byIp.has(ip) || !this.#stack.isGuestAddress(ip)) return false;
    for (const reserved of this.#config.staticLeases.values()) if (reserved === ip) return false;
    const untilMs = this.#declinedUntilMs.get(ip);
    if (untilMs === undefined) return true;
    if (untilMs > this.#stack.nowMs) return false;
    this.#declinedUntilMs.delete(ip);
    return true;
  }

  #keep(request: DhcpRepr, ip: Ipv4, durationMs: number): void {
    const holder = this.#byIp.get(ip);
    if (holder !== undefined && holder.mac !== request.clientMac) this.#forget(holder);
    let lease = this.#byMac.get(request.clientMac);
    if (lease === undefined) {
      lease = { ip, mac: request.clientMac, hostname: '', expiresMs: 0 };
      this.#byMac.set(lease.mac, lease);
      this.#byIp.set(ip, lease);
    }
    lease.expiresMs = Math.max(lease.expiresMs, this.#stack.nowMs + durationMs);
    if (request.hostname !== undefined) lease.hostname = request.hostname.slice(0, HOSTNAME_MAX).toLowerCase();
  }

  #forget(lease: Lease | undefined): void {
    if (lease === undefined) return;
    this.#byMac.delete(lease.mac);
    this.#byIp.delete(lease.ip);
  }

  #forgetExpired(): void {
    for (const lease of this.#byMac.values()) if (lease.expiresMs <= this.#stack.nowMs) this.#forget(lease);
  }

  #reply(station: Station, request: DhcpRepr, type: DhcpMessageType, ip: Ipv4): void {
    const config = this.#config;
    const isNak = type === 'nak';
    const hasLease = !isNak && request.type !== 'inform';
    const mayKnowMtu = !isNak && (config.offerMtuAlways || request.parameters?.includes(DHCP_OPTION_MTU) === true);
    const reply: DhcpRepr = {
      type, fromClient: false, xid: request.xid, broadcast: request.broadcast,
      clientIp: isNak ? IPV4_ANY : request.clientIp, yourIp: ip, relayIp: request.relayIp, clientMac: request.clientMac,
      serverId: config.gatewayIp,
      ...(hasLease ? {
        leaseSeconds: config.leaseSeconds, renewSeconds: config.leaseSeconds >>> 1, rebindSeconds: Math.floor(config.leaseSeconds * 0.875),
      } : {}),
      ...(isNak ? {} : {
        subnetMask: maskOf(config.prefixLen), router: config.gatewayIp, dns: config.gatewayIp, domain: config.domain,
        ...(config.searchDomains.length === 0 ? {} : { searchDomains: config.searchDomains }),
        broadcastIp: broadcastOf(config.subnet, config.prefixLen),
      }),
      ...(mayKnowMtu ? { mtu: config.mtu } : {}),
    };
    const message = new Uint8Array(DHCP_LEN_MAX);
    const len = emitDhcp(reply, message, 0);
    // §4.1: to the client's own address if it has one, else to the one it is given, unless it wants broadcasts. Always to its MAC.
    const isOnSubnet = inCidr(request.clientIp, { base: config.subnet, prefixLen: config.prefixLen });
    const dst = isNak ? IPV4_BROADCAST : request.clientIp !== 0 && isOnSubnet ? request.clientIp : request.broadcast || ip === 0 ? IPV4_BROADCAST : ip;
    this.#stack.udp.sendTo(station, config.gatewayIp, DHCP_SERVER_PORT, dst, DHCP_CLIENT_PORT, message.subarray(0, len));
  }
}
