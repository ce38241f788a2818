/*
 * Reassembly (RFC 791 §3.2, RFC 815, RFC 8200 §4.5), for the datagrams that guests send larger than the MTU. One for each family.
 *
 * One buffer per datagram, grown to the furthest byte seen; holes are what is missing between sorted pieces. Anything that
 * overlaps kills the datagram: only attackers send such (RFC 5722's rule for IPv6, taken for IPv4 too). A guest can hold
 * DATAGRAMS_MAX buffers of at most 64 KiB for TIMEOUT_MS: 1 MiB of each family.
 */
import type { Drop } from '../wire/drop.ts';
import type { Ipv4View } from '../wire/ipv4.ts';
import type { Ipv6View } from '../wire/ipv6.ts';
import { IPV6_HEADER_LEN } from '../wire/ipv6.ts';
import { setU16 } from '../../bytes.ts';
import type { TimerQueue, Wakeable } from './timers.ts';
import { copyOf } from '../wire/copy.ts';

const DATAGRAMS_MAX = 16;
/** RFC 1122 §3.3.2 wants 60 to 120 s; a link that neither loses nor delays has no use for more than Linux's 30 s */
const TIMEOUT_MS = 30_000;
const PIECES_MAX = 256;
const PACKET_LEN_MAX = 65_535;

type Reason = 'bad-fragment' | 'fragment-overlap' | 'fragment-cap' | 'fragment-timeout';

interface Partial {
  readonly key: string;
  readonly bornMs: number;
  /** header of the first fragment, empty until it has come */
  header: Uint8Array;
  data: Uint8Array;
  /** `[start, end)` of what has come, sorted, never touching each other twice */
  readonly pieces: { start: number; end: number }[];
  /** length of the whole payload, -1 until the last fragment has come */
  total: number;
}

export class Reassembler implements Wakeable {
  wakeAtMs = Infinity;
  readonly #family: 'ipv4' | 'ipv6';
  readonly #partials = new Map<string, Partial>();
  readonly #timers: TimerQueue;
  readonly #onDrop: (reason: Drop) => void;

  constructor(family: 'ipv4' | 'ipv6', timers: TimerQueue, onDrop: (reason: Drop) => void) {
    this.#family = family;
    this.#timers = timers;
    this.#onDrop = onDrop;
  }

  get datagramsHeld(): number {
    return this.#partials.size;
  }

  /** Takes a fragment. Returns the whole packet, header first and no longer a fragment, when this was the last piece. */
  add(ip: Ipv4View, nowMs: number): Uint8Array | null {
    const key = `${ip.src} ${ip.dst} ${ip.protocol} ${ip.identification}`;
    const packet = this.#add(key, ip, ip.payloadStart, -1, nowMs);
    if (packet === null) return null;
    setU16(packet, 2, packet.length);
    setU16(packet, 6, 0);
    return packet;
  }

  /** The same for IPv6. What was before the fragment header in the first fragment is the packet's header. */
  addV6(ip: Ipv6View, nowMs: number): Uint8Array | null {
    // RFC 6946: what is whole already has nothing to do with others of the same number.
    const isAtomic = ip.fragmentOffset === 0 && !ip.isMoreFragments;
    const key = isAtomic ? 'atomic' : `${ip.src.join(' ')} ${ip.dst.join(' ')} ${ip.identification}`;
    const packet = this.#add(key, ip, ip.fragmentAt, ip.fragmentNamedAt - ip.start, nowMs);
    if (packet === null) return null;
    setU16(packet, 4, packet.length - IPV6_HEADER_LEN);
    return packet;
  }

  /** `headerEnd`: where the whole packet's header ends. `nextHeaderAt`: where in it the protocol is written that the fragment names, -1 for nowhere. */
  #add(key: string, ip: Ipv4View | Ipv6View, headerEnd: number, nextHeaderAt: number, nowMs: number): Uint8Array | null {
    const isMore = ip.isMoreFragments;
    const start = ip.fragmentOffset;
    const len = ip.end - ip.payloadStart;
    const end = start + len;
    if (len === 0 || (isMore && len % 8 !== 0) || end + headerEnd - ip.start > PACKET_LEN_MAX) return this.#drop('bad-fragment');
    const partial = this.#partials.get(key) ?? this.#begin(key, nowMs);
    if (!isMore) {
      if (partial.total >= 0 && partial.total !== end) return this.#kill(partial, 'fragment-overlap');
      partial.total = end;
    }
    if (!insertPiece(partial.pieces, start, end) || (partial.total >= 0 && partial.pieces.at(-1)!.end > partial.total)) {
      return this.#kill(partial, 'fragment-overlap');
    }
    if (partial.pieces.length > PIECES_MAX) return this.#kill(partial, 'fragment-cap');
    if (partial.data.length < end) {
      const grown = new Uint8Array(Math.min(PACKET_LEN_MAX, Math.max(2 * partial.data.length, end, partial.total)));
      grown.set(partial.data);
      partial.data = grown;
    }
    partial.data.set(ip.bytes.subarray(ip.payloadStart, ip.end), start);
    if (start === 0) {
      partial.header = copyOf(ip.bytes, ip.start, headerEnd);
      if (nextHeaderAt >= 0) partial.header[nextHeaderAt] = ip.protocol;
    }
    if (partial.pieces.length !== 1 || partial.pieces[0].start !== 0 || partial.pieces[0].end !== partial.total) return null;
    this.#forget(partial);
    if (partial.header.length + partial.total > PACKET_LEN_MAX) return this.#drop('bad-fragment');
    return joined(partial);
  }

  onWake(nowMs: number): void {
    for (const partial of this.#partials.values()) {
      if (nowMs - partial.bornMs >= TIMEOUT_MS) this.#kill(partial, 'fragment-timeout');
      else return this.#timers.schedule(this, partial.bornMs + TIMEOUT_MS);
    }
  }

  onWakeFailed(): void {
    this.close();
  }

  close(): void {
    this.#partials.clear();
    this.#timers.cancel(this);
  }

  #begin(key: string, nowMs: number): Partial {
    if (this.#partials.size >= DATAGRAMS_MAX) this.#kill(this.#partials.values().next().value!, 'fragment-cap');
    const partial: Partial = { key, bornMs: nowMs, header: new Uint8Array(0), data: new Uint8Array(2048), pieces: [], total: -1 };
    this.#partials.set(key, partial);
    this.#timers.schedule(this, nowMs + TIMEOUT_MS);
    return partial;
  }

  #forget(partial: Partial): void {
    this.#partials.delete(partial.key);
    if (this.#partials.size === 0) this.#timers.cancel(this);
  }

  #kill(partial: Partial, reason: Reason): null {
    this.#forget(partial);
    return this.#drop(reason);
  }

  #drop(reason: Reason): null {
    this.#onDrop(`${this.#family}-${reason}`);
    return null;
  }
}

/** False when the piece overlaps another. Pieces that meet become one. */
function insertPiece(pieces: { start: number; end: number }[], start: number, end: number): boolean {
  let at = pieces.length;
  while (at > 0 && pieces[at - 1].start > start) at--;
  if (at > 0 && pieces[at - 1].end > start) return false;
  if (at < pieces.length && pieces[at].start < end) return false;
  const joinsLeft = at > 0 && pieces[at - 1].end === start;
  const joinsRight = at < pieces.length && pieces[at].start === end;
  if (joinsLeft && joinsRight) {
    pieces[at - 1].end = pieces[at].end;
    pieces.splice(at, 1);
  } else if (joinsLeft) pieces[at - 1].end = end;
  else if (joinsRight) pieces[at].start = start;
  else pieces.splice(at, 0, { start, end });
  return true;
}

function joined(partial: Partial): Uint8Array {
  const headerLen = partial.header.length;
  const packet = new Uint8Array(headerLen + partial.total);
  packet.set(partial.header);
  packet.set(partial.data.subarray(0, partial.total), headerLen);
  return packet;
}
