/*
 * A learning switch between links and the gateway.
 *
 * Stations are learned from source addresses. A frame for the gateway, by far the most frequent, is recognised by six
 * bytes without a lookup; a frame for another link is copied into that link's batch; what is for everyone goes to both.
 * A station outlives its port: `port` is null from the day its link broke until a frame of it arrives by another one.
 * So whoever talks to a station (a TCP flow, the ARP table) keeps the Station and always has the right way.
 *
 * A guest in the middle of a download has nothing to say before it hears more: after its link broke it would stay unheard. So a
 * link that nobody has been heard by is taken for the way to all stations that have none, whether it came after the old one
 * broke or, as a reconnect may, just before; a frame of theirs from elsewhere corrects that.
 */
import { getU16, getU32 } from '../../bytes.ts';
import { RelayError } from '../../relay-error.ts';
import type { Mac } from '../wire/addr.ts';
import { ETHERNET_HEADER_LEN } from '../wire/ethernet.ts';
import type { BatchPool } from './batch-pool.ts';
import { BATCH_LEN } from './batch-pool.ts';
import type { Batch } from './batch-pool.ts';
import type { Containment, Unfinished } from './containment.ts';
import type { Counters } from './counters.ts';
import type { FrameSink, LinkPort } from './link-port.ts';

/** stations that are remembered; the one learned first makes room */
const STATIONS_MAX = 1024;
const LENGTH_LEN = 4;

export interface Station {
  readonly mac: Mac;
  port: Port | null;
  /** a frame of it came by a link that is still there: not only presumed behind one */
  isPresent: boolean;
  /** the IPv4 source that the ARP table has already learned from it, 0 for none */
  knownIp: number;
}

/** What the switch needs of the gateway behind it. */
export interface SwitchHost {
  readonly gatewayMac: Mac;
  readonly maxFrameLen: number;
  readonly maxLinks: number;
  onFrame(station: Station, bytes: Uint8Array, start: number, end: number): void;
  /** A link delivered its first frame since the last flush. */
  onBatchStart(): void;
  flush(): void;
  /** The station is reached by another port than before. */
  onStationMoved(station: Station): void;
}

export class Switch {
  readonly counters: Counters;
  readonly pool: BatchPool;
  readonly host: SwitchHost;
  readonly containment: Containment;
  readonly #ports = new Set<Port>();
  readonly #stations = new Map<Mac, Station>();
  /** A station was heard for the first time since it came, or its link is gone. */
  onPresence: ((mac: Mac, isPresent: boolean) => void) | null = null;
  #portsMade = 0;

  constructor(host: SwitchHost, pool: BatchPool, containment: Containment) {
    this.host = host;
    this.pool = pool;
    this.containment = containment;
    this.counters = containment.counters;
  }

  get portCount(): number {
    return this.#ports.size;
  }

  /** Each link, and there are some, leads to somebody who has an IPv4 address. */
  get isSettled(): boolean {
    const settled = new Set<Port | null>();
    for (const { port, knownIp } of this.#stations.values()) if (knownIp !== 0) settled.add(port);
    return this.#ports.size > 0 && [...this.#ports].every((port) => settled.has(port));
  }

  /** There was a link, be it gone or not. */
  get hasHadLink(): boolean {
    return this.#portsMade > 0;
  }

  attach(sink: FrameSink): Port {
    if (this.#ports.size >= this.host.maxLinks) throw new RelayError('RELAY_LIMIT', `no more than ${this.host.maxLinks} links`);
    const port = new Port(this, sink, ++this.#portsMade);
    this.#ports.add(port);
    this.#adopt(port);
    return port;
  }

  detach(port: Port): void {
    this.#ports.delete(port);
    for (const station of this.#stations.values()) {
      if (station.port !== port) continue;
      station.port = null;
      if (!station.isPresent) continue;
      station.isPresent = false;
      this.#tellPresence(station.mac, false);
    }
    const silent = [...this.#ports].findLast((other) => other.isSilent);
    if (silent !== undefined) this.#adopt(silent);
  }

  /** Takes `port` for the way to all stations that have none. */
  #adopt(port: Port): void {
    for (const station of this.#stations.values()) {
      if (station.port !== null) continue;
      station.port = port;
      this.host.onStationMoved(station);
    }
  }

  /** MAC address and whether a link leads there, of everyone seen */
  stations(): readonly Station[] {
    return [...this.#stations.values()];
  }

  stationAt(port: Port, mac: Mac): Station | null {
    let station = this.#stations.get(mac);
    if (station === undefined) {
      if (this.#stations.size >= STATIONS_MAX) {
        const [oldest] = this.#stations.values();
        this.#stations.delete(oldest.mac);
        if (oldest.isPresent) this.#tellPresence(oldest.mac, false);
        this.counters.drop('switch-table-full');
      }
      station = { mac, port, isPresent: false, knownIp: 0 };
      this.#stations.set(mac, station);
    } else if (station.port !== port) {
      station.port = port;
      this.host.onStationMoved(station);
    }
    if (!station.isPresent) {
      station.isPresent = true;
      this.#tellPresence(mac, true);
    }
    return station;
  }

  #tellPresence(mac: Mac, isPresent: boolean): void {
    const { onPresence } = this;
    if (onPresence !== null) this.containment.run('call', () => onPresence(mac, isPresent));
  }

  /** A frame for another link, for everyone, or for nobody. */
  forward(from: Port, station: Station, mac: Mac, bytes: Uint8Array, start: number, end: number): void {
    const isGroup = (bytes[start] & 1) === 1;
    if (!isGroup) {
      const target = this.#stations.get(mac);
      if (target !== undefined && target.port !== null) {
        if (target.port !== from) this.#copyTo(target.port, bytes, start, end);
        else this.counters.drop('ethernet-not-for-us');
        return;
      }
    }
    for (const port of this.#ports) if (port !== from) this.#copyTo(port, bytes, start, end);
    if (isGroup) this.host.onFrame(station, bytes, start, end);
    else if (this.#ports.size === 1) this.counters.drop('ethernet-not-for-us');
  }

  /** A frame of the gateway for everyone. */
  flood(bytes: Uint8Array, start: number, end: number): void {
    for (const port of this.#ports) this.#copyTo(port, bytes, start, end);
  }

  flushPorts(): void {
    for (const port of this.#ports) port.sendBatch();
  }

  close(): void {
    for (const port of this.#ports) port.close();
    this.#stations.clear();
  }

  #copyTo(port: Port, bytes: Uint8Array, start: number, end: number): void {
    const at = port.reserve(end - start);
    if (at < 0) return;
    port.bytes.set(bytes.subarray(start, end), at);
    this.counters.framesSwitched++;
  }
}

/**
 * One link's end at the switch.
 *
 * Towards the guest, frames are written straight into the batch: `reserve(len)` says where. When the sink is full, one
 * more batch is filled and kept; TCP looks at `isFull` and stops before that, datagrams beyond it are dropped.
 */
export class Port implements LinkPort, Unfinished {
  /** counts the links that the switch ever had */
  readonly number: number;
  bytes: Uint8Array = new Uint8Array(0);
  /** the sink asked for a pause */
  isFull = false;
  closed = false;
  /** called once, when `isFull` ends */
  readonly #drainWaiters: (() => void)[] = [];
  readonly #switch: Switch;
  readonly #containment: Containment;
  readonly #sink: FrameSink;
  #batch: Batch | null = null;
  #isInBatch = false;
  readonly #gatewayHigh: number;
  readonly #gatewayLow: number;
  /** the station that sent the last frame, as address and as object */
  #lastHigh = -1;
  #lastLow = -1;
  #lastStation: Station | null = null;

  constructor(owner: Switch, sink: FrameSink, number: number) {
    this.number = number;
    this.#switch = owner;
    this.#containment = owner.containment;
    this.#sink = sink;
    this.#gatewayHigh = Math.floor(owner.host.gatewayMac / 0x100000000);
    this.#gatewayLow = owner.host.gatewayMac % 0x100000000;
  }

  /** Nobody has been heard by this link. */
  get isSilent(): boolean {
    return this.#lastStation === null;
  }

  receive(bytes: Uint8Array, start: number, end: number): void {
    this.#containment.unfinished = null;
    try {
      this.#receive(bytes, start, end);
    } catch (error) {
      this.#containment.caught('frame', error);
    }
  }

  #receive(bytes: Uint8Array, start: number, end: number): void {
    const { counters, host } = this.#switch;
    if (this.closed) return counters.drop('link-closed');
    if (!this.#isInBatch) {
      this.#isInBatch = true;
      host.onBatchStart();
    }
    counters.framesFromGuest++;
    counters.bytesFromGuest += end - start;
    if (end - start < ETHERNET_HEADER_LEN) return counters.drop('ethernet-truncated');
    if (end - start > host.maxFrameLen) return counters.drop('ethernet-oversized');
    const high = getU16(bytes, start + 6);
    const low = getU32(bytes, start + 8);
    let station = this.#lastStation;
    if (low !== this.#lastLow || high !== this.#lastHigh || station === null || station.port !== this) {
      if ((high & 0x100) !== 0 || (low === this.#gatewayLow && high === this.#gatewayHigh)) return counters.drop('ethernet-bad-source');
      station = this.#switch.stationAt(this, (high * 0x100000000 + low) as Mac)!;
      this.#lastHigh = high;
      this.#lastLow = low;
      this.#lastStation = station;
    }
    const dstHigh = getU16(bytes, start);
    const dstLow = getU32(bytes, start + 2);
    if (dstLow === this.#gatewayLow && dstHigh === this.#gatewayHigh) host.onFrame(station, bytes, start, end);
    else this.#switch.forward(this, station, (dstHigh * 0x100000000 + dstLow) as Mac, bytes, start, end);
  }

  flush(): void {
    this.#isInBatch = false;
    this.#switch.host.flush();
  }

  onDrain(): void {
    if (!this.isFull || this.closed) return;
    this.isFull = false;
    this.sendBatch();
    if (this.isFull) return;
    this.#wakeWaiters();
    this.#switch.host.flush();
  }

  #wakeWaiters(): void {
    for (const waiter of this.#drainWaiters.splice(0)) this.#containment.run('link', waiter);
  }

  /** Calls `fn` once when the port is no longer full. */
  whenDrained(fn: () => void): void {
    this.#drainWaiters.push(fn);
  }

  /** Makes room for a frame, its length already in front. Returns where in `bytes` it goes, -1 when there is no room. */
  reserve(frameLen: number): number {
    let batch = this.#batch;
    if (batch !== null && batch.end + LENGTH_LEN + frameLen > BATCH_LEN) {
      if (this.isFull) {
        this.#switch.counters.drop('switch-port-full');
        return -1;
      }
      this.sendBatch();
      batch = this.#batch;
    }
    if (this.closed) return -1;
    if (batch === null) {
      batch = this.#switch.pool.take();
      this.#batch = batch;
      this.bytes = batch.bytes;
    }
    const at = batch.end;
    // Compared first: a pointer that is written is one more for the collector to look after.
    if (this.#containment.unfinished !== this) this.#containment.unfinished = this;
    const bytes = batch.bytes;
    bytes[at] = 0;
    bytes[at + 1] = frameLen >>> 16;
    bytes[at + 2] = frameLen >>> 8;
    bytes[at + 3] = frameLen;
    batch.end = at + LENGTH_LEN + frameLen;
    batch.frames++;
    this.#switch.counters.framesToGuest++;
    this.#switch.counters.bytesToGuest += frameLen;
    return at + LENGTH_LEN;
  }

  /** Hands the batch to the sink, unless there is none or the sink is full. */
  sendBatch(): void {
    const batch = this.#batch;
    if (batch === null || this.isFull) return;
    this.#batch = null;
    try {
      if (!this.#sink.sendBatch(batch)) this.isFull = true;
    } catch (error) {
      batch.abandon();
      this.#containment.caught('link', error);
    }
  }

  /** Takes the last frame back, whose writer threw. */
  undo(): void {
    const batch = this.#batch;
    if (batch === null) return;
    let last = 0;
    for (let at = 0; at < batch.end; at += LENGTH_LEN + getU32(batch.bytes, at)) last = at;
    const { counters } = this.#switch;
    counters.framesToGuest--;
    counters.bytesToGuest -= batch.end - last - LENGTH_LEN;
    batch.end = last;
    batch.frames--;
    if (batch.end > 0) return;
    this.#batch = null;
    batch.release();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#batch?.release();
    this.#batch = null;
    this.#containment.run('link', () => this.#switch.detach(this));
    // Flows that waited for this port must not wait for ever: they find out that it is gone, and try again by timer.
    this.isFull = false;
    this.#wakeWaiters();
  }
}
