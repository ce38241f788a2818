/** `globalThis.portside`: the page's scripting interface, for Playwright tests and for the console. */
import type { PortsideTerminal } from '../embed/portside.ts';
import type { ContainerControl } from './container-control.ts';
import { failureLine } from './failures.ts';
import { listSaves } from './saves.ts';
import type { RunnerStats } from './runner.ts';
import type { PageState } from './status-words.ts';
import type { Tabs } from './tabs.ts';

export interface Portside {
  /**
   * Resolves when the container has shown its first output (or has exited without any); rejects with an Error that says what
   * is wrong and what to do. After a restart it is a new promise; who waits already goes on waiting.
   */
  readonly ready: Promise<void>;
  /** `'loading'`, `'starting'`, `'running'`, `'exited'`, `'stopped'` (by the button or `stop`) or `'failed'` */
  readonly state: PageState;
  /** status of the container's command; present with `'exited'` */
  readonly exitCode: number | undefined;
  /** why there is no container; null unless the state is `'failed'`, or `'stopped'` before the first output */
  readonly error: { code: string; message: string } | null;
  /** state of the network: `'off'`, `'connecting'`, `'up'`, `'down'` or `'refused'`, with a sentence, forwards and the time of the next attempt */
  readonly net: { state: string; detail?: string; forwards: { host: string; guest: number; protocol?: 'tcp' | 'udp' }[]; retryAtMs?: number };
  /** what listens in the container, `local` where it alone reaches it; null while the image does not tell */
  readonly ports: { port: number; local: boolean }[] | null;
  /** Text of the terminal with its scrollback (of a full-screen program: its screen); wrapped lines joined, trailing blanks removed. */
  screen(): string;
  /** Types `text`: `\n` is the Enter key, `\x03` Ctrl-C. False when it was refused: nothing runs, or 4 MiB are waiting. */
  write(text: string): boolean;
  /** Of the terminal, in characters. */
  size(): { cols: number; rows: number };
  /** Bytes and frames in each direction, rates since the call before, uptime, waiting mode; null before the first container. */
  stats(): RunnerStats | null;
  /** Writes down every frame of the container's network from now on, up to 64 MiB. */
  startCapture(): Promise<void>;
  /** Ends that, with a pcapng file; null when nothing was captured. */
  stopCapture(): Promise<Blob | null>;
  /**
   * The address of a port of the container, for a frame of this page or a new tab: a web server there is seen, without its scripts. With
   * `?net=browser` only; rejects with an Error that says what is wrong.
   */
  openPort(port: number): Promise<string>;
  /** Shows a port beside the terminal, as soon as somebody listens there. */
  showPort(port: number): void;
  /** The terminals of the container: the first has number 1, and images of ours have room for 4. */
  readonly terminals: {
    /** those that are open */
    list(): number[];
    /** Opens another one, with a shell, and shows it; its number, or null when there is none left. */
    open(): number | null;
    /** Hangs up on its shell; it is gone from the list when the shell is gone. */
    close(number: number): void;
    /** as `write` and `screen` do with the first */
    write(number: number, text: string): boolean;
    screen(number: number): string;
  };
  /** Keeps the container in this browser as it is now, memory and disk; it goes on. `?resume=NAME` goes on with what was kept. */
  save(name?: string): Promise<{ name: string; bytes: number; changedBytes: number; pausedMs: number }>;
  /** What is kept, the newest first. */
  saves(): Promise<{ name: string; image: string; savedAtMs: number; bytes: number }[]>;
  /** As the button: ends the container and starts the same again. */
  restart(): void;
  /** As the button: ends the container; a start under way is cancelled. */
  stop(): void;
}

declare global {
  // `var` is what makes it a property of globalThis.
  var portside: Portside;
}

/** `restart` is the page's: it may have to read the list of images again first. */
export function installScripting(control: ContainerControl, terminal: PortsideTerminal, tabs: Tabs, restart: () => void, showPort: (port: number) => void): void {
  const portside: Portside = {
    get ready() { return control.ready; },
    get state() { return control.state; },
    get exitCode() { return control.exitCode; },
    get error() { return control.failure === null ? null : { code: control.failure.code, message: failureLine(control.failure) }; },
    get net() { return { ...control.net, forwards: control.net.forwards ?? [] }; },
    get ports() { return control.ports; },
    screen: () => terminal.screen(),
    write: (text) => control.container?.write(text) ?? false,
    size: () => terminal.size(),
    stats: () => control.container?.stats() ?? null,
    startCapture: async () => control.container?.startCapture(),
    stopCapture: async () => await control.container?.stopCapture() ?? null,
    openPort: (port) => control.openPort(port),
    showPort,
    terminals: Object.freeze({
      list: () => tabs.numbers(),
      open: () => tabs.open(),
      close: (number: number) => tabs.close(number),
      write: (number: number, text: string) => (number === 1 ? control.container : tabs.find(number)?.terminal)?.write(text) ?? false,
      screen: (number: number) => tabs.find(number)?.view.screen() ?? '',
    }),
    save: async (name) => {
      const { bytes, changedBytes, pausedMs, name: used } = await control.save(name);
      return { name: used, bytes, changedBytes, pausedMs };
    },
    saves: async () => (await listSaves()).map(({ name, header, file }) => ({ name, image: header.image.name, savedAtMs: header.savedAtMs, bytes: file.size })),
    restart,
    stop: () => control.stop(),
  };
  Object.defineProperty(globalThis, 'portside', { value: Object.freeze(portside), enumerable: true });
}
