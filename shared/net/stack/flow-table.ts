/*
 * Flows by their four numbers: open addressing over integers, no key object, no string.
 *
 * The guest's address and the remote one are u32s, both ports share a third. Slots are probed linearly; removal shifts
 * the chain back, so there are no tombstones. A guest's packets come in runs of one flow: the last hit is tried first.
 */
import type { FlowIp } from './ipv6-table.ts';

const SLOTS_MIN = 64;

export class FlowTable<T extends object> {
  /** guest address, remote address, ports; three words per slot */
  #keys = new Int32Array(3 * SLOTS_MIN);
  #values: (T | null)[] = Array.from({ length: SLOTS_MIN }, () => null);
  #mask = SLOTS_MIN - 1;
  #size = 0;
  #lastSlot = 0;
  /** unpredictable, so that a guest can't choose colliding ports */
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed | 0;
  }

  get size(): number {
    return this.#size;
  }

  get(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): T | null {
    const ports = (guestPort << 16) | remotePort;
    if (this.#isAt(this.#lastSlot, guestIp | 0, remoteIp | 0, ports)) return this.#values[this.#lastSlot];
    const slot = this.#find(guestIp | 0, remoteIp | 0, ports);
    if (this.#values[slot] !== null) this.#lastSlot = slot;
    return this.#values[slot];
  }

  /** Replaces what was there. */
  set(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number, value: T): void {
    if (2 * (this.#size + 1) > this.#mask) this.#grow();
    const ports = (guestPort << 16) | remotePort;
    const slot = this.#find(guestIp | 0, remoteIp | 0, ports);
    if (this.#values[slot] === null) this.#size++;
    this.#put(slot, guestIp | 0, remoteIp | 0, ports, value);
  }

  delete(guestIp: FlowIp, guestPort: number, remoteIp: FlowIp, remotePort: number): boolean {
    let hole = this.#find(guestIp | 0, remoteIp | 0, (guestPort << 16) | remotePort);
    if (this.#values[hole] === null) return false;
    this.#size--;
    for (let next = (hole + 1) & this.#mask; this.#values[next] !== null; next = (next + 1) & this.#mask) {
      const home = this.#hash(this.#keys[3 * next], this.#keys[3 * next + 1], this.#keys[3 * next + 2]);
      // `next` may move into the hole unless its home lies between the two.
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue;
      this.#put(hole, this.#keys[3 * next], this.#keys[3 * next + 1], this.#keys[3 * next + 2], this.#values[next]);
      hole = next;
    }
    this.#values[hole] = null;
    return true;
  }

  /** A snapshot: the table may be changed while it is walked. */
  values(): T[] {
    return this.#values.filter((value): value is T => value !== null);
  }

  #isAt(slot: number, guestIp: number, remoteIp: number, ports: number): boolean {
    return this.#keys[3 * slot + 2] === ports && this.#keys[3 * slot] === guestIp && this.#keys[3 * slot + 1] === remoteIp && this.#values[slot] !== null;
  }

  #find(guestIp: number, remoteIp: number, ports: number): number {
    let slot = this.#hash(guestIp, remoteIp, ports);
    while (this.#values[slot] !== null && !this.#isAt(slot, guestIp, remoteIp, ports)) slot = (slot + 1) & this.#mask;
    return slot;
  }

  #hash(guestIp: number, remoteIp: number, ports: number): number {
    let h = this.#seed ^ Math.imul(guestIp, 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 15) ^ remoteIp, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13) ^ ports, 0xc2b2ae35);
    return (h ^ (h >>> 16)) & this.#mask;
  }

  #put(slot: number, guestIp: number, remoteIp: number, ports: number, value: T | null): void {
    this.#keys[3 * slot] = guestIp;
    this.#keys[3 * slot + 1] = remoteIp;
    this.#keys[3 * slot + 2] = ports;
    this.#values[slot] = value;
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#mask = 2 * (this.#mask + 1) - 1;
    this.#keys = new Int32Array(3 * (this.#mask + 1));
    this.#values = Array.from({ length: this.#mask + 1 }, () => null);
    this.#lastSlot = 0;
    for (let i = 0; i < values.length; i++) {
      if (values[i] === null) continue;
      const slot = this.#find(keys[3 * i], keys[3 * i + 1], keys[3 * i + 2]);
      this.#put(slot, keys[3 * i], keys[3 * i + 1], keys[3 * i + 2], values[i]);
    }
  }
}
