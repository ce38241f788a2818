/**
 * Asks an image what listens in it while somebody may look at the page, and takes the answers out of its output. A guest whose stdin is
 * full is not asked on and on: the next question waits for the answer to the last one, or for PATIENCE_MS.
 */
import { PortsFilter, type ListeningPort } from '../../shared/wasi/ports-report.ts';

const ASK_MS = 1500;
const PATIENCE_MS = 15_000;

export class PortsWatch {
  readonly #onPorts: ((ports: ListeningPort[]) => void) | null;
  readonly #ask: () => void;
  #filter: PortsFilter | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** null: nothing is asked */
  #askedAtMs: number | null = null;
  #known = '';

  /** Without `onPorts` nobody is asked, and the output stays as it is. */
  constructor(onPorts: ((ports: ListeningPort[]) => void) | null, ask: () => void) {
    this.#onPorts = onPorts;
    this.#ask = ask;
  }

  /** The image runs, and understands the question. */
  begin(): void {
    if (this.#onPorts === null) return;
    this.#filter = new PortsFilter((ports) => this.#onReport(ports));
    this.#timer = setInterval(() => this.#tick(), ASK_MS);
    this.#tick();
  }

  /** Output without reports. */
  filter(bytes: Uint8Array): Uint8Array {
    return this.#filter?.push(bytes) ?? bytes;
  }

  flush(): Uint8Array {
    return this.#filter?.flush() ?? new Uint8Array(0);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    if (document.hidden || (this.#askedAtMs !== null && nowMs - this.#askedAtMs < PATIENCE_MS)) return;
    this.#askedAtMs = nowMs;
    this.#ask();
  }

  #onReport(ports: ListeningPort[]): void {
    this.#askedAtMs = null;
    const known = JSON.stringify(ports);
    if (known === this.#known) return;
    this.#known = known;
    this.#onPorts?.(ports);
  }
}
