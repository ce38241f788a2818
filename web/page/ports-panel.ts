/**
 * The panel of the ports, and its button's count: what listens in the container appears by itself, and is opened and closed here.
 *
 * A port that is opened becomes one of the relay's machine, on 127.0.0.1, which a browser on that machine finds at localhost. Three
 * sources make the list: what the image reports, what the relay was started with (`-p`), and what was opened here. An image that reports nothing
 * leaves a field for a number. With a network in this page nothing is opened: a port is shown beside the terminal, or not.
 */
import type { Forward } from '../../shared/link/tunnel.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import type { NetMode, NetStatus } from '../protocol.ts';
import { byId, icon, make, makeButton, makeFieldForm, makeTextField, setText } from './dom.ts';
import type { NetworkApi, OpenPort } from './network-api.ts';
import { forwardUrl, forwardWords } from './status-words.ts';

export interface PortsSource {
  /** null: the image does not tell */
  listening(): ListeningPort[] | null;
  net(): NetStatus;
  mode(): NetMode;
  api: NetworkApi;
  /** beside the terminal; `url` where the relay opened it */
  showPort(port: number, url: string | null): void;
}

interface Entry {
  guest: number;
  listens: boolean;
  local: boolean;
  /** where it leads from; null while it is closed */
  forward: Forward | null;
  /** what closes it: opened by the API */
  open: OpenPort | null;
}

export class PortsPanel {
  readonly #source: PortsSource;
  readonly #panel = byId('ports-panel', HTMLElement);
  readonly #count = byId('ports-count', HTMLElement);
  readonly #button = byId('ports-button', HTMLButtonElement);
  #open: OpenPort[] = [];
  #problem = '';
  #shown = '';
  /** of the field for a port that nobody reports */
  #typed = '';

  constructor(source: PortsSource) {
    this.#source = source;
  }

  /** What listens, or the network, has changed. */
  show(): void {
    if (this.#source.net().state === 'off') this.#open = [];
    const entries = this.#entries();
    const count = entries.filter(({ listens, local }) => listens && !local).length;
    setText(this.#count, count === 0 ? '' : String(count));
    this.#count.hidden = count === 0;
    this.#button.title = count === 0 ? 'Ports' : `Ports: ${count} open in the container`;
    if (!this.#panel.matches(':popover-open')) return;
    // Drawn when it has changed: what has the focus would lose it.
    if (this.#picture(entries) !== this.#shown) this.fill();
  }

  /** Opens with what is true now. */
  fill(): void {
    const entries = this.#entries();
    this.#shown = this.#picture(entries);
    const focused = this.#panel.contains(document.activeElement) ? document.activeElement?.getAttribute('data-key') ?? null : null;
    const parts: Node[] = [make('h2', '', 'Ports'), make('p', '', this.#sentence(entries))];
    if (entries.length > 0) parts.push(make('ul', 'port-list', ...entries.map((entry) => this.#item(entry))));
    const udp = (this.#source.net().forwards ?? []).filter(({ protocol }) => protocol === 'udp');
    if (udp.length > 0) parts.push(make('p', '', `Forwarded as well: ${udp.map(forwardWords).join(', ')}.`));
    if (this.#source.net().state === 'up') parts.push(this.#form());
    if (this.#problem !== '') {
      const problem = make('p', 'port-problem', this.#problem);
      problem.setAttribute('role', 'alert');
      parts.push(problem);
    }
    this.#panel.replaceChildren(...parts);
    if (focused !== null) [...this.#panel.querySelectorAll('[data-key]')].find((one) => one.getAttribute('data-key') === focused)?.dispatchEvent(new Event('refocus'));
  }

  /** Reads what was opened, here or by others who have the session's token. */
  async refresh(): Promise<void> {
    if (this.#source.net().state !== 'up' || this.#isOurs) return;
    try {
      this.#open = await this.#source.api.openPorts();
    } catch {
      this.#open = [];
    }
    this.show();
  }

  /** The network is this page's. */
  get #isOurs(): boolean { return this.#source.mode().kind === 'browser'; }

  #entries(): Entry[] {
    const { net } = this.#source;
    const entries = new Map<number, Entry>();
    const entry = (guest: number): Entry => {
      const known = entries.get(guest) ?? { guest, listens: false, local: false, forward: null, open: null };
      entries.set(guest, known);
      return known;
    };
    for (const { port, local } of this.#source.listening() ?? []) Object.assign(entry(port), { listens: true, local });
    for (const forward of net().forwards ?? []) if (forward.protocol !== 'udp') entry(forward.guest).forward ??= forward;
    for (const open of this.#open) {
      if (open.protocol !== 'tcp') continue;
      const one = entry(open.guest);
      one.forward ??= { host: open.host, guest: open.guest };
      one.open ??= open;
    }
    return [...entries.values()].sort((a, b) => a.guest - b.guest);
  }

  /** All that the panel shows. */
  #picture(entries: Entry[]): string {
    return JSON.stringify([entries, this.#problem, this.#source.net().state, this.#source.listening() === null]);
  }

  #sentence(entries: Entry[]): string {
    const tells = this.#source.listening() !== null;
    if (this.#source.net().state === 'off') return 'The container has no network: nobody outside reaches its ports.';
    if (entries.some(({ listens }) => listens)) return `What listens in the container. ${this.#isOurs ? 'A web server is shown beside the terminal.' : 'Opened, it is at localhost on the relay’s computer.'}`;
    return tells ? 'Nothing listens in the container. A server that starts in it appears here.' : 'This image does not tell what listens in it.';
  }

  #item({ guest, listens, local, forward, open }: Entry): HTMLElement {
    const url = forward === null ? null : forwardUrl(forward);
    const state = local ? 'only inside the container (127.0.0.1)' : forward !== null ? forwardWords(forward).replace(/ →.*/, '') : listens ? 'listens' : '';
    const item = make('li', 'port-item', make('strong', '', String(guest)), make('span', 'port-state', listens || local ? state : `${state}, nobody listens`.replace(/^, /, '')));
    const actions = make('span', 'port-actions');
    if (url !== null && !local) {
      const link = make('a', 'button button-small', 'Open', icon('out', 'icon icon-small'));
      link.href = url;
      link.target = '_blank';
      link.rel = 'noopener';
      link.title = `Open ${url}: port ${guest} of the container`;
      actions.append(keyed(link, `open ${guest}`));
      // An isolated page frames such a server in no other way.
      if ('credentialless' in HTMLIFrameElement.prototype) actions.append(this.#here(guest, url));
      if (open !== null) actions.append(keyed(makeButton('Close', 'button button-small', () => void this.#act(() => this.#source.api.closePort(open))), `close ${guest}`));
    } else if (!local && this.#isOurs) {
      actions.append(this.#here(guest, null));
    } else if (!local && this.#source.net().state === 'up') {
      actions.append(keyed(makeButton('Open', 'button button-small', () => void this.#openPort(guest)), `open ${guest}`));
    }
    item.append(actions);
    return item;
  }

  #here(guest: number, url: string | null): HTMLElement {
    return keyed(makeButton('Here', 'button button-small', () => this.#show(guest, url)), `here ${guest}`);
  }

  #show(guest: number, url: string | null): void {
    this.#panel.hidePopover();
    this.#source.showPort(guest, url);
  }

  #form(): HTMLFormElement {
    const input = makeTextField({ id: 'port-number', inputMode: 'numeric', required: true, pattern: '[0-9]{1,5}', placeholder: '8080', value: this.#typed });
    input.addEventListener('input', () => { this.#typed = input.value; });
    const button = make('button', 'button', this.#isOurs ? 'Here' : 'Open');
    return makeFieldForm('Another port of the container', keyed(input, 'number'), keyed(button, 'submit'), () => {
      const port = Number(input.value);
      if (port < 1 || port > 65_535) return;
      if (this.#isOurs) this.#show(port, null);
      else void this.#openPort(port);
    });
  }

  #openPort(guest: number): Promise<void> {
    return this.#act(async () => {
      await this.#source.api.openPort(guest);
      this.#typed = '';
    });
  }

  async #act(action: () => Promise<void>): Promise<void> {
    this.#problem = '';
    try {
      await action();
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error);
    }
    await this.refresh();
    this.show();
  }
}

/** An element that gets the focus back when the panel is drawn anew. */
function keyed<T extends HTMLElement>(element: T, key: string): T {
  element.dataset['key'] = key;
  element.addEventListener('refocus', () => element.focus());
  return element;
}
