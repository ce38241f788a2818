/* A container's link as the page sees it: the WebSocket's owner, the pump, the capture. */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { LinkStats } from '../../shared/memory/link-counters.ts';
import type { CaptureStats, LinkApi, NetMode, NetStatus, NetworkReply } from '../protocol.ts';
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

  constructor(own: OwnMemory | null = null) {
    this.#own = own;
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
    this.#client = new TunnelClient(mode, origin, this.#pump, onStatus);
    self.addEventListener('online', () => { this.#client?.retry(); });
    this.#client.open();
  }

  async stats(): Promise<LinkStats | null> {
    return this.#pump?.counters.snapshot() ?? null;
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
