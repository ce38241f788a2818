/*
 * What happens to a network, as bytes: a list of steps, each a kind and its fields, numbers big-endian.
 *
 *   0 frame    len u16, bytes                                    a guest's frame as it is
 *   1 segment  flow u8, flags u8, seq i32, ack i32, window u16, options len u8, options, payload u16
 *                                                                a guest's TCP segment; seq and ack relative to what comes next
 *   2 wait     units u16                                         ms, or from 0x8000 on seconds
 *   3 host     which u8, what u8, n u16                          the host's sockets, or the application, act
 *   4 link     what u8                                           the link fills, drains, breaks, comes back
 *   5 message  which u8, len u16, bytes                          a datagram for a host socket
 *   6 answer   which u8, len u16, bytes                          a DNS answer: id and question are those of the last query
 *
 * Any bytes are a script: a kind is taken modulo KINDS, and the last step may be cut short.
 */
import { getU16, getU32, setU16, setU32 } from '../../shared/bytes.ts';
import type { Chance } from './chance.ts';
import { INPUT_MAX, mutateBytes } from './mutate.ts';

export type Step =
  | { kind: 'frame'; bytes: Uint8Array }
  | { kind: 'segment'; flow: number; flags: number; seq: number; ack: number; window: number; options: Uint8Array; payload: number }
  | { kind: 'wait'; units: number }
  | { kind: 'host'; which: number; what: number; n: number }
  | { kind: 'link'; what: number }
  | { kind: 'message' | 'answer'; which: number; bytes: Uint8Array };

const KINDS = ['frame', 'segment', 'wait', 'host', 'link', 'message', 'answer'] as const;
/** a run stays short whatever the input */
const STEPS_MAX = 400;
export const SECONDS_FROM = 0x8000;
/** longer than any timer of ours */
const SECONDS_MAX = 10_000;

/** How long a step `wait` lasts. */
export function waitMs(units: number): number {
  return units < SECONDS_FROM ? units : 1000 * Math.min(units - SECONDS_FROM, SECONDS_MAX);
}

export function encode(steps: readonly Step[]): Uint8Array {
  const out = new Uint8Array(steps.reduce((sum, step) => sum + 32 + ('bytes' in step ? step.bytes.length : 'options' in step ? step.options.length : 0), 0));
  let at = 0;
  const put = (value: number, size: number): void => {
    for (let i = size - 1; i >= 0; i--) out[at++] = value >>> (8 * i);
  };
  const putAll = (bytes: Uint8Array): void => {
    out.set(bytes, at);
    at += bytes.length;
  };
  for (const step of steps) {
    put(KINDS.indexOf(step.kind), 1);
    switch (step.kind) {
      case 'frame': put(step.bytes.length, 2); putAll(step.bytes); break;
      case 'segment':
        put(step.flow, 1); put(step.flags, 1);
        setU32(out, at, step.seq); setU32(out, at + 4, step.ack); setU16(out, at + 8, step.window);
        at += 10;
        put(step.options.length, 1); putAll(step.options); put(step.payload, 2);
        break;
      case 'wait': put(step.units, 2); break;
      case 'host': put(step.which, 1); put(step.what, 1); put(step.n, 2); break;
      case 'link': put(step.what, 1); break;
      default: put(step.which, 1); put(step.bytes.length, 2); putAll(step.bytes);
    }
  }
  return out.slice(0, at);
}

export function decode(input: Uint8Array): Step[] {
  const bytes = new Uint8Array(input.length + 16);
  bytes.set(input);
  const steps: Step[] = [];
  for (let at = 0; at < input.length && steps.length < STEPS_MAX;) {
    const kind = KINDS[bytes[at++] % KINDS.length];
    // Reads behind the end give the zeros that are there; a length is cut to what is left.
    const take = (len: number): Uint8Array => bytes.subarray(Math.min(at, input.length), (at = Math.min(at + len, input.length)));
    const u8 = (): number => bytes[Math.min(at++, input.length)];
    const u16 = (): number => getU16(bytes, Math.min((at += 2) - 2, input.length));
    const i32 = (): number => getU32(bytes, Math.min((at += 4) - 4, input.length)) | 0;
    switch (kind) {
      case 'frame': steps.push({ kind, bytes: take(u16()) }); break;
      case 'segment':
        steps.push({ kind, flow: u8(), flags: u8(), seq: i32(), ack: i32(), window: u16(), options: take(u8() % 41), payload: u16() });
        break;
      case 'wait': steps.push({ kind, units: u16() }); break;
      case 'host': steps.push({ kind, which: u8(), what: u8(), n: u16() }); break;
      case 'link': steps.push({ kind, what: u8() }); break;
      default: steps.push({ kind, which: u8(), bytes: take(u16()) });
    }
  }
  return steps;
}

/** Mutates steps where they are steps, and now and then bytes. */
export function mutateScript(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  if (chance.oneIn(12)) return mutateBytes(input, other, chance);
  const steps = decode(input);
  const lent = decode(other);
  for (let count = 1 + chance.below(chance.oneIn(4) ? 10 : 3); count > 0; count--) {
    const at = chance.below(steps.length + 1);
    switch (chance.below(8)) {
      case 0: steps.splice(at, 1 + chance.below(2)); break;
      case 1: if (at < steps.length) steps.splice(chance.below(steps.length), 0, steps[at]); break;
      case 2: steps.splice(at, 0, ...lent.slice(chance.below(lent.length), chance.below(lent.length) + 1 + chance.below(4))); break;
      case 3: steps.splice(at, 0, anyStep(chance)); break;
      default: if (at < steps.length) steps[at] = mutateStep(steps[at], lent, chance);
    }
  }
  return encode(steps.slice(0, STEPS_MAX)).subarray(0, INPUT_MAX);
}

function anyStep(chance: Chance): Step {
  switch (chance.below(4)) {
    case 0: return { kind: 'wait', units: chance.pick([1, 20, 200, 1000, 10_000, SECONDS_FROM + 30, SECONDS_FROM + 300, SECONDS_FROM + 8000]) };
    case 1: return { kind: 'host', which: chance.below(4), what: chance.below(256), n: chance.edge(2) };
    case 2: return { kind: 'link', what: chance.below(256) };
    default: return mutateStep({ kind: 'segment', flow: chance.below(5), flags: 0x10, seq: 0, ack: 0, window: 500, options: new Uint8Array(0), payload: 0 }, [], chance);
  }
}

function mutateStep(step: Step, lent: readonly Step[], chance: Chance): Step {
  switch (step.kind) {
    case 'wait': return { kind: 'wait', units: chance.edge(2) };
    case 'host': return { kind: 'host', which: chance.oneIn(4) ? chance.below(4) : step.which, what: chance.oneIn(2) ? chance.below(256) : step.what, n: chance.edge(2) };
    case 'link': return { kind: 'link', what: chance.below(256) };
    case 'segment': return mutateSegment(step, chance);
    default: {
      const mates = lent.flatMap((mate) => ('bytes' in mate ? [mate.bytes] : []));
      return { ...step, bytes: mutateBytes(step.bytes, mates.length === 0 ? step.bytes : chance.pick(mates), chance) };
    }
  }
}

type Segment = Extract<Step, { kind: 'segment' }>;

/** One field, around its valid values. */
function mutateSegment(step: Segment, chance: Chance): Segment {
  switch (chance.below(7)) {
    case 0: return { ...step, flags: chance.oneIn(3) ? chance.below(256) : chance.pick([0x02, 0x10, 0x11, 0x18, 0x04, 0x14, 0x12, 0x01, 0x00, 0x30, 0x29]) };
    case 1: return { ...step, seq: chance.near(step.seq, 3000) };
    case 2: return { ...step, ack: chance.near(step.ack, 3000) };
    case 3: return { ...step, window: chance.edge(2) };
    case 4: return { ...step, options: anyOptions(chance) };
    case 5: return { ...step, payload: chance.pick([0, 1, 2, 100, 1400, 1460, 1461]) };
    default: return { ...step, flow: chance.below(256) };
  }
}

function anyOptions(chance: Chance): Uint8Array {
  const u32 = (value: number): number[] => [value >>> 24, value >>> 16, value >>> 8, value].map((byte) => byte & 255);
  const options: number[] = [];
  for (let count = chance.below(4); count > 0; count--) {
    options.push(...chance.pick<() => number[]>([
      () => [2, 4, chance.edge(1), chance.edge(1)],
      () => [3, 3, chance.edge(1)],
      () => [4, 2],
      () => [8, 10, ...u32(chance.near(1000, 5000)), ...u32(chance.near(0, 1000))],
      // SACK near the stack's numbers: the interpreter adds where they start.
      () => [5, 10, ...u32(chance.near(0, 3000)), ...u32(chance.near(1460, 3000))],
      () => [5, 18, ...u32(chance.near(0, 3000)), ...u32(chance.near(0, 3000)), ...u32(chance.near(0, 3000)), ...u32(chance.near(0, 3000))],
      () => [1], () => [0], () => [chance.edge(1), chance.edge(1)],
    ])());
  }
  return Uint8Array.from(options.slice(0, 40));
}
