/*
 * The shared memory of one container: everything its threads exchange while it runs.
 *
 *   page ──stdin──▶ ┌───────────┐ ──stdout──▶ page
 *                   │ container │
 *   link ─toGuest─▶ └───────────┘ ─fromGuest─▶ link
 *
 * One structured-cloneable object of SharedArrayBuffers that whoever starts a container makes and hands to every
 * thread; each thread then builds its own Ring and Wake views over it. Where there are none, page and container each make
 * one of plain buffers, and ring-bridge.ts carries the bytes between the two.
 */
import { ringBytes } from './ring.ts';
import { CONTROL_BYTES } from './wake.ts';

// Capacities of the rings in bytes, powers of two. toGuest is the only buffer between a WebSocket, which cannot be
// paused, and the guest: it holds the windows of a few TCP connections. Memory is committed when it is touched.
export const STDIN_BYTES = 64 << 10;
export const STDOUT_BYTES = 256 << 10;
export const STDERR_BYTES = 64 << 10;
export const FROM_GUEST_BYTES = 2 << 20;
export const TO_GUEST_BYTES = 8 << 20;
export const SAVE_BYTES = 1 << 20;
export const TERMINAL_IN_BYTES = 16 << 10;
export const TERMINAL_OUT_BYTES = 64 << 10;
const PLACEHOLDER_BYTES = 1024;

export interface ContainerMemory {
  /** wake word and link word: see wake.ts */
  control: ArrayBufferLike;
  stdin: ArrayBufferLike;
  stdout: ArrayBufferLike;
  /** of a container without a terminal; with one everything is on stdout */
  stderr: ArrayBufferLike;
  fromGuest: ArrayBufferLike;
  toGuest: ArrayBufferLike;
  /** the machine's memory on its way into a saved container: see save-ring.ts */
  save: ArrayBufferLike;
  /** of the terminals beside the first, which has stdin and stdout: see tty.ts */
  terminals: { input: ArrayBufferLike; output: ArrayBufferLike }[];
}

/**
 * Memory for one container with so many terminals, of SharedArrayBuffers unless told otherwise; without a network the frame rings are mere
 * placeholders, and so is what is for another thread where no memory is shared.
 */
export function makeContainerMemory(net: boolean, terminals = 1, isShared = true): ContainerMemory {
  const make = (bytes: number): ArrayBufferLike => (isShared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes));
  return {
    control: make(CONTROL_BYTES),
    stdin: make(ringBytes(STDIN_BYTES)),
    stdout: make(ringBytes(STDOUT_BYTES)),
    stderr: make(ringBytes(isShared ? STDERR_BYTES : PLACEHOLDER_BYTES)),
    fromGuest: make(ringBytes(net ? FROM_GUEST_BYTES : PLACEHOLDER_BYTES)),
    toGuest: make(ringBytes(net ? TO_GUEST_BYTES : PLACEHOLDER_BYTES)),
    save: make(ringBytes(isShared ? SAVE_BYTES : PLACEHOLDER_BYTES)),
    terminals: Array.from({ length: isShared ? terminals - 1 : 0 }, () => ({ input: make(ringBytes(TERMINAL_IN_BYTES)), output: make(ringBytes(TERMINAL_OUT_BYTES)) })),
  };
}
