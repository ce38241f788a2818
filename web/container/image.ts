/*
 * From a URL to a compiled container: fetches with progress, compiles while it arrives, and says exactly what is wrong.
 *
 * Theory of operation
 *
 *   store or fetch ─▶ body ─▶ counted: magic, progress, length ─▶ WebAssembly.compileStreaming ─▶ module ─▶ is it a container?
 *                                └─▶ store, for the next time
 *
 * The body is wrapped in a stream of our own, so that compiling goes on during the download whatever Content-Type the
 * server sends, and so that we know which error was the network's: compileStreaming reports them all as its own. The
 * first failure that we saw ourselves wins.
 *
 * How long it is: from the caller (manifest), else from `X-Portside-Bytes`, else from Content-Length if the body is not
 * encoded; else the progress has no total. All are uncompressed sizes. An image that is longer than was said loses its total rather
 * than showing more than 100 %. Whether it is complete is judged by its sections too (wasm-sections.ts): a file that was cut
 * when somebody copied it has the length that the server says.
 */
import { SaveError } from '../../shared/saved/save-error.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import { FOREIGN_IMAGE, IMAGE_SECTION, parseImageInfo } from '../../shared/wasi/image-info.ts';
import type { ImageErrorCode, ImageFailure, ImageFiles, ImageSource, Progress } from '../protocol.ts';
import { BYTES_HEADER } from '../stored-image.ts';
import type { ImageKeeper } from './keeper.ts';
import { WasmSections } from './wasm-sections.ts';

const WASI_MODULE = 'wasi_snapshot_preview1';
/** least time between two reports of progress, in ms */
const PROGRESS_MS = 50;

export class ImageError extends Error {
  readonly code: ImageErrorCode;

  constructor(code: ImageErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'ImageError';
    this.code = code;
  }
}

/** An error as it crosses to the page. */
export function toFailure(error: unknown): ImageFailure {
  if (error instanceof ImageError) return { code: error.code, message: error.message };
  if (error instanceof SaveError) {
    const code = error.code === 'other-image' || error.code === 'out-of-memory' ? error.code : 'bad-save';
    return { code, message: error.message };
  }
  return { code: 'internal', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
}

/** Fetches and compiles; throws ImageError. */
export async function loadImage(
  source: ImageSource, keeper: ImageKeeper, onProgress: (progress: Progress) => void,
): Promise<{ module: WebAssembly.Module; info: ImageInfo }> {
  if (source.files !== undefined) return loadFiles(source.files, onProgress);
  const stored = await keeper.stored();
  if (stored !== null) {
    try {
      return await compile(stored, source.bytes, (progress) => onProgress({ ...progress, stored: true }), null);
    } catch {
      // What lies here is damaged, or this browser lost a part of it: the network has it whole.
      await keeper.forget();
    }
  }
  let response: Response;
  try {
    response = await fetchImage(source.url);
  } catch (error) {
    const last = error instanceof ImageError && error.code === 'unreachable' ? await keeper.anyVersion() : null;
    if (last === null) throw error;
    return compile(last, null, (progress) => onProgress({ ...progress, stored: true }), null);
  }
  const same = await keeper.sameAs(response);
  if (same !== null) {
    void response.body!.cancel().catch(() => {});
    return compile(same, null, (progress) => onProgress({ ...progress, stored: true }), null);
  }
  keeper.begin(response);
  const loaded = await compile(response, source.bytes, onProgress, (bytes) => keeper.keep(bytes));
  keeper.end();
  return loaded;
}

async function loadFiles({ wasm, disk }: ImageFiles, onProgress: (progress: Progress) => void): Promise<{ module: WebAssembly.Module; info: ImageInfo }> {
  const loaded = await compile(new Response(wasm), wasm.size, (progress) => onProgress({ ...progress, stored: true }), null);
  const wanted = loaded.info.disk;
  if (wanted !== null && disk === null) throw new ImageError('no-disk', `${wasm.name} reads its disk from the file ${wanted.file}.`);
  if (wanted !== null && disk!.size !== wanted.bytes) throw new ImageError('no-disk', `${disk!.name} has ${disk!.size} bytes; the disk of ${wasm.name} has ${wanted.bytes}.`);
  return loaded;
}

/** Compiles a body as it arrives; throws ImageError. `onBytes` borrows what has arrived. */
async function compile(
  response: Response, bytes: number | null, onProgress: (progress: Progress) => void, onBytes: ((bytes: Uint8Array) => void) | null,
): Promise<{ module: WebAssembly.Module; info: ImageInfo }> {
  const counted = new CountedBody(response.body!.getReader(), bytes ?? lengthOf(response), onProgress, onBytes);
  let module: WebAssembly.Module;
  try {
    const headers = { 'content-type': 'application/wasm' };
    module = await WebAssembly.compileStreaming(new Response(counted.stream(), { headers }));
  } catch (error) {
    throw counted.failure ?? compileError(error);
  }
  return { module, info: inspect(module) };
}

async function fetchImage(url: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new ImageError('unreachable', `${url} cannot be reached, or its server does not let this page read it (CORS).`, error);
  }
  if (response.status === 404 || response.status === 410) throw new ImageError('not-found', `There is no image at ${url}.`);
  if (!response.ok) throw new ImageError('http', `The server answered ${response.status} for ${url}.`);
  if (response.body === null) throw new ImageError('not-wasm', `${url} is empty.`);
  return response;
}

function lengthOf(response: Response): number | null {
  const plain = response.headers.has('Content-Encoding') ? null : response.headers.get('Content-Length');
  const said = response.headers.get(BYTES_HEADER) ?? plain;
  return said !== null && /^\d{1,15}$/.test(said) ? Number(said) : null;
}

/** The body on its way to the compiler. */
class CountedBody {
  /** what went wrong here, before the compiler could complain of it */
  failure: ImageError | null = null;
  loaded = 0;
  /** null: unknown */
  total: number | null;

  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #onProgress: (progress: Progress) => void;
  readonly #onBytes: ((bytes: Uint8Array) => void) | null;
  readonly #sections = new WasmSections();
  #reportedAtMs = 0;

  constructor(
    reader: ReadableStreamDefaultReader<Uint8Array>, total: number | null, onProgress: (progress: Progress) => void,
    onBytes: ((bytes: Uint8Array) => void) | null,
  ) {
    this.#reader = reader;
    this.#onBytes = onBytes;
    this.total = total;
    this.#onProgress = onProgress;
    this.#report();
  }

  stream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const chunk = await this.#next();
        if (this.failure !== null) {
          void this.#reader.cancel().catch(() => {});
          controller.error(this.failure);
        } else if (chunk === null) {
          controller.close();
        } else {
          controller.enqueue(chunk);
        }
      },
      cancel: () => this.#reader.cancel(),
    });
  }

  /** The next chunk, or null at the end; sets `failure` when there is something wrong. */
  async #next(): Promise<Uint8Array | null> {
    let read: ReadableStreamReadResult<Uint8Array>;
    try {
      read = await this.#reader.read();
    } catch (error) {
      this.failure = new ImageError('cut-off', `The download broke off after ${this.loaded} bytes.`, error);
      return null;
    }
    if (read.done) {
      this.#end();
      return null;
    }
    this.loaded += read.value.length;
    this.#onBytes?.(read.value);
    if (!this.#sections.push(read.value)) this.failure = new ImageError('not-wasm', 'The file is not WebAssembly.');
    if (this.total !== null && this.loaded > this.total) this.total = null;
    if (performance.now() - this.#reportedAtMs >= PROGRESS_MS) this.#report();
    return read.value;
  }

  #end(): void {
    if (this.#sections.tooShort) {
      this.failure = new ImageError('not-wasm', 'The file is too short to be WebAssembly.');
    } else if (this.total !== null && this.loaded < this.total) {
      this.failure = new ImageError('cut-off', `The image ends after ${this.loaded} of ${this.total} bytes.`);
    } else if (!this.#sections.complete) {
      this.failure = new ImageError('cut-off', `The image ends after ${this.loaded} bytes, in the middle of a section.`);
    } else {
      this.#report();
      this.#onProgress({ phase: 'compile' });
    }
  }

  #report(): void {
    this.#reportedAtMs = performance.now();
    this.#onProgress({ phase: 'download', loaded: this.loaded, ...(this.total === null ? {} : { total: this.total }) });
  }
}

function compileError(error: unknown): ImageError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RangeError) return new ImageError('out-of-memory', `This browser cannot hold the image: ${message}`, error);
  return new ImageError('compile', `The image is damaged, or needs what this browser has not: ${message}`, error);
}

/** What the image says of itself; throws ImageError when it is no container. */
export function inspect(module: WebAssembly.Module): ImageInfo {
  const exported = WebAssembly.Module.exports(module);
  const has = (name: string, kind: string): boolean => exported.some((one) => one.name === name && one.kind === kind);
  if (!has('_start', 'function') || !has('memory', 'memory')) {
    throw new ImageError('not-a-container', 'The file is WebAssembly, but no program: it has no _start, or no memory.');
  }
  const foreign = WebAssembly.Module.imports(module).find((one) => one.module !== WASI_MODULE);
  if (foreign !== undefined) {
    throw new ImageError('not-a-container', `The file is WebAssembly, but no container: it wants "${foreign.module}.${foreign.name}".`);
  }
  const [section] = WebAssembly.Module.customSections(module, IMAGE_SECTION);
  return section === undefined ? FOREIGN_IMAGE : parseImageInfo(new Uint8Array(section));
}

/** Makes the instance; throws ImageError. */
export async function instantiate(module: WebAssembly.Module, imports: WebAssembly.ModuleImports): Promise<WebAssembly.Instance> {
  try {
    return await WebAssembly.instantiate(module, { [WASI_MODULE]: imports });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof WebAssembly.LinkError) {
      throw new ImageError('not-a-container', `The image wants what no WASI host has: ${message}`, error);
    }
    throw new ImageError('out-of-memory', `There is not enough memory for this container: ${message}`, error);
  }
}
