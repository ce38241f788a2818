/*
 * What an exception of ours costs: the frame, timer, host event or call in which it came, or the flow that it belonged to. The network
 * goes on.
 *
 * Theory of operation
 *
 *   frame      Port.receive        that frame; of a connection or a SYN, that flow too (tcp.ts)
 *   turn       Tcp.runTurns        that connection is aborted, the others have their turns
 *   flush      Stack.flush         what else collects during a batch
 *   link       Port                that link's batch, or that one of those who wait for it
 *   timer      TimerQueue          that wake; the owner is told by `onWakeFailed`
 *   host       ContainedHostNet    that socket: both sides of its flow are freed
 *   call       whoever calls       that call
 *
 * Everything that enters a network comes by one of these, so nothing of ours reaches the event loop of the process. Each exception is counted
 * (`bugsCaught`) and handed to `onBug`. Without an `onBug` it is thrown again, when what it cost has been freed: tests and fuzzers see it.
 */
import type { Counters } from './counters.ts';

export type BugPlace = 'frame' | 'turn' | 'flush' | 'link' | 'timer' | 'host' | 'call';

/** Hears of each exception, however many there are: `BugFilter` says which of them are news. */
export type OnBug = (place: BugPlace, error: unknown) => void;

/** Where bytes are being written that must not leave half done: they are whatever the buffer held before. */
export interface Unfinished {
  undo(): void;
}

export class Containment {
  readonly counters: Counters;
  /** who has made room for a frame since the entry began */
  unfinished: Unfinished | null = null;
  readonly #onBug: OnBug | undefined;

  constructor(counters: Counters, onBug?: OnBug) {
    this.counters = counters;
    this.#onBug = onBug;
  }

  /** Throws `error` again where nobody is to hear of it. */
  caught(place: BugPlace, error: unknown): void {
    this.counters.bugsCaught++;
    this.undo();
    if (this.#onBug === undefined) throw error;
    this.#onBug(place, error);
  }

  /** Takes back the frame that was being written: before anything else is, such as a reset. */
  undo(): void {
    const { unfinished } = this;
    this.unfinished = null;
    unfinished?.undo();
  }

  /** Runs `fn`, of a cold path. False when it threw. */
  run(place: BugPlace, fn: () => void): boolean {
    this.unfinished = null;
    try {
      fn();
      return true;
    } catch (error) {
      this.caught(place, error);
      return false;
    }
  }
}

const PLACES_MAX = 100;

/** Tells the first exception of a place in our code from its repetitions, which a guest may cause as often as it likes. */
export class BugFilter {
  readonly #seen = new Set<string>();

  /** `true` once for each place; never again when there were PLACES_MAX of them. */
  isNews(error: unknown): boolean {
    const place = placeOf(error);
    if (this.#seen.has(place) || this.#seen.size >= PLACES_MAX) return false;
    this.#seen.add(place);
    return true;
  }
}

/** Where `error` was made: its message is left out, as it may quote a guest. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const stack = error.stack ?? '';
  const at = stack.indexOf(error.message);
  const frame = /^\s*at .+$|^.*@.+:\d+:\d+$/m.exec(at < 0 ? stack : stack.slice(at + error.message.length));
  return frame === null ? error.name : `${error.name} ${frame[0].trim()}`;
}
