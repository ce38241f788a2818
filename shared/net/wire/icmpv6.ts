/*
 * ICMPv6 (RFC 4443) and neighbor discovery (RFC 4861), which travels in it.
 *
 *   0    1    2        4                 8                24
 *   +----+----+--------+-----------------+----------------+-----------
 *   |type|code|checksum| id, sequence    | echo: data
 *   |    |    |        | unused, pointer, MTU | error: the offender from its IP header on
 *   |133 | 0  |        | 0               | router solicitation: options
 *   |134 | 0  |        |hops|flags|life s| reachable, retransmit ms: 0, 0 | options: router advertisement
 *   |135 | 0  |        | 0               | target         | options: neighbor solicitation
 *   |136 | 0  |        | R S O flags     | target         | options: neighbor advertisement
 *   +----+----+--------+-----------------+----------------+-----------
 *   options: | type | length in 8 bytes | ... |: 1, 2 link address; 3 prefix; 5 MTU; 25 DNS servers (RFC 8106)
 *
 * The checksum covers a pseudo-header: the emitters take both addresses.
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';
import type { Mac } from './addr.ts';
import { getMac, isGroupMac, setMac } from './addr.ts';
import type { Ipv6 } from './addr6.ts';
import { checksumWordOf, getIpv6, isMulticast6, setIpv6 } from './addr6.ts';
import { foldChecksum, isChecksumRight, pseudoHeaderSum, sumBytes } from './checksum.ts';
import { IPPROTO_ICMPV6 } from './ipv6.ts';

export const ICMPV6_HEADER_LEN = 8;
export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_PACKET_TOO_BIG = 2;
export const ICMPV6_TIME_EXCEEDED = 3;
export const ICMPV6_PARAMETER_PROBLEM = 4;
export const ICMPV6_ECHO_REQUEST = 128;
export const ICMPV6_ECHO_REPLY = 129;
/** hop limit of neighbor discovery: what has crossed a router shows a smaller one */
export const NDP_HOP_LIMIT = 255;

/** codes of ICMPV6_UNREACHABLE */
export const ICMPV6_NO_ROUTE = 0;
export const ICMPV6_ADMIN_PROHIBITED = 1;
export const ICMPV6_BEYOND_SCOPE = 2;
export const ICMPV6_ADDRESS_UNREACHABLE = 3;
export const ICMPV6_PORT_UNREACHABLE = 4;

const LISTENER_QUERY = 130;
const LISTENER_REPORT = 131;
const LISTENER_DONE = 132;
const LISTENER_REPORT_2 = 143;
const ROUTER_SOLICIT = 133;
const ROUTER_ADVERT = 134;
const NEIGHBOR_SOLICIT = 135;
const NEIGHBOR_ADVERT = 136;

const OPTION_SOURCE_LINK = 1;
const OPTION_TARGET_LINK = 2;
const OPTION_PREFIX = 3;
const OPTION_MTU = 5;
const OPTION_DNS = 25;
const RA_LEN = 16;
const NEIGHBOR_LEN = 24;
const PREFIX_LEN = 32;
/** more in one advertisement are not read */
const LIST_MAX = 16;

export interface RouterAdvert {
  readonly kind: 'router-advert';
  readonly hopLimit: number;
  readonly routerLifetimeS: number;
  readonly linkAddress: Mac | null;
  readonly mtu: number | null;
  readonly prefixes: readonly AdvertisedPrefix[];
  readonly dns: readonly Ipv6[];
  readonly dnsLifetimeS: number;
}

export interface AdvertisedPrefix {
  readonly prefix: Ipv6;
  readonly prefixLen: number;
  /** L: addresses of it are neighbors */
  readonly isOnLink: boolean;
  /** A: hosts may make addresses of it */
  readonly isAutonomous: boolean;
  readonly validS: number;
  readonly preferredS: number;
}

export interface NeighborAdvert {
  readonly kind: 'neighbor-advert';
  readonly target: Ipv6;
  readonly isRouter: boolean;
  readonly isSolicited: boolean;
  readonly isOverride: boolean;
  readonly linkAddress: Mac | null;
}

export interface NeighborSolicit {
  readonly kind: 'neighbor-solicit';
  readonly target: Ipv6;
  readonly linkAddress: Mac | null;
}

/** `data` is a range of the message that was parsed: borrowed. */
export type Icmpv6Repr =
  | { readonly kind: 'echo-request' | 'echo-reply'; readonly id: number; readonly seq: number; readonly dataStart: number; readonly dataEnd: number }
  | { readonly kind: 'error'; readonly type: number; readonly code: number; readonly rest: number; readonly dataStart: number; readonly dataEnd: number }
  | { readonly kind: 'router-solicit'; readonly linkAddress: Mac | null }
  | { readonly kind: 'listener' }
  | RouterAdvert | NeighborAdvert | NeighborSolicit;

export type Icmpv6Drop = 'icmpv6-truncated' | 'icmpv6-unsupported' | 'ndp-malformed';

export function parseIcmpv6(bytes: Uint8Array, start: number, end: number): Icmpv6Repr | Icmpv6Drop {
  if (end - start < ICMPV6_HEADER_LEN) return 'icmpv6-truncated';
  const type = bytes[start];
  const code = bytes[start + 1];
  const dataStart = start + ICMPV6_HEADER_LEN;
  // RFC 4443 §2.1: the highest bit is 0 in errors.
  if (type < 128) return { kind: 'error', type, code, rest: getU32(bytes, start + 4), dataStart, dataEnd: end };
  if (type === LISTENER_QUERY || type === LISTENER_REPORT || type === LISTENER_DONE || type === LISTENER_REPORT_2) return { kind: 'listener' };
  if (type > NEIGHBOR_ADVERT || code !== 0) return 'icmpv6-unsupported';
  switch (type) {
    case ICMPV6_ECHO_REQUEST:
    case ICMPV6_ECHO_REPLY: {
      const kind = type === ICMPV6_ECHO_REQUEST ? 'echo-request' : 'echo-reply';
      return { kind, id: getU16(bytes, start + 4), seq: getU16(bytes, start + 6), dataStart, dataEnd: end };
    }
    case ROUTER_ADVERT: return parseRouterAdvert(bytes, start, end);
    case ROUTER_SOLICIT: return parseSolicitOrAdvert(bytes, start, end, type, ICMPV6_HEADER_LEN, OPTION_SOURCE_LINK);
    case NEIGHBOR_SOLICIT: return parseSolicitOrAdvert(bytes, start, end, type, NEIGHBOR_LEN, OPTION_SOURCE_LINK);
    default: return parseSolicitOrAdvert(bytes, start, end, type, NEIGHBOR_LEN, OPTION_TARGET_LINK);
  }
}

function parseSolicitOrAdvert(bytes: Uint8Array, start: number, end: number, type: number, optionsAt: number, linkOption: number): Icmpv6Repr | Icmpv6Drop {
  if (end - start < optionsAt) return 'icmpv6-truncated';
  let linkAddress: Mac | null = null;
  const isWhole = walkOptions(bytes, start + optionsAt, end, (kind, at, len) => {
    if (kind === linkOption && len === 8) linkAddress = getMac(bytes, at + 2);
  });
  if (!isWhole || (linkAddress !== null && isGroupMac(linkAddress))) return 'ndp-malformed';
  if (type === ROUTER_SOLICIT) return { kind: 'router-solicit', linkAddress };
  const target = getIpv6(bytes, start + 8);
  // RFC 4861 §7.1.1, §7.1.2
  if (isMulticast6(target)) return 'ndp-malformed';
  if (type === NEIGHBOR_SOLICIT) return { kind: 'neighbor-solicit', target, linkAddress };
  const flags = bytes[start + 4];
  return { kind: 'neighbor-advert', target, isRouter: (flags & 0x80) !== 0, isSolicited: (flags & 0x40) !== 0, isOverride: (flags & 0x20) !== 0, linkAddress };
}

function parseRouterAdvert(bytes: Uint8Array, start: number, end: number): RouterAdvert | Icmpv6Drop {
  if (end - start < RA_LEN) return 'icmpv6-truncated';
  let linkAddress: Mac | null = null;
  let mtu: number | null = null;
  let dnsLifetimeS = 0;
  const prefixes: AdvertisedPrefix[] = [];
  const dns: Ipv6[] = [];
  const isWhole = walkOptions(bytes, start + RA_LEN, end, (kind, at, len) => {
    if (kind === OPTION_SOURCE_LINK && len === 8) linkAddress = getMac(bytes, at + 2);
    else if (kind === OPTION_MTU && len === 8) mtu = getU32(bytes, at + 4);
    else if (kind === OPTION_PREFIX && len === PREFIX_LEN && prefixes.length < LIST_MAX) {
      prefixes.push({
        prefix: getIpv6(bytes, at + 16), prefixLen: bytes[at + 2], isOnLink: (bytes[at + 3] & 0x80) !== 0, isAutonomous: (bytes[at + 3] & 0x40) !== 0,
        validS: getU32(bytes, at + 4), preferredS: getU32(bytes, at + 8),
      });
    } else if (kind === OPTION_DNS && len >= 24) {
      dnsLifetimeS = getU32(bytes, at + 4);
      for (let server = at + 8; server + 16 <= at + len && dns.length < LIST_MAX; server += 16) dns.push(getIpv6(bytes, server));
    }
  });
  if (!isWhole) return 'ndp-malformed';
  return { kind: 'router-advert', hopLimit: bytes[start + 4], routerLifetimeS: getU16(bytes, start + 6), linkAddress, mtu, prefixes, dns, dnsLifetimeS };
}

/** False when an option is empty or does not fit: the whole message is then void (RFC 4861 §4.6). */
function walkOptions(bytes: Uint8Array, start: number, end: number, fn: (kind: number, at: number, len: number) => void): boolean {
  for (let at = start; at < end;) {
    if (at + 8 > end || bytes[at + 1] === 0 || at + 8 * bytes[at + 1] > end) return false;
    fn(bytes[at], at, 8 * bytes[at + 1]);
    at += 8 * bytes[at + 1];
  }
  return true;
}

export function isIcmpv6ChecksumRight(bytes: Uint8Array, start: number, end: number, src: Ipv6, dst: Ipv6): boolean {
  return isChecksumRight(bytes, start, end, pseudoHeaderSum(checksumWordOf(src), checksumWordOf(dst), IPPROTO_ICMPV6, end - start));
}

/** Writes the header at `off` in front of `dataLen` bytes that already lie behind it, checksum included. */
export function emitIcmpv6(
  out: Uint8Array, off: number, src: Ipv6, dst: Ipv6, type: number, code: number, rest: number, dataLen: number,
): number {
  out[off] = type;
  out[off + 1] = code;
  setU16(out, off + 2, 0);
  setU32(out, off + 4, rest >>> 0);
  const len = ICMPV6_HEADER_LEN + dataLen;
  setU16(out, off + 2, foldChecksum(sumBytes(out, off, off + len) + pseudoHeaderSum(checksumWordOf(src), checksumWordOf(dst), IPPROTO_ICMPV6, len)));
  return ICMPV6_HEADER_LEN;
}

/** Without a link address where that is null. Returns the message's length. */
export function emitNeighborSolicit(ns: NeighborSolicit, out: Uint8Array, off: number, src: Ipv6, dst: Ipv6): number {
  return emitNeighbor(out, off, src, dst, NEIGHBOR_SOLICIT, 0, ns.target, OPTION_SOURCE_LINK, ns.linkAddress);
}

export function emitNeighborAdvert(na: NeighborAdvert, out: Uint8Array, off: number, src: Ipv6, dst: Ipv6): number {
  const flags = (na.isRouter ? 0x80 : 0) | (na.isSolicited ? 0x40 : 0) | (na.isOverride ? 0x20 : 0);
  return emitNeighbor(out, off, src, dst, NEIGHBOR_ADVERT, flags * 0x1000000, na.target, OPTION_TARGET_LINK, na.linkAddress);
}

function emitNeighbor(
  out: Uint8Array, off: number, src: Ipv6, dst: Ipv6, type: number, rest: number, target: Ipv6, linkOption: number, linkAddress: Mac | null,
): number {
  setIpv6(out, off + 8, target);
  const len = linkAddress === null ? NEIGHBOR_LEN : NEIGHBOR_LEN + emitLinkAddress(out, off + NEIGHBOR_LEN, linkOption, linkAddress);
  emitIcmpv6(out, off, src, dst, type, 0, rest, len - ICMPV6_HEADER_LEN);
  return len;
}

export function emitRouterSolicit(linkAddress: Mac | null, out: Uint8Array, off: number, src: Ipv6, dst: Ipv6): number {
  const optionLen = linkAddress === null ? 0 : emitLinkAddress(out, off + ICMPV6_HEADER_LEN, OPTION_SOURCE_LINK, linkAddress);
  return emitIcmpv6(out, off, src, dst, ROUTER_SOLICIT, 0, 0, optionLen) + optionLen;
}

export function routerAdvertLen(ra: RouterAdvert): number {
  return RA_LEN + (ra.linkAddress === null ? 0 : 8) + (ra.mtu === null ? 0 : 8) + PREFIX_LEN * ra.prefixes.length + (ra.dns.length === 0 ? 0 : 8 + 16 * ra.dns.length);
}

/** Returns routerAdvertLen(ra). */
export function emitRouterAdvert(ra: RouterAdvert, out: Uint8Array, off: number, src: Ipv6, dst: Ipv6): number {
  const len = routerAdvertLen(ra);
  out.fill(0, off + ICMPV6_HEADER_LEN, off + len);
  let at = off + RA_LEN;
  if (ra.linkAddress !== null) at += emitLinkAddress(out, at, OPTION_SOURCE_LINK, ra.linkAddress);
  if (ra.mtu !== null) {
    out[at] = OPTION_MTU;
    out[at + 1] = 1;
    setU32(out, at + 4, ra.mtu);
    at += 8;
  }
  for (const prefix of ra.prefixes) {
    out[at] = OPTION_PREFIX;
    out[at + 1] = PREFIX_LEN / 8;
    out[at + 2] = prefix.prefixLen;
    out[at + 3] = (prefix.isOnLink ? 0x80 : 0) | (prefix.isAutonomous ? 0x40 : 0);
    setU32(out, at + 4, prefix.validS);
    setU32(out, at + 8, prefix.preferredS);
    setIpv6(out, at + 16, prefix.prefix);
    at += PREFIX_LEN;
  }
  if (ra.dns.length > 0) {
    out[at] = OPTION_DNS;
    out[at + 1] = 1 + 2 * ra.dns.length;
    setU32(out, at + 4, ra.dnsLifetimeS);
    for (const [i, server] of ra.dns.entries()) setIpv6(out, at + 8 + 16 * i, server);
  }
  emitIcmpv6(out, off, src, dst, ROUTER_ADVERT, 0, ra.hopLimit * 0x1000000 + ra.routerLifetimeS, len - ICMPV6_HEADER_LEN);
  return len;
}

function emitLinkAddress(out: Uint8Array, at: number, option: number, mac: Mac): number {
  out[at] = option;
  out[at + 1] = 1;
  setMac(out, at + 2, mac);
  return 8;
}
