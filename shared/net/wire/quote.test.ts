import { expect, test } from 'vitest';
import { ip, ip6, ipv4, ipv6, tcp, u16, u32, udp } from '../stack/fixture/frames.ts';
import { parseQuote, plateauBelow } from './quote.ts';

const A = ip('203.0.113.9');
const B = ip('192.168.127.3');
const A6 = ip6('2001:db8::9');
const B6 = ip6('fd70:6f72:7473::3');
const FIELDS = { srcPort: 80, dstPort: 1234, seq: 0xfedcba98, ack: 1, flags: 16, window: 1, options: [], payload: new Uint8Array(1000) };

test('what is quoted of TCP and UDP, of both families, down to 8 bytes behind the IP header; nothing of less', () => {
  const quotes: [Uint8Array, number, object][] = [
    [ipv4(A, B, 6, tcp(A, B, FIELDS)), 28, { protocol: 6, src: A, dst: B, srcPort: 80, dstPort: 1234, seq: 0xfedcba98, len: 1040 }],
    [ipv4(A, B, 17, udp(A, B, 53, 999, new Uint8Array(100))), 28, { protocol: 17, src: A, dst: B, srcPort: 53, dstPort: 999, len: 128 }],
    [ipv6(A6, B6, 6, tcp(A6, B6, FIELDS)), 48, { protocol: 6, src: A6, dst: B6, srcPort: 80, dstPort: 1234, seq: 0xfedcba98, len: 1060 }],
    [ipv6(A6, B6, 44, Uint8Array.from([17, 0, ...u16(1), ...u32(7), ...udp(A6, B6, 53, 999, new Uint8Array(100))])), 56, { protocol: 17, src: A6, dst: B6, srcPort: 53, dstPort: 999, len: 156 }],
  ];
  for (const [packet, least, expected] of quotes) {
    const bytes = Uint8Array.from([0xa5, 0xa5, 0xa5, ...packet]);
    for (let end = 3; end <= bytes.length; end += end < 3 + least + 4 ? 1 : 97) {
      const quote = parseQuote(bytes, 3, end);
      if (end - 3 < least) expect(quote).toBeNull();
      else expect(quote).toMatchObject(expected);
    }
  }
});

test('options are skipped; later fragments, other protocols, headers that are too short and other versions are nothing', () => {
  const datagram = udp(A, B, 53, 999, new Uint8Array(4));
  const plain = ipv4(A, B, 17, datagram);
  const withOptions = Uint8Array.from([0x46, ...plain.subarray(1, 20), 1, 1, 1, 0, ...datagram]);
  expect(parseQuote(withOptions, 0, withOptions.length)).toMatchObject({ srcPort: 53, dstPort: 999 });
  const later6 = ipv6(A6, B6, 44, Uint8Array.from([17, 0, ...u16(8), ...u32(7), ...datagram]));
  for (const bytes of [plain.with(7, 1), plain.with(9, 1), plain.with(0, 0x44), plain.with(0, 0x4f), plain.with(0, 0x55), later6, ipv6(A6, B6, 58, datagram)]) {
    expect(parseQuote(bytes, 0, bytes.length)).toBeNull();
  }
});

test('RFC 1191 §7.1: the next smaller size', () => {
  expect([65_535, 1500, 1492, 576, 297, 296, 20].map(plateauBelow)).toEqual([32_000, 1492, 1006, 508, 296, 68, 68]);
});
