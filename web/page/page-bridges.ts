/**
 * The page's side of a container where memory can't be shared (no COOP and COEP, and no service worker that adds them): its rings are
 * joined to the container worker's over ports, and the container's stack is suspended while it waits (JSPI).
 */
import { Bridge, type BridgePort } from '../../shared/memory/bridge.ts';
import type { LocalMemory } from '../../shared/memory/container-memory.ts';
import { LinkCounters, type LinkStats } from '../../shared/memory/link-counters.ts';

/** Threads of this page can share memory. */
export function isShared(): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && globalThis.crossOriginIsolated;
}

/** This browser can suspend a WebAssembly stack. */
export function canSuspend(): boolean {
  return typeof WebAssembly === 'object' && 'Suspending' in WebAssembly && 'promising' in WebAssembly;
}

export class PageBridges {
  readonly forContainer: { page: MessagePort; link: MessagePort | null };
  readonly forLink: { container: MessagePort; page: MessagePort } | null;

  constructor(memory: LocalMemory, net: boolean) {
    const container = new MessageChannel();
    const bridge = new Bridge(container.port1 as unknown as BridgePort);
    bridge.send('stdin', memory.stdin, 'bytes');
    bridge.receive('stdout', memory.stdout, null);
    const frames = net ? new MessageChannel() : null;
    const counted = net ? new MessageChannel() : null;
    this.forContainer = { page: container.port2, link: frames?.port1 ?? null };
    this.forLink = frames === null || counted === null ? null : { container: frames.port2, page: counted.port2 };
    const counters = new LinkCounters(memory.control);
    if (counted !== null) counted.port1.onmessage = ({ data }: MessageEvent<LinkStats>) => { Object.assign(counters, data); };
  }

  /** What goes to the container's worker. */
  get transfers(): MessagePort[] {
    return this.forContainer.link === null ? [this.forContainer.page] : [this.forContainer.page, this.forContainer.link];
  }
}
