import { expect, test } from 'vitest';
import type { LinkPort } from '../stack/link-port.ts';
import { ethernet, framesOf, GATEWAY_IP, GATEWAY_MAC, GUEST_IP, GUEST_MAC, ip, ip6, ipv4, ipv6, naiveChecksum, tcp, u16, u32, udp } from '../stack/fixture/frames.ts';
import { SeededRandom, VirtualClock } from '../stack/fixture/virtual-clock.ts';
import type { Ipv4, Mac } from '../wire/addr.ts';
import { formatMac, MAC_BROADCAST, parseMac } from '../wire/addr.ts';
import { emitArp } from '../wire/arp.ts';
import type { DhcpRepr } from '../wire/dhcp.ts';
import { DHCP_LEN_MAX, emitDhcp, parseDhcp } from '../wire/dhcp.ts';
import { prettyFrame } from '../wire/pretty.ts';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import type { DnsZone } from './dns-zones.ts';
import { DnsZones, regexpSource, zoneName, zoneRegexp } from './dns-zones.ts';
import { FakeHostNet, type FakeTcp } from './fake-host-net.ts';
import { VirtualNetwork } from './network.ts';
import type { NetworkConfig } from './network-config.ts';

const ALIAS_IP = ip('192.168.127.254');
const OUTSIDE = ip('203.0.113.9');
const NO_IP = 0 as Ipv4;
const GUEST6 = ip6('fd70:6f72:7473::ff:fe00:1');
const ALIAS6 = ip6('fd70:6f72:7473::254');

class Lab {
  readonly clock = new VirtualClock();
  readonly hostNet = new FakeHostNet();
  readonly network: VirtualNetwork;
  readonly port: LinkPort;
  frames: Uint8Array[] = [];

  constructor(config: Partial<NetworkConfig> = {}, log?: (line: string) => void) {
    this.network = new VirtualNetwork({
      clock: this.clock, random: new SeededRandom(7), hostNet: this.hostNet, config: { verifyChecksums: true, ipv6: false, ...config }, ...(log === undefined ? {} : { log }),
    });
    this.port = this.network.attach({ sendBatch: (batch) => { this.frames.push(...framesOf(batch)); return true; } });
  }

  send(frame: Uint8Array, port = this.port): void {
    port.receive(frame, 0, frame.length);
    port.flush();
    this.clock.advance(0);
  }

  sendIp(dst: Ipv4, protocol: number, payload: Uint8Array, extra = {}): void {
    this.send(ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, dst, protocol, payload, extra)));
  }

  sendUdp(dst: Ipv4, srcPort: number, dstPort: number, payload: Uint8Array): void {
    this.sendIp(dst, 17, udp(GUEST_IP, dst, srcPort, dstPort, payload));
  }

  sendTcp(flags: number, seq: number, ack: number, payload = new Uint8Array(0), dst = ALIAS_IP, dstPort = 80): void {
    this.sendIp(dst, 6, tcp(GUEST_IP, dst, { srcPort: 1234, dstPort, seq, ack, flags, window: 60_000, options: [], payload }));
  }

  /** A connection of the guest's that the host has taken: its socket, and our ISN. The guest's next number is 101. */
  dialled(dst = ALIAS_IP): { socket: FakeTcp; iss: number } {
    this.sendTcp(TCP_SYN, 100, 0, undefined, dst);
    const socket = this.hostNet.tcp.at(-1)!;
    socket.handlers.onConnect!();
    this.clock.advance(0);
    const synAck = this.frames.pop()!;
    const iss = new DataView(synAck.buffer).getUint32(38);
    this.sendTcp(TCP_ACK, 101, iss + 1, undefined, dst);
    this.frames = [];
    return { socket, iss };
  }

  /** Acknowledges what comes in order from `seq` on, until nothing more comes. Returns what is next. */
  takeAll(seq: number, own: number): number {
    let next = seq >>> 0;
    while (this.frames.length > 0) {
      for (const frame of this.frames.splice(0)) {
        const view = new DataView(frame.buffer, frame.byteOffset);
        if (frame[23] === 6 && view.getUint32(38) === next) next = (next + frame.length - 54) >>> 0;
      }
      if (next !== seq) this.sendTcp(TCP_ACK, own, next);
      seq = next;
    }
    return next;
  }

  dhcp(request: Partial<DhcpRepr>, mac: Mac = GUEST_MAC): DhcpRepr | null {
    const src = request.clientIp ?? NO_IP;
    const everyone = ip('255.255.255.255');
    this.send(ethernet(MAC_BROADCAST, mac, 0x0800, ipv4(src, everyone, 17, udp(src, everyone, 68, 67, dhcpMessage(request, mac)))));
    const frame = this.frames.pop();
    if (frame === undefined) return null;
    const reply = parseDhcp(frame, 42, frame.length);
    if (typeof reply === 'string') throw new Error(reply);
    return reply;
  }

  lines(): string[] {
    return this.frames.splice(0).map((frame) => prettyFrame(frame, 0, frame.length));
  }

  /** Every gauge but those of the link itself is 0. */
  expectNothingLeft(): void {
    const stats = this.network.stats();
    const left = Object.entries(stats).filter(([name, value]) => /(Open|Held)$/.test(name) && name !== 'linksOpen' && value !== 0);
    expect(left).toEqual([]);
  }
}

function dhcpMessage(request: Partial<DhcpRepr>, mac: Mac = GUEST_MAC): Uint8Array {
  const message = new Uint8Array(DHCP_LEN_MAX);
  const len = emitDhcp({ type: 'discover', fromClient: true, xid: 9, broadcast: false, clientIp: NO_IP, yourIp: NO_IP, relayIp: NO_IP, clientMac: mac, ...request }, message, 0);
  return message.subarray(0, len);
}

test('ARP: the gateway and the alias answer, others do not; a frame of another MAC than it says is refused', () => {
  const lab = new Lab();
  for (const [target, senderMac] of [[GATEWAY_IP, GUEST_MAC], [ALIAS_IP, GUEST_MAC], [ip('192.168.127.77'), GUEST_MAC], [GATEWAY_IP, parseMac('02:00:00:00:00:09')!]] as const) {
    const arp = new Uint8Array(28);
    emitArp({ operation: 'request', senderMac, senderIp: GUEST_IP, targetMac: 0 as Mac, targetIp: target }, arp, 0);
    lab.send(ethernet(MAC_BROADCAST, GUEST_MAC, 0x0806, arp));
  }
  expect(lab.lines()).toEqual(['arp 192.168.127.1 is-at 5a:94:ef:e4:0c:dd', 'arp 192.168.127.254 is-at 5a:94:ef:e4:0c:dd']);
  expect(lab.network.stats()['drop:arp-bad-sender']).toBe(1);
});

test('echo: the gateway and the alias answer with the same data', () => {
  const lab = new Lab();
  for (const dst of [GATEWAY_IP, ALIAS_IP]) lab.sendIp(dst, 1, Uint8Array.of(8, 0, 0xf4, 0xf5, 0, 1, 0, 1, 1, 2, 2, 6));
  expect(lab.lines()).toEqual(['192.168.127.1 > 192.168.127.3 icmp echo-reply id 1 seq 1 len 4', '192.168.127.254 > 192.168.127.3 icmp echo-reply id 1 seq 1 len 4']);
});

test('TTL 1 to beyond the gateway is a time-out, to the gateway it is not', () => {
  const lab = new Lab();
  lab.sendIp(ip('8.8.8.8'), 17, udp(GUEST_IP, ip('8.8.8.8'), 1, 33_434, new Uint8Array(4)), { ttl: 1 });
  expect(lab.lines()).toEqual(['192.168.127.1 > 192.168.127.3 icmp type 11 code 0 about 192.168.127.3.1 > 8.8.8.8.33434 protocol 17']);
});

test('traceroute: what a datagram may not reach the host socket may not either; SYNs of its kind get no answer', () => {
  const lab = new Lab();
  const probe = (ttl: number): void => lab.sendIp(ip('8.8.8.8'), 17, udp(GUEST_IP, ip('8.8.8.8'), 1, 33_434, new Uint8Array(4)), { ttl });
  for (const ttl of [2, 3, 63, 64, 128, 3]) probe(ttl);
  const [socket] = lab.hostNet.udp;
  expect([lab.hostNet.udp.length, socket.ttls, socket.sent.length]).toEqual([1, [1, 2, 62, 64, 2], 6]);
  const syn = (dst: Ipv4, ttl: number): void => lab.sendIp(dst, 6, tcp(GUEST_IP, dst, { srcPort: ttl, dstPort: 80, seq: 1, ack: 0, flags: TCP_SYN, window: 1, options: [], payload: new Uint8Array(0) }), { ttl });
  for (const ttl of [2, 30, 31]) syn(ip('8.8.8.8'), ttl);
  syn(ALIAS_IP, 2);
  expect(lab.hostNet.tcp.map(({ to }) => to)).toEqual(['8.8.8.8:80', '127.0.0.1:80']);
  expect([lab.lines(), lab.network.stats()['drop:tcp-low-ttl'], lab.network.stats()['tcpPendingOpen']]).toEqual([[], 2, 2]);
});

test('ping to the outside: ten at once, then ten a second, at most 32 open; no program or no answer is silence', async () => {
  const lab = new Lab();
  const pings = (count: number): void => { for (let i = 0; i < count; i++) lab.sendIp(ip('8.8.8.8'), 1, Uint8Array.of(8, 0, 0xf4, 0xf5, 0, 1, 0, 1, 1, 2, 2, 6)); };
  pings(15);
  expect([lab.hostNet.pinged.length, lab.network.stats()['drop:icmp-ping-cap'], lab.network.stats()['pingsOpen']]).toEqual([10, 5, 10]);
  await Promise.resolve();
  lab.clock.advance(1000);
  expect([lab.lines(), lab.network.stats()['pingsOpen']]).toEqual([[], 0]);
  lab.hostNet.rttMs = 1;
  pings(1);
  await Promise.resolve();
  lab.clock.advance(0);
  expect(lab.lines()).toEqual(['8.8.8.8 > 192.168.127.3 icmp echo-reply id 1 seq 1 len 4']);
  for (let i = 0; i < 5; i++) {
    lab.clock.advance(1000);
    pings(10);
  }
  expect([lab.network.stats()['pingsOpen'], lab.hostNet.pinged.length]).toEqual([32, 43]);
});

test('RFC 2131: discover, offer, request, ack; the default MAC gets .3, others .4 and on', () => {
  const lab = new Lab();
  const offer = lab.dhcp({ parameters: [1, 3, 6, 15] })!;
  expect(offer).toMatchObject({ type: 'offer', xid: 9, yourIp: GUEST_IP, router: GATEWAY_IP, dns: GATEWAY_IP, subnetMask: ip('255.255.255.0'), domain: 'containers.internal', leaseSeconds: 3600 });
  expect(offer.mtu).toBeUndefined();
  expect(lab.dhcp({ type: 'request', requestedIp: GUEST_IP, serverId: GATEWAY_IP, hostname: 'Box', parameters: [26] })).toMatchObject({ type: 'ack', yourIp: GUEST_IP, mtu: 1500 });
  const other = parseMac('02:00:00:00:00:02')!;
  expect(lab.dhcp({}, other)!.yourIp).toBe(ip('192.168.127.4'));
  expect(lab.dhcp({ type: 'request', requestedIp: ip('192.168.127.99'), serverId: GATEWAY_IP }, other)).toMatchObject({ type: 'nak' });
  expect(lab.dhcp({ type: 'request', requestedIp: ip('192.168.127.4') }, other)).toMatchObject({ type: 'ack' });
  expect(lab.network.leases().map((lease) => [lease.hostname, lease.ip])).toEqual([['box', GUEST_IP], ['', ip('192.168.127.4')]]);
  // Renewal by unicast, inform, release, and another server's offer taken.
  expect(lab.dhcp({ type: 'request', clientIp: ip('192.168.127.4') }, other)).toMatchObject({ type: 'ack', yourIp: ip('192.168.127.4') });
  expect(lab.dhcp({ type: 'inform', clientIp: ip('192.168.127.4') }, other)).toMatchObject({ type: 'ack', yourIp: 0 });
  expect(lab.dhcp({ type: 'release', clientIp: ip('192.168.127.4') }, other)).toBeNull();
  expect(lab.network.leases().length).toBe(1);
  expect(lab.dhcp({ type: 'request', requestedIp: ip('10.0.0.9'), serverId: ip('10.0.0.1') })).toBeNull();
  expect(lab.network.leases().length).toBe(0);
});

test('DHCP: a declined address is not offered again; an empty pool is silent and counted', () => {
  const lab = new Lab({ poolStart: ip('192.168.127.10'), poolEnd: ip('192.168.127.11') });
  const mac = (n: number): Mac => (0x020000000100 + n) as Mac;
  const first = lab.dhcp({}, mac(1))!.yourIp;
  lab.dhcp({ type: 'decline', requestedIp: first }, mac(1));
  expect(lab.dhcp({}, mac(1))!.yourIp).toBe(ip('192.168.127.11'));
  lab.dhcp({ type: 'request', requestedIp: ip('192.168.127.11'), serverId: GATEWAY_IP }, mac(1));
  expect(lab.dhcp({}, mac(2))).toBeNull();
  expect(lab.network.stats()['drop:dhcp-pool-empty']).toBe(1);
  const small = new Lab({ maxLeases: 2 });
  expect([1, 2, 3].map((n) => small.dhcp({}, mac(n))?.yourIp)).toEqual([ip('192.168.127.4'), ip('192.168.127.5'), undefined]);
  expect([small.network.leases().length, small.network.stats()['drop:dhcp-pool-empty']]).toEqual([2, 1]);
  // When its lease has run out, the address goes to whoever asks.
  lab.clock.advance(3_601_000);
  expect(lab.dhcp({}, mac(2))).not.toBeNull();
});

function query(name: string, type = 1, id = 7): Uint8Array {
  const labels = name.split('.').flatMap((label) => [label.length, ...Array.from(label, (c) => c.charCodeAt(0))]);
  return Uint8Array.of(0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
}

test('DNS: local names, then the resolver; the answer is cached, aged and forgotten', () => {
  const lab = new Lab();
  lab.sendUdp(GATEWAY_IP, 5000, 53, query('host.containers.internal'));
  expect([...lab.frames.pop()!.subarray(-4)]).toEqual([192, 168, 127, 254]);
  lab.sendUdp(GATEWAY_IP, 5000, 53, query('nobody.containers.internal'));
  expect(lab.frames.pop()![45] & 15).toBe(3);
  expect(lab.hostNet.udp.length).toBe(0);
  lab.sendUdp(GATEWAY_IP, 5000, 53, query('example.org'));
  lab.sendUdp(GATEWAY_IP, 5001, 53, query('EXAMPLE.org', 1, 8));
  const upstream = lab.hostNet.udp[0];
  expect([upstream.to, upstream.sent.length]).toEqual(['10.0.0.53:53', 1]);
  const asked = upstream.sent[0];
  const answer = Uint8Array.of(asked[0], asked[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, ...asked.subarray(12), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4);
  upstream.handlers.onMessage(answer.with(14, 0x79), NO_IP, 53);
  expect(lab.frames.length).toBe(0);
  upstream.handlers.onMessage(answer, NO_IP, 53);
  lab.clock.advance(0);
  expect(lab.frames.map((frame) => [frame[37], frame[43], frame[55], ...frame.subarray(-4)])).toEqual([[136, 7, 101, 1, 2, 3, 4], [137, 8, 69, 1, 2, 3, 4]]);
  lab.frames.length = 0;
  lab.clock.advance(20_000);
  lab.sendUdp(GATEWAY_IP, 5000, 53, query('example.org'));
  expect(lab.frames.pop()!.at(-7)).toBe(40);
  lab.clock.advance(41_000);
  lab.sendUdp(GATEWAY_IP, 5000, 53, query('example.org'));
  // A new socket: the old one's port was left.
  expect([upstream.isClosed, lab.hostNet.udp[1].sent.length]).toEqual([true, 1]);
  // Nobody answers: SERVFAIL when glibc would give up.
  lab.clock.advance(10_100);
  expect(lab.frames.pop()![45] & 15).toBe(2);
  // What was asked, the newest first.
  expect(lab.network.dnsLog().map(({ name, type, via, status, answers }) => `${name} ${type} ${via} ${status} ${answers.join()}`.trim())).toEqual([
    'example.org A resolver SERVFAIL', 'example.org A cache NOERROR 1.2.3.4', 'example.org A resolver NOERROR 1.2.3.4', 'example.org A resolver NOERROR 1.2.3.4',
    'nobody.containers.internal A gateway NXDOMAIN', 'host.containers.internal A gateway NOERROR 192.168.127.254',
  ]);
  expect(lab.network.dnsLog()[0]).toMatchObject({ ageMs: 10_100, tookMs: 10_000 });
  lab.clock.advance(20_000);
  lab.expectNothingLeft();
});

test('zones: records in order, a regular expression, a default, another zone; every type but A is empty; the root is last', () => {
  const zone = (name: string, records: DnsZone['records'], defaultIp: Ipv4 | null = null): DnsZone => ({ name, records, defaultIp });
  const record = (name: string, address: string, regexp: string | null = null): DnsZone['records'][number] => ({ name, ip: ip(address), regexp: regexp === null ? null : zoneRegexp(regexp) });
  const lab = new Lab({ zones: [
    zone('test', [record('a', '10.0.0.1'), record('', '10.0.0.2', '^b[0-9]+$'), record('', '10.0.0.3', '(?i)^UP$')]),
    zone('apps', [], ip('10.0.0.9')),
  ] });
  const ask = (name: string, type = 1): string => {
    lab.sendUdp(GATEWAY_IP, 5000, 53, query(name, type));
    const frame = lab.frames.pop();
    return frame === undefined ? 'upstream' : `${frame[45] & 15} ${frame[49] === 0 ? '' : [...frame.subarray(-4)].join('.')}`;
  };
  expect(['a.test', 'A.Test', 'b42.test', 'b.test', 'up.test', 'x.y.apps', 'a.test.example'].map((name) => ask(name)))
    .toEqual(['0 10.0.0.1', '0 10.0.0.1', '0 10.0.0.2', '3 ', '0 10.0.0.3', '0 10.0.0.9', 'upstream']);
  expect([ask('a.test', 28), ask('nobody.test', 28), ask('test')]).toEqual(['0 ', '3 ', 'upstream']);
  lab.network.addZone(zone('test', [record('a', '10.0.0.7')], ip('10.0.0.8')));
  expect([ask('a.test'), ask('b42.test'), ask('nobody.test')]).toEqual(['0 10.0.0.7', '0 10.0.0.2', '0 10.0.0.8']);
  lab.network.addZone(zone('containers.internal', [record('host', '10.0.0.5')]));
  lab.dhcp({ type: 'request', requestedIp: GUEST_IP, serverId: GATEWAY_IP, hostname: 'box' });
  lab.network.addZone(zone('', []));
  expect([ask('host.containers.internal'), ask('gateway.docker.internal'), ask('box.containers.internal'), ask('box'), ask('example.org')])
    .toEqual(['0 10.0.0.5', '0 192.168.127.1', '0 192.168.127.3', '0 192.168.127.3', '3 ']);
  expect(lab.network.zones().map(({ name, records }) => [name, records.length])).toEqual([['containers.internal', 3], ['docker.internal', 2], ['test', 4], ['apps', 0], ['', 0]]);
});

test('zones have caps, and a long name meets no regular expression', () => {
  const zones = new DnsZones(new Map(), []);
  const record = { name: '', regexp: zoneRegexp('.*')!, ip: GATEWAY_IP };
  zones.add({ name: '', records: Array.from({ length: 4096 }, () => record), defaultIp: null });
  expect(() => zones.add({ name: '', records: [record], defaultIp: null })).toThrow(/no more than 4096 DNS records/);
  for (let i = 1; i < 256; i++) zones.add({ name: `z${i}`, records: [], defaultIp: null });
  expect(() => zones.add({ name: 'z256', records: [], defaultIp: null })).toThrow(/no more than 256 DNS zones/);
  expect([zones.find('x'.repeat(253))?.ip, zones.find('x'.repeat(254)), zones.find('')]).toEqual([GATEWAY_IP, null, null]);
  expect([zoneName('A.b.'), zoneName('.'), zoneName('..'), zoneName('a b'), zoneName('a'.repeat(254))]).toEqual(['a.b', '', null, null, null]);
  expect([zoneRegexp('('), zoneRegexp('a'.repeat(1001)), regexpSource(zoneRegexp('(?i)a')!)]).toEqual([null, null, '(?i)a']);
});

test('search domains go to every client; too many are refused when the network is made', () => {
  const lab = new Lab({ searchDomains: ['a.example', 'example'] });
  expect(lab.dhcp({})).toMatchObject({ type: 'offer', domain: 'containers.internal', searchDomains: ['a.example', 'example'] });
  expect(new Lab().dhcp({})!.searchDomains).toBeUndefined();
  expect(() => new Lab({ searchDomains: ['x'.repeat(60), 'y'.repeat(60), 'z'.repeat(60), 'w'.repeat(60)] })).toThrow(/search domains/);
  expect(() => new Lab({ searchDomains: ['a..b'] })).toThrow(/search domains/);
});

test('flows: who, where to, bytes each way, age, idle time and state, while they last', async () => {
  const lab = new Lab();
  const flows = (): object[] => [...lab.network.flows()];
  lab.sendTcp(TCP_SYN, 100, 0);
  lab.clock.advance(500);
  const dialled = { protocol: 'tcp', from: 'guest', guestIp: GUEST_IP, guestPort: 1234, remoteIp: ALIAS_IP, remotePort: 80, host: '127.0.0.1:80' };
  expect(flows()).toEqual([{ ...dialled, bytesFromGuest: 0, bytesToGuest: 0, ageMs: 500, idleMs: 500, state: 'dialing' }]);
  const [socket] = lab.hostNet.tcp;
  socket.handlers.onConnect!();
  lab.clock.advance(0);
  const iss = new DataView(lab.frames.pop()!.buffer).getUint32(38);
  lab.sendTcp(TCP_ACK, 101, iss + 1, new Uint8Array(30));
  socket.handlers.onData(new Uint8Array(7));
  lab.clock.advance(40);
  expect(flows()).toEqual([{ ...dialled, bytesFromGuest: 30, bytesToGuest: 7, ageMs: 540, idleMs: 40, state: 'established' }]);
  lab.sendUdp(ALIAS_IP, 5000, 6000, new Uint8Array(3));
  const datagrams = { protocol: 'udp', from: 'guest', guestIp: GUEST_IP, guestPort: 5000, remoteIp: ALIAS_IP, remotePort: 6000, host: '127.0.0.1:6000' };
  expect(flows()[1]).toEqual({ ...datagrams, bytesFromGuest: 3, bytesToGuest: 0, ageMs: 0, idleMs: 0, state: 'unanswered' });
  lab.hostNet.udp[0].handlers.onMessage(new Uint8Array(9), NO_IP, 6000);
  lab.clock.advance(5);
  expect(flows()[1]).toEqual({ ...datagrams, bytesFromGuest: 3, bytesToGuest: 9, ageMs: 5, idleMs: 5, state: 'answered' });
  await lab.network.addForward({ protocol: 'udp', hostIp: ip('127.0.0.1'), hostPort: 7000, guestPort: 7 });
  lab.hostNet.udp[1].handlers.onMessage(new Uint8Array(2), ip('10.1.1.1'), 9999);
  expect(flows().find((flow) => 'from' in flow && flow.from === 'host')).toMatchObject({ protocol: 'udp', guestPort: 7, host: '10.1.1.1:9999', bytesToGuest: 2 });
  lab.sendTcp(TCP_RST, 131, 0);
  lab.clock.advance(91_000);
  expect(flows()).toEqual([]);
});

test('stations have the number of their link; who comes and goes is said once', () => {
  const lab = new Lab();
  const seen: string[] = [];
  lab.network.onPresence = (mac, isPresent) => seen.push(`${formatMac(mac)} ${isPresent ? 'came' : 'went'}`);
  const other = lab.network.attach({ sendBatch: () => true });
  const otherMac = parseMac('02:00:00:00:00:02')!;
  for (let i = 0; i < 3; i++) {
    lab.send(ethernet(MAC_BROADCAST, GUEST_MAC, 0x88b5, new Uint8Array(50)));
    lab.send(ethernet(MAC_BROADCAST, otherMac, 0x88b5, new Uint8Array(50)), other);
  }
  expect(lab.network.stations()).toEqual([{ mac: GUEST_MAC, link: 1 }, { mac: otherMac, link: 2 }]);
  other.close();
  const again = lab.network.attach({ sendBatch: () => true });
  expect(lab.network.stations()).toEqual([{ mac: GUEST_MAC, link: 1 }, { mac: otherMac, link: 3 }]);
  const came = ['02:00:00:00:00:01 came', '02:00:00:00:00:02 came', '02:00:00:00:00:02 went'];
  expect(seen).toEqual(came);
  lab.send(ethernet(MAC_BROADCAST, otherMac, 0x88b5, new Uint8Array(50)), again);
  lab.network.close();
  expect(seen).toEqual([...came, '02:00:00:00:00:02 came', '02:00:00:00:00:01 went', '02:00:00:00:00:02 went']);
});

test('UDP NAT: a flow per destination, the alias is loopback, an error is an ICMP message, idle flows end', () => {
  const lab = new Lab();
  lab.sendUdp(ALIAS_IP, 5000, 6000, Uint8Array.of(1, 2, 3));
  lab.sendUdp(ALIAS_IP, 5000, 6000, Uint8Array.of(4));
  const [socket] = lab.hostNet.udp;
  expect([socket.to, socket.sent.map((bytes) => [...bytes])]).toEqual(['127.0.0.1:6000', [[1, 2, 3], [4]]]);
  socket.handlers.onMessage(Uint8Array.of(9), NO_IP, 6000);
  socket.handlers.onError('ECONNREFUSED');
  lab.clock.advance(0);
  expect(lab.lines()).toEqual([
    '192.168.127.254.6000 > 192.168.127.3.5000 udp len 1',
    '192.168.127.254 > 192.168.127.3 icmp type 3 code 3 about 192.168.127.3.5000 > 192.168.127.254.6000 protocol 17',
  ]);
  socket.handlers.onMessage(new Uint8Array(4000), NO_IP, 6000);
  lab.clock.advance(0);
  expect(lab.lines().map((line) => line.replace(/id \d+ /, ''))).toEqual([
    '192.168.127.254 > 192.168.127.3 fragment offset 0+ len 1480', '192.168.127.254 > 192.168.127.3 fragment offset 1480+ len 1480',
    '192.168.127.254 > 192.168.127.3 fragment offset 2960 len 1048',
  ]);
  lab.sendUdp(ALIAS_IP, 5001, 6000, Uint8Array.of(1));
  expect(lab.network.stats()).toMatchObject({ udpFlowsOpen: 2, udpMappingsOpen: 2 });
  lab.clock.advance(91_000);
  expect([socket.isClosed, lab.hostNet.mappings.map(({ isClosed }) => isClosed)]).toEqual([true, [true, true]]);
  lab.expectNothingLeft();
});

test('UDP NAT, RFC 4787 REQ-1 and REQ-8: one port for all destinations, answers from any port of an address that was spoken to', () => {
  const lab = new Lab({ policy: { rules: [{ allow: false, ports: { first: 25, last: 25 } }], otherwise: 'allow' } });
  for (const last of [1, 2, 3]) lab.sendUdp(ip(`203.0.113.${last}`), 5000, 3478, Uint8Array.of(last));
  lab.sendUdp(OUTSIDE, 5001, 3478, Uint8Array.of(4));
  expect(lab.hostNet.mappings.map(({ to, port }) => `${to} ${port}`)).toEqual(['0.0.0.0 40000', '0.0.0.0 40001']);
  // Each destination's own socket shares the mapping's port.
  expect(lab.hostNet.udp.map(({ to, port, sent }) => `${to} from ${port}: ${sent.map((bytes) => bytes[0]).join()}`)).toEqual([
    '203.0.113.1:3478 from 40000: 1', '203.0.113.2:3478 from 40000: 2', '203.0.113.3:3478 from 40000: 3', '203.0.113.9:3478 from 40001: 4',
  ]);
  const [mapping] = lab.hostNet.mappings;
  mapping.handlers.onMessage(Uint8Array.of(9), ip('203.0.113.2'), 1069);
  mapping.handlers.onMessage(Uint8Array.of(9), ip('203.0.113.2'), 3478);
  mapping.handlers.onMessage(Uint8Array.of(9), ip('203.0.113.77'), 3478);
  mapping.handlers.onMessage(Uint8Array.of(9), ip('203.0.113.2'), 25);
  mapping.handlers.onMessage(Uint8Array.of(9), ip('203.0.113.2'), 0);
  lab.clock.advance(0);
  expect(lab.lines()).toEqual(['203.0.113.2.1069 > 192.168.127.3.5000 udp len 1', '203.0.113.2.3478 > 192.168.127.3.5000 udp len 1']);
  expect(lab.network.stats()).toMatchObject({ 'drop:udp-filtered': 2, 'drop:udp-denied': 1, 'udpFlowsOpen': 5 });
  // The transfer goes on with that port.
  lab.sendUdp(ip('203.0.113.2'), 5000, 1069, Uint8Array.of(7));
  expect([mapping.sentTo, lab.hostNet.udp.length]).toEqual([['203.0.113.2:1069'], 4]);
  expect([...lab.network.flows()].find(({ remotePort }) => remotePort === 1069)).toMatchObject({ from: 'guest', state: 'answered', bytesFromGuest: 1, bytesToGuest: 1 });
  lab.clock.advance(91_000);
  lab.expectNothingLeft();
});

test('UDP NAT: the four destinations spoken to last, or that answer, have a socket that hears errors; the others use the mapping\'s', () => {
  const lab = new Lab();
  const send = (last: number, ttl = 64): void => lab.sendIp(ip(`203.0.113.${last}`), 17, udp(GUEST_IP, ip(`203.0.113.${last}`), 5000, 33_434, Uint8Array.of(last)), { ttl });
  for (let last = 1; last <= 6; last++) send(last);
  const twins = lab.hostNet.udp;
  expect(twins.map(({ isClosed }) => isClosed)).toEqual([true, true, false, false, false, false]);
  twins[5].handlers.onError('ECONNREFUSED');
  lab.clock.advance(0);
  expect(lab.lines()).toEqual(['203.0.113.6 > 192.168.127.3 icmp type 3 code 3 about 192.168.127.3.5000 > 203.0.113.6.33434 protocol 17']);
  const [mapping] = lab.hostNet.mappings;
  send(1, 9);
  send(2, 9);
  send(2);
  expect([mapping.sentTo, mapping.ttls]).toEqual([['203.0.113.1:33434', '203.0.113.2:33434', '203.0.113.2:33434'], [8, 64]]);
  // An unsendable datagram of the mapping's names its destination; one that breaks costs a twin nothing but itself.
  mapping.handlers.onError('ENETUNREACH', ip('203.0.113.1'), 33_434);
  twins[4].handlers.onError('EMFILE');
  for (const answered of [2, 3, 5]) twins[answered].handlers.onMessage(Uint8Array.of(1), 0 as never, 0);
  lab.clock.advance(0);
  expect(lab.lines()[0]).toMatch(/icmp type 3 code 0 about 192\.168\.127\.3\.5000 > 203\.0\.113\.1\.33434/);
  expect([twins[4].isClosed, lab.network.stats()['udpFlowsOpen']]).toEqual([true, 6]);
  lab.network.close();
  expect(lab.hostNet.udp.concat(lab.hostNet.mappings).every(({ isClosed }) => isClosed)).toBe(true);
  lab.expectNothingLeft();
});

test('UDP NAT: a full table ends what is idle for longest, what nobody answered first; said once, counted', () => {
  const said: string[] = [];
  const lab = new Lab({ maxUdpFlows: 100 }, (line) => said.push(line));
  const peer = (i: number): Ipv4 => (ip('203.1.0.0') + i) as Ipv4;
  for (const port of [1, 2]) {
    lab.sendUdp(OUTSIDE, port, 7000, Uint8Array.of(1));
    lab.hostNet.udp.at(-1)!.handlers.onMessage(Uint8Array.of(1), OUTSIDE, 7000);
  }
  for (let i = 0; i < 6000; i++) lab.sendUdp(peer(i), 5000, 6881, Uint8Array.of(1));
  expect(lab.network.stats()).toMatchObject({ udpFlowsOpen: 100, udpFlowsMade: 6002, udpFlowsEvicted: 5902, udpMappingsOpen: 3 });
  const open = [...lab.network.flows()].map(({ remoteIp }) => remoteIp as number);
  expect([open.filter((remoteIp) => remoteIp === OUTSIDE).length, Math.min(...open.filter((remoteIp) => remoteIp !== OUTSIDE))]).toEqual([2, peer(6000 - 98)]);
  // One that is heard again is not the oldest any more.
  lab.sendUdp(peer(5902), 5000, 6881, Uint8Array.of(1));
  lab.sendUdp(peer(7000), 5000, 6881, Uint8Array.of(1));
  expect([...lab.network.flows()].some(({ remoteIp }) => remoteIp === peer(5902))).toBe(true);
  expect(said.filter((line) => line.startsWith('100 UDP flows are open'))).toHaveLength(1);
  // Answered ones only: the oldest of them.
  for (let i = 0; i < 100; i++) {
    lab.sendUdp(OUTSIDE, 100 + i, 7000, Uint8Array.of(1));
    lab.hostNet.udp.at(-1)!.handlers.onMessage(Uint8Array.of(1), OUTSIDE, 7000);
  }
  lab.sendUdp(OUTSIDE, 999, 7000, Uint8Array.of(1));
  const ports = [...lab.network.flows()].map(({ guestPort }) => guestPort);
  expect([ports.length, ports.includes(1), ports.includes(2), ports.includes(100), ports.includes(999)]).toEqual([100, false, false, false, true]);
  lab.network.close();
  lab.expectNothingLeft();
});

test('UDP NAT: a host without sockets refuses that flow, and the one that is idle for longest makes room for the next', () => {
  const lab = new Lab();
  lab.sendUdp(OUTSIDE, 5000, 7000, Uint8Array.of(1));
  lab.clock.advance(10);
  lab.sendUdp(OUTSIDE, 5001, 7000, Uint8Array.of(1));
  lab.hostNet.mappings[1].handlers.onError('EMFILE');
  expect([lab.hostNet.mappings.map(({ isClosed }) => isClosed), lab.network.stats()['udpFlowsEvicted']]).toEqual([[true, true], 1]);
  lab.sendUdp(OUTSIDE, 5001, 7000, Uint8Array.of(1));
  expect(lab.network.stats()['udpFlowsOpen']).toBe(1);
});

test.each([53, 123])('UDP NAT to port %i: a socket of its own, gone 3 s after each question has its answer, in half a minute without', (port) => {
  const lab = new Lab();
  lab.sendUdp(OUTSIDE, 5000, port, Uint8Array.of(1));
  lab.sendUdp(OUTSIDE, 5000, port, Uint8Array.of(2));
  const [socket] = lab.hostNet.udp;
  expect([lab.hostNet.udp.length, lab.hostNet.mappings.length, socket.sent.length]).toEqual([1, 0, 2]);
  socket.handlers.onMessage(Uint8Array.of(1), OUTSIDE, port);
  lab.clock.advance(10_000);
  socket.handlers.onMessage(Uint8Array.of(2), OUTSIDE, port);
  lab.clock.advance(2999);
  expect([lab.lines().length, socket.isClosed]).toEqual([2, false]);
  lab.clock.advance(1);
  expect(socket.isClosed).toBe(true);
  lab.sendUdp(OUTSIDE, 5000, port, Uint8Array.of(1));
  lab.clock.advance(29_999);
  expect(lab.hostNet.udp[1].isClosed).toBe(false);
  lab.clock.advance(1);
  expect(lab.hostNet.udp[1].isClosed).toBe(true);
  lab.expectNothingLeft();
});

/** An ICMP error of the guest's, about a datagram that it was sent. */
function reportUdp(lab: Lab, code: number, rest: number, src: Ipv4, srcPort: number, dstPort: number, len = 100): void {
  const quoted = ipv4(src, GUEST_IP, 17, udp(src, GUEST_IP, srcPort, dstPort, new Uint8Array(len))).subarray(0, 28);
  const message = Uint8Array.from([3, code, 0, 0, ...u32(rest), ...quoted]);
  message.set(u16(naiveChecksum(message)), 2);
  lab.sendIp(src, 1, message);
}

test('UDP: datagrams to a guest behind a smaller link are fragmented once that is said, the gateway\'s own too; what is forged is counted', () => {
  const lab = new Lab();
  lab.sendUdp(ALIAS_IP, 5000, 6000, Uint8Array.of(1));
  const { handlers } = lab.hostNet.udp[0];
  const lengths = (): string[] => {
    handlers.onMessage(new Uint8Array(1450), 0 as never, 6000);
    lab.clock.advance(0);
    return lab.lines().map((line) => line.replace(/.*(udp|offset \S+) /, '$1 '));
  };
  expect(lengths()).toEqual(['udp len 1450']);
  reportUdp(lab, 4, 1400, ALIAS_IP, 6001, 5000);
  reportUdp(lab, 4, 1400, GATEWAY_IP, 54, 5000);
  expect([lengths(), lab.network.stats()['drop:icmp-unrelated']]).toEqual([['udp len 1450'], 2]);
  reportUdp(lab, 4, 1400, ALIAS_IP, 6000, 5000, 1450);
  expect(lengths()).toEqual(['offset 0+ len 1376', 'offset 1376 len 82']);
  reportUdp(lab, 4, 1300, GATEWAY_IP, 53, 5000);
  expect(lengths()).toEqual(['offset 0+ len 1280', 'offset 1280 len 178']);
  reportUdp(lab, 4, 1400, ALIAS_IP, 6000, 5000);
  expect(lengths()).toEqual(['offset 0+ len 1280', 'offset 1280 len 178']);
});

test('UDP: a guest that says that nobody listens there ends the flow, of its own and of a forward\'s client', async () => {
  const lab = new Lab();
  const forward = await lab.network.addForward({ protocol: 'udp', hostIp: ip('127.0.0.1'), hostPort: 0, guestPort: 5353 });
  lab.sendUdp(ALIAS_IP, 5000, 6000, Uint8Array.of(1));
  const [bound] = lab.hostNet.udp;
  bound.handlers.onMessage(Uint8Array.of(1), ip('127.0.0.1'), 999);
  lab.clock.advance(0);
  const port = Number(/127\.1\.(\d+) >/.exec(lab.lines().at(-1)!)![1]);
  reportUdp(lab, 3, 0, GATEWAY_IP, port, 5354);
  expect(lab.network.stats()['udpFlowsOpen']).toBe(2);
  reportUdp(lab, 3, 0, GATEWAY_IP, port, 5353);
  reportUdp(lab, 3, 0, ALIAS_IP, 6000, 5000);
  expect(lab.network.stats()).toMatchObject({ udpFlowsOpen: 0, udpRefusedByGuest: 2, udpMappingsOpen: 0 });
  // Its server may be up by now: the port is still there.
  bound.handlers.onMessage(Uint8Array.of(1), ip('127.0.0.1'), 999);
  lab.clock.advance(0);
  expect([lab.lines().length, bound.isClosed]).toEqual([1, false]);
  forward.close();
  lab.expectNothingLeft();
});

test('forwards after hours of silence: a flow is as old as it is, and lasts until its guest is found', async () => {
  const lab = new Lab();
  await lab.network.addForward({ protocol: 'udp', hostIp: ip('127.0.0.1'), hostPort: 0, guestPort: 5353 });
  lab.clock.advance(10_000_000);
  lab.hostNet.udp[0].handlers.onMessage(Uint8Array.of(1), ip('127.0.0.1'), 999);
  lab.clock.advance(900);
  expect([...lab.network.flows()].map(({ ageMs }) => ageMs)).toEqual([900]);
  lab.sendUdp(GATEWAY_IP, 1, 9, new Uint8Array(1));
  expect(lab.lines().filter((line) => line.includes('.5353 udp'))).toHaveLength(1);
  lab.clock.advance(20_000_000);
  lab.network.forwardTcp(lab.hostNet.connectTcp(ip('127.0.0.1'), 1, { onData() {}, onEnd() {}, onTaken() {}, onClose() {} }), 80);
  lab.clock.advance(100);
  expect([...lab.network.flows()].map(({ ageMs, protocol }) => `${protocol} ${ageMs}`)).toEqual(['tcp 100']);
  lab.network.close();
  lab.expectNothingLeft();
});

test('UDP: what the host can\'t send whole is told to who wanted it whole', () => {
  const lab = new Lab();
  for (const fragment of [0x4000, 0]) {
    lab.sendIp(OUTSIDE, 17, udp(GUEST_IP, OUTSIDE, 5000 + fragment, 6000, new Uint8Array(1400)), { fragment });
    lab.hostNet.udp.at(-1)!.handlers.onError('EMSGSIZE');
    lab.clock.advance(0);
  }
  const [frame] = lab.frames;
  expect([lab.frames.length, frame[34], frame[35], new DataView(frame.buffer, frame.byteOffset).getUint16(40)]).toEqual([1, 3, 4, 1006]);
});

test('TCP NAT: the guest\'s keepalive becomes the host\'s, the shortest that it has shown', () => {
  const lab = new Lab();
  const { socket, iss } = lab.dialled();
  for (const waitMs of [60_000, 75_000]) {
    lab.clock.advance(waitMs);
    lab.sendTcp(TCP_ACK, 100, iss + 1);
  }
  expect(socket.keepalives).toEqual([60_000]);
  lab.sendTcp(TCP_ACK, 101, iss + 1, Uint8Array.of(1));
  lab.clock.advance(3000);
  lab.sendTcp(TCP_ACK, 101, iss + 1);
  expect(socket.keepalives).toEqual([60_000, 3000]);
  socket.handlers.onClose('ETIMEDOUT');
  lab.clock.advance(0);
  expect(lab.lines().at(-1)).toMatch(/tcp RST\|ACK/);
});

test('UDP to port 0, and to a port of the gateway where nobody listens, is counted', () => {
  const lab = new Lab();
  lab.sendUdp(ALIAS_IP, 5000, 0, Uint8Array.of(1));
  lab.sendUdp(GATEWAY_IP, 5000, 9, Uint8Array.of(1));
  expect([lab.network.stats()['drop:udp-no-listener'], lab.hostNet.udp.length]).toEqual([2, 0]);
  expect(lab.lines()).toEqual(['192.168.127.1 > 192.168.127.3 icmp type 3 code 3 about 192.168.127.3.5000 > 192.168.127.1.9 protocol 17']);
});

test('fragments of a guest are joined; overlaps and strays die, and time out', () => {
  const lab = new Lab();
  const datagram = udp(GUEST_IP, ALIAS_IP, 5000, 6000, new Uint8Array(2992).map((_, i) => i));
  const piece = (from: number, to: number, id: number): void => lab.sendIp(ALIAS_IP, 17, datagram.subarray(from, to), { id, fragment: (from >> 3) | (to < datagram.length ? 0x2000 : 0) });
  piece(2000, 3000, 1);
  piece(0, 1000, 1);
  piece(1000, 2000, 1);
  expect(lab.hostNet.udp[0].sent[0]).toEqual(datagram.subarray(8));
  piece(0, 1000, 2);
  piece(992, 2000, 2);
  expect(lab.network.stats()['drop:ipv4-fragment-overlap']).toBe(1);
  for (let id = 10; id < 40; id++) piece(0, 1000, id);
  expect(lab.network.stats()['fragmentsHeld']).toBe(16);
  lab.clock.advance(100_000);
  lab.expectNothingLeft();
});

test('TCP NAT: dial, then the handshake; data both ways; backpressure; an error of the host is a RST', () => {
  const lab = new Lab();
  lab.sendTcp(TCP_SYN, 100, 0);
  const [socket] = lab.hostNet.tcp;
  expect([socket.to, lab.frames.length]).toEqual(['127.0.0.1:80', 0]);
  socket.handlers.onConnect!();
  lab.clock.advance(0);
  const synAck = lab.frames.pop()!;
  const iss = new DataView(synAck.buffer).getUint32(38);
  lab.sendTcp(TCP_ACK, 101, iss + 1, Uint8Array.of(1, 2, 3));
  expect([socket.written, socket.isPaused]).toEqual([3, false]);
  socket.isStalled = true;
  lab.sendTcp(TCP_ACK, 104, iss + 1, new Uint8Array(1000));
  expect(lab.network.stats()['tcpBytesHeld']).toBe(1000);
  socket.pendingBytes = 0;
  socket.handlers.onTaken();
  expect(lab.network.stats()['tcpBytesHeld']).toBe(0);
  for (let i = 0; i < 6; i++) socket.handlers.onData(new Uint8Array(65_536));
  expect(socket.isPaused).toBe(true);
  lab.clock.advance(0);
  lab.takeAll(iss + 1, 1104);
  socket.handlers.onClose('ECONNRESET');
  lab.clock.advance(0);
  expect(lab.lines().at(-1)).toMatch(/tcp RST\|ACK/);
  lab.expectNothingLeft();
});

test('TCP NAT: what the host had sent before its error reaches the guest, then the reset; what the guest still uploads is taken', () => {
  const lab = new Lab();
  const { socket, iss } = lab.dialled();
  socket.isStalled = true;
  lab.sendTcp(TCP_ACK, 101, iss + 1, new Uint8Array(1000));
  lab.lines();
  socket.handlers.onData(new Uint8Array(200));
  socket.handlers.onClose('ECONNRESET');
  lab.clock.advance(0);
  expect(lab.lines().map((line) => /tcp (\S+) .* win \d+(.*)/.exec(line)!.slice(1))).toEqual([['PSH|ACK', ' len 200']]);
  expect(lab.network.stats()['tcpBytesHeld']).toBe(0);
  lab.sendTcp(TCP_ACK, 1101, iss + 1, new Uint8Array(1000));
  expect(lab.lines().at(-1)).toMatch(/tcp ACK .* ack 2101 win 6/);
  // Lost on the way: sent again.
  lab.clock.advance(1100);
  expect(lab.lines().at(-1)).toMatch(/len 200$/);
  lab.sendTcp(TCP_ACK, 2101, iss + 201);
  expect(lab.lines().at(-1)).toMatch(/tcp RST\|ACK/);
  lab.expectNothingLeft();
});

test('TCP NAT: an end of the host\'s half and then an error: data, FIN, and the reset when all of it has come', () => {
  const lab = new Lab();
  const { socket, iss } = lab.dialled();
  socket.handlers.onData(new Uint8Array(200));
  socket.handlers.onEnd();
  socket.handlers.onClose('EPIPE');
  lab.clock.advance(0);
  expect(lab.lines().at(-1)).toMatch(/tcp FIN\|PSH\|ACK .* len 200$/);
  lab.sendTcp(TCP_ACK, 101, iss + 202);
  expect(lab.lines().at(-1)).toMatch(/tcp RST\|ACK/);
  lab.expectNothingLeft();
});

test('TCP NAT: what the guest had sent before its reset reaches the host: the reset waits for the kernel, and some round trips', () => {
  const lab = new Lab();
  const { socket, iss } = lab.dialled(OUTSIDE);
  lab.sendTcp(TCP_ACK, 101, iss + 1, new Uint8Array(10), OUTSIDE);
  socket.isStalled = true;
  lab.sendTcp(TCP_ACK, 111, iss + 1, new Uint8Array(300), OUTSIDE);
  lab.sendTcp(TCP_RST, 411, 0, undefined, OUTSIDE);
  expect([socket.written, socket.isReset, socket.isPaused]).toEqual([310, false, false]);
  lab.clock.advance(5000);
  expect(socket.isReset).toBe(false);
  socket.pendingBytes = 0;
  socket.handlers.onTaken();
  lab.clock.advance(499);
  expect(socket.isReset).toBe(false);
  lab.clock.advance(1);
  expect(socket.isReset).toBe(true);
  lab.expectNothingLeft();
  // A peer on this host is as near as can be.
  const near = lab.dialled();
  lab.sendTcp(TCP_ACK, 101, near.iss + 1, new Uint8Array(10));
  lab.sendTcp(TCP_RST, 111, 0);
  expect(near.socket.isReset).toBe(false);
  lab.clock.advance(30);
  expect(near.socket.isReset).toBe(true);
  // Nothing was sent lately: at once. A host that takes nothing: after a minute. One that ends meanwhile: no more to do.
  const quiet = lab.dialled();
  lab.sendTcp(TCP_ACK, 101, quiet.iss + 1, new Uint8Array(10));
  lab.clock.advance(600);
  lab.sendTcp(TCP_RST, 111, 0);
  expect(quiet.socket.isReset).toBe(true);
  const deaf = lab.dialled();
  deaf.socket.isStalled = true;
  lab.sendTcp(TCP_ACK, 101, deaf.iss + 1, new Uint8Array(10));
  lab.sendTcp(TCP_RST, 111, 0);
  lab.clock.advance(59_000);
  expect(deaf.socket.isReset).toBe(false);
  lab.clock.advance(1000);
  expect(deaf.socket.isReset).toBe(true);
  const gone = lab.dialled();
  lab.sendTcp(TCP_ACK, 101, gone.iss + 1, new Uint8Array(10));
  lab.sendTcp(TCP_RST, 111, 0);
  gone.socket.handlers.onClose('ECONNRESET');
  lab.expectNothingLeft();
});

test('TCP NAT: policy, refusal, unreachable, and a guest that gives up', () => {
  const lab = new Lab({ policy: { rules: [{ allow: false, ports: { first: 25, last: 25 } }], otherwise: 'allow' } });
  lab.sendTcp(TCP_SYN, 1, 0, undefined, ip('8.8.8.8'), 25);
  expect(lab.lines()[0]).toMatch(/icmp type 3 code 13/);
  for (const [error, answer] of [['ECONNREFUSED', /RST\|ACK/], ['EHOSTUNREACH', /type 3 code 1/], ['ENETUNREACH', /type 3 code 0/]] as const) {
    lab.sendTcp(TCP_SYN, 1, 0);
    lab.hostNet.tcp.at(-1)!.handlers.onClose(error);
    lab.clock.advance(0);
    expect(lab.lines()[0]).toMatch(answer);
  }
  lab.sendTcp(TCP_SYN, 1, 0);
  lab.hostNet.tcp.at(-1)!.handlers.onClose('ETIMEDOUT');
  lab.sendTcp(TCP_SYN, 1, 0);
  lab.sendTcp(TCP_RST, 2, 0);
  expect(lab.hostNet.tcp.at(-1)!.isReset).toBe(true);
  expect(lab.lines()).toEqual([]);
  lab.expectNothingLeft();
});

test.each([1, 6, 30, 300])('a link that is gone for %i s ends no connection, whether or not something was under way', (seconds) => {
  for (const isIdle of [true, false]) {
    const lab = new Lab();
    lab.sendTcp(TCP_SYN, 1, 0);
    lab.hostNet.tcp[0].handlers.onConnect!();
    lab.clock.advance(0);
    const synAck = lab.frames.splice(0).at(-1)!;
    const first = new DataView(synAck.buffer, synAck.byteOffset).getUint32(14 + 20 + 4) + 1;
    lab.sendTcp(TCP_ACK, 2, first);
    if (!isIdle) lab.hostNet.tcp[0].handlers.onData(new Uint8Array(500));
    lab.clock.advance(1);
    lab.port.close();
    // Nothing is under way, and then there is something to send.
    lab.hostNet.tcp[0].handlers.onData(new Uint8Array(500));
    for (let i = 0; i < 10 * seconds; i++) lab.clock.advance(100);
    expect([lab.hostNet.tcp[0].isReset, lab.network.stats()['tcpFlowsOpen']]).toEqual([false, 1]);
    lab.frames = [];
    const port = lab.network.attach({ sendBatch: (batch) => { lab.frames.push(...framesOf(batch)); return true; } });
    lab.send(ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, ALIAS_IP, 6, tcp(GUEST_IP, ALIAS_IP, { srcPort: 1234, dstPort: 80, seq: 2, ack: first, flags: TCP_ACK, window: 60_000, options: [], payload: new Uint8Array(0) }))), port);
    lab.clock.advance(100);
    expect(lab.lines().join('\n')).toMatch(/192\.168\.127\.254\.80 > 192\.168\.127\.3\.1234 tcp PSH\|ACK seq \d+ ack 2 win \d+ len (500|536|1000)/);
    lab.network.close();
  }
});

test('a forward dials the guest as the gateway; an absent guest is a reset', async () => {
  const lab = new Lab();
  const forward = await lab.network.addForward({ protocol: 'tcp', hostIp: ip('127.0.0.1'), hostPort: 0, guestPort: 8080 });
  expect(forward.hostPort).toBe(4321);
  const absent = lab.hostNet.connectTcp(ip('127.0.0.1'), 1, { onData() {}, onEnd() {}, onTaken() {}, onClose() {} });
  lab.hostNet.accept!(absent);
  lab.clock.advance(5000);
  expect([lab.hostNet.tcp[0].isReset, lab.lines()[0]]).toEqual([true, 'arp who-has 192.168.127.3 tell 192.168.127.1']);
  lab.sendTcp(TCP_RST, 1, 0);
  const present = lab.hostNet.connectTcp(ip('127.0.0.1'), 1, { onData() {}, onEnd() {}, onTaken() {}, onClose() {} });
  lab.hostNet.accept!(present);
  lab.clock.advance(0);
  expect(lab.lines()[0]).toMatch(/^192\.168\.127\.1\.\d+ > 192\.168\.127\.3\.8080 tcp SYN /);
  forward.close();
  lab.network.close();
  expect([lab.hostNet.accept, lab.hostNet.tcp[1].isReset, lab.network.stats()['tcpNatFlowsOpen']]).toEqual([null, true, 0]);
});

/** of every special-purpose block that no host can be reached in, both ends: IANA's registry, RFC 6890 */
const NOBODYS = ['0.0.0.0', '0.0.0.1', '0.255.255.255', '127.0.0.0', '127.0.0.1', '127.255.255.255', '224.0.0.1', '239.255.255.255', '240.0.0.0', '240.0.0.1', '240.255.255.255', '241.0.0.0', '254.1.2.3', '255.255.255.254'];

test.each([false, true])('addresses that are nobody\'s are one counted drop each, to any port and of any protocol; IPv6 %s', (hasIpv6) => {
  const lab = new Lab({ ipv6: hasIpv6 });
  lab.dhcp({ type: 'discover' });
  lab.lines();
  let sent = 0;
  for (const text of NOBODYS) {
    const dst = ip(text);
    for (const [srcPort, dstPort] of [[68, 67], [67, 67], [1000, 67], [1000, 53], [68, 68]]) {
      lab.sendUdp(dst, srcPort, dstPort, new Uint8Array(300));
      sent++;
    }
    lab.sendTcp(TCP_SYN, 1, 0, new Uint8Array(0), dst);
    lab.sendIp(dst, 1, Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0));
    sent += 2;
  }
  const stats = lab.network.stats();
  expect([stats['drop:ipv4-bad-destination'], lab.hostNet.udp.length, lab.hostNet.tcp.length, lab.lines(), [...lab.network.flows()]]).toEqual([sent, 0, 0, [], []]);
  // As sources, which guests may not have either, and as what ARP asks for or says.
  const before = lab.network.stats()['drop:ipv4-bad-source'] ?? 0;
  for (const text of NOBODYS) lab.send(ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(ip(text), GATEWAY_IP, 17, udp(ip(text), GATEWAY_IP, 1000, 53, new Uint8Array(30)))));
  expect(lab.network.stats()['drop:ipv4-bad-source'] - before).toBe(NOBODYS.length);
  for (const text of NOBODYS) {
    for (const [senderIp, targetIp] of [[GUEST_IP, ip(text)], [ip(text), GATEWAY_IP]]) {
      const arp = new Uint8Array(28);
      emitArp({ operation: 'request', senderMac: GUEST_MAC, senderIp, targetMac: 0 as Mac, targetIp }, arp, 0);
      lab.send(ethernet(MAC_BROADCAST, GUEST_MAC, 0x0806, arp));
    }
  }
  // RFC 5227: a probe, from 0.0.0.0, may ask for the gateway.
  expect(lab.lines()).toEqual(['arp 192.168.127.1 is-at 5a:94:ef:e4:0c:dd']);
  lab.network.close();
});

test('DHCP is asked at the limited broadcast, the subnet\'s, and the gateway; elsewhere port 67 is a port like another', () => {
  const lab = new Lab();
  const ask = (dst: Ipv4): number => {
    lab.sendUdp(dst, 68, 67, dhcpMessage({ broadcast: true }));
    return lab.lines().filter((line) => line.includes('dhcp offer')).length;
  };
  expect(['255.255.255.255', '192.168.127.255', '192.168.127.1'].map((text) => ask(ip(text)))).toEqual([1, 1, 1]);
  expect(['192.168.127.254', '203.0.113.9', '255.0.0.1', '192.168.127.0'].map((text) => ask(ip(text)))).toEqual([0, 0, 0, 0]);
  expect([lab.hostNet.udp.length, lab.network.stats()['drop:ipv4-bad-destination']]).toEqual([3, 1]);
});

test('DHCP: addresses that are nobody\'s, asked for or said to be the client\'s own, are refused', () => {
  const lab = new Lab();
  for (const text of [...NOBODYS, '255.255.255.255', '192.168.127.1', '192.168.127.254', '192.168.127.255', '10.0.0.1']) {
    expect(lab.dhcp({ type: 'request', requestedIp: ip(text) })?.type).toBe('nak');
    lab.send(ethernet(MAC_BROADCAST, GUEST_MAC, 0x0800, ipv4(NO_IP, ip('255.255.255.255'), 17, udp(NO_IP, ip('255.255.255.255'), 68, 67, dhcpMessage({ type: 'request', clientIp: ip(text) })))));
    expect(lab.lines().every((line) => line.includes('dhcp nak'))).toBe(true);
  }
  expect(lab.network.leases()).toEqual([]);
});

test('a forward to an address that no guest can have is refused with the reason', async () => {
  const lab = new Lab();
  const tries: [string, RegExp][] = [
    ...NOBODYS.map((text): [string, RegExp] => [text, /no guest has the address [\d.]+: it is (reserved|a group|no host|the computer's own loopback)/]), ['255.255.255.255', /everyone on the link/],
    ['192.168.127.1', /the gateway/], ['192.168.127.254', /an alias of the host/], ['192.168.127.0', /the network itself/], ['192.168.127.255', /everyone on the network/],
    ['10.0.0.1', /not in 192\.168\.127\.0\/24/], ['169.254.1.1', /not in/], ['100.64.0.1', /not in/], ['192.0.0.8', /not in/], ['198.18.0.1', /not in/],
  ];
  for (const [text, message] of tries) {
    await expect(lab.network.addForward({ protocol: 'tcp', hostIp: ip('127.0.0.1'), hostPort: 0, guestPort: 80, guestIp: ip(text) })).rejects.toThrow(message);
    await expect(lab.network.addForward({ protocol: 'udp', hostIp: ip('127.0.0.1'), hostPort: 0, guestPort: 80, guestIp: ip(text) })).rejects.toThrow(message);
    const socket = lab.hostNet.connectTcp(ip('127.0.0.1'), 1, { onData() {}, onEnd() {}, onTaken() {}, onClose() {} });
    expect(() => lab.network.forwardTcp(socket, 80, ip(text))).toThrow(message);
  }
  expect(lab.network.forwards()).toEqual([]);
});

test.each<[Partial<NetworkConfig>, RegExp]>([
  [{ subnet: ip('127.0.0.0') }, /subnet 127\.0\.0\.0\/24 is the computer's own loopback/], [{ subnet: ip('0.0.0.0') }, /no host/], [{ subnet: ip('224.1.1.0') }, /a group/],
  [{ gatewayIp: ip('240.0.0.1') }, /gateway 240\.0\.0\.1 is reserved/], [{ gatewayIp: ip('192.168.127.255') }, /everyone on the network/],
  [{ hostAliases: new Map([[ip('240.0.0.1'), ip('127.0.0.1')]]) }, /alias 240\.0\.0\.1 is reserved/], [{ hostAliases: new Map([[ALIAS_IP, ip('0.0.0.0')]]) }, /leads to 0\.0\.0\.0, which is no host/],
  [{ staticLeases: new Map([[GUEST_MAC, ip('240.0.0.3')]]) }, /lease of 02:00:00:00:00:01, 240\.0\.0\.3, is reserved/], [{ defaultGuestIp: ALIAS_IP }, /default guest, 192\.168\.127\.254, is an alias/],
  [{ poolEnd: ip('240.0.0.1') }, /pool's 240\.0\.0\.1 is reserved/], [{ poolStart: ip('192.168.128.1') }, /pool's 192\.168\.128\.1 is not in/],
])('a network of addresses that are nobody\'s is refused: %j', (config, message) => {
  expect(() => new Lab(config)).toThrow(message);
});

test('a forward to a guest that can\'t be there is reset at once, or soon; one that may still come is waited for', () => {
  const lab = new Lab();
  const resetAfter = (guest: Ipv4, limitMs: number): number => {
    const socket = lab.hostNet.connectTcp(ip('127.0.0.1'), 1, { onData() {}, onEnd() {}, onTaken() {}, onClose() {} }) as FakeTcp;
    lab.network.forwardTcp(socket, 80, guest);
    const startMs = lab.clock.nowMs();
    lab.clock.advance(0);
    lab.clock.runUntil(() => socket.isReset, limitMs);
    return socket.isReset ? Math.round(lab.clock.nowMs() - startMs) : Infinity;
  };
  const absent = ip('192.168.127.77');
  // Its machine boots: nobody has been heard by the link.
  expect(resetAfter(GUEST_IP, 5000)).toBe(3000);
  lab.sendIp(GATEWAY_IP, 17, udp(GUEST_IP, GATEWAY_IP, 1, 9, new Uint8Array(1)));
  expect(resetAfter(absent, 5000)).toBe(300);
  const second = lab.network.attach({ sendBatch: (batch) => { batch.release(); return true; } });
  expect(resetAfter(absent, 5000)).toBe(3000);
  second.close();
  // Known, and its link is broken: as long as a link takes to come back. Unknown: no link, nobody.
  lab.port.close();
  expect(resetAfter(GUEST_IP, 5000)).toBe(3000);
  expect(resetAfter(absent, 5000)).toBe(0);
  lab.network.close();
  lab.expectNothingLeft();
  // A network is made before its guest, which may take a moment.
  const clock = new VirtualClock();
  const early = new VirtualNetwork({ clock, random: new SeededRandom(7), hostNet: lab.hostNet });
  const sockets = [0, 10_000].map((atMs) => {
    clock.advance(atMs);
    const socket = lab.hostNet.connectTcp(ip('127.0.0.1'), 1, { onData() {}, onEnd() {}, onTaken() {}, onClose() {} }) as FakeTcp;
    early.forwardTcp(socket, 80);
    clock.advance(1);
    return socket.isReset;
  });
  expect(sockets).toEqual([false, true]);
  early.close();
});

test('guests on one network reach each other through the switch; a broken link makes room', () => {
  const lab = new Lab({ maxLinks: 2 });
  const seen: string[] = [];
  const other = lab.network.attach({ sendBatch: (batch) => { seen.push(...framesOf(batch).map((f) => prettyFrame(f, 0, f.length))); return true; } });
  expect(() => lab.network.attach({ sendBatch: () => true })).toThrow(/no more than 2 links/);
  const otherMac = parseMac('02:00:00:00:00:02')!;
  lab.send(ethernet(otherMac, GUEST_MAC, 0x88b5, new Uint8Array(50)));
  lab.send(ethernet(GUEST_MAC, otherMac, 0x88b5, new Uint8Array(50)), other);
  lab.send(ethernet(otherMac, GUEST_MAC, 0x88b5, new Uint8Array(50)));
  expect([seen.length, lab.lines().length]).toEqual([2, 1]);
  // To a station on the link that it came from: nothing to do, and counted.
  lab.send(ethernet(GUEST_MAC, parseMac('02:00:00:00:00:06')!, 0x88b5, new Uint8Array(50)));
  expect([seen.length, lab.lines().length, lab.network.stats()['drop:ethernet-not-for-us']]).toEqual([2, 0, 1]);
  other.close();
  other.close();
  lab.network.attach({ sendBatch: () => true });
  lab.network.close();
  lab.expectNothingLeft();
});

test('a sink that is full: datagrams beyond one batch are dropped and counted, nothing grows', () => {
  const lab = new Lab();
  const held: { release(): void }[] = [];
  const port = lab.network.attach({ sendBatch: (batch) => { held.push(batch); return false; } });
  lab.send(ethernet(GATEWAY_MAC, parseMac('02:00:00:00:00:05')!, 0x0800, ipv4(ip('192.168.127.5'), GATEWAY_IP, 1, Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0))), port);
  for (let i = 0; i < 300; i++) lab.send(ethernet(MAC_BROADCAST, GUEST_MAC, 0x88b5, new Uint8Array(1400)));
  expect([held.length, lab.network.stats()['batchesHeld']]).toEqual([1, 2]);
  expect(lab.network.stats()['drop:switch-port-full']).toBeGreaterThan(200);
  held[0].release();
  port.close();
  expect(lab.network.stats()['batchesHeld']).toBe(0);
});

test('fuzz: mutated frames of every kind in every state: no throw, and nothing left after close', async () => {
  const chance = new SeededRandom(2026);
  for (let round = 0; round < 30; round++) {
    const lab = new Lab({ ipv6: true, verifyChecksums: false, maxTcpFlows: 40, maxUdpFlows: 10 });
    let iss = 0;
    for (let step = 0; step < 200; step++) {
      const flags = [TCP_SYN, TCP_ACK, TCP_ACK, TCP_ACK | TCP_FIN, TCP_RST, TCP_SYN | TCP_ACK][chance.u32() % 6];
      const payload = new Uint8Array(chance.u32() % 100);
      const seq = 101 + (chance.u32() % 300) - 20;
      const options = Array.from({ length: 4 * (chance.u32() % 6) }, () => chance.u32() % 12);
      const frames = [
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, ALIAS_IP, 6, tcp(GUEST_IP, ALIAS_IP, { srcPort: 1 + (step % 3), dstPort: 80, seq, ack: iss + 1 + (chance.u32() % 50), flags, window: chance.u32() & 0xffff, options, payload }))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, GATEWAY_IP, 17, udp(GUEST_IP, GATEWAY_IP, 9, 53, query('a.example', 255)))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, ALIAS_IP, 17, udp(GUEST_IP, ALIAS_IP, 9, 9, payload), { fragment: chance.u32() & 0x200f, id: step % 4 })),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x0806, new Uint8Array(28).fill(1)),
        ethernet(MAC_BROADCAST, GUEST_MAC, 0x0800, ipv4(NO_IP, ip('255.255.255.255'), 17, udp(NO_IP, ip('255.255.255.255'), 68, 67, new Uint8Array(300)))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, GATEWAY_IP, 1, Uint8Array.of(8, 0, 0, 0, 1, 2, 3, 4))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x86dd, ipv6(GUEST6, ALIAS6, 6, tcp(GUEST6, ALIAS6, { srcPort: 1 + (step % 3), dstPort: 80, seq, ack: iss + 1 + (chance.u32() % 50), flags, window: chance.u32() & 0xffff, options, payload }))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x86dd, ipv6(GUEST6, ip6('fe80::1'), 17, udp(GUEST6, ip6('fe80::1'), 9, 53, query('a.example', 28)))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x86dd, ipv6(GUEST6, ALIAS6, 44, Uint8Array.of(17, 0, 0, (chance.u32() & 0x18) | (chance.u32() & 1), 0, 0, 0, step % 4, ...udp(GUEST6, ALIAS6, 9, 9, payload)))),
        ethernet(GATEWAY_MAC, GUEST_MAC, 0x86dd, ipv6(GUEST6, ALIAS6, 0, Uint8Array.of(60, 0, 5, 2, 0, 0, 1, 0, 58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0, 1, 2, 3, 4), 1 + (step % 3))),
        ethernet(MAC_BROADCAST, GUEST_MAC, 0x86dd, ipv6(step % 2 === 0 ? GUEST6 : ip6('::'), ip6('ff02::1'), 58, Uint8Array.of(133 + (step % 4), 0, 0, 0, ...new Uint8Array(step % 3 === 0 ? 4 : 20), 1 + (step % 2), 1, ...new Uint8Array(6)), 255)),
      ];
      const frame = frames[chance.u32() % 2 === 0 ? chance.u32() % frames.length : 6 * (chance.u32() % 2)];
      for (let flips = chance.u32() % 4 === 0 ? chance.u32() % 6 : 0; flips > 0; flips--) frame[12 + (chance.u32() % (frame.length - 12))] = chance.u32();
      const cut = chance.u32() % 10 === 0 ? chance.u32() % frame.length : frame.length;
      lab.send(frame.subarray(0, cut));
      const socket = lab.hostNet.tcp.at(-1);
      if (socket !== undefined && !socket.isReset) {
        const what = chance.u32() % 8;
        if (what === 0) socket.handlers.onConnect!();
        else if (what === 1) socket.handlers.onData(new Uint8Array(3000));
        else if (what === 2) socket.handlers.onEnd();
      }
      lab.clock.advance(chance.u32() % 50);
      for (const seen of lab.frames.splice(0)) {
        const at = seen[12] === 0x86 ? 54 : 34;
        if (seen[at === 54 ? 20 : 23] === 6 && seen.length >= at + 20 && (seen[at + 13] & TCP_SYN) !== 0) iss = new DataView(seen.buffer).getUint32(at + 4);
      }
    }
    lab.network.close();
    lab.clock.advance(0);
    await Promise.resolve();
    lab.expectNothingLeft();
    expect(lab.hostNet.udp.every((socket) => socket.isClosed)).toBe(true);
    expect(lab.hostNet.tcp.every((socket) => socket.isReset)).toBe(true);
  }
});
