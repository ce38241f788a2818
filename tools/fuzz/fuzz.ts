/*
 * The loop: the corpus first, then mutations of them, until time or count is up or an oracle speaks.
 *
 * The same target, seed and count give the same inputs. What found a failure is made smaller as long as it still fails.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Chance } from './chance.ts';
import { INPUT_MAX, mutateBytes } from './mutate.ts';
import type { FuzzTarget } from './target.ts';

export const CORPUS = fileURLToPath(new URL('./corpus', import.meta.url));
/** inputs that the pool holds besides those of the corpus */
const POOL_MAX = 200;
const SHRINK_TRIES = 400;

export interface FuzzOptions {
  seed: number;
  /** ends after so many `ms`, or inputs, whichever comes first */
  limitMs: number;
  limitRuns: number;
  /** called before each input is run */
  onInput?: (input: Uint8Array) => void;
}

export interface FuzzResult {
  runs: number;
  failure: { input: Uint8Array; error: string } | null;
}

/** Files of the corpus by their names. */
export function corpusOf(target: string): Record<string, Uint8Array> {
  const folder = join(CORPUS, target);
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder).filter((name) => name.endsWith('.bin')).toSorted();
  return Object.fromEntries(names.map((name) => [name, Uint8Array.from(readFileSync(join(folder, name)))]));
}

/** Returns the path. */
export function keepInCorpus(target: string, name: string, input: Uint8Array): string {
  mkdirSync(join(CORPUS, target), { recursive: true });
  const path = join(CORPUS, target, `${name}.bin`);
  writeFileSync(path, input);
  return path;
}

export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const chance = new Chance(options.seed);
  const mutate = target.mutate?.bind(target) ?? mutateBytes;
  const corpus = Object.values(corpusOf(target.name));
  if (corpus.length === 0) throw new Error(`no corpus for ${target.name}: npm run fuzz -- seeds`);
  const pool: Uint8Array[] = [];
  const untilMs = performance.now() + options.limitMs;
  let runs = 0;
  const failureOf = async (input: Uint8Array): Promise<string | null> => {
    options.onInput?.(input);
    runs++;
    try {
      await target.run(input);
      return null;
    } catch (error) {
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
  };
  const anyInput = (): Uint8Array => (pool.length > 0 && chance.oneIn(2) ? chance.pick(pool) : chance.pick(corpus));
  for (let i = 0; i < corpus.length || (performance.now() < untilMs && runs < options.limitRuns); i++) {
    const input = i < corpus.length ? corpus[i] : mutate(anyInput(), anyInput(), chance);
    const error = await failureOf(input);
    if (error !== null) return { runs, failure: await shrink(input, error, failureOf) };
    // Mutations of mutations go further than one step from a seed.
    if (i >= corpus.length && input.length <= INPUT_MAX / 4) pool[pool.length < POOL_MAX ? pool.length : chance.below(POOL_MAX)] = input;
  }
  return { runs, failure: null };
}

/** Leaves out what is not needed, from large pieces to single bytes. */
async function shrink(input: Uint8Array, error: string, failureOf: (input: Uint8Array) => Promise<string | null>): Promise<{ input: Uint8Array; error: string }> {
  const kind = firstLine(error);
  let best = { input, error };
  let tries = SHRINK_TRIES;
  for (let len = input.length >> 1; len >= 1 && tries > 0; len = len >> 1) {
    for (let at = 0; at < best.input.length && tries > 0;) {
      const smaller = new Uint8Array(best.input.length - Math.min(len, best.input.length - at));
      smaller.set(best.input.subarray(0, at));
      smaller.set(best.input.subarray(Math.min(at + len, best.input.length)), at);
      tries--;
      const again = await failureOf(smaller);
      if (again !== null && firstLine(again) === kind) best = { input: smaller, error: again };
      else at += len;
    }
  }
  return best;
}

/** What failed, without its numbers. */
function firstLine(error: string): string {
  return error.split('\n')[0].replace(/[0-9a-f]*\d[0-9a-f]*/g, '#');
}
