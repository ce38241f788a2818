/**
 * Files that are dropped on the page. The first taker that wants them has them; while a file hovers over the page a frame says what
 * may be dropped. The browser's own answer, to leave the page for the file, would end the container.
 */
import { byId } from './dom.ts';

/** Returns whether it took them. `dropped` are entries where the browser has them: a folder is nothing else. */
export type Taker = (files: File[], dropped: (FileSystemEntry | File)[]) => boolean;

export function setUpDrop(takers: readonly Taker[]): void {
  const hint = byId('drop-hint', HTMLElement);
  const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') === true;
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer!.dropEffect = 'copy';
    hint.hidden = false;
  });
  addEventListener('dragleave', (event) => {
    // Between two elements of the page it leaves for something; only out of the window for nothing.
    if (event.relatedTarget === null) hint.hidden = true;
  });
  addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hint.hidden = true;
    // Both lists are empty as soon as this handler has returned.
    const files = [...event.dataTransfer!.files];
    const dropped = [...event.dataTransfer!.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile()).filter((one) => one !== null);
    takers.some((take) => take(files, dropped));
  });
}
