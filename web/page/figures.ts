/** Figures as people read them. Decimal units; three significant digits, so that a figure's width hardly changes. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** `1536000` → `1.54 MB`; the unit goes up where rounding would show 1000. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return '–';
  let value = bytes;
  let unit = 0;
  while (unit < UNITS.length - 1 && Number(value.toPrecision(3)) >= 1000) {
    value /= 1000;
    unit++;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  const decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(decimals)} ${UNITS[unit]}`;
}

export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** Rounded up, so that a countdown never shows 0 while something is left: `1.2 s` → `2 s`, `95 s` → `1 min 35 s` */
export function formatSeconds(ms: number): string {
  if (!Number.isFinite(ms)) return '–';
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes per second over the last `windowMs`, from a running total. Time is an argument. */
export class RateMeter {
  readonly #windowMs: number;
  readonly #samples: { atMs: number; total: number }[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  /** A total that shrinks (a new run counts from 0) starts the window anew. */
  sample(atMs: number, total: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && total < last.total) this.#samples.length = 0;
    this.#samples.push({ atMs, total });
    // The oldest sample kept is the last one at or before the window's start.
    while (this.#samples.length > 2 && this.#samples[1].atMs <= atMs - this.#windowMs) this.#samples.shift();
  }

  perSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.total - first.total) * 1000) / (last.atMs - first.atMs);
  }
}
