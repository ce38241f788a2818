/*
 * The worker that the guest blocks: loads the image, then runs it to its end.
 *
 * Invariant: after `_start` this thread does not return to its event loop before the container has exited. The promise of
 * `start` is therefore the last thing that it ever answers.
 */
import { expose } from 'comlink';
import type { FileSource } from '../../shared/wasi/files.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import { RemoteShare } from '../../shared/wasi/share-channel.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ContainerApi, ContainerStart, Ended, ImageSource, Loaded, Progress } from '../protocol.ts';
import { httpRanges, RangeSource } from './disk.ts';
import { ImageError, instantiate, loadImage, toFailure } from './image.ts';
import { ImageKeeper } from './keeper.ts';

/** guest name of the directory with the image's disk */
const DISK_DIRECTORY = '/portside';

class ContainerWorker implements ContainerApi {
  #image: { keeper: ImageKeeper; module: WebAssembly.Module; info: ImageInfo } | null = null;

  async load(source: ImageSource, store: MessagePort | null, onProgress: (progress: Progress) => void): Promise<Loaded> {
    try {
      const keeper = new ImageKeeper(source.url, source.sha256, store);
      this.#image = { keeper, ...await loadImage(source, keeper, onProgress) };
      return { ok: true, info: this.#image.info };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }

  async start(options: ContainerStart): Promise<Ended> {
    try {
      if (this.#image === null) throw new ImageError('internal', 'start came before load');
      const { keeper, module, info } = this.#image;
      this.#image = null;
      const { stdoutBell, fromGuestBell, share } = options;
      const host = new WasiHost({
        memory: options.memory,
        args: options.args,
        env: options.env,
        net: options.net,
        pairs: !info.ours,
        directories: new Map(info.disk === null ? [] : [[DISK_DIRECTORY, diskFiles(keeper, info.disk)]]),
        shares: share === null ? [] : [{ name: share.name, readOnly: false, share: new RemoteShare(share.buffer, () => { share.bell.postMessage(0); }) }],
        ...(stdoutBell === null ? {} : { stdoutBell: () => { stdoutBell.postMessage(0); } }),
        ...(fromGuestBell === null ? {} : { fromGuestBell: () => { fromGuestBell.postMessage(0); } }),
      });
      const instance = await instantiate(module, host.imports as WebAssembly.ModuleImports);
      const end = host.run(instance as unknown as Parameters<WasiHost['run']>[0]);
      if (end.kind === 'exit') return { ok: true, exitCode: end.code };
      return { ok: false, failure: { code: 'trap', message: `The container's machine crashed: ${end.message}` } };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }
}

/** The disk lies in the image's own directory. */
function diskFiles(keeper: ImageKeeper, disk: { file: string; bytes: number }): Map<string, FileSource> {
  const url = keeper.diskUrl(disk.file);
  return new Map([[disk.file, new RangeSource(disk.bytes, httpRanges(url, disk.bytes, (start, bytes) => keeper.keepDisk(url, disk.bytes, start, bytes)))]]);
}

expose(new ContainerWorker());
