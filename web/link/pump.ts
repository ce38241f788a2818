/*
 * Moves frames between the rings and whatever WebSocket there is at the moment.
 *
 *   fromGuest ring ─ whole frames, a batch per message ─▶ WebSocket
 *   toGuest ring  ◀─ frame by whole frame ─────────────── WebSocket
 *
 * Theory of operation
 *
 * From the guest: a drain takes what there is, up to BATCH_BYTES, in whole frames, so that a connection which breaks
 * leaves the ring at the beginning of a frame. A WebSocket has no event for "sent": above HIGH_WATER bytes in its buffer
 * the pump looks again after a few ms, the ring fills, and the guest waits (sock.ts). Without a WebSocket frames are
 * thrown away and counted, so that the guest never waits for a link that is down.
 *
 * To the guest: a WebSocket cannot be paused, so the ring is the buffer: TCP windows keep its use bounded, and what
 * does not fit is dropped whole and counted (frame-writer.ts). The guest is woken once per message.
 */
import { FrameWriter, wholeFrames } from '../../shared/link/frame-writer.ts';
import { BATCH_BYTES, MAX_FRAME_BYTES } from '../../shared/link/tunnel.ts';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { Bell } from '../../shared/memory/drain.ts';
import { Drain } from '../../shared/memory/drain.ts';
import { LinkCounters } from '../../shared/memory/link-counters.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';
import type { Capture } from './capture.ts';

/** bytes in the WebSocket's buffer above which nothing more is sent: a few batches */
export const HIGH_WATER = 512 << 10;
/** time between two looks at that buffer, in ms */
const RECHECK_MS = 4;

/** What the pump uses of a WebSocket. */
export interface FrameSocket {
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  /** Lets what else waits in this thread have its turn before the next batch. Absent: nothing does. */
  soon?(next: () => void): void;
}

export class Pump {
  readonly wake: Wake;
  readonly counters: LinkCounters;
  /** what the WebSocket carries is written down here */
  capture: Capture | null = null;

  readonly #drain: Drain;
  readonly #ring: Ring;
  readonly #toGuest: FrameWriter;
  readonly #counted = { frames: 0 };
  #socket: FrameSocket | null = null;

  constructor(memory: ContainerMemory, bell: Bell | null) {
    this.wake = new Wake(memory.control);
    this.counters = new LinkCounters(memory.control);
    this.#ring = new Ring(memory.toGuest);
    this.#toGuest = new FrameWriter(this.#ring, MAX_FRAME_BYTES, () => false);
    this.#drain = new Drain(new Ring(memory.fromGuest), { onReadable: this.#onFrames }, bell);
  }

  /** A connection that is ready for frames; null: there is none. Both directions begin with a new frame. */
  set socket(socket: FrameSocket | null) {
    this.#socket = socket;
    this.#toGuest.reset();
    this.capture?.reset();
  }

  /** Bytes of the stream from the network. False when they are garbage: the connection must go. */
  receive(bytes: Uint8Array): boolean {
    const { frames, dropped } = this.#toGuest;
    this.capture?.toGuest(bytes, this.#toGuest.atFrame);
    const sound = this.#toGuest.write(bytes, 0, bytes.length);
    this.counters.bytesToGuest += bytes.length;
    this.counters.framesToGuest += this.#toGuest.frames - frames;
    this.counters.framesDropped += this.#toGuest.dropped - dropped;
    this.wake.bump();
    return sound;
  }

  /** The guest keeps up: less than half of its ring is full. */
  get hasRoom(): boolean {
    return this.#ring.writable >= this.#ring.capacity / 2;
  }

  close(): void {
    this.#socket = null;
    this.#drain.close();
  }

  readonly #onFrames = (ring: Ring, next: () => void): void => {
    const socket = this.#socket;
    if (socket !== null && socket.bufferedAmount >= HIGH_WATER) {
      setTimeout(next, RECHECK_MS);
      return;
    }
    const len = wholeFrames(ring, BATCH_BYTES, this.#counted);
    if (socket === null) {
      ring.skip(len);
      this.counters.framesDropped += this.#counted.frames;
    } else {
      const batch = new Uint8Array(len);
      ring.read(batch, 0, len);
      socket.send(batch);
      this.capture?.fromGuest(batch);
      this.counters.bytesFromGuest += len;
      this.counters.framesFromGuest += this.#counted.frames;
    }
    if (socket?.soon === undefined) next();
    else socket.soon(next);
  };
}
