/*
 * Neighbor discovery (RFC 4861) of the gateway, and who has which IPv6 address.
 *
 * The gateway answers questions for its own addresses, those of duplicate address detection included, and learns from every packet
 * it sees: a guest that it talks to has always spoken first (forwards go by IPv4), so it never asks. Nor does it probe: the switch knows where
 * stations are, and a dead link is not hidden from it.
 *
 * A router advertisement goes out at once for a solicitation (Deviates from RFC 4861 §6.2.6, up to 0.5 s and not more often than every 3 s:
 * there is one router and its link is a queue), and unasked when a link is plugged in, when the host's IPv6 has come or gone, and every
 * REFRESH_MS while there is traffic. It has no timer: an idle network stays idle, its router lifetime is fifteen refreshes long, and
 * DHCP's renewals are traffic enough.
 *
 * NEIGHBORS_MAX addresses are known; for one more, the oldest that no flow holds makes room.
 */
import type { Mac } from '../wire/addr.ts';
import { formatMac } from '../wire/addr.ts';
import type { Ipv6 } from '../wire/addr6.ts';
import { formatIpv6, IPV6_ALL_NODES, IPV6_PREFIX_LEN, isSameIpv6, multicastMacOf } from '../wire/addr6.ts';
import { ETHERNET_HEADER_LEN } from '../wire/ethernet.ts';
import type { Icmpv6Repr, NeighborAdvert, NeighborSolicit, RouterAdvert } from '../wire/icmpv6.ts';
import { emitNeighborAdvert, emitRouterAdvert, NDP_HOP_LIMIT, routerAdvertLen } from '../wire/icmpv6.ts';
import { IPPROTO_ICMPV6, IPV6_HEADER_LEN, IPV6_HOP_LIMIT } from '../wire/ipv6.ts';
import type { Ipv6Layer } from './ipv6.ts';
import type { Ipv6Handle } from './ipv6-table.ts';
import type { Neighbor } from './neighbors.ts';
import type { Stack } from './stack.ts';
import type { Port, Station } from './switch.ts';

const NEIGHBORS_MAX = 256;
const HEADERS_LEN = ETHERNET_HEADER_LEN + IPV6_HEADER_LEN;
/** how often the host is asked whether it has IPv6 */
const LOOK_EVERY_MS = 10_000;
const REFRESH_MS = 600_000;
/** RFC 4861 §6.2.1: the most that AdvDefaultLifetime may be */
const ROUTER_LIFETIME_S = 9000;
/** RFC 4861 §4.6.2: for ever */
const INFINITE_S = 0xffffffff;

export class Ndp {
  readonly #stack: Stack;
  readonly #layer: Ipv6Layer;
  readonly #table = new Map<Ipv6Handle, Neighbor>();
  #hasRoute: boolean;
  #advertisedMs: number;

  constructor(stack: Stack, layer: Ipv6Layer) {
    this.#stack = stack;
    this.#layer = layer;
    this.#hasRoute = layer.config.hasRoute();
    this.#advertisedMs = stack.nowMs;
  }

  get neighborsKnown(): number {
    return this.#table.size;
  }

  find(ip: Ipv6Handle): Neighbor | null {
    return this.#table.get(ip) ?? null;
  }

  /** Null when there is no room. */
  learn(ip: Ipv6Handle, station: Station): Neighbor | null {
    const known = this.#table.get(ip);
    if (known === undefined) {
      if (this.#table.size >= NEIGHBORS_MAX && !this.#makeRoom()) return null;
      const neighbor: Neighbor = { ip, station, pathMtu: Infinity, pathMtuUntilMs: 0 };
      this.#table.set(ip, neighbor);
      this.#stack.addresses.retain(ip);
      return neighbor;
    }
    if (known.station !== station) {
      const address = formatIpv6(this.#stack.addresses.addressOf(ip));
      if (known.station !== null && known.station.mac !== station.mac) {
        this.#stack.log?.(`ndp ${address} moved from ${formatMac(known.station.mac)} to ${formatMac(station.mac)}`);
      }
      known.station = station;
    }
    return known;
  }

  #makeRoom(): boolean {
    for (const ip of this.#table.keys()) {
      if (this.#stack.addresses.holdersOf(ip) > 1) continue;
      this.#table.delete(ip);
      this.#stack.addresses.release(ip);
      return true;
    }
    return false;
  }

  /** A message of neighbor discovery, whose hop limit proves that it is from the link. `src` is null for the unspecified address. */
  onMessage(station: Station, neighbor: Neighbor | null, src: Ipv6 | null, message: Icmpv6Repr): void {
    const { counters } = this.#stack;
    switch (message.kind) {
      case 'router-solicit':
        // RFC 4861 §6.1.1
        if (src === null && message.linkAddress !== null) return counters.drop('ndp-malformed');
        return this.#advertise(station.port, src, src === null ? multicastMacOf(IPV6_ALL_NODES) : station.mac);
      case 'neighbor-solicit': return this.#onSolicit(station, src, message);
      case 'neighbor-advert': return this.#onAdvert(station, message);
      default:
        // Another router is a guest that calls itself one.
        if (neighbor === null || message.kind === 'router-advert') counters.drop('icmpv6-unsupported');
    }
  }

  #onSolicit(station: Station, src: Ipv6 | null, { target, linkAddress }: NeighborSolicit): void {
    // §7.1.1, and a station speaks for itself.
    if (src === null ? linkAddress !== null : linkAddress !== null && linkAddress !== station.mac) return this.#stack.counters.drop('ndp-malformed');
    const { addresses } = this.#stack;
    for (const ours of this.#layer.ours) {
      if (!isSameIpv6(addresses.addressOf(ours), target)) continue;
      // RFC 4862 §5.4.3: whoever wants to know whether the address is free hears it as everyone does.
      const dst = src ?? IPV6_ALL_NODES;
      const na: NeighborAdvert = {
        kind: 'neighbor-advert', target, isRouter: true, isSolicited: src !== null, isOverride: true, linkAddress: this.#stack.gatewayMac,
      };
      const frame = new Uint8Array(HEADERS_LEN + 32);
      const len = emitNeighborAdvert(na, frame, HEADERS_LEN, target, dst);
      return this.#send(station.port, frame, src === null ? multicastMacOf(dst) : station.mac, target, dst, len);
    }
  }

  #onAdvert(station: Station, { target, linkAddress }: NeighborAdvert): void {
    const { addresses, counters } = this.#stack;
    if (linkAddress !== null && linkAddress !== station.mac) return counters.drop('ndp-malformed');
    const handle = addresses.acquireAddress(target);
    if (handle === null) return counters.drop('ipv6-address-cap');
    try {
      if (!this.#layer.isGuestAddress(target, handle)) counters.drop('ndp-malformed');
      else if (this.learn(handle, station) === null) counters.drop('ipv6-neighbor-cap');
    } finally {
      addresses.release(handle);
    }
  }

  // ---- router advertisements ----

  onAttach(port: Port): void {
    this.#look();
    this.#advertise(port, null, multicastMacOf(IPV6_ALL_NODES));
  }

  /** Called now and then while there is traffic. Returns when to call again. */
  refresh(): number {
    const { nowMs } = this.#stack;
    if (this.#look() || nowMs - this.#advertisedMs >= REFRESH_MS) {
      this.#advertisedMs = nowMs;
      this.#advertise(null, null, multicastMacOf(IPV6_ALL_NODES));
    }
    return nowMs + LOOK_EVERY_MS;
  }

  /** Whether the host's IPv6 has come or gone. */
  #look(): boolean {
    const had = this.#hasRoute;
    this.#hasRoute = this.#layer.config.hasRoute();
    return had !== this.#hasRoute;
  }

  /** To one port, or to all; to one address, or to all nodes. */
  #advertise(port: Port | null, to: Ipv6 | null, mac: Mac): void {
    const { config } = this.#layer;
    const ra: RouterAdvert = {
      kind: 'router-advert', hopLimit: IPV6_HOP_LIMIT, routerLifetimeS: this.#hasRoute ? ROUTER_LIFETIME_S : 0,
      linkAddress: this.#stack.gatewayMac, mtu: this.#stack.config.mtu,
      prefixes: [{ prefix: config.prefix, prefixLen: IPV6_PREFIX_LEN, isOnLink: true, isAutonomous: true, validS: INFINITE_S, preferredS: INFINITE_S }],
      dns: [config.gatewayIp], dnsLifetimeS: INFINITE_S,
    };
    const dst = to ?? IPV6_ALL_NODES;
    const frame = new Uint8Array(HEADERS_LEN + routerAdvertLen(ra));
    const len = emitRouterAdvert(ra, frame, HEADERS_LEN, config.linkLocalIp, dst);
    this.#send(port, frame, mac, config.linkLocalIp, dst, len);
  }

  /** Writes the headers in front of a message of `len` bytes and sends the frame, to everyone where `port` is null. */
  #send(port: Port | null, frame: Uint8Array, mac: Mac, src: Ipv6, dst: Ipv6, len: number): void {
    this.#layer.emitHeaders(frame, 0, mac, src, dst, IPPROTO_ICMPV6, len, NDP_HOP_LIMIT);
    if (port === null) this.#stack.switch.flood(frame, 0, HEADERS_LEN + len);
    else {
      const at = port.reserve(HEADERS_LEN + len);
      if (at >= 0) port.bytes.set(frame.subarray(0, HEADERS_LEN + len), at);
    }
    this.#stack.wantFlush();
  }

  close(): void {
    for (const ip of this.#table.keys()) this.#stack.addresses.release(ip);
    this.#table.clear();
  }
}
