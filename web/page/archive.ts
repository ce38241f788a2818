/*
 * Archives of container images, chosen or dropped: the relay makes an image of one (shared/converted.ts), a card says how far it is, and
 * the page goes on to that image, as from the list. Whatever runs stays as it is behind the card until then.
 *
 * XMLHttpRequest: fetch says nothing of a body that is on its way.
 */
import { CONVERTED_PATH, type ConvertOffer, type ConvertRefusal } from '../../shared/converted.ts';
import { withImage } from './address.ts';
import { failureParts } from './cards.ts';
import { byId, make, makeButton, setText } from './dom.ts';
import { formatBytes, formatSeconds } from './figures.ts';
import { ProgressCard } from './progress-card.ts';

/** What the first entry of an image's archive is called, whoever wrote it */
const FIRST_NAME = /^(\.\/)?(blobs(\/|$)|(oci-layout|index\.json|manifest\.json|repositories)$|(sha256:)?[0-9a-f]{64}([/.]|$))/;
const TAR_BLOCK = 512;
const TICK_MS = 1000;

/** Whether a tar, compressed by gzip or not, is one of an image. */
export async function isImageArchive(file: File): Promise<boolean> {
  const head = file.slice(0, 65_536);
  const isGzip = (await head.slice(0, 2).text()).startsWith('\x1f');
  const reader = (isGzip ? head.stream().pipeThrough(new DecompressionStream('gzip')) : head.stream()).getReader();
  const { value } = await reader.read().catch(() => ({ value: undefined }));
  return FIRST_NAME.test(firstName(new TextDecoder('latin1').decode(value)));
}

/** The name of the first entry that is neither about the next one (pax, GNU's long names) nor the root itself; '' where it can't be seen. */
function firstName(tar: string): string {
  let hasRoot = false;
  for (let off = 0; off + TAR_BLOCK <= tar.length;) {
    const name = tar.slice(off, off + 100).split('\0', 1)[0];
    const size = parseInt(tar.slice(off + 124, off + 136), 8);
    if (/[xgLK]/.test(tar[off + 156])) off += TAR_BLOCK * (1 + Math.ceil((size || 0) / TAR_BLOCK));
    else if (/^\.\/?$/.test(name) && !hasRoot) {
      hasRoot = true;
      off += TAR_BLOCK;
    } else return name;
  }
  return '';
}

let isOpen = false;

/** Resolves when the card is there, with false when no relay here makes images of archives. `back` gets the focus when the user stays. */
export async function convertArchive(file: File, back: () => void): Promise<boolean> {
  const offer = await fetch(CONVERTED_PATH).then((response) => response.json() as Promise<ConvertOffer>).catch(() => null);
  const maxBytes = offer?.maxBytes;
  if (typeof maxBytes !== 'number') return false;
  if (!isOpen) show(file, maxBytes, back);
  return true;
}

function show(file: File, maxBytes: number, back: () => void): void {
  isOpen = true;
  const veil = make('div', 'veil');
  const root = byId('progress-card', HTMLElement).cloneNode(true) as HTMLElement;
  const cancel = root.querySelector('button')!;
  root.hidden = false;
  root.id = cancel.id = '';
  byId('stage', HTMLElement).append(veil, root);
  const close = (...shown: Element[]): void => {
    isOpen = false;
    for (const one of [veil, ...shown]) one.remove();
    back();
  };

  const card = new ProgressCard(root);
  const say = (text: string): void => setText(byId('announcer', HTMLElement), text);
  card.begin(`Opening ${file.name}`);
  card.showStep(0, 'Upload', 'Convert', 'Start');
  card.showBytes(0, file.size);
  say(`Sending ${file.name}`);
  let step = '';
  let startedMs = 0;
  const showStep = (): void => card.showText(step, formatSeconds(performance.now() - startedMs));
  let ticking: ReturnType<typeof setInterval> | undefined;
  const request = send(file, maxBytes, {
    onSent: (bytes) => card.showBytes(bytes, file.size),
    onStep: (text) => {
      step = text[0].toUpperCase() + text.slice(1);
      if (ticking === undefined) {
        say(`Converting ${file.name}`);
        startedMs = performance.now();
        card.showStep(1);
        ticking = setInterval(showStep, TICK_MS);
      }
      showStep();
    },
    onImage: (name) => {
      card.showStep(2);
      // Whoever comes back finds the page as it was before.
      addEventListener('pagehide', () => close(root), { once: true });
      location.assign(withImage(location.href, name));
    },
    onFailed: ({ error, message }) => {
      clearInterval(ticking);
      const actions = make('div', 'card-actions');
      const failure = make('section', 'card failure-card');
      const isArchive = error === 'RELAY_CONVERT';
      if (!isArchive) {
        actions.append(makeButton('Try again', 'button button-main', () => {
          close(failure);
          show(file, maxBytes, back);
        }));
      }
      actions.append(makeButton('Close', 'button', () => close(failure)));
      const next = isArchive ? 'Give it what docker save, podman save or skopeo wrote of one image for linux/riscv64. On the command line, npx portside convert has more to set.' : '';
      failure.setAttribute('role', 'alert');
      failure.append(...failureParts({ title: `No image could be made of ${file.name}`, what: message, detail: '', next }, actions));
      root.replaceWith(failure);
      actions.querySelector('button')!.focus();
    },
  });
  cancel.addEventListener('click', () => {
    request?.abort();
    clearInterval(ticking);
    close(root);
  });
  cancel.focus();
}

interface SendEvents {
  onSent(bytes: number): void;
  onStep(text: string): void;
  onImage(name: string): void;
  onFailed(refusal: ConvertRefusal): void;
}

/** One of `onImage` and `onFailed` comes in the end, unless it is aborted. */
function send(file: File, maxBytes: number, { onSent, onStep, onImage, onFailed }: SendEvents): XMLHttpRequest | null {
  if (file.size > maxBytes) {
    queueMicrotask(() => onFailed({ error: '', message: `It has ${formatBytes(file.size)}, and this relay takes ${formatBytes(maxBytes)}. On the command line, npx portside convert takes it.` }));
    return null;
  }
  const request = new XMLHttpRequest();
  /** what the last line says, if it is whole */
  const notice = (): Partial<ConvertRefusal & { name: string; step: string }> => {
    try {
      return JSON.parse(request.responseText.trimEnd().split('\n').at(-1)!);
    } catch {
      return {};
    }
  };
  request.open('POST', `${CONVERTED_PATH}?name=${encodeURIComponent(file.name)}`);
  request.upload.addEventListener('progress', ({ loaded }) => onSent(loaded));
  request.upload.addEventListener('load', () => onStep('reading the archive'));
  request.addEventListener('progress', () => {
    const { step } = notice();
    if (step) onStep(step);
  });
  request.addEventListener('load', () => {
    const { name, error, message } = notice();
    if (name !== undefined) onImage(name);
    else onFailed({ error: error ?? '', message: message ?? `The relay broke off (${request.status}).` });
  });
  request.addEventListener('error', () => onFailed({ error: '', message: 'The connection to the relay broke off. Check that it is running.' }));
  request.send(file);
  return request;
}
