/*
 * Initial sequence numbers that can't be guessed (RFC 6528): a 4-microsecond clock plus a keyed hash of the four numbers
 * of the connection, so that each four-tuple has its own increasing space. The hash is HalfSipHash-2-4, made for short
 * keyed inputs in 32-bit words.
 */
import type { RandomSource } from '../clock.ts';
import type { Seq } from './seq.ts';
import { toSeq } from './seq.ts';

export class IsnSource {
  readonly #k0: number;
  readonly #k1: number;

  constructor(random: RandomSource) {
    this.#k0 = random.u32() | 0;
    this.#k1 = random.u32() | 0;
  }

  next(localIp: number, localPort: number, remoteIp: number, remotePort: number, nowMs: number): Seq {
    return toSeq(Math.floor(nowMs * 250) + halfSipHash(this.#k0, this.#k1, localIp, remoteIp, (localPort << 16) | remotePort));
  }
}

function halfSipHash(k0: number, k1: number, a: number, b: number, c: number): number {
  const v = [k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1];
  // The last word holds the length of the message in its highest byte.
  for (const word of [a, b, c, 12 << 24]) {
    v[3] ^= word;
    sipRound(v);
    sipRound(v);
    v[0] ^= word;
  }
  v[2] ^= 0xff;
  for (let i = 0; i < 4; i++) sipRound(v);
  return (v[1] ^ v[3]) >>> 0;
}

function sipRound(v: number[]): void {
  v[0] = (v[0] + v[1]) | 0;
  v[1] = rotateLeft(v[1], 5) ^ v[0];
  v[0] = rotateLeft(v[0], 16);
  v[2] = (v[2] + v[3]) | 0;
  v[3] = rotateLeft(v[3], 8) ^ v[2];
  v[0] = (v[0] + v[3]) | 0;
  v[3] = rotateLeft(v[3], 7) ^ v[0];
  v[2] = (v[2] + v[1]) | 0;
  v[1] = rotateLeft(v[1], 13) ^ v[2];
  v[2] = rotateLeft(v[2], 16);
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
