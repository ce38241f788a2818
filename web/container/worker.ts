/*
 * The worker that the guest blocks: loads the image, then runs it to its end.
 *
 * Invariant: after `_start` this thread does not return to its event loop before the container has exited. The promise of
 * `start` is therefore the last thing that it ever answers.
 */
import { expose } from 'comlink';
import type { FileSource } from '../../shared/wasi/files.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ContainerApi, ContainerStart, Ended, Loaded, Progress } from '../protocol.ts';
import { httpRanges, RangeSource } from './disk.ts';
import { ImageError, instantiate, loadImage, toFailure } from './image.ts';

/** guest name of the directory with the image's disk */
const DISK_DIRECTORY = '/portside';

class ContainerWorker implements ContainerApi {
  #image: { url: string; module: WebAssembly.Module; info: ImageInfo } | null = null;

  async load(url: string, bytes: number | null, onProgress: (progress: Progress) => void): Promise<Loaded> {
    try {
      this.#image = { url, ...await loadImage(url, bytes, onProgress) };
      return { ok: true, info: this.#image.info };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }

  async start(options: ContainerStart): Promise<Ended> {
    try {
      if (this.#image === null) throw new ImageError('internal', 'start came before load');
      const { url, module, info } = this.#image;
      this.#image = null;
      const { stdoutBell, fromGuestBell } = options;
      const host = new WasiHost({
        memory: options.memory,
        args: options.args,
        env: options.env,
        net: options.net,
        pairs: !info.ours,
        directories: new Map(info.disk === null ? [] : [[DISK_DIRECTORY, diskFiles(url, info.disk)]]),
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
function diskFiles(imageUrl: string, disk: { file: string; bytes: number }): Map<string, FileSource> {
  const url = new URL(disk.file, imageUrl).href;
  return new Map([[disk.file, new RangeSource(disk.bytes, httpRanges(url, disk.bytes))]]);
}

expose(new ContainerWorker());
