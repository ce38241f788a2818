/*
 * The thread that the guest blocks: reads and compiles the image, says what it is, and runs it once it is told to.
 * The terminal's counterpart of web/container/worker.ts.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { loadSave } from '../../shared/saved/resume.ts';
import { compilerDevice } from '../../shared/wasi/compiler-fd.ts';
import type { Device, FileSource } from '../../shared/wasi/files.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import { FOREIGN_IMAGE, IMAGE_SECTION, parseImageInfo } from '../../shared/wasi/image-info.ts';
import { runImage } from '../../shared/wasi/run-image.ts';
import { saveDevice } from '../../shared/wasi/save-fd.ts';
import { signalDevice } from '../../shared/wasi/signal-fd.ts';
import { ttyDevices } from '../../shared/wasi/tty.ts';
import type { ContainerData, StartMessage, ThreadMessage } from './container-protocol.ts';
import { readImage } from './image-file.ts';
import { NodeShare } from './node-share.ts';
import { openSave } from './save-on-disk.ts';

const WASI_MODULE = 'wasi_snapshot_preview1';
/** guest name of the directory with the image's disk and the host's devices */
const PORTSIDE_DIRECTORY = '/portside';

const { image } = workerData as ContainerData;

/** A file of the host, read-only; kept open for as long as the thread lives. */
class DiskFile implements FileSource {
  readonly bytes: number;
  readonly #fd: number;

  constructor(path: string, bytes: number) {
    this.#fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = fstatSync(this.#fd);
    const size = stat.isFile() ? stat.size : 0;
    if (size !== bytes) {
      closeSync(this.#fd);
      throw new Error(`${path} has ${size} bytes, and this image wants ${bytes}: they do not belong together`);
    }
    this.bytes = bytes;
  }

  readAt(offset: number, into: Uint8Array): boolean {
    try {
      for (let done = 0; done < into.length;) {
        const len = readSync(this.#fd, into, done, into.length - done, offset + done);
        if (len === 0) return false;
        done += len;
      }
      return true;
    } catch {
      return false;
    }
  }
}

function post(message: ThreadMessage): void {
  parentPort!.postMessage(message);
}

/** What the image says of itself; throws an Error when it is no container. */
function inspect(module: WebAssembly.Module): ImageInfo {
  const exported = WebAssembly.Module.exports(module).map((one) => `${one.kind} ${one.name}`);
  if (!exported.includes('function _start') || !exported.includes('memory memory')) {
    throw new Error(`${image} is WebAssembly, but no program: it has no _start, or no memory`);
  }
  const foreign = WebAssembly.Module.imports(module).find((one) => one.module !== WASI_MODULE);
  if (foreign !== undefined) throw new Error(`${image} is WebAssembly, but no container: it wants "${foreign.module}.${foreign.name}"`);
  const [section] = WebAssembly.Module.customSections(module, IMAGE_SECTION);
  return section === undefined ? FOREIGN_IMAGE : parseImageInfo(new Uint8Array(section));
}

async function start(module: WebAssembly.Module, info: ImageInfo, disk: FileSource | null, message: StartMessage): Promise<void> {
  const files = new Map<string, FileSource | Device>(disk === null ? [] : [[info.disk!.file, disk]]);
  if (info.id !== null) files.set('save', saveDevice(message.memory, module as unknown as Parameters<typeof saveDevice>[1]));
  const compiler = message.compiler === null ? null : compilerDevice(module as unknown as Parameters<typeof compilerDevice>[0], message.compiler);
  if (compiler !== null) files.set('compiler', compiler);
  if (info.pipes) files.set('signal', signalDevice(message.memory));
  for (const [name, device] of ttyDevices(message.memory, (index) => post({ type: 'terminal-closed', index }))) files.set(name, device);
  const shares = message.directories.map(({ host, guest, readOnly }) => ({ name: guest, share: new NodeShare(host), readOnly }));
  const directories = new Map(files.size === 0 ? [] : [[PORTSIDE_DIRECTORY, files]]);
  try {
    const end = await runImage({ ...message, foreign: !info.ours, directories, shares }, async (imports) => {
      const instance = await WebAssembly.instantiate(module, { [WASI_MODULE]: imports as WebAssembly.ModuleImports });
      if (message.resume !== null) await resume(message.resume, info, instance.exports['memory'] as Parameters<typeof loadSave>[2]);
      return instance;
    });
    post({ type: 'ended', end });
  } catch (error) {
    if (!(error instanceof NotResumed)) throw error;
    post({ type: 'not-resumed', message: error.message });
  }
}

class NotResumed extends Error {}

async function resume(path: string, info: ImageInfo, memory: Parameters<typeof loadSave>[2]): Promise<void> {
  try {
    const source = await openSave(path);
    try {
      const { screen } = await loadSave(source, info, memory);
      post({ type: 'resumed', screen });
    } finally {
      await source.close();
    }
  } catch (error) {
    throw new NotResumed((error as Error).message, { cause: error });
  }
}

/** Reads and compiles; throws an Error with a sentence for the user. */
async function compile(): Promise<WebAssembly.Module> {
  const bytes = await readImage(image);
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw new Error(`${image} is damaged or incomplete: ${(error as Error).message}`, { cause: error });
  }
}

async function main(): Promise<void> {
  const module = await compile();
  const info = inspect(module);
  const disk = info.disk === null ? null : new DiskFile(join(dirname(image), info.disk.file), info.disk.bytes);
  parentPort!.once('message', (message: StartMessage) => { start(module, info, disk, message).catch(refuse); });
  post({ type: 'loaded', info });
}

function refuse(error: unknown): void {
  post({ type: 'refused', message: error instanceof Error ? error.message : String(error) });
}

main().catch(refuse);
