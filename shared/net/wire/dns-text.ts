/** DNS messages as people read them. For looking at, never for deciding: what does not parse is left out. */
import { getU16 } from '../../bytes.ts';
import { formatIpv4, getIpv4 } from './addr.ts';
import { formatIpv6, getIpv6 } from './addr6.ts';
import { nameChar, walkRecords } from './dns.ts';

const TYPES: Record<number, string> = {
  1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 35: 'NAPTR', 39: 'DNAME', 43: 'DS', 46: 'RRSIG',
  48: 'DNSKEY', 52: 'TLSA', 64: 'SVCB', 65: 'HTTPS', 255: 'ANY', 257: 'CAA',
};
const STATUSES: Record<number, string> = { 0: 'NOERROR', 1: 'FORMERR', 2: 'SERVFAIL', 3: 'NXDOMAIN', 4: 'NOTIMP', 5: 'REFUSED' };
/** records whose data is a name, and at which byte of the data it begins */
const NAME_AT: Record<number, number> = { 2: 0, 5: 0, 12: 0, 15: 2, 33: 6, 39: 0 };
/** pointers that one name may follow */
const JUMPS_MAX = 16;
const NAME_CHARS_MAX = 255;

/** RFC 3597 §5 for those without a name here */
export function dnsTypeName(type: number): string {
  return TYPES[type] ?? `TYPE${type}`;
}

export function dnsStatusName(message: Uint8Array): string {
  const rcode = message[3] & 15;
  return STATUSES[rcode] ?? `RCODE${rcode}`;
}

/** The records of the answer, `max` of them: an address, a name, or the type alone. `message` may have been cut. */
export function dnsAnswers(message: Uint8Array, questionEnd: number, max: number): string[] {
  const answers: string[] = [];
  walkRecords(message, 0, questionEnd, message.length, (type, section, ttlAt, dataEnd) => {
    if (section !== 0 || answers.length >= max) return;
    answers.push(dataText(message, type, ttlAt + 6, dataEnd));
  });
  return answers;
}

function dataText(message: Uint8Array, type: number, at: number, end: number): string {
  if (type === 1 && end - at === 4) return formatIpv4(getIpv4(message, at));
  if (type === 28 && end - at === 16) return formatIpv6(getIpv6(message, at));
  const nameAt = NAME_AT[type];
  const name = nameAt === undefined || at + nameAt >= end ? null : readName(message, at + nameAt, end);
  return name === null ? dnsTypeName(type) : type === 5 ? `CNAME ${name}` : name;
}

/** Null when it is malformed, longer than a name may be, or leaves its record's data otherwise than by a pointer. */
function readName(message: Uint8Array, at: number, end: number): string | null {
  let name = '';
  for (let jumps = 0; at < end;) {
    const len = message[at];
    if (len === 0) return name === '' ? '.' : name;
    if (len >= 0xc0) {
      if (at + 2 > end || ++jumps > JUMPS_MAX) return null;
      at = getU16(message, at) & 0x3fff;
      end = message.length;
      continue;
    }
    if (len > 63 || at + 1 + len > end) return null;
    if (name !== '') name += '.';
    for (let i = at + 1; i <= at + len; i++) name += nameChar(message[i]);
    if (name.length > NAME_CHARS_MAX) return null;
    at += 1 + len;
  }
  return null;
}
