/*
 * Debian's Firefox, driven by WebDriver BiDi over one WebSocket: Playwright's own Firefox is a patched build that Debian has not.
 * As much of the protocol as a smoke test needs: open a page, evaluate in it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';

const FIREFOX = process.env['FIREFOX'] ?? '/usr/bin/firefox-esr';
const START_MS = 60_000;
/** No requests of its own. */
const PREFERENCES = {
  'app.update.enabled': false, 'datareporting.policy.dataSubmissionEnabled': false, 'toolkit.telemetry.enabled': false, 'browser.shell.checkDefaultBrowser': false,
  'browser.safebrowsing.downloads.enabled': false, 'browser.safebrowsing.malware.enabled': false, 'browser.safebrowsing.phishing.enabled': false,
  'network.captive-portal-service.enabled': false, 'network.connectivity-service.enabled': false, 'browser.region.update.enabled': false,
  'services.settings.server': 'http://127.0.0.1:9/', 'extensions.getAddons.cache.enabled': false, 'network.dns.disablePrefetch': true,
};

interface Reply {
  id?: number;
  type: string;
  result?: unknown;
  message?: string;
}

export const hasFirefox = existsSync(FIREFOX);

export class Firefox {
  readonly #child: ChildProcess;
  readonly #socket: WebSocket;
  readonly #profile: string;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #context = '';
  #calls = 0;

  private constructor(child: ChildProcess, socket: WebSocket, profile: string) {
    this.#child = child;
    this.#socket = socket;
    this.#profile = profile;
    socket.on('message', (data: Buffer) => {
      const reply = JSON.parse(data.toString()) as Reply;
      if (reply.id !== undefined) this.#waiting.get(reply.id)?.(reply);
    });
  }

  static async start(): Promise<Firefox> {
    const profile = mkdtempSync(join(tmpdir(), 'portside-firefox-'));
    writeFileSync(join(profile, 'user.js'), Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join(''));
    const child = spawn(FIREFOX, ['--headless', '--remote-debugging-port', '0', '--profile', profile, '--no-remote'], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: profile } });
    const address = await new Promise<string>((resolve, reject) => {
      let said = '';
      const timer = setTimeout(() => reject(new Error(`Firefox does not start: ${said}`)), START_MS);
      child.stderr!.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        const listening = /WebDriver BiDi listening on (ws:\S+)/.exec(said);
        if (listening === null) return;
        clearTimeout(timer);
        resolve(listening[1]);
      });
      child.once('exit', (code) => reject(new Error(`Firefox ended with ${code}: ${said}`)));
    });
    const socket = new WebSocket(`${address}/session`);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    const firefox = new Firefox(child, socket, profile);
    await firefox.#call('session.new', { capabilities: {} });
    const { contexts } = await firefox.#call('browsingContext.getTree', {}) as { contexts: { context: string }[] };
    firefox.#context = contexts[0].context;
    return firefox;
  }

  async goto(url: string): Promise<void> {
    await this.#call('browsingContext.navigate', { context: this.#context, url, wait: 'complete' });
  }

  /** The value of an expression in the page, or of its promise, by way of JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const reply = await this.#call('script.evaluate', {
      expression: `(async () => JSON.stringify(await (${expression})) ?? 'null')()`, target: { context: this.#context }, awaitPromise: true,
    }) as { type: string; result?: { value: string }; exceptionDetails?: { text: string } };
    if (reply.result === undefined) throw new Error(reply.exceptionDetails?.text ?? 'no result');
    return JSON.parse(reply.result.value) as T;
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => { this.#child.once('exit', resolve); });
    this.#socket.close();
    this.#child.kill('SIGTERM');
    await gone;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #call(method: string, params: object): Promise<unknown> {
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (reply) => {
        this.#waiting.delete(id);
        if (reply.type === 'success') resolve(reply.result);
        else reject(new Error(`${method}: ${reply.message}`));
      });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
