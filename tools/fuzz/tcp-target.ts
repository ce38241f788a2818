/*
 * Plays scripts against TCP alone, so that the state of every connection can be seen, and the application does what the script
 * says: accepts late or never, sends, stops reading, shuts down, aborts, connects to the guest.
 *
 * Oracles besides those of the network: SND.UNA <= SND.NXT and the window's edge never behind RCV.NXT; every byte that is delivered
 * or sent, however often, is the one that belongs to its number; `onClosed` comes exactly once and last; and when the guest has
 * gone silent, every connection ends by itself, whatever state the script left it in.
 *
 * As networks (network-target.ts), a stack lives through a series of inputs. Habits say how it rests: bits 0-2 7 not at all, 6 and 5 in silence until all has
 * ended by itself, else by aborting what there is.
 */
import { Stack, type StackConfig } from '../../shared/net/stack/stack.ts';
import type { LinkPort } from '../../shared/net/stack/link-port.ts';
import type { CloseReason, TcpConnection, TcpHandler, TcpState } from '../../shared/net/stack/tcp/connection.ts';
import type { PendingConnection } from '../../shared/net/stack/tcp/pending.ts';
import { seqLe } from '../../shared/net/stack/tcp/seq.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { byteAt, GuestSide, INBOUND_PORT } from './guest-side.ts';
import { decode, joinScripts, type Step, waitMs } from './script.ts';
import { check, type Series } from './target.ts';
import { worldOf, WORLDS, type World } from './worlds.ts';

/** longer than all retransmissions, window probes and keepalives take together */
const SILENCE_MS = 2 * 3_600_000;
const REST_MS = 30_000;
const SEND_MAX = 20_000;
/** inputs that a stack lives through */
const SERIES_INPUTS = 400;

/** Returns the states in which connections were seen. */
export function playTcp(input: Uint8Array): Set<TcpState> {
  const { world, habits, steps } = decode(input);
  const stage = new Stage(worldOf(world));
  stage.play(steps, habits);
  stage.end();
  return stage.states;
}

export class TcpSeries implements Series {
  readonly #running = new Map<number, { stage: Stage; inputs: Uint8Array[] }>();
  #last: Uint8Array[] = [];
  frames = 0;

  run(input: Uint8Array): void {
    const { world, habits, steps } = decode(input);
    const index = world % WORLDS.length;
    let running = this.#running.get(index);
    if (running === undefined) {
      running = { stage: new Stage(WORLDS[index]), inputs: [] };
      this.#running.set(index, running);
    }
    const { stage, inputs } = running;
    inputs.push(input);
    this.#last = inputs;
    if (inputs.length > 1) stage.rest(stage.habits);
    const before = stage.frames;
    stage.play(steps, habits);
    this.frames += stage.frames - before;
    if (inputs.length < SERIES_INPUTS) return;
    stage.end();
    this.#running.delete(index);
  }

  end(): void {
    for (const { stage, inputs } of this.#running.values()) {
      this.#last = inputs;
      stage.end();
    }
    this.#running.clear();
  }

  history(): Uint8Array {
    return joinScripts(this.#last);
  }
}

function stackConfig({ config, hasIpv6, hostHasIpv6 }: World): StackConfig {
  const { subnet, prefixLen, gatewayIp, gatewayMac, mtu, maxLinks, maxTcpFlows, tcpWindowMax, tcpMemoryBudget, tcpTimestamps, verifyChecksums, prefix6, gatewayIp6, linkLocalIp6 } = config;
  return {
    subnet, prefixLen, gatewayIp, gatewayMac, mtu, maxLinks, maxTcpFlows, tcpWindowMax, tcpMemoryBudget, tcpTimestamps, verifyChecksums, tcpKeepaliveMs: 600_000, aliases: [...config.hostAliases.keys()],
    ipv6: hasIpv6 ? { prefix: prefix6, gatewayIp: gatewayIp6, linkLocalIp: linkLocalIp6, aliases: config.hostAliases6.map(([alias]) => alias), hasRoute: () => hostHasIpv6 } : null,
  };
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
    for (let i = 0; i < end - start; i++) if (bytes[start + i] !== byteAt((seq + i) >>> 0)) throw new Error(`the byte at ${this.#delivered + i} of what the guest sent is wrong`);
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
    const bytes = new Uint8Array(len);
    for (let i = 0; i < len; i++) bytes[i] = byteAt((seq + i) >>> 0);
    this.connection!.send(bytes);
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
  habits = 0;
  /** that the guest has sent */
  frames = 0;
  readonly #world: World;
  readonly #clock = new BoundedClock();
  readonly #stack: Stack;
  readonly #guest: GuestSide;
  #apps: App[] = [];
  #pending: PendingConnection[] = [];
  #port: LinkPort;
  #nextPort = 50_000;
  #batched = 0;

  constructor(world: World) {
    this.#world = world;
    this.#guest = new GuestSide(world, world.guests[0], true);
    this.#stack = new Stack(this.#clock, new Chance(3), stackConfig(world));
    this.#stack.tcp.onSyn = (pending) => {
      this.#pending.push(pending);
      pending.onCancel = () => { this.#pending = this.#pending.filter((other) => other !== pending); };
    };
    this.#port = this.#stack.attach(this.#guest);
  }

  play(steps: readonly Step[], habits: number): void {
    this.habits = habits;
    for (const step of steps) {
      if (step.kind === 'rest') {
        this.rest(this.habits);
        this.habits = step.habits;
      } else this.#play(step);
    }
  }

  #play(step: Exclude<Step, { kind: 'rest' }>): void {
    switch (step.kind) {
      case 'frame': case 'other': this.#receive(step.bytes); break;
      case 'segment': this.#receive(this.#guest.segment(step)); break;
      case 'wait': this.#clock.advance(waitMs(step.units)); break;
      case 'host': this.#onApp(step.which, step.what % 8, step.n); break;
      case 'link': this.#onLink(step.what % 4); break;
      default: return;
    }
    this.#clock.advance(0);
    this.#look();
  }

  rest(habits: number): void {
    const how = habits & 7;
    if (how === 7) return;
    this.#onLink(1);
    this.#flush();
    if (how >= 5) this.#beSilent();
    else {
      for (const pending of this.#pending.splice(0)) pending.refuse();
      for (const app of this.#apps) if (!app.isClosed) app.connection?.abort();
      this.#clock.advance(REST_MS);
    }
    const { tcp, timers } = this.#stack;
    const left = [tcp.flowCount, tcp.pendingCount, tcp.heldBytes];
    check(left.every((count) => count === 0), () => `at rest there are flows, pending, held bytes: ${left.join()}, and ${timers.size} timers`);
    this.#judgeApps();
    this.#guest.reset();
  }

  end(): void {
    this.#onLink(1);
    this.#flush();
    this.#beSilent();
    this.#stack.close();
    this.#clock.advance(0);
    const { tcp, timers, pool } = this.#stack;
    const left = [tcp.flowCount, tcp.pendingCount, tcp.heldBytes, timers.size, pool.held, this.#clock.pending];
    check(left.every((count) => count === 0), () => `after close there are flows, pending, held bytes, timers, batches, events: ${left.join()}`);
    this.#judgeApps();
  }

  /** What nobody has judged stays until somebody does; all else ends. */
  #beSilent(): void {
    for (const pending of this.#pending.splice(0)) pending.ignore();
    this.#clock.advance(SILENCE_MS);
    const alive = this.#stack.tcp.connections().map(({ state }) => state);
    check(alive.length === 0, () => `after ${SILENCE_MS} ms of silence there are connections in ${alive.join()}`);
  }

  #judgeApps(): void {
    check(this.#apps.every((app) => app.connection === null || app.isClosed), () => 'an application was never told that it is over');
    this.#apps = [];
  }

  #flush(): void {
    this.#port.flush();
    this.#guest.onFlushed();
  }

  #receive(frame: Uint8Array): void {
    this.frames++;
    this.#port.receive(frame, 0, frame.length);
    if (++this.#batched % 3 !== 0) this.#flush();
  }

  #look(): void {
    const { tcp, pool } = this.#stack;
    for (const { state, snd, rcv } of tcp.connections()) {
      this.states.add(state);
      if (!seqLe(snd.una, snd.nxt)) throw new Error(`${state}: una ${snd.una} is beyond nxt ${snd.nxt}`);
      if (!seqLe(rcv.nxt, rcv.edge) && state !== 'syn-sent' && rcv.nxt - rcv.edge > 1) throw new Error(`${state}: nxt ${rcv.nxt} is beyond the window's edge ${rcv.edge}`);
      if (rcv.held < 0) throw new Error(`${state}: ${rcv.held} bytes held`);
    }
    const { maxTcpFlows, mtu } = this.#world.config;
    if (tcp.flowCount > maxTcpFlows || tcp.pendingCount !== this.#pending.length) throw new Error(`${tcp.flowCount} flows, ${tcp.pendingCount} pending of ${this.#pending.length}`);
    if (tcp.heldBytes < 0 || tcp.heldBytes >= maxTcpFlows * (300 * 1024 + 2 * mtu)) throw new Error(`${tcp.heldBytes} bytes held`);
    if (pool.held > 8 + this.#guest.held) throw new Error(`${pool.held} batches held`);
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
    this.#nextPort = this.#nextPort === 65_535 ? 50_000 : this.#nextPort + 1;
    app.connection = this.#stack.tcp.connect(this.#world.guests[0].ip, INBOUND_PORT, this.#world.config.gatewayIp, this.#nextPort, app);
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
