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
  memory: ContainerMemory;
  /** argv with the flags of the host, see shared/wasi/arguments.ts */
  args: string[];
  env: string[];
  /** the guest has a network: a listening socket is offered */
  net: boolean;
  /** where Atomics.waitAsync is missing: rung when stdout has bytes for a waiting reader */
  stdoutBell: MessagePort | null;
  /** likewise for frames from the guest */
  fromGuestBell: MessagePort | null;
  /** the folder that page and container share; null for none */
  share: ContainerShare | null;
}

/** The container's end of a share in the files worker: shared/wasi/share-channel.ts. */
export interface ContainerShare {
  /** where in the container */
  name: string;
  buffer: SharedArrayBuffer;
  bell: MessagePort;
}

export interface FileItem {
  name: string;
  kind: 'file' | 'folder' | 'link' | 'connected';
  bytes: number;
}

/** The folder that page and container share. Paths are relative to it; what fails rejects with a sentence for the user. */
export interface FilesApi {
  /** Serves one container, in place of the one before. */
  serve(buffer: SharedArrayBuffer, bell: MessagePort): Promise<void>;
  /** Folders first, by name; null when `path` is no folder any more. */
  list(path: string): Promise<FileItem[] | null>;
  /** Writes a file, and the folders that lead to it; what was there is replaced. */
  put(path: string, file: Blob): Promise<void>;
  /** Removes a file, or a folder with all that is in it. */
  remove(path: string): Promise<void>;
  /** A file's contents, or a folder as a tar archive. */
  read(path: string): Promise<{ blob: Blob; isArchive: boolean }>;
  /** Shows a folder of this computer in the shared one; resolves with its name there. */
  connect(handle: FileSystemDirectoryHandle): Promise<string>;
  disconnect(name: string): Promise<void>;
  /** Calls `onChange` soon after something has changed, whoever did it; what other programs do in a connected folder is not noticed. */
  watch(onChange: () => void): Promise<void>;
}

/** Where an image is, and what the manifest says of it. */
export interface ImageSource {
  url: string;
  /** uncompressed size, if it is known */
  bytes: number | null;
  /** SHA-256 in hex, if it is known: a stored image of this version is started without asking anybody */
  sha256: string | null;
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
  /** Connects, and keeps connected until `close`. `bell` as in ContainerStart. */
  open(
    mode: Exclude<NetMode, { kind: 'none' }>,
    origin: string,
    memory: ContainerMemory,
    bell: MessagePort | null,
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
}
