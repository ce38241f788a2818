/*
 * Ethernet II header (IEEE 802.3), without preamble and frame check sequence.
 *
 *   0                       6                       12       14
 *   +-----------------------+-----------------------+--------+---------
 *   | destination           | source                | type   | payload
 *   +-----------------------+-----------------------+--------+---------
 *
 * No VLAN tags: a guest's NIC sends none, and a frame with one is an unknown type.
 */
import { getU16, setU16 } from '../../bytes.ts';
import type { Mac } from './addr.ts';
import { getMac, setMac } from './addr.ts';

export const ETHERNET_HEADER_LEN = 14;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

export type EthernetDrop = 'ethernet-truncated';

/** Reads one frame in place. Borrowed. */
export class EthernetView {
  bytes: Uint8Array = new Uint8Array(0);
  start = 0;
  end = 0;

  wrap(bytes: Uint8Array, start: number, end: number): EthernetDrop | null {
    if (end - start < ETHERNET_HEADER_LEN) return 'ethernet-truncated';
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    return null;
  }

  get dst(): Mac { return getMac(this.bytes, this.start); }
  get src(): Mac { return getMac(this.bytes, this.start + 6); }
  get etherType(): number { return getU16(this.bytes, this.start + 12); }
  get payloadStart(): number { return this.start + ETHERNET_HEADER_LEN; }
}

/** Writes the header at `off`. Returns ETHERNET_HEADER_LEN. */
export function emitEthernet(out: Uint8Array, off: number, dst: Mac, src: Mac, etherType: number): number {
  setMac(out, off, dst);
  setMac(out, off + 6, src);
  setU16(out, off + 12, etherType);
  return ETHERNET_HEADER_LEN;
}
