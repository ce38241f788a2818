/*
 * What a file descriptor of ours adds to the shim's: it moves bytes straight between a ring and the guest's memory, and
 * poll_oneoff can ask it whether it is ready.
 */
import { Fd, wasi } from '@bjorn3/browser_wasi_shim';
import type { GuestMemory } from './guest-memory.ts';

/** every right that preview1 knows: we restrict by what an fd can do, not by rights */
export const ALL_RIGHTS = (1n << 30n) - 1n;

export abstract class HostFd extends Fd {
  /** set by fd_fdstat_set_flags and sock_accept */
  nonblocking = false;

  /** Bytes that a read would give now; 0 when it would not wait but give none (end of file); -1: not ready. */
  abstract readReady(): number;

  /** Room that a write would find now; -1: not ready. */
  abstract writeReady(): number;

  /** A write of `bytes` would not have to wait: asked where no thread can, see suspending.ts. */
  hasRoomFor(_bytes: number): boolean {
    return true;
  }

  /** The other end has gone: said in poll events. */
  get hangup(): boolean {
    return false;
  }

  /** fd_read and sock_recv. The iovecs were judged. Returns an errno; on success writes the count to `nread`. */
  abstract readv(memory: GuestMemory, iovs: number, count: number, nread: number): number;

  /** fd_write and sock_send, likewise. */
  abstract writev(memory: GuestMemory, iovs: number, count: number, nwritten: number): number;

  abstract readonly filetype: number;

  override fd_fdstat_get(): { ret: number; fdstat: wasi.Fdstat } {
    const fdstat = new wasi.Fdstat(this.filetype, this.nonblocking ? wasi.FDFLAGS_NONBLOCK : 0);
    fdstat.fs_rights_base = ALL_RIGHTS & ~this.missingRights;
    fdstat.fs_rights_inherited = ALL_RIGHTS;
    return { ret: wasi.ERRNO_SUCCESS, fdstat };
  }

  /** Rights that say what this is not: without SEEK and TELL a character device is a terminal to wasi-libc. */
  protected get missingRights(): bigint {
    return BigInt(wasi.RIGHTS_FD_SEEK) | BigInt(wasi.RIGHTS_FD_TELL);
  }

  override fd_fdstat_set_flags(flags: number): number {
    this.nonblocking = (flags & wasi.FDFLAGS_NONBLOCK) !== 0;
    return wasi.ERRNO_SUCCESS;
  }

  override fd_filestat_get(): { ret: number; filestat: wasi.Filestat } {
    return { ret: wasi.ERRNO_SUCCESS, filestat: new wasi.Filestat(0n, this.filetype, 0n) };
  }
}
