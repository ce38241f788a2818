/** The panel of the container: keeps it as it is, and lists what is kept. */
import { formatBytes, formatSeconds } from './figures.ts';
import { withResume } from './address.ts';
import type { ContainerControl } from './container-control.ts';
import { make, makeButton, makeFieldForm, makeTextField, setText } from './dom.ts';
import { exportSave, importSave, listSaves, removeSave, type SavedContainer } from './saves.ts';
import { SAVE_EXTENSION } from '../saved-container.ts';

/** What the bar has buttons for, where it is wide enough. */
export interface ContainerActions {
  /** null when there can be no other one */
  openTerminal: (() => void) | null;
  restart(): void;
}

export function fillSavedPanel(panel: HTMLElement, control: ContainerControl, { openTerminal, restart }: ContainerActions): void {
  const status = make('p', '');
  status.setAttribute('role', 'status');
  const list = make('ul', 'saved-list');
  const heading = make('h2', '', 'Kept in this browser');
  const refresh = async (): Promise<void> => {
    const saves = await listSaves();
    heading.hidden = saves.length === 0;
    list.replaceChildren(...saves.map((save) => savedItem(save, () => void removeSave(save.name).then(refresh))));
  };
  void refresh();
  const action = (text: string, act: (() => void) | null): HTMLElement[] => (act === null ? [] : [makeButton(text, 'button', () => {
    panel.hidePopover();
    act();
  })]);
  const actions = make('div', 'panel-actions', ...action('Another terminal', openTerminal), ...action('Restart', restart));
  panel.replaceChildren(make('h2', '', 'This container'), actions, keepForm(control, status, refresh), status, heading, list, make('h2', '', 'From a file'), importField(status));
}

function keepForm(control: ContainerControl, status: HTMLElement, refresh: () => Promise<void>): HTMLElement {
  const running = control.state === 'running';
  if (!running) return make('p', '', 'A container that runs can be kept here, with all that is in its memory and on its disk.');
  if (control.container?.image?.id === null) return make('p', '', 'Containers of this image cannot be kept: it was made by container2wasm, or by an earlier version of Portside.');
  const name = makeTextField({ id: 'save-name', value: control.container?.saveName ?? '', maxLength: 48, required: true, pattern: '[A-Za-z0-9][A-Za-z0-9._\\-]*' });
  const keep = make('button', 'button button-main', 'Keep this container');
  return makeFieldForm('Keep it as it is now, memory and disk, under the name', name, keep, () => {
    keep.disabled = true;
    setText(status, 'Keeping it…');
    control.save(name.value).then(({ bytes, pausedMs }) => {
      setText(status, `Kept: ${formatBytes(bytes)}. The container stood still for ${formatSeconds(pausedMs)}.`);
      // Asked for when there is something to lose; without it, all is kept until the browser needs the room.
      void navigator.storage.persist().catch(() => false);
      return refresh();
    }).catch((error: unknown) => setText(status, sentence(error))).finally(() => { keep.disabled = false; });
  });
}

function savedItem(save: SavedContainer, remove: () => void): HTMLElement {
  const { name, header, file } = save;
  const resume = make('a', 'button', 'Resume');
  resume.href = withResume(location.href, name);
  const actions = make('span', 'saved-actions', resume, makeButton('Export', 'button', () => exportSave(save)), makeButton('Delete', 'button', remove));
  for (const action of actions.children) action.setAttribute('aria-label', `${action.textContent} ${name}`);
  return make('li', '', make('strong', '', name), make('small', '', `${header.image.title || header.image.name} · ${ago(header.savedAtMs, Date.now())} · ${formatBytes(file.size)}`), actions);
}

function importField(status: HTMLElement): HTMLElement {
  const input = make('input', '');
  input.type = 'file';
  input.id = 'save-import';
  input.accept = SAVE_EXTENSION;
  const label = make('label', 'field-label', 'Import a container that was exported, and go on with it. Files from strangers are programs of strangers.');
  label.htmlFor = input.id;
  input.addEventListener('change', () => {
    const [file] = input.files ?? [];
    if (file !== undefined) void takeFile(file, (text) => setText(status, text));
  });
  return make('div', '', label, input);
}

/** Keeps a file from elsewhere and goes on with it; `report` hears how that goes. */
export async function takeFile(file: File, report: (text: string) => void): Promise<void> {
  report(`Checking ${file.name}…`);
  try {
    location.assign(withResume(location.href, await importSave(file)));
  } catch (error) {
    report(sentence(error));
  }
}

export function ago(thenMs: number, nowMs: number): string {
  const minutes = Math.floor((nowMs - thenMs) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(thenMs).toLocaleDateString();
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
