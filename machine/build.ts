/*
 * Compiles the machine to wasm32-wasip1 with the clang of npm: one object per source, then wasm-ld.
 *
 * The result is kept in .cache/machine/KEY/, KEY being the hash of sources, flags and the compiler's version.
 * No libc is linked and no start file: the exports are `_start`, `wizer.initialize`, `instret` and `memory`.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runLLVM, type Tree } from '@yowasp/clang';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const CACHE = fileURLToPath(new URL('../.cache/machine', import.meta.url));
/** files of the native build, which is for debugging */
const NATIVE_ONLY = ['host/host_posix.c', 'host/host_files_posix.c'];
const CLANG_FLAGS = [
  '--target=wasm32-wasip1', '-std=gnu17', '-O3', '-ffreestanding', '-fno-strict-aliasing', '-fwrapv', '-fvisibility=hidden',
  '-mbulk-memory', '-msign-ext', '-mnontrapping-fptoint', '-Wall', '-Wextra', '-Wno-parentheses', '-Wno-unused-command-line-argument',
];
const STACK_BYTES = 256 * 1024;
const LINK_FLAGS = ['--no-entry', '--gc-sections', '--strip-all', '--export-table', '--growable-table', '--stack-first', '-z', `stack-size=${STACK_BYTES}`, '-O2'];

export class MachineBuildError extends Error {}

export interface MachineBuild {
  /** absolute path of machine.wasm */
  path: string;
  /** hash of all that went into it */
  hash: string;
}

/** Builds the machine unless it is already there. */
export async function buildMachine(report: (text: string) => void = () => {}): Promise<MachineBuild> {
  const sources = readSources();
  const hash = keyOf(sources);
  const path = join(CACHE, hash, 'machine.wasm');
  if (existsSync(path)) return { path, hash };

  const units = [...sources.keys()].filter((name) => name.endsWith('.c') && !NATIVE_ONLY.includes(name));
  save(path, await build(sources, units, report));
  return { path, hash };
}

/**
 * Builds a program of some of the machine's sources and of `main`, a test's own one below machine/, whose functions with an export_name it
 * exports. Returns its path.
 */
export async function buildTestProgram(main: string, units: readonly string[]): Promise<string> {
  const sources = new Map([...readSources()].filter(([name]) => name.endsWith('.h') || units.includes(name))).set(main, readFileSync(join(FOLDER, main), 'utf8'));
  const path = join(CACHE, keyOf(sources), `${main.replaceAll('/', '-')}.wasm`);
  if (!existsSync(path)) save(path, await build(sources, [main, ...units], () => {}));
  return path;
}

async function build(sources: Map<string, string>, units: readonly string[], report: (text: string) => void): Promise<Uint8Array> {
  const tree = asTree(sources);
  const objects: Tree = {};
  for (const [index, unit] of units.entries()) {
    report(`compiling ${unit} (${index + 1}/${units.length})`);
    objects[`${index}.o`] = await compile(unit, sources, tree);
  }
  report('linking');
  const linked = await run(['wasm-ld', '-m', 'wasm32', ...LINK_FLAGS, ...Object.keys(objects), '-o', 'machine.wasm'], objects);
  return linked['machine.wasm'] as Uint8Array;
}

/** Paths below machine/ of everything that is compiled, headers included, with `/` between the folders and in one order everywhere. */
export function machineSources(folder = ''): string[] {
  return readdirSync(join(FOLDER, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder + entry.name;
    if (entry.isDirectory()) return machineSources(`${path}/`);
    return /(?<!\.test)\.[ch]$/.test(path) ? [path] : [];
  }).sort();
}

/** The object of a unit, kept under the hash of all that it could be made from: itself and every header. */
async function compile(unit: string, sources: Map<string, string>, tree: Tree): Promise<Uint8Array> {
  const path = join(CACHE, 'objects', `${keyOf(new Map([...sources].filter(([name]) => name.endsWith('.h') || name === unit)))}.o`);
  if (!existsSync(path)) save(path, (await run(['clang', '-c', ...CLANG_FLAGS, '-I.', unit, '-o', 'unit.o'], tree))['unit.o'] as Uint8Array);
  return readFileSync(path);
}

/** Path below machine/ → text, of everything that is compiled. */
function readSources(): Map<string, string> {
  return new Map(machineSources().map((path) => [path, readFileSync(join(FOLDER, path), 'utf8')]));
}

function keyOf(sources: Map<string, string>): string {
  const hash = createHash('sha256').update(JSON.stringify([CLANG_FLAGS, LINK_FLAGS, compilerVersion()]));
  for (const [name, text] of sources) hash.update(`${name}\0${text}\0`);
  return hash.digest('hex');
}

function compilerVersion(): string {
  const manifest = join(dirname(fileURLToPath(import.meta.resolve('@yowasp/clang'))), '../package.json');
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

function asTree(sources: Map<string, string>): Tree {
  const tree: Tree = {};
  for (const [path, text] of sources) {
    const folders = path.split('/'), name = folders.pop()!;
    let at = tree;
    for (const folder of folders) at = (at[folder] ??= {}) as Tree;
    at[name] = text;
  }
  return tree;
}

/** Runs one tool over a virtual file tree; its messages become the error's text, warnings included: there are none. */
async function run(args: string[], files: Tree): Promise<Tree> {
  const decoder = new TextDecoder();
  let messages = '';
  const collect = (bytes: Uint8Array | null): void => {
    if (bytes) messages += decoder.decode(bytes, { stream: true });
  };
  try {
    const built = await runLLVM(args, files, { stdout: collect, stderr: collect, fetchProgress: () => {} });
    if (messages) throw new MachineBuildError(`${args[0]} warns:\n${messages}`);
    return built!;
  } catch (error) {
    if (error instanceof MachineBuildError) throw error;
    throw new MachineBuildError(`${args[0]} failed: ${messages || String(error)}`);
  }
}

/** Renamed into place, so that a build that was interrupted leaves nothing half-written. */
function save(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, bytes);
  renameSync(temporary, path);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { path } = await buildMachine((text) => process.stderr.write(`${text}\n`));
  console.log(path);
}
