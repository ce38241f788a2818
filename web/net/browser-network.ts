/*
 * A virtual network that ends in this page: the stack of shared/net with a browser for its host.
 *
 *   pump ─ batch ─▶ port ─▶ stack ─▶ NAT ─▶ PageHostNet ─▶ HttpGateway ─▶ fetch
 *   pump ◀─ receive ─ sink ◀─ stack ◀─ NAT ◀─ connect(guest, port) ◀─ who looks at the container's web server
 *
 * To the pump the network is what a WebSocket is (`link`); the network in turn holds back while the guest's ring is more than half full.
 */
import { getU32 } from '../../shared/bytes.ts';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { DEFAULT_NETWORK_CONFIG } from '../../shared/net/services/network-config.ts';
import { BugFilter, type OnBug } from '../../shared/net/stack/containment.ts';
import type { FrameBatch, FrameSink, LinkPort } from '../../shared/net/stack/link-port.ts';
import type { Mac, UnicastIpv4 } from '../../shared/net/wire/addr.ts';
import { parseMac } from '../../shared/net/wire/addr.ts';
import { SEATS, seatMac } from '../seats.ts';
import { BrowserClock, browserRandom } from './browser-clock.ts';
import { HttpGateway } from './http-gateway.ts';
import { NamePool } from './name-pool.ts';
import { PageHostNet, type PageServices } from './page-host-net.ts';
import { PageSocket, type ByteStream } from './page-socket.ts';

const LENGTH_BYTES = 4;
/** of all connections of a page: a tab is not a server */
const TCP_FLOWS_MAX = 2048;
const UDP_FLOWS_MAX = 256;
const TCP_MEMORY_BUDGET = 32 << 20;
const LINKS_MAX = 64;
export interface NetworkEnv {
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly pageOrigin: string;
  /** null: no TLS, and so no HTTPS */
  readonly acceptTls: PageServices['acceptTls'];
  readonly mtu?: number;
  /** absent: exceptions of the network are thrown again, for tests */
  readonly onBug?: OnBug;
}

/** Into the browser's console, once for each place: the network goes on. */
export function bugsToConsole(): OnBug {
  const filter = new BugFilter();
  return (place, error) => {
    if (filter.isNews(error)) console.error(`portside: bug: an exception cost the container one ${place} of its network, which goes on`, error);
  };
}

export function seatIp(seat: number): UnicastIpv4 {
  return (DEFAULT_NETWORK_CONFIG.defaultGuestIp + seat) as UnicastIpv4;
}

export class BrowserNetwork {
  readonly #clock = new BrowserClock();
  readonly #names = new NamePool();
  readonly #hostNet: PageHostNet;
  readonly #network: VirtualNetwork;
  #isClosed = false;

  constructor(env: NetworkEnv) {
    const gateway = new HttpGateway(env);
    this.#hostNet = new PageHostNet(this.#clock, this.#names, { acceptTls: env.acceptTls, serveHttp: (...args) => gateway.serve(...args) });
    const seats = Array.from({ length: SEATS }, (_, seat): [Mac, UnicastIpv4] => [parseMac(seatMac(seat))!, seatIp(seat)]);
    this.#network = new VirtualNetwork({
      clock: this.#clock, random: browserRandom, hostNet: this.#hostNet,
      config: {
        ipv6: false, staticLeases: new Map(seats), maxTcpFlows: TCP_FLOWS_MAX, maxUdpFlows: UDP_FLOWS_MAX, tcpMemoryBudget: TCP_MEMORY_BUDGET, maxLinks: LINKS_MAX,
        ...(env.mtu === undefined ? {} : { mtu: env.mtu }),
      },
      ...(env.onBug === undefined ? {} : { onBug: env.onBug }),
    });
  }

  attach(sink: FrameSink): LinkPort {
    return this.#network.attach(sink);
  }

  /** Opens a TCP connection to a port of a guest. What is sent before the guest has answered waits; a refusal shows as a broken stream. */
  connect(guestIp: UnicastIpv4, port: number): ByteStream {
    const socket = new PageSocket();
    if (this.#isClosed) socket.abort();
    else this.#network.forwardTcp(socket, port, guestIp);
    return socket;
  }

  stats(): Record<string, number> {
    return { ...this.#network.stats(), pageConnectionsOpen: this.#hostNet.connectionsOpen, pageRefused: this.#hostNet.refused };
  }

  /** Lets what waits have its turn. */
  soon(fn: () => void): void {
    this.#clock.soon(fn);
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#hostNet.close();
    this.#network.close();
    this.#clock.close();
  }
}

/** Hands whole frames of a byte stream to a port, as one batch. The stream is ours, or another tab's: cut frames are dropped. */
export function receiveFrames(port: LinkPort, batch: Uint8Array): void {
  for (let at = 0; at + LENGTH_BYTES <= batch.length;) {
    const start = at + LENGTH_BYTES;
    const end = start + getU32(batch, at);
    if (end > batch.length) break;
    port.receive(batch, start, end);
    at = end;
  }
  port.flush();
}

/** Frames for a guest in this tab: `receive` takes bytes of the stream, `hasRoom` says whether more may come. */
export interface GuestEnd {
  receive(bytes: Uint8Array): boolean;
  readonly hasRoom: boolean;
}

/** time between two looks at a ring that was too full, in `ms` */
const RECHECK_MS = 2;

/** The way from a network in this tab to the guest of this tab. */
export class GuestSink implements FrameSink {
  port: LinkPort | null = null;
  readonly #guest: GuestEnd;
  #recheck: ReturnType<typeof setTimeout> | null = null;

  constructor(guest: GuestEnd) {
    this.#guest = guest;
  }

  sendBatch(batch: FrameBatch): boolean {
    this.#guest.receive(batch.bytes.subarray(0, batch.end));
    batch.release();
    if (this.#guest.hasRoom) return true;
    this.#recheck ??= setTimeout(this.#onRecheck, RECHECK_MS);
    return false;
  }

  close(): void {
    if (this.#recheck !== null) clearTimeout(this.#recheck);
    this.#recheck = null;
    this.port?.close();
  }

  readonly #onRecheck = (): void => {
    this.#recheck = this.#guest.hasRoom ? null : setTimeout(this.#onRecheck, RECHECK_MS);
    if (this.#recheck === null && this.port?.closed === false) this.port.onDrain();
  };
}
