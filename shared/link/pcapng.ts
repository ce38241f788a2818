/*
 * Blocks of a pcapng file of Ethernet frames (draft-ietf-opsawg-pcapng), little-endian, each a multiple of 4 bytes. Where they go, and what
 * happens when there is no room, is the writer's affair: relay/host/pcap-writer.ts for a disk, web/link/pcapng.ts for memory.
 *
 *   section header · interface · packet · packet · interface · packet …
 *
 *   0         4         8         12        16        20        24        28
 *   +---------+---------+---------+---------+---------+---------+---------+----- - - -----+---------+---------+
 *   | 6       | length  | iface   | µs high | µs low  | len     | len     | frame, padded | options | length  |
 *   +---------+---------+---------+---------+---------+---------+---------+----- - - -----+---------+---------+
 */
const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const LINKTYPE_ETHERNET = 1;
const OPT_IF_NAME = 2;
const OPT_EPB_FLAGS = 2;
const LEN_UNKNOWN = 0xffff_ffff;
/** all of a packet block but the frame: seven words, one option with its end, the length again */
const PACKET_OVERHEAD = 28 + 8 + 4 + 4;

/** which way a frame went, as the option epb_flags has it: seen from whoever captures */
export const PCAPNG_INBOUND = 1;
export const PCAPNG_OUTBOUND = 2;

export const PCAPNG_SECTION_LEN = 28;

/** A section of unknown length, version 1.0. Every emit returns where the block ends. */
export function emitPcapngSection(out: Uint8Array, at: number): number {
  return putWords(out, at, SECTION_HEADER, PCAPNG_SECTION_LEN, BYTE_ORDER_MAGIC, 1, LEN_UNKNOWN, LEN_UNKNOWN, PCAPNG_SECTION_LEN);
}

/** `nameLen`: of the name in UTF-8, in `bytes` */
export function pcapngInterfaceLen(nameLen: number): number {
  return 16 + 4 + padded(nameLen) + 4 + 4;
}

/** Packets without a limit of their length, times in microseconds (what goes without saying). */
export function emitPcapngInterface(out: Uint8Array, at: number, name: Uint8Array): number {
  const len = pcapngInterfaceLen(name.length);
  const end = putPadded(out, putWords(out, at, INTERFACE_DESCRIPTION, len, LINKTYPE_ETHERNET, 0, OPT_IF_NAME | (name.length << 16)), name);
  return putWords(out, end, 0, len);
}

export function pcapngPacketLen(frameLen: number): number {
  return PACKET_OVERHEAD + padded(frameLen);
}

/** `iface`: the number of an interface, in the order of their blocks; `atUs`: whole microseconds since the epoch. */
export function emitPcapngPacket(out: Uint8Array, at: number, iface: number, atUs: number, frame: Uint8Array, direction: number): number {
  const len = pcapngPacketLen(frame.length);
  const body = putWords(out, at, ENHANCED_PACKET, len, iface, Math.floor(atUs / 0x1_0000_0000), atUs, frame.length, frame.length);
  return putWords(out, putPadded(out, body, frame), OPT_EPB_FLAGS | (4 << 16), direction, 0, len);
}

function padded(len: number): number {
  return (len + 3) & ~3;
}

function putPadded(out: Uint8Array, at: number, bytes: Uint8Array): number {
  const end = at + padded(bytes.length);
  out.set(bytes, at);
  out.fill(0, at + bytes.length, end);
  return end;
}

function putWords(out: Uint8Array, at: number, ...words: number[]): number {
  for (const word of words) {
    out[at++] = word;
    out[at++] = word >>> 8;
    out[at++] = word >>> 16;
    out[at++] = word >>> 24;
  }
  return at;
}
