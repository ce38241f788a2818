/** One line per frame, as tcpdump would say it: for debug logs and golden tests. Judges nothing, never throws. */
import { formatIpv4, formatMac } from './addr.ts';
import { formatIpv6 } from './addr6.ts';
import { parseArp } from './arp.ts';
import { copyOf } from './copy.ts';
import { parseDhcp } from './dhcp.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetView } from './ethernet.ts';
import { parseIcmp } from './icmp.ts';
import type { Icmpv6Repr } from './icmpv6.ts';
import { parseIcmpv6 } from './icmpv6.ts';
import { IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, Ipv4View } from './ipv4.ts';
import { IPPROTO_ICMPV6, Ipv6View } from './ipv6.ts';
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG, TcpView } from './tcp.ts';
import { TcpOptions } from './tcp-options.ts';
import { UdpView } from './udp.ts';

export function prettyFrame(bytes: Uint8Array, start: number, end: number): string {
  const ethernet = new EthernetView();
  const drop = ethernet.wrap(bytes, start, end);
  if (drop !== null) return drop;
  if (ethernet.etherType === ETHERTYPE_IPV4) return prettyIpv4(bytes, ethernet.payloadStart, end);
  if (ethernet.etherType === ETHERTYPE_IPV6) return prettyIpv6(bytes, ethernet.payloadStart, end);
  if (ethernet.etherType !== ETHERTYPE_ARP) {
    return `${formatMac(ethernet.src)} > ${formatMac(ethernet.dst)} type 0x${ethernet.etherType.toString(16).padStart(4, '0')} len ${end - start}`;
  }
  const arp = parseArp(bytes, ethernet.payloadStart, end);
  if (typeof arp === 'string') return arp;
  return arp.operation === 'request'
    ? `arp who-has ${formatIpv4(arp.targetIp)} tell ${formatIpv4(arp.senderIp)}`
    : `arp ${formatIpv4(arp.senderIp)} is-at ${formatMac(arp.senderMac)}`;
}

export function prettyIpv4(bytes: Uint8Array, start: number, end: number): string {
  const ip = new Ipv4View();
  const drop = ip.wrap(bytes, start, end);
  if (drop !== null) return drop;
  const src = formatIpv4(ip.src);
  const dst = formatIpv4(ip.dst);
  if (ip.isFragment) {
    return `${src} > ${dst} fragment id ${ip.identification} offset ${ip.fragmentOffset}${ip.isMoreFragments ? '+' : ''} len ${ip.end - ip.payloadStart}`;
  }
  if (ip.protocol === IPPROTO_TCP) return prettyTcp(ip, src, dst);
  if (ip.protocol === IPPROTO_UDP) return prettyUdp(ip, src, dst);
  if (ip.protocol !== IPPROTO_ICMP) return `${src} > ${dst} protocol ${ip.protocol} len ${ip.end - ip.payloadStart}`;
  const icmp = parseIcmp(ip.bytes, ip.payloadStart, ip.end);
  if (typeof icmp === 'string') return icmp;
  if (icmp.kind === 'error') return `${src} > ${dst} icmp type ${icmp.type} code ${icmp.code} about ${prettyIpv4Head(ip.bytes, icmp.dataStart, icmp.dataEnd)}`;
  return `${src} > ${dst} icmp ${icmp.kind} id ${icmp.id} seq ${icmp.seq} len ${icmp.dataEnd - icmp.dataStart}`;
}

function prettyIpv6(bytes: Uint8Array, start: number, end: number): string {
  const ip = new Ipv6View();
  const drop = ip.wrap(bytes, start, end);
  if (drop !== null) return drop;
  const src = formatIpv6(ip.src);
  const dst = formatIpv6(ip.dst);
  if (ip.isFragment) {
    return `${src} > ${dst} fragment id ${ip.identification} offset ${ip.fragmentOffset}${ip.isMoreFragments ? '+' : ''} len ${ip.end - ip.payloadStart}`;
  }
  if (ip.protocol === IPPROTO_TCP) return prettyTcp(ip, src, dst);
  if (ip.protocol === IPPROTO_UDP) return prettyUdp(ip, src, dst);
  if (ip.protocol !== IPPROTO_ICMPV6) return `${src} > ${dst} protocol ${ip.protocol} len ${ip.end - ip.payloadStart}`;
  const message = parseIcmpv6(ip.bytes, ip.payloadStart, ip.end);
  return typeof message === 'string' ? message : `${src} > ${dst} ${prettyIcmpv6(ip.bytes, message)}`;
}

function prettyIcmpv6(bytes: Uint8Array, message: Icmpv6Repr): string {
  switch (message.kind) {
    case 'error': return `icmp6 type ${message.type} code ${message.code} about ${prettyIpv6Head(bytes, message.dataStart, message.dataEnd)}`;
    case 'neighbor-solicit': return `who-has ${formatIpv6(message.target)}`;
    case 'neighbor-advert': return `${formatIpv6(message.target)} is-at ${message.linkAddress === null ? 'the same' : formatMac(message.linkAddress)}`;
    case 'router-solicit': return 'router solicitation';
    case 'router-advert': {
      const prefixes = message.prefixes.map(({ prefix, prefixLen }) => ` prefix ${formatIpv6(prefix)}/${prefixLen}`).join('');
      return `router for ${message.routerLifetimeS} s${prefixes}${message.dns.map((ip) => ` dns ${formatIpv6(ip)}`).join('')} mtu ${message.mtu ?? 'unsaid'}`;
    }
    case 'listener': return 'listener report';
    default: return `icmp6 ${message.kind} id ${message.id} seq ${message.seq} len ${message.dataEnd - message.dataStart}`;
  }
}

function prettyIpv6Head(bytes: Uint8Array, start: number, end: number): string {
  const ip = new Ipv6View();
  if (end - start < 48) return 'truncated';
  // The quotation is shorter than the packet says it is: its header alone is read.
  const header = copyOf(bytes, start, start + 40);
  header.fill(0, 4, 6);
  if (ip.wrap(header, 0, 40) !== null) return 'garbage';
  const port = (at: number): number => (bytes[at] << 8) | bytes[at + 1];
  return `${formatIpv6(ip.src)}.${port(start + 40)} > ${formatIpv6(ip.dst)}.${port(start + 42)} protocol ${ip.protocol}`;
}

/** Of a packet that was cut off, as errors quote it. */
function prettyIpv4Head(bytes: Uint8Array, start: number, end: number): string {
  if (end - start < 28) return 'truncated';
  const port = (at: number): number => (bytes[at] << 8) | bytes[at + 1];
  const ip = (at: number): string => `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  return `${ip(start + 12)}.${port(start + 20)} > ${ip(start + 16)}.${port(start + 22)} protocol ${bytes[start + 9]}`;
}

function prettyTcp(ip: Ipv4View | Ipv6View, src: string, dst: string): string {
  const tcp = new TcpView();
  const drop = tcp.wrap(ip.bytes, ip.payloadStart, ip.end);
  if (drop !== null) return drop;
  const options = tcp.hasOptions ? prettyOptions(tcp) : '';
  const ack = (tcp.flags & TCP_ACK) !== 0 ? ` ack ${tcp.ack}` : '';
  return `${src}.${tcp.srcPort} > ${dst}.${tcp.dstPort} tcp ${prettyFlags(tcp.flags)} seq ${tcp.seq}${ack} win ${tcp.window}${options} len ${tcp.payloadLen}`;
}

/** "SYN|ACK"; "-" for none */
export function prettyFlags(flags: number): string {
  const names: string[] = [];
  if (flags & TCP_SYN) names.push('SYN');
  if (flags & TCP_FIN) names.push('FIN');
  if (flags & TCP_RST) names.push('RST');
  if (flags & TCP_PSH) names.push('PSH');
  if (flags & TCP_URG) names.push('URG');
  if (flags & TCP_ACK) names.push('ACK');
  return names.join('|') || '-';
}

function prettyOptions(tcp: TcpView): string {
  const options = new TcpOptions();
  const isLegal = options.parse(tcp.bytes, tcp.optionsStart, tcp.payloadStart);
  const parts: string[] = [];
  if (options.mss !== 0) parts.push(`mss ${options.mss}`);
  if (options.windowScale >= 0) parts.push(`wscale ${options.windowScale}`);
  if (options.sackPermitted) parts.push('sackOK');
  if (options.hasTimestamps) parts.push(`TS ${options.tsVal} ecr ${options.tsEcr}`);
  for (let i = 0; i < options.sackCount; i++) parts.push(`sack ${options.sackStart[i]}-${options.sackEnd[i]}`);
  if (!isLegal) parts.push('illegal');
  return parts.length === 0 ? '' : ` [${parts.join(', ')}]`;
}

function prettyUdp(ip: Ipv4View | Ipv6View, src: string, dst: string): string {
  const udp = new UdpView();
  const drop = udp.wrap(ip.bytes, ip.payloadStart, ip.end);
  if (drop !== null) return drop;
  const head = `${src}.${udp.srcPort} > ${dst}.${udp.dstPort} udp len ${udp.end - udp.payloadStart}`;
  if (udp.dstPort !== 67 && udp.dstPort !== 68) return head;
  const dhcp = parseDhcp(udp.bytes, udp.payloadStart, udp.end);
  return typeof dhcp === 'string' ? `${head} ${dhcp}` : `${head} dhcp ${dhcp.type} your ${formatIpv4(dhcp.yourIp)} mac ${formatMac(dhcp.clientMac)}`;
}
