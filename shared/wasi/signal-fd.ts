/*
 * WASI family: the device `/portside/signal`. It is readable when somebody has sent the command signals; each byte that is read is the
 * number of one. A signal that comes again before it was read is one, as Linux has it.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { ContainerMemory } from '../memory/container-memory.ts';
import { Wake } from '../memory/wake.ts';
import type { Device } from './files.ts';
import type { GuestMemory } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';

/** of those that one word has room for; real-time signals are beyond it */
const LAST_SIGNAL = 31;

export function signalDevice(memory: ContainerMemory): Device {
  return { open: () => new SignalFd(new Wake(memory.control)) };
}

class SignalFd extends HostFd {
  readonly filetype = wasi.FILETYPE_CHARACTER_DEVICE;
  readonly #wake: Wake;

  constructor(wake: Wake) {
    super();
    this.#wake = wake;
  }

  override readReady(): number {
    return this.#wake.signals === 0 ? -1 : 1;
  }

  override writeReady(): number {
    return -1;
  }

  /** fd_read, into the first vector: a byte per signal. Result: SUCCESS · AGAIN: none · INVAL: no room for one. */
  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    const room = count === 0 ? 0 : memory.u32(iovs + 4);
    if (room === 0) return wasi.ERRNO_INVAL;
    const signals = this.#wake.takeSignals();
    const numbers = Array.from({ length: LAST_SIGNAL }, (_, i) => i + 1).filter((number) => (signals & (1 << number)) !== 0);
    for (const number of numbers.splice(room)) this.#wake.sendSignal(number);
    if (numbers.length === 0) return wasi.ERRNO_AGAIN;
    memory.bytes.set(numbers, memory.u32(iovs));
    memory.setU32(nread, numbers.length);
    return wasi.ERRNO_SUCCESS;
  }

  override writev(): number {
    return wasi.ERRNO_BADF;
  }
}
