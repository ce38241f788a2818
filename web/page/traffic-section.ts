/**
 * Flows, names and addresses of the container's network, one table at a time, in the panel of the network. Read from the relay while
 * it is looked at, and from nobody else.
 */
import { make, setText } from './dom.ts';
import { formatBytes, formatSeconds } from './figures.ts';
import type { AddressLease, DnsQuery, Flow, NetworkApi } from './network-api.ts';

type View = 'flows' | 'dns' | 'leases';

const VIEWS: [View, string][] = [['flows', 'Flows'], ['dns', 'Names'], ['leases', 'Addresses']];
const REFRESH_MS = 1000;
const ROWS_MAX = 100;
/** states of TCP and UDP in words */
const STATES: Record<string, string> = { 'dialing': 'connecting', 'time-wait': 'closed', 'unanswered': 'no answer yet' };

export class TrafficSection {
  /** made once, so that the focus stays in it when the panel is drawn anew */
  readonly element: HTMLElement;

  readonly #api: NetworkApi;
  readonly #table = make('table', 'traffic-table');
  readonly #note = make('p', 'traffic-note');
  #view: View = 'flows';
  /** names of addresses, as the container heard them */
  #names = new Map<string, string>();
  #asking = false;
  #askedAtMs = -Infinity;
  #shown = '';

  constructor(api: NetworkApi) {
    this.#api = api;
    const views = make('div', 'segments');
    views.setAttribute('role', 'radiogroup');
    views.setAttribute('aria-label', 'What to show');
    for (const [view, text] of VIEWS) {
      const input = make('input', '');
      input.type = 'radio';
      input.name = 'traffic';
      input.checked = view === this.#view;
      input.addEventListener('change', () => this.#choose(view));
      views.append(make('label', 'segment', input, make('span', '', text)));
    }
    const scroller = make('div', 'traffic-rows', this.#table);
    // What scrolls must be reached with the keyboard.
    scroller.tabIndex = 0;
    scroller.setAttribute('role', 'region');
    scroller.setAttribute('aria-label', 'Table');
    this.element = make('section', 'traffic', make('h2', '', 'Traffic'), views, this.#note, scroller);
  }

  /** Reads what is shown, at most once a second. */
  async refresh(): Promise<void> {
    const nowMs = performance.now();
    if (this.#asking || nowMs - this.#askedAtMs < REFRESH_MS) return;
    this.#asking = true;
    this.#askedAtMs = nowMs;
    const view = this.#view;
    try {
      await this.#read(view);
    } catch (error) {
      if (view === this.#view) this.#show('', error instanceof Error ? error.message : String(error), [], []);
    }
    this.#asking = false;
    if (view !== this.#view) await this.#again();
  }

  #choose(view: View): void {
    this.#view = view;
    void this.#again();
  }

  #again(): Promise<void> {
    this.#askedAtMs = -Infinity;
    return this.refresh();
  }

  async #read(view: View): Promise<void> {
    switch (view) {
      case 'flows': {
        const [{ total, flows }, queries] = [await this.#api.flows(), await this.#api.dnsLog()];
        this.#learn(queries);
        const sorted = flows.toSorted((a, b) => a.ageMs - b.ageMs).slice(0, ROWS_MAX);
        const note = total === 0 ? 'No connection is open.' : total > sorted.length ? `${sorted.length} of ${total.toLocaleString('en')}, the newest first.` : '';
        if (view === this.#view) this.#show(view, note, ['Connection', 'Down', 'Up'], sorted.map((flow) => this.#flowRow(flow)));
        return;
      }
      case 'dns': {
        const queries = await this.#api.dnsLog();
        this.#learn(queries);
        if (view === this.#view) this.#show(view, queries.length === 0 ? 'No name was asked for yet.' : '', ['Name', 'Answer'], queries.slice(0, ROWS_MAX).map(queryRow));
        return;
      }
      case 'leases': {
        const leases = await this.#api.leases();
        if (view === this.#view) this.#show(view, '', ['Address', 'Network card'], leases.map(leaseRow));
      }
    }
  }

  #learn(queries: DnsQuery[]): void {
    for (const { name, answers } of queries.toReversed()) for (const answer of answers) this.#names.set(answer, name);
    if (this.#names.size > 4 * 256) this.#names.clear();
  }

  #flowRow(flow: Flow): Row {
    const address = flow.remote.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
    const port = /\d+$/.exec(flow.remote)?.[0] ?? '';
    const name = this.#names.get(address);
    const guestPort = /\d+$/.exec(flow.guest)?.[0] ?? '';
    const title = flow.from === 'host' ? `from outside → ${guestPort}` : name === undefined ? flow.remote : `${name}:${port}`;
    const small = [flow.protocol.toUpperCase(), STATES[flow.state] ?? flow.state.replaceAll('-', ' '), ...(flow.from === 'guest' && name !== undefined ? [address] : []), formatSeconds(flow.ageMs)];
    return [{ title, small: small.join(' · ') }, formatBytes(flow.bytesToGuest), formatBytes(flow.bytesFromGuest)];
  }

  /** The same rows again change nothing: a selection and the place scrolled to stay. */
  #show(view: View | '', note: string, columns: string[], rows: Row[]): void {
    setText(this.#note, note);
    this.#note.hidden = note === '';
    const shown = JSON.stringify([view, rows]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#table.dataset['view'] = view;
    const head = make('tr', '', ...columns.map((column) => {
      const cell = make('th', '', column);
      cell.scope = 'col';
      return cell;
    }));
    this.#table.replaceChildren(...(rows.length === 0 ? [] : [make('thead', '', head), make('tbody', '', ...rows.map((row) => make('tr', '', ...row.map(cellOf))))]));
  }
}

type Cell = string | { title: string; small: string };
type Row = Cell[];

function cellOf(cell: Cell): HTMLTableCellElement {
  return typeof cell === 'string' ? make('td', '', cell) : make('td', '', make('span', 'traffic-title', cell.title), make('small', '', cell.small));
}

function queryRow({ name, type, via, ageMs, tookMs, status, answers }: DnsQuery): Row {
  const answer = answers.length > 0 ? answers.join(', ') : status === 'NOERROR' ? 'nothing of that type' : status;
  return [{ title: name === '' ? '.' : name, small: `${type} · ${formatSeconds(ageMs)} ago` }, { title: answer, small: via === 'resolver' ? `in ${tookMs} ms` : `from the ${via}` }];
}

function leaseRow({ ip, mac }: AddressLease): Row {
  return [ip, mac];
}
