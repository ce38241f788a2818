/*
 * The panel of the shared folder: lists it, uploads into it, hands out files and folders, deletes. Loaded when it is first opened, or when something
 * is dropped on the terminal.
 *
 * The list is drawn anew when something has changed, by the container or by us; the focus then goes to the same button of the same name,
 * if it is still there, else to the folder's heading.
 */
import { proxy } from 'comlink';
import type { FileItem } from '../protocol.ts';
import { icon, make, makeButton, setText } from './dom.ts';
import { offerDownload } from './download.ts';
import { formatBytes } from './figures.ts';
import { files, SHARE_PATH } from './files.ts';

/** rows that are shown of a folder */
const MAX_ROWS = 500;

/** A file to upload, by its path in the folder. */
export interface Upload {
  path: string;
  file: File;
}

export class FilesPanel {
  readonly #panel: HTMLElement;
  readonly #path = make('h2', 'files-path');
  readonly #up: HTMLButtonElement;
  readonly #list = make('ul', 'file-list');
  readonly #empty = make('p', '');
  readonly #status = make('p', 'files-status');
  readonly #announcer: HTMLElement;
  readonly #intro = make('p', '');
  /** the image that runs is not ours, and has no such folder */
  readonly #isForeign: () => boolean;
  /** folder that is shown, without a slash at its end; '' for all */
  #folder = '';
  /** button that was pressed once: "Delete" asks before it does it */
  #asked = '';
  #uploading = 0;

  constructor(panel: HTMLElement, announcer: HTMLElement, isForeign: () => boolean) {
    this.#panel = panel;
    this.#announcer = announcer;
    this.#isForeign = isForeign;
    this.#up = makeButton('Up', 'button button-small', () => { this.#show(this.#folder.split('/').slice(0, -1).join('/')); });
    this.#path.tabIndex = -1;
    const chooser = (label: string, folder: boolean): HTMLElement => {
      const input = make('input', '');
      input.type = 'file';
      input.multiple = true;
      input.webkitdirectory = folder;
      input.hidden = true;
      input.addEventListener('change', () => {
        const chosen = [...(input.files ?? [])].map((file) => ({ path: this.#under(folder ? file.webkitRelativePath : file.name), file }));
        input.value = '';
        void this.upload(chosen);
      });
      return make('span', '', input, makeButton(label, 'button', () => input.click()));
    };
    const connect = 'showDirectoryPicker' in globalThis ? [makeButton('Connect a folder of this computer', 'button', () => void this.#connect())] : [];
    const all = makeButton('Download all', 'button', () => void this.#download(this.#folder));
    panel.replaceChildren(
      make('div', 'files-head', this.#path, this.#up), this.#intro,
      this.#list, this.#empty, this.#status, make('div', 'files-actions', chooser('Upload files', false), chooser('Upload a folder', true), ...connect, all),
    );
    void files().watch(proxy(() => { if (panel.matches(':popover-open')) void this.refresh(); }));
  }

  /** Reads the folder and shows it. */
  async refresh(): Promise<void> {
    let items = await files().list(this.#folder);
    if (items === null) {
      // Somebody has removed the folder meanwhile.
      this.#folder = '';
      items = await files().list('') ?? [];
    }
    const focused = this.#list.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['key'] ?? '' : null;
    setText(this.#intro, this.#isForeign()
      ? 'The image that runs was made by container2wasm, and does not see this folder; the others do.'
      : `This folder is ${SHARE_PATH} in the container. Files and folders that are dropped on the terminal come here; it is empty again when this page is closed.`);
    setText(this.#path, this.#folder === '' ? 'Files' : this.#folder);
    this.#up.hidden = this.#folder === '';
    this.#list.replaceChildren(...items.slice(0, MAX_ROWS).map((item) => this.#row(item)));
    this.#list.hidden = items.length === 0;
    this.#empty.hidden = items.length > 0 && items.length <= MAX_ROWS;
    setText(this.#empty, items.length === 0 ? 'Nothing is here yet.' : `… and ${(items.length - MAX_ROWS).toLocaleString('en')} more.`);
    if (focused === null) return;
    const same = [...this.#list.querySelectorAll<HTMLElement>('[data-key]')].find((element) => element.dataset['key'] === focused);
    (same ?? this.#path).focus();
  }

  /** Copies files into the folder and tells how it goes. */
  async upload(uploads: readonly Upload[]): Promise<void> {
    if (uploads.length === 0) return;
    const total = uploads.reduce((sum, { file }) => sum + file.size, 0);
    const what = uploads.length === 1 ? uploads[0].path : `${uploads.length.toLocaleString('en')} files`;
    this.#uploading++;
    this.#tell(`Copying ${what}, ${formatBytes(total)}…`);
    try {
      for (const { path, file } of uploads) await files().put(path, file);
      this.#tell(`${what} ${uploads.length === 1 ? 'is' : 'are'} in ${SHARE_PATH}.`);
    } catch (error) {
      this.#tell(`Not all was copied. ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.#uploading--;
    }
    await this.refresh();
  }

  #show(folder: string): void {
    this.#folder = folder;
    this.#asked = '';
    if (this.#uploading === 0) setText(this.#status, '');
    this.#path.focus();
    void this.refresh();
  }

  #row({ name, kind, bytes }: FileItem): HTMLElement {
    const path = this.#under(name);
    const keyed = <T extends HTMLElement>(element: T, key: string): T => {
      element.dataset['key'] = `${key} ${path}`;
      return element;
    };
    const isFolder = kind === 'folder' || kind === 'connected';
    const label = isFolder ? keyed(makeButton(name, 'file-name file-folder', () => { this.#show(path); }), 'open') : make('span', 'file-name', name);
    if (isFolder) label.append(make('span', 'visually-hidden', kind === 'connected' ? ', folder of this computer' : ', folder'));
    const download = keyed(makeButton('', 'button button-small button-bare', () => void this.#download(path)), 'download');
    download.append(icon('download', 'icon icon-small'), make('span', 'visually-hidden', `Download ${name}`));
    download.title = isFolder ? 'Download as a tar archive' : 'Download';
    const asked = this.#asked === path;
    const verb = kind === 'connected' ? 'Disconnect' : 'Delete';
    const remove = keyed(makeButton(asked ? 'Delete?' : '', 'button button-small button-bare', () => void (kind === 'connected' ? this.#disconnect(name) : this.#remove(path))), 'delete');
    if (!asked) remove.append(icon('close', 'icon icon-small'));
    remove.append(make('span', 'visually-hidden', asked ? ` Press again to delete ${name}` : `${verb} ${name}`));
    remove.title = verb;
    return make('li', 'file-row', label, make('span', 'bytes', kind === 'file' ? formatBytes(bytes) : kind === 'link' ? 'link' : kind === 'connected' ? 'this computer' : ''), download, remove);
  }

  async #remove(path: string): Promise<void> {
    if (this.#asked !== path) {
      this.#asked = path;
      return this.refresh();
    }
    this.#asked = '';
    try {
      await files().remove(path);
      this.#tell(`${path} was deleted.`);
    } catch (error) {
      this.#tell(error instanceof Error ? error.message : String(error));
    }
    await this.refresh();
  }

  async #connect(): Promise<void> {
    const pick = (globalThis as unknown as { showDirectoryPicker(options: object): Promise<FileSystemDirectoryHandle> }).showDirectoryPicker;
    try {
      const handle = await pick.call(globalThis, { mode: 'readwrite' });
      const name = await files().connect(handle);
      this.#folder = '';
      this.#tell(`The folder is ${SHARE_PATH}/${name} in the container.`);
    } catch (error) {
      // The user has closed the dialog.
      if (error instanceof DOMException && error.name === 'AbortError') return;
      this.#tell(error instanceof Error ? error.message : String(error));
    }
    await this.refresh();
  }

  async #disconnect(name: string): Promise<void> {
    await files().disconnect(name);
    this.#tell(`${name} is disconnected; its files stay where they are.`);
    await this.refresh();
  }

  async #download(path: string): Promise<void> {
    try {
      const { blob, isArchive } = await files().read(path);
      const name = path === '' ? 'share' : path.split('/').at(-1)!;
      offerDownload(blob, isArchive ? `${name}.tar` : name);
    } catch (error) {
      this.#tell(error instanceof Error ? error.message : String(error));
    }
  }

  #tell(text: string): void {
    setText(this.#status, text);
    // A live region within a popover is heard only while that is open.
    setText(this.#announcer, text);
  }

  #under(name: string): string {
    return this.#folder === '' ? name : `${this.#folder}/${name}`;
  }

  /** What was dropped, whatever folder is shown: it goes to the top. */
  async dropped(dropped: readonly (FileSystemEntry | File)[]): Promise<void> {
    this.#folder = '';
    this.#panel.showPopover();
    const uploads: Upload[] = [];
    try {
      for (const one of dropped) {
        if (one instanceof File) uploads.push({ path: one.name, file: one });
        else await collect(one, uploads);
      }
    } catch (error) {
      this.#tell(`What was dropped cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    await this.upload(uploads);
  }
}

/** The files of an entry and of all folders in it. */
async function collect(entry: FileSystemEntry, into: Upload[]): Promise<void> {
  const path = entry.fullPath.replace(/^\//, '');
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => { (entry as FileSystemFileEntry).file(resolve, reject); });
    into.push({ path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  // Each call gives some; an empty answer is the end.
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (entries.length === 0) return;
    for (const below of entries) await collect(below, into);
  }
}
