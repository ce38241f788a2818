/*
 * A guest's SYN that awaits judgement: the NAT dials the host first and answers afterwards, so that the guest sees the
 * outcome a real network would show: refused, unreachable, or silence. It holds the flow's place in the table meanwhile;
 * retransmissions of the SYN are absorbed, and a RST of the guest cancels it.
 */
import { hopsLeft } from '../../wire/ipv6.ts';
import { TCP_ACK, TCP_RST, TCP_SYN } from '../../wire/tcp.ts';
import type { TcpView } from '../../wire/tcp.ts';
import { TcpOptions } from '../../wire/tcp-options.ts';
import type { FlowIp } from '../ipv6-table.ts';
import type { Neighbor } from '../neighbors.ts';
import type { TcpConnection, TcpHandler } from './connection.ts';
import type { Seq } from './seq.ts';
import { seqAdd, toSeq } from './seq.ts';
import type { Tcp } from './tcp.ts';
import { copyOf } from '../../wire/copy.ts';

export interface PendingConnection {
  readonly guestIp: FlowIp;
  readonly guestPort: number;
  readonly remoteIp: FlowIp;
  readonly remotePort: number;
  /** hops that the SYN had left */
  readonly ttl: number;
  /** Called when the guest has given up. Neither accept nor reject may follow. */
  onCancel: (() => void) | null;
  /** Answers SYN-ACK. Null when the guest has given up. */
  accept(handler: TcpHandler): TcpConnection | null;
  /** RST: refused. */
  refuse(): void;
  /** ICMP destination unreachable with this code. */
  unreachable(code: number): void;
  /** No answer at all. */
  ignore(): void;
}

export class PendingSyn implements PendingConnection {
  readonly neighbor: Neighbor;
  readonly guestIp: FlowIp;
  readonly guestPort: number;
  readonly remoteIp: FlowIp;
  readonly remotePort: number;
  readonly ttl: number;
  onCancel: (() => void) | null = null;
  readonly irs: Seq;
  readonly #options = new TcpOptions();
  readonly #window: number;
  /** the IP packet, as ICMP errors quote it */
  readonly #packet: Uint8Array;
  readonly #tcp: Tcp;
  #isJudged = false;

  /** Borrowed: `packet` of the SYN is copied. */
  constructor(tcp: Tcp, neighbor: Neighbor, guestIp: FlowIp, remoteIp: FlowIp, segment: TcpView, ipStart: number) {
    this.#tcp = tcp;
    this.neighbor = neighbor;
    this.guestIp = guestIp;
    this.guestPort = segment.srcPort;
    this.remoteIp = remoteIp;
    this.remotePort = segment.dstPort;
    this.ttl = hopsLeft(segment.bytes, ipStart);
    this.irs = toSeq(segment.seq);
    this.#window = segment.window;
    this.#packet = copyOf(segment.bytes, ipStart, Math.min(segment.end, ipStart + 80));
    if (segment.hasOptions) this.#options.parse(segment.bytes, segment.optionsStart, segment.payloadStart);
  }

  accept(handler: TcpHandler): TcpConnection | null {
    if (!this.#judge()) return null;
    return this.#tcp.acceptPending(this, this.#options, this.#window, handler);
  }

  refuse(): void {
    if (!this.#judge()) return;
    this.#tcp.removePending(this);
    this.#tcp.sendReset(this.neighbor, this.remoteIp, this.remotePort, this.guestIp, this.guestPort, toSeq(0), seqAdd(this.irs, 1));
  }

  unreachable(code: number): void {
    if (!this.#judge()) return;
    this.#tcp.removePending(this);
    this.#tcp.sendUnreachable(this.neighbor, this.#packet, code);
  }

  ignore(): void {
    if (this.#judge()) this.#tcp.removePending(this);
  }

  /** A segment of this flow before the judgement: the SYN again, or a RST that takes it back. */
  onSegment(segment: TcpView): void {
    const flags = segment.flags;
    if ((flags & TCP_RST) !== 0) {
      // RFC 9293 §3.10.7.3: without an acknowledgment of ours only the number behind the SYN is right.
      if (toSeq(segment.seq) === seqAdd(this.irs, 1) || toSeq(segment.seq) === this.irs) this.cancel();
      return;
    }
    // A new SYN on the same ports: the guest has given the first one up and forgotten it.
    if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN && toSeq(segment.seq) !== this.irs) this.cancel();
  }

  cancel(): void {
    if (!this.#judge()) return;
    this.#tcp.removePending(this);
    this.onCancel?.();
  }

  #judge(): boolean {
    if (this.#isJudged) return false;
    this.#isJudged = true;
    return true;
  }
}
