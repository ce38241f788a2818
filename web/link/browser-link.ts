/*
 * The network without a server: the stack in this worker, in the place of the WebSocket.
 *
 *   fromGuest ring ─▶ pump ─ send ─▶ BrowserNetwork ─▶ fetch
 *   toGuest ring  ◀── pump ◀─ receive ─ GuestSink ◀─┘
 *
 * Loaded only when it is wanted: with a relay, no page carries a TCP/IP stack.
 */
import type { NetStatus } from '../protocol.ts';
import { BrowserNetwork, GuestSink, receiveFrames, seatIp } from '../net/browser-network.ts';
import { PortServer, type CallPort } from '../net/port-server.ts';
import type { Pump } from './pump.ts';

const NO_RELAY = 'There is no relay at the server of this page.';
const DETAIL = 'Everything stays in this browser: HTTP goes out by fetch, to servers that let this page in (CORS). Other protocols need a relay.';

export class BrowserLink {
  readonly #pump: Pump;
  readonly #network: BrowserNetwork;
  readonly #sink: GuestSink;
  readonly #ports: PortServer;
  readonly #onStatus: (status: NetStatus) => void;

  constructor(pump: Pump, isFallback: boolean, pageOrigin: string, onStatus: (status: NetStatus) => void) {
    this.#pump = pump;
    this.#onStatus = onStatus;
    const network = new BrowserNetwork({ pageOrigin, acceptTls: null, fetch: (url, init) => fetch(url, init) });
    this.#network = network;
    this.#sink = new GuestSink(pump);
    const port = network.attach(this.#sink);
    this.#sink.port = port;
    this.#ports = new PortServer((guestPort) => network.connect(seatIp(0), guestPort));
    pump.socket = { bufferedAmount: 0, send: (batch) => receiveFrames(port, batch), soon: (fn) => network.soon(fn) };
    pump.wake.link = 1;
    onStatus({ state: 'up', detail: isFallback ? `${NO_RELAY} ${DETAIL}` : DETAIL });
  }

  /** A request of a frame that shows one of the container's ports. */
  servePort(port: CallPort): void {
    this.#ports.serve(port);
  }

  /** Idempotent. */
  close(): void {
    this.#pump.socket = null;
    this.#pump.wake.link = 0;
    this.#sink.close();
    this.#network.close();
    this.#onStatus({ state: 'off' });
  }
}
