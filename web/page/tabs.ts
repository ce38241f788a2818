/*
 * The tabs: the first terminal of the container, and those that were opened beside it, each with an xterm of its own in the stage.
 *
 * While there is one terminal there is no strip. All terminals have the size of the stage, the ones behind too, so a program there
 * draws as it will be seen. A tab goes with its shell; closing it hangs up, and it goes when the shell has gone. When the
 * container ends all but the first go.
 */
import type { ContainerControl } from './container-control.ts';
import type { ContainerTerminal } from './container-terminal.ts';
import { byId, icon, make } from './dom.ts';
import { waitingMode } from './channels.ts';
import type { Settings } from './settings.ts';
import { TerminalView, type TerminalEvents } from './terminal.ts';

interface Tab {
  number: number;
  view: TerminalView;
  host: HTMLElement;
  button: HTMLButtonElement;
  /** tab and × together */
  element: HTMLElement;
  /** null: the first */
  terminal: ContainerTerminal | null;
}

/** What all terminals tell the page alike. */
export type SharedEvents = Pick<TerminalEvents, 'onLeave' | 'onCtrl' | 'onShortcut'>;

export class Tabs {
  readonly #control: ContainerControl;
  readonly #settings: Settings;
  readonly #events: SharedEvents;
  readonly #stage = byId('stage', HTMLElement);
  readonly #strip = make('div', 'tabs');
  readonly #list: Tab[];
  #active: Tab;

  constructor(control: ContainerControl, settings: Settings, events: SharedEvents, first: TerminalView) {
    this.#control = control;
    this.#settings = settings;
    this.#events = events;
    const tab = this.#makeTab(1, first, byId('terminal', HTMLElement), null);
    this.#list = [tab];
    this.#active = tab;
    this.#strip.setAttribute('role', 'tablist');
    this.#strip.setAttribute('aria-label', 'Terminals');
    this.#stage.prepend(this.#strip);
    this.#show();
  }

  /** the terminal that is seen */
  get active(): TerminalView { return this.#active.view; }

  /** Whether this image has room for one more; the further ones take shared memory. */
  get canOpen(): boolean {
    return this.#control.state === 'running' && waitingMode() === 'block' && this.#list.length < (this.#control.image?.terminals ?? 1);
  }

  numbers(): number[] {
    return this.#list.map(({ number }) => number);
  }

  find(number: number): { view: TerminalView; terminal: ContainerTerminal | null } | undefined {
    return this.#list.find((tab) => tab.number === number);
  }

  /** Opens another terminal and shows it; null when there is none left. */
  open(number?: number): number | null {
    const host = make('div', 'terminal-host');
    // Behind whatever lies over the first one.
    byId('terminal', HTMLElement).after(host);
    let tab: Tab | null = null;
    const view = new TerminalView(host, this.#settings, {
      ...this.#events,
      onInput: (data) => { tab?.terminal!.write(data); },
      onSize: (cols, rows) => tab?.terminal!.resize(cols, rows),
    });
    const terminal = this.#control.openTerminal({ size: view.size(), onOutput: (bytes, done) => view.output(bytes, done), onClosed: () => { if (tab !== null) this.#remove(tab); } }, number);
    if (terminal === null) {
      view.dispose();
      host.remove();
      return null;
    }
    tab = this.#makeTab(terminal.number, view, host, terminal);
    this.#list.push(tab);
    this.#list.sort((a, b) => a.number - b.number);
    this.#activate(tab);
    return terminal.number;
  }

  /** Hangs up; the tab goes when its shell has gone. */
  close(number: number): void {
    this.find(number)?.terminal?.hangUp();
  }

  /** The next tab, or the one before with -1. */
  turn(by: number): void {
    const { length } = this.#list;
    this.#activate(this.#list[(this.#list.indexOf(this.#active) + by + length) % length]);
  }

  applySettings(settings: Settings): void {
    for (const { view } of this.#list) view.applySettings(settings);
  }

  applyTheme(): void {
    for (const { view } of this.#list) view.applyTheme();
  }

  #makeTab(number: number, view: TerminalView, host: HTMLElement, terminal: ContainerTerminal | null): Tab {
    const button = make('button', 'tab', `Terminal ${number}`);
    button.type = 'button';
    button.setAttribute('role', 'tab');
    const element = make('span', 'tab-item', button);
    const tab: Tab = { number, view, host, button, element, terminal };
    button.addEventListener('click', () => this.#activate(tab));
    button.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') {
        this.turn(event.key === 'ArrowRight' ? 1 : -1);
        this.#active.button.focus();
      } else if (event.key === 'Delete') {
        this.close(number);
      }
    });
    if (terminal !== null) {
      const close = make('button', 'tab-close', icon('close', 'icon icon-small'));
      close.type = 'button';
      close.title = `Close terminal ${number} (Delete, on its tab)`;
      // For the mouse: a tab list holds tabs and nothing else, and the key for this is Delete.
      close.tabIndex = -1;
      close.setAttribute('aria-hidden', 'true');
      close.addEventListener('click', () => this.close(number));
      element.append(close);
    }
    return tab;
  }

  #activate(tab: Tab): void {
    this.#active = tab;
    this.#show();
    tab.view.focus();
  }

  #remove(tab: Tab): void {
    const at = this.#list.indexOf(tab);
    this.#list.splice(at, 1);
    tab.view.dispose();
    tab.host.remove();
    if (this.#active === tab) this.#activate(this.#list[Math.max(at - 1, 0)]);
    else this.#show();
  }

  /** To be called when the container's state has changed. */
  refresh(): void {
    byId('terminal-button', HTMLButtonElement).disabled = !this.canOpen;
  }

  #show(): void {
    this.refresh();
    const several = this.#list.length > 1;
    this.#strip.hidden = !several;
    this.#stage.classList.toggle('has-tabs', several);
    for (const tab of this.#list) {
      const active = tab === this.#active;
      tab.host.classList.toggle('behind', !active);
      tab.button.setAttribute('aria-selected', String(active));
      tab.button.tabIndex = active ? 0 : -1;
    }
    this.#strip.replaceChildren(...this.#list.map(({ element }) => element));
  }
}
