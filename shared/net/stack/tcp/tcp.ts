/*
 * TCP of one network: the table of flows, and whose turn it is.
 *
 * A flow is found by guest address, guest port, remote address, remote port: "remote" is the side that we play. The value is
 * a connection or a SYN that waits for judgement. A SYN for no flow goes to `onSyn`; anything else for no flow gets a RST.
 */
import type { Mac } from '../../wire/addr.ts';
import { IPPROTO_TCP, IPV4_HEADER_LEN } from '../../wire/ipv4.ts';
import { IPV6_HEADER_LEN } from '../../wire/ipv6.ts';
import { emitTcp, TCP_ACK, TCP_FIN, TCP_HEADER_LEN, TCP_RST, TCP_SYN, TcpView } from '../../wire/tcp.ts';
import { TcpOptions } from '../../wire/tcp-options.ts';
import type { Containment } from '../containment.ts';
import type { Counters } from '../counters.ts';
import { FlowTable } from '../flow-table.ts';
import type { FlowIp, Ipv6Table } from '../ipv6-table.ts';
import { isV6 } from '../ipv6-table.ts';
import type { Neighbor } from '../neighbors.ts';
import type { Station } from '../switch.ts';
import type { TimerQueue } from '../timers.ts';
import type { Clock, RandomSource } from '../clock.ts';
import type { TcpHandler } from './connection.ts';
import { TcpConnection } from './connection.ts';
import { IsnSource } from './isn.ts';
import type { PendingConnection } from './pending.ts';
import { PendingSyn } from './pending.ts';
import { RECEIVE_BUFFER_LEAST } from './receive.ts';
import type { Seq } from './seq.ts';
import { seqAdd, seqLt, toSeq } from './seq.ts';

export interface TcpConfig {
  readonly mtu: number;
  readonly gatewayMac: Mac;
  readonly windowMax: number;
  readonly memoryBudget: number;
  readonly keepaliveMs: number;
  readonly maxFlows: number;
  readonly timestamps: boolean;
  readonly verifyChecksums: boolean;
}

/** What TCP asks of the stack around it. */
export interface TcpHost {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly containment: Containment;
  readonly addresses: Ipv6Table;
  /** time of this batch, in `ms` */
  readonly nowMs: number;
  wantFlush(): void;
  reservePacket(station: Station | null, src: FlowIp, dst: FlowIp, protocol: number, payloadLen: number): number;
  sendIcmpError(neighbor: Neighbor, packet: Uint8Array, code: number): void;
  neighborOf(ip: FlowIp): Neighbor | null;
  /** largest packet that reaches it, in `bytes` */
  mtuTo(neighbor: Neighbor): number;
}

export class Tcp {
  readonly counters: Counters;
  readonly timers: TimerQueue;
  readonly gatewayMac: Mac;
  readonly addresses: Ipv6Table;
  readonly windowMax: number;
  readonly windowScale: number;
  readonly keepaliveMs: number;
  readonly usesTimestamps: boolean;
  /** bytes that all applications together hold for their host sockets */
  heldBytes = 0;
  /** options are written here before they go into a segment */
  readonly scratch: Uint8Array = new Uint8Array(40);
  readonly noOptions = new TcpOptions();
  /** Judges a guest's SYN, at once or later. */
  onSyn: (pending: PendingConnection) => void = (pending) => pending.refuse();
  readonly #host: TcpHost;
  readonly #config: TcpConfig;
  readonly #table: FlowTable<TcpConnection | PendingSyn>;
  readonly #isns: IsnSource;
  readonly #view = new TcpView();
  readonly #options = new TcpOptions();
  readonly #tsOffset: number;
  #dirty: TcpConnection[] = [];
  #next: TcpConnection[] = [];
  #pendingCount = 0;

  constructor(host: TcpHost, config: TcpConfig) {
    this.#host = host;
    this.#config = config;
    this.counters = host.counters;
    this.timers = host.timers;
    this.addresses = host.addresses;
    this.gatewayMac = config.gatewayMac;
    this.windowMax = config.windowMax;
    this.windowScale = scaleFor(config.windowMax);
    this.keepaliveMs = config.keepaliveMs;
    this.usesTimestamps = config.timestamps;
    this.#table = new FlowTable(host.random.u32());
    this.#isns = new IsnSource(host.random);
    this.#tsOffset = host.random.u32();
  }

  get nowMs(): number {
    return this.#host.nowMs;
  }

  /** our timestamp, in `ms` from a secret origin */
  get tsNow(): number {
    return (Math.floor(this.nowMs) + this.#tsOffset) >>> 0;
  }

  /** `ms` since we sent this timestamp, -1 if we can't have */
  tsAge(tsEcr: number): number {
    const age = (this.tsNow - tsEcr) | 0;
    return age >= 0 && age < 600_000 ? age : -1;
  }

  get flowCount(): number {
    return this.#table.size;
  }

  get hasDirty(): boolean {
    return this.#dirty.length > 0;
  }

  get pendingCount(): number {
    return this.#pendingCount;
  }

  connections(): TcpConnection[] {
    return this.#table.values().filter((flow): flow is TcpConnection => flow instanceof TcpConnection);
  }

  /** The most that a segment between us and this address may carry, in a packet of `mtu` bytes. */
  mssFor(ip: FlowIp, mtu = this.#config.mtu): number {
    return mtu - (isV6(ip) ? IPV6_HEADER_LEN : IPV4_HEADER_LEN) - TCP_HEADER_LEN;
  }

  /** The most that a segment to this neighbor may carry now. */
  mssTo(neighbor: Neighbor): number {
    return this.mssFor(neighbor.ip, this.#host.mtuTo(neighbor));
  }

  /** The largest buffer that a flow may have now. */
  windowLimit(scale: number): number {
    const limit = this.heldBytes > this.#config.memoryBudget ? RECEIVE_BUFFER_LEAST : this.windowMax;
    return Math.min(limit, 0xffff << scale);
  }

  /** A segment for an address of ours or beyond us. `bytes[start, end)` is the payload of the IP packet at `ipStart`. Borrowed. */
  receive(neighbor: Neighbor, src: FlowIp, dst: FlowIp, bytes: Uint8Array, ipStart: number, start: number, end: number): void {
    const view = this.#view;
    const drop = view.wrap(bytes, start, end);
    if (drop !== null) return this.counters.drop(drop);
    if (this.#config.verifyChecksums && !view.isChecksumRight(this.addresses.checksumWordOf(src), this.addresses.checksumWordOf(dst))) {
      return this.counters.drop('tcp-bad-checksum');
    }
    const flow = this.#table.get(src, view.srcPort, dst, view.dstPort);
    if (flow instanceof TcpConnection) {
      let options: TcpOptions | null = null;
      if (view.hasOptions) {
        options = this.#options;
        // RFC 9293 MUST-7: an illegal option is no reason to refuse the segment.
        if (!options.parse(bytes, view.optionsStart, view.payloadStart)) this.counters.drop('tcp-bad-options');
      }
      if (flow.state === 'time-wait' && this.#isReuse(flow, view)) {
        flow.abort();
        return this.#onNewFlow(neighbor, src, dst, ipStart);
      }
      try {
        return flow.onSegment(view, options);
      } catch (error) {
        this.#fail(flow);
        throw error;
      }
    }
    if (flow !== null) {
      flow.onSegment(view);
      if (this.#table.get(src, view.srcPort, dst, view.dstPort) !== null) return;
      if ((view.flags & TCP_RST) !== 0) return;
    }
    this.#onNewFlow(neighbor, src, dst, ipStart);
  }

  /** RFC 9293 §3.10.7.4, first: a SYN beyond the old incarnation's numbers may open a new one (MAY-2). */
  #isReuse(flow: TcpConnection, view: TcpView): boolean {
    return (view.flags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN && seqLt(flow.rcv.nxt, toSeq(view.seq));
  }

  /** §3.10.7.1 and .2: no connection. */
  #onNewFlow(neighbor: Neighbor, src: FlowIp, dst: FlowIp, ipStart: number): void {
    const view = this.#view;
    const flags = view.flags;
    if ((flags & TCP_RST) !== 0) return this.counters.drop('tcp-no-connection');
    if ((flags & (TCP_SYN | TCP_ACK)) !== TCP_SYN) {
      this.counters.drop('tcp-no-connection');
      return this.sendResetFor(neighbor, dst, src, view);
    }
    if ((flags & TCP_FIN) !== 0 || view.srcPort === 0 || view.dstPort === 0) return this.counters.drop('tcp-bad-flags');
    if (this.#table.size >= this.#config.maxFlows) {
      this.counters.drop('tcp-flow-cap');
      return this.sendResetFor(neighbor, dst, src, view);
    }
    const pending = new PendingSyn(this, neighbor, src, dst, view, ipStart);
    this.#table.set(src, pending.guestPort, dst, pending.remotePort, pending);
    this.addresses.retain(src);
    this.addresses.retain(dst);
    this.#pendingCount++;
    try {
      this.onSyn(pending);
    } catch (error) {
      this.#host.containment.undo();
      pending.refuse();
      this.#host.containment.unfinished = null;
      throw error;
    }
  }

  acceptPending(pending: PendingSyn, options: TcpOptions, window: number, handler: TcpHandler): TcpConnection {
    const { neighbor, guestIp, guestPort, remoteIp, remotePort } = pending;
    this.#pendingCount--;
    this.#host.wantFlush();
    const iss = this.#issFor(guestIp, guestPort, remoteIp, remotePort);
    const connection = new TcpConnection(this, neighbor, guestIp, guestPort, remoteIp, remotePort, iss, pending.irs, handler);
    this.#table.set(guestIp, guestPort, remoteIp, remotePort, connection);
    this.counters.tcpFlowsMade++;
    connection.startAccepted(options, window);
    return connection;
  }

  #issFor(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): Seq {
    return this.#isns.next(this.addresses.identityOf(remoteIp), remotePort, this.addresses.identityOf(guestIp), guestPort, this.nowMs);
  }

  removePending(pending: PendingSyn): void {
    this.#pendingCount--;
    this.#forget(pending);
  }

  /** Opens a connection into the guest, as `remoteIp:remotePort`. Null when there is no such guest, the flow exists, or too many do. */
  connect(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number, handler: TcpHandler): TcpConnection | null {
    const neighbor = this.#host.neighborOf(guestIp);
    if (neighbor === null || this.#table.size >= this.#config.maxFlows) return null;
    if (this.#table.get(guestIp, guestPort, remoteIp, remotePort) !== null) return null;
    this.#host.wantFlush();
    const iss = this.#issFor(guestIp, guestPort, remoteIp, remotePort);
    const connection = new TcpConnection(this, neighbor, guestIp, guestPort, remoteIp, remotePort, iss, null, handler);
    this.#table.set(guestIp, guestPort, remoteIp, remotePort, connection);
    this.addresses.retain(guestIp);
    this.addresses.retain(remoteIp);
    this.counters.tcpFlowsMade++;
    connection.start();
    return connection;
  }

  /** True while `connect` with these numbers would find its place taken. */
  isTaken(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): boolean {
    return this.#table.get(guestIp, guestPort, remoteIp, remotePort) !== null;
  }

  connectionOf(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): TcpConnection | null {
    const flow = this.#table.get(guestIp, guestPort, remoteIp, remotePort);
    return flow instanceof TcpConnection ? flow : null;
  }

  // ---- for connections ----

  markDirty(connection: TcpConnection): void {
    if (connection.isDirty) return;
    connection.isDirty = true;
    this.#dirty.push(connection);
    this.#host.wantFlush();
  }

  wantFlush(): void {
    this.#host.wantFlush();
  }

  remove(connection: TcpConnection): void {
    this.timers.cancel(connection);
    this.#forget(connection);
  }

  /** A flow holds its addresses from the day it comes into the table. */
  #forget({ guestIp, guestPort, remoteIp, remotePort }: TcpConnection | PendingSyn): void {
    if (!this.#table.delete(guestIp, guestPort, remoteIp, remotePort)) return;
    this.addresses.release(guestIp);
    this.addresses.release(remoteIp);
  }

  /** Gives every dirty connection its turns, round robin, until none has more to send. */
  runTurns(): void {
    const { containment } = this.#host;
    while (this.#dirty.length > 0) {
      const round = this.#dirty;
      this.#dirty = this.#next;
      for (const connection of round) {
        connection.isDirty = false;
        containment.unfinished = null;
        try {
          if (connection.turn()) this.markDirty(connection);
        } catch (error) {
          this.#fail(connection);
          containment.caught('turn', error);
        }
      }
      round.length = 0;
      this.#next = round;
    }
  }

  /** Ends a connection in whose handling something threw. */
  #fail(connection: TcpConnection): void {
    const { containment } = this.#host;
    containment.undo();
    containment.run('turn', () => connection.fail());
    containment.unfinished = null;
  }

  /** RFC 9293 §3.10.7.1: the reset that a segment of no connection gets. */
  sendResetFor(neighbor: Neighbor, from: FlowIp, to: FlowIp, view: TcpView): void {
    const flags = view.flags;
    if ((flags & TCP_RST) !== 0) return;
    if ((flags & TCP_ACK) !== 0) return this.sendReset(neighbor, from, view.dstPort, to, view.srcPort, toSeq(view.ack), null);
    const segLen = view.payloadLen + (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
    this.sendReset(neighbor, from, view.dstPort, to, view.srcPort, toSeq(0), seqAdd(toSeq(view.seq), segLen));
  }

  /** `ack` null: a reset without acknowledgment. */
  sendReset(neighbor: Neighbor, from: FlowIp, fromPort: number, to: FlowIp, toPort: number, seq: Seq, ack: Seq | null): void {
    const { station } = neighbor;
    const at = this.#host.reservePacket(station, from, to, IPPROTO_TCP, TCP_HEADER_LEN);
    if (at < 0) return;
    const tcp = { srcPort: fromPort, dstPort: toPort, seq, ack: ack ?? 0, flags: ack === null ? TCP_RST : TCP_RST | TCP_ACK, window: 0 };
    emitTcp(tcp, station!.port!.bytes, at, this.addresses.checksumWordOf(from), this.addresses.checksumWordOf(to), 0, 0);
    this.counters.tcpResetsSent++;
    this.#host.wantFlush();
  }

  sendUnreachable(neighbor: Neighbor, packet: Uint8Array, code: number): void {
    this.#host.sendIcmpError(neighbor, packet, code);
  }

  /** Guests on this station are reached another way: what they missed is sent again now. */
  onStationMoved(station: Station): void {
    for (const flow of this.#table.values()) {
      if (!(flow instanceof TcpConnection) || flow.neighbor.station !== station) continue;
      if (!this.#host.containment.run('link', () => flow.onPathChanged())) this.#fail(flow);
    }
  }

  /** Resets everything. */
  close(): void {
    for (const flow of this.#table.values()) {
      this.#host.containment.run('call', () => {
        if (flow instanceof TcpConnection) flow.fail();
        else flow.cancel();
      });
    }
    this.#dirty = [];
  }
}

/** The smallest shift with which `window` fits the header's 16 bits. */
function scaleFor(window: number): number {
  let scale = 0;
  while (0xffff << scale < window && scale < 14) scale++;
  return scale;
}
