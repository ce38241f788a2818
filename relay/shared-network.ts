/*
 * One network for all sessions of a relay: c2w-net's way, where every page is a card on the same Ethernet. (A relay of `serve`
 * makes a network for each session.)
 *
 * A session gets a SharedNetwork in place of a network of its own. Closing it ends nothing: the session's link is a port that the
 * session closes itself. What a forward leads here goes to the guest behind this session's link, whichever address it was given; before
 * it has one, to the network's default guest.
 */
import type { HostTcp } from '../shared/net/nat/host-net.ts';
import type { FlowInfo, Forward, ForwardSpec, Lease, NetworkStats, VirtualNetwork } from '../shared/net/services/network.ts';
import type { NetworkConfig } from '../shared/net/services/network-config.ts';
import type { DnsLogEntry } from '../shared/net/services/dns-log.ts';
import type { DnsZone } from '../shared/net/services/dns-zones.ts';
import type { BugPlace } from '../shared/net/stack/containment.ts';
import type { FrameSink, LinkPort } from '../shared/net/stack/link-port.ts';
import type { Ipv4, Mac } from '../shared/net/wire/addr.ts';
import type { SessionNetwork } from './session.ts';

/** Makes the sessions' shares in `network`; nobody else attaches links to it. */
export function shareNetwork(network: VirtualNetwork): () => SessionNetwork {
  let links = 0;
  return () => new SharedNetwork(network, () => ++links);
}

class SharedNetwork implements SessionNetwork {
  readonly #network: VirtualNetwork;
  readonly #nextLink: () => number;
  /** as `stations` counts, 0 before the first */
  #link = 0;

  constructor(network: VirtualNetwork, nextLink: () => number) {
    this.#network = network;
    this.#nextLink = nextLink;
  }

  get config(): NetworkConfig { return this.#network.config; }

  attach(sink: FrameSink): LinkPort {
    const port = this.#network.attach(sink);
    this.#link = this.#nextLink();
    return port;
  }

  forwardTcp(socket: HostTcp, guestPort: number, guestIp?: Ipv4): void {
    this.#network.forwardTcp(socket, guestPort, guestIp ?? this.#guestIp());
  }

  addForward(spec: ForwardSpec): Promise<Forward> { return this.#network.addForward(spec); }
  forwards(): readonly Forward[] { return this.#network.forwards(); }
  leases(): readonly Lease[] { return this.#network.leases(); }
  flows(): Iterable<FlowInfo> { return this.#network.flows(); }
  stations(): { mac: Mac; link: number }[] { return this.#network.stations(); }
  zones(): readonly DnsZone[] { return this.#network.zones(); }
  addZone(zone: DnsZone): void { this.#network.addZone(zone); }
  dnsLog(): DnsLogEntry[] { return this.#network.dnsLog(); }
  stats(): NetworkStats { return this.#network.stats(); }
  caught(place: BugPlace, error: unknown): void { this.#network.caught(place, error); }
  close(): void {}

  #guestIp(): Ipv4 | undefined {
    const macs = new Set(this.#network.stations().filter(({ link }) => link === this.#link).map(({ mac }) => mac));
    return this.#network.leases().find(({ mac }) => macs.has(mac))?.ip;
  }
}
