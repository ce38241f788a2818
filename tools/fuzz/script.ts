/*
 * What happens to a network, as bytes: which network (world u8, habits u8), then a list of steps, each a kind and its fields,
 * numbers big-endian.
 *
 *   0 frame    len u16, bytes                                    a guest's frame as it is
 *   1 segment  flow u8, flags u8, seq i32, ack i32, window u16, options len u8, options, payload u16
 *                                                                a guest's TCP segment; seq and ack relative to what comes next
 *   2 wait     units u16                                         ms, or from 0x8000 on seconds
 *   3 host     which u8, what u8, n u16                          the host's sockets, or the application, act
 *   4 link     what u8                                           the link fills, drains, breaks, comes back
 *   5 message  which u8, len u16, bytes                          a datagram for a host socket
 *   6 answer   which u8, len u16, bytes                          a DNS answer: id and question are those of the last query
 *   7 other    len u16, bytes                                    a frame of the second guest, on its own link
 *   8 data     which u8, len u16, bytes                          what a host's TCP socket delivers
 *   9 reply    which u8, len u16, bytes                          as `answer`, by TCP: behind the length
 *  10 api      what u8, ip u32, port u16                         whoever runs the network asks it, or tells it, something
 *  11 rest     habits u8                                         everything comes to rest: what follows is another input
 *
 * Any bytes are a script: a kind is taken modulo KINDS, and the last step may be cut short. `world` says which network and who is on it
 * (worlds.ts), `habits` how frames are batched and how long the network rests before the next input (network-target.ts).
 */
import { getU16, getU32, setU16, setU32 } from '../../shared/bytes.ts';

export type Step =
  | { kind: 'frame' | 'other'; bytes: Uint8Array }
  | { kind: 'segment'; flow: number; flags: number; seq: number; ack: number; window: number; options: Uint8Array; payload: number }
  | { kind: 'wait'; units: number }
  | { kind: 'host'; which: number; what: number; n: number }
  | { kind: 'link'; what: number }
  | { kind: 'message' | 'answer' | 'data' | 'reply'; which: number; bytes: Uint8Array }
  | { kind: 'api'; what: number; ip: number; port: number }
  | { kind: 'rest'; habits: number };

export interface Script {
  world: number;
  habits: number;
  steps: Step[];
}

const KINDS = ['frame', 'segment', 'wait', 'host', 'link', 'message', 'answer', 'other', 'data', 'reply', 'api', 'rest'] as const;
const HEAD_LEN = 2;
/** between two rests: a run stays short whatever the input */
export const STEPS_MAX = 400;
export const SECONDS_FROM = 0x8000;
/** longer than any timer of ours */
const SECONDS_MAX = 10_000;

/** How long a step `wait` lasts. */
export function waitMs(units: number): number {
  return units < SECONDS_FROM ? units : 1000 * Math.min(units - SECONDS_FROM, SECONDS_MAX);
}

export function encode(steps: readonly Step[], world = 0, habits = 0): Uint8Array {
  let size = HEAD_LEN;
  for (const step of steps) size += 32 + ('bytes' in step ? step.bytes.length : 'options' in step ? step.options.length : 0);
  const out = new Uint8Array(size);
  out[0] = world;
  out[1] = habits;
  let at = HEAD_LEN;
  for (const step of steps) at = encodeStep(step, out, at);
  return out.slice(0, at);
}

/** Returns where the next step goes. */
function encodeStep(step: Step, out: Uint8Array, start: number): number {
  let at = start;
  out[at++] = KINDS.indexOf(step.kind);
  switch (step.kind) {
    case 'frame': case 'other': return encodeBytes(step.bytes, out, at);
    case 'segment':
      out[at] = step.flow;
      out[at + 1] = step.flags;
      setU32(out, at + 2, step.seq);
      setU32(out, at + 6, step.ack);
      setU16(out, at + 10, step.window);
      out[at + 12] = step.options.length;
      out.set(step.options, at + 13);
      at += 13 + step.options.length;
      setU16(out, at, step.payload);
      return at + 2;
    case 'wait': setU16(out, at, step.units); return at + 2;
    case 'host':
      out[at] = step.which;
      out[at + 1] = step.what;
      setU16(out, at + 2, step.n);
      return at + 4;
    case 'link': out[at] = step.what; return at + 1;
    case 'api':
      out[at] = step.what;
      setU32(out, at + 1, step.ip);
      setU16(out, at + 5, step.port);
      return at + 7;
    case 'rest': out[at] = step.habits; return at + 1;
    default:
      out[at] = step.which;
      return encodeBytes(step.bytes, out, at + 1);
  }
}

function encodeBytes(bytes: Uint8Array, out: Uint8Array, at: number): number {
  setU16(out, at, bytes.length);
  out.set(bytes, at + 2);
  return at + 2 + bytes.length;
}

/** The steps' bytes lie in `input`. */
export function decode(input: Uint8Array): Script {
  const steps: Step[] = [];
  const reader = new Reader(input, HEAD_LEN);
  for (let left = STEPS_MAX; !reader.isAtEnd;) {
    const step = reader.step();
    if (step.kind === 'rest') left = STEPS_MAX;
    else if (--left < 0) continue;
    steps.push(step);
  }
  return { world: input[0] ?? 0, habits: input[1] ?? 0, steps };
}

/** Behind the end there are zeros, and lengths are cut to what is left. */
class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isAtEnd(): boolean { return this.#at >= this.#bytes.length; }

  step(): Step {
    const kind = KINDS[this.#u8() % KINDS.length];
    switch (kind) {
      case 'frame': case 'other': return { kind, bytes: this.#take(this.#u16()) };
      case 'segment':
        return { kind, flow: this.#u8(), flags: this.#u8(), seq: this.#u32() | 0, ack: this.#u32() | 0, window: this.#u16(), options: this.#take(this.#u8() % 41), payload: this.#u16() };
      case 'wait': return { kind, units: this.#u16() };
      case 'host': return { kind, which: this.#u8(), what: this.#u8(), n: this.#u16() };
      case 'link': return { kind, what: this.#u8() };
      case 'api': return { kind, what: this.#u8(), ip: this.#u32(), port: this.#u16() };
      case 'rest': return { kind, habits: this.#u8() };
      default: return { kind, which: this.#u8(), bytes: this.#take(this.#u16()) };
    }
  }

  #u8(): number {
    return this.#at < this.#bytes.length ? this.#bytes[this.#at++] : 0;
  }

  #u16(): number {
    if (this.#bytes.length - this.#at < 2) return this.#u8() << 8;
    this.#at += 2;
    return getU16(this.#bytes, this.#at - 2);
  }

  #u32(): number {
    if (this.#bytes.length - this.#at < 4) return ((this.#u16() << 16) | this.#u16()) >>> 0;
    this.#at += 4;
    return getU32(this.#bytes, this.#at - 4);
  }

  #take(len: number): Uint8Array {
    const start = this.#at;
    this.#at = Math.min(start + len, this.#bytes.length);
    return this.#bytes.subarray(start, this.#at);
  }
}

/** Several scripts for the same world as one that plays them in turn, each after a rest. */
export function joinScripts(inputs: readonly Uint8Array[]): Uint8Array {
  const scripts = inputs.map(decode);
  const [first] = scripts;
  return encode(scripts.flatMap(({ habits, steps }, i): Step[] => (i === 0 ? steps : [{ kind: 'rest', habits }, ...steps])), first.world, first.habits);
}

/** The same scripts with fewer steps: `keeps` says which stay. Returns null when there are no steps. */
export function scriptPieces(input: Uint8Array): { count: number; without(from: number, to: number): Uint8Array } {
  const { world, habits, steps } = decode(input);
  return { count: steps.length, without: (from, to) => encode(steps.toSpliced(from, to - from), world, habits) };
}
