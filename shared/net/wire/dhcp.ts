/*
 * DHCP (RFC 2131) over BOOTP's fixed part, options of RFC 2132.
 *
 *   0  1     2    3    4   8    10    12     16     20     24     28      44    108  236    240
 *   +--+-----+----+----+---+----+-----+------+------+------+------+-------+-----+----+------+--------
 *   |op|htype|hlen|hops|xid|secs|flags|ciaddr|yiaddr|siaddr|giaddr|chaddr |sname|file|cookie|options
 *   +--+-----+----+----+---+----+-----+------+------+------+------+-------+-----+----+------+--------
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';
import type { Ipv4, Mac } from './addr.ts';
import { getIpv4, getMac, setIpv4, setMac } from './addr.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
/** RFC 2131 §2: a client must accept 576-byte IP packets, 548 bytes of DHCP; some drop shorter than BOOTP's 300 */
export const DHCP_LEN_MIN = 300;
export const DHCP_LEN_MAX = 548;

const FIXED_LEN = 240;
const COOKIE = 0x63825363;
const OPTION_PAD = 0;
const OPTION_END = 255;
export const DHCP_OPTION_MTU = 26;

const MESSAGE_TYPES = ['discover', 'offer', 'request', 'decline', 'ack', 'nak', 'release', 'inform'] as const;
export type DhcpMessageType = (typeof MESSAGE_TYPES)[number];

export interface DhcpRepr {
  readonly type: DhcpMessageType;
  readonly fromClient: boolean;
  readonly xid: number;
  readonly broadcast: boolean;
  readonly clientIp: Ipv4;
  readonly yourIp: Ipv4;
  readonly relayIp: Ipv4;
  readonly clientMac: Mac;
  readonly requestedIp?: Ipv4;
  readonly serverId?: Ipv4;
  readonly hostname?: string;
  /** option 55, the codes that the client asks for */
  readonly parameters?: readonly number[];
  readonly subnetMask?: Ipv4;
  readonly router?: Ipv4;
  readonly dns?: Ipv4;
  readonly domain?: string;
  /** option 119 */
  readonly searchDomains?: readonly string[];
  readonly broadcastIp?: Ipv4;
  readonly mtu?: number;
  readonly leaseSeconds?: number;
  readonly renewSeconds?: number;
  readonly rebindSeconds?: number;
}

export type DhcpDrop = 'dhcp-truncated' | 'dhcp-malformed' | 'dhcp-unsupported';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Options are read from the options field only: overload into `sname` and `file` (option 52) is refused by nobody we know. */
export function parseDhcp(bytes: Uint8Array, start: number, end: number): DhcpRepr | DhcpDrop {
  if (end - start < FIXED_LEN) return 'dhcp-truncated';
  if (getU32(bytes, start + 236) !== COOKIE) return 'dhcp-malformed';
  if (bytes[start + 1] !== 1 || bytes[start + 2] !== 6) return 'dhcp-unsupported';
  if (bytes[start] !== 1 && bytes[start] !== 2) return 'dhcp-malformed';
  const repr: Mutable<Partial<DhcpRepr>> = {
    fromClient: bytes[start] === 1,
    xid: getU32(bytes, start + 4),
    broadcast: (bytes[start + 10] & 0x80) !== 0,
    clientIp: getIpv4(bytes, start + 12),
    yourIp: getIpv4(bytes, start + 16),
    relayIp: getIpv4(bytes, start + 24),
    clientMac: getMac(bytes, start + 28),
  };
  let at = start + FIXED_LEN;
  while (at < end && bytes[at] !== OPTION_END) {
    if (bytes[at] === OPTION_PAD) {
      at++;
      continue;
    }
    if (at + 2 > end || at + 2 + bytes[at + 1] > end) return 'dhcp-malformed';
    takeOption(repr, bytes, bytes[at], at + 2, bytes[at + 1]);
    at += 2 + bytes[at + 1];
  }
  return repr.type === undefined ? 'dhcp-unsupported' : (repr as DhcpRepr);
}

function takeOption(repr: Mutable<Partial<DhcpRepr>>, bytes: Uint8Array, code: number, at: number, len: number): void {
  // Of the wrong length: as if it were not there.
  const address = len >= 4 ? getIpv4(bytes, at) : null;
  switch (code) {
    case 1: if (address !== null) repr.subnetMask = address; break;
    case 3: if (address !== null) repr.router = address; break;
    case 6: if (address !== null) repr.dns = address; break;
    case 12: repr.hostname = asciiText(bytes, at, len); break;
    case 15: repr.domain = asciiText(bytes, at, len); break;
    case 26: if (len === 2) repr.mtu = getU16(bytes, at); break;
    case 28: if (address !== null) repr.broadcastIp = address; break;
    case 50: if (address !== null) repr.requestedIp = address; break;
    case 51: if (len === 4) repr.leaseSeconds = getU32(bytes, at); break;
    case 53: if (len === 1) repr.type = MESSAGE_TYPES[bytes[at] - 1]; break;
    case 54: if (address !== null) repr.serverId = address; break;
    case 55: repr.parameters = [...bytes.subarray(at, at + len)]; break;
    case 119: repr.searchDomains = [...repr.searchDomains ?? [], ...searchList(bytes, at, len)]; break;
    case 58: if (len === 4) repr.renewSeconds = getU32(bytes, at); break;
    case 59: if (len === 4) repr.rebindSeconds = getU32(bytes, at); break;
  }
}

/** Printable ASCII only, the rest left out: names go into logs and into the DNS. */
function asciiText(bytes: Uint8Array, at: number, len: number): string {
  let text = '';
  for (let i = at; i < at + len; i++) if (bytes[i] > 0x20 && bytes[i] < 0x7f) text += String.fromCharCode(bytes[i]);
  return text;
}

/** RFC 3397: names as the DNS writes them. We send none that point into others, and read a pointer as the list's end. */
function searchList(bytes: Uint8Array, at: number, len: number): string[] {
  const names: string[] = [];
  let name = '';
  for (const end = at + len; at < end;) {
    const labelLen = bytes[at++];
    if (labelLen > 63 || at + labelLen > end) return names;
    if (labelLen === 0) {
      names.push(name);
      name = '';
    } else {
      name += `${name === '' ? '' : '.'}${asciiText(bytes, at, labelLen)}`;
      at += labelLen;
    }
  }
  return names;
}

/** The value of option 119, or null when a name is none. */
export function emitSearchList(names: readonly string[]): Uint8Array | null {
  const bytes: number[] = [];
  for (const name of names) {
    for (const label of name.split('.')) {
      if (label === '' || label.length > 63) return null;
      bytes.push(label.length, ...Array.from(label, (c) => c.charCodeAt(0) & 0x7f));
    }
    bytes.push(0);
  }
  return Uint8Array.from(bytes);
}

/** Writes the message at `at`, padded to DHCP_LEN_MIN. Returns its length, at most DHCP_LEN_MAX. */
export function emitDhcp(dhcp: DhcpRepr, out: Uint8Array, at: number): number {
  out.fill(0, at, at + DHCP_LEN_MAX);
  out[at] = dhcp.fromClient ? 1 : 2;
  out[at + 1] = 1;
  out[at + 2] = 6;
  setU32(out, at + 4, dhcp.xid);
  setU16(out, at + 10, dhcp.broadcast ? 0x8000 : 0);
  setIpv4(out, at + 12, dhcp.clientIp);
  setIpv4(out, at + 16, dhcp.yourIp);
  setIpv4(out, at + 24, dhcp.relayIp);
  setMac(out, at + 28, dhcp.clientMac);
  setU32(out, at + 236, COOKIE);
  let end = at + FIXED_LEN;
  const option = (code: number, value: Uint8Array | undefined): void => {
    if (value === undefined || value.length > 255 || end + 2 + value.length + 1 > at + DHCP_LEN_MAX) return;
    out[end] = code;
    out[end + 1] = value.length;
    out.set(value, end + 2);
    end += 2 + value.length;
  };
  option(53, Uint8Array.of(MESSAGE_TYPES.indexOf(dhcp.type) + 1));
  option(54, u32(dhcp.serverId));
  option(51, u32(dhcp.leaseSeconds));
  option(58, u32(dhcp.renewSeconds));
  option(59, u32(dhcp.rebindSeconds));
  option(1, u32(dhcp.subnetMask));
  option(3, u32(dhcp.router));
  option(6, u32(dhcp.dns));
  option(28, u32(dhcp.broadcastIp));
  option(26, dhcp.mtu === undefined ? undefined : Uint8Array.of(dhcp.mtu >>> 8, dhcp.mtu));
  option(50, u32(dhcp.requestedIp));
  option(12, ascii(dhcp.hostname));
  option(15, ascii(dhcp.domain));
  option(119, dhcp.searchDomains === undefined ? undefined : emitSearchList(dhcp.searchDomains) ?? undefined);
  option(55, dhcp.parameters === undefined ? undefined : Uint8Array.from(dhcp.parameters));
  out[end++] = OPTION_END;
  return Math.max(end - at, DHCP_LEN_MIN);
}

function u32(value: number | undefined): Uint8Array | undefined {
  if (value === undefined) return undefined;
  const bytes = new Uint8Array(4);
  setU32(bytes, 0, value);
  return bytes;
}

function ascii(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : Uint8Array.from(text, (c) => c.charCodeAt(0) & 0x7f);
}
