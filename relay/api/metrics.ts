/*
 * Prometheus metrics, made anew for each scrape from the numbers that are counted anyway.
 *
 * Names come from a closed set: the members of Counters, the gauges of VirtualNetwork.stats, the reasons of Drop. No label
 * says which session, guest or address: those grow with whoever comes. `framesFromGuest` becomes
 * `portside_frames_from_guest_total`, `tcpFlowsOpen` `portside_tcp_flows_open`, `drop:REASON` a label of `portside_drops_total`.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { isGauge, type NetworkStats } from '../../shared/net/services/network.ts';
import type { Sessions } from '../sessions.ts';

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/** One network's metrics. */
export async function networkMetrics(stats: NetworkStats): Promise<MetricsText> {
  const registry = new Registry();
  addNetwork(registry, stats);
  return render(registry);
}

/** The relay's: sessions, links, the sums over all networks it ever had, and the process. */
export async function relayMetrics(relay: { sessions: Sessions; links: ReadonlySet<{ queuedBytes: number }>; version: string; bugs: number }): Promise<MetricsText> {
  const registry = new Registry();
  const open = relay.sessions.stats();
  const sessions = new Gauge({ name: 'portside_sessions', help: 'sessions that are open, by state', labelNames: ['state'], registers: [registry] });
  for (const state of ['linked', 'broken', 'unclaimed'] as const) sessions.set({ state }, open.filter((session) => session.state === state).length);
  addCounter(registry, 'portside_sessions_made_total', 'sessions made since the start', relay.sessions.made);
  addGauge(registry, 'portside_links', 'WebSockets that are links', relay.links.size);
  addGauge(registry, 'portside_link_queued_bytes', 'bytes that clients have not read yet', [...relay.links].reduce((sum, link) => sum + link.queuedBytes, 0));
  const totals = relay.sessions.totals();
  addCounter(registry, 'portside_stream_from_guest_bytes_total', 'bytes of the links from guests', totals.fromGuestBytes);
  addCounter(registry, 'portside_stream_to_guest_bytes_total', 'bytes of the links to guests', totals.toGuestBytes);
  new Gauge({ name: 'portside_info', help: 'version of the relay', labelNames: ['version'], registers: [registry] }).set({ version: relay.version }, 1);
  // Those of the networks are among the relay's.
  addNetwork(registry, { ...totals.network, bugsCaught: relay.bugs });
  return render(Registry.merge([registry, processRegistry()]));
}

function addNetwork(registry: Registry, stats: NetworkStats): void {
  const drops = new Counter({ name: 'portside_drops_total', help: 'frames that died, by reason', labelNames: ['reason'], registers: [registry] });
  for (const [name, value] of Object.entries(stats)) {
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (name.startsWith('drop:')) drops.inc({ reason: name.slice('drop:'.length) }, value);
    else if (isGauge(name)) addGauge(registry, `portside_${snake}`, `${name}, now`, value);
    else addCounter(registry, `portside_${snake}_total`, `${name}, since the start`, value);
  }
}

function addGauge(registry: Registry, name: string, help: string, value: number): void {
  new Gauge({ name, help, registers: [registry] }).set(value);
}

function addCounter(registry: Registry, name: string, help: string, value: number): void {
  new Counter({ name, help, registers: [registry] }).inc(value);
}

async function render(registry: Registry): Promise<MetricsText> {
  return { contentType: registry.contentType, text: await registry.metrics() };
}

let ofProcess: Registry | null = null;

/** Memory, event loop, garbage collection: watched from the first scrape on, for nobody else pays for it. */
function processRegistry(): Registry {
  if (ofProcess === null) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}
