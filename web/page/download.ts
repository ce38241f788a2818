import { make } from './dom.ts';

/** A URL of a file that was offered lives for so long, in ms: the browser reads it after the click. */
const URL_LIFE_MS = 60_000;

/** Saves `blob` under `name`, to the letter: of a file whose type is text or not known, browsers add `.txt` to a name without an extension. */
export function offerDownload(blob: Blob, name: string): void {
  const link = make('a', '');
  link.href = URL.createObjectURL(blob.slice(0, blob.size, 'application/octet-stream'));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), URL_LIFE_MS);
}
