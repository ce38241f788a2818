/*
 * Runs one container in this tab.
 *
 * Theory of operation
 *
 *   page ── comlink: load, start ──▶ container worker (blocked from `start` on)
 *   page ── comlink: open, retry, close ──▶ link worker (always answers)
 *   page ◀─ stdout ring ─ container     page ─ stdin ring ─▶ container     link ◀─ frame rings ─▶ container
 *
 * The runner makes the shared memory, starts the workers, moves the terminal's bytes, and ends it all. It draws nothing:
 * what happens is told by the callbacks of its options.
 *
 * Output: a drain of the stdout ring (drain.ts) hands out up to CHUNK_BYTES at a time, and goes on when the terminal says
 * `done`. A terminal that cannot keep up lets the ring fill, and the guest waits in fd_write.
 *
 * Input: the page must never block, so what does not fit the stdin ring waits in a queue of INPUT_QUEUE_BYTES, which is
 * moved on by a timer; a paste beyond that is refused.
 *
 * Window size: in-band on stdin, to images that understand it, and only at the end of what is queued, so that it never
 * lands within a paste's character.
 *
 * The state machine. Each arrow is reported once; nothing is reported after `stopped`.
 *
 *   idle ─ start() ─▶ loading ─ compiled ─▶ starting ─ first output ─▶ running ─ all output read ─▶ exited
 *     any of them ─ stop() ─▶ stopped              loading, starting, running ─▶ failed
 *
 * A container that ends without a word goes from starting to exited. The workers end with the container.
 */
import type { Remote } from 'comlink';
import { proxy, transfer, wrap } from 'comlink';
import { argumentsFit, guestArguments, guestEnvironment, memoryFits } from '../../shared/wasi/arguments.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import type { WakeMode } from '../../shared/memory/drain.ts';
import { Drain, wakeMode } from '../../shared/memory/drain.ts';
import type { LinkStats } from '../../shared/memory/link-counters.ts';
import { LinkCounters } from '../../shared/memory/link-counters.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { windowSize } from '../../shared/wasi/window-size.ts';
import type { CaptureStats, ContainerApi, Ended, ImageFailure, LinkApi, NetMode, NetStatus, Progress } from '../protocol.ts';
import { openStore } from './image-store.ts';

export type { ImageErrorCode, ImageFailure, NetMode, NetStatus, Progress } from '../protocol.ts';
export type { LinkStats } from '../../shared/memory/link-counters.ts';

/** most bytes that the terminal is given at once */
const CHUNK_BYTES = 64 << 10;
/** input that waits for room in the stdin ring, in bytes */
const INPUT_QUEUE_BYTES = 4 << 20;
const INPUT_RETRY_MS = 10;
/** how long a link worker has to say bye before it is ended, in ms */
const BYE_MS = 300;

export type RunnerState = 'idle' | 'loading' | 'starting' | 'running' | 'exited' | 'failed' | 'stopped';

export interface StateDetail {
  /** with `exited` */
  exitCode?: number;
  /** with `failed` */
  error?: ImageFailure;
}

export interface RunnerOptions {
  imageUrl: string;
  /** uncompressed size of the image from the manifest, in bytes; makes the progress exact */
  imageBytes?: number;
  /** SHA-256 of the image from the manifest, in hex; with it a stored image is started without a server */
  imageSha256?: string | null;
  /** the command and its arguments, put behind the flags; empty runs the image's own */
  args: string[];
  env: Record<string, string>;
  net: NetMode;
  /** 02:00:00:00:00:01 when absent: each session has a network of its own */
  mac?: string;
  hostname?: string;
  /** the image's own when absent */
  memoryMiB?: number;
  size: { cols: number; rows: number };
  /**
   * Bytes for the terminal, a copy that may be kept. The next chunk comes after `done` was called, so a slow terminal slows
   * the guest.
   */
  onOutput(bytes: Uint8Array, done: () => void): void;
  onProgress?(progress: Progress): void;
  onState?(state: RunnerState, detail: StateDetail): void;
  onNet?(status: NetStatus): void;
}

export interface RunnerStats {
  state: RunnerState;
  /** from the first output to now or to the end, in ms; 0 before it */
  uptimeMs: number;
  bytesToTerminal: number;
  bytesFromTerminal: number;
  /** null without a network */
  link: LinkStats | null;
  /** bytes per second, over the time since the last call of `stats` */
  rates: { terminal: number; fromGuest: number; toGuest: number };
  /** how threads wake each other here */
  wakeMode: WakeMode;
}

export class ContainerRunner {
  readonly #options: RunnerOptions;
  #state: RunnerState = 'idle';
  #info: ImageInfo | null = null;
  #size: { cols: number; rows: number };

  #memory: ContainerMemory | null = null;
  #stdin: Ring | null = null;
  #wake: Wake | null = null;
  #stdout: Drain | null = null;
  #container: Worker | null = null;
  #linkWorker: Worker | null = null;
  #link: Remote<LinkApi> | null = null;
  /** what was being captured when the container ended: kept until somebody takes it; null while it runs */
  #lastCapture: Promise<{ stats: CaptureStats | null; file: Blob | null }> | null = null;

  /** input that the ring had no room for */
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #queueTimer: ReturnType<typeof setTimeout> | null = null;

  #bytesToTerminal = 0;
  #bytesFromTerminal = 0;
  #runningSinceMs = 0;
  #endedAtMs: number | null = null;
  #sampled = { atMs: 0, terminal: 0, fromGuest: 0, toGuest: 0 };
  #settle: () => void = () => {};
  /** what the container's end will be reported as, once all its output was read */
  #ended: Ended | null = null;
  #outputRead = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#size = options.size;
  }

  get state(): RunnerState {
    return this.#state;
  }

  /** What the image says of itself; null until it is loaded */
  get info(): ImageInfo | null {
    return this.#info;
  }

  /** Resolves when the container runs (its first output came) or has ended; never rejects: see `onState`. */
  async start(): Promise<void> {
    if (this.#state !== 'idle') return;
    const settled = new Promise<void>((resolve) => { this.#settle = resolve; });
    this.#setState('loading', {});
    void this.#run().catch((error: unknown) => {
      this.#fail({ code: 'internal', message: error instanceof Error ? error.message : String(error) });
    });
    await settled;
  }

  /** Keys or pasted text. Never blocks; false when the input queue is full and the data was refused. */
  write(data: string | Uint8Array): boolean {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    if (this.#state !== 'starting' && this.#state !== 'running') return false;
    if (!this.#send(bytes)) return false;
    this.#bytesFromTerminal += bytes.length;
    return true;
  }

  resize(cols: number, rows: number): void {
    if (cols === this.#size.cols && rows === this.#size.rows) return;
    this.#size = { cols, rows };
    this.#sendSize();
  }

  /** Connects the network at once instead of waiting for the backoff */
  retryNet(): void {
    void this.#link?.retry();
  }

  /** Writes down the frames of the network, until `stopCapture`. */
  async startCapture(): Promise<void> {
    if (this.#lastCapture === null) await this.#link?.startCapture();
  }

  async captureStats(): Promise<CaptureStats | null> {
    if (this.#lastCapture !== null) return (await this.#lastCapture).stats;
    return await this.#link?.captureStats() ?? null;
  }

  /** The pcapng file; null when nothing was captured. */
  async stopCapture(): Promise<Blob | null> {
    const last = this.#lastCapture;
    if (last === null) return await this.#link?.stopCapture() ?? null;
    this.#lastCapture = Promise.resolve({ stats: null, file: null });
    return (await last).file;
  }

  /** Ends the container and its workers. Idempotent; a runner is not started twice: make a new one. */
  stop(): void {
    if (this.#state === 'exited' || this.#state === 'failed' || this.#state === 'stopped') return;
    this.#end('stopped', {});
  }

  stats(): RunnerStats {
    const atMs = performance.now();
    const link = this.#memory === null || this.#options.net.kind === 'none'
      ? null : new LinkCounters(this.#memory.control).snapshot();
    const now = {
      atMs, terminal: this.#bytesToTerminal, fromGuest: link?.bytesFromGuest ?? 0, toGuest: link?.bytesToGuest ?? 0,
    };
    const before = this.#sampled;
    this.#sampled = now;
    const seconds = Math.max((now.atMs - before.atMs) / 1000, 0.001);
    return {
      state: this.#state,
      uptimeMs: this.#runningSinceMs === 0 ? 0 : (this.#endedAtMs ?? atMs) - this.#runningSinceMs,
      bytesToTerminal: this.#bytesToTerminal,
      bytesFromTerminal: this.#bytesFromTerminal,
      link,
      rates: {
        terminal: (now.terminal - before.terminal) / seconds,
        fromGuest: (now.fromGuest - before.fromGuest) / seconds,
        toGuest: (now.toGuest - before.toGuest) / seconds,
      },
      wakeMode: wakeMode(),
    };
  }

  async #run(): Promise<void> {
    const { net } = this.#options;
    if (typeof SharedArrayBuffer === 'undefined' || !crossOriginIsolated) {
      this.#fail({
        code: 'not-isolated',
        message: 'This page has no SharedArrayBuffer: its server must send COOP same-origin and COEP require-corp.',
      });
      return;
    }
    const container = this.#startContainerWorker();
    const url = new URL(this.#options.imageUrl, location.href).href;
    const source = { url, bytes: this.#options.imageBytes ?? null, sha256: this.#options.imageSha256 ?? null };
    const store = openStore();
    const loaded = await container.load(source, store === null ? null : transfer(store, [store]), proxy((progress: Progress) => {
      if (this.#state === 'loading') this.#options.onProgress?.(progress);
    }));
    // Stopped meanwhile, as far as the compiler knows: a getter of our own tells.
    if (this.state !== 'loading') return;
    if (!loaded.ok) {
      this.#fail(loaded.failure);
      return;
    }
    this.#info = loaded.info;
    const line = { ...this.#options, net: net.kind !== 'none' };
    const args = guestArguments(loaded.info, line);
    const env = guestEnvironment(line);
    const unfit = memoryFits(loaded.info, line.memoryMiB) ?? argumentsFit(loaded.info, args, env);
    if (unfit !== null) {
      this.#fail({ code: 'arguments', message: unfit });
      return;
    }
    this.#setState('starting', {});
    this.#options.onProgress?.({ phase: 'start' });
    await this.#startContainer(container, args, env);
  }

  async #startContainer(container: Remote<ContainerApi>, args: string[], env: string[]): Promise<void> {
    const { net } = this.#options;
    const memory = makeContainerMemory(net.kind !== 'none');
    const bells = wakeMode() === 'message' ? { stdout: new MessageChannel(), frames: new MessageChannel() } : null;
    this.#memory = memory;
    this.#stdin = new Ring(memory.stdin);
    this.#wake = new Wake(memory.control);
    this.#sendSize();
    const stdoutBell = bells === null ? null : { onRing: (listener: () => void) => { bells.stdout.port2.onmessage = listener; } };
    this.#stdout = new Drain(new Ring(memory.stdout), { onReadable: this.#onOutput, onEnd: this.#onOutputEnd }, stdoutBell);
    if (net.kind === 'none') this.#options.onNet?.({ state: 'off' });
    else this.#startLink(net, memory, bells?.frames.port2 ?? null);
    const ports = bells === null ? [] : [bells.stdout.port1, bells.frames.port1];
    const options = {
      memory, args, env, net: net.kind !== 'none',
      stdoutBell: bells?.stdout.port1 ?? null, fromGuestBell: bells?.frames.port1 ?? null,
    };
    this.#ended = await container.start(transfer(options, ports));
    this.#finish();
  }

  #startContainerWorker(): Remote<ContainerApi> {
    const worker = new Worker(new URL('../container/worker.ts', import.meta.url), { type: 'module', name: 'container' });
    worker.onerror = (event) => { this.#fail({ code: 'internal', message: `The container's worker failed: ${event.message}` }); };
    this.#container = worker;
    return wrap<ContainerApi>(worker);
  }

  #startLink(net: Exclude<NetMode, { kind: 'none' }>, memory: ContainerMemory, bell: MessagePort | null): void {
    const worker = new Worker(new URL('../link/worker.ts', import.meta.url), { type: 'module', name: 'link' });
    worker.onerror = (event) => { this.#options.onNet?.({ state: 'refused', detail: `The network's worker failed: ${event.message}` }); };
    this.#linkWorker = worker;
    this.#link = wrap<LinkApi>(worker);
    const onStatus = proxy((status: NetStatus) => {
      if (this.#state === 'starting' || this.#state === 'running') this.#options.onNet?.(status);
    });
    void this.#link.open(net, net.kind === 'relay' ? net.origin ?? location.origin : location.origin, memory, bell === null ? null : transfer(bell, [bell]), onStatus);
    addEventListener('pagehide', this.#onPageHide);
  }

  /** A page that may come back from the cache keeps its session; one that goes for good says bye. */
  readonly #onPageHide = (event: PageTransitionEvent): void => {
    if (!event.persisted) void this.#link?.close();
  };

  readonly #onOutput = (ring: Ring, next: () => void): void => {
    const bytes = new Uint8Array(Math.min(ring.readable, CHUNK_BYTES));
    ring.read(bytes, 0, bytes.length);
    this.#bytesToTerminal += bytes.length;
    if (this.#state === 'starting') {
      this.#runningSinceMs = performance.now();
      this.#setState('running', {});
      this.#settle();
    }
    this.#options.onOutput(bytes, next);
  };

  readonly #onOutputEnd = (): void => {
    this.#outputRead = true;
    this.#finish();
  };

  /** The container has ended: reported when its last byte is on the screen. */
  #finish(): void {
    const ended = this.#ended;
    if (ended === null) return;
    if (!ended.ok) {
      // A trap closes the ring, too; an image that never started leaves it open.
      if (this.#outputRead || ended.failure.code !== 'trap') this.#fail(ended.failure);
    } else if (this.#outputRead) {
      this.#end('exited', { exitCode: ended.exitCode });
    }
  }

  #send(bytes: Uint8Array): boolean {
    if (this.#queuedBytes + bytes.length > INPUT_QUEUE_BYTES) return false;
    let sent = 0;
    if (this.#queue.length === 0) {
      sent = this.#stdin!.write(bytes, 0, bytes.length);
      this.#wake!.bump();
    }
    if (sent < bytes.length) {
      this.#queue.push(bytes.slice(sent));
      this.#queuedBytes += bytes.length - sent;
      this.#queueTimer ??= setTimeout(this.#moveQueue, INPUT_RETRY_MS);
    }
    return true;
  }

  readonly #moveQueue = (): void => {
    this.#queueTimer = null;
    while (this.#queue.length > 0) {
      const first = this.#queue[0];
      const sent = this.#stdin!.write(first, 0, first.length);
      this.#queuedBytes -= sent;
      if (sent < first.length) {
        this.#queue[0] = first.subarray(sent);
        this.#queueTimer = setTimeout(this.#moveQueue, INPUT_RETRY_MS);
        break;
      }
      this.#queue.shift();
    }
    this.#wake!.bump();
  };

  #sendSize(): void {
    if (this.#info?.resize !== true || this.#stdin === null) return;
    this.#send(new TextEncoder().encode(windowSize(this.#size.cols, this.#size.rows)));
  }

  #fail(error: ImageFailure): void {
    if (this.#state === 'exited' || this.#state === 'failed' || this.#state === 'stopped') return;
    this.#end('failed', { error });
  }

  /** Ends the workers, and says so. */
  #end(state: 'exited' | 'failed' | 'stopped', detail: StateDetail): void {
    this.#endedAtMs = performance.now();
    this.#container?.terminate();
    this.#stdout?.close();
    if (this.#queueTimer !== null) clearTimeout(this.#queueTimer);
    this.#queue = [];
    removeEventListener('pagehide', this.#onPageHide);
    const worker = this.#linkWorker;
    if (worker !== null) {
      const link = this.#link!;
      this.#lastCapture = Promise.all([link.captureStats(), link.stopCapture()]).then(([stats, file]) => ({ stats, file }));
      void link.close();
      setTimeout(() => { worker.terminate(); }, BYE_MS);
      this.#options.onNet?.({ state: 'off' });
    }
    this.#setState(state, detail);
    this.#settle();
  }

  #setState(state: RunnerState, detail: StateDetail): void {
    this.#state = state;
    this.#options.onState?.(state, detail);
  }
}
