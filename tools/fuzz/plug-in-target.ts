/*
 * Plays a script's frames through `listen`'s end of a stream: QEMU's framing, cut into chunks anywhere, into a whole network.
 *
 * `frame` and `other` steps go behind their length, `message` steps as they are; `link` stalls the socket, drains it, breaks it. Habits seed where
 * the stream is cut. Oracles: the frames that arrive are those that a plain reading of the stream finds; when it finds none that can be, the
 * socket is destroyed and the link is gone; what is written are whole frames, well-formed; nothing is left.
 */
import type { Socket } from 'node:net';
import { plugIn } from '../../relay/listen.ts';
import { maxFrameLen } from '../../shared/link/qemu-framing.ts';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { getU32, setU32 } from '../../shared/bytes.ts';
import { GATEWAY_MAC } from '../../shared/net/stack/fixture/frames.ts';
import { getMac } from '../../shared/net/wire/addr.ts';
import { BoundedClock } from './bounded-clock.ts';
import { Chance } from './chance.ts';
import { faultOf } from './guest-side.ts';
import { decode, joinScripts, type Step, waitMs } from './script.ts';
import { ScriptedHost } from './scripted-host.ts';
import { check, type Series } from './target.ts';
import { worldOf, WORLDS, type World } from './worlds.ts';

const SERIES_INPUTS = 400;
const REST_MS = 35_000;

export async function playPlugIn(input: Uint8Array): Promise<void> {
  const { world, habits, steps } = decode(input);
  const stage = new Stage(worldOf(world));
  stage.play(steps, habits);
  await stage.end();
}

export class PlugInSeries implements Series {
  frames = 0;
  readonly #running = new Map<number, { stage: Stage; inputs: Uint8Array[] }>();
  #last: Uint8Array[] = [];

  async run(input: Uint8Array): Promise<void> {
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
    const before = stage.frames;
    stage.play(steps, habits);
    this.frames += stage.frames - before;
    if (inputs.length < SERIES_INPUTS) return;
    await stage.end();
    this.#running.delete(index);
  }

  async end(): Promise<void> {
    for (const { stage, inputs } of this.#running.values()) {
      this.#last = inputs;
      await stage.end();
    }
    this.#running.clear();
  }

  history(): Uint8Array {
    return joinScripts(this.#last);
  }
}

/** What `plugIn` uses of a socket. */
class FakeSocket {
  destroyed = false;
  writableLength = 0;
  /** writes stay unwritten */
  isStalled = false;
  readonly #listeners = new Map<string, (value: never) => void>();
  readonly #unwritten: { len: number; done: () => void }[] = [];
  readonly #mtu: number;

  constructor(mtu: number) {
    this.#mtu = mtu;
  }

  on(event: string, fn: (value: never) => void): this {
    this.#listeners.set(event, fn);
    return this;
  }

  tell(event: 'data' | 'error' | 'close', value?: unknown): void {
    this.#listeners.get(event)!(value as never);
  }

  write(bytes: Uint8Array, done: () => void): boolean {
    check(!this.destroyed, () => 'a destroyed socket is written to');
    for (let at = 0; at < bytes.length;) {
      const start = at + 4;
      at = start + getU32(bytes, at);
      check(at <= bytes.length, () => 'a frame longer than what is written');
      const frame = bytes.subarray(start, at);
      const fault = getMac(frame, 6) === GATEWAY_MAC ? faultOf(frame, this.#mtu) : null;
      check(fault === null, () => `a frame with ${fault} is written`);
    }
    this.writableLength += bytes.length;
    this.#unwritten.push({ len: bytes.length, done });
    if (!this.isStalled) this.drain();
    return true;
  }

  drain(): void {
    for (let written = this.#unwritten.shift(); written !== undefined; written = this.#unwritten.shift()) {
      this.writableLength -= written.len;
      written.done();
    }
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    // Node tells the writers, and that it is closed.
    this.drain();
    this.tell('close');
  }
}

class Stage {
  frames = 0;
  readonly #world: World;
  readonly #clock = new BoundedClock();
  readonly #host: ScriptedHost;
  readonly #network: VirtualNetwork;
  #socket: FakeSocket | null = null;
  #expected = 0;

  constructor(world: World) {
    this.#world = world;
    this.#host = new ScriptedHost(world);
    this.#network = new VirtualNetwork({ clock: this.#clock, random: new Chance(7), hostNet: this.#host, config: world.config });
  }

  play(steps: readonly Step[], seed: number): void {
    let chance = new Chance(seed);
    for (const step of steps) {
      if (step.kind === 'rest') {
        this.#rest();
        chance = new Chance(step.habits);
      } else if (step.kind === 'frame' || step.kind === 'other') {
        if (step.bytes.length > 0) this.#receive(framed(step.bytes), chance);
      } else if (step.kind === 'message') this.#receive(step.bytes, chance);
      else if (step.kind === 'wait') this.#clock.advance(waitMs(step.units));
      else if (step.kind === 'link') this.#onLink(step.what % 4);
      this.#clock.advance(0);
    }
    this.#rest();
  }

  async end(): Promise<void> {
    // Pings come by promises.
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
    this.#network.close();
    this.#clock.advance(0);
    const left = Object.entries(this.#network.gauges()).filter(([, value]) => value !== 0);
    check(left.length === 0, () => `after close there is left: ${JSON.stringify(left)}`);
    check(this.#clock.pending === 0, () => `after close ${this.#clock.pending} timers run`);
  }

  /** the stream's bytes that are no whole frame yet */
  #partial = new Uint8Array(0);

  #receive(bytes: Uint8Array, chance: Chance): void {
    if (this.#socket === null) {
      this.#socket = new FakeSocket(this.#world.config.mtu);
      this.#partial = new Uint8Array(0);
      plugIn(this.#network, this.#socket as unknown as Socket);
    }
    const socket = this.#socket;
    this.frames++;
    const isBroken = this.#read(bytes);
    for (let at = 0; at < bytes.length && !socket.destroyed;) {
      const len = Math.min(bytes.length - at, 1 + chance.below(chance.pick([3, 60, 1600, 70_000])));
      // Each chunk is a buffer of its own, as sockets have it.
      socket.tell('data', Buffer.from(bytes.subarray(at, at + len)));
      at += len;
    }
    check(socket.destroyed === isBroken, () => `the stream is ${isBroken ? 'wrong' : 'right'}, and the socket ${socket.destroyed ? 'destroyed' : 'open'}`);
    check(this.#network.stats()['framesFromGuest'] === this.#expected, () => `${this.#expected} frames came, ${this.#network.stats()['framesFromGuest']} were counted`);
    if (isBroken) this.#socket = null;
  }

  /** Reads the stream plainly. True when it can't go on. */
  #read(bytes: Uint8Array): boolean {
    const whole = new Uint8Array(this.#partial.length + bytes.length);
    whole.set(this.#partial);
    whole.set(bytes, this.#partial.length);
    let at = 0;
    while (whole.length - at >= 4) {
      const len = getU32(whole, at);
      if (len === 0 || len > maxFrameLen(this.#world.config.mtu)) return true;
      if (whole.length - at - 4 < len) break;
      this.#expected++;
      at += 4 + len;
    }
    this.#partial = whole.slice(at);
    return false;
  }

  #onLink(what: number): void {
    const socket = this.#socket;
    if (socket === null) return;
    if (what === 0) socket.isStalled = true;
    else if (what === 1) {
      socket.isStalled = false;
      socket.drain();
    } else {
      if (what === 3) socket.tell('error', new Error('ECONNRESET'));
      socket.destroy();
      this.#socket = null;
    }
  }

  #rest(): void {
    this.#socket?.destroy();
    this.#socket = null;
    for (let round = 0; round < 8 && this.#host.tcp.length + this.#host.udp.length > 0; round++) {
      for (const socket of this.#host.tcp.slice()) socket.close('ECONNRESET');
      for (const socket of this.#host.udp.slice()) socket.handlers.onError('EPIPE');
      this.#clock.advance(0);
    }
    for (const resolve of this.#host.pings.splice(0)) resolve(null);
    this.#clock.advance(REST_MS);
    const { linksOpen, batchesHeld } = this.#network.gauges();
    check(linksOpen === 0 && batchesHeld === 0, () => `at rest there are ${linksOpen} links and ${batchesHeld} batches`);
  }
}

function framed(frame: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + frame.length);
  setU32(out, 0, frame.length);
  out.set(frame, 4);
  return out;
}
