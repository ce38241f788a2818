/** The card that asks, before a start, whether a saved container is to go on instead. */
import { byId, make, makeButton } from './dom.ts';
import { formatBytes } from './figures.ts';
import { ago } from './saved-panel.ts';
import type { SavedContainer } from './saves.ts';

/** Resolves with what was chosen. Of two cards the later one is the only one. */
export function askToResume({ name, header, file }: SavedContainer): Promise<'resume' | 'fresh'> {
  document.getElementById('resume-card')?.remove();
  return new Promise((resolve) => {
    const choose = (choice: 'resume' | 'fresh'): void => {
      card.remove();
      resolve(choice);
    };
    const resume = makeButton('Resume', 'button button-main', () => choose('resume'));
    const card = make('section', 'card',
      make('h1', 'card-title', 'Go on where you left off?'),
      make('p', '', `“${name}”, ${header.image.title || header.image.name}, was kept in this browser ${ago(header.savedAtMs, Date.now())} (${formatBytes(file.size)}).`),
      make('div', 'card-actions', resume, makeButton('Start a new one', 'button', () => choose('fresh'))));
    card.id = 'resume-card';
    card.setAttribute('aria-label', 'A saved container');
    byId('stage', HTMLElement).append(card);
    resume.focus({ preventScroll: true });
  });
}
