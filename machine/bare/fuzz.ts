/*
 * The differential fuzzer: batches of random cases on QEMU and on our machine. `npm run fuzz:machine -- [--seed N] [--seconds N] [--translate]`;
 * with `--translate` ours translates whatever it runs.
 *
 * A batch is one process per machine. Where a case's hashes differ it is run again alone, in full, and shortened from its end as
 * long as it still differs; what remains is printed with its code, ready to become a test in cases.test.ts.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execFileSync } from 'node:child_process';
import { Bench, MISSING_TOOLS, differences, type Case, type Target } from './bare.ts';
import { randomCase } from './generate.ts';

const BATCH = 1000;
/** cases have seeds of their own: batch seed times this, and on */
const STRIDE = 1_000_003n;

export interface Finding { name: string; target: Target; differences: string[]; listing: string }

export class Fuzzer {
  readonly #bench: Bench;
  readonly #folder: string;
  constructor(bench: Bench, folder: string) {
    this.#bench = bench;
    this.#folder = folder;
  }

  async batch(seed: bigint, targets: Target[], size = BATCH): Promise<Finding[]> {
    const cases = Array.from({ length: size }, (_, i) => randomCase(seed * STRIDE + BigInt(i)));
    const [expected, ...got] = await Promise.all((['qemu', ...targets] as Target[]).map((target) => this.#bench.runCases(target, cases)));
    if (expected!.length !== cases.length) throw new Error(`QEMU ran ${expected!.length} of ${cases.length} cases of batch ${seed}`);
    const findings: Finding[] = [];
    for (const [at, lines] of got.entries()) {
      const wrong = cases.findIndex((_, i) => lines[i] !== expected![i]);
      if (wrong >= 0) findings.push(await this.#explain(cases[wrong]!, targets[at]!));
    }
    return findings;
  }

  async #differences(one: Case, target: Target): Promise<string[]> {
    const [expected, got] = await Promise.all([this.#bench.runCases('qemu', [one], true), this.#bench.runCases(target, [one], true)]);
    return differences(expected!, got!);
  }

  async #explain(one: Case, target: Target): Promise<Finding> {
    let shortest = one, found = await this.#differences(one, target);
    // Everything behind the first trap that shows it can go; then halves of what is left.
    for (let cut = one.code.length >> 1 & ~1; cut >= 2; cut = cut >> 1 & ~1) {
      for (;;) {
        const len = shortest.code.length - cut;
        if (len < 4) break;
        const code = new Uint8Array(len + 4);
        code.set(shortest.code.subarray(0, len));
        code.set([0x73, 0, 0x10, 0], len);
        if (code.length >= shortest.code.length) break;
        const candidate = { ...one, code }, still = await this.#differences(candidate, target);
        if (still.length === 0) break;
        [shortest, found] = [candidate, still];
      }
    }
    return { name: one.name, target, differences: found, listing: this.#listing(shortest) };
  }

  #listing(one: Case): string {
    const file = join(this.#folder, 'listing.bin');
    writeFileSync(file, one.code);
    const text = execFileSync('riscv64-linux-gnu-objdump', ['-D', '-b', 'binary', '-m', 'riscv:rv64', '-M', 'no-aliases', '--adjust-vma=0x10000', file], { encoding: 'utf8' });
    return `${one.user ? 'U' : 'S'}-mode, sstatus ${one.sstatus.toString(16)}, fcsr ${one.fcsr.toString(16)}\n${text.split('\n').slice(7).slice(-25).join('\n')}`;
  }
}

async function main(): Promise<number> {
  const argument = (name: string, byDefault: string): string => {
    const at = process.argv.indexOf(name);
    return at < 0 ? byDefault : process.argv[at + 1] ?? byDefault;
  };
  if (MISSING_TOOLS.length > 0) throw new Error(`not installed: ${MISSING_TOOLS.join(', ')}`);
  const seed = BigInt(argument('--seed', String(Date.now()))), end = Date.now() + 1000 * Number(argument('--seconds', '60'));
  const translates = process.argv.includes('--translate');
  const folder = mkdtempSync(join(tmpdir(), 'portside-fuzz-'));
  try {
    const fuzzer = new Fuzzer(await Bench.create(folder), folder);
    let programs = 0;
    for (let batch = seed; Date.now() < end || programs === 0; batch++) {
      const findings = await fuzzer.batch(batch, translates ? ['translated'] : programs % (4 * BATCH) === 0 ? ['native', 'wasm'] : ['wasm']);
      programs += BATCH;
      for (const finding of findings) console.log(`${finding.name} on ${finding.target}:\n${finding.differences.join('\n')}\n${finding.listing}`);
      if (findings.length > 0) return 1;
    }
    console.log(`${programs} random programs from seed ${seed}: no difference from QEMU`);
    return 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main();
