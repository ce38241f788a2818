/*
 * Addresses as plain numbers: an Ipv4 is a u32, a Mac is a 48-bit integer (exact in a double), so both compare with
 * `===`, key a Map and are never allocated. The brands exist in the type checker only.
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';

/** IPv4 address, unsigned, host order: 192.168.127.1 is 0xc0a87f01. Any u32: it may come from a peer */
export type Ipv4 = number & { readonly __ipv4: true };
/** One that a single host can have on a network, as `isUnicast` says: what the stack and NAT take from outside */
export type UnicastIpv4 = Ipv4 & { readonly __unicast: true };
/** Ethernet address, 48 bits, first byte on the wire in the highest bits */
export type Mac = number & { readonly __mac: true };
export type Port = number & { readonly __port: true };

export const MAC_BROADCAST = 0xffffffffffff as Mac;
export const MAC_NONE = 0 as Mac;
export const IPV4_ANY = 0 as Ipv4;
export const IPV4_BROADCAST = 0xffffffff as Ipv4;
export const IPV4_LOOPBACK = 0x7f000001 as Ipv4;

/** null unless `text` is four decimal parts of 0 to 255 without leading zeros */
export function parseIpv4(text: string): Ipv4 | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let ip = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    ip = ip * 256 + Number(part);
  }
  return ip as Ipv4;
}

export function formatIpv4(ip: Ipv4): string {
  return `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;
}

/** null unless `text` is six pairs of hexadecimal digits joined by colons or dashes */
export function parseMac(text: string): Mac | null {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return null;
  return Number.parseInt(text.replace(/[:-]/g, ''), 16) as Mac;
}

export function formatMac(mac: Mac): string {
  return mac.toString(16).padStart(12, '0').replace(/..(?!$)/g, '$&:');
}

/** An address and the length of its network's prefix, "192.168.127.0/24" */
export interface Cidr {
  readonly base: Ipv4;
  readonly prefixLen: number;
}

export function parseCidr(text: string): Cidr | null {
  const slash = text.indexOf('/');
  const base = parseIpv4(slash < 0 ? text : text.slice(0, slash));
  const len = slash < 0 ? '32' : text.slice(slash + 1);
  if (base === null || !/^\d{1,2}$/.test(len) || Number(len) > 32) return null;
  const prefixLen = Number(len);
  return { base: (base & maskOf(prefixLen)) >>> 0 as Ipv4, prefixLen };
}

/** 24 → 255.255.255.0 */
export function maskOf(prefixLen: number): Ipv4 {
  return (prefixLen === 0 ? 0 : (0xffffffff << (32 - prefixLen)) >>> 0) as Ipv4;
}

/** Everyone on a network: all ones behind its prefix. */
export function broadcastOf(subnet: Ipv4, prefixLen: number): Ipv4 {
  return ((subnet | ~maskOf(prefixLen)) >>> 0) as Ipv4;
}

export function inCidr(ip: Ipv4, cidr: Cidr): boolean {
  return ((ip ^ cidr.base) & maskOf(cidr.prefixLen)) === 0;
}

/**
 * Whether a single host can have this address and others can send to it. Not those are "this network" 0.0.0.0/8, loopback 127.0.0.0/8, groups
 * 224.0.0.0/4, and 240.0.0.0/4, reserved, with the limited broadcast. RFC 1122 §3.2.1.3, RFC 6890 §2.2.2.
 */
export function isUnicast(ip: Ipv4): ip is UnicastIpv4 {
  const first = ip >>> 24;
  return first < 224 && first !== 0 && first !== 127;
}

/** What an address that is not `isUnicast` is instead, for messages: "192.168.127.3 is …" */
export function specialUse(ip: Ipv4): string {
  const first = ip >>> 24;
  if (ip === IPV4_BROADCAST) return 'everyone on the link (RFC 919)';
  if (first >= 240) return 'reserved (240.0.0.0/4, RFC 1112)';
  if (first >= 224) return 'a group (224.0.0.0/4, RFC 1112)';
  return first === 127 ? 'the computer\'s own loopback (127.0.0.0/8, RFC 1122)' : 'no host (0.0.0.0/8, RFC 791)';
}

export function isMulticast(ip: Ipv4): boolean {
  return ip >>> 28 === 0xe;
}

export function isGroupMac(mac: Mac): boolean {
  return (Math.floor(mac / 0x10000000000) & 1) === 1;
}

export function getIpv4(bytes: Uint8Array, off: number): Ipv4 {
  return getU32(bytes, off) as Ipv4;
}

export function setIpv4(bytes: Uint8Array, off: number, ip: Ipv4): void {
  setU32(bytes, off, ip);
}

export function getMac(bytes: Uint8Array, off: number): Mac {
  return (getU16(bytes, off) * 0x100000000 + getU32(bytes, off + 2)) as Mac;
}

export function setMac(bytes: Uint8Array, off: number, mac: Mac): void {
  setU16(bytes, off, Math.floor(mac / 0x100000000));
  setU32(bytes, off + 2, mac % 0x100000000);
}
