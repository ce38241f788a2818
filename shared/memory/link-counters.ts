/*
 * What the owner of a link counts, where everybody can read it at any time: in the control block of wake.ts. One writer.
 * Plain f64 cells: a reader may see counters of two different moments, never a torn one on the machines there are.
 */
import { CONTROL_BYTES, COUNTERS_AT } from './wake.ts';

export interface LinkStats {
  bytesFromGuest: number;
  bytesToGuest: number;
  framesFromGuest: number;
  framesToGuest: number;
  /** frames that were thrown away, whole: the ring was full or the link was down */
  framesDropped: number;
  /** links after the first one */
  reconnects: number;
}

export class LinkCounters implements LinkStats {
  readonly #cells: Float64Array;

  constructor(control: SharedArrayBuffer | ArrayBuffer) {
    this.#cells = new Float64Array(control, COUNTERS_AT, (CONTROL_BYTES - COUNTERS_AT) / 8);
  }

  get bytesFromGuest(): number { return this.#cells[0]; }
  set bytesFromGuest(count: number) { this.#cells[0] = count; }
  get bytesToGuest(): number { return this.#cells[1]; }
  set bytesToGuest(count: number) { this.#cells[1] = count; }
  get framesFromGuest(): number { return this.#cells[2]; }
  set framesFromGuest(count: number) { this.#cells[2] = count; }
  get framesToGuest(): number { return this.#cells[3]; }
  set framesToGuest(count: number) { this.#cells[3] = count; }
  get framesDropped(): number { return this.#cells[4]; }
  set framesDropped(count: number) { this.#cells[4] = count; }
  get reconnects(): number { return this.#cells[5]; }
  set reconnects(count: number) { this.#cells[5] = count; }

  /** A copy to keep. */
  snapshot(): LinkStats {
    const { bytesFromGuest, bytesToGuest, framesFromGuest, framesToGuest, framesDropped, reconnects } = this;
    return { bytesFromGuest, bytesToGuest, framesFromGuest, framesToGuest, framesDropped, reconnects };
  }
}
