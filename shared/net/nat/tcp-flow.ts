/*
 * One guest connection joined to one host socket.
 *
 *   guest --onData--> parts of this batch --onTurn: one copy, one write--> host socket        held = what the kernel left
 *   guest <--send---- chunks as the host socket read them --------------- host socket         paused while isSendFull
 *
 * Each direction ends by itself: a FIN of the guest becomes `end` of the socket, the socket's end becomes a FIN. An error on
 * either side is a reset on the other, behind what has arrived before it: a server that answers and closes in the middle of an upload
 * has been heard. Towards the guest the reset waits for its acknowledgments. Whether the host's peer has what its kernel took
 * can't be asked, so that reset waits LINGER_MS (LINGER_NEAR_MS for one on this host), as it would throw away what is still under way. A flow of a guest starts with the dial; a forwarded one with the accepted socket, paused
 * until the guest has answered. The flow is over when both sides have said their last word.
 *
 * Memory: from the guest, what the host's kernel has not taken, bounded by the receive window (`setHeld`); to the guest, the
 * guest's window and the connection's high-water mark, plus one read of the socket.
 */
import type { CloseReason, TcpConnection, TcpHandler } from '../stack/tcp/connection.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { Stack } from '../stack/stack.ts';
import type { Wakeable } from '../stack/timers.ts';
import type { Ipv6Table } from '../stack/ipv6-table.ts';
import { formatEndpoint, type IpAddress } from '../wire/addr6.ts';
import type { FlowInfo } from './flow-list.ts';
import { judgeDialError } from './host-error.ts';
import type { HostNet, HostTcp, HostTcpHandlers } from './host-net.ts';
import { WriteSlab } from './write-slab.ts';

/** between what the host's kernel took last and a reset that would destroy it there: some round trips */
const LINGER_MS = 500;
const LINGER_NEAR_MS = 30;
/** for a peer that doesn't take what was sent before the reset */
const LINGER_MAX_MS = 60_000;

/** of all networks of this thread: between two batches it holds nothing */
const slab = new WriteSlab();

export class TcpFlow implements TcpHandler, Wakeable {
  wakeAtMs = Infinity;
  readonly #stack: Stack;
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
  /** after what silence the host's socket asks, as the guest does; Infinity: as the host's sockets do by themselves */
  #keepaliveMs = Infinity;
  /** when the host's socket was last given or had taken something */
  #lastToHostMs = -Infinity;
  /** when the guest's failure is passed on at the latest */
  #lingerUntilMs = Infinity;
  /** ranges that arrived in this batch, borrowed until `onTurn` */
  readonly #parts: Uint8Array[] = [];
  readonly #edges: number[] = [];
  #partsLen = 0;

  private constructor(stack: Stack, onOver: (flow: TcpFlow) => void) {
    this.#stack = stack;
    // Not the batch's time: a host's socket comes at any time, and the last batch may be hours ago.
    this.#bornMs = stack.clock.nowMs();
    this.#onOver = onOver;
  }

  /** Dials `ip:port` for a guest's SYN, where that is refused `second:port`, and answers the SYN with the outcome. */
  static dial(
    stack: Stack, hostNet: HostNet, pending: PendingConnection, ip: IpAddress, second: IpAddress | null, port: number, onOver: (flow: TcpFlow) => void,
  ): TcpFlow {
    const flow = new TcpFlow(stack, onOver);
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
  static accepted(stack: Stack, host: HostTcp, connect: (handler: TcpHandler) => TcpConnection | null, onOver: (flow: TcpFlow) => void): TcpFlow {
    const flow = new TcpFlow(stack, onOver);
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
      this.#lastToHostMs = this.#stack.nowMs;
      this.#connection?.setHeld(this.#host!.pendingBytes);
    }
    parts.length = 0;
    this.#edges.length = 0;
    this.#partsLen = 0;
  }

  onFin(): void {
    if (!this.#isHostOver) this.#host!.end();
  }

  onKeepalive(idleMs: number): void {
    if (this.#isHostOver || idleMs >= this.#keepaliveMs) return;
    this.#keepaliveMs = idleMs;
    this.#host!.setKeepalive(idleMs);
  }

  onSendSpace(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isHostOver) this.#host!.resume();
  }

  onClosed(reason: CloseReason): void {
    this.#endGuest();
    // After a clean close the socket may still have bytes to deliver; it ends by itself.
    if (reason === 'closed' || this.#isHostOver) return;
    if (reason !== 'reset' && reason !== 'timed-out') return this.#host!.reset();
    this.#lingerUntilMs = this.#stack.nowMs + LINGER_MAX_MS;
    // What comes meanwhile is nobody's, but who sends it must not wait for room.
    this.#host!.resume();
    this.onWake(this.#stack.nowMs);
  }

  /** On this host: by the loopback, or a socket without an address. */
  get #isPeerNear(): boolean {
    const peer = this.#dialled === null ? this.#host!.peer : formatEndpoint(this.#dialled.ip, this.#dialled.port);
    return peer === undefined || peer.startsWith('127.') || peer.startsWith('[::1]') || peer.startsWith('::1:');
  }

  /** The guest has failed: so does the host's socket, when it has delivered. */
  onWake(nowMs: number): void {
    if (this.#isHostOver) return;
    const host = this.#host!;
    if (host.pendingBytes > 0 && nowMs < this.#lingerUntilMs) return this.#stack.timers.schedule(this, this.#lingerUntilMs);
    const dueMs = host.pendingBytes > 0 ? nowMs : this.#lastToHostMs + (this.#isPeerNear ? LINGER_NEAR_MS : LINGER_MS);
    if (dueMs <= nowMs) host.reset();
    else this.#stack.timers.schedule(this, dueMs);
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
    if (!this.#isGuestOver) return this.#connection?.setHeld(this.#host!.pendingBytes);
    if (this.#lingerUntilMs === Infinity) return;
    this.#lastToHostMs = this.#stack.clock.nowMs();
    if (this.#host!.pendingBytes === 0) this.onWake(this.#lastToHostMs);
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
    this.#stack.timers.cancel(this);
    const pending = this.#pending;
    if (pending !== null) {
      this.#pending = null;
      const verdict = judgeDialError(error);
      if (verdict.kind === 'refuse') pending.refuse();
      else if (verdict.kind === 'unreachable') pending.unreachable(verdict.code);
      else pending.ignore();
      this.#endGuest();
    } else if (this.#connection !== null && !this.#isGuestOver) {
      // Nobody takes what the guest still sends: room for it all, so that it comes to read.
      this.#connection.setHeld(0);
      if (error !== null) this.#connection.abortBehind();
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
