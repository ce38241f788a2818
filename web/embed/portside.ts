/*
 * portside/web: containers for web pages, this project's own among them. Built as `dist/web/portside.js`, beside the page and its workers.
 *
 *     import { startContainer } from './portside/portside.js';      // defines <portside-terminal> as well
 *     const container = await startContainer({ image: 'busybox', net: 'none' });
 *     container.write('uname -m\n');
 *     await container.waitForText('riscv64');
 *
 * It must lie on the page's own origin (a browser starts no workers of another one). A page that is isolated (COOP and COEP) gets threads; in
 * another one the container runs by JSPI, where the browser has it.
 */
import type { Remote } from 'comlink';
import type { FilesApi } from '../protocol.ts';
import { files } from '../page/files.ts';
import { fetchImages, type ListedImage } from '../page/images.ts';
import { Container } from './container.ts';
import { PortsideTerminal } from './element.ts';
import { baseUrl, type StartOptions } from './start-options.ts';

export { Container, PortsideTerminal };
export { ContainerError } from '../page/failures.ts';
export { importSave, listSaves, removeSave } from '../page/saves.ts';
export type { OpenTerminal } from './container.ts';
export type { ContainerState, StartOptions } from './start-options.ts';
export type { TerminalLine, TerminalScreen } from './terminal-line.ts';
export type { ChosenImage } from '../page/choose-image.ts';
export type { ContainerTerminal } from '../page/container-terminal.ts';
export type { Failure, FailureCode } from '../page/failures.ts';
export type { ListedImage } from '../page/images.ts';
export type { AddressLease, DnsQuery, Flow, NetworkApi, OpenPort } from '../page/network-api.ts';
export type { RunnerStats } from '../page/runner.ts';
export type { SavedContainer } from '../page/saves.ts';
export type { TerminalSettings } from '../page/settings.ts';
export type { CaptureStats, FileItem, ImageFiles, NetMode, NetStatus, Progress } from '../protocol.ts';
export type { ListeningPort } from '../../shared/wasi/ports-report.ts';

/** The folder that this page shares with a container that was started with `share`. */
export type SharedFolder = Pick<Remote<FilesApi>, Exclude<keyof FilesApi, 'serve'>>;

/**
 * Resolves with the container when it has shown its first output; rejects with a ContainerError that says what is wrong. `signal`
 * stops it, at any time. `new Container(options)` is the same without the wait.
 */
export async function startContainer({ signal, ...options }: StartOptions & { signal?: AbortSignal } = {}): Promise<Container> {
  const container = new Container(options);
  if (signal?.aborted === true) container.stop();
  signal?.addEventListener('abort', () => container.stop(), { once: true });
  await container.ready;
  return container;
}

/** The images below `base`, a folder as in StartOptions, for a chooser. Rejects with an Error whose message is for the user. */
export function listImages(base?: string | URL): Promise<ListedImage[]> {
  return fetchImages(baseUrl(base).href);
}

/** Made with the first call; its contents outlive the containers, and end with the page. Isolated pages only. */
export function sharedFolder(): SharedFolder {
  return files();
}

// Two copies of this module on one page are no error.
if (customElements.get('portside-terminal') === undefined) customElements.define('portside-terminal', PortsideTerminal);
