/*
 * WASI family: standard streams. fd 0 reads the stdin ring; fds 1 and 2 both write the stdout ring, for a machine's own
 * complaints belong on the screen that its user looks at. A container that was told to have no terminal (`pipes`) has the stderr ring for
 * fd 2, and neither of the two blocks: its machine runs on while nobody reads.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { Ring } from '../memory/ring.ts';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';

/** room that a writer of much waits for at a time, in bytes: fewer, larger wake-ups */
const WRITE_STEP = 16 << 10;

export class StdinFd extends HostFd {
  readonly filetype = wasi.FILETYPE_CHARACTER_DEVICE;
  readonly #ring: Ring;

  constructor(ring: Ring) {
    super();
    this.#ring = ring;
  }

  override readReady(): number {
    const closed = this.#ring.closed;
    const readable = this.#ring.readable;
    return readable > 0 || closed ? readable : -1;
  }

  override writeReady(): number {
    return -1;
  }

  override get hangup(): boolean {
    return this.#ring.closed && this.#ring.readable === 0;
  }

  /**
   * fd_read(0): never waits. Emulators read only after a ready event, never set O_NONBLOCK and take 0 bytes for the end
   * of the input, after which they power off; so "nothing yet" has to be an error.
   *
   * Result: SUCCESS with the count, 0 at the end of the input · AGAIN: nothing yet.
   */
  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    const ready = this.readReady();
    if (ready < 0) return wasi.ERRNO_AGAIN;
    let total = 0;
    for (let i = 0; i < count && total < ready; i++) {
      const at = memory.u32(iovs + i * IOV_BYTES);
      total += this.#ring.read(memory.bytes, at, at + memory.u32(iovs + i * IOV_BYTES + 4));
    }
    memory.setU32(nread, total);
    return wasi.ERRNO_SUCCESS;
  }

  override writev(): number {
    return wasi.ERRNO_BADF;
  }
}

export class StdoutFd extends HostFd {
  readonly filetype = wasi.FILETYPE_CHARACTER_DEVICE;
  readonly #ring: Ring;
  readonly #waits: boolean;

  /** Without `waits` a write takes what there is room for, as a non-blocking pipe does. */
  constructor(ring: Ring, waits = true) {
    super();
    this.#ring = ring;
    this.#waits = waits;
  }

  override readReady(): number {
    return -1;
  }

  override writeReady(): number {
    const room = this.#ring.writable;
    return room > 0 || this.#ring.abandoned ? room : -1;
  }

  override readv(): number {
    return wasi.ERRNO_BADF;
  }

  override hasRoomFor(bytes: number): boolean {
    return this.#ring.writable >= Math.min(bytes, this.#ring.capacity);
  }

  /**
   * fd_write(1 or 2): takes everything, and blocks on a full ring: a slow terminal slows the guest. In a thread that can't block,
   * the caller has waited for room (suspending.ts), and what is longer than the ring is taken in part.
   *
   * Result: SUCCESS with the sum of all lengths. One that does not wait: SUCCESS with what was taken · AGAIN: no room · PIPE: nobody reads.
   */
  override writev(memory: GuestMemory, iovs: number, count: number, nwritten: number): number {
    if (!this.#waits && this.#ring.abandoned) return wasi.ERRNO_PIPE;
    let total = 0;
    for (let i = 0; i < count; i++) {
      let at = memory.u32(iovs + i * IOV_BYTES);
      const end = at + memory.u32(iovs + i * IOV_BYTES + 4);
      const start = at;
      while (at < end) {
        at += this.#ring.write(memory.bytes, at, end);
        if (at < end && !this.#waits) break;
        if (at < end && !this.#ring.waitForRoom(Math.min(end - at, WRITE_STEP, this.#ring.capacity), Infinity)) break;
      }
      total += at - start;
      if (at < end) {
        if (!this.#waits && total === 0) return wasi.ERRNO_AGAIN;
        break;
      }
    }
    memory.setU32(nwritten, total >>> 0);
    return wasi.ERRNO_SUCCESS;
  }
}
