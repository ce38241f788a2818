/*
 * The container of this page, over its restarts: owns the one live Container (portside/web) and tells the page what happens to it.
 *
 * A Container runs once. `restart` stops the old one and makes the next; what an old one still tells is not listened to.
 *
 * `ready` belongs to a run: it settles when the first output came, or with an Error when the run can't get there. It is made
 * before anything can fail, and has a handler of its own, so that a page on which nobody waits reports no unhandled rejection.
 */
import { SaveError } from '../../shared/saved/save-error.ts';
import type { SaveSummary } from '../../shared/saved/save-ring.ts';
import type { NetStatus, Progress } from '../protocol.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import type { ChosenImage, Container, StartOptions } from '../embed/portside.ts';
import { failureLine, type Failure } from './failures.ts';
import type { ScriptedFrame } from './scripted-frames.ts';
import type { PageState } from './status-words.ts';

/** What the rest of the page shows of the container. */
export interface ContainerView {
  onState: (state: PageState) => void;
  onImage: (image: ChosenImage) => void;
  onProgress: (progress: Progress) => void;
  onNet: () => void;
  onPorts: () => void;
  /** a container that was saved goes on, and has shells on these terminals */
  onTerminals: (numbers: number[]) => void;
}

/** What a start says beyond what the page says for all of them. */
export type ContainerSpec = Pick<StartOptions, 'image' | 'cmd' | 'net' | 'memory' | 'translate' | 'resume'>;

export class ContainerControl {
  readonly #view: ContainerView;
  readonly #start: (options: StartOptions) => Container;
  #spec: ContainerSpec | null = null;
  #container: Container | null = null;
  /** why there is no container; else it is the container's */
  #failure: Failure | null = null;
  #ready!: Promise<void>;
  /** null once `ready` is settled */
  #settle: ((error: Error | null) => void) | null = null;

  /** `start` adds what is the same for all starts. */
  constructor(view: ContainerView, start: (options: StartOptions) => Container) {
    this.#view = view;
    this.#start = start;
    this.#wait();
  }

  /** The live one, or the last that was */
  get container(): Container | null { return this.#container; }
  get state(): PageState { return this.#container?.state ?? (this.#failure === null ? 'loading' : 'failed'); }
  get exitCode(): number | undefined { return this.#container?.exitCode; }
  get failure(): Failure | null { return this.#container?.error?.failure ?? this.#failure; }
  get net(): NetStatus { return this.#container?.net ?? { state: 'off' }; }
  get ports(): ListeningPort[] | null { return this.#container?.ports ?? null; }
  get ready(): Promise<void> { return this.#ready; }

  /** Starts `spec`, in place of whatever runs. */
  begin(spec: ContainerSpec): void {
    this.#spec = spec;
    this.#leave();
    const { onImage, onProgress, onNet, onPorts, onTerminals } = this.#view;
    const live = <T>(tell: (what: T) => void) => (what: T): void => { if (this.#container === container) tell(what); };
    const container: Container = this.#start({
      ...spec,
      onState: live((state) => this.#onState(state)),
      onImage: live(onImage),
      onProgress: live(onProgress),
      onNet: live(onNet),
      onPorts: live(onPorts),
      onTerminals: live(onTerminals),
    });
    this.#container = container;
  }

  /** The page has nothing to run: it never came to a container. */
  fail(failure: Failure): void {
    this.#leave();
    this.#failure = failure;
    this.#onState('failed');
  }

  /** Runs the same once more, anew; false when there is nothing to run. */
  restart(): boolean {
    if (this.#spec === null) return false;
    const image = this.#container?.chosen ?? null;
    if (image === null) this.begin(this.#spec);
    else this.begin({ ...this.#spec, image, resume: undefined });
    return true;
  }

  /** As Container's pagePort. */
  async openPort(port: number): Promise<string> {
    if (this.#container === null) throw new Error('No container is running.');
    return this.#container.pagePort(port);
  }

  /** As Container's. */
  async openFrame(port: number): Promise<ScriptedFrame | null> {
    return await this.#container?.openFrame(port) ?? null;
  }

  /** As Container's. */
  async save(name?: string): Promise<SaveSummary & { name: string }> {
    if (this.#container === null) throw new SaveError('ended', 'No container is running.');
    return this.#container.save(name);
  }

  /** Ends the container. A start that has not come to its first output is cancelled. */
  stop(): void { this.#container?.stop(); }

  /** Whatever runs is heard of no more. */
  #leave(): void {
    const before = this.#container;
    this.#container = null;
    this.#failure = null;
    // Who waits already, since the page opened or through a restart, waits for this run now.
    if (this.#settle === null) this.#wait();
    before?.stop();
  }

  #wait(): void {
    this.#ready = new Promise((resolve, reject) => {
      this.#settle = (error) => {
        this.#settle = null;
        if (error === null) resolve();
        else reject(error);
      };
    });
    this.#ready.catch(() => undefined);
  }

  #onState(state: PageState): void {
    // A command without output has come and gone: whoever waited for it need not wait on.
    if (state === 'running' || state === 'exited') this.#settle?.(null);
    else if (state === 'stopped' || state === 'failed') this.#settle?.(new Error(this.failure === null ? 'The container was stopped.' : failureLine(this.failure)));
    this.#view.onState(state);
    if (state === 'starting' || state === 'running') return;
    this.#view.onNet();
    this.#view.onPorts();
  }
}
