/** Files that are dragged over the terminal may be dropped there. */

/** `onDrop` gets what was dropped, as an entry where the browser has one: a folder is nothing else. The stage says so while something is over it. */
export function setUpDrop(stage: HTMLElement, onDrop: (dropped: (FileSystemEntry | File)[]) => void): void {
  const over = (event: DragEvent, is: boolean): boolean => {
    const files = event.dataTransfer?.types.includes('Files') === true;
    stage.classList.toggle('drop-target', files && is);
    return files;
  };
  stage.addEventListener('dragover', (event) => {
    if (!over(event, true)) return;
    event.preventDefault();
    event.dataTransfer!.dropEffect = 'copy';
  });
  stage.addEventListener('dragleave', (event) => {
    if (!(event.relatedTarget instanceof Node && stage.contains(event.relatedTarget))) over(event, false);
  });
  stage.addEventListener('drop', (event) => {
    if (!over(event, false)) return;
    event.preventDefault();
    // The list is empty as soon as this handler has returned.
    const dropped = [...event.dataTransfer!.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile()).filter((one) => one !== null);
    if (dropped.length > 0) onDrop(dropped);
  });
}
