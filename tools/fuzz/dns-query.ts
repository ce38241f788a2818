/** Questions that a guest asks, as bytes. */
import { u16 } from '../../shared/net/stack/fixture/frames.ts';

export function dnsQuery(name: string, type = 1, id = 7, edns = false): Uint8Array {
  const labels = name.split('.').flatMap((label) => [label.length, ...Array.from(label, (c) => c.charCodeAt(0))]);
  return Uint8Array.from([...u16(id), 1, 0, 0, 1, 0, 0, 0, 0, 0, edns ? 1 : 0, ...labels, 0, ...u16(type), 0, 1, ...(edns ? [0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0] : [])]);
}

/** behind their lengths, as TCP carries them */
export const QUERIES_BY_TCP: readonly Uint8Array[] = [
  dnsQuery('example.org'), dnsQuery('example.org', 28, 8, true), dnsQuery('host.containers.internal'), dnsQuery('a.example', 255), dnsQuery('example.org', 16, 9), dnsQuery('7.127.168.192.in-addr.arpa', 12),
  dnsQuery('x'.repeat(63)), new Uint8Array(12), dnsQuery('example.org').with(2, 0x29),
].map((query) => Uint8Array.of(...u16(query.length), ...query));
