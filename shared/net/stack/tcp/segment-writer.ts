/*
 * Segments of one connection, written over a template of their headers.
 *
 *   template  | Ethernet 14 | IPv4 20 | TCP 20 | timestamps 12, if agreed |
 *   written over it: IP length and checksum; sequence, acknowledgment, flags, window, TCP checksum, timestamps
 *
 * What does not change is summed once: the checksum of a segment then costs its variable words and its payload.
 */
import { setU16, setU32 } from '../../../bytes.ts';
import type { Ipv4, Mac } from '../../wire/addr.ts';
import { setMac } from '../../wire/addr.ts';
import { foldChecksum, pseudoHeaderSum, sumBytes } from '../../wire/checksum.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, ETHERTYPE_IPV4 } from '../../wire/ethernet.ts';
import { emitIpv4, IPPROTO_TCP, IPV4_HEADER_LEN } from '../../wire/ipv4.ts';
import { TCP_HEADER_LEN } from '../../wire/tcp.ts';
import { emitTimestamps } from '../../wire/tcp-options.ts';
import type { Neighbor } from '../neighbors.ts';
import type { Port } from '../switch.ts';
import type { SendQueue } from './send-queue.ts';
import type { Seq } from './seq.ts';

const IP = ETHERNET_HEADER_LEN;
const TCP = IP + IPV4_HEADER_LEN;
const HEADERS_LEN = TCP + TCP_HEADER_LEN;

export class SegmentWriter {
  readonly #neighbor: Neighbor;
  readonly #template: Uint8Array = new Uint8Array(HEADERS_LEN);
  #templateMac: Mac = -1 as Mac;
  /** IP header without total length and checksum */
  readonly #ipSum: number;
  /** pseudo-header without length, and the ports */
  readonly #tcpSum: number;
  /** whether every segment carries timestamps */
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;

  constructor(neighbor: Neighbor, gatewayMac: Mac, localIp: Ipv4, localPort: number, remoteIp: Ipv4, remotePort: number) {
    this.#neighbor = neighbor;
    const t = this.#template;
    emitEthernet(t, 0, 0 as Mac, gatewayMac, ETHERTYPE_IPV4);
    emitIpv4(t, IP, localIp, remoteIp, IPPROTO_TCP, 0);
    setU16(t, IP + 2, 0);
    setU16(t, IP + 10, 0);
    setU16(t, TCP, localPort);
    setU16(t, TCP + 2, remotePort);
    this.#ipSum = sumBytes(t, IP, TCP);
    this.#tcpSum = pseudoHeaderSum(localIp, remoteIp, IPPROTO_TCP, 0) + localPort + remotePort;
  }

  /** where the peer is now, null while no link leads there */
  get port(): Port | null {
    return this.#neighbor.station?.port ?? null;
  }

  /**
   * Writes one segment into the port's batch: `options` (whole words, or null) behind the timestamps, then `len` bytes from
   * position `pos` of `queue`. False when there is no way or no room.
   */
  write(
    seq: Seq, ack: Seq, flags: number, window: number, options: Uint8Array | null, optionsLen: number, queue: SendQueue, pos: number, len: number,
  ): boolean {
    const station = this.#neighbor.station;
    const port = station?.port ?? null;
    if (station === null || port === null) return false;
    const fixedLen = this.hasTimestamps ? 12 : 0;
    const tcpLen = TCP_HEADER_LEN + fixedLen + optionsLen + len;
    const at = port.reserve(TCP + tcpLen);
    if (at < 0) return false;
    const out = port.bytes;
    if (station.mac !== this.#templateMac) {
      setMac(this.#template, 0, station.mac);
      this.#templateMac = station.mac;
    }
    out.set(this.#template, at);
    const ipLen = IPV4_HEADER_LEN + tcpLen;
    setU16(out, at + IP + 2, ipLen);
    setU16(out, at + IP + 10, foldChecksum(this.#ipSum + ipLen));
    setU32(out, at + TCP + 4, seq);
    setU32(out, at + TCP + 8, ack);
    const offsetAndFlags = (((TCP_HEADER_LEN + fixedLen + optionsLen) << 10) | flags) & 0xffff;
    setU16(out, at + TCP + 12, offsetAndFlags);
    setU16(out, at + TCP + 14, window);
    let sum = this.#tcpSum + tcpLen + (seq >>> 16) + (seq & 0xffff) + (ack >>> 16) + (ack & 0xffff) + offsetAndFlags + window;
    let end = at + HEADERS_LEN;
    if (fixedLen > 0) {
      emitTimestamps(out, end, this.tsVal, this.tsEcr);
      end += fixedLen;
    }
    if (optionsLen > 0) {
      for (let i = 0; i < optionsLen; i++) out[end + i] = options![i];
      end += optionsLen;
    }
    if (len > 0) queue.copyTo(out, end, pos, len);
    if (end + len > at + HEADERS_LEN) sum += sumBytes(out, at + HEADERS_LEN, end + len);
    setU16(out, at + TCP + 16, foldChecksum(sum));
    return true;
  }
}
