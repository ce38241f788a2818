/*
 * `<portside-terminal>`: a terminal of a container, on our own page and on anybody's.
 *
 *   <portside-terminal image="busybox" cmd="sh -l" net="none" memory="1G" base="/portside/">     with a container of its own
 *   <portside-terminal bare>            without: `new Container({ terminal: element })`, `container.openTerminal({ terminal: element })`
 *
 * A container of its own starts when the element comes into the document and ends when it leaves, but not when it is only moved (LEAVE_MS); a change of
 * an attribute that says what to start starts it anew. How the terminal looks is said by `theme`, `font`, `font-size`, `scrollback`, `bell`, `screen-reader`, or
 * by the property `settings`; these change it as it is. Its style is in a shadow root, and the page around it gives it a size; `::part(terminal)`
 * is what xterm is in, `::part(status)` the word at the bottom.
 *
 * What happens is told by events, which bubble. Of the own container:
 *
 *   portside-state   detail { state, exitCode?, error? }        portside-net   detail NetStatus        portside-ports   detail { port, local }[]
 *   portside-progress  detail Progress
 *   portside-port    detail { port, url } or { port, error }, for each port of the attribute `ports="80,8080"`, opened when the network is up
 *
 * Of the terminal, whosever it is; preventDefault takes what was meant for the container, or the element's own way to go on:
 *
 *   portside-input      detail string | Uint8Array: keys or pasted text, as a terminal sends it
 *   portside-leave      Ctrl+Shift+Space: gives the focus away
 *   portside-shortcut   detail: KeyboardEvent.code of a key with Ctrl+Shift that is neither the terminal's nor the clipboard's
 *   portside-ctrl       detail boolean: whether the next character is taken with Ctrl (`armCtrl`)
 *   portside-title      detail string: the program has named itself (OSC 0, 2); empty: no longer
 *   portside-copy       detail string: the program wants it on the clipboard (OSC 52). Else a bar in the terminal asks, once
 */
import xtermCss from '@xterm/xterm/css/xterm.css?inline';
import { setText } from '../page/dom.ts';
import { formatBytes } from '../page/figures.ts';
import { clampFontSize, defaultSettings, fontName, type TerminalSettings } from '../page/settings.ts';
import { TerminalView } from '../page/terminal.ts';
import type { NetStatus, Progress } from '../protocol.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import type { ContainerError } from '../page/failures.ts';
import { Container } from './container.ts';
import { CopyBar } from './copy-bar.ts';
import type { ContainerState } from './start-options.ts';
import type { TerminalLine, TerminalScreen } from './terminal-line.ts';

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`${xtermCss}
:host { color-scheme: light dark; display: block; position: relative; min-height: 6em; overflow: hidden; background: light-dark(#fcfdfe, #0a1119); }
:host([hidden]) { display: none; }
:host([theme='light']) { color-scheme: light; }
:host([theme='dark']) { color-scheme: dark; }
/* Isolated: xterm stacks its layers by z-index. */
.host { isolation: isolate; position: absolute; inset: 8px 4px 4px 10px; }
.host[data-bell] { outline: 2px solid light-dark(#8a5300, #f0b24a); outline-offset: 2px; border-radius: 2px; }
.host .xterm { height: 100%; }
.host[data-fixed='scrolls'] { overflow: auto; }
.xterm .xterm-viewport, .xterm .xterm-scrollable-element { background: transparent !important; }
.xterm-helper-textarea:focus-visible { outline: none; }
.word { position: absolute; inset: auto 8px 8px auto; max-width: calc(100% - 16px); margin: 0; padding: 6px 10px; border-radius: 8px; font: 13px/1.45 system-ui, sans-serif;
  background: light-dark(#eef2f6, #131e2b); color: light-dark(#14202c, #e4ecf4); overflow-wrap: anywhere; }
.word:empty { display: none; }
.ask { position: absolute; inset: auto 8px 8px; display: flex; flex-wrap: wrap; align-items: center; gap: 8px; padding: 8px 10px; border-radius: 8px; font: 14px/1.45 system-ui, sans-serif;
  background: light-dark(#eef2f6, #131e2b); color: light-dark(#14202c, #e4ecf4); box-shadow: 0 2px 12px #0004; }
.ask[hidden] { display: none; }
.ask-words { flex: 1 1 14em; margin: 0; }
.ask-button { min-height: 36px; padding: 4px 14px; border: 1px solid light-dark(#7b8a99, #5d7185); border-radius: 6px; background: transparent; color: inherit; font: inherit; cursor: pointer; }
.ask-button:hover { background: light-dark(#dfe6ed, #1d2b3b); }
`);

/** A move in the document is a leave and an arrival; frameworks let a moment pass between the two. In ms. */
const LEAVE_MS = 50;
/** Attributes that say what to start. */
const STARTS = ['image', 'cmd', 'net', 'memory', 'resume', 'base'] as const;
/** Those of the terminal; null: the attribute is gone. */
const LOOKS: Record<string, (value: string | null, defaults: TerminalSettings) => Partial<TerminalSettings>> = {
  'theme': (value) => ({ theme: value === 'light' || value === 'dark' ? value : 'system' }),
  'font': (value) => ({ font: fontName(value ?? '') }),
  'font-size': (value, { fontSize }) => ({ fontSize: clampFontSize(value === null ? NaN : Number(value), fontSize) }),
  'scrollback': (value, { scrollback }) => ({ scrollback: /^\d{1,6}$/.test(value ?? '') ? Number(value) : scrollback }),
  'bell': (value, { bell }) => ({ bell: value === 'none' || value === 'flash' || value === 'sound' ? value : bell }),
  'screen-reader': (value) => ({ screenReader: value !== null }),
};

declare global {
  interface HTMLElementTagNameMap { 'portside-terminal': PortsideTerminal }
  interface HTMLElementEventMap {
    'portside-state': CustomEvent<{ state: ContainerState; exitCode?: number; error?: ContainerError }>;
    'portside-progress': CustomEvent<Progress>;
    'portside-net': CustomEvent<NetStatus>;
    'portside-ports': CustomEvent<ListeningPort[]>;
    'portside-port': CustomEvent<{ port: number; url?: string; error?: unknown }>;
    'portside-input': CustomEvent<string | Uint8Array>;
    'portside-leave': CustomEvent<undefined>;
    'portside-shortcut': CustomEvent<string>;
    'portside-ctrl': CustomEvent<boolean>;
    'portside-title': CustomEvent<string>;
    'portside-copy': CustomEvent<string>;
  }
}

export class PortsideTerminal extends HTMLElement implements TerminalScreen {
  static readonly observedAttributes = [...STARTS, 'ports', 'bare', ...Object.keys(LOOKS)];

  #container: Container | null = null;
  #view: TerminalView | null = null;
  #line: TerminalLine | null = null;
  #settings: TerminalSettings = defaultSettings(innerWidth);
  readonly #host = document.createElement('div');
  readonly #word = document.createElement('p');
  readonly #copyBar = new CopyBar(() => this.focus());
  /** runs while it is in no document */
  #leaving: ReturnType<typeof setTimeout> | undefined;
  #fixed: { cols: number; rows: number } | null = null;
  readonly #darkness = matchMedia('(prefers-color-scheme: dark)');
  /** several attributes that change at once start it once */
  #starting = false;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [STYLE];
    this.#host.className = 'host';
    this.#host.part.add('terminal');
    this.#word.className = 'word';
    this.#word.part.add('status');
    this.#word.setAttribute('role', 'status');
    root.append(this.#host, this.#word, this.#copyBar.element);
  }

  /** That of its own; null with `bare`, and while it is not in a document */
  get container(): Container | null { return this.isConnected ? this.#container : null; }

  /** How it looks and behaves; what is assigned may be a part of it. */
  get settings(): TerminalSettings { return this.#settings; }
  set settings(changes: Partial<TerminalSettings>) {
    this.#settings = { ...this.#settings, ...changes };
    // For the style; as an attribute it says the same.
    if (changes.theme !== undefined && changes.theme !== (this.getAttribute('theme') ?? 'system')) this.setAttribute('theme', changes.theme);
    this.#view?.applySettings(this.#settings);
  }

  /** In characters. */
  size(): { cols: number; rows: number } { return this.#view?.size() ?? { cols: 80, rows: 24 }; }
  /** Text with its scrollback (of a full-screen program: its screen); wrapped lines joined, trailing blanks removed */
  screen(): string { return this.#view?.screen() ?? ''; }
  /** who draws: `webgl`, or `dom` where no graphics card does */
  get renderer(): string { return this.#view?.renderer ?? ''; }
  /** True while the program wants the cursor keys of DECCKM: `ESC O A` for the upper one instead of `ESC [ A`. */
  get applicationCursorKeys(): boolean { return this.#view?.applicationCursorKeys ?? false; }

  override focus(): void { this.#view?.focus(); }
  /** A key, as if it came from the keyboard: for a bar of keys that a phone's keyboard lacks. */
  press(data: string): void { this.#view?.press(data); }
  /** The next typed character is taken with Ctrl. */
  armCtrl(armed: boolean): void { this.#view?.armCtrl(armed); }
  /** Scrolls the text up until `rows` at the bottom are free, for something that covers them. Leaves full-screen programs' mode. */
  makeRoom(rows: number): void { this.#view?.makeRoom(rows); }

  fix(size: { cols: number; rows: number } | null): void {
    this.#fixed = size;
    this.#view?.fix(size);
  }

  connect(line: TerminalLine): (bytes: Uint8Array, done: () => void) => void {
    this.#line = line;
    this.fix(null);
    this.#view?.reset();
    return (bytes, done) => {
      if (this.#view === null || this.#line !== line) done();
      else this.#view.output(bytes, done);
    };
  }

  connectedCallback(): void {
    clearTimeout(this.#leaving);
    // It was only moved.
    if (this.#view !== null) return;
    this.#darkness.addEventListener('change', this.#onTheme);
    const tell = (type: string, detail?: unknown): boolean => this.#tell(type, detail, true);
    this.#view = new TerminalView(this.#host, this.#settings, {
      onInput: (data) => { if (tell('input', data)) this.#line?.send(data); },
      onSize: (cols, rows) => this.#line?.resize(cols, rows),
      onLeave: () => { if (tell('leave')) this.#view?.blur(); },
      onCtrl: (armed) => { tell('ctrl', armed); },
      onShortcut: (code) => !tell('shortcut', code),
      onTitle: (title) => { tell('title', title); },
      onCopy: (text) => { if (tell('copy', text)) this.#copyBar.copy(text); },
    });
    this.#view.fix(this.#fixed);
    if (!this.hasAttribute('bare')) this.#start();
  }

  disconnectedCallback(): void {
    clearTimeout(this.#leaving);
    this.#leaving = setTimeout(() => this.#leave(), LEAVE_MS);
  }

  /** With `moveBefore`: nothing to do, and without this method it would leave and come. */
  connectedMoveCallback(): void {}

  #leave(): void {
    this.#darkness.removeEventListener('change', this.#onTheme);
    this.#stop();
    this.#line = null;
    this.#view?.dispose();
    this.#view = null;
  }

  attributeChangedCallback(name: string, _before: string | null, value: string | null): void {
    const look = LOOKS[name];
    if (look !== undefined) {
      this.settings = look(value, defaultSettings(innerWidth));
      return;
    }
    if (this.#view === null || this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      if (!this.isConnected) return;
      this.#stop();
      if (!this.hasAttribute('bare')) this.#start();
    });
  }

  readonly #onTheme = (): void => this.#view?.applyTheme();

  /** False when somebody took it. */
  #tell(type: string, detail: unknown, cancelable = false): boolean {
    return this.dispatchEvent(new CustomEvent(`portside-${type}`, { detail, cancelable, bubbles: true }));
  }

  /** The end of the one before is no event of the next. */
  #stop(): void {
    const before = this.#container;
    this.#container = null;
    before?.stop();
    setText(this.#word, '');
  }

  #start(): void {
    const told = (type: string, detail: unknown): void => { if (this.#container === container) this.#tell(type, detail); };
    const container: Container = new Container({
      ...Object.fromEntries(STARTS.map((name) => [name, this.getAttribute(name) ?? undefined])),
      terminal: this,
      onProgress: (progress) => {
        const { phase, loaded, total } = progress;
        if (this.#container === container) setText(this.#word, phase === 'download' && loaded ? `${formatBytes(loaded)}${total ? ` of ${formatBytes(total)}` : ''}` : 'Starting…');
        told('progress', progress);
      },
      onState: (state, detail) => {
        if (this.#container !== container) return;
        setText(this.#word, state === 'running' ? '' : state === 'exited' ? `Exited with code ${detail.exitCode}` : detail.error?.message ?? (state === 'stopped' ? 'Stopped' : 'Starting…'));
        told('state', { state, ...detail });
      },
      onPorts: (ports) => told('ports', ports),
      onNet: (status) => told('net', status),
    });
    this.#container = container;
    for (const port of (this.getAttribute('ports') ?? '').split(/[\s,]+/).filter(Boolean)) void this.#openPort(container, Number(port));
  }

  async #openPort(container: Container, port: number): Promise<void> {
    const outcome = Number.isInteger(port) && port >= 1 && port <= 65_535
      ? await container.portUrl(port).then((url) => ({ url }), (error: unknown) => ({ error }))
      : { error: new RangeError('this is no port') };
    if (this.#container === container) this.#tell('port', { port, ...outcome });
  }
}
