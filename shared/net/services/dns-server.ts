/*
 * DNS at the gateway: local names first, then the cache, then the host's resolvers.
 *
 *   guest --UDP or TCP--> resolve(query) -> local answer, or none: AAAA where the guest has no way by IPv6
 *                                        -> cache, TTLs aged
 *                                        -> HostNet's forwarder: dns-forwarder.ts, the host's resolvers, each in its turn
 *
 * Answers travel as they came but for EDNS, so every record type passes. Each client gets as many whole records as it takes; when
 * that is not all, TC says so, and it asks again by TCP. What changes an answer (DO, CD, AD, RD) is part of the cache's key.
 */
import type { HostNet, NameForwarder } from '../nat/host-net.ts';
import type { Stack } from '../stack/stack.ts';
import type { Ipv4 } from '../wire/addr.ts';
import { inCidr6, IPV6_PREFIX_LEN, isSameIpv6 } from '../wire/addr6.ts';
import { inCidr, parseIpv4 } from '../wire/addr.ts';
import type { DnsQuestion } from '../wire/dns.ts';
import {
  answerBits, answerTo, DNS_BADVERS, DNS_CLASS_IN, DNS_FORMERR, DNS_HEADER_LEN, DNS_MESSAGE_MAX, DNS_NOERROR, DNS_NOTIMP, DNS_NXDOMAIN, DNS_TYPE_A, DNS_TYPE_AAAA,
  DNS_TYPE_ANY, DNS_TYPE_PTR, emitAddressAnswer, emitDnsStatus, emitNameAnswer, fitted, opcodeOf, parseDnsQuestion, parseReverse6,
} from '../wire/dns.ts';
import { getU16 } from '../../bytes.ts';
import type { DhcpServer } from './dhcp-server.ts';
import { DnsCache } from './dns-cache.ts';
import { DnsLog, type DnsVia } from './dns-log.ts';
import { DnsZones } from './dns-zones.ts';
import type { NetworkConfig } from './network-config.ts';

const LOCAL_TTL_S = 60;

type Reply = (answer: Uint8Array) => void;

export class DnsServer {
  readonly zones: DnsZones;
  readonly log = new DnsLog();
  readonly #stack: Stack;
  readonly #hostNet: HostNet;
  readonly #config: NetworkConfig;
  readonly #dhcp: DhcpServer;
  readonly #cache = new DnsCache();
  readonly #forwarder: NameForwarder;

  constructor(stack: Stack, hostNet: HostNet, config: NetworkConfig, dhcp: DhcpServer) {
    this.#stack = stack;
    this.#hostNet = hostNet;
    this.#config = config;
    this.#dhcp = dhcp;
    this.#forwarder = hostNet.createForwarder(stack, hostNet, this.#cache);
    this.zones = new DnsZones(config.localNames, config.zones);
  }

  get queriesOpen(): number {
    return this.#forwarder.queriesOpen;
  }

  get socketsOpen(): number {
    return this.#forwarder.socketsOpen;
  }

  get cacheSize(): number {
    return this.#cache.size;
  }

  /** Answers a guest's query, now or later. False: it is no query, and gets no answer. `query` is kept: the caller's copy. */
  resolve(query: Uint8Array, isTcp: boolean, reply: Reply): boolean {
    const { counters } = this.#stack;
    counters.dnsQueries++;
    if (query.length < DNS_HEADER_LEN || (query[2] & 0x80) !== 0) {
      counters.drop('dns-malformed');
      return false;
    }
    if (opcodeOf(getU16(query, 2)) !== 0) {
      reply(emitDnsStatus(query, null, DNS_NOTIMP));
      return true;
    }
    const question = parseDnsQuestion(query, 0, query.length, false);
    if (typeof question === 'string') {
      counters.drop('dns-malformed');
      reply(emitDnsStatus(query, null, DNS_FORMERR));
      return true;
    }
    this.#answer(query, question, isTcp, reply);
    return true;
  }

  #answer(query: Uint8Array, question: DnsQuestion, isTcp: boolean, reply: Reply): void {
    const askedMs = this.#stack.nowMs;
    const max = isTcp ? DNS_MESSAGE_MAX : question.udpMax;
    const send = (answer: Uint8Array, via: DnsVia): void => {
      this.log.note(question, answer, via, askedMs, this.#stack.nowMs);
      // A signature is about the whole message.
      reply(question.hasOtherRecords && answer.length <= max ? answer : fitted(answer, question, max));
    };
    // RFC 6891 §6.1.3
    if (question.ednsVersion > 0) return reply(fitted(emitDnsStatus(query, question, DNS_NOERROR), question, max, DNS_BADVERS));
    const local = question.class === DNS_CLASS_IN ? this.#answerLocally(query, question) : null;
    if (local !== null) return send(local, 'gateway');
    this.#forwarder.noticeChange();
    const key = `${question.type} ${question.class} ${answerBits(question)} ${question.name}`;
    const cached = question.hasOtherRecords ? null : this.#cache.find(key, this.#stack.nowMs);
    if (cached !== null) {
      this.#stack.counters.dnsCacheHits++;
      return send(answerTo(query, question.end, cached), 'cache');
    }
    this.#forwarder.ask(key, query, question, isTcp, (outcome) => {
      send(typeof outcome === 'number' ? emitDnsStatus(query, question, outcome) : answerTo(query, question.end, outcome), 'resolver');
    });
  }

  close(): void {
    this.#forwarder.close();
    this.#cache.clear();
  }

  // ---- local names ----

  #answerLocally(query: Uint8Array, question: DnsQuestion): Uint8Array | null {
    const { name, type } = question;
    if (type === DNS_TYPE_PTR && name.endsWith('.in-addr.arpa')) return this.#answerReverse(query, question);
    if (type === DNS_TYPE_PTR && name.endsWith('.ip6.arpa')) return this.#answerReverse6(query, question);
    const found = this.zones.find(name);
    const ip = found?.ip ?? this.#guestNamed(name) ?? found?.zone.defaultIp ?? null;
    if (ip !== null) {
      if (type === DNS_TYPE_A || type === DNS_TYPE_ANY) return emitAddressAnswer(query, question, ip, LOCAL_TTL_S);
      // A record that was put before a local name's hides its IPv6 address as well.
      const ip6 = this.#stack.ipv6 !== null && ip === this.#config.localNames.get(name) ? this.#config.localNames6.get(name) : undefined;
      if (type === DNS_TYPE_AAAA && ip6 !== undefined) return emitAddressAnswer(query, question, ip6, LOCAL_TTL_S);
      return emitDnsStatus(query, question, DNS_NOERROR, true);
    }
    const isOurs = found !== null || name === this.#config.domain || name.endsWith(`.${this.#config.domain}`);
    if (isOurs) return emitDnsStatus(query, question, name === this.#config.domain ? DNS_NOERROR : DNS_NXDOMAIN, true);
    // An address that can't be reached would only be tried and waited for.
    const hasRoute = this.#stack.ipv6 !== null && this.#hostNet.hasIpv6();
    return type === DNS_TYPE_AAAA && !hasRoute ? emitDnsStatus(query, question, DNS_NOERROR) : null;
  }

  #guestNamed(name: string): Ipv4 | undefined {
    const suffix = `.${this.#config.domain}`;
    const host = name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
    if (host === '' || host.includes('.')) return undefined;
    return this.#dhcp.leases().find((lease) => lease.hostname === host)?.ip;
  }

  #answerReverse(query: Uint8Array, question: DnsQuestion): Uint8Array | null {
    const ip = parseIpv4(question.name.slice(0, -'.in-addr.arpa'.length).split('.').toReversed().join('.'));
    if (ip === null || !inCidr(ip, { base: this.#config.subnet, prefixLen: this.#config.prefixLen })) return null;
    for (const [name, address] of this.#config.localNames) if (address === ip) return emitNameAnswer(query, question, name, LOCAL_TTL_S);
    const guest = this.#dhcp.leases().find((lease) => lease.ip === ip);
    if (guest === undefined || !/^[a-z0-9-]+$/.test(guest.hostname)) return emitDnsStatus(query, question, DNS_NXDOMAIN, true);
    return emitNameAnswer(query, question, `${guest.hostname}.${this.#config.domain}`, LOCAL_TTL_S);
  }

  #answerReverse6(query: Uint8Array, question: DnsQuestion): Uint8Array | null {
    const ip = parseReverse6(question.name);
    if (this.#stack.ipv6 === null || ip === null || !inCidr6(ip, { base: this.#config.prefix6, prefixLen: IPV6_PREFIX_LEN })) return null;
    for (const [name, address] of this.#config.localNames6) if (isSameIpv6(address, ip)) return emitNameAnswer(query, question, name, LOCAL_TTL_S);
    return emitDnsStatus(query, question, DNS_NXDOMAIN, true);
  }
}
