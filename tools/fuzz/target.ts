/** What can be fuzzed: bytes go in, and nothing but bytes, so that every input is a file that can be kept and run again. */
import type { Chance } from './chance.ts';

export interface FuzzTarget {
  readonly name: string;
  /** what the corpus starts from, made by our own emitters, by the names of the files without `.bin` */
  seeds(): Record<string, Uint8Array>;
  /** default: mutateBytes */
  mutate?(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array;
  /** Throws when the code under test does what it must not. Any input is fair. */
  run(input: Uint8Array): void | Promise<void>;
}

/** An oracle speaks: the code did not throw, and yet it is wrong. */
export function check(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Error(message());
}
