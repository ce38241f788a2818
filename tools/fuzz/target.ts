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
  /** For targets that would spend their time on making what is fuzzed: inputs run one after the other on the same. */
  startSeries?(): Series;
  /** What an input consists of, for shrinking; default: bytes. */
  pieces?(input: Uint8Array): Pieces;
}

export interface Series {
  /** that guests have sent in all */
  readonly frames: number;
  /** As the target's `run`, after all that ran before; checks that are dear only now and then. */
  run(input: Uint8Array): void | Promise<void>;
  /** Checks what can be seen at the end only. */
  end(): void | Promise<void>;
  /** What has led to the state in which the last `run` or `end` failed, as one input that the target's `run` plays from nothing. */
  history(): Uint8Array;
}

export interface Pieces {
  readonly count: number;
  /** The input without the pieces `[from, to)`. */
  without(from: number, to: number): Uint8Array;
}

/** An oracle speaks: the code did not throw, and yet it is wrong. */
export function check(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Error(message());
}
