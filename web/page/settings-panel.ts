/** Settings and shortcuts. Changes apply at once and are kept. */
import { make, makeButton, makeTextField } from './dom.ts';
import { FONT_SIZE_MAX, FONT_SIZE_MIN, fontName, MEMORIES_MIB, SCROLLBACKS, type Settings } from './settings.ts';

const THEMES: [Settings['theme'], string][] = [['system', 'System'], ['light', 'Light'], ['dark', 'Dark']];

const BELLS: [Settings['bell'], string][] = [['none', 'Off'], ['flash', 'Flash'], ['sound', 'Sound']];

const SHORTCUTS: [string, string[]][] = [
  ['Leave the terminal', ['Ctrl', 'Shift', 'Space']],
  ['Back to the terminal', ['Esc']],
  ['Copy', ['Ctrl', 'Shift', 'C']],
  ['Paste', ['Ctrl', 'Shift', 'V']],
  ['Another terminal', ['Ctrl', 'Shift', 'Enter']],
  ['Next terminal', ['Ctrl', 'Shift', '→']],
  ['Scroll back', ['Shift', 'PgUp']],
];

export function fillSettingsPanel(panel: HTMLElement, settings: Settings, onChange: (settings: Settings) => void): void {
  const change = (changes: Partial<Settings>): void => {
    Object.assign(settings, changes);
    onChange(settings);
  };
  panel.replaceChildren(
    make('h2', '', 'Settings'),
    themeSetting(settings, change),
    fontSetting(settings, change),
    fontNameSetting(settings, change),
    scrollbackSetting(settings, change),
    bellSetting(settings, change),
    screenReaderSetting(settings, change),
    memorySetting(settings, change),
    make('h2', '', 'Shortcuts'),
    shortcuts(),
  );
}

type Change = (changes: Partial<Settings>) => void;

function themeSetting(settings: Settings, change: Change): HTMLElement {
  return choice('Theme', 'theme', THEMES, settings.theme, (theme) => change({ theme }));
}

function bellSetting(settings: Settings, change: Change): HTMLElement {
  return choice('Bell', 'bell', BELLS, settings.bell, (bell) => change({ bell }));
}

function scrollbackSetting(settings: Settings, change: Change): HTMLElement {
  return choice('Scrollback, lines', 'scrollback', SCROLLBACKS.map((lines) => [lines, lines.toLocaleString('en')]), settings.scrollback, (scrollback) => change({ scrollback }));
}

function memorySetting(settings: Settings, change: Change): HTMLElement {
  const sizes: [number | null, string][] = MEMORIES_MIB.map((mib) => [mib, mib < 1024 ? `${mib} M` : `${mib / 1024} G`]);
  return choice('Memory, next start', 'memory', [[null, 'Default'], ...sizes], settings.memoryMiB, (memoryMiB) => change({ memoryMiB }));
}

/** One of a few, side by side. */
function choice<T>(what: string, name: string, options: [T, string][], chosen: T, onChoose: (value: T) => void): HTMLElement {
  const segments = make('span', 'segments');
  for (const [value, text] of options) {
    const input = make('input', '');
    input.type = 'radio';
    input.name = name;
    input.checked = value === chosen;
    input.addEventListener('change', () => onChoose(value));
    segments.append(make('label', 'segment', input, make('span', '', text)));
  }
  return make('fieldset', 'setting', make('legend', '', what), segments);
}

function fontNameSetting(settings: Settings, change: Change): HTMLElement {
  const input = makeTextField({ value: settings.font, placeholder: 'System monospace' });
  input.addEventListener('change', () => {
    change({ font: fontName(input.value) });
    input.value = settings.font;
  });
  return make('label', 'setting', 'Font', input);
}

function fontSetting(settings: Settings, change: Change): HTMLElement {
  const size = make('output', '', `${settings.fontSize} px`);
  const smaller = makeButton('−', 'button', () => step(-1));
  const larger = makeButton('+', 'button', () => step(1));
  smaller.setAttribute('aria-label', 'Smaller font');
  larger.setAttribute('aria-label', 'Larger font');
  const step = (by: number): void => {
    change({ fontSize: Math.min(FONT_SIZE_MAX, Math.max(FONT_SIZE_MIN, settings.fontSize + by)) });
    size.textContent = `${settings.fontSize} px`;
    smaller.disabled = settings.fontSize === FONT_SIZE_MIN;
    larger.disabled = settings.fontSize === FONT_SIZE_MAX;
  };
  return make('div', 'setting', 'Font size', make('span', 'stepper', smaller, size, larger));
}

function screenReaderSetting(settings: Settings, change: Change): HTMLElement {
  const input = make('input', 'switch');
  input.type = 'checkbox';
  input.checked = settings.screenReader;
  input.setAttribute('role', 'switch');
  input.addEventListener('change', () => change({ screenReader: input.checked }));
  return make('label', 'setting', 'Screen reader mode', input);
}

function shortcuts(): HTMLElement {
  const list = make('dl', 'shortcuts');
  for (const [what, keys] of SHORTCUTS) {
    const parts = keys.flatMap((key, i) => (i === 0 ? [make('kbd', '', key)] : [' ', make('kbd', '', key)]));
    list.append(make('dt', '', what), make('dd', '', ...parts));
  }
  return list;
}
