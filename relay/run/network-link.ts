/*
 * Plugs a container's frame rings into a virtual network of this process: what WebSocket, session and link worker are
 * between them in the browser.
 *
 *   fromGuest ring ─ whole frames ─▶ port.receive … port.flush
 *   toGuest ring  ◀─ frame by whole frame ─ sink.sendBatch
 *
 * The network is told to hold back while toGuest is more than half full, and looked after by a timer until it is not: nothing
 * is dropped on the way to the guest.
 */
import { FrameWriter, wholeFrames } from '../../shared/link/frame-writer.ts';
import { BATCH_BYTES, MAX_FRAME_BYTES } from '../../shared/link/tunnel.ts';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { Drain } from '../../shared/memory/drain.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { getU32 } from '../../shared/bytes.ts';
import type { FrameBatch, FrameSink, LinkPort } from '../../shared/net/stack/link-port.ts';

const LENGTH_BYTES = 4;
/** time between two looks at a ring that was too full, in ms */
const RECHECK_MS = 2;

export class NetworkLink {
  readonly #port: LinkPort;
  readonly #wake: Wake;
  readonly #toGuest: Ring;
  readonly #writer: FrameWriter;
  readonly #drain: Drain;
  readonly #batch = new Uint8Array(Math.max(BATCH_BYTES, MAX_FRAME_BYTES + LENGTH_BYTES));
  readonly #counted = { frames: 0 };
  #recheck: NodeJS.Timeout | null = null;

  constructor(memory: ContainerMemory, attach: (sink: FrameSink) => LinkPort) {
    this.#wake = new Wake(memory.control);
    this.#toGuest = new Ring(memory.toGuest);
    this.#writer = new FrameWriter(this.#toGuest, MAX_FRAME_BYTES, () => false);
    this.#port = attach({ sendBatch: (batch) => this.#sendBatch(batch) });
    this.#drain = new Drain(new Ring(memory.fromGuest), { onReadable: this.#onFrames }, null);
    this.#wake.link = 1;
  }

  /** Idempotent. */
  close(): void {
    this.#drain.close();
    this.#port.close();
    if (this.#recheck !== null) clearTimeout(this.#recheck);
    this.#recheck = null;
  }

  #sendBatch(batch: FrameBatch): boolean {
    this.#writer.write(batch.bytes, 0, batch.end);
    batch.release();
    this.#wake.bump();
    if (this.#hasRoom()) return true;
    this.#recheck ??= setTimeout(this.#onRecheck, RECHECK_MS);
    return false;
  }

  #hasRoom(): boolean {
    return this.#toGuest.writable >= this.#toGuest.capacity / 2;
  }

  readonly #onRecheck = (): void => {
    this.#recheck = this.#hasRoom() ? null : setTimeout(this.#onRecheck, RECHECK_MS);
    if (this.#recheck === null && !this.#port.closed) this.#port.onDrain();
  };

  readonly #onFrames = (ring: Ring, next: () => void): void => {
    const len = wholeFrames(ring, BATCH_BYTES, this.#counted);
    ring.read(this.#batch, 0, len);
    for (let at = 0; at < len;) {
      const start = at + LENGTH_BYTES;
      at = start + getU32(this.#batch, at);
      this.#port.receive(this.#batch, start, at);
    }
    this.#port.flush();
    // Host sockets have their turn between two batches.
    setImmediate(next);
  };
}
