/** Mutations of scripts: steps are moved, lent and changed, each by what its fields mean. */
import type { Chance } from './chance.ts';
import { INPUT_MAX, mutateBytes } from './mutate.ts';
import { anyFrame, anyIpv4, anyPort, carryOver, mutateDns, mutateFrame } from './mutate-frame.ts';
import { decode, encode, SECONDS_FROM, type Step } from './script.ts';
import { worldOf, type World } from './worlds.ts';

/** a mutation has not more, unless what it was made of had */
const STEPS_MAX = 30;

/** Mutates steps where they are steps, and now and then bytes. */
export function mutateScript(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  if (chance.oneIn(20)) return mutateBytes(input, other, chance);
  const script = decode(input);
  let { world, habits, steps } = script;
  if (chance.oneIn(6)) {
    const next = chance.below(256);
    steps = steps.map((step) => moveStep(step, worldOf(world), worldOf(next), 0));
    world = next;
  }
  if (chance.oneIn(8)) habits = chance.below(32);
  const here = worldOf(world);
  const most = Math.max(STEPS_MAX, steps.length);
  for (let count = 1 + chance.below(chance.oneIn(4) ? 10 : 3); count > 0; count--) mutateSteps(steps, other, here, chance);
  return encode(steps.slice(0, most), world, habits).subarray(0, INPUT_MAX);
}

function mutateSteps(steps: Step[], other: Uint8Array, world: World, chance: Chance): void {
  const at = chance.below(steps.length + 1);
  switch (chance.below(10)) {
    case 0: steps.splice(at, 1 + chance.below(2)); break;
    case 1: if (at < steps.length) steps.splice(chance.below(steps.length), 0, steps[at]); break;
    case 2: {
      const lent = decode(other);
      const from = chance.below(lent.steps.length);
      const lender = worldOf(lent.world);
      steps.splice(at, 0, ...lent.steps.slice(from, from + 1 + chance.below(4)).map((step) => moveStep(step, lender, world, 0)));
      break;
    }
    case 3: steps.splice(at, 0, anyStep(world, chance)); break;
    case 4: if (at < steps.length) steps[at] = moveStep(steps[at], world, world, 1); break;
    default: if (at < steps.length) steps[at] = mutateStep(steps[at], world, chance);
  }
}

/** A step for another world, or (`by` 1) of the other guest there. */
function moveStep(step: Step, from: World, to: World, by: number): Step {
  if (step.kind === 'segment') return { ...step, flow: (step.flow + 10 * by) & 255 };
  if (step.kind !== 'frame' && step.kind !== 'other') return step;
  const isSecond = step.kind === 'other';
  const willBeSecond = (isSecond !== (by === 1)) && to.guests.length > 1;
  if (from === to && isSecond === willBeSecond) return step;
  return { kind: willBeSecond ? 'other' : 'frame', bytes: carryOver(step.bytes, from, isSecond ? 1 : 0, to, willBeSecond ? 1 : 0) };
}

function anyStep(world: World, chance: Chance): Step {
  switch (chance.below(8)) {
    case 0: return { kind: 'wait', units: chance.pick([1, 20, 200, 1000, 10_000, SECONDS_FROM + 30, SECONDS_FROM + 300, SECONDS_FROM + 8000]) };
    case 1: return { kind: 'host', which: chance.below(4), what: chance.below(256), n: chance.edge(2) };
    case 2: return { kind: 'link', what: chance.below(256) };
    case 3: return { kind: 'api', what: chance.below(10), ip: anyIpv4(world, chance), port: anyPort(chance) };
    case 4: return { kind: chance.pick(['answer', 'reply'] as const), which: chance.below(3), bytes: anyAnswer(chance) };
    case 5: return mutateSegment({ kind: 'segment', flow: chance.below(20), flags: 0x10, seq: 0, ack: 0, window: 500, options: new Uint8Array(0), payload: 0 }, chance);
    default: {
      const second = world.guests.length > 1 && chance.oneIn(3) ? 1 : 0;
      return { kind: second === 1 ? 'other' : 'frame', bytes: anyFrame(world, second, chance) };
    }
  }
}

function mutateStep(step: Step, world: World, chance: Chance): Step {
  switch (step.kind) {
    case 'wait': return { kind: 'wait', units: chance.edge(2) };
    case 'host': return { kind: 'host', which: chance.oneIn(4) ? chance.below(4) : step.which, what: chance.oneIn(2) ? chance.below(256) : step.what, n: chance.edge(2) };
    case 'link': return { kind: 'link', what: chance.below(256) };
    case 'rest': return { kind: 'rest', habits: chance.below(32) };
    case 'api': return { kind: 'api', what: chance.oneIn(2) ? chance.below(10) : step.what, ip: anyIpv4(world, chance), port: chance.oneIn(2) ? anyPort(chance) : step.port };
    case 'segment': return mutateSegment(step, chance);
    case 'frame': case 'other': return { kind: step.kind, bytes: mutateFrame(step.bytes, world, step.kind === 'other' ? 1 : 0, chance) };
    case 'answer': case 'reply': {
      if (chance.oneIn(4)) return { ...step, bytes: anyAnswer(chance) };
      const bytes = Uint8Array.from(step.bytes);
      // The id is not in it.
      mutateDns(bytes, -2, chance);
      return { ...step, which: chance.oneIn(8) ? chance.below(4) : step.which, bytes };
    }
    default: return { ...step, which: chance.oneIn(4) ? chance.below(4) : step.which, bytes: mutateMessage(step.bytes, world, chance) };
  }
}

/** A datagram or a part of a stream: as long as lengths are that hurt, and perhaps from somebody special, as forwards read it. */
function mutateMessage(message: Uint8Array, world: World, chance: Chance): Uint8Array {
  if (chance.oneIn(3)) return mutateBytes(message, message, chance);
  const { mtu } = world.config;
  const len = chance.oneIn(2) ? message.length : chance.pick([0, 1, 5, 6, 7, 11, 12, mtu - 49, mtu - 48, mtu - 29, mtu - 28, mtu - 27, 1472, 4096, 8192]);
  const bytes = new Uint8Array(len);
  bytes.set(message.subarray(0, len));
  if (len >= 6 && chance.oneIn(2)) {
    const from = anyIpv4(world, chance);
    const port = anyPort(chance);
    bytes.set([from >>> 24, from >>> 16, from >>> 8, from, port >>> 8, port]);
  } else if (len >= 12) mutateDns(bytes, 0, chance);
  return bytes;
}

/** What a resolver may say: flags, counts, records with pointers to anywhere, short and long; the rest of it is the query's. */
function anyAnswer(chance: Chance): Uint8Array {
  const records: number[] = [];
  const counts = [0, 0, 0];
  const flags = chance.pick([0x8180, 0x8180, 0x8580, 0x8380, 0x8183, 0x8182, 0x8185, 0x8100, 0x0100, 0xa980, 0x81b0]);
  for (let left = chance.pick([0, 1, 1, 2, 3, 20, 200]); left > 0; left--) {
    const section = chance.pick([0, 0, 0, 1, 2]);
    counts[section]++;
    records.push(...anyRecord(chance, section, 22 + records.length));
  }
  const head = [flags >>> 8, flags & 255, 0, chance.oneIn(12) ? chance.edge(1) : 1];
  for (const count of counts) {
    const said = chance.oneIn(10) ? chance.edge(2) : count;
    head.push(said >>> 8, said & 255);
  }
  return Uint8Array.from([...head, ...records]);
}

function anyRecord(chance: Chance, section: number, at: number): number[] {
  const pointer = chance.pick([12, 12, 12, 0, 1, at, at + 1, at - 2, 0x3fff]);
  const name = chance.pick([[0xc0 | ((pointer >> 8) & 0x3f), pointer & 255], [0xc0, 12], [0], [1, 0x61, 0xc0, 12], [63], [0x80, 1]]);
  const type = section === 2 ? chance.pick([41, 41, 1]) : section === 1 ? chance.pick([6, 2]) : chance.pick([1, 1, 28, 5, 16, 12, 15, 33, 46, 64, 65, 255, 41, 0]);
  const ttl = chance.pick([[0, 0, 0, 60], [0, 0, 0, 0], [0, 0, 0, 1], [0xff, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0, 1, 0x51, 0x80]]);
  const data = type === 1 ? [1, 2, 3, 4] : type === 28 ? [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7] : type === 6 ? [0, 0, ...Array.from({ length: 20 }, () => chance.below(3))] : type === 5 ? [0xc0, chance.pick([12, at & 255])] : [];
  const len = chance.oneIn(12) ? chance.edge(2) : data.length;
  return [...name, type >>> 8, type & 255, 0, 1, ...ttl, len >>> 8, len & 255, ...data];
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
    case 5: return { ...step, payload: chance.pick([0, 1, 2, 100, 536, 537, 1220, 1221, 1400, 1460, 1461, 0x8000 + chance.below(9)]) };
    default: return { ...step, flow: chance.below(20) };
  }
}

function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
}

function anyOptions(chance: Chance): Uint8Array {
  const options: number[] = [];
  for (let count = chance.below(4); count > 0; count--) options.push(...anyOption(chance));
  return Uint8Array.from(options.slice(0, 40));
}

function anyOption(chance: Chance): number[] {
  switch (chance.below(9)) {
    case 0: return [2, 4, chance.edge(1), chance.edge(1)];
    case 1: return [3, 3, chance.edge(1)];
    case 2: return [4, 2];
    case 3: return [8, 10, ...u32(chance.near(1000, 5000)), ...u32(chance.near(0, 1000))];
    // SACK near the stack's numbers: the interpreter adds where they start.
    case 4: return [5, 10, ...u32(chance.near(0, 3000)), ...u32(chance.near(1460, 3000))];
    case 5: return [5, 18, ...u32(chance.near(0, 3000)), ...u32(chance.near(0, 3000)), ...u32(chance.near(0, 3000)), ...u32(chance.near(0, 3000))];
    case 6: return [1];
    case 7: return [0];
    default: return [chance.edge(1), chance.edge(1)];
  }
}
