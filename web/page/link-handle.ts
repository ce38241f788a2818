/*
 * The page's end of a container's link: the worker that holds its network, from before the container starts until it has said bye.
 *
 * In a worker of its own; in a page without shared memory in the container's (channels.ts), which then lives as long as the bye takes. What was
 * being captured when the container ended is kept until somebody takes it.
 */
import type { Remote } from 'comlink';
import { proxy, transfer, wrap } from 'comlink';
import { LinkCounters, type LinkStats } from '../../shared/memory/link-counters.ts';
import { LINK_WORKER, type CaptureStats, type ContainerApi, type LinkApi, type NetMode, type NetStatus, type NetworkReply } from '../protocol.ts';
import { waitingMode, type Channels } from './channels.ts';
import { PagePorts } from './ports.ts';

/** how long a link worker has to say bye before it is ended, in ms */
const BYE_MS = 300;

export interface ContainerWorker {
  worker: Worker;
  api: Remote<ContainerApi>;
}

export class LinkHandle {
  readonly worker: Worker;
  readonly #net: Exclude<NetMode, { kind: 'none' }>;
  readonly #onStatus: (status: NetStatus) => void;
  readonly #api: Remote<LinkApi>;
  #channels: Channels | null = null;
  #lastStats: LinkStats | null = null;
  /** of a network in this page */
  #ports: PagePorts | null = null;
  /** of a container that has ended; null while it runs */
  #lastCapture: Promise<{ stats: CaptureStats | null; file: Blob | null }> | null = null;

  constructor(net: Exclude<NetMode, { kind: 'none' }>, container: ContainerWorker, onStatus: (status: NetStatus) => void) {
    this.#net = net;
    this.#onStatus = onStatus;
    if (waitingMode() === 'suspend') {
      const { port1, port2 } = new MessageChannel();
      void container.api.offerLink(transfer(port2, [port2]));
      this.worker = container.worker;
      this.#api = wrap<LinkApi>(port1);
      return;
    }
    this.worker = new Worker(new URL('../container/worker.ts', import.meta.url), { type: 'module', name: LINK_WORKER });
    this.worker.onerror = (event) => { onStatus({ state: 'refused', detail: `The network's worker failed: ${event.message}` }); };
    this.#api = wrap<LinkApi>(this.worker);
  }

  /** What the container must know before it starts, as environment. */
  async prepare(): Promise<Record<string, string>> {
    return this.#net.kind === 'browser' ? this.#api.prepare(this.#net) : {};
  }

  /** Connects. `seat` is that on a network of several tabs. */
  open(channels: Channels, seat: number | null): void {
    this.#channels = channels;
    const net = this.#net;
    const { framesBell: bell, memory } = channels;
    if (net.kind === 'browser') this.#ports = new PagePorts((port) => { void this.#api.servePort(transfer(port, [port])); });
    const mode = net.kind === 'browser' && seat !== null ? { ...net, seat } : net;
    const origin = net.kind === 'relay' ? net.origin ?? location.origin : location.origin;
    void this.#api.open(mode, origin, memory, bell === null ? null : transfer(bell, [bell]), proxy(this.#onStatus));
    addEventListener('pagehide', this.#onPageHide);
  }

  /** Connects at once instead of waiting for the backoff */
  retry(): void {
    void this.#api.retry();
  }

  /** Where the counters are in another thread's memory: as they were at the last call, and asked for anew. */
  stats(): LinkStats | null {
    const memory = this.#channels?.memory ?? null;
    if (memory !== null) return new LinkCounters(memory.control).snapshot();
    if (this.#lastCapture === null) void this.#api.stats().then((stats) => { this.#lastStats = stats; });
    return this.#lastStats;
  }

  async startCapture(): Promise<void> {
    if (this.#lastCapture === null) await this.#api.startCapture();
  }

  async captureStats(): Promise<CaptureStats | null> {
    return this.#lastCapture === null ? this.#api.captureStats() : (await this.#lastCapture).stats;
  }

  async stopCapture(): Promise<Blob | null> {
    const last = this.#lastCapture;
    if (last === null) return this.#api.stopCapture();
    this.#lastCapture = Promise.resolve({ stats: null, file: null });
    return (await last).file;
  }

  async callNetwork(path: string, body: object | null): Promise<NetworkReply | null> {
    return this.#api.callNetwork(path, body);
  }

  /** The address of a port of the container, for a frame of this page. Rejects where the network is not this page's. */
  async openPort(port: number): Promise<string> {
    if (this.#ports === null) throw new Error('Ports of the container open in a frame with ?net=browser only; with a relay they are forwarded (-p).');
    return this.#ports.open(port);
  }

  /** The container has ended. Once. */
  end(): void {
    removeEventListener('pagehide', this.#onPageHide);
    this.#ports?.close();
    this.#lastCapture = Promise.all([this.#api.captureStats(), this.#api.stopCapture()]).then(([stats, file]) => ({ stats, file }));
    void this.#api.close();
    setTimeout(() => { this.worker.terminate(); }, BYE_MS);
  }

  /** A page that may come back from the cache keeps its session; one that goes for good says bye. */
  readonly #onPageHide = (event: PageTransitionEvent): void => {
    if (!event.persisted) void this.#api.close();
  };
}
