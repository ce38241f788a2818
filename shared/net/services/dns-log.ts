/**
 * The last questions that a network's guests asked, and what they got. Kept are the messages as they were, in a ring of
 * ENTRIES_MAX; they are made into text when somebody looks, so a network at which nobody looks pays one store per answer.
 */
import type { DnsQuestion } from '../wire/dns.ts';
import { DNS_HEADER_LEN } from '../wire/dns.ts';
import { dnsAnswers, dnsStatusName, dnsTypeName } from '../wire/dns-text.ts';
import { copyOf } from '../wire/copy.ts';

/** who knew the answer */
export type DnsVia = 'gateway' | 'cache' | 'resolver';

export interface DnsLogEntry {
  readonly name: string;
  readonly type: string;
  readonly via: DnsVia;
  readonly ageMs: number;
  readonly tookMs: number;
  /** NOERROR, NXDOMAIN, … */
  readonly status: string;
  /** addresses and names, at most ANSWERS_MAX */
  readonly answers: string[];
}

interface Slot {
  readonly question: DnsQuestion;
  readonly answer: Uint8Array;
  readonly via: DnsVia;
  readonly askedMs: number;
  readonly answeredMs: number;
}

const ENTRIES_MAX = 256;
/** of one answer, in `bytes`: the records behind are not listed */
const ANSWER_BYTES_MAX = 1024;
const ANSWERS_MAX = 8;

export class DnsLog {
  readonly #ring: Slot[] = [];
  #next = 0;

  /** `answer` is kept, and must not change any more. */
  note(question: DnsQuestion, answer: Uint8Array, via: DnsVia, askedMs: number, answeredMs: number): void {
    this.#ring[this.#next] = { question, answer: answer.length > ANSWER_BYTES_MAX ? copyOf(answer, 0, ANSWER_BYTES_MAX) : answer, via, askedMs, answeredMs };
    this.#next = (this.#next + 1) % ENTRIES_MAX;
  }

  /** The newest first. */
  entries(nowMs: number): DnsLogEntry[] {
    const slots = [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)].toReversed();
    return slots.map(({ question, answer, via, askedMs, answeredMs }) => ({
      name: question.name, type: dnsTypeName(question.type), via, ageMs: Math.round(nowMs - askedMs), tookMs: Math.round(answeredMs - askedMs),
      status: dnsStatusName(answer), answers: answer.length < DNS_HEADER_LEN ? [] : dnsAnswers(answer, question.end, ANSWERS_MAX),
    }));
  }
}
