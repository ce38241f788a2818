/*
 * What the process may open (`ulimit -n`), shared out: flows of guests, connections to the relay, and a reserve for its own work.
 *
 *   limit = what is open at the start + own (files, programs, names) + connections (links, HTTP, API) + flows
 *
 * config.ts says how much is for what. Flows are taken by networks, each through a share of its own. A network that is alone may have them all; one of
 * many may hold no more than are free, so that whatever one guest opens, half is left for the next one, of that half again half for a third. The
 * gateway's own sockets, which carry names, have a few of the reserve when flows have used up the rest: a guest that has opened everything can
 * still ask, and be told.
 */
import type { SocketBudget } from '../shared/net/nat/host-net.ts';
import { RelayError } from '../shared/relay-error.ts';
import { DESCRIPTORS_LEAST, shareDescriptors, type DescriptorShares } from './config.ts';
import { descriptorLimit, descriptorsOpen } from './host/descriptor-limit.ts';

/** What `admit` uses of a server of Node's. */
interface Accepting {
  on(event: 'connection', listener: (socket: { destroy(): unknown; once(event: 'close', listener: () => void): unknown }) => void): unknown;
}

export class Descriptors {
  readonly shares: DescriptorShares;
  /** Called for each connection that is closed because there were too many. */
  onRefused: (() => void) | null = null;
  #flows = 0;
  #own = 0;
  #connections = 0;

  constructor(shares: DescriptorShares) {
    this.shares = shares;
  }

  /** Of this process, as it is now. Throws RelayError RELAY_LIMIT when that is too little to work with. */
  static ofProcess(): Descriptors {
    const limit = descriptorLimit();
    const shares = shareDescriptors(limit - descriptorsOpen());
    if (shares === null) {
      throw new RelayError('RELAY_LIMIT', `this process may open ${limit} files, which is too few for a network: raise the limit first, for instance by \`ulimit -n 1024\` (${DESCRIPTORS_LEAST} at least)`);
    }
    return new Descriptors(shares);
  }

  /** sockets that networks hold */
  get flowsOpen(): number { return this.#flows + this.#own; }
  /** connections of `admit`'s servers */
  get connectionsOpen(): number { return this.#connections; }

  /** For one network. `isAlone`: there is no other. */
  share(isAlone: boolean): SocketBudget {
    let held = 0;
    return {
      take: (isOwn) => {
        const free = this.shares.flows - this.#flows;
        if (isAlone ? free > 0 : held < free) {
          held++;
          this.#flows++;
          return () => {
            held--;
            this.#flows--;
          };
        }
        if (!isOwn || this.#own >= this.shares.names) return null;
        this.#own++;
        return () => { this.#own--; };
      },
    };
  }

  /** Counts the connections of `server`, and closes those that are too many. */
  admit(server: Accepting): void {
    server.on('connection', (socket) => {
      if (this.#connections >= this.shares.connections) {
        socket.destroy();
        this.onRefused?.();
        return;
      }
      this.#connections++;
      socket.once('close', () => this.#connections--);
    });
  }
}
