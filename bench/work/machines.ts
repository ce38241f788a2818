/*
 * The machines that are compared, each booted to `guest/run.sh`, which waits for the name of a part. A machine that waits takes no
 * processor, so several can be up and work by turns.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser } from '@playwright/test';
import { CHROMIUM_LAUNCH } from '../../e2e/chromium.ts';
import { Guest, Server } from '../../e2e/guest.ts';
import { QemuGuest } from '../../image/qemu.ts';
import { CMDLINE } from '../../image/recipes.ts';
import { cpuSeconds } from '../../tools/cpu-seconds.ts';
import type { LockedDebian } from '../../tools/locked-debian.ts';
import { Lines, parseLine, PartFailed, type Measured } from './lines.ts';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const ARGV = ['bash', '/work/run.sh'];
const BOOT_MS = 120_000;
const PART_MS = 20 * 60_000;
/** of a machine that runs all parts */
const LIFE_MS = 24 * 3600_000;

export interface WorkMachine {
  /** Runs a part. Rejects with PartFailed when it did not succeed, with another error when the machine is gone or the part took PART_MS. */
  run(name: string): Promise<Measured>;
  close(): Promise<void>;
}

export type MachineName = 'node' | 'chromium' | 'qemu';

export const BOOT: Record<MachineName, (root: LockedDebian) => Promise<WorkMachine>> = { node: bootInNode, chromium: bootInChromium, qemu: bootInQemu };

/** Lines in the order in which they came, whoever waits for them. */
class Inbox {
  readonly #lines = new Lines();
  readonly #came: string[] = [];
  #wake: () => void = () => undefined;
  #beganAt = 0;
  #cpuSeconds = 0;

  /** `pid`: of the process whose CPU time counts. */
  push(text: string, pid: number): void {
    for (const line of this.#lines.push(text)) {
      if (line === '= begin') this.#beganAt = cpuSeconds(pid);
      else if (line === '= end') this.#cpuSeconds = cpuSeconds(pid) - this.#beganAt;
      this.#came.push(line);
    }
    this.#wake();
  }

  /** The first line of which `pick` makes something; those before it are dropped, but for complaints, which an error quotes. */
  async first<T>(pick: (line: string) => T | null, timeoutMs: number, gone: Promise<never>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs); });
    const complaints: string[] = [];
    try {
      for (;;) {
        for (let line = this.#came.shift(); line !== undefined; line = this.#came.shift()) {
          if (line.startsWith('! ')) complaints.push(line);
          const found = pick(line);
          if (found !== null) return found;
        }
        await Promise.race([new Promise<void>((resolve) => { this.#wake = resolve; }), late, gone]);
      }
    } catch (error) {
      const message = [(error as Error).message, ...complaints].join('\n');
      throw error instanceof PartFailed ? new PartFailed(message, { cause: error }) : new Error(message, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  ready(gone: Promise<never>): Promise<boolean> {
    return this.first((line) => (line === '= ready' ? true : null), BOOT_MS, gone);
  }

  async result(name: string, gone: Promise<never>): Promise<Measured> {
    const measured = await this.first(parseLine, PART_MS, gone);
    if (measured.name !== name) throw new Error(`asked for ${name}, the guest ran ${measured.name}`);
    return { ...measured, cpuSeconds: this.#cpuSeconds };
  }
}

const RUN_FLAGS = process.argv.includes('--interpret') ? ['--no-translate'] : [];

/** `portside run`, whose host is the product's own. */
async function bootInNode(root: LockedDebian): Promise<WorkMachine> {
  const child = spawn(process.execPath, [BIN, 'run', ...RUN_FLAGS, root.image, ...ARGV], { stdio: ['pipe', 'pipe', 'inherit'] });
  const inbox = new Inbox();
  child.stdin.on('error', () => undefined);
  child.stdout.on('data', (chunk: Buffer) => inbox.push(chunk.toString(), child.pid!));
  const gone = once(child, 'close').then(([status]) => { throw new Error(`portside run ended with ${String(status)}`); });
  gone.catch(() => undefined);
  const close = (): Promise<void> => end(child);
  await inbox.ready(gone).catch((error: unknown) => close().then(() => { throw error; }));
  return {
    run: (name) => {
      child.stdin.write(`${name}\n`);
      return inbox.result(name, gone);
    },
    close,
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

async function bootInQemu(root: LockedDebian): Promise<WorkMachine> {
  const inbox = new Inbox();
  const guest: QemuGuest = new QemuGuest({ ...root, cmdline: CMDLINE, argv: ARGV, timeoutMs: LIFE_MS, onOutput: (text) => inbox.push(text, guest.pid!) });
  const gone = guest.exited.then((status) => { throw new Error(`QEMU's guest ended with ${status}: ${guest.screen}`); });
  gone.catch(() => undefined);
  const close = async (): Promise<void> => {
    guest.kill();
    await guest.exited.catch(() => undefined);
  };
  await inbox.ready(gone).catch((error: unknown) => close().then(() => { throw error; }));
  return {
    run: (name) => {
      guest.type(`${name}\n`);
      return inbox.result(name, gone);
    },
    close,
  };
}

/** The page of `portside serve`. Its screen is all that was written: some lines a part. */
async function bootInChromium(root: LockedDebian): Promise<WorkMachine> {
  const server = new Server(['--image', root.image]);
  let browser: Browser | null = null;
  const close = async (): Promise<void> => {
    await browser?.close();
    await server.stop();
  };
  try {
    await server.start();
    browser = await chromium.launch(CHROMIUM_LAUNCH);
    const guest = new Guest(await browser.newPage());
    await guest.open(`${server.url}?${new URLSearchParams({ image: 'work', net: 'none', cmd: ARGV.join(' ') }).toString()}`);
    await guest.waitFor(/^= ready$/m, BOOT_MS);
    return {
      run: async (name) => {
        await guest.write(`${name}\n`);
        const [line] = await guest.waitFor(new RegExp(`^= ${name} .*$`, 'm'), PART_MS);
        const measured = parseLine(line);
        if (measured === null) throw new Error(`no result: ${line}`);
        return measured;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
