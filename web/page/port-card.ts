/*
 * A port of the container beside the terminal: a bar with its path, and a frame. There are three kinds of frames, and what the container serves is a stranger's
 * in each:
 *
 *   the relay opened the port        another origin (a port of its computer); its frame has neither credentials nor storage of this browser: `credentialless`,
 *                                    which is also what an isolated page needs to frame a server that sends no COEP
 *   our network, a frame origin      an origin of its own, with scripts (scripted-frames.ts)
 *   our network, and none such       our own origin, where the service worker sees all that it loads, and no scripts, by the frame's sandbox
 *                                    and by the one in each response (service/ports.ts)
 *
 * A port of our network where nobody listens yet is asked again until somebody does. One frame origin that did not work is not tried again.
 */
import { icon, make, makeButton, setText } from './dom.ts';
import type { ScriptedFrame } from './scripted-frames.ts';

/** between two looks at a port that does not answer, in `ms` */
const RETRY_MS = 1000;
const PLAIN = 'allow-same-origin allow-forms allow-popups allow-downloads';

export interface CardPort {
  readonly port: number;
  /** it is another server's, at this address; null: it is of this page's network */
  readonly url: string | null;
  /** The address of a port of this page's network. Rejects with what is wrong. */
  open(port: number): Promise<string>;
  /** A frame with scripts for it; null where there is no origin for one. */
  openFrame(port: number): Promise<ScriptedFrame | null>;
}

export class PortCard {
  readonly element: HTMLElement;
  readonly #title = make('span', 'port-card-title');
  readonly #path = make('input', 'port-card-path');
  readonly #kind = make('span', 'port-card-kind');
  readonly #note = make('p', 'port-card-note');
  readonly #onClose: () => void;
  #frame = make('iframe', 'port-card-frame');
  #shown: CardPort | null = null;
  #scripted: ScriptedFrame | null = null;
  /** why a frame with scripts could not be; '' while nothing is known */
  #problem = '';
  #url = '';
  /** counts what was asked to be shown: an answer for an earlier one is late */
  #turn = 0;

  constructor(stage: HTMLElement, onClose: () => void) {
    this.#onClose = onClose;
    this.#path.setAttribute('aria-label', 'Path');
    this.#path.spellcheck = false;
    this.#path.addEventListener('keydown', (event) => { if (event.key === 'Enter') this.#again(); });
    const bar = make('header', 'port-card-bar', this.#title, this.#path, this.#kind,
      makeIconButton('Reload', 'restart', () => this.#again()),
      makeIconButton('New tab', 'out', () => { open(this.#url, '_blank', 'noopener'); }),
      makeIconButton('Close', 'close', () => this.close()));
    this.element = make('section', 'port-card', bar, this.#note, this.#frame);
    this.element.id = 'port-card';
    this.element.setAttribute('aria-label', 'Port of the container');
    this.element.hidden = true;
    this.#drop();
    stage.append(this.element);
  }

  /** Shows a port, as soon as somebody answers there. */
  async show(wanted: CardPort, path = '/'): Promise<void> {
    const turn = ++this.#turn;
    if (wanted.port !== this.#shown?.port || wanted.url !== this.#shown.url) this.#drop();
    this.#shown = wanted;
    this.element.hidden = false;
    setText(this.#title, `Port ${wanted.port}`);
    this.#path.value = path.startsWith('/') ? path : `/${path}`;
    try {
      const root = wanted.url ?? await wanted.open(wanted.port);
      if (turn !== this.#turn) return;
      this.#url = `${root.slice(0, -1)}${this.#path.value}`;
      while (wanted.url === null) {
        const trouble = await troubleOf(this.#url);
        if (turn !== this.#turn) return;
        this.#tell(trouble === null ? '' : `${trouble} Waiting for a server: for instance httpd -f -p ${wanted.port}, or python3 -m http.server ${wanted.port}, where the image has it.`);
        if (trouble === null) break;
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
        if (turn !== this.#turn) return;
      }
      this.#tell('');
      if (wanted.url === null) await this.#showOurs(wanted, turn);
      else this.#showForeign();
    } catch (error) {
      if (turn === this.#turn) this.#tell(error instanceof Error ? error.message : String(error));
    }
  }

  close(): void {
    if (this.element.hidden) return;
    this.#turn++;
    this.element.hidden = true;
    this.#drop();
    this.#shown = null;
    this.#onClose();
  }

  /** To the address in the bar: a frame of another origin can't be told to reload. */
  #again(): void {
    if (this.#shown !== null) void this.show(this.#shown, this.#path.value);
  }

  #showForeign(): void {
    const frame = this.#place('allow-scripts allow-forms allow-same-origin');
    frame.setAttribute('credentialless', '');
    this.#load(frame, this.#url);
  }

  async #showOurs(wanted: CardPort, turn: number): Promise<void> {
    const path = this.#path.value;
    if (this.#scripted?.isClosed === false) return this.#scripted.show(path);
    if (this.#problem === '') {
      const scripted = await wanted.openFrame(wanted.port);
      this.#problem = scripted === null ? 'The server of this page has no origin for frames.' : await this.#tryScripts(scripted, path, turn);
      if (turn !== this.#turn || this.#problem === '') return;
    }
    const frame = this.#place(PLAIN);
    frame.addEventListener('load', () => this.#showPath());
    this.#kind.replaceChildren('No scripts', make('span', 'visually-hidden', `: ${this.#problem}`));
    this.#kind.title = `Scripts of the container do not run here. ${this.#problem}`;
    this.#kind.hidden = false;
    this.#load(frame, this.#url);
  }

  /** '' or what is wrong. */
  async #tryScripts(scripted: ScriptedFrame, path: string, turn: number): Promise<string> {
    scripted.path = path;
    scripted.onPath = (at) => { if (this.#scripted === scripted) this.#path.value = at; };
    if (turn === this.#turn) this.#load(this.#place(`${PLAIN} allow-scripts`), scripted.url);
    const problem = turn === this.#turn ? await scripted.begun() : '';
    if (problem === null && turn === this.#turn) this.#scripted = scripted;
    else scripted.close();
    return problem ?? '';
  }

  /** A frame that has loaded nothing: what it may is settled before. */
  #place(sandbox: string): HTMLIFrameElement {
    const frame = make('iframe', 'port-card-frame');
    frame.title = `Port ${this.#shown?.port} of the container`;
    frame.setAttribute('sandbox', sandbox);
    frame.referrerPolicy = 'no-referrer';
    return frame;
  }

  #load(frame: HTMLIFrameElement, url: string): void {
    frame.src = url;
    this.#frame.replaceWith(frame);
    this.#frame = frame;
  }

  #drop(): void {
    this.#scripted?.close();
    this.#scripted = null;
    this.#kind.hidden = true;
    const empty = make('iframe', 'port-card-frame');
    empty.hidden = true;
    this.#frame.replaceWith(empty);
    this.#frame = empty;
  }

  #tell(text: string): void {
    setText(this.#note, text);
    this.#note.hidden = text === '';
    this.#frame.hidden = text !== '' || this.#frame.title === '';
  }

  /** Where links have led, on our own origin. */
  #showPath(): void {
    try {
      const href = this.#frame.contentWindow?.location.href ?? '';
      const at = href.indexOf(`/${this.#shown?.port}/`);
      if (href.includes('/portside-port/') && at >= 0) this.#path.value = href.slice(at + String(this.#shown?.port).length + 1);
    } catch {
      // It went to another origin.
    }
  }
}

function makeIconButton(name: string, symbol: string, onClick: () => void): HTMLButtonElement {
  const button = makeButton('', 'button button-small button-bare', onClick);
  button.append(icon(symbol, 'icon icon-small'), make('span', 'visually-hidden', name));
  button.title = name;
  return button;
}

/** What the port says that is not an answer; null when it answers. */
async function troubleOf(url: string): Promise<string | null> {
  const response = await fetch(url, { method: 'HEAD', cache: 'no-store' });
  return response.headers.has('X-Portside-Error') ? 'Nothing answers there yet.' : null;
}
