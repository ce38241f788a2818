/*
 * DNS messages (RFC 1035 §4), as far as a forwarder must understand them.
 *
 *   0        2        4        6        8        10       12
 *   +--------+--------+--------+--------+--------+--------+----------+---------+-----------+------------
 *   | id     | flags  |qdcount |ancount |nscount |arcount | question | answers | authority | additional
 *   +--------+--------+--------+--------+--------+--------+----------+---------+-----------+------------
 *
 * Records are never decoded: an answer travels as the bytes that the resolver sent, so any type passes, known or not. What is
 * read is the question (it is the cache's key) and where the TTLs lie. Our own answers are about addresses and names only.
 *
 * OPT is the exception: what it says is between two neighbours only (RFC 6891 §6.2.6). A client's is read and goes no further, a
 * resolver's is taken out, and each gets one of ours, without options: no cookie, no client subnet, no padding of somebody else's.
 */
import { getU16, getU32, setU16, setU32 } from '../../bytes.ts';
import { setIpv4 } from './addr.ts';
import type { IpAddress, Ipv6 } from './addr6.ts';
import { parseIpv6, setIpv6 } from './addr6.ts';
import { copyOf } from './copy.ts';

export const DNS_HEADER_LEN = 12;
export const DNS_TYPE_A = 1;
export const DNS_TYPE_SOA = 6;
export const DNS_TYPE_PTR = 12;
export const DNS_TYPE_AAAA = 28;
export const DNS_TYPE_OPT = 41;
export const DNS_TYPE_ANY = 255;
export const DNS_CLASS_IN = 1;

export const DNS_NOERROR = 0;
export const DNS_FORMERR = 1;
export const DNS_SERVFAIL = 2;
export const DNS_NXDOMAIN = 3;
export const DNS_NOTIMP = 4;
export const DNS_REFUSED = 5;
/** RFC 6891 §9: an OPT of a version that nobody knows */
export const DNS_BADVERS = 16;
/** what we take by UDP, in `bytes`: fits in a packet on any way (DNS flag day 2020) */
export const DNS_UDP_MAX = 1232;
export const DNS_MESSAGE_MAX = 65_535;

const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RD = 0x0100;
const FLAG_RA = 0x0080;
const FLAG_AA = 0x0400;
const FLAG_AD = 0x0020;
const FLAG_CD = 0x0010;
const NAME_MAX = 255;
const OPT_LEN = 11;
const EDNS_DO = 0x8000;

export interface DnsQuestion {
  readonly id: number;
  readonly flags: number;
  /** lower case, without the final dot; bytes that are not printable ASCII as \DDD */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** one past the question */
  readonly end: number;
  /** largest UDP answer that the client takes: EDNS's value, or 512 */
  readonly udpMax: number;
  /** the client wants DNSSEC records (DO) */
  readonly wantsDnssec: boolean;
  readonly hasEdns: boolean;
  readonly ednsVersion: number;
  /** a query with records besides the question and OPT: TSIG, SIG(0). What is signed can't be written anew. */
  readonly hasOtherRecords: boolean;
}

export type DnsDrop = 'dns-malformed';

/** Offsets here count from `start`. `isResponse` says which of both kinds is expected. */
export function parseDnsQuestion(bytes: Uint8Array, start: number, end: number, isResponse: boolean): DnsQuestion | DnsDrop {
  if (end - start < DNS_HEADER_LEN) return 'dns-malformed';
  const flags = getU16(bytes, start + 2);
  if (((flags & FLAG_RESPONSE) !== 0) !== isResponse || getU16(bytes, start + 4) !== 1) return 'dns-malformed';
  let at = start + DNS_HEADER_LEN;
  let name = '';
  for (;;) {
    if (at >= end) return 'dns-malformed';
    const len = bytes[at++];
    if (len === 0) break;
    // A question has nothing before it that a pointer could mean.
    if (len > 63 || at + len > end || at + len - start - DNS_HEADER_LEN > NAME_MAX) return 'dns-malformed';
    if (name !== '') name += '.';
    for (const stop = at + len; at < stop; at++) name += nameChar(bytes[at]);
  }
  if (at + 4 > end) return 'dns-malformed';
  const edns = readEdns(bytes, start, at + 4, end);
  // RFC 6891 §6.1.1: more than one is FORMERR.
  if (edns.count > 1 && !isResponse) return 'dns-malformed';
  return {
    id: getU16(bytes, start), flags, name, type: getU16(bytes, at), class: getU16(bytes, at + 2), end: at + 4,
    udpMax: Math.max(512, edns.udpMax), wantsDnssec: edns.wantsDnssec, hasEdns: edns.count > 0, ednsVersion: edns.version, hasOtherRecords: edns.hasOthers,
  };
}

export function nameChar(byte: number): string {
  if (byte >= 0x41 && byte <= 0x5a) return String.fromCharCode(byte + 32);
  if (byte > 0x20 && byte < 0x7f && byte !== 0x2e && byte !== 0x5c) return String.fromCharCode(byte);
  return `\\${String(byte).padStart(3, '0')}`;
}

/** One past the record's name at `at`, -1 when it does not end within the message. */
function skipName(bytes: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const len = bytes[at];
    if (len === 0) return at + 1;
    if (len >= 0xc0) return at + 2 <= end ? at + 2 : -1;
    if (len > 63) return -1;
    at += 1 + len;
  }
  return -1;
}

/** Calls `fn` with type, section (0 answer, 1 authority, 2 additional), offset of the TTL and data range, and where the record begins. False if malformed. */
export function walkRecords(
  bytes: Uint8Array, start: number, recordsStart: number, end: number, fn: (type: number, section: number, ttlAt: number, dataEnd: number, at: number) => void,
): boolean {
  let at = recordsStart;
  for (let section = 0; section < 3; section++) {
    for (let left = getU16(bytes, start + 6 + 2 * section); left > 0; left--) {
      const recordAt = at;
      at = skipName(bytes, at, end);
      if (at < 0 || at + 10 > end) return false;
      const dataEnd = at + 10 + getU16(bytes, at + 8);
      if (dataEnd > end) return false;
      fn(getU16(bytes, at), section, at + 4, dataEnd, recordAt);
      at = dataEnd;
    }
  }
  return true;
}

interface Edns {
  count: number;
  udpMax: number;
  version: number;
  /** the upper bits of the response code, in place */
  rcode: number;
  wantsDnssec: boolean;
  hasOthers: boolean;
}

function readEdns(bytes: Uint8Array, start: number, recordsStart: number, end: number): Edns {
  const edns: Edns = { count: 0, udpMax: 0, version: 0, rcode: 0, wantsDnssec: false, hasOthers: false };
  walkRecords(bytes, start, recordsStart, end, (type, section, ttlAt) => {
    if (type !== DNS_TYPE_OPT || section !== 2) {
      edns.hasOthers = true;
      return;
    }
    if (edns.count++ > 0) return;
    edns.udpMax = getU16(bytes, ttlAt - 2);
    edns.rcode = bytes[ttlAt] << 4;
    edns.version = bytes[ttlAt + 1];
    edns.wantsDnssec = (bytes[ttlAt + 2] & 0x80) !== 0;
  });
  return edns;
}

/** What a resolver says about a question, as far as it decides whom to ask next. */
export interface DnsVerdict {
  /** EDNS's upper bits included */
  readonly rcode: number;
  readonly isTruncated: boolean;
  /** no record answers the question: the name does not exist, or has nothing of that type */
  readonly isNegative: boolean;
  /** It neither knows nor asks anybody (glibc's rule): no record, not authoritative, no recursion. */
  readonly isLame: boolean;
  /** all records that it counts are there */
  readonly isWhole: boolean;
}

export function judgeResponse(message: Uint8Array, questionEnd: number): DnsVerdict {
  const flags = getU16(message, 2);
  let records = 0;
  const isWhole = walkRecords(message, 0, questionEnd, message.length, (type, section) => { if (section !== 1 && type !== DNS_TYPE_OPT) records++; });
  return {
    rcode: (flags & 15) | readEdns(message, 0, questionEnd, message.length).rcode,
    isTruncated: (flags & FLAG_TRUNCATED) !== 0,
    isNegative: (flags & 15) === DNS_NXDOMAIN || !hasAnswer(message, questionEnd),
    isLame: (flags & 15) === DNS_NOERROR && records === 0 && (flags & (FLAG_AA | FLAG_RA)) === 0,
    isWhole,
  };
}

/** A record of the type that was asked for: a chain of CNAMEs may lead to nothing. */
function hasAnswer(message: Uint8Array, questionEnd: number): boolean {
  const asked = getU16(message, questionEnd - 4);
  let isThere = false;
  walkRecords(message, 0, questionEnd, message.length, (type, section) => { if (section === 0 && (type === asked || asked === DNS_TYPE_ANY)) isThere = true; });
  return isThere;
}

/** The id of a message that only says an error, without the question: old servers do. -1 for any other. */
export function bareErrorId(message: Uint8Array): number {
  if (message.length < DNS_HEADER_LEN || getU16(message, 4) !== 0) return -1;
  const flags = getU16(message, 2);
  return (flags & FLAG_RESPONSE) !== 0 && (flags & 15) !== DNS_NOERROR ? getU16(message, 0) : -1;
}

/**
 * What a response says about its own life: where its TTLs lie, and for how many seconds it may be kept. Null when it is
 * malformed or must not be kept at all. RFC 2308 §5: a negative answer lives as long as the SOA it carries.
 */
export function readTtls(message: Uint8Array, questionEnd: number): { offsets: number[]; seconds: number } | null {
  const flags = getU16(message, 2);
  const rcode = flags & 15;
  if ((flags & FLAG_TRUNCATED) !== 0 || (rcode !== DNS_NOERROR && rcode !== DNS_NXDOMAIN)) return null;
  const offsets: number[] = [];
  let seconds = Infinity;
  let soaSeconds = -1;
  const isWhole = walkRecords(message, 0, questionEnd, message.length, (type, section, ttlAt, dataEnd) => {
    if (type === DNS_TYPE_OPT) return;
    offsets.push(ttlAt);
    // RFC 2181 §8: with the highest bit set it is 0.
    const ttl = message[ttlAt] > 0x7f ? 0 : getU32(message, ttlAt);
    if (section < 2) seconds = Math.min(seconds, ttl);
    // The last word of a SOA is its minimum, the TTL of negative answers.
    if (type === DNS_TYPE_SOA && section === 1 && dataEnd - ttlAt >= 26) soaSeconds = Math.min(ttl, getU32(message, dataEnd - 4));
  });
  if (!isWhole) return null;
  if (rcode === DNS_NXDOMAIN || !hasAnswer(message, questionEnd)) seconds = Math.min(seconds, soaSeconds);
  return seconds > 0 && seconds < Infinity ? { offsets, seconds } : null;
}

export function ageTtls(message: Uint8Array, offsets: readonly number[], seconds: number): void {
  for (const at of offsets) setU32(message, at, Math.max(0, getU32(message, at) - seconds));
}

/** A copy of `response` for the asker of `query`: its id, its RD bit and the spelling of its question. Same question. */
export function answerTo(query: Uint8Array, questionEnd: number, response: Uint8Array): Uint8Array {
  const answer = copyOf(response);
  answer.set(query.subarray(0, 2));
  setU16(answer, 2, (getU16(answer, 2) & ~FLAG_RD) | (getU16(query, 2) & FLAG_RD));
  answer.set(query.subarray(DNS_HEADER_LEN, questionEnd), DNS_HEADER_LEN);
  return answer;
}

/** `query` as it goes to a resolver: its question, bits and spelling, an id of ours, and an OPT of ours or none. */
export function emitQuery(query: Uint8Array, question: DnsQuestion, id: number, hasEdns: boolean): Uint8Array {
  const out = new Uint8Array(question.end + (hasEdns ? OPT_LEN : 0));
  out.set(query.subarray(0, question.end));
  setU16(out, 0, id);
  setU16(out, 2, question.flags & (FLAG_RD | FLAG_AD | FLAG_CD));
  setU16(out, 4, 1);
  setU32(out, 6, 0);
  setU16(out, 10, hasEdns ? 1 : 0);
  if (hasEdns) putOpt(out, question.end, 0, question.wantsDnssec);
  return out;
}

/** A copy of `response` without OPT. What is behind it goes with it: its names may point over the gap, and it is additional. */
export function withoutOpt(response: Uint8Array, questionEnd: number): Uint8Array {
  let end = response.length;
  let additional = 0;
  walkRecords(response, 0, questionEnd, response.length, (type, section, _ttlAt, _dataEnd, at) => {
    if (section !== 2 || at >= end) return;
    if (type === DNS_TYPE_OPT) end = at;
    else additional++;
  });
  const out = copyOf(response, 0, end);
  if (end !== response.length) setU16(out, 10, additional);
  return out;
}

/**
 * `response`, which has no OPT, for the asker of `question`: with an OPT when he sent one, and as many whole records as he takes
 * (`max` bytes). TC says that some of the answer or authority is missing; additional ones may be (RFC 2181 §9). `rcode` may have upper bits.
 */
export function fitted(response: Uint8Array, question: DnsQuestion, max: number, rcode = 0): Uint8Array {
  const room = max - (question.hasEdns ? OPT_LEN : 0);
  const kept = response.length <= room ? response : cut(response, question.end, room);
  if (!question.hasEdns) return kept;
  const out = new Uint8Array(kept.length + OPT_LEN);
  out.set(kept);
  setU16(out, 10, getU16(out, 10) + 1);
  putOpt(out, kept.length, rcode >>> 4, question.wantsDnssec);
  return out;
}

function cut(response: Uint8Array, questionEnd: number, max: number): Uint8Array {
  let end = questionEnd;
  let isOpen = true;
  const counts = [0, 0, 0];
  walkRecords(response, 0, questionEnd, response.length, (_type, section, _ttlAt, dataEnd) => {
    isOpen &&= dataEnd <= max;
    if (!isOpen) return;
    end = dataEnd;
    counts[section]++;
  });
  const out = copyOf(response, 0, end);
  if (counts[0] < getU16(response, 6) || counts[1] < getU16(response, 8)) setU16(out, 2, getU16(out, 2) | FLAG_TRUNCATED);
  for (let section = 0; section < 3; section++) setU16(out, 6 + 2 * section, counts[section]);
  return out;
}

/** What came whole of a message that was cut anywhere, without OPT. */
export function wholeRecords(message: Uint8Array, questionEnd: number): Uint8Array {
  return cut(withoutOpt(message, questionEnd), questionEnd, message.length);
}

function putOpt(out: Uint8Array, at: number, rcodeHigh: number, wantsDnssec: boolean): void {
  out[at] = 0;
  setU16(out, at + 1, DNS_TYPE_OPT);
  setU16(out, at + 3, DNS_UDP_MAX);
  out[at + 5] = rcodeHigh;
  out[at + 6] = 0;
  // RFC 3225 §3: the bit comes back as it was sent.
  setU16(out, at + 7, wantsDnssec ? EDNS_DO : 0);
  setU16(out, at + 9, 0);
}

/** What of a question makes another answer: DO, CD, AD, RD. For a cache's key. */
export function answerBits(question: DnsQuestion): number {
  return (question.wantsDnssec ? 1 : 0) | (question.flags & (FLAG_CD | FLAG_AD | FLAG_RD));
}

export function wantsRecursion(flags: number): boolean {
  return (flags & FLAG_RD) !== 0;
}

/** RFC 1035 §4.2.2 */
export function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + message.length);
  setU16(out, 0, message.length);
  out.set(message, 2);
  return out;
}

export function opcodeOf(flags: number): number {
  return (flags >>> 11) & 15;
}

/** An error, or an answer without records. `question` is null when there is none that could be repeated. */
export function emitDnsStatus(query: Uint8Array, question: DnsQuestion | null, rcode: number, isAuthoritative = false): Uint8Array {
  const out = new Uint8Array(question?.end ?? DNS_HEADER_LEN);
  out.set(query.subarray(0, out.length));
  const flags = getU16(query, 2);
  setU16(out, 2, FLAG_RESPONSE | (flags & (FLAG_RD | FLAG_CD | 0x7800)) | FLAG_RA | (isAuthoritative ? FLAG_AA : 0) | rcode);
  setU16(out, 4, question === null ? 0 : 1);
  setU16(out, 6, 0);
  setU32(out, 8, 0);
  return out;
}

/** A or AAAA, as the question was. */
export function emitAddressAnswer(query: Uint8Array, question: DnsQuestion, ip: IpAddress, ttlSeconds: number): Uint8Array {
  const data = new Uint8Array(typeof ip === 'number' ? 4 : 16);
  if (typeof ip === 'number') setIpv4(data, 0, ip);
  else setIpv6(data, 0, ip);
  return emitAnswer(query, question, data, ttlSeconds);
}

export function emitNameAnswer(query: Uint8Array, question: DnsQuestion, name: string, ttlSeconds: number): Uint8Array {
  const data = [];
  for (const label of name.split('.')) data.push(label.length, ...Array.from(label, (c) => c.charCodeAt(0)));
  data.push(0);
  return emitAnswer(query, question, Uint8Array.from(data), ttlSeconds);
}

/** RFC 3596 §2.5: 32 digits of an address, the last one first, below ip6.arpa. Null when it is not that. */
export function parseReverse6(name: string): Ipv6 | null {
  if (!/^([0-9a-f]\.){32}ip6\.arpa$/.test(name)) return null;
  return parseIpv6(name.slice(0, 63).split('.').toReversed().join('').replace(/.{4}(?!$)/g, '$&:'));
}

function emitAnswer(query: Uint8Array, question: DnsQuestion, data: Uint8Array, ttlSeconds: number): Uint8Array {
  const head = emitDnsStatus(query, question, DNS_NOERROR, true);
  const out = new Uint8Array(head.length + 12 + data.length);
  out.set(head);
  setU16(out, 2, getU16(out, 2) & ~FLAG_AD);
  setU16(out, 6, 1);
  // The name is a pointer to the question's.
  setU16(out, head.length, 0xc000 | DNS_HEADER_LEN);
  setU16(out, head.length + 2, question.type);
  setU16(out, head.length + 4, DNS_CLASS_IN);
  setU32(out, head.length + 6, ttlSeconds);
  setU16(out, head.length + 10, data.length);
  out.set(data, head.length + 12);
  return out;
}
