/** The retransmission timer's value, clause by clause (RFC 6298). Pure: knows samples, not time. */

/** Deviates from RFC 6298 §2.4 (a floor of 1 s): the link is local, and Linux's 200 ms is what guests are used to. */
const RTO_MIN_MS = 200;
const RTO_MAX_MS = 60_000;
const RTO_INITIAL_MS = 1000;
/** clock granularity G */
const GRANULARITY_MS = 1;

export class Rto {
  /** smoothed round trip time in `ms`, -1 before the first sample */
  srttMs = -1;
  rttvarMs = 0;
  minRttMs = Infinity;
  #baseMs = RTO_INITIAL_MS;
  #backoff = 0;

  /** what the timer is to be set to */
  get ms(): number {
    return Math.min(this.#baseMs * 2 ** this.#backoff, RTO_MAX_MS);
  }

  /** how many time-outs in a row */
  get backoff(): number {
    return this.#backoff;
  }

  /** A round trip of a segment that was sent once only (§3, Karn), or by timestamps. */
  sample(rttMs: number): void {
    if (this.srttMs < 0) {
      this.srttMs = rttMs;
      this.rttvarMs = rttMs / 2; // §2.2
    } else {
      this.rttvarMs += (Math.abs(this.srttMs - rttMs) - this.rttvarMs) / 4; // §2.3
      this.srttMs += (rttMs - this.srttMs) / 8;
    }
    if (rttMs < this.minRttMs) this.minRttMs = rttMs;
    this.#baseMs = Math.max(RTO_MIN_MS, this.srttMs + Math.max(GRANULARITY_MS, 4 * this.rttvarMs));
    this.#backoff = 0;
  }

  /** §5.5 */
  onTimeout(): void {
    if (this.#backoff < 16) this.#backoff++;
  }

  /** New data was acknowledged, though perhaps by a retransmission. Deviates from §5.7 as Linux does: no stale backoff. */
  onProgress(): void {
    this.#backoff = 0;
  }

  /** §5.7: the handshake's SYN was retransmitted, so data starts with 3 s. */
  onHandshakeTimeout(): void {
    if (this.srttMs < 0) this.#baseMs = 3000;
    this.#backoff = 0;
  }
}
