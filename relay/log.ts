/** The relay's log: one line per event, on stderr. Structured logs come with issue 3; the calls stay. */

export class Log {
  readonly #write: (line: string) => void;
  readonly verbose: boolean;
  readonly #maxOnce: number;
  readonly #seen = new Set<string>();

  /** `maxOnce` caps the distinct subjects of `once`: a flood of new ones must not flood the log. */
  constructor(write: (line: string) => void, options: { verbose?: boolean; maxOnce?: number } = {}) {
    this.#write = write;
    this.verbose = options.verbose ?? false;
    this.#maxOnce = options.maxOnce ?? 100;
  }

  info(text: string): void {
    this.#write(`portside: ${printable(text)}`);
  }

  /** Shown with `--verbose` only. */
  debug(text: string): void {
    if (this.verbose) this.info(text);
  }

  /** Our own bug: with the stack, whatever the verbosity. */
  bug(text: string, error: unknown): void {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#write(`portside: bug: ${printable(text)}\n${stack}`);
  }

  /** Says `text` the first time that `subject` (an Origin, an address) comes up for `topic`; later only with `--verbose`. */
  once(topic: string, subject: string, text: string): void {
    const key = `${topic} ${subject}`;
    if (this.#seen.has(key) || this.#seen.size > this.#maxOnce) return this.debug(text);
    this.#seen.add(key);
    if (this.#seen.size > this.#maxOnce) return this.info('too many different refusals: further ones are not logged (--verbose logs all)');
    this.info(text);
  }
}

/** Peers choose some of what we log: no control characters reach the terminal, and no line grows without end. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?').slice(0, 500);
}
