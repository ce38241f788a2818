/*
 * A share in another thread, for a container that is blocked: one request at a time through shared memory.
 *
 *   byte 0         4            8             12
 *   +-------------+------------+-------------+----------------------+--------------------+
 *   | state i32   | head u32   | data u32    | head: JSON           | data               |
 *   +-------------+------------+-------------+----------------------+--------------------+
 *
 * Theory of operation
 *
 * The client (the container's thread) writes a request, sets `state` to REQUEST, rings the bell and sleeps on `state`. The bell is a posted
 * message: posts of a blocked worker arrive. The server, which has an event loop, takes its time (a share of its may be asynchronous),
 * writes the answer over the request, sets ANSWER and notifies. Heads are JSON, contents of files are raw behind them; a bigint is
 * `{ "bigint": "…" }`. Longer reads, writes and listings are several requests.
 *
 * Both ends are ours; what is hostile are the paths and sizes in a request, and they are the share's to judge.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { FileEntry, FileStat, FileTimes, OpenFile, OpenHow, Share } from './share.ts';
import { FileError, totalBytes } from './share.ts';

const STATE_IDLE = 0;
const STATE_REQUEST = 1;
const STATE_ANSWER = 2;
const HEADER_BYTES = 12;
/** contents of files per request, in bytes */
const DATA_BYTES = 256 << 10;
/** JSON per request: a path has 4096 bytes, which may be escaped */
const HEAD_BYTES = 192 << 10;
/** entries of a directory per request: a name of 255 bytes may be 1530 in JSON */
const ENTRIES = 100;

/** a folder of this computer may be slow, and a file of it is copied whole when it is closed */
const PATIENCE_MS = 120_000;

/** Size of the channel's buffer. */
export const CHANNEL_BYTES = HEADER_BYTES + HEAD_BYTES + DATA_BYTES;

type Async<T> = { [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => R | Promise<R> : T[K] };
/** A share whose answers may take their time. */
export type ServedFile = Async<OpenFile>;
export type ServedShare = Omit<Async<Share>, 'open'> & { open(path: string, follow: boolean, how: OpenHow): ServedFile | Promise<ServedFile> };

interface Head {
  call: string;
  args: unknown[];
}

interface Answer {
  /** of a FileError; 0: all went well */
  errno: number;
  value?: unknown;
}

/** Both ends' view of the buffer. */
class Channel {
  readonly words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(buffer, HEADER_BYTES);
  }

  /** Throws FileError when it does not fit. */
  put(head: Head | Answer, data: readonly Uint8Array[]): void {
    const json = this.#encoder.encode(JSON.stringify(head, (_key, value: unknown) => (typeof value === 'bigint' ? { bigint: String(value) } : value)));
    if (json.length > HEAD_BYTES || totalBytes(data) > DATA_BYTES) throw new FileError(wasi.ERRNO_NAMETOOLONG);
    this.#bytes.set(json);
    let at = json.length;
    for (const part of data) {
      this.#bytes.set(part, at);
      at += part.length;
    }
    this.words[1] = json.length;
    this.words[2] = at - json.length;
  }

  head(): unknown {
    // A TextDecoder takes no shared memory.
    const json = this.#decoder.decode(this.#bytes.slice(0, this.words[1]));
    return JSON.parse(json, (_key, value: unknown) => (isBigint(value) ? BigInt(value.bigint) : value));
  }

  /** Borrowed: in the channel. */
  data(): Uint8Array {
    return this.#bytes.subarray(this.words[1], this.words[1] + this.words[2]);
  }
}

function isBigint(value: unknown): value is { bigint: string } {
  return typeof value === 'object' && value !== null && typeof (value as { bigint?: unknown }).bigint === 'string';
}

/** The container's end. A server that does not answer in time is not asked again: everything is EIO then. */
export class RemoteShare implements Share {
  readonly #channel: Channel;
  readonly #bell: () => void;
  readonly #patienceMs: number;
  #dead = false;

  /** `bell` tells the server that there is a request. */
  constructor(buffer: SharedArrayBuffer, bell: () => void, patienceMs = PATIENCE_MS) {
    this.#channel = new Channel(buffer);
    this.#bell = bell;
    this.#patienceMs = patienceMs;
  }

  stat(path: string, follow: boolean): FileStat { return this.ask('stat', [path, follow]) as FileStat; }
  setTimes(path: string, follow: boolean, times: FileTimes): void { this.ask('setTimes', [path, follow, times]); }
  setMode(path: string, mode: number): void { this.ask('setMode', [path, mode]); }
  makeDirectory(path: string): void { this.ask('makeDirectory', [path]); }
  removeDirectory(path: string): void { this.ask('removeDirectory', [path]); }
  unlink(path: string): void { this.ask('unlink', [path]); }
  rename(from: string, to: string): void { this.ask('rename', [from, to]); }
  link(from: string, to: string): void { this.ask('link', [from, to]); }
  symlink(target: string, path: string): void { this.ask('symlink', [target, path]); }
  readlink(path: string): string { return this.ask('readlink', [path]) as string; }

  open(path: string, follow: boolean, how: OpenHow): OpenFile {
    const { handle, isDirectory } = this.ask('open', [path, follow, how]) as { handle: number; isDirectory: boolean };
    return new RemoteFile(this, handle, isDirectory);
  }

  /** One request and its answer; blocks. `into` gets the answer's data. */
  ask(call: string, args: unknown[], data: readonly Uint8Array[] = [], into: readonly Uint8Array[] = []): unknown {
    const { words } = this.#channel;
    if (this.#dead) throw new FileError(wasi.ERRNO_IO);
    this.#channel.put({ call, args }, data);
    Atomics.store(words, 0, STATE_REQUEST);
    this.#bell();
    if (Atomics.wait(words, 0, STATE_REQUEST, this.#patienceMs) === 'timed-out') {
      this.#dead = true;
      throw new FileError(wasi.ERRNO_IO);
    }
    const { errno, value } = this.#channel.head() as Answer;
    if (errno === 0) scatter(this.#channel.data(), into);
    Atomics.store(words, 0, STATE_IDLE);
    if (errno !== 0) throw new FileError(errno);
    return value;
  }
}

class RemoteFile implements OpenFile {
  readonly isDirectory: boolean;
  readonly #share: RemoteShare;
  readonly #handle: number;

  constructor(share: RemoteShare, handle: number, isDirectory: boolean) {
    this.#share = share;
    this.#handle = handle;
    this.isDirectory = isDirectory;
  }

  stat(): FileStat { return this.#share.ask('file.stat', [this.#handle]) as FileStat; }
  setTimes(times: FileTimes): void { this.#share.ask('file.setTimes', [this.#handle, times]); }
  setMode(mode: number): void { this.#share.ask('file.setMode', [this.#handle, mode]); }
  setSize(size: number): void { this.#share.ask('file.setSize', [this.#handle, size]); }
  sync(dataOnly: boolean): void { this.#share.ask('file.sync', [this.#handle, dataOnly]); }
  close(): void { this.#share.ask('file.close', [this.#handle]); }

  read(offset: number, into: readonly Uint8Array[]): number {
    let done = 0;
    for (const batch of batches(into)) {
      const wanted = totalBytes(batch);
      const len = this.#share.ask('file.read', [this.#handle, offset + done, wanted], [], batch) as number;
      done += len;
      if (len < wanted) break;
    }
    return done;
  }

  write(offset: number, from: readonly Uint8Array[]): number {
    let done = 0;
    for (const batch of batches(from)) {
      const len = this.#share.ask('file.write', [this.#handle, offset + done], batch) as number;
      done += len;
      if (len < totalBytes(batch)) break;
    }
    return done;
  }

  list(): FileEntry[] {
    const entries: FileEntry[] = [];
    for (;;) {
      const more = this.#share.ask('file.list', [this.#handle, entries.length]) as FileEntry[];
      entries.push(...more);
      if (more.length < ENTRIES) return entries;
    }
  }
}

/** Buffers cut into groups that fit one request each. */
function* batches(parts: readonly Uint8Array[]): Generator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let room = DATA_BYTES;
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const piece = part.subarray(at, at + room);
      batch.push(piece);
      at += piece.length;
      room -= piece.length;
      if (room > 0) continue;
      yield batch;
      batch = [];
      room = DATA_BYTES;
    }
  }
  if (batch.length > 0) yield batch;
}

function scatter(data: Uint8Array, into: readonly Uint8Array[]): void {
  let at = 0;
  for (const part of into) {
    part.set(data.subarray(at, at + part.length));
    at += part.length;
  }
}

/** The end with an event loop: `onBell` at each ring. */
export class ShareServer {
  readonly #channel: Channel;
  readonly #share: ServedShare;
  readonly #files = new Map<number, { file: ServedFile; entries: FileEntry[] }>();
  #nextHandle = 1;

  constructor(buffer: SharedArrayBuffer, share: ServedShare) {
    this.#channel = new Channel(buffer);
    this.#share = share;
  }

  async onBell(): Promise<void> {
    const { words } = this.#channel;
    if (Atomics.load(words, 0) !== STATE_REQUEST) return;
    const { call, args } = this.#channel.head() as Head;
    const data: Uint8Array[] = [];
    try {
      const value = await this.#serve(call, args, data);
      this.#channel.put({ errno: 0, value }, data);
    } catch (error) {
      this.#channel.put({ errno: error instanceof FileError ? error.errno : wasi.ERRNO_IO }, []);
    }
    Atomics.store(words, 0, STATE_ANSWER);
    Atomics.notify(words, 0);
  }

  /** Forgets what the container had open: it is gone. */
  async close(): Promise<void> {
    for (const { file } of this.#files.values()) await file.close();
    this.#files.clear();
  }

  /** Puts what is read into `data`. */
  async #serve(call: string, args: unknown[], data: Uint8Array[]): Promise<unknown> {
    if (call === 'open') {
      const file = await this.#share.open(...args as Parameters<Share['open']>);
      const handle = this.#nextHandle++;
      this.#files.set(handle, { file, entries: [] });
      return { handle, isDirectory: file.isDirectory };
    }
    if (!call.startsWith('file.')) return (this.#share as unknown as Record<string, (...of: unknown[]) => unknown>)[call](...args);
    const [handle, ...rest] = args as [number, ...unknown[]];
    const open = this.#files.get(handle);
    if (open === undefined) throw new FileError(wasi.ERRNO_BADF);
    const { file } = open;
    switch (call) {
      case 'file.read': {
        const [offset, len] = rest as [number, number];
        const bytes = new Uint8Array(Math.min(len, DATA_BYTES));
        const done = await file.read(offset, [bytes]);
        data.push(bytes.subarray(0, done));
        return done;
      }
      // Out of the channel: where the share keeps it, nothing may change it later.
      case 'file.write': return file.write(rest[0] as number, [this.#channel.data().slice()]);
      case 'file.list': {
        const from = rest[0] as number;
        if (from === 0) open.entries = await file.list();
        return open.entries.slice(from, from + ENTRIES);
      }
      case 'file.close':
        this.#files.delete(handle);
        return file.close();
      default: return (file as unknown as Record<string, (...of: unknown[]) => unknown>)[call.slice('file.'.length)](...rest);
    }
  }
}
