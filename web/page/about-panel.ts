/** What runs here: versions, how this page got its SharedArrayBuffer, what this browser can do, what it keeps. */
import { icon, make, makeButton, setText } from './dom.ts';
import { formatBytes } from './figures.ts';
import { isolatedBy } from './isolation.ts';
import { waitingMode } from './channels.ts';
import type { RunnerStats } from './runner.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import { wakeMode } from '../../shared/memory/drain.ts';
import { parseCacheName } from '../stored-image.ts';

declare const PORTSIDE_VERSION: string;

export interface AboutSource {
  /** null before an image is loaded */
  image(): ImageInfo | null;
  stats(): RunnerStats | null;
  /** of the first terminal */
  renderer(): string;
  /** of the relay, or null where there is none */
  relayOrigin(): string | null;
}

/** (module (func (result v128) (i32.const 0) (i8x16.splat))) */
const SIMD = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0, 10, 8, 1, 6, 0, 0x41, 0, 0xfd, 0x0f, 0x0b);

export function fillAboutPanel(panel: HTMLElement, source: AboutSource): void {
  const facts = make('dl', 'facts');
  const fact = (what: string, value: string): HTMLElement => {
    const dd = make('dd', '', value);
    facts.append(make('dt', '', what), dd);
    return dd;
  };
  const image = source.image();
  fact('Portside', PORTSIDE_VERSION);
  const relay = source.relayOrigin();
  if (relay !== null) void relayVersion(relay).then((version) => setText(relayFact, version));
  const relayFact = relay === null ? make('dd', '') : fact('Relay', '…');
  if (image !== null) {
    fact('Image', image.ours ? `${image.title || image.name}, by Portside` : 'by container2wasm');
    if (image.memoryMiB !== null) fact('Memory', `${image.memoryMiB} MiB`);
  }
  fact('Threads wake by', (source.stats()?.wakeMode ?? wakeMode()) === 'wait-async' ? 'Atomics.waitAsync' : 'messages');
  fact('The container waits by', waitingMode() === 'suspend' ? 'JSPI, in one thread with its network' : 'blocking its worker');
  fact('Terminal drawn by', source.renderer() === 'webgl' ? 'WebGL' : 'DOM');
  const isolated = fact('Isolated by', '…');
  void isolatedBy().then((who) => setText(isolated, who));

  const kept = make('p', '', '…');
  const forget = makeButton('Forget stored images', 'button', () => void forgetImages().then(() => showKept(kept, forget)));
  void showKept(kept, forget);
  panel.replaceChildren(make('h2', '', 'About'), facts, make('h2', '', 'This browser'), features(), make('h2', '', 'Kept in this browser'), kept, forget);
}

function features(): HTMLElement {
  const list = make('ul', 'features');
  const wasm = WebAssembly as unknown as Record<string, unknown>;
  const known: [string, boolean][] = [
    ['SharedArrayBuffer', globalThis.crossOriginIsolated],
    ['Atomics.waitAsync', wakeMode() === 'wait-async'],
    ['WebAssembly SIMD', WebAssembly.validate(SIMD)],
    ['JavaScript promise integration', typeof wasm['Suspending'] === 'function'],
    ['Service worker', 'serviceWorker' in navigator],
    ['Storage for images', 'caches' in globalThis],
  ];
  for (const [what, has] of known) list.append(make('li', has ? 'has' : '', icon(has ? 'check' : 'close', 'icon icon-small'), make('span', '', what), make('span', 'visually-hidden', has ? ': yes' : ': no')));
  return list;
}

async function relayVersion(origin: string): Promise<string> {
  try {
    const health: unknown = await (await fetch(new URL('/api/health', origin))).json();
    const version = typeof health === 'object' && health !== null ? (health as { version?: unknown }).version : undefined;
    return typeof version === 'string' ? version.slice(0, 40) : 'does not say';
  } catch {
    return 'does not answer';
  }
}

async function storedImages(): Promise<string[]> {
  return 'caches' in globalThis ? (await caches.keys()).filter((name) => parseCacheName(name) !== null) : [];
}

async function forgetImages(): Promise<void> {
  for (const name of await storedImages()) await caches.delete(name);
}

async function showKept(text: HTMLElement, forget: HTMLButtonElement): Promise<void> {
  const images = await storedImages().catch(() => []);
  const usage = (await navigator.storage?.estimate().catch(() => null))?.usage ?? 0;
  forget.hidden = images.length === 0;
  setText(text, images.length === 0 ? 'No images: the next start downloads again.' : `${images.length === 1 ? 'One image' : `${images.length} images`}, for starts without a download. ${formatBytes(usage)} in all.`);
}
