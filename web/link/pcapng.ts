/*
 * Writes frames as a pcapng file, in memory and up to a cap (draft-ietf-opsawg-pcapng; all of it little-endian).
 *
 *   | section header | interface: Ethernet | packet | packet | …
 *   packet:  6 | length | interface | time, high | time, low | captured | original | frame, padded to 4 | flags | end | length
 *
 * Frames are copied into chunks of CHUNK_BYTES: nothing is allocated for a frame, and nothing is moved when the file grows. At
 * the cap the capture is full: later frames are counted and left out, so the file shows how it began.
 */
import type { CaptureStats } from '../protocol.ts';

/** most bytes of a file */
export const CAPTURE_BYTES_MAX = 64 << 20;
const CHUNK_BYTES = 1 << 20;

const BLOCK_SECTION = 0x0a0d0d0a;
const BLOCK_INTERFACE = 1;
const BLOCK_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_ETHERNET = 1;
const OPTION_FLAGS = 2;
const OPTION_NAME = 2;
/** header and trailer of a packet, with its one option */
const PACKET_OVERHEAD = 28 + 8 + 4 + 4;

/** Which way a frame went, as its flags say it: seen from the container. */
export const TO_GUEST = 1;
export const FROM_GUEST = 2;

export class PcapngWriter implements CaptureStats {
  frames = 0;
  bytes = 0;
  missed = 0;

  readonly #maxBytes: number;
  readonly #full: Uint8Array<ArrayBuffer>[] = [];
  #chunk = new Uint8Array(CHUNK_BYTES);
  #view = new DataView(this.#chunk.buffer);
  #at = 0;

  constructor(maxBytes = CAPTURE_BYTES_MAX) {
    this.#maxBytes = maxBytes;
    this.#section();
    this.#interface('container');
  }

  /** Takes the frame `bytes[start, end)`, seen at `atUs`, microseconds since the epoch. Borrowed. */
  add(bytes: Uint8Array, start: number, end: number, direction: typeof TO_GUEST | typeof FROM_GUEST, atUs: number): void {
    const len = end - start;
    const padded = (len + 3) & ~3;
    const size = PACKET_OVERHEAD + padded;
    if (size > CHUNK_BYTES || this.bytes + size > this.#maxBytes) {
      this.missed++;
      return;
    }
    if (this.#at + size > CHUNK_BYTES) this.#nextChunk();
    this.#u32(BLOCK_PACKET);
    this.#u32(size);
    this.#u32(0);
    this.#u32(Math.floor(atUs / 2 ** 32));
    this.#u32(atUs % 2 ** 32);
    this.#u32(len);
    this.#u32(len);
    for (let i = 0; i < len; i++) this.#chunk[this.#at + i] = bytes[start + i];
    this.#at += padded;
    this.#u16(OPTION_FLAGS);
    this.#u16(4);
    this.#u32(direction);
    this.#u32(0);
    this.#u32(size);
    this.frames++;
    this.bytes += size;
  }

  /** The file. The writer takes no more after that. */
  finish(): Blob {
    const blob = new Blob([...this.#full, this.#chunk.subarray(0, this.#at)], { type: 'application/x-pcapng' });
    this.#full.length = 0;
    return blob;
  }

  #section(): void {
    this.#u32(BLOCK_SECTION);
    this.#u32(28);
    this.#u32(BYTE_ORDER_MAGIC);
    this.#u16(1);
    this.#u16(0);
    // The length of the section is not known: -1.
    this.#u32(0xffff_ffff);
    this.#u32(0xffff_ffff);
    this.#u32(28);
    this.bytes = this.#at;
  }

  #interface(name: string): void {
    const text = new TextEncoder().encode(name);
    const padded = (text.length + 3) & ~3;
    const size = 20 + 4 + padded + 4;
    this.#u32(BLOCK_INTERFACE);
    this.#u32(size);
    this.#u16(LINKTYPE_ETHERNET);
    this.#u16(0);
    // No limit of a packet's length, and microseconds, which is what goes without saying.
    this.#u32(0);
    this.#u16(OPTION_NAME);
    this.#u16(text.length);
    this.#chunk.set(text, this.#at);
    this.#at += padded;
    this.#u32(0);
    this.#u32(size);
    this.bytes = this.#at;
  }

  #nextChunk(): void {
    this.#full.push(this.#chunk.subarray(0, this.#at));
    this.#chunk = new Uint8Array(CHUNK_BYTES);
    this.#view = new DataView(this.#chunk.buffer);
    this.#at = 0;
  }

  #u16(value: number): void {
    this.#view.setUint16(this.#at, value, true);
    this.#at += 2;
  }

  #u32(value: number): void {
    this.#view.setUint32(this.#at, value, true);
    this.#at += 4;
  }
}
