/*
 * The contract between the page and its two workers, spoken through comlink; nothing else belongs here.
 *
 * Calls to the container worker are answered only until it has entered `_start`: from then on it is blocked, and what
 * it exchanges goes through the rings of `ContainerMemory`. Its callbacks still arrive while it is blocked.
 */
import type { Forward } from '../shared/link/tunnel.ts';
import type { ContainerMemory } from '../shared/memory/container-memory.ts';
import type { ImageInfo } from '../shared/wasi/image-info.ts';

/** How the container reaches a network. */
export type NetMode =
  /** the relay that served this page, or the one at `origin`; `mtu` is a wish, in bytes */
  | { kind: 'relay'; origin?: string; mtu?: number }
  | { kind: 'none' }
  /** any c2w-net or other QEMU framing over a WebSocket */
  | { kind: 'delegate'; url: string };

/** Why an image cannot be run; each has a sentence of its own in the page. */
export type ImageErrorCode =
  /** the server says 404 or 410 */
  | 'not-found'
  /** any other HTTP status */
  | 'http'
  /** no connection, or CORS forbids it */
  | 'unreachable'
  /** no wasm magic: an HTML page, say */
  | 'not-wasm'
  /** wasm, but no WASI command with a memory */
  | 'not-a-container'
  /** the download ended early */
  | 'cut-off'
  /** complete and damaged, or it needs what this browser has not */
  | 'compile'
  | 'out-of-memory'
  /** the guest hit a wasm trap: the machine's bug or a damaged image */
  | 'trap'
  /** arguments and environment are longer than the image can take */
  | 'arguments'
  /** the image's disk was not given with it */
  | 'no-disk'
  /** SharedArrayBuffer is missing: the page was served without COOP and COEP */
  | 'not-isolated'
  | 'internal';

export interface Progress {
  phase: 'download' | 'compile' | 'start';
  /** bytes of the image, uncompressed */
  loaded?: number;
  /** absent when nobody said how long the image is */
  total?: number;
  /** it comes from this browser's storage, not from the network */
  stored?: boolean;
}

/** Crosses threads, so it is data and not an Error. */
export interface ImageFailure {
  code: ImageErrorCode;
  message: string;
}

export type Loaded = { ok: true; info: ImageInfo } | { ok: false; failure: ImageFailure };
export type Ended = { ok: true; exitCode: number } | { ok: false; failure: ImageFailure };

export interface ContainerStart {
  /** null: memory can't be shared, and the worker makes its own; `bridges` join it to that of page and link */
  memory: ContainerMemory | null;
  bridges: { page: MessagePort; link: MessagePort | null } | null;
  /** argv with the flags of the host, see shared/wasi/arguments.ts */
  args: string[];
  env: string[];
  /** the guest has a network: a listening socket is offered */
  net: boolean;
  /** where Atomics.waitAsync is missing: rung when stdout has bytes for a waiting reader */
  stdoutBell: MessagePort | null;
  /** likewise for frames from the guest */
  fromGuestBell: MessagePort | null;
}

/** Where an image is, and what the manifest says of it. */
export interface ImageSource {
  url: string;
  /** uncompressed size, if it is known */
  bytes: number | null;
  /** SHA-256 in hex, if it is known: a stored image of this version is started without asking anybody */
  sha256: string | null;
  /** the image itself, from this computer: nothing is fetched and nothing is kept */
  files?: ImageFiles | undefined;
}

/** An image that the user has given. */
export interface ImageFiles {
  wasm: File;
  /** what lies beside it, if it has a disk and that was given, too */
  disk: File | null;
}

export interface ContainerApi {
  /** Fetches, or takes from the store, and compiles. What is fetched is told to `store`, a StoreMessage each. */
  load(source: ImageSource, store: MessagePort | null, onProgress: (progress: Progress) => void): Promise<Loaded>;
  /** Runs to the end: the promise resolves when the container has exited. */
  start(options: ContainerStart): Promise<Ended>;
}

export interface NetStatus {
  state: 'off' | 'connecting' | 'up' | 'down' | 'refused';
  /** a sentence for the user */
  detail?: string;
  forwards?: Forward[];
  /** when the next attempt starts, as Date.now() counts */
  retryAtMs?: number;
}

/** A capture under way. */
export interface CaptureStats {
  frames: number;
  /** of the file */
  bytes: number;
  /** frames that came when it was full, and are not in it */
  missed: number;
}

export interface LinkApi {
  /** Connects, and keeps connected until `close`. `memory` and `bell` as in ContainerStart; the page's bridge carries counters. */
  open(
    mode: Exclude<NetMode, { kind: 'none' }>,
    origin: string,
    memory: ContainerMemory | null,
    bell: MessagePort | null,
    bridges: { container: MessagePort; page: MessagePort } | null,
    onStatus: (status: NetStatus) => void,
  ): Promise<void>;
  /** Says bye and closes the WebSocket. */
  close(): Promise<void>;
  /** Tries at once instead of waiting for the backoff. */
  retry(): Promise<void>;
  /** Writes down every frame from now on; nothing new while that is done already. */
  startCapture(): Promise<void>;
  /** null while nothing is captured */
  captureStats(): Promise<CaptureStats | null>;
  /** The pcapng file; null when nothing was captured. */
  stopCapture(): Promise<Blob | null>;
  /** Asks the network about itself: a path of relay/api/network-api.ts, by POST with a `body`. Null where nobody can be asked. */
  callNetwork(path: string, body: object | null): Promise<NetworkReply | null>;
}

export interface NetworkReply {
  /** of HTTP */
  status: number;
  text: string;
}
