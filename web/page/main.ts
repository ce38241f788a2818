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
import { addressFailure, foreignSaveFailure, imageFailure, noSaveFailure, noWebAssemblyFailure } from './failures.ts';
import { imageOfSave, parseAddress, type Address } from './address.ts';
import { Cards } from './cards.ts';
import { chooseImage, type ChosenImage } from './choose-image.ts';
import { ContainerControl } from './container-control.ts';
import { byId, setText } from './dom.ts';
import { setUpDrop } from './drop.ts';
import { archiveAmong, imageAmong, notAnImage } from './image-files.ts';
import { fillImagePanel } from './image-panel.ts';
import type { FilesPanel } from './files-panel.ts';
import { shareForContainer } from './files.ts';
import { fetchImages, type ListedImage } from './images.ts';
import { isolate, register } from './isolation.ts';
import { followVisualViewport, setUpKeyBar } from './key-bar.ts';
import { setUpPanel } from './panel.ts';
import type { Preview } from './preview.ts';
import { settleNet } from './relay-probe.ts';
import { NetworkApi } from './network-api.ts';
import { PortsPanel } from './ports-panel.ts';
import { ContainerRunner, waitingMode } from './runner.ts';
import { findSave, listSaves, type SavedContainer } from './saves.ts';
import { installScripting } from './scripting.ts';
import { fillSettingsPanel } from './settings-panel.ts';
import { loadSettings, saveSettings, type Settings } from './settings.ts';
import { StatusBar } from './status-bar.ts';
import type { ImageFiles } from '../protocol.ts';
import type { PageState } from './status-words.ts';
import { Tabs, type SharedEvents } from './tabs.ts';
import { TerminalView } from './terminal.ts';
import { SAVE_EXTENSION } from '../saved-container.ts';
import { CONVERTED_PATH } from '../../shared/converted.ts';

/** Rows that the banner of an end covers. */
const BANNER_ROWS = 5;

const settings = loadSettings();
const address = parseAddress(location.href);
const imageName = byId('image-name', HTMLElement);
const imagePanel = byId('image-panel', HTMLElement);
/** null until the server has told */
let images: ListedImage[] | null = null;
let imagesProblem = '';
/** made when a port is shown for the first time */
let preview: Promise<Preview> | null = null;

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
  onNet: () => {
    statusBar.showNet();
    ports.show();
    if (control.net.state === 'up') void ports.refresh();
  },
  onPorts: () => ports.show(),
  onTerminals: (numbers) => { for (const number of numbers) tabs.open(number); },
  onOutput: (bytes, done) => terminal.output(bytes, done),
  wishedMemoryMiB: () => settings.memoryMiB,
  onBegin: () => {
    terminal.reset();
    return terminal.size();
  },
  share: shareForContainer,
}, (options) => new ContainerRunner(options));

const tabs = new Tabs(control, settings, shared, terminal);
const networkApi = new NetworkApi((path, body) => control.callNetwork(path, body));
const ports = new PortsPanel({ listening: () => control.ports, net: () => control.net, api: networkApi });
const statusBar = new StatusBar({
  api: networkApi,
  state: () => control.state,
  exitCode: () => control.exitCode,
  net: () => control.net,
  mode: () => control.spec?.net ?? { kind: 'none' },
  stats: () => control.stats(),
  retryNet: () => control.retryNet(),
  showPort,
  startCapture: () => control.startCapture(),
  captureStats: () => control.captureStats(),
  stopCapture: () => control.stopCapture(),
});

installScripting(control, terminal, tabs, restart, showPort);
setUpPage();
void begin();

/** From the address to a container; each way in which that can't be ends in a card. */
async function begin(): Promise<void> {
  setText(imageName, 'No image');
  if ('parameter' in address) return control.fail(addressFailure(address));
  if (typeof WebAssembly !== 'object') return control.fail(noWebAssemblyFailure());
  const notIsolated = await isolate();
  if (notIsolated === 'reloading') return;
  if (notIsolated !== null && waitingMode() === null) return control.fail(imageFailure({ code: 'not-isolated', message: notIsolated }, location.href));
  setText(imageName, '…');
  cards.showLoading('Starting');
  const saved = address.resume === undefined ? null : await findSave(address.resume);
  if (address.resume !== undefined && saved === null) return control.fail(noSaveFailure(address.resume));
  const wanted = address.image ?? (saved === null ? null : imageOfSave(saved.header.source, location.href));
  if (saved !== null && wanted === null) return control.fail(foreignSaveFailure(saved.name, saved.header.source));
  const net = settleNet(address.net, location.origin);
  // An image from elsewhere needs no list: the chooser gets it when it comes.
  if (wanted !== null && 'url' in wanted) void readImages();
  const image = await chooseImage(wanted, async () => await readImages() ?? Promise.reject(new Error(imagesProblem)));
  if (!('failure' in image)) return start({ ...address, net: await net }, image, { resume: saved ?? await offerSaved(address.argv, image) });
  setText(imageName, wanted !== null && 'name' in wanted ? wanted.name : 'No image');
  control.fail(image.failure);
}

/** Where nothing else was asked for, a saved container of the same image is offered first. */
async function offerSaved(argv: string[], image: ChosenImage): Promise<SavedContainer | null> {
  if (argv.length > 0) return null;
  showTitle(image);
  const found = (await listSaves()).find(({ header }) => header.source === image.source) ?? null;
  if (found === null) return null;
  const { askToResume } = await import('./resume-card.ts');
  cards.showNothing();
  return await askToResume(found) === 'fresh' ? null : found;
}

function start({ argv, net, memoryMiB }: Pick<Address, 'argv' | 'net' | 'memoryMiB'>, image: ChosenImage, more: { imageFiles?: ImageFiles; resume: SavedContainer | null }): void {
  showTitle(image);
  const { imageFiles, resume } = more;
  control.begin({ imageUrl: image.url, imageBytes: image.bytes, imageSha256: image.sha256, imageFiles, argv, net, memoryMiB, source: image.source, ...(resume === null ? {} : { resume }) });
  terminal.focus();
}

function showTitle(image: ChosenImage): void {
  setText(imageName, image.title);
  document.title = `${image.title} – Portside`;
}

/** Files that were chosen or dropped: an image takes the place of whatever runs. */
function startFiles(files: File[]): boolean {
  const image = imageAmong(files);
  if (image === null) return false;
  imagePanel.hidePopover();
  const command = 'parameter' in address ? { argv: [], net: { kind: 'relay' } as const } : { argv: [], net: address.net };
  start(command, { url: `file:///${encodeURIComponent(image.wasm.name)}`, bytes: image.wasm.size, sha256: null, title: image.wasm.name, source: '' }, { imageFiles: image, resume: null });
  return true;
}

/** An archive of a container image goes to the relay, where that makes images. Another tar that was dropped is for the container, and so are several files. */
function startArchive(files: File[], dropped: (FileSystemEntry | File)[] | null = null): boolean {
  const file = archiveAmong(files);
  if (file === undefined || (dropped !== null && (dropped.length > 1 || byId('files-panel', HTMLElement).matches(':popover-open')))) return false;
  void import('./archive.ts').then(async ({ isImageArchive, convertArchive }) => {
    if (dropped !== null && !(await isImageArchive(file)) && shareFiles(files, dropped)) return;
    imagePanel.hidePopover();
    if (!(await convertArchive(file, () => tabs.active.focus()))) refuseFiles([file]);
  });
  return true;
}

async function removeImage(id: string): Promise<void> {
  await fetch(`${CONVERTED_PATH}/${id}`, { method: 'DELETE' }).catch(() => undefined);
  await readImages();
  // Its button is gone, and the keyboard was there.
  imagePanel.querySelector('a')?.focus();
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
      if (!('parameter' in address) && address.port !== null && control.spec?.net.kind === 'browser') showPort(address.port);
      return cards.showNothing();
    case 'exited': return showEnd(`The container exited with code ${control.exitCode}`);
    case 'stopped': return control.failure === null ? showEnd('The container was stopped') : cards.showFailure(control.failure);
    case 'failed': return control.failure === null ? undefined : cards.showFailure(control.failure);
  }
}

/** Shows a port of the container beside the terminal. */
function showPort(port: number): void {
  byId('net-panel', HTMLElement).hidePopover();
  preview ??= import('./preview.ts').then(({ Preview }) => new Preview(byId('stage', HTMLElement), (wanted) => control.openPort(wanted), () => tabs.active.focus()));
  void preview.then((view) => view.show(port));
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
  fillImagePanel(imagePanel, { images, problem: imagesProblem, currentUrl: control.spec?.imageUrl ?? null, onFiles: (files) => void (startFiles(files) || startArchive(files) || refuseFiles(files)), onRemove: (id) => void removeImage(id) });
}

function refuseFiles(files: File[]): boolean {
  cards.showHint(notAnImage(files));
  return true;
}

function setUpPage(): void {
  const imageButton = byId('image-button', HTMLButtonElement);
  setUpPanel(imagePanel, imageButton, () => {
    // Nobody has asked yet, or the server did not answer then.
    if (images === null) void readImages();
    showImages();
  }, backToTerminal);
  setUpPanel(byId('net-panel', HTMLElement), byId('net-chip', HTMLButtonElement), () => statusBar.fillPanel(), backToTerminal);
  setUpPanel(byId('ports-panel', HTMLElement), byId('ports-button', HTMLButtonElement), () => {
    ports.fill();
    void ports.refresh();
  }, backToTerminal);
  const aboutPanel = byId('about-panel', HTMLElement);
  setUpPanel(aboutPanel, byId('about-button', HTMLButtonElement), () => fillAboutPanel(aboutPanel, {
    image: () => control.image,
    stats: () => control.stats(),
    relayOrigin: () => (control.spec?.net.kind === 'relay' ? control.spec.net.origin ?? location.origin : null),
  }), backToTerminal);
  const containerPanel = byId('container-panel', HTMLElement);
  setUpPanel(containerPanel, byId('container-chip', HTMLButtonElement), () => void import('./saved-panel.ts').then(({ fillSavedPanel }) => fillSavedPanel(containerPanel, control, { openTerminal: tabs.canOpen ? () => tabs.open() : null, restart })), backToTerminal);
  setUpPanel(byId('files-panel', HTMLElement), byId('files-button', HTMLButtonElement), () => void filesPanel().then((panel) => panel.refresh()), backToTerminal);
  byId('files-button', HTMLButtonElement).hidden = !hasFiles();
  const settingsPanel = byId('settings-panel', HTMLElement);
  setUpPanel(settingsPanel, byId('settings-button', HTMLButtonElement), () => fillSettingsPanel(settingsPanel, settings, applySettings), backToTerminal);

  byId('terminal-button', HTMLButtonElement).addEventListener('click', () => { tabs.open(); });
  byId('restart-button', HTMLButtonElement).addEventListener('click', restart);
  byId('stop-button', HTMLButtonElement).addEventListener('click', () => control.stop());
  byId('bar', HTMLElement).addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && document.querySelector('[popover]:popover-open') === null) tabs.active.focus();
  });
  // Wherever the focus is, unless it is on something that Enter means something to.
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.defaultPrevented || event.isComposing || !cards.endShown) return;
    const { target } = event;
    if (target instanceof Element && (target.closest('button, a, input, select, textarea, [popover]') !== null || target.closest('#terminal') !== null)) return;
    event.preventDefault();
    restart();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => tabs.applyTheme());
  followVisualViewport();
  setUpDrop([startSaved, startFiles, startArchive, shareFiles, refuseFiles]);
}

/** The folder's other end is in another thread, which takes shared memory. */
function hasFiles(): boolean {
  return waitingMode() === 'block';
}

/** Whatever is dropped and is nothing else goes to the container. */
function shareFiles(_files: File[], dropped: (FileSystemEntry | File)[]): boolean {
  if (!hasFiles() || dropped.length === 0 || control.image?.ours !== true) return false;
  void filesPanel().then((panel) => panel.dropped(dropped));
  return true;
}

/** Loaded when somebody wants it. */
let loadedFilesPanel: Promise<FilesPanel> | null = null;
function filesPanel(): Promise<FilesPanel> {
  loadedFilesPanel ??= import('./files-panel.ts').then((module) => new module.FilesPanel(byId('files-panel', HTMLElement), byId('announcer', HTMLElement), () => control.image?.ours === false));
  return loadedFilesPanel;
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

/** The file of a saved container that was dropped is kept, and goes on. */
function startSaved(files: File[]): boolean {
  const file = files.find(({ name }) => name.endsWith(SAVE_EXTENSION));
  if (file === undefined) return false;
  byId('container-panel', HTMLElement).showPopover();
  void import('./saved-panel.ts').then(({ takeFile }) => takeFile(file, (text) => {
    const status = document.querySelector('#container-panel [role=status]');
    if (status !== null) setText(status, text);
  }));
  return true;
}
