/*
 * What the specs drive: a Portside server of their own (a real process on a free port), a page with a container in it, and
 * small servers on the host's loopback for the container to talk to. Everything started here is stopped here, by pid.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, type Page } from '@playwright/test';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const READY = /Portside is ready: (http:\/\/\S+\/)/;
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

/** A web server on the host's loopback: GET /file gives `body`, PUT /up answers with the SHA-256 of what came. */
export async function startHostHttp(body: Uint8Array): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-length': body.length });
      response.end(body);
      return;
    }
    const hash = createHash('sha256');
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      bytes += chunk.length;
    });
    request.on('end', () => response.end(`${hash.digest('hex')} ${bytes}\n`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}

/** `length` bytes that do not compress and are the same in each run (a xorshift generator). */
export function noise(length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let x = 0x9e3779b9;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return new Uint8Array(words.buffer, 0, length);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
