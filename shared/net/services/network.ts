/** One virtual network: switch, gateway stack, NAT, DHCP and DNS. Its constructor is the bill of materials. */
import type { Clock, RandomSource } from '../stack/clock.ts';
import type { FrameSink, LinkPort } from '../stack/link-port.ts';
import type { StackConfig } from '../stack/stack.ts';
import { Stack } from '../stack/stack.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { Datagram } from '../stack/udp.ts';
import type { EchoRequest } from '../stack/icmp.ts';
import type { FlowInfo } from '../nat/flow-list.ts';
import type { HostNet, HostTcp } from '../nat/host-net.ts';
import { HostAliases } from '../nat/host-aliases.ts';
import { isAllowed } from '../nat/policy.ts';
import type { Forward, ForwardSpec } from '../nat/port-forward.ts';
import { PortForwards } from '../nat/port-forward.ts';
import { TcpNat } from '../nat/tcp-nat.ts';
import { UdpNat } from '../nat/udp-flow.ts';
import { RelayError } from '../../relay-error.ts';
import type { Ipv4, Mac } from '../wire/addr.ts';
import { isV6 } from '../wire/addr.ts';
import { DHCP_SERVER_PORT, emitSearchList } from '../wire/dhcp.ts';
import type { Lease } from './dhcp-server.ts';
import { DhcpServer } from './dhcp-server.ts';
import { DnsServer } from './dns-server.ts';
import { DnsTcpSession } from './dns-tcp.ts';
import type { DnsLogEntry } from './dns-log.ts';
import type { DnsZone } from './dns-zones.ts';
import type { NetworkConfig } from './network-config.ts';
import { DEFAULT_NETWORK_CONFIG } from './network-config.ts';
import { copyOf } from '../wire/copy.ts';
import { IPV6_MTU_MIN } from '../wire/ipv6.ts';

export type { DnsLogEntry, FlowInfo, Forward, ForwardSpec, Lease };

export interface NetworkOptions {
  clock: Clock;
  random: RandomSource;
  hostNet: HostNet;
  config?: Partial<NetworkConfig>;
  /** debug lines, at most one per dropped frame and lease; absent: none are built */
  log?: (line: string) => void;
}

export type NetworkStats = Record<string, number>;

/** Of the members of NetworkStats: what may fall again. */
export function isGauge(name: string): boolean {
  return name.endsWith('Open') || name.endsWith('Held');
}

const DNS_PORT = 53;
const PINGS_MAX = 32;
const PINGS_PER_SECOND = 10;
const DNS_TCP_MAX = 256;
const SEARCH_MAX = 200;

export class VirtualNetwork {
  readonly config: NetworkConfig;
  readonly #clock: Clock;
  readonly #hostNet: HostNet;
  readonly #stack: Stack;
  readonly #aliases: HostAliases;
  readonly #tcpNat: TcpNat;
  readonly #udpNat: UdpNat;
  readonly #dhcp: DhcpServer;
  readonly #dns: DnsServer;
  readonly #forwards: PortForwards;
  readonly #dnsSessions = new Set<DnsTcpSession>();
  #pingsOpen = 0;
  /** pings that may start now, refilled as time goes by */
  #pingTokens = PINGS_PER_SECOND;
  #pingTokensAtMs = 0;
  #isClosed = false;

  constructor({ clock, random, hostNet, config, log }: NetworkOptions) {
    this.config = checked({ ...DEFAULT_NETWORK_CONFIG, ...config });
    const { policy, hostAliases, hostAliases6 } = this.config;
    this.#clock = clock;
    this.#hostNet = hostNet;
    this.#stack = new Stack(clock, random, stackConfig(this.config, hostNet), log);
    this.#aliases = new HostAliases(this.#stack.addresses, hostAliases, hostAliases6);
    this.#tcpNat = new TcpNat(this.#stack, hostNet, policy, this.#aliases);
    this.#udpNat = new UdpNat(this.#stack, hostNet, policy, this.#aliases, this.config.udpIdleMs, this.config.maxUdpFlows);
    this.#dhcp = new DhcpServer(this.#stack, this.config, log);
    this.#dns = new DnsServer(this.#stack, hostNet, this.config, this.#dhcp);
    this.#forwards = new PortForwards(hostNet, this.#tcpNat, this.#udpNat);
    this.#stack.tcp.onSyn = (pending) => this.#onSyn(pending);
    this.#stack.udp.onDatagram = (datagram) => this.#onDatagram(datagram);
    this.#stack.icmp.onEcho = (request) => this.#onEcho(request);
  }

  /** Plugs a link in. Throws RelayError RELAY_LIMIT beyond `maxLinks`, RELAY_CLOSED after `close`. */
  attach(sink: FrameSink): LinkPort {
    if (this.#isClosed) throw new RelayError('RELAY_CLOSED', 'the network is closed');
    return this.#stack.attach(sink);
  }

  /** Listens on the host and leads what arrives to the guest. Rejects with RelayError RELAY_FORWARD when the port can't be had. */
  addForward(spec: ForwardSpec): Promise<Forward> {
    return this.#forwards.add({ ...spec, guestIp: spec.guestIp ?? this.config.defaultGuestIp });
  }

  forwards(): readonly Forward[] {
    return this.#forwards.list();
  }

  /** Joins an accepted host socket to `guestPort`: dials the guest, relays, closes. */
  forwardTcp(socket: HostTcp, guestPort: number, guestIp: Ipv4 = this.config.defaultGuestIp): void {
    if (this.#isClosed) return socket.reset();
    this.#tcpNat.forward(socket, guestIp, guestPort);
  }

  leases(): readonly Lease[] {
    return this.#dhcp.leases();
  }

  /** by `Clock.nowMs`, as leases and flows count */
  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** Flows between guests and the host, read while it is iterated: take what you need at once. */
  *flows(): Iterable<FlowInfo> {
    const nowMs = this.nowMs();
    yield* this.#tcpNat.flows(nowMs);
    yield* this.#udpNat.flows(nowMs);
  }

  /** Everyone who was heard and still has a link: which of the links, counted from 1 as they came. */
  stations(): { mac: Mac; link: number }[] {
    return this.#stack.switch.stations().flatMap(({ mac, port }) => (port === null ? [] : [{ mac, link: port.number }]));
  }

  /** Called when a guest is heard for the first time, and when its link is gone. One listener. */
  set onPresence(fn: ((mac: Mac, isPresent: boolean) => void) | null) {
    this.#stack.switch.onPresence = fn;
  }

  zones(): readonly DnsZone[] {
    return this.#dns.zones.all();
  }

  /** Throws RelayError RELAY_LIMIT at the caps. */
  addZone(zone: DnsZone): void {
    this.#dns.zones.add(zone);
  }

  /** What guests asked the gateway's DNS for last, the newest first. */
  dnsLog(): DnsLogEntry[] {
    return this.#dns.log.entries(this.nowMs());
  }

  /** Counters, and gauges: with no traffic those that end in `Open` or `Held` fall to 0, but for the links. */
  stats(): NetworkStats {
    const { tcp } = this.#stack;
    return {
      ...this.#stack.counters.snapshot(),
      linksOpen: this.#stack.switch.portCount,
      tcpFlowsOpen: tcp.flowCount,
      tcpPendingOpen: tcp.pendingCount,
      tcpNatFlowsOpen: this.#tcpNat.flowCount,
      tcpBytesHeld: tcp.heldBytes,
      udpFlowsOpen: this.#udpNat.flowCount,
      dnsQueriesOpen: this.#dns.queriesOpen,
      dnsSocketsOpen: this.#dns.socketsOpen,
      dnsSessionsOpen: this.#dnsSessions.size,
      // The gateway's own are held for good.
      ipv6AddressesKnown: this.#stack.addresses.size - (this.#isClosed ? 0 : this.#stack.ipv6?.ours.size ?? 0),
      arpQuestionsOpen: this.#stack.neighbors.questionsOpen,
      fragmentsHeld: this.#stack.datagramsHeld,
      timersOpen: this.#stack.timers.size,
      batchesHeld: this.#stack.pool.held,
      pingsOpen: this.#pingsOpen,
    };
  }

  /** Idempotent: flows are reset, forwards, links and timers closed. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#forwards.close();
    for (const session of this.#dnsSessions) session.close();
    this.#tcpNat.close();
    this.#udpNat.close();
    this.#dns.close();
    this.#stack.close();
  }

  // ---- what the gateway does with what is for it or beyond it ----

  #onSyn(pending: PendingConnection): void {
    if (!this.#isGateway(pending.remoteIp)) return this.#tcpNat.onSyn(pending);
    if (pending.remotePort !== DNS_PORT) return pending.refuse();
    if (this.#dnsSessions.size >= DNS_TCP_MAX) {
      this.#stack.counters.drop('dns-cap');
      [...this.#dnsSessions].reduce((a, b) => (b.lastActiveMs < a.lastActiveMs ? b : a)).close();
    }
    const session = new DnsTcpSession(this.#dns, this.#stack, pending, (over) => this.#dnsSessions.delete(over));
    this.#dnsSessions.add(session);
  }

  #onDatagram(datagram: Datagram): void {
    if (datagram.dstPort === DHCP_SERVER_PORT && (datagram.neighbor === null || datagram.dst === this.config.gatewayIp || datagram.dst >>> 24 === 255)) {
      return this.#dhcp.onDatagram(datagram);
    }
    if (datagram.neighbor === null) return this.#stack.counters.drop('ipv4-bad-source');
    if (!this.#isGateway(datagram.dst)) return this.#udpNat.onDatagram(datagram, true);
    if (datagram.dstPort !== DNS_PORT) return this.#udpNat.onDatagram(datagram, false);
    const { neighbor, srcPort, dst } = datagram;
    this.#dns.resolve(copyOf(datagram.bytes, datagram.start, datagram.end), false, (answer) => {
      // A neighbor that was forgotten meanwhile has lost its hold on its address.
      if (this.#stack.neighborOf(neighbor.ip) === neighbor) this.#stack.udp.send(neighbor, dst, DNS_PORT, srcPort, answer);
    });
  }

  #isGateway(ip: Ipv4): boolean {
    return ip === this.config.gatewayIp || (isV6(ip) && (ip === this.#stack.ipv6!.gateway || ip === this.#stack.ipv6!.linkLocal));
  }

  #onEcho(request: EchoRequest): void {
    const { addresses, counters } = this.#stack;
    const ip = this.#aliases.hostAddress(request.dst);
    if (!isAllowed(this.config.policy, 'icmp', ip, 0)) return;
    if (this.#pingsOpen >= PINGS_MAX || !this.#takePingToken()) return counters.drop('icmp-ping-cap');
    this.#pingsOpen++;
    addresses.retain(request.guestIp);
    addresses.retain(request.dst);
    void this.#hostNet.ping(ip, request.data.length, request.ttl).then((rttMs) => {
      this.#pingsOpen--;
      if (rttMs !== null && !this.#isClosed) this.#stack.icmp.reply(request);
      addresses.release(request.guestIp);
      addresses.release(request.dst);
    });
  }

  /** Each ping is a process of the host. */
  #takePingToken(): boolean {
    const { nowMs } = this.#stack;
    this.#pingTokens = Math.min(PINGS_PER_SECOND, this.#pingTokens + ((nowMs - this.#pingTokensAtMs) * PINGS_PER_SECOND) / 1000);
    this.#pingTokensAtMs = nowMs;
    if (this.#pingTokens < 1) return false;
    this.#pingTokens--;
    return true;
  }
}

function checked(config: NetworkConfig): NetworkConfig {
  if (isV6(config.subnet)) throw new RelayError('RELAY_CONFIG', 'subnet is in 240.0.0.0/8, which is nobody\'s');
  if (!(config.mtu >= 576 && config.mtu <= 65_520)) throw new RelayError('RELAY_CONFIG', `mtu ${config.mtu} is not between 576 and 65520`);
  if (!(config.tcpWindowMax >= 65_535 && config.tcpWindowMax <= 0x3fffc000)) throw new RelayError('RELAY_CONFIG', `tcpWindowMax ${config.tcpWindowMax} is not between 65535 and 2^30`);
  // What is left of a DHCP message of 548 bytes beside the other options.
  if ((emitSearchList(config.searchDomains)?.length ?? Infinity) > SEARCH_MAX) throw new RelayError('RELAY_CONFIG', `the search domains are no names, or longer than ${SEARCH_MAX} bytes together`);
  return config;
}

function stackConfig(config: NetworkConfig, hostNet: HostNet): StackConfig {
  return {
    subnet: config.subnet, prefixLen: config.prefixLen, gatewayIp: config.gatewayIp, gatewayMac: config.gatewayMac,
    aliases: [...config.hostAliases.keys()], mtu: config.mtu, maxLinks: config.maxLinks, maxTcpFlows: config.maxTcpFlows,
    tcpWindowMax: config.tcpWindowMax, tcpMemoryBudget: config.tcpMemoryBudget, tcpKeepaliveMs: config.tcpKeepaliveMs,
    tcpTimestamps: config.tcpTimestamps, verifyChecksums: config.verifyChecksums,
    ipv6: !config.ipv6 || config.mtu < IPV6_MTU_MIN ? null : {
      prefix: config.prefix6, gatewayIp: config.gatewayIp6, linkLocalIp: config.linkLocalIp6,
      aliases: config.hostAliases6.map(([alias]) => alias), hasRoute: () => hostNet.hasIpv6(),
    },
  };
}
