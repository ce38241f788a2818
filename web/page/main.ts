/*
 * The page: reads its address, starts the container, and ties terminal, bar, cards and panels to it. Everything is built here.
 *
 *   address ─▶ image (list of the server, or a URL) ─▶ ContainerControl ─▶ ContainerRunner
 *   ContainerControl ─▶ onState, onProgress, onNet ─▶ Cards, StatusBar;  onOutput ─▶ TerminalView
 *   TerminalView ─▶ onInput, onSize ─▶ ContainerControl
 *
 * Nothing here waits for the container: all of it is callbacks.
 */
import { fillAboutPanel } from './about-panel.ts';
import { addressFailure, imageFailure, noImagesFailure, noListFailure, noWebAssemblyFailure, unknownImageFailure } from './failures.ts';
import { parseAddress, type Address } from './address.ts';
import { Cards } from './cards.ts';
import { ContainerControl } from './container-control.ts';
import { byId, setText } from './dom.ts';
import { fillImagePanel } from './image-panel.ts';
import { defaultImage, fetchImages, type ListedImage } from './images.ts';
import { isolate, register } from './isolation.ts';
import { followVisualViewport, setUpKeyBar } from './key-bar.ts';
import { setUpPanel } from './panel.ts';
import { ContainerRunner } from './runner.ts';
import { installScripting } from './scripting.ts';
import { fillSettingsPanel } from './settings-panel.ts';
import { loadSettings, saveSettings, type Settings } from './settings.ts';
import { StatusBar } from './status-bar.ts';
import type { PageState } from './status-words.ts';
import { TerminalView } from './terminal.ts';

/** Rows that the banner of an end covers. */
const BANNER_ROWS = 5;

const settings = loadSettings();
const address = parseAddress(location.href);
const imageName = byId('image-name', HTMLElement);
const imagePanel = byId('image-panel', HTMLElement);
/** null until the server has told */
let images: ListedImage[] | null = null;
let imagesProblem = '';

const showCtrl = setUpKeyBar(byId('keys', HTMLElement), () => terminal);
const terminal = new TerminalView(byId('terminal', HTMLElement), settings, {
  onInput: (data) => {
    if (cards.endShown) {
      if (data === '\r') restart();
      return;
    }
    control.write(data);
  },
  onSize: (cols, rows) => control.resize(cols, rows),
  onLeave: () => byId('image-button', HTMLButtonElement).focus(),
  onCtrl: showCtrl,
});

const cards = new Cards({
  restart,
  cancel: () => control.stop(),
  chooseImage: () => imagePanel.showPopover(),
  startWithout: () => {
    const url = new URL(location.href);
    url.searchParams.delete('parameter' in address ? address.parameter : 'cmd');
    location.assign(url);
  },
});

const control = new ContainerControl({
  onState: showState,
  onProgress: (progress) => cards.showProgress(progress),
  onNet: () => statusBar.showNet(),
  onOutput: (bytes, done) => terminal.output(bytes, done),
  onBegin: () => {
    terminal.reset();
    return terminal.size();
  },
}, (options) => new ContainerRunner(options));

const statusBar = new StatusBar({
  state: () => control.state,
  exitCode: () => control.exitCode,
  net: () => control.net,
  mode: () => ('parameter' in address ? { kind: 'none' } : address.net),
  stats: () => control.stats(),
  retryNet: () => control.retryNet(),
  startCapture: () => control.startCapture(),
  captureStats: () => control.captureStats(),
  stopCapture: () => control.stopCapture(),
});

installScripting(control, terminal, restart);
setUpPage();
void begin();

/** From the address to a container; each way in which that can't be ends in a card. */
async function begin(): Promise<void> {
  setText(imageName, 'No image');
  if ('parameter' in address) return control.fail(addressFailure(address));
  if (typeof WebAssembly !== 'object') return control.fail(noWebAssemblyFailure());
  const notIsolated = await isolate();
  if (notIsolated === 'reloading') return;
  if (notIsolated !== null) return control.fail(imageFailure({ code: 'not-isolated', message: notIsolated }, location.href));
  setText(imageName, '…');
  cards.showLoading('Starting');
  // An image from elsewhere needs no list: the chooser gets it when it comes.
  if (address.image !== null && 'url' in address.image) {
    void readImages();
    return start(address, { url: address.image.url, bytes: 0, sha256: null, title: lastSegment(address.image.url) });
  }
  const list = await readImages();
  if (list === null) return control.fail(noListFailure(imagesProblem));
  const wanted = address.image;
  const image = wanted === null ? defaultImage(list) : list.find((entry) => entry.name === wanted.name);
  if (image !== undefined) return start(address, image);
  setText(imageName, wanted?.name ?? 'No image');
  control.fail(wanted === null ? noImagesFailure() : unknownImageFailure(wanted.name, list.map((entry) => entry.name)));
}

function start({ argv, net, memoryMiB }: Address, image: Pick<ListedImage, 'url' | 'bytes' | 'sha256' | 'title'>): void {
  setText(imageName, image.title);
  document.title = `${image.title} – Portside`;
  control.begin({ imageUrl: image.url, imageBytes: image.bytes, imageSha256: image.sha256, argv, net, memoryMiB });
  terminal.focus();
}

function restart(): void {
  if (control.restart()) terminal.focus();
  else void begin();
}

function showState(state: PageState): void {
  statusBar.showState();
  switch (state) {
    case 'loading': return cards.showLoading(`Starting ${imageName.textContent}`);
    case 'starting': return cards.showProgress({ phase: 'start' });
    case 'running':
      // For a visit without the server; not before, so that nothing is in the way of a start.
      void register();
      return cards.showNothing();
    case 'exited': return showEnd(`The container exited with code ${control.exitCode}`);
    case 'stopped': return control.failure === null ? showEnd('The container was stopped') : cards.showFailure(control.failure);
    case 'failed': return control.failure === null ? undefined : cards.showFailure(control.failure);
  }
}

function showEnd(text: string): void {
  terminal.makeRoom(BANNER_ROWS);
  cards.showEnd(text);
}

/** Null when there is no list; `imagesProblem` says why. */
async function readImages(): Promise<ListedImage[] | null> {
  imagesProblem = '';
  try {
    images = await fetchImages();
    return images;
  } catch (error) {
    imagesProblem = error instanceof Error ? error.message : String(error);
    return null;
  } finally {
    if (imagePanel.matches(':popover-open')) showImages();
  }
}

function showImages(): void {
  fillImagePanel(imagePanel, { images, problem: imagesProblem, currentUrl: control.spec?.imageUrl ?? null });
}

function setUpPage(): void {
  const imageButton = byId('image-button', HTMLButtonElement);
  setUpPanel(imagePanel, imageButton, () => {
    // Nobody has asked yet, or the server did not answer then.
    if (images === null) void readImages();
    showImages();
  }, backToTerminal);
  setUpPanel(byId('net-panel', HTMLElement), byId('net-chip', HTMLButtonElement), () => statusBar.fillPanel(), backToTerminal);
  const aboutPanel = byId('about-panel', HTMLElement);
  setUpPanel(aboutPanel, byId('about-button', HTMLButtonElement), () => fillAboutPanel(aboutPanel, {
    image: () => control.image,
    stats: () => control.stats(),
    relayOrigin: () => ('parameter' in address || address.net.kind !== 'relay' ? null : address.net.origin ?? location.origin),
  }), backToTerminal);
  const settingsPanel = byId('settings-panel', HTMLElement);
  setUpPanel(settingsPanel, byId('settings-button', HTMLButtonElement), () => fillSettingsPanel(settingsPanel, settings, applySettings), backToTerminal);

  byId('restart-button', HTMLButtonElement).addEventListener('click', restart);
  byId('stop-button', HTMLButtonElement).addEventListener('click', () => control.stop());
  byId('bar', HTMLElement).addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && document.querySelector('[popover]:popover-open') === null) terminal.focus();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => terminal.applyTheme());
  followVisualViewport();
}

/** After a panel has closed, unless a click elsewhere took the focus where it wanted it. */
function backToTerminal(): void {
  if (control.failure === null && (document.activeElement === null || document.activeElement === document.body)) terminal.focus();
}

function applySettings(changed: Settings): void {
  saveSettings(changed);
  if (changed.theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = changed.theme;
  terminal.applySettings(changed);
}

function lastSegment(url: string): string {
  const { pathname, host } = new URL(url);
  const name = pathname.split('/').at(-1) ?? '';
  try {
    return name === '' ? host : decodeURIComponent(name);
  } catch {
    return name;
  }
}
