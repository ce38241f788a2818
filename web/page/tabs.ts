/*
 * The tabs: the first terminal of the container, and those that were opened beside it, each a <portside-terminal> in the stage.
 *
 * While there is one terminal there is no strip. All terminals have the size of the stage, the ones behind too, so a program there
 * draws as it will be seen. A tab goes with its shell; closing it hangs up, and it goes when the shell has gone. When the
 * container ends all but the first go.
 */
import type { ContainerTerminal, PortsideTerminal } from '../embed/portside.ts';
import type { ContainerControl } from './container-control.ts';
import { byId, icon, make, setText } from './dom.ts';
import { waitingMode } from './channels.ts';
import type { TerminalSettings } from './settings.ts';

interface Tab {
  number: number;
  view: PortsideTerminal;
  button: HTMLButtonElement;
  /** tab and × together */
  element: HTMLElement;
  /** null: the first */
  terminal: ContainerTerminal | null;
  /** what the program there calls itself */
  title: string;
}

export class Tabs {
  readonly #control: ContainerControl;
  readonly #settings: TerminalSettings;
  readonly #onTitle: () => void;
  readonly #stage = byId('stage', HTMLElement);
  readonly #strip = make('div', 'tabs');
  readonly #list: Tab[];
  #active: Tab;

  /** `onTitle` when `title` may have changed. */
  constructor(control: ContainerControl, settings: TerminalSettings, first: PortsideTerminal, onTitle: () => void) {
    this.#control = control;
    this.#onTitle = onTitle;
    this.#settings = settings;
    first.settings = settings;
    const tab = this.#makeTab(1, first, null);
    this.#list = [tab];
    this.#active = tab;
    this.#strip.setAttribute('role', 'tablist');
    this.#strip.setAttribute('aria-label', 'Terminals');
    this.#stage.prepend(this.#strip);
    this.#stage.addEventListener('portside-title', ({ target, detail }) => {
      const named = this.#list.find(({ view }) => view === target);
      if (named === undefined) return;
      named.title = detail;
      setText(named.button, detail === '' ? `Terminal ${named.number}` : `${named.number}: ${detail}`);
      if (named === this.#active) this.#onTitle();
    });
    this.#show();
  }

  /** what the program in the terminal that is seen calls itself; empty: nothing */
  get title(): string { return this.#active.title; }

  /** the terminal that is seen */
  get active(): PortsideTerminal { return this.#active.view; }

  /** Whether this image has room for one more; the further ones take shared memory. */
  get canOpen(): boolean {
    return this.#control.state === 'running' && waitingMode() === 'block' && this.#list.length < (this.#control.container?.image?.terminals ?? 1);
  }

  numbers(): number[] {
    return this.#list.map(({ number }) => number);
  }

  find(number: number): { view: PortsideTerminal; terminal: ContainerTerminal | null } | undefined {
    return this.#list.find((tab) => tab.number === number);
  }

  /** Opens another terminal and shows it; null when there is none left. */
  open(number?: number): number | null {
    const view = document.createElement('portside-terminal');
    view.setAttribute('bare', '');
    view.settings = this.#settings;
    // Behind whatever lies over the first one; in the document it has a size.
    this.#list[0].view.after(view);
    const terminal = this.#control.container?.openTerminal({ number, terminal: view, onClosed: () => this.#remove(tab) }) ?? null;
    if (terminal === null) {
      view.remove();
      return null;
    }
    const tab = this.#makeTab(terminal.number, view, terminal);
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

  applySettings(settings: TerminalSettings): void {
    for (const { view } of this.#list) view.settings = settings;
  }

  #makeTab(number: number, view: PortsideTerminal, terminal: ContainerTerminal | null): Tab {
    const button = make('button', 'tab', `Terminal ${number}`);
    button.type = 'button';
    button.setAttribute('role', 'tab');
    const element = make('span', 'tab-item', button);
    const tab: Tab = { number, view, button, element, terminal, title: '' };
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
    this.#onTitle();
  }

  #remove(tab: Tab): void {
    const at = this.#list.indexOf(tab);
    this.#list.splice(at, 1);
    tab.view.remove();
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
      tab.view.classList.toggle('behind', !active);
      tab.button.setAttribute('aria-selected', String(active));
      tab.button.tabIndex = active ? 0 : -1;
    }
    this.#strip.replaceChildren(...this.#list.map(({ element }) => element));
  }
}
