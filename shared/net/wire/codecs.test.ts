/*
 * What every codec must hold: deconstruct what it constructs, write every byte whatever the buffer held before, and survive
 * every truncation and any garbage without a throw.
 */
import { describe, expect, test } from 'vitest';
import type { Ipv4, Mac } from './addr.ts';
import { formatIpv4, formatMac, getMac, inCidr, isGroupMac, parseCidr, parseIpv4, parseMac, setMac } from './addr.ts';
import { ARP_LEN, emitArp, parseArp } from './arp.ts';
import { foldChecksum, isChecksumRight, pseudoHeaderSum, sumBytes } from './checksum.ts';
import type { DhcpRepr } from './dhcp.ts';
import { DHCP_LEN_MAX, DHCP_LEN_MIN, emitDhcp, emitSearchList, parseDhcp } from './dhcp.ts';
import { ageTtls, answerTo, emitAddressAnswer, emitDnsStatus, emitNameAnswer, emitQuery, fitted, parseDnsQuestion, readTtls, withoutOpt, wholeRecords } from './dns.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, EthernetView } from './ethernet.ts';
import { emitIcmp, parseIcmp } from './icmp.ts';
import { emitIpv4, IPPROTO_TCP, IPPROTO_UDP, Ipv4View } from './ipv4.ts';
import { prettyFrame } from './pretty.ts';
import { emitTcp, TCP_ACK, TCP_PSH, TCP_SYN, TcpView } from './tcp.ts';
import { emitSack, emitSynOptions, emitTimestamps, TcpOptions } from './tcp-options.ts';
import { SUM_MEMORY } from './simd-sum.ts';
import { emitUdp, UdpView } from './udp.ts';
import { copyOf } from './copy.ts';

const A = parseIpv4('192.168.127.3')!;
const B = parseIpv4('10.1.2.255')!;
const MAC_A = parseMac('02:00:00:00:00:01')!;
const MAC_B = parseMac('5a:94:ef:e4:0c:dd')!;

const dirty = (len: number): Uint8Array => new Uint8Array(len).fill(0xa5);

/** A small generator of its own: wire may not import the stack's. */
function garbage(seed: number, len: number): Uint8Array {
  const bytes = new Uint8Array(len);
  let state = seed * 2654435761;
  for (let i = 0; i < len; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

describe('addresses', () => {
  test('text and back', () => {
    expect([formatIpv4(A), formatMac(MAC_B), formatMac(MAC_A)]).toEqual(['192.168.127.3', '5a:94:ef:e4:0c:dd', '02:00:00:00:00:01']);
    for (const bad of ['', '1.2.3', '1.2.3.4.5', '1.2.3.256', '01.2.3.4', '1.2.3.-4', '1.2.3.4 ']) expect(parseIpv4(bad)).toBeNull();
    for (const bad of ['', '02:00:00:00:00', '02:00:00:00:00:0g', '2:0:0:0:0:1']) expect(parseMac(bad)).toBeNull();
    const at = dirty(8);
    setMac(at, 1, MAC_B);
    expect([...at]).toEqual([0xa5, 0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd, 0xa5]);
    expect([getMac(at, 1), isGroupMac(MAC_A), isGroupMac(parseMac('01:00:5e:00:00:01')!)]).toEqual([MAC_B, false, true]);
  });

  test('networks', () => {
    const net = parseCidr('192.168.127.77/24')!;
    expect([formatIpv4(net.base), inCidr(A, net), inCidr(B, net), inCidr(B, parseCidr('0.0.0.0/0')!), inCidr(B, parseCidr('10.1.2.255')!)]).toEqual(['192.168.127.0', true, false, true, true]);
    for (const bad of ['1.2.3.4/33', '1.2.3.4/', '1.2.3/8', '/8']) expect(parseCidr(bad)).toBeNull();
  });
});

test('checksum: RFC 1071 §3 by hand, odd ends, and against the naive sum', () => {
  expect(foldChecksum(sumBytes(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8))).toBe(0x220d);
  for (let len = 0; len < 70; len++) {
    const bytes = garbage(len, len + 3);
    let naive = 0;
    for (let i = 0; i < len; i += 2) naive += bytes[3 + i] * 256 + (i + 1 < len ? bytes[4 + i] : 0);
    expect(sumBytes(bytes, 3, 3 + len)).toBe(naive);
  }
  const most = new Uint8Array(65_535).fill(0xff);
  expect(foldChecksum(sumBytes(most, 0, 65_535) + pseudoHeaderSum(0xffffffff as Ipv4, 0xffffffff as Ipv4, 255, 65_535))).toBeGreaterThanOrEqual(0);
});

test('Ethernet, IPv4, UDP: construct over garbage, deconstruct', () => {
  const frame = dirty(14 + 20 + 8 + 5);
  frame.set([1, 2, 3, 4, 5], 42);
  emitUdp(frame, 34, A, B, 48_896, 53, 5);
  emitIpv4(frame, 14, A, B, IPPROTO_UDP, 13);
  emitEthernet(frame, 0, MAC_B, MAC_A, 0x0800);
  expect([...frame.subarray(0, 26)]).toEqual([0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xdd, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 33, 0, 0, 0x40, 0, 64, 17, frame[24], frame[25]]);
  const ethernet = new EthernetView();
  const ip = new Ipv4View();
  const udp = new UdpView();
  expect([ethernet.wrap(frame, 0, 47), ip.wrap(frame, ETHERNET_HEADER_LEN, 47), udp.wrap(frame, ip.payloadStart, ip.end)]).toEqual([null, null, null]);
  expect([ethernet.dst, ethernet.src, ethernet.etherType, ip.src, ip.dst, ip.protocol, ip.ttl, ip.isDontFragment, ip.isFragment, ip.isHeaderChecksumRight])
    .toEqual([MAC_B, MAC_A, 0x0800, A, B, 17, 64, true, false, true]);
  expect([udp.srcPort, udp.dstPort, udp.payloadStart, udp.end, udp.isChecksumRight(A, B)]).toEqual([48_896, 53, 42, 47, true]);
  frame[45] ^= 1;
  expect(udp.isChecksumRight(A, B)).toBe(false);
  expect(prettyFrame(frame, 0, 47)).toBe('192.168.127.3.48896 > 10.1.2.255.53 udp len 5');
});

test('TCP with options: construct over garbage, deconstruct', () => {
  const segment = dirty(20 + 20 + 3);
  const optionsLen = emitSynOptions(segment, 20, 1460, 7, true, true, 0xdeadbeef, 1);
  expect(optionsLen).toBe(24);
  const whole = dirty(20 + optionsLen + 3);
  emitSynOptions(whole, 20, 1460, 7, true, true, 0xdeadbeef, 1);
  whole.set([7, 8, 9], 44);
  emitTcp({ srcPort: 80, dstPort: 40_000, seq: 0xfffffffe, ack: 0x80000000, flags: TCP_SYN | TCP_ACK, window: 65_535 }, whole, 0, A, B, optionsLen, 3);
  const tcp = new TcpView();
  expect(tcp.wrap(whole, 0, whole.length)).toBeNull();
  expect([tcp.srcPort, tcp.dstPort, tcp.seq, tcp.ack, tcp.flags, tcp.window, tcp.payloadLen, tcp.isChecksumRight(A, B)])
    .toEqual([80, 40_000, 0xfffffffe, 0x80000000, TCP_SYN | TCP_ACK, 65_535, 3, true]);
  expect([...whole.subarray(18, 20)]).toEqual([0, 0]);
  const options = new TcpOptions();
  expect(options.parse(whole, tcp.optionsStart, tcp.payloadStart)).toBe(true);
  expect([options.mss, options.windowScale, options.sackPermitted, options.hasTimestamps, options.tsVal, options.tsEcr]).toEqual([1460, 7, true, true, 0xdeadbeef, 1]);
  const sack = dirty(40);
  const sackLen = emitTimestamps(sack, 0, 1, 2) + emitSack(sack, 12, [1, 2, 0xfffffff0, 5], 2);
  expect([options.parse(sack, 0, sackLen), options.sackCount, options.sackStart[1], options.sackEnd[1]]).toEqual([true, 2, 0xfffffff0, 5]);
});

test('TCP options: illegal lengths end the list without harm', () => {
  const options = new TcpOptions();
  for (const [bytes, isLegal] of [
    [[2, 4, 5, 180, 3], false], [[2, 0], false], [[2, 1], false], [[2, 4, 5], false], [[30, 2, 1, 0], true], [[0, 2, 9], true], [[3, 3, 200], true], [[5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0], true],
  ] as const) {
    expect(options.parse(Uint8Array.from(bytes), 0, bytes.length)).toBe(isLegal);
    expect(options.sackCount).toBe(0);
    expect(options.windowScale).toBeLessThanOrEqual(14);
  }
});

test('ARP and ICMP', () => {
  const arp = dirty(ARP_LEN);
  const request = { operation: 'request', senderMac: MAC_A, senderIp: A, targetMac: 0 as Mac, targetIp: B } as const;
  emitArp(request, arp, 0);
  expect(parseArp(arp, 0, ARP_LEN)).toEqual(request);
  for (let end = 0; end < ARP_LEN; end++) expect(parseArp(arp, 0, end)).toBe('arp-truncated');
  for (const at of [0, 2, 4, 5, 6]) expect(parseArp(arp.with(at, 9), 0, ARP_LEN)).toBe('arp-unsupported');
  expect(parseArp(arp.with(8, 3), 0, ARP_LEN)).toBe('arp-bad-sender');
  const echo = dirty(12);
  emitIcmp(echo, 0, 8, 0, 0x00070009, 4);
  expect([parseIcmp(echo, 0, 12), isChecksumRight(echo, 0, 12)]).toEqual([{ kind: 'echo-request', id: 7, seq: 9, dataStart: 8, dataEnd: 12 }, true]);
  for (let end = 0; end < 8; end++) expect(parseIcmp(echo, 0, end)).toBe('icmp-truncated');
});

test('every truncation of a frame is refused by the layer it cuts', () => {
  const frame = dirty(14 + 20 + 20 + 4);
  emitTcp({ srcPort: 1, dstPort: 2, seq: 3, ack: 4, flags: TCP_ACK | TCP_PSH, window: 5 }, frame, 34, A, B, 0, 4);
  emitIpv4(frame, 14, A, B, IPPROTO_TCP, 24);
  emitEthernet(frame, 0, MAC_B, MAC_A, 0x0800);
  for (let end = 0; end < frame.length; end++) {
    expect(new EthernetView().wrap(frame, 0, end)).toBe(end < 14 ? 'ethernet-truncated' : null);
    expect(new Ipv4View().wrap(frame, 14, end)).toBe('ipv4-truncated');
    expect(new TcpView().wrap(frame, 34, end)).toBe(end < 54 ? 'tcp-truncated' : null);
  }
  expect(new Ipv4View().wrap(frame.with(14, 0x65), 14, 58)).toBe('ipv4-bad-version');
  expect(new Ipv4View().wrap(frame.with(14, 0x44), 14, 58)).toBe('ipv4-bad-header-length');
  expect(new Ipv4View().wrap(frame.with(17, 19), 14, 58)).toBe('ipv4-bad-length');
  expect(new TcpView().wrap(frame.with(46, 0x40), 34, 58)).toBe('tcp-bad-offset');
  expect(new TcpView().wrap(frame.with(46, 0xf0), 34, 58)).toBe('tcp-truncated');
});

describe('DHCP', () => {
  const REQUEST: DhcpRepr = {
    type: 'request', fromClient: true, xid: 0x12345678, broadcast: true, clientIp: 0 as Ipv4, yourIp: 0 as Ipv4, relayIp: 0 as Ipv4, clientMac: MAC_A,
    requestedIp: A, serverId: B, hostname: 'box', parameters: [1, 3, 6, 26], searchDomains: ['a.example', 'example'],
  };

  test('option 119: names as in the DNS; no empty or too long label is written', () => {
    expect([...emitSearchList(['ab.c', 'd'])!]).toEqual([2, 97, 98, 1, 99, 0, 1, 100, 0]);
    expect([emitSearchList(['a..b']), emitSearchList(['x'.repeat(64)])]).toEqual([null, null]);
  });

  test('round trip over garbage, padded to 300 bytes', () => {
    const message = dirty(DHCP_LEN_MAX);
    const len = emitDhcp(REQUEST, message, 0);
    expect([len, message.subarray(0, len).includes(0xa5)]).toEqual([DHCP_LEN_MIN, false]);
    expect(parseDhcp(message, 0, len)).toEqual(REQUEST);
  });

  test('every truncation and any garbage is survived', () => {
    const message = dirty(DHCP_LEN_MAX);
    const len = emitDhcp(REQUEST, message, 0);
    for (let end = 0; end < len; end++) expect(() => parseDhcp(message, 0, end)).not.toThrow();
    for (let end = 0; end < 240; end++) expect(parseDhcp(message, 0, end)).toBe('dhcp-truncated');
    for (let seed = 0; seed < 500; seed++) {
      const bytes = copyOf(message, 0, len);
      bytes.set(garbage(seed, 40), 240);
      expect(() => parseDhcp(bytes, 0, len)).not.toThrow();
    }
  });

  test('an address option of the wrong length is as if it were not there', () => {
    const message = dirty(DHCP_LEN_MAX);
    const len = emitDhcp({ ...REQUEST, router: 0x01020304 as Ipv4 }, message, 0);
    // In place of the end: router again, with three bytes.
    const end = message.subarray(0, len).lastIndexOf(255);
    message.set([3, 3, 9, 9, 9, 255], end);
    expect(parseDhcp(message, 0, len)).toEqual({ ...REQUEST, router: 0x01020304 });
  });
});

describe('DNS', () => {
  const QUERY = Uint8Array.of(0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3, 0x57, 0x77, 0x57, 2, 0x64, 0x65, 0, 0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0);

  test('the question is read, lower case, with EDNS', () => {
    expect(parseDnsQuestion(QUERY, 0, QUERY.length, false)).toEqual({
      id: 0x1234, flags: 0x100, name: 'www.de', type: 1, class: 1, end: 24, udpMax: 1232, wantsDnssec: true, hasEdns: true, ednsVersion: 0, hasOtherRecords: false,
    });
    expect(parseDnsQuestion(QUERY, 0, QUERY.length, true)).toBe('dns-malformed');
  });

  test('truncations, pointers and garbage are malformed, never a throw or a loop', () => {
    for (let end = 0; end < 24; end++) expect(parseDnsQuestion(QUERY, 0, end, false)).toBe('dns-malformed');
    expect(parseDnsQuestion(QUERY.with(12, 0xc0), 0, QUERY.length, false)).toBe('dns-malformed');
    for (let seed = 0; seed < 2000; seed++) {
      const bytes = garbage(seed, 12 + (seed % 90));
      bytes[2] = seed & 1 ? 0x80 : 0;
      bytes[4] = 0;
      bytes[5] = 1;
      expect(() => { parseDnsQuestion(bytes, 0, bytes.length, (seed & 1) === 1); readTtls(bytes, 12); }).not.toThrow();
    }
  });

  test('answers: address, name, status; TTLs found and aged; another asker gets his id and spelling', () => {
    const question = parseDnsQuestion(QUERY, 0, QUERY.length, false);
    if (typeof question === 'string') throw new Error(question);
    const answer = emitAddressAnswer(QUERY, question, B, 60);
    expect([...answer.subarray(24)]).toEqual([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 255]);
    const ttls = readTtls(answer, 24)!;
    expect(ttls).toEqual({ offsets: [30], seconds: 60 });
    ageTtls(answer, ttls.offsets, 25);
    expect(answer[33]).toBe(35);
    const other = answerTo(QUERY.with(1, 0x99).with(13, 0x77), 24, answer);
    expect([other[1], other[13], answer[1]]).toEqual([0x99, 0x77, 0x34]);
    expect([...emitNameAnswer(QUERY, question, 'a.bc', 1).subarray(34)]).toEqual([0, 6, 1, 97, 2, 98, 99, 0]);
    expect([emitDnsStatus(QUERY, question, 3)[3] & 15, emitDnsStatus(QUERY, null, 1).length]).toEqual([3, 12]);
  });

  /** an answer to QUERY with so many addresses, and records behind them */
  const answerOf = (count: number, additional: number[][] = []): Uint8Array => Uint8Array.of(
    0x12, 0x34, 0x81, 0x80, 0, 1, 0, count, 0, 0, 0, additional.length, ...QUERY.subarray(12, 24),
    ...Array.from({ length: count }, (_, i) => [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, i]).flat(), ...additional.flat(),
  );
  const OPT = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
  const GLUE = [1, 0x61, 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 9, 9, 9];

  test('RFC 6891: a query gets an OPT of ours, a resolver\'s is taken out, a client that sent one gets ours back', () => {
    const question = parseDnsQuestion(QUERY, 0, QUERY.length, false);
    if (typeof question === 'string') throw new Error(question);
    const ours = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];
    expect([...emitQuery(QUERY.with(2, 0x7f).with(3, 0xff), { ...question, flags: 0x7fff }, 0xabcd, true)]).toEqual([0xab, 0xcd, 1, 0x30, 0, 1, 0, 0, 0, 0, 0, 1, ...QUERY.subarray(12, 24), ...ours]);
    expect([...emitQuery(QUERY, question, 1, false)]).toEqual([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...QUERY.subarray(12, 24)]);
    expect(withoutOpt(answerOf(2, [GLUE, OPT]), 24)).toEqual(answerOf(2, [GLUE]));
    // Names behind the OPT may point over it.
    expect(withoutOpt(answerOf(2, [GLUE, OPT, GLUE]), 24)).toEqual(answerOf(2, [GLUE]));
    expect(withoutOpt(answerOf(2), 24)).toEqual(answerOf(2));
    expect(fitted(answerOf(2, [GLUE]), question, 1232)).toEqual(answerOf(2, [GLUE, ours]));
    expect(fitted(answerOf(2, [GLUE]), { ...question, hasEdns: false }, 512)).toEqual(answerOf(2, [GLUE]));
    expect(fitted(answerOf(0), question, 512, 16)[24 + 5]).toBe(1);
    expect(parseDnsQuestion(Uint8Array.of(...QUERY.with(11, 2), ...QUERY.subarray(24)), 0, QUERY.length + 11, false)).toBe('dns-malformed');
  });

  test('RFC 2181: what does not fit is left out by whole records; TC says so but for additional ones', () => {
    const question = parseDnsQuestion(QUERY, 0, QUERY.length, false);
    if (typeof question === 'string') throw new Error(question);
    for (const hasEdns of [true, false]) {
      for (let max = 512; max < 1300; max += 7) {
        const answer = fitted(answerOf(60, [GLUE]), { ...question, hasEdns }, max);
        const isCut = max - (hasEdns ? 11 : 0) < 24 + 60 * 16;
        expect([answer.length <= max, (answer[2] & 2) !== 0]).toEqual([true, isCut]);
        if (isCut) expect([answer[7], answer[11]]).toEqual([Math.floor((max - (hasEdns ? 11 : 0) - 24) / 16), hasEdns ? 1 : 0]);
      }
    }
    const cutAnywhere = answerOf(60).subarray(0, 24 + 16 * 9 + 5);
    expect([wholeRecords(cutAnywhere, 24).length, wholeRecords(cutAnywhere, 24)[7], wholeRecords(cutAnywhere, 24)[2] & 2]).toEqual([24 + 16 * 9, 9, 2]);
  });

  test('a negative answer lives as long as its SOA says', () => {
    const soa = [0, 0, 6, 0, 1, 0, 0, 14, 16, 0, 22, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 30];
    const message = Uint8Array.of(...QUERY.subarray(0, 2), 0x81, 0x83, 0, 1, 0, 0, 0, 1, 0, 0, ...QUERY.subarray(12, 24), ...soa);
    expect(readTtls(message, 24)).toEqual({ offsets: [29], seconds: 30 });
    expect(readTtls(message.with(3, 0x82), 24)).toBeNull();
    expect(readTtls(copyOf(message, 0, message.length - 1), 24)).toBeNull();
    // A chain that leads to nothing is negative too; without a SOA it is not kept.
    const cname = [0xc0, 12, 0, 5, 0, 1, 0, 0, 3, 232, 0, 3, 1, 0x61, 0];
    const chain = Uint8Array.of(...QUERY.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 1, 0, 1, 0, 0, ...QUERY.subarray(12, 24), ...cname, ...soa);
    expect(readTtls(chain, 24)).toEqual({ offsets: [30, 44], seconds: 30 });
    expect(readTtls(chain.subarray(0, chain.length - soa.length).with(9, 0), 24)).toBeNull();
    // RFC 2181 §8
    const address = Uint8Array.of(...QUERY.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, ...QUERY.subarray(12, 24), 0xc0, 12, 0, 1, 0, 1, 0x80, 0, 0, 60, 0, 4, 1, 2, 3, 4);
    expect(readTtls(address, 24)).toBeNull();
  });
});

test('garbage is printed, not thrown at', () => {
  for (let seed = 0; seed < 3000; seed++) {
    const bytes = garbage(seed, seed % 120);
    if (bytes.length > 24) {
      bytes.set([8, seed & 1 ? 0 : 6], 12);
      bytes[14] = 0x45;
      bytes.set([0, bytes.length - 14], 16);
      bytes[23] = [1, 6, 17][seed % 3];
    }
    expect(typeof prettyFrame(bytes, 0, bytes.length)).toBe('string');
  }
});

test('sums are the same 16 bytes at a time, at every offset and length, and for words that overflow', () => {
  expect(SUM_MEMORY).not.toBeNull();
  const fast = new Uint8Array(SUM_MEMORY!, 4096, 70_000);
  const check = (from: number, to: number): void => {
    const plain = foldChecksum(sumBytes(copyOf(fast), from, to));
    if (foldChecksum(sumBytes(fast, from, to)) !== plain) throw new Error(`bytes ${from} to ${to} do not sum to ${plain}`);
  };
  for (const fill of [garbage(7, fast.length), new Uint8Array(fast.length).fill(0xff), new Uint8Array(fast.length)]) {
    fast.set(fill);
    for (let len = 0; len < 300; len++) check(len % 33, (len % 33) + len);
    for (const len of [1448, 1460, 8948, 65_483, 65_536]) check(3, 3 + len);
  }
});
