/** The keys that a phone's keyboard lacks. They never take the focus from the terminal, or the keyboard would close. */
import type { PortsideTerminal } from '../embed/portside.ts';
import { make } from './dom.ts';
import { arrowKey } from './keys.ts';

type Direction = Parameters<typeof arrowKey>[0];

const WORDS: [text: string, label: string, data: string][] = [['Esc', 'Esc', '\x1b'], ['Tab', 'Tab', '\t']];
const SIGNS: [text: string, label: string][] = [['|', 'Pipe'], ['-', 'Minus'], ['/', 'Slash']];
const ARROWS: [text: string, label: string, direction: Direction][] = [['←', 'Left', 'left'], ['↑', 'Up', 'up'], ['↓', 'Down', 'down'], ['→', 'Right', 'right']];

/** Returns what shows whether Ctrl is armed. */
export function setUpKeyBar(bar: HTMLElement, terminal: () => PortsideTerminal): (armed: boolean) => void {
  const add = (text: string, label: string, className: string, onPress: () => void): HTMLButtonElement => {
    const key = make('button', className, text);
    key.type = 'button';
    if (text !== label) key.setAttribute('aria-label', label);
    key.addEventListener('pointerdown', (event) => event.preventDefault());
    key.addEventListener('click', onPress);
    bar.append(key);
    return key;
  };
  for (const [text, label, data] of WORDS) add(text, label, 'key key-word', () => terminal().press(data));
  let armed = false;
  const ctrl = add('Ctrl', 'Ctrl, for the next key', 'key key-word', () => terminal().armCtrl(!armed));
  ctrl.setAttribute('aria-pressed', 'false');
  for (const [text, label] of SIGNS) add(text, label, 'key', () => terminal().press(text));
  for (const [text, label, direction] of ARROWS) add(text, label, 'key', () => terminal().press(arrowKey(direction, terminal().applicationCursorKeys)));
  return (now) => {
    armed = now;
    ctrl.setAttribute('aria-pressed', String(now));
  };
}

/** Where a virtual keyboard covers the page instead of making it smaller (iOS), the page ends above it. */
export function followVisualViewport(): void {
  const viewport = window.visualViewport;
  if (viewport === null) return;
  const follow = (): void => {
    // Zoomed in by fingers, the viewport is a magnifier and not a smaller page.
    if (viewport.scale > 1.01) return;
    const covered = innerHeight - viewport.height > 1;
    if (covered) document.documentElement.style.setProperty('--app-height', `${Math.round(viewport.height)}px`);
    else document.documentElement.style.removeProperty('--app-height');
    scrollTo(0, 0);
  };
  viewport.addEventListener('resize', follow);
  viewport.addEventListener('scroll', follow);
}
