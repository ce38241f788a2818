/*
 * The WASI calls of a hostile image: any import with any arguments, over a memory that the script fills as it likes.
 *
 * Every call gives an errno, or ends the run by proc_exit and proc_raise; it writes nothing but what its signature says that it may. Where the
 * host would put the thread to sleep for ever, the script ends; shorter sleeps pass at once, in a time of their own.
 */
import { WASIProcExit } from '@bjorn3/browser_wasi_shim';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { Ring, ringBytes } from '../../shared/memory/ring.ts';
import { CONTROL_BYTES, Wake } from '../../shared/memory/wake.ts';
import type { Device, FileSource } from '../../shared/wasi/files.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import { ttyDevices } from '../../shared/wasi/tty.ts';
import { Choices } from './choices.ts';
import { check, type FuzzTarget } from './target.ts';

const MEMORY_BYTES = 65_536;
const CAPACITY = 1 << 20;
/** calls of one script */
const CALLS_MAX = 400;

/**
 * Of each import: its parameters, by what they mean (KINDS), and where it may write: [pointer, length or parameter that says it]; 'iovs' of
 * [pointer, count].
 */
const SIGNATURES: Record<string, [string, ...([number, number | string] | ['iovs', number, number])[]]> = {
  args_sizes_get: ['pp', [0, 4], [1, 4]], args_get: ['pp', [0, 12], [1, 32]], environ_sizes_get: ['pp', [0, 4], [1, 4]], environ_get: ['pp', [0, 12], [1, 32]],
  clock_time_get: ['cIp', [2, 8]], clock_res_get: ['cp', [1, 8]], random_get: ['pl', [0, 'p1']], poll_oneoff: ['vpcp', [1, 'p2*32'], [3, 4]], sched_yield: [''], proc_exit: ['c'], proc_raise: ['c'],
  fd_advise: ['fIIc'], fd_allocate: ['fII'], fd_close: ['f'], fd_datasync: ['f'], fd_sync: ['f'], fd_fdstat_get: ['fp', [1, 24]], fd_fdstat_set_flags: ['fo'], fd_fdstat_set_rights: ['fII'],
  fd_filestat_get: ['fp', [1, 64]], fd_filestat_set_size: ['fI'], fd_filestat_set_times: ['fIIo'], fd_pread: ['fvcIp', ['iovs', 1, 2], [4, 4]], fd_prestat_get: ['fp', [1, 8]],
  fd_prestat_dir_name: ['fpl', [1, 'p2']], fd_pwrite: ['fvcIp', [4, 4]], fd_read: ['fvcp', ['iovs', 1, 2], [3, 4]], fd_readdir: ['fplIp', [1, 'p2'], [4, 4]], fd_renumber: ['ff'],
  fd_seek: ['fIcp', [3, 8]], fd_tell: ['fp', [1, 8]], fd_write: ['fvcp', [3, 4]], path_create_directory: ['fsn'], path_filestat_get: ['fcsnp', [4, 64]], path_filestat_set_times: ['fcsnIIo'],
  path_link: ['fcsnfsn'], path_open: ['fcsnoIIop', [8, 4]], path_readlink: ['fsnplp', [3, 'p4'], [5, 4]], path_remove_directory: ['fsn'], path_rename: ['fsnfsn'], path_symlink: ['snfsn'],
  path_unlink_file: ['fsn'], sock_accept: ['fop', [2, 4]], sock_recv: ['fvccpp', ['iovs', 1, 2], [4, 4], [5, 2]], sock_send: ['fvccp', [4, 4]], sock_shutdown: ['fc'],
};
export const CALLS = Object.keys(SIGNATURES);

/** where a script puts texts, and tables of buffers or subscriptions */
const TEXT_AT = 0x100;
const SECOND_TEXT_AT = 0x180;
const TABLE_AT = 0x200;
const OUT_AT = 0x1000;
const TEXTS = ['a', 'd', 'd/f', 'd/../a', '..', '/a', 'disk', 'broken', 'tty2', 'a\0b', '.', 'none', 'link', 'x'.repeat(100)];
const FDS = [3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 200, 201];
const WIDE = [0n, 1n, 64n, 0x4042n, 2n, 0xffff_ffffn, -1n, 1n << 40n, (1n << 53n) + 1n, -(1n << 63n), (1n << 63n) - 1n, (1n << 29n) - 1n];
const WILD = [0xffff_ffff, 0xffff_fffc, 0x8000_0000, 0x7fff_ffff, 1 << 20, 1025, 1024, 65_535, 65_536, 4096, 4097];
/** an argument's byte from here on means one that makes no sense */
const SENSIBLE = 200;

/** What a parameter is, from its byte: a value that makes sense. `texts` are the lengths of the two texts. */
const KINDS: Record<string, (byte: number, texts: readonly number[]) => number> = {
  f: (byte) => FDS[byte % FDS.length],
  p: (byte) => OUT_AT + 16 * byte,
  v: () => TABLE_AT,
  c: (byte) => byte % 5,
  l: (byte) => [0, 1, 9, 24, 64, 200, 1000][byte % 7],
  s: (byte) => (byte % 2 === 0 ? TEXT_AT : SECOND_TEXT_AT),
  n: (byte, texts) => texts[byte % 2],
  o: (byte) => byte % 16,
};

function wild(choices: Choices): number {
  switch (choices.below(6)) {
    case 0: return MEMORY_BYTES - choices.below(80);
    case 1: return choices.pick(WILD);
    case 2: return choices.byte();
    case 3: return TABLE_AT + choices.below(64);
    case 4: return TEXT_AT + choices.below(64);
    default: return choices.u32();
  }
}

/** The thread would sleep until somebody wakes it. */
class Asleep extends Error {}

/** Runs `action` in a time of its own, which sleeping moves. */
function withoutSleep(action: () => void): void {
  const { wait } = Atomics;
  const { now } = performance;
  const wall = Date.now;
  let slept = 0;
  Atomics.wait = ((_words: Int32Array, _index: number, _value: number, timeoutMs = Infinity): 'timed-out' => {
    if (timeoutMs === Infinity) throw new Asleep();
    slept += timeoutMs;
    return 'timed-out';
  }) as typeof wait;
  performance.now = () => now.call(performance) + slept;
  Date.now = () => wall() + slept;
  try {
    action();
  } finally {
    Atomics.wait = wait;
    performance.now = now;
    Date.now = wall;
  }
}

function smallMemory(): ContainerMemory {
  const ring = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(ringBytes(bytes));
  return {
    control: new SharedArrayBuffer(CONTROL_BYTES), stdin: ring(1024), stdout: ring(4096), stderr: ring(4096), fromGuest: ring(16_384), toGuest: ring(16_384), save: ring(1024),
    terminals: [{ input: ring(256), output: ring(256) }],
  };
}

/** one for all images: making one costs more than a script */
const LINEAR = new WebAssembly.Memory({ initial: 1, maximum: 1 });

class Image {
  readonly #bytes = new Uint8Array(LINEAR.buffer);
  /** lengths of the texts that were put last */
  readonly #texts = [1, 1];
  /** as it was before the call */
  readonly #before = new Uint8Array(MEMORY_BYTES);
  readonly #shared = smallMemory();
  readonly #share = new MemoryShare(CAPACITY);
  readonly #host: WasiHost;
  #calls = 0;

  constructor(foreign: boolean) {
    this.#bytes.fill(0);
    new Ring(this.#shared.stdin).write(Uint8Array.from('typed by somebody', (char) => char.charCodeAt(0)), 0, 17);
    const frame = new Uint8Array(68);
    frame[3] = 64;
    for (let i = 0; i < 4; i++) new Ring(this.#shared.toGuest).write(frame, 0, frame.length);
    const wake = new Wake(this.#shared.control);
    wake.link = 1;
    wake.setTerminal(0, 1);
    new Ring(this.#shared.terminals[0].input).write(frame, 0, 20);
    this.#share.makeDirectory('d');
    this.#share.symlink('d/f', 'link');
    const file = this.#share.open('d/f', false, { reads: true, writes: true, creates: true, exclusive: false, truncates: false, appends: false, directory: false });
    file.write(0, [new Uint8Array(3000).fill(7)]);
    file.close();
    const source = (good: boolean): FileSource => ({
      bytes: 5000,
      readAt: (offset, into) => {
        check(offset >= 0 && offset + into.length <= 5000, () => `${into.length} bytes at ${offset} of a disk of 5000`);
        into.fill(5);
        return good;
      },
    });
    this.#host = new WasiHost({
      memory: this.#shared, args: ['image', '--ü', 'x'], env: ['A=b', 'ü=c'], net: true, foreign,
      directories: new Map([['/portside', new Map<string, FileSource | Device>([['disk', source(true)], ['broken', source(false)], ...ttyDevices(this.#shared, () => undefined)])]]),
      shares: [{ name: '/s', share: this.#share, readOnly: false }, { name: '/r', share: this.#share, readOnly: true }],
    });
  }

  run(choices: Choices): void {
    let failure: unknown = null;
    const end = this.#host.run({
      exports: {
        memory: LINEAR as never,
        _start: () => {
          try {
            withoutSleep(() => { while (!choices.isOver && this.#calls < CALLS_MAX) this.#step(choices); });
          } catch (error) {
            if (error instanceof WASIProcExit) throw error;
            if (!(error instanceof Asleep)) failure = error;
          }
        },
      },
    });
    if (failure !== null) throw failure;
    check(end.kind === 'exit', () => JSON.stringify(end));
    check(this.#share.used <= CAPACITY, () => `the folder holds ${this.#share.used} bytes`);
  }

  #step(choices: Choices): void {
    const what = choices.byte();
    if (what >= 248) {
      const text = new TextEncoder().encode(choices.pick(TEXTS));
      this.#texts[what % 2] = text.length;
      this.#bytes.set(text, what % 2 === 0 ? TEXT_AT : SECOND_TEXT_AT);
      return;
    }
    if (what >= 240) {
      const at = what === 247 ? MEMORY_BYTES - 64 : TABLE_AT + 8 * (what - 240);
      this.#bytes.set(choices.take(choices.below(97)).subarray(0, MEMORY_BYTES - at), at);
      return;
    }
    if (what >= 236) {
      // The page reads what it shows, and types.
      const output = new Ring(this.#shared.stdout);
      output.skip(output.readable);
      new Ring(this.#shared.stdin).write(this.#bytes, 0, 40);
      return;
    }
    this.#calls++;
    this.#call(CALLS[what % CALLS.length], choices);
  }

  #call(name: string, choices: Choices): void {
    const [parameters, ...writes] = SIGNATURES[name];
    const args = [...parameters].map((kind) => {
      const byte = choices.byte();
      if (kind === 'I') return WIDE[byte % WIDE.length];
      return (byte < SENSIBLE ? KINDS[kind](byte, this.#texts) : wild(choices)) | 0;
    });
    const before = this.#before;
    before.set(this.#bytes);
    const allowed = this.#allowed(writes, args);
    const said = (): string => `${name}(${args.join(', ')})`;
    let result: unknown;
    try {
      result = (this.#host.imports[name] as (...of: unknown[]) => unknown)(...args);
    } catch (error) {
      if (error instanceof Asleep || (error instanceof WASIProcExit && name.startsWith('proc_'))) throw error;
      throw new Error(`${said()} throws ${String(error)}`, { cause: error });
    }
    check(Number.isInteger(result) && (result as number) >= 0 && (result as number) <= 76, () => `${said()} gives ${String(result)}`);
    let at = 0;
    for (const [start, end] of [...allowed, [MEMORY_BYTES, MEMORY_BYTES]]) {
      if (start > at && Buffer.compare(before.subarray(at, start), this.#bytes.subarray(at, start)) !== 0) {
        const changed = before.findIndex((byte, i) => i >= at && byte !== this.#bytes[i]);
        throw new Error(`${said()} gives ${String(result)} and writes at ${changed}`);
      }
      at = Math.max(at, end);
    }
  }

  /** Parts of the memory that a call may change, in order. */
  #allowed(writes: readonly ([number, number | string] | ['iovs', number, number])[], args: readonly (number | bigint)[]): [number, number][] {
    const view = new DataView(LINEAR.buffer);
    const value = (index: number): number => Number(args[index]) >>> 0;
    const parts: [number, number][] = [];
    for (const write of writes) {
      if (write[0] === 'iovs') {
        for (let i = 0, at = value(write[1]); i < Math.min(value(write[2]), 1024) && at + 8 <= MEMORY_BYTES; i++, at += 8) {
          parts.push([view.getUint32(at, true), view.getUint32(at, true) + view.getUint32(at + 4, true)]);
        }
        continue;
      }
      const [pointer, len] = write;
      const bytes = typeof len === 'number' ? len : value(Number(len[1])) * (len.endsWith('*32') ? 32 : 1);
      parts.push([value(pointer), value(pointer) + bytes]);
    }
    return parts.sort(([a], [b]) => a - b);
  }
}

type Step = number[] | [name: string, ...args: number[]];
const FD = (n: number): number => FDS.indexOf(n);
const poke = (...bytes: number[]): number[] => [240, bytes.length, ...bytes];
const says = (text: string, second = false): number[] => [second ? 249 : 248, TEXTS.indexOf(text)];
/** one buffer of 64 bytes at OUT_AT */
const BUFFER = poke(0, 0x10, 0, 0, 64, 0, 0, 0);

/** The first byte says whose image it is. */
function script(...steps: Step[]): Uint8Array {
  return Uint8Array.from([[0], ...steps].flatMap((step) => (typeof step[0] === 'string' ? [CALLS.indexOf(step[0]), ...step.slice(1) as number[]] : step as number[])));
}

function seeds(): Record<string, Uint8Array> {
  const open = (fd: number, oflags: number, fdflags = 0): Step => ['path_open', FD(fd), 1, 0, 0, oflags, 3, 0, fdflags, 100];
  const subscription = (tag: number, fd: number, ns: number): number[] => [...Array.from({ length: 8 }, () => 9), tag, 0, 0, 0, 0, 0, 0, 0, fd, 0, 0, 0, 0, 0, 0, 0, ns, 0, 0, 0, 0, 0, 0, 0, ...Array.from({ length: 16 }, () => 0)];
  const opened = FD(7);
  return {
    'process': script(...['args_sizes_get', 'args_get', 'environ_sizes_get', 'environ_get'].map((name): Step => [name, 0, 9]), ['clock_res_get', 1, 0], ['clock_time_get', 0, 0, 1], ['random_get', 0, 6], ['random_get', 200, 0, 8, 3], ['sched_yield'], ['proc_exit', 3]),
    'stdio': script(BUFFER, ['fd_read', FD(0), 0, 1, 20], ['fd_write', FD(1), 0, 1, 20], ['fd_write', FD(2), 0, 201, 5, 20], ['fd_fdstat_get', FD(0), 1], ['fd_filestat_get', FD(1), 1], ['fd_seek', FD(1), 1, 0, 20], [236]),
    'preopens': script(...[3, 4, 5, 6].flatMap((fd): Step[] => [['fd_prestat_get', FD(fd), 1], ['fd_prestat_dir_name', FD(fd), 1, 2], ['fd_readdir', FD(fd), 1, 5, 0, 100]])),
    'disk': script(BUFFER, says('disk'), open(4, 0), ['fd_pread', opened, 0, 1, 2, 100], ['fd_read', opened, 0, 1, 100], ['fd_seek', opened, 6, 2, 100], ['fd_pread', FD(4), 0, 200, 1, 4, 0, 100], ['fd_close', opened]),
    'share': script(BUFFER, says('d/f'), open(5, 1), ['fd_pwrite', opened, 0, 1, 2, 100], ['fd_pread', opened, 0, 1, 0, 100], ['fd_filestat_set_size', opened, 2], ['fd_filestat_get', opened, 1], ['path_filestat_get', FD(5), 1, 0, 0, 1], ['path_unlink_file', FD(5), 0, 0], ['path_create_directory', FD(6), 0, 0], open(6, 1), ['fd_renumber', opened, FD(0)], ['fd_renumber', FD(0), FD(0)]),
    'append': script(BUFFER, says('a'), open(5, 1, 1), ['fd_write', opened, 0, 1, 100], ['fd_pwrite', opened, 0, 1, 0, 100], ['fd_fdstat_set_flags', opened, 0], ['fd_fdstat_get', opened, 1], ['fd_tell', opened, 1], ['fd_renumber', opened, FD(2)]),
    'names': script(says('d'), says('none', true), ['path_rename', FD(5), 0, 0, FD(5), 1, 1], ['path_link', FD(5), 0, 0, 0, FD(6), 1, 1], ['path_symlink', 0, 0, FD(5), 1, 1], ['path_readlink', FD(5), 1, 1, 10, 5, 100], ['path_remove_directory', FD(5), 1, 1], ['path_filestat_set_times', FD(5), 0, 1, 1, 3, 3, 5]),
    'sockets': script(BUFFER, ['sock_accept', FD(3), 4, 100], ['sock_recv', FD(200), 0, 1, 1, 100, 101], ['sock_recv', FD(200), 0, 1, 0, 100, 101], poke(0, 2, 0, 0, 0, 0, 1, 0), ['sock_send', FD(200), 0, 1, 0, 100], ['sock_shutdown', FD(200), 3], ['fd_close', FD(200)]),
    'poll': script(poke(...subscription(0, 1, 50)), ['poll_oneoff', 0, 10, 1, 100], poke(...subscription(1, 0, 0)), ['poll_oneoff', 0, 10, 1, 100], poke(...subscription(2, 99, 0)), ['poll_oneoff', 0, 200, 3, 0, 1, 100], ['poll_oneoff', 0, 10, 200, 1, 6, 100]),
    'terminal': script(BUFFER, says('tty2'), open(4, 0), ['fd_read', opened, 0, 1, 100], ['fd_write', opened, 0, 1, 100], ['fd_renumber', FD(1), opened], ['fd_close', opened]),
  };
}

export const WASI_TARGET: FuzzTarget = {
  name: 'wasi', seeds,
  run(input) {
    const choices = new Choices(input);
    new Image((choices.byte() & 1) !== 0).run(choices);
  },
};
