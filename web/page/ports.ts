/*
 * Ports of this page's container, as addresses: answers the service worker's calls for the session that it made up, by handing them to the
 * link worker. Nobody else knows the session, which is in the address: another page cannot name it.
 */
import { portUrl, type PortCall } from '../port-protocol.ts';
import { serviceFolder } from './isolation.ts';

export class PagePorts {
  readonly #session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  readonly #serve: (port: MessagePort) => void;

  /** `serve` takes a port for good. */
  constructor(serve: (port: MessagePort) => void) {
    this.#serve = serve;
    if (!('serviceWorker' in navigator)) return;
    navigator.serviceWorker.addEventListener('message', this.#onMessage);
    navigator.serviceWorker.startMessages();
  }

  /** The address under which a frame of this page shows a port of the container, http. Rejects with what is wrong. */
  async open(port: number): Promise<string> {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError(`${port} is no port`);
    return portUrl(await serviceFolder(), this.#session, port);
  }

  close(): void {
    if ('serviceWorker' in navigator) navigator.serviceWorker.removeEventListener('message', this.#onMessage);
  }

  readonly #onMessage = ({ data, ports }: MessageEvent<Partial<PortCall> | null>): void => {
    if (data?.type === 'portside-port' && data.session === this.#session && ports.length === 1) this.#serve(ports[0]);
  };
}
