/*
 * Frames into a pcapng file, for Wireshark and tshark; shared/link/pcapng.ts has the format.
 *
 * Frames are copied into a block of BLOCK_LEN, which goes to the disk when it is full or FLUSH_MS old. Nothing waits for the
 * disk: while QUEUE_MAX bytes are on their way, frames are counted instead of written, and so they are after a failed write.
 */
import { open } from 'node:fs/promises';
import type { WriteStream } from 'node:fs';
import {
  emitPcapngInterface, emitPcapngPacket, emitPcapngSection, PCAPNG_INBOUND, PCAPNG_OUTBOUND, pcapngInterfaceLen, pcapngPacketLen,
} from '../../shared/link/pcapng.ts';
import { RelayError } from '../../shared/relay-error.ts';

/** which way a frame went, seen from the gateway */
export const FROM_GUEST = PCAPNG_INBOUND;
export const TO_GUEST = PCAPNG_OUTBOUND;
export type Direction = typeof FROM_GUEST | typeof TO_GUEST;

const BLOCK_LEN = 256 * 1024;
const FLUSH_MS = 100;
/** bytes given to the stream that the disk has not taken */
const QUEUE_MAX = 16 * 1024 * 1024;

export class PcapWriter {
  #stream: WriteStream;
  #block = Buffer.allocUnsafeSlow(BLOCK_LEN);
  #at = 0;
  #interfaces = 0;
  #framesWritten = 0;
  #framesDropped = 0;
  #error: Error | null = null;
  #flushTimer: NodeJS.Timeout | null = null;
  #isClosed = false;

  /** Makes the file, or empties it. Rejects with RelayError RELAY_CAPTURE. */
  static async open(path: string): Promise<PcapWriter> {
    try {
      const handle = await open(path, 'w');
      return new PcapWriter(handle.createWriteStream());
    } catch (error) {
      throw new RelayError('RELAY_CAPTURE', `can't write ${path}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
    }
  }

  /** Writes the section header at once; `stream` is its own from now on. */
  constructor(stream: WriteStream) {
    this.#stream = stream;
    stream.on('error', (error) => { this.#error ??= error; });
    this.#at = emitPcapngSection(this.#block, this.#at);
    this.#flush();
  }

  get framesWritten(): number { return this.#framesWritten; }
  /** frames that the disk had no time for, or that came after `error` */
  get framesDropped(): number { return this.#framesDropped; }
  /** why nothing is written any more */
  get error(): Error | null { return this.#error; }

  /** Describes one more link; frames are written under the number that it gets. */
  addInterface(name: string): number {
    const text = Buffer.from(name);
    const len = pcapngInterfaceLen(text.length);
    // Never dropped, slow disk or not: without it the numbers of all that follow would be wrong.
    if (this.#at + len > BLOCK_LEN) this.#flush();
    if (!this.#isClosed && this.#error === null && this.#at + len <= BLOCK_LEN) {
      this.#at = emitPcapngInterface(this.#block, this.#at, text);
    }
    return this.#interfaces++;
  }

  /** Copies the frame. `wallMs` may have a fraction. Never waits, never throws. */
  write(iface: number, wallMs: number, bytes: Uint8Array, start: number, end: number, direction: Direction): void {
    if (!this.#hasRoom(pcapngPacketLen(end - start))) {
      this.#framesDropped++;
      return;
    }
    this.#at = emitPcapngPacket(this.#block, this.#at, iface, Math.floor(wallMs * 1000), bytes.subarray(start, end), direction);
    this.#framesWritten++;
    this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  /** Idempotent. Resolves when all is on the disk, or an error has kept it from there. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#flush();
    this.#isClosed = true;
    await new Promise<void>((resolve) => {
      this.#stream.on('close', () => resolve());
      if (this.#stream.closed) resolve();
      else this.#stream.end();
    });
  }

  #hasRoom(len: number): boolean {
    if (this.#isClosed || this.#error !== null || len > BLOCK_LEN) return false;
    if (this.#at + len <= BLOCK_LEN) return true;
    if (this.#stream.writableLength >= QUEUE_MAX) return false;
    this.#flush();
    return true;
  }

  #flush(): void {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    if (this.#at === 0 || this.#error !== null) return;
    if (this.#at > BLOCK_LEN / 2) {
      this.#stream.write(this.#block.subarray(0, this.#at));
      this.#block = Buffer.allocUnsafeSlow(BLOCK_LEN);
    } else {
      this.#stream.write(Buffer.from(this.#block.subarray(0, this.#at)));
    }
    this.#at = 0;
  }
}
