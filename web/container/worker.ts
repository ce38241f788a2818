/*
 * The worker that the guest blocks: loads the image, then runs it to its end.
 *
 * Invariant: with shared memory, after `_start` this thread does not return to its event loop before the container has exited. The promise of
 * `start` is therefore the last thing that it ever answers.
 */
import { expose } from 'comlink';
import type { FileSource } from '../../shared/wasi/files.ts';
import { WasiHost } from '../../shared/wasi/imports.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ContainerApi, ContainerStart, Ended, ImageFiles, ImageSource, Loaded, Progress } from '../protocol.ts';
import { BlobSource, httpRanges, RangeSource } from './disk.ts';
import { ImageError, instantiate, loadImage, toFailure } from './image.ts';
import { Bridge, type BridgePort } from '../../shared/memory/bridge.ts';
import { makeLocalMemory, type LocalMemory } from '../../shared/memory/container-memory.ts';
import { localListeners } from '../../shared/memory/local.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { ImageKeeper } from './keeper.ts';
import { eventLoopSuspend } from './suspend.ts';

/** guest name of the directory with the image's disk */
const DISK_DIRECTORY = '/portside';

class ContainerWorker implements ContainerApi {
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

  async start(options: ContainerStart): Promise<Ended> {
    try {
      if (this.#image === null) throw new ImageError('internal', 'start came before load');
      const { keeper, files, module, info } = this.#image;
      this.#image = null;
      const { stdoutBell, fromGuestBell } = options;
      const local = options.bridges === null ? null : bridgedMemory(options.bridges, options.net);
      const host = new WasiHost({
        memory: local ?? options.memory!,
        args: options.args,
        env: options.env,
        net: options.net,
        pairs: !info.ours,
        directories: new Map(info.disk === null ? [] : [[DISK_DIRECTORY, diskFiles(keeper, files, info.disk)]]),
        ...(stdoutBell === null ? {} : { stdoutBell: () => { stdoutBell.postMessage(0); } }),
        ...(fromGuestBell === null ? {} : { fromGuestBell: () => { fromGuestBell.postMessage(0); } }),
      });
      const imports = local === null ? host.imports : host.suspendingImports(eventLoopSuspend(local.control, new Wake(local.control)));
      const instance = await instantiate(module, imports as WebAssembly.ModuleImports) as unknown as Parameters<WasiHost['run']>[0];
      const end = local === null ? host.run(instance) : await host.runSuspending(instance);
      if (end.kind === 'exit') return { ok: true, exitCode: end.code };
      return { ok: false, failure: { code: 'trap', message: `The container's machine crashed: ${end.message}` } };
    } catch (error) {
      return { ok: false, failure: toFailure(error) };
    }
  }
}

/** Rings of this thread's own, joined to those of page and link. */
function bridgedMemory(bridges: { page: MessagePort; link: MessagePort | null }, net: boolean): LocalMemory {
  const memory = makeLocalMemory(net);
  const wake = new Wake(memory.control);
  const page = new Bridge(bridges.page as unknown as BridgePort);
  page.receive('stdin', memory.stdin, wake);
  page.send('stdout', memory.stdout, 'bytes');
  // Room is something that the guest may wait for.
  localListeners(memory.stdout)!.add(() => wake.bump());
  if (bridges.link === null) return memory;
  const link = new Bridge(bridges.link as unknown as BridgePort);
  link.receive('toGuest', memory.toGuest, wake);
  link.send('fromGuest', memory.fromGuest, 'frames');
  link.hear(wake);
  localListeners(memory.fromGuest)!.add(() => wake.bump());
  return memory;
}

/** The disk lies in the image's own directory, or came with it. */
function diskFiles(keeper: ImageKeeper, files: ImageFiles | undefined, disk: { file: string; bytes: number }): Map<string, FileSource> {
  const given = files?.disk ?? null;
  if (given !== null) return new Map([[disk.file, new BlobSource(given)]]);
  const url = keeper.diskUrl(disk.file);
  return new Map([[disk.file, new RangeSource(disk.bytes, httpRanges(url, disk.bytes, (start, bytes) => keeper.keepDisk(url, disk.bytes, start, bytes)))]]);
}

expose(new ContainerWorker());
