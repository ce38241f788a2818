/** The card of something that takes a while: a title, three steps, a bar with figures. Its elements are those of index.html, or a copy of them. */
import { setText } from './dom.ts';
import { formatBytes, formatRate, formatSeconds, RateMeter } from './figures.ts';

const RATE_WINDOW_MS = 3000;
/** A time that is left is worth showing only when it is not about to be over. */
const LEFT_MIN_MS = 1500;

export class ProgressCard {
  readonly root: HTMLElement;
  readonly #title: HTMLElement;
  readonly #steps: HTMLElement[];
  readonly #bar: HTMLElement;
  readonly #fill: HTMLElement;
  readonly #amount: HTMLElement;
  readonly #aside: HTMLElement;
  #meter = new RateMeter(RATE_WINDOW_MS);

  constructor(root: HTMLElement) {
    this.root = root;
    const all = (selector: string): HTMLElement[] => [...root.querySelectorAll<HTMLElement>(selector)];
    [this.#title] = all('.card-title');
    this.#steps = all('.step');
    [this.#bar] = all('.progress');
    [this.#fill] = all('.progress-fill');
    [this.#amount, this.#aside] = all('.progress-figures span');
  }

  begin(title: string): void {
    this.#meter = new RateMeter(RATE_WINDOW_MS);
    setText(this.#title, title);
    for (const named of [this.root, this.#bar]) named.setAttribute('aria-label', title);
  }

  showStep(now: number, ...names: string[]): void {
    this.#steps.forEach((step, i) => {
      step.dataset['step'] = i < now ? 'done' : i === now ? 'now' : 'later';
      if (i === now) step.setAttribute('aria-current', 'step');
      else step.removeAttribute('aria-current');
      if (i < names.length) setText(step, names[i]);
    });
  }

  /** `total` is 0 where nobody knows it. */
  showBytes(loaded: number, total: number): void {
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
    setText(this.#aside, rate === 0 ? '' : `${formatRate(rate)}${leftMs > LEFT_MIN_MS ? ` · ${formatSeconds(leftMs)} left` : ''}`);
  }

  showText(text: string, aside = ''): void {
    this.#setUnmeasured();
    setText(this.#amount, text);
    setText(this.#aside, aside);
  }

  #setUnmeasured(): void {
    this.#bar.removeAttribute('aria-valuenow');
    this.#bar.removeAttribute('aria-valuetext');
  }
}
