/** All sessions of a relay: makes them within the caps, finds them, ends them. */
import { RelayError } from '../shared/relay-error.ts';
import { isGauge, type NetworkStats } from '../shared/net/services/network.ts';
import { newToken, Session, type SessionEnv, type SessionStats } from './session.ts';

/** Sums over all sessions there ever were; gauges over those that are open. */
export interface SessionTotals {
  fromGuestBytes: number;
  toGuestBytes: number;
  network: NetworkStats;
}

export class Sessions {
  readonly #env: SessionEnv;
  readonly #sessions = new Map<string, Session>();
  /** of the sessions that have ended */
  readonly #ended: SessionTotals = { fromGuestBytes: 0, toGuestBytes: 0, network: {} };
  /** sessions made since the start */
  made = 0;

  constructor(env: Omit<SessionEnv, 'onClosed'>) {
    this.#env = { ...env, onClosed: (session) => this.#onClosed(session) };
  }

  /** Why no session can be made for `address` now, or null. */
  refusal(address: string): string | null {
    const { maxSessions, maxSessionsPerAddress } = this.#env.limits;
    if (this.#sessions.size >= maxSessions) return `this relay has ${maxSessions} sessions already; close a tab`;
    const own = [...this.#sessions.values()].filter((session) => session.address === address).length;
    if (own >= maxSessionsPerAddress) return `your address has ${maxSessionsPerAddress} sessions already; close a tab`;
    return null;
  }

  /** A session that hello can claim with the token. Throws RELAY_LIMIT at a cap. */
  create(address: string): { session: Session; token: string } {
    const token = newToken();
    return { session: this.#add(address, token), token };
  }

  /** A session for a client without the tunnel: it lives as long as its link. Throws RELAY_LIMIT at a cap. */
  createBare(address: string): Session {
    return this.#add(address, null);
  }

  /** The session, if `token` is its token. That an id exists may show in the time it takes: it is as unguessable itself. */
  claim(id: string, token: string): Session | null {
    const session = this.#sessions.get(id);
    return session?.hasToken(token) ? session : null;
  }

  /** The one whose link came last, among those that have one. */
  latestLinked(): Session | null {
    let latest: Session | null = null;
    for (const session of this.#sessions.values()) {
      if (session.linkOrder > (latest?.linkOrder ?? 0)) latest = session;
    }
    return latest;
  }

  get size(): number { return this.#sessions.size; }

  stats(): SessionStats[] {
    return [...this.#sessions.values()].map((session) => session.stats());
  }

  totals(): SessionTotals {
    const totals = { ...this.#ended, network: { ...this.#ended.network } };
    for (const stats of this.stats()) addTo(totals, stats);
    return totals;
  }

  /** Ends all. Idempotent. */
  close(why: string, code: number): void {
    for (const session of this.#sessions.values()) session.close(why, code);
  }

  #onClosed(session: Session): void {
    this.#sessions.delete(session.id);
    const { network, ...stats } = session.stats();
    // A closed network holds nothing, whatever its gauges said a moment before.
    addTo(this.#ended, { ...stats, network: Object.fromEntries(Object.entries(network).filter(([name]) => !isGauge(name))) });
  }

  #add(address: string, token: string | null): Session {
    const refusal = this.refusal(address);
    if (refusal !== null) throw new RelayError('RELAY_LIMIT', refusal);
    const session = new Session(this.#env, address, token);
    this.#sessions.set(session.id, session);
    this.made++;
    return session;
  }
}

function addTo(totals: SessionTotals, { fromGuestBytes, toGuestBytes, network }: SessionTotals): void {
  totals.fromGuestBytes += fromGuestBytes;
  totals.toGuestBytes += toGuestBytes;
  for (const [name, value] of Object.entries(network)) totals.network[name] = (totals.network[name] ?? 0) + value;
}
