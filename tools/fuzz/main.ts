/*
 * `npm run fuzz -- TARGET|all [--seed N] [--seconds N] [--repro FILE]`
 * `npm run fuzz -- listen [--frames N] [--seed N]`
 * `npm run fuzz -- seeds`
 *
 * Fuzzes one target, or each in turn, with a seed that is printed and may be given again. An input that fails is kept in
 * corpus/TARGET as crash-HASH.bin: name it after what was wrong once that is mended, and leave it there. `--repro` runs one file.
 * `listen` sends frames to a real `portside listen` and watches its memory (listen-load.ts). `seeds` writes the files of the corpus that seeds.ts makes, after a change there or in an emitter.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { keepInCorpus } from './fuzz.ts';
import { loadListen } from './listen-load.ts';
import { decode, scriptPieces } from './script.ts';
import { TARGETS } from './targets.ts';
import { fuzzWatched } from './watched.ts';

const NAMES = TARGETS.map(({ name }) => name);

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { seed: { type: 'string' }, seconds: { type: 'string' }, repro: { type: 'string' }, frames: { type: 'string' } } });
  const [name] = positionals;
  if (name === 'seeds') return writeSeeds();
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed);
  if (name === 'listen') return load(Number(values.frames ?? 1_000_000), seed);
  if (positionals.length !== 1 || (name !== 'all' && !NAMES.includes(name))) {
    console.error(`npm run fuzz -- TARGET|all [--seed N] [--seconds N] [--repro FILE], npm run fuzz -- listen [--frames N] [--seed N], or npm run fuzz -- seeds\ntargets: ${NAMES.join(' ')}`);
    return 2;
  }
  if (values.repro !== undefined) return repro(name, values.repro);
  let failures = 0;
  for (const target of name === 'all' ? TARGETS : TARGETS.filter((candidate) => candidate.name === name)) {
    const { runs, frames, failure } = await fuzzWatched(target, { seed, limitMs: 1000 * Number(values.seconds ?? 60), limitRuns: Infinity });
    console.log(`${target.name}: ${runs} inputs${frames === 0 ? '' : ` with ${frames} frames`}, seed ${seed}${failure === null ? '' : ', failed'}`);
    if (failure === null) continue;
    failures++;
    const hash = createHash('sha256').update(failure.input).digest('hex').slice(0, 8);
    console.log(`${failure.error}\nkept as ${keepInCorpus(target.name, `crash-${hash}`, failure.input)}`);
  }
  return failures === 0 ? 0 : 1;
}

async function load(frames: number, seed: number): Promise<number> {
  console.log(`${frames} frames, seed ${seed}`);
  const { seconds, warmKb, lastKb, samplesKb } = await loadListen(frames, seed, console.log);
  console.log(`${frames} frames in ${seconds.toFixed(1)} s, ${Math.round(frames / seconds)} a second; resident memory ${warmKb} kB after the warm-up, ${lastKb} kB at the end, ${Math.max(...samplesKb)} kB at most`);
  return 0;
}

function writeSeeds(): number {
  for (const target of TARGETS) for (const [name, input] of Object.entries(target.seeds())) keepInCorpus(target.name, name, input);
  return 0;
}

async function repro(name: string, file: string): Promise<number> {
  const target = TARGETS.find((candidate) => candidate.name === name);
  if (target === undefined) throw new Error('--repro wants one target');
  const input = Uint8Array.from(readFileSync(file));
  if (target.pieces === scriptPieces) for (const step of decode(input).steps) console.log(JSON.stringify(step, (_, value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value)));
  await target.run(input);
  console.log('passed');
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
