/**
 * A port of the container in a frame beside the terminal. What the container serves is nobody we trust: it has an origin of its own
 * (another port), and its frame neither credentials nor storage of this browser. That is what `credentialless` means; it is also what an isolated
 * page needs to frame a server that sends no COEP. A browser without it opens a tab instead.
 */
import { byId, make, makeButton } from './dom.ts';

export function canFrame(): boolean {
  return 'credentialless' in HTMLIFrameElement.prototype;
}

export function showFrame(url: string, guestPort: number): void {
  const card = byId('frame-card', HTMLElement);
  const frame = document.createElement('iframe');
  frame.setAttribute('credentialless', '');
  frame.setAttribute('sandbox', 'allow-scripts allow-forms allow-same-origin');
  frame.referrerPolicy = 'no-referrer';
  frame.title = `Port ${guestPort} of the container`;
  frame.src = url;
  const close = (): void => {
    card.replaceChildren();
    card.hidden = true;
  };
  const address = make('a', 'frame-address', url.replace(/^http:\/\/|\/$/g, ''));
  address.href = url;
  address.target = '_blank';
  address.rel = 'noopener';
  card.replaceChildren(make('header', 'frame-bar', address,
    // To itself again: a frame of another origin can't be told to reload.
    makeButton('Reload', 'button button-small', () => { frame.src = url; }),
    makeButton('Close', 'button button-small', close)), frame);
  card.hidden = false;
}
