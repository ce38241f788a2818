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
import { addressFailure, foreignSaveFailure, imageFailure, noImagesFailure, noListFailure, noSaveFailure, noWebAssemblyFailure, unknownImageFailure } from './failures.ts';
import { imageOfSave, parseAddress, type Address } from './address.ts';
import { Cards } from './cards.ts';
import { ContainerControl } from './container-control.ts';
import { byId, setText } from './dom.ts';
import { fillImagePanel } from './image-panel.ts';
import { defaultImage, fetchImages, type ListedImage } from './images.ts';
import { isolate, register } from './isolation.ts';
import { followVisualViewport, setUpKeyBar } from './key-bar.ts';
import { setUpPanel } from './panel.ts';
import { ContainerRunner } from './runner.ts';
import { findSave, listSaves, type SavedContainer } from './saves.ts';
import { installScripting } from './scripting.ts';
import { fillSettingsPanel } from './settings-panel.ts';
import { loadSettings, saveSettings, type Settings } from './settings.ts';
import { StatusBar } from './status-bar.ts';
import type { PageState } from './status-words.ts';
import { Tabs, type SharedEvents } from './tabs.ts';
import { TerminalView } from './terminal.ts';
import { SAVE_EXTENSION } from '../saved-container.ts';

/** Rows that the banner of an end covers. */
const BANNER_ROWS = 5;

const settings = loadSettings();
const address = parseAddress(location.href);
const imageName = byId('image-name', HTMLElement);
const imagePanel = byId('image-panel', HTMLElement);
/** null until the server has told */
let images: ListedImage[] | null = null;
let imagesProblem = '';

const showCtrl = setUpKeyBar(byId('keys', HTMLElement), () => tabs.active);
const shared: SharedEvents = {
  onLeave: () => byId('image-button', HTMLButtonElement).focus(),
  onCtrl: showCtrl,
  onShortcut: (code) => {
    if (code === 'Enter' && tabs.canOpen) return tabs.open() !== null;
    if ((code !== 'ArrowLeft' && code !== 'ArrowRight') || tabs.numbers().length === 1) return false;
    tabs.turn(code === 'ArrowRight' ? 1 : -1);
    return true;
  },
};
const terminal = new TerminalView(byId('terminal', HTMLElement), settings, {
  onInput: (data) => {
    if (cards.endShown) {
      if (data === '\r') restart();
      return;
    }
    control.write(data);
  },
  onSize: (cols, rows) => control.resize(cols, rows),
  ...shared,
});

const cards = new Cards({
  restart,
  cancel: () => control.stop(),
  chooseImage: () => imagePanel.showPopover(),
  startWithout: () => {
    const url = new URL(location.href);
    const { code } = control.failure!;
    const unwanted = 'parameter' in address ? address.parameter : code === 'arguments' ? 'cmd' : 'resume';
    url.searchParams.delete(unwanted);
    // The saved container said which image it was.
    if (unwanted === 'resume' && control.spec?.source) url.searchParams.set('image', control.spec.source);
    location.assign(url);
  },
});

const control = new ContainerControl({
  onState: showState,
  onProgress: (progress) => cards.showProgress(progress),
  onNet: () => statusBar.showNet(),
  onTerminals: (numbers) => { for (const number of numbers) tabs.open(number); },
  onOutput: (bytes, done) => terminal.output(bytes, done),
  onBegin: () => {
    terminal.reset();
    return terminal.size();
  },
}, (options) => new ContainerRunner(options));

const tabs = new Tabs(control, settings, shared, terminal);

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

installScripting(control, terminal, tabs, restart);
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
  const saved = address.resume === undefined ? null : await findSave(address.resume);
  if (address.resume !== undefined && saved === null) return control.fail(noSaveFailure(address.resume));
  const wanted = address.image ?? (saved === null ? null : imageOfSave(saved.header.source, location.href));
  if (saved !== null && wanted === null) return control.fail(foreignSaveFailure(saved.name, saved.header.source));
  // An image from elsewhere needs no list: the chooser gets it when it comes.
  if (wanted !== null && 'url' in wanted) {
    void readImages();
    return startOrResume(address, { url: wanted.url, bytes: 0, sha256: null, title: lastSegment(wanted.url) }, wanted.url, saved);
  }
  const list = await readImages();
  if (list === null) return control.fail(noListFailure(imagesProblem));
  const image = wanted === null ? defaultImage(list) : list.find((entry) => entry.name === wanted.name);
  if (image !== undefined) return startOrResume(address, image, image.name, saved);
  setText(imageName, wanted?.name ?? 'No image');
  control.fail(wanted === null ? noImagesFailure() : unknownImageFailure(wanted.name, list.map((entry) => entry.name)));
}

/** Where nothing else was asked for, a saved container of the same image is offered first. `source` is what `?image=` says of the image. */
async function startOrResume({ argv, net }: Address, image: Pick<ListedImage, 'url' | 'bytes' | 'sha256' | 'title'>, source: string, saved: SavedContainer | null): Promise<void> {
  setText(imageName, image.title);
  document.title = `${image.title} – Portside`;
  let resume = saved;
  if (resume === null && argv.length === 0) {
    resume = (await listSaves()).find(({ header }) => header.source === source) ?? null;
    if (resume !== null) {
      const { askToResume } = await import('./resume-card.ts');
      cards.showNothing();
      if (await askToResume(resume) === 'fresh') resume = null;
    }
  }
  control.begin({ imageUrl: image.url, imageBytes: image.bytes, imageSha256: image.sha256, argv, net, source, ...(resume === null ? {} : { resume }) });
  terminal.focus();
}

function restart(): void {
  if (control.restart()) terminal.focus();
  else void begin();
}

function showState(state: PageState): void {
  statusBar.showState();
  tabs.refresh();
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
  const containerPanel = byId('container-panel', HTMLElement);
  setUpPanel(containerPanel, byId('container-chip', HTMLButtonElement), () => void import('./saved-panel.ts').then(({ fillSavedPanel }) => fillSavedPanel(containerPanel, control, tabs.canOpen ? () => tabs.open() : null)), backToTerminal);
  takeDroppedSaves();
  const settingsPanel = byId('settings-panel', HTMLElement);
  setUpPanel(settingsPanel, byId('settings-button', HTMLButtonElement), () => fillSettingsPanel(settingsPanel, settings, applySettings), backToTerminal);

  byId('terminal-button', HTMLButtonElement).addEventListener('click', () => { tabs.open(); });
  byId('restart-button', HTMLButtonElement).addEventListener('click', restart);
  byId('stop-button', HTMLButtonElement).addEventListener('click', () => control.stop());
  byId('bar', HTMLElement).addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && document.querySelector('[popover]:popover-open') === null) tabs.active.focus();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => tabs.applyTheme());
  followVisualViewport();
}

/** After a panel has closed, unless a click elsewhere took the focus where it wanted it. */
function backToTerminal(): void {
  if (control.failure === null && (document.activeElement === null || document.activeElement === document.body)) tabs.active.focus();
}

function applySettings(changed: Settings): void {
  saveSettings(changed);
  if (changed.theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = changed.theme;
  tabs.applySettings(changed);
}

/** The file of a saved container that is dropped on the page is kept, and goes on. */
function takeDroppedSaves(): void {
  const hasFile = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') === true;
  addEventListener('dragover', (event) => {
    if (hasFile(event)) event.preventDefault();
  });
  addEventListener('drop', (event) => {
    const file = [...event.dataTransfer?.files ?? []].find(({ name }) => name.endsWith(SAVE_EXTENSION));
    // Even a file that is not ours must not replace the page, and the container with it.
    if (hasFile(event)) event.preventDefault();
    if (file === undefined) return;
    byId('container-panel', HTMLElement).showPopover();
    void import('./saved-panel.ts').then(({ takeFile }) => takeFile(file, (text) => {
      const status = document.querySelector('#container-panel [role=status]');
      if (status !== null) setText(status, text);
    }));
  });
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
