import { describe, expect, it } from 'vitest';
import { defaultSettings, parseSettings } from './settings.ts';

const DEFAULTS = defaultSettings(1280);

describe('parseSettings', () => {
  it('reads back what was stored', () => {
    const settings = { theme: 'dark', fontSize: 18, screenReader: true } as const;
    expect(parseSettings(JSON.stringify(settings), DEFAULTS)).toEqual(settings);
  });

  it('takes defaults for what does not fit', () => {
    for (const stored of [null, '', '{', '1', '"x"', '[]', '{}', '{"theme":"pink","fontSize":"9","screenReader":1}', 'null']) {
      expect(parseSettings(stored, DEFAULTS), String(stored)).toEqual(DEFAULTS);
    }
  });

  it('keeps the font readable and the terminal usable', () => {
    expect(parseSettings('{"fontSize":1e9}', DEFAULTS).fontSize).toBe(28);
    expect(parseSettings('{"fontSize":-4}', DEFAULTS).fontSize).toBe(9);
    expect(parseSettings('{"fontSize":13.4}', DEFAULTS).fontSize).toBe(13);
  });
});

it('a phone starts with a smaller font', () => expect(defaultSettings(390).fontSize).toBeLessThan(DEFAULTS.fontSize));
