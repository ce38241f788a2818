/*
 * A network's configuration from a JSON file (`listen --config FILE`): gvproxy's names, with gvproxy's meaning, so that its
 * file in JSON's syntax (which is YAML too) works here, at the top or under `stack` as there. What gvproxy has not is `policy`,
 * `domain`, `leaseSeconds`, and caps.
 *
 *   { "stack": { "mtu": 1500, "subnet": "192.168.127.0/24", "gatewayIP": "192.168.127.1", "gatewayMacAddress": "5a:94:ef:e4:0c:dd",
 *       "dns": [{ "name": "test.", "records": [{ "name": "a", "ip": "10.0.0.1" }, { "regexp": "^b", "ip": "10.0.0.2" }], "defaultIP": "10.0.0.3" }],
 *       "dnsSearchDomains": ["test"], "forwards": { "127.0.0.1:2222": "192.168.127.3:22", "udp::5353": "192.168.127.3:53" },
 *       "nat": { "192.168.127.254": "127.0.0.1" }, "gatewayVirtualIPs": ["192.168.127.254"],
 *       "dhcpStaticLeases": { "192.168.127.3": "02:00:00:00:00:01" }, "ec2MetadataAccess": false, "blockAllOutbound": false,
 *       "policy": { "otherwise": "allow", "rules": [{ "allow": false, "cidr": "10.0.0.0/8", "ports": "1-1023", "protocol": "tcp" }] } } }
 *
 * Of `subnet` follows what is not said: gateway first, host alias last, guests from the third address. As in gvproxy, link-local
 * addresses of the host's side (metadata services of clouds) are denied unless `ec2MetadataAccess` is true.
 */
import { RelayError } from '../shared/relay-error.ts';
import { ALLOW_ALL, type Policy, type PolicyRule } from '../shared/net/nat/policy.ts';
import type { ForwardSpec } from '../shared/net/services/network.ts';
import { checkConfig, DEFAULT_NETWORK_CONFIG, whyNoGuest, type NetworkConfig } from '../shared/net/services/network-config.ts';
import { formatIpv4, IPV4_LOOPBACK, isUnicast, parseCidr, parseIpv4, parseMac, specialUse, type Ipv4, type UnicastIpv4 } from '../shared/net/wire/addr.ts';
import { ApiError } from './api/api-error.ts';
import { asZone } from './api/dns-json.ts';

export interface NetworkFile {
  config: Partial<NetworkConfig>;
  forwards: ForwardSpec[];
  /** gvproxy's settings that mean nothing here, to be told to whoever wrote them */
  ignored: string[];
}

type Json = Record<string, unknown>;
type Draft = { -readonly [K in keyof NetworkConfig]?: NetworkConfig[K] };

const LINK_LOCAL: PolicyRule = { allow: false, cidr: parseCidr('169.254.0.0/16')! };
const IGNORED = ['debug', 'capture-file', 'vpnKitUUIDMacAddresses', 'protocol'];
/** beside `stack`, in gvproxy's own file: flags of its command line */
const IGNORED_OUTSIDE = ['listen', 'services', 'log-level', 'log-file', 'pid-file', 'interfaces', 'forward', 'ssh-port', 'notification'];
/** members that are numbers of NetworkConfig by the same name, with their range */
const NUMBERS = { mtu: [576, 65_520], leaseSeconds: [60, 0x7fffffff], maxTcpFlows: [1, 1_000_000], maxUdpFlows: [1, 65_536], maxLinks: [1, 1024] } as const;
const PREFIX_MIN = 8;
const PREFIX_MAX = 29;

/** Throws RelayError RELAY_CONFIG, which names the member that is wrong. */
export function parseNetworkFile(text: string): NetworkFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong('the file', `is no JSON (YAML is not read): ${(error as Error).message}`);
  }
  const outer = asObject(value, 'the file');
  if (!Object.hasOwn(outer, 'stack')) return readStack(outer, []);
  const outside = Object.keys(outer).filter((key) => key !== 'stack');
  for (const key of outside) if (!IGNORED_OUTSIDE.includes(key)) throw wrong(key, 'is no setting beside "stack"');
  return readStack(asObject(outer['stack'], 'stack'), outside);
}

function readStack(stack: Json, ignored: string[]): NetworkFile {
  const draft: Draft = {};
  const file: NetworkFile = { config: draft, forwards: [], ignored: [...ignored] };
  // First of all: other members are checked against it, whatever their order.
  if (stack['subnet'] !== undefined) takeSubnet(draft, asText(stack['subnet'], 'subnet'));
  if (stack['gatewayIP'] !== undefined) takeGateway(draft, asHost(stack['gatewayIP'], 'gatewayIP'));
  let rules: Policy | null = null;
  let blocksAll = false;
  let allowsLinkLocal = false;
  for (const [key, value] of Object.entries(stack)) {
    if (Object.hasOwn(NUMBERS, key)) {
      const name = key as keyof typeof NUMBERS;
      draft[name] = asNumber(value, key, NUMBERS[name][0], NUMBERS[name][1]);
      continue;
    }
    switch (key) {
      case 'subnet': case 'gatewayIP': break;
      case 'gatewayMacAddress': draft.gatewayMac = asMac(value, key); break;
      case 'deviceIP': draft.defaultGuestIp = asHost(value, key); break;
      case 'dns': takeZones(draft, asList(value, key)); break;
      case 'dnsSearchDomains': draft.searchDomains = asList(value, key).map((name) => asText(name, key).replace(/\.$/, '')); break;
      case 'domain': draft.domain = asText(value, key).toLowerCase(); break;
      case 'forwards': file.forwards = Object.entries(asObject(value, key)).map(([local, remote]) => asForward(local, asText(remote, key))); break;
      case 'nat': takeNat(draft, asObject(value, key)); break;
      case 'gatewayVirtualIPs': break;
      case 'dhcpStaticLeases': draft.staticLeases = new Map(Object.entries(asObject(value, key)).map(([ip, mac]) => [asMac(mac, key), asHost(ip, key)])); break;
      case 'ec2MetadataAccess': allowsLinkLocal = asFlag(value, key); break;
      case 'blockAllOutbound': blocksAll = asFlag(value, key); break;
      case 'policy': rules = asPolicy(asObject(value, key)); break;
      default:
        if (!IGNORED.includes(key)) throw wrong(key, 'is no setting of a network');
        file.ignored.push(key);
    }
  }
  if (stack['gatewayVirtualIPs'] !== undefined) takeVirtualIps(draft, asList(stack['gatewayVirtualIPs'], 'gatewayVirtualIPs'));
  const given = blocksAll ? { rules: [], otherwise: 'deny' as const } : rules ?? ALLOW_ALL;
  draft.policy = allowsLinkLocal ? given : { ...given, rules: [LINK_LOCAL, ...given.rules] };
  const config = { ...DEFAULT_NETWORK_CONFIG, ...draft };
  checkConfig(config);
  for (const { guestIp } of file.forwards) {
    const why = guestIp === undefined ? null : whyNoGuest(config, guestIp);
    if (why !== null) throw wrong('forwards', `lead to ${formatIpv4(guestIp!)}, which is ${why}`);
  }
  return file;
}

function takeSubnet(draft: Draft, text: string): void {
  const cidr = parseCidr(text);
  if (cidr === null || !text.includes('/') || cidr.prefixLen < PREFIX_MIN || cidr.prefixLen > PREFIX_MAX) throw wrong('subnet', `is a network of /${PREFIX_MIN} to /${PREFIX_MAX}, not "${text}"`);
  if (!isUnicast(cidr.base)) throw wrong('subnet', `"${text}" is ${specialUse(cidr.base)}`);
  const at = (offset: number): UnicastIpv4 => (cidr.base + offset) as UnicastIpv4;
  const size = 2 ** (32 - cidr.prefixLen);
  draft.subnet = cidr.base;
  draft.prefixLen = cidr.prefixLen;
  draft.hostAliases = new Map<UnicastIpv4, Ipv4>([[at(size - 2), IPV4_LOOPBACK]]);
  draft.staticLeases = new Map();
  draft.poolStart = draft.defaultGuestIp = at(3);
  draft.poolEnd = at(size - 2);
  takeGateway(draft, at(1));
}

function takeGateway(draft: Draft, ip: UnicastIpv4): void {
  draft.gatewayIp = ip;
  const [host] = (draft.hostAliases ?? DEFAULT_NETWORK_CONFIG.hostAliases).keys();
  draft.localNames = new Map([...DEFAULT_NETWORK_CONFIG.localNames.keys()].map((name) => [name, name.startsWith('gateway') ? ip : host]));
}

/** As in gvproxy, zones of the file stand in place of the built-in ones. */
function takeZones(draft: Draft, list: unknown[]): void {
  draft.localNames = new Map();
  draft.zones = list.map((value) => {
    try {
      return asZone(asObject(value, 'dns'));
    } catch (error) {
      throw error instanceof ApiError ? wrong('dns', error.message) : error;
    }
  });
}

function takeNat(draft: Draft, table: Json): void {
  draft.hostAliases = new Map(Object.entries(table).map(([from, to]) => [asHost(from, 'nat'), asIp(to, 'nat')]));
}

/** Addresses that the gateway answers for; those without a translation mean themselves. */
function takeVirtualIps(draft: Draft, list: unknown[]): void {
  const aliases = new Map(draft.hostAliases ?? DEFAULT_NETWORK_CONFIG.hostAliases);
  for (const value of list) {
    const ip = asHost(value, 'gatewayVirtualIPs');
    if (!aliases.has(ip)) aliases.set(ip, ip);
  }
  draft.hostAliases = aliases;
}

function asForward(local: string, remote: string): ForwardSpec {
  const match = /^(?<udp>udp:)?(?<ip>[\d.]*|localhost):(?<port>\d{1,5})$/.exec(local)?.groups;
  const guest = /^(?<ip>[\d.]+):(?<port>\d{1,5})$/.exec(remote)?.groups;
  const text = match?.['ip'];
  const hostIp = text === undefined ? null : parseIpv4(text === '' ? '0.0.0.0' : text === 'localhost' ? '127.0.0.1' : text);
  const guestIp = parseIpv4(guest?.['ip'] ?? '');
  const hostPort = Number(match?.['port']);
  const guestPort = Number(guest?.['port']);
  if (hostIp === null || guestIp === null || !(hostPort <= 65_535) || !(guestPort >= 1 && guestPort <= 65_535)) {
    throw wrong('forwards', `has "[udp:][IP]:PORT": "IP:PORT", not "${local}": "${remote}"`);
  }
  return { protocol: match?.['udp'] === undefined ? 'tcp' : 'udp', hostIp, hostPort, guestIp, guestPort };
}

function asPolicy(value: Json): Policy {
  const otherwise = value['otherwise'] ?? 'allow';
  if (otherwise !== 'allow' && otherwise !== 'deny') throw wrong('policy', '"otherwise" is "allow" or "deny"');
  checkKeys(value, ['otherwise', 'rules'], 'policy');
  return { otherwise, rules: asList(value['rules'] ?? [], 'policy.rules').map((rule) => asRule(asObject(rule, 'policy.rules'))) };
}

function asRule(value: Json): PolicyRule {
  const { protocol } = value;
  checkKeys(value, ['allow', 'cidr', 'ports', 'protocol'], 'policy.rules');
  const cidr = value['cidr'] === undefined ? undefined : parseCidr(asText(value['cidr'], 'policy.rules'));
  if (cidr === null) throw wrong('policy.rules', `"cidr" is an address or a network such as 10.0.0.0/8, not ${JSON.stringify(value['cidr'])}`);
  if (protocol !== undefined && protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'icmp') throw wrong('policy.rules', '"protocol" is tcp, udp or icmp');
  return {
    allow: asFlag(value['allow'], 'policy.rules.allow'),
    ...(cidr === undefined ? {} : { cidr }), ...(protocol === undefined ? {} : { protocol }),
    ...(value['ports'] === undefined ? {} : { ports: asPorts(String(value['ports'])) }),
  };
}

function asPorts(text: string): { first: number; last: number } {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!(first <= last && last <= 65_535)) throw wrong('policy.rules', `"ports" is a port or a range such as 1-1023, not "${text}"`);
  return { first, last };
}

function checkKeys(value: Json, known: string[], where: string): void {
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) throw wrong(where, `has no member "${unknown}"`);
}

function asObject(value: unknown, name: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(name, 'is not an object');
  return value as Json;
}

function asList(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value)) throw wrong(name, 'is not a list');
  return value;
}

function asText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw wrong(name, `is not a string: ${JSON.stringify(value)}`);
  return value;
}

function asFlag(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw wrong(name, 'is true or false');
  return value;
}

function asNumber(value: unknown, name: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) throw wrong(name, `is a number from ${min} to ${max}, not ${JSON.stringify(value)}`);
  return value;
}

function asIp(value: unknown, name: string): Ipv4 {
  const ip = parseIpv4(asText(value, name));
  if (ip === null) throw wrong(name, `"${asText(value, name)}" is not an IPv4 address`);
  return ip;
}

/** An address that a host can have. */
function asHost(value: unknown, name: string): UnicastIpv4 {
  const ip = asIp(value, name);
  if (!isUnicast(ip)) throw wrong(name, `"${asText(value, name)}" is ${specialUse(ip)}`);
  return ip;
}

function asMac(value: unknown, name: string): NetworkConfig['gatewayMac'] {
  const mac = parseMac(asText(value, name));
  if (mac === null) throw wrong(name, `"${asText(value, name)}" is not a MAC address`);
  return mac;
}

function wrong(name: string, what: string): RelayError {
  return new RelayError('RELAY_CONFIG', `configuration: ${name} ${what}`);
}
