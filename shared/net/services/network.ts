/** One virtual network: switch, gateway stack, NAT, DHCP and DNS. Its constructor is the bill of materials. */
import type { Clock, RandomSource } from '../stack/clock.ts';
import { Containment, type BugPlace, type OnBug } from '../stack/containment.ts';
import { Counters } from '../stack/counters.ts';
import type { FrameSink, LinkPort } from '../stack/link-port.ts';
import type { FlowIp } from '../stack/ipv6-table.ts';
import type { StackConfig } from '../stack/stack.ts';
import { Stack } from '../stack/stack.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { Datagram } from '../stack/udp.ts';
import type { EchoRequest } from '../stack/icmp.ts';
import type { FlowInfo } from '../nat/flow-list.ts';
import type { HostNet, HostTcp, SocketBudget } from '../nat/host-net.ts';
import { ContainedHostNet } from '../nat/contained-host-net.ts';
import { HostAliases } from '../nat/host-aliases.ts';
import { isAllowed } from '../nat/policy.ts';
import type { Forward, ForwardSpec } from '../nat/port-forward.ts';
import { PortForwards } from '../nat/port-forward.ts';
import { TcpNat } from '../nat/tcp-nat.ts';
import { UdpNat } from '../nat/udp-flow.ts';
import { RelayError } from '../../relay-error.ts';
import type { Ipv4, Mac, UnicastIpv4 } from '../wire/addr.ts';
import { formatIpv4 } from '../wire/addr.ts';
import type { Lease } from './dhcp-server.ts';
import { DhcpServer } from './dhcp-server.ts';
import { DnsServer } from './dns-server.ts';
import { DnsTcpSession } from './dns-tcp.ts';
import type { DnsLogEntry } from './dns-log.ts';
import type { DnsZone } from './dns-zones.ts';
import type { NetworkConfig } from './network-config.ts';
import { checkConfig, DEFAULT_NETWORK_CONFIG, whyNoGuest } from './network-config.ts';
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
  /** Hears of each exception of ours, which cost one frame, flow, timer or call. Absent: it is thrown again, for tests. */
  onBug?: OnBug;
  /** The host had no descriptor, memory or port for a socket, by its errno name. Called as often as that happens. */
  onExhausted?: (error: string) => void;
  /** how many sockets of the host this network may hold; absent: as many as the host gives */
  sockets?: SocketBudget;
  /** what the network's owner should know, each at most once */
  notice?: (line: string) => void;
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

export class VirtualNetwork {
  readonly config: NetworkConfig;
  readonly #clock: Clock;
  readonly #hostNet: ContainedHostNet;
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

  constructor({ clock, random, hostNet: bareHostNet, config, log, onBug, onExhausted, sockets, notice = log }: NetworkOptions) {
    this.config = { ...DEFAULT_NETWORK_CONFIG, ...config };
    checkConfig(this.config);
    const { policy, hostAliases, hostAliases6 } = this.config;
    this.#clock = clock;
    const containment = new Containment(new Counters(log), onBug);
    const soon = (fn: () => void): void => clock.soon(() => void containment.run('host', fn));
    const seam = { containment, soon, onExhausted, budget: sockets };
    const hostNet = new ContainedHostNet(bareHostNet, seam, false);
    this.#hostNet = hostNet;
    this.#stack = new Stack(clock, random, stackConfig(this.config, () => hostNet.hasIpv6()), log, containment);
    this.#aliases = new HostAliases(this.#stack.addresses, hostAliases, hostAliases6);
    this.#tcpNat = new TcpNat(this.#stack, hostNet, policy, this.#aliases);
    this.#udpNat = new UdpNat(this.#stack, hostNet, policy, this.#aliases, this.config.udpIdleMs, this.config.maxUdpFlows, notice);
    this.#dhcp = new DhcpServer(this.#stack, this.config, log);
    this.#dns = new DnsServer(this.#stack, new ContainedHostNet(bareHostNet, seam, true), this.config, this.#dhcp);
    this.#forwards = new PortForwards(hostNet, containment, this.#tcpNat, this.#udpNat);
    this.#stack.tcp.onSyn = (pending) => this.#onSyn(pending);
    this.#stack.udp.onDatagram = (datagram) => this.#onDatagram(datagram);
    this.#stack.udp.onDhcp = (station, bytes, start, end) => this.#dhcp.onMessage(station, bytes, start, end);
    this.#stack.icmp.onEcho = (request) => this.#onEcho(request);
    this.#stack.guestErrors.udpOwner = {
      // The gateway's own answers are no flows.
      has: (guestIp, guestPort, remoteIp, port) => (port === DNS_PORT && this.#isGateway(remoteIp)) || this.#udpNat.has(guestIp, guestPort, remoteIp, port),
      onGuestRefused: (...flow) => this.#udpNat.onGuestRefused(...flow),
    };
  }

  /** Plugs a link in. Throws RelayError RELAY_LIMIT beyond `maxLinks`, RELAY_CLOSED after `close`. */
  attach(sink: FrameSink): LinkPort {
    if (this.#isClosed) throw new RelayError('RELAY_CLOSED', 'the network is closed');
    return this.#stack.attach(sink);
  }

  /** Listens on the host and leads what arrives to the guest. Rejects with RelayError RELAY_FORWARD when the port can't be had, or no guest can have `guestIp`. */
  async addForward(spec: ForwardSpec): Promise<Forward> {
    return await this.#forwards.add({ ...spec, guestIp: this.#guestAddress(spec.guestIp) });
  }

  forwards(): readonly Forward[] {
    return this.#forwards.list();
  }

  /** Joins an accepted host socket to `guestPort`: dials the guest, relays, closes. Throws as `addForward` rejects, when no guest can have `guestIp`. */
  forwardTcp(socket: HostTcp, guestPort: number, guestIp?: Ipv4): void {
    const { containment } = this.#stack;
    const address = this.#guestAddress(guestIp);
    const host = this.#hostNet.adopt(socket);
    if (host === null) return;
    if (this.#isClosed || !containment.run('call', () => this.#tcpNat.forward(host, address, guestPort))) host.reset();
  }

  /** For who calls: what came out of a call that is none of RelayError. Counted and told as the network's own; thrown again where nobody is to hear of it. */
  caught(place: BugPlace, error: unknown): void {
    this.#stack.containment.caught(place, error);
  }

  #guestAddress(ip: Ipv4 | undefined): UnicastIpv4 {
    if (ip === undefined) return this.config.defaultGuestIp;
    if (this.#stack.isGuestAddress(ip)) return ip;
    throw new RelayError('RELAY_FORWARD', `no guest has the address ${formatIpv4(ip)}: it is ${whyNoGuest(this.config, ip)}`);
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
    return { ...this.#stack.counters.snapshot(), ...this.gauges() };
  }

  /** Of `stats` what may fall again: cheap enough to be asked after every frame. */
  gauges(): NetworkStats {
    const { tcp } = this.#stack;
    return {
      linksOpen: this.#stack.switch.portCount,
      tcpFlowsOpen: tcp.flowCount,
      tcpPendingOpen: tcp.pendingCount,
      tcpNatFlowsOpen: this.#tcpNat.flowCount,
      tcpBytesHeld: tcp.heldBytes,
      udpFlowsOpen: this.#udpNat.flowCount,
      udpMappingsOpen: this.#udpNat.mappingCount,
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
    const { containment } = this.#stack;
    for (const part of [this.#forwards, ...this.#dnsSessions, this.#tcpNat, this.#udpNat, this.#dns, this.#stack]) containment.run('call', () => part.close());
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
    if (!this.#isGateway(datagram.dst)) return this.#udpNat.onDatagram(datagram, true);
    if (datagram.dstPort !== DNS_PORT) return this.#udpNat.onDatagram(datagram, false);
    const { neighbor, srcPort, dst } = datagram;
    this.#dns.resolve(copyOf(datagram.bytes, datagram.start, datagram.end), false, (answer) => {
      // A neighbor that was forgotten meanwhile has lost its hold on its address.
      if (this.#stack.neighborOf(neighbor.ip) === neighbor) this.#stack.udp.send(neighbor, dst, DNS_PORT, srcPort, answer);
    });
  }

  #isGateway(ip: FlowIp): boolean {
    const { ipv6 } = this.#stack;
    return ip === this.config.gatewayIp || (ipv6 !== null && (ip === ipv6.gateway || ip === ipv6.linkLocal));
  }

  #onEcho(request: EchoRequest): void {
    const { addresses, counters } = this.#stack;
    const ip = this.#aliases.hostAddress(request.dst);
    if (!isAllowed(this.config.policy, 'icmp', ip, 0)) return counters.drop('icmp-denied');
    if (this.#pingsOpen >= PINGS_MAX || !this.#takePingToken()) return counters.drop('icmp-ping-cap');
    this.#pingsOpen++;
    addresses.retain(request.guestIp);
    addresses.retain(request.dst);
    const onDone = (rttMs: number | null): void => {
      this.#pingsOpen--;
      if (rttMs !== null && !this.#isClosed) this.#stack.containment.run('host', () => this.#stack.icmp.reply(request));
      addresses.release(request.guestIp);
      addresses.release(request.dst);
    };
    void this.#hostNet.ping(ip, request.data.length, request.ttl).then(onDone, (error: unknown) => {
      onDone(null);
      this.#stack.containment.caught('host', error);
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

function stackConfig(config: NetworkConfig, hasRoute: () => boolean): StackConfig {
  return {
    subnet: config.subnet, prefixLen: config.prefixLen, gatewayIp: config.gatewayIp, gatewayMac: config.gatewayMac,
    aliases: [...config.hostAliases.keys()], mtu: config.mtu, maxLinks: config.maxLinks, maxTcpFlows: config.maxTcpFlows,
    tcpWindowMax: config.tcpWindowMax, tcpMemoryBudget: config.tcpMemoryBudget, tcpKeepaliveMs: config.tcpKeepaliveMs,
    tcpTimestamps: config.tcpTimestamps, verifyChecksums: config.verifyChecksums,
    ipv6: !config.ipv6 || config.mtu < IPV6_MTU_MIN ? null : {
      prefix: config.prefix6, gatewayIp: config.gatewayIp6, linkLocalIp: config.linkLocalIp6,
      aliases: config.hostAliases6.map(([alias]) => alias), hasRoute,
    },
  };
}
