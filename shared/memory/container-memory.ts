/*
 * The shared memory of one container: everything its threads exchange while it runs.
 *
 *   page ──stdin──▶ ┌───────────┐ ──stdout──▶ page
 *                   │ container │
 *   link ─toGuest─▶ └───────────┘ ─fromGuest─▶ link
 *
 * One structured-cloneable object of SharedArrayBuffers that whoever starts a container makes and hands to every
 * thread; each thread then builds its own Ring and Wake views over it.
 */
import type { AnyBuffer } from './local.ts';
import { ringBytes } from './ring.ts';
import { CONTROL_BYTES } from './wake.ts';

// Capacities of the rings in bytes, powers of two. toGuest is the only buffer between a WebSocket, which cannot be
// paused, and the guest: it holds the windows of a few TCP connections. Memory is committed when it is touched.
export const STDIN_BYTES = 64 << 10;
export const STDOUT_BYTES = 256 << 10;
export const FROM_GUEST_BYTES = 2 << 20;
export const TO_GUEST_BYTES = 8 << 20;
const NO_NET_BYTES = 1024;

export interface ContainerMemory {
  /** wake word and link word: see wake.ts */
  control: AnyBuffer;
  stdin: AnyBuffer;
  stdout: AnyBuffer;
  fromGuest: AnyBuffer;
  toGuest: AnyBuffer;
}

export type LocalMemory = Record<keyof ContainerMemory, ArrayBuffer>;

/** Memory for one container; without a network the frame rings are mere placeholders. */
export function makeContainerMemory(net: boolean): ContainerMemory {
  return make(net, (bytes) => new SharedArrayBuffer(bytes));
}

/** The same for one thread alone, where memory can't be shared: bridge.ts joins it to that of others. */
export function makeLocalMemory(net: boolean): LocalMemory {
  return make(net, (bytes) => new ArrayBuffer(bytes));
}

function make<T>(net: boolean, buffer: (bytes: number) => T): Record<keyof ContainerMemory, T> {
  return {
    control: buffer(CONTROL_BYTES),
    stdin: buffer(ringBytes(STDIN_BYTES)),
    stdout: buffer(ringBytes(STDOUT_BYTES)),
    fromGuest: buffer(ringBytes(net ? FROM_GUEST_BYTES : NO_NET_BYTES)),
    toGuest: buffer(ringBytes(net ? TO_GUEST_BYTES : NO_NET_BYTES)),
  };
}
