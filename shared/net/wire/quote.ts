/*
 * What an ICMP error quotes: the packet that it is about, from its IP header on, cut off anywhere behind 8 bytes of what that carries.
 *
 *   IPv4 header | source port, destination port, TCP: sequence, UDP: length and checksum | …
 *   IPv6 header | (fragment header, of a first fragment) | likewise | …
 */
import { getU16, getU32 } from '../../bytes.ts';
import { getIpv4 } from './addr.ts';
import type { IpAddress } from './addr6.ts';
import { getIpv6 } from './addr6.ts';
import { IPPROTO_TCP, IPPROTO_UDP, IPV4_HEADER_LEN } from './ipv4.ts';
import { IPPROTO_FRAGMENT, IPV6_FRAGMENT_HEADER_LEN, IPV6_HEADER_LEN } from './ipv6.ts';

/** Who sent it to whom. */
export interface Quote {
  readonly protocol: typeof IPPROTO_TCP | typeof IPPROTO_UDP;
  readonly src: IpAddress;
  readonly srcPort: number;
  readonly dst: IpAddress;
  readonly dstPort: number;
  /** of TCP: its sequence number */
  readonly seq: number;
  /** of the whole packet, as its header says, in `bytes` */
  readonly len: number;
}

/** What RFC 1191 §7.1 found to be in use, in `bytes` */
const PLATEAUS = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];

/** Where a router or host does not say which packet would have been small enough: the next smaller size of links. */
export function plateauBelow(len: number): number {
  return PLATEAUS.find((plateau) => plateau < len) ?? 68;
}

/** Null for what is neither TCP nor UDP, a later fragment, or too short. */
export function parseQuote(bytes: Uint8Array, start: number, end: number): Quote | null {
  const version = start < end ? bytes[start] >>> 4 : 0;
  let at: number;
  let protocol: number;
  if (version === 4) {
    at = start + ((bytes[start] & 15) << 2);
    if (at < start + IPV4_HEADER_LEN || at + 8 > end || (getU16(bytes, start + 6) & 0x1fff) !== 0) return null;
    protocol = bytes[start + 9];
  } else {
    at = start + IPV6_HEADER_LEN;
    if (version !== 6 || at + 8 > end) return null;
    protocol = bytes[start + 6];
    if (protocol === IPPROTO_FRAGMENT) {
      if ((getU16(bytes, at + 2) & 0xfff8) !== 0) return null;
      protocol = bytes[at];
      at += IPV6_FRAGMENT_HEADER_LEN;
    }
    if (at + 8 > end) return null;
  }
  if (protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP) return null;
  return {
    protocol,
    src: version === 4 ? getIpv4(bytes, start + 12) : getIpv6(bytes, start + 8),
    dst: version === 4 ? getIpv4(bytes, start + 16) : getIpv6(bytes, start + 24),
    srcPort: getU16(bytes, at), dstPort: getU16(bytes, at + 2), seq: getU32(bytes, at + 4),
    len: version === 4 ? getU16(bytes, start + 2) : IPV6_HEADER_LEN + getU16(bytes, start + 4),
  };
}
