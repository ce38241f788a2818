/*
 * The host in a thread that must not block: without SharedArrayBuffer (a page that is not isolated) there is no Atomics.wait.
 *
 * Theory of operation
 *
 * With WebAssembly's JavaScript Promise Integration an import may return a promise: the guest's stack is put aside until it
 * resolves, and the thread goes on with its events. So the container's worker holds everything that otherwise lies in other
 * threads, the link too, and the rings are over plain buffers. Only the imports that may have to wait are wrapped, and a
 * call that need not wait returns its number and suspends nothing.
 *
 * A guest that computes never waits, and would starve the others: each of its polls that comes TURN_MS or more after their
 * last turn gives them one. Our machine polls many times in that time; so a key waits for TURN_MS at most.
 *
 * What is worse than with threads: the link shares the guest's processor, and timers below 4 ms are the browser's to round.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { Fd } from '@bjorn3/browser_wasi_shim';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';
import type { Poller, Turns } from './poll.ts';
import { ListenFd, STALL_MS } from './sock.ts';

type Import = (...args: never[]) => number | Promise<number>;

/** longest time for which the thread's other work waits, in ms */
const TURN_MS = 8;
/** between two looks at a full ring, in ms */
const ROOM_EVERY_MS = 2;

/** What is not in every runtime: asked for by name. */
interface PromiseIntegration {
  Suspending?: new (fn: Import) => object;
  promising?: (fn: () => void) => () => Promise<void>;
}

const integration = WebAssembly as PromiseIntegration;

/** Whether this runtime can run a guest without blocking its thread. */
export function canSuspend(): boolean {
  return typeof integration.Suspending === 'function' && typeof integration.promising === 'function';
}

/** `_start` as a function that can be waited for. */
export function promising(start: () => void): () => Promise<void> {
  return integration.promising!(start);
}

/** `imports` with those in place that may have to wait. `onPoll` is told of every poll, and may throw. */
export function suspendingImports(
  imports: Record<string, Import>, memory: GuestMemory, fds: readonly (Fd | undefined)[], poller: Poller, onPoll: () => void,
): Record<string, unknown> {
  const turns = new EventTurns();
  const wrapped: Record<string, Import> = {
    poll_oneoff: (subs: number, events: number, count: number, nevents: number) => {
      onPoll();
      memory.refresh();
      return poller.pollSuspending(subs >>> 0, events >>> 0, count >>> 0, nevents >>> 0, turns);
    },
  };
  for (const name of ['fd_write', 'sock_send']) {
    wrapped[name] = (...args: never[]) => {
      const [fd, iovs, count] = args as number[];
      const file = fds[fd >>> 0];
      const bytes = file instanceof HostFd ? lengthOf(memory, iovs >>> 0, count >>> 0) : 0;
      if (!(file instanceof HostFd) || file.hasRoomFor(bytes)) return imports[name](...args);
      const untilMs = file.filetype === wasi.FILETYPE_SOCKET_STREAM ? performance.now() + STALL_MS : Infinity;
      return roomFor(file, bytes, untilMs).then(() => imports[name](...args));
    };
  }
  for (const name of ['fd_read', 'sock_recv', 'sock_accept']) {
    wrapped[name] = (...args: never[]) => {
      const [fd, flags] = args as number[];
      const file = fds[fd >>> 0];
      const blocks = file instanceof HostFd && file.filetype === wasi.FILETYPE_SOCKET_STREAM && !file.nonblocking
        && !(name === 'sock_accept' && (flags & wasi.FDFLAGS_NONBLOCK) !== 0);
      if (!blocks || file.readReady() >= 0 || (file instanceof ListenFd) !== (name === 'sock_accept')) return imports[name](...args);
      return poller.readable(file).then(() => imports[name](...args));
    };
  }
  const suspending = Object.entries(wrapped).map(([name, fn]) => [name, new integration.Suspending!(fn)]);
  return { ...imports, ...Object.fromEntries(suspending) as Record<string, unknown> };
}

/** Sum of the iovecs, 0 where they are no valid ones: the import itself refuses those. */
function lengthOf(memory: GuestMemory, iovs: number, count: number): number {
  memory.refresh();
  if (!memory.hasIovs(iovs, count)) return 0;
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += memory.u32(iovs + i * IOV_BYTES + 4);
  return bytes;
}

async function roomFor(file: HostFd, bytes: number, untilMs: number): Promise<void> {
  while (!file.hasRoomFor(bytes) && performance.now() < untilMs) await new Promise<void>((resolve) => { setTimeout(resolve, ROOM_EVERY_MS); });
}

class EventTurns implements Turns {
  readonly #channel = new MessageChannel();
  #lastMs = performance.now();
  #resolve: () => void = () => {};

  constructor() {
    this.#channel.port2.onmessage = () => { this.#resolve(); };
  }

  get isDue(): boolean {
    return performance.now() - this.#lastMs >= TURN_MS;
  }

  /** A message to itself: it comes behind what has come already, and unlike a timer at once. */
  async give(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
      this.#channel.port1.postMessage(0, []);
    });
    this.#lastMs = performance.now();
  }
}
