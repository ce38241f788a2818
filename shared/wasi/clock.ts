/*
 * WASI family: clocks. 0 is the wall clock, 1 counts from the start of this thread; ids 2 and 3 (CPU time) count as 1 does.
 *
 * Asked for very often, so nanoseconds are put together from two 32-bit halves: a BigInt would be garbage every time, and
 * a plain number is too short for the wall clock's.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { GuestMemory } from './guest-memory.ts';

const NS_PER_MS = 1e6;
const TWO_32 = 2 ** 32;
const TWO_21 = 2 ** 21;
const TWO_11 = 2 ** 11;

/** See `clock_time_get` in imports.ts. */
export function clockTimeGet(memory: GuestMemory, id: number, time: number): number {
  if (id > wasi.CLOCKID_THREAD_CPUTIME_ID) return wasi.ERRNO_INVAL;
  if (!memory.has(time, 8)) return wasi.ERRNO_FAULT;
  if (id === wasi.CLOCKID_REALTIME) setNs(memory, time, Date.now(), 0);
  else setMonotonic(memory, time, performance.now());
  return wasi.ERRNO_SUCCESS;
}

/** See `clock_res_get` in imports.ts. */
export function clockResGet(memory: GuestMemory, id: number, resolution: number): number {
  if (id > wasi.CLOCKID_THREAD_CPUTIME_ID) return wasi.ERRNO_INVAL;
  if (!memory.has(resolution, 8)) return wasi.ERRNO_FAULT;
  setNs(memory, resolution, id === wasi.CLOCKID_REALTIME ? 1 : 0, id === wasi.CLOCKID_REALTIME ? 0 : 5000);
  return wasi.ERRNO_SUCCESS;
}

function setMonotonic(memory: GuestMemory, at: number, nowMs: number): void {
  const ms = Math.floor(nowMs);
  setNs(memory, at, ms, Math.floor((nowMs - ms) * NS_PER_MS));
}

/** Writes `ms` * 10^6 + `ns` as a u64: the product is made of two parts that are each exact below 2^53. */
function setNs(memory: GuestMemory, at: number, ms: number, ns: number): void {
  const upper = Math.floor(ms / TWO_21) * NS_PER_MS;
  const lower = (ms % TWO_21) * NS_PER_MS + (upper % TWO_11) * TWO_21 + ns;
  memory.setU32(at, lower % TWO_32);
  memory.setU32(at + 4, Math.floor(upper / TWO_11) + Math.floor(lower / TWO_32));
}
