/** What is counted, and the one place where a frame's death is noted. */
import type { Drop } from '../wire/drop.ts';
import { DROP_REASONS } from '../wire/drop.ts';

export class Counters {
  framesFromGuest = 0;
  bytesFromGuest = 0;
  framesToGuest = 0;
  bytesToGuest = 0;
  framesSwitched = 0;
  tcpFlowsMade = 0;
  tcpRetransmits = 0;
  tcpTimeouts = 0;
  tcpResetsSent = 0;
  tcpOutOfOrder = 0;
  udpFlowsMade = 0;
  udpDropped = 0;
  udpFlowsEvicted = 0;
  udpRefusedByGuest = 0;
  icmpErrorsSent = 0;
  icmpErrorsHeeded = 0;
  dnsQueries = 0;
  dnsCacheHits = 0;
  /** sockets that the host had no descriptor, memory or port for */
  hostExhausted = 0;
  /** our own exceptions (containment.ts) */
  bugsCaught = 0;
  readonly #drops = new Map<Drop, number>(DROP_REASONS.map((reason) => [reason, 0]));
  readonly #log: ((line: string) => void) | undefined;

  constructor(log?: (line: string) => void) {
    this.#log = log;
  }

  drop(reason: Drop): void {
    this.#drops.set(reason, this.#drops.get(reason)! + 1);
    this.#log?.(`drop ${reason}`);
  }

  dropsOf(reason: Drop): number {
    return this.#drops.get(reason)!;
  }

  /** Every number by name; drops as `drop:reason`, those that never happened left out. */
  snapshot(): Record<string, number> {
    const numbers: Record<string, number> = {};
    for (const [name, value] of Object.entries(this)) if (typeof value === 'number') numbers[name] = value;
    for (const [reason, count] of this.#drops) if (count > 0) numbers[`drop:${reason}`] = count;
    return numbers;
  }
}
