/*
 * The 9P server end to end: messages of a guest that lies, through the machine's C code (machine/dev/p9_wasi.test.c, as wasm), WASI and a share, to
 * a folder of this computer and to one in memory. Nothing beside the folder is read, changed or made, nothing traps or throws, nothing stays
 * open, replies are whole messages with a known error in them, and both folders give the same ones.
 */
import { readFileSync } from 'node:fs';
import { buildTestProgram } from '../../machine/build.ts';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import type { Share } from '../../shared/wasi/share.ts';
import { Choices } from './choices.ts';
import { CANARY, COMPARES, FolderWorld, MEMORY_CAPACITY, memoryWorld, openDescriptors } from './share-worlds.ts';
import { check, type FuzzTarget } from './target.ts';

/*
 * Compiled when it is loaded, once: a thread that compiles at its first input looks like one that hangs.
 */
const MODULE = new WebAssembly.Module(readFileSync(await buildTestProgram('dev/p9_wasi.test.c', [
  'board/bus.c', 'dev/virtio_mmio.c', 'dev/virtio_9p.c', 'dev/p9_call.c', 'dev/p9_attributes.c', 'dev/p9_files.c', 'dev/p9_names.c', 'dev/p9_tree.c', 'dev/p9_owners.c', 'host/host_files_wasi.c',
])));
const ROOT_FD = 3;
const MESSAGES_MAX = 300;
const MESSAGE_MAX = 0x8000;
const TAG = 9;
const NO_FID = 0xffff_ffff;
const T = {
  statfs: 8, lopen: 12, lcreate: 14, symlink: 16, mknod: 18, rename: 20, readlink: 22, getattr: 24, setattr: 26, xattrwalk: 30, readdir: 40, fsync: 50, lock: 52, getlock: 54, link: 70,
  mkdir: 72, renameat: 74, unlinkat: 76, version: 100, auth: 102, attach: 104, flush: 108, walk: 110, read: 116, write: 118, clunk: 120, remove: 122,
} as const;
const RERROR = 7;
/** of Linux, that the server may answer with */
const ERRORS = new Set([1, 2, 5, 6, 9, 11, 12, 13, 16, 17, 18, 20, 21, 22, 23, 24, 26, 27, 28, 29, 30, 31, 36, 39, 40, 75, 95, 116, 122, 4]);

/** f: fid, n: name, t: a link's target, w: names to walk, d: data, numbers: integers of so many bytes. */
const FORMS: [number, string][] = [
  [T.statfs, 'f'], [T.lopen, 'fo'], [T.lcreate, 'fnom4'], [T.symlink, 'fnt4'], [T.mknod, 'fnm444'], [T.rename, 'ffn'], [T.readlink, 'f'], [T.getattr, 'f8'], [T.setattr, 'fvm44z8888'], [T.xattrwalk, 'ffn'],
  [T.readdir, 'fz4'], [T.fsync, 'f4'], [T.lock, 'f14884n'], [T.getlock, 'f1884n'], [T.link, 'ffn'], [T.mkdir, 'fnm4'], [T.renameat, 'fnfn'], [T.unlinkat, 'fnu'], [T.version, 's'], [T.auth, 'fnn4'],
  [T.attach, 'fFnn4'], [T.flush, '2'], [T.walk, 'ffw'], [T.walk, 'ffw'], [T.walk, 'ffw'], [T.read, 'fz4'], [T.write, 'fzd'], [T.write, 'fzd'], [T.clunk, 'f'], [T.remove, 'f'],
];
const NAMES = ['file', 'dir', 'deep', 'long', 'a', 'b', 'empty', 'in', 'out', 'to', 'up', 'absolute', '..', '.', '', 'beside', '../beside', 'a/b', '/etc', 'n'.repeat(255), 'n'.repeat(256), 'ü😀', 'a\0b', '\ud800'];
const TARGETS = ['file', '..', '../beside', '/etc/passwd', '../../outside/file', 'x'.repeat(4095), ''];
const OPENS = [0, 1, 2, 0o2001, 0o2002, 0o1001, 0o1002, 0o200000, 0o201, 3, 0xffff_ffff];
const WIDE = [0n, 1n, 7n, 4095n, 5000n, 6000n, 70_000n, 1n << 40n, (1n << 53n) + 1n, 0xffff_ffff_ffff_ffffn, 2n, 3n];
const VALID = [1, 2, 4, 8, 0x10, 0x20, 0x90, 0x120, 9, 0x1ff, 7];

class Writer {
  readonly bytes = Buffer.alloc(MESSAGE_MAX + 16);
  len = 7;

  number(value: bigint | number, size: number): void {
    for (let i = 0, rest = BigInt.asUintN(64, BigInt(value)); i < size; i++, rest >>= 8n) this.bytes[this.len++] = Number(rest & 255n);
  }

  text(text: Uint8Array): void {
    this.number(text.length, 2);
    this.bytes.set(text, this.len);
    this.len += text.length;
  }
}

/** One message out of an input. */
function message(choices: Choices): { bytes: Buffer; len: number; cut: number; room: number } {
  const out = new Writer();
  const [type, form] = FORMS[choices.byte() % FORMS.length];
  const name = (): void => { out.text(Buffer.from(choices.pick(NAMES))); };
  const fid = (): void => {
    const byte = choices.byte();
    out.number(byte < 240 ? byte % 8 : byte < 250 ? byte : NO_FID, 4);
  };
  out.bytes[4] = type;
  out.bytes.writeUInt16LE(TAG, 5);
  for (const kind of form) {
    switch (kind) {
      case 'f': fid(); break;
      case 'F': out.number(choices.byte() < 250 ? NO_FID : 1, 4); break;
      case 'n': name(); break;
      case 't': out.text(Buffer.from(choices.pick(TARGETS))); break;
      case 'o': out.number(choices.pick(OPENS), 4); break;
      // A directory without its x is nobody's but root's.
      case 'm': out.number(0o700 | (choices.byte() << 1), 4); break;
      case 'v': out.number(choices.pick(VALID), 4); break;
      case 'u': out.number(choices.below(2) * 0x200, 4); break;
      case 'z': out.number(choices.pick(WIDE), 8); break;
      case 's':
        out.number(choices.byte() < 250 ? 65_536 : choices.u32(), 4);
        out.text(Buffer.from('9P2000.L'));
        break;
      case 'w': {
        const count = choices.below(4);
        out.number(count, 2);
        for (let i = 0; i < count; i++) name();
        break;
      }
      case 'd': {
        const byte = choices.byte();
        const data = Buffer.alloc(byte < 250 ? byte * 4 : 20_000, 97 + (byte % 26));
        out.number(data.length, 4);
        out.bytes.set(data, out.len);
        out.len += data.length;
        break;
      }
      default: {
        const byte = choices.byte();
        out.number(byte < 250 ? byte * 16 : choices.u32(), Number(kind));
      }
    }
  }
  // Most messages are whole; the others lie about their length, have a wrong byte, or little room for an answer.
  const lie = choices.byte();
  let len = out.len;
  out.bytes.writeUInt32LE(len, 0);
  if (lie >= 250) out.bytes.writeUInt32LE(choices.u32(), 0);
  else if (lie >= 245) len = Math.min(choices.byte() * 4, MESSAGE_MAX);
  else if (lie >= 235) out.bytes[7 + choices.below(40)] = choices.byte();
  return { bytes: out.bytes, len, cut: 1 + (lie % 23), room: lie >= 230 && lie < 235 ? choices.byte() : 0x8000 };
}

interface Server {
  memory: WebAssembly.Memory;
  message(): number;
  reply(): number;
  broken(): number;
  attach(fd: number): void;
  resume(fd: number): void;
  request(len: number, cut: number, room: number): void;
}

class Guest {
  readonly outcomes: string[] = [];
  /** something is larger than memory takes: from there on folders differ */
  isFull = false;
  readonly #server: Server;
  readonly #said = new Map<number, string>(Object.entries(T).map(([name, type]) => [type, name]));

  readonly #close: (fd: number) => number;

  constructor(server: Server, close: (fd: number) => number) {
    this.#server = server;
    this.#close = close;
  }

  play(input: Uint8Array): void {
    const choices = new Choices(input);
    this.#server.attach(ROOT_FD);
    for (let i = 0; i < 3; i++) this.#send(opening(i));
    for (let sent = 0; !choices.isOver && sent < MESSAGES_MAX; sent++) {
      const what = choices.byte();
      if (what === 255) {
        // A process that goes on with a saved machine has none of the other's descriptors.
        for (let fd = ROOT_FD + 1; fd < 64; fd++) this.#close(fd);
        this.#server.resume(choices.below(4) === 0 ? -1 : ROOT_FD);
      } else {
        this.#send(message(choices));
      }
    }
    // A session that begins anew has nothing open.
    this.#send(opening(0));
    check(this.#server.broken() === 0, () => 'something was written where there is no memory of the guest\'s');
  }

  holdsCanary(): boolean {
    return Buffer.from(this.#server.memory.buffer).includes(CANARY);
  }

  #send({ bytes, len, cut, room }: { bytes: Buffer; len: number; cut: number; room: number }): void {
    const server = this.#server;
    new Uint8Array(server.memory.buffer).set(bytes.subarray(0, len), server.message());
    server.request(len, cut, room);
    const reply = Buffer.from(server.memory.buffer, server.reply(), 0x8000);
    const size = reply.readUInt32LE(0);
    const type = bytes[4];
    const what = this.#said.get(type) ?? `type ${type}`;
    if (size === 0) {
      check(room < 0x8000, () => `${what} has no answer`);
      this.outcomes.push(`${what}: no room`);
      return;
    }
    check(size >= 7 && size <= room, () => `an answer of ${size} bytes to ${what}, where there is room for ${room}`);
    if (reply[4] === RERROR) {
      const error = reply.readUInt32LE(7);
      check(size === 11 && ERRORS.has(error), () => `${what} fails with ${error} in ${size} bytes`);
      if (error === 28 || error === 27) this.isFull = true;
      this.outcomes.push(`${what}: error ${error}`);
      return;
    }
    check(reply[4] === ((type + 1) & 255), () => `${what} is answered with type ${reply[4]}`);
    this.outcomes.push(`${what}: ${this.#content(type, reply.subarray(7, size))}`);
  }

  /** What an answer says that is the same in all folders: no times, no numbers of files. */
  #content(type: number, body: Buffer): string {
    const qid = (at: number): string => String(body[at]);
    switch (type) {
      case T.read: return body.subarray(4).toString('latin1');
      case T.write: return `${body.readUInt32LE(0)} bytes`;
      case T.readlink: return body.toString('latin1', 2);
      case T.lopen: case T.lcreate: case T.symlink: case T.mknod: case T.mkdir: case T.attach: return `qid ${qid(0)}`;
      case T.walk: return Array.from({ length: body.readUInt16LE(0) }, (_, i) => qid(2 + 13 * i)).join(' ');
      case T.getattr: {
        const [mode, uid, gid] = [21, 25, 29].map((at) => body.readUInt32LE(at));
        const isFile = (mode & 0o170000) === 0o100000;
        // Those of directories are a file system's own affair.
        return `${mode.toString(8)} ${uid} ${gid} ${isFile ? `${body.readBigUInt64LE(33)} links ${body.readBigUInt64LE(49)} bytes` : ''}`;
      }
      case T.readdir: {
        let at = 4;
        for (; at < body.length; at += 24 + body.readUInt16LE(at + 22)) check(at + 24 <= body.length && at + 24 + body.readUInt16LE(at + 22) <= body.length, () => 'a listing ends within an entry');
        check(at === body.length && body.readUInt32LE(0) === body.length - 4, () => 'a listing is longer or shorter than it says');
        return 'entries';
      }
      default: return `${body.length} bytes`;
    }
  }
}

/** Version, attach, and a fid of the root's to go on from. */
function opening(step: number): { bytes: Buffer; len: number; cut: number; room: number } {
  const out = new Writer();
  out.bytes[4] = [T.version, T.attach, T.walk][step];
  out.bytes.writeUInt16LE(TAG, 5);
  if (step === 0) {
    out.number(65_536, 4);
    out.text(Buffer.from('9P2000.L'));
  } else if (step === 1) {
    out.number(0, 4);
    out.number(NO_FID, 4);
    out.text(Buffer.from(''));
    out.text(Buffer.from('1000:1000'));
    out.number(0, 4);
  } else {
    out.number(0, 4);
    out.number(1, 4);
    out.number(0, 2);
  }
  out.bytes.writeUInt32LE(out.len, 0);
  return { bytes: out.bytes, len: out.len, cut: 7, room: 0x8000 };
}

const SHARED = makeContainerMemory(false);

/** one instance for each folder, which starts from the same memory each time: making one costs more than a script */
class Instance {
  readonly server: Server;
  readonly #imports: Record<string, unknown> = {};
  readonly #fresh: Uint8Array;
  #host: WasiHost | null = null;

  constructor() {
    for (const { name } of WebAssembly.Module.imports(MODULE)) this.#imports[name] = (...args: unknown[]) => (this.#host!.imports[name] as (...of: unknown[]) => unknown)(...args);
    this.server = new WebAssembly.Instance(MODULE, { wasi_snapshot_preview1: this.#imports as WebAssembly.ModuleImports }).exports as unknown as Server;
    this.#fresh = new Uint8Array(this.server.memory.buffer).slice();
  }

  play(share: Share, input: Uint8Array): Guest {
    const all = new Uint8Array(this.server.memory.buffer);
    all.set(this.#fresh);
    all.fill(0, this.#fresh.length);
    this.#host = new WasiHost({ memory: SHARED, args: [], env: [], net: false, foreign: false, directories: new Map(), shares: [{ name: '/s', share, readOnly: false }] });
    const close = this.#host.imports['fd_close'] as (fd: number) => number;
    const guest = new Guest(this.server, close);
    let failure: unknown = null;
    this.#host.run({
      exports: {
        memory: this.server.memory as never,
        _start: () => {
          try {
            guest.play(input);
          } catch (error) {
            failure = error;
          }
          close(ROOT_FD);
        },
      },
    });
    if (failure !== null) throw failure;
    check(!guest.holdsCanary(), () => 'what lies beside the folder was read');
    return guest;
  }
}

let instances: [Instance, Instance] | null = null;

function runP9(input: Uint8Array): void {
  instances ??= [new Instance(), new Instance()];
  const before = openDescriptors();
  const world = new FolderWorld(process.platform === 'linux');
  let here: Guest;
  try {
    here = instances[0].play(world.share, input);
  } finally {
    world.end();
  }
  check(openDescriptors() === before, () => `${openDescriptors() - before} descriptors are still open`);
  const memory = memoryWorld();
  const there = instances[1].play(memory, input);
  check(memory.used <= MEMORY_CAPACITY, () => `${memory.used} bytes in memory`);
  // Where one has no room another may have.
  if (!COMPARES || here.isFull || there.isFull) return;
  const at = here.outcomes.findIndex((outcome, i) => outcome !== there.outcomes[i]);
  check(at < 0, () => `message ${at}: "${here.outcomes[at]}" in a folder, "${there.outcomes[at]}" in memory\nbefore: ${here.outcomes.slice(Math.max(at - 8, 0), at).join(' · ')}`);
}

function seeds(): Record<string, Uint8Array> {
  const form = (type: number): number => FORMS.findIndex(([one]) => one === type);
  const name = (text: string): number => NAMES.indexOf(text);
  const wide = (value: bigint): number => WIDE.indexOf(value);
  const say = (type: number, ...fields: number[]): number[] => [0, form(type), ...fields, 0];
  const walk = (from: number, to: number, ...names: string[]): number[] => say(T.walk, from, to, names.length, ...names.map(name));
  const open = (fid: number, flags: number): number[] => say(T.lopen, fid, OPENS.indexOf(flags));
  const create = (fid: number, text: string, flags = 2): number[] => say(T.lcreate, fid, name(text), OPENS.indexOf(flags), 20, 0);
  const write = (fid: number, offset: bigint, quarter: number): number[] => say(T.write, fid, wide(offset), quarter);
  const read = (fid: number, offset = 0n): number[] => say(T.read, fid, wide(offset), 200);
  const attributes = (fid: number): number[] => say(T.getattr, fid, 255);
  const set = (fid: number, valid: number, mode: number, size: bigint): number[] => say(T.setattr, fid, VALID.indexOf(valid), mode, 1, 2, wide(size), 0, 0, 0, 0);
  const unlink = (fid: number, text: string, directory = 0): number[] => say(T.unlinkat, fid, name(text), directory);
  const script = (...steps: number[][]): Uint8Array => Uint8Array.from(steps.flat());
  return {
    'a-file': script(walk(0, 2), create(2, 'a'), write(2, 0n, 10), write(2, 7n, 200), read(2), attributes(2), set(2, 8, 0, 7n), set(2, 1, 5, 0n), set(2, 0x90, 0, 0n), attributes(2), say(T.fsync, 2, 0), say(T.clunk, 2), read(2)),
    'append': script(walk(0, 2), create(2, 'a', 0o2001), walk(0, 3, 'a'), open(3, 0o2002), write(2, 0n, 3), write(3, 7n, 4), write(2, 1n, 5), read(3), set(3, 8, 0, 7n), write(2, 0n, 1), attributes(3), [255, 1], write(2, 0n, 2), read(3)),
    'links-out': script(...['out', 'to', 'up', 'in', 'absolute'].flatMap((link, i) => [walk(0, 2, link), walk(2, 3, 'beside'), walk(0, 4, link, 'beside'), open(2, 0), say(T.readlink, 2), say(T.mkdir, 2, name('a'), 5, 0), set(2, i === 0 ? 8 : 1, 5, 0n), create(2, 'b'), unlink(2, 'beside'), say(T.clunk, 2)])),
    'names': script(...NAMES.flatMap((text, i) => [walk(0, 2, text), say(T.clunk, 2), say(T.mkdir, 0, i, 5, 0), say(T.symlink, 0, i, i % TARGETS.length, 0), say(T.renameat, 1, name('file'), 1, i), unlink(1, text, i % 2), say(T.mknod, 1, i, 5, 0, 0, 0)])),
    'nameless': script(walk(0, 2), create(2, 'a'), write(2, 0n, 9), walk(0, 3, 'a'), unlink(0, 'a'), set(3, 1, 7, 0n), attributes(3), set(3, 8, 0, 7n), walk(3, 4), open(4, 0), read(4), walk(2, 5), open(5, 0o2001), write(5, 0n, 2), say(T.clunk, 2), read(4), walk(0, 2), create(2, 'a', 0o201), read(4), attributes(5)),
    'renames': script(walk(0, 2, 'dir', 'file'), open(2, 2), say(T.renameat, 0, name('dir'), 0, name('a')), read(2), say(T.rename, 2, 0, name('b')), walk(0, 3, 'file'), open(3, 2), say(T.renameat, 0, name('b'), 0, name('file')), read(3), attributes(3), attributes(2), say(T.link, 1, 2, name('long')), say(T.remove, 2), say(T.renameat, 0, name('a'), 0, name('empty')), walk(0, 2, 'empty', 'deep', '..', '..', 'file')),
    'listing': script(walk(0, 2), open(2, 0o200000), say(T.readdir, 2, 0, 200), say(T.readdir, 2, wide(2n), 3), walk(0, 3, 'dir'), open(3, 0), unlink(0, 'file'), say(T.readdir, 3, 0, 200), say(T.readdir, 2, wide(3n), 200), say(T.readdir, 2, wide(0xffff_ffff_ffff_ffffn), 200), create(3, 'a')),
    'sessions': script(say(T.version, 0), say(T.attach, 0, 0, name(''), name(''), 0), walk(0, 2), open(2, 0), [255, 0], read(2), walk(0, 3), [255, 1], walk(0, 3, 'file'), say(T.version, 250, 0, 32, 0, 0), say(T.auth, 1, 14, 14, 0), say(T.flush, 3)),
    'others': script(say(T.statfs, 1), say(T.lock, 1, 1, 0, 0, 0, 1, 4), say(T.getlock, 1, 1, 0, 0, 1, 4), say(T.xattrwalk, 1, 2, 4), [0, form(T.walk), 0, 9, 1, 0, 252, 255, 255, 255, 255], [0, form(T.read), 1, 0, 200, 246, 20], [0, form(T.write), 1, 0, 200, 236, 3, 9], [0, form(T.getattr), 1, 255, 231, 9]),
  };
}

export const P9_TARGET: FuzzTarget = { name: '9p', seeds, run: runP9 };
