/*
 * Both workers of a container, in one script, so that what they share is loaded once: its name says which it is.
 *
 * `link` owns the WebSocket, or the network in its place; its event loop is free while the guest blocks the other one.
 *
 * `container` is the worker that the guest blocks: loads the image, then runs it to its end.
 *
 * Invariant: after `_start` this thread does not return to its event loop before the container has exited. The promise of
 * `start` is therefore the last thing that it ever answers. But for pages without shared memory: then the guest suspends
 * instead of blocking (own-thread.ts).
 */
import { expose } from 'comlink';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { FileSource } from '../../shared/wasi/files.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import { runImage } from '../../shared/wasi/run-image.ts';
import { Link } from '../link/link.ts';
import type { OwnThread } from './own-thread.ts';
import { LINK_WORKER, type ContainerApi, type ContainerPorts, type ContainerStart, type Ended, type ImageFiles, type ImageSource, type Loaded, type Progress } from '../protocol.ts';
import { BlobSource, httpRanges, RangeSource } from './disk.ts';
import { ImageError, instantiate, loadImage, toFailure } from './image.ts';
import { ImageKeeper } from './keeper.ts';

/** guest name of the directory with the image's disk */
const DISK_DIRECTORY = '/portside';

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

  async start(options: ContainerStart): Promise<Ended> {
    try {
      if (this.#image === null) throw new ImageError('internal', 'start came before load');
      const { keeper, files, module, info } = this.#image;
      this.#image = null;
      const own = 'control' in options.memory ? null : await this.#ownThread();
      if (own !== null) own.join(options.memory as ContainerPorts);
      const { stdoutBell, fromGuestBell } = options;
      const end = await runImage({
        memory: own?.memory ?? options.memory as ContainerMemory,
        suspends: own !== null,
        args: options.args,
        env: options.env,
        net: options.net,
        foreign: !info.ours,
        directories: new Map(info.disk === null ? [] : [[DISK_DIRECTORY, diskFiles(keeper, files, info.disk)]]),
        ...(stdoutBell === null ? {} : { stdoutBell: () => { stdoutBell.postMessage(0); } }),
        ...(fromGuestBell === null ? {} : { fromGuestBell: () => { fromGuestBell.postMessage(0); } }),
        ...(own === null ? {} : { stdoutBell: own.stdoutBell, fromGuestBell: own.fromGuestBell }),
      }, (imports) => instantiate(module, imports as WebAssembly.ModuleImports));
      if (end.kind === 'exit') return { ok: true, exitCode: end.code };
      return { ok: false, failure: { code: 'trap', message: `The container's machine crashed: ${end.message}` } };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }
}

/** The disk lies in the image's own directory, or came with it. */
function diskFiles(keeper: ImageKeeper, files: ImageFiles | undefined, disk: { file: string; bytes: number }): Map<string, FileSource> {
  const given = files?.disk ?? null;
  if (given !== null) return new Map([[disk.file, new BlobSource(given)]]);
  const url = keeper.diskUrl(disk.file);
  return new Map([[disk.file, new RangeSource(disk.bytes, httpRanges(url, disk.bytes, (start, bytes) => keeper.keepDisk(url, disk.bytes, start, bytes)))]]);
}

expose(self.name === LINK_WORKER ? new Link() : new ContainerWorker());
