/*
 * The WASI preview1 host of a container, in one place: the shim's imports, and in front of them ours.
 *
 * Theory of operation
 *
 * @bjorn3/browser_wasi_shim gives the file descriptor table, the preopened directories and about half of the 40
 * functions. What we override: it spins in poll_oneoff and takes one subscription, throws strings in sock_*, copies
 * every read and write by `slice`, miscounts arguments beyond ASCII, never reuses a descriptor, and throws at a
 * pointer out of range. Each override below states parameters and results.
 *
 *   fd 0, 1, 2   stdio.ts over the stdin and stdout rings
 *   fd 3         sock.ts: the listening socket, only with a network
 *   fd 3 or 4..  directories (files.ts), shares (share-imports.ts), then what path_open gives, lowest free number first
 *   fd 200..999  accepted connections
 *
 * wasi-libc scans the preopens from 3 until BADF and goes on over the socket, since its tag is not "dir".
 *
 * Errors: an import returns an errno and never throws, but for WASIProcExit, which ends the run. Pointers are judged
 * before anything is touched: FAULT. The shim's own functions are wrapped, so that a RangeError of a hostile pointer is
 * FAULT too, and anything else IO.
 *
 * Only `poll_oneoff`, a blocking socket and a full ring block; see poll.ts and ring.ts, and suspending.ts for threads that can't.
 */
import type { Fd } from '@bjorn3/browser_wasi_shim';
import { wasi, WASI, WASIProcExit } from '@bjorn3/browser_wasi_shim';
import type { ContainerMemory } from '../memory/container-memory.ts';
import { Ring } from '../memory/ring.ts';
import { Wake } from '../memory/wake.ts';
import { clockResGet, clockTimeGet } from './clock.ts';
import type { Device, FileSource } from './files.ts';
import { readOnlyDirectory, ReadOnlyDirectory, SourceFd } from './files.ts';
import { GuestMemory } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';
import { Poller } from './poll.ts';
import { ShareDirectoryFd } from './share-fds.ts';
import { ShareImports } from './share-imports.ts';
import type { OfferedShare } from './share.ts';
import { CONNECTION_FD, ConnectionFd, LAST_CONNECTION_FD, ListenFd } from './sock.ts';
import { StdinFd, StdoutFd } from './stdio.ts';
import { promising, suspendingImports } from './suspending.ts';

/** fd of the listening socket: what c2w's images assume when they are not told */
export const LISTEN_FD = 3;
/** bytes that getRandomValues gives at most in one call */
const RANDOM_CHUNK = 65_536;
/** exit code of a process that raised a signal is this plus the signal's number */
const SIGNAL_EXIT = 128;
/** tag of a preopen that is not a directory */
const PRESTAT_NOT_DIR = 1;
/** longest path, in bytes */
const PATH_MAX = 4096;
/** of the shim's imports about paths: which parameters are lengths of such, their pointers being in front of them */
const PATH_LENGTHS: Record<string, number[]> = {
  path_create_directory: [2], path_filestat_get: [3], path_filestat_set_times: [3], path_link: [3, 6], path_open: [3], path_readlink: [2], path_remove_directory: [2], path_rename: [2, 5],
  path_symlink: [1, 4], path_unlink_file: [2],
};

/**
 * Polls after which an image of c2w's that was given a network and never asked for its connection will not do so any more: they try
 * every few hundred turns, of a poll each.
 */
const ACCEPT_POLLS = 1000;

export interface HostOptions {
  memory: ContainerMemory;
  args: readonly string[];
  env: readonly string[];
  /** offer the listening socket */
  net: boolean;
  /** the image was told that it has no terminal: see stdio.ts */
  pipes?: boolean;
  /** the image is not ours and polls stdin and network in turn: see poll.ts */
  foreign: boolean;
  /** end the run as `no-accept` when a foreign image seems not to know its network's name */
  expectAccept?: boolean;
  /** read-only directories: guest name → file name → source, or device */
  directories: ReadonlyMap<string, ReadonlyMap<string, FileSource | Device>>;
  /** its thread must not block, and has JSPI: see suspending.ts; `runSuspending` is then the way to run */
  suspends?: boolean;
  /** directories that the guest may use, behind the others */
  shares?: readonly OfferedShare[];
  /** called where a page or link worker cannot wait for a ring: see ring.ts */
  stdoutBell?: () => void;
  fromGuestBell?: () => void;
}

/** What became of a run. */
export type HostEnd =
  | { kind: 'exit'; code: number }
  /** see `expectAccept`; stdout is still open */
  | { kind: 'no-accept' }
  /** wasm trapped, or something that is our own bug; `message` is for people */
  | { kind: 'trap'; message: string };

interface Command {
  exports: { memory: WebAssembly.Memory; _start: () => void };
}

type Import = (...args: never[]) => number;

/** Thrown through the guest, as WASIProcExit is. */
class NoAccept extends Error {}

export class WasiHost {
  /** for WebAssembly.instantiate, as `wasi_snapshot_preview1` */
  readonly imports: Record<string, unknown>;

  readonly #wasi: WASI;
  readonly #memory = new GuestMemory();
  readonly #stdout: Ring;
  readonly #stderr: Ring;
  readonly #listener: ListenFd | null;
  readonly #poller: Poller;
  readonly #args: Uint8Array[];
  readonly #env: Uint8Array[];
  readonly #devices: Device[];
  #nextConnectionFd = CONNECTION_FD;
  /** polls until the run is ended for want of an accept; 0: it is not */
  #acceptPolls: number;

  constructor(options: HostOptions) {
    const { memory } = options;
    const wake = new Wake(memory.control);
    const stdin = new StdinFd(new Ring(memory.stdin));
    this.#stdout = new Ring(memory.stdout);
    this.#stdout.bell = options.stdoutBell ?? null;
    this.#stderr = new Ring(memory.stderr);
    const pipes = options.pipes === true;
    const fds: Fd[] = [stdin, new StdoutFd(this.#stdout, !pipes), new StdoutFd(pipes ? this.#stderr : this.#stdout, !pipes)];
    this.#listener = null;
    if (options.net) {
      const fromGuest = new Ring(memory.fromGuest);
      fromGuest.bell = options.fromGuestBell ?? null;
      this.#listener = new ListenFd(wake, new Ring(memory.toGuest), fromGuest);
      fds.push(this.#listener);
    }
    for (const [name, files] of options.directories) fds.push(readOnlyDirectory(name, files));
    this.#devices = [...options.directories.values()].flatMap((files) => [...files.values()]).filter((file) => 'open' in file);
    for (const offered of options.shares ?? []) fds.push(new ShareDirectoryFd(offered, '', null));

    const encoder = new TextEncoder();
    this.#args = options.args.map((arg) => encoder.encode(`${arg}\0`));
    this.#env = options.env.map((line) => encoder.encode(`${line}\0`));
    this.#wasi = new WASI([], [], fds, { debug: false });
    this.#acceptPolls = options.net && options.expectAccept === true ? ACCEPT_POLLS : 0;
    this.#poller = new Poller(
      this.#memory, this.#wasi.fds, wake, options.foreign, stdin, () => this.#listener?.connection ?? null,
    );
    const imports: Record<string, Import> = {
      ...wrapShim(this.#wasi.wasiImport),
      ...this.#processImports(),
      ...this.#fdImports(),
      ...this.#pathImports(),
      ...this.#sockImports(),
    };
    const hasShares = (options.shares ?? []).length > 0;
    const all = hasShares ? { ...imports, ...new ShareImports(this.#memory, this.#wasi.fds).over(imports) } : imports;
    all['fd_renumber'] = (fd: number, to: number) => renumber(this.#wasi.fds, fd >>> 0, to >>> 0, all['fd_close'] as (fd: number) => number);
    this.imports = options.suspends === true ? suspendingImports(all, this.#memory, this.#wasi.fds, this.#poller, () => { this.#countPoll(); }) : all;
  }

  /**
   * Runs `_start` to its end; the thread is blocked for so long. Then closes stdout and stderr, so that their readers see the end
   * behind the last byte.
   */
  run(instance: Command): HostEnd {
    this.#bind(instance);
    let end: HostEnd = { kind: 'exit', code: 0 };
    try {
      instance.exports._start();
    } catch (error) {
      end = endOf(error);
    }
    return this.#ended(end);
  }

  /** The same while the thread goes on with its events. */
  async runSuspending(instance: Command): Promise<HostEnd> {
    this.#bind(instance);
    let end: HostEnd = { kind: 'exit', code: 0 };
    try {
      await promising(instance.exports._start)();
    } catch (error) {
      end = endOf(error);
    }
    return this.#ended(end);
  }

  #ended(end: HostEnd): HostEnd {
    if (end.kind !== 'no-accept') {
      this.#stdout.close();
      this.#stderr.close();
    }
    return end;
  }

  #bind(instance: Command): void {
    this.#memory.bind(instance.exports.memory);
    this.#wasi.inst = instance;
    for (const device of this.#devices) device.bind?.(instance.exports as unknown as Record<string, unknown>);
  }

  #countPoll(): void {
    if (this.#acceptPolls > 0 && --this.#acceptPolls === 0) throw new NoAccept();
  }

  /** Arguments, environment, clocks, randomness, poll, exit. */
  #processImports(): Record<string, Import> {
    const memory = this.#memory;
    return {
      /**
       * args_sizes_get, environ_sizes_get
       *   count  u32*  how many strings
       *   bytes  u32*  their length together, with a NUL each
       * Result: SUCCESS · FAULT.
       */
      args_sizes_get: (count: number, bytes: number) => stringSizes(memory, this.#args, count >>> 0, bytes >>> 0),
      environ_sizes_get: (count: number, bytes: number) => stringSizes(memory, this.#env, count >>> 0, bytes >>> 0),

      /**
       * args_get, environ_get
       *   pointers  u32[count]*  where each string begins
       *   strings   u8[bytes]*   the strings, NUL-terminated
       * Result: SUCCESS · FAULT.
       */
      args_get: (pointers: number, strings: number) => stringsGet(memory, this.#args, pointers >>> 0, strings >>> 0),
      environ_get: (pointers: number, strings: number) => stringsGet(memory, this.#env, pointers >>> 0, strings >>> 0),

      /**
       * clock_time_get
       *   id         u32   0 wall clock, 1 monotonic; 2 and 3 as 1
       *   precision  u64   ignored
       *   time       u64*  nanoseconds
       * Result: SUCCESS · INVAL: no such clock · FAULT.
       */
      clock_time_get: (id: number, _precision: bigint, time: number) => {
        memory.refresh();
        return clockTimeGet(memory, id >>> 0, time >>> 0);
      },

      /** clock_res_get: `resolution` u64*, nanoseconds. Result: as clock_time_get. */
      clock_res_get: (id: number, resolution: number) => {
        memory.refresh();
        return clockResGet(memory, id >>> 0, resolution >>> 0);
      },

      /**
       * random_get: `len` bytes at `ptr` from the system's generator.
       * Result: SUCCESS · FAULT.
       * Notes: the memory of a threaded module would be shared, which getRandomValues refuses: hence the copy.
       */
      random_get: (ptr: number, len: number) => {
        memory.refresh();
        if (!memory.has(ptr >>> 0, len >>> 0)) return wasi.ERRNO_FAULT;
        for (let done = 0; done < len >>> 0; done += RANDOM_CHUNK) {
          const chunk = crypto.getRandomValues(new Uint8Array(Math.min((len >>> 0) - done, RANDOM_CHUNK)));
          memory.bytes.set(chunk, (ptr >>> 0) + done);
        }
        return wasi.ERRNO_SUCCESS;
      },

      /**
       * poll_oneoff: waits until at least one of the subscriptions has an event.
       *   subs     subscription[count]*  48 bytes each
       *   events   event[count]*         32 bytes each
       *   count    u32                   1 to 1024
       *   nevents  u32*                  how many events were written
       * Result: SUCCESS · INVAL: no or too many subscriptions · FAULT. An fd that is not open is an event with BADF, a
       * clock that does not exist one with INVAL.
       * Notes: any mix of fd_read, fd_write and clocks, relative or absolute. See poll.ts.
       */
      poll_oneoff: (subs: number, events: number, count: number, nevents: number) => {
        memory.refresh();
        this.#countPoll();
        return this.#poller.poll(subs >>> 0, events >>> 0, count >>> 0, nevents >>> 0);
      },

      /** sched_yield. Result: SUCCESS. Notes: there is nobody to yield to. */
      sched_yield: () => wasi.ERRNO_SUCCESS,

      /** proc_exit: ends the run with `code`. */
      proc_exit: (code: number) => {
        throw new WASIProcExit(code);
      },

      /** proc_raise: ends the run as a shell would report the signal. */
      proc_raise: (signal: number) => {
        throw new WASIProcExit(SIGNAL_EXIT + (signal & 0x7f));
      },
    };
  }

  /** Reading, writing and describing what is open. */
  #fdImports(): Record<string, Import> {
    const memory = this.#memory;
    const { fds } = this.#wasi;
    const shim = wrapShim(this.#wasi.wasiImport) as Record<string, (...args: unknown[]) => number>;
    return {
      /**
       * fd_read
       *   fd     u32
       *   iovs   {ptr u32, len u32}[count]*
       *   count  u32   at most 1024
       *   nread  u32*
       * Result: SUCCESS · BADF · FAULT · AGAIN: stdin has nothing yet, or a non-blocking socket has not · IO.
       * Notes: see `readv` of StdinFd, ConnectionFd and SourceFd.
       */
      fd_read: (fd: number, iovs: number, count: number, nread: number) => {
        const file = fds[fd >>> 0];
        if (!(file instanceof HostFd)) return notReadable(file);
        memory.refresh();
        if (!memory.has(nread >>> 0, 4) || !memory.hasIovs(iovs >>> 0, count >>> 0)) return wasi.ERRNO_FAULT;
        if (file instanceof ConnectionFd && !file.nonblocking) this.#poller.waitReadable(file);
        return file.readv(memory, iovs >>> 0, count >>> 0, nread >>> 0);
      },

      /**
       * fd_write: as fd_read, with `nwritten`.
       * Result: SUCCESS, with everything taken but for pipes · BADF · FAULT · of pipes AGAIN and PIPE.
       * Notes: blocks while the stdout ring is full, but for pipes; see `writev` of StdoutFd, and sock_send.
       */
      fd_write: (fd: number, iovs: number, count: number, nwritten: number) => {
        const file = fds[fd >>> 0];
        if (!(file instanceof HostFd)) return notReadable(file);
        memory.refresh();
        if (!memory.has(nwritten >>> 0, 4) || !memory.hasIovs(iovs >>> 0, count >>> 0)) return wasi.ERRNO_FAULT;
        return file.writev(memory, iovs >>> 0, count >>> 0, nwritten >>> 0);
      },

      /**
       * fd_pread: as fd_read, from `offset` (u64) and without moving the position.
       * Result: SUCCESS, 0 bytes at and beyond the end · BADF · FAULT · SPIPE: not a file · IO: the disk could not be read.
       */
      fd_pread: (fd: number, iovs: number, count: number, offset: bigint, nread: number) => {
        const file = fds[fd >>> 0];
        if (!(file instanceof HostFd)) return notReadable(file);
        if (!(file instanceof SourceFd)) return wasi.ERRNO_SPIPE;
        memory.refresh();
        if (!memory.has(nread >>> 0, 4) || !memory.hasIovs(iovs >>> 0, count >>> 0)) return wasi.ERRNO_FAULT;
        return file.pread(memory, iovs >>> 0, count >>> 0, Number(BigInt.asUintN(64, offset)), nread >>> 0);
      },

      /** fd_pwrite: only files of shares can be written. Result: BADF · SPIPE: not a file. */
      fd_pwrite: (fd: number) => {
        const file = fds[fd >>> 0];
        return file instanceof HostFd && !(file instanceof SourceFd) ? wasi.ERRNO_SPIPE : notReadable(file);
      },

      /**
       * fd_prestat_get
       *   fd       u32
       *   prestat  {tag u8, name length u32}*
       * Result: SUCCESS for a preopened directory (tag 0) and for a socket (tag 1: not a directory) · BADF for everything
       * else, and nothing but BADF: any other error is fatal to wasi-libc, which scans from 3 until it meets one · FAULT.
       */
      fd_prestat_get: (fd: number, prestat: number) => {
        const file = fds[fd >>> 0];
        if (file === undefined) return wasi.ERRNO_BADF;
        memory.refresh();
        if (!memory.has(prestat >>> 0, 8)) return wasi.ERRNO_FAULT;
        if (file instanceof ListenFd || file instanceof ConnectionFd) {
          memory.setU32(prestat >>> 0, PRESTAT_NOT_DIR);
          memory.setU32((prestat >>> 0) + 4, 0);
          return wasi.ERRNO_SUCCESS;
        }
        return file.fd_prestat_get().prestat === null ? wasi.ERRNO_BADF : shim.fd_prestat_get(fd, prestat);
      },
    };
  }

  /** Paths: their lengths are judged, and the descriptor that an open gives is ours. */
  #pathImports(): Record<string, Import> {
    const { fds } = this.#wasi;
    const shim = wrapShim(this.#wasi.wasiImport) as Record<string, (...args: unknown[]) => number>;
    const memory = this.#memory;
    for (const [name, lengths] of Object.entries(PATH_LENGTHS)) {
      const judged = shim[name];
      // The shim copies a path, and makes a text of it, however long it is.
      shim[name] = (...args: unknown[]) => {
        memory.refresh();
        for (const at of lengths) {
          const [ptr, len] = [(args[at - 1] as number) >>> 0, (args[at] as number) >>> 0];
          if (!memory.has(ptr, len)) return wasi.ERRNO_FAULT;
          if (len > PATH_MAX) return wasi.ERRNO_NAMETOOLONG;
        }
        return judged(...args);
      };
    }
    return {
      ...Object.fromEntries(Object.keys(PATH_LENGTHS).map((name) => [name, shim[name]])),
      /**
       * path_open: as the shim's, into the lowest free descriptor, where the shim counts up for ever.
       * Result: SUCCESS · BADF · FAULT · MFILE: CONNECTION_FD descriptors are open · what the directory says.
       */
      path_open: (...args: unknown[]) => {
        const free = lowestFree(fds);
        if (free >= CONNECTION_FD) return wasi.ERRNO_MFILE;
        const opened = (args[8] as number) >>> 0;
        memory.refresh();
        if (!memory.has(opened, 4)) return wasi.ERRNO_FAULT;
        const pushed = fds.length;
        const errno = shim.path_open(...args);
        if (errno !== wasi.ERRNO_SUCCESS) return errno;
        fds[free] = fds[pushed];
        if (free !== pushed) fds.length = pushed;
        memory.setU32(opened, free);
        return errno;
      },
    };
  }

  #sockImports(): Record<string, Import> {
    const memory = this.#memory;
    const { fds } = this.#wasi;
    return {
      /**
       * sock_accept
       *   fd     u32   the listening socket
       *   flags  u16   NONBLOCK (4): for the new socket, and do not wait
       *   conn   u32*  fd of the connection, 200 or above
       * Result: SUCCESS · AGAIN: no link yet · BADF · NOTSOCK · FAULT.
       * Notes: replaces the connection before it, and frees its fd. See sock.ts.
       */
      sock_accept: (fd: number, flags: number, conn: number) => {
        const listener = fds[fd >>> 0];
        if (listener === undefined) return wasi.ERRNO_BADF;
        if (!(listener instanceof ListenFd)) return wasi.ERRNO_NOTSOCK;
        this.#acceptPolls = 0;
        memory.refresh();
        if (!memory.has(conn >>> 0, 4)) return wasi.ERRNO_FAULT;
        const nonblocking = (flags & wasi.FDFLAGS_NONBLOCK) !== 0;
        if (!nonblocking && !listener.nonblocking) this.#poller.waitReadable(listener);
        const before = listener.connection;
        const connection = listener.accept(nonblocking);
        if (connection === null) return wasi.ERRNO_AGAIN;
        const stale = before === null ? -1 : fds.indexOf(before);
        if (stale >= 0) delete fds[stale];
        memory.setU32(conn >>> 0, this.#placeConnection(connection));
        return wasi.ERRNO_SUCCESS;
      },

      /**
       * sock_recv
       *   fd        u32
       *   iovs      {ptr u32, len u32}[count]*
       *   count     u32
       *   flags     u16   PEEK (1); WAITALL is ignored: an emulator must not wait for the rest of a frame
       *   nread     u32*  0: shut down by the guest itself
       *   outflags  u16*  always 0
       * Result: SUCCESS · AGAIN: no frame, and the socket does not block · CONNRESET: the link is gone for good; close and accept
       * again · BADF · NOTSOCK · NOTCONN · FAULT.
       * Notes: as many frames as fit, the last perhaps cut, but never within its length.
       */
      sock_recv: (fd: number, iovs: number, count: number, flags: number, nread: number, outflags: number) => {
        const socket = fds[fd >>> 0];
        if (!(socket instanceof ConnectionFd)) return notConnected(socket);
        memory.refresh();
        if (!memory.has(nread >>> 0, 4) || !memory.has(outflags >>> 0, 2)) return wasi.ERRNO_FAULT;
        if (!memory.hasIovs(iovs >>> 0, count >>> 0)) return wasi.ERRNO_FAULT;
        if (!socket.nonblocking) this.#poller.waitReadable(socket);
        memory.view.setUint16(outflags >>> 0, 0, true);
        return socket.recv(memory, iovs >>> 0, count >>> 0, nread >>> 0, (flags & wasi.RIFLAGS_RECV_PEEK) !== 0);
      },

      /**
       * sock_send
       *   fd        u32
       *   iovs      {ptr u32, len u32}[count]*
       *   count     u32
       *   flags     u16   ignored; none are defined
       *   nwritten  u32*  always the sum of all lengths
       * Result: SUCCESS · BADF · NOTSOCK · NOTCONN · FAULT.
       * Notes: bytes of the stream in portions of any size. A frame that finds no room within 200 ms is dropped whole;
       * poll for fd_write before, and that does not happen.
       */
      sock_send: (fd: number, iovs: number, count: number, _flags: number, nwritten: number) => {
        const socket = fds[fd >>> 0];
        if (!(socket instanceof ConnectionFd)) return notConnected(socket);
        memory.refresh();
        if (!memory.has(nwritten >>> 0, 4) || !memory.hasIovs(iovs >>> 0, count >>> 0)) return wasi.ERRNO_FAULT;
        return socket.writev(memory, iovs >>> 0, count >>> 0, nwritten >>> 0);
      },

      /** sock_shutdown: `how` bit 0 ends receiving, bit 1 sending. Result: SUCCESS · BADF · NOTSOCK · NOTCONN. */
      sock_shutdown: (fd: number, how: number) => {
        const socket = fds[fd >>> 0];
        if (!(socket instanceof ConnectionFd)) return notConnected(socket);
        socket.shutdown(how);
        return wasi.ERRNO_SUCCESS;
      },
    };
  }

  #placeConnection(connection: ConnectionFd): number {
    const { fds } = this.#wasi;
    const fd = this.#nextConnectionFd;
    this.#nextConnectionFd = fd === LAST_CONNECTION_FD ? CONNECTION_FD : fd + 1;
    fds[fd] = connection;
    return fd;
  }
}

function endOf(error: unknown): HostEnd {
  if (error instanceof NoAccept) return { kind: 'no-accept' };
  if (error instanceof WASIProcExit) return { kind: 'exit', code: error.code >>> 0 };
  return { kind: 'trap', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
}

function notConnected(fd: Fd | undefined): number {
  if (fd === undefined) return wasi.ERRNO_BADF;
  return fd instanceof ListenFd ? wasi.ERRNO_NOTCONN : wasi.ERRNO_NOTSOCK;
}

/** What reading or writing comes to where there is no file, stream or socket. */
function notReadable(fd: Fd | undefined): number {
  return fd instanceof ReadOnlyDirectory ? wasi.ERRNO_ISDIR : wasi.ERRNO_BADF;
}

/** fd_renumber: `to`, which must be open, is closed, and its number is `fd`'s. Result: SUCCESS · BADF · what the close says. */
function renumber(fds: (Fd | undefined)[], fd: number, to: number, close: (fd: number) => number): number {
  const file = fds[fd];
  if (file === undefined || fds[to] === undefined) return wasi.ERRNO_BADF;
  if (fd === to) return wasi.ERRNO_SUCCESS;
  const errno = close(to);
  if (errno !== wasi.ERRNO_SUCCESS) return errno;
  fds[to] = file;
  delete fds[fd];
  return wasi.ERRNO_SUCCESS;
}

function lowestFree(fds: readonly (Fd | undefined)[]): number {
  let free = 0;
  while (fds[free] !== undefined) free++;
  return free;
}

function stringSizes(memory: GuestMemory, strings: readonly Uint8Array[], count: number, bytes: number): number {
  memory.refresh();
  if (!memory.has(count, 4) || !memory.has(bytes, 4)) return wasi.ERRNO_FAULT;
  memory.setU32(count, strings.length);
  memory.setU32(bytes, strings.reduce((sum, string) => sum + string.length, 0));
  return wasi.ERRNO_SUCCESS;
}

function stringsGet(memory: GuestMemory, strings: readonly Uint8Array[], pointers: number, at: number): number {
  memory.refresh();
  const bytes = strings.reduce((sum, string) => sum + string.length, 0);
  if (!memory.has(pointers, strings.length * 4) || !memory.has(at, bytes)) return wasi.ERRNO_FAULT;
  strings.forEach((string, i) => {
    memory.setU32(pointers + i * 4, at);
    memory.bytes.set(string, at);
    at += string.length;
  });
  return wasi.ERRNO_SUCCESS;
}

/** The shim's functions with unsigned pointers, and with errnos where they throw. */
function wrapShim(table: Record<string, (...args: unknown[]) => unknown>): Record<string, Import> {
  const wrapped: Record<string, Import> = {};
  for (const [name, shim] of Object.entries(table)) {
    wrapped[name] = (...args: unknown[]) => {
      try {
        return shim(...args.map((arg) => (typeof arg === 'number' ? arg >>> 0 : arg))) as number;
      } catch (error) {
        if (error instanceof WASIProcExit) throw error;
        return error instanceof RangeError ? wasi.ERRNO_FAULT : wasi.ERRNO_IO;
      }
    };
  }
  return wrapped;
}
