/*
 * Ports of this page's container, as addresses: answers the service worker's calls for the session that it made up, by handing them to the
 * link worker. Nobody else knows the session, which is in the address: another page cannot name it. Those addresses are on our origin, without
 * scripts; frames with scripts are on others (scripted-frames.ts).
 */
import { portUrl, type PortCall } from '../port-protocol.ts';
import { serviceFolder } from './isolation.ts';
import type { ScriptedFrame, ScriptedFrames } from './scripted-frames.ts';

export class PagePorts {
  readonly #session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  readonly #serve: (port: MessagePort, guestPort: number | null) => void;
  #frames: ScriptedFrames | null = null;
  #isClosed = false;

  /** `serve` takes a port for good, for one port of the container alone where that is said. */
  constructor(serve: (port: MessagePort, guestPort: number | null) => void) {
    this.#serve = serve;
    if (!('serviceWorker' in navigator)) return;
    navigator.serviceWorker.addEventListener('message', this.#onMessage);
    navigator.serviceWorker.startMessages();
  }

  /** The address under which a frame of this page shows a port of the container, http. Rejects with what is wrong. */
  async open(port: number): Promise<string> {
    check(port);
    return portUrl(await serviceFolder(), this.#session, port);
  }

  /** A frame with the container's scripts; null where there is no origin for it. */
  async openFrame(port: number): Promise<ScriptedFrame | null> {
    check(port);
    const { frameOrigins, ScriptedFrames } = await import('./scripted-frames.ts');
    const origins = await frameOrigins();
    if (origins === null || this.#isClosed) return null;
    this.#frames ??= new ScriptedFrames(this.#serve);
    return this.#frames.open(port, origins);
  }

  close(): void {
    this.#isClosed = true;
    this.#frames?.close();
    if ('serviceWorker' in navigator) navigator.serviceWorker.removeEventListener('message', this.#onMessage);
  }

  readonly #onMessage = ({ data, ports }: MessageEvent<Partial<PortCall> | null>): void => {
    if (data?.type === 'portside-port' && data.session === this.#session && ports.length === 1) this.#serve(ports[0], null);
  };
}

function check(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`${port} is no port`);
}
