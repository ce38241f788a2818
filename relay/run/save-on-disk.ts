/** A saved container as a file of this computer. */
import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm } from 'node:fs/promises';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { SaveError } from '../../shared/saved/save-error.ts';
import type { SaveSource } from '../../shared/saved/save-file.ts';
import type { SaveDetails, SaveSummary } from '../../shared/saved/save-ring.ts';
import { SaveCollector } from '../../shared/saved/save-ring.ts';

/** Opens `path` for reading; the caller closes it. Rejects with RELAY_BAD_SAVE. */
export async function openSave(path: string): Promise<SaveSource & { close(): Promise<void> }> {
  let file: FileHandle;
  try {
    // No FIFO is waited for.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw new RelayError('RELAY_BAD_SAVE', `${path} cannot be read: ${(error as Error).message}`);
  }
  const stat = await file.stat();
  if (!stat.isFile()) {
    await file.close();
    throw new RelayError('RELAY_BAD_SAVE', `${path} is no file`);
  }
  const { size } = stat;
  return {
    bytes: size,
    read: async (start, end) => {
      const bytes = new Uint8Array(end - start);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
      if (bytesRead < bytes.length) throw new SaveError('damaged', `${path} became shorter while it was read.`);
      return bytes;
    },
    close: () => file.close(),
  };
}

/** Saves a running container to `path`: all of it, or nothing. `ended` settles when the container has ended. Rejects with RELAY_NOT_SAVED. */
export async function saveTo(path: string, memory: ContainerMemory, details: SaveDetails, ended: Promise<unknown>): Promise<SaveSummary> {
  const temporary = `${path}.${process.pid}`;
  try {
    const file = await open(temporary, 'w');
    try {
      const collector = new SaveCollector(memory, details, { write: async (bytes) => { await file.writeFile(bytes); } });
      const onEnd = (): void => collector.cancel(new SaveError('ended', 'The container ended before it was saved.'));
      ended.then(onEnd, onEnd);
      const summary = await collector.done;
      await file.sync();
      await file.close();
      await rename(temporary, path);
      return summary;
    } finally {
      await file.close().catch(() => undefined);
    }
  } catch (error) {
    await rm(temporary, { force: true });
    throw new RelayError('RELAY_NOT_SAVED', `the container was not saved to ${path}: ${(error as Error).message}`);
  }
}
