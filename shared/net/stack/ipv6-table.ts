/*
 * IPv6 addresses as integers.
 *
 * TCP, UDP, NAT and the flow tables know an address as one u32, a FlowIp, and compare it with `===`. So that they go on doing so, each IPv6
 * address in use has a handle, 0xf0000000 | index, out of 240.0.0.0/8, which no UnicastIpv4 is in. `isV6` tells them apart; only what writes
 * headers, and the NAT where it dials, asks for the address behind a handle.
 *
 * Invariant: a handle comes out of `acquire` and nowhere else. A number from outside is an Ipv4, becomes a UnicastIpv4 by `isUnicast`, and
 * never an Ipv6Handle: the compiler refuses each place where the two would meet.
 *
 * A handle lives as long as somebody holds it: `acquire` and `retain` count up, `release` counts down, at 0 the index is free for
 * another address. Holders are the packet being handled, neighbors, flows and SYNs that wait, questions under way. Nobody may keep a handle
 * without holding it. `retain` and `release` take IPv4 addresses too and do nothing: callers need not ask.
 *
 * Lookup: chains by a keyed hash (HalfSipHash-1-3), as a guest chooses the addresses that meet here.
 */
import { invariant } from '../../invariant.ts';
import type { Ipv4, UnicastIpv4 } from '../wire/addr.ts';
import type { IpAddress, Ipv6 } from '../wire/addr6.ts';
import { checksumWordOf, IPV6_ANY } from '../wire/addr6.ts';
import type { RandomSource } from './clock.ts';

/** Stands for an IPv6 address as long as somebody holds it */
export type Ipv6Handle = number & { readonly __ipv6Handle: true };
/** An address of either family as flows know it, one u32 */
export type FlowIp = UnicastIpv4 | Ipv6Handle;

/** addresses at a time: both ends of all flows, and some */
export const IPV6_ADDRESSES_MAX = 32_768;
const FIRST_HANDLE = 0xf0000000;
const ENTRIES_LEAST = 64;

export function isV6(ip: FlowIp): ip is Ipv6Handle {
  return ip >= FIRST_HANDLE;
}

/** For the other address of a packet whose first is IPv6. */
export function asV6(ip: FlowIp): Ipv6Handle {
  invariant(isV6(ip), 'an IPv4 address beside an IPv6 one');
  return ip;
}

/** For the other address of a packet whose first is IPv4. */
export function asV4(ip: FlowIp): UnicastIpv4 {
  invariant(!isV6(ip), 'an IPv6 address beside an IPv4 one');
  return ip;
}

export class Ipv6Table {
  readonly #k0: number;
  readonly #k1: number;
  readonly #max: number;
  /** by index */
  readonly #addresses: Ipv6[] = [];
  #refs = new Uint32Array(ENTRIES_LEAST);
  #hashes = new Uint32Array(ENTRIES_LEAST);
  /** index of the next in the chain, or of the next free one; -1 ends */
  #next = new Int32Array(ENTRIES_LEAST).fill(-1);
  #buckets = new Int32Array(ENTRIES_LEAST).fill(-1);
  #free = -1;
  #size = 0;

  /** `max` is a parameter for tests. */
  constructor(random: RandomSource, max = IPV6_ADDRESSES_MAX) {
    this.#k0 = random.u32() | 0;
    this.#k1 = random.u32() | 0;
    this.#max = max;
  }

  /** addresses that somebody holds */
  get size(): number {
    return this.#size;
  }

  /** The handle of an address, held once more. Null when the table is full. */
  acquire(a: number, b: number, c: number, d: number): Ipv6Handle | null {
    const hash = this.#hash(a, b, c, d);
    for (let index = this.#buckets[hash & (this.#buckets.length - 1)]; index >= 0; index = this.#next[index]) {
      if (!this.#isAt(index, a, b, c, d)) continue;
      this.#refs[index]++;
      return (FIRST_HANDLE + index) as Ipv6Handle;
    }
    return this.#add(hash, [a, b, c, d]);
  }

  acquireAddress(ip: Ipv6): Ipv6Handle | null {
    return this.acquire(ip[0], ip[1], ip[2], ip[3]);
  }

  /** Holds `handle` once more and returns true if it is that address: spares the lookup where a packet resembles the one before it. */
  retainIf(handle: Ipv6Handle, a: number, b: number, c: number, d: number): boolean {
    const index = handle - FIRST_HANDLE;
    if (this.#refs[index] === 0 || !this.#isAt(index, a, b, c, d)) return false;
    this.#refs[index]++;
    return true;
  }

  retain(ip: FlowIp): void {
    if (isV6(ip)) this.#refs[ip - FIRST_HANDLE]++;
  }

  release(ip: FlowIp): void {
    if (!isV6(ip)) return;
    const index = ip - FIRST_HANDLE;
    if (--this.#refs[index] > 0) return;
    const bucket = this.#hashes[index] & (this.#buckets.length - 1);
    if (this.#buckets[bucket] === index) this.#buckets[bucket] = this.#next[index];
    else {
      let before = this.#buckets[bucket];
      while (this.#next[before] !== index) before = this.#next[before];
      this.#next[before] = this.#next[index];
    }
    this.#addresses[index] = IPV6_ANY;
    this.#next[index] = this.#free;
    this.#free = index;
    this.#size--;
  }

  holdersOf(handle: Ipv6Handle): number {
    return this.#refs[handle - FIRST_HANDLE];
  }

  addressOf(handle: Ipv6Handle): Ipv6 {
    return this.#addresses[handle - FIRST_HANDLE];
  }

  /** The address, of either family. */
  ipOf(ip: FlowIp): IpAddress {
    return isV6(ip) ? this.addressOf(ip) : ip;
  }

  /** What pseudo-header sums take for this address, of either family. */
  checksumWordOf(ip: FlowIp): Ipv4 {
    return isV6(ip) ? checksumWordOf(this.addressOf(ip)) : ip;
  }

  /** 32 unpredictable bits that stay the same for an address, of either family: its handle may be another one next time. */
  identityOf(ip: FlowIp): number {
    return isV6(ip) ? this.#hashes[ip - FIRST_HANDLE] : ip;
  }

  #isAt(index: number, a: number, b: number, c: number, d: number): boolean {
    const address = this.#addresses[index];
    return address[3] === d && address[2] === c && address[1] === b && address[0] === a;
  }

  #add(hash: number, address: Ipv6): Ipv6Handle | null {
    let index = this.#free;
    if (index >= 0) this.#free = this.#next[index];
    else {
      index = this.#addresses.length;
      if (index >= this.#max) return null;
      if (index >= this.#refs.length) this.#grow();
    }
    this.#addresses[index] = address;
    this.#refs[index] = 1;
    this.#hashes[index] = hash;
    this.#chain(index);
    this.#size++;
    return (FIRST_HANDLE + index) as Ipv6Handle;
  }

  #chain(index: number): void {
    const bucket = this.#hashes[index] & (this.#buckets.length - 1);
    this.#next[index] = this.#buckets[bucket];
    this.#buckets[bucket] = index;
  }

  /** Only when every index is taken: there are no free ones to carry over. */
  #grow(): void {
    const { length } = this.#refs;
    const grown = new Uint32Array(2 * length);
    grown.set(this.#refs);
    this.#refs = grown;
    const hashes = new Uint32Array(2 * length);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#next = new Int32Array(2 * length).fill(-1);
    this.#buckets = new Int32Array(2 * length).fill(-1);
    for (let index = 0; index < length; index++) this.#chain(index);
  }

  #hash(a: number, b: number, c: number, d: number): number {
    let v0 = this.#k0;
    let v1 = this.#k1;
    let v2 = 0x6c796765 ^ v0;
    let v3 = 0x74656462 ^ v1;
    for (let i = 0; i < 8; i++) {
      // Four words, the length word, then three rounds to finish.
      const word = i === 0 ? a : i === 1 ? b : i === 2 ? c : i === 3 ? d : i === 4 ? 16 << 24 : 0;
      if (i === 5) v2 ^= 0xff;
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    return (v1 ^ v3) >>> 0;
  }
}
