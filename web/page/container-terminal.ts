/*
 * A terminal of a running container beside its first one, over the rings of shared/wasi/tty.ts. Made when it is opened; of no use any more
 * once `onClosed` was called, which happens exactly once: its shell has ended, it was closed here and the shell is gone, or
 * the container has ended.
 */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { Drain } from '../../shared/memory/drain.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { timerBell } from '../../shared/memory/timer-bell.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { TTY_ATTACHED, TTY_HUNG_UP } from '../../shared/wasi/tty.ts';
import { windowSize } from '../../shared/wasi/window-size.ts';
import { InputQueue } from './input-queue.ts';
import { typed } from './keys.ts';

/** most bytes that the terminal is given at once */
const CHUNK_BYTES = 64 << 10;

export interface TerminalOptions {
  size: { cols: number; rows: number };
  /** as RunnerOptions.onOutput */
  onOutput(bytes: Uint8Array, done: () => void): void;
  onClosed(): void;
}

export class ContainerTerminal {
  /** as people count: the first terminal of a container is 1 */
  readonly number: number;
  readonly #index: number;
  readonly #wake: Wake;
  readonly #input: InputQueue;
  readonly #drain: Drain;
  readonly #options: TerminalOptions;
  #closed = false;

  constructor(memory: ContainerMemory, index: number, options: TerminalOptions) {
    this.number = index + 2;
    this.#index = index;
    this.#options = options;
    this.#wake = new Wake(memory.control);
    const { input, output } = memory.terminals[index];
    const screen = new Ring(output);
    // Of the one before, which nobody looks at any more.
    screen.skip(screen.readable);
    this.#wake.setTerminal(index, TTY_ATTACHED);
    this.#input = new InputQueue(new Ring(input), this.#wake);
    this.#drain = new Drain(screen, { onReadable: this.#onOutput }, timerBell(() => this.#closed));
    this.resize(options.size.cols, options.size.rows);
  }

  /** Types; `\n` is Enter. As `send`. */
  write(text: string): boolean {
    return this.send(typed(text));
  }

  /** What a terminal sends, as it is. False when it was refused: it is closed, or 4 MiB are waiting. */
  send(data: string | Uint8Array): boolean {
    return !this.#closed && this.#input.write(typeof data === 'string' ? new TextEncoder().encode(data) : data);
  }

  resize(cols: number, rows: number): void {
    this.send(windowSize(cols, rows));
  }

  /** Ends its shell; `onClosed` follows. */
  hangUp(): void {
    if (!this.#closed) this.#wake.setTerminal(this.#index, TTY_HUNG_UP);
  }

  /** For the runner, which hears of it. */
  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#input.close();
    this.#drain.close();
    this.#options.onClosed();
  }

  readonly #onOutput = (ring: Ring, next: () => void): void => {
    const bytes = new Uint8Array(Math.min(ring.readable, CHUNK_BYTES));
    ring.read(bytes, 0, bytes.length);
    this.#options.onOutput(bytes, next);
  };
}
