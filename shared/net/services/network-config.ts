/** Every option of a virtual network, with its default: c2w-net's and gvproxy's addresses. */
import type { Ipv4, Mac } from '../wire/addr.ts';
import { parseIpv4, parseMac } from '../wire/addr.ts';
import type { Ipv6 } from '../wire/addr6.ts';
import { IPV6_LOOPBACK, parseIpv6 } from '../wire/addr6.ts';
import type { Policy } from '../nat/policy.ts';
import { ALLOW_ALL } from '../nat/policy.ts';
import type { DnsZone } from './dns-zones.ts';

export interface NetworkConfig {
  /** first address of the network */
  subnet: Ipv4;
  prefixLen: number;
  gatewayIp: Ipv4;
  gatewayMac: Mac;
  /** addresses of the host that guests may use, and what they mean there: .254 → 127.0.0.1 */
  hostAliases: ReadonlyMap<Ipv4, Ipv4>;
  /** MACs that always get the same address: 02:00:00:00:00:01 → .3 */
  staticLeases: ReadonlyMap<Mac, Ipv4>;
  /** first address that other MACs get */
  poolStart: Ipv4;
  poolEnd: Ipv4;
  /** where a forward without a guest address leads */
  defaultGuestIp: Ipv4;
  /** largest IP packet on the network, 576 to 65520, in `bytes` */
  mtu: number;
  /** DHCP option 26 is sent to every client, not only to those that ask for it */
  offerMtuAlways: boolean;
  domain: string;
  leaseSeconds: number;
  /** names that the gateway resolves itself, lower case, without a trailing dot */
  localNames: ReadonlyMap<string, Ipv4>;
  /** Guests get IPv6 addresses, and a route where the host has one. Off, too, where `mtu` is less than IPv6 needs, 1280. */
  ipv6: boolean;
  /** first address of the IPv6 network, a /64 */
  prefix6: Ipv6;
  gatewayIp6: Ipv6;
  linkLocalIp6: Ipv6;
  /** as `hostAliases`, in pairs: ::254 → ::1 */
  hostAliases6: readonly (readonly [Ipv6, Ipv6])[];
  localNames6: ReadonlyMap<string, Ipv6>;
  /** zones beside those that the local names make */
  zones: readonly DnsZone[];
  /** domains that guests append to short names, besides `domain`: DHCP option 119 */
  searchDomains: readonly string[];
  /** which destinations guests may reach */
  policy: Policy;
  /** verify the checksums of frames from guests, though the link guarantees them */
  verifyChecksums: boolean;
  /** answer the timestamp option of guests that offer it (RFC 7323) */
  tcpTimestamps: boolean;
  /** caps: each counts, and refuses what goes beyond */
  maxTcpFlows: number;
  maxUdpFlows: number;
  maxLinks: number;
  maxLeases: number;
  /** largest receive window of one flow, in `bytes` */
  tcpWindowMax: number;
  /** bytes that all flows together may hold for slow host sockets before windows stop growing */
  tcpMemoryBudget: number;
  udpIdleMs: number;
  tcpKeepaliveMs: number;
}

export const DEFAULT_NETWORK_CONFIG: NetworkConfig = {
  subnet: ip('192.168.127.0'),
  prefixLen: 24,
  gatewayIp: ip('192.168.127.1'),
  gatewayMac: parseMac('5a:94:ef:e4:0c:dd')!,
  hostAliases: new Map([[ip('192.168.127.254'), ip('127.0.0.1')]]),
  staticLeases: new Map([[parseMac('02:00:00:00:00:01')!, ip('192.168.127.3')]]),
  poolStart: ip('192.168.127.4'),
  poolEnd: ip('192.168.127.253'),
  defaultGuestIp: ip('192.168.127.3'),
  mtu: 1500,
  offerMtuAlways: false,
  domain: 'containers.internal',
  leaseSeconds: 3600,
  localNames: new Map([
    ['gateway.containers.internal', ip('192.168.127.1')],
    ['host.containers.internal', ip('192.168.127.254')],
    ['gateway.docker.internal', ip('192.168.127.1')],
    ['host.docker.internal', ip('192.168.127.254')],
  ]),
  ipv6: true,
  // fd and "ports": made to be remembered. Deviates from RFC 4193 §3.2.2 (random): the network is never joined to another.
  prefix6: ip6('fd70:6f72:7473::'),
  gatewayIp6: ip6('fd70:6f72:7473::1'),
  linkLocalIp6: ip6('fe80::1'),
  hostAliases6: [[ip6('fd70:6f72:7473::254'), IPV6_LOOPBACK]],
  localNames6: new Map([
    ['gateway.containers.internal', ip6('fd70:6f72:7473::1')],
    ['host.containers.internal', ip6('fd70:6f72:7473::254')],
    ['gateway.docker.internal', ip6('fd70:6f72:7473::1')],
    ['host.docker.internal', ip6('fd70:6f72:7473::254')],
  ]),
  zones: [],
  searchDomains: [],
  policy: ALLOW_ALL,
  verifyChecksums: false,
  tcpTimestamps: false,
  maxTcpFlows: 16_384,
  maxUdpFlows: 4096,
  maxLinks: 64,
  maxLeases: 250,
  tcpWindowMax: 2 * 1024 * 1024,
  tcpMemoryBudget: 128 * 1024 * 1024,
  udpIdleMs: 90_000,
  tcpKeepaliveMs: 7_200_000,
};

/** Of a network where forwards lead to one guest, which chooses its MAC itself: .3 is kept for `mac`; null: whoever comes first has it. */
export function networkForGuest(mac: string | null): Pick<NetworkConfig, 'poolStart' | 'staticLeases'> {
  const { defaultGuestIp } = DEFAULT_NETWORK_CONFIG;
  return { poolStart: defaultGuestIp, staticLeases: new Map(mac === null ? [] : [[parseMac(mac)!, defaultGuestIp]]) };
}

function ip(text: string): Ipv4 {
  return parseIpv4(text)!;
}

function ip6(text: string): Ipv6 {
  return parseIpv6(text)!;
}
