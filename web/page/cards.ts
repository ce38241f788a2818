/*
 * What lies over the terminal: the card of a start under way, the card of a failure, the banner of an end. At most one of
 * them is shown; `showNothing` is the running container.
 */
import type { Progress } from '../protocol.ts';
import { byId, icon, make, makeButton, setText } from './dom.ts';
import type { Failure } from './failures.ts';
import { ProgressCard } from './progress-card.ts';

/** Long enough to be read twice. */
const HINT_MS = 8000;
const PHASES: Progress['phase'][] = ['download', 'compile', 'start'];

/** What the page's address asks for is what cannot be. */
const STARTS_WITHOUT: ReadonlySet<Failure['code']> = new Set(['address', 'arguments', 'memory', 'no-save', 'other-image', 'bad-save']);

export interface CardActions {
  restart(): void;
  cancel(): void;
  chooseImage(): void;
  /** reloads the page without the parameter that it could not use */
  startWithout(): void;
}

export class Cards {
  readonly #actions: CardActions;
  readonly #veil = byId('veil', HTMLElement);
  readonly #progress = new ProgressCard(byId('progress-card', HTMLElement));
  readonly #failure = byId('failure-card', HTMLElement);
  readonly #banner = byId('exit-banner', HTMLElement);
  readonly #exitText = byId('exit-text', HTMLElement);
  readonly #hint = byId('hint', HTMLElement);
  readonly #hintText = byId('hint-text', HTMLElement);
  #hintTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(actions: CardActions) {
    this.#actions = actions;
    byId('cancel-button', HTMLButtonElement).addEventListener('click', () => actions.cancel());
    byId('exit-restart', HTMLButtonElement).addEventListener('click', () => actions.restart());
    byId('exit-images', HTMLButtonElement).addEventListener('click', () => actions.chooseImage());
  }

  /** True while Enter means Restart. */
  get endShown(): boolean { return !this.#banner.hidden; }

  showNothing(): void {
    this.#veil.hidden = this.#progress.root.hidden = this.#failure.hidden = this.#banner.hidden = true;
  }

  showLoading(title: string): void {
    this.showNothing();
    this.#progress.begin(title);
    this.showProgress({ phase: 'download' });
    this.#progress.root.hidden = false;
  }

  showProgress({ phase, stored, loaded, total }: Progress): void {
    this.#progress.showStep(PHASES.indexOf(phase), stored ? 'Read' : 'Download');
    if (phase === 'download') this.#progress.showBytes(loaded ?? 0, total ?? 0);
    else this.#progress.showText(phase === 'compile' ? 'Translating the image for this processor' : 'Waiting for the first output');
  }

  showFailure(failure: Failure): void {
    this.showNothing();
    const actions = make('div', 'card-actions');
    if (failure.retry) actions.append(makeButton('Try again', 'button button-main', () => this.#actions.restart()));
    else if (STARTS_WITHOUT.has(failure.code)) actions.append(makeButton('Start without it', 'button button-main', () => this.#actions.startWithout()));
    if (failure.code !== 'no-webassembly' && failure.code !== 'not-isolated') {
      actions.append(makeButton('Choose another image', actions.childElementCount === 0 ? 'button button-main' : 'button', () => this.#actions.chooseImage()));
    } else {
      actions.append(makeButton('Reload the page', 'button button-main', () => location.reload()));
    }
    this.#failure.dataset['code'] = failure.code;
    this.#failure.replaceChildren(...failureParts(failure, actions));
    this.#veil.hidden = false;
    this.#failure.hidden = false;
    // Nothing else can be done here now: the keyboard starts at what can.
    actions.querySelector('button')?.focus({ preventScroll: true });
  }

  showEnd(text: string): void {
    this.showNothing();
    setText(this.#exitText, text);
    this.#banner.hidden = false;
  }

  /** A sentence for a while, over whatever is there. */
  showHint(text: string): void {
    setText(this.#hintText, text);
    this.#hint.hidden = false;
    clearTimeout(this.#hintTimer);
    this.#hintTimer = setTimeout(() => { this.#hint.hidden = true; }, HINT_MS);
  }
}

/** What a card says of a failure, and what can be done. */
export function failureParts({ code, title: words, what, detail, next }: Pick<Failure, 'title' | 'what' | 'detail' | 'next'> & { code?: string }, actions: HTMLElement): Node[] {
  const title = make('h1', 'card-title', words);
  if (code !== 'cancelled') title.prepend(icon('warning'));
  const parts: Node[] = [title, make('p', '', what)];
  if (detail !== '') parts.push(make('pre', 'detail', detail));
  parts.push(make('p', 'card-next', next), actions);
  return parts;
}
