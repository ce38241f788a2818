/*
 * WASI family: sockets. One listening socket, which gives one connection: the link.
 *
 * Theory of operation
 *
 * To the guest the network is a stream socket that carries Ethernet frames in QEMU's framing. It accepts once the link
 * is there, sends and receives. The host end is two rings and the link word (wake.ts), which holds the number of the
 * present link, or 0.
 *
 *   link word      0         3                    0          4
 *   accept         AGAIN     connection of 3      AGAIN      connection of 4
 *   connection     -         open                 ended: recv gives CONNRESET, send swallows
 *
 * A break that is mended in time never shows here: the owner of the link leaves the word as it is. c2w's emulators close
 * a broken connection without telling us and simply accept again, so an accept always replaces the connection before. They
 * take 0 bytes for "later" when errno was left at AGAIN, as by their first accept: hence a reset and not an end.
 * What lay in the ring before the accept is dropped, as with a socket that nobody listened to.
 *
 * Frames: the rings carry whole frames only (frame-writer.ts). `recv` may end within a frame's body but not within its
 * 4-byte length, unless the guest asked for fewer than 4 bytes: c2w's emulators lose their place for ever otherwise.
 * `send` takes everything, always: c2w's ignore the count. When the ring is full, the guest waits for up to STALL_MS, and
 * then loses that frame as on a wire; for a second after that it does not wait again, so that a dead link costs it
 * little of its time.
 *
 * The connection's fd is 200 or above: c2w's emulators close their broken connection by a number in a table of their
 * own, where low numbers are files of the image.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import { FrameWriter } from '../link/frame-writer.ts';
import { MAX_FRAME_BYTES } from '../link/tunnel.ts';
import type { Ring } from '../memory/ring.ts';
import type { Wake } from '../memory/wake.ts';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';

/** lowest fd of a connection */
export const CONNECTION_FD = 200;
/** connections take numbers from CONNECTION_FD up to here, round and round */
export const LAST_CONNECTION_FD = 999;

/** longest wait of a send for room, in ms */
export const STALL_MS = 200;
/** after a wait in vain, frames are dropped at once for so long, in ms */
const STALL_PAUSE_MS = 1000;

const LENGTH_BYTES = 4;
const LARGEST_FRAME = MAX_FRAME_BYTES + LENGTH_BYTES;

abstract class SocketFd extends HostFd {
  readonly filetype = wasi.FILETYPE_SOCKET_STREAM;
}

export class ListenFd extends SocketFd {
  /** the connection that was accepted last; it may have ended */
  connection: ConnectionFd | null = null;

  readonly #wake: Wake;
  readonly #toGuest: Ring;
  readonly #fromGuest: Ring;

  constructor(wake: Wake, toGuest: Ring, fromGuest: Ring) {
    super();
    this.#wake = wake;
    this.#toGuest = toGuest;
    this.#fromGuest = fromGuest;
  }

  /** Readable when an accept would give a connection that there is not already. */
  override readReady(): number {
    if (this.#wake.link === 0) return -1;
    return this.connection === null || this.connection.ended ? 1 : -1;
  }

  override writeReady(): number {
    return -1;
  }

  override readv(): number {
    return wasi.ERRNO_NOTCONN;
  }

  override writev(): number {
    return wasi.ERRNO_NOTCONN;
  }

  /** The connection of the present link, in place of the one before; null when there is no link. */
  accept(nonblocking: boolean): ConnectionFd | null {
    if (this.#wake.link === 0) return null;
    this.connection?.fd_close();
    this.#toGuest.skip(this.#toGuest.readable);
    this.connection = new ConnectionFd(this.#wake, this.#toGuest, this.#fromGuest);
    this.connection.nonblocking = nonblocking;
    return this.connection;
  }
}

export class ConnectionFd extends SocketFd {
  readonly #wake: Wake;
  readonly #toGuest: Ring;
  readonly #writer: FrameWriter;
  readonly #fromGuest: Ring;
  /** number of the link that this connection belongs to */
  readonly #link: number;
  #closed = false;
  #sendClosed = false;
  /** bytes of the frame at the front of toGuest, its length included, that `recv` still owes; 0: between frames */
  #frameLeft = 0;
  /** a send does not wait before this time */
  #stalledUntilMs = 0;

  constructor(wake: Wake, toGuest: Ring, fromGuest: Ring) {
    super();
    this.#wake = wake;
    this.#link = wake.link;
    this.#toGuest = toGuest;
    this.#fromGuest = fromGuest;
    fromGuest.rollback();
    this.#writer = new FrameWriter(fromGuest, MAX_FRAME_BYTES, this.#onFull);
  }

  /** Closed by the guest, shut down, or its link is gone. */
  get ended(): boolean {
    return this.#closed || this.#wake.link !== this.#link;
  }

  override get hangup(): boolean {
    return this.ended;
  }

  override readReady(): number {
    if (this.ended) return 0;
    const readable = this.#toGuest.readable;
    return readable > 0 ? readable : -1;
  }

  /** Ready when the largest frame fits, so that a guest that polls before it sends never waits and never loses one. */
  override writeReady(): number {
    if (this.ended) return 0;
    const room = this.#fromGuest.writable;
    return room >= LARGEST_FRAME ? room : -1;
  }

  override hasRoomFor(bytes: number): boolean {
    return this.ended || performance.now() < this.#stalledUntilMs || this.#fromGuest.writable >= Math.min(bytes + LARGEST_FRAME, this.#fromGuest.capacity);
  }

  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    return this.recv(memory, iovs, count, nread, false);
  }

  /** See `sock_recv` in imports.ts; the caller has waited if this socket blocks. */
  recv(memory: GuestMemory, iovs: number, count: number, nread: number, peek: boolean): number {
    const ready = this.readReady();
    if (ready < 0) return wasi.ERRNO_AGAIN;
    if (this.#wake.link !== this.#link) return wasi.ERRNO_CONNRESET;
    let total = 0;
    const frameLeft = this.#frameLeft;
    for (let i = 0; i < count && total < ready; i++) {
      const at = memory.u32(iovs + i * IOV_BYTES);
      const room = memory.u32(iovs + i * IOV_BYTES + 4);
      const len = this.#portion(room, total === 0, ready - total);
      if (peek) this.#toGuest.peek(memory.bytes, at, at + len);
      else this.#toGuest.read(memory.bytes, at, at + len);
      total += len;
      if (len < room || peek) break;
    }
    if (peek) this.#frameLeft = frameLeft;
    memory.setU32(nread, total);
    return wasi.ERRNO_SUCCESS;
  }

  /** How many of the oldest `readable` bytes go into a buffer of `room`; walks the frames and keeps our place in them. */
  #portion(room: number, first: boolean, readable: number): number {
    const most = Math.min(room, readable);
    let len = 0;
    while (len < most) {
      if (this.#frameLeft === 0) {
        if (room - len < LENGTH_BYTES && (len > 0 || !first)) break;
        this.#frameLeft = LENGTH_BYTES + this.#toGuest.u32At(len);
      }
      const part = Math.min(this.#frameLeft, most - len);
      len += part;
      this.#frameLeft -= part;
    }
    return len;
  }

  /** See `sock_send` in imports.ts. */
  override writev(memory: GuestMemory, iovs: number, count: number, nwritten: number): number {
    let total = 0;
    for (let i = 0; i < count; i++) {
      const at = memory.u32(iovs + i * IOV_BYTES);
      const len = memory.u32(iovs + i * IOV_BYTES + 4);
      total += len;
      if (this.#sendClosed || this.ended) continue;
      // A guest that sends garbage has lost its place in its own stream: only a new connection can mend that.
      if (!this.#writer.write(memory.bytes, at, at + len)) this.#closed = true;
    }
    memory.setU32(nwritten, total >>> 0);
    return wasi.ERRNO_SUCCESS;
  }

  shutdown(how: number): void {
    if ((how & wasi.SDFLAGS_WR) !== 0) this.#sendClosed = true;
    if ((how & wasi.SDFLAGS_RD) !== 0) this.#closed = true;
  }

  override fd_close(): number {
    if (!this.#closed || !this.#sendClosed) this.#writer.reset();
    this.#closed = true;
    this.#sendClosed = true;
    return wasi.ERRNO_SUCCESS;
  }

  readonly #onFull = (needed: number): boolean => {
    const now = performance.now();
    if (now < this.#stalledUntilMs) return false;
    if (this.#fromGuest.waitForRoom(needed, STALL_MS)) return true;
    this.#stalledUntilMs = now + STALL_MS + STALL_PAUSE_MS;
    return false;
  };
}
