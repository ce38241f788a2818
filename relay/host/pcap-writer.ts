/*
 * A pcapng file of Ethernet frames, for Wireshark and tshark (draft-ietf-opsawg-pcapng).
 *
 *   section header · interface · packet · packet · interface · packet …        blocks, each a multiple of 4 bytes
 *
 *   0         4         8         12        16        20        24        28
 *   +---------+---------+---------+---------+---------+---------+---------+----- - - -----+---------+---------+
 *   | 6       | length  | iface   | µs high | µs low  | len     | len     | frame, padded | options | length  |
 *   +---------+---------+---------+---------+---------+---------+---------+----- - - -----+---------+---------+
 *
 * Frames are copied into a block of BLOCK_LEN, which goes to the disk when it is full or FLUSH_MS old. Nothing waits for the
 * disk: while QUEUE_MAX bytes are on their way, frames are counted instead of written, and so they are after a failed write.
 */
import { open } from 'node:fs/promises';
import type { WriteStream } from 'node:fs';
import { RelayError } from '../../shared/relay-error.ts';

/** which way a frame went, as the option epb_flags has it: seen from the gateway */
export const FROM_GUEST = 1;
export const TO_GUEST = 2;
export type Direction = typeof FROM_GUEST | typeof TO_GUEST;

const BLOCK_LEN = 256 * 1024;
const FLUSH_MS = 100;
/** bytes given to the stream that the disk has not taken */
const QUEUE_MAX = 16 * 1024 * 1024;

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const LINKTYPE_ETHERNET = 1;
const OPT_IF_NAME = 2;
const OPT_EPB_FLAGS = 2;
/** all of a packet block but the frame: seven words, one option with its end, the length again */
const PACKET_OVERHEAD = 28 + 8 + 4 + 4;

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
    // A section of unknown length, version 1.0.
    this.#putWords(SECTION_HEADER, 28, BYTE_ORDER_MAGIC, 1, 0xffffffff, 0xffffffff, 28);
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
    const padded = (text.length + 3) & ~3;
    const len = 16 + 4 + padded + 4 + 4;
    // Never dropped, slow disk or not: without it the numbers of all that follow would be wrong.
    if (this.#at + len > BLOCK_LEN) this.#flush();
    if (!this.#isClosed && this.#error === null && this.#at + len <= BLOCK_LEN) {
      this.#putWords(INTERFACE_DESCRIPTION, len, LINKTYPE_ETHERNET, 0, OPT_IF_NAME | (text.length << 16));
      this.#block.fill(0, this.#at, this.#at + padded);
      text.copy(this.#block, this.#at);
      this.#at += padded;
      this.#putWords(0, len);
    }
    return this.#interfaces++;
  }

  /** Copies the frame. `wallMs` may have a fraction. Never waits, never throws. */
  write(iface: number, wallMs: number, bytes: Uint8Array, start: number, end: number, direction: Direction): void {
    const frameLen = end - start;
    const padded = (frameLen + 3) & ~3;
    const len = PACKET_OVERHEAD + padded;
    if (!this.#hasRoom(len)) {
      this.#framesDropped++;
      return;
    }
    const micros = Math.floor(wallMs * 1000);
    this.#putWords(ENHANCED_PACKET, len, iface, Math.floor(micros / 0x100000000), micros >>> 0, frameLen, frameLen);
    this.#block.set(bytes.subarray(start, end), this.#at);
    this.#block.fill(0, this.#at + frameLen, this.#at + padded);
    this.#at += padded;
    this.#putWords(OPT_EPB_FLAGS | (4 << 16), direction, 0, len);
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

  /** Little-endian, as the magic in the section header says. */
  #putWords(...words: number[]): void {
    for (const word of words) this.#at = this.#block.writeUInt32LE(word >>> 0, this.#at);
  }
}
