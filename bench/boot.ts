/*
 * `npm run bench:boot`: how long until a shell's first output in V8 (Node, no page around it): restored from the snapshot, as everybody
 * starts, and booted without one. Medians of RUNS runs, interleaved, from `_start` to the end of a shell that says one word; with the CPU time,
 * which another load on the machine does not stretch as it does the clock.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machineLine, median, table } from './report.ts';

const RUNS = process.argv.includes('--quick') ? 1 : 5;
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist/images');
const FILES = join(ROOT, '.cache/guest/busybox');
const RUNNER = join(ROOT, 'machine/dev-run.mjs');

interface Start {
  ms: number;
  cpuMs: number;
  instructions: number;
}

function start(wasm: string, flags: string[], firstCount: number): Start {
  const run = spawnSync(process.execPath, ['--no-warnings', RUNNER, wasm, ...flags, '--', 'sh', '-c', 'echo ready'], { encoding: 'utf8', input: '', env: { ...process.env, MARK: '1' }, timeout: 120_000 });
  const found = /start (\d+) ms\nend (\d+) ms, (\d+) instructions, (\d+) ms of CPU/.exec(run.stderr);
  if (!run.stdout.startsWith('ready') || found === null) throw new Error(`no start: ${run.stdout}${run.stderr}`);
  return { ms: Number(found[2]) - Number(found[1]), cpuMs: Number(found[4]), instructions: Number(found[3]) - firstCount };
}

/** Instructions that a snapshot has behind it. */
async function countOf(wasm: string): Promise<number> {
  const module = await WebAssembly.compile(readFileSync(wasm));
  const imports = Object.fromEntries(WebAssembly.Module.imports(module).map(({ name }) => [name, () => 0]));
  const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: imports });
  return Number((instance.exports.instret as () => bigint)());
}

if (!existsSync(join(DIST, 'debian.wasm')) || !existsSync(join(FILES, 'kernel'))) throw new Error('no images: run `npm run build` first');
const machine = execFileSync(process.execPath, ['--import', 'tsx', join(ROOT, 'machine/build.ts')], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
// A build of images at the same time replaces them.
const files = mkdtempSync(join(tmpdir(), 'portside-bench-boot-'));
cpSync(FILES, files, { recursive: true });
const cases: Array<[name: string, run: () => Start]> = [];
for (const image of ['busybox', 'debian']) {
  const wasm = join(DIST, `${image}.wasm`);
  const before = await countOf(wasm);
  cases.push([`${image}: restored`, () => start(wasm, ['--disk', DIST], before)]);
}
cases.push(['busybox: booted', () => start(machine, ['--in', files], 0)]);
const starts = cases.map((): Start[] => []);
try {
  for (let run = 0; run < RUNS; run++) for (const [i, [, measure]] of cases.entries()) starts[i].push(measure());
} finally {
  rmSync(files, { recursive: true });
}
console.log(machineLine());
console.log(table([['', 'ms', 'least', 'CPU ms', 'million instructions'], ...cases.map(([name], i) => {
  const of = (field: keyof Start): number[] => starts[i].map((one) => one[field]);
  return [name, median(of('ms')).toFixed(0), Math.min(...of('ms')).toFixed(0), median(of('cpuMs')).toFixed(0), (median(of('instructions')) / 1e6).toFixed(1)];
})]));
