/*
 * Where this browser keeps saved containers: a file each in a folder of the origin private file system, in the format of
 * shared/saved/save-file.ts, so that an export is the file as it lies there. Between the page, which lists them, and the save worker,
 * which writes them.
 */
import type { SaveSource } from '../shared/saved/save-file.ts';

export const SAVE_EXTENSION = '.portside';
const FOLDER = 'saved';
/** of a file that is being written */
export const PART_EXTENSION = '.part';
const NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const EXTENSION_PATTERN = /\.portside$/;

/** The folder; null where there is none and none is to be made, or where this browser has no such file system. */
export async function savedFolder(create: boolean): Promise<FileSystemDirectoryHandle | null> {
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create });
  } catch (error) {
    if (create) throw error;
    return null;
  }
}

export function isSaveName(name: string): boolean {
  return NAME_PATTERN.test(name) && !name.endsWith(SAVE_EXTENSION) && !name.endsWith(PART_EXTENSION);
}

/** What of `text` can be a name. */
export function asSaveName(text: string): string {
  const name = text.replace(EXTENSION_PATTERN, '').replaceAll(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '').slice(0, 48);
  return isSaveName(name) ? name : 'container';
}

export function saveFileName(name: string): string {
  return name + SAVE_EXTENSION;
}

/** Null for files that are no saved containers. */
export function nameOfSave(file: string): string | null {
  const name = file.replace(EXTENSION_PATTERN, '');
  return name !== file && isSaveName(name) ? name : null;
}

export function blobSource(blob: Blob): SaveSource {
  return { bytes: blob.size, read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()) };
}
