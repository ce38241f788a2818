/*
 * The worker that owns the WebSocket. Its event loop is free while the guest blocks another thread and the page draws.
 */
import { expose } from 'comlink';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { CaptureStats, LinkApi, NetMode, NetStatus, NetworkReply } from '../protocol.ts';
import { Capture } from './capture.ts';
import { bridgedPump } from './bridged-pump.ts';
import { Pump } from './pump.ts';
import { TunnelClient } from './tunnel-client.ts';

class LinkWorker implements LinkApi {
  #pump: Pump | null = null;
  #client: TunnelClient | null = null;

  async open(
    mode: Exclude<NetMode, { kind: 'none' }>,
    origin: string,
    memory: ContainerMemory | null,
    bell: MessagePort | null,
    bridges: { container: MessagePort; page: MessagePort } | null,
    onStatus: (status: NetStatus) => void,
  ): Promise<void> {
    this.#pump = bridges === null
      ? new Pump(memory!, bell === null ? null : { onRing: (listener) => { bell.onmessage = listener; } })
      : bridgedPump(bridges);
    this.#client = new TunnelClient(mode, origin, this.#pump, onStatus);
    self.addEventListener('online', () => { this.#client?.retry(); });
    this.#client.open();
  }

  async close(): Promise<void> {
    this.#client?.close();
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

  async callNetwork(path: string, body: object | null): Promise<NetworkReply | null> {
    return await this.#client?.callNetwork(path, body) ?? null;
  }

  async retry(): Promise<void> {
    this.#client?.retry();
  }
}

expose(new LinkWorker());
