/*
 * The worker that writes saved containers. Made for one save or one import, and ended after it: only workers get the synchronous
 * handles of the origin private file system, which are the fast way into it.
 *
 * A file is written under another name and renamed when it is complete: what is listed is whole. Room that is missing shows as an error
 * of the handle, as a write that takes less than it was given, or only in the size of the file (Chromium, in private windows).
 */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { checkSave } from '../../shared/saved/resume.ts';
import { SaveError } from '../../shared/saved/save-error.ts';
import type { SaveSink } from '../../shared/saved/save-file.ts';
import { SaveCollector } from '../../shared/saved/save-ring.ts';
import type { SaveApi, SaveOutcome, SaveSubject } from '../protocol.ts';
import { blobSource, PART_EXTENSION, savedFolder, saveFileName } from '../saved-container.ts';

/** What TypeScript's library for pages leaves out of a file's handle, since only workers have it, or since it is young. */
interface OwnFile extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{ write(bytes: Uint8Array, options: { at: number }): number; truncate(bytes: number): void; getSize(): number; flush(): void; close(): void }>;
  move(name: string): Promise<void>;
}

/** of a file from elsewhere, copied at a time */
const COPY_BYTES = 4 << 20;

export class SaveWorker implements SaveApi {
  save(name: string, memory: ContainerMemory, subject: SaveSubject, screen: (position: number) => Promise<Uint8Array<ArrayBuffer>>): Promise<SaveOutcome> {
    return outcome(() => writeFile(name, (sink) => new SaveCollector(memory, { ...subject, screen }, sink).done));
  }

  keep(name: string, file: Blob): Promise<SaveOutcome> {
    return outcome(async () => {
      await checkSave(blobSource(file));
      return writeFile(name, async (sink) => {
        for (let at = 0; at < file.size; at += COPY_BYTES) await sink.write(new Uint8Array(await file.slice(at, at + COPY_BYTES).arrayBuffer()));
        return { bytes: file.size, changedBytes: 0, pausedMs: 0 };
      });
    });
  }
}

/** What `write` puts into its sink becomes the file of `name`, or there is none. */
async function writeFile<T>(name: string, write: (sink: SaveSink) => Promise<T>): Promise<T> {
  const folder = (await savedFolder(true))!;
  const fileName = saveFileName(name);
  const part = await folder.getFileHandle(fileName + PART_EXTENSION, { create: true }) as OwnFile;
  try {
    const handle = await part.createSyncAccessHandle();
    let result: T;
    let written = 0;
    try {
      handle.truncate(0);
      result = await write({
        write: (bytes) => {
          if (handle.write(bytes, { at: written }) !== bytes.length) throw noRoom();
          written += bytes.length;
        },
      });
      handle.flush();
      // A full disk is not always an error of the write that met it.
      if (handle.getSize() !== written) throw noRoom();
    } finally {
      handle.close();
    }
    await folder.removeEntry(fileName).catch(() => undefined);
    await part.move(fileName);
    return result;
  } catch (error) {
    await folder.removeEntry(fileName + PART_EXTENSION).catch(() => undefined);
    throw error instanceof DOMException && error.name === 'QuotaExceededError' ? noRoom() : error;
  }
}

function noRoom(): SaveError {
  return new SaveError('no-room', 'This browser has no room left for it. Delete saved containers, or forget stored images (About), and try again.');
}

async function outcome(work: () => Promise<{ bytes: number; changedBytes: number; pausedMs: number }>): Promise<SaveOutcome> {
  try {
    return { ok: true, ...await work() };
  } catch (error) {
    if (error instanceof SaveError) return { ok: false, code: error.code, message: error.message };
    return { ok: false, code: 'internal', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
  }
}
