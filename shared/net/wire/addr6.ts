/*
 * IPv6 addresses as four u32s, most significant first: compared by value, never changed. Code above the wire that keys tables
 * by one integer uses handles instead (stack/ipv6-table.ts).
 */
import { getU32, setU32 } from '../../bytes.ts';
import type { Cidr, Ipv4, Mac } from './addr.ts';
import { formatIpv4, inCidr, parseIpv4 } from './addr.ts';

export type Ipv6 = readonly [number, number, number, number];
/** Of either family, as the host's sockets take it */
export type IpAddress = Ipv4 | Ipv6;

/** RFC 4291 §2.5.1: what SLAAC leaves to the network */
export const IPV6_PREFIX_LEN = 64;
export const IPV6_ANY: Ipv6 = [0, 0, 0, 0];
export const IPV6_LOOPBACK: Ipv6 = [0, 0, 0, 1];
export const IPV6_ALL_NODES: Ipv6 = [0xff020000, 0, 0, 1];
export const IPV6_ALL_ROUTERS: Ipv6 = [0xff020000, 0, 0, 2];

/** null unless `text` is an address as in RFC 4291 §2.2, without a zone */
export function parseIpv6(text: string): Ipv6 | null {
  const halves = text.split('::');
  if (halves.length > 2 || text.length > 45) return null;
  const head = parseGroups(halves[0], halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1], true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...tail];
  return [0, 2, 4, 6].map((i) => groups[i] * 0x10000 + groups[i + 1]) as unknown as Ipv6;
}

/** The 16-bit groups of one side of "::"; the last may be an IPv4 address where that side ends the text. */
function parseGroups(text: string, isLast: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    const ip = isLast && i === parts.length - 1 && part.includes('.') ? parseIpv4(part) : null;
    if (ip !== null) groups.push(ip >>> 16, ip & 0xffff);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return null;
  }
  return groups;
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as "::" */
export function formatIpv6(ip: Ipv6): string {
  const groups = ip.flatMap((word) => [word >>> 16, word & 0xffff]);
  let [bestAt, bestLen] = [-1, 1];
  for (let at = 0; at < 8; at++) {
    let len = 0;
    while (at + len < 8 && groups[at + len] === 0) len++;
    if (len > bestLen) [bestAt, bestLen] = [at, len];
  }
  const hex = (from: number, to: number): string => groups.slice(from, to).map((group) => group.toString(16)).join(':');
  return bestAt < 0 ? hex(0, 8) : `${hex(0, bestAt)}::${hex(bestAt + bestLen, 8)}`;
}

export function formatIp(ip: IpAddress): string {
  return typeof ip === 'number' ? formatIpv4(ip) : formatIpv6(ip);
}

/** An IPv6 address in brackets, so that its port can be told apart */
export function formatEndpoint(ip: IpAddress, port: number): string {
  return typeof ip === 'number' ? `${formatIpv4(ip)}:${port}` : `[${formatIpv6(ip)}]:${port}`;
}

export function isSameIpv6(a: Ipv6, b: Ipv6): boolean {
  return a[3] === b[3] && a[2] === b[2] && a[1] === b[1] && a[0] === b[0];
}

export interface Cidr6 {
  readonly base: Ipv6;
  readonly prefixLen: number;
}

export function parseCidr6(text: string): Cidr6 | null {
  const [address, len = '128', ...rest] = text.split('/');
  const base = parseIpv6(address);
  if (base === null || rest.length > 0 || !/^\d{1,3}$/.test(len) || Number(len) > 128) return null;
  const prefixLen = Number(len);
  return { base: base.map((word, i) => (word & maskWord(prefixLen - 32 * i)) >>> 0) as unknown as Ipv6, prefixLen };
}

export function inCidr6(ip: Ipv6, { base, prefixLen }: Cidr6): boolean {
  for (let i = 0; i < 4; i++) if (((ip[i] ^ base[i]) & maskWord(prefixLen - 32 * i)) !== 0) return false;
  return true;
}

/** False where the families differ. */
export function isInNetwork(ip: IpAddress, cidr: Cidr | Cidr6): boolean {
  if (typeof ip === 'number') return typeof cidr.base === 'number' && inCidr(ip, cidr as Cidr);
  return typeof cidr.base !== 'number' && inCidr6(ip, cidr as Cidr6);
}

/** `bits` ones from the left, of those in this word */
function maskWord(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

export function isMulticast6(ip: Ipv6): boolean {
  return ip[0] >>> 24 === 0xff;
}

/** fe80::/10 */
export function isLinkLocal6(ip: Ipv6): boolean {
  return ip[0] >>> 22 === 0x3fa;
}

/** RFC 2464 §7: 33:33 and the last four bytes */
export function multicastMacOf(group: Ipv6): Mac {
  return (0x333300000000 + group[3]) as Mac;
}

/** RFC 4291 §2.7.1: the group on which the owner of `ip` listens for questions about it */
export function solicitedNodeOf(ip: Ipv6): Ipv6 {
  return [0xff020000, 0, 1, (0xff000000 | (ip[3] & 0xffffff)) >>> 0];
}

/**
 * What stands for the address in `pseudoHeaderSum`: RFC 8200 §8.1 sums more words than RFC 768, and nothing else is different. A
 * number whose two halves add up to the sum of all eight groups.
 */
export function checksumWordOf(ip: Ipv6): Ipv4 {
  let sum = 0;
  for (const word of ip) sum += (word >>> 16) + (word & 0xffff);
  return sum as Ipv4;
}

export function getIpv6(bytes: Uint8Array, off: number): Ipv6 {
  return [getU32(bytes, off), getU32(bytes, off + 4), getU32(bytes, off + 8), getU32(bytes, off + 12)];
}

export function setIpv6(bytes: Uint8Array, off: number, ip: Ipv6): void {
  for (let i = 0; i < 4; i++) setU32(bytes, off + 4 * i, ip[i]);
}
