/*
 * The imports that block, for a thread that must not: with JavaScript Promise Integration the guest's stack is put aside instead, and
 * the thread goes back to its event loop until the promise of the import is settled.
 *
 * poll_oneoff sleeps so, and fd_write of a full stdout ring. Both, and sock_recv, also breathe: a guest that computes for long would keep
 * messages and timers of its thread waiting, so at least every few ms one of them gives way, whether there is something to wait for
 * or not. A full ring of frames drops a frame at once, and a blocking socket says AGAIN.
 */
import type { Fd } from '@bjorn3/browser_wasi_shim';
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { Ring } from '../memory/ring.ts';
import type { Wake } from '../memory/wake.ts';
import { IOV_BYTES, type GuestMemory } from './guest-memory.ts';
import type { Poller } from './poll.ts';
import { StdoutFd } from './stdio.ts';

/** How a thread waits that has an event loop. */
export interface Suspend {
  /** Resolves when the wake word is not `seen` any more, or after `timeoutMs`. */
  sleep(seen: number, timeoutMs: number): Promise<void>;
  /** Resolves when messages and timers had their turn; null when that is not due. */
  breathe(): Promise<void> | null;
}

interface Jspi {
  Suspending: new (fn: (...args: never[]) => unknown) => unknown;
  promising(fn: () => void): () => Promise<void>;
}

/** What es2023 does not know of WebAssembly yet. */
const jspi = WebAssembly as unknown as Jspi;

type Import = (...args: never[]) => number;

export interface SuspendingParts {
  imports: Record<string, Import>;
  memory: GuestMemory;
  fds: readonly (Fd | undefined)[];
  poller: Poller;
  stdout: Ring;
  wake: Wake;
  suspend: Suspend;
}

/** `imports` with the blocking ones replaced, for an instance whose `_start` is called through `promising`. */
export function suspendingImports(parts: SuspendingParts): Record<string, unknown> {
  const { imports, poller, memory, fds, suspend } = parts;
  const pollOneoff = async (subs: number, events: number, count: number, nevents: number): Promise<number> => {
    await suspend.breathe();
    memory.refresh();
    return poller.pollSuspending(subs >>> 0, events >>> 0, count >>> 0, nevents >>> 0, suspend);
  };
  const fdWrite = async (fd: number, iovs: number, count: number, nwritten: number): Promise<number> => {
    await suspend.breathe();
    if (!(fds[fd >>> 0] instanceof StdoutFd)) return imports['fd_write'](...[fd, iovs, count, nwritten] as never[]);
    return writeAll(parts, iovs >>> 0, count >>> 0, nwritten >>> 0);
  };
  const sockRecv = async (...args: number[]): Promise<number> => {
    await suspend.breathe();
    return imports['sock_recv'](...args as never[]);
  };
  return { ...imports, poll_oneoff: new jspi.Suspending(pollOneoff), fd_write: new jspi.Suspending(fdWrite), sock_recv: new jspi.Suspending(sockRecv) };
}

export function promising(start: () => void): () => Promise<void> {
  return jspi.promising(start);
}

/** fd_write of stdout, see imports.ts; its ring is waited for in between. */
async function writeAll({ memory, stdout, wake, suspend }: SuspendingParts, iovs: number, count: number, nwritten: number): Promise<number> {
  memory.refresh();
  if (!memory.has(nwritten, 4) || !memory.hasIovs(iovs, count)) return wasi.ERRNO_FAULT;
  let total = 0;
  for (let i = 0; i < count; i++) {
    let at = memory.u32(iovs + i * IOV_BYTES);
    const end = at + memory.u32(iovs + i * IOV_BYTES + 4);
    total += end - at;
    while (at < end) {
      const seen = wake.value;
      at += stdout.write(memory.bytes, at, end);
      if (at < end) await suspend.sleep(seen, Infinity);
    }
  }
  memory.setU32(nwritten, total >>> 0);
  return wasi.ERRNO_SUCCESS;
}
