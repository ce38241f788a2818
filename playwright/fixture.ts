/*
 * portside/playwright: tests of what runs in a container, with Playwright.
 *
 *     import { expect, test } from 'portside/playwright';
 *     test.use({ image: 'busybox', net: 'none' });
 *     test('it is a RISC-V', async ({ container }) => {
 *       await container.type('uname -m\n');
 *       await container.waitForText('riscv64');
 *     });
 *
 * Each worker starts a Portside server of its own, a real process on a free port; each test that asks for `container` gets a page
 * with a container that has shown its first output. Everything started here is stopped here, by pid. The page and the images have to be
 * built (`npm start` does it).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test as base, type Page } from '@playwright/test';

export { expect };

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const READY = /Portside is ready: (https?:\/\/\S+\/)/;
const POLL_MS = [20, 50, 100, 100, 250];

/** One `portside serve`. */
export class Server {
  url = '';
  output = '';
  #child: ChildProcess | null = null;
  readonly #args: string[];

  constructor(args: string[] = []) {
    this.#args = args;
  }

  get port(): number { return Number(new URL(this.url).port); }

  /** Starts it, on `port` if given, else on a free one; resolves when it says that it is ready. */
  async start(port = 0): Promise<void> {
    const child = spawn(process.execPath, ['bin/portside.mjs', 'serve', '--port', String(port), ...this.#args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        this.output += chunk.toString();
        const ready = READY.exec(this.output);
        if (ready === null) return;
        this.url = ready[1];
        resolve();
      };
      child.stdout.on('data', onData);
      child.stderr.on('data', onData);
      child.once('exit', (code) => reject(new Error(`portside serve ended with ${code}: ${this.output}`)));
    });
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    this.output = '';
    if (child === null || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await gone;
  }
}

/** What `globalThis.portside` offers, as far as the specs use it. */
interface Scripting {
  screen(): string;
  write(text: string): void;
  ready: Promise<void>;
  state: string;
  exitCode?: number;
  stats(): Record<string, unknown>;
}

/** A page with a container. */
export class Guest {
  readonly page: Page;
  #markers = 0;

  constructor(page: Page) {
    this.page = page;
  }

  /** Opens `url` and waits until the container has shown its first output. */
  async open(url: string): Promise<void> {
    await this.page.goto(url);
    await this.ready();
  }

  ready(): Promise<void> {
    return this.page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.ready);
  }

  screen(): Promise<string> {
    return this.page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.screen());
  }

  state(): Promise<string> {
    return this.page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.state);
  }

  stats(): Promise<Record<string, unknown>> {
    return this.page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.stats());
  }

  write(text: string): Promise<void> {
    return this.page.evaluate((data) => (globalThis as unknown as { portside: Scripting }).portside.write(data), text);
  }

  /** Types as a person does, into whatever has the focus: the terminal, after a start. */
  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text);
  }

  /** Waits until the terminal shows `text`. */
  async waitForText(text: string | RegExp, timeout?: number): Promise<RegExpExecArray> {
    return this.waitFor(typeof text === 'string' ? new RegExp(text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')) : text, timeout);
  }

  /** Waits until the terminal's text matches. */
  async waitFor(pattern: RegExp, timeout = 30_000): Promise<RegExpExecArray> {
    let found: RegExpExecArray | null = null;
    await expect.poll(async () => {
      const text = await this.screen();
      found = pattern.exec(text);
      return found === null ? text.slice(-2000) : 'found';
    }, { timeout, intervals: POLL_MS, message: `the terminal to show ${pattern}` }).toBe('found');
    return found!;
  }

  /**
   * Runs a shell command and resolves with its output and status. The end marker is spelled so that the echo of the
   * keystrokes cannot match it.
   */
  async run(command: string, timeout = 60_000): Promise<{ output: string; status: number }> {
    const n = ++this.#markers;
    await this.write(`echo 'be''gin-${n}'; ${command}; echo 'en''d-${n}' $?\n`);
    const found = await this.waitFor(new RegExp(`begin-${n}\\n([^]*?)end-${n} (\\d+)`), timeout);
    return { output: found[1].trimEnd(), status: Number(found[2]) };
  }
}

/** What `test.use` may set, beside Playwright's own options. */
export interface ContainerOptions {
  /** name or URL of the image */
  image: string;
  /** the command, as in the page's address; empty: the image's own */
  cmd: string;
  /** `relay`, `none`, or whatever else the page's address knows */
  net: string;
}

export interface ServerOptions {
  /** flags of `portside serve`, such as ['-p', '8000:80'] */
  serveArgs: string[];
}

export const test = base.extend<ContainerOptions & { container: Guest }, ServerOptions & { portside: Server }>({
  image: ['busybox', { option: true }],
  cmd: ['', { option: true }],
  net: ['relay', { option: true }],
  serveArgs: [[], { option: true, scope: 'worker' }],
  portside: [async ({ serveArgs }, use) => {
    const server = new Server(serveArgs);
    await server.start();
    await use(server);
    await server.stop();
  }, { scope: 'worker' }],
  container: async ({ page, portside, image, cmd, net }, use) => {
    const url = new URL(portside.url);
    url.search = new URLSearchParams({ image, net, ...(cmd === '' ? {} : { cmd }) }).toString();
    const guest = new Guest(page);
    await guest.open(url.href);
    await use(guest);
    // The session ends with the page, before the server is asked to stop.
    await page.goto('about:blank');
  },
});
