/*
 * A port of the container beside the terminal: a bar with its address, and a frame.
 *
 * The frame is on our own origin, so that the service worker sees all that it loads, and has no scripts, by its own sandbox and by the one in
 * each response (service/ports.ts). A port where nobody listens yet is asked again until somebody does.
 */
import { icon, make, makeButton, setText } from './dom.ts';

/** between two looks at a port that does not answer, in `ms` */
const RETRY_MS = 1000;
const SANDBOX = 'allow-same-origin allow-forms allow-popups allow-downloads';

export class Preview {
  readonly element: HTMLElement;
  readonly #title = make('span', 'preview-title');
  readonly #path = make('input', 'preview-path');
  readonly #note = make('p', 'preview-note');
  readonly #frame = make('iframe', 'preview-frame');
  readonly #openPort: (port: number) => Promise<string>;
  readonly #onClose: () => void;
  #port = 0;
  #url = '';
  /** counts what was asked to be shown: an answer for an earlier one is late */
  #turn = 0;

  constructor(stage: HTMLElement, openPort: (port: number) => Promise<string>, onClose: () => void) {
    this.#openPort = openPort;
    this.#onClose = onClose;
    this.#frame.setAttribute('sandbox', SANDBOX);
    this.#path.setAttribute('aria-label', 'Path');
    this.#path.spellcheck = false;
    this.#path.addEventListener('keydown', (event) => { if (event.key === 'Enter') void this.show(this.#port, this.#path.value); });
    this.#frame.addEventListener('load', () => this.#showPath());
    const close = makeButton('', 'button button-small button-bare', () => this.close());
    close.append(icon('close', 'icon icon-small'), make('span', 'visually-hidden', 'Close the preview'));
    const bar = make('div', 'preview-bar', this.#title, this.#path,
      makeButton('Reload', 'button button-small', () => void this.show(this.#port, this.#path.value)),
      makeButton('New tab', 'button button-small', () => { open(this.#url, '_blank'); }), close);
    this.element = make('section', 'preview', bar, this.#note, this.#frame);
    this.element.id = 'preview';
    this.element.setAttribute('aria-label', 'Preview');
    this.element.hidden = true;
    stage.append(this.element);
  }

  /** Shows a port, as soon as somebody answers there. */
  async show(port: number, path = '/'): Promise<void> {
    const turn = ++this.#turn;
    this.#port = port;
    this.element.hidden = false;
    this.#frame.title = `Port ${port} of the container`;
    setText(this.#title, `Port ${port}`);
    this.#path.value = path.startsWith('/') ? path : `/${path}`;
    try {
      const root = await this.#openPort(port);
      this.#url = `${root.slice(0, -1)}${this.#path.value}`;
      while (turn === this.#turn) {
        const trouble = await troubleOf(this.#url);
        if (turn !== this.#turn) return;
        this.#tell(trouble === null ? '' : `${trouble} Waiting for a server: for instance httpd -f -p ${port} in the terminal.`);
        if (trouble === null) {
          this.#load();
          return;
        }
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
      }
    } catch (error) {
      if (turn === this.#turn) this.#tell(error instanceof Error ? error.message : String(error));
    }
  }

  close(): void {
    if (this.element.hidden) return;
    this.#turn++;
    this.element.hidden = true;
    this.#frame.removeAttribute('src');
    this.#onClose();
  }

  #load(): void {
    if (this.#frame.contentWindow !== null && this.#frame.getAttribute('src') === this.#url) this.#frame.contentWindow.location.replace(this.#url);
    else this.#frame.src = this.#url;
  }

  #tell(text: string): void {
    setText(this.#note, text);
    this.#note.hidden = text === '';
    this.#frame.hidden = text !== '';
  }

  /** Where links have led. */
  #showPath(): void {
    try {
      const href = this.#frame.contentWindow?.location.href ?? '';
      const at = href.indexOf(`/${this.#port}/`);
      if (href.includes('/portside-port/') && at >= 0) this.#path.value = href.slice(at + String(this.#port).length + 1);
    } catch {
      // It went to another origin.
    }
  }
}

/** What the port says that is not an answer; null when it answers. */
async function troubleOf(url: string): Promise<string | null> {
  const response = await fetch(url, { method: 'HEAD', cache: 'no-store' });
  return response.headers.has('X-Portside-Error') ? 'Nothing answers there yet.' : null;
}
