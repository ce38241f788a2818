/*
 * The one word that a container sleeps on, and the words that say whether it has a link, whether somebody wants
 * to save it, what is done with its other terminals, and which signals are for its command.
 *
 *   byte 0             32               64                          96             100          128
 *   +-----------------+----------------+---------------------------+--------------+------------+------------------+
 *   | wake i32        | sleeps i32     | link i32                  | save i32     | terminals  | link counters    |
 *   | every producer  | 1 while the    | 0: no link, else the      | see          | i32 each:  | f64 each: see    |
 *   | adds 1          | container waits| number of the link, from 1| save-ring.ts | see tty.ts | link-counters.ts |
 *   +-----------------+----------------+---------------------------+--------------+------------+------------------+
 *
 * The container reads `seen = wake.value`, then looks at everything that it waits for, then sleeps unless the word has
 * moved since. A producer first makes its change visible (ring, link word), then bumps. So a change between the look
 * and the sleep is never missed, and a single wait serves stdin, frames, link and clock.
 *
 * `sleeps` spares the producers the system call of a notify while the container runs: the sleeper raises it before
 * Atomics.wait compares the word, the producer looks at it after the bump; one of them sees the other.
 *
 * Over a plain ArrayBuffer all parties share one thread (the JSPI mode, suspending.ts): the container sleeps in `sleepAsync`,
 * and a bump calls it back.
 */

const WAKE = 0;
const SLEEPS = 8;
const LINK = 16;
const SAVE = 24;
const TERMINALS = 25;
const SIGNALS = 28;

/** what setTimeout can count, in ms: what is later is never, as far as one container goes */
const LONGEST_TIMER_MS = 2 ** 31;

/** where the counters begin */
export const COUNTERS_AT = 128;
export const CONTROL_BYTES = 256;

/** who sleeps on a word that no other thread sees: by its buffer, since each party has a Wake of its own */
const sleepers = new WeakMap<ArrayBufferLike, () => void>();

export class Wake {
  readonly #words: Int32Array;

  constructor(control: ArrayBufferLike) {
    this.#words = new Int32Array(control, 0, COUNTERS_AT / 4);
  }

  get value(): number {
    return Atomics.load(this.#words, WAKE);
  }

  /** Something changed that the container may wait for. */
  bump(): void {
    Atomics.add(this.#words, WAKE, 1);
    if (Atomics.load(this.#words, SLEEPS) === 0) return;
    const sleeper = sleepers.get(this.#words.buffer);
    if (sleeper === undefined) Atomics.notify(this.#words, WAKE);
    else sleeper();
  }

  /** Blocks until the word is not `seen` any more, or for `timeoutMs`. Only the container's thread may call it. */
  sleep(seen: number, timeoutMs: number): void {
    Atomics.store(this.#words, SLEEPS, 1);
    Atomics.wait(this.#words, WAKE, seen, timeoutMs);
    Atomics.store(this.#words, SLEEPS, 0);
  }

  /** As `sleep`, as a promise: for a word of this thread alone. */
  async sleepAsync(seen: number, timeoutMs: number): Promise<void> {
    if (this.value !== seen) return;
    const { buffer } = this.#words;
    let timer: number | undefined;
    Atomics.store(this.#words, SLEEPS, 1);
    await new Promise<void>((resolve) => {
      sleepers.set(buffer, resolve);
      if (timeoutMs < LONGEST_TIMER_MS) timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    sleepers.delete(buffer);
    Atomics.store(this.#words, SLEEPS, 0);
  }

  /** 0: no link; else a number that is another one after each loss of the link */
  get link(): number {
    return Atomics.load(this.#words, LINK);
  }

  /** A SaveState, see save-ring.ts. */
  get save(): number {
    return Atomics.load(this.#words, SAVE);
  }

  set save(state: number) {
    Atomics.store(this.#words, SAVE, state);
    this.bump();
  }

  /** What is done with terminal `index` of those beside the first: see tty.ts. */
  terminal(index: number): number {
    return Atomics.load(this.#words, TERMINALS + index);
  }

  setTerminal(index: number, state: number): void {
    Atomics.store(this.#words, TERMINALS + index, state);
    this.bump();
  }

  /** Signal `number`, 1 to 31, is for the command: see signal-fd.ts. */
  sendSignal(number: number): void {
    Atomics.or(this.#words, SIGNALS, 1 << number);
    this.bump();
  }

  /** The signals that are to come, a bit each. */
  get signals(): number {
    return Atomics.load(this.#words, SIGNALS);
  }

  /** As `signals`, and forgets them. */
  takeSignals(): number {
    return Atomics.exchange(this.#words, SIGNALS, 0);
  }

  /** For the one who owns the link. */
  set link(generation: number) {
    Atomics.store(this.#words, LINK, generation);
    this.bump();
  }
}
