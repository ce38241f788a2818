/*
 * WASI family: the terminals of a container beside the first, devices `/portside/tty2` to `tty4`.
 *
 * Theory of operation
 *
 * Each has two rings and a word (wake.ts). A machine that knows them opens them all at its start and polls them. The first bytes that
 * it reads, a window size at the latest, make it start a shell there. The shell's end shows as a close of the descriptor: that is
 * told by `onClosed`, and the machine opens the device anew for the next shell. The other way round, a page that closes a terminal
 * hangs up: the machine then reads the end of it (0 bytes), ends the shell, and closes the descriptor likewise.
 *
 *   page:  size, keys ─▶ [input ring] ─▶ fd_read        hung up ─▶ fd_read gives 0 bytes ─▶ fd_close ─▶ onClosed
 *          screen     ◀─ [output ring] ◀─ fd_write                      shell ends       ─▶ fd_close ─▶ onClosed
 *
 *   word:  UNUSED ─ page ─▶ ATTACHED ─ page ─▶ HUNG_UP        fd_close: UNUSED
 *
 * A page does not use a terminal again before it heard of its close; what was still in its input is dropped then.
 * A full output ring blocks the machine, as stdout does: whoever attaches to a terminal reads it until it is closed. What is written to one
 * that nobody is attached to is dropped: any program in the container may write to its device.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { ContainerMemory } from '../memory/container-memory.ts';
import { Ring } from '../memory/ring.ts';
import { Wake } from '../memory/wake.ts';
import type { Device } from './files.ts';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';
import { StdinFd, StdoutFd } from './stdio.ts';

export const TTY_UNUSED = 0;
export const TTY_ATTACHED = 1;
export const TTY_HUNG_UP = 2;

/** The devices of all terminals of `memory` by name. `onClosed` gets the index in `memory.terminals`. */
export function ttyDevices(memory: ContainerMemory, onClosed: (index: number) => void): Map<string, Device> {
  const wake = new Wake(memory.control);
  return new Map(memory.terminals.map(({ input, output }, index) => [
    `tty${index + 2}`, { open: () => new TtyFd(new Ring(input), new Ring(output), wake, index, onClosed) },
  ]));
}

class TtyFd extends HostFd {
  readonly filetype = wasi.FILETYPE_CHARACTER_DEVICE;
  readonly #input: Ring;
  readonly #reader: StdinFd;
  readonly #writer: StdoutFd;
  readonly #wake: Wake;
  readonly #index: number;
  readonly #onClosed: (index: number) => void;

  constructor(input: Ring, output: Ring, wake: Wake, index: number, onClosed: (index: number) => void) {
    super();
    this.#input = input;
    this.#reader = new StdinFd(input);
    this.#writer = new StdoutFd(output);
    this.#wake = wake;
    this.#index = index;
    this.#onClosed = onClosed;
  }

  /** What was typed before it was hung up is still read. */
  override readReady(): number {
    const readable = this.#input.readable;
    return readable > 0 || this.#wake.terminal(this.#index) === TTY_HUNG_UP ? readable : -1;
  }

  override writeReady(): number {
    return this.#writer.writeReady();
  }

  /** fd_read. Result: SUCCESS with the count, 0 when it was hung up · AGAIN: nothing yet. */
  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    if (this.#input.readable > 0) return this.#reader.readv(memory, iovs, count, nread);
    if (this.#wake.terminal(this.#index) !== TTY_HUNG_UP) return wasi.ERRNO_AGAIN;
    memory.setU32(nread, 0);
    return wasi.ERRNO_SUCCESS;
  }

  /** fd_write: as of stdout, while somebody reads. Result: SUCCESS with the sum of all lengths. */
  override writev(memory: GuestMemory, iovs: number, count: number, nwritten: number): number {
    if (this.#wake.terminal(this.#index) !== TTY_UNUSED) return this.#writer.writev(memory, iovs, count, nwritten);
    let total = 0;
    for (let i = 0; i < count; i++) total += memory.u32(iovs + i * IOV_BYTES + 4);
    memory.setU32(nwritten, total >>> 0);
    return wasi.ERRNO_SUCCESS;
  }

  override fd_close(): number {
    this.#input.skip(this.#input.readable);
    this.#wake.setTerminal(this.#index, TTY_UNUSED);
    this.#onClosed(this.#index);
    return wasi.ERRNO_SUCCESS;
  }
}
