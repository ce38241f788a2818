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
 * That is with SharedArrayBuffer; without it, but with JSPI, see channels.ts.
 *
 * Output: a drain of the stdout ring (drain.ts) hands out up to CHUNK_BYTES at a time, and goes on when the terminal says
 * `done`. A terminal that cannot keep up lets the ring fill, and the guest waits in fd_write.
 *
 * Input: what does not fit the stdin ring waits (input-queue.ts). Further terminals have rings of their own (container-terminal.ts).
 *
 * Window size: in-band on stdin, to images that understand it, and only at the end of what is queued, so that it never
 * lands within a paste's character.
 *
 * A network in this page is asked first what the container has to know of it (`prepare`), so its link worker starts before the container does;
 * a network of several tabs gives the container's MAC by its seat. Both are given back with the container's end.
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
import type { CompilerSettings } from '../../shared/wasi/compiler-fd.ts';
import { argumentsFit, DEFAULT_MAC, guestArguments, guestEnvironment, hostnameFits, macOf, memoryFits, type CommandLine } from '../../shared/wasi/arguments.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { WakeMode } from '../../shared/memory/drain.ts';
import { Drain, wakeMode } from '../../shared/memory/drain.ts';
import type { LinkStats } from '../../shared/memory/link-counters.ts';
import type { Ring } from '../../shared/memory/ring.ts';
import { SaveError } from '../../shared/saved/save-error.ts';
import type { SaveSummary } from '../../shared/saved/save-ring.ts';
import { ScreenTail } from '../../shared/saved/screen-tail.ts';
import { windowSize } from '../../shared/wasi/window-size.ts';
import type { CaptureStats, ContainerApi, ContainerShare, ContainerStart, Ended, ImageFailure, ImageFiles, NetMode, NetStatus, NetworkReply, Progress } from '../protocol.ts';
import { seatMac } from '../seats.ts';
import { PORTS_QUESTION, type ListeningPort } from '../../shared/wasi/ports-report.ts';
import { makeChannels, waitingMode, type WaitingMode } from './channels.ts';
import { ContainerTerminal, type TerminalOptions } from './container-terminal.ts';
import { PortsWatch } from './ports-watch.ts';
import { openStore } from './image-store.ts';
import { InputQueue } from './input-queue.ts';
import { LinkHandle, type ContainerWorker } from './link-handle.ts';
import { withSaveWorker } from './saves.ts';
import type { ScriptedFrame } from './scripted-frames.ts';
import { claimSeat, type Seat } from './seat.ts';

export type { ImageErrorCode, ImageFailure, NetMode, NetStatus, Progress } from '../protocol.ts';
export type { LinkStats } from '../../shared/memory/link-counters.ts';

/** most bytes that the terminal is given at once */
const CHUNK_BYTES = 64 << 10;

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
  /** the image itself, of which `imageUrl` is only a name then */
  imageFiles?: ImageFiles | undefined;
  /** the command and its arguments, put behind the flags; empty runs the image's own */
  args: string[];
  env: Record<string, string>;
  net: NetMode;
  /** when absent 02:00:00:00:00:01, or the seat's on a network that other tabs may be on too */
  mac?: string;
  hostname?: string;
  /** the image's own when absent */
  memoryMiB?: number;
  /** likewise, where `memoryMiB` is absent; ignored by images that can't have it, and by a saved container */
  wishedMemoryMiB?: number | null;
  /** for the machine's translator, if it has one; null: it interprets */
  compiler?: CompilerSettings | null;
  size: { cols: number; rows: number };
  /** the file of a saved container to go on with, in place of a start */
  resume?: Blob | null;
  /** a folder for a container of ours; asked for once, when it starts */
  share?(): ContainerShare;
  /**
   * Bytes for the terminal, a copy that may be kept. The next chunk comes after `done` was called, so a slow terminal slows
   * the guest.
   */
  onOutput(bytes: Uint8Array, done: () => void): void;
  onProgress?(progress: Progress): void;
  onState?(state: RunnerState, detail: StateDetail): void;
  onNet?(status: NetStatus): void;
  /** what listens in the container, at each change; who gives it makes the image tell */
  onPorts?(ports: ListeningPort[]): void;
  /** a container that was saved goes on, and has shells on these terminals */
  onTerminals?(numbers: number[]): void;
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
  /** how the container waits here */
  waitingMode: WaitingMode | null;
}

export class ContainerRunner {
  readonly #options: RunnerOptions;
  readonly #ports: PortsWatch;
  #state: RunnerState = 'idle';
  #info: ImageInfo | null = null;
  #size: { cols: number; rows: number };

  #memory: ContainerMemory | null = null;
  #input: InputQueue | null = null;
  /** of `memory.terminals`: those that are open */
  readonly #terminals: (ContainerTerminal | undefined)[] = [];
  #stdout: Drain | null = null;
  #container: ContainerWorker | null = null;
  #link: LinkHandle | null = null;
  /** of a network of several tabs */
  #seat: Seat | null = null;

  #bytesToTerminal = 0;
  #bytesFromTerminal = 0;
  #runningSinceMs = 0;
  #endedAtMs: number | null = null;
  #sampled = { atMs: 0, terminal: 0, fromGuest: 0, toGuest: 0 };
  /** what a saved container's terminal is to show */
  readonly #tail = new ScreenTail();
  /** aborted when the container has ended */
  readonly #over = new AbortController();
  #settle: () => void = () => {};
  /** what the container's end will be reported as, once all its output was read */
  #ended: Ended | null = null;
  #outputRead = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#size = options.size;
    this.#ports = new PortsWatch(options.onPorts ?? null, () => this.#input?.write(new TextEncoder().encode(PORTS_QUESTION)));
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
    if (!this.#input!.write(bytes)) return false;
    this.#bytesFromTerminal += bytes.length;
    return true;
  }

  resize(cols: number, rows: number): void {
    if (cols === this.#size.cols && rows === this.#size.rows) return;
    this.#size = { cols, rows };
    this.#sendSize();
  }

  /** Opens another terminal with a shell: `number`, or any that is free. Null when there is none, or nothing runs. */
  openTerminal(options: TerminalOptions, number?: number): ContainerTerminal | null {
    const count = this.#state === 'running' ? this.#memory?.terminals.length ?? 0 : 0;
    for (let index = 0; index < count; index++) {
      if (this.#terminals[index] !== undefined || (number ?? index + 2) !== index + 2) continue;
      return this.#terminals[index] = new ContainerTerminal(this.#memory!, index, options);
    }
    return null;
  }

  /** Connects the network at once instead of waiting for the backoff */
  retryNet(): void {
    this.#link?.retry();
  }

  /** Writes down the frames of the network, until `stopCapture`. */
  async startCapture(): Promise<void> {
    await this.#link?.startCapture();
  }

  async captureStats(): Promise<CaptureStats | null> {
    return await this.#link?.captureStats() ?? null;
  }

  /** The pcapng file; null when nothing was captured. */
  async stopCapture(): Promise<Blob | null> {
    return await this.#link?.stopCapture() ?? null;
  }

  /** Asks the network about itself: a path of relay/api/network-api.ts, by POST with a `body`. Null where nobody can be asked. */
  async callNetwork(path: string, body: object | null = null): Promise<NetworkReply | null> {
    if (this.#state !== 'starting' && this.#state !== 'running') return null;
    return await this.#link?.callNetwork(path, body) ?? null;
  }

  /** The address of a port of the container, for a frame of this page. Rejects where the network is not this page's. */
  async openPort(port: number): Promise<string> {
    if (this.#link === null) throw new Error('This container has no network.');
    return this.#link.openPort(port);
  }

  /** A frame with the container's scripts; null where there is no origin for it. */
  async openFrame(port: number): Promise<ScriptedFrame | null> {
    return await this.#link?.openFrame(port) ?? null;
  }

  /** Saves the container as it is now, under `name`; it goes on. `source` says where its image was. Rejects with SaveError. */
  async save(name: string, source: string): Promise<SaveSummary> {
    const [memory, info] = [this.#memory, this.#info];
    if (info === null || this.#state !== 'running') throw new SaveError('ended', 'No container is running.');
    if (info.id === null) throw new SaveError('unsupported', 'This image cannot be saved: it was made by container2wasm, or by an earlier version of Portside.');
    if (memory === null) throw new SaveError('unsupported', 'This page is not isolated (COOP, COEP): without shared memory a container can be resumed here, but not saved.');
    const subject = { image: { id: info.id, name: info.name, title: info.title }, source, ...this.#size, terminals: this.#terminals.flatMap((terminal) => terminal?.number ?? []) };
    return withSaveWorker((worker) => worker.save(name, memory, subject, proxy((position: number) => this.#tail.until(position))), this.#over.signal);
  }

  /** Ends the container and its workers. Idempotent; a runner is not started twice: make a new one. */
  stop(): void {
    if (this.#state === 'exited' || this.#state === 'failed' || this.#state === 'stopped') return;
    this.#end('stopped', {});
  }

  stats(): RunnerStats {
    const atMs = performance.now();
    const link = this.#link?.stats() ?? null;
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
      waitingMode: waitingMode(),
    };
  }

  async #run(): Promise<void> {
    const { net } = this.#options;
    if (waitingMode() === null) {
      this.#fail({
        code: 'not-isolated',
        message: 'This page has no SharedArrayBuffer: its server must send COOP same-origin and COEP require-corp. And this browser has no JSPI to do without.',
      });
      return;
    }
    const container = this.#startContainerWorker().api;
    const url = new URL(this.#options.imageUrl, location.href).href;
    const source = { url, bytes: this.#options.imageBytes ?? null, sha256: this.#options.imageSha256 ?? null, files: this.#options.imageFiles };
    const store = source.files === undefined ? openStore() : null;
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
    const shared = sharedNetwork(net);
    const seat = shared === null ? null : await claimSeat(shared);
    if (this.state !== 'loading') {
      seat?.release();
      return;
    }
    this.#seat = seat;
    const known = net.kind === 'browser' && loaded.info.ours ? await this.#makeLink(net).prepare() : {};
    if (this.state !== 'loading') return;
    const wish = loaded.info.ours && (this.#options.resume ?? null) === null ? this.#options.wishedMemoryMiB ?? undefined : undefined;
    const line = { ...this.#options, memoryMiB: this.#options.memoryMiB ?? wish, ...(seat === null ? {} : { mac: seatMac(seat.number) }), net: net.kind !== 'none', env: { ...this.#options.env, ...known } };
    const args = guestArguments(loaded.info, line);
    const env = guestEnvironment(line);
    const unfit = unfitting(loaded.info, line, args, env, net.kind === 'browser');
    if (unfit !== null) {
      this.#fail(unfit);
      return;
    }
    this.#setState('starting', {});
    this.#options.onProgress?.({ phase: 'start' });
    await this.#startContainer(container, args, env);
  }

  async #startContainer(container: Remote<ContainerApi>, args: string[], env: string[]): Promise<void> {
    const { net } = this.#options;
    const channels = makeChannels({
      net: net.kind !== 'none',
      terminals: this.#info!.terminals,
      share: waitingMode() === 'block' && this.#info!.ours ? this.#options.share?.() ?? null : null,
      onTerminalClosed: (index) => this.#onTerminalClosed(index),
    });
    this.#memory = channels.memory;
    this.#input = new InputQueue(channels.stdin, channels.wake);
    this.#sendSize();
    this.#stdout = new Drain(channels.stdout, { onReadable: this.#onOutput, onEnd: this.#onOutputEnd }, channels.stdoutBell);
    if (net.kind === 'none') this.#options.onNet?.({ state: 'off' });
    else this.#makeLink(net).open(channels, this.#seat?.number ?? null);
    const options: ContainerStart = { ...channels.start, args, env, net: net.kind !== 'none', resume: this.#options.resume ?? null, compiler: this.#options.compiler === undefined ? {} : this.#options.compiler };
    this.#ended = await container.start(transfer(options, channels.ports), proxy(this.#onResumed));
    this.#finish();
  }

  #startContainerWorker(): ContainerWorker {
    const worker = new Worker(new URL('../container/worker.ts', import.meta.url), { type: 'module', name: 'container' });
    worker.onerror = (event) => { this.#fail({ code: 'internal', message: `The container's worker failed: ${event.message}` }); };
    return this.#container = { worker, api: wrap<ContainerApi>(worker) };
  }

  #makeLink(net: Exclude<NetMode, { kind: 'none' }>): LinkHandle {
    return this.#link ??= new LinkHandle(net, this.#container!, (status) => {
      if (this.#state === 'starting' || this.#state === 'running') this.#options.onNet?.(status);
    });
  }

  readonly #onOutput = (ring: Ring, next: () => void): void => {
    const bytes = new Uint8Array(Math.min(ring.readable, CHUNK_BYTES));
    ring.read(bytes, 0, bytes.length);
    const shown = this.#ports.filter(bytes);
    this.#tail.add(bytes, shown);
    this.#runs();
    this.#show(shown, next);
  };

  /** A container that goes on may have nothing to say: it runs when it shows what it showed. */
  readonly #onResumed = (screen: Uint8Array[], terminals: number[]): void => {
    this.#runs();
    this.#options.onTerminals?.(terminals);
    for (const bytes of screen) {
      this.#tail.show(bytes);
      this.#options.onOutput(bytes, () => undefined);
    }
  };

  #onTerminalClosed(index: number): void {
    const terminal = this.#terminals[index];
    this.#terminals[index] = undefined;
    terminal?.closed();
  }

  #runs(): void {
    if (this.#state !== 'starting') return;
    this.#runningSinceMs = performance.now();
    this.#setState('running', {});
    this.#settle();
    if (this.#info?.ports === true) this.#ports.begin();
  }

  readonly #onOutputEnd = (): void => {
    const finish = (): void => {
      this.#outputRead = true;
      this.#finish();
    };
    this.#show(this.#ports.flush(), finish);
  };

  #show(bytes: Uint8Array, next: () => void): void {
    this.#bytesToTerminal += bytes.length;
    if (bytes.length === 0) next();
    else this.#options.onOutput(bytes, next);
  }

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

  #sendSize(): void {
    if (this.#info?.resize !== true || this.#input === null) return;
    this.#input.write(new TextEncoder().encode(windowSize(this.#size.cols, this.#size.rows)));
  }

  #fail(error: ImageFailure): void {
    if (this.#state === 'exited' || this.#state === 'failed' || this.#state === 'stopped') return;
    this.#end('failed', { error });
  }

  /** Ends the workers, and says so. */
  #end(state: 'exited' | 'failed' | 'stopped', detail: StateDetail): void {
    this.#endedAtMs = performance.now();
    this.#over.abort();
    // A link that lives in it has a bye to say first.
    if (this.#link?.worker !== this.#container?.worker) this.#container?.worker.terminate();
    this.#stdout?.close();
    this.#ports.close();
    this.#input?.close();
    for (const terminal of this.#terminals) terminal?.closed();
    this.#seat?.release();
    if (this.#link !== null) {
      this.#link.end();
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

/** What of all that is asked for this image can't be given; null: nothing. */
function unfitting(info: ImageInfo, line: CommandLine, args: readonly string[], env: readonly string[], isBrowser: boolean): ImageFailure | null {
  const memory = memoryFits(info, line.memoryMiB, '?memory=');
  if (memory !== null) return { code: 'memory', message: memory };
  const message = hostnameFits(info, line.hostname) ?? argumentsFit(info, args, env)
    ?? (isBrowser && macOf(info, args) !== (line.mac ?? DEFAULT_MAC) ? '--mac: on a network of this browser the address follows from the tab. Leave --mac out.' : null);
  return message === null ? null : { code: 'arguments', message };
}

/** The name of a network that other tabs of this browser may be on, or null: there each needs a MAC of its own. A delegate's is its URL. */
function sharedNetwork(net: NetMode): string | null {
  if (net.kind === 'browser') return net.network ?? null;
  return net.kind === 'delegate' && 'locks' in navigator ? net.url : null;
}
