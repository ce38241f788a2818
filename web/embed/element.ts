/*
 * `<portside-terminal image="busybox" cmd="sh -l" net="none" memory="1G" base="/portside/">`: a container with its terminal, on anybody's page.
 *
 * It starts when it comes into the document and ends when it leaves. A change of an attribute starts it anew. Its style is in
 * a shadow root, its theme is the system's: the page around it gives it a size. What happens is told by events:
 *
 *   portside-state   detail { state, exitCode?, error? }        portside-net   detail NetStatus        portside-ports   detail { port, local }[]
 *   portside-port    detail { port, url } or { port, error }, for each port of the attribute `ports="80,8080"`, opened when the network is up
 */
import xtermCss from '@xterm/xterm/css/xterm.css?inline';
import { setText } from '../page/dom.ts';
import { formatBytes } from '../page/figures.ts';
import { defaultSettings } from '../page/settings.ts';
import { TerminalView } from '../page/terminal.ts';
import { Container } from './container.ts';

const STYLE = `${xtermCss}
:host { color-scheme: light dark; display: block; position: relative; min-height: 6em; overflow: hidden; background: light-dark(#fcfdfe, #0a1119); }
:host([hidden]) { display: none; }
.terminal { position: absolute; inset: 8px 4px 4px 10px; }
.terminal .xterm { height: 100%; }
.xterm .xterm-viewport, .xterm .xterm-scrollable-element { background: transparent !important; }
.word { position: absolute; inset: auto 8px 8px auto; max-width: calc(100% - 16px); margin: 0; padding: 6px 10px; border-radius: 8px; font: 13px/1.45 system-ui, sans-serif;
  background: light-dark(#eef2f6, #131e2b); color: light-dark(#14202c, #e4ecf4); overflow-wrap: anywhere; }
.word:empty { display: none; }
`;

export class PortsideTerminal extends HTMLElement {
  static readonly observedAttributes = ['image', 'cmd', 'net', 'memory', 'base', 'ports'];

  #container: Container | null = null;
  #view: TerminalView | null = null;
  readonly #word = document.createElement('p');
  readonly #darkness = matchMedia('(prefers-color-scheme: dark)');
  /** several attributes that change at once start it once */
  #starting = false;

  /** Null while it is not in a document. */
  get container(): Container | null { return this.#container; }

  connectedCallback(): void {
    if (this.#view === null) this.#build();
    this.#darkness.addEventListener('change', this.#onTheme);
    this.#start();
  }

  disconnectedCallback(): void {
    this.#darkness.removeEventListener('change', this.#onTheme);
    this.#container?.stop();
    this.#container = null;
  }

  attributeChangedCallback(): void {
    if (this.#container === null || this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      if (this.isConnected) this.#start();
    });
  }

  readonly #onTheme = (): void => this.#view?.applyTheme();

  #build(): void {
    const root = this.attachShadow({ mode: 'open' });
    const style = document.createElement('style');
    style.textContent = STYLE;
    const host = document.createElement('div');
    host.className = 'terminal';
    this.#word.className = 'word';
    this.#word.setAttribute('role', 'status');
    root.append(style, host, this.#word);
    this.#view = new TerminalView(host, defaultSettings(this.clientWidth), {
      onInput: (data) => { this.#container?.write(data); },
      onSize: (cols, rows) => this.#container?.resize(cols, rows),
      onLeave: () => (document.activeElement as HTMLElement | null)?.blur(),
      onCtrl: () => undefined,
    });
  }

  #start(): void {
    const view = this.#view!;
    // The end of the one before is no event of the next.
    const before = this.#container;
    this.#container = null;
    before?.stop();
    view.reset();
    const attribute = (name: string): string | undefined => this.getAttribute(name) ?? undefined;
    const [image, cmd, net, memory, base, wanted = ''] = PortsideTerminal.observedAttributes.map(attribute);
    const container: Container = new Container({
      ...(image === undefined ? {} : { image }), ...(cmd === undefined ? {} : { cmd }), ...(net === undefined ? {} : { net }), ...(base === undefined ? {} : { base }), ...(memory === undefined ? {} : { memory }),
      size: view.size(),
      onOutput: (bytes, done) => view.output(bytes, done),
      onProgress: ({ phase, loaded, total }) => {
        if (this.#container === container) setText(this.#word, phase === 'download' && loaded ? `${formatBytes(loaded)}${total ? ` of ${formatBytes(total)}` : ''}` : 'Starting…');
      },
      onState: (state, detail) => {
        if (this.#container !== container) return;
        setText(this.#word, state === 'running' ? '' : state === 'exited' ? `Exited with code ${detail.exitCode}` : detail.error?.message ?? 'Starting…');
        this.dispatchEvent(new CustomEvent('portside-state', { detail: { state, ...detail } }));
      },
      onPorts: (ports) => { if (this.#container === container) this.dispatchEvent(new CustomEvent('portside-ports', { detail: ports })); },
      onNet: (status) => { if (this.#container === container) this.dispatchEvent(new CustomEvent('portside-net', { detail: status })); },
    });
    this.#container = container;
    for (const port of wanted.split(/[\s,]+/).filter(Boolean)) void this.#openPort(container, Number(port));
  }

  async #openPort(container: Container, port: number): Promise<void> {
    const outcome = Number.isInteger(port) && port >= 1 && port <= 65_535
      ? await container.portUrl(port).then((url) => ({ url }), (error: unknown) => ({ error }))
      : { error: new RangeError('this is no port') };
    if (this.#container === container) this.dispatchEvent(new CustomEvent('portside-port', { detail: { port, ...outcome } }));
  }
}
