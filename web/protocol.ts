/*
 * The contract between the page and its two workers, spoken through comlink; nothing else belongs here.
 *
 * Calls to the container worker are answered only until it has entered `_start`: from then on it is blocked, and what
 * it exchanges goes through the rings of `ContainerMemory`. Its callbacks still arrive while it is blocked.
 */
import type { Forward } from '../shared/link/tunnel.ts';
import type { ContainerMemory } from '../shared/memory/container-memory.ts';
import type { LinkStats } from '../shared/memory/link-counters.ts';
import type { SaveErrorCode } from '../shared/saved/save-error.ts';
import type { SaveSummary } from '../shared/saved/save-ring.ts';
import type { CompilerSettings } from '../shared/wasi/compiler-fd.ts';
import type { ImageInfo } from '../shared/wasi/image-info.ts';

/** How the container reaches a network. */
export type NetMode =
  /** the relay that served this page, or the one at `origin`; `mtu` is a wish, in bytes */
  | { kind: 'relay'; origin?: string; mtu?: number }
  | { kind: 'none' }
  /** any c2w-net or other QEMU framing over a WebSocket */
  | { kind: 'delegate'; url: string }
  /**
   * the stack in this page. `isFallback`: because there is no relay at the server of the page. `network`: shared by all tabs of the
   * origin that name it, in which this one has the seat
   */
  | { kind: 'browser'; isFallback?: boolean; network?: string; seat?: number };

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
  /** arguments and environment are longer than the image can take, or a flag is none of its */
  | 'arguments'
  /** the image's memory can't be chosen */
  | 'memory'
  /** the image's disk was not given with it */
  | 'no-disk'
  /** SharedArrayBuffer is missing: the page was served without COOP and COEP */
  | 'not-isolated'
  /** the saved container was made with another image, or another version of it */
  | 'other-image'
  /** the saved container is damaged, or of a later version */
  | 'bad-save'
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

/** names of the workers whose script is container/worker.ts, beside the container's own */
export const LINK_WORKER = 'link';
export const FILES_WORKER = 'files';
export const SAVE_WORKER = 'save';

export type Loaded = { ok: true; info: ImageInfo } | { ok: false; failure: ImageFailure };
export type Ended = { ok: true; exitCode: number } | { ok: false; failure: ImageFailure };

/** Between the page and a container's worker that shares no memory with it: see shared/memory/ring-bridge.ts */
export interface ContainerPorts {
  stdin: MessagePort;
  stdout: MessagePort;
}

export interface ContainerStart {
  /** the shared memory, or where there is none the ports in its place */
  memory: ContainerMemory | ContainerPorts;
  /** argv with the flags of the host, see shared/wasi/arguments.ts */
  args: string[];
  env: string[];
  /** the guest has a network: a listening socket is offered */
  net: boolean;
  /** where Atomics.waitAsync is missing: rung when stdout has bytes for a waiting reader */
  stdoutBell: MessagePort | null;
  /** likewise for frames from the guest */
  fromGuestBell: MessagePort | null;
  /** the file of a saved container to go on with */
  resume: Blob | null;
  /** of the machine's translator; null: it interprets */
  compiler: CompilerSettings | null;
  /** gets the index in `memory.terminals` of a terminal that was closed */
  terminalClosed: MessagePort | null;
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
  /** Speaks LinkApi at `port`: for pages without shared memory, where the link lives in the same thread. Before `start`. */
  offerLink(port: MessagePort): Promise<void>;
  /** Runs to the end: the promise resolves when the container has exited. `onResumed` gets what the terminal of a saved container showed, and
   *  which others were open. */
  start(options: ContainerStart, onResumed: (screen: Uint8Array[], terminals: number[]) => void): Promise<Ended>;
}

/** What is saved. */
export interface SaveSubject {
  image: { id: string; name: string; title: string };
  /** where the image was: see SaveHeader */
  source: string;
  cols: number;
  rows: number;
  /** which of the other terminals are open */
  terminals: number[];
}

export type SaveOutcome =
  | ({ ok: true } & SaveSummary)
  | { ok: false; code: SaveErrorCode | 'internal'; message: string };

export interface SaveApi {
  /** Saves a running container. `screen` says what its terminal was sent until a position of its output. */
  save(name: string, memory: ContainerMemory, subject: SaveSubject, screen: (position: number) => Promise<Uint8Array<ArrayBuffer>>): Promise<SaveOutcome>;
  /** Takes in the file of a saved container from elsewhere, once all of it was checked. */
  keep(name: string, file: Blob): Promise<SaveOutcome>;
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
  /** What a container must know of a network in this page before it starts, as environment for images that understand it. */
  prepare(mode: Extract<NetMode, { kind: 'browser' }>): Promise<Record<string, string>>;
  /** Connects, and keeps connected until `close`. `bell` as in ContainerStart; `memory` is null where the link has it already. */
  open(
    mode: Exclude<NetMode, { kind: 'none' }>,
    origin: string,
    memory: ContainerMemory | null,
    bell: MessagePort | null,
    onStatus: (status: NetStatus) => void,
  ): Promise<void>;
  /** null before `open`; for pages that can't look into the shared memory */
  stats(): Promise<LinkStats | null>;
  /** Says bye and closes the WebSocket. */
  close(): Promise<void>;
  /** Tries at once instead of waiting for the backoff. */
  retry(): Promise<void>;
  /** Takes one request of port-protocol.ts to a port of the container, to `guestPort` alone if that is said: then it is a stranger's. Closes it where the network is not this page's. */
  servePort(port: MessagePort, guestPort: number | null): Promise<void>;
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
