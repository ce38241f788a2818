/*
 * The loop: the corpus first, then mutations of them, until time or count is up or an oracle speaks.
 *
 * The same target, seed and count give the same inputs. What found a failure is made smaller as long as it still fails; where a series of inputs
 * led to it (target.ts), all of them together are the input.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Chance } from './chance.ts';
import { INPUT_MAX, mutateBytes } from './mutate.ts';
import type { FuzzTarget, Pieces, Series } from './target.ts';

export const CORPUS = fileURLToPath(new URL('./corpus', import.meta.url));
/** inputs that the pool holds besides those of the corpus */
const POOL_MAX = 200;
/** time that making a failure small may take */
const SHRINK_MS = 15_000;

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
  /** that came from guests in these, where there are guests */
  frames: number;
  failure: Failure | null;
}

export interface Failure {
  input: Uint8Array;
  error: string;
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
  const series = target.startSeries?.() ?? null;
  let runs = 0;
  for (; runs < corpus.length || (performance.now() < untilMs && runs < options.limitRuns); runs++) {
    const isNew = runs >= corpus.length;
    const input = isNew ? mutate(anyOf(pool, corpus, chance), anyOf(pool, corpus, chance), chance) : corpus[runs];
    options.onInput?.(input);
    // The corpus by itself first: what it once found must be found whatever ran before.
    const error = await errorOf(() => (series === null || !isNew ? target.run(input) : series.run(input)));
    if (error !== null) return { runs: runs + 1, frames: series?.frames ?? 0, failure: await explain(target, input, error, isNew ? series : null) };
    // Mutations of mutations go further than one step from a seed.
    if (isNew && input.length <= INPUT_MAX / 4) pool[pool.length < POOL_MAX ? pool.length : chance.below(POOL_MAX)] = input;
  }
  const error = series === null ? null : await errorOf(() => series.end());
  return { runs, frames: series?.frames ?? 0, failure: error === null ? null : await explain(target, null, error, series) };
}

/** Of two the shorter one, mostly: what a long input finds, a short one finds sooner. */
function anyOf(pool: readonly Uint8Array[], corpus: readonly Uint8Array[], chance: Chance): Uint8Array {
  const list = pool.length > 0 && chance.oneIn(2) ? pool : corpus;
  const one = chance.pick(list);
  const other = chance.pick(list);
  return chance.oneIn(4) || one.length < other.length ? one : other;
}

async function errorOf(fn: () => void | Promise<void>): Promise<string | null> {
  try {
    await fn();
    return null;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

/** The input that fails by itself, as small as it gets: the last one, or all that ran before it on the same network too. */
async function explain(target: FuzzTarget, input: Uint8Array | null, error: string, series: Series | null): Promise<Failure> {
  if (series === null) return shrink(target, input!, error);
  const history = series.history();
  for (const candidate of [input, history]) {
    const again = candidate === null ? null : await errorOf(() => target.run(candidate));
    if (again !== null) return shrink(target, candidate!, again);
  }
  return { input: history, error: `${error}\nand not again when its ${history.length} bytes run from the start` };
}

/** Leaves out what is not needed, from large pieces to single ones, then from many bytes to one. */
async function shrink(target: FuzzTarget, input: Uint8Array, error: string): Promise<Failure> {
  const kind = firstLine(error);
  const untilMs = performance.now() + SHRINK_MS;
  let best = { input, error };
  for (const piecesOf of target.pieces === undefined ? [bytePieces] : [target.pieces.bind(target), bytePieces]) {
    let pieces = piecesOf(best.input);
    for (let len = pieces.count >> 1 || 1; len >= 1; len = len >> 1) {
      for (let at = 0; at < pieces.count && performance.now() < untilMs;) {
        const smaller = pieces.without(at, Math.min(at + len, pieces.count));
        const again = smaller.length < best.input.length ? await errorOf(() => target.run(smaller)) : null;
        if (again === null || firstLine(again) !== kind) {
          at += len;
          continue;
        }
        best = { input: smaller, error: again };
        pieces = piecesOf(smaller);
      }
    }
  }
  return best;
}

function bytePieces(input: Uint8Array): Pieces {
  return {
    count: input.length,
    without(from, to) {
      const smaller = new Uint8Array(input.length - (to - from));
      smaller.set(input.subarray(0, from));
      smaller.set(input.subarray(to), from);
      return smaller;
    },
  };
}

/** What failed, without its numbers. */
function firstLine(error: string): string {
  return error.split('\n')[0].replace(/[0-9a-f]*\d[0-9a-f]*/g, '#');
}
