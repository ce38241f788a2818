/*
 * The container of this page, over its restarts: owns the one live ContainerRunner and what the page knows of it.
 *
 * A runner is used once. `restart` ends the old one and makes the next; callbacks of an old runner that are still
 * under way (its workers post from other threads) are recognised by `#run`, a count of runs, and dropped. A dropped chunk of output
 * is still answered with `done`, so that nobody waits for it.
 *
 * `ready` belongs to a run: it settles when the first output came, or with an Error when the run can't get there. It is made
 * before anything can fail, and has a handler of its own, so that a page on which nobody waits reports no unhandled rejection.
 */
import { SaveError } from '../../shared/saved/save-error.ts';
import type { SaveSummary } from '../../shared/saved/save-ring.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { CaptureStats, ContainerShare, ImageFailure, ImageFiles, NetMode, NetStatus, NetworkReply, Progress } from '../protocol.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import { asSaveName, isSaveName } from '../saved-container.ts';
import type { ContainerTerminal, TerminalOptions } from './container-terminal.ts';
import type { ContainerRunner, RunnerOptions, RunnerStats } from './runner.ts';
import type { ScriptedFrame } from './scripted-frames.ts';
import { cancelledFailure, failureLine, imageFailure, type Failure } from './failures.ts';
import type { PageState } from './status-words.ts';

export interface ContainerSpec {
  imageUrl: string;
  imageBytes: number;
  imageSha256: string | null;
  /** the image itself; `imageUrl` is only a name then */
  imageFiles?: ImageFiles | undefined;
  argv: string[];
  net: NetMode;
  /** what `?image=` would say; kept with a saved container */
  source?: string;
  /** a saved container to go on with, once: a restart starts anew */
  resume?: { name: string; file: Blob };
  /** the image's own when absent */
  memoryMiB?: number | undefined;
}

/** What the rest of the page shows of the container. */
export interface ContainerView {
  onState(state: PageState): void;
  onProgress(progress: Progress): void;
  onNet(status: NetStatus): void;
  /** what listens in the container; null: it does not tell. Absent: it is not asked */
  onPorts?(ports: ListeningPort[] | null): void;
  /** a container that was saved goes on, and has shells on these terminals */
  onTerminals?(numbers: number[]): void;
  onOutput(bytes: Uint8Array, done: () => void): void;
  /** a run begins: the terminal is to be blank; returns its size */
  onBegin(): { cols: number; rows: number };
  /** memory for a container whose spec asks for none, if it can have it; null: the image's own */
  wishedMemoryMiB?(): number | null;
  /** the folder that the page shares with its container */
  share?(): ContainerShare;
}

/** The part of ContainerRunner that is used here. */
export type Runner = Pick<ContainerRunner, 'start' | 'write' | 'resize' | 'retryNet' | 'stop' | 'stats' | 'info' | 'startCapture' | 'captureStats' | 'stopCapture' | 'callNetwork' | 'openPort' | 'openFrame' | 'save' | 'openTerminal'>;

interface Ready {
  promise: Promise<void>;
  settled: boolean;
  resolve(): void;
  reject(error: Error): void;
}

export class ContainerControl {
  readonly #view: ContainerView;
  readonly #createRunner: (options: RunnerOptions) => Runner;
  #spec: ContainerSpec | null = null;
  #runner: Runner | null = null;
  /** the one before, which may still hold a capture */
  #lastRunner: Runner | null = null;
  /** what it was saved as before it was resumed */
  #name: string | null = null;
  #run = 0;
  #ready: Ready = makeReady();
  #state: PageState = 'loading';
  #exitCode: number | undefined;
  #failure: Failure | null = null;
  #net: NetStatus = { state: 'off' };
  #ports: ListeningPort[] | null = null;

  constructor(view: ContainerView, createRunner: (options: RunnerOptions) => Runner) {
    this.#view = view;
    this.#createRunner = createRunner;
  }

  get state(): PageState { return this.#state; }
  get exitCode(): number | undefined { return this.#exitCode; }
  get failure(): Failure | null { return this.#failure; }
  get net(): NetStatus { return this.#net; }
  get ports(): ListeningPort[] | null { return this.#ports; }
  get ready(): Promise<void> { return this.#ready.promise; }
  get spec(): ContainerSpec | null { return this.#spec; }

  /** Starts `spec`, in place of whatever runs. */
  begin(spec: ContainerSpec): void {
    this.#end();
    this.#lastRunner = null;
    const { resume, ...again } = spec;
    this.#spec = again;
    this.#name = resume?.name ?? null;
    const run = this.#nextRun();
    const live = (): boolean => run === this.#run;
    const runner = this.#createRunner({
      imageUrl: spec.imageUrl,
      ...(spec.imageBytes > 0 ? { imageBytes: spec.imageBytes } : {}),
      imageSha256: spec.imageSha256,
      imageFiles: spec.imageFiles,
      args: spec.argv,
      env: { TERM: 'xterm-256color' },
      net: spec.net,
      ...(spec.memoryMiB === undefined ? {} : { memoryMiB: spec.memoryMiB }),
      wishedMemoryMiB: this.#view.wishedMemoryMiB?.() ?? null,
      size: this.#view.onBegin(),
      resume: resume?.file ?? null,
      ...(this.#view.share === undefined ? {} : { share: this.#view.share }),
      onOutput: (bytes, done) => (live() ? this.#view.onOutput(bytes, done) : done()),
      onProgress: (progress) => { if (live()) this.#view.onProgress(progress); },
      onState: (state, detail) => {
        if (!live()) return;
        switch (state) {
          case 'idle': return;
          case 'stopped': return this.#settle('stopped', undefined, null);
          case 'exited': return this.#settle('exited', detail.exitCode ?? 0, null);
          case 'failed': return this.#onFailed(detail.error);
          default: return this.#setState(state);
        }
      },
      onNet: (status) => { if (live()) this.#setNet(status); },
      ...(this.#view.onPorts === undefined ? {} : { onPorts: (ports: ListeningPort[]) => { if (live()) this.#setPorts(ports); } }),
      onTerminals: (numbers) => { if (live()) this.#view.onTerminals?.(numbers); },
    });
    this.#runner = runner;
    void runner.start();
  }

  /** The page has nothing to run: it never came to a container. */
  fail(failure: Failure): void {
    this.#end();
    this.#nextRun();
    this.#settle('failed', undefined, failure);
  }

  /** Runs the same once more; false when there is nothing to run. */
  restart(): boolean {
    if (this.#spec === null) return false;
    this.begin(this.#spec);
    return true;
  }

  /** Ends the container. A start that has not come to its first output is cancelled. */
  stop(): void {
    if (this.#runner === null) return;
    if (this.#state === 'exited' || this.#state === 'failed') return;
    const starting = this.#state === 'loading' || this.#state === 'starting';
    this.#end();
    this.#settle('stopped', undefined, starting ? cancelledFailure() : null);
  }

  /** What the user typed; false when it was refused: nothing runs, or far too much is waiting. */
  write(data: string | Uint8Array): boolean {
    return this.#runner?.write(data) ?? false;
  }

  resize(cols: number, rows: number): void {
    this.#runner?.resize(cols, rows);
  }

  retryNet(): void {
    this.#runner?.retryNet();
  }

  /** What the image says of itself; null until it is loaded */
  get image(): ImageInfo | null {
    return this.#runner?.info ?? null;
  }

  /** As ContainerRunner's. */
  async callNetwork(path: string, body: object | null = null): Promise<NetworkReply | null> {
    return await this.#runner?.callNetwork(path, body) ?? null;
  }

  /** Another terminal of the container; null when there is none left, or nothing runs. */
  openTerminal(options: TerminalOptions, number?: number): ContainerTerminal | null {
    return this.#runner?.openTerminal(options, number) ?? null;
  }

  /** Under what name `save` would save it, unless it is told another. */
  get saveName(): string {
    return this.#name ?? asSaveName(this.image?.name ?? '');
  }

  /** Saves the container as it is now; it goes on. Rejects with SaveError. */
  async save(name = this.saveName): Promise<SaveSummary & { name: string }> {
    if (this.#runner === null) throw new SaveError('ended', 'No container is running.');
    if (!isSaveName(name)) throw new SaveError('unsupported', 'A name has letters, digits, ".", "_" and "-", and begins with one of the first two.');
    return { name, ...await this.#runner.save(name, this.#spec?.source ?? '') };
  }

  async startCapture(): Promise<void> {
    await this.#runner?.startCapture();
  }

  async captureStats(): Promise<CaptureStats | null> {
    return await (this.#runner ?? this.#lastRunner)?.captureStats() ?? null;
  }

  async stopCapture(): Promise<Blob | null> {
    return await (this.#runner ?? this.#lastRunner)?.stopCapture() ?? null;
  }

  /** The address of a port of the container, for a frame of this page; rejects with a sentence where there is none. */
  async openPort(port: number): Promise<string> {
    if (this.#runner === null) throw new Error('No container is running.');
    return this.#runner.openPort(port);
  }

  /** As ContainerRunner's. */
  async openFrame(port: number): Promise<ScriptedFrame | null> {
    return await this.#runner?.openFrame(port) ?? null;
  }

  stats(): RunnerStats | null {
    return this.#runner?.stats() ?? null;
  }

  #onFailed(error: ImageFailure | undefined): void {
    this.#settle('failed', undefined, imageFailure(error ?? { code: 'internal', message: 'no reason given' }, this.#spec?.imageUrl ?? ''));
  }

  /** A state with no container behind it. */
  #settle(state: 'exited' | 'stopped' | 'failed', exitCode: number | undefined, failure: Failure | null): void {
    this.#exitCode = exitCode;
    this.#failure = failure;
    this.#setState(state);
    this.#setNet({ state: 'off' });
    this.#setPorts(null);
    // A command without output has come and gone: whoever waited for it need not wait on.
    if (state === 'exited') this.#ready.resolve();
    else this.#ready.reject(new Error(failure === null ? 'The container was stopped.' : failureLine(failure)));
  }

  #setState(state: PageState): void {
    this.#state = state;
    if (state === 'running') this.#ready.resolve();
    this.#view.onState(state);
  }

  #setNet(status: NetStatus): void {
    this.#net = status;
    this.#view.onNet(status);
  }

  #setPorts(ports: ListeningPort[] | null): void {
    this.#ports = ports;
    this.#view.onPorts?.(ports);
  }

  #end(): void {
    const runner = this.#runner;
    this.#runner = null;
    this.#lastRunner = runner ?? this.#lastRunner;
    this.#run++;
    runner?.stop();
  }

  #nextRun(): number {
    // Who waits already, since the page opened or through a restart, waits for this run now.
    if (this.#ready.settled) this.#ready = makeReady();
    this.#exitCode = undefined;
    this.#failure = null;
    this.#net = { state: 'off' };
    this.#state = 'loading';
    this.#view.onState('loading');
    this.#view.onNet(this.#net);
    this.#setPorts(null);
    return this.#run;
  }
}

function makeReady(): Ready {
  let settle = (_error: Error | null): void => undefined;
  const ready: Ready = {
    promise: new Promise<void>((resolve, reject) => { settle = (error) => (error === null ? resolve() : reject(error)); }),
    settled: false,
    resolve: () => {
      ready.settled = true;
      settle(null);
    },
    reject: (error) => {
      ready.settled = true;
      settle(error);
    },
  };
  ready.promise.catch(() => undefined);
  return ready;
}
