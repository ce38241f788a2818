/** IPv6, ICMPv6 and neighbor discovery: deconstruct, construct over garbage, round trip, every truncation. */
import { describe, expect, test } from 'vitest';
import { inCidr, parseCidr, parseIpv4, parseMac } from './addr.ts';
import type { Ipv6 } from './addr6.ts';
import {
  checksumWordOf, formatIp, formatIpv6, getIpv6, inCidr6, isInNetwork, isLinkLocal6, isMulticast6, isSameIpv6, multicastMacOf, parseCidr6, parseIpv6, setIpv6,
  solicitedNodeOf,
} from './addr6.ts';
import { foldChecksum, pseudoHeaderSum, sumBytes } from './checksum.ts';
import { copyOf } from './copy.ts';
import { parseReverse6 } from './dns.ts';
import type { RouterAdvert } from './icmpv6.ts';
import {
  emitIcmpv6, emitNeighborAdvert, emitNeighborSolicit, emitRouterAdvert, emitRouterSolicit, isIcmpv6ChecksumRight, parseIcmpv6, routerAdvertLen,
} from './icmpv6.ts';
import { emitFragmentHeader, emitIpv6, hopsLeft, Ipv6View } from './ipv6.ts';
import { prettyFrame } from './pretty.ts';
import { emitTcp, TcpView } from './tcp.ts';
import { emitUdp, UdpView } from './udp.ts';

const A = ip('fd70:6f72:7473::ff:fe00:1');
const B = ip('2001:db8::8:800:200c:417a');
const MAC = parseMac('5a:94:ef:e4:0c:dd')!;

function ip(text: string): Ipv6 {
  return parseIpv6(text)!;
}

const dirty = (len: number): Uint8Array => new Uint8Array(len).fill(0xa5);

/** A packet of these bytes behind a header that names `protocol`. */
function packet(protocol: number, ...payload: number[]): Uint8Array {
  const bytes = dirty(40 + payload.length);
  emitIpv6(bytes, 0, A, B, protocol, payload.length);
  bytes.set(payload, 40);
  return bytes;
}

function wrap(bytes: Uint8Array): string | Ipv6View {
  const view = new Ipv6View();
  return view.wrap(bytes, 0, bytes.length) ?? view;
}

describe('addresses', () => {
  test('RFC 4291 §2.2 and RFC 5952 §4: text and back', () => {
    for (const [text, short] of [
      ['::', '::'], ['::1', '::1'], ['1::', '1::'], ['2001:DB8:0:0:8:800:200C:417A', '2001:db8::8:800:200c:417a'], ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], ['::ffff:192.0.2.1', '::ffff:c000:201'],
      ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4:5:6:c000:201'], ['fe80::', 'fe80::'], ['0:0:0:0:0:0:0:0', '::'], ['1:0:0:2::', '1:0:0:2::'],
    ]) expect(formatIpv6(ip(text))).toBe(short);
    for (const bad of [
      '', ':', ':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', '12345::', 'g::', '1.2.3.4', '1.2.3.4::', '::1.2.3', '::1.2.3.4:5', 'fe80::1%eth0', '1:2:3:4:5:6:7:8::', ' ::',
      '::00001', '1:', ':1',
    ]) expect([bad, parseIpv6(bad)]).toEqual([bad, null]);
    const at = dirty(18);
    setIpv6(at, 1, B);
    expect([at[0], at[17], getIpv6(at, 1)]).toEqual([0xa5, 0xa5, B]);
    expect([formatIp(parseIpv4('1.2.3.4')!), formatIp(B)]).toEqual(['1.2.3.4', '2001:db8::8:800:200c:417a']);
  });

  test('networks of both families, groups, and what stands for an address in a sum', () => {
    const net = parseCidr6('fd70:6f72:7473:8000::1/49')!;
    expect([formatIpv6(net.base), inCidr6(ip('fd70:6f72:7473:ffff::'), net), inCidr6(A, net)]).toEqual(['fd70:6f72:7473:8000::', true, false]);
    expect([inCidr6(B, parseCidr6('::/0')!), inCidr6(B, parseCidr6(formatIpv6(B))!), inCidr6(A, parseCidr6(formatIpv6(B))!)]).toEqual([true, true, false]);
    for (const bad of ['::/129', '::/', '::/1/1', '1.2.3.4/8', '/8']) expect(parseCidr6(bad)).toBeNull();
    const v4 = parseIpv4('10.1.2.3')!;
    expect([isInNetwork(v4, parseCidr('10.0.0.0/8')!), isInNetwork(v4, parseCidr6('::/0')!), isInNetwork(A, parseCidr('0.0.0.0/0')!), isInNetwork(A, parseCidr6('fc00::/7')!)])
      .toEqual([inCidr(v4, parseCidr('10.0.0.0/8')!), false, false, true]);
    expect([isLinkLocal6(ip('fe80::1')), isLinkLocal6(ip('febf::1')), isLinkLocal6(ip('fec0::1')), isMulticast6(ip('ff02::1')), isSameIpv6(A, B)]).toEqual([true, true, false, true, false]);
    expect([formatIpv6(solicitedNodeOf(B)), multicastMacOf(solicitedNodeOf(B))]).toEqual(['ff02::1:ff0c:417a', 0x3333ff0c417a]);
    const bytes = dirty(32);
    setIpv6(bytes, 0, A);
    setIpv6(bytes, 16, B);
    expect(foldChecksum(pseudoHeaderSum(checksumWordOf(A), checksumWordOf(B), 58, 9))).toBe(foldChecksum(sumBytes(bytes, 0, 32) + 58 + 9));
  });

  test('RFC 3596 §2.5: names of addresses', () => {
    expect(parseReverse6('a.7.1.4.c.0.0.2.0.0.8.0.8.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa')).toEqual(B);
    for (const bad of ['ip6.arpa', '1.ip6.arpa', `${'g.'.repeat(32)}ip6.arpa`, `${'1.'.repeat(33)}ip6.arpa`]) expect(parseReverse6(bad)).toBeNull();
  });
});

describe('IPv6', () => {
  test('construct over garbage, deconstruct; every truncation; padding behind it', () => {
    const bytes = packet(17, 0, 1, 0, 2, 0, 8, 0, 0);
    expect([...bytes.subarray(0, 8)]).toEqual([0x60, 0, 0, 0, 0, 8, 17, 64]);
    const view = wrap(Uint8Array.of(...bytes, 9, 9)) as Ipv6View;
    expect([view.protocol, view.payloadStart, view.end, view.hopLimit, view.src, view.dst, view.isFragment, view.protocolAt]).toEqual([17, 40, 48, 64, A, B, false, 6]);
    expect(hopsLeft(bytes, 0)).toBe(64);
    for (let end = 0; end < bytes.length; end++) expect(wrap(bytes.subarray(0, end))).toBe('ipv6-truncated');
    expect(wrap(bytes.with(0, 0x45))).toBe('ipv6-bad-version');
  });

  test('RFC 8200 §4: extension headers are walked, at most eight', () => {
    const view = wrap(packet(0, 60, 0, 5, 2, 0, 0, 1, 0, 43, 1, 1, 2, 0, 0, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 17, 0, 4, 0, 0, 0, 0, 0, 7, 7)) as Ipv6View;
    expect([view.protocol, view.payloadStart, view.end, view.bytes[view.protocolAt]]).toEqual([17, 72, 74, 17]);
    const options = (count: number): Uint8Array => packet(60, ...Array.from({ length: count }, (_, i) => [i === count - 1 ? 59 : 60, 0, 1, 4, 0, 0, 0, 0]).flat());
    expect([(wrap(options(8)) as Ipv6View).protocol, wrap(options(9))]).toEqual([59, 'ipv6-bad-extension']);
  });

  test('what is refused: routing type 0 and routes not run down, unknown options that forbid it, hop-by-hop in the middle, headers that do not fit', () => {
    const pad = [1, 4, 0, 0, 0, 0];
    for (const bytes of [
      packet(43, 17, 0, 0, 0, 0, 0, 0, 0), packet(43, 17, 0, 4, 1, 0, 0, 0, 0),
      packet(60, 17, 0, 0x45, 4, 0, 0, 0, 0), packet(60, 17, 0, 0x85, 4, 0, 0, 0, 0), packet(0, 17, 0, 0xc2, 4, 0, 1, 0, 0),
      packet(60, 0, 0, ...pad, 17, 0, ...pad), packet(60, 17, 0, 1, 5, 0, 0, 0, 0), packet(60, 17, 0, 1, 3, 0, 0, 0, 1),
      packet(60, 17, 1, ...pad), packet(60), packet(60, 17), packet(44, 17, 0, 0, 0, 0, 0, 0),
    ]) expect(wrap(bytes)).toBe('ipv6-bad-extension');
    // An unknown option whose highest bits are 00 is skipped.
    expect((wrap(packet(60, 17, 0, 0x1e, 4, 9, 9, 9, 9)) as Ipv6View).protocol).toBe(17);
  });

  test('a fragment: what lies before its header, and what it says', () => {
    const bytes = packet(60, 44, 0, 1, 4, 0, 0, 0, 0, ...dirty(8), 1, 2, 3);
    emitFragmentHeader(bytes, 48, 17, 1480, true, 0xdeadbeef);
    const view = wrap(bytes) as Ipv6View;
    expect([view.isFragment, view.fragmentAt, view.fragmentNamedAt, view.protocol, view.fragmentOffset, view.isMoreFragments, view.identification, view.payloadStart, bytes[49]])
      .toEqual([true, 48, 40, 17, 1480, true, 0xdeadbeef, 56, 0]);
    emitFragmentHeader(bytes, 48, 17, 0, false, 1);
    expect([view.fragmentOffset, view.isMoreFragments]).toEqual([0, false]);
  });

  test('TCP and UDP sum over the longer pseudo-header', () => {
    const [a, b] = [checksumWordOf(A), checksumWordOf(B)];
    const segment = dirty(23);
    emitTcp({ srcPort: 1, dstPort: 2, seq: 3, ack: 4, flags: 16, window: 5 }, segment, 0, a, b, 0, 3);
    const datagram = dirty(13);
    emitUdp(datagram, 0, a, b, 53, 5353, 5);
    const [tcp, udp] = [new TcpView(), new UdpView()];
    tcp.wrap(segment, 0, 23);
    udp.wrap(datagram, 0, 13);
    expect([tcp.isChecksumRight(a, b), udp.isChecksumRight(a, b), tcp.isChecksumRight(a, checksumWordOf(A))]).toEqual([true, true, false]);
    const whole = dirty(40 + 23);
    setIpv6(whole, 0, A);
    setIpv6(whole, 16, B);
    whole.set([0, 0, 0, 23, 0, 0, 0, 6], 32);
    whole.set(segment, 40);
    expect(foldChecksum(sumBytes(whole, 0, 63))).toBe(0);
  });
});

describe('ICMPv6', () => {
  test('echo and errors: construct over garbage, deconstruct, every truncation', () => {
    const echo = dirty(12);
    emitIcmpv6(echo, 0, A, B, 128, 0, 0x00070009, 4);
    expect([parseIcmpv6(echo, 0, 12), isIcmpv6ChecksumRight(echo, 0, 12, A, B), isIcmpv6ChecksumRight(echo, 0, 12, A, A)])
      .toEqual([{ kind: 'echo-request', id: 7, seq: 9, dataStart: 8, dataEnd: 12 }, true, false]);
    for (let end = 0; end < 8; end++) expect(parseIcmpv6(echo, 0, end)).toBe('icmpv6-truncated');
    emitIcmpv6(echo, 0, A, B, 1, 4, 0, 4);
    expect(parseIcmpv6(echo, 0, 12)).toEqual({ kind: 'error', type: 1, code: 4, rest: 0, dataStart: 8, dataEnd: 12 });
    expect([parseIcmpv6(echo.with(0, 143), 0, 12), parseIcmpv6(echo.with(0, 200), 0, 12), parseIcmpv6(echo.with(0, 128).with(1, 1), 0, 12)])
      .toEqual([{ kind: 'listener' }, 'icmpv6-unsupported', 'icmpv6-unsupported']);
  });

  test('RFC 4861 §4: neighbors, with and without a link address', () => {
    for (const linkAddress of [MAC, null]) {
      const solicit = { kind: 'neighbor-solicit', target: B, linkAddress } as const;
      const advert = { kind: 'neighbor-advert', target: B, isRouter: true, isSolicited: linkAddress === null, isOverride: true, linkAddress } as const;
      const bytes = dirty(40);
      let len = emitNeighborSolicit(solicit, bytes, 0, A, B);
      expect([parseIcmpv6(bytes, 0, len), isIcmpv6ChecksumRight(bytes, 0, len, A, B)]).toEqual([solicit, true]);
      for (let end = 0; end < len; end++) expect(parseIcmpv6(bytes, 0, end)).toEqual(end < 24 ? 'icmpv6-truncated' : end === 24 ? { ...solicit, linkAddress: null } : 'ndp-malformed');
      len = emitNeighborAdvert(advert, bytes, 0, A, B);
      expect([parseIcmpv6(bytes, 0, len), isIcmpv6ChecksumRight(bytes, 0, len, A, B)]).toEqual([advert, true]);
      const rs = dirty(16);
      len = emitRouterSolicit(linkAddress, rs, 0, A, B);
      expect([parseIcmpv6(rs, 0, len), isIcmpv6ChecksumRight(rs, 0, len, A, B)]).toEqual([{ kind: 'router-solicit', linkAddress }, true]);
    }
    const bytes = dirty(32);
    emitNeighborSolicit({ kind: 'neighbor-solicit', target: B, linkAddress: MAC }, bytes, 0, A, B);
    // An option without length, a group as target, a group as link address.
    for (const bad of [bytes.with(25, 0), bytes.with(25, 2), bytes.with(8, 0xff), bytes.with(26, 0x5b)]) expect(parseIcmpv6(bad, 0, 32)).toBe('ndp-malformed');
  });

  const ADVERT: RouterAdvert = {
    kind: 'router-advert', hopLimit: 64, routerLifetimeS: 9000, linkAddress: MAC, mtu: 1500,
    prefixes: [{ prefix: ip('fd70:6f72:7473::'), prefixLen: 64, isOnLink: true, isAutonomous: true, validS: 0xffffffff, preferredS: 600 }], dns: [A, B], dnsLifetimeS: 1800,
  };

  test('RFC 4861 §4.2, RFC 8106 §5.1: router advertisements round trip, every truncation and any garbage is survived', () => {
    for (const advert of [ADVERT, { ...ADVERT, mtu: null, linkAddress: null, prefixes: [], dns: [], dnsLifetimeS: 0, routerLifetimeS: 0 }]) {
      const bytes = dirty(routerAdvertLen(advert));
      const len = emitRouterAdvert(advert, bytes, 0, A, B);
      expect([len, parseIcmpv6(bytes, 0, len), isIcmpv6ChecksumRight(bytes, 0, len, A, B), bytes.includes(0xa5)]).toEqual([bytes.length, advert, true, false]);
      for (let end = 0; end < len; end++) expect(end < 16 ? parseIcmpv6(bytes, 0, end) : 'icmpv6-truncated').toBe('icmpv6-truncated');
      let state = 1;
      for (let i = 0; i < 3000; i++) {
        const garbage = copyOf(bytes);
        for (let flips = 0; flips < 4; flips++) {
          state = (Math.imul(state, 1103515245) + 12345) >>> 0;
          garbage[(state >>> 16) % garbage.length] = state >>> 8;
        }
        expect(() => { parseIcmpv6(garbage, 0, garbage.length); parseIcmpv6(garbage, 0, i % garbage.length); }).not.toThrow();
      }
    }
  });

  test('golden lines', () => {
    const line = (emit: (out: Uint8Array) => number): string => {
      const frame = dirty(14 + 40 + 200);
      frame.set([0x86, 0xdd], 12);
      const message = dirty(200);
      const len = emit(message);
      emitIpv6(frame, 14, A, B, 58, len);
      frame.set(message.subarray(0, len), 54);
      return prettyFrame(frame, 0, 54 + len).replace('fd70:6f72:7473::ff:fe00:1 > 2001:db8::8:800:200c:417a ', '');
    };
    expect([
      line((out) => emitRouterAdvert(ADVERT, out, 0, A, B)), line((out) => emitNeighborSolicit({ kind: 'neighbor-solicit', target: A, linkAddress: null }, out, 0, A, B)),
      line((out) => emitRouterSolicit(null, out, 0, A, B)), line((out) => 8 + emitIcmpv6(out, 0, A, B, 129, 0, 5, 8)),
    ]).toEqual([
      'router for 9000 s prefix fd70:6f72:7473::/64 dns fd70:6f72:7473::ff:fe00:1 dns 2001:db8::8:800:200c:417a mtu 1500', 'who-has fd70:6f72:7473::ff:fe00:1',
      'router solicitation', 'icmp6 echo-reply id 0 seq 5 len 8',
    ]);
  });

  test('garbage is printed, not thrown at', () => {
    let state = 7;
    for (let i = 0; i < 3000; i++) {
      const bytes = new Uint8Array(54 + (i % 90)).map(() => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16);
      bytes.set([0x86, 0xdd, 0x60, 0, 0, 0, 0, bytes.length - 54, [0, 6, 17, 43, 44, 58, 60][i % 7]], 12);
      if (i % 7 === 5 && bytes.length > 60) bytes.set([[1, 3, 128, 133, 134, 135, 136][i % 8 % 7], 0], 54);
      expect(typeof prettyFrame(bytes, 0, bytes.length)).toBe('string');
    }
  });
});
