/** Every target for a few seconds, its whole corpus first; and that the fuzzer itself finds what is there to find. */
import { describe, expect, test } from 'vitest';
import { ethernet, GATEWAY_IP, GATEWAY_MAC, GUEST_IP, GUEST_MAC, ipv4, tcp, udp } from '../../shared/net/stack/fixture/frames.ts';
import { TCP_ACK } from '../../shared/net/wire/tcp.ts';
import { Chance } from './chance.ts';
import { corpusOf, fuzz } from './fuzz.ts';
import { faultOf } from './guest-side.ts';
import { decode, encode, mutateScript } from './script.ts';
import { networkSeeds, tcpSeeds } from './seeds.ts';
import type { FuzzTarget } from './target.ts';
import { TARGETS } from './targets.ts';
import { playTcp } from './tcp-target.ts';
import { fuzzWatched } from './watched.ts';

/** a minute for all */
const LIMIT_MS = 50_000 / TARGETS.length;
/** the same inputs every time, on every machine that is fast enough */
const SEED = 2026;

test.each(TARGETS.map(({ name }) => name))('%s: no throw, no hang, nothing left', { timeout: 120_000 }, async (name) => {
  const { failure, runs } = await fuzzWatched(name, { seed: SEED, limitMs: LIMIT_MS, limitRuns: Infinity });
  expect(failure, failure === null ? '' : `${failure.error}\ninput: ${Buffer.from(failure.input).toString('base64')}`).toBeNull();
  expect(runs).toBeGreaterThan(10);
});

describe('the corpus', () => {
  test.each(TARGETS.map((target) => [target.name, target] as const))('%s has its seeds, as the emitters make them', (name, target) => {
    const files = corpusOf(name);
    for (const [seed, input] of Object.entries(target.seeds())) expect(Buffer.from(files[`${seed}.bin`] ?? []).equals(input), `${name}/${seed}.bin: npm run fuzz -- seeds`).toBe(true);
  });

  test('its TCP conversations reach every state', () => {
    const states = new Set(Object.values(tcpSeeds()).flatMap((input) => [...playTcp(input, false)]));
    expect([...states].toSorted()).toEqual(['close-wait', 'closing', 'established', 'fin-wait-1', 'fin-wait-2', 'last-ack', 'syn-received', 'syn-sent', 'time-wait']);
  });
});

describe('the fuzzer', () => {
  test('scripts come back as they were, and any bytes are a script', () => {
    for (const input of Object.values({ ...networkSeeds(), ...tcpSeeds() })) expect(encode(decode(input))).toEqual(input);
    const chance = new Chance(1);
    for (let i = 0; i < 300; i++) {
      const input = chance.bytes(chance.below(600));
      expect(decode(encode(decode(input)))).toEqual(decode(input));
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
