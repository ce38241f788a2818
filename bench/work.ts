/*
 * `npm run bench:work`: everyday commands in a Debian (work/parts.ts) on our machine, in Node by `portside run`, and in
 * qemu-system-riscv64 (TCG) with the same kernel, disk and memory; medians of ROUNDS. In a round each machine is booted anew and both
 * run part after part by turns, the first of them another in each round; only one works at a time. Times are the guest's own clock's,
 * which follow this computer's; beside them the CPU time of each machine's process, which another load stretches less. A part whose result differs between machines or rounds is an error.
 *
 *   --only NAME,…    parts or kinds        --list      what there is
 *   --rounds N       default 5             --chromium  also in the page
 *   --json FILE      all figures           --interpret ours without its translator
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { machineLine, table } from './report.ts';
import { geometricMean, haveSameResult, PartFailed, rowOf, type Measured, type Row } from './work/lines.ts';
import { BOOT, type MachineName, type WorkMachine } from './work/machines.ts';
import { chosenParts, PARTS, type Part } from './work/parts.ts';
import { workRoot } from './work/root.ts';

const { values: options } = parseArgs({
  options: { only: { type: 'string' }, rounds: { type: 'string', default: '5' }, list: { type: 'boolean' }, chromium: { type: 'boolean' }, json: { type: 'string' }, interpret: { type: 'boolean' } },
});
const TITLES: Record<MachineName, string> = { node: 'Node, s', chromium: 'Chromium, s', qemu: 'QEMU, s' };

/** Of each part on each machine, a measurement a round. */
type Results = Map<string, Record<MachineName, Measured[]>>;

/** Adds to `results`; parts that failed are taken out of it and told in `failures`. Rejects when a machine is gone. */
async function round(machines: MachineName[], parts: Part[], number: number, results: Results, failures: string[]): Promise<void> {
  const root = await workRoot((text) => console.error(text));
  const booted: Array<[name: MachineName, machine: WorkMachine]> = [];
  try {
    for (const name of machines) booted.push([name, await BOOT[name](root)]);
    for (const { name } of parts) {
      const turns = number % 2 === 0 ? booted : booted.toReversed();
      const said: string[] = [];
      for (const [machine, { run }] of turns) {
        const measured = await run(name).catch((error: unknown) => {
          if (!(error instanceof PartFailed)) throw new Error(`${name} on ${machine}: ${(error as Error).message}`, { cause: error });
          failures.push(`${machine}: ${error.message}`);
          results.delete(name);
          return null;
        });
        if (measured === null) continue;
        results.get(name)?.[machine].push(measured);
        said.push(`${machine} ${measured.seconds.toFixed(2)}${measured.cpuSeconds === undefined ? '' : ` (CPU ${measured.cpuSeconds.toFixed(2)})`}`);
      }
      console.error(`round ${number + 1}, ${name}: ${said.join(', ')}`);
    }
  } finally {
    for (const [, machine] of booted) await machine.close();
  }
}

function printed(rows: Row[], ours: MachineName): string {
  const ratio = ({ ours: here, qemu }: Row): number => here / qemu;
  const cpuRatio = ({ oursCpu, qemuCpu }: Row): number | null => (oursCpu === null || qemuCpu === null ? null : oursCpu / qemuCpu);
  const mean = (some: Row[]): string => geometricMean(some.map(ratio)).toFixed(2);
  const cpuMean = (some: Row[]): string => (some.some((row) => cpuRatio(row) === null) ? '' : geometricMean(some.map((row) => cpuRatio(row)!)).toFixed(2));
  const shown = (value: number | null): string => value?.toFixed(2) ?? '';
  const worst = rows.reduce((one, other) => (ratio(other) > ratio(one) ? other : one));
  const kinds = [...new Set(rows.map(({ kind }) => kind))];
  return [
    table([['', TITLES[ours], TITLES.qemu, 'ratio', 'CPU, s', 'QEMU, CPU s', 'ratio'], ...rows.map((row) => [row.title, shown(row.ours), shown(row.qemu), shown(ratio(row)), shown(row.oursCpu), shown(row.qemuCpu), shown(cpuRatio(row))])]),
    '',
    table([['geometric mean of', 'rows', 'ratio', 'of CPU'], ...kinds.map((kind) => [kind, rows.filter((row) => row.kind === kind)] as const).concat([['all', rows]]).map(([kind, some]) => [kind, String(some.length), mean([...some]), cpuMean([...some])])]),
    `worst: ${worst.title}, ${ratio(worst).toFixed(2)}`,
  ].join('\n');
}

async function main(): Promise<void> {
  if (options.list === true) return console.log(table([['name', 'kind', ''], ...PARTS.map(({ name, kind, title }) => [name, kind, title])]));
  const rounds = Number(options.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds takes a number from 1, not ${options.rounds}`);
  const parts = chosenParts(options.only);
  if (spawnSync('qemu-system-riscv64', ['--version']).status !== 0) throw new Error('no qemu-system-riscv64, to compare with');
  const ours: MachineName[] = options.chromium === true ? ['node', 'chromium'] : ['node'];
  const results: Results = new Map(parts.map(({ name }) => [name, { node: [], chromium: [], qemu: [] }]));
  const failures: string[] = [];
  const started = Date.now();
  for (let number = 0; number < rounds; number++) await round([...ours, 'qemu'], parts.filter(({ name }) => results.has(name)), number, results, failures);
  console.log(`${machineLine()}; ${rounds} round${rounds === 1 ? '' : 's'} in ${((Date.now() - started) / 60_000).toFixed(0)} min`);
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ machine: machineLine(), rounds, parts: Object.fromEntries(results) }, null, 1)}\n`);
  for (const machine of ours) {
    const rows: Row[] = [];
    for (const { name, title, kind } of parts) {
      const of = results.get(name);
      if (of === undefined) continue;
      if (haveSameResult([...of[machine], ...of.qemu])) rows.push(rowOf(title, kind, of[machine], of.qemu));
      else failures.push(`${name}: results differ: ${machine} ${of[machine].map(({ sum }) => sum).join(' ')}, qemu ${of.qemu.map(({ sum }) => sum).join(' ')}`);
    }
    if (rows.length > 0) console.log(`\n${printed(rows, machine)}`);
  }
  for (const failure of failures) console.error(failure);
  if (failures.length > 0) process.exitCode = 1;
}

await main().catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
