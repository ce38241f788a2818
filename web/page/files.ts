/* The page's end of the folder that it shares with its container: the one files worker (web/files/worker.ts), made with the first container. */
import type { Remote } from 'comlink';
import { transfer, wrap } from 'comlink';
import { CHANNEL_BYTES } from '../../shared/wasi/share-channel.ts';
import { FILES_WORKER, type ContainerShare, type FilesApi } from '../protocol.ts';

/** where the container has it */
export const SHARE_PATH = '/mnt/share';

let api: Remote<FilesApi> | null = null;

export function files(): Remote<FilesApi> {
  api ??= wrap<FilesApi>(new Worker(new URL('../container/worker.ts', import.meta.url), { type: 'module', name: FILES_WORKER }));
  return api;
}

/** A new end for a container that starts; the one before has ended. */
export function shareForContainer(): ContainerShare {
  const buffer = new SharedArrayBuffer(CHANNEL_BYTES);
  const { port1, port2 } = new MessageChannel();
  void files().serve(buffer, transfer(port2, [port2]));
  return { name: SHARE_PATH, buffer, bell: port1 };
}
