/*
 * Runs a machine under Node's own WASI, for development: node machine/dev-run.mjs IMAGE.wasm [--in DIR] [--disk DIR] [--share DIR] [--slept SECONDS] -- ARGUMENTS
 *
 * Node's stdin blocks in poll_oneoff, so this is for commands and pipes; the product's host is shared/wasi.
 *
 * Node 20's own WASI takes its calls from wasm by V8's fast API, in whose calls the collector may not run; a module whose memory has
 * grown a lot makes it run, and the heap is then damaged (a crash in half of all boots). Without fast calls it is sound.
 */
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';

setFlagsFromString('--no-turbo-fast-api-calls');

const [image, ...rest] = process.argv.slice(2);
const preopens = {};
const places = { '--in': '/in', '--disk': '/portside', '--share': '/mnt/share' };
while (Object.hasOwn(places, rest[0])) {
  const [flag, directory] = rest.splice(0, 2);
  preopens[places[flag]] = directory;
}
// As if the host had slept so long a second from now: its wall clock has gone on, its monotonic clock has not.
const sleptNs = rest[0] === '--slept' ? BigInt(rest.splice(0, 2)[1]) * 1_000_000_000n : 0n;
if (rest[0] === '--') rest.shift();

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
const instance = await WebAssembly.instantiate(module, imports);
const cpuBefore = process.cpuUsage();
if (process.env.MARK) process.stderr.write(`start ${performance.now().toFixed(0)} ms\n`);
process.exitCode = wasi.start(instance);
if (process.env.MARK) process.stderr.write(`end ${performance.now().toFixed(0)} ms, ${instance.exports.instret()} instructions, ${((cpu) => (cpu.user + cpu.system) / 1000)(process.cpuUsage(cpuBefore)).toFixed(0)} ms of CPU\n`);
