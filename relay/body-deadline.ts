/*
 * How long the body of a request may take to come. Node's own limit on requests knows no exceptions, and an archive needs one; Node's
 * limit on headers stays its own. A request that is late gets 408, if it has no answer yet, and loses its connection.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, ClockTimer } from '../shared/net/stack/clock.ts';

const LATE = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

export class BodyDeadline {
  readonly #clock: Clock;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #hasBody: boolean;
  #timer: ClockTimer | null = null;

  constructor(clock: Clock, request: IncomingMessage, response: ServerResponse, ms: number) {
    this.#clock = clock;
    this.#request = request;
    this.#response = response;
    const { headers } = request;
    this.#hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    if (this.#hasBody) request.once('close', () => this.#timer?.cancel());
    this.set(ms);
  }

  /** `ms` from now on, in place of what there was. */
  set(ms: number): void {
    if (!this.#hasBody || this.#request.destroyed) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.startTimer(ms, () => this.#onLate());
  }

  #onLate(): void {
    const { complete, socket } = this.#request;
    if (complete || socket.destroyed) return;
    if (!this.#response.headersSent) socket.write(LATE);
    socket.destroySoon();
  }
}
