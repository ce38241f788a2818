/** The saved containers of this browser, as the page sees them: listed, found, taken in, handed out, deleted. */
import { wrap } from 'comlink';
import type { SaveHeader } from '../../shared/saved/save-file.ts';
import { SaveError } from '../../shared/saved/save-error.ts';
import { SAVE_WORKER, type SaveApi, type SaveOutcome } from '../protocol.ts';
import { asSaveName, blobSource, nameOfSave, savedFolder, saveFileName } from '../saved-container.ts';
import { offerDownload } from './download.ts';


export interface SavedContainer {
  name: string;
  header: SaveHeader;
  file: File;
}

/** The newest first; files that cannot be read are left out. */
export async function listSaves(): Promise<SavedContainer[]> {
  const saves: SavedContainer[] = [];
  for await (const file of (await savedFolder(false))?.keys() ?? []) {
    const name = nameOfSave(file);
    const found = name === null ? null : await findSave(name);
    if (found !== null) saves.push(found);
  }
  return saves.sort((a, b) => b.header.savedAtMs - a.header.savedAtMs);
}

/** Null when there is none of that name that can be read. */
export async function findSave(name: string): Promise<SavedContainer | null> {
  try {
    const file = await (await (await savedFolder(false))!.getFileHandle(saveFileName(name))).getFile();
    // Most visits have no saved container, and need nothing of this.
    const { SaveReader } = await import('../../shared/saved/save-file.ts');
    return { name, header: (await SaveReader.open(blobSource(file))).header, file };
  } catch {
    return null;
  }
}

export async function removeSave(name: string): Promise<void> {
  await (await savedFolder(false))?.removeEntry(saveFileName(name)).catch(() => undefined);
}

/** Takes a file from elsewhere in, under its own name or one like it. Resolves with the name; rejects with SaveError. */
export async function importSave(file: File): Promise<string> {
  const wanted = asSaveName(file.name);
  const taken = new Set((await listSaves()).map(({ name }) => name));
  let name = wanted;
  for (let i = 2; taken.has(name); i++) name = `${wanted}-${i}`;
  await withSaveWorker((worker) => worker.keep(name, file), null);
  return name;
}

export function exportSave({ name, file }: SavedContainer): void {
  offerDownload(file, saveFileName(name));
}

/** Runs `work` in a worker of its own, which ends with it, or when `signal` says that there is nothing more to save. Rejects with SaveError. */
export async function withSaveWorker(work: (worker: SaveApi) => Promise<SaveOutcome>, signal: AbortSignal | null): Promise<Extract<SaveOutcome, { ok: true }>> {
  const worker = new Worker(new URL('../container/worker.ts', import.meta.url), { type: 'module', name: SAVE_WORKER });
  try {
    const outcome = await Promise.race([work(wrap<SaveApi>(worker) as unknown as SaveApi), failed(worker), aborted(signal)]);
    if (outcome.ok) return outcome;
    throw new SaveError(outcome.code === 'internal' ? 'damaged' : outcome.code, outcome.message);
  } finally {
    worker.terminate();
  }
}

function failed(worker: Worker): Promise<SaveOutcome> {
  return new Promise((resolve) => {
    worker.addEventListener('error', (event) => resolve({ ok: false, code: 'internal', message: `The worker that saves failed: ${event.message}` }));
  });
}

function aborted(signal: AbortSignal | null): Promise<SaveOutcome> {
  return new Promise((resolve) => {
    const end = (): void => resolve({ ok: false, code: 'ended', message: 'The container ended before it was saved.' });
    if (signal?.aborted) end();
    signal?.addEventListener('abort', end);
  });
}
