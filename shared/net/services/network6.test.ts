/** A guest that speaks IPv6 with the network, on virtual time. */
import { expect, test } from 'vitest';
import { ethernet, framesOf, GATEWAY_MAC, GUEST_MAC, icmpv6, ip, ip6, ipv6, tcp, u16, u32, udp } from '../stack/fixture/frames.ts';
import { SeededRandom, VirtualClock } from '../stack/fixture/virtual-clock.ts';
import type { LinkPort } from '../stack/link-port.ts';
import type { Mac } from '../wire/addr.ts';
import { parseMac } from '../wire/addr.ts';
import type { Ipv6 } from '../wire/addr6.ts';
import { formatIpv6, getIpv6, IPV6_ALL_NODES, IPV6_ALL_ROUTERS, IPV6_ANY, multicastMacOf, parseCidr6, solicitedNodeOf } from '../wire/addr6.ts';
import { emitNeighborAdvert, emitNeighborSolicit, emitRouterSolicit, isIcmpv6ChecksumRight } from '../wire/icmpv6.ts';
import { Ipv6View } from '../wire/ipv6.ts';
import { prettyFrame } from '../wire/pretty.ts';
import { TCP_ACK, TCP_RST, TCP_SYN, TcpView } from '../wire/tcp.ts';
import { checksumWordOf } from '../wire/addr6.ts';
import { UdpView } from '../wire/udp.ts';
import { TcpOptions } from '../wire/tcp-options.ts';
import { FakeHostNet } from './fake-host-net.ts';
import { VirtualNetwork } from './network.ts';
import type { NetworkConfig } from './network-config.ts';

const GUEST = ip6('fd70:6f72:7473::ff:fe00:1');
const GUEST_LINK = ip6('fe80::ff:fe00:1');
const GATEWAY = ip6('fd70:6f72:7473::1');
const GATEWAY_LINK = ip6('fe80::1');
const ALIAS = ip6('fd70:6f72:7473::254');
const OUTSIDE = ip6('2001:db8::9');
const ROUTER_LINE = 'fe80::1 > ff02::1 router for 9000 s prefix fd70:6f72:7473::/64 dns fd70:6f72:7473::1 mtu 1500';

class Lab {
  readonly clock = new VirtualClock();
  readonly hostNet = new FakeHostNet();
  readonly network: VirtualNetwork;
  readonly port: LinkPort;
  frames: Uint8Array[] = [];

  constructor(config: Partial<NetworkConfig> = {}, hasV6 = true) {
    this.hostNet.hasV6 = hasV6;
    this.network = new VirtualNetwork({ clock: this.clock, random: new SeededRandom(7), hostNet: this.hostNet, config: { verifyChecksums: true, ...config } });
    this.port = this.network.attach({ sendBatch: (batch) => { this.frames.push(...framesOf(batch)); return true; } });
    this.clock.advance(0);
  }

  /** One that has said who it is, and heard what there was to hear. */
  static ready(config: Partial<NetworkConfig> = {}): Lab {
    const lab = new Lab(config);
    lab.frames.length = 0;
    return lab;
  }

  send(frame: Uint8Array, port = this.port): void {
    port.receive(frame, 0, frame.length);
    port.flush();
    this.clock.advance(0);
  }

  sendIp(dst: Ipv6, protocol: number, payload: Uint8Array, src = GUEST, hopLimit = 64, mac: Mac = GUEST_MAC): void {
    this.send(ethernet(dst[0] >>> 24 === 0xff ? multicastMacOf(dst) : GATEWAY_MAC, mac, 0x86dd, ipv6(src, dst, protocol, payload, hopLimit)));
  }

  sendNdp(emit: (out: Uint8Array, off: number, src: Ipv6, dst: Ipv6) => number, src: Ipv6, dst: Ipv6, hopLimit = 255, mac: Mac = GUEST_MAC): void {
    const message = new Uint8Array(40);
    this.sendIp(dst, 58, message.subarray(0, emit(message, 0, src, dst)), src, hopLimit, mac);
  }

  sendEcho(dst: Ipv6, len = 4, src = GUEST): void {
    this.sendIp(dst, 58, icmpv6(src, dst, Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 2, ...new Uint8Array(len))), src);
  }

  sendUdp(dst: Ipv6, srcPort: number, dstPort: number, payload: Uint8Array, hopLimit = 64): void {
    this.sendIp(dst, 17, udp(GUEST, dst, srcPort, dstPort, payload), GUEST, hopLimit);
  }

  sendTcp(flags: number, seq: number, ack: number, payload = new Uint8Array(0), dst = ALIAS, options: readonly number[] = [], hopLimit = 64): void {
    this.sendIp(dst, 6, tcp(GUEST, dst, { srcPort: 1234, dstPort: 80, seq, ack, flags, window: 60_000, options, payload }), GUEST, hopLimit);
  }

  drops(reason: string): number {
    return this.network.stats()[`drop:${reason}`] ?? 0;
  }

  /** What came since, as text. Every checksum is verified. */
  lines(): string[] {
    return this.frames.splice(0).map((frame) => {
      expectRightChecksum(frame);
      return prettyFrame(frame, 0, frame.length);
    });
  }

  expectNothingLeft(): void {
    const left = Object.entries(this.network.stats()).filter(([name, value]) => /(Open|Held)$/.test(name) && name !== 'linksOpen' && value !== 0);
    expect(left).toEqual([]);
  }
}

function expectRightChecksum(frame: Uint8Array): void {
  const view = new Ipv6View();
  expect(view.wrap(frame, 14, frame.length)).toBeNull();
  if (view.isFragment) return;
  const { src, dst, payloadStart, end } = view;
  const [a, b] = [checksumWordOf(src), checksumWordOf(dst)];
  const layer = view.protocol === 6 ? new TcpView() : new UdpView();
  if (view.protocol !== 58) layer.wrap(frame, payloadStart, end);
  expect(view.protocol === 58 ? isIcmpv6ChecksumRight(frame, payloadStart, end, src, dst) : layer.isChecksumRight(a, b)).toBe(true);
}

test('RFC 4861 §6.2: a router is advertised when a link is plugged in, when asked, and when the host\'s IPv6 comes or goes', () => {
  const lab = new Lab();
  expect([lab.frames[0].subarray(0, 14), lab.frames[0][14 + 7]]).toEqual([Uint8Array.of(0x33, 0x33, 0, 0, 0, 1, 0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd, 0x86, 0xdd), 255]);
  expect(lab.lines()).toEqual([ROUTER_LINE]);
  lab.sendNdp((...to) => emitRouterSolicit(GUEST_MAC, ...to), GUEST_LINK, IPV6_ALL_ROUTERS);
  lab.sendNdp((...to) => emitRouterSolicit(null, ...to), IPV6_ANY, IPV6_ALL_ROUTERS);
  expect(lab.lines()).toEqual([ROUTER_LINE.replace('ff02::1', formatIpv6(GUEST_LINK)), ROUTER_LINE]);
  // From beyond the link, or with a link address of nobody: RFC 4861 §6.1.1.
  lab.sendNdp((...to) => emitRouterSolicit(null, ...to), GUEST_LINK, IPV6_ALL_ROUTERS, 254);
  lab.sendNdp((...to) => emitRouterSolicit(GUEST_MAC, ...to), IPV6_ANY, IPV6_ALL_ROUTERS);
  expect([lab.lines(), lab.drops('ndp-malformed')]).toEqual([[], 2]);
  lab.hostNet.hasV6 = false;
  lab.clock.advance(10_001);
  expect(lab.lines()).toEqual([]);
  lab.sendEcho(GATEWAY);
  expect(lab.lines()[0]).toBe(ROUTER_LINE.replace('9000', '0'));
  lab.clock.advance(600_001);
  lab.sendEcho(GATEWAY);
  expect(lab.lines().length).toBe(2);
  lab.network.close();
  lab.expectNothingLeft();
});

test('without IPv6 of the host there is a prefix but no route; without IPv6 at all, or with too small an MTU, there is nothing', () => {
  expect(new Lab({}, false).lines()).toEqual([ROUTER_LINE.replace('9000', '0')]);
  for (const config of [{ ipv6: false }, { mtu: 1279 }]) {
    const lab = new Lab(config);
    lab.sendEcho(GATEWAY);
    expect([lab.lines(), lab.drops('ethernet-unknown-type')]).toEqual([[], 1]);
  }
  expect(() => new Lab({ subnet: ip('240.1.2.0') })).toThrow(/240\.0\.0\.0\/4/);
});

test('RFC 4861 §7.2.4, RFC 4862 §5.4: the gateway says which addresses are its own, to askers and to those who look for a free one', () => {
  const lab = Lab.ready();
  for (const target of [GATEWAY, GATEWAY_LINK, ALIAS, ip6('fd70:6f72:7473::77')]) {
    lab.sendNdp((...to) => emitNeighborSolicit({ kind: 'neighbor-solicit', target, linkAddress: GUEST_MAC }, ...to), GUEST, solicitedNodeOf(target));
    lab.sendNdp((...to) => emitNeighborSolicit({ kind: 'neighbor-solicit', target, linkAddress: null }, ...to), IPV6_ANY, solicitedNodeOf(target));
  }
  // Flags: router, solicited, override; to everyone without "solicited".
  expect(lab.frames.map((frame) => frame[58])).toEqual([0xe0, 0xa0, 0xe0, 0xa0, 0xe0, 0xa0]);
  expect(lab.lines()).toEqual([GATEWAY, GATEWAY_LINK, ALIAS].flatMap((target) => [formatIpv6(GUEST), 'ff02::1'].map((to) => `${formatIpv6(target)} > ${to} ${formatIpv6(target)} is-at 5a:94:ef:e4:0c:dd`)));
  const other = parseMac('02:00:00:00:00:09')!;
  lab.sendNdp((...to) => emitNeighborSolicit({ kind: 'neighbor-solicit', target: GATEWAY, linkAddress: other }, ...to), GUEST, GATEWAY);
  lab.sendNdp((...to) => emitNeighborSolicit({ kind: 'neighbor-solicit', target: GATEWAY, linkAddress: other }, ...to), IPV6_ANY, GATEWAY);
  const advert = (target: Ipv6, linkAddress: Mac): void => {
    lab.sendNdp((...to) => emitNeighborAdvert({ kind: 'neighbor-advert', target, isRouter: false, isSolicited: false, isOverride: true, linkAddress }, ...to), GUEST_LINK, IPV6_ALL_NODES);
  };
  advert(GATEWAY, GUEST_MAC);
  advert(GUEST, other);
  advert(OUTSIDE, GUEST_MAC);
  expect([lab.lines(), lab.drops('ndp-malformed')]).toEqual([[], 5]);
});

test('echo: our addresses answer, groups as the link-local one, large ones in fragments; reports of listeners are ignored', () => {
  const lab = Lab.ready();
  for (const dst of [GATEWAY, GATEWAY_LINK, ALIAS, IPV6_ALL_NODES]) lab.sendEcho(dst);
  expect(lab.lines()).toEqual(['fd70:6f72:7473::1', 'fe80::1', 'fd70:6f72:7473::254', 'fe80::1'].map((from) => `${from} > ${formatIpv6(GUEST)} icmp6 echo-reply id 1 seq 2 len 4`));
  lab.sendIp(ip6('ff02::16'), 0, Uint8Array.of(58, 0, 5, 2, 0, 0, 1, 0, ...icmpv6(GUEST_LINK, ip6('ff02::16'), Uint8Array.of(143, 0, 0, 0, 0, 0, 0, 0))), GUEST_LINK, 1);
  expect([lab.lines(), Object.keys(lab.network.stats()).filter((name) => name.startsWith('drop:'))]).toEqual([[], []]);
  lab.sendIp(GATEWAY, 58, Uint8Array.of(128, 0, 1, 2, 0, 0, 0, 0));
  expect(lab.drops('icmpv6-bad-checksum')).toBe(1);
});

test('ping to the outside: ten at once, then ten a second; the answer is the guest\'s own data', async () => {
  const lab = Lab.ready();
  lab.hostNet.rttMs = 5;
  for (let i = 0; i < 15; i++) lab.sendEcho(OUTSIDE);
  expect([lab.hostNet.pinged.length, lab.hostNet.pinged[0], lab.drops('icmp-ping-cap')]).toEqual([10, '2001:db8::9', 5]);
  await Promise.resolve();
  lab.clock.advance(0);
  expect(lab.lines()[9]).toBe(`2001:db8::9 > ${formatIpv6(GUEST)} icmp6 echo-reply id 1 seq 2 len 4`);
  lab.clock.advance(500);
  for (let i = 0; i < 9; i++) lab.sendEcho(OUTSIDE);
  expect(lab.hostNet.pinged.length).toBe(15);
  // Nobody there: silence.
  lab.hostNet.rttMs = null;
  lab.clock.advance(1000);
  await Promise.resolve();
  lab.clock.advance(0);
  lab.frames.length = 0;
  lab.sendEcho(OUTSIDE);
  await Promise.resolve();
  lab.clock.advance(0);
  expect(lab.lines()).toEqual([]);
  lab.network.close();
  lab.expectNothingLeft();
});

test('what is not carried, and what is said about it', () => {
  const lab = Lab.ready();
  const datagram = (dst: Ipv6, src = GUEST): Uint8Array => udp(src, dst, 1, 33_434, new Uint8Array(4));
  // Loopback, IPv4 in disguise, groups, others' link-local addresses: nothing.
  for (const text of ['::1', '::', '::ffff:127.0.0.1', '::127.0.0.1', 'ff02::fb', 'fe80::77']) lab.sendIp(ip6(text), 17, datagram(ip6(text)));
  expect([lab.lines(), lab.drops('ipv6-bad-destination'), lab.hostNet.udp.length]).toEqual([[], 6, 0]);
  lab.sendIp(OUTSIDE, 17, datagram(OUTSIDE), GUEST, 1);
  lab.sendIp(ip6('fd70:6f72:7473::77'), 17, datagram(ip6('fd70:6f72:7473::77')));
  lab.sendIp(OUTSIDE, 17, datagram(OUTSIDE, GUEST_LINK), GUEST_LINK);
  lab.sendIp(GATEWAY, 17, datagram(GATEWAY));
  lab.sendIp(GATEWAY, 99, Uint8Array.of(1));
  const about = (type: string, dst: string, src = formatIpv6(GUEST)): string => `icmp6 type ${type} about ${src}.1 > ${dst}.33434 protocol 17`;
  expect(lab.lines()).toEqual([
    `fd70:6f72:7473::1 > ${formatIpv6(GUEST)} ${about('3 code 0', '2001:db8::9')}`, `fd70:6f72:7473::1 > ${formatIpv6(GUEST)} ${about('1 code 3', 'fd70:6f72:7473::77')}`,
    `fe80::1 > ${formatIpv6(GUEST_LINK)} ${about('1 code 2', '2001:db8::9', formatIpv6(GUEST_LINK))}`, `fd70:6f72:7473::1 > ${formatIpv6(GUEST)} ${about('1 code 4', 'fd70:6f72:7473::1')}`,
    `fd70:6f72:7473::1 > ${formatIpv6(GUEST)} icmp6 type 4 code 1 about truncated`,
  ]);
  // RFC 4443 §2.4 (e): no error about an error.
  lab.sendIp(OUTSIDE, 58, icmpv6(GUEST, OUTSIDE, Uint8Array.of(1, 4, 0, 0, 0, 0, 0, 0, ...new Uint8Array(48))), GUEST, 1);
  for (const src of [IPV6_ANY, OUTSIDE, GATEWAY, IPV6_ALL_NODES, ip6('::1')]) lab.sendIp(GATEWAY, 17, datagram(GATEWAY, src), src);
  expect([lab.lines(), lab.drops('ipv6-bad-source')]).toEqual([[], 5]);
  const unsummed = datagram(ALIAS);
  unsummed.set([0, 0], 6);
  lab.sendIp(ALIAS, 17, unsummed);
  expect(lab.drops('udp-bad-checksum')).toBe(1);
});

test('Packet Too Big (RFC 8201): TCP cuts and sends again at once, UDP is fragmented; less than 1280 is taken for 1280', () => {
  const lab = Lab.ready();
  const say = (flags: number, seq: number, ack: number, options: number[]): void => {
    lab.sendIp(ALIAS, 6, tcp(GUEST, ALIAS, { srcPort: 1234, dstPort: 80, seq, ack, flags, window: 60_000, options, payload: new Uint8Array(0) }));
  };
  say(TCP_SYN, 100, 0, [2, 4, ...u16(1440)]);
  const [socket] = lab.hostNet.tcp;
  socket.handlers.onConnect!();
  lab.clock.advance(0);
  const view = new TcpView();
  view.wrap(lab.frames.at(-1)!, 54, lab.frames.at(-1)!.length);
  const iss = view.seq;
  say(TCP_ACK, 101, iss + 1, []);
  lab.lines();
  const report = (mtu: number, quoted: Uint8Array, to = ALIAS): void => lab.sendIp(to, 58, icmpv6(GUEST, to, Uint8Array.from([2, 0, 0, 0, ...u32(mtu), ...quoted.subarray(0, 1232)])));
  const segment = (seq: number): Uint8Array => ipv6(ALIAS, GUEST, 6, tcp(ALIAS, GUEST, { srcPort: 80, dstPort: 1234, seq, ack: 101, flags: TCP_ACK, window: 1, options: [], payload: new Uint8Array(1440) }));
  socket.handlers.onData(new Uint8Array(2880));
  lab.clock.advance(0);
  const lengths = (): number[] => lab.frames.splice(0).map((frame) => frame.length - 14);
  expect(lengths()).toEqual([1500, 1500]);
  report(1400, segment(iss));
  expect(lengths()).toEqual([]);
  report(1400, segment(iss + 1));
  expect(lengths()).toEqual([1400, 160, 1400, 160]);
  report(600, segment(iss + 1));
  expect(lengths()).toEqual([1280, 180, 1280, 180]);
  lab.clock.advance(600_000);
  lab.sendUdp(ALIAS, 5000, 6000, Uint8Array.of(1));
  lengths();
  const datagram = ipv6(ALIAS, GUEST, 17, udp(ALIAS, GUEST, 6000, 5000, new Uint8Array(1440)));
  const answer = (): number[] => {
    lab.hostNet.udp[0].handlers.onMessage(new Uint8Array(1440), 0 as never, 6000);
    lab.clock.advance(0);
    return lengths();
  };
  expect(answer()).toEqual([1488]);
  report(1400, datagram, OUTSIDE);
  report(1400, ipv6(ALIAS, GUEST, 17, udp(ALIAS, GUEST, 6001, 5000, new Uint8Array(1440))));
  report(1400, datagram.subarray(0, 47));
  expect([answer(), lab.drops('icmpv6-unrelated')]).toEqual([[1488], 4]);
  report(1400, datagram);
  expect(answer()).toEqual([1400, 144]);
  // A first fragment, quoted with its header.
  const piece = Uint8Array.from([17, 0, 0, 1, 0, 0, 0, 9, ...udp(ALIAS, GUEST, 6000, 5000, new Uint8Array(1440)).subarray(0, 800)]);
  report(1000, ipv6(ALIAS, GUEST, 44, piece));
  expect(answer()).toEqual([1280, 264]);
  lab.network.close();
  lab.expectNothingLeft();
});

test('UDP NAT: an answer from another port of the same IPv6 address is let in, a stranger\'s is not', () => {
  const lab = Lab.ready();
  lab.sendUdp(OUTSIDE, 5000, 69, Uint8Array.of(1));
  const [mapping] = lab.hostNet.mappings;
  mapping.handlers.onMessage(Uint8Array.of(9), OUTSIDE, 1069);
  mapping.handlers.onMessage(Uint8Array.of(9), ip6('2001:db8::a'), 69);
  lab.clock.advance(0);
  expect([mapping.to, lab.lines(), lab.drops('udp-filtered')]).toEqual(['::', [`2001:db8::9.1069 > ${formatIpv6(GUEST)}.5000 udp len 1`], 1]);
  lab.sendUdp(OUTSIDE, 5000, 1069, Uint8Array.of(2));
  expect(mapping.sentTo).toEqual(['[2001:db8::9]:1069']);
  lab.clock.advance(91_000);
  lab.network.close();
  lab.expectNothingLeft();
});

test('UDP NAT: the alias is ::1, a fragmented answer, an error is an ICMPv6 message, a policy for IPv6', () => {
  const lab = Lab.ready({ policy: { rules: [{ allow: false, cidr: parseCidr6('2001:db8::/32')! }], otherwise: 'allow' } });
  lab.sendUdp(ALIAS, 5000, 6000, Uint8Array.of(1, 2, 3));
  const [socket] = lab.hostNet.udp;
  expect([socket.to, [...socket.sent[0]], socket.ttls]).toEqual(['::1:6000', [1, 2, 3], []]);
  socket.handlers.onMessage(Uint8Array.of(9), 0 as never, 6000);
  socket.handlers.onError('ECONNREFUSED');
  socket.handlers.onMessage(new Uint8Array(4000), 0 as never, 6000);
  lab.clock.advance(0);
  expect(lab.lines().map((line) => line.replace(/id \d+ /, ''))).toEqual([
    `fd70:6f72:7473::254.6000 > ${formatIpv6(GUEST)}.5000 udp len 1`,
    `fd70:6f72:7473::254 > ${formatIpv6(GUEST)} icmp6 type 1 code 4 about ${formatIpv6(GUEST)}.5000 > fd70:6f72:7473::254.6000 protocol 17`,
    `fd70:6f72:7473::254 > ${formatIpv6(GUEST)} fragment offset 0+ len 1448`, `fd70:6f72:7473::254 > ${formatIpv6(GUEST)} fragment offset 1448+ len 1448`,
    `fd70:6f72:7473::254 > ${formatIpv6(GUEST)} fragment offset 2896 len 1112`,
  ]);
  lab.sendUdp(OUTSIDE, 5000, 6000, Uint8Array.of(1));
  expect(lab.lines()[0]).toMatch(/type 1 code 1 about/);
  lab.sendUdp(ip6('2001:db9::1'), 5000, 6000, Uint8Array.of(1));
  expect(lab.hostNet.udp.map(({ to }) => to)).toEqual(['::1:6000', '2001:db9::1:6000']);
  lab.clock.advance(91_000);
  // The guest's own address stays known, as in ARP.
  expect([socket.isClosed, lab.network.stats()['ipv6AddressesKnown']]).toEqual([true, 1]);
  lab.network.close();
  lab.expectNothingLeft();
});

test('fragments of a guest are joined, whatever is in front of them; overlaps die, atomic ones stand alone', () => {
  const lab = Lab.ready();
  const datagram = udp(GUEST, ALIAS, 5000, 6000, new Uint8Array(2992).map((_, i) => i));
  const small = udp(GUEST, ALIAS, 5000, 6000, Uint8Array.of(1, 2, 3));
  const piece = (from: number, to: number, id: number, before: number[] = [], of = datagram): void => {
    const fragment = [17, 0, ...u16(from | (to < of.length ? 1 : 0)), ...u32(id), ...of.subarray(from, to)];
    lab.sendIp(ALIAS, before.length === 0 ? 44 : 60, Uint8Array.of(...before, ...fragment));
  };
  const options = [44, 0, 1, 4, 0, 0, 0, 0];
  piece(2000, 3000, 1, options);
  piece(0, 1000, 1, options);
  piece(1000, 2000, 1, options);
  expect(lab.hostNet.udp[0].sent[0]).toEqual(datagram.subarray(8));
  piece(0, 1000, 2);
  piece(0, small.length, 2, [], small);
  expect(lab.hostNet.udp[0].sent.length).toBe(2);
  piece(992, 2000, 2);
  piece(8, 1000, 3);
  piece(0, 1001, 3);
  expect([lab.drops('ipv6-fragment-overlap'), lab.drops('ipv6-bad-fragment')]).toEqual([1, 1]);
  // A fragment in a fragment.
  lab.sendIp(ALIAS, 44, Uint8Array.of(44, 0, 0, 0, 0, 0, 0, 7, 17, 0, 0, 1, 0, 0, 0, 7, ...datagram.subarray(0, 8)));
  expect(lab.drops('ipv6-bad-fragment')).toBe(2);
  for (let id = 10; id < 40; id++) piece(0, 1000, id);
  expect(lab.network.stats()['fragmentsHeld']).toBe(16);
  lab.network.close();
  lab.clock.advance(100_000);
  lab.expectNothingLeft();
});

test('TCP NAT: dial, handshake with an MSS that is 20 smaller, data both ways, reset', () => {
  const lab = Lab.ready();
  lab.sendTcp(TCP_SYN, 100, 0, undefined, ALIAS, [2, 4, ...u16(1440), 3, 3, 7, 0]);
  const [socket] = lab.hostNet.tcp;
  expect([socket.to, lab.frames.length]).toEqual(['::1:80', 0]);
  socket.handlers.onConnect!();
  lab.clock.advance(0);
  const synAck = lab.frames.at(-1)!;
  const view = new TcpView();
  view.wrap(synAck, 54, synAck.length);
  const options = new TcpOptions();
  options.parse(synAck, view.optionsStart, view.payloadStart);
  expect([options.mss, lab.lines().length]).toEqual([1440, 1]);
  lab.sendTcp(TCP_ACK, 101, view.seq + 1, Uint8Array.of(1, 2, 3));
  expect([socket.written, lab.lines().length]).toEqual([3, 1]);
  socket.handlers.onData(new Uint8Array(3000).fill(7));
  lab.clock.advance(0);
  const sizes = lab.frames.map((frame) => frame.length);
  expect([sizes, lab.lines().at(-1)]).toEqual([[1514, 1514, 74 + 120], expect.stringMatching(/^fd70:6f72:7473::254\.80 > fd70:6f72:7473::ff:fe00:1\.1234 tcp PSH\|ACK .* len 120$/)]);
  lab.sendTcp(TCP_RST, 104, 0);
  lab.clock.advance(500);
  expect(socket.isReset).toBe(true);
  // No connection: a reset; refused: a reset; unreachable: ICMPv6.
  lab.sendTcp(TCP_ACK, 1, 77);
  expect(lab.lines()[0]).toMatch(/tcp RST seq 77/);
  for (const [error, answer] of [['EHOSTUNREACH', /type 1 code 3/], ['ENETUNREACH', /type 1 code 0/], ['EACCES', /type 1 code 1/], ['ECONNREFUSED', /RST\|ACK/]] as const) {
    lab.sendTcp(TCP_SYN, 1, 0, undefined, OUTSIDE);
    lab.hostNet.tcp.at(-1)!.handlers.onClose(error);
    lab.clock.advance(0);
    expect(lab.lines()[0]).toMatch(answer);
  }
  lab.network.close();
  lab.expectNothingLeft();
});

test('the alias is the host\'s loopback: where nobody listens on ::1, 127.0.0.1 is tried', () => {
  const lab = Lab.ready();
  lab.sendTcp(TCP_SYN, 1, 0);
  lab.hostNet.tcp[0].handlers.onClose('ECONNREFUSED');
  expect([lab.hostNet.tcp[1].to, lab.lines()]).toEqual(['127.0.0.1:80', []]);
  lab.hostNet.tcp[1].handlers.onConnect!();
  lab.clock.advance(0);
  expect(lab.lines()[0]).toMatch(/tcp SYN\|ACK/);
  lab.sendTcp(TCP_RST, 2, 0);
  lab.sendTcp(TCP_SYN, 1, 0);
  lab.hostNet.tcp[2].handlers.onClose('ECONNREFUSED');
  lab.hostNet.tcp[3].handlers.onClose('ECONNREFUSED');
  lab.clock.advance(0);
  expect([lab.lines()[0], lab.hostNet.tcp.length]).toEqual([expect.stringMatching(/RST\|ACK/), 4]);
  lab.network.close();
  lab.expectNothingLeft();
});

function query(name: string, type: number): Uint8Array {
  const labels = name.split('.').flatMap((label) => [label.length, ...Array.from(label, (c) => c.charCodeAt(0))]);
  return Uint8Array.of(0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
}

test('DNS at the gateway\'s addresses; AAAA of the outside only where the host has IPv6', () => {
  const lab = Lab.ready();
  const ask = (name: string, type: number, dst = GATEWAY): Uint8Array | null => {
    lab.sendUdp(dst, 5000, 53, query(name, type));
    const frame = lab.frames.pop();
    if (frame === undefined) return null;
    expectRightChecksum(frame);
    expect(getIpv6(frame, 22)).toEqual(dst);
    return frame.subarray(62);
  };
  expect(getIpv6(ask('host.containers.internal', 28)!.subarray(-16), 0)).toEqual(ALIAS);
  expect(getIpv6(ask('gateway.containers.internal', 28, GATEWAY_LINK)!.subarray(-16), 0)).toEqual(GATEWAY);
  expect([...ask('host.containers.internal', 1)!.subarray(-4)]).toEqual([192, 168, 127, 254]);
  const reverse = (host: string): string => `${[...host.padStart(16, '0')].toReversed().join('.')}.0.0.0.0.3.7.4.7.2.7.f.6.0.7.d.f.ip6.arpa`;
  const answer = ask(reverse('254'), 12)!;
  expect(String.fromCharCode(...answer.subarray(-25))).toBe('\x04host\x0acontainers\x08internal'.slice(-24) + '\0');
  expect(ask(reverse('77'), 12)![3] & 15).toBe(3);
  expect([ask('example.org', 28), lab.hostNet.udp.length]).toEqual([null, 1]);
  lab.hostNet.hasV6 = false;
  const empty = ask('example.net', 28)!;
  expect([empty[3] & 15, empty[7], lab.hostNet.udp[0].sent.length]).toEqual([0, 0, 1]);
  expect([ask('example.net', 1), lab.hostNet.udp[0].sent.length]).toEqual([null, 2]);
  lab.network.close();
  lab.expectNothingLeft();
});

test('more neighbors than the table has room for: those without flows make room, those with flows stay', () => {
  const lab = Lab.ready();
  lab.sendUdp(ALIAS, 5000, 6000, Uint8Array.of(1));
  for (let i = 0; i < 1000; i++) lab.sendEcho(GATEWAY, 4, [GUEST[0], GUEST[1], i, 7]);
  expect([lab.network.stats()['ipv6AddressesKnown'], lab.drops('ipv6-neighbor-cap')]).toEqual([256 + 1 - 1, 0]);
  lab.frames.length = 0;
  lab.hostNet.udp[0].handlers.onMessage(Uint8Array.of(9), 0 as never, 6000);
  lab.clock.advance(0);
  expect(lab.lines()).toEqual([`fd70:6f72:7473::254.6000 > ${formatIpv6(GUEST)}.5000 udp len 1`]);
  lab.network.close();
  lab.expectNothingLeft();
});

test('guests on one network hear each other\'s groups', () => {
  const lab = Lab.ready();
  const seen: string[] = [];
  lab.network.attach({ sendBatch: (batch) => { seen.push(...framesOf(batch).map((frame) => prettyFrame(frame, 0, frame.length))); return true; } });
  lab.sendNdp((...to) => emitNeighborSolicit({ kind: 'neighbor-solicit', target: ip6('fe80::9'), linkAddress: GUEST_MAC }, ...to), GUEST_LINK, solicitedNodeOf(ip6('fe80::9')));
  expect(seen).toEqual([ROUTER_LINE, 'fe80::ff:fe00:1 > ff02::1:ff00:9 who-has fe80::9']);
});

test('traceroute: what a datagram may not reach the host socket may not either; SYNs of its kind get no answer', () => {
  const lab = Lab.ready();
  for (const hops of [5, 5, 6, 64, 200, 2]) lab.sendUdp(OUTSIDE, 5000, 33_434, Uint8Array.of(1), hops);
  expect(lab.hostNet.udp[0].ttls).toEqual([4, 5, 64, 1]);
  lab.sendTcp(TCP_SYN, 1, 0, undefined, OUTSIDE, [], 30);
  expect([lab.hostNet.tcp.length, lab.lines(), lab.drops('tcp-low-ttl')]).toEqual([0, [], 1]);
  lab.sendTcp(TCP_SYN, 1, 0, undefined, ALIAS, [], 2);
  lab.sendTcp(TCP_SYN, 1, 0, undefined, OUTSIDE, [], 31);
  expect(lab.hostNet.tcp.map(({ to }) => to)).toEqual(['::1:80', '2001:db8::9:80']);
});
