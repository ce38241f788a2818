/** Shows the steps of a build: one line that is redrawn on a terminal, plain lines elsewhere (logs, CI). */
import type { WriteStream } from 'node:tty';

const BAR_CELLS = 24;
const REDRAW_MS = 80;

export class Progress {
  readonly #out: NodeJS.WriteStream | WriteStream;
  readonly #live: boolean;
  #title = '';
  #startedMs = 0;
  #lastDrawMs = 0;

  constructor(out: NodeJS.WriteStream = process.stdout) {
    this.#out = out;
    this.#live = out.isTTY === true;
  }

  /** Begins a step; `title` names it, as in "[2/4] Machine". */
  begin(title: string): void {
    this.#title = title;
    this.#startedMs = Date.now();
    this.#lastDrawMs = 0;
    if (!this.#live) this.#out.write(`${title} …\n`);
    else this.update('');
  }

  /** Shows what the step does now; `done` of `total` draws a bar (any unit). */
  update(text: string, done?: number, total?: number): void {
    const now = Date.now();
    if (!this.#live || (now - this.#lastDrawMs < REDRAW_MS && done !== total)) return;
    this.#lastDrawMs = now;
    const seconds = `${Math.floor((now - this.#startedMs) / 1000)} s`;
    const line = `${this.#title} ${bar(done, total)}${text} (${seconds})`;
    this.#out.write(`\r\x1b[2K${line.slice(0, (this.#out.columns ?? 80) - 1)}`);
  }

  /** Ends the step with a line that stays. */
  end(text: string): void {
    const seconds = ((Date.now() - this.#startedMs) / 1000).toFixed(1);
    this.#out.write(`${this.#live ? '\r\x1b[2K' : ''}${this.#title}: ${text} (${seconds} s)\n`);
  }
}

function bar(done?: number, total?: number): string {
  if (done === undefined || total === undefined || total <= 0) return '';
  const cells = Math.round(BAR_CELLS * Math.min(1, done / total));
  return `[${'#'.repeat(cells)}${'.'.repeat(BAR_CELLS - cells)}] `;
}
