/*
 * Segments of one connection over IPv6: segment-writer.ts with a longer header, which has no checksum of its own. Two classes and not one
 * with offsets in fields: the way of IPv4 keeps its constants.
 *
 *   template  | Ethernet 14 | IPv6 40 | TCP 20 | timestamps 12, if agreed |
 *   written over it: payload length; sequence, acknowledgment, flags, window, TCP checksum, timestamps
 */
import { setU16, setU32 } from '../../../bytes.ts';
import type { Mac } from '../../wire/addr.ts';
import { setMac } from '../../wire/addr.ts';
import type { Ipv6 } from '../../wire/addr6.ts';
import { checksumWordOf } from '../../wire/addr6.ts';
import { foldChecksum, pseudoHeaderSum, sumBytes } from '../../wire/checksum.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, ETHERTYPE_IPV6 } from '../../wire/ethernet.ts';
import { IPPROTO_TCP } from '../../wire/ipv4.ts';
import { emitIpv6, IPV6_HEADER_LEN } from '../../wire/ipv6.ts';
import { TCP_HEADER_LEN } from '../../wire/tcp.ts';
import { emitTimestamps, TCP_TIMESTAMPS_LEN } from '../../wire/tcp-options.ts';
import type { Neighbor } from '../neighbors.ts';
import type { Port } from '../switch.ts';
import type { SendQueue } from './send-queue.ts';
import type { Seq } from './seq.ts';

const IP = ETHERNET_HEADER_LEN;
const TCP = IP + IPV6_HEADER_LEN;
const HEADERS_LEN = TCP + TCP_HEADER_LEN;

export class SegmentWriterV6 {
  readonly #neighbor: Neighbor;
  readonly #template: Uint8Array = new Uint8Array(HEADERS_LEN);
  #templateMac: Mac = -1 as Mac;
  /** pseudo-header without length, and the ports */
  readonly #tcpSum: number;
  /** whether every segment carries timestamps */
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;

  constructor(neighbor: Neighbor, gatewayMac: Mac, localIp: Ipv6, localPort: number, remoteIp: Ipv6, remotePort: number) {
    this.#neighbor = neighbor;
    const t = this.#template;
    emitEthernet(t, 0, 0 as Mac, gatewayMac, ETHERTYPE_IPV6);
    emitIpv6(t, IP, localIp, remoteIp, IPPROTO_TCP, 0);
    setU16(t, TCP, localPort);
    setU16(t, TCP + 2, remotePort);
    this.#tcpSum = pseudoHeaderSum(checksumWordOf(localIp), checksumWordOf(remoteIp), IPPROTO_TCP, 0) + localPort + remotePort;
  }

  /** where the peer is now, null while no link leads there */
  get port(): Port | null {
    return this.#neighbor.station?.port ?? null;
  }

  /** See SegmentWriter.write. */
  write(
    seq: Seq, ack: Seq, flags: number, window: number, options: Uint8Array | null, optionsLen: number, queue: SendQueue, pos: number, len: number,
  ): boolean {
    const station = this.#neighbor.station;
    const port = station?.port ?? null;
    if (station === null || port === null) return false;
    const fixedLen = this.hasTimestamps ? TCP_TIMESTAMPS_LEN : 0;
    const headerLen = TCP_HEADER_LEN + fixedLen + optionsLen;
    const tcpLen = headerLen + len;
    const at = port.reserve(TCP + tcpLen);
    if (at < 0) return false;
    const out = port.bytes;
    if (station.mac !== this.#templateMac) {
      setMac(this.#template, 0, station.mac);
      this.#templateMac = station.mac;
    }
    out.set(this.#template, at);
    setU16(out, at + IP + 4, tcpLen);
    setU32(out, at + TCP + 4, seq);
    setU32(out, at + TCP + 8, ack);
    const offsetAndFlags = ((headerLen << 10) | flags) & 0xffff;
    setU16(out, at + TCP + 12, offsetAndFlags);
    setU16(out, at + TCP + 14, window);
    let sum = this.#tcpSum + tcpLen + (seq >>> 16) + (seq & 0xffff) + (ack >>> 16) + (ack & 0xffff) + offsetAndFlags + window;
    let end = at + HEADERS_LEN;
    if (fixedLen > 0) end += emitTimestamps(out, end, this.tsVal, this.tsEcr);
    for (let i = 0; i < optionsLen; i++) out[end + i] = options![i];
    end += optionsLen;
    if (len > 0) queue.copyTo(out, end, pos, len);
    sum += sumBytes(out, at + HEADERS_LEN, end + len);
    setU16(out, at + TCP + 16, foldChecksum(sum));
    return true;
  }
}
