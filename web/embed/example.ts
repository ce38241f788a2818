/** The live example of portside/web: embed.html. */
import { byId } from '../page/dom.ts';
import { Container, PortsideTerminal, sharedFolder, startContainer, type StartOptions } from './portside.ts';

const terminals = byId('terminals', HTMLElement);
const first = byId('first', PortsideTerminal);
const state = byId('state', HTMLOutputElement);
/** Buttons for a container that runs. */
const ACTIONS = ['another', 'keep', 'send'];

let container: Container | null = null;

byId('run', HTMLButtonElement).addEventListener('click', () => void run());
onClick('start', () => start({ image: 'busybox', net: 'none' }));
onClick('go-on', () => start({ resume: 'example', net: 'none' }));
onClick('stop', () => container?.stop());
onClick('another', () => openTerminal());
onClick('keep', async () => {
  const { bytes } = await container!.save('example');
  say(`Kept, ${Math.round(bytes / 1000)} kB. “Go on” goes on with it.`);
});
onClick('send', async () => {
  await sharedFolder().put('hello', new Blob([`It is ${new Date().toISOString()}\n`]));
  container!.write('cat /mnt/share/hello\n');
});
for (const name of ['theme', 'font-size']) {
  const field = document.getElementById(name) as HTMLInputElement | HTMLSelectElement;
  field.addEventListener('change', () => each((terminal) => terminal.setAttribute(name, field.value)));
}
const reader = byId('screen-reader', HTMLInputElement);
reader.addEventListener('change', () => each((terminal) => terminal.toggleAttribute('screen-reader', reader.checked)));

async function run(): Promise<void> {
  const result = byId('result', HTMLOutputElement);
  result.textContent = 'Starting…';
  try {
    const one = await startContainer({ image: 'busybox', net: 'none' });
    one.write('echo $((6 * 7))\n');
    const [text] = await one.waitForText('42');
    result.textContent = `The container says ${text}.`;
    one.stop();
  } catch (error) {
    result.textContent = String(error);
  }
}

function start(options: StartOptions): void {
  container?.stop();
  container = new Container({
    ...options,
    terminal: first,
    share: crossOriginIsolated,
    onProgress: ({ phase, loaded = 0, total }) => say(total === undefined ? `${phase}…` : `${phase}: ${Math.round((loaded / total) * 100)} %`),
    onState: (now, { exitCode, error }) => {
      say(error?.message ?? (exitCode === undefined ? now : `${now}, with status ${exitCode}`));
      byId('stop', HTMLButtonElement).disabled = now === 'exited' || now === 'stopped' || now === 'failed';
      for (const id of ACTIONS) byId(id, HTMLButtonElement).disabled = now !== 'running';
    },
    onTerminals: (numbers) => numbers.forEach(openTerminal),
  });
  first.focus();
}

function openTerminal(number?: number): void {
  const terminal = document.createElement('portside-terminal');
  terminal.toggleAttribute('bare', true);
  terminal.settings = first.settings;
  terminals.append(terminal);
  const line = container?.openTerminal({ number, terminal, onClosed: () => terminal.remove() }) ?? null;
  if (line !== null) return terminal.focus();
  terminal.remove();
  say('There is no further terminal.');
}

function each(change: (terminal: PortsideTerminal) => void): void {
  for (const terminal of terminals.querySelectorAll('portside-terminal')) change(terminal);
}

function say(text: string): void {
  state.value = text;
}

function onClick(id: string, act: () => void | Promise<void>): void {
  byId(id, HTMLButtonElement).addEventListener('click', () => void Promise.resolve().then(act).catch((error: unknown) => say(String(error))));
}
