/*
 * WASI family: the device `/portside/compiler`. A machine that translates its guest's code to wasm writes modules to it; they are compiled at once, and
 * their functions are put into the machine's own table. It is offered to images that export their table and a function `translator.…` at least.
 *
 * fd_read gives 32 bytes, the same ones each time; numbers are u32, little-endian, and 0 leaves the choice to the machine:
 *
 *   0        4        8           12        16      20               24     32
 *   ├────────┼────────┼───────────┼─────────┼───────┼────────────────┼──────┤
 *   │ 1      │ first  │ threshold │ modules │ bytes │ 1 lockstep     │ 0  0 │
 *   │        │ index  │           │         │       │ 2 profile      │      │
 *   ├────────┴────────┴───────────┴─────────┴───────┴────────────────┴──────┤
 *
 * fd_write is one request, its vectors joined:
 *
 *   0        4        8        12
 *   ├────────┼────────┼────────┼──────────────┤
 *   │ first  │ count  │ length │ module       │   its exports "0", "1", … go to table[first], table[first + 1], …
 *   ├────────┼────────┼────────┼──────────────┘
 *   │ first  │ count  │ 0      │                  table[first] and those behind it become null
 *   ├────────┴────────┴────────┘
 *
 * A module gets `m.memory`, and `m.NAME` for each function `translator.NAME` of the machine: its own functions, so that no frame of JavaScript lies between
 * `_start` and an import that suspends. It counts as live until none of its entries is left in the table.
 *
 * Invariant: a request that fails leaves the table as it was.
 */
import { wasi, WASIProcExit } from '@bjorn3/browser_wasi_shim';
import type { Device } from './files.ts';
import type { GuestMemory } from './guest-memory.ts';
import { IOV_BYTES } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';

const TABLE = '__indirect_function_table';
const HELPER = 'translator.';
const VERSION = 1;
const INFORMATION_BYTES = 32;
const HEADER_BYTES = 12;
const LOCKSTEP = 1;
const PROFILE = 2;

export const MODULE_BYTES_MAX = 8 << 20;
/** of one request */
export const FUNCTIONS_MAX = 4096;
/** the table's length at most, by what is put into it here */
export const TABLE_LENGTH_MAX = 1 << 20;
export const LIVE_MODULES_MAX = 4096;
export const LIVE_BYTES_MAX = 256 << 20;

/** What the machine is told; its own defaults where they are absent. */
export interface CompilerSettings {
  /** how hot code is when it is translated, as the machine counts */
  threshold?: number;
  /** modules that it keeps at most */
  modules?: number;
  /** length of those together */
  bytes?: number;
  /** every run of translated code is compared with the interpreter's */
  lockstep?: boolean;
  /** it counts for a profile */
  profile?: boolean;
}

/** The device for the one instance of `module` that will be bound to it; null when the module does not translate. */
export function compilerDevice(module: WebAssembly.Module, settings: CompilerSettings = {}): Device | null {
  const exported = WebAssembly.Module.exports(module);
  const translates = exported.some(({ kind, name }) => kind === 'table' && name === TABLE) && exported.some(isHelper);
  if (!translates) return null;
  let fd: CompilerFd;
  return {
    bind: (exports) => { fd = new CompilerFd(exports, exported.filter(isHelper).map(({ name }) => name), settings); },
    open: () => fd,
  };
}

function isHelper({ kind, name }: { kind: string; name: string }): boolean {
  return kind === 'function' && name.startsWith(HELPER);
}

/** A module that has entries in the table. */
interface Live {
  bytes: number;
  entries: number;
}

class CompilerFd extends HostFd {
  readonly filetype = wasi.FILETYPE_CHARACTER_DEVICE;
  readonly #table: WebAssembly.Table;
  readonly #imports: { m: Record<string, unknown> };
  readonly #information: Uint32Array;
  /** first index that is not the machine's own */
  readonly #first: number;
  /** by index in the table */
  readonly #owners = new Map<number, Live>();
  #liveModules = 0;
  #liveBytes = 0;

  constructor(exports: Record<string, unknown>, helpers: string[], { threshold = 0, modules = 0, bytes = 0, lockstep = false, profile = false }: CompilerSettings) {
    super();
    this.#table = exports[TABLE] as WebAssembly.Table;
    this.#first = this.#table.length;
    this.#imports = { m: { ...Object.fromEntries(helpers.map((name) => [name.slice(HELPER.length), exports[name]])), memory: exports['memory'] } };
    this.#information = Uint32Array.of(VERSION, this.#first, threshold, modules, bytes, (lockstep ? LOCKSTEP : 0) | (profile ? PROFILE : 0), 0, 0);
  }

  override readReady(): number {
    return INFORMATION_BYTES;
  }

  override writeReady(): number {
    return MODULE_BYTES_MAX;
  }

  /** fd_read, into the first vector. Result: SUCCESS · INVAL: no room for all of it. */
  override readv(memory: GuestMemory, iovs: number, count: number, nread: number): number {
    if (count === 0 || memory.u32(iovs + 4) < INFORMATION_BYTES) return wasi.ERRNO_INVAL;
    const at = memory.u32(iovs);
    this.#information.forEach((value, i) => { memory.setU32(at + 4 * i, value); });
    memory.setU32(nread, INFORMATION_BYTES);
    return wasi.ERRNO_SUCCESS;
  }

  /**
   * fd_write: one request. Result: SUCCESS with the sum of all lengths · INVAL: no request, an index of the machine's own, or a module that the engine
   * refuses or that lacks an export · NOSPC: a limit, or the table does not grow · NOMEM: the engine has no room.
   */
  override writev(memory: GuestMemory, iovs: number, count: number, nwritten: number): number {
    const parts = Array.from({ length: count }, (_, i) => [memory.u32(iovs + i * IOV_BYTES), memory.u32(iovs + i * IOV_BYTES + 4)]);
    const total = parts.reduce((sum, [, len]) => sum + len, 0);
    if (total < HEADER_BYTES) return wasi.ERRNO_INVAL;
    if (total > HEADER_BYTES + MODULE_BYTES_MAX) return wasi.ERRNO_NOSPC;
    const request = new Uint8Array(total);
    let at = 0;
    for (const [ptr, len] of parts) {
      request.set(memory.bytes.subarray(ptr, ptr + len), at);
      at += len;
    }
    const errno = this.#serve(request);
    // A module's start function may have made the memory grow.
    memory.refresh();
    if (errno === wasi.ERRNO_SUCCESS) memory.setU32(nwritten, total);
    return errno;
  }

  #serve(request: Uint8Array<ArrayBuffer>): number {
    const header = new DataView(request.buffer);
    const [first, count, length] = [0, 4, 8].map((at) => header.getUint32(at, true));
    if (length !== request.length - HEADER_BYTES || count === 0 || first < this.#first) return wasi.ERRNO_INVAL;
    if (count > FUNCTIONS_MAX || first + count > TABLE_LENGTH_MAX) return wasi.ERRNO_NOSPC;
    if (length > 0) return this.#compile(first, count, request.subarray(HEADER_BYTES));
    for (let index = first; index < Math.min(first + count, this.#table.length); index++) this.#put(index, null, null);
    return wasi.ERRNO_SUCCESS;
  }

  /** What it replaces is alive until it is there. */
  #compile(first: number, count: number, bytes: Uint8Array<ArrayBuffer>): number {
    if (this.#liveModules === LIVE_MODULES_MAX || this.#liveBytes + bytes.length > LIVE_BYTES_MAX) return wasi.ERRNO_NOSPC;
    // Counted beforehand: a start function might call for more.
    const live: Live = { bytes: bytes.length, entries: count };
    this.#count(live, 1);
    const functions = this.#instantiate(count, bytes);
    const errno = typeof functions === 'number' ? functions : this.#grow(first + count);
    if (typeof functions === 'number' || errno !== wasi.ERRNO_SUCCESS) {
      this.#count(live, -1);
      return errno;
    }
    for (const [i, fn] of functions.entries()) this.#put(first + i, fn, live);
    return wasi.ERRNO_SUCCESS;
  }

  /** The functions of a module, or an errno. */
  #instantiate(count: number, bytes: Uint8Array<ArrayBuffer>): unknown[] | number {
    try {
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), this.#imports);
      const functions = Array.from({ length: count }, (_, i) => exports[i]);
      return functions.every((fn) => typeof fn === 'function') ? functions : wasi.ERRNO_INVAL;
    } catch (error) {
      if (error instanceof WASIProcExit) throw error;
      return error instanceof RangeError ? wasi.ERRNO_NOMEM : wasi.ERRNO_INVAL;
    }
  }

  #grow(length: number): number {
    try {
      if (length > this.#table.length) this.#table.grow(length - this.#table.length);
      return wasi.ERRNO_SUCCESS;
    } catch {
      return wasi.ERRNO_NOSPC;
    }
  }

  #put(index: number, fn: unknown, owner: Live | null): void {
    const before = this.#owners.get(index);
    if (before !== undefined && --before.entries === 0) this.#count(before, -1);
    this.#table.set(index, fn);
    if (owner === null) this.#owners.delete(index);
    else this.#owners.set(index, owner);
  }

  #count({ bytes }: Live, by: 1 | -1): void {
    this.#liveModules += by;
    this.#liveBytes += by * bytes;
  }
}
