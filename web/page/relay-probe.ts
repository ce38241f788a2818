/** Whether the server of the page is a relay: asked once, while the image loads, where the address leaves the network to us. */
import type { NetMode } from '../protocol.ts';
import type { NetChoice } from './address.ts';

const HEALTH_PATH = '/api/health';
/** a server that takes longer is busy, and one that is busy is a relay as likely as not */
const PROBE_MS = 4000;

/** The network that a choice comes to, for a page whose relay would be at `origin`. Never rejects. */
export async function settleNet(choice: NetChoice | NetMode, origin: string): Promise<NetMode> {
  if (choice.kind !== 'relay') return choice;
  const { orBrowser, ...relay }: Extract<NetChoice, { kind: 'relay' }> = choice;
  return orBrowser !== true || await isRelay(origin) ? relay : { kind: 'browser', isFallback: true };
}

/** A server that does not answer counts as one: it may come back, and the link's own attempts go on. */
async function isRelay(origin: string): Promise<boolean> {
  let response: Response;
  try {
    response = await fetch(new URL(HEALTH_PATH, origin), { cache: 'no-store', signal: AbortSignal.timeout(PROBE_MS) });
  } catch {
    return true;
  }
  // 403: it does not know this page's host, and will say so to the link.
  if (response.status === 403 || response.status === 429 || (response.status >= 500 && response.status !== 501)) return true;
  const health: unknown = response.ok ? await response.json().catch(() => null) : null;
  return typeof health === 'object' && health !== null && 'status' in health && health.status === 'ok';
}
