/*
 * This terminal and the rings of a container.
 *
 * Theory of operation
 *
 * stdin, raw when it is a terminal, goes into the stdin ring. The stdout ring is drained into stdout at the pace of its write callbacks,
 * so a slow pipe slows the guest. Window sizes go in-band on stdin, to images that understand them.
 *
 * In raw mode every key is the guest's, Ctrl-C too; ESCAPE three times within a second is the way out of a guest that
 * does not answer.
 *
 * The terminal gets its mode back whatever happens: `close` does it, and so does process.on('exit'), which also runs
 * after an uncaught error and after process.exit.
 */
import type { Drain } from '../../shared/memory/drain.ts';
import { Drain as RingDrain } from '../../shared/memory/drain.ts';
import { Ring } from '../../shared/memory/ring.ts';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { ScreenTail } from '../../shared/saved/screen-tail.ts';
import { FIXED_TERMINAL, type ImageInfo } from '../../shared/wasi/image-info.ts';
import { windowSize } from '../../shared/wasi/window-size.ts';
import { SIGNAL_STATUS } from './signals.ts';
import { StdinFeed } from './stdin-feed.ts';

/** Ctrl-] */
const ESCAPE = 0x1d;
const ESCAPE_COUNT = 3;
const ESCAPE_MS = 1000;
/** most bytes in one write */
const CHUNK_BYTES = 64 << 10;
const SIGKILL = 9;
const SIGPIPE = 13;

export interface TerminalOptions {
  memory: ContainerMemory;
  /** read this process's stdin */
  stdin: boolean;
  /** the image takes window sizes */
  resize: boolean;
  /** the user wants the container to end with this status */
  onKill(status: number): void;
}

/** What somebody should know whose terminal is smaller than that of an image which does not follow; null: nothing. */
export function smallTerminalNotice(info: Pick<ImageInfo, 'resize'>, { isTTY, columns, rows }: Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'rows'>): string | null {
  const fixed = FIXED_TERMINAL;
  if (info.resize || !isTTY || (columns >= fixed.cols && rows >= fixed.rows)) return null;
  return `this terminal is ${columns} by ${rows}, the container's stays ${fixed.cols} by ${fixed.rows}: long lines get garbled until it is larger`;
}

export class Terminal {
  /** resolves when all output was written, or stdout is gone */
  readonly outputDone: Promise<void>;

  readonly #options: TerminalOptions;
  readonly #stdin: StdinFeed;
  readonly #stdout: Drain;
  readonly #tail = new ScreenTail();
  #outputDone: () => void = () => {};
  #escapes: number[] = [];
  #raw = false;
  #closed = false;

  constructor(options: TerminalOptions) {
    this.#options = options;
    this.#stdin = new StdinFeed(options.memory, this.#isEscape);
    this.outputDone = new Promise((resolve) => { this.#outputDone = resolve; });
    this.#stdout = new RingDrain(new Ring(options.memory.stdout), { onReadable: this.#onOutput, onEnd: this.#outputDone }, null);
    process.stdout.on('error', this.#onStdoutError);
    process.on('exit', this.#restore);
    if (options.resize && process.stdout.isTTY) {
      process.stdout.on('resize', this.#sendSize);
      this.#sendSize();
    }
    if (options.stdin) this.#openStdin();
  }

  /** Gives the terminal back. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#restore();
    this.#stdout.close();
    process.off('exit', this.#restore);
    process.stdout.off('resize', this.#sendSize);
    this.#stdin.close();
  }

  size(): { cols: number; rows: number } {
    return { cols: process.stdout.columns || 80, rows: process.stdout.rows || 25 };
  }

  /** The end of what was shown, up to `position` of the container's output. */
  screen(position: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#tail.until(position);
  }

  /** What a container that is resumed had on its screen; a pipe has seen it already. */
  showAgain(screen: readonly Uint8Array[]): void {
    for (const bytes of screen) {
      this.#tail.show(bytes);
      if (process.stdout.isTTY) process.stdout.write(bytes);
    }
  }

  #openStdin(): void {
    if (process.stdin.isTTY) {
      process.stdin.setRawMode(true);
      this.#raw = true;
    }
    this.#stdin.open();
  }

  readonly #restore = (): void => {
    if (!this.#raw) return;
    this.#raw = false;
    try {
      process.stdin.setRawMode(false);
    } catch {
      // The terminal is gone: there is nothing to restore.
    }
  };

  /** Keeps the times of the last presses, and ends it all at the third. */
  readonly #isEscape = (bytes: Uint8Array): boolean => {
    if (!this.#raw) return false;
    for (const byte of bytes) {
      if (byte === ESCAPE) this.#escapes.push(Date.now());
      else this.#escapes = [];
    }
    this.#escapes = this.#escapes.filter((atMs) => atMs > Date.now() - ESCAPE_MS);
    if (this.#escapes.length < ESCAPE_COUNT) return false;
    this.#options.onKill(SIGNAL_STATUS + SIGKILL);
    return true;
  };

  readonly #sendSize = (): void => {
    this.#stdin.push(Buffer.from(windowSize(process.stdout.columns, process.stdout.rows)));
  };

  readonly #onOutput = (ring: Ring, next: () => void): void => {
    const bytes = new Uint8Array(Math.min(ring.readable, CHUNK_BYTES));
    ring.read(bytes, 0, bytes.length);
    this.#tail.add(bytes);
    process.stdout.write(bytes, (error) => { if (!error) next(); });
  };

  /** Who reads our output has gone: as for any program in a pipe. */
  readonly #onStdoutError = (): void => {
    this.#outputDone();
    this.#options.onKill(SIGNAL_STATUS + SIGPIPE);
  };
}
