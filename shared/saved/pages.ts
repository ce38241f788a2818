/*
 * A machine's memory as what differs from the memory that its image starts with.
 *
 * A sequence of runs, each of at most RUN_PAGES pages of 4 KiB, in ascending order and without overlap:
 *
 *   0       4       8
 *   +-------+-------+----------------------+
 *   | first | count | count * 4096 bytes   |     u32, big-endian; the top bit of `count`: the pages are zeros, and no bytes follow
 *   +-------+-------+----------------------+
 */
import { getU32 } from '../bytes.ts';
import { damaged } from './save-error.ts';

export const PAGE_BYTES = 4096;
/** pages of one run at most */
export const RUN_PAGES = 64;
export const RUN_HEADER_BYTES = 8;
const ZEROS = 0x8000_0000;
const WORDS = PAGE_BYTES / 4;

/** Gets `count` pages of memory from page `first` on, or as many that are zeros. */
export type TakeRun = (first: number, count: number, zeros: boolean) => void;

/** Tells every page of `memory` that is not as in `baseline`, which may be shorter: then zeros are meant. */
export function changedPages(memory: ArrayBuffer, baseline: ArrayBuffer, take: TakeRun): void {
  const now = new Int32Array(memory);
  const before = new Int32Array(baseline);
  const pages = now.length / WORDS;
  let first = 0;
  let count = 0;
  let zeros = false;
  for (let page = 0; page < pages; page++) {
    const at = page * WORDS;
    const known = at < before.length;
    if (known ? isSame(now, before, at) : isZero(now, at)) continue;
    const zero = known && isZero(now, at);
    if (count > 0 && (first + count !== page || zero !== zeros || count === RUN_PAGES)) {
      take(first, count, zeros);
      count = 0;
    }
    if (count === 0) {
      first = page;
      zeros = zero;
    }
    count++;
  }
  if (count > 0) take(first, count, zeros);
}

function isSame(a: Int32Array, b: Int32Array, at: number): boolean {
  for (let i = at; i < at + WORDS; i++) if (a[i] !== b[i]) return false;
  return true;
}

function isZero(a: Int32Array, at: number): boolean {
  for (let i = at; i < at + WORDS; i++) if (a[i] !== 0) return false;
  return true;
}

export function countField(count: number, zeros: boolean): number {
  return zeros ? (count | ZEROS) >>> 0 : count;
}

/** Reads runs, in portions of any size, into `memory`, or only judges them when that is null. Throws SaveError. */
export class PageLoader {
  readonly #memory: Uint8Array | null;
  readonly #pages: number;
  readonly #header = new Uint8Array(RUN_HEADER_BYTES);
  #headerLen = 0;
  /** where the next byte of the present run goes, and how many are still to come */
  #at = 0;
  #left = 0;
  /** lowest page that the next run may begin with */
  #next = 0;

  constructor(memory: Uint8Array | null, memoryBytes: number) {
    this.#memory = memory;
    this.#pages = memoryBytes / PAGE_BYTES;
  }

  take(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length;) {
      if (this.#left > 0) {
        const len = Math.min(this.#left, bytes.length - i);
        this.#memory?.set(bytes.subarray(i, i + len), this.#at);
        this.#at += len;
        this.#left -= len;
        i += len;
        continue;
      }
      this.#header[this.#headerLen++] = bytes[i++];
      if (this.#headerLen === RUN_HEADER_BYTES) this.#begin();
    }
  }

  /** There is no more. */
  end(): void {
    if (this.#left > 0 || this.#headerLen > 0) throw damaged('its memory ends within a page');
  }

  #begin(): void {
    this.#headerLen = 0;
    const first = getU32(this.#header, 0);
    const field = getU32(this.#header, 4);
    const zeros = field >= ZEROS;
    const count = zeros ? field - ZEROS : field;
    if (count === 0 || count > RUN_PAGES || first < this.#next || first + count > this.#pages) throw damaged('a page of its memory lies where none can be');
    this.#next = first + count;
    this.#at = first * PAGE_BYTES;
    if (zeros) this.#memory?.fill(0, this.#at, this.#at + count * PAGE_BYTES);
    else this.#left = count * PAGE_BYTES;
  }
}
