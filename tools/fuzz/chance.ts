/** Chance for fuzzers: all of it from one seed, so that a run can be repeated. */
import { SeededRandom } from '../../shared/net/stack/fixture/virtual-clock.ts';

/** values at which lengths, offsets and counters go wrong */
const EDGES = [0, 1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 19, 20, 27, 28, 40, 60, 63, 64, 127, 128, 192, 239, 240, 255, 256, 511, 512, 548, 576, 1460, 1480, 1500, 1514, 1518, 32_767, 32_768, 65_535];

export class Chance extends SeededRandom {
  /** 0 to n - 1 */
  below(n: number): number {
    return n <= 1 ? 0 : this.u32() % n;
  }

  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** A number that is likely to hurt, of `bytes` bytes. */
  edge(bytes: number): number {
    const max = 2 ** (8 * bytes);
    const what = this.below(4);
    if (what === 0) return this.u32() % max;
    const value = what === 1 ? max - 1 - this.pick(EDGES) : this.pick(EDGES);
    return ((value % max) + max) % max;
  }

  /** Near `value`: the same, some off, or far away. */
  near(value: number, scale: number): number {
    const what = this.below(5);
    if (what === 0) return value;
    if (what === 1) return value + this.below(5) - 2;
    if (what === 2) return value + this.below(2 * scale + 1) - scale;
    if (what === 3) return value + this.pick([-0x80000000, 0x7fffffff, 0x40000000, -scale, scale, 65_535, -65_535]);
    return this.u32() | 0;
  }

  bytes(len: number): Uint8Array {
    return Uint8Array.from({ length: len }, () => this.u32());
  }
}
