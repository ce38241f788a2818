/*
 * DNS at the gateway: local names first, then the cache, then the host's resolvers.
 *
 *   guest --UDP or TCP--> resolve(query) -> local answer, or none: AAAA where the guest has no way by IPv6
 *                                        -> cache, TTLs aged
 *                                        -> ask: UDP to a resolver, the next one after ATTEMPT_MS; for a guest's TCP query TCP
 *
 * Answers travel as they came, so every record type passes, and EDNS with them. A truncated answer is passed on as such: the
 * guest then asks by TCP, and so do we. Against forged answers each upstream socket is connected, has a port of its own that is
 * left after a while, ids are random, and the question must match. Equal questions under way are asked once.
 *
 * Caps: QUERIES_MAX questions under way, CACHE_MAX entries of at most CACHE_ENTRY_MAX bytes; beyond, SERVFAIL or not cached.
 */
import type { HostNet, HostTcp, HostUdp } from '../nat/host-net.ts';
import type { Stack } from '../stack/stack.ts';
import type { Wakeable } from '../stack/timers.ts';
import type { Ipv4 } from '../wire/addr.ts';
import type { IpAddress } from '../wire/addr6.ts';
import { inCidr6, IPV6_PREFIX_LEN, isSameIpv6 } from '../wire/addr6.ts';
import { inCidr, parseIpv4 } from '../wire/addr.ts';
import type { DnsQuestion } from '../wire/dns.ts';
import {
  ageTtls, answerTo, DNS_CLASS_IN, DNS_FORMERR, DNS_HEADER_LEN, DNS_NOERROR, DNS_NOTIMP, DNS_NXDOMAIN, DNS_SERVFAIL, DNS_TYPE_A, DNS_TYPE_AAAA,
  DNS_TYPE_ANY, DNS_TYPE_PTR, emitAddressAnswer, emitDnsStatus, emitNameAnswer, hasCheckingDisabled, opcodeOf, parseDnsQuestion, parseReverse6, readTtls,
  truncated,
} from '../wire/dns.ts';
import { getU16, setU16 } from '../../bytes.ts';
import type { DhcpServer } from './dhcp-server.ts';
import { DnsLog, type DnsVia } from './dns-log.ts';
import { DnsZones } from './dns-zones.ts';
import type { NetworkConfig } from './network-config.ts';
import { copyOf } from '../wire/copy.ts';

const QUERIES_MAX = 1024;
const WAITERS_MAX = 64;
const CACHE_MAX = 2048;
const CACHE_ENTRY_MAX = 4096;
/** whatever the TTL says */
const CACHE_SECONDS_MAX = 3600;
const ATTEMPT_MS = 2000;
const ATTEMPTS = 3;
const LOCAL_TTL_S = 60;
/** an upstream socket, and so its port, is left after so many queries or so long */
const SOCKET_QUERIES = 256;
const SOCKET_MS = 10_000;

interface Cached {
  readonly message: Uint8Array;
  readonly ttlOffsets: number[];
  readonly bornMs: number;
  readonly expiresMs: number;
}

type Reply = (answer: Uint8Array) => void;

/** One question to the host's resolvers, for everyone who asked it meanwhile. */
interface Inquiry extends Wakeable {
  readonly key: string;
  readonly query: Uint8Array;
  readonly question: DnsQuestion;
  readonly waiters: { query: Uint8Array; question: DnsQuestion; isTcp: boolean; reply: Reply }[];
  readonly isTcp: boolean;
  attempts: number;
  upstream: Upstream | null;
  upstreamId: number;
  tcp: HostTcp | null;
}

interface Upstream extends Wakeable {
  readonly resolverIp: IpAddress;
  readonly resolverPort: number;
  socket: HostUdp;
  sent: number;
  isRetired: boolean;
  readonly inquiries: Map<number, Inquiry>;
}

export class DnsServer {
  readonly zones: DnsZones;
  readonly log = new DnsLog();
  readonly #stack: Stack;
  readonly #hostNet: HostNet;
  readonly #config: NetworkConfig;
  readonly #dhcp: DhcpServer;
  readonly #cache = new Map<string, Cached>();
  readonly #inquiries = new Map<string, Inquiry>();
  readonly #upstreams = new Set<Upstream>();

  constructor(stack: Stack, hostNet: HostNet, config: NetworkConfig, dhcp: DhcpServer) {
    this.#stack = stack;
    this.#hostNet = hostNet;
    this.#config = config;
    this.#dhcp = dhcp;
    this.zones = new DnsZones(config.localNames, config.zones);
  }

  get queriesOpen(): number {
    return this.#inquiries.size;
  }

  get socketsOpen(): number {
    return this.#upstreams.size;
  }

  get cacheSize(): number {
    return this.#cache.size;
  }

  /** Answers a guest's query, now or later, or never when it is no query. `query` is kept: the caller's copy. */
  resolve(query: Uint8Array, isTcp: boolean, reply: Reply): void {
    const { counters } = this.#stack;
    counters.dnsQueries++;
    if (query.length < DNS_HEADER_LEN || (query[2] & 0x80) !== 0) return counters.drop('dns-malformed');
    if (opcodeOf(getU16(query, 2)) !== 0) return reply(emitDnsStatus(query, null, DNS_NOTIMP));
    const question = parseDnsQuestion(query, 0, query.length, false);
    if (typeof question === 'string') {
      counters.drop('dns-malformed');
      return reply(emitDnsStatus(query, null, DNS_FORMERR));
    }
    const askedMs = this.#stack.nowMs;
    const send = (answer: Uint8Array, via: DnsVia): void => {
      this.log.note(question, answer, via, askedMs, this.#stack.nowMs);
      reply(!isTcp && answer.length > question.udpMax ? truncated(answer, question.end) : answer);
    };
    const local = question.class === DNS_CLASS_IN ? this.#answerLocally(query, question) : null;
    if (local !== null) return send(local, 'gateway');
    const key = keyOf(question);
    const cached = this.#fromCache(key);
    if (cached !== null) {
      counters.dnsCacheHits++;
      return send(answerTo(query, question.end, cached), 'cache');
    }
    this.#ask(`${isTcp ? 't' : 'u'}${key}`, query, question, isTcp, (answer) => send(answer, 'resolver'));
  }

  close(): void {
    for (const inquiry of this.#inquiries.values()) {
      this.#stack.timers.cancel(inquiry);
      // Not a reset alone: that would have the next resolver asked.
      this.#leaveUpstream(inquiry);
    }
    this.#inquiries.clear();
    for (const upstream of this.#upstreams) this.#dropUpstream(upstream);
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

  // ---- cache ----

  #fromCache(key: string): Uint8Array | null {
    const cached = this.#cache.get(key);
    if (cached === undefined) return null;
    if (cached.expiresMs <= this.#stack.nowMs) {
      this.#cache.delete(key);
      return null;
    }
    const message = copyOf(cached.message);
    ageTtls(message, cached.ttlOffsets, Math.floor((this.#stack.nowMs - cached.bornMs) / 1000));
    return message;
  }

  #toCache(key: string, message: Uint8Array, questionEnd: number): void {
    if (message.length > CACHE_ENTRY_MAX) return;
    const ttls = readTtls(message, questionEnd);
    if (ttls === null) return;
    // A Map keeps the order of insertion: the first entry is the oldest.
    if (this.#cache.size >= CACHE_MAX) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.delete(key);
    const bornMs = this.#stack.nowMs;
    this.#cache.set(key, { message, ttlOffsets: ttls.offsets, bornMs, expiresMs: bornMs + 1000 * Math.min(ttls.seconds, CACHE_SECONDS_MAX) });
  }

  // ---- upstream ----

  #ask(key: string, query: Uint8Array, question: DnsQuestion, isTcp: boolean, reply: Reply): void {
    const known = this.#inquiries.get(key);
    const waiter = { query, question, isTcp, reply };
    if (known !== undefined && known.waiters.length < WAITERS_MAX) {
      known.waiters.push(waiter);
      return;
    }
    if (known !== undefined || this.#inquiries.size >= QUERIES_MAX || this.#hostNet.resolvers().length === 0) {
      this.#stack.counters.drop('dns-cap');
      return reply(emitDnsStatus(query, question, DNS_SERVFAIL));
    }
    const inquiry: Inquiry = {
      key, query, question, isTcp, waiters: [waiter], attempts: 0, upstream: null, upstreamId: 0, tcp: null,
      wakeAtMs: Infinity, onWake: () => this.#attempt(inquiry), onWakeFailed: () => this.#settle(inquiry, null),
    };
    this.#inquiries.set(key, inquiry);
    if (!this.#stack.containment.run('call', () => this.#attempt(inquiry))) this.#settle(inquiry, null);
  }

  #attempt(inquiry: Inquiry): void {
    this.#leaveUpstream(inquiry);
    const resolvers = this.#hostNet.resolvers();
    if (inquiry.attempts >= ATTEMPTS || resolvers.length === 0) return this.#settle(inquiry, null);
    const resolver = resolvers[inquiry.attempts % resolvers.length];
    inquiry.attempts++;
    this.#stack.timers.schedule(inquiry, this.#stack.nowMs + ATTEMPT_MS);
    if (inquiry.isTcp) return this.#askByTcp(inquiry, resolver.ip, resolver.port);
    const upstream = this.#upstreamTo(resolver.ip, resolver.port);
    let id = this.#stack.random.u32() & 0xffff;
    while (upstream.inquiries.has(id)) id = (id + 1) & 0xffff;
    inquiry.upstream = upstream;
    inquiry.upstreamId = id;
    upstream.inquiries.set(id, inquiry);
    upstream.sent++;
    const query = copyOf(inquiry.query);
    setU16(query, 0, id);
    upstream.socket.send(query);
  }

  #upstreamTo(ip: IpAddress, port: number): Upstream {
    for (const upstream of this.#upstreams) {
      if (upstream.isRetired || upstream.resolverIp !== ip || upstream.resolverPort !== port) continue;
      if (upstream.sent < SOCKET_QUERIES) return upstream;
      upstream.isRetired = true;
      this.#closeIfIdle(upstream);
    }
    const upstream: Upstream = {
      resolverIp: ip, resolverPort: port, sent: 0, isRetired: false, inquiries: new Map(), wakeAtMs: Infinity,
      onWake: () => {
        upstream.isRetired = true;
        this.#closeIfIdle(upstream);
      },
      onWakeFailed: () => this.#dropUpstream(upstream),
      socket: this.#hostNet.connectUdp(ip, port, {
        onMessage: (bytes) => this.#onAnswer(upstream, bytes),
        onError: () => this.#onUpstreamError(upstream),
      }),
    };
    this.#upstreams.add(upstream);
    this.#stack.timers.schedule(upstream, this.#stack.nowMs + SOCKET_MS);
    return upstream;
  }

  #onAnswer(upstream: Upstream, bytes: Uint8Array): void {
    const answer = parseDnsQuestion(bytes, 0, bytes.length, true);
    if (typeof answer === 'string') return this.#stack.counters.drop('dns-malformed');
    const inquiry = upstream.inquiries.get(answer.id);
    if (inquiry === undefined || !isSameQuestion(inquiry.question, answer)) return this.#stack.counters.drop('dns-malformed');
    this.#settle(inquiry, bytes);
  }

  #onUpstreamError(upstream: Upstream): void {
    if (upstream.isRetired && upstream.inquiries.size === 0) return;
    upstream.isRetired = true;
    // Nobody there: the next resolver is asked at once.
    for (const inquiry of upstream.inquiries.values()) this.#attempt(inquiry);
    this.#closeIfIdle(upstream);
  }

  #askByTcp(inquiry: Inquiry, ip: IpAddress, port: number): void {
    let received: Uint8Array = new Uint8Array(0);
    const socket = this.#hostNet.connectTcp(ip, port, {
      onConnect: () => {
        const message = new Uint8Array(2 + inquiry.query.length);
        setU16(message, 0, inquiry.query.length);
        message.set(inquiry.query, 2);
        socket.write(message);
        socket.resume();
      },
      onData: (bytes) => {
        const joined = new Uint8Array(received.length + bytes.length);
        joined.set(received);
        joined.set(bytes, received.length);
        received = joined;
        if (received.length < 2 || received.length < 2 + getU16(received, 0)) return;
        const answer = received.subarray(2, 2 + getU16(received, 0));
        const question = parseDnsQuestion(answer, 0, answer.length, true);
        if (typeof question !== 'string' && question.id === inquiry.question.id && isSameQuestion(inquiry.question, question)) this.#settle(inquiry, copyOf(answer));
        else socket.reset();
      },
      onEnd: () => socket.reset(),
      onTaken: () => {},
      onClose: () => {
        if (inquiry.tcp !== socket) return;
        inquiry.tcp = null;
        this.#attempt(inquiry);
      },
    });
    inquiry.tcp = socket;
  }

  /** The end of an inquiry: everyone gets the answer, or SERVFAIL. */
  #settle(inquiry: Inquiry, answer: Uint8Array | null): void {
    this.#inquiries.delete(inquiry.key);
    this.#stack.timers.cancel(inquiry);
    this.#leaveUpstream(inquiry);
    if (answer !== null) this.#toCache(inquiry.key.slice(1), copyOf(answer), inquiry.question.end);
    for (const { query, question, reply } of inquiry.waiters) {
      this.#stack.containment.run('call', () => reply(answer === null ? emitDnsStatus(query, question, DNS_SERVFAIL) : answerTo(query, question.end, answer)));
    }
  }

  #leaveUpstream(inquiry: Inquiry): void {
    const { upstream, tcp } = inquiry;
    inquiry.upstream = null;
    inquiry.tcp = null;
    tcp?.reset();
    if (upstream === null) return;
    upstream.inquiries.delete(inquiry.upstreamId);
    this.#closeIfIdle(upstream);
  }

  #closeIfIdle(upstream: Upstream): void {
    if (upstream.isRetired && upstream.inquiries.size === 0) this.#dropUpstream(upstream);
  }

  #dropUpstream(upstream: Upstream): void {
    if (!this.#upstreams.delete(upstream)) return;
    this.#stack.timers.cancel(upstream);
    upstream.socket.close();
  }
}

function keyOf(question: DnsQuestion): string {
  const bits = (question.hasEdns ? 1 : 0) | (question.wantsDnssec ? 2 : 0) | (hasCheckingDisabled(question.flags) ? 4 : 0);
  return `${question.type} ${question.class} ${bits} ${question.name}`;
}

function isSameQuestion(a: DnsQuestion, b: DnsQuestion): boolean {
  return a.name === b.name && a.type === b.type && a.class === b.class && a.end === b.end;
}
