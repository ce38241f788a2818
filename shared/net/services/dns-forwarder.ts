/*
 * Questions to the host's resolvers. Goal: a guest is never worse off than the host's own glibc with the same resolv.conf.
 *
 *   ask -> inquiry -> try: UDP to a server -> answer              -> everyone who waits, and the cache
 *                                          -> cut (TC)            -> try: TCP to the same server
 *                                          -> error, refused, lame -> the next server at once
 *                                          -> silence for STEP_MS -> the next server as well
 *
 * What glibc does one after the other goes on side by side here, as the guest's own client waits for 5 s in all: a server that was
 * asked stays asked, and its late answer counts. But the order of resolv.conf is also a rank (the first may know names that the
 * others do not): a negative answer of a later server waits for the earlier ones until HOLD_MS, about as long as glibc would have
 * waited for them. A server that has been silent for HOLD_MS to two questions is asked beside the next one, and not waited for, until it is heard.
 *
 * SERVFAIL, NOTIMP, REFUSED and what else is no answer is given when all servers have been asked as often as resolv.conf says
 * (`attempts`), and none is still expected. When nobody answers, each guest hears SERVFAIL after WAIT_MS. Another guest that asks the same
 * meanwhile waits with the first, and has the servers asked anew: they may be back.
 *
 * EDNS is hop by hop: a question takes an OPT of ours along when the client has sent one, and none to a server that does not
 * understand it, or is silent (but for DO, which changes the answer). What is signed (TSIG) goes and comes as it is, and is not kept.
 *
 * When resolv.conf changes, the cache is emptied and inquiries begin anew with the new servers.
 *
 * Against forged answers each upstream socket is connected, has a port of its own that is left after a while, ids are random, and
 * the question must match; what does not match is counted, and the wait goes on.
 *
 * Caps: QUERIES_MAX inquiries and WAITERS_MAX who wait; beyond, the oldest inquiry ends with SERVFAIL. UPSTREAM_TCP_MAX connections; beyond, they queue.
 */
import type { HostNet, HostResolver, HostTcp, HostUdp, NameCache, NameForwarder, NameOutcome } from '../nat/host-net.ts';
import type { Stack } from '../stack/stack.ts';
import type { Wakeable } from '../stack/timers.ts';
import { formatIp } from '../wire/addr6.ts';
import { copyOf } from '../wire/copy.ts';
import type { DnsQuestion } from '../wire/dns.ts';
import {
  bareErrorId, DNS_FORMERR, DNS_NOERROR, DNS_NOTIMP, DNS_NXDOMAIN, DNS_SERVFAIL, emitQuery, framed, judgeResponse, parseDnsQuestion, wantsRecursion, wholeRecords,
  withoutOpt,
} from '../wire/dns.ts';
import { getU16, setU16 } from '../../bytes.ts';

export const QUERIES_MAX = 1024;
export const WAITERS_MAX = 4096;
export const UPSTREAM_TCP_MAX = 64;
/** a server's silence after which the next one is asked as well; with three servers the last one is asked a little sooner */
const STEP_MS = 2000;
const SHORT_STEP_MS = 1000;
/** below the 5 s of glibc's clients */
const HOLD_MS = 4500;
/** times that a silent server is asked at least: datagrams get lost */
const ROUNDS_MIN = 3;
/** that somebody waits: as long as the host's glibc would, between these */
const WAIT_MIN_MS = 10_000;
const WAIT_MAX_MS = 30_000;
/** who asks the same this long after the last try has it asked again */
const REJOIN_MS = 1000;
/** unanswered questions after which a server may count as silent */
const UNANSWERED_MIN = 2;
/** between two looks at the host's resolvers when the cache could answer; each question to them looks anyway */
const LOOK_MS = 10;
/** an upstream socket, and so its port, is left after so many queries or so long */
const SOCKET_QUERIES = 256;
const SOCKET_MS = 10_000;

interface Waiter {
  readonly isTcp: boolean;
  readonly untilMs: number;
  readonly reply: (outcome: NameOutcome) => void;
}

interface Server {
  readonly resolver: HostResolver;
  /** questions since it was heard, and when the first of them was */
  unanswered: number;
  unansweredSinceMs: number;
}

/** One question to the host's resolvers, for everyone who asked it meanwhile. */
interface Inquiry extends Wakeable {
  readonly key: string;
  /** null: not to be kept */
  readonly cacheKey: string | null;
  readonly query: Uint8Array;
  readonly question: DnsQuestion;
  readonly isSigned: boolean;
  waiters: Waiter[];
  readonly tries: Set<Try>;
  /** in the order in which this one asks them */
  servers: readonly Server[];
  /** which of the forwarder's lists that is */
  epoch: number;
  /** servers asked so far, over and over */
  turns: number;
  lastAskMs: number;
  nextAskMs: number;
  holdUntilMs: number;
  /** a negative answer that waits for servers of a better rank */
  held: Uint8Array | null;
  heldRank: number;
  /** the part of an answer that came by UDP */
  partial: Uint8Array | null;
  /** what the servers that gave no answer said; null: nothing yet */
  rcode: number | null;
}

interface Try {
  readonly inquiry: Inquiry;
  readonly server: Server;
  /** the server's place in resolv.conf, as this inquiry asks them */
  readonly rank: number;
  readonly hasEdns: boolean;
  readonly id: number;
  readonly sentMs: number;
  /** Nothing more is expected; an answer counts all the same. */
  isOver: boolean;
  upstream: Upstream | null;
  isTcp: boolean;
  tcp: HostTcp | null;
  hasSlot: boolean;
}

interface Upstream extends Wakeable {
  readonly server: Server;
  socket: HostUdp;
  sent: number;
  isRetired: boolean;
  readonly tries: Map<number, Try>;
}

export class DnsForwarder implements NameForwarder {
  readonly #stack: Stack;
  readonly #hostNet: HostNet;
  readonly #cache: NameCache;
  readonly #inquiries = new Map<string, Inquiry>();
  readonly #upstreams = new Set<Upstream>();
  readonly #tcpQueue: Try[] = [];
  #tcpOpen = 0;
  #waiters = 0;
  #resolvers: readonly HostResolver[] = [];
  #servers: readonly Server[] = [];
  #epoch = 0;
  #rotation = 0;
  #signed = 0;
  #lookedAtMs = -Infinity;

  constructor(stack: Stack, hostNet: HostNet, cache: NameCache) {
    this.#stack = stack;
    this.#hostNet = hostNet;
    this.#cache = cache;
  }

  get queriesOpen(): number {
    return this.#inquiries.size;
  }

  get socketsOpen(): number {
    return this.#upstreams.size + this.#tcpOpen;
  }

  /** What other servers said counts no more. */
  noticeChange(): void {
    if (this.#stack.nowMs - this.#lookedAtMs >= LOOK_MS) this.#refresh();
  }

  ask(cacheKey: string, query: Uint8Array, question: DnsQuestion, isTcp: boolean, reply: (outcome: NameOutcome) => void): void {
    this.#refresh();
    if (this.#servers.length === 0) return reply(DNS_SERVFAIL);
    const { nowMs } = this.#stack;
    const isSigned = question.hasOtherRecords;
    const key = isSigned ? `signed ${this.#signed++}` : `${question.hasEdns ? 'e' : 'p'}${cacheKey}`;
    const waiter: Waiter = { isTcp, untilMs: nowMs + this.#waitMs(), reply };
    this.#makeRoom(key);
    this.#waiters++;
    const known = this.#inquiries.get(key);
    if (known !== undefined) {
      known.waiters.push(waiter);
      if (nowMs - known.lastAskMs < REJOIN_MS) return;
      known.turns = 0;
      known.holdUntilMs = nowMs + this.#holdMs();
      this.#askNext(known, ROUNDS_MIN);
      return this.#arm(known);
    }
    const inquiry: Inquiry = {
      key, cacheKey: isSigned ? null : cacheKey, query, question, isSigned, waiters: [waiter], tries: new Set(), servers: [], epoch: -1, turns: 0,
      lastAskMs: nowMs, nextAskMs: nowMs, holdUntilMs: nowMs + this.#holdMs(), held: null, heldRank: 0, partial: null, rcode: null,
      wakeAtMs: Infinity, onWake: () => this.#onWake(inquiry), onWakeFailed: () => this.#settle(inquiry, DNS_SERVFAIL),
    };
    this.#inquiries.set(key, inquiry);
    this.#askNext(inquiry, ROUNDS_MIN);
    this.#arm(inquiry);
  }

  close(): void {
    this.#tcpQueue.length = 0;
    for (const inquiry of this.#inquiries.values()) {
      this.#stack.timers.cancel(inquiry);
      for (const one of inquiry.tries) this.#leave(one);
    }
    this.#inquiries.clear();
    for (const upstream of this.#upstreams) this.#dropUpstream(upstream);
  }

  #refresh(): void {
    this.#lookedAtMs = this.#stack.nowMs;
    const resolvers = this.#hostNet.resolvers();
    if (resolvers === this.#resolvers) return;
    const isSame = listText(resolvers) === listText(this.#resolvers);
    this.#resolvers = resolvers;
    if (isSame) return;
    this.#servers = resolvers.map((resolver) => ({ resolver, unanswered: 0, unansweredSinceMs: 0 }));
    this.#epoch++;
    this.#cache.clear();
  }

  #makeRoom(key: string): void {
    while (this.#waiters >= WAITERS_MAX || (this.#inquiries.size >= QUERIES_MAX && !this.#inquiries.has(key))) {
      this.#stack.counters.drop('dns-cap');
      this.#settle(this.#inquiries.values().next().value!, DNS_SERVFAIL);
    }
  }

  /** what the host's glibc would wait at most: the later a server comes, the longer */
  #waitMs(): number {
    const { timeoutMs, attempts } = this.#hostNet.resolverOptions();
    const n = this.#servers.length;
    const roundMs = this.#servers.reduce((sum, _server, i) => sum + (i === 0 ? timeoutMs : (timeoutMs << i) / n), 0);
    return Math.min(Math.max(roundMs * attempts, WAIT_MIN_MS), WAIT_MAX_MS);
  }

  #holdMs(): number {
    return Math.min(this.#hostNet.resolverOptions().timeoutMs, HOLD_MS);
  }

  // ---- an inquiry's time ----

  #onWake(inquiry: Inquiry): void {
    const { nowMs } = this.#stack;
    if (nowMs >= inquiry.holdUntilMs) {
      if (inquiry.held !== null) return this.#settle(inquiry, inquiry.held);
      // Its client may try TCP itself.
      const { partial } = inquiry;
      if (partial !== null) this.#dismiss(inquiry, partial, (waiter) => !waiter.isTcp);
    }
    this.#dismiss(inquiry, inquiry.rcode ?? DNS_SERVFAIL, (waiter) => waiter.untilMs <= nowMs);
    if (inquiry.waiters.length === 0) return this.#settle(inquiry, DNS_SERVFAIL);
    // Somebody who asks for ever keeps no sockets open for ever.
    for (const one of inquiry.tries) if (nowMs - one.sentMs >= WAIT_MAX_MS) this.#leave(one);
    if (nowMs >= inquiry.nextAskMs) this.#askNext(inquiry, ROUNDS_MIN);
    this.#arm(inquiry);
  }

  #arm(inquiry: Inquiry): void {
    if (!this.#isOpen(inquiry)) return;
    const isHolding = inquiry.held !== null || inquiry.partial !== null;
    const holdMs = isHolding && inquiry.holdUntilMs > this.#stack.nowMs ? inquiry.holdUntilMs : Infinity;
    this.#stack.timers.schedule(inquiry, Math.min(inquiry.nextAskMs, holdMs, inquiry.waiters[0].untilMs));
  }

  /** Some of those who wait get `outcome` now. */
  #dismiss(inquiry: Inquiry, outcome: NameOutcome, isMeant: (waiter: Waiter) => boolean): void {
    const gone = inquiry.waiters.filter(isMeant);
    if (gone.length === 0) return;
    inquiry.waiters = inquiry.waiters.filter((waiter) => !isMeant(waiter));
    this.#waiters -= gone.length;
    for (const { reply } of gone) this.#stack.containment.run('call', () => reply(outcome));
  }

  #isOpen(inquiry: Inquiry): boolean {
    return this.#inquiries.get(inquiry.key) === inquiry;
  }

  /** The end of an inquiry. */
  #settle(inquiry: Inquiry, outcome: NameOutcome): void {
    if (!this.#isOpen(inquiry)) return;
    this.#inquiries.delete(inquiry.key);
    this.#stack.timers.cancel(inquiry);
    for (const one of inquiry.tries) this.#leave(one);
    this.#refresh();
    if (typeof outcome !== 'number' && inquiry.cacheKey !== null && inquiry.epoch === this.#epoch) this.#cache.add(inquiry.cacheKey, outcome, inquiry.question.end, this.#stack.nowMs);
    this.#dismiss(inquiry, outcome, () => true);
  }

  // ---- whom to ask ----

  /** Asks the next server, at most each `roundsMin` times or as often as resolv.conf says. False when all have been. */
  #askNext(inquiry: Inquiry, roundsMin: number): boolean {
    this.#refresh();
    const { timeoutMs, attempts, isRotating } = this.#hostNet.resolverOptions();
    if (inquiry.epoch !== this.#epoch) {
      const from = isRotating && this.#servers.length > 0 ? this.#rotation++ % this.#servers.length : 0;
      inquiry.servers = [...this.#servers.slice(from), ...this.#servers.slice(0, from)];
      inquiry.epoch = this.#epoch;
      inquiry.turns = 0;
      for (const one of inquiry.tries) this.#leave(one);
    }
    const { nowMs } = this.#stack;
    const n = inquiry.servers.length;
    inquiry.nextAskMs = nowMs + Math.min(timeoutMs, STEP_MS);
    const hasTurn = inquiry.turns < n * Math.max(roundsMin, attempts);
    while (inquiry.turns < n * Math.max(roundsMin, attempts)) {
      const rank = inquiry.turns % n;
      const round = Math.floor(inquiry.turns++ / n);
      const server = inquiry.servers[rank];
      inquiry.lastAskMs = nowMs;
      this.#try(inquiry, server, rank, inquiry.question.hasEdns && (round === 0 || inquiry.question.wantsDnssec));
      if (!this.#isSilent(server) || inquiry.turns % n === 0) break;
    }
    if (n > 2 && inquiry.turns === n - 1) inquiry.nextAskMs = nowMs + Math.min(timeoutMs, SHORT_STEP_MS);
    return hasTurn;
  }

  #isSilent(server: Server): boolean {
    return server.unanswered >= UNANSWERED_MIN && this.#stack.nowMs - server.unansweredSinceMs >= this.#holdMs();
  }

  #try(inquiry: Inquiry, server: Server, rank: number, hasEdns: boolean, isTcp = this.#hostNet.resolverOptions().isTcpOnly): void {
    // That nobody is heard by TCP says nothing about UDP.
    if (!isTcp && server.unanswered++ === 0) server.unansweredSinceMs = this.#stack.nowMs;
    const upstream = isTcp ? null : this.#upstreamTo(server);
    let id = this.#stack.random.u32() & 0xffff;
    while (upstream?.tries.has(id) === true) id = (id + 1) & 0xffff;
    const one: Try = { inquiry, server, rank, hasEdns, id, sentMs: this.#stack.nowMs, isOver: false, upstream, isTcp, tcp: null, hasSlot: false };
    inquiry.tries.add(one);
    if (upstream === null) return this.#askByTcp(one);
    upstream.tries.set(id, one);
    upstream.sent++;
    upstream.socket.send(queryOf(one));
  }

  // ---- what they say ----

  /** The id is ours; whatever else it is, it may be forged. */
  #onMessage(one: Try, bytes: Uint8Array): void {
    const { inquiry } = one;
    if (bareErrorId(bytes) === one.id) {
      one.server.unanswered = 0;
      return this.#onError(one, bytes[3] & 15);
    }
    const answer = parseDnsQuestion(bytes, 0, bytes.length, true);
    if (typeof answer === 'string' || answer.id !== one.id || !isSameQuestion(inquiry.question, answer)) return this.#stack.counters.drop('dns-malformed');
    one.server.unanswered = 0;
    const verdict = judgeResponse(bytes, answer.end);
    const isAnswer = (verdict.rcode === DNS_NOERROR || verdict.rcode === DNS_NXDOMAIN) && !(verdict.isLame && wantsRecursion(inquiry.question.flags));
    if (isAnswer && verdict.isTruncated && !one.isTcp) return this.#onTruncated(one, bytes);
    if (!isAnswer || !verdict.isWhole) {
      if (isAnswer) this.#stack.counters.drop('dns-malformed');
      return this.#onError(one, isAnswer || verdict.isLame ? DNS_SERVFAIL : verdict.rcode);
    }
    one.isOver = true;
    const message = inquiry.isSigned ? copyOf(bytes) : withoutOpt(bytes, answer.end);
    if (!verdict.isNegative || !this.#isEarlierExpected(inquiry, one.rank)) return this.#settle(inquiry, message);
    if (inquiry.held !== null && inquiry.heldRank <= one.rank) return;
    inquiry.held = message;
    inquiry.heldRank = one.rank;
    this.#arm(inquiry);
  }

  #onError(one: Try, rcode: number): void {
    const { inquiry, server, rank } = one;
    if (one.isOver) return;
    one.isOver = true;
    // RFC 6891 §7: servers that do not know EDNS say so.
    if (one.hasEdns && !inquiry.isSigned && (rcode === DNS_FORMERR || rcode === DNS_NOTIMP || rcode > 15)) {
      this.#try(inquiry, server, rank, false);
      return this.#arm(inquiry);
    }
    const code = rcode > 15 ? DNS_SERVFAIL : rcode;
    inquiry.rcode = inquiry.rcode === null || inquiry.rcode === code ? code : DNS_SERVFAIL;
    this.#onFailed(inquiry);
  }

  /** One of those that were asked gives no answer. */
  #onFailed(inquiry: Inquiry): void {
    if (inquiry.held !== null && !this.#isEarlierExpected(inquiry, inquiry.heldRank)) return this.#settle(inquiry, inquiry.held);
    const isAsking = this.#askNext(inquiry, 1);
    if (!this.#isOpen(inquiry)) return;
    if (!isAsking && ![...inquiry.tries].some((other) => !other.isOver)) return this.#giveUp(inquiry);
    this.#arm(inquiry);
  }

  #giveUp(inquiry: Inquiry): void {
    const { partial, held, rcode } = inquiry;
    if (held !== null) return this.#settle(inquiry, held);
    if (partial !== null) this.#dismiss(inquiry, partial, (waiter) => !waiter.isTcp);
    this.#settle(inquiry, rcode ?? DNS_SERVFAIL);
  }

  #onTruncated(one: Try, bytes: Uint8Array): void {
    const { inquiry, server, rank } = one;
    if (one.isOver) return;
    one.isOver = true;
    const { question } = inquiry;
    inquiry.partial ??= inquiry.isSigned ? copyOf(bytes) : wholeRecords(bytes, question.end);
    inquiry.nextAskMs = this.#stack.nowMs + STEP_MS;
    this.#try(inquiry, server, rank, one.hasEdns, true);
    this.#arm(inquiry);
  }

  #isEarlierExpected(inquiry: Inquiry, rank: number): boolean {
    return this.#stack.nowMs < inquiry.holdUntilMs && [...inquiry.tries].some((one) => !one.isOver && one.rank < rank && !this.#isSilent(one.server));
  }

  #leave(one: Try): void {
    one.isOver = true;
    one.inquiry.tries.delete(one);
    const { upstream } = one;
    if (upstream !== null) {
      upstream.tries.delete(one.id);
      this.#closeIfIdle(upstream);
    }
    this.#closeTcp(one);
  }

  // ---- UDP ----

  #upstreamTo(server: Server): Upstream {
    for (const upstream of this.#upstreams) {
      if (upstream.isRetired || upstream.server !== server) continue;
      if (upstream.sent < SOCKET_QUERIES) return upstream;
      upstream.isRetired = true;
      this.#closeIfIdle(upstream);
    }
    const { ip, port, zone } = server.resolver;
    const upstream: Upstream = {
      server, sent: 0, isRetired: false, tries: new Map(), wakeAtMs: Infinity,
      onWake: () => {
        upstream.isRetired = true;
        this.#closeIfIdle(upstream);
      },
      onWakeFailed: () => this.#dropUpstream(upstream),
      socket: this.#hostNet.connectUdp(ip, port, {
        onMessage: (bytes) => this.#onDatagram(upstream, bytes),
        onError: () => this.#onUpstreamError(upstream),
      }, undefined, zone),
    };
    this.#upstreams.add(upstream);
    this.#stack.timers.schedule(upstream, this.#stack.nowMs + SOCKET_MS);
    return upstream;
  }

  #onDatagram(upstream: Upstream, bytes: Uint8Array): void {
    const one = bytes.length < 2 ? undefined : upstream.tries.get(getU16(bytes, 0));
    if (one === undefined) {
      // Too late for anybody; but somebody is there.
      if (this.#upstreams.has(upstream)) upstream.server.unanswered = 0;
      return this.#stack.counters.drop('dns-malformed');
    }
    this.#onMessage(one, bytes);
  }

  /** Nobody there, or no way: the next server is asked at once. What was sent before that may still be answered. */
  #onUpstreamError(upstream: Upstream): void {
    upstream.server.unanswered = 0;
    upstream.isRetired = true;
    for (const one of upstream.tries.values()) {
      if (one.isOver) continue;
      one.isOver = true;
      this.#onFailed(one.inquiry);
    }
    this.#closeIfIdle(upstream);
  }

  #closeIfIdle(upstream: Upstream): void {
    if (upstream.isRetired && upstream.tries.size === 0) this.#dropUpstream(upstream);
  }

  #dropUpstream(upstream: Upstream): void {
    if (!this.#upstreams.delete(upstream)) return;
    this.#stack.timers.cancel(upstream);
    upstream.socket.close();
  }

  // ---- TCP ----

  #askByTcp(one: Try): void {
    if (this.#tcpOpen >= UPSTREAM_TCP_MAX) {
      this.#tcpQueue.push(one);
      return;
    }
    this.#tcpOpen++;
    one.hasSlot = true;
    let received: Uint8Array = new Uint8Array(0);
    const { ip, port, zone } = one.server.resolver;
    const socket = this.#hostNet.connectTcp(ip, port, {
      onConnect: () => {
        socket.write(framed(queryOf(one)));
        socket.resume();
      },
      onData: (bytes) => {
        if (one.tcp !== socket) return;
        const joined = new Uint8Array(received.length + bytes.length);
        joined.set(received);
        joined.set(bytes, received.length);
        received = joined;
        if (received.length < 2 || received.length < 2 + getU16(received, 0)) return;
        const message = received.subarray(2, 2 + getU16(received, 0));
        this.#onMessage(one, message);
        // Something else than was asked for: this server is not to be talked to.
        if (one.tcp === socket) socket.reset();
      },
      onEnd: () => socket.reset(),
      onTaken: () => {},
      onClose: () => {
        if (one.tcp !== socket) return;
        one.tcp = null;
        this.#closeTcp(one);
        if (one.isOver) return;
        one.isOver = true;
        this.#onFailed(one.inquiry);
      },
    }, zone);
    one.tcp = socket;
  }

  #closeTcp(one: Try): void {
    const { tcp } = one;
    one.tcp = null;
    tcp?.reset();
    if (!one.hasSlot) return;
    one.hasSlot = false;
    this.#tcpOpen--;
    let next = this.#tcpQueue.shift();
    while (next?.isOver === true) next = this.#tcpQueue.shift();
    if (next !== undefined) this.#askByTcp(next);
  }
}

function queryOf({ inquiry, id, hasEdns }: Try): Uint8Array {
  if (!inquiry.isSigned) return emitQuery(inquiry.query, inquiry.question, id, hasEdns);
  const query = copyOf(inquiry.query);
  setU16(query, 0, id);
  return query;
}

function listText(resolvers: readonly HostResolver[]): string {
  return resolvers.map(({ ip, port, zone }) => `${formatIp(ip)}%${zone ?? ''} ${port}`).join();
}

function isSameQuestion(a: DnsQuestion, b: DnsQuestion): boolean {
  return a.name === b.name && a.type === b.type && a.class === b.class && a.end === b.end;
}
