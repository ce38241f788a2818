/** How a terminal looks and behaves. */
export interface TerminalSettings {
  theme: 'system' | 'light' | 'dark';
  /** of the terminal, in CSS pixels: 9 to 28 */
  fontSize: number;
  /** xterm's mode for screen readers: slower output, read aloud line by line */
  screenReader: boolean;
  /** a font of this computer for the terminal; empty: the page's choice */
  font: string;
  /** lines that can be scrolled back to */
  scrollback: number;
  /** what a program's bell (^G) does */
  bell: 'none' | 'flash' | 'sound';
}

/** What the user has chosen for all containers of this origin, kept in localStorage where that is allowed. */
export interface Settings extends TerminalSettings {
  /** of a container whose address asks for none, from its next start on; null: the image's own */
  memoryMiB: number | null;
}

export const FONT_SIZE_MIN = 9;
export const FONT_SIZE_MAX = 28;
export const SCROLLBACKS = [1000, 10_000, 50_000];
export const MEMORIES_MIB = [512, 1024, 2048];
/** of a font's name, in characters */
const FONT_CHARS_MAX = 80;

/** public/theme.js reads `theme` from here before the first paint. */
const KEY = 'portside.settings';

/** `fontSize` of a first visit depends on the room there is. */
export function defaultSettings(viewportWidth: number): Settings {
  return { theme: 'system', fontSize: viewportWidth < 600 ? 12 : 14, screenReader: false, font: '', scrollback: 10_000, bell: 'flash', memoryMiB: null };
}

/** Stored text may be of another version or not ours at all: each field that does not fit is the default's. */
export function parseSettings(stored: string | null, defaults: Settings): Settings {
  let value: unknown = null;
  try {
    value = JSON.parse(stored ?? 'null');
  } catch {
    return defaults;
  }
  if (typeof value !== 'object' || value === null) return defaults;
  const { theme, fontSize, screenReader, font, scrollback, bell, memoryMiB } = value as Record<string, unknown>;
  return {
    theme: theme === 'light' || theme === 'dark' || theme === 'system' ? theme : defaults.theme,
    fontSize: typeof fontSize === 'number' ? clampFontSize(fontSize, defaults.fontSize) : defaults.fontSize,
    screenReader: typeof screenReader === 'boolean' ? screenReader : defaults.screenReader,
    font: typeof font === 'string' ? fontName(font) : defaults.font,
    scrollback: SCROLLBACKS.includes(scrollback as number) ? scrollback as number : defaults.scrollback,
    bell: bell === 'none' || bell === 'flash' || bell === 'sound' ? bell : defaults.bell,
    memoryMiB: MEMORIES_MIB.includes(memoryMiB as number) ? memoryMiB as number : defaults.memoryMiB,
  };
}

/** What may stand in quotes in a list of fonts. */
export function fontName(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} ._+-]/gu, '').trim().slice(0, FONT_CHARS_MAX);
}

export function clampFontSize(size: number, otherwise: number): number {
  return Number.isFinite(size) ? Math.min(FONT_SIZE_MAX, Math.max(FONT_SIZE_MIN, Math.round(size))) : otherwise;
}

export function loadSettings(): Settings {
  const defaults = defaultSettings(innerWidth);
  try {
    return parseSettings(localStorage.getItem(KEY), defaults);
  } catch {
    return defaults;
  }
}

export function saveSettings(settings: Settings): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // Storage is full or forbidden: the choice holds for this visit.
  }
}
