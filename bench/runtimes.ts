/*
 * `npm run bench:runtimes`: the `busybox` image in the built-in runtime and in those of tools/runtimes.ts, interleaved, medians of RUNS.
 * Start: from the command line to the shell's prompt. Work: `dd` of 16 MB into sha256sum by the guest's own clock. Network: 20 MB each
 * way between the container and a server here, from the first byte to the last, by the server's clock. `--quick` is one run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { fetchRuntime, type FetchedRuntime } from '../tools/runtimes.ts';
import { machineLine, median, table } from './report.ts';

const RUNS = process.argv.includes('--quick') ? 1 : 5;
const BYTES = 20_000_000;
const MB = 1_000_000;
const BIN = fileURLToPath(new URL('../bin/portside.mjs', import.meta.url));
const REAL = /real\s+(\d+)m ([\d.]+)s/;
const WORK = "time sh -c 'dd if=/dev/zero bs=1M count=16 2>/dev/null | sha256sum'";

interface Contestant {
  name: string;
  flags: string[];
  net: boolean;
  /** interpreted: the work would take minutes */
  startOnly?: boolean;
}

interface Result {
  startS: number;
  workS: number | null;
  downMBps: number | null;
  upMBps: number | null;
}

async function contestants(): Promise<Contestant[]> {
  const all: Contestant[] = [{ name: 'built-in', flags: [], net: true }];
  const add = async (name: FetchedRuntime, more: Omit<Contestant, 'flags'>[], flags: string[][]): Promise<void> => {
    const found = await fetchRuntime(name);
    if ('missing' in found) return console.error(`skipped: ${found.missing}`);
    all.push(...more.map((one, i) => ({ ...one, flags: ['--runtime', found.path, ...flags[i]] })));
  };
  await add('wazero', [{ name: 'wazero', net: true }], [[]]);
  await add('wasmedge', [{ name: 'wasmedge', net: false, startOnly: true }, { name: 'wasmedge, --enable-jit', net: false }], [[], ['--runtime-flag=--enable-jit']]);
  return all;
}

/** A container: what it writes, until `until` matches. */
async function inContainer(args: string[], until: RegExp): Promise<{ text: string; seconds: number }> {
  const started = performance.now();
  const child = spawn(process.execPath, [BIN, 'run', ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close').then(() => 'close');
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  while (!until.test(text)) {
    const event = await Promise.race([once(child.stdout, 'data').then(() => 'data'), closed]);
    if (event === 'close' && !until.test(text)) throw new Error(`it ended after: ${text}`);
  }
  const seconds = (performance.now() - started) / 1000;
  child.kill();
  await closed;
  return { text, seconds };
}

/** MB/s of one transfer, timed here. */
async function transfer(flags: string[], isUpload: boolean): Promise<number> {
  let seconds = 0;
  const server = createServer((socket) => void (isUpload ? take(socket) : give(socket)).then((s) => { seconds = s; })).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const command = isUpload
    ? `dd if=/dev/zero bs=100000 count=${BYTES / 100_000} 2>/dev/null | nc 192.168.127.254 ${port}`
    : `nc 192.168.127.254 ${port} </dev/null >/dev/null`;
  await inContainer(['--net', ...flags, 'busybox', 'sh', '-c', `i=0; while ! ip -4 addr show dev eth0 | grep -q 192.168 && [ $i -lt 100 ]; do i=$((i+1)); usleep 100000; done; ${command}; echo do""ne`], /done/);
  server.close();
  return BYTES / MB / seconds;
}

async function give(socket: Socket): Promise<number> {
  const started = performance.now();
  socket.on('error', () => {});
  socket.resume();
  socket.end(Buffer.alloc(BYTES));
  await once(socket, 'close');
  return (performance.now() - started) / 1000;
}

async function take(socket: Socket): Promise<number> {
  const started = performance.now();
  let count = 0;
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    count += chunk.length;
    if (count >= BYTES) socket.end();
  });
  await once(socket, 'close');
  if (count !== BYTES) throw new Error(`${count} bytes came`);
  return (performance.now() - started) / 1000;
}

async function measure({ flags, net, startOnly }: Contestant): Promise<Result> {
  const { seconds: startS } = await inContainer([...flags, 'busybox'], /~ ?# /);
  if (startOnly === true) return { startS, workS: null, downMBps: null, upMBps: null };
  const { text } = await inContainer([...flags, 'busybox', 'sh', '-c', WORK], REAL);
  const [, minutes, seconds] = REAL.exec(text)!;
  return {
    startS,
    workS: Number(minutes) * 60 + Number(seconds),
    downMBps: net ? await transfer(flags, false) : null,
    upMBps: net ? await transfer(flags, true) : null,
  };
}

const all = await contestants();
const results = new Map<string, Result[]>(all.map(({ name }) => [name, []]));
for (let run = 0; run < RUNS; run++) for (const one of all) results.get(one.name)!.push(await measure(one));

const middle = (name: string, pick: (result: Result) => number | null, digits: number): string => {
  const values = results.get(name)!.map(pick);
  return values.includes(null) ? '' : median(values as number[]).toFixed(digits);
};
console.log(machineLine());
console.log(table([['', 'start, s', 'dd | sha256sum 16 MB, s', 'down, MB/s', 'up, MB/s'], ...all.map(({ name }) => [
  name, middle(name, ({ startS }) => startS, 2), middle(name, ({ workS }) => workS, 2), middle(name, ({ downMBps }) => downMBps, 1), middle(name, ({ upMBps }) => upMBps, 1),
])]));
process.exit(0);
