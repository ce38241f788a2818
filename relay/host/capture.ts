/*
 * `--pcap FILE`: a tap between links and their ports. A network that is not captured is a plain VirtualNetwork: it pays nothing.
 *
 *   link ── receive ──▶ TappedPort ── receive ──▶ port         each frame is copied on its way, and the way stays the same
 *   link ◀─ sendBatch ── tapped sink ◀─ sendBatch ── network
 *
 * Every link is an interface of the file, `net1.link1`; what the switch carries between guests is seen on both links.
 */
import { getU32 } from '../../shared/bytes.ts';
import { QEMU_LENGTH_LEN } from '../../shared/link/qemu-framing.ts';
import { VirtualNetwork, type NetworkOptions } from '../../shared/net/services/network.ts';
import type { FrameBatch, FrameSink, LinkPort } from '../../shared/net/stack/link-port.ts';
import { FROM_GUEST, PcapWriter, TO_GUEST } from './pcap-writer.ts';

export class Capture {
  readonly #writer: PcapWriter;
  readonly #path: string;
  #networks = 0;

  /** Rejects with RelayError RELAY_CAPTURE. */
  static async open(path: string): Promise<Capture> {
    return new Capture(await PcapWriter.open(path), path);
  }

  private constructor(writer: PcapWriter, path: string) {
    this.#writer = writer;
    this.#path = path;
  }

  /** What makes networks without a capture, and with one. */
  readonly createNetwork = (options: NetworkOptions): VirtualNetwork => new TappedNetwork(options, this.#writer, `net${++this.#networks}`);

  /** Idempotent. Resolves with a line about what is missing in the file, null when nothing is. */
  async close(): Promise<string | null> {
    await this.#writer.close();
    const { error, framesDropped, framesWritten } = this.#writer;
    if (error === null && framesDropped === 0) return null;
    return `${this.#path} lacks ${framesDropped} frames: ${error?.message ?? 'the disk was too slow'} (${framesWritten} were written)`;
  }
}

class TappedNetwork extends VirtualNetwork {
  readonly #writer: PcapWriter;
  readonly #name: string;
  #links = 0;

  constructor(options: NetworkOptions, writer: PcapWriter, name: string) {
    super(options);
    this.#writer = writer;
    this.#name = name;
  }

  override attach(sink: FrameSink): LinkPort {
    const writer = this.#writer;
    // The name is given before the first frame can come, and only to a link that the network takes.
    let iface = -1;
    const port = super.attach({
      sendBatch(batch: FrameBatch): boolean {
        const now = wallMs();
        for (let at = 0; at < batch.end;) {
          const start = at + QEMU_LENGTH_LEN;
          at = start + getU32(batch.bytes, at);
          writer.write(iface, now, batch.bytes, start, at, TO_GUEST);
        }
        return sink.sendBatch(batch);
      },
    });
    iface = writer.addInterface(`${this.#name}.link${++this.#links}`);
    return new TappedPort(port, (bytes, start, end) => writer.write(iface, wallMs(), bytes, start, end, FROM_GUEST));
  }
}

class TappedPort implements LinkPort {
  readonly #port: LinkPort;
  readonly #onFrame: (bytes: Uint8Array, start: number, end: number) => void;

  constructor(port: LinkPort, onFrame: (bytes: Uint8Array, start: number, end: number) => void) {
    this.#port = port;
    this.#onFrame = onFrame;
  }

  get closed(): boolean { return this.#port.closed; }

  receive(bytes: Uint8Array, start: number, end: number): void {
    this.#onFrame(bytes, start, end);
    this.#port.receive(bytes, start, end);
  }

  flush(): void { this.#port.flush(); }
  onDrain(): void { this.#port.onDrain(); }
  close(): void { this.#port.close(); }
}

/** with microseconds, which Date.now() has not */
function wallMs(): number {
  return performance.timeOrigin + performance.now();
}
