import { describe, expect, it } from 'vitest';
import { defaultSettings, parseSettings } from './settings.ts';

const DEFAULTS = defaultSettings(1280);

describe('parseSettings', () => {
  it('reads back what was stored', () => {
    const settings = { theme: 'dark', fontSize: 18, screenReader: true, font: 'My Mono 2', scrollback: 50_000, bell: 'sound', memoryMiB: 1024 } as const;
    expect(parseSettings(JSON.stringify(settings), DEFAULTS)).toEqual(settings);
  });

  it('takes defaults for what does not fit', () => {
    for (const stored of [null, '', '{', '1', '"x"', '[]', '{}', '{"theme":"pink","fontSize":"9","screenReader":1,"font":7,"scrollback":12,"bell":"gong","memoryMiB":1e9}', 'null']) {
      expect(parseSettings(stored, DEFAULTS), String(stored)).toEqual(DEFAULTS);
    }
  });

  it('takes of a font\'s name what can stand in quotes', () => {
    expect(parseSettings('{"font":"  Fira; Code\\"} "}', DEFAULTS).font).toBe('Fira Code');
    expect(parseSettings(JSON.stringify({ font: 'x'.repeat(200) }), DEFAULTS).font).toHaveLength(80);
  });

  it('keeps the font readable and the terminal usable', () => {
    expect(parseSettings('{"fontSize":1e9}', DEFAULTS).fontSize).toBe(28);
    expect(parseSettings('{"fontSize":-4}', DEFAULTS).fontSize).toBe(9);
    expect(parseSettings('{"fontSize":13.4}', DEFAULTS).fontSize).toBe(13);
  });
});

it('a phone starts with a smaller font', () => expect(defaultSettings(390).fontSize).toBeLessThan(DEFAULTS.fontSize));
