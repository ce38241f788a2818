/*
 * Where a link meets the network.
 *
 *   link bytes -> FrameDecoder -> port.receive(frame) ... port.flush()      guest to network, a batch at a time
 *   link bytes <- sink.sendBatch(batch) <- network                           network to guest, a batch at a time
 *
 * A batch is already the byte stream that QEMU's framing wants: every frame lies behind its 4-byte big-endian length,
 *
 *   bytes[0]                                                 bytes[end]
 *   +------+-----------------+------+------------+------+------+
 *   | len  | Ethernet frame  | len  | frame      | len  | ...  |
 *   +------+-----------------+------+------------+------+------+
 *
 * so a stream link (TCP, UNIX, WebSocket) writes `bytes[0, end)` in one piece, and a link with another framing walks it.
 */

/** Frames on their way to one link, in a pooled buffer. Lent: the sink calls `release` once when the bytes have left it. */
export interface FrameBatch {
  readonly bytes: Uint8Array;
  /** one past the last byte; the batch starts at 0 */
  readonly end: number;
  readonly frames: number;
  /** Idempotent. Until then the bytes do not change, afterwards they belong to someone else. */
  release(): void;
}

/** Stack → link: implemented by whoever owns the transport. */
export interface FrameSink {
  /**
   * Takes the batch, always. Returns false when the transport has enough queued: the port then holds traffic back
   * (TCP waits, datagrams over a cap are dropped) until the link calls `port.onDrain()`.
   */
  sendBatch(batch: FrameBatch): boolean;
}

/** Link → stack: made by `VirtualNetwork.attach`. */
export interface LinkPort {
  /** One frame, without its length. Borrowed until `flush()` returns: only then may the bytes change. */
  receive(bytes: Uint8Array, start: number, end: number): void;
  /** The end of a batch: everything received is answered and handed on. Call it once per chunk read from the link. */
  flush(): void;
  /** The transport has room again, after `sendBatch` returned false. */
  onDrain(): void;
  /** Idempotent. Flows of the guest live on and are retransmitted when it comes back on another port. */
  close(): void;
  readonly closed: boolean;
}
