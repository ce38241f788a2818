/*
 * One run of a container: what `new Container` starts and `startContainer` resolves with, on this project's page and on anybody's.
 *
 *   StartOptions ─ planStart ─▶ image, network, saved container ─▶ ContainerRunner
 *   ContainerRunner ─ states, output ─▶ here ─▶ StartOptions' events, `terminal`
 *
 * It starts when it is made, and ends once. After the end it still answers: state, stats, what was captured.
 */
import type { SaveSummary } from '../../shared/saved/save-ring.ts';
import { SaveError } from '../../shared/saved/save-error.ts';
import { FIXED_TERMINAL, type ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import type { CaptureStats, NetMode, NetStatus } from '../protocol.ts';
import { asSaveName, isSaveName } from '../saved-container.ts';
import type { ChosenImage } from '../page/choose-image.ts';
import type { ContainerTerminal } from '../page/container-terminal.ts';
import { cancelledFailure, ContainerError, imageFailure, type Failure } from '../page/failures.ts';
import { shareForContainer } from '../page/files.ts';
import { typed } from '../page/keys.ts';
import { NetworkApi, type OpenPort } from '../page/network-api.ts';
import { ContainerRunner, type RunnerOptions, type RunnerState, type RunnerStats, type StateDetail } from '../page/runner.ts';
import type { ScriptedFrame } from '../page/scripted-frames.ts';
import { planStart, type ContainerState, type StartOptions, type StartPlan } from './start-options.ts';
import type { TerminalLine, TerminalScreen } from './terminal-line.ts';
import { TextTail } from './text-tail.ts';

const WAIT_MS = 30_000;
const SIZE = { cols: 80, rows: 24 };

/** The part of ContainerRunner that is used here. */
export type Runner = Pick<ContainerRunner, 'start' | 'write' | 'resize' | 'retryNet' | 'stop' | 'stats' | 'info' | 'startCapture' | 'captureStats' | 'stopCapture' | 'callNetwork' | 'openPort' | 'openFrame' | 'save' | 'openTerminal'>;

/** A further terminal of a container. */
export interface OpenTerminal {
  /** 2 to 4; any that is free when absent */
  number?: number | undefined;
  /** shows it */
  terminal?: TerminalScreen | undefined;
  /** where nobody shows it, as in StartOptions */
  size?: { cols: number; rows: number };
  onOutput?(bytes: Uint8Array, done: () => void): void;
  /** Its shell has ended, or the container. */
  onClosed?(): void;
}

export class Container implements TerminalLine {
  /** The first output has come, or the end; rejects with a ContainerError when there is neither */
  readonly ready: Promise<void>;
  /** the exit status; rejects with an Error when the container fails or is stopped */
  readonly exited: Promise<number>;
  /** Flows, names, addresses and open ports of its network; with `net: 'relay'` only */
  readonly network: NetworkApi;

  readonly #options: StartOptions;
  readonly #createRunner: (options: RunnerOptions) => Runner;
  readonly #output: (bytes: Uint8Array, done: () => void) => void;
  readonly #tail = new TextTail();
  #runner: Runner | null = null;
  #plan: StartPlan | null = null;
  #state: ContainerState = 'loading';
  #exitCode: number | undefined;
  #error: ContainerError | null = null;
  #net: NetStatus = { state: 'off' };
  #ports: ListeningPort[] | null = null;
  #size: { cols: number; rows: number };
  /** told whenever there is new text, another state, or an end */
  readonly #waiting = new Set<() => void>();

  /** `createRunner` is for tests. */
  constructor(options: StartOptions = {}, createRunner: (options: RunnerOptions) => Runner = (runnerOptions) => new ContainerRunner(runnerOptions)) {
    this.#options = options;
    this.#createRunner = createRunner;
    this.#size = options.terminal?.size() ?? options.size ?? SIZE;
    this.#output = options.terminal?.connect(this) ?? ((bytes, done) => (options.onOutput === undefined ? done() : options.onOutput(bytes, done)));
    this.ready = this.#until(() => {
      if (this.#state === 'running' || this.#state === 'exited') return true;
      if (this.#hasEnded) throw this.#error ?? new Error('The container was stopped.');
      return null;
    }).then(() => undefined);
    this.exited = this.#until(() => {
      if (this.#state === 'exited') return this.#exitCode ?? 0;
      if (this.#hasEnded) throw this.#error ?? new Error('The container was stopped.');
      return null;
    });
    // Whoever waits hears of it; where nobody does, it is no unhandled rejection.
    this.ready.catch(() => undefined);
    this.exited.catch(() => undefined);
    this.network = new NetworkApi(async (path, body = null) => await this.#runner?.callNetwork(path, body) ?? null);
    void this.#begin();
  }

  get state(): ContainerState { return this.#state; }
  /** with `exited` */
  get exitCode(): number | undefined { return this.#exitCode; }
  /** with `failed`, and with `stopped` when there was no output yet */
  get error(): ContainerError | null { return this.#error; }
  get net(): NetStatus { return this.#net; }
  /** What the choice of the network came to; null until that is known */
  get netMode(): NetMode | null { return this.#plan?.net ?? null; }
  /** What listens in it; null while it does not tell */
  get ports(): ListeningPort[] | null { return this.#ports; }
  /** Which image it was started from; null until that is known */
  get chosen(): ChosenImage | null { return this.#plan?.image ?? null; }
  /** What the image says of itself; null until it is loaded */
  get image(): ImageInfo | null { return this.#runner?.info ?? null; }
  /** Output so far without escape sequences, the last MiB of it */
  get text(): string { return this.#tail.text; }

  /** Types; `\n` is Enter. Bytes go as they are. False when it was refused: nothing runs, or 4 MiB are waiting. */
  write(text: string | Uint8Array): boolean {
    return this.send(typeof text === 'string' ? typed(text) : text);
  }

  /** What a terminal sends, as it is: `\r` is Enter, `\n` Ctrl-J. As `write`. */
  send(data: string | Uint8Array): boolean {
    return !this.#hasEnded && (this.#runner?.write(data) ?? false);
  }

  /** Of the first terminal, in characters. */
  resize(cols: number, rows: number): void {
    this.#size = { cols, rows };
    this.#runner?.resize(cols, rows);
  }

  /** Opens another terminal with a shell of its own. Null when there is none left (images of ours have 4), nothing runs, or the page is not isolated. */
  openTerminal({ number, terminal, size = SIZE, onOutput, onClosed }: OpenTerminal = {}): ContainerTerminal | null {
    let output = onOutput ?? ((_bytes: Uint8Array, done: () => void) => done());
    const line = this.#runner?.openTerminal({
      size: terminal?.size() ?? size,
      onOutput: (bytes, done) => output(bytes, done),
      onClosed: () => onClosed?.(),
    }, number) ?? null;
    if (line !== null && terminal !== undefined) output = terminal.connect(line);
    return line;
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

  /**
   * The address of a web server in the container, for a link or a frame, as soon as there is a network: with `net: 'relay'` a port of the
   * relay's computer (`openPort`), with `net: 'browser'` one of this page's origin (`pagePort`).
   */
  async portUrl(port: number): Promise<string> {
    await this.#online();
    return this.netMode?.kind === 'browser' ? this.pagePort(port) : `http://${(await this.network.openPort(port)).host}/`;
  }

  /** The address of a port at this page's origin, where it is shown without its scripts. Rejects unless the network is `browser`. */
  async pagePort(port: number): Promise<string> {
    if (this.#runner === null || this.#hasEnded) throw new Error('No container is running.');
    return this.#runner.openPort(port);
  }

  /** With `net: 'browser'` a frame of this page that runs the container's scripts; null where there is no origin for frames. */
  async openFrame(port: number): Promise<ScriptedFrame | null> {
    return await this.#runner?.openFrame(port) ?? null;
  }

  /** As `portUrl`, for a frame of this page: with `net: 'browser'` one that runs the container's scripts, where there is an origin for frames. */
  async frameUrl(port: number): Promise<string> {
    await this.#online();
    return (await this.openFrame(port))?.url ?? this.portUrl(port);
  }

  /** Connects the network at once instead of waiting for the next attempt. */
  retryNet(): void { this.#runner?.retryNet(); }

  /** Bytes and frames in each direction, rates since the call before, uptime; null before it is loaded */
  stats(): RunnerStats | null { return this.#runner?.stats() ?? null; }

  /** Writes down every frame of its network from now on, up to 64 MiB. */
  async startCapture(): Promise<void> { await this.#runner?.startCapture(); }
  /** null while nothing is captured */
  async captureStats(): Promise<CaptureStats | null> { return await this.#runner?.captureStats() ?? null; }
  /** The pcapng file, also after the end; null when nothing was captured. */
  async stopCapture(): Promise<Blob | null> { return await this.#runner?.stopCapture() ?? null; }

  /** Under what name `save` keeps it, unless it is told another. */
  get saveName(): string { return this.#plan?.resume?.name ?? asSaveName(this.image?.name ?? ''); }

  /** Keeps it in this browser as it is now, memory and disk; it goes on. Rejects with a SaveError. */
  async save(name = this.saveName): Promise<SaveSummary & { name: string }> {
    if (this.#runner === null || this.#hasEnded) throw new SaveError('ended', 'No container is running.');
    if (!isSaveName(name)) throw new SaveError('unsupported', 'A name has letters, digits, ".", "_" and "-", and begins with one of the first two.');
    return { name, ...await this.#runner.save(name, this.#plan!.image.source) };
  }

  /** Ends it; a start that has not come to its first output is cancelled. Idempotent. */
  stop(): void {
    if (this.#hasEnded) return;
    const starting = this.#state !== 'running';
    this.#end('stopped', starting ? cancelledFailure() : null);
    this.#runner?.stop();
  }

  async #begin(): Promise<void> {
    const options = this.#options;
    // What the caller does with the container comes before anything that it may hear of.
    await Promise.resolve();
    if (this.#hasEnded) return;
    options.onState?.('loading', {});
    const plan = await planStart(options).catch((error: unknown) => ({ failure: imageFailure({ code: 'internal', message: String(error) }, '') }));
    // Stopped meanwhile.
    if (this.#hasEnded) return;
    if ('failure' in plan) return this.#end('failed', plan.failure);
    this.#plan = plan;
    const { image, resume } = plan;
    options.onImage?.(image);
    this.#runner = this.#createRunner({
      imageUrl: image.url,
      ...(image.bytes > 0 ? { imageBytes: image.bytes } : {}),
      imageSha256: image.sha256,
      imageFiles: image.files,
      args: plan.argv,
      env: { TERM: 'xterm-256color' },
      net: plan.net,
      ...(plan.memoryMiB === undefined ? {} : { memoryMiB: plan.memoryMiB }),
      wishedMemoryMiB: options.wishedMemoryMiB ?? null,
      compiler: plan.compiler,
      size: this.#size,
      resume: resume?.file ?? null,
      ...(options.share === true ? { share: shareForContainer } : {}),
      onOutput: (bytes, done) => {
        this.#tail.push(bytes);
        this.#tell();
        this.#output(bytes, done);
      },
      onProgress: (progress) => options.onProgress?.(progress),
      onState: (state, detail) => this.#onState(state, detail),
      onNet: (status) => {
        this.#net = status;
        options.onNet?.(status);
        this.#tell();
      },
      ...(options.onPorts === undefined ? {} : { onPorts: (ports: ListeningPort[]) => this.#onPorts(ports) }),
      onTerminals: (numbers) => options.onTerminals?.(numbers),
    });
    void this.#runner.start();
  }

  #onState(state: RunnerState, detail: StateDetail): void {
    if (this.#hasEnded) return;
    switch (state) {
      case 'exited':
        this.#exitCode = detail.exitCode ?? 0;
        return this.#end('exited', null);
      case 'failed': return this.#end('failed', imageFailure(detail.error ?? { code: 'internal', message: 'no reason given' }, this.chosen?.url ?? ''));
      case 'starting':
      case 'running':
        if (state === 'starting' && this.image?.resize === false) this.#options.terminal?.fix?.(FIXED_TERMINAL);
        this.#state = state;
        this.#options.onState?.(state, {});
        return this.#tell();
      // `loading` was told before there was a runner, and nobody but `stop` stops it.
      default:
    }
  }

  #onPorts(ports: ListeningPort[]): void {
    this.#ports = ports;
    this.#options.onPorts?.(ports);
  }

  #end(state: 'exited' | 'stopped' | 'failed', failure: Failure | null): void {
    this.#state = state;
    this.#error = failure === null ? null : new ContainerError(failure);
    this.#net = { state: 'off' };
    this.#ports = null;
    this.#options.onState?.(state, { ...(this.#exitCode === undefined ? {} : { exitCode: this.#exitCode }), ...(this.#error === null ? {} : { error: this.#error }) });
    this.#tell();
  }

  get #hasEnded(): boolean { return this.#state === 'exited' || this.#state === 'failed' || this.#state === 'stopped'; }

  #online(timeoutMs = WAIT_MS): Promise<true> {
    return this.#until(() => {
      const { state, detail } = this.net;
      if (state === 'refused' || this.#hasEnded || this.netMode?.kind === 'none') throw new Error(detail ?? 'The container has no network.');
      return state === 'up' ? true : null;
    }, timeoutMs, () => `The network is not up after ${timeoutMs} ms.`);
  }

  /** Looks now and at each event, until `look` gives something or throws; for ever without `timeoutMs`. */
  #until<T>(look: () => T | null, timeoutMs?: number, late = (): string => ''): Promise<T> {
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
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => {
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
