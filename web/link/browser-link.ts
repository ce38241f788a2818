/*
 * The network without a server: the stack in this worker, in the place of the WebSocket.
 *
 *   fromGuest ring ─▶ pump ─ send ─▶ BrowserNetwork ─▶ fetch
 *   toGuest ring  ◀── pump ◀─ receive ─ GuestSink ◀─┘
 *
 * In a network of several tabs (tab-network.ts) this one is a member until it gets the gateway's lock, which may be at once. The guest
 * sees nothing of a change: link, addresses and the gateway's MAC stay as they are.
 *
 * Loaded only when it is wanted: with a relay, no page carries a TCP/IP stack.
 */
import type { NetMode, NetStatus } from '../protocol.ts';
import { BrowserNetwork, bugsToConsole, GuestSink, receiveFrames, seatIp } from '../net/browser-network.ts';
import { PortServer } from '../net/port-server.ts';
import { strictPort } from '../net/strict-port.ts';
import { Authority, makeAuthority } from '../net/tls/authority.ts';
import { sharedAuthority } from '../net/tls/authority-store.ts';
import { acceptTls } from '../net/tls/tls-server.ts';
import { standForGateway, TabGateway, TabMember } from '../net/tab-network.ts';
import type { Pump } from './pump.ts';

const DETAIL = 'Everything stays in this browser: HTTP and HTTPS go out by fetch, to servers that let this page in (CORS). Other protocols need a relay.';
const NO_RELAY = 'There is no relay at the server of this page.';

/** A network of several tabs has one for all of them, whichever is the gateway; any other network a new one. */
export async function authorityFor({ network }: BrowserMode): Promise<Authority> {
  const nowMs = Date.now();
  return new Authority(network === undefined ? await makeAuthority(nowMs) : await sharedAuthority(network, nowMs));
}

export type BrowserMode = Extract<NetMode, { kind: 'browser' }>;

export class BrowserLink {
  readonly #pump: Pump;
  readonly #mode: BrowserMode;
  readonly #authority: Authority;
  readonly #pageOrigin: string;
  readonly #onStatus: (status: NetStatus) => void;
  readonly #candidacy: { release(): void } | null = null;
  #member: TabMember | null = null;
  #gateway: Gateway | null = null;

  constructor(pump: Pump, mode: BrowserMode, authority: Authority, pageOrigin: string, onStatus: (status: NetStatus) => void) {
    this.#pump = pump;
    this.#mode = mode;
    this.#authority = authority;
    this.#pageOrigin = pageOrigin;
    this.#onStatus = onStatus;
    const { network } = mode;
    if (network === undefined) {
      this.#lead();
      return;
    }
    this.#member = new TabMember(network, mode.seat ?? 0, {
      receive: (bytes) => pump.receive(bytes),
      get hasRoom() { return pump.hasRoom; },
      onWelcome: () => {
        pump.socket = this.#member;
        this.#up(`This tab is on the network “${network}”; another one is its gateway. ${DETAIL}`);
      },
    }, navigator.locks);
    this.#candidacy = standForGateway(navigator.locks, network, () => this.#lead());
  }

  /** A request of a frame that shows one of the container's ports, `guestPort` where it is a stranger's. */
  servePort(port: MessagePort, guestPort: number | null): void {
    const call = guestPort === null ? port : strictPort(port, guestPort);
    if (this.#gateway !== null) this.#gateway.ports.serve(call);
    else if (this.#member !== null) this.#member.servePort(call);
    else port.close();
  }

  /** Idempotent. */
  close(): void {
    this.#pump.socket = null;
    this.#pump.wake.link = 0;
    this.#member?.close();
    this.#gateway?.close();
    this.#member = null;
    this.#gateway = null;
    this.#candidacy?.release();
    this.#onStatus({ state: 'off' });
  }

  #lead(): void {
    const { network, isFallback, seat } = this.#mode;
    this.#member?.close();
    this.#member = null;
    this.#gateway = new Gateway(this.#pump, network ?? null, seat ?? 0, this.#authority, this.#pageOrigin);
    const shared = network === undefined ? '' : `This tab is the gateway of the network “${network}”. `;
    this.#up(`${isFallback === true ? `${NO_RELAY} ` : ''}${shared}${DETAIL}`);
  }

  #up(detail: string): void {
    this.#pump.wake.link = 1;
    this.#onStatus({ state: 'up', detail });
  }
}

/** The network in this tab, with the guest of this tab on it. */
class Gateway {
  readonly ports: PortServer;
  readonly #network: BrowserNetwork;
  readonly #sink: GuestSink;
  readonly #tabs: TabGateway | null;

  constructor(pump: Pump, name: string | null, seat: number, authority: Authority, pageOrigin: string) {
    const network = new BrowserNetwork({
      onBug: bugsToConsole(), pageOrigin, fetch: (url, init) => fetch(url, init),
      acceptTls: (stream, reader, { host }) => acceptTls(stream, reader, (serverName) => authority.certificateFor(serverName ?? host)),
    });
    this.#network = network;
    this.#sink = new GuestSink(pump);
    const port = network.attach(this.#sink);
    this.#sink.port = port;
    this.ports = new PortServer((guestPort) => network.connect(seatIp(seat), guestPort));
    pump.socket = { bufferedAmount: 0, send: (batch) => receiveFrames(port, batch), soon: (fn) => network.soon(fn) };
    this.#tabs = name === null ? null : new TabGateway(name, network, navigator.locks);
  }

  close(): void {
    this.#tabs?.close();
    this.#sink.close();
    this.#network.close();
  }
}
