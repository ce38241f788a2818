/** UDP: datagrams are handed to whoever the network has set as `onDatagram`, and written straight into the link's batch. */
import type { Ipv4 } from '../wire/addr.ts';
import { emitEthernet, ETHERNET_HEADER_LEN, ETHERTYPE_IPV4 } from '../wire/ethernet.ts';
import type { Ipv4View } from '../wire/ipv4.ts';
import { emitIpv4, IPPROTO_UDP, IPV4_HEADER_LEN } from '../wire/ipv4.ts';
import { emitUdp, UDP_HEADER_LEN, UdpView } from '../wire/udp.ts';
import type { Neighbor } from './neighbors.ts';
import type { Stack } from './stack.ts';
import type { Station } from './switch.ts';

/** A datagram of a guest. Borrowed, and reused for the next one. */
export interface Datagram {
  /** null for a guest without an address, that is, DHCP */
  neighbor: Neighbor | null;
  station: Station;
  src: Ipv4;
  srcPort: number;
  dst: Ipv4;
  dstPort: number;
  bytes: Uint8Array;
  start: number;
  end: number;
  /** of the IP header in `bytes` */
  ipStart: number;
}

export class Udp {
  onDatagram: ((datagram: Datagram) => void) | null = null;
  readonly #stack: Stack;
  readonly #view = new UdpView();
  readonly #datagram = {} as Datagram;

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  receive(station: Station, neighbor: Neighbor | null, ip: Ipv4View): void {
    const view = this.#view;
    const { counters } = this.#stack;
    const drop = view.wrap(ip.bytes, ip.payloadStart, ip.end);
    if (drop !== null) return counters.drop(drop);
    const src = ip.src;
    const dst = ip.dst;
    if (this.#stack.config.verifyChecksums && !view.isChecksumRight(src, dst)) return counters.drop('udp-bad-checksum');
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
    datagram.ipStart = ip.start;
    if (this.onDatagram === null) counters.drop('udp-no-listener');
    else this.onDatagram(datagram);
  }

  /** Sends to a guest, fragmented where the MTU wants it. `payload` is copied. False when it was dropped. */
  send(neighbor: Neighbor, from: Ipv4, fromPort: number, toPort: number, payload: Uint8Array): boolean {
    const len = UDP_HEADER_LEN + payload.length;
    if (IPV4_HEADER_LEN + len > 0xffff) return false;
    if (IPV4_HEADER_LEN + len > this.#stack.config.mtu) {
      const message = new Uint8Array(len);
      message.set(payload, UDP_HEADER_LEN);
      emitUdp(message, 0, from, neighbor.ip, fromPort, toPort, payload.length);
      return this.#stack.sendIpv4(neighbor, from, neighbor.ip, IPPROTO_UDP, message);
    }
    return this.sendTo(neighbor.station, from, fromPort, neighbor.ip, toPort, payload);
  }

  /** Sends one unfragmented datagram to a station, whatever address it has. */
  sendTo(station: Station | null, from: Ipv4, fromPort: number, to: Ipv4, toPort: number, payload: Uint8Array): boolean {
    const port = station?.port ?? null;
    if (station === null || port === null) {
      this.#stack.counters.drop('to-guest-no-neighbor');
      return false;
    }
    const len = UDP_HEADER_LEN + payload.length;
    const at = port.reserve(ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + len);
    if (at < 0) return false;
    const out = port.bytes;
    const ip = at + emitEthernet(out, at, station.mac, this.#stack.config.gatewayMac, ETHERTYPE_IPV4);
    const udp = ip + emitIpv4(out, ip, from, to, IPPROTO_UDP, len);
    out.set(payload, udp + UDP_HEADER_LEN);
    emitUdp(out, udp, from, to, fromPort, toPort, payload.length);
    this.#stack.wantFlush();
    return true;
  }
}
