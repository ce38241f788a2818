/** Inputs to start from: short conversations, made by our own emitters. */
import { emitFrameLength } from '../../shared/link/qemu-framing.ts';
import { ethernet, GATEWAY_IP, GATEWAY_MAC, GUEST_IP, GUEST_MAC, icmpv6, ip, ip6, ipv4, ipv6, OUTSIDE_IP, tcp, u16, u32, udp } from '../../shared/net/stack/fixture/frames.ts';
import type { Ipv4, Mac } from '../../shared/net/wire/addr.ts';
import { MAC_BROADCAST, parseMac } from '../../shared/net/wire/addr.ts';
import type { Ipv6 } from '../../shared/net/wire/addr6.ts';
import { emitArp } from '../../shared/net/wire/arp.ts';
import { DHCP_LEN_MAX, emitDhcp, type DhcpRepr } from '../../shared/net/wire/dhcp.ts';
import { emitIcmp } from '../../shared/net/wire/icmp.ts';
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN } from '../../shared/net/wire/tcp.ts';
import { dnsQuery } from './dns-query.ts';
import { DNS_FLOW, INBOUND_FLOW } from './guest-side.ts';
import { encode, SECONDS_FROM, type Step } from './script.ts';
import { ALIAS_IP, OTHER_MAC } from './worlds.ts';

type Seeds = Record<string, Uint8Array>;

const NO_IP = 0 as Ipv4;
const EVERYONE = ip('255.255.255.255');
const GUEST6 = ip6('fd70:6f72:7473::ff:fe00:1');
const GUEST6_LINK = ip6('fe80::ff:fe00:1');
const GATEWAY6 = ip6('fd70:6f72:7473::1');
const ALIAS6 = ip6('fd70:6f72:7473::254');
const OUTSIDE6 = ip6('2001:db8::9');
const NO_IP6 = ip6('::');
/** MSS 1460, SACK permitted, timestamps, window scale 7 */
export const SYN_OPTIONS = Uint8Array.from([2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 3, 232, 0, 0, 0, 0, 1, 3, 3, 7]);

const frame = (bytes: Uint8Array): Step => ({ kind: 'frame', bytes });
const wait = (units: number): Step => ({ kind: 'wait', units });
const seconds = (count: number): Step => wait(SECONDS_FROM + count);
const host = (what: number, n = 0, which = 0): Step => ({ kind: 'host', which, what, n });
const link = (what: number): Step => ({ kind: 'link', what });
const toGateway = (packet: Uint8Array): Step => frame(ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, packet));
const datagram = (dst: Ipv4, srcPort: number, dstPort: number, payload: Uint8Array): Step => toGateway(ipv4(GUEST_IP, dst, 17, udp(GUEST_IP, dst, srcPort, dstPort, payload)));

function segment(flags: number, fields: { flow?: number; seq?: number; ack?: number; window?: number; options?: Uint8Array; payload?: number } = {}): Step {
  return { kind: 'segment', flow: 0, flags, seq: 0, ack: 0, window: 500, options: new Uint8Array(0), payload: 0, ...fields };
}

function arpFrame(operation: 'request' | 'reply', targetIp: Ipv4, senderIp: Ipv4 = GUEST_IP, senderMac: Mac = GUEST_MAC): Uint8Array {
  const message = new Uint8Array(28);
  emitArp({ operation, senderMac, senderIp, targetMac: 0 as Mac, targetIp }, message, 0);
  return ethernet(operation === 'request' ? MAC_BROADCAST : GATEWAY_MAC, GUEST_MAC, 0x0806, message);
}

function dhcpFrame(request: Partial<DhcpRepr>, mac: Mac = GUEST_MAC): Uint8Array {
  const message = new Uint8Array(DHCP_LEN_MAX);
  const len = emitDhcp({ type: 'discover', fromClient: true, xid: 9, broadcast: false, clientIp: NO_IP, yourIp: NO_IP, relayIp: NO_IP, clientMac: mac, ...request }, message, 0);
  const src = request.clientIp ?? NO_IP;
  return ethernet(MAC_BROADCAST, mac, 0x0800, ipv4(src, EVERYONE, 17, udp(src, EVERYONE, 68, 67, message.subarray(0, len))));
}

function icmpPacket(dst: Ipv4, type: number, code: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(8 + data.length);
  message.set(data, 8);
  emitIcmp(message, 0, type, code, 0x00010002, data.length);
  return ipv4(GUEST_IP, dst, 1, message);
}

/** flags and counts, then records: what the step `answer` puts around the last query's id and question */
function dnsAnswer(rcode: number, records: number[][], additional: number[][] = []): Step {
  return { kind: 'answer', which: 0, bytes: Uint8Array.from([0x81, 0x80 | rcode, 0, 1, ...u16(records.length), 0, 0, ...u16(additional.length), ...records.flat(), ...additional.flat()]) };
}

const A_RECORD = [0xc0, 12, 0, 1, 0, 1, ...u32(60), 0, 4, 1, 2, 3, 4];
const CNAME_RECORD = [0xc0, 12, 0, 5, 0, 1, ...u32(5), 0, 4, 1, 0x61, 0xc0, 12];
const OPT_RECORD = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

export function framingSeeds(): Seeds {
  const stream = (...frames: number[]): Uint8Array => {
    const out = new Uint8Array(1 + frames.reduce((sum, len) => sum + 4 + len, 0));
    out[0] = 3;
    let at = 1;
    for (const len of frames) {
      at += emitFrameLength(out, at, len);
      out.fill(len, at, at + len);
      at += len;
    }
    return out;
  };
  return { 'three-frames': stream(60, 1514, 1), 'longest': stream(1518), 'too-long': stream(14, 1519), 'of-length-0': stream(60, 0, 60) };
}

export function tunnelSeeds(): Seeds {
  const text = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  return {
    'client-hello': text({ type: 'hello', version: 1, session: 'abcdefgh_-12', token: 'abcdefgh_-123456', mtu: 1500 }),
    'bye': text({ type: 'bye' }),
    'relay-hello': text({ type: 'hello', version: 1, mtu: 1500, resumed: false, forwards: [{ host: '127.0.0.1:80', guest: 80, protocol: 'udp' }] }),
    'forwards': text({ type: 'forwards', forwards: [{ host: '127.0.0.1:8000', guest: 80 }] }),
    'grant': text({ session: 'abcdefgh_-12', token: 'abcdefgh_-123456', link: '/link', mtu: 65_520, forwards: [] }),
  };
}

export function optionSeeds(): Seeds {
  return {
    'linux-syn': SYN_OPTIONS,
    'three-sacks': Uint8Array.from([1, 1, 8, 10, ...u32(1000), ...u32(999), 1, 1, 5, 26, ...u32(1), ...u32(2), ...u32(3), ...u32(4), ...u32(5), ...u32(6)]),
    'unknown-and-end': Uint8Array.from([253, 6, 1, 2, 3, 4, 0, 9, 9, 9]),
  };
}

export function ethernetSeeds(): Seeds {
  const plain = (dst: Mac, src: Mac, type = 0x88b5): Step => frame(ethernet(dst, src, type, new Uint8Array(46)));
  return {
    'to-everyone': encode([plain(MAC_BROADCAST, GUEST_MAC), plain(parseMac('01:00:5e:00:00:fb')!, GUEST_MAC, 0x0800)]),
    'to-nobody': encode([plain(OTHER_MAC, GUEST_MAC), link(4), plain(OTHER_MAC, GUEST_MAC), plain(GUEST_MAC, OTHER_MAC), link(5)]),
    'bad-sources': encode([plain(GATEWAY_MAC, MAC_BROADCAST), plain(GATEWAY_MAC, GATEWAY_MAC), plain(GATEWAY_MAC, GUEST_MAC, 0x8100), frame(new Uint8Array(13))]),
    'full-link': encode([link(0), plain(MAC_BROADCAST, GUEST_MAC), frame(arpFrame('request', GATEWAY_IP)), link(1), link(3), frame(arpFrame('request', GATEWAY_IP))]),
  };
}

export function arpSeeds(): Seeds {
  return {
    'who-has': encode([frame(arpFrame('request', GATEWAY_IP)), frame(arpFrame('request', ALIAS_IP)), frame(arpFrame('request', OUTSIDE_IP))]),
    'probe-and-announce': encode([frame(arpFrame('request', GUEST_IP, NO_IP)), frame(arpFrame('request', GUEST_IP)), frame(arpFrame('reply', GATEWAY_IP))]),
    'gateway-asks': encode([host(6), wait(0), frame(arpFrame('reply', GATEWAY_IP)), wait(3000), host(6), seconds(5)]),
    'of-another': encode([frame(arpFrame('request', GATEWAY_IP, GUEST_IP, OTHER_MAC)), frame(arpFrame('request', GATEWAY_IP, OUTSIDE_IP))]),
  };
}

export function ipv4Seeds(): Seeds {
  const whole = udp(GUEST_IP, ALIAS_IP, 5000, 6000, new Uint8Array(2992));
  const piece = (from: number, to: number, id = 1): Step => toGateway(ipv4(GUEST_IP, ALIAS_IP, 17, whole.subarray(from, to), { id, fragment: (from >> 3) | (to < whole.length ? 0x2000 : 0) }));
  return {
    'fragments': encode([piece(0, 1000), piece(2000, 3000), piece(1000, 2000)]),
    'overlap': encode([piece(0, 1000), piece(992, 2000), piece(0, 1000, 2), piece(0, 1000, 2), seconds(31)]),
    'held': encode([...Array.from({ length: 18 }, (_, id) => piece(1000, 1040, id)), seconds(31)]),
    'time-exceeded': encode([toGateway(ipv4(GUEST_IP, OUTSIDE_IP, 17, whole.subarray(0, 100), { ttl: 1 }))]),
    'protocols': encode([1, 6, 17, 47, 253, 255].map((protocol) => toGateway(ipv4(GUEST_IP, OUTSIDE_IP, protocol, new Uint8Array(40))))),
    'addresses': encode([NO_IP, EVERYONE, ip('127.0.0.1'), ip('224.0.0.1'), ip('192.168.127.255'), ip('0.1.2.3')].map((dst) => toGateway(ipv4(GUEST_IP, dst, 17, whole.subarray(0, 20))))),
  };
}

/** `payload` starts with extension headers where `protocol` says so. */
function packet6(dst: Ipv6, protocol: number, payload: Uint8Array, src: Ipv6 = GUEST6, hopLimit = 64): Step {
  return frame(ethernet(GATEWAY_MAC, GUEST_MAC, 0x86dd, ipv6(src, dst, protocol, payload, hopLimit)));
}

function icmp6(dst: Ipv6, src: Ipv6, hopLimit: number, ...message: number[]): Step {
  return packet6(dst, 58, icmpv6(src, dst, Uint8Array.from(message)), src, hopLimit);
}

export function ipv6Seeds(): Seeds {
  const target = GATEWAY6.flatMap(u32);
  const linkAddress = [1, 1, 2, 0, 0, 0, 0, 1];
  const whole = udp(GUEST6, ALIAS6, 5000, 6000, new Uint8Array(2992));
  const piece = (from: number, to: number, id = 1): Step => packet6(ALIAS6, 44, Uint8Array.of(17, 0, ...u16(from | (to < whole.length ? 1 : 0)), ...u32(id), ...whole.subarray(from, to)));
  const segment6 = (flags: number, dst: Ipv6, port = 80): Step => packet6(dst, 6, tcp(GUEST6, dst, { srcPort: 1000 + flags, dstPort: port, seq: 1, ack: 0, flags, window: 100, options: [...SYN_OPTIONS], payload: new Uint8Array(0) }));
  const datagram6 = (dst: Ipv6, port: number, payload: Uint8Array, hopLimit = 64): Step => packet6(dst, 17, udp(GUEST6, dst, 5000, port, payload), GUEST6, hopLimit);
  return {
    'discovery': encode([
      icmp6(ip6('ff02::2'), NO_IP6, 255, 133, 0, 0, 0, 0, 0, 0, 0), icmp6(ip6('ff02::2'), GUEST6_LINK, 255, 133, 0, 0, 0, 0, 0, 0, 0, ...linkAddress),
      icmp6(ip6('ff02::1:ff00:1'), NO_IP6, 255, 135, 0, 0, 0, 0, 0, 0, 0, ...target), icmp6(GATEWAY6, GUEST6, 255, 135, 0, 0, 0, 0, 0, 0, 0, ...target, ...linkAddress),
      icmp6(ip6('ff02::1'), GUEST6_LINK, 255, 136, 0, 0, 0, 0x20, 0, 0, 0, ...GUEST6.flatMap(u32), 2, ...linkAddress.slice(1)),
    ]),
    'listeners': encode([packet6(ip6('ff02::16'), 0, Uint8Array.of(58, 0, 5, 2, 0, 0, 1, 0, ...icmpv6(GUEST6_LINK, ip6('ff02::16'), Uint8Array.of(143, 0, 0, 0, 0, 0, 0, 0))), GUEST6_LINK, 1)]),
    'echo': encode([GATEWAY6, ALIAS6, OUTSIDE6, ip6('ff02::1')].map((dst) => icmp6(dst, GUEST6, 64, 128, 0, 0, 0, 0, 1, 0, 2, 9, 9))),
    'extensions': encode([packet6(GATEWAY6, 60, Uint8Array.of(43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 2, 0, 0, 0, 0, 0, 58, 0, 0x1e, 4, 0, 0, 0, 0, ...icmpv6(GUEST6, GATEWAY6, Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 2))))]),
    'fragments': encode([piece(0, 1000), piece(2000, 3000), piece(1000, 2000), piece(0, 1000, 2), piece(992, 2000, 2), piece(0, 1000, 3), seconds(31)]),
    'held': encode([...Array.from({ length: 18 }, (_, id) => piece(1000, 1040, id)), seconds(31)]),
    'errors': encode([
      datagram6(OUTSIDE6, 9, new Uint8Array(4), 1), datagram6(GATEWAY6, 9, new Uint8Array(4)), packet6(GATEWAY6, 99, new Uint8Array(4)), datagram6(ip6('fd70:6f72:7473::9'), 9, new Uint8Array(4)),
      ...['::1', '::ffff:127.0.0.1', 'ff02::fb', 'fe80::9'].map((dst) => datagram6(ip6(dst), 9, new Uint8Array(4))),
    ]),
    'udp': encode([datagram6(ALIAS6, 6000, new Uint8Array(9), 5), { kind: 'message', which: 0, bytes: new Uint8Array(4000) }, host(7, 0), datagram6(GATEWAY6, 53, dnsQuery('host.containers.internal', 28)), datagram6(GATEWAY6, 53, dnsQuery('a.example', 28)), seconds(31)]),
    'tcp': encode([segment6(TCP_SYN, ALIAS6), host(0), segment6(TCP_SYN, OUTSIDE6), host(3, 3), segment6(TCP_SYN, ALIAS6, 81), host(3, 0), host(3, 0), segment6(TCP_ACK, ALIAS6), segment6(TCP_SYN, GATEWAY6, 53), segment6(TCP_RST, ALIAS6), seconds(40)]),
    'neighbors': encode([...Array.from({ length: 40 }, (_, i) => packet6(GATEWAY6, 58, icmpv6([GUEST6[0], GUEST6[1], 0, i + 9], GATEWAY6, Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 2)), [GUEST6[0], GUEST6[1], 0, i + 9])), link(3)]),
  };
}

export function icmpSeeds(): Seeds {
  return {
    'echo': encode([GATEWAY_IP, ALIAS_IP, OUTSIDE_IP].map((dst) => toGateway(icmpPacket(dst, 8, 0, new Uint8Array(56))))),
    'errors': encode([[3, 3], [3, 4], [11, 0], [5, 1], [12, 0]].map(([type, code]) => toGateway(icmpPacket(GATEWAY_IP, type, code, new Uint8Array(28))))),
    'large-echo': encode([toGateway(icmpPacket(GATEWAY_IP, 8, 0, new Uint8Array(1472))), toGateway(icmpPacket(GATEWAY_IP, 0, 0, new Uint8Array(8))), toGateway(icmpPacket(OUTSIDE_IP, 13, 0, new Uint8Array(12)))]),
  };
}

export function udpSeeds(): Seeds {
  const answer = (len: number): Step => ({ kind: 'message', which: 0, bytes: new Uint8Array(len) });
  return {
    'there-and-back': encode([datagram(ALIAS_IP, 5000, 6000, new Uint8Array(100)), answer(100), answer(4000), answer(0), seconds(100)]),
    'refused': encode([datagram(ALIAS_IP, 5000, 6000, new Uint8Array(3)), host(7, 0), host(7, 4)]),
    'many': encode(Array.from({ length: 10 }, (_, i) => datagram(ALIAS_IP, 5000 + i, 6000, new Uint8Array(1)))),
    'forwarded': encode([host(8, 1), datagram(GATEWAY_IP, 9, 9, new Uint8Array(1)), { kind: 'message', which: 1, bytes: new Uint8Array(20) }, datagram(GATEWAY_IP, 8080, 49_152, new Uint8Array(20))]),
  };
}

export function dhcpSeeds(): Seeds {
  const lease = ip('192.168.127.3');
  return {
    'lease': encode([
      frame(dhcpFrame({ parameters: [1, 3, 6, 15, 26, 28, 51, 58, 59] })), frame(dhcpFrame({ type: 'request', requestedIp: lease, serverId: GATEWAY_IP, hostname: 'box' })),
      frame(dhcpFrame({ type: 'request', clientIp: lease })), frame(dhcpFrame({ type: 'release', clientIp: lease })),
    ]),
    'others': encode([
      frame(dhcpFrame({ type: 'inform', clientIp: lease })), frame(dhcpFrame({ type: 'decline', requestedIp: lease })), frame(dhcpFrame({ broadcast: true, relayIp: OUTSIDE_IP })),
      frame(dhcpFrame({ type: 'request', requestedIp: OUTSIDE_IP })), frame(dhcpFrame({ type: 'request', requestedIp: OUTSIDE_IP, serverId: OUTSIDE_IP })), frame(dhcpFrame({ fromClient: false, type: 'offer' })),
    ]),
    'pool': encode(Array.from({ length: 6 }, (_, i) => frame(dhcpFrame({}, (0x020000000100 + i) as Mac)))),
  };
}

export function dnsQuerySeeds(): Seeds {
  const ask = (query: Uint8Array): Step => datagram(GATEWAY_IP, 5353, 53, query);
  return {
    'local': encode([ask(dnsQuery('host.containers.internal')), ask(dnsQuery('nobody.containers.internal')), ask(dnsQuery('1.127.168.192.in-addr.arpa', 12)), ask(dnsQuery('gateway.containers.internal', 255, 1, true))]),
    'unanswered': encode([ask(dnsQuery('example.org')), ask(dnsQuery('EXAMPLE.org', 1, 8)), seconds(10)]),
    'odd': encode([ask(dnsQuery('example.org').with(2, 0x81)), ask(dnsQuery('example.org').with(2, 0x29)), ask(dnsQuery('a'.repeat(63))), ask(new Uint8Array(12)), ask(new Uint8Array(3))]),
    'by-tcp': encode([
      segment(TCP_SYN, { flow: DNS_FLOW, options: SYN_OPTIONS }), segment(TCP_ACK, { flow: DNS_FLOW }),
      toGateway(ipv4(GUEST_IP, GATEWAY_IP, 6, tcp(GUEST_IP, GATEWAY_IP, { srcPort: 40_003, dstPort: 53, seq: 0xfffffff1, ack: 0, flags: TCP_PSH, window: 9, options: [], payload: new Uint8Array(2) }))),
      segment(TCP_ACK | TCP_PSH, { flow: DNS_FLOW, payload: 40 }), segment(TCP_ACK | TCP_FIN, { flow: DNS_FLOW }), seconds(31),
    ]),
  };
}

export function dnsAnswerSeeds(): Seeds {
  const ask = datagram(GATEWAY_IP, 5353, 53, dnsQuery('example.org', 1, 7, true));
  const plain = datagram(GATEWAY_IP, 5353, 53, dnsQuery('example.org'));
  return {
    'cached': encode([ask, dnsAnswer(0, [CNAME_RECORD, A_RECORD], [OPT_RECORD]), ask, seconds(4), ask, seconds(61), ask]),
    'nxdomain': encode([plain, dnsAnswer(3, []), plain, dnsAnswer(2, [])]),
    'long': encode([plain, dnsAnswer(0, Array.from({ length: 60 }, () => A_RECORD)), plain]),
    'forged': encode([plain, { kind: 'message', which: 0, bytes: dnsQuery('example.org').with(2, 0x81) }, host(7, 0), dnsAnswer(0, [A_RECORD])]),
  };
}

/** How each state of RFC 9293 §3.3.2 is reached; flow 0 is the guest's, flow 4 the gateway's. Host steps are the application's. */
const OPEN = [segment(TCP_SYN, { options: SYN_OPTIONS, window: 64_000 }), host(0), segment(TCP_ACK)];
const DIALOGUE = [segment(TCP_ACK | TCP_PSH, { payload: 100 }), host(2, 3000), segment(TCP_ACK), wait(50)];

export function tcpSeeds(): Seeds {
  const sack = Uint8Array.from([1, 1, 5, 10, ...u32(1460), ...u32(2920)]);
  return {
    'pending': encode([segment(TCP_SYN), segment(TCP_SYN, { seq: -1 }), wait(1000), segment(TCP_RST)]),
    'refused': encode([segment(TCP_SYN), host(1), segment(TCP_SYN, { seq: 10 }), host(0, 15)]),
    'syn-received': encode([segment(TCP_SYN, { options: SYN_OPTIONS }), host(0), wait(1500), segment(TCP_SYN, { seq: -1 }), segment(TCP_RST)]),
    'syn-sent': encode([segment(TCP_ACK), host(7), wait(1000), segment(TCP_SYN | TCP_ACK, { flow: INBOUND_FLOW, options: SYN_OPTIONS }), host(2, 100), segment(TCP_ACK, { flow: INBOUND_FLOW })]),
    'syn-sent-refused': encode([segment(TCP_ACK), host(7), segment(TCP_RST | TCP_ACK, { flow: INBOUND_FLOW }), host(7), seconds(200)]),
    'simultaneous': encode([segment(TCP_ACK), host(7), segment(TCP_SYN, { flow: INBOUND_FLOW }), segment(TCP_SYN | TCP_ACK, { flow: INBOUND_FLOW, seq: -1 }), segment(TCP_ACK, { flow: INBOUND_FLOW })]),
    'established': encode([...OPEN, ...DIALOGUE, ...DIALOGUE, segment(TCP_RST)]),
    'fin-wait-1': encode([...OPEN, host(3), segment(TCP_ACK, { ack: -1 }), wait(300), segment(TCP_ACK | TCP_PSH, { ack: -1, payload: 10 })]),
    'fin-wait-2': encode([...OPEN, host(3), segment(TCP_ACK), segment(TCP_ACK | TCP_PSH, { payload: 10 }), seconds(120)]),
    'close-wait': encode([...OPEN, segment(TCP_ACK | TCP_FIN), host(2, 3000), segment(TCP_ACK)]),
    'closing': encode([...OPEN, host(3), segment(TCP_ACK | TCP_FIN, { ack: -1 }), wait(300), segment(TCP_ACK)]),
    'last-ack': encode([...OPEN, segment(TCP_ACK | TCP_FIN), host(3), wait(300), segment(TCP_ACK, { ack: -1 }), segment(TCP_ACK)]),
    'time-wait': encode([...OPEN, host(3), segment(TCP_ACK | TCP_FIN), segment(TCP_ACK | TCP_FIN, { seq: -1 }), segment(TCP_SYN, { seq: 1000 }), seconds(11)]),
    'loss': encode([...OPEN, host(2, 15_000), segment(TCP_ACK, { ack: -13_000, options: sack }), segment(TCP_ACK, { ack: -13_000, options: sack }), segment(TCP_ACK, { ack: -13_000, options: sack }), wait(400), segment(TCP_ACK)]),
    'out-of-order': encode([...OPEN, segment(TCP_ACK, { seq: 1000, payload: 1000 }), segment(TCP_ACK, { seq: 1000, payload: 1000 }), segment(TCP_ACK, { seq: -1500, payload: 1200 }), segment(TCP_ACK, { seq: -4000, payload: 1460 }), segment(TCP_ACK, { seq: -3000, payload: 1460 })]),
    'zero-window': encode([...OPEN, segment(TCP_ACK, { window: 0 }), host(2, 9000), seconds(20), segment(TCP_ACK, { window: 3 }), segment(TCP_ACK, { window: 500 })]),
    'stalled': encode([...OPEN, host(5), ...Array.from({ length: 60 }, () => segment(TCP_ACK | TCP_PSH, { payload: 1460 })), host(6), segment(TCP_ACK)]),
    'full-link': encode([...OPEN, link(0), host(2, 19_000), host(2, 19_000), wait(500), link(1), segment(TCP_ACK), link(2), host(2, 5000), link(3), seconds(3)]),
    'keepalive': encode([...OPEN, seconds(7300), segment(TCP_ACK), seconds(8100)]),
    'challenges': encode([...OPEN, ...Array.from({ length: 12 }, () => segment(TCP_SYN, { seq: 5 })), segment(TCP_RST, { seq: 5 }), segment(TCP_ACK, { ack: 90_000 })]),
  };
}

/** Whole guests, as the NAT has them: here host steps are the host's sockets. */
export function networkSeeds(): Seeds {
  const open = [segment(TCP_SYN, { options: SYN_OPTIONS, window: 64_000 }), host(0), segment(TCP_ACK)];
  return {
    'download': encode([...open, host(1, 15_000), segment(TCP_ACK), host(2), segment(TCP_ACK), segment(TCP_ACK | TCP_FIN), host(3), seconds(11)]),
    'upload': encode([...open, host(4), ...Array.from({ length: 40 }, () => segment(TCP_ACK | TCP_PSH, { payload: 1460 })), host(5, 30_000), host(5, 30_000), segment(TCP_ACK | TCP_FIN), host(2), segment(TCP_ACK), host(3)]),
    'dial-errors': encode([1, 2, 3, 4, 5, 6].flatMap((n) => [segment(TCP_SYN, { seq: 10 * n }), host(3, n)])),
    'reset-by-host': encode([...open, segment(TCP_ACK | TCP_PSH, { payload: 100 }), host(3, 2), segment(TCP_ACK)]),
    'reset-by-guest': encode([...open, host(1, 9000), segment(TCP_RST), segment(TCP_SYN, { seq: 90 }), segment(TCP_RST, { seq: 0 })]),
    'inbound': encode([frame(arpFrame('request', GATEWAY_IP)), host(6), segment(TCP_SYN | TCP_ACK, { flow: INBOUND_FLOW, options: SYN_OPTIONS }), segment(TCP_ACK | TCP_PSH, { flow: INBOUND_FLOW, payload: 50 }), host(1, 900), segment(TCP_ACK | TCP_FIN, { flow: INBOUND_FLOW }), host(2)]),
    'caps': encode(Array.from({ length: 16 }, (_, i) => toGateway(ipv4(GUEST_IP, ALIAS_IP, 6, tcp(GUEST_IP, ALIAS_IP, { srcPort: 1000 + i, dstPort: 80, seq: 1, ack: 0, flags: TCP_SYN, window: 100, options: [], payload: new Uint8Array(0) }))))),
    'out-of-order': encode([...open, segment(TCP_ACK, { seq: 1000, payload: 1000 }), segment(TCP_ACK, { seq: 3000, payload: 1000 }), segment(TCP_ACK, { seq: -5000, payload: 1460 }), host(1, 9000), segment(TCP_ACK, { ack: -5000 }), wait(2000)]),
    'link-breaks': encode([...open, host(1, 15_000), link(3), wait(300), link(1), segment(TCP_ACK, { ack: -9000 }), link(0), host(1, 15_000), link(1), host(2)]),
  };
}

const data = (bytes: Uint8Array, which = 0): Step => ({ kind: 'data', which, bytes });
const message = (bytes: Uint8Array, which = 0): Step => ({ kind: 'message', which, bytes });
const api = (what: number, address: Ipv4, port: number): Step => ({ kind: 'api', what, ip: address, port });
const asReply = (step: Step): Step => (step.kind === 'answer' ? { ...step, kind: 'reply' } : step);

/** What servers do behind NAT, by UDP: answers that nobody asked for, of every length, of everyone, late, and errors. */
export function hostUdpSeeds(): Seeds {
  const ask = (port: number): Step => datagram(ALIAS_IP, 5000 + port, port, new Uint8Array(20));
  const from = (address: string, port: number, len: number): Step => message(Uint8Array.of(...u32(ip(address)), ...u16(port), ...new Uint8Array(len)));
  return {
    'lengths': encode([ask(6000), ...[0, 1, 1472, 1473, 4000, 9000].map((len) => message(new Uint8Array(len)))]),
    'late': encode([ask(6000), seconds(29), message(new Uint8Array(9)), seconds(89), message(new Uint8Array(9)), seconds(91), message(new Uint8Array(9))]),
    'errors-then-answers': encode([ask(6000), host(7, 0), message(new Uint8Array(9)), host(7, 3), host(7, 7), message(new Uint8Array(9)), host(7, 6), ask(6000)]),
    'of-everyone': encode([host(8, 1), frame(arpFrame('request', GATEWAY_IP)), from('198.51.100.7', 9, 3), from('240.0.0.1', 0, 3), from('0.0.0.0', 65_535, 3), from('255.255.255.255', 53, 3), datagram(GATEWAY_IP, 8080, 32_769, new Uint8Array(5)), api(4, NO_IP, 0), from('198.51.100.7', 9, 3)]),
    'to-a-guest-unheard': encode([host(8, 1), from('198.51.100.7', 9, 3), from('198.51.100.8', 9, 3), seconds(5), from('198.51.100.7', 9, 3), frame(arpFrame('reply', GATEWAY_IP))]),
    'port-53-answered-once': encode([datagram(OUTSIDE_IP, 5000, 53, dnsQuery('example.org')), message(dnsQuery('example.org').with(2, 0x81)), message(dnsQuery('example.org').with(2, 0x81))]),
    'by-ipv6': encode([packet6(ALIAS6, 17, udp(GUEST6, ALIAS6, 7777, 7778, new Uint8Array(9))), message(new Uint8Array(4000)), host(7, 0), message(new Uint8Array(9)), host(11, 1), seconds(20), packet6(OUTSIDE6, 17, udp(GUEST6, OUTSIDE6, 5000, 6000, new Uint8Array(9)))]),
    'held-pings': encode([...Array.from({ length: 12 }, () => toGateway(icmpPacket(OUTSIDE_IP, 8, 0, new Uint8Array(56)))), host(10, 3), seconds(3), toGateway(icmpPacket(ALIAS_IP, 8, 0, new Uint8Array(56))), link(3), host(10, 1), host(10, 2)]),
  };
}

/** And by TCP: servers that send much, nothing, end at once, never read, or break at any moment. */
export function hostTcpSeeds(): Seeds {
  const open = [segment(TCP_SYN, { options: SYN_OPTIONS, window: 64_000 }), host(0), segment(TCP_ACK)];
  return {
    'pieces': encode([...open, ...[1, 1, 1459, 1460, 1461, 8000].map((len) => data(new Uint8Array(len))), segment(TCP_ACK), host(2), segment(TCP_ACK | TCP_FIN), host(3)]),
    'ends-at-once': encode([...open, host(2), host(3), segment(TCP_ACK | TCP_PSH, { payload: 100 }), segment(TCP_ACK | TCP_FIN)]),
    'breaks-while-sending': encode([...open, data(new Uint8Array(30_000)), host(3, 2), data(new Uint8Array(10)), segment(TCP_ACK)]),
    'never-reads': encode([...open, host(4), ...Array.from({ length: 20 }, () => segment(TCP_ACK | TCP_PSH, { payload: 1460 })), seconds(60), host(5, 5000), host(3, 2)]),
    'never-answers': encode([segment(TCP_SYN, { options: SYN_OPTIONS }), seconds(1), segment(TCP_SYN, { seq: -1, options: SYN_OPTIONS }), seconds(130), segment(TCP_RST)]),
    'answers-too-late': encode([segment(TCP_SYN), segment(TCP_RST), host(0), data(new Uint8Array(10)), host(2), host(3)]),
    'accepted': encode([api(2, GUEST_IP, 8080), frame(arpFrame('reply', GATEWAY_IP)), segment(TCP_SYN | TCP_ACK, { flow: INBOUND_FLOW, options: SYN_OPTIONS }), data(new Uint8Array(5000)), host(2), segment(TCP_ACK | TCP_FIN, { flow: INBOUND_FLOW }), host(3)]),
    'accepted-by-a-forward': encode([host(8, 0), host(6, 1), host(6, 1), frame(arpFrame('reply', GATEWAY_IP)), segment(TCP_RST | TCP_ACK, { flow: INBOUND_FLOW }), api(4, NO_IP, 0)]),
    'two-guests': encode([...open, segment(TCP_SYN, { flow: 10, options: SYN_OPTIONS }), host(0), segment(TCP_ACK, { flow: 10 }), data(new Uint8Array(9000)), data(new Uint8Array(9000), 1), api(5, NO_IP, 0), segment(TCP_RST, { flow: 10 }), segment(TCP_ACK)], 1),
  };
}

/** Resolvers that lie: wrong ids, other questions, loops of pointers, more than fits, less than said; by UDP, and by TCP to a guest that asks by TCP. */
export function resolverSeeds(): Seeds {
  const ask = (name = 'example.org', type = 1): Step => datagram(GATEWAY_IP, 5353, 53, dnsQuery(name, type, 7, true));
  const loop = [0xc0, 35, 0, 5, 0, 1, ...u32(60), 0, 2, 0xc0, 35];
  const long = dnsAnswer(0, Array.from({ length: 200 }, () => A_RECORD));
  const soa = [0xc0, 12, 0, 6, 0, 1, ...u32(60), 0, 22, 0, 0, ...u32(1), ...u32(2), ...u32(3), ...u32(4), ...u32(5)];
  const wrong = dnsQuery('example.com').with(2, 0x81);
  const byTcp = [segment(TCP_SYN, { flow: DNS_FLOW, options: SYN_OPTIONS, window: 64_000 }), segment(TCP_ACK, { flow: DNS_FLOW }), segment(TCP_ACK | TCP_PSH, { flow: DNS_FLOW, payload: 0x8000 }), host(0)];
  return {
    'other-questions': encode([ask(), message(wrong), message(dnsQuery('example.org').with(2, 0x81)), message(new Uint8Array(3)), message(new Uint8Array(0)), dnsAnswer(0, [A_RECORD])]),
    'pointer-loops': encode([ask(), dnsAnswer(0, [loop, A_RECORD]), ask(), ask('b.example'), dnsAnswer(0, [[0xc0, 0xff, ...A_RECORD.slice(2)]])]),
    'too-much': encode([ask(), long, ask(), ask('b.example'), { kind: 'answer', which: 0, bytes: new Uint8Array(9000).fill(0x81) }]),
    'less-than-said': encode([ask(), { kind: 'answer', which: 0, bytes: Uint8Array.of(0x81, 0x80, 0, 1, 0, 9, 0, 9, 0, 9, ...A_RECORD.slice(0, 11)) }, { kind: 'answer', which: 0, bytes: Uint8Array.of(0x81, 0x80) }, ask()]),
    'cut': encode([ask(), { kind: 'answer', which: 0, bytes: Uint8Array.of(0x83, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, ...A_RECORD) }, ask()]),
    'negative': encode([ask(), { kind: 'answer', which: 0, bytes: Uint8Array.of(0x81, 0x83, 0, 1, 0, 0, 0, 1, 0, 0, ...soa) }, seconds(2), ask(), seconds(70), ask()]),
    'late-and-from-the-next': encode([host(9, 2), ask(), seconds(3), dnsAnswer(0, [A_RECORD]), { kind: 'answer', which: 1, bytes: Uint8Array.of(0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0) }, host(7, 0), seconds(3), host(7, 0, 1)]),
    'by-tcp': encode([...byTcp, asReply(dnsAnswer(0, [A_RECORD])), segment(TCP_ACK, { flow: DNS_FLOW }), segment(TCP_ACK | TCP_PSH, { flow: DNS_FLOW, payload: 0x8000 }), segment(TCP_ACK | TCP_FIN, { flow: DNS_FLOW })]),
    'by-tcp-in-pieces': encode([...byTcp, data(Uint8Array.of(0)), data(Uint8Array.of(30, 1, 2, 3)), data(new Uint8Array(40)), host(0), data(Uint8Array.of(0xff, 0xff)), data(new Uint8Array(9000)), host(2), host(3, 2)]),
    'by-tcp-breaks': encode([...byTcp, host(3, 2), host(0), host(2), host(0), segment(TCP_RST, { flow: DNS_FLOW }), asReply(dnsAnswer(0, [A_RECORD]))]),
    'none': encode([host(9, 1), ask(), host(9, 5), ask('b.example'), dnsAnswer(2, []), host(9, 3), ask('c.example', 28), dnsAnswer(5, []), host(7, 0), host(7, 0)]),
  };
}

/** Frames of every kind, for a link that is a byte stream; `message` is what comes as it is. */
export function plugInSeeds(): Seeds {
  const whole = [frame(arpFrame('request', GATEWAY_IP)), datagram(GATEWAY_IP, 5353, 53, dnsQuery('host.containers.internal')), toGateway(icmpPacket(GATEWAY_IP, 8, 0, new Uint8Array(56)))];
  return {
    'frames': encode(whole),
    'in-a-world-of-large-ones': encode([...whole, frame(new Uint8Array(20_000))], 5, 3),
    'a-length-of-0': encode([...whole, message(new Uint8Array(4)), ...whole]),
    'too-long': encode([...whole, message(Uint8Array.of(0, 0, 5, 0xef)), ...whole]),
    'a-frame-that-never-ends': encode([...whole, message(Uint8Array.of(0, 0, 5, 0xee, 1, 2, 3))]),
    'stalled': encode([link(0), ...whole, ...whole, link(1), ...whole, link(2)], 1),
    'breaks': encode([...whole, link(3), ...whole, link(2), ...whole]),
  };
}
