/** The link worker's side where memory can't be shared: rings of its own, joined to the container's; the link word and the counters are told. */
import { Bridge, type BridgePort } from '../../shared/memory/bridge.ts';
import { makeLocalMemory } from '../../shared/memory/container-memory.ts';
import { LinkCounters, type LinkStats } from '../../shared/memory/link-counters.ts';
import { localBell, localListeners } from '../../shared/memory/local.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { Pump } from './pump.ts';

/** how often the page hears of the counters, in ms */
const COUNTERS_MS = 250;

export function bridgedPump(ports: { container: MessagePort; page: MessagePort }): Pump {
  const memory = makeLocalMemory(true);
  const bridge = new Bridge(ports.container as unknown as BridgePort);
  const wake = new Wake(memory.control);
  bridge.send('toGuest', memory.toGuest, 'frames');
  bridge.receive('fromGuest', memory.fromGuest, null);
  let link = 0;
  localListeners(memory.control)!.add(() => {
    if (wake.link === link) return;
    link = wake.link;
    bridge.tell(link);
  });
  const counters = new LinkCounters(memory.control);
  let told = '';
  setInterval(() => {
    const stats: LinkStats = counters.snapshot();
    const now = JSON.stringify(stats);
    if (now !== told) ports.page.postMessage(stats);
    told = now;
  }, COUNTERS_MS);
  return new Pump(memory, localBell(memory.fromGuest));
}
