/*
 * `npm run bench:machine`: the same commands in the `busybox` image in Chromium and in qemu-system-riscv64 (TCG) with the same
 * kernel and initramfs, interleaved, medians of RUNS. Times are the guest's own (`time` of its shell), which follow the host's clock.
 * MIPS are the instructions that a command takes, counted by the machine once under Node, over its time in Chromium. `--quick` is one run.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';
import { CHROMIUM_LAUNCH } from '../e2e/chromium.ts';
import { Guest, Server } from '../e2e/guest.ts';
import { QemuGuest } from '../image/qemu.ts';
import { CMDLINE } from '../image/recipes.ts';
import { machineLine, median, table } from './report.ts';

const RUNS = process.argv.includes('--quick') ? 1 : 5;
const FILES = fileURLToPath(new URL('../.cache/guest/busybox', import.meta.url));
const REAL = /real\s+(\d+)m ([\d.]+)s/;
const COMMANDS: Record<string, string> = {
  'dd | sha256sum, 16 MB': "sh -c 'dd if=/dev/zero bs=1M count=16 2>/dev/null | sha256sum'",
  'shell loop, 100,000 turns': "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'",
  'gzip -9 of 4 MB': "sh -c 'gzip -9 < /tmp/4m > /dev/null'",
  '200 x /bin/busybox true': "sh -c 'i=0; while [ $i -lt 200 ]; do /bin/busybox true; i=$((i+1)); done'",
};
// Text-like input that gzip has to work on: digits and newlines.
const PREPARE = "sh -c 'seq 1 700000 | head -c 4194304 > /tmp/4m'";

function seconds(text: string): number {
  const real = REAL.exec(text);
  if (real === null) throw new Error(`no time in: ${text}`);
  return Number(real[1]) * 60 + Number(real[2]);
}

async function inQemu(): Promise<number[]> {
  // One script instead of a terminal: what is typed while a shell sets its terminal up can be lost.
  const script = [PREPARE, ...Object.values(COMMANDS).map((command) => `time ${command}`)].join('; ');
  const guest = new QemuGuest({
    kernel: join(FILES, 'kernel'), initrd: join(FILES, 'initrd'), memoryMiB: 256, cmdline: CMDLINE, argv: ['sh', '-c', script], timeoutMs: 120_000,
  });
  const status = await guest.exited;
  const lines = guest.screen.match(new RegExp(REAL, 'g')) ?? [];
  if (status !== 0 || lines.length !== Object.keys(COMMANDS).length) throw new Error(`QEMU's guest ended with ${status}: ${guest.screen}`);
  return lines.map(seconds);
}

async function inPage(url: string): Promise<number[]> {
  const browser = await chromium.launch(CHROMIUM_LAUNCH);
  try {
    const guest = new Guest(await browser.newPage());
    await guest.open(`${url}?image=busybox&net=none`);
    await guest.waitFor(/[#$] ?$/m);
    await guest.run(PREPARE);
    const times: number[] = [];
    for (const command of Object.values(COMMANDS)) times.push(seconds((await guest.run(`time ${command}`, 200_000)).output));
    return times;
  } finally {
    await browser.close();
  }
}

/** Instructions of each command: what a second turn of it adds, so that neither the start nor the kernel's first chores count. */
function instructions(): number[] {
  const image = fileURLToPath(new URL('../dist/images/busybox.wasm', import.meta.url)), runner = fileURLToPath(new URL('../machine/dev-run.mjs', import.meta.url));
  const count = (code: string): number => {
    const run = spawnSync(process.execPath, ['--no-warnings', runner, image, '--', 'sh', '-c', code], { encoding: 'utf8', input: '', env: { ...process.env, MARK: '1' } });
    const found = /, (\d+) instructions/.exec(run.stderr);
    if (found === null) throw new Error(`no count in: ${run.stderr}`);
    return Number(found[1]);
  };
  return Object.values(COMMANDS).map((command) => count(`${PREPARE}; ${command}; ${command}`) - count(`${PREPARE}; ${command}`));
}

const counts = instructions();
const server = new Server();
await server.start();
const ours: number[][] = [];
const theirs: number[][] = [];
try {
  for (let run = 0; run < RUNS; run++) {
    ours.push(await inPage(server.url));
    theirs.push(await inQemu());
  }
} finally {
  await server.stop();
}
console.log(machineLine());
console.log(table([['', 'Chromium, s', 'QEMU, s', 'ratio', 'guest MIPS'], ...Object.keys(COMMANDS).map((name, i) => {
  const [here, there] = [median(ours.map((times) => times[i])), median(theirs.map((times) => times[i]))];
  return [name, here.toFixed(2), there.toFixed(2), (here / there).toFixed(2), (counts[i]! / here / 1e6).toFixed(0)];
})]));
