/** The capture in the panel of the network: starts it, shows how it grows, and hands out the file. */
import type { CaptureStats } from '../protocol.ts';
import { make, makeButton, setText } from './dom.ts';
import { offerDownload } from './download.ts';
import { formatBytes } from './figures.ts';

export interface CaptureSource {
  /** null while nothing is captured */
  captureStats(): Promise<CaptureStats | null>;
  startCapture(): Promise<void>;
  stopCapture(): Promise<Blob | null>;
}


export class CaptureSection {
  /** made once, so that the focus stays in it when the panel is drawn anew */
  readonly element: HTMLElement;

  readonly #source: CaptureSource;
  readonly #text = make('p', '');
  readonly #button: HTMLButtonElement;
  #running = false;
  #asking = false;

  constructor(source: CaptureSource) {
    this.#source = source;
    this.#button = makeButton('', 'button', () => void this.#press());
    this.element = make('section', 'capture', make('h2', '', 'Capture'), this.#text, this.#button);
    this.#show(null);
  }

  /** There is something to save */
  get running(): boolean { return this.#running; }

  /** Reads how far it is. */
  async refresh(): Promise<void> {
    // A worker that never answers is asked once.
    if (this.#asking) return;
    this.#asking = true;
    this.#show(await this.#source.captureStats());
    this.#asking = false;
  }

  async #press(): Promise<void> {
    if (this.#running) save(await this.#source.stopCapture());
    else await this.#source.startCapture();
    await this.refresh();
  }

  #show(stats: CaptureStats | null): void {
    this.#running = stats !== null;
    setText(this.#button, stats === null ? 'Start a capture' : 'Stop and save');
    if (stats === null) setText(this.#text, 'Records each frame of the container, in both directions, as a .pcapng file for Wireshark.');
    else if (stats.missed > 0) setText(this.#text, `${formatBytes(stats.bytes)}: it is full. ${stats.missed.toLocaleString('en')} frames after that are left out.`);
    else setText(this.#text, `${stats.frames.toLocaleString('en')} frames, ${formatBytes(stats.bytes)}`);
  }
}

function save(file: Blob | null): void {
  if (file === null) return;
  offerDownload(file, `portside-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.pcapng`);
}
