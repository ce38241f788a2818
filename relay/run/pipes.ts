/*
 * stdin, stdout and stderr of this process as those of a command without a terminal.
 *
 * Bytes as they are, each stream by itself. Output goes at the pace of its reader, and a stream whose reader has gone is abandoned: the
 * command's own pipe breaks, and what it does then is its affair. Nothing here ends a run; but where something else than a reader's leave
 * kept output from being written (a full disk), a run that went well did not.
 */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { Drain } from '../../shared/memory/drain.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { StdinFeed } from './stdin-feed.ts';

/** most bytes in one write */
const CHUNK_BYTES = 64 << 10;

export class Pipes {
  /** resolves when all output was written, or has nobody to read it */
  readonly outputDone: Promise<unknown>;

  readonly #stdin: StdinFeed;
  readonly #outputs: Output[];

  /** Without `stdin` this process's is left alone. */
  constructor(memory: ContainerMemory, stdin: boolean) {
    this.#stdin = new StdinFeed(memory);
    const wake = new Wake(memory.control);
    this.#outputs = [new Output(memory, 'stdout', wake), new Output(memory, 'stderr', wake)];
    this.outputDone = Promise.all(this.#outputs.map(({ done }) => done));
    if (stdin) this.#stdin.open();
  }

  /** Why output was lost, for people; null: it was not. */
  get failure(): string | null {
    return this.#outputs.map(({ failure }) => failure).find((one) => one !== null) ?? null;
  }

  close(): void {
    this.#stdin.close();
    for (const output of this.#outputs) output.close();
  }
}

class Output {
  readonly done: Promise<void>;
  failure: string | null = null;
  readonly #ring: Ring;
  readonly #name: 'stdout' | 'stderr';
  readonly #stream: NodeJS.WriteStream;
  readonly #wake: Wake;
  readonly #drain: Drain;
  #onDone: () => void = () => {};

  constructor(memory: ContainerMemory, name: 'stdout' | 'stderr', wake: Wake) {
    this.#name = name;
    this.#ring = new Ring(memory[name]);
    this.#stream = process[name];
    this.#wake = wake;
    this.done = new Promise((resolve) => { this.#onDone = resolve; });
    this.#stream.on('error', this.#onError);
    this.#drain = new Drain(this.#ring, { onReadable: this.#onReadable, onEnd: this.#onDone }, null);
  }

  /** The listener for errors stays: what was written last may still fail. */
  close(): void {
    this.#drain.close();
  }

  readonly #onReadable = (ring: Ring, next: () => void): void => {
    const bytes = new Uint8Array(Math.min(ring.readable, CHUNK_BYTES));
    ring.read(bytes, 0, bytes.length);
    // A machine that found no room polls for it.
    this.#wake.bump();
    this.#stream.write(bytes, (error) => { if (!error) next(); });
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    if (error.code !== 'EPIPE') this.failure = `${this.#name} can't be written: ${error.code ?? error.message}`;
    this.#ring.abandon();
    this.#wake.bump();
    this.#onDone();
  };
}
