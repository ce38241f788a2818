/*
 * A container for programs: what `startContainer` of portside/web returns, with or without a terminal on the page.
 *
 * The words of its options are those of the page's address (page/address.ts), so that both are checked by the same code.
 */
import { parseAddress } from '../page/address.ts';
import { chooseImage } from '../page/choose-image.ts';
import { ContainerControl } from '../page/container-control.ts';
import { imageFailure } from '../page/failures.ts';
import { fetchImages } from '../page/images.ts';
import { typed } from '../page/keys.ts';
import { settleNet } from '../page/relay-probe.ts';
import { ContainerRunner, type NetStatus, type Progress, type RunnerStats } from '../page/runner.ts';
import { NetworkApi, type OpenPort } from '../page/network-api.ts';
import type { PageState } from '../page/status-words.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import { TextTail } from './text-tail.ts';

const WAIT_MS = 30_000;
const SIZE = { cols: 80, rows: 24 };

export interface StartOptions {
  /** a name of `images/manifest.json`, or a URL; the manifest's default when absent */
  image?: string;
  /** the command, as words or as a shell would split it; the image's own when absent */
  cmd?: string | string[];
  /** `relay` (of the server that `base` is on), `relay=https://HOST`, `browser`, `none`, `delegate=ws://HOST`; default: `relay` where one answers, else `browser` */
  net?: string;
  /** of the container: 512, `1G`; the image's own when absent */
  memory?: string | number;
  /** folder of the built page, where images/ is; the folder of this module when absent */
  base?: string | URL;
  /** of the terminal, in characters */
  size?: { cols: number; rows: number };
  onState?(state: ContainerState, detail: { exitCode?: number; error?: Error }): void;
  onProgress?(progress: Progress): void;
  onNet?(status: NetStatus): void;
  /** What listens in the container, at each change; an image that does not tell is silent. Without this nobody asks. */
  onPorts?(ports: ListeningPort[]): void;
  /** Output, a copy that may be kept. The next comes after `done`: without it the container waits. */
  onOutput?(bytes: Uint8Array, done: () => void): void;
}

export type ContainerState = PageState;

export class Container {
  /** the exit status; rejects when the container fails or is stopped */
  readonly exited: Promise<number>;

  /** Flows, names, addresses and open ports of its network; with `net: 'relay'` only */
  readonly network: NetworkApi;

  readonly #control: ContainerControl;
  readonly #tail = new TextTail();
  #isBrowserNet = false;
  /** told whenever there is new text, or an end */
  readonly #waiting = new Set<() => void>();

  constructor(options: StartOptions) {
    let exit = (_status: number): void => undefined;
    let fail = (_error: Error): void => undefined;
    this.exited = new Promise<number>((resolve, reject) => {
      exit = resolve;
      fail = reject;
    });
    this.exited.catch(() => undefined);
    this.#control = new ContainerControl({
      onState: (state) => {
        const error = this.error;
        options.onState?.(state, { ...(state === 'exited' ? { exitCode: this.#control.exitCode ?? 0 } : {}), ...(error === null ? {} : { error }) });
        if (state === 'exited') exit(this.#control.exitCode ?? 0);
        else if (state === 'failed' || state === 'stopped') fail(error ?? new Error('The container was stopped.'));
        this.#tell();
      },
      onProgress: (progress) => options.onProgress?.(progress),
      onNet: (status) => {
        options.onNet?.(status);
        this.#tell();
      },
      onOutput: (bytes, done) => {
        this.#tail.push(bytes);
        this.#tell();
        if (options.onOutput === undefined) done();
        else options.onOutput(bytes, done);
      },
      onBegin: () => options.size ?? SIZE,
      ...(options.onPorts === undefined ? {} : { onPorts: (ports: ListeningPort[] | null) => { if (ports !== null) options.onPorts!(ports); } }),
    }, (runnerOptions) => new ContainerRunner(runnerOptions));
    this.network = new NetworkApi((path, body) => this.#control.callNetwork(path, body));
    void this.#begin(options);
  }

  /** The first output has come, or the end; rejects when there is neither */
  get ready(): Promise<void> { return this.#control.ready; }
  get state(): ContainerState { return this.#control.state; }
  get exitCode(): number | undefined { return this.#control.exitCode; }
  get net(): NetStatus { return this.#control.net; }

  get error(): Error | null {
    const { failure } = this.#control;
    return failure === null ? null : new Error(`${failure.title}: ${failure.what}${failure.detail === '' ? '' : ` ${failure.detail}`}`);
  }

  /** Output so far without escape sequences, the last MiB of it */
  get text(): string { return this.#tail.text; }

  /** Types; `\n` is Enter. False when it was refused: nothing runs, or 4 MiB are waiting. */
  write(text: string | Uint8Array): boolean {
    return this.#control.write(typeof text === 'string' ? typed(text) : text);
  }

  /** Resolves when `text` matches, with the match; rejects after `timeoutMs`, or when the container has ended without. */
  waitForText(pattern: string | RegExp, timeoutMs = WAIT_MS): Promise<RegExpExecArray> {
    const wanted = typeof pattern === 'string' ? new RegExp(pattern.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')) : pattern;
    return this.#until(() => {
      wanted.lastIndex = 0;
      const found = wanted.exec(this.text);
      if (found === null && this.#hasEnded) throw new Error(`The container ended (${this.state}) without ${wanted}. ${this.error?.message ?? ''}`.trim());
      return found;
    }, timeoutMs, () => `${wanted} did not come within ${timeoutMs} ms. The end of the output: ${this.text.slice(-500)}`);
  }

  /**
   * Makes a TCP port of the container one of the relay's computer: `host` of what it resolves with is `127.0.0.1:PORT`. Waits for
   * the network first; rejects when the relay does not do that.
   */
  async openPort(port: number): Promise<OpenPort> {
    await this.#online();
    return this.network.openPort(port);
  }

  closePort(port: OpenPort): Promise<void> { return this.network.closePort(port); }

  resize(cols: number, rows: number): void { this.#control.resize(cols, rows); }
  stats(): RunnerStats | null { return this.#control.stats(); }
  /**
   * The address of a web server in the container, for a link or a frame, as soon as there is a network: with `net: 'relay'` a port of the
   * relay's computer (`openPort`), with `net: 'browser'` one of this page's origin, shown without scripts.
   */
  async portUrl(port: number): Promise<string> {
    await this.#online();
    return this.#isBrowserNet ? this.#control.openPort(port) : `http://${(await this.network.openPort(port)).host}/`;
  }

  /** The same for a frame of this page: with `net: 'browser'` one that runs the container's scripts, where there is an origin for frames. */
  async frameUrl(port: number): Promise<string> {
    await this.#online();
    const frame = this.#isBrowserNet ? await this.#control.openFrame(port) : null;
    return frame?.url ?? this.portUrl(port);
  }

  startCapture(): Promise<void> { return this.#control.startCapture(); }
  stopCapture(): Promise<Blob | null> { return this.#control.stopCapture(); }

  /** Ends it. Idempotent. */
  stop(): void { this.#control.stop(); }

  /** From the options to a container; each way in which that can't be ends in `failed`. */
  async #begin(options: StartOptions): Promise<void> {
    // What the caller does with the container comes before anything that it may hear of.
    await Promise.resolve();
    const base = new URL(options.base ?? builtFolder(), document.baseURI);
    const query = new URL(base);
    if (options.image !== undefined) query.searchParams.set('image', options.image);
    if (typeof options.cmd === 'string') query.searchParams.set('cmd', options.cmd);
    if (options.net !== undefined) query.searchParams.set('net', options.net);
    if (options.memory !== undefined) query.searchParams.set('memory', String(options.memory));
    const address = parseAddress(query.href);
    if ('parameter' in address) {
      return this.#control.fail(imageFailure({ code: 'arguments', message: `${address.parameter}: ${address.problem}. ${address.advice}` }, ''));
    }
    const settled = settleNet(address.net, base.origin);
    const image = await chooseImage(address.image, () => fetchImages(base.href));
    if ('failure' in image) return this.#control.fail(image.failure);
    const chosen = await settled;
    const net = chosen.kind === 'relay' ? { ...chosen, origin: chosen.origin ?? base.origin } : chosen;
    this.#isBrowserNet = net.kind === 'browser';
    this.#control.begin({
      imageUrl: image.url, imageBytes: image.bytes, imageSha256: image.sha256, argv: Array.isArray(options.cmd) ? options.cmd : address.argv, net, memoryMiB: address.memoryMiB,
    });
  }

  get #hasEnded(): boolean { return this.state === 'exited' || this.state === 'failed' || this.state === 'stopped'; }

  #online(timeoutMs = WAIT_MS): Promise<true> {
    return this.#until(() => {
      const { state, detail } = this.net;
      if (state === 'refused' || this.#hasEnded) throw new Error(detail ?? 'The container has no network.');
      return state === 'up' ? true : null;
    }, timeoutMs, () => `The network is not up after ${timeoutMs} ms.`);
  }

  /** Looks now and at each event, until `look` gives something or throws. */
  #until<T>(look: () => T | null, timeoutMs: number, late: () => string): Promise<T> {
    return new Promise((resolve, reject) => {
      const again = (): void => {
        try {
          const found = look();
          if (found === null) return;
          resolve(found);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        stop();
      };
      const timer = setTimeout(() => {
        stop();
        reject(new Error(late()));
      }, timeoutMs);
      const stop = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(again);
      };
      this.#waiting.add(again);
      again();
    });
  }

  #tell(): void {
    for (const look of this.#waiting) look();
  }
}

/** Where the build lies that this module is part of: vite puts what is shared below assets/. */
function builtFolder(): string {
  return import.meta.env.DEV ? '/' : import.meta.url.replace(/(assets\/)?[^/]*$/, '');
}
