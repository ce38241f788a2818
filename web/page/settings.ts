/** What the user has chosen for all containers of this origin, kept in localStorage where that is allowed. */
export interface Settings {
  theme: 'system' | 'light' | 'dark';
  /** of the terminal, in CSS pixels */
  fontSize: number;
  /** xterm's mode for screen readers: slower output, read aloud line by line */
  screenReader: boolean;
}

export const FONT_SIZE_MIN = 9;
export const FONT_SIZE_MAX = 28;

/** public/theme.js reads `theme` from here before the first paint. */
const KEY = 'portside.settings';

/** `fontSize` of a first visit depends on the room there is. */
export function defaultSettings(viewportWidth: number): Settings {
  return { theme: 'system', fontSize: viewportWidth < 600 ? 12 : 14, screenReader: false };
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
  const { theme, fontSize, screenReader } = value as Record<string, unknown>;
  return {
    theme: theme === 'light' || theme === 'dark' || theme === 'system' ? theme : defaults.theme,
    fontSize: typeof fontSize === 'number' ? clampFontSize(fontSize, defaults.fontSize) : defaults.fontSize,
    screenReader: typeof screenReader === 'boolean' ? screenReader : defaults.screenReader,
  };
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
