/*
 * Plays a script against TCP alone, so that the state of every connection can be seen, and the application does what the script
 * says: accepts late or never, sends, stops reading, shuts down, aborts, connects to the guest.
 *
 * Oracles besides those of the network: SND.UNA <= SND.NXT and the window's edge never behind RCV.NXT; every byte that is delivered
 * or sent, however often, is the one that belongs to its number; `onClosed` comes exactly once and last; and when the guest has
 * gone silent, every connection ends by itself, whatever state the script left it in.
 */
import { Stack } from '../../shared/net/stack/stack.ts';
import { GATEWAY_IP, GUEST_IP, STACK_CONFIG } from '../../shared/net/stack/fixture/frames.ts';
import type { LinkPort } from '../../shared/net/stack/link-port.ts';
import type { CloseReason, TcpConnection, TcpHandler, TcpState } from '../../shared/net/stack/tcp/connection.ts';
import type { PendingConnection } from '../../shared/net/stack/tcp/pending.ts';
import { seqLe } from '../../shared/net/stack/tcp/seq.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { byteAt, GuestSide, INBOUND_PORT } from './guest-side.ts';
import { decode, type Step, waitMs } from './script.ts';
import { check } from './target.ts';

const CONFIG = { ...STACK_CONFIG, maxTcpFlows: 8, tcpWindowMax: 256 * 1024, tcpMemoryBudget: 64 * 1024, verifyChecksums: false, tcpKeepaliveMs: 600_000 };
/** longer than all retransmissions, window probes and keepalives take together */
const SILENCE_MS = 2 * 3_600_000;
const SEND_MAX = 20_000;

/** Returns the states in which connections were seen. */
export function playTcp(input: Uint8Array, timestamps: boolean): Set<TcpState> {
  const stage = new Stage(timestamps);
  for (const step of decode(input)) stage.play(step);
  stage.end();
  return stage.states;
}

/** An application that notes the order of its calls. */
class App implements TcpHandler {
  connection: TcpConnection | null = null;
  isStalled = false;
  #delivered = 0;
  #sent = 0;
  #held = 0;
  #hasFin = false;
  #isClosed = false;

  onEstablished(): void { this.#called('onEstablished'); }
  onData(bytes: Uint8Array, start: number, end: number): void {
    this.#called('onData');
    check(end > start && !this.#hasFin, () => 'data behind the FIN, or none at all');
    const seq = this.connection!.rcv.irs + 1 + this.#delivered;
    for (let i = 0; i < end - start; i++) check(bytes[start + i] === byteAt((seq + i) >>> 0), () => `the byte at ${this.#delivered + i} of what the guest sent is wrong`);
    this.#delivered += end - start;
    if (this.isStalled) this.#held += end - start;
  }
  onTurn(): void {
    this.#called('onTurn');
    this.connection?.setHeld(this.#held);
  }
  onFin(): void {
    this.#called('onFin');
    check(!this.#hasFin, () => 'two FINs');
    this.#hasFin = true;
  }
  onSendSpace(): void { this.#called('onSendSpace'); }
  onClosed(_reason: CloseReason): void {
    this.#called('onClosed');
    this.#isClosed = true;
  }

  get isClosed(): boolean { return this.#isClosed; }

  send(len: number): void {
    const seq = this.connection!.snd.iss + 1 + this.#sent;
    this.connection!.send(Uint8Array.from({ length: len }, (_, i) => byteAt((seq + i) >>> 0)));
    this.#sent += len;
  }

  takeAll(): void {
    this.#held = 0;
    this.connection?.setHeld(0);
  }

  #called(what: string): void {
    check(!this.#isClosed, () => `${what} after onClosed`);
  }
}

class Stage {
  readonly states = new Set<TcpState>();
  readonly #clock = new BoundedClock();
  readonly #stack: Stack;
  readonly #guest = new GuestSide(CONFIG.mtu, true);
  readonly #apps: App[] = [];
  #pending: PendingConnection[] = [];
  #port: LinkPort;
  #nextPort = 50_000;
  #batched = 0;

  constructor(timestamps: boolean) {
    this.#stack = new Stack(this.#clock, new Chance(3), { ...CONFIG, tcpTimestamps: timestamps });
    this.#stack.tcp.onSyn = (pending) => {
      this.#pending.push(pending);
      pending.onCancel = () => { this.#pending = this.#pending.filter((other) => other !== pending); };
    };
    this.#port = this.#stack.attach(this.#guest);
  }

  play(step: Step): void {
    switch (step.kind) {
      case 'frame': this.#receive(step.bytes); break;
      case 'segment': this.#receive(this.#guest.segment(step)); break;
      case 'wait': this.#clock.advance(waitMs(step.units)); break;
      case 'host': this.#onApp(step.which, step.what % 8, step.n); break;
      case 'link': this.#onLink(step.what % 4); break;
      default: break;
    }
    this.#clock.advance(0);
    this.#look();
  }

  end(): void {
    this.#onLink(1);
    this.#port.flush();
    this.#clock.advance(SILENCE_MS);
    const alive = this.#stack.tcp.connections().map(({ state }) => state);
    check(alive.length === 0, () => `after ${SILENCE_MS} ms of silence there are connections in ${alive.join()}`);
    this.#stack.close();
    this.#clock.advance(0);
    const { tcp, timers, pool } = this.#stack;
    const left = [tcp.flowCount, tcp.pendingCount, tcp.heldBytes, timers.size, pool.held, this.#clock.pending];
    check(left.every((count) => count === 0), () => `after close there are flows, pending, held bytes, timers, batches, events: ${left.join()}`);
    check(this.#apps.every((app) => app.connection === null || app.isClosed), () => 'an application was never told that it is over');
  }

  #receive(frame: Uint8Array): void {
    this.#port.receive(frame, 0, frame.length);
    if (++this.#batched % 3 !== 0) this.#port.flush();
  }

  #look(): void {
    const { tcp, pool } = this.#stack;
    for (const { state, snd, rcv } of tcp.connections()) {
      this.states.add(state);
      check(seqLe(snd.una, snd.nxt), () => `${state}: una ${snd.una} is beyond nxt ${snd.nxt}`);
      check(seqLe(rcv.nxt, rcv.edge) || state === 'syn-sent' || rcv.nxt - rcv.edge <= 1, () => `${state}: nxt ${rcv.nxt} is beyond the window's edge ${rcv.edge}`);
      check(rcv.held >= 0, () => `${state}: ${rcv.held} bytes held`);
    }
    check(tcp.flowCount <= CONFIG.maxTcpFlows && tcp.pendingCount === this.#pending.length, () => `${tcp.flowCount} flows, ${tcp.pendingCount} pending of ${this.#pending.length}`);
    check(tcp.heldBytes >= 0 && tcp.heldBytes < CONFIG.maxTcpFlows * 300 * 1024, () => `${tcp.heldBytes} bytes held`);
    check(pool.held <= 8 + this.#guest.held, () => `${pool.held} batches held`);
  }

  #onApp(which: number, what: number, n: number): void {
    if (what === 0) return this.#accept(n);
    if (what === 1) return this.#pending.shift()?.refuse();
    if (what === 7) return this.#connect();
    const app = this.#apps.filter(({ isClosed }) => !isClosed).at(-1 - which % 4);
    const connection = app?.connection;
    if (app === undefined || connection === null || connection === undefined) return;
    if (what === 2 && !connection.isSendFull) app.send(n % SEND_MAX);
    else if (what === 3) connection.shutdown();
    else if (what === 4) connection.abort();
    else if (what === 5) app.isStalled = true;
    else if (what === 6) {
      app.isStalled = false;
      app.takeAll();
    }
  }

  #accept(n: number): void {
    const pending = this.#pending.shift();
    if (pending === undefined) return;
    if (n % 16 === 15) return pending.unreachable(n % 14);
    if (n % 16 === 14) return pending.ignore();
    const app = new App();
    app.connection = pending.accept(app);
    this.#apps.push(app);
  }

  #connect(): void {
    const app = new App();
    app.connection = this.#stack.tcp.connect(GUEST_IP, INBOUND_PORT, GATEWAY_IP, this.#nextPort++, app);
    if (app.connection !== null) this.#apps.push(app);
  }

  #onLink(what: number): void {
    if (what === 0) this.#guest.isFull = true;
    else if (what === 1) {
      this.#guest.drain();
      this.#port.onDrain();
    } else {
      this.#port.close();
      if (what === 3) this.#guest.drain();
      this.#port = this.#stack.attach(this.#guest);
    }
  }
}
