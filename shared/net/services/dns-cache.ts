/** Answers of resolvers while they live: at most CACHE_MAX of CACHE_ENTRY_MAX bytes, the oldest makes room. */
import type { NameCache } from '../nat/host-net.ts';
import { copyOf } from '../wire/copy.ts';
import { ageTtls, readTtls } from '../wire/dns.ts';

const CACHE_MAX = 2048;
const CACHE_ENTRY_MAX = 4096;
/** whatever the TTL says */
const CACHE_SECONDS_MAX = 3600;

interface Cached {
  readonly message: Uint8Array;
  readonly ttlOffsets: number[];
  readonly bornMs: number;
  readonly expiresMs: number;
}

export class DnsCache implements NameCache {
  readonly #entries = new Map<string, Cached>();

  get size(): number {
    return this.#entries.size;
  }

  /** A copy with its TTLs aged; null when there is none. */
  find(key: string, nowMs: number): Uint8Array | null {
    const cached = this.#entries.get(key);
    if (cached === undefined) return null;
    if (cached.expiresMs <= nowMs) {
      this.#entries.delete(key);
      return null;
    }
    const message = copyOf(cached.message);
    ageTtls(message, cached.ttlOffsets, Math.floor((nowMs - cached.bornMs) / 1000));
    return message;
  }

  /** Keeps a copy, when the message may be kept at all. It has no OPT. */
  add(key: string, message: Uint8Array, questionEnd: number, nowMs: number): void {
    if (message.length > CACHE_ENTRY_MAX) return;
    const ttls = readTtls(message, questionEnd);
    if (ttls === null) return;
    this.#entries.delete(key);
    // A Map keeps the order of insertion: the first entry is the oldest.
    if (this.#entries.size >= CACHE_MAX) this.#entries.delete(this.#entries.keys().next().value!);
    this.#entries.set(key, { message: copyOf(message), ttlOffsets: ttls.offsets, bornMs: nowMs, expiresMs: nowMs + 1000 * Math.min(ttls.seconds, CACHE_SECONDS_MAX) });
  }

  clear(): void {
    this.#entries.clear();
  }
}
