/*
 * The worker that owns the WebSocket, or the network that takes its place. Its event loop is free while the guest blocks another thread and the page draws.
 */
import { expose } from 'comlink';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { CaptureStats, LinkApi, NetMode, NetStatus } from '../protocol.ts';
import type { Authority } from '../net/tls/authority.ts';
import type { BrowserLink, BrowserMode } from './browser-link.ts';
import { Capture } from './capture.ts';
import { Pump } from './pump.ts';
import { TunnelClient } from './tunnel-client.ts';

class LinkWorker implements LinkApi {
  #pump: Pump | null = null;
  #client: TunnelClient | null = null;
  #browser: BrowserLink | null = null;
  #isClosed = false;
  #authority: Authority | null = null;

  async prepare(mode: BrowserMode): Promise<Record<string, string>> {
    const { authorityFor } = await import('./browser-link.ts');
    this.#authority = await authorityFor(mode);
    return { PORTSIDE_CA: this.#authority.pem };
  }

  async open(
    mode: Exclude<NetMode, { kind: 'none' }>,
    origin: string,
    memory: ContainerMemory,
    bell: MessagePort | null,
    onStatus: (status: NetStatus) => void,
  ): Promise<void> {
    this.#pump = new Pump(memory, bell === null ? null : { onRing: (listener) => { bell.onmessage = listener; } });
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

  async servePort(port: MessagePort): Promise<void> {
    if (this.#browser === null) port.close();
    else this.#browser.servePort(port);
  }

  async retry(): Promise<void> {
    this.#client?.retry();
  }
}

expose(new LinkWorker());
