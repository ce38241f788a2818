/*
 * Addresses for names that nobody here can resolve: a page has fetch, and no DNS.
 *
 * Each name that a guest asks for gets an address of 198.18.0.0/15, the range of RFC 2544 for tests, which is nobody's on the
 * internet. Whoever connects to it speaks HTTP or TLS, which say themselves whom they mean; the pool is asked only where they do not.
 * The table is bounded: the name that was asked for first makes room.
 */
import { getU16 } from '../../shared/bytes.ts';
import type { Ipv4 } from '../../shared/net/wire/addr.ts';
import { parseIpv4 } from '../../shared/net/wire/addr.ts';
import {
  DNS_CLASS_IN, DNS_NOERROR, DNS_NXDOMAIN, DNS_TYPE_A, DNS_TYPE_ANY, emitAddressAnswer, emitDnsStatus, parseDnsQuestion,
} from '../../shared/net/wire/dns.ts';

const POOL_START = parseIpv4('198.18.1.0')!;
/** names that are known at a time */
export const NAMES_MAX = 4096;
const TTL_S = 60;
const FLAG_RESPONSE = 0x8000;
/** what a URL can have as its host: no underscore, no escape */
const HOST_NAME = /^(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$/;
/** RFC 6761 and 6762: nobody has these, or nobody beyond the link */
const NOBODYS = /(^|\.)(invalid|local|onion|alt)$/;

export class NamePool {
  readonly #ips = new Map<string, Ipv4>();
  readonly #names = new Map<Ipv4, string>();
  #next = 0;

  /** The name that `ip` was given out for; null when that is long ago, or never was. */
  nameOf(ip: Ipv4): string | null {
    return this.#names.get(ip) ?? null;
  }

  ipOf(name: string): Ipv4 {
    const known = this.#ips.get(name);
    if (known !== undefined) return known;
    const ip = (POOL_START + this.#next) as Ipv4;
    this.#next = (this.#next + 1) % NAMES_MAX;
    const old = this.#names.get(ip);
    if (old !== undefined) this.#ips.delete(old);
    this.#names.set(ip, name);
    this.#ips.set(name, ip);
    return ip;
  }

  /** Answers a DNS query; null to what is none. */
  answer(query: Uint8Array): Uint8Array | null {
    if (query.length < 4 || (getU16(query, 2) & FLAG_RESPONSE) !== 0) return null;
    const question = parseDnsQuestion(query, 0, query.length, false);
    if (typeof question === 'string') return null;
    const { name, type } = question;
    if (question.class !== DNS_CLASS_IN || !HOST_NAME.test(name) || NOBODYS.test(name) || parseIpv4(name) !== null) return emitDnsStatus(query, question, DNS_NXDOMAIN);
    if (type !== DNS_TYPE_A && type !== DNS_TYPE_ANY) return emitDnsStatus(query, question, DNS_NOERROR);
    // The type of the answer is the question's; a list of all types is an address here.
    const asked = type === DNS_TYPE_A ? question : { ...question, type: DNS_TYPE_A };
    return emitAddressAnswer(query, asked, this.ipOf(name), TTL_S);
  }
}
