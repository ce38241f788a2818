/*
 * The page: reads its address, starts the container, and ties terminal, bar, cards and panels to it. Everything is built here.
 *
 *   address ─▶ image (list of the server, or a URL) ─▶ ContainerControl ─▶ Container of portside/web
 *   ContainerControl ─▶ onState, onImage, onProgress, onNet ─▶ Cards, StatusBar
 *   Container ◀─ keys, size ─ <portside-terminal>, one for each tab ◀─ output ─ Container
 *
 * Nothing here waits for the container: all of it is callbacks. Of containers and terminals the page uses what ../embed/portside.ts offers to anybody.
 */
import { Container, PortsideTerminal } from '../embed/portside.ts';
import { fillAboutPanel } from './about-panel.ts';
import { addressFailure, imageFailure, noWebAssemblyFailure } from './failures.ts';
import { parseAddress } from './address.ts';
import { Cards } from './cards.ts';
import { chooseImage, type ChosenImage } from './choose-image.ts';
import { ContainerControl, type ContainerSpec } from './container-control.ts';
import { byId, setText } from './dom.ts';
import { setUpDrop } from './drop.ts';
import { archiveAmong, imageAmong, notAnImage } from './image-files.ts';
import { fillImagePanel } from './image-panel.ts';
import type { FilesPanel } from './files-panel.ts';
import { fetchImages, type ListedImage } from './images.ts';
import { isolate, register } from './isolation.ts';
import { followVisualViewport, setUpKeyBar } from './key-bar.ts';
import { setUpPanel } from './panel.ts';
import type { PortCard } from './port-card.ts';
import { settleNet } from './relay-probe.ts';
import { NetworkApi } from './network-api.ts';
import { PortsPanel } from './ports-panel.ts';
import { waitingMode } from './channels.ts';
import { listSaves, type SavedContainer } from './saves.ts';
import { installScripting } from './scripting.ts';
import { fillSettingsPanel } from './settings-panel.ts';
import { loadSettings, saveSettings, type Settings } from './settings.ts';
import { StatusBar } from './status-bar.ts';
import type { NetMode } from '../protocol.ts';
import type { PageState } from './status-words.ts';
import { Tabs } from './tabs.ts';
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
let imageTitle = '';
/** made when a port is shown for the first time */
let portCard: Promise<PortCard> | null = null;

const terminal = byId('terminal', PortsideTerminal);

const cards = new Cards({
  restart,
  cancel: () => control.stop(),
  chooseImage: () => imagePanel.showPopover(),
  startWithout: () => {
    const url = new URL(location.href);
    const { code } = control.failure!;
    const unwanted = 'parameter' in address ? address.parameter : code === 'arguments' ? 'cmd' : code === 'memory' ? 'memory' : 'resume';
    url.searchParams.delete(unwanted);
    // The saved container said which image it was.
    const source = control.container?.chosen?.source;
    if (unwanted === 'resume' && source) url.searchParams.set('image', source);
    location.assign(url);
  },
});

const control = new ContainerControl({
  onState: showState,
  onImage: (image) => {
    showTitle(image);
    cards.showLoading(`Starting ${image.title}`);
  },
  onProgress: (progress) => cards.showProgress(progress),
  onNet: () => {
    statusBar.showNet();
    ports.show();
    if (control.net.state === 'up') void ports.refresh();
  },
  onPorts: () => ports.show(),
  onTerminals: (numbers) => { for (const number of numbers) tabs.open(number); },
}, (options) => new Container({ ...options, terminal, wishedMemoryMiB: settings.memoryMiB, share: true }));

const tabs = new Tabs(control, settings, terminal, showDocumentTitle);
const networkApi = new NetworkApi(async (path, body) => await control.container?.network.call(path, body) ?? null);
const mode = (): NetMode => control.container?.netMode ?? { kind: 'none' };
const ports = new PortsPanel({ listening: () => control.ports, net: () => control.net, mode, api: networkApi, showPort });
const statusBar = new StatusBar({
  api: networkApi,
  state: () => control.state,
  exitCode: () => control.exitCode,
  net: () => control.net,
  mode,
  stats: () => control.container?.stats() ?? null,
  retryNet: () => control.container?.retryNet(),
  startCapture: async () => control.container?.startCapture(),
  captureStats: async () => await control.container?.captureStats() ?? null,
  stopCapture: async () => await control.container?.stopCapture() ?? null,
});

installScripting(control, terminal, tabs, restart, (port) => showPort(port));
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
  const { image: wanted, argv, memoryMiB: memory, translate, resume } = address;
  const net = settleNet(address.net, location.origin);
  // A saved container says itself which image it needs.
  if (wanted === null && resume !== undefined) return start({ cmd: argv, net: await net, memory, translate, resume });
  // An image from elsewhere needs no list: the chooser gets it when it comes.
  if (wanted !== null && 'url' in wanted) void readImages();
  const image = await chooseImage(wanted, async () => await readImages() ?? Promise.reject(new Error(imagesProblem)));
  if (!('failure' in image)) return start({ image, cmd: argv, net: await net, memory, translate, resume: resume ?? await offerSaved(argv, image) });
  setText(imageName, wanted !== null && 'name' in wanted ? wanted.name : 'No image');
  control.fail(image.failure);
}

/** Where nothing else was asked for, a saved container of the same image is offered first. */
async function offerSaved(argv: string[], image: ChosenImage): Promise<SavedContainer | undefined> {
  if (argv.length > 0) return undefined;
  showTitle(image);
  const found = (await listSaves()).find(({ header }) => header.source === image.source);
  if (found === undefined) return undefined;
  const { askToResume } = await import('./resume-card.ts');
  cards.showNothing();
  return await askToResume(found) === 'fresh' ? undefined : found;
}

function start(spec: ContainerSpec): void {
  control.begin(spec);
  terminal.focus();
}

function showTitle(image: ChosenImage): void {
  setText(imageName, image.title);
  imageTitle = image.title;
  showDocumentTitle();
}

function showDocumentTitle(): void {
  document.title = [tabs.title, imageTitle, 'Portside'].filter(Boolean).join(' – ');
}

/** Files that were chosen or dropped: an image takes the place of whatever runs. */
function startFiles(files: File[]): boolean {
  const image = imageAmong(files);
  if (image === null) return false;
  imagePanel.hidePopover();
  start('parameter' in address ? { image } : { image, net: address.net });
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
      if (!('parameter' in address) && address.port !== null && control.container?.netMode?.kind === 'browser') showPort(address.port);
      return cards.showNothing();
    case 'exited': return showEnd(`The container exited with code ${control.exitCode}`);
    case 'stopped': return control.failure === null ? showEnd('The container was stopped') : cards.showFailure(control.failure);
    case 'failed': return control.failure === null ? undefined : cards.showFailure(control.failure);
  }
}

/** Shows a port of the container beside the terminal: where the relay opened it, or of this page's network. */
function showPort(port: number, url: string | null = null): void {
  portCard ??= import('./port-card.ts').then(({ PortCard }) => new PortCard(byId('stage', HTMLElement), () => tabs.active.focus()));
  void portCard.then((card) => card.show({ port, url, open: (wanted) => control.openPort(wanted), openFrame: (wanted) => control.openFrame(wanted) }));
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
  fillImagePanel(imagePanel, { images, problem: imagesProblem, currentUrl: control.container?.chosen?.url ?? null, onFiles: (files) => void (startFiles(files) || startArchive(files) || refuseFiles(files)), onRemove: (id) => void removeImage(id) });
}

function refuseFiles(files: File[]): boolean {
  void notAnImage(files).then((text) => cards.showHint(text));
  return true;
}

function setUpPage(): void {
  const imageButton = byId('image-button', HTMLButtonElement);
  setUpTerminals(imageButton);
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
    image: () => control.container?.image ?? null,
    stats: () => control.container?.stats() ?? null,
    renderer: () => terminal.renderer,
    relayOrigin: () => {
      const net = control.container?.netMode;
      return net?.kind === 'relay' ? net.origin ?? location.origin : null;
    },
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
  followVisualViewport();
  setUpDrop([startSaved, startFiles, startArchive, shareFiles, refuseFiles]);
}

/** What the terminals tell, the first and those of the tabs. */
function setUpTerminals(wayOut: HTMLElement): void {
  const stage = byId('stage', HTMLElement);
  const showCtrl = setUpKeyBar(byId('keys', HTMLElement), () => tabs.active);
  stage.addEventListener('portside-ctrl', ({ detail: armed }) => showCtrl(armed));
  stage.addEventListener('portside-leave', (event) => {
    event.preventDefault();
    wayOut.focus();
  });
  stage.addEventListener('portside-shortcut', (event) => {
    const { detail: code } = event;
    if (code === 'Enter' && tabs.canOpen) {
      tabs.open();
    } else if ((code === 'ArrowLeft' || code === 'ArrowRight') && tabs.numbers().length > 1) {
      tabs.turn(code === 'ArrowRight' ? 1 : -1);
    } else {
      return;
    }
    event.preventDefault();
  });
  terminal.addEventListener('portside-input', (event) => {
    if (!cards.endShown) return;
    event.preventDefault();
    if (event.detail === '\r') restart();
  });
}

/** The folder's other end is in another thread, which takes shared memory. */
function hasFiles(): boolean {
  return waitingMode() === 'block';
}

/** Whatever is dropped and is nothing else goes to the container. */
function shareFiles(_files: File[], dropped: (FileSystemEntry | File)[]): boolean {
  if (!hasFiles() || dropped.length === 0 || control.container?.image?.ours !== true) return false;
  void filesPanel().then((panel) => panel.dropped(dropped));
  return true;
}

/** Loaded when somebody wants it. */
let loadedFilesPanel: Promise<FilesPanel> | null = null;
function filesPanel(): Promise<FilesPanel> {
  loadedFilesPanel ??= import('./files-panel.ts').then((module) => new module.FilesPanel(byId('files-panel', HTMLElement), byId('announcer', HTMLElement), () => control.container?.image?.ours === false));
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
