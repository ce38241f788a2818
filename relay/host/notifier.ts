/*
 * Tells a supervisor what happens, as gvproxy does (`--notification PATH`): the supervisor listens on a UNIX socket, and each
 * message is a connection of its own with one line of JSON, `{"notification_type":"…","mac_address":"…"}`.
 *
 * One at a time and in order. A supervisor that does not listen or read must not hold anything up: at most QUEUE_MAX messages
 * wait, each for TIMEOUT_MS at most; the others are lost.
 */
import { createConnection, type Socket } from 'node:net';
import type { VirtualNetwork } from '../../shared/net/services/network.ts';
import { formatMac } from '../../shared/net/wire/addr.ts';

export type NotificationType =
  /** guests may connect */
  | 'ready'
  /** a guest was heard for the first time; `mac_address` says which */
  | 'connection_established'
  /** its link is gone */
  | 'connection_closed'
  /** the socket for guests can't be served */
  | 'hypervisor_error';

interface Notification {
  notification_type: NotificationType;
  mac_address?: string;
}

const QUEUE_MAX = 100;
const TIMEOUT_MS = 2000;

export class Notifier {
  readonly #path: string;
  readonly #onTrouble: (subject: string, text: string) => void;
  readonly #queue: Notification[] = [];
  #sending: Socket | null = null;
  #isClosed = false;
  #onIdle: (() => void)[] = [];

  /** `onTrouble` may be called per message: `subject` says whether it is news. */
  constructor(path: string, onTrouble: (subject: string, text: string) => void) {
    this.#path = path;
    this.#onTrouble = onTrouble;
  }

  /** Says who comes and goes on `network`. */
  watch(network: VirtualNetwork): void {
    network.onPresence = (mac, isPresent) => this.send(isPresent ? 'connection_established' : 'connection_closed', formatMac(mac));
  }

  send(type: NotificationType, mac?: string): void {
    if (this.#isClosed) return;
    if (this.#queue.length >= QUEUE_MAX) return this.#onTrouble('full', `${this.#path} does not take notifications fast enough: some are lost`);
    this.#queue.push(mac === undefined ? { notification_type: type } : { notification_type: type, mac_address: mac });
    this.#next();
  }

  /** Sends what waits, then nothing more. Idempotent; resolves in TIMEOUT_MS per message at the latest. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#sending !== null) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  #next(): void {
    if (this.#sending !== null) return;
    const message = this.#queue.shift();
    if (message === undefined) {
      for (const fn of this.#onIdle.splice(0)) fn();
      return;
    }
    const socket = createConnection(this.#path);
    this.#sending = socket;
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('no answer')));
    socket.on('error', (error) => this.#onTrouble('failed', `notifications are not heard at ${this.#path}: ${error.message}`));
    socket.on('close', () => {
      this.#sending = null;
      this.#next();
    });
    socket.resume();
    socket.end(`${JSON.stringify(message)}\n`);
    // The line is out: whether the supervisor closes its side is its own affair.
    socket.on('finish', () => socket.destroySoon());
  }
}
