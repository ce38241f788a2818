/** A seat in a network of several tabs: the lowest that no other tab has. The browser takes it back when the tab goes. */
import { SEATS } from '../seats.ts';

export interface Seat {
  readonly number: number;
  /** Idempotent. */
  release(): void;
}

/** Rejects when all seats are taken, or this browser knows no locks. */
export async function claimSeat(network: string): Promise<Seat> {
  if (!('locks' in navigator)) throw new Error('This browser has no Web Locks, which tabs need to share a network.');
  for (let number = 0; number < SEATS; number++) {
    const release = await tryLock(`portside seat ${network} ${number}`);
    if (release !== null) return { number, release };
  }
  throw new Error(`All ${SEATS} seats of the network ${network} are taken.`);
}

/** Null when somebody else has it; else what gives it back. */
function tryLock(name: string): Promise<(() => void) | null> {
  return new Promise((settle, fail) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock === null) return settle(null);
      return new Promise<void>((release) => { settle(release); });
    }).catch(fail);
  });
}
