/*
 * The worker that the guest blocks: loads the image, then runs it to its end.
 *
 * Invariant: after `_start` this thread does not return to its event loop before the container has exited. The promise of
 * `start` is therefore the last thing that it ever answers.
 */
import { expose } from 'comlink';
import { loadSave } from '../../shared/saved/resume.ts';
import type { Device, FileSource } from '../../shared/wasi/files.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import { saveDevice } from '../../shared/wasi/save-fd.ts';
import { ttyDevices } from '../../shared/wasi/tty.ts';
import type { ContainerApi, ContainerStart, Ended, ImageSource, Loaded, Progress } from '../protocol.ts';
import { blobSource } from '../saved-container.ts';
import { httpRanges, RangeSource } from './disk.ts';
import { ImageError, instantiate, loadImage, toFailure } from './image.ts';
import { ImageKeeper } from './keeper.ts';

/** guest name of the directory with the image's disk and the host's devices */
const PORTSIDE_DIRECTORY = '/portside';

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

  async start(options: ContainerStart, onResumed: (screen: Uint8Array[], terminals: number[]) => void): Promise<Ended> {
    try {
      if (this.#image === null) throw new ImageError('internal', 'start came before load');
      const { keeper, module, info } = this.#image;
      this.#image = null;
      const { stdoutBell, fromGuestBell, resume } = options;
      const files = new Map<string, FileSource | Device>(info.disk === null ? [] : diskFiles(keeper, info.disk));
      if (info.id !== null) files.set('save', saveDevice(options.memory, module));
      for (const [name, device] of ttyDevices(options.memory, (index) => options.terminalClosed?.postMessage(index))) files.set(name, device);
      const host = new WasiHost({
        memory: options.memory,
        args: options.args,
        env: options.env,
        net: options.net,
        pairs: !info.ours,
        directories: new Map(files.size === 0 ? [] : [[PORTSIDE_DIRECTORY, files]]),
        ...(stdoutBell === null ? {} : { stdoutBell: () => { stdoutBell.postMessage(0); } }),
        ...(fromGuestBell === null ? {} : { fromGuestBell: () => { fromGuestBell.postMessage(0); } }),
      });
      const instance = await instantiate(module, host.imports as WebAssembly.ModuleImports);
      const command = instance as unknown as Parameters<WasiHost['run']>[0];
      // Awaited: what the terminal showed comes before what the container goes on to show.
      if (resume !== null) {
        const { header, screen } = await loadSave(blobSource(resume), info, command.exports.memory);
        await onResumed(screen, header.terminals);
      }
      const end = host.run(command);
      if (end.kind === 'exit') return { ok: true, exitCode: end.code };
      return { ok: false, failure: { code: 'trap', message: `The container's machine crashed: ${end.message}` } };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }
}

/** The disk lies in the image's own directory. */
function diskFiles(keeper: ImageKeeper, disk: { file: string; bytes: number }): [string, FileSource][] {
  const url = keeper.diskUrl(disk.file);
  return [[disk.file, new RangeSource(disk.bytes, httpRanges(url, disk.bytes, (start, bytes) => keeper.keepDisk(url, disk.bytes, start, bytes)))]];
}

expose(new ContainerWorker());
