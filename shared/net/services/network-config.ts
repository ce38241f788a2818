/** Every option of a virtual network, with its default: c2w-net's and gvproxy's addresses. */
import { RelayError } from '../../relay-error.ts';
import type { Ipv4, Mac, UnicastIpv4 } from '../wire/addr.ts';
import { broadcastOf, formatIpv4, formatMac, inCidr, isUnicast, parseIpv4, parseMac, specialUse } from '../wire/addr.ts';
import type { Ipv6 } from '../wire/addr6.ts';
import { IPV6_LOOPBACK, parseIpv6 } from '../wire/addr6.ts';
import type { Policy } from '../nat/policy.ts';
import { ALLOW_ALL } from '../nat/policy.ts';
import { emitSearchList } from '../wire/dhcp.ts';
import type { DnsZone } from './dns-zones.ts';

export interface NetworkConfig {
  /** first address of the network */
  subnet: Ipv4;
  prefixLen: number;
  gatewayIp: UnicastIpv4;
  gatewayMac: Mac;
  /** addresses of the host that guests may use, and what they mean there: .254 → 127.0.0.1 */
  hostAliases: ReadonlyMap<UnicastIpv4, Ipv4>;
  /** MACs that always get the same address: 02:00:00:00:00:01 → .3 */
  staticLeases: ReadonlyMap<Mac, UnicastIpv4>;
  /** first address that other MACs get */
  poolStart: Ipv4;
  poolEnd: Ipv4;
  /** where a forward without a guest address leads */
  defaultGuestIp: UnicastIpv4;
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
  subnet: v4('192.168.127.0'),
  prefixLen: 24,
  gatewayIp: v4('192.168.127.1'),
  gatewayMac: parseMac('5a:94:ef:e4:0c:dd')!,
  hostAliases: new Map([[v4('192.168.127.254'), v4('127.0.0.1')]]),
  staticLeases: new Map([[parseMac('02:00:00:00:00:01')!, v4('192.168.127.3')]]),
  poolStart: v4('192.168.127.4'),
  poolEnd: v4('192.168.127.253'),
  defaultGuestIp: v4('192.168.127.3'),
  mtu: 1500,
  offerMtuAlways: false,
  domain: 'containers.internal',
  leaseSeconds: 3600,
  localNames: new Map([
    ['gateway.containers.internal', v4('192.168.127.1')],
    ['host.containers.internal', v4('192.168.127.254')],
    ['gateway.docker.internal', v4('192.168.127.1')],
    ['host.docker.internal', v4('192.168.127.254')],
  ]),
  ipv6: true,
  // fd and "ports": made to be remembered. Deviates from RFC 4193 §3.2.2 (random): the network is never joined to another.
  prefix6: v6('fd70:6f72:7473::'),
  gatewayIp6: v6('fd70:6f72:7473::1'),
  linkLocalIp6: v6('fe80::1'),
  hostAliases6: [[v6('fd70:6f72:7473::254'), IPV6_LOOPBACK]],
  localNames6: new Map([
    ['gateway.containers.internal', v6('fd70:6f72:7473::1')],
    ['host.containers.internal', v6('fd70:6f72:7473::254')],
    ['gateway.docker.internal', v6('fd70:6f72:7473::1')],
    ['host.docker.internal', v6('fd70:6f72:7473::254')],
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

function v4(text: string): UnicastIpv4 {
  return parseIpv4(text) as UnicastIpv4;
}

function v6(text: string): Ipv6 {
  return parseIpv6(text)!;
}

const SEARCH_MAX = 200;

/** Throws RelayError RELAY_CONFIG, which says what can't be. */
export function checkConfig(config: NetworkConfig): void {
  const { subnet, prefixLen, gatewayIp, mtu, tcpWindowMax } = config;
  const network = `${formatIpv4(subnet)}/${prefixLen}`;
  if (!isUnicast(subnet)) throw wrong(`the subnet ${network} is ${specialUse(subnet)}`);
  if (!isHostOf(config, gatewayIp)) throw wrong(`the gateway ${formatIpv4(gatewayIp)} is ${whyNoHost(config, gatewayIp)}`);
  for (const [alias, means] of config.hostAliases) {
    if (!isUnicast(alias)) throw wrong(`the host alias ${formatIpv4(alias)} is ${specialUse(alias)}`);
    if (alias === gatewayIp) throw wrong(`the host alias ${formatIpv4(alias)} is the gateway`);
    // Loopback is what aliases are for; nothing else that is no host's can be dialled.
    if (!isUnicast(means) && means >>> 24 !== 127) throw wrong(`the host alias ${formatIpv4(alias)} leads to ${formatIpv4(means)}, which is ${specialUse(means)}`);
  }
  const guests: [string, Ipv4][] = [['the default guest', config.defaultGuestIp], ...[...config.staticLeases].map(([mac, ip]): [string, Ipv4] => [`the lease of ${formatMac(mac)}`, ip])];
  for (const [name, ip] of guests) {
    const why = whyNoGuest(config, ip);
    if (why !== null) throw wrong(`${name}, ${formatIpv4(ip)}, is ${why}`);
  }
  for (const ip of [config.poolStart, config.poolEnd]) if (!isHostOf(config, ip)) throw wrong(`the pool's ${formatIpv4(ip)} is ${whyNoHost(config, ip)}`);
  if (!(mtu >= 576 && mtu <= 65_520)) throw wrong(`mtu ${mtu} is not between 576 and 65520`);
  if (!(tcpWindowMax >= 65_535 && tcpWindowMax <= 0x3fffc000)) throw wrong(`tcpWindowMax ${tcpWindowMax} is not between 65535 and 2^30`);
  // What is left of a DHCP message of 548 bytes beside the other options.
  if ((emitSearchList(config.searchDomains)?.length ?? Infinity) > SEARCH_MAX) throw wrong(`the search domains are no names, or longer than ${SEARCH_MAX} bytes together`);
}

/** What an address is that no guest can have, to follow "is"; null for one that a guest can have. */
export function whyNoGuest(config: NetworkConfig, ip: Ipv4): string | null {
  if (!isHostOf(config, ip)) return whyNoHost(config, ip);
  if (ip === config.gatewayIp) return 'the gateway';
  return config.hostAliases.has(ip as UnicastIpv4) ? 'an alias of the host' : null;
}

function isHostOf(config: NetworkConfig, ip: Ipv4): boolean {
  return isUnicast(ip) && inCidr(ip, { base: config.subnet, prefixLen: config.prefixLen }) && ip !== config.subnet && ip !== broadcastOf(config.subnet, config.prefixLen);
}

function whyNoHost(config: NetworkConfig, ip: Ipv4): string {
  if (!isUnicast(ip)) return specialUse(ip);
  if (ip === config.subnet) return 'the network itself';
  return ip === broadcastOf(config.subnet, config.prefixLen) ? 'everyone on the network' : `not in ${formatIpv4(config.subnet)}/${config.prefixLen}`;
}

function wrong(what: string): RelayError {
  return new RelayError('RELAY_CONFIG', what);
}
