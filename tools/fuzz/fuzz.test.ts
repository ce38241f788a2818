/** Every target for some seconds with a seed of the day, its whole corpus first; and that the fuzzer itself finds what is there to find. */
import { describe, expect, test } from 'vitest';
import { ethernet, GATEWAY_IP, GATEWAY_MAC, GUEST_IP, GUEST_MAC, ip, ipv4, tcp, udp } from '../../shared/net/stack/fixture/frames.ts';
import { getU16, getU32 } from '../../shared/bytes.ts';
import { TCP_ACK } from '../../shared/net/wire/tcp.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { corpusOf, fuzz } from './fuzz.ts';
import { faultOf } from './guest-side.ts';
import { anyFrame, carryOver, mutateFrame } from './mutate-frame.ts';
import { mutateScript } from './mutate-script.ts';
import { decode, encode, joinScripts, scriptPieces, type Step } from './script.ts';
import { arpSeeds, dhcpSeeds, networkSeeds, tcpSeeds } from './seeds.ts';
import { check, type FuzzTarget } from './target.ts';
import { TARGETS } from './targets.ts';
import { playTcp } from './tcp-target.ts';
import { fuzzWatched } from './watched.ts';
import { WORLDS } from './worlds.ts';

/** of each target; vitest runs five at a time, so it is less on two cores */
const LIMIT_MS = 5000;
const TODAY = new Date().toISOString().slice(0, 10);
/** 20261130: other inputs every day, the same ones all day long on every machine that is fast enough */
const SEED = Number(TODAY.replaceAll('-', ''));

describe.concurrent('with the seed of the day', () => {
  test.each(TARGETS.map((target) => [target.name, target] as const))('%s: no throw, no hang, nothing left', { timeout: 120_000 }, async (name, target) => {
    console.log(`${name}: seed ${SEED}`);
    const { failure, runs } = await fuzzWatched(target, { seed: SEED, limitMs: LIMIT_MS, limitRuns: Infinity });
    expect(failure?.error ?? null, failure === null ? '' : `${failure.error}\nnpm run fuzz -- ${name} --seed ${SEED}\ninput: ${Buffer.from(failure.input.subarray(0, 3000)).toString('base64')}${failure.input.length > 3000 ? `… (${failure.input.length} bytes)` : ''}`).toBeNull();
    expect(runs).toBeGreaterThan(10);
  });
});

describe('the corpus', () => {
  test.each(TARGETS.map((target) => [target.name, target] as const))('%s has its seeds, as the emitters make them', (name, target) => {
    const files = corpusOf(name);
    for (const [seed, input] of Object.entries(target.seeds())) expect(Buffer.from(files[`${seed}.bin`] ?? []).equals(input), `${name}/${seed}.bin: npm run fuzz -- seeds`).toBe(true);
  });

  test('its TCP conversations reach every state', () => {
    const states = new Set(Object.values(tcpSeeds()).flatMap((input) => [...playTcp(input)]));
    expect([...states].toSorted()).toEqual(['close-wait', 'closing', 'established', 'fin-wait-1', 'fin-wait-2', 'last-ack', 'syn-received', 'syn-sent', 'time-wait']);
  });
});

/** As `fuzz` writes it. */
function again(input: Uint8Array): Uint8Array {
  const { world, habits, steps } = decode(input);
  return encode(steps, world, habits);
}

describe('the fuzzer', () => {
  test('scripts come back as they were, and any bytes are a script', () => {
    for (const input of Object.values({ ...networkSeeds(), ...tcpSeeds() })) expect(again(input)).toEqual(input);
    const chance = new Chance(1);
    for (let i = 0; i < 300; i++) {
      const input = chance.bytes(chance.below(600));
      expect(decode(again(input))).toEqual(decode(input));
    }
  });

  test('the same seed gives the same mutations', () => {
    const [a, b] = Object.values(tcpSeeds());
    const run = (seed: number): Uint8Array => mutateScript(a, b, new Chance(seed));
    expect([run(5), run(5)]).toEqual([run(5), run(5)]);
    expect(new Set(Array.from({ length: 20 }, (_, seed) => Buffer.from(run(seed)).toString('hex'))).size).toBeGreaterThan(15);
  });

  test('a failure is found and made small', async () => {
    const target: FuzzTarget = {
      name: 'framing', seeds: () => ({}),
      run(input) { if (input.includes(0xee) && input.includes(0xdd)) throw new Error(`bug at ${input.indexOf(0xee)}`); },
    };
    const { failure } = await fuzz(target, { seed: 4, limitMs: 20_000, limitRuns: 200_000 });
    expect([...failure!.input].toSorted()).toEqual([0xdd, 0xee]);
  });

  test('a failure that took several inputs is all of them, without those that it did not take', async () => {
    // A network that breaks when it has waited for 7 ms and, whenever that was, for 8.
    const stage = (): { play(input: Uint8Array): void } => {
      const waited = new Set<number>();
      return {
        play(input) {
          for (const step of decode(input).steps) if (step.kind === 'wait') waited.add(step.units);
          check(!(waited.has(7) && waited.has(8)), () => 'broken');
        },
      };
    };
    let shared = stage();
    const inputs: Uint8Array[] = [];
    const target: FuzzTarget = {
      name: 'arp', seeds: () => ({}), pieces: scriptPieces, run: (input) => stage().play(input),
      mutate: (_input, _other, chance) => encode([{ kind: 'wait', units: chance.below(10) }]),
      startSeries: () => {
        shared = stage();
        return { frames: 0, end() {}, history: () => joinScripts(inputs), run: (input) => { inputs.push(input); shared.play(input); } };
      },
    };
    const { failure } = await fuzz(target, { seed: 2, limitMs: 20_000, limitRuns: 10_000 });
    expect(decode(failure!.input).steps.map((step) => (step.kind === 'wait' ? step.units : step.kind)).toSorted()).toEqual([7, 8]);
  });

  test('virtual time runs what is due in order, and none that was cancelled', () => {
    const clock = new BoundedClock();
    const chance = new Chance(3);
    const due: { at: number; order: number }[] = [];
    const ran: { at: number; order: number }[] = [];
    for (let order = 0; order < 2000; order++) {
      const at = chance.below(500);
      const timer = clock.startTimer(at, () => ran.push({ at, order }));
      if (chance.oneIn(2)) timer.cancel();
      else due.push({ at, order });
    }
    expect(clock.pending).toBe(due.length);
    clock.advance(250);
    clock.advance(250);
    expect(ran).toEqual(due.toSorted((a, b) => a.at - b.at || a.order - b.order));
    expect(clock.pending).toBe(0);
    const loop = (): void => clock.soon(loop);
    loop();
    expect(() => clock.advance(1)).toThrow(/^hang/);
  });

  test('frames are mutated by what they mean: special addresses, handles, others\' and ours, ports that somebody has, lengths at edges', () => {
    const world = WORLDS[1];
    const chance = new Chance(8);
    const [seed] = decode(dhcpSeeds()['lease']).steps as Extract<Step, { kind: 'frame' | 'other' }>[];
    const seen = { to: new Set<number>(), ports: new Set<number>(), lengths: new Set<number>() };
    let right = 0;
    for (let i = 0; i < 20_000; i++) {
      const frame = chance.oneIn(2) ? anyFrame(world, 0, chance) : mutateFrame(seed.bytes, world, 0, chance);
      if (frame.length < 42 || getU16(frame, 12) !== 0x0800) continue;
      seen.to.add(getU32(frame, 30));
      seen.ports.add(getU16(frame, 36));
      seen.lengths.add(frame.length - 14);
      if (faultOf(ethernet(GUEST_MAC, GATEWAY_MAC, 0x0800, frame.subarray(14)), 65_535) === null) right++;
    }
    const { guests, broadcastIp, remoteIp, config } = world;
    const wanted = ['127.0.0.1', '224.0.0.1', '169.254.169.254', '240.0.0.0', '240.0.0.3', '255.255.255.255', '0.0.0.0', '100.64.0.1', '192.0.2.1', '198.18.0.1'].map(ip);
    expect([...wanted, guests[1].ip, broadcastIp, remoteIp, config.gatewayIp, config.subnet].filter((address) => !seen.to.has(address))).toEqual([]);
    expect([0, 53, 67, 68, 547, 5353, 65_535].filter((port) => !seen.ports.has(port))).toEqual([]);
    expect([28, 29, 1499, 1500, 1501].filter((len) => !seen.lengths.has(len))).toEqual([]);
    expect(right).toBeGreaterThan(5000);
  });

  test('a frame keeps its meaning in another world, and as the other guest\'s', () => {
    const [, there] = [WORLDS[0], WORLDS.find(({ name }) => name === 'a /16')!];
    const [who] = decode(arpSeeds()['who-has']).steps as Extract<Step, { kind: 'frame' | 'other' }>[];
    const arp = carryOver(who.bytes, WORLDS[0], 0, there, 1);
    expect([getU32(arp, 28), getU32(arp, 38)]).toEqual([there.guests[1].ip, there.config.gatewayIp]);
    const datagram = ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, GATEWAY_IP, 17, udp(GUEST_IP, GATEWAY_IP, 9, 53, new Uint8Array(5))));
    const carried = carryOver(datagram, WORLDS[0], 0, there, 0);
    expect([getU32(carried, 26), getU32(carried, 30), faultOf(carried, 1500)]).toEqual([there.guests[0].ip, there.config.gatewayIp, null]);
  });

  test('frames that are wrong are told from right ones', () => {
    const arp = Uint8Array.from({ length: 42 }, (_, i) => (i === 12 ? 8 : i === 13 ? 6 : 0));
    expect([faultOf(arp, 1500), faultOf(arp.subarray(0, 41), 1500), faultOf(new Uint8Array(1515), 1500)]).toEqual([null, 'an ARP message of the wrong length', '1515 bytes']);
    const segment = tcp(GATEWAY_IP, GUEST_IP, { srcPort: 80, dstPort: 9, seq: 1, ack: 1, flags: TCP_ACK, window: 1, options: [1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2], payload: new Uint8Array(3) });
    // An echo reply from :: to ::1: 58 + 8 + 1 + 0x8100 + 7 + 9 are 0x8153.
    const echo6 = Uint8Array.of(0x60, 0, 0, 0, 0, 8, 58, 64, ...new Uint8Array(31), 1, 129, 0, 0x7e, 0xac, 0, 7, 0, 9);
    expect([faultOf(ethernet(GUEST_MAC, GATEWAY_MAC, 0x86dd, echo6), 1500), faultOf(ethernet(GUEST_MAC, GATEWAY_MAC, 0x86dd, echo6.with(47, 8)), 1500)]).toEqual([null, 'a wrong checksum']);
    for (const packet of [ipv4(GATEWAY_IP, GUEST_IP, 17, udp(GATEWAY_IP, GUEST_IP, 53, 9, new Uint8Array(5))), ipv4(GATEWAY_IP, GUEST_IP, 6, segment), ipv4(GATEWAY_IP, GUEST_IP, 1, Uint8Array.of(0, 0, 0xff, 0xfd, 0, 1, 0, 1))]) {
      const frame = ethernet(GUEST_MAC, GATEWAY_MAC, 0x0800, packet);
      expect(faultOf(frame, 1500)).toBeNull();
      for (let at = 12; at < frame.length; at++) for (const bit of [1, 16, 128]) expect(faultOf(frame.with(at, frame[at] ^ bit), 1500), `byte ${at}`).not.toBeNull();
    }
  });
});
