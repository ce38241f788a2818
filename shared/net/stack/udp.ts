/** UDP: datagrams are handed to whoever the network has set as `onDatagram`, and written straight into the link's batch. */
import type { Ipv4, UnicastIpv4 } from '../wire/addr.ts';
import { IPPROTO_UDP, IPV4_HEADER_LEN } from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN } from '../wire/ipv6.ts';
import { emitUdp, UDP_HEADER_LEN, UdpView } from '../wire/udp.ts';
import type { FlowIp } from './ipv6-table.ts';
import { asV4, asV6, isV6 } from './ipv6-table.ts';
import type { Neighbor } from './neighbors.ts';
import type { Stack } from './stack.ts';
import type { Station } from './switch.ts';

/** A datagram of a guest. Borrowed, and reused for the next one. */
export interface Datagram {
  neighbor: Neighbor;
  station: Station;
  src: FlowIp;
  srcPort: number;
  dst: FlowIp;
  dstPort: number;
  bytes: Uint8Array;
  start: number;
  end: number;
  /** of the IP header in `bytes` */
  ipStart: number;
}

export class Udp {
  onDatagram: ((datagram: Datagram) => void) | null = null;
  /** A message for the DHCP server: `bytes[start, end)`, borrowed. */
  onDhcp: ((station: Station, bytes: Uint8Array, start: number, end: number) => void) | null = null;
  readonly #stack: Stack;
  readonly #view = new UdpView();
  readonly #datagram = {} as Datagram;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** `bytes[start, end)` is the payload of the IP packet at `ipStart`. Borrowed. */
  receive(station: Station, neighbor: Neighbor, src: FlowIp, dst: FlowIp, bytes: Uint8Array, ipStart: number, start: number, end: number): void {
    const view = this.#view;
    const { addresses, counters } = this.#stack;
    const drop = view.wrap(bytes, start, end);
    if (drop !== null) return counters.drop(drop);
    // RFC 8200 §8.1: without IPv4's header checksum a datagram may not go without its own.
    if (isV6(dst) && view.checksum === 0) return counters.drop('udp-bad-checksum');
    if (this.#stack.config.verifyChecksums && !view.isChecksumRight(addresses.checksumWordOf(src), addresses.checksumWordOf(dst))) {
      return counters.drop('udp-bad-checksum');
    }
    const datagram = this.#datagram;
    datagram.station = station;
    datagram.neighbor = neighbor;
    datagram.src = src;
    datagram.srcPort = view.srcPort;
    datagram.dst = dst;
    datagram.dstPort = view.dstPort;
    datagram.bytes = view.bytes;
    datagram.start = view.payloadStart;
    datagram.end = view.end;
    datagram.ipStart = ipStart;
    if (this.onDatagram === null) counters.drop('udp-no-listener');
    else this.onDatagram(datagram);
  }

  /** For the DHCP server, from and to whatever addresses: `bytes[start, end)` is the payload of the IP packet. Borrowed. */
  receiveDhcp(station: Station, src: Ipv4, dst: Ipv4, bytes: Uint8Array, start: number, end: number): void {
    const view = this.#view;
    const { counters, config } = this.#stack;
    const drop = view.wrap(bytes, start, end);
    if (drop !== null) return counters.drop(drop);
    if (config.verifyChecksums && !view.isChecksumRight(src, dst)) return counters.drop('udp-bad-checksum');
    if (this.onDhcp === null) counters.drop('udp-no-listener');
    else this.onDhcp(station, view.bytes, view.payloadStart, view.end);
  }

  /** Sends to a guest, fragmented where the MTU wants it. `payload` is copied. False when it was dropped. */
  send(neighbor: Neighbor, from: FlowIp, fromPort: number, toPort: number, payload: Uint8Array): boolean {
    const len = UDP_HEADER_LEN + payload.length;
    if (IPV4_HEADER_LEN + len > 0xffff) return false;
    if ((isV6(from) ? IPV6_HEADER_LEN : IPV4_HEADER_LEN) + len > this.#stack.mtuTo(neighbor)) {
      const { addresses } = this.#stack;
      const message = new Uint8Array(len);
      message.set(payload, UDP_HEADER_LEN);
      emitUdp(message, 0, addresses.checksumWordOf(from), addresses.checksumWordOf(neighbor.ip), fromPort, toPort, payload.length);
      if (!isV6(from)) return this.#stack.sendIpv4(neighbor, from, asV4(neighbor.ip), IPPROTO_UDP, message);
      return this.#stack.ipv6!.send(neighbor, addresses.addressOf(from), addresses.addressOf(asV6(neighbor.ip)), IPPROTO_UDP, message);
    }
    const { addresses } = this.#stack;
    const udp = this.#stack.reservePacket(neighbor.station, from, neighbor.ip, IPPROTO_UDP, len);
    return this.#emit(neighbor.station, udp, addresses.checksumWordOf(from), fromPort, addresses.checksumWordOf(neighbor.ip), toPort, payload);
  }

  /** Sends one unfragmented datagram over IPv4 to a station, whatever address it has. */
  sendTo(station: Station | null, from: UnicastIpv4, fromPort: number, to: Ipv4, toPort: number, payload: Uint8Array): boolean {
    const udp = this.#stack.reserveIpv4(station, from, to, IPPROTO_UDP, UDP_HEADER_LEN + payload.length);
    return this.#emit(station, udp, from, fromPort, to, toPort, payload);
  }

  /** Writes a datagram at `udp` of the station's batch. False when there is no room, -1. */
  #emit(station: Station | null, udp: number, fromWord: Ipv4, fromPort: number, toWord: Ipv4, toPort: number, payload: Uint8Array): boolean {
    if (udp < 0) return false;
    const out = station!.port!.bytes;
    out.set(payload, udp + UDP_HEADER_LEN);
    emitUdp(out, udp, fromWord, toWord, fromPort, toPort, payload.length);
    this.#stack.wantFlush();
    return true;
  }
}
