/*
 * A capture of one container's link: cuts both byte streams into frames and writes them down.
 *
 * A stream is joined at the beginning of a frame only. From the guest every batch begins with one. Towards the guest the
 * pump says where one begins (`atFrame`); until then that direction is silent. All frames of a batch get the time of the batch.
 */
import { FrameDecoder } from '../../shared/link/qemu-framing.ts';
import { MAX_FRAME_BYTES } from '../../shared/link/tunnel.ts';
import { FROM_GUEST, PcapngWriter, TO_GUEST } from './pcapng.ts';

export class Capture {
  readonly writer: PcapngWriter;
  readonly #fromGuest: FrameDecoder;
  #toGuest: FrameDecoder | null = null;
  /** of the batch, in µs since the epoch */
  #atUs = 0;

  constructor(writer = new PcapngWriter()) {
    this.writer = writer;
    this.#fromGuest = new FrameDecoder(MAX_FRAME_BYTES, (bytes, start, end) => this.writer.add(bytes, start, end, FROM_GUEST, this.#atUs));
  }

  /** A batch of whole frames. Borrowed. */
  fromGuest(batch: Uint8Array): void {
    this.#atUs = nowUs();
    this.#fromGuest.push(batch, 0, batch.length);
  }

  /** Bytes of the stream to the guest; `atFrame`: they begin with a frame. Borrowed. */
  toGuest(bytes: Uint8Array, atFrame: boolean): void {
    if (atFrame) this.#toGuest ??= new FrameDecoder(MAX_FRAME_BYTES, (frame, start, end) => this.writer.add(frame, start, end, TO_GUEST, this.#atUs));
    this.#atUs = nowUs();
    this.#toGuest?.push(bytes, 0, bytes.length);
  }

  /** The stream to the guest begins anew. */
  reset(): void {
    this.#toGuest = null;
  }
}

function nowUs(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}
