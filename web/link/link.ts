/* A container's link as the page sees it: the WebSocket's owner or the network in its place, the pump, the capture. */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { LinkStats } from '../../shared/memory/link-counters.ts';
import type { CaptureStats, LinkApi, NetMode, NetStatus, NetworkReply } from '../protocol.ts';
import type { Authority } from '../net/tls/authority.ts';
import type { BrowserLink, BrowserMode } from './browser-link.ts';
import { Capture } from './capture.ts';
import { Pump } from './pump.ts';
import { TunnelClient } from './tunnel-client.ts';

/** The container's memory when it lies in this very thread, and what rings there for frames of the guest. */
export interface OwnMemory {
  memory: ContainerMemory;
  bell: MessagePort;
}

export class Link implements LinkApi {
  readonly #own: OwnMemory | null;
  #pump: Pump | null = null;
  #client: TunnelClient | null = null;
  #browser: BrowserLink | null = null;
  #isClosed = false;
  #authority: Authority | null = null;

  constructor(own: OwnMemory | null = null) {
    this.#own = own;
  }

  async prepare(mode: BrowserMode): Promise<Record<string, string>> {
    const { authorityFor } = await import('./browser-link.ts');
    this.#authority = await authorityFor(mode);
    return { PORTSIDE_CA: this.#authority.pem };
  }

  async open(
    mode: Exclude<NetMode, { kind: 'none' }>,
    origin: string,
    memory: ContainerMemory | null,
    bell: MessagePort | null,
    onStatus: (status: NetStatus) => void,
  ): Promise<void> {
    const ring = this.#own?.bell ?? bell;
    this.#pump = new Pump((memory ?? this.#own?.memory)!, ring === null ? null : { onRing: (listener) => { ring.onmessage = listener; } });
    if (mode.kind === 'browser') {
      onStatus({ state: 'connecting' });
      const { BrowserLink, authorityFor } = await import('./browser-link.ts');
      const authority = this.#authority ?? await authorityFor(mode);
      if (!this.#isClosed) this.#browser = new BrowserLink(this.#pump, mode, authority, origin, onStatus);
      return;
    }
    this.#client = new TunnelClient(mode, origin, this.#pump, onStatus);
    self.addEventListener('online', () => { this.#client?.retry(); });
    this.#client.open();
  }

  async stats(): Promise<LinkStats | null> {
    return this.#pump?.counters.snapshot() ?? null;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#client?.close();
    this.#browser?.close();
    this.#pump?.close();
  }

  async startCapture(): Promise<void> {
    if (this.#pump !== null) this.#pump.capture ??= new Capture();
  }

  async captureStats(): Promise<CaptureStats | null> {
    const writer = this.#pump?.capture?.writer;
    return writer === undefined ? null : { frames: writer.frames, bytes: writer.bytes, missed: writer.missed };
  }

  async stopCapture(): Promise<Blob | null> {
    const capture = this.#pump?.capture ?? null;
    if (capture === null) return null;
    this.#pump!.capture = null;
    return capture.writer.finish();
  }

  async servePort(port: MessagePort, guestPort: number | null): Promise<void> {
    if (this.#browser === null) port.close();
    else this.#browser.servePort(port, guestPort);
  }

  async callNetwork(path: string, body: object | null): Promise<NetworkReply | null> {
    return await this.#client?.callNetwork(path, body) ?? null;
  }

  async retry(): Promise<void> {
    this.#client?.retry();
  }
}
