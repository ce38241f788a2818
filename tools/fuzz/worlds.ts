/*
 * The networks that scripts are played on, and the addresses that mean something there.
 *
 * A script's first byte chooses (modulo their number), so that odd configurations are met by every target. The corpus's own frames are made
 * for the first world; mutate-script.ts carries them over to others, role by role.
 */
import { GUEST_MAC, ip, ip6, OUTSIDE_IP } from '../../shared/net/stack/fixture/frames.ts';
import type { Policy } from '../../shared/net/nat/policy.ts';
import { zoneRegexp } from '../../shared/net/services/dns-zones.ts';
import { DEFAULT_NETWORK_CONFIG, type NetworkConfig } from '../../shared/net/services/network-config.ts';
import type { Ipv4, Mac, UnicastIpv4 } from '../../shared/net/wire/addr.ts';
import { parseMac } from '../../shared/net/wire/addr.ts';
import type { Ipv6 } from '../../shared/net/wire/addr6.ts';

export const ALIAS_IP = ip('192.168.127.254');

export interface Guest {
  readonly mac: Mac;
  readonly ip: UnicastIpv4;
  readonly ip6: Ipv6;
}

export interface World {
  readonly name: string;
  readonly config: NetworkConfig;
  /** one or two, each on a link of its own */
  readonly guests: readonly Guest[];
  /** whom flows lead to: an alias of the host's, or somebody outside where there is none */
  readonly remoteIp: UnicastIpv4;
  readonly remoteIp6: Ipv6;
  readonly broadcastIp: Ipv4;
  /** guests and gateway speak IPv6 */
  readonly hasIpv6: boolean;
  /** the host reaches the world by IPv6 */
  readonly hostHasIpv6: boolean;
}

export const OTHER_MAC = parseMac('02:00:00:00:00:02')!;
const OUTSIDE_IP6 = ip6('2001:db8::9');
/** small, so that scripts reach them */
const CAPS = { maxTcpFlows: 12, maxUdpFlows: 8, maxLinks: 3, maxLeases: 4, tcpWindowMax: 256 * 1024, tcpMemoryBudget: 64 * 1024 } satisfies Partial<NetworkConfig>;

interface Options {
  guests?: number;
  hostHasIpv6?: boolean;
}

function world(name: string, config: Partial<NetworkConfig>, { guests = 1, hostHasIpv6 = true }: Options = {}): World {
  const whole: NetworkConfig = { ...DEFAULT_NETWORK_CONFIG, ...CAPS, ...config };
  const { subnet, prefixLen, prefix6, defaultGuestIp, hostAliases, hostAliases6 } = whole;
  const hasIpv6 = whole.ipv6 && whole.mtu >= 1280;
  return {
    name, config: whole, hasIpv6, hostHasIpv6,
    guests: [
      { mac: GUEST_MAC, ip: defaultGuestIp, ip6: [prefix6[0], prefix6[1], 0xff, 0xfe000001] as Ipv6 },
      { mac: OTHER_MAC, ip: (defaultGuestIp + 2) as UnicastIpv4, ip6: [prefix6[0], prefix6[1], 0xff, 0xfe000002] as Ipv6 },
    ].slice(0, guests),
    remoteIp: [...hostAliases.keys()][0] ?? OUTSIDE_IP,
    remoteIp6: hostAliases6[0]?.[0] ?? OUTSIDE_IP6,
    broadcastIp: ((subnet | (0xffffffff >>> prefixLen)) >>> 0) as Ipv4,
  };
}

/** Another subnet, with everyone in it at places of their own. */
function within(base: string, prefixLen: number, gateway: string, guest: string, pool: [string, string], alias: string | null): Partial<NetworkConfig> {
  const gatewayIp = ip(gateway);
  return {
    subnet: ip(base), prefixLen, gatewayIp, defaultGuestIp: ip(guest), poolStart: ip(pool[0]), poolEnd: ip(pool[1]),
    hostAliases: new Map(alias === null ? [] : [[ip(alias), ip('127.0.0.1')]]),
    staticLeases: new Map([[GUEST_MAC, ip(guest)]]),
    localNames: new Map([['gateway.containers.internal', gatewayIp], ...(alias === null ? [] : [['host.containers.internal', ip(alias)] as const])]),
  };
}

const SOME_DENIED: Policy = {
  otherwise: 'allow',
  rules: [
    { allow: true, protocol: 'tcp', ports: { first: 80, last: 80 } }, { allow: false, cidr: { base: ip('10.0.0.0'), prefixLen: 8 } }, { allow: false, cidr: { base: ip('169.254.0.0'), prefixLen: 16 } },
    { allow: false, cidr: { base: ip6('fc00::'), prefixLen: 7 } }, { allow: false, protocol: 'icmp' }, { allow: false, protocol: 'udp', ports: { first: 0, last: 1023 } },
  ],
};

export const WORLDS: readonly World[] = [
  world('plain', {}),
  world('two guests', {}, { guests: 2 }),
  world('no IPv6', { ipv6: false }, { guests: 2, hostHasIpv6: false }),
  world('small packets', { mtu: 576, verifyChecksums: true }),
  world('IPv6\'s least', { mtu: 1280, tcpTimestamps: true }, { guests: 2 }),
  world('large packets', { mtu: 65_520, offerMtuAlways: true }),
  world('a /30', within('192.168.127.0', 30, '192.168.127.1', '192.168.127.2', ['192.168.127.2', '192.168.127.2'], null)),
  world('a /16', within('10.77.0.0', 16, '10.77.255.254', '10.77.1.3', ['10.77.1.4', '10.77.1.20'], '10.77.0.254'), { guests: 2 }),
  world('no aliases', { hostAliases: new Map(), hostAliases6: [], localNames: new Map(), localNames6: new Map() }, { hostHasIpv6: false }),
  world('tiny caps', { maxTcpFlows: 2, maxUdpFlows: 1, maxLinks: 2, maxLeases: 1, tcpWindowMax: 65_535, tcpMemoryBudget: 4096, leaseSeconds: 60 }, { guests: 2 }),
  world('denies all', { policy: { rules: [], otherwise: 'deny' } }, { guests: 2 }),
  world('denies some', { policy: SOME_DENIED, verifyChecksums: true }),
  world('checks sums', { verifyChecksums: true, tcpTimestamps: true }, { guests: 2 }),
  world('leases and zones', {
    staticLeases: new Map([[GUEST_MAC, ip('192.168.127.3')], [OTHER_MAC, ip('192.168.127.9')], [parseMac('02:00:00:00:01:00')!, ip('192.168.127.250')]]),
    zones: [
      { name: 'example', records: [{ name: 'a', regexp: null, ip: ip('192.0.2.1') }, { name: '', regexp: zoneRegexp('^b+$'), ip: ip('192.0.2.2') }], defaultIp: ip('192.0.2.3') },
      { name: 'org', records: [], defaultIp: null },
    ],
    searchDomains: ['corp.example', 'example.org'], domain: 'x.internal',
  }, { guests: 2 }),
  world('aliases to elsewhere', {
    hostAliases: new Map([[ip('192.168.127.254'), ip('10.1.2.3')], [ip('192.168.127.253'), ip('127.0.0.1')], [ip('198.18.5.5'), ip('192.0.2.77')]]),
    hostAliases6: [[ip6('fd70:6f72:7473::254'), ip6('2001:db8::77')], [ip6('fd70:6f72:7473::253'), ip6('::1')]],
  }),
  world('within 100.64.0.0/10', within('100.64.0.0', 10, '100.127.255.254', '100.64.0.3', ['100.64.0.4', '100.64.0.9'], '100.64.0.1'), { guests: 2 }),
];

export function worldOf(byte: number): World {
  return WORLDS[byte % WORLDS.length];
}

/** Whether two scripts are played on the same network. */
export function sameWorld(input: Uint8Array, other: Uint8Array): boolean {
  return worldOf(input[0] ?? 0) === worldOf(other[0] ?? 0);
}

/** One of each range that IANA's registries of special-purpose and multicast addresses list, and the edges of some. */
export const SPECIAL_IPV4: readonly Ipv4[] = [
  '0.0.0.0', '0.1.2.3', '10.0.0.1', '10.255.255.255', '100.64.0.1', '127.0.0.1', '127.1.2.3', '127.255.255.255', '169.254.0.1', '169.254.169.254', '172.16.0.1', '192.0.0.0', '192.0.0.8',
  '192.0.0.9', '192.0.0.170', '192.0.2.1', '192.31.196.1', '192.52.193.1', '192.88.99.1', '192.168.0.1', '192.175.48.1', '198.18.0.1', '198.51.100.1', '203.0.113.9', '8.8.8.8',
  '224.0.0.1', '224.0.0.22', '224.0.0.251', '239.255.255.250', '240.0.0.0', '240.255.255.255', '241.0.0.1', '255.255.255.254', '255.255.255.255',
].map(ip);

export const SPECIAL_IPV6: readonly Ipv6[] = [
  '::', '::1', '::7f00:1', '::ffff:127.0.0.1', '::ffff:10.0.0.1', '::ffff:0:127.0.0.1', '64:ff9b::7f00:1', '64:ff9b:1::1', '100::1', '100:0:0:1::1', '2001::1', '2001:1::1', '2001:2::1', '2001:3::1', '2001:4:112::1',
  '2001:20::1', '2001:30::1', '2001:db8::9', '2002:7f00:1::1', '2620:4f:8000::1', '3fff::1', '5f00::1', 'fc00::1', 'fe80::1', 'fe80::9', 'febf::1', 'fec0::1', 'ff01::1', 'ff02::1', 'ff02::2', 'ff02::16',
  'ff02::fb', 'ff02::1:ff00:1', 'ff05::2', 'ff0e::1', '2606:4700::1111',
].map(ip6);
