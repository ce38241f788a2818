/*
 * A ring whose ends are in threads that share no memory: each has its own, and messages carry the bytes.
 *
 *   producer ─▶ ring │ sendRing ── Uint8Array ─▶ receiveRing │ ring ─▶ consumer
 *                    │          ◀─ bytes taken ──            │
 *
 * Flow control is the ring's own: of what was sent and has not entered the other ring there is never more than its capacity, so a
 * slow consumer fills first its ring, then that allowance, then the producer's ring. A receiver whose ring is full looks
 * again every RETRY_MS.
 */
import type { DrainHandler } from './drain.ts';
import { Drain } from './drain.ts';
import { Ring } from './ring.ts';

/** bytes of one message */
const CHUNK_BYTES = 64 << 10;
const RETRY_MS = 4;
/** message behind the last bytes */
const END = 'end';

/** What of a MessagePort is used: the page's, a worker's and Node's fit. */
export interface BridgePort {
  onmessage: ((event: never) => unknown) | null;
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
}

/** Posts what comes into the ring in `buffer`, which lies in this thread. Returns the bell of its producer's Ring. */
export function sendRing(buffer: ArrayBufferLike, port: BridgePort): () => void {
  const ring = new Ring(buffer);
  const bell = new MessageChannel();
  let allowance = ring.capacity;
  /** the turn that waits for an allowance */
  let next: (() => void) | null = null;
  port.onmessage = ({ data }: { data: unknown }) => {
    allowance += data as number;
    const turn = next;
    next = null;
    turn?.();
  };
  const handler: DrainHandler = {
    onReadable(_ring, goOn) {
      const bytes = new Uint8Array(Math.min(ring.readable, CHUNK_BYTES, allowance));
      ring.read(bytes, 0, bytes.length);
      allowance -= bytes.length;
      port.postMessage(bytes, [bytes.buffer]);
      if (allowance > 0) goOn();
      else next = goOn;
    },
    onEnd() {
      port.postMessage(END, []);
    },
  };
  Drain.start(ring, handler, { onRing: (listener) => { bell.port2.onmessage = listener; } });
  return () => { bell.port1.postMessage(0, []); };
}

/** Writes what is posted into the ring in `buffer`, which lies in this thread. `onWritten` is told after every write, and of the end. */
export function receiveRing(buffer: ArrayBufferLike, port: BridgePort, onWritten: () => void): void {
  const ring = new Ring(buffer);
  ring.bell = onWritten;
  const waiting: Uint8Array[] = [];
  let hasEnded = false;
  let isFull = false;

  const move = (): void => {
    isFull = false;
    let taken = 0;
    while (waiting.length > 0 && !isFull) {
      const len = ring.write(waiting[0], 0, waiting[0].length);
      taken += len;
      isFull = len < waiting[0].length;
      if (isFull) waiting[0] = waiting[0].subarray(len);
      else waiting.shift();
    }
    if (isFull) setTimeout(move, RETRY_MS);
    if (taken > 0) port.postMessage(taken, []);
    if (hasEnded && waiting.length === 0) ring.close();
    onWritten();
  };
  port.onmessage = ({ data }: { data: unknown }) => {
    if (data === END) hasEnded = true;
    else waiting.push(data as Uint8Array);
    if (!isFull) move();
  };
}
