/*
 * One guest connection joined to one host socket.
 *
 *   guest --onData--> parts of this batch --onTurn: one copy, one write--> host socket        held = what the kernel left
 *   guest <--send---- chunks as the host socket read them --------------- host socket         paused while isSendFull
 *
 * Each direction ends by itself: a FIN of the guest becomes `end` of the socket, the socket's end becomes a FIN. An error on
 * either side is a reset on the other. A flow of a guest starts with the dial; a forwarded one with the accepted socket, paused
 * until the guest has answered. The flow is over when both sides have said their last word.
 *
 * Memory: from the guest, what the host's kernel has not taken, bounded by the receive window (`setHeld`); to the guest, the
 * guest's window and the connection's high-water mark, plus one read of the socket.
 */
import type { CloseReason, TcpConnection, TcpHandler } from '../stack/tcp/connection.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { Ipv6Table } from '../stack/ipv6-table.ts';
import { formatEndpoint, type IpAddress } from '../wire/addr6.ts';
import type { FlowInfo } from './flow-list.ts';
import { judgeDialError } from './host-error.ts';
import type { HostNet, HostTcp, HostTcpHandlers } from './host-net.ts';
import { WriteSlab } from './write-slab.ts';

/** of all networks of this thread: between two batches it holds nothing */
const slab = new WriteSlab();

export class TcpFlow implements TcpHandler {
  readonly #onOver: (flow: TcpFlow) => void;
  readonly #bornMs: number;
  /** what a guest's SYN made us dial, port included; null for an accepted socket */
  #dialled: { readonly ip: IpAddress; readonly port: number } | null = null;
  #connection: TcpConnection | null = null;
  #pending: PendingConnection | null = null;
  #host: HostTcp | null = null;
  /** what to do when the first dial is refused */
  #dialSecond: (() => void) | null = null;
  #isHostOver = false;
  #isGuestOver = false;
  #isPaused = false;
  /** ranges that arrived in this batch, borrowed until `onTurn` */
  readonly #parts: Uint8Array[] = [];
  readonly #edges: number[] = [];
  #partsLen = 0;

  private constructor(nowMs: number, onOver: (flow: TcpFlow) => void) {
    this.#bornMs = nowMs;
    this.#onOver = onOver;
  }

  /** Dials `ip:port` for a guest's SYN, where that is refused `second:port`, and answers the SYN with the outcome. */
  static dial(
    hostNet: HostNet, pending: PendingConnection, ip: IpAddress, second: IpAddress | null, port: number, nowMs: number, onOver: (flow: TcpFlow) => void,
  ): TcpFlow {
    const flow = new TcpFlow(nowMs, onOver);
    flow.#dialled = { ip, port };
    flow.#pending = pending;
    pending.onCancel = () => {
      flow.#pending = null;
      flow.#endGuest();
      flow.#host?.reset();
    };
    if (second !== null) {
      flow.#dialSecond = () => {
        flow.#dialSecond = null;
        flow.#dialled = { ip: second, port };
        flow.#host = hostNet.connectTcp(second, port, new HostEnd(flow));
      };
    }
    flow.#host = hostNet.connectTcp(ip, port, new HostEnd(flow));
    return flow;
  }

  /** For an accepted host socket. `connect` makes the connection into the guest with the handler it gets, or returns null. */
  static accepted(host: HostTcp, connect: (handler: TcpHandler) => TcpConnection | null, nowMs: number, onOver: (flow: TcpFlow) => void): TcpFlow {
    const flow = new TcpFlow(nowMs, onOver);
    flow.#host = host;
    host.handlers = new HostEnd(flow);
    flow.#connection = connect(flow);
    if (flow.#connection === null) {
      flow.#endGuest();
      host.reset();
    }
    return flow;
  }

  /** Resets both sides. Idempotent. */
  close(): void {
    this.#pending?.ignore();
    this.#pending = null;
    this.#connection?.abort();
    this.#endGuest();
    if (!this.#isHostOver) this.#host?.reset();
  }

  get isOver(): boolean {
    return this.#isGuestOver && this.#isHostOver;
  }

  /** Null once the guest's side is gone. */
  info(nowMs: number, addresses: Ipv6Table): FlowInfo | null {
    const connection = this.#connection;
    const side = this.#pending ?? connection;
    if (side === null || this.#isGuestOver) return null;
    const dialled = this.#dialled;
    return {
      protocol: 'tcp',
      from: dialled === null ? 'host' : 'guest',
      guestIp: addresses.ipOf(side.guestIp), guestPort: side.guestPort, remoteIp: addresses.ipOf(side.remoteIp), remotePort: side.remotePort,
      host: dialled === null ? this.#host?.peer ?? '' : formatEndpoint(dialled.ip, dialled.port),
      bytesFromGuest: connection?.bytesFromGuest ?? 0,
      bytesToGuest: connection?.bytesToGuest ?? 0,
      ageMs: nowMs - this.#bornMs,
      idleMs: nowMs - (connection?.lastHeardMs ?? this.#bornMs),
      state: connection?.state ?? 'dialing',
    };
  }

  // ---- the guest ----

  onEstablished(): void {
    this.#host!.resume();
  }

  onData(bytes: Uint8Array, start: number, end: number): void {
    this.#parts.push(bytes);
    this.#edges.push(start, end);
    this.#partsLen += end - start;
  }

  onTurn(): void {
    const parts = this.#parts;
    if (parts.length === 0) return;
    if (!this.#isHostOver) {
      const out = slab.take(this.#partsLen);
      let at = 0;
      for (let i = 0; i < parts.length; i++) {
        const start = this.#edges[2 * i];
        const end = this.#edges[2 * i + 1];
        out.set(start === 0 && end === parts[i].length ? parts[i] : parts[i].subarray(start, end), at);
        at += end - start;
      }
      if (!this.#host!.write(out)) slab.keep(out.length);
      this.#connection?.setHeld(this.#host!.pendingBytes);
    }
    parts.length = 0;
    this.#edges.length = 0;
    this.#partsLen = 0;
  }

  onFin(): void {
    if (!this.#isHostOver) this.#host!.end();
  }

  onSendSpace(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isHostOver) this.#host!.resume();
  }

  onClosed(reason: CloseReason): void {
    this.#endGuest();
    // After a clean close the socket may still have bytes to deliver; it ends by itself.
    if (reason !== 'closed' && !this.#isHostOver) this.#host!.reset();
  }

  // ---- the host, through HostEnd ----

  onHostConnect(): void {
    const pending = this.#pending;
    if (pending === null) return;
    this.#pending = null;
    pending.onCancel = null;
    this.#connection = pending.accept(this);
  }

  onHostData(bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection === null || this.#isGuestOver) return;
    connection.send(bytes);
    if (!connection.isSendFull || this.#isPaused) return;
    this.#isPaused = true;
    this.#host!.pause();
  }

  onHostEnd(): void {
    this.#connection?.shutdown();
  }

  onHostTaken(): void {
    if (!this.#isGuestOver) this.#connection?.setHeld(this.#host!.pendingBytes);
  }

  /** The host's socket is gone, and we could not hear it: both sides end. */
  abandon(): void {
    this.#isHostOver = true;
    this.close();
    this.#checkOver();
  }

  onHostClose(error: string | null): void {
    if (error === 'ECONNREFUSED' && this.#pending !== null && this.#dialSecond !== null) return this.#dialSecond();
    this.#isHostOver = true;
    const pending = this.#pending;
    if (pending !== null) {
      this.#pending = null;
      const verdict = judgeDialError(error);
      if (verdict.kind === 'refuse') pending.refuse();
      else if (verdict.kind === 'unreachable') pending.unreachable(verdict.code);
      else pending.ignore();
      this.#endGuest();
    } else if (this.#connection !== null && !this.#isGuestOver) {
      if (error !== null) this.#connection.abort();
      else this.#connection.shutdown();
    }
    this.#checkOver();
  }

  #endGuest(): void {
    if (this.#isGuestOver) return;
    this.#isGuestOver = true;
    this.#checkOver();
  }

  #checkOver(): void {
    if (this.isOver) this.#onOver(this);
  }
}

/** The host socket's side of a flow: both sides have an `onData`. */
class HostEnd implements HostTcpHandlers {
  readonly #flow: TcpFlow;

  constructor(flow: TcpFlow) {
    this.#flow = flow;
  }

  onConnect(): void { this.#flow.onHostConnect(); }
  onData(bytes: Uint8Array): void { this.#flow.onHostData(bytes); }
  onEnd(): void { this.#flow.onHostEnd(); }
  onTaken(): void { this.#flow.onHostTaken(); }
  onClose(error: string | null): void { this.#flow.onHostClose(error); }
  onLost(): void { this.#flow.abandon(); }
}
