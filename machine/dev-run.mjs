/*
 * Runs a machine under Node's own WASI, for development:
 *
 *   node machine/dev-run.mjs IMAGE.wasm [--translate [--threshold N] [--modules N] [--bytes N] [--lockstep] [--profile]]
 *     [--in DIR] [--disk DIR] [--share DIR] [--slept SECONDS] -- ARGUMENTS
 *
 * Node's stdin blocks in poll_oneoff, so this is for commands and pipes; the product's host is shared/wasi.
 *
 * Node 20's own WASI takes its calls from wasm by V8's fast API, in whose calls the collector may not run; a module whose memory has
 * grown a lot makes it run, and the heap is then damaged (a crash in half of all boots). Without fast calls it is sound.
 */
import { mkdtempSync, rmdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';

setFlagsFromString('--no-turbo-fast-api-calls');

const [image, ...rest] = process.argv.slice(2);
const preopens = {};
const translation = rest[0] === '--translate' ? takeTranslation() : null;
const places = { '--in': '/in', '--disk': '/portside', '--share': '/mnt/share' };
while (Object.hasOwn(places, rest[0])) {
  const [flag, directory] = rest.splice(0, 2);
  preopens[places[flag]] = directory;
}
// As if the host had slept so long a second from now: its wall clock has gone on, its monotonic clock has not.
const sleptNs = rest[0] === '--slept' ? BigInt(rest.splice(0, 2)[1]) * 1_000_000_000n : 0n;
if (rest[0] === '--') rest.shift();

// The device lies in /portside: an empty directory where there is none.
if (translation !== null && preopens['/portside'] === undefined) {
  const empty = preopens['/portside'] = mkdtempSync(join(tmpdir(), 'portside-dev-'));
  process.on('exit', () => rmdirSync(empty));
}
const wasi = new WASI({ version: 'preview1', args: [image, ...rest], env: { TERM: 'xterm' }, preopens });
const module = await WebAssembly.compile(await readFile(image));
const imports = wasi.getImportObject();
const { clock_time_get: readClock } = imports.wasi_snapshot_preview1;
const sleepsAtMs = performance.now() + 1000;
if (sleptNs > 0n) {
  imports.wasi_snapshot_preview1.clock_time_get = (clock, precision, at) => {
    const status = readClock(clock, precision, at);
    const view = new DataView(instance.exports.memory.buffer);
    if (clock === 0 && performance.now() > sleepsAtMs) view.setBigUint64(at, view.getBigUint64(at, true) + sleptNs, true);
    return status;
  };
}
const bindCompiler = translation === null ? null : await offerCompiler(imports.wasi_snapshot_preview1);
const instance = await WebAssembly.instantiate(module, imports);
bindCompiler?.(instance);
const cpuBefore = process.cpuUsage();
if (process.env.MARK) process.stderr.write(`start ${performance.now().toFixed(0)} ms\n`);
process.exitCode = wasi.start(instance);
if (process.env.MARK) process.stderr.write(`end ${performance.now().toFixed(0)} ms, ${instance.exports.instret()} instructions, ${((cpu) => (cpu.user + cpu.system) / 1000)(process.cpuUsage(cpuBefore)).toFixed(0)} ms of CPU\n`);

// `struct region_counts` of machine/cpu/translate/region.h.
if (process.env.MARK && translation !== null && instance.exports.translation_counts) {
  const counts = new BigUint64Array(instance.exports.memory.buffer, instance.exports.translation_counts(), 12);
  const names = ['regions', 'modules', 'bytes', 'instructions', 'dropped_all', 'killed', 'poor', 'refused', 'entries', 'retired', 'slow', 'checks'];
  process.stderr.write(`${names.map((name, i) => `${name} ${counts[i]}`).join(', ')}\n`);
}

/** Takes `--translate` and what belongs to it: CompilerSettings of shared/wasi/compiler-fd.ts. */
function takeTranslation() {
  const settings = {};
  for (rest.shift(); rest.length > 0;) {
    const flag = rest[0].slice(2);
    if (['--threshold', '--modules', '--bytes'].includes(rest[0])) settings[flag] = Number(rest.splice(0, 2)[1]);
    else if (['--lockstep', '--profile'].includes(rest[0])) settings[rest.shift().slice(2)] = true;
    else break;
  }
  return settings;
}

/** Puts the product's own device in front of Node's imports, as one more descriptor. Returns what binds it to the instance. */
async function offerCompiler(host) {
  const { register } = await import('tsx/esm/api');
  register();
  const [{ compilerDevice }, { GuestMemory }] = await Promise.all([import('../shared/wasi/compiler-fd.ts'), import('../shared/wasi/guest-memory.ts')]);
  const device = compilerDevice(module, translation);
  if (device === null) return () => process.stderr.write('dev-run: this machine does not translate\n');
  const memory = new GuestMemory();
  const directory = 3 + Object.keys(preopens).indexOf('/portside');
  // Beyond those that Node gives.
  const fd = 1 << 20;
  let compiler;
  const { path_open, fd_read, fd_write, fd_fdstat_get, fd_close } = host;
  host.path_open = (dir, lookup, path, length, oflags, rights, inheriting, flags, opened) => {
    memory.refresh();
    if (dir !== directory || Buffer.from(memory.bytes.subarray(path >>> 0, (path >>> 0) + length)).toString() !== 'compiler') return path_open(dir, lookup, path, length, oflags, rights, inheriting, flags, opened);
    compiler = device.open();
    memory.setU32(opened >>> 0, fd);
    return 0;
  };
  host.fd_fdstat_get = (of, stat) => {
    if (of !== fd) return fd_fdstat_get(of, stat);
    memory.refresh();
    compiler.fd_fdstat_get().fdstat.write_bytes(memory.view, stat >>> 0);
    return 0;
  };
  host.fd_read = (from, vectors, count, done) => {
    if (from !== fd) return fd_read(from, vectors, count, done);
    memory.refresh();
    return compiler.readv(memory, vectors >>> 0, count, done >>> 0);
  };
  host.fd_write = (to, vectors, count, done) => {
    if (to !== fd) return fd_write(to, vectors, count, done);
    memory.refresh();
    return compiler.writev(memory, vectors >>> 0, count, done >>> 0);
  };
  host.fd_close = (of) => (of === fd ? 0 : fd_close(of));
  return ({ exports }) => {
    memory.bind(exports.memory);
    device.bind(exports);
  };
}
