/*
 * Mutations of Ethernet frames by what their fields mean: an address becomes another that is special somewhere, a port one that somebody listens on,
 * a length one at an edge. Lengths and checksums are put right afterwards, mostly: what is wrong with a frame should not be that alone.
 */
import { getU16, getU32, setU16, setU32 } from '../../shared/bytes.ts';
import { GATEWAY_MAC } from '../../shared/net/stack/fixture/frames.ts';
import type { Ipv4 } from '../../shared/net/wire/addr.ts';
import { MAC_BROADCAST, setMac, type Mac } from '../../shared/net/wire/addr.ts';
import type { Ipv6 } from '../../shared/net/wire/addr6.ts';
import { getIpv6, setIpv6 } from '../../shared/net/wire/addr6.ts';
import type { Chance } from './chance.ts';
import { fold, sum16 } from './guest-side.ts';
import { mutateBytes } from './mutate.ts';
import { SPECIAL_IPV4, SPECIAL_IPV6, type World } from './worlds.ts';

const FRAME_MAX = 65_535;
const IP = 14;
const PORTS = [0, 1, 7, 9, 53, 67, 68, 80, 123, 137, 443, 546, 547, 1900, 5000, 5353, 5355, 6000, 8080, 32_767, 32_768, 40_000, 40_003, 49_152, 65_535];
const LENGTHS = [0, 1, 2, 3, 7, 8, 9, 11, 12, 13, 19, 20, 27, 28, 39, 40, 41, 239, 240, 299, 300, 512, 548];
const PROTOCOLS = [1, 6, 17, 58, 0, 2, 41, 43, 44, 47, 50, 51, 59, 60, 132, 135, 139, 253, 255];
const ICMP_TYPES = [[8, 0], [0, 0], [3, 0], [3, 1], [3, 3], [3, 4], [3, 13], [4, 0], [5, 1], [9, 0], [10, 0], [11, 0], [11, 1], [12, 0], [13, 0], [15, 0], [17, 0], [42, 0]] as const;
const ICMPV6_TYPES = [[128, 0], [129, 0], [1, 0], [1, 4], [2, 0], [3, 0], [4, 1], [130, 0], [131, 0], [132, 0], [133, 0], [134, 0], [135, 0], [136, 0], [137, 0], [143, 0], [138, 0], [200, 0]] as const;

/** An address that means something: special anywhere, ours, a guest's, a handle of an IPv6 address (stack/ipv6-table.ts), or nobody's. */
export function anyIpv4(world: World, chance: Chance): Ipv4 {
  const { config, guests, broadcastIp, remoteIp } = world;
  switch (chance.below(8)) {
    case 0: return chance.pick(SPECIAL_IPV4);
    case 1: return (0xf0000000 + chance.below(chance.pick([4, 16, 300]))) as Ipv4;
    case 2: return chance.pick([config.gatewayIp, remoteIp, broadcastIp, config.subnet, (config.subnet - 1) >>> 0, (broadcastIp + 1) >>> 0] as Ipv4[]);
    case 3: return chance.pick(guests).ip;
    case 4: return (config.subnet + chance.below(0x100000000 / 2 ** config.prefixLen)) as Ipv4;
    case 5: return (chance.pick(SPECIAL_IPV4) + chance.below(256)) % 0x100000000 as Ipv4;
    case 6: return remoteIp;
    default: return chance.u32() as Ipv4;
  }
}

export function anyIpv6(world: World, chance: Chance): Ipv6 {
  const { config, guests, remoteIp6 } = world;
  const [p0, p1] = config.prefix6;
  switch (chance.below(9)) {
    case 0: case 1: return chance.pick(SPECIAL_IPV6);
    case 2: return chance.pick([config.gatewayIp6, config.linkLocalIp6, remoteIp6]);
    case 3: return chance.pick(guests).ip6;
    case 4: return [0xfe800000, 0, chance.pick(guests).ip6[2], chance.pick(guests).ip6[3]];
    case 5: return [p0, p1, 0, chance.below(2000)];
    // What means an IPv4 address: mapped, compatible, translated, 6to4.
    case 6: return chance.pick<Ipv6>([[0, 0, 0xffff, anyIpv4(world, chance)], [0, 0, 0, anyIpv4(world, chance)], [0x64ff9b, 0, 0, anyIpv4(world, chance)]]);
    case 7: return [0xff020000, 0, 1, (0xff000000 | (chance.pick(guests).ip6[3] & 0xffffff)) >>> 0];
    default: return [chance.u32(), chance.u32(), chance.u32(), chance.u32()];
  }
}

export function anyPort(chance: Chance): number {
  return chance.oneIn(8) ? chance.u32() & 0xffff : chance.pick(PORTS);
}

function anyMac(world: World, chance: Chance): Mac {
  const what = chance.below(7);
  if (what === 0) return MAC_BROADCAST;
  if (what === 1) return chance.pick(world.guests).mac;
  if (what === 2) return (0x020000000100 + chance.below(chance.pick([4, 2000]))) as Mac;
  if (what === 3) return 0x01005e0000fb as Mac;
  if (what === 4) return (0x333300000000 + chance.u32()) as Mac;
  return what === 5 ? 0 as Mac : GATEWAY_MAC;
}

/** of a payload behind headers of so many bytes: what is left of the MTU, a byte more or less, or little */
function anyLength(world: World, headers: number, chance: Chance): number {
  if (chance.oneIn(4)) return Math.max(0, world.config.mtu - headers + chance.pick([-8, -1, 0, 0, 1, 4, 5]));
  return chance.oneIn(12) ? Math.min(FRAME_MAX - 100, chance.edge(2)) : chance.pick(LENGTHS);
}

// ---- frames ----

/** A frame of a guest's, of any kind. */
export function anyFrame(world: World, which: number, chance: Chance): Uint8Array {
  const guest = world.guests[which % world.guests.length];
  const kind = chance.below(world.hasIpv6 ? 8 : 5);
  const isV6 = kind >= 5;
  const protocol = kind === 0 ? 0 : chance.pick(isV6 ? [6, 17, 17, 58] : [6, 17, 17, 1]);
  const ipLen = isV6 ? 40 : 20;
  const headers = ipLen + (protocol === 6 ? 20 : 8);
  const frame = new Uint8Array(kind === 0 ? 42 : IP + headers + Math.min(anyLength(world, headers, chance), 4000));
  setMac(frame, 0, kind === 0 && chance.oneIn(2) ? MAC_BROADCAST : GATEWAY_MAC);
  setMac(frame, 6, guest.mac);
  if (kind === 0) {
    setU16(frame, 12, 0x0806);
    frame.set([0, 1, 8, 0, 6, 4, 0, chance.pick([1, 1, 2])], 14);
    setMac(frame, 22, guest.mac);
    setU32(frame, 28, chance.oneIn(2) ? guest.ip : anyIpv4(world, chance));
    setU32(frame, 38, anyIpv4(world, chance));
    return frame;
  }
  const at = IP + ipLen;
  if (isV6) {
    setU16(frame, 12, 0x86dd);
    frame[IP] = 0x60;
    frame[IP + 6] = protocol;
    frame[IP + 7] = protocol === 58 ? 255 : 64;
    setIpv6(frame, IP + 8, chance.oneIn(4) ? anyIpv6(world, chance) : guest.ip6);
    setIpv6(frame, IP + 24, anyIpv6(world, chance));
  } else {
    setU16(frame, 12, 0x0800);
    frame[IP] = 0x45;
    setU16(frame, IP + 6, 0x4000);
    frame[IP + 8] = chance.oneIn(6) ? chance.edge(1) : 64;
    frame[IP + 9] = protocol;
    setU32(frame, IP + 12, chance.oneIn(6) ? anyIpv4(world, chance) : guest.ip);
    setU32(frame, IP + 16, anyIpv4(world, chance));
  }
  if (protocol === 6) {
    setU32(frame, at + 4, chance.u32());
    frame[at + 12] = 0x50;
    frame[at + 13] = chance.pick([2, 2, 2, 0x10, 0x11, 0x18, 4, 0x12, 0]);
    setU16(frame, at + 14, chance.edge(2));
  }
  if (protocol === 1 || protocol === 58) frame.set(chance.pick<readonly number[]>(protocol === 1 ? ICMP_TYPES : ICMPV6_TYPES), at);
  else {
    setU16(frame, at, chance.oneIn(2) ? 40_000 + chance.below(10) : anyPort(chance));
    setU16(frame, at + 2, anyPort(chance));
  }
  repair(frame);
  return frame;
}

export function mutateFrame(frame: Uint8Array, world: World, which: number, chance: Chance): Uint8Array {
  if (frame.length < 34 || chance.oneIn(10)) return repaired(Uint8Array.from(mutateBytes(frame, frame, chance).subarray(0, FRAME_MAX)), chance);
  if (chance.oneIn(12)) return mutateEthernet(Uint8Array.from(frame), world, chance);
  const type = getU16(frame, 12);
  const out = Uint8Array.from(frame);
  if (type === 0x0806) return mutateArp(out, world, chance);
  if (type === 0x86dd && frame.length >= 54) return mutateIpv6(out, world, chance);
  return type === 0x0800 ? mutateIpv4(out, world, chance) : anyFrame(world, which, chance);
}

function mutateEthernet(frame: Uint8Array, world: World, chance: Chance): Uint8Array {
  const what = chance.below(4);
  if (what === 0) setMac(frame, 0, anyMac(world, chance));
  else if (what === 1) setMac(frame, 6, anyMac(world, chance));
  else if (what === 2) setU16(frame, 12, chance.pick([0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 46, 0, 0xffff]));
  else return frame.subarray(0, chance.pick([0, 13, 14, 15, 33, 34, 41, 42, 53, 54, Math.max(frame.length - 1, 0)]));
  return frame;
}

function mutateArp(frame: Uint8Array, world: World, chance: Chance): Uint8Array {
  switch (chance.below(8)) {
    case 0: setU16(frame, 20, chance.edge(2)); break;
    case 1: setMac(frame, 22, anyMac(world, chance)); break;
    case 2: setMac(frame, 6, anyMac(world, chance)); setMac(frame, 22, anyMac(world, chance)); break;
    case 3: case 4: if (frame.length >= 32) setU32(frame, 28, anyIpv4(world, chance)); break;
    case 5: frame[14 + chance.below(6)] = chance.edge(1); break;
    case 6: {
      // A new neighbor.
      const mac = anyMac(world, chance);
      if (frame.length >= 42) {
        setMac(frame, 6, mac);
        setMac(frame, 22, mac);
        setU32(frame, 28, anyIpv4(world, chance));
      }
      break;
    }
    default: if (frame.length >= 42) setU32(frame, 38, anyIpv4(world, chance));
  }
  return frame;
}

function mutateIpv4(frame: Uint8Array, world: World, chance: Chance): Uint8Array {
  const at = Math.min(IP + 4 * (frame[IP] & 15), frame.length);
  switch (chance.below(14)) {
    case 0: case 1: case 2: setU32(frame, IP + 16, anyIpv4(world, chance)); break;
    case 3: setU32(frame, IP + 12, chance.oneIn(3) ? anyIpv4(world, chance) : chance.pick(world.guests).ip); break;
    case 4: frame[IP + 8] = chance.pick([0, 1, 2, 29, 30, 31, 63, 64, 65, 255]); break;
    case 5: frame[IP + 9] = chance.pick(PROTOCOLS); break;
    case 6: setU16(frame, IP + 6, chance.pick([0, 0x4000, 0x2000, 0x2001, 0x3fff, 0x1fff, 1, 2, 0x8000, 0x6000, chance.below(0x10000)])); break;
    case 7: setU16(frame, IP + 4, chance.below(4)); break;
    case 8: {
      // Lengths that lie.
      if (chance.oneIn(2)) setU16(frame, IP + 2, chance.oneIn(2) ? chance.edge(2) : frame.length - IP + chance.pick([-1, 1, -8, 4]));
      else frame[IP] = chance.pick([0x40, 0x44, 0x45, 0x46, 0x4f, 0x55, 0x65, 0x05]);
      sumIpv4Header(frame);
      return frame;
    }
    default: return repaired(mutateTransport(frame, at, frame[IP + 9], world, chance), chance);
  }
  return repaired(frame, chance);
}

function mutateIpv6(frame: Uint8Array, world: World, chance: Chance): Uint8Array {
  switch (chance.below(12)) {
    case 0: case 1: case 2: setIpv6(frame, IP + 24, anyIpv6(world, chance)); break;
    case 3: setIpv6(frame, IP + 8, anyIpv6(world, chance)); break;
    case 4: frame[IP + 7] = chance.pick([0, 1, 2, 64, 254, 255]); break;
    case 5: frame[IP + 6] = chance.pick(PROTOCOLS); break;
    case 6: setU16(frame, IP + 4, chance.oneIn(2) ? chance.edge(2) : frame.length - 54 + chance.pick([-1, 1, -8, 4])); return frame;
    case 7: return repaired(withExtension(frame, chance), chance);
    default: return repaired(mutateTransport(frame, 54, frame[IP + 6], world, chance), chance);
  }
  return repaired(frame, chance);
}

/** One more extension header in front of what is there. */
function withExtension(frame: Uint8Array, chance: Chance): Uint8Array {
  const kind = chance.pick([0, 43, 44, 44, 60]);
  const extension = kind === 44
    ? [frame[IP + 6], 0, ...chance.pick([[0, 0], [0, 1], [0, 8], [0, 9], [0xff, 0xf8], [0xff, 0xf9], [0, 6]]), 0, 0, 0, chance.below(4)]
    : [frame[IP + 6], chance.oneIn(4) ? chance.edge(1) : 0, chance.pick([1, 5, 0xc2, 0x1e, 0]), 4, 0, 0, 0, chance.edge(1)];
  const out = new Uint8Array(Math.min(frame.length + 8, FRAME_MAX));
  out.set(frame.subarray(0, 54));
  out.set(extension, 54);
  out.set(frame.subarray(54, out.length - 8), 62);
  out[IP + 6] = kind;
  return out;
}

function mutateTransport(frame: Uint8Array, at: number, protocol: number, world: World, chance: Chance): Uint8Array {
  if (frame.length < at + 8) return resized(frame, at + 8 + anyLength(world, 28, chance));
  if (chance.oneIn(5)) return resized(frame, at + (protocol === 6 ? 20 : 8) + anyLength(world, at - IP + (protocol === 6 ? 20 : 8), chance));
  if (protocol === 1 || protocol === 58) return mutateIcmp(frame, at, protocol === 58, world, chance);
  switch (chance.below(5)) {
    case 0: setU16(frame, at, anyPort(chance)); return frame;
    case 1: setU16(frame, at + 2, anyPort(chance)); return frame;
    case 2:
      if (protocol === 6 && frame.length >= at + 20) frame[at + 12 + chance.below(2)] = chance.edge(1);
      else setU16(frame, at + 4, chance.oneIn(2) ? chance.edge(2) : frame.length - at + chance.pick([-1, 1, -8, 8]));
      return frame;
    default: {
      if (protocol === 6) {
        setU32(frame, at + 4, chance.u32());
        return frame;
      }
      const port = getU16(frame, at + 2);
      if (port === 67 || port === 68) mutateDhcp(frame, at + 8, world, chance);
      else if (port === 53) mutateDns(frame, at + 8, chance);
      else return resized(frame, at + 8 + anyLength(world, at - IP + 8, chance));
      return frame;
    }
  }
}

/** Types and codes; in errors the quoted packet, in neighbor discovery targets and options. */
function mutateIcmp(frame: Uint8Array, at: number, isV6: boolean, world: World, chance: Chance): Uint8Array {
  const inner = at + 8;
  switch (chance.below(5)) {
    case 0: case 1: frame.set(chance.pick<readonly number[]>(isV6 ? ICMPV6_TYPES : ICMP_TYPES), at); break;
    case 2: setU32(frame, at + 4, chance.oneIn(2) ? chance.edge(4) : world.config.mtu); break;
    case 3:
      if (isV6 && frame.length >= inner + 16) setIpv6(frame, inner, anyIpv6(world, chance));
      else if (!isV6 && frame.length >= inner + 20) setU32(frame, inner + chance.pick([12, 16]), anyIpv4(world, chance));
      break;
    default: if (frame.length > inner) frame[inner + chance.below(frame.length - inner)] = chance.edge(1);
  }
  return frame;
}

/** Addresses, types, options of the message at `at`. */
function mutateDhcp(frame: Uint8Array, at: number, world: World, chance: Chance): void {
  if (frame.length < at + 244) return;
  switch (chance.below(8)) {
    case 0: setU32(frame, at + chance.pick([12, 12, 16, 20, 24]), anyIpv4(world, chance)); break;
    case 1: frame[at + chance.below(4)] = chance.edge(1); break;
    case 2: {
      const mac = anyMac(world, chance);
      setMac(frame, at + 28, mac);
      if (!chance.oneIn(4)) setMac(frame, 6, mac);
      break;
    }
    case 3: setU16(frame, at + 10, chance.pick([0, 0x8000])); break;
    default: mutateDhcpOption(frame, at + 240, world, chance);
  }
}

function mutateDhcpOption(frame: Uint8Array, start: number, world: World, chance: Chance): void {
  const places: number[] = [];
  let at = start;
  for (; at + 1 < frame.length && frame[at] !== 255; at += frame[at] === 0 ? 1 : 2 + frame[at + 1]) if (frame[at] !== 0) places.push(at);
  if (places.length === 0 || chance.oneIn(3)) {
    // Another option behind the last.
    const code = chance.pick([50, 54, 12, 55, 61, 81, 52, 53, 57, 51, 1, 3, 6, 119]);
    const data = code === 50 || code === 54 ? [0, 0, 0, 0] : Array.from({ length: chance.pick([0, 1, 2, 4, 9]) }, () => 97 + chance.below(3));
    if (at + 3 + data.length > frame.length) return;
    frame.set([code, data.length, ...data, 255], at);
    if (data.length === 4) setU32(frame, at + 2, anyIpv4(world, chance));
    return;
  }
  const place = chance.pick(places);
  const code = frame[place];
  if (chance.oneIn(5)) frame[place + chance.below(2)] = chance.edge(1);
  else if (code === 53) frame[place + 2] = chance.pick([0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9, 255]);
  else if (frame[place + 1] === 4 && place + 6 <= frame.length) setU32(frame, place + 2, anyIpv4(world, chance));
  else if (place + 2 < frame.length) frame[place + 2 + chance.below(Math.min(frame[place + 1], frame.length - place - 2))] = chance.edge(1);
}

/** One field of a DNS message that starts at `at`; what lies before 0 is left alone. */
export function mutateDns(bytes: Uint8Array, at: number, chance: Chance): void {
  const put = chance.below(9);
  const end = bytes.length;
  if (put === 0) setWithin(bytes, at, chance.edge(2));
  else if (put === 1) setWithin(bytes, at + 2, chance.pick([0x0100, 0x0110, 0x8180, 0x8380, 0x8183, 0x8182, 0x8185, 0x2900, 0x7900, 0x8580, 0]));
  else if (put === 2) setWithin(bytes, at + chance.pick([4, 6, 8, 10]), chance.pick([0, 1, 1, 2, 3, 64, 65_535]));
  else if (put === 3 && end > at + 12) bytes[Math.max(at + 12, 0)] = chance.pick([0, 1, 2, 63, 64, 0x80, 0xc0, 0xff]);
  else if (put === 4) setWithin(bytes, end - 4, chance.pick([1, 28, 12, 6, 255, 0, 41, 252, 65_535]));
  else if (put === 5) setWithin(bytes, end - 2, chance.pick([1, 0, 3, 255, 65_535]));
  else if (put === 6 && end > at + 14) {
    // A pointer: to the question, to itself, to the header, beyond the end.
    const place = at + 12 + chance.below(end - at - 13);
    setWithin(bytes, place, 0xc000 | (chance.pick([12, place - at, place - at + 2, 0, 0x3fff]) & 0x3fff));
  } else if (put === 7 && end > at + 12) {
    const place = Math.max(at + 12, 0) + chance.below(end - Math.max(at + 12, 0));
    bytes[place] = chance.oneIn(2) ? bytes[place] ^ 0x20 : chance.edge(1);
  } else if (end > 0) bytes[chance.below(end)] = chance.edge(1);
}

function setWithin(bytes: Uint8Array, at: number, value: number): void {
  if (at >= 0 && at + 2 <= bytes.length) setU16(bytes, at, value);
}

// ---- what holds a frame together ----

function resized(frame: Uint8Array, len: number): Uint8Array {
  const out = new Uint8Array(Math.min(len, FRAME_MAX));
  out.set(frame.subarray(0, out.length));
  return out;
}

/** Lengths and checksums are put right, or now and then left as they are. */
function repaired(frame: Uint8Array, chance: Chance): Uint8Array {
  if (!chance.oneIn(8)) repair(frame);
  return frame;
}

/** Lengths and checksums as the frame's own length and bytes want them. */
export function repair(frame: Uint8Array): void {
  if (frame.length < 34) return;
  const type = getU16(frame, 12);
  if (type === 0x0800) {
    const at = IP + 4 * (frame[IP] & 15);
    if (at < 34 || at > frame.length) return;
    setU16(frame, IP + 2, frame.length - IP);
    sumIpv4Header(frame);
    if ((getU16(frame, IP + 6) & 0x3fff) === 0) sumTransport(frame, at, frame[IP + 9], sum16(frame, IP + 12, IP + 20));
  } else if (type === 0x86dd && frame.length >= 54) {
    setU16(frame, IP + 4, frame.length - 54);
    let protocol = frame[IP + 6];
    let at = 54;
    while ((protocol === 0 || protocol === 43 || protocol === 60) && at + 8 <= frame.length) {
      protocol = frame[at];
      at += 8 + 8 * frame[at + 1];
    }
    if (at <= frame.length) sumTransport(frame, at, protocol, sum16(frame, IP + 8, IP + 40));
  }
}

function sumIpv4Header(frame: Uint8Array): void {
  const end = Math.min(Math.max(IP + 4 * (frame[IP] & 15), 34), frame.length);
  setU16(frame, IP + 10, 0);
  setU16(frame, IP + 10, ~sum16(frame, IP, end) & 0xffff);
}

function sumTransport(frame: Uint8Array, at: number, protocol: number, addresses: number): void {
  const len = frame.length - at;
  const field = protocol === 6 ? 16 : protocol === 17 ? 6 : protocol === 1 || protocol === 58 ? 2 : -1;
  if (field < 0 || len < field + 2) return;
  if (protocol === 17) setU16(frame, at + 4, len);
  setU16(frame, at + field, 0);
  const sum = sum16(frame, at, frame.length) + (protocol === 1 ? 0 : addresses + protocol + len);
  setU16(frame, at + field, (~fold(sum) & 0xffff) || (protocol === 17 ? 0xffff : 0));
}

/** The frame for another world, or as the other guest sends it: who and what it is about stays the same by role. */
export function carryOver(frame: Uint8Array, from: World, fromWhich: number, to: World, toWhich: number): Uint8Array {
  const out = Uint8Array.from(frame);
  if (frame.length < 34) return out;
  const was = from.guests[fromWhich % from.guests.length];
  const is = to.guests[toWhich % to.guests.length];
  const swap4 = new Map<number, Ipv4>([[was.ip, is.ip], [from.config.gatewayIp, to.config.gatewayIp], [from.remoteIp, to.remoteIp], [from.broadcastIp, to.broadcastIp]]);
  if (was.mac !== is.mac && getU32(out, 8) === was.mac % 0x100000000) setMac(out, 6, is.mac);
  const type = getU16(out, 12);
  if (type === 0x0806 && out.length >= 42) {
    if (getU32(out, 24) === was.mac % 0x100000000) setMac(out, 22, is.mac);
    swapAt(out, 28, swap4);
    swapAt(out, 38, swap4);
  } else if (type === 0x0800) {
    swapAt(out, IP + 12, swap4);
    swapAt(out, IP + 16, swap4);
    // DHCP's chaddr
    if (out[IP + 9] === 17 && out.length >= 84 && getU16(out, 36) === 67 && getU32(out, 72) === was.mac % 0x100000000) setMac(out, 70, is.mac);
    repair(out);
  } else if (type === 0x86dd && out.length >= 54) {
    for (const at of [IP + 8, IP + 24]) {
      const ip6 = getIpv6(out, at);
      if (ip6[3] === was.ip6[3] && ip6[2] === was.ip6[2]) setIpv6(out, at, [ip6[0], ip6[1], is.ip6[2], is.ip6[3]]);
      else if (ip6.every((word, i) => word === from.remoteIp6[i])) setIpv6(out, at, to.remoteIp6);
    }
    repair(out);
  }
  return out;
}

function swapAt(frame: Uint8Array, at: number, swap: ReadonlyMap<number, Ipv4>): void {
  const is = swap.get(getU32(frame, at));
  if (is !== undefined) setU32(frame, at, is);
}
