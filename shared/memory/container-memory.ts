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
import { ringBytes } from './ring.ts';
import { CONTROL_BYTES } from './wake.ts';

// Capacities of the rings in bytes, powers of two. toGuest is the only buffer between a WebSocket, which cannot be
// paused, and the guest: it holds the windows of a few TCP connections. Memory is committed when it is touched.
export const STDIN_BYTES = 64 << 10;
export const STDOUT_BYTES = 256 << 10;
export const FROM_GUEST_BYTES = 2 << 20;
export const TO_GUEST_BYTES = 8 << 20;
export const SAVE_BYTES = 1 << 20;
export const TERMINAL_IN_BYTES = 16 << 10;
export const TERMINAL_OUT_BYTES = 64 << 10;
const NO_NET_BYTES = 1024;

export interface ContainerMemory {
  /** wake word and link word: see wake.ts */
  control: SharedArrayBuffer;
  stdin: SharedArrayBuffer;
  stdout: SharedArrayBuffer;
  fromGuest: SharedArrayBuffer;
  toGuest: SharedArrayBuffer;
  /** the machine's memory on its way into a saved container: see save-ring.ts */
  save: SharedArrayBuffer;
  /** of the terminals beside the first, which has stdin and stdout: see tty.ts */
  terminals: { input: SharedArrayBuffer; output: SharedArrayBuffer }[];
}

/** Memory for one container with so many terminals; without a network the frame rings are mere placeholders. */
export function makeContainerMemory(net: boolean, terminals = 1): ContainerMemory {
  return {
    control: new SharedArrayBuffer(CONTROL_BYTES),
    stdin: new SharedArrayBuffer(ringBytes(STDIN_BYTES)),
    stdout: new SharedArrayBuffer(ringBytes(STDOUT_BYTES)),
    fromGuest: new SharedArrayBuffer(ringBytes(net ? FROM_GUEST_BYTES : NO_NET_BYTES)),
    toGuest: new SharedArrayBuffer(ringBytes(net ? TO_GUEST_BYTES : NO_NET_BYTES)),
    save: new SharedArrayBuffer(ringBytes(SAVE_BYTES)),
    terminals: Array.from({ length: terminals - 1 }, () => ({
      input: new SharedArrayBuffer(ringBytes(TERMINAL_IN_BYTES)),
      output: new SharedArrayBuffer(ringBytes(TERMINAL_OUT_BYTES)),
    })),
  };
}
