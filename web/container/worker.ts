/*
 * The workers of a container, in one script, so that what they share is loaded once: its name says which it is.
 *
 * `link` owns the WebSocket, or the network in its place; its event loop is free while the guest blocks the other one.
 *
 * `files` (web/files) and `save` (web/store) bring what they are; what they are told meanwhile waits.
 *
 * `container` is the worker that the guest blocks: loads the image, then runs it to its end.
 *
 * Invariant: after `_start` this thread does not return to its event loop before the container has exited. The promise of
 * `start` is therefore the last thing that it ever answers. But for pages without shared memory: then the guest suspends
 * instead of blocking (own-thread.ts).
 */
import { expose } from 'comlink';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { loadSave } from '../../shared/saved/resume.ts';
import { compilerDevice } from '../../shared/wasi/compiler-fd.ts';
import type { Device, FileSource } from '../../shared/wasi/files.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import { runImage } from '../../shared/wasi/run-image.ts';
import { saveDevice } from '../../shared/wasi/save-fd.ts';
import { RemoteShare } from '../../shared/wasi/share-channel.ts';
import { ttyDevices } from '../../shared/wasi/tty.ts';
import { Link } from '../link/link.ts';
import type { OwnThread } from './own-thread.ts';
import { FILES_WORKER, LINK_WORKER, SAVE_WORKER, type ContainerApi, type ContainerPorts, type ContainerStart, type Ended, type ImageFiles, type ImageSource, type Loaded, type Progress } from '../protocol.ts';
import { blobSource } from '../saved-container.ts';
import { BlobSource, httpRanges, RangeSource } from './disk.ts';
import { ImageError, instantiate, loadImage, toFailure } from './image.ts';
import { ImageKeeper } from './keeper.ts';

/** guest name of the directory with the image's disk and the host's devices */
const PORTSIDE_DIRECTORY = '/portside';

class ContainerWorker implements ContainerApi {
  #own: OwnThread | null = null;
  #image: { keeper: ImageKeeper; files: ImageFiles | undefined; module: WebAssembly.Module; info: ImageInfo } | null = null;

  async load(source: ImageSource, store: MessagePort | null, onProgress: (progress: Progress) => void): Promise<Loaded> {
    try {
      const keeper = new ImageKeeper(source.url, source.sha256, store);
      this.#image = { keeper, files: source.files, ...await loadImage(source, keeper, onProgress) };
      return { ok: true, info: this.#image.info };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }

  async offerLink(port: MessagePort): Promise<void> {
    (await this.#ownThread()).offerLink(port);
  }

  async #ownThread(): Promise<OwnThread> {
    const { OwnThread } = await import('./own-thread.ts');
    return this.#own ??= new OwnThread();
  }

  async start(options: ContainerStart, onResumed: (screen: Uint8Array[], terminals: number[]) => void): Promise<Ended> {
    try {
      if (this.#image === null) throw new ImageError('internal', 'start came before load');
      const { keeper, files, module, info } = this.#image;
      this.#image = null;
      const own = 'control' in options.memory ? null : await this.#ownThread();
      if (own !== null) own.join(options.memory as ContainerPorts);
      const memory = own?.memory ?? options.memory as ContainerMemory;
      const { stdoutBell, fromGuestBell, resume, share } = options;
      const inPortside = new Map<string, FileSource | Device>(info.disk === null ? [] : diskFiles(keeper, files, info.disk));
      // Whoever takes the memory blocks the guest, and lives in another thread.
      if (info.id !== null && own === null) inPortside.set('save', saveDevice(memory, module));
      const compiler = options.compiler === null ? null : compilerDevice(module, options.compiler);
      if (compiler !== null) inPortside.set('compiler', compiler);
      for (const [name, device] of ttyDevices(memory, (index) => options.terminalClosed?.postMessage(index))) inPortside.set(name, device);
      const end = await runImage({
        memory,
        suspends: own !== null,
        args: options.args,
        env: options.env,
        net: options.net,
        foreign: !info.ours,
        directories: new Map(inPortside.size === 0 ? [] : [[PORTSIDE_DIRECTORY, inPortside]]),
        shares: share === null ? [] : [{ name: share.name, readOnly: false, share: new RemoteShare(share.buffer, () => { share.bell.postMessage(0); }) }],
        ...(stdoutBell === null ? {} : { stdoutBell: () => { stdoutBell.postMessage(0); } }),
        ...(fromGuestBell === null ? {} : { fromGuestBell: () => { fromGuestBell.postMessage(0); } }),
        ...(own === null ? {} : { stdoutBell: own.stdoutBell, fromGuestBell: own.fromGuestBell }),
      }, async (imports) => {
        const instance = await instantiate(module, imports as WebAssembly.ModuleImports);
        if (resume === null) return instance;
        const { header, screen } = await loadSave(blobSource(resume), info, instance.exports['memory'] as Parameters<typeof loadSave>[2]);
        // Awaited: what the terminal showed comes before what the container goes on to show.
        await onResumed(screen, header.terminals);
        return instance;
      });
      if (end.kind === 'exit') return { ok: true, exitCode: end.code };
      return { ok: false, failure: { code: 'trap', message: `The container's machine crashed: ${end.message}` } };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }
}

/** The disk lies in the image's own directory, or came with it. */
function diskFiles(keeper: ImageKeeper, files: ImageFiles | undefined, disk: { file: string; bytes: number }): [string, FileSource][] {
  const given = files?.disk ?? null;
  if (given !== null) return [[disk.file, new BlobSource(given)]];
  const url = keeper.diskUrl(disk.file);
  return [[disk.file, new RangeSource(disk.bytes, httpRanges(url, disk.bytes, (start, bytes) => keeper.keepDisk(url, disk.bytes, start, bytes)))]];
}

async function exposeLater(load: () => Promise<object>): Promise<void> {
  const early: MessageEvent[] = [];
  const keep = (event: MessageEvent): void => void early.push(event);
  self.addEventListener('message', keep);
  expose(await load());
  self.removeEventListener('message', keep);
  for (const { data } of early) self.dispatchEvent(new MessageEvent('message', { data: data as unknown }));
}

switch (self.name) {
  case LINK_WORKER:
    expose(new Link());
    break;
  case FILES_WORKER:
    void exposeLater(async () => new (await import('../files/worker.ts')).FilesWorker());
    break;
  case SAVE_WORKER:
    void exposeLater(async () => new (await import('../store/save-worker.ts')).SaveWorker());
    break;
  default:
    expose(new ContainerWorker());
}
