/*
 * Files of a shared folder, as WASI calls: the same script against a folder of this computer, twice, and one in memory. Nothing beside the
 * folder is read, changed or made, nothing throws, nothing stays open, and all have the same results.
 */
import { WASIProcExit, wasi } from '@bjorn3/browser_wasi_shim';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import type { Share } from '../../shared/wasi/share.ts';
import { Choices } from './choices.ts';
import { CANARY, COMPARES, FolderWorld, MEMORY_CAPACITY, memoryWorld, openDescriptors } from './share-worlds.ts';
import { check, type FuzzTarget } from './target.ts';

const STEPS_MAX = 200;
const ROOT = 3;
const READ_ONLY = 4;
/** where things lie in the guest's memory */
const PATH_AT = 0x1000;
const OTHER_PATH_AT = 0x3000;
const RESULT_AT = 0x100;
const BUFFERS_AT = 0x200;
const DATA_AT = 0x6000;
const DATA_MAX = 0x2000;

type Calls = Record<string, (...args: (number | bigint)[]) => number>;
/** what one step came to, as text that is the same wherever the step does the same */
type Outcome = string;

const NAMES: readonly Uint8Array[] = [
  ...['file', 'dir', 'deep', 'a', 'b', 'empty', 'in', 'out', 'to', 'up', 'loop', 'winding', 'absolute', '..', '.', '', 'beside', 'outside', 'root', 'n'.repeat(255), 'n'.repeat(256), 'ü😀', 'a\0b', 'a\\b', 'long'].map((name) => new TextEncoder().encode(name)),
  Uint8Array.of(0xed, 0xa0, 0x80), Uint8Array.of(0xff, 0x61),
];
const TARGETS = ['file', '..', '../beside', '../../outside/file', '/etc/passwd', 'dir', 'b', 'dir/../in', '', 'x'.repeat(4096), 'a\0b'];
const SIZES = [0n, 1n, 5n, 100n, 4096n, 5001n, 70_000n, BigInt(MEMORY_CAPACITY) + 1n, (1n << 53n) + 1n, -1n];
const OFFSETS = [0n, 1n, 7n, 4095n, 5000n, 6000n, (1n << 53n) + 1n, -1n];

function pathOf(choices: Choices): Uint8Array {
  const shape = choices.byte();
  const parts = Array.from({ length: 1 + (shape % 3) }, () => choices.pick(NAMES));
  const joined = Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [Buffer.from('/'), part])));
  if (shape >= 252) return joined.subarray(0, 0);
  if (shape >= 248) return Buffer.concat([Buffer.from('dir/../'.repeat(600)), joined]);
  if (shape >= 240) return Buffer.concat([Buffer.from('/'), joined]);
  if (shape >= 230) return Buffer.concat([joined, Buffer.from('/')]);
  return joined;
}

class Guest {
  readonly outcomes: Outcome[] = [];
  /** holds a file of more than memory takes: from there on worlds differ */
  isFull = false;
  readonly #calls: Calls;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** descriptors by the order of their opens; -1: it failed, or is closed */
  readonly #opened: number[] = [];
  /** paths of the present step, for people */
  #named = '';

  constructor(calls: Calls, memory: WebAssembly.Memory) {
    this.#calls = calls;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  play(choices: Choices): void {
    for (let steps = 0; !choices.isOver && steps < STEPS_MAX; steps++) {
      this.#named = '';
      const outcome = this.#step(choices);
      this.outcomes.push(`${outcome}${this.#named}`);
    }
  }

  closeAll(): void {
    for (const fd of this.#opened) if (fd >= 0) this.#calls['fd_close'](fd);
    for (const fd of [ROOT, READ_ONLY]) this.#calls['fd_close'](fd);
  }

  holdsCanary(): boolean {
    return Buffer.from(this.#bytes.buffer).includes(CANARY) || this.outcomes.some((outcome) => outcome.includes(CANARY));
  }

  #call(name: string, ...args: (number | bigint)[]): number {
    let result: number;
    try {
      result = this.#calls[name](...args);
    } catch (error) {
      throw new Error(`${name}(${args.join(', ')}) throws ${String(error)}`, { cause: error });
    }
    check(Number.isInteger(result) && result >= 0 && result <= 76, () => `${name}(${args.join(', ')}) gives ${String(result)}`);
    if (result === wasi.ERRNO_NOSPC || result === wasi.ERRNO_FBIG) this.isFull = true;
    return result;
  }

  #path(choices: Choices, at = PATH_AT): [number, number] {
    const path = pathOf(choices);
    this.#bytes.set(path, at);
    this.#named += ` ${JSON.stringify(Buffer.from(path.subarray(0, 100)).toString('latin1'))}`;
    return [at, path.length];
  }

  /** A directory to start from: mostly a root. */
  #directory(choices: Choices): number {
    const byte = choices.byte();
    return byte < 200 ? ROOT : byte < 220 ? READ_ONLY : this.#file(choices);
  }

  #file(choices: Choices): number {
    const byte = choices.byte();
    return this.#opened.length === 0 ? 99 : this.#opened[byte % this.#opened.length] & 0x7fff_ffff;
  }

  /** Two buffers, one behind the other or not. */
  #buffers(choices: Choices): number {
    const first = Math.min(choices.byte() * 20, DATA_MAX / 2);
    const second = choices.byte();
    [DATA_AT, first, DATA_AT + first + (second & 1) * 64, second].forEach((word, i) => { this.#view.setUint32(BUFFERS_AT + 4 * i, word, true); });
    return first + second;
  }

  #data(len: number): string {
    const [first, second] = [this.#view.getUint32(BUFFERS_AT + 4, true), this.#view.getUint32(BUFFERS_AT + 8, true)];
    const head = Buffer.from(this.#bytes.subarray(DATA_AT, DATA_AT + Math.min(first, len)));
    return Buffer.concat([head, this.#bytes.subarray(second, second + Math.max(len - first, 0))]).toString('latin1');
  }

  #moved(errno: number): Outcome {
    return errno === 0 ? `${this.#view.getUint32(RESULT_AT, true)} bytes` : `errno ${errno}`;
  }

  #stat(errno: number): Outcome {
    if (errno !== 0) return `errno ${errno}`;
    const at = RESULT_AT;
    const type = this.#bytes[at + 16];
    const isDirectory = type === wasi.FILETYPE_DIRECTORY;
    // Sizes and counts of links of directories are a file system's own affair, and so is a link's mode.
    return `type ${type} size ${isDirectory ? '-' : this.#view.getBigUint64(at + 32, true)} links ${isDirectory ? '-' : this.#view.getBigUint64(at + 24, true)} mode ${type === wasi.FILETYPE_SYMBOLIC_LINK ? '-' : this.#view.getUint16(at + 17, true).toString(8)}`;
  }

  #step(choices: Choices): Outcome {
    const said = (what: string, errno: number): Outcome => `${what}: ${errno === 0 ? 'ok' : `errno ${errno}`}`;
    // Of two that are wrong, either may be told first.
    const eitherWay = (what: string, errno: number): Outcome => `${what}: ${errno === 0 ? 'ok' : 'failed'}`;
    const kind = choices.below(26);
    switch (kind) {
      case 0: case 1: case 2: {
        const directory = this.#directory(choices);
        const path = this.#path(choices);
        const [lookup, oflags, how, fdflags] = [choices.below(2), choices.byte() & 15, choices.below(4), choices.below(8) === 0 ? wasi.FDFLAGS_APPEND : 0];
        const rights = [wasi.RIGHTS_FD_READ, wasi.RIGHTS_FD_WRITE, wasi.RIGHTS_FD_READ | wasi.RIGHTS_FD_WRITE, 0][how];
        const errno = this.#call('path_open', directory, lookup, ...path, oflags, BigInt(rights), 0n, fdflags, RESULT_AT);
        this.#opened.push(errno === 0 ? this.#view.getUint32(RESULT_AT, true) : -1);
        return said(`open ${oflags} ${how}`, errno);
      }
      case 3: {
        const fd = this.#file(choices);
        const errno = this.#call('fd_close', fd);
        this.#opened.forEach((one, i) => { if (one === fd) this.#opened[i] = -1; });
        return said('close', errno);
      }
      case 4: case 5: {
        const fd = this.#file(choices);
        this.#buffers(choices);
        const errno = kind === 4 ? this.#call('fd_read', fd, BUFFERS_AT, 2, RESULT_AT) : this.#call('fd_pread', fd, BUFFERS_AT, 2, choices.pick(OFFSETS), RESULT_AT);
        return `read: ${this.#moved(errno)} ${errno === 0 ? this.#data(this.#view.getUint32(RESULT_AT, true)) : ''}`;
      }
      case 6: case 7: case 8: {
        const fd = this.#file(choices);
        const len = this.#buffers(choices);
        for (let i = 0; i < len + 64; i++) this.#bytes[DATA_AT + i] = 97 + ((i + this.outcomes.length) % 26);
        return `write: ${this.#moved(kind === 6 ? this.#call('fd_write', fd, BUFFERS_AT, 2, RESULT_AT) : this.#call('fd_pwrite', fd, BUFFERS_AT, 2, choices.pick(OFFSETS), RESULT_AT))}`;
      }
      case 9: {
        const errno = this.#call('fd_seek', this.#file(choices), choices.pick(OFFSETS), choices.below(4), RESULT_AT);
        return `seek: ${errno === 0 ? this.#view.getBigUint64(RESULT_AT, true) : `errno ${errno}`}`;
      }
      case 10: return said('size', this.#call('fd_filestat_set_size', this.#file(choices), choices.pick(SIZES)));
      case 11: return `stat of a file: ${this.#stat(this.#call('fd_filestat_get', this.#file(choices), RESULT_AT))}`;
      // Modes without which we could not go on are not set.
      case 12: return said('mode of a file', this.#call('fd_filestat_set_times', this.#file(choices), BigInt(0o700 | (choices.byte() << 4)), 0n, 0x8000));
      case 13: return said('times of a file', this.#call('fd_filestat_set_times', this.#file(choices), BigInt(choices.u32()) * 1_000_000_000n, choices.pick(SIZES), choices.below(17)));
      case 14: return said('sync', this.#call(choices.below(2) === 0 ? 'fd_sync' : 'fd_datasync', this.#file(choices)));
      case 15: return this.#list(this.#directory(choices), 24 + choices.byte());
      case 16: {
        const [directory, path] = [this.#directory(choices), this.#path(choices)];
        return `stat: ${this.#stat(this.#call('path_filestat_get', directory, choices.below(2), ...path, RESULT_AT))}`;
      }
      case 17: {
        const [directory, path] = [this.#directory(choices), this.#path(choices)];
        return choices.below(2) === 0
          ? said('mode', this.#call('path_filestat_set_times', directory, 0, ...path, BigInt(0o700 | (choices.byte() << 4)), 0n, 0x8000))
          : said('times', this.#call('path_filestat_set_times', directory, choices.below(2), ...path, BigInt(choices.u32()) * 1_000_000_000n, 1n, choices.below(16)));
      }
      case 18: return said('mkdir', this.#call('path_create_directory', this.#directory(choices), ...this.#path(choices)));
      case 19: return said('rmdir', this.#call('path_remove_directory', this.#directory(choices), ...this.#path(choices)));
      case 20: return said('unlink', this.#call('path_unlink_file', this.#directory(choices), ...this.#path(choices)));
      case 21: case 22: {
        const [directory, path, other, to] = [this.#directory(choices), this.#path(choices), this.#directory(choices), this.#path(choices, OTHER_PATH_AT)];
        return eitherWay('rename', this.#call('path_rename', directory, ...path, other, ...to));
      }
      case 23: {
        const [directory, path, other, to] = [this.#directory(choices), this.#path(choices), this.#directory(choices), this.#path(choices, OTHER_PATH_AT)];
        return eitherWay('link', this.#call('path_link', directory, choices.below(2), ...path, other, ...to));
      }
      case 24: {
        const target = new TextEncoder().encode(choices.pick(TARGETS));
        this.#bytes.set(target, OTHER_PATH_AT);
        return eitherWay('symlink', this.#call('path_symlink', OTHER_PATH_AT, target.length, this.#directory(choices), ...this.#path(choices)));
      }
      default: {
        const [directory, path] = [this.#directory(choices), this.#path(choices)];
        const errno = this.#call('path_readlink', directory, ...path, DATA_AT, choices.byte(), RESULT_AT);
        return `readlink: ${errno === 0 ? Buffer.from(this.#bytes.subarray(DATA_AT, DATA_AT + this.#view.getUint32(RESULT_AT, true))).toString('latin1') : `errno ${errno}`}`;
      }
    }
  }

  /** All names of a directory, read in pieces of so many bytes. */
  #list(fd: number, pieceBytes: number): Outcome {
    const names: string[] = [];
    let room = pieceBytes;
    for (let cookie = 0n, turns = 0; turns < 500; turns++) {
      const errno = this.#call('fd_readdir', fd, DATA_AT, room, cookie, RESULT_AT);
      if (errno !== 0) return `list: errno ${errno}`;
      const used = this.#view.getUint32(RESULT_AT, true);
      let at = DATA_AT;
      for (; at + 24 <= DATA_AT + used; at += 24 + this.#view.getUint32(at + 16, true)) {
        const len = this.#view.getUint32(at + 16, true);
        if (at + 24 + len > DATA_AT + used) break;
        cookie = this.#view.getBigUint64(at, true);
        names.push(`${Buffer.from(this.#bytes.subarray(at + 24, at + 24 + len)).toString()}/${this.#bytes[at + 20]}`);
      }
      if (used < room) return `list: ${names.toSorted().join(' ')}`;
      // Not even one entry.
      if (at === DATA_AT) room += 255;
    }
    throw new Error(`a listing without an end: ${names.slice(-10).join(' ')}`);
  }
}

/** one for each world: making one costs more than a script */
const MEMORIES = Array.from({ length: 3 }, () => new WebAssembly.Memory({ initial: 1, maximum: 1 }));
const SHARED = makeContainerMemory(false);

function playIn(share: Share, index: number, input: Uint8Array): Guest {
  const memory = MEMORIES[index];
  new Uint8Array(memory.buffer).fill(0);
  const host = new WasiHost({
    memory: SHARED, args: [], env: [], net: false, foreign: false, directories: new Map(),
    shares: [{ name: '/s', share, readOnly: false }, { name: '/r', share, readOnly: true }],
  });
  let guest: Guest | null = null;
  let failure: unknown = null;
  const end = host.run({
    exports: {
      memory: memory as never,
      _start: () => {
        const mine = new Guest(host.imports as Calls, memory);
        guest = mine;
        try {
          mine.play(new Choices(input));
        } catch (error) {
          if (error instanceof WASIProcExit) throw error;
          failure = error;
        }
        mine.closeAll();
      },
    },
  });
  if (failure !== null) throw failure;
  check(end.kind === 'exit' && guest !== null, () => JSON.stringify(end));
  check(!(guest as Guest).holdsCanary(), () => 'what lies beside the folder was read');
  return guest;
}

function inFolder(pinned: boolean, index: number, input: Uint8Array): Guest {
  const world = new FolderWorld(pinned);
  try {
    return playIn(world.share, index, input);
  } finally {
    world.end();
  }
}

function runShares(input: Uint8Array): void {
  const before = openDescriptors();
  const guests: [string, Guest][] = [];
  if (process.platform === 'linux') guests.push(['by descriptors', inFolder(true, 0, input)]);
  // Where a directory is named by its path it cannot be followed when it moves: this one is not compared.
  inFolder(false, 1, input);
  const memory = memoryWorld();
  guests.push(['in memory', playIn(memory, 2, input)]);
  check(openDescriptors() === before, () => `${openDescriptors() - before} descriptors are still open`);
  check(memory.used <= MEMORY_CAPACITY, () => `${memory.used} bytes in memory`);
  const [[first, expected], ...others] = guests;
  // Where one has no room another may have.
  if (!COMPARES || guests.some(([, guest]) => guest.isFull)) return;
  for (const [name, guest] of others) {
    const at = expected.outcomes.findIndex((outcome, i) => outcome !== guest.outcomes[i]);
    check(at < 0, () => `step ${at}: "${expected.outcomes[at]}" ${first}, "${guest.outcomes[at]}" ${name}\nbefore: ${expected.outcomes.slice(Math.max(at - 6, 0), at).join(' · ')}`);
  }
}

/** Steps of a seed: paths are a shape and names, by their numbers. */
function seeds(): Record<string, Uint8Array> {
  const name = (text: string): number => NAMES.findIndex((bytes) => Buffer.from(bytes).toString() === text);
  const path = (...names: string[]): number[] => [names.length - 1, ...names.map(name)];
  const root = 0;
  const open = (how: number, oflags: number, fdflags: number, ...names: string[]): number[] => [0, root, ...path(...names), 0, oflags, how, fdflags];
  const script = (...steps: number[][]): Uint8Array => Uint8Array.from(steps.flat());
  return {
    'a-file': script(open(2, 1, 1, 'a'), [6, 0, 20, 30], [9, 0, 0, 0], [4, 0, 40, 10], [11, 0], [10, 0, 2], [7, 0, 3, 4, 3], [5, 0, 100, 0, 0], [12, 0, 4], [13, 0, 1, 0, 0, 0, 1, 5], [14, 0, 0], [3, 0], [3, 0]),
    'append': script(open(1, 1, 0, 'a'), open(2, 1, 0, 'a'), open(2, 0, 1, 'a'), [6, 0, 5, 1], [6, 1, 6, 0], [7, 0, 2, 0, 2], [7, 2, 1, 0, 0], [5, 2, 100, 0, 0], [10, 2, 1], [6, 1, 3, 3], [11, 0]),
    'links-out': script(...['out', 'to', 'up', 'loop', 'winding', 'absolute', 'in'].flatMap((link) => [open(0, 0, 1, link), [16, root, ...path(link), 1], [16, root, ...path(link, 'beside'), 0], [16, root, ...path(link, 'file'), 1], [25, root, ...path(link), 200], [18, root, ...path(link, 'a')], [20, root, ...path(link, 'beside')]])),
    'paths-out': script(...[['..', 'beside'], ['dir', '..', '..'], ['..', 'outside', 'file'], ['', '..', 'beside'], ['.', '.', '..']].flatMap((names) => [open(1, 1, 1, ...names), [16, root, ...path(...names), 1], [21, root, ...path('file'), root, ...path(...names)], [23, root, ...path(...names), root, ...path('a'), 0], [24, 1, root, ...path(...names)], [19, root, ...path(...names)]])),
    'odd-names': script(...NAMES.map((_, i) => [18, root, 0, i]), ...NAMES.map((_, i) => [21, root, 0, i, root, 0, (i + 1) % NAMES.length]), [15, root, 10], [16, root, 240, name('dir'), 0, 0], [16, root, 248, name('dir'), 0, 0, 0], [16, root, 252, 0, 0]),
    'renames': script([21, root, ...path('dir'), root, ...path('a')], [21, root, ...path('a', 'deep', '..'), root, ...path('b')], [21, root, ...path('a'), root, ...path('a', 'deep', 'a')], [21, root, ...path('file'), root, ...path('a', 'file')], [21, root, ...path('empty'), root, ...path('a')], [21, root, ...path('a', 'deep'), root, ...path('empty')], [19, root, ...path('empty', '..')], [15, root, 200], [21, root, ...path('in'), root, ...path('to')]),
    'without-a-name': script(open(2, 0, 1, 'file'), [20, root, ...path('file')], [11, 0], [12, 0, 5], [10, 0, 3], open(2, 1, 1, 'file'), [6, 1, 2, 2], [5, 0, 100, 0, 0], [21, root, ...path('dir', 'file'), root, ...path('file')], [11, 1], [6, 1, 2, 2], [13, 1, 0, 0, 0, 0, 1, 5]),
    'read-only': script([0, 200, ...path('file'), 0, 1, 2, 1], [18, 200, ...path('a')], [0, 200, ...path('file'), 0, 0, 0, 1], [10, 1, 1], [12, 1, 1], [5, 1, 5, 5, 0], [21, 200, ...path('file'), root, ...path('b')]),
    'directories': script(open(0, 2, 1, 'dir'), [15, 255, 0, 30], [0, 255, 0, ...path('deep', 'long'), 0, 0, 2, 1], [12, 0, 7], [11, 0], [19, root, ...path('dir')], [0, 255, 0, ...path('..', '..', 'beside'), 1, 0, 0, 1], [4, 0, 3, 3], [6, 0, 3, 3], [10, 0, 1], open(0, 2, 1, 'empty'), [19, root, ...path('empty')], [15, 255, 3, 30]),
  };
}

export const SHARE_TARGET: FuzzTarget = { name: 'shares', seeds, run: runShares };
