/*
 * Buffers that are not shared, for a page without SharedArrayBuffer (the JSPI mode): each thread has rings and words of its own, so
 * producer and consumer are one thread, nobody blocks, and who would be woken is called. bridge.ts joins the rings of two threads.
 */
import type { Bell } from './drain.ts';

export type AnyBuffer = SharedArrayBuffer | ArrayBuffer;

const LISTENERS = new WeakMap<ArrayBuffer, Set<() => void>>();

/** Called after each change of a ring or of the wake word over `buffer`; null when it is shared, where nobody can be called. */
export function localListeners(buffer: AnyBuffer): Set<() => void> | null {
  if (!(buffer instanceof ArrayBuffer)) return null;
  let listeners = LISTENERS.get(buffer);
  if (listeners === undefined) LISTENERS.set(buffer, listeners = new Set());
  return listeners;
}

/** What a Drain of such a ring waits for. */
export function localBell(buffer: AnyBuffer): Bell {
  return { onRing: (listener) => { localListeners(buffer)?.add(listener); } };
}
