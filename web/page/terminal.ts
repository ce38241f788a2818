/*
 * The terminal: xterm.js between the user and a container.
 *
 * Theory of operation
 *
 *   keys, paste ─▶ xterm ─▶ onInput(data) ─▶ (container)      the Ctrl of the key bar is mixed in here
 *   (container) ─▶ output(bytes, done) ─▶ xterm's write queue ─▶ done()      parsed: the next chunk may come
 *   window ─▶ ResizeObserver ─▶ fit ─▶ xterm.onResize ─▶ onSize(cols, rows)
 *   a size that the container can't change (`fix`) ─▶ the font gets smaller until all of it is seen, down to FONT_MIN; then it scrolls
 *
 * Flow control is `done` alone: the container's next chunk waits until xterm has parsed this one, and xterm parses in
 * slices of some milliseconds, so the page stays responsive however much a guest prints, and nothing piles up.
 *
 * In a hidden tab browsers let timers run once a second, after some minutes once a minute, and xterm parses by a timer: a guest that
 * builds something would stand still. So up to HIDDEN_BYTES are taken then without waiting; they are parsed when somebody looks.
 *
 * The renderer is WebGL where a GPU draws it. Where the context is missing, made by software or lost (a GPU reset, too many
 * tabs), xterm's DOM renderer takes over for the rest of the page's life; nothing else changes.
 *
 * Tab belongs to the shell, so the way out of the terminal is Ctrl+Shift+Space (onLeave). Ctrl+Shift+C copies;
 * Ctrl+Shift+V, Cmd+C and Cmd+V are the browser's own and reach xterm as clipboard events.
 */
import { FitAddon } from '@xterm/addon-fit';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal, type ITheme } from '@xterm/xterm';
import { ring } from './bell.ts';
import { CHAR_WIDTHS } from './char-widths.ts';
import { withCtrl } from './keys.ts';
import { harmless } from './paste.ts';
import type { TerminalSettings } from './settings.ts';
import { copiedText, shortTitle } from './osc.ts';
import { setUpSoftInput, type SoftInput } from './soft-input.ts';
import { DARK, LIGHT } from './terminal-theme.ts';

export interface TerminalEvents {
  /** what the user typed or pasted, as a terminal sends it */
  onInput(data: string | Uint8Array): void;
  onSize(cols: number, rows: number): void;
  /** Ctrl+Shift+Space: the focus should go to the page */
  onLeave(): void;
  /** the armed Ctrl of the key bar was used up or set */
  onCtrl(armed: boolean): void;
  /** the program in the terminal has named itself (OSC 0 and 2); empty: it took the name back */
  onTitle?(title: string): void;
  /** it wants `text` on the clipboard (OSC 52) */
  onCopy?(text: string): void;
  /** Ctrl+Shift and a key that is neither the terminal's nor the clipboard's, as KeyboardEvent.code says it; false: it goes to the shell */
  onShortcut?(code: string): boolean;
}

/** output that is taken ahead of its parsing while nobody looks, in bytes: xterm gives up at 50 MB */
const HIDDEN_BYTES = 16 << 20;
/** A drag of the window's edge fits once per frame; the guest hears of it when the dragging pauses this long. */
const RESIZE_PAUSE_MS = 60;
const COLS_MIN = 10;
const ROWS_MIN = 3;
/** below this nobody reads */
const FONT_MIN = 7;
const FONT_STEP = 0.25;
/** sizes that are tried: characters are whole pixels wide, so the first guess may be a little too large */
const SCALE_TRIES = 8;

export class TerminalView {
  readonly #xterm: Terminal;
  readonly #fit = new FitAddon();
  readonly #observer = new ResizeObserver(() => this.#refit());
  readonly #host: HTMLElement;
  readonly #events: TerminalEvents;
  #soft: SoftInput | null = null;
  #ctrlArmed = false;
  /** what was taken while the page was hidden, in bytes */
  #unparsed = 0;
  #settings: TerminalSettings;
  #resizeTimer: ReturnType<typeof setTimeout> | undefined;
  #fixed: { cols: number; rows: number } | null = null;

  constructor(host: HTMLElement, settings: TerminalSettings, events: TerminalEvents) {
    this.#host = host;
    this.#events = events;
    this.#settings = settings;
    this.#xterm = new Terminal({
      scrollback: settings.scrollback,
      fontFamily: fontFamily(settings),
      fontSize: settings.fontSize,
      lineHeight: 1.15,
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      screenReaderMode: settings.screenReader,
      macOptionIsMeta: false,
      // Of `unicode` below.
      allowProposedApi: true,
      rightClickSelectsWord: false,
    });
    this.#xterm.unicode.register(CHAR_WIDTHS);
    this.#xterm.unicode.activeVersion = CHAR_WIDTHS.version;
    this.#xterm.loadAddon(this.#fit);
    this.#xterm.loadAddon(new WebLinksAddon(openLink));
    this.#xterm.options.linkHandler = { activate: openLink };
    this.applyTheme();
    this.#xterm.open(host);
    this.#xterm.textarea?.setAttribute('aria-label', 'Terminal. Tab goes to the shell; Ctrl+Shift+Space leaves the terminal.');
    this.#xterm.textarea?.setAttribute('enterkeyhint', 'enter');
    this.#useWebgl();
    this.#fit.fit();
    this.#xterm.attachCustomKeyEventHandler((event) => this.#onKey(event));
    const { textarea } = this.#xterm;
    if (textarea !== undefined) {
      this.#soft = setUpSoftInput(host, textarea, (data) => {
        this.#xterm.scrollToBottom();
        this.#events.onInput(this.#takeCtrl(data));
      });
    }
    host.addEventListener('paste', (event) => this.#onPaste(event), true);
    this.#xterm.onData((data) => {
      const own = this.#soft?.instead(data) ?? data;
      if (own !== '') this.#events.onInput(this.#takeCtrl(own));
    });
    // Mouse reports of the oldest kind are bytes, one in each character, and no UTF-8.
    this.#xterm.onBinary((data) => this.#events.onInput(Uint8Array.from(data, (c) => c.charCodeAt(0))));
    this.#xterm.onTitleChange((title) => this.#events.onTitle?.(shortTitle(title)));
    this.#xterm.parser.registerOscHandler(52, (data) => {
      const text = copiedText(data);
      if (text !== null) this.#events.onCopy?.(text);
      return true;
    });
    this.#xterm.onBell(() => ring(host, this.#settings.bell));
    this.#xterm.onResize(() => {
      clearTimeout(this.#resizeTimer);
      this.#resizeTimer = setTimeout(() => this.#events.onSize(this.#xterm.cols, this.#xterm.rows), RESIZE_PAUSE_MS);
    });
    this.#observer.observe(host);
  }

  /** Bytes of the container; `done` when xterm has parsed them. */
  output(bytes: Uint8Array, done: () => void): void {
    if (!document.hidden || this.#unparsed + bytes.length > HIDDEN_BYTES) return this.#xterm.write(bytes, done);
    this.#unparsed += bytes.length;
    this.#xterm.write(bytes, () => { this.#unparsed -= bytes.length; });
    done();
  }

  /** Of no use afterwards. */
  dispose(): void {
    clearTimeout(this.#resizeTimer);
    this.#observer.disconnect();
    this.#xterm.dispose();
  }

  /** A blank terminal. What is still in xterm's queue is wiped as well. */
  reset(): void {
    this.#xterm.reset();
    this.#xterm.write('\x1bc');
    this.#events.onTitle?.('');
  }

  /** Scrolls the text up until `rows` at the bottom are free; nothing moves when they are. Leaves full-screen programs' mode. */
  makeRoom(rows: number): void {
    const { buffer } = this.#xterm;
    // Outside the alternate screen, leaving it would move the cursor to wherever it was saved last.
    this.#xterm.write(buffer.active.type === 'alternate' ? '\x1b[?1049l' : '', () => {
      const missing = buffer.active.cursorY + 1 + rows - this.#xterm.rows;
      if (missing > 0) this.#xterm.write('\r\n'.repeat(Math.min(missing, this.#xterm.rows)));
    });
  }

  /** The text of the normal buffer with its scrollback (of the alternate one while a full-screen program has it), wrapped lines joined, blanks at the ends removed. */
  screen(): string {
    const buffer = this.#xterm.buffer.active;
    const lines: string[] = [];
    for (let y = 0; y < buffer.length; y++) {
      const line = buffer.getLine(y);
      if (line === undefined) continue;
      // A line that goes on in the next one keeps its blanks: they are part of the text.
      const continues = buffer.getLine(y + 1)?.isWrapped === true;
      const text = line.translateToString(!continues);
      if (line.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
      else lines.push(text);
    }
    return lines.map((line) => line.trimEnd()).join('\n').trimEnd();
  }

  /** who draws: `webgl` or `dom` */
  get renderer(): string { return this.#host.dataset['renderer'] ?? ''; }

  size(): { cols: number; rows: number } {
    return { cols: this.#xterm.cols, rows: this.#xterm.rows };
  }

  /** The size that the container has and can't change; null: the terminal's follows the room that there is. */
  fix(size: { cols: number; rows: number } | null): void {
    this.#fixed = size;
    this.#refit();
  }

  focus(): void {
    this.#xterm.focus();
  }

  blur(): void {
    this.#xterm.blur();
  }

  /** True while the program in the terminal wants the cursor keys of DECCKM. */
  get applicationCursorKeys(): boolean {
    return this.#xterm.modes.applicationCursorKeysMode;
  }

  /** A key of the key bar, as if it came from the keyboard. */
  press(data: string): void {
    this.#soft?.forget();
    this.#xterm.input(data, true);
  }

  /** The next typed character is taken with Ctrl. */
  armCtrl(armed: boolean): void {
    this.#ctrlArmed = armed;
    this.#events.onCtrl(armed);
  }

  /** To be called when the system's theme has changed. */
  applyTheme(): void {
    const { theme: chosen } = this.#settings;
    const dark = chosen === 'system' ? matchMedia('(prefers-color-scheme: dark)').matches : chosen === 'dark';
    const theme: ITheme = dark ? DARK : LIGHT;
    this.#xterm.options.theme = theme;
    // Programs choose colours for a dark ground; on a light one xterm darkens those that could not be read.
    this.#xterm.options.minimumContrastRatio = dark ? 1 : 4.5;
  }

  applySettings(settings: TerminalSettings): void {
    this.#settings = settings;
    this.#xterm.options.fontSize = settings.fontSize;
    this.#xterm.options.screenReaderMode = settings.screenReader;
    this.#xterm.options.scrollback = settings.scrollback;
    this.#xterm.options.fontFamily = fontFamily(settings);
    this.applyTheme();
    this.#refit();
  }

  #refit(): void {
    if (this.#fixed !== null) return this.#scale(this.#fixed);
    delete this.#host.dataset['fixed'];
    this.#xterm.options.fontSize = this.#settings.fontSize;
    const wanted = this.#fit.proposeDimensions();
    if (wanted === undefined || Number.isNaN(wanted.cols) || Number.isNaN(wanted.rows)) return;
    this.#xterm.resize(Math.max(COLS_MIN, wanted.cols), Math.max(ROWS_MIN, wanted.rows));
  }

  #scale({ cols, rows }: { cols: number; rows: number }): void {
    const { clientWidth, clientHeight } = this.#host;
    const screen = this.#host.querySelector<HTMLElement>('.xterm-screen');
    if (screen === null || clientWidth === 0 || clientHeight === 0) return;
    this.#xterm.resize(cols, rows);
    let fontSize = this.#settings.fontSize;
    let ratio = 0;
    for (let tries = 0; tries < SCALE_TRIES; tries++) {
      this.#xterm.options.fontSize = fontSize;
      ratio = Math.min(clientWidth / screen.offsetWidth, clientHeight / screen.offsetHeight);
      if (ratio >= 1 || fontSize <= FONT_MIN) break;
      fontSize = Math.max(FONT_MIN, Math.min(fontSize - FONT_STEP, Math.floor(fontSize * ratio / FONT_STEP) * FONT_STEP));
    }
    this.#host.dataset['fixed'] = ratio >= 1 ? 'fits' : 'scrolls';
  }

  #useWebgl(): void {
    this.#host.dataset['renderer'] = 'dom';
    if (hasFastWebgl()) void this.#loadWebgl();
  }

  async #loadWebgl(): Promise<void> {
    try {
      // A quarter of the terminal's code, of use to some.
      const { WebglAddon } = await import('@xterm/addon-webgl');
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => {
        webgl.dispose();
        this.#host.dataset['renderer'] = 'dom';
      });
      this.#xterm.loadAddon(webgl);
      this.#host.dataset['renderer'] = 'webgl';
    } catch {
      // The probe had a context and the addon got none, or the addon did not come: the DOM renderer is in place.
    }
  }

  #takeCtrl(data: string): string {
    if (!this.#ctrlArmed) return data;
    this.#soft?.forget();
    this.armCtrl(false);
    return withCtrl(data);
  }

  /** In place of xterm's own, which leaves control characters in. */
  #onPaste(event: ClipboardEvent): void {
    event.preventDefault();
    event.stopPropagation();
    this.#soft?.forget();
    this.#xterm.paste(harmless(event.clipboardData?.getData('text/plain') ?? ''));
  }

  /** False keeps a key from the shell. */
  #onKey(event: KeyboardEvent): boolean {
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) {
      if (this.#soft === null) return true;
      if (event.type === 'keydown') return this.#soft.onKey(event, this.#settings.screenReader);
      if (event.type === 'keypress') return this.#soft.isKey;
      this.#soft.onKeyUp();
      return true;
    }
    switch (event.code) {
      case 'Space':
        event.preventDefault();
        if (event.type === 'keydown') this.#events.onLeave();
        return false;
      case 'KeyC':
        // Kept from the browser as well: Ctrl+Shift+C would open its inspector.
        event.preventDefault();
        if (event.type === 'keydown') this.#copy();
        return false;
      case 'KeyV':
        // The browser pastes, and xterm takes the paste event (bracketed, if the program asked for that).
        return false;
      default:
        if (event.type !== 'keydown' || this.#events.onShortcut?.(event.code) !== true) return true;
        event.preventDefault();
        return false;
    }
  }

  #copy(): void {
    const text = this.#xterm.getSelection();
    // Without a secure context there is no clipboard; the browser's own copy command takes xterm's selection then.
    if (text === '') return;
    if (navigator.clipboard === undefined) document.execCommand('copy');
    else void navigator.clipboard.writeText(text).catch(() => document.execCommand('copy'));
  }
}

/** Renderers that are the processor in disguise; not every browser counts them as a performance caveat. */
const SOFTWARE_RENDERER = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** WebGL drawn by the processor is far slower than the DOM renderer, and takes the time of the guest's processor. */
function hasFastWebgl(): boolean {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  if (context === null) return false;
  const info = context.getExtension('WEBGL_debug_renderer_info');
  const name: unknown = context.getParameter(info === null ? context.RENDERER : info.UNMASKED_RENDERER_WEBGL);
  // A page has few contexts: the probe's goes back at once.
  context.getExtension('WEBGL_lose_context')?.loseContext();
  return typeof name !== 'string' || !SOFTWARE_RENDERER.test(name);
}

/** The page's fonts, behind the one that was chosen. */
function fontFamily({ font }: TerminalSettings): string {
  // Another page's root has no such property.
  const fonts = getComputedStyle(document.documentElement).getPropertyValue('--mono') || 'ui-monospace, monospace';
  return font === '' ? fonts : `"${font}", ${fonts}`;
}

function openLink(_event: MouseEvent, uri: string): void {
  if (/^https?:\/\//i.test(uri)) open(uri, '_blank', 'noopener,noreferrer');
}
