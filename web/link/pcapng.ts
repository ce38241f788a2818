/*
 * Frames as a pcapng file in memory, up to a cap; shared/link/pcapng.ts has the format.
 *
 * Frames are copied into chunks of CHUNK_BYTES: nothing is moved when the file grows. At the cap the capture is full: later
 * frames are counted and left out, so the file shows how it began.
 */
import { emitPcapngInterface, emitPcapngPacket, emitPcapngSection, PCAPNG_INBOUND, PCAPNG_OUTBOUND, pcapngPacketLen } from '../../shared/link/pcapng.ts';
import type { CaptureStats } from '../protocol.ts';

/** most bytes of a file */
export const CAPTURE_BYTES_MAX = 64 << 20;
const CHUNK_BYTES = 1 << 20;

/** Which way a frame went, seen from the container. */
export const TO_GUEST = PCAPNG_INBOUND;
export const FROM_GUEST = PCAPNG_OUTBOUND;

export class PcapngWriter implements CaptureStats {
  frames = 0;
  bytes = 0;
  missed = 0;

  readonly #maxBytes: number;
  readonly #full: Uint8Array<ArrayBuffer>[] = [];
  #chunk = new Uint8Array(CHUNK_BYTES);
  #at = 0;

  constructor(maxBytes = CAPTURE_BYTES_MAX) {
    this.#maxBytes = maxBytes;
    this.#at = emitPcapngInterface(this.#chunk, emitPcapngSection(this.#chunk, 0), new TextEncoder().encode('container'));
    this.bytes = this.#at;
  }

  /** Takes the frame `bytes[start, end)`, seen at `atUs`, microseconds since the epoch. Borrowed. */
  add(bytes: Uint8Array, start: number, end: number, direction: typeof TO_GUEST | typeof FROM_GUEST, atUs: number): void {
    const size = pcapngPacketLen(end - start);
    if (size > CHUNK_BYTES || this.bytes + size > this.#maxBytes) {
      this.missed++;
      return;
    }
    if (this.#at + size > CHUNK_BYTES) this.#nextChunk();
    this.#at = emitPcapngPacket(this.#chunk, this.#at, 0, atUs, bytes.subarray(start, end), direction);
    this.frames++;
    this.bytes += size;
  }

  /** The file. The writer takes no more after that. */
  finish(): Blob {
    const blob = new Blob([...this.#full, this.#chunk.subarray(0, this.#at)], { type: 'application/x-pcapng' });
    this.#full.length = 0;
    return blob;
  }

  #nextChunk(): void {
    this.#full.push(this.#chunk.subarray(0, this.#at));
    this.#chunk = new Uint8Array(CHUNK_BYTES);
    this.#at = 0;
  }
}
