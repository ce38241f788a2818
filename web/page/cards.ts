/*
 * What lies over the terminal: the card of a start under way, the card of a failure, the banner of an end. At most one of
 * them is shown; `showNothing` is the running container.
 */
import type { Progress } from '../protocol.ts';
import { byId, icon, make, makeButton, setText } from './dom.ts';
import type { Failure } from './failures.ts';
import { formatBytes, formatRate, formatSeconds, RateMeter } from './figures.ts';

const RATE_WINDOW_MS = 3000;
/** A time that is left is worth showing only when it is not about to be over. */
const LEFT_MIN_MS = 1500;
/** Long enough to be read twice. */
const HINT_MS = 8000;
const PHASES: Progress['phase'][] = ['download', 'compile', 'start'];

/** What the page's address asks for is what cannot be. */
const STARTS_WITHOUT: ReadonlySet<Failure['code']> = new Set(['address', 'arguments', 'no-save', 'other-image', 'bad-save']);

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
  readonly #progress = byId('progress-card', HTMLElement);
  readonly #progressTitle = byId('progress-title', HTMLElement);
  readonly #steps = [...byId('progress-steps', HTMLElement).children] as HTMLElement[];
  readonly #bar = byId('progress-bar', HTMLElement);
  readonly #fill = byId('progress-fill', HTMLElement);
  readonly #amount = byId('progress-amount', HTMLElement);
  readonly #rate = byId('progress-rate', HTMLElement);
  readonly #failure = byId('failure-card', HTMLElement);
  readonly #banner = byId('exit-banner', HTMLElement);
  readonly #exitText = byId('exit-text', HTMLElement);
  readonly #hint = byId('hint', HTMLElement);
  readonly #hintText = byId('hint-text', HTMLElement);
  #hintTimer: ReturnType<typeof setTimeout> | undefined;
  #meter = new RateMeter(RATE_WINDOW_MS);

  constructor(actions: CardActions) {
    this.#actions = actions;
    byId('cancel-button', HTMLButtonElement).addEventListener('click', () => actions.cancel());
    byId('exit-restart', HTMLButtonElement).addEventListener('click', () => actions.restart());
    byId('exit-images', HTMLButtonElement).addEventListener('click', () => actions.chooseImage());
  }

  /** True while Enter means Restart. */
  get endShown(): boolean { return !this.#banner.hidden; }

  showNothing(): void {
    this.#veil.hidden = this.#progress.hidden = this.#failure.hidden = this.#banner.hidden = true;
  }

  showLoading(title: string): void {
    this.showNothing();
    this.#meter = new RateMeter(RATE_WINDOW_MS);
    setText(this.#progressTitle, title);
    this.showProgress({ phase: 'download' });
    this.#progress.hidden = false;
  }

  showProgress(progress: Progress): void {
    const now = PHASES.indexOf(progress.phase);
    this.#steps.forEach((step, i) => {
      step.dataset['step'] = i < now ? 'done' : i === now ? 'now' : 'later';
      if (i === now) step.setAttribute('aria-current', 'step');
      else step.removeAttribute('aria-current');
    });
    setText(this.#steps[0], progress.stored ? 'Read' : 'Download');
    if (progress.phase === 'download') this.#showDownload(progress.loaded ?? 0, progress.total ?? 0);
    else this.#showUnmeasured(progress.phase === 'compile' ? 'Translating the image for this processor' : 'Waiting for the first output');
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
    const title = make('h1', 'card-title', failure.title);
    if (failure.code !== 'cancelled') title.prepend(icon('warning'));
    const parts: Node[] = [title, make('p', '', failure.what)];
    if (failure.detail !== '') parts.push(make('pre', 'detail', failure.detail));
    parts.push(make('p', 'card-next', failure.next), actions);
    this.#failure.dataset['code'] = failure.code;
    this.#failure.replaceChildren(...parts);
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

  #showDownload(loaded: number, total: number): void {
    this.#meter.sample(performance.now(), loaded);
    const rate = this.#meter.perSecond();
    const known = total > 0 && loaded <= total;
    if (known) {
      this.#bar.setAttribute('aria-valuenow', String(Math.floor((loaded / total) * 100)));
      this.#bar.setAttribute('aria-valuetext', `${formatBytes(loaded)} of ${formatBytes(total)}`);
      this.#fill.style.setProperty('--fraction', (loaded / total).toFixed(4));
    } else {
      this.#setUnmeasured();
    }
    const percent = known ? ` · ${Math.floor((loaded / total) * 100)} %` : '';
    setText(this.#amount, loaded === 0 ? 'Connecting…' : known ? `${formatBytes(loaded)} of ${formatBytes(total)}${percent}` : formatBytes(loaded));
    const leftMs = known && rate > 0 ? ((total - loaded) / rate) * 1000 : 0;
    setText(this.#rate, rate === 0 ? '' : `${formatRate(rate)}${leftMs > LEFT_MIN_MS ? ` · ${formatSeconds(leftMs)} left` : ''}`);
  }

  #showUnmeasured(text: string): void {
    this.#setUnmeasured();
    setText(this.#amount, text);
    setText(this.#rate, '');
  }

  #setUnmeasured(): void {
    this.#bar.removeAttribute('aria-valuenow');
    this.#bar.removeAttribute('aria-valuetext');
  }
}
