/*
 * ARP for IPv4 over Ethernet (RFC 826).
 *
 *   0      2      4   5   6      8          14         18         24         28
 *   +------+------+---+---+------+----------+----------+----------+----------+
 *   |htype |ptype |hln|pln| op   |sender mac|sender ip |target mac|target ip |
 *   +------+------+---+---+------+----------+----------+----------+----------+
 */
import { getU16, setU16 } from '../../bytes.ts';
import type { Ipv4, Mac } from './addr.ts';
import { getIpv4, getMac, isGroupMac, setIpv4, setMac } from './addr.ts';
import { ETHERTYPE_IPV4 } from './ethernet.ts';

export const ARP_LEN = 28;
const HTYPE_ETHERNET = 1;
const OP_REQUEST = 1;
const OP_REPLY = 2;

export interface ArpRepr {
  readonly operation: 'request' | 'reply';
  readonly senderMac: Mac;
  readonly senderIp: Ipv4;
  readonly targetMac: Mac;
  readonly targetIp: Ipv4;
}

export type ArpDrop = 'arp-truncated' | 'arp-unsupported' | 'arp-bad-sender';

export function parseArp(bytes: Uint8Array, start: number, end: number): ArpRepr | ArpDrop {
  if (end - start < ARP_LEN) return 'arp-truncated';
  if (getU16(bytes, start) !== HTYPE_ETHERNET || getU16(bytes, start + 2) !== ETHERTYPE_IPV4) return 'arp-unsupported';
  if (bytes[start + 4] !== 6 || bytes[start + 5] !== 4) return 'arp-unsupported';
  const op = getU16(bytes, start + 6);
  if (op !== OP_REQUEST && op !== OP_REPLY) return 'arp-unsupported';
  const senderMac = getMac(bytes, start + 8);
  if (isGroupMac(senderMac)) return 'arp-bad-sender';
  return {
    operation: op === OP_REQUEST ? 'request' : 'reply',
    senderMac,
    senderIp: getIpv4(bytes, start + 14),
    targetMac: getMac(bytes, start + 18),
    targetIp: getIpv4(bytes, start + 24),
  };
}

/** Returns ARP_LEN. */
export function emitArp(arp: ArpRepr, out: Uint8Array, at: number): number {
  setU16(out, at, HTYPE_ETHERNET);
  setU16(out, at + 2, ETHERTYPE_IPV4);
  out[at + 4] = 6;
  out[at + 5] = 4;
  setU16(out, at + 6, arp.operation === 'request' ? OP_REQUEST : OP_REPLY);
  setMac(out, at + 8, arp.senderMac);
  setIpv4(out, at + 14, arp.senderIp);
  setMac(out, at + 18, arp.targetMac);
  setIpv4(out, at + 24, arp.targetIp);
  return ARP_LEN;
}
