/** The chooser: what the server has, and a field for the URL of any image. Choosing is a link, so it can be opened in a new tab. */
import { withImage } from './address.ts';
import { icon, make, makeButton } from './dom.ts';
import { formatBytes } from './figures.ts';
import type { ListedImage } from './images.ts';

export interface ImageChoice {
  /** null while the list is on its way */
  images: ListedImage[] | null;
  /** why there is no list; empty otherwise */
  problem: string;
  currentUrl: string | null;
  /** files of this computer were chosen */
  onFiles(files: File[]): void;
  /** of an image that was made of an archive */
  onRemove(id: string): void;
}

export function fillImagePanel(panel: HTMLElement, choice: ImageChoice): void {
  const list = make('ul', 'panel-images');
  for (const image of choice.images ?? []) {
    const current = image.url === choice.currentUrl;
    const item = make('li', '', imageLink(image, current));
    // The container reads its disk as long as it runs.
    if (image.converted !== null && !current) item.append(removeButton(image.title, () => choice.onRemove(image.converted!)));
    list.append(item);
  }
  const parts: Node[] = [make('h2', '', 'Images')];
  if (choice.problem !== '') parts.push(make('p', '', choice.problem));
  else if (choice.images === null) parts.push(make('p', '', 'Reading the list…'));
  else if (choice.images.length === 0) parts.push(make('p', '', 'This server has no images of its own.'));
  else parts.push(list);
  panel.replaceChildren(...parts, make('h2', '', 'From elsewhere'), urlForm(), fileField(choice.onFiles));
}

function imageLink(image: ListedImage, current: boolean): HTMLAnchorElement {
  const link = make('a', 'panel-image');
  link.href = withImage(location.href, image.name);
  if (current) {
    link.append(icon('check'));
    link.setAttribute('aria-current', 'true');
  }
  const bytes = image.bytes + image.diskBytes;
  link.append(make('strong', '', image.title), make('span', 'bytes', bytes > 0 ? formatBytes(bytes) : ''), make('small', '', image.description));
  return link;
}

function removeButton(title: string, onClick: () => void): HTMLButtonElement {
  const button = makeButton('', 'button button-small button-bare', onClick);
  button.title = `Remove ${title}`;
  button.append(icon('close', 'icon icon-small'), make('span', 'visually-hidden', button.title));
  return button;
}

function fileField(onFiles: (files: File[]) => void): HTMLElement {
  const input = make('input', 'visually-hidden');
  input.type = 'file';
  input.multiple = true;
  input.accept = '.wasm,.disk,.tar,.tgz,.txz,.gz,.xz,.zst';
  input.addEventListener('change', () => onFiles([...input.files ?? []]));
  const label = make('label', 'button file-button', 'Open a file…', input);
  return make('div', 'file-field', label, make('small', '', 'A .wasm with its .disk, if it has one, or a .tar that docker save wrote. Dropping it on the page does the same.'));
}

function urlForm(): HTMLFormElement {
  const input = make('input', 'text-input');
  input.type = 'text';
  input.inputMode = 'url';
  input.id = 'image-url';
  input.required = true;
  input.autocapitalize = 'none';
  input.autocomplete = 'off';
  input.spellcheck = false;
  input.placeholder = 'https://example.org/image.wasm';
  const label = make('label', 'field-label', 'URL of an image');
  label.htmlFor = input.id;
  const open = make('button', 'button', 'Open');
  open.type = 'submit';
  const form = make('form', '', label, make('div', 'url-form', input, open));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = input.value.trim();
    // A name or a bare host would be taken for an image of this server: what was typed here is a URL.
    if (text !== '') location.assign(withImage(location.href, text.includes('/') ? text : `./${text}`));
  });
  return form;
}
