/*
 * Rings of two threads that share no memory, joined over a message port: what is written into one comes out of its twin.
 *
 *   producer ─▶ ring ─ Drain ─▶ { ring, bytes } ──port──▶ ring's twin ─▶ consumer
 *                  credit ◀──────── { ring, taken } ◀──────── as it is read
 *
 * Theory of operation
 *
 * A twin never overflows: the sender keeps at most its capacity under way, and gets back what the consumer has read. So a slow consumer
 * fills both rings, and the producer waits as it would for one. Rings of frames send whole frames only, and the twin shows them
 * whole. The end of a ring follows its last byte.
 */
import { wholeFrames } from '../link/frame-writer.ts';
import { BATCH_BYTES, MAX_FRAME_BYTES } from '../link/tunnel.ts';
import { Drain } from './drain.ts';
import { localBell, localListeners } from './local.ts';
import { Ring } from './ring.ts';
import type { Wake } from './wake.ts';

/** A MessagePort of the web or of Node, as far as it is used. */
export interface BridgePort {
  postMessage(message: BridgeMessage, transfer: ArrayBuffer[]): void;
  onmessage: ((event: { data: BridgeMessage }) => void) | null;
}

export type BridgeMessage =
  | { ring: string; bytes: Uint8Array<ArrayBuffer> }
  | { ring: string; taken: number }
  | { ring: string; ended: true }
  /** the link word of wake.ts */
  | { link: number };

/** most bytes in one message */
const CHUNK_BYTES = 64 << 10;
/** a ring of frames sends while its twin has room for a batch, whose last frame may be the largest there is */
const FRAMES_ROOM = BATCH_BYTES + MAX_FRAME_BYTES + 4;

interface Sending {
  outstanding: number;
  /** waits for credit */
  again: (() => void) | null;
  drain: Drain | null;
}

interface Receiving {
  ring: Ring;
  wake: Wake | null;
}

export class Bridge {
  readonly #port: BridgePort;
  readonly #sending = new Map<string, Sending>();
  readonly #receiving = new Map<string, Receiving>();
  #linked: Wake | null = null;

  constructor(port: BridgePort) {
    this.#port = port;
    port.onmessage = ({ data }) => this.#onMessage(data);
  }

  /** Carries to the other side what is written into the ring over `buffer`. */
  send(name: string, buffer: ArrayBuffer, what: 'bytes' | 'frames'): void {
    const counted = { frames: 0 };
    const sending: Sending = { outstanding: 0, again: null, drain: null };
    this.#sending.set(name, sending);
    sending.drain = new Drain(new Ring(buffer), {
      onReadable: (ring, next) => {
        const room = ring.capacity - sending.outstanding;
        if (room < (what === 'frames' ? FRAMES_ROOM : 1)) {
          sending.again = next;
          return;
        }
        const bytes = new Uint8Array(what === 'frames' ? wholeFrames(ring, BATCH_BYTES, counted) : Math.min(ring.readable, room, CHUNK_BYTES));
        ring.read(bytes, 0, bytes.length);
        sending.outstanding += bytes.length;
        this.#port.postMessage({ ring: name, bytes }, [bytes.buffer]);
        next();
      },
      onEnd: () => this.#port.postMessage({ ring: name, ended: true }, []),
    }, localBell(buffer));
  }

  /** Writes what comes from the other side into the ring over `buffer`, and bumps `wake`. */
  receive(name: string, buffer: ArrayBuffer, wake: Wake | null): void {
    const ring = new Ring(buffer);
    this.#receiving.set(name, { ring, wake });
    let acknowledged = 0;
    localListeners(buffer)!.add(() => {
      const taken = (ring.taken - acknowledged) >>> 0;
      // A few messages for a ringful, and one when all of it was read.
      if (taken === 0 || (taken < ring.capacity / 8 && ring.readable > 0)) return;
      acknowledged = (acknowledged + taken) >>> 0;
      this.#port.postMessage({ ring: name, taken }, []);
    });
  }

  /** The link word is told to the other side, */
  tell(link: number): void {
    this.#port.postMessage({ link }, []);
  }

  /** which puts it into its own. */
  hear(wake: Wake): void {
    this.#linked = wake;
  }

  #onMessage(message: BridgeMessage): void {
    if ('link' in message) {
      if (this.#linked !== null) this.#linked.link = message.link;
      return;
    }
    if ('taken' in message) {
      const sending = this.#sending.get(message.ring)!;
      sending.outstanding -= message.taken;
      const { again } = sending;
      sending.again = null;
      again?.();
      return;
    }
    const { ring, wake } = this.#receiving.get(message.ring)!;
    if ('ended' in message) ring.close();
    else ring.write(message.bytes, 0, message.bytes.length);
    wake?.bump();
  }
}
