/*
 * The bar, the panel of the network behind it, and the notice about a network that is gone.
 *
 * States come as events. Rates and countdowns are read by a timer, twice a second while the page is visible: the rates over
 * the last two seconds, so that they neither flicker nor linger.
 */
import type { NetMode, NetStatus } from '../protocol.ts';
import { CaptureSection, type CaptureSource } from './capture-section.ts';
import { byId, make, makeButton, setText } from './dom.ts';
import { formatBytes, formatRate, RateMeter } from './figures.ts';
import type { RunnerStats } from './runner.ts';
import type { NetworkApi } from './network-api.ts';
import { TrafficSection } from './traffic-section.ts';
import { containerWords, forwardUrl, forwardWords, netPeer, netTrouble, netWords, type PageState } from './status-words.ts';

const TICK_MS = 500;
const RATE_WINDOW_MS = 2000;
/** Forwards shown in the bar; the panel has them all. */
const FORWARDS_IN_BAR = 2;
/** A network that is back within this time was no trouble. */
const NOTICE_DELAY_MS = 700;

export interface StatusSource extends CaptureSource {
  state(): PageState;
  exitCode(): number | undefined;
  net(): NetStatus;
  mode(): NetMode;
  stats(): RunnerStats | null;
  retryNet(): void;
  api: NetworkApi;
}

export class StatusBar {
  readonly #source: StatusSource;
  readonly #down = new RateMeter(RATE_WINDOW_MS);
  readonly #up = new RateMeter(RATE_WINDOW_MS);
  readonly #containerChip = byId('container-chip', HTMLElement);
  readonly #containerText = byId('container-text', HTMLElement);
  readonly #netChip = byId('net-chip', HTMLButtonElement);
  readonly #netText = byId('net-text', HTMLElement);
  readonly #rates = byId('net-rates', HTMLElement);
  readonly #rateDown = byId('rate-down', HTMLElement);
  readonly #rateUp = byId('rate-up', HTMLElement);
  readonly #forwards = byId('forwards', HTMLElement);
  readonly #stop = byId('stop-button', HTMLButtonElement);
  readonly #panel = byId('net-panel', HTMLElement);
  readonly #notice = byId('net-notice', HTMLElement);
  readonly #noticeText = byId('net-notice-text', HTMLElement);
  readonly #announcer = byId('announcer', HTMLElement);
  readonly #capture: CaptureSection;
  readonly #traffic: TrafficSection;
  #forwardsShown = '';
  #troubleSinceMs: number | null = null;
  #noticeHidden = false;
  #announcedNet: NetStatus['state'] | null = null;

  constructor(source: StatusSource) {
    this.#source = source;
    this.#capture = new CaptureSection(source);
    this.#traffic = new TrafficSection(source.api);
    byId('net-retry', HTMLButtonElement).addEventListener('click', () => source.retryNet());
    byId('net-notice-close', HTMLButtonElement).addEventListener('click', () => {
      this.#noticeHidden = true;
      this.#notice.hidden = true;
    });
    setInterval(() => {
      if (!document.hidden) this.tick();
    }, TICK_MS);
  }

  /** The container's state has changed. */
  showState(): void {
    const state = this.#source.state();
    const words = containerWords(state, this.#source.exitCode());
    this.#containerChip.dataset['state'] = state;
    this.#containerChip.title = `Container: ${words}`;
    setText(this.#containerText, words);
    this.#stop.disabled = state !== 'loading' && state !== 'starting' && state !== 'running';
    this.#announce(`Container: ${words}`);
  }

  /** The network's state or its forwards have changed. */
  showNet(): void {
    const status = this.#source.net();
    this.#netChip.dataset['state'] = status.state;
    if (netTrouble(status, this.#source.mode(), 0) === null && status.state !== 'connecting') {
      this.#troubleSinceMs = null;
      this.#noticeHidden = false;
    }
    this.#showForwards();
    this.tick();
    // Each change once: the attempts to reconnect in between are not read out.
    const { state } = status;
    if (state === 'connecting' || state === this.#announcedNet) return;
    if (this.#announcedNet !== null || state !== 'off') this.#announce(`Network: ${state === 'down' ? 'offline, reconnecting' : netWords(status, this.#source.mode(), 0)}`);
    this.#announcedNet = state;
  }

  /** Opens with what is true now; kept so while it is open. */
  fillPanel(): void {
    void this.#capture.refresh();
    this.#panel.replaceChildren(...this.#panelParts());
    if (this.#traffic.element.isConnected) void this.#traffic.refresh();
  }

  tick(): void {
    const status = this.#source.net();
    const words = netWords(status, this.#source.mode(), Date.now());
    setText(this.#netText, words);
    this.#netChip.title = `Network: ${words}`;
    this.#measure(status);
    this.#showNotice(status);
    if (!this.#panel.matches(':popover-open')) return;
    this.#refreshPanel();
    void this.#capture.refresh();
    if (this.#traffic.element.isConnected) void this.#traffic.refresh();
  }

  #measure(status: NetStatus): void {
    const link = this.#source.stats()?.link ?? null;
    this.#rates.hidden = status.state !== 'up' || link === null;
    if (link === null) return;
    const nowMs = performance.now();
    this.#down.sample(nowMs, link.bytesToGuest);
    this.#up.sample(nowMs, link.bytesFromGuest);
    setText(this.#rateDown, formatRate(this.#down.perSecond()));
    setText(this.#rateUp, formatRate(this.#up.perSecond()));
  }

  #showNotice(status: NetStatus): void {
    const trouble = netTrouble(status, this.#source.mode(), Date.now());
    // While an attempt is under way the notice stays as it is, or it would blink with every attempt.
    if (trouble === null && status.state === 'connecting' && this.#troubleSinceMs !== null) {
      setText(this.#noticeText, 'The container keeps running. Connecting…');
      return;
    }
    if (trouble === null) {
      this.#notice.hidden = true;
      return;
    }
    this.#troubleSinceMs ??= performance.now();
    setText(this.#noticeText, trouble);
    this.#notice.dataset['state'] = status.state;
    this.#notice.hidden = this.#noticeHidden || performance.now() - this.#troubleSinceMs < NOTICE_DELAY_MS;
  }

  #showForwards(): void {
    const forwards = this.#source.net().forwards ?? [];
    const key = JSON.stringify(forwards);
    if (key === this.#forwardsShown) return;
    this.#forwardsShown = key;
    const shown = forwards.slice(0, FORWARDS_IN_BAR).map((forward) => {
      const url = forwardUrl(forward);
      if (url === null) return make('span', 'forward', forwardWords(forward));
      const link = make('a', 'forward', forwardWords(forward));
      link.href = url;
      link.target = '_blank';
      link.rel = 'noopener';
      link.title = `Open ${url}: port ${forward.guest} of the container`;
      return link;
    });
    if (forwards.length > FORWARDS_IN_BAR) shown.push(make('span', 'forward', `+${forwards.length - FORWARDS_IN_BAR}`));
    this.#forwards.replaceChildren(...shown);
  }

  #panelParts(): Node[] {
    const status = this.#source.net();
    const mode = this.#source.mode();
    const parts: Node[] = [make('h2', '', 'Network'), make('p', '', this.#panelSentence())];
    parts[1] = Object.assign(parts[1], { id: 'net-sentence' });
    if (mode.kind === 'none') return parts;
    if (status.state === 'down') parts.push(makeButton('Connect now', 'button', () => this.#source.retryNet()));
    const facts = make('dl', 'facts');
    facts.id = 'net-facts';
    for (const [what, value] of this.#facts()) facts.append(make('dt', '', what), make('dd', '', value));
    parts.push(facts);
    if (status.state === 'up' && mode.kind === 'relay') parts.push(this.#traffic.element);
    if (status.state !== 'off' || this.#capture.running) parts.push(this.#capture.element);
    return parts;
  }

  #panelSentence(): string {
    const status = this.#source.net();
    const mode = this.#source.mode();
    if (mode.kind === 'none') return 'This container was started without a network (?net=none).';
    const trouble = netTrouble(status, mode, Date.now());
    if (trouble !== null) return trouble;
    if (status.state === 'up') return status.detail ?? `Connected to ${mode.kind === 'relay' ? 'the' : ''} ${netPeer(mode, location.host)}.`.replace('  ', ' ');
    return status.state === 'connecting' ? `Connecting to ${netPeer(mode, location.host)}…` : 'The container is not running.';
  }

  #facts(): [string, string][] {
    const link = this.#source.stats()?.link ?? null;
    const facts: [string, string][] = [['Connected to', netPeer(this.#source.mode(), location.host)]];
    if (link === null) return facts;
    facts.push(
      ['To the container', `${formatBytes(link.bytesToGuest)} · ${formatRate(this.#down.perSecond())}`],
      ['From the container', `${formatBytes(link.bytesFromGuest)} · ${formatRate(this.#up.perSecond())}`],
      ['Frames', `↓ ${link.framesToGuest.toLocaleString('en')} · ↑ ${link.framesFromGuest.toLocaleString('en')}`],
    );
    if (link.framesDropped > 0) facts.push(['Frames dropped', link.framesDropped.toLocaleString('en')]);
    if (link.reconnects > 0) facts.push(['Reconnects', link.reconnects.toLocaleString('en')]);
    return facts;
  }

  /** The figures change in place, so that focus and selection stay; another set of facts or another state is drawn anew. */
  #refreshPanel(): void {
    const sentence = this.#panel.querySelector('#net-sentence');
    const values = [...this.#panel.querySelectorAll('#net-facts dd')];
    const facts = this.#source.mode().kind === 'none' ? [] : this.#facts();
    const { state } = this.#source.net();
    if (sentence === null || values.length !== facts.length || this.#panel.dataset['shown'] !== state) {
      this.#panel.dataset['shown'] = state;
      this.fillPanel();
      return;
    }
    setText(sentence, this.#panelSentence());
    for (let i = 0; i < facts.length; i++) setText(values[i], facts[i][1]);
  }

  #announce(text: string): void {
    setText(this.#announcer, text);
  }
}
