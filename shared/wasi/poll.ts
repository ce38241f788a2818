/*
 * WASI family: poll. The only place where a guest sleeps.
 *
 * Theory of operation
 *
 * Reads the wake word, looks at every subscription, and if nothing is ready sleeps on the word until a producer bumps it
 * or the nearest clock is due; then looks again. See wake.ts for why nothing is missed. A poll with a zero timeout makes
 * no system call, asks no clock and allocates nothing: c2w's emulators make thousands a second.
 *
 * The pair. c2w's emulators poll twice per turn, {fd_read 0, clock} and then {fd_read connection, clock}, with up to 10 ms
 * each: a frame would wait for the first poll to time out, a key for the second. In a poll of that very form the clock
 * event comes early when the other one of the two has something to read; the emulator then does the rest of its turn.
 * Only for images that are not ours: a machine that polls everything at once means its timeouts.
 *
 *   subscription, 48 bytes                       event, 32 bytes
 *   0  userdata u64                              0  userdata u64
 *   8  tag u8: 0 clock, 1 fd_read, 2 fd_write    8  errno u16
 *   16 clock: id u32 · fd: u32                   10 tag u8
 *   24 timeout u64 ns, 32 precision u64          16 nbytes u64
 *   40 flags u16, bit 0: absolute                24 flags u16, bit 0: hangup
 */
import type { Fd } from '@bjorn3/browser_wasi_shim';
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { Wake } from '../memory/wake.ts';
import type { GuestMemory } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';
import { ConnectionFd } from './sock.ts';
import { StdinFd } from './stdio.ts';

const SUBSCRIPTION_BYTES = 48;
const EVENT_BYTES = 32;
/** most subscriptions in one call */
const MAX_SUBSCRIPTIONS = 1024;

const NS_PER_MS = 1e6;
const HANGUP = 1;
/** clock ids above this do not exist */
const LAST_CLOCK = wasi.CLOCKID_THREAD_CPUTIME_ID;

/** What `#look` finds about an fd that is not one to poll. */
const BAD_FD = -2;

/** Whose turn it is in a thread that the guest shares with others. */
export interface Turns {
  /** the others have waited long enough */
  readonly isDue: boolean;
  give(): Promise<void>;
}

export class Poller {
  readonly #memory: GuestMemory;
  readonly #fds: (Fd | undefined)[];
  readonly #wake: Wake;
  readonly #pairs: boolean;
  /** the two sides of a pair, when there is a network */
  readonly #stdin: HostFd;
  readonly #connection: () => HostFd | null;

  constructor(
    memory: GuestMemory,
    fds: (Fd | undefined)[],
    wake: Wake,
    pairs: boolean,
    stdin: HostFd,
    connection: () => HostFd | null,
  ) {
    this.#memory = memory;
    this.#fds = fds;
    this.#wake = wake;
    this.#pairs = pairs;
    this.#stdin = stdin;
    this.#connection = connection;
  }

  /** See `poll_oneoff` in imports.ts. */
  poll(subs: number, events: number, count: number, nevents: number): number {
    const refusal = this.#refusal(subs, events, count, nevents);
    if (refusal !== wasi.ERRNO_SUCCESS) return refusal;
    const other = this.#pairs && count === 2 ? this.#otherOfPair(subs) : null;
    let leftMs = this.#left(subs, count, 0);
    const startMs = leftMs > 0 && leftMs < Infinity ? performance.now() : 0;
    let elapsedMs = 0;
    let reported = 0;
    // A wall clock may be set back while we sleep, or be coarser than our wait: then its time has not come, and it is asked again.
    while (reported === 0) {
      const seen = this.#wake.value;
      if (leftMs > 0 && !this.#anyReady(subs, count)) {
        if (other !== null && other.readReady() > 0) {
          elapsedMs = Infinity;
        } else {
          this.#wake.sleep(seen, leftMs);
          if (startMs === 0) continue;
          elapsedMs = performance.now() - startMs;
          leftMs = this.#left(subs, count, elapsedMs);
          continue;
        }
      }
      reported = this.#report(subs, events, count, elapsedMs);
      if (reported === 0) leftMs = this.#left(subs, count, elapsedMs);
    }
    this.#memory.setU32(nevents, reported);
    return wasi.ERRNO_SUCCESS;
  }

  #refusal(subs: number, events: number, count: number, nevents: number): number {
    const memory = this.#memory;
    if (count === 0 || count > MAX_SUBSCRIPTIONS) return wasi.ERRNO_INVAL;
    const isInMemory = memory.has(subs, count * SUBSCRIPTION_BYTES) && memory.has(events, count * EVENT_BYTES) && memory.has(nevents, 4);
    return isInMemory ? wasi.ERRNO_SUCCESS : wasi.ERRNO_FAULT;
  }

  /**
   * As `poll`, in a thread that can't block: gives a promise when it sleeps, and when `isTurnDue`, after `giveTurn` has let the
   * thread's other work in.
   */
  pollSuspending(subs: number, events: number, count: number, nevents: number, turns: Turns): number | Promise<number> {
    const refusal = this.#refusal(subs, events, count, nevents);
    if (refusal !== wasi.ERRNO_SUCCESS) return refusal;
    if (turns.isDue || (this.#left(subs, count, 0) > 0 && !this.#anyReady(subs, count))) return this.#pollLater(subs, events, count, nevents, turns);
    this.#memory.setU32(nevents, this.#report(subs, events, count, 0));
    return wasi.ERRNO_SUCCESS;
  }

  async #pollLater(subs: number, events: number, count: number, nevents: number, turns: Turns): Promise<number> {
    const other = this.#pairs && count === 2 ? this.#otherOfPair(subs) : null;
    const startMs = performance.now();
    let elapsedMs = 0;
    let reported = 0;
    await turns.give();
    while (reported === 0) {
      const seen = this.#wake.value;
      const leftMs = this.#left(subs, count, elapsedMs);
      if (other !== null && other.readReady() > 0) elapsedMs = Infinity;
      else if (leftMs > 0 && !this.#anyReady(subs, count)) await this.#wake.sleepAsync(seen, leftMs);
      if (elapsedMs !== Infinity) elapsedMs = performance.now() - startMs;
      reported = this.#report(subs, events, count, elapsedMs);
    }
    this.#memory.setU32(nevents, reported);
    return wasi.ERRNO_SUCCESS;
  }

  /** As `waitReadable`, as a promise. */
  async readable(fd: HostFd): Promise<void> {
    for (;;) {
      const seen = this.#wake.value;
      if (fd.readReady() >= 0) return;
      await this.#wake.sleepAsync(seen, Infinity);
    }
  }

  /** Blocks until `fd` is ready to be read: for sockets that block. */
  waitReadable(fd: HostFd): void {
    for (;;) {
      const seen = this.#wake.value;
      if (fd.readReady() >= 0) return;
      this.#wake.sleep(seen, Infinity);
    }
  }

  /** Time until the nearest clock, `elapsedMs` after the call; Infinity when there is none. */
  #left(subs: number, count: number, elapsedMs: number): number {
    const { view } = this.#memory;
    let nearest = Infinity;
    for (let i = 0, at = subs; i < count; i++, at += SUBSCRIPTION_BYTES) {
      if (view.getUint8(at + 8) === wasi.EVENTTYPE_CLOCK) nearest = Math.min(nearest, this.#clockMs(at) - (this.#isAbsolute(at) ? 0 : elapsedMs));
    }
    return nearest;
  }

  #isAbsolute(at: number): boolean {
    return (this.#memory.view.getUint16(at + 40, true) & wasi.SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME) !== 0;
  }

  /** Time until one clock subscription is due, in ms; 0 or less when it is, or when there is no such clock. */
  #clockMs(at: number): number {
    const id = this.#memory.u32(at + 16);
    if (id > LAST_CLOCK) return 0;
    const ms = this.#memory.u64(at + 24) / NS_PER_MS;
    if (!this.#isAbsolute(at)) return ms;
    return ms - (id === wasi.CLOCKID_REALTIME ? Date.now() : performance.now());
  }

  #anyReady(subs: number, count: number): boolean {
    for (let i = 0, at = subs; i < count; i++, at += SUBSCRIPTION_BYTES) {
      const tag = this.#memory.view.getUint8(at + 8);
      if (tag !== wasi.EVENTTYPE_CLOCK && this.#look(at, tag) !== -1) return true;
    }
    return false;
  }

  /** Bytes that can be moved, -1 when not ready, BAD_FD. Files are always ready. */
  #look(at: number, tag: number): number {
    const fd = this.#fds[this.#memory.u32(at + 16)];
    if (fd === undefined || tag > wasi.EVENTTYPE_FD_WRITE) return BAD_FD;
    if (!(fd instanceof HostFd)) return 0;
    return tag === wasi.EVENTTYPE_FD_READ ? fd.readReady() : fd.writeReady();
  }

  /** The other fd of c2w's pair when the two subscriptions are one of its polls. */
  #otherOfPair(subs: number): HostFd | null {
    const { view } = this.#memory;
    if (view.getUint8(subs + 8) !== wasi.EVENTTYPE_FD_READ) return null;
    if (view.getUint8(subs + SUBSCRIPTION_BYTES + 8) !== wasi.EVENTTYPE_CLOCK) return null;
    const fd = this.#fds[this.#memory.u32(subs + 16)];
    if (fd instanceof StdinFd) return this.#connection();
    return fd instanceof ConnectionFd ? this.#stdin : null;
  }

  /** Writes an event for everything that is ready or due. Returns how many. */
  #report(subs: number, events: number, count: number, elapsedMs: number): number {
    const { view } = this.#memory;
    let out = events;
    for (let i = 0, at = subs; i < count; i++, at += SUBSCRIPTION_BYTES) {
      const tag = view.getUint8(at + 8);
      let errno: number = wasi.ERRNO_SUCCESS;
      let bytes = 0;
      let flags = 0;
      if (tag === wasi.EVENTTYPE_CLOCK) {
        if (this.#isPending(at, elapsedMs)) continue;
        if (this.#memory.u32(at + 16) > LAST_CLOCK) errno = wasi.ERRNO_INVAL;
      } else {
        bytes = this.#look(at, tag);
        if (bytes === -1) continue;
        if (bytes === BAD_FD) errno = wasi.ERRNO_BADF;
        else if (this.#isHungUp(at)) flags = HANGUP;
      }
      const userLow = view.getUint32(at, true);
      const userHigh = view.getUint32(at + 4, true);
      view.setUint32(out, userLow, true);
      view.setUint32(out + 4, userHigh, true);
      view.setUint32(out + 8, errno | (tag << 16), true);
      view.setUint32(out + 12, 0, true);
      view.setUint32(out + 16, Math.max(bytes, 0), true);
      view.setUint32(out + 20, 0, true);
      view.setUint32(out + 24, flags, true);
      view.setUint32(out + 28, 0, true);
      out += EVENT_BYTES;
    }
    return (out - events) / EVENT_BYTES;
  }

  /** Whether a clock is not due yet: a relative one counts from the call, an absolute one from its clock. */
  #isPending(at: number, elapsedMs: number): boolean {
    const left = this.#clockMs(at);
    if (left <= 0 || elapsedMs === Infinity) return false;
    return this.#isAbsolute(at) || left > elapsedMs;
  }

  #isHungUp(at: number): boolean {
    const fd = this.#fds[this.#memory.u32(at + 16)];
    return fd instanceof HostFd && fd.hangup;
  }
}
