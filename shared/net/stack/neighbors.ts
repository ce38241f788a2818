/*
 * ARP (RFC 826): which station has which address.
 *
 * The gateway answers for its own addresses and learns from every IPv4 packet and ARP message it sees. It asks only when
 * it must speak first, to a guest that has never been heard: what is to be sent waits, a few calls at most, RFC 1122 §2.3.2.2.
 *
 * How long it waits for somebody unknown depends on who may still come:
 *
 *   no link, and the network is not new      nobody: at once
 *   a guest on every link, each with an address   up and running guests answer in no time: 3 questions within 300 ms
 *   else                                      somebody boots, or his link is broken: 3 s
 */
import type { Ipv4, Mac, UnicastIpv4 } from '../wire/addr.ts';
import { formatIpv4, formatMac, MAC_BROADCAST, MAC_NONE } from '../wire/addr.ts';
import type { ArpRepr } from '../wire/arp.ts';
import { ARP_LEN, emitArp, parseArp } from '../wire/arp.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, ETHERTYPE_ARP } from '../wire/ethernet.ts';
import type { Drop } from '../wire/drop.ts';
import type { FlowIp } from './ipv6-table.ts';
import type { Station, Switch } from './switch.ts';
import type { TimerQueue, Wakeable } from './timers.ts';

const NEIGHBORS_MAX = 1024;
const WAITING_MAX = 32;
const ASK_EVERY_MS = 1000;
const ASK_SETTLED_EVERY_MS = 100;
const ASK_TIMES = 3;

/** One address and who has it. The object lives as long as the table, its station may change. */
export interface Neighbor {
  readonly ip: FlowIp;
  /** null while nobody has been heard under this address */
  station: Station | null;
  /** largest packet that is said to reach it, in `bytes`, and until when that is believed */
  pathMtu: number;
  pathMtuUntilMs: number;
}

interface Question extends Wakeable {
  asked: number;
  /** called with false when nobody answered */
  waiting: ((isFound: boolean) => void)[];
}

export class Neighbors {
  readonly #table = new Map<UnicastIpv4, Neighbor>();
  readonly #questions = new Map<UnicastIpv4, Question>();
  readonly #switch: Switch;
  readonly #timers: TimerQueue;
  readonly #mac: Mac;
  readonly #ip: Ipv4;
  readonly #isOurs: (ip: Ipv4) => boolean;
  readonly #mayLearn: (ip: Ipv4) => ip is UnicastIpv4;
  readonly #isStarting: () => boolean;
  readonly #log: ((line: string) => void) | undefined;

  constructor(
    owner: Switch, timers: TimerQueue, mac: Mac, ip: Ipv4,
    isOurs: (ip: Ipv4) => boolean, mayLearn: (ip: Ipv4) => ip is UnicastIpv4, isStarting: () => boolean, log?: (line: string) => void,
  ) {
    this.#switch = owner;
    this.#timers = timers;
    this.#mac = mac;
    this.#ip = ip;
    this.#isOurs = isOurs;
    this.#mayLearn = mayLearn;
    this.#isStarting = isStarting;
    this.#log = log;
  }

  get questionsOpen(): number {
    return this.#questions.size;
  }

  /** null when nobody has that address; never asks */
  find(ip: UnicastIpv4): Neighbor | null {
    return this.#table.get(ip) ?? null;
  }

  learn(ip: UnicastIpv4, station: Station): Neighbor {
    let neighbor = this.#table.get(ip);
    if (neighbor === undefined) {
      if (this.#table.size >= NEIGHBORS_MAX) this.#table.delete(this.#table.keys().next().value!);
      neighbor = { ip, station, pathMtu: Infinity, pathMtuUntilMs: 0 };
      this.#table.set(ip, neighbor);
    } else if (neighbor.station !== station) {
      if (neighbor.station !== null && neighbor.station.mac !== station.mac) {
        this.#log?.(`arp ${formatIpv4(ip)} moved from ${formatMac(neighbor.station.mac)} to ${formatMac(station.mac)}`);
        neighbor.station.knownIp = 0;
      }
      neighbor.station = station;
    }
    station.knownIp = ip;
    const question = this.#questions.get(ip);
    if (question !== undefined) this.#answer(ip, question, true);
    return neighbor;
  }

  /** Calls back at once when the neighbor is known, else when it has answered or has not. */
  resolve(ip: UnicastIpv4, done: (isFound: boolean) => void): void {
    const known = this.#table.get(ip);
    if (known !== undefined && known.station !== null && known.station.port !== null) return done(true);
    if (known === undefined && this.#switch.portCount === 0 && !this.#isStarting()) return done(false);
    let question = this.#questions.get(ip);
    if (question === undefined) {
      const made: Question = { asked: 0, waiting: [], wakeAtMs: Infinity, onWake: (nowMs) => this.#ask(ip, made, nowMs), onWakeFailed: () => this.#answer(ip, made, false) };
      question = made;
      this.#questions.set(ip, question);
      this.#timers.schedule(question, 0);
    }
    if (question.waiting.length >= WAITING_MAX) return done(false);
    question.waiting.push(done);
  }

  onArp(station: Station, bytes: Uint8Array, start: number, end: number): Drop | null {
    const arp = parseArp(bytes, start, end);
    if (typeof arp === 'string') return arp;
    if (arp.senderMac !== station.mac) return 'arp-bad-sender';
    // RFC 5227: a probe comes from 0.0.0.0, and nothing is learned from it.
    if (arp.senderIp !== 0) {
      if (!this.#mayLearn(arp.senderIp)) return 'arp-bad-sender';
      this.learn(arp.senderIp, station);
    }
    if (arp.operation === 'request' && this.#isOurs(arp.targetIp)) {
      this.#send(station, { operation: 'reply', senderMac: this.#mac, senderIp: arp.targetIp, targetMac: station.mac, targetIp: arp.senderIp });
    }
    return null;
  }

  close(): void {
    for (const [ip, question] of this.#questions) this.#answer(ip, question, false);
    this.#table.clear();
  }

  #ask(ip: UnicastIpv4, question: Question, nowMs: number): void {
    if (question.asked++ >= ASK_TIMES) return this.#answer(ip, question, false);
    this.#send(null, { operation: 'request', senderMac: this.#mac, senderIp: this.#ip, targetMac: MAC_NONE, targetIp: ip });
    this.#timers.schedule(question, nowMs + (this.#switch.isSettled ? ASK_SETTLED_EVERY_MS : ASK_EVERY_MS));
  }

  #answer(ip: UnicastIpv4, question: Question, isFound: boolean): void {
    this.#timers.cancel(question);
    this.#questions.delete(ip);
    for (const done of question.waiting) done(isFound);
  }

  #send(to: Station | null, arp: ArpRepr): void {
    const frame = new Uint8Array(ETHERNET_HEADER_LEN + ARP_LEN);
    emitEthernet(frame, 0, to?.mac ?? MAC_BROADCAST, this.#mac, ETHERTYPE_ARP);
    emitArp(arp, frame, ETHERNET_HEADER_LEN);
    if (to === null) return this.#switch.flood(frame, 0, frame.length);
    const at = to.port?.reserve(frame.length) ?? -1;
    if (at >= 0) to.port!.bytes.set(frame, at);
  }
}
