/**
 * The relay's log, on stderr: a line of text per event for people, or of JSON for programs (`--log-format json`, by pino).
 * The sentence is the same in both; `fields` say again in JSON what it is about, by fixed names.
 */
import { pino, stdTimeFunctions, type Logger } from 'pino';
import { BugFilter } from '../shared/net/stack/containment.ts';
import { printable } from './printable.ts';

const MAX_CHARS = 500;

export type LogFormat = 'text' | 'json';
export type LogFields = Readonly<Record<string, string | number>>;

export interface LogOptions {
  verbose?: boolean;
  /** distinct subjects of `once`: a flood of new ones must not flood the log */
  maxOnce?: number;
  format?: LogFormat;
}

export class Log {
  readonly verbose: boolean;
  readonly #write: (line: string) => void;
  readonly #json: Logger | null;
  readonly #maxOnce: number;
  readonly #seen = new Set<string>();
  readonly #bugs = new BugFilter();
  /** exceptions of ours that were to be told, the repeated ones too */
  bugs = 0;

  constructor(write: (line: string) => void, options: LogOptions = {}) {
    this.#write = write;
    this.verbose = options.verbose ?? false;
    this.#maxOnce = options.maxOnce ?? 100;
    this.#json = options.format === 'json' ? makePino(write, this.verbose) : null;
  }

  info(text: string, fields: LogFields = {}): void {
    if (this.#json !== null) this.#json.info(printed(fields), loggable(text));
    else this.#write(`portside: ${loggable(text)}`);
  }

  /** Shown with `--verbose` only. */
  debug(text: string, fields: LogFields = {}): void {
    if (!this.verbose) return;
    if (this.#json !== null) this.#json.debug(printed(fields), loggable(text));
    else this.#write(`portside: ${loggable(text)}`);
  }

  /** Our own bug: with the stack, whatever the verbosity. */
  bug(text: string, error: unknown, fields: LogFields = {}): void {
    this.bugs++;
    this.#tell(text, error, fields);
  }

  #tell(text: string, error: unknown, fields: LogFields): void {
    if (this.#json !== null) return this.#json.error({ ...printed(fields), err: error instanceof Error ? error : new Error(String(error)) }, loggable(text));
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#write(`portside: bug: ${loggable(text)}\n${stack}`);
  }

  /** The same where a guest may cause it as often as it likes: once for each place in our code. */
  bugOnce(text: string, error: unknown, fields: LogFields = {}): void {
    this.bugs++;
    if (this.#bugs.isNews(error)) this.#tell(`${text} (said once for each place in the code; counted as bugs_caught)`, error, fields);
  }

  /** Says `text` the first time that `subject` (an Origin, an address) comes up for `topic`; later only with `--verbose`. */
  once(topic: string, subject: string, text: string): void {
    const key = `${topic} ${subject}`;
    const fields = { topic, subject };
    if (this.#seen.has(key) || this.#seen.size > this.#maxOnce) return this.debug(text, fields);
    this.#seen.add(key);
    if (this.#seen.size > this.#maxOnce) return this.info('too many different refusals: further ones are not logged (--verbose logs all)');
    this.info(text, fields);
  }
}

function makePino(write: (line: string) => void, verbose: boolean): Logger {
  return pino({
    level: verbose ? 'debug' : 'info',
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (level) => ({ level }) },
  }, { write: (line) => write(line.trimEnd()) });
}

function printed(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, typeof value === 'string' ? loggable(value) : value]));
}

/** Peers choose some of what we log: no control characters reach the terminal, and no line grows without end. */
function loggable(text: string): string {
  return printable(text, MAX_CHARS);
}
