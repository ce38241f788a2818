/*
 * A container for programs: what `startContainer` of portside/web returns, with or without a terminal on the page.
 *
 * The words of its options are those of the page's address (page/address.ts), so that both are checked by the same code.
 */
import { parseAddress } from '../page/address.ts';
import { ContainerControl } from '../page/container-control.ts';
import { imageFailure, noImagesFailure, noListFailure, unknownImageFailure } from '../page/failures.ts';
import { defaultImage, fetchImages, type ListedImage } from '../page/images.ts';
import { typed } from '../page/keys.ts';
import { ContainerRunner, type NetStatus, type Progress, type RunnerStats } from '../page/runner.ts';
import type { PageState } from '../page/status-words.ts';
import { TextTail } from './text-tail.ts';

const WAIT_MS = 30_000;
const SIZE = { cols: 80, rows: 24 };

export interface StartOptions {
  /** a name of `images/manifest.json`, or a URL; the manifest's default when absent */
  image?: string;
  /** the command, as words or as a shell would split it; the image's own when absent */
  cmd?: string | string[];
  /** `relay` (default: of the server that `base` is on), `relay=https://HOST`, `none`, `delegate=ws://HOST` */
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
  /** Output, a copy that may be kept. The next comes after `done`: without it the container waits. */
  onOutput?(bytes: Uint8Array, done: () => void): void;
}

export type ContainerState = PageState;

export class Container {
  /** the exit status; rejects when the container fails or is stopped */
  readonly exited: Promise<number>;

  readonly #control: ContainerControl;
  readonly #tail = new TextTail();
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
      onNet: (status) => options.onNet?.(status),
      onOutput: (bytes, done) => {
        this.#tail.push(bytes);
        this.#tell();
        if (options.onOutput === undefined) done();
        else options.onOutput(bytes, done);
      },
      onBegin: () => options.size ?? SIZE,
    }, (runnerOptions) => new ContainerRunner(runnerOptions));
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
    return new Promise((resolve, reject) => {
      const look = (): void => {
        wanted.lastIndex = 0;
        const found = wanted.exec(this.text);
        const ended = this.state === 'exited' || this.state === 'failed' || this.state === 'stopped';
        if (found === null && !ended) return;
        stop();
        if (found !== null) resolve(found);
        else reject(new Error(`The container ended (${this.state}) without ${wanted}. ${this.error?.message ?? ''}`.trim()));
      };
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`${wanted} did not come within ${timeoutMs} ms. The end of the output: ${this.text.slice(-500)}`));
      }, timeoutMs);
      const stop = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }

  resize(cols: number, rows: number): void { this.#control.resize(cols, rows); }
  stats(): RunnerStats | null { return this.#control.stats(); }
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
    const image = await this.#image(address.image, base);
    if (image === null) return;
    const net = address.net.kind === 'relay' ? { ...address.net, origin: address.net.origin ?? base.origin } : address.net;
    this.#control.begin({
      imageUrl: image.url, imageBytes: image.bytes, imageSha256: image.sha256, argv: Array.isArray(options.cmd) ? options.cmd : address.argv, net, memoryMiB: address.memoryMiB,
    });
  }

  /** Null when there is none: `fail` was told. */
  async #image(wanted: { name: string } | { url: string } | null, base: URL): Promise<Pick<ListedImage, 'url' | 'bytes' | 'sha256'> | null> {
    if (wanted !== null && 'url' in wanted) return { url: wanted.url, bytes: 0, sha256: null };
    try {
      const list = await fetchImages(base.href);
      const image = wanted === null ? defaultImage(list) : list.find(({ name }) => name === wanted.name);
      if (image !== undefined) return image;
      this.#control.fail(wanted === null ? noImagesFailure() : unknownImageFailure(wanted.name, list.map(({ name }) => name)));
    } catch (error) {
      this.#control.fail(noListFailure(error instanceof Error ? error.message : String(error)));
    }
    return null;
  }

  #tell(): void {
    for (const look of this.#waiting) look();
  }
}

/** Where the build lies that this module is part of: vite puts what is shared below assets/. */
function builtFolder(): string {
  return import.meta.env.DEV ? '/' : import.meta.url.replace(/(assets\/)?[^/]*$/, '');
}
