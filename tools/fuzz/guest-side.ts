/*
 * A guest's end of a link: builds the segments of a script, and looks at every frame that the gateway emits.
 *
 * Sequence numbers are kept per flow from what was sent and seen, so that a script's relative numbers fit whatever ISN the
 * stack has chosen. A payload's bytes follow from their sequence numbers, so each can be judged wherever it turns up.
 * The checks are written apart from the code that they judge.
 */
import { getU16, getU32, setU16, setU32 } from '../../shared/bytes.ts';
import { GATEWAY_MAC } from '../../shared/net/stack/fixture/frames.ts';
import type { FrameBatch } from '../../shared/net/stack/link-port.ts';
import { formatMac, getMac, setMac } from '../../shared/net/wire/addr.ts';
import { setIpv6 } from '../../shared/net/wire/addr6.ts';
import { prettyFrame } from '../../shared/net/wire/pretty.ts';
import { TCP_ACK, TCP_FIN, TCP_SYN } from '../../shared/net/wire/tcp.ts';
import { QUERIES_BY_TCP } from './dns-query.ts';
import type { Step } from './script.ts';
import { check } from './target.ts';
import type { Guest, World } from './worlds.ts';

/** flows of a guest by IPv4: three to the outside, one to the gateway's DNS, one that the gateway opens; then as many by IPv6 */
export const FLOWS = 5;
export const DNS_FLOW = 3;
export const INBOUND_FLOW = 4;
export const INBOUND_PORT = 8080;
const GUEST_PORT = 40_000;
/** so that numbers wrap early in every conversation */
const GUEST_ISN = 0xfffffff0;
/** frames of a batch lie here until it is flushed */
const FRAMES_LEN = 256 * 1024;
const PAYLOAD_MAX = 1500;
/** from here on a segment's payload is a question for the gateway's DNS, where the application is not ours to judge */
const QUERY_FROM = 0x8000;

/** The byte that stands at a sequence number, in either direction. */
export function byteAt(seq: number): number {
  return (seq ^ (seq >>> 8) ^ (seq >>> 16)) & 255;
}

interface Flow {
  readonly isV6: boolean;
  readonly guestPort: number;
  readonly isInbound: boolean;
  remotePort: number;
  guestNext: number;
  stackNext: number;
  lastAck: number;
  tsVal: number;
}

export class GuestSide {
  /** frames that the gateway emitted, and that the switch carried */
  frames = 0;
  switched = 0;
  /** batches are kept instead of read */
  isFull = false;
  readonly #held: FrameBatch[] = [];
  readonly #world: World;
  readonly #guest: Guest;
  /** whether the gateway's payload is made by byteAt */
  readonly #knowsPayload: boolean;
  readonly #flows: readonly Flow[];
  readonly #out = new Uint8Array(FRAMES_LEN);
  #outEnd = 0;

  constructor(world: World, guest: Guest, knowsPayload: boolean) {
    this.#world = world;
    this.#guest = guest;
    this.#knowsPayload = knowsPayload;
    this.#flows = Array.from({ length: 2 * FLOWS }, (_, i) => {
      const isInbound = i % FLOWS === INBOUND_FLOW;
      return { isV6: i >= FLOWS, isInbound, guestPort: isInbound ? INBOUND_PORT : GUEST_PORT + i, remotePort: 0, guestNext: 0, stackNext: 0, lastAck: 0, tsVal: 0 };
    });
    this.reset();
  }

  /** The guest starts anew, and has forgotten every flow. */
  reset(): void {
    for (const flow of this.#flows) {
      flow.remotePort = flow.guestPort === GUEST_PORT + DNS_FLOW || flow.guestPort === GUEST_PORT + FLOWS + DNS_FLOW ? 53 : 80;
      flow.guestNext = GUEST_ISN;
      flow.stackNext = 0;
      flow.lastAck = 0;
      flow.tsVal = 0;
    }
  }

  get held(): number {
    return this.#held.length;
  }

  sendBatch(batch: FrameBatch): boolean {
    if (this.isFull) this.#held.push(batch);
    else this.#read(batch);
    return !this.isFull;
  }

  /** Reads what was kept. */
  drain(): void {
    this.isFull = false;
    for (const batch of this.#held.splice(0)) this.#read(batch);
  }

  /** What was built may be written over. */
  onFlushed(): void {
    this.#outEnd = 0;
  }

  /** The frame lies in a buffer that is used again after `onFlushed`. */
  segment(step: Extract<Step, { kind: 'segment' }>): Uint8Array {
    const flow = this.#flows[step.flow % this.#flows.length];
    const isV6 = flow.isV6 && this.#world.hasIpv6;
    const seq = (flow.guestNext + step.seq) >>> 0;
    const dataSeq = seq + ((step.flags & TCP_SYN) !== 0 ? 1 : 0);
    const query = step.payload >= QUERY_FROM && !this.#knowsPayload ? QUERIES_BY_TCP[(step.payload - QUERY_FROM) % QUERIES_BY_TCP.length] : null;
    const payloadLen = query?.length ?? step.payload % PAYLOAD_MAX;
    const ack = (step.flags & TCP_ACK) !== 0 ? (flow.stackNext + step.ack) >>> 0 : step.ack >>> 0;
    const seqEnd = seq + payloadLen + ((step.flags & TCP_SYN) !== 0 ? 1 : 0) + ((step.flags & TCP_FIN) !== 0 ? 1 : 0);
    const ahead = (seqEnd - flow.guestNext) | 0;
    if (ahead > 0 && ahead < 0x100000) flow.guestNext = seqEnd >>> 0;
    if ((step.flags & TCP_ACK) !== 0) flow.lastAck = ack;
    const optionsLen = (step.options.length + 3) & ~3;
    const tcpAt = isV6 ? 54 : 34;
    const len = tcpAt + 20 + optionsLen + payloadLen;
    if (this.#outEnd + len > FRAMES_LEN) this.#outEnd = 0;
    const out = this.#out.subarray(this.#outEnd, this.#outEnd + len);
    this.#outEnd += len;
    this.#emitHeaders(out, flow, isV6, tcpAt);
    setU16(out, tcpAt, flow.guestPort);
    setU16(out, tcpAt + 2, flow.remotePort);
    setU32(out, tcpAt + 4, seq);
    setU32(out, tcpAt + 8, ack);
    out[tcpAt + 12] = (20 + optionsLen) << 2;
    out[tcpAt + 13] = step.flags;
    setU16(out, tcpAt + 14, step.window);
    setU32(out, tcpAt + 16, 0);
    out.fill(0, tcpAt + 20, tcpAt + 20 + optionsLen);
    out.set(step.options, tcpAt + 20);
    relocate(out, tcpAt + 20, tcpAt + 20 + optionsLen, flow);
    const payloadAt = tcpAt + 20 + optionsLen;
    if (query !== null) out.set(query, payloadAt);
    else for (let i = 0; i < payloadLen; i++) out[payloadAt + i] = byteAt((dataSeq + i) >>> 0);
    setU16(out, tcpAt + 16, ~fold(sum16(out, isV6 ? 22 : 26, tcpAt) + 6 + len - tcpAt + sum16(out, tcpAt, len)) & 0xffff);
    return out;
  }

  #emitHeaders(out: Uint8Array, flow: Flow, isV6: boolean, tcpAt: number): void {
    const { config, remoteIp, remoteIp6 } = this.#world;
    const isForGateway = flow.isInbound || flow.remotePort === 53;
    setMac(out, 0, GATEWAY_MAC);
    setMac(out, 6, this.#guest.mac);
    if (isV6) {
      setU16(out, 12, 0x86dd);
      setU32(out, 14, 0x60000000);
      setU16(out, 18, out.length - tcpAt);
      setU16(out, 20, 0x0640);
      setIpv6(out, 22, this.#guest.ip6);
      setIpv6(out, 38, isForGateway ? config.gatewayIp6 : remoteIp6);
      return;
    }
    setU16(out, 12, 0x0800);
    setU16(out, 14, 0x4500);
    setU16(out, 16, out.length - 14);
    setU32(out, 18, 0x4000);
    setU32(out, 22, 0x40060000);
    setU32(out, 26, this.#guest.ip);
    setU32(out, 30, isForGateway ? config.gatewayIp : remoteIp);
    setU16(out, 24, ~sum16(out, 14, 34) & 0xffff);
  }

  #read(batch: FrameBatch): void {
    let frames = 0;
    for (let at = 0; at < batch.end; frames++) {
      const start = at + 4;
      at = start + getU32(batch.bytes, at);
      check(at <= batch.end, () => 'a frame longer than its batch');
      this.#onFrame(batch.bytes.subarray(start, at));
    }
    check(frames === batch.frames, () => `a batch of ${batch.frames} frames holds ${frames}`);
    batch.release();
  }

  #onFrame(frame: Uint8Array): void {
    if (getMac(frame, 6) !== GATEWAY_MAC) {
      this.switched++;
      return;
    }
    this.frames++;
    const fault = faultOf(frame, this.#world.config.mtu);
    if (fault !== null) throw new Error(`the gateway emits a frame with ${fault}: to ${formatMac(getMac(frame, 0))} ${prettyFrame(frame, 0, frame.length)}`);
    const type = getU16(frame, 12);
    if (type === 0x0800 && frame[23] === 6) this.#follow(frame, 34, false);
    else if (type === 0x86dd && frame[20] === 6) this.#follow(frame, 54, true);
  }

  #follow(frame: Uint8Array, tcpAt: number, isV6: boolean): void {
    const port = getU16(frame, tcpAt + 2);
    const at = port === INBOUND_PORT ? INBOUND_FLOW + (isV6 ? FLOWS : 0) : port - GUEST_PORT;
    const flow = at >= 0 && at < this.#flows.length ? this.#flows[at] : undefined;
    if (flow === undefined || flow.isV6 !== isV6 || flow.guestPort !== port) return;
    const flags = frame[tcpAt + 13];
    const seq = getU32(frame, tcpAt + 4);
    const len = frame.length - tcpAt - 4 * (frame[tcpAt + 12] >> 4);
    if (this.#knowsPayload) {
      const start = frame.length - len;
      for (let i = 0; i < len; i++) if (frame[start + i] !== byteAt((seq + i) >>> 0)) throw new Error(`the byte at ${i} of ${prettyFrame(frame, 0, frame.length)} is not what was sent`);
    }
    const end = (seq + len + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0)) >>> 0;
    if ((flags & TCP_SYN) !== 0) {
      flow.stackNext = end;
      if (flow.isInbound) flow.remotePort = getU16(frame, tcpAt);
    } else if (((end - flow.stackNext) | 0) > 0) flow.stackNext = end;
    if (frame[tcpAt + 20] === 1 && frame[tcpAt + 22] === 8) flow.tsVal = getU32(frame, tcpAt + 24);
  }
}

/** SACK edges count from the last acknowledgment, an echoed timestamp from the one seen last. */
function relocate(options: Uint8Array, start: number, end: number, flow: Flow): void {
  for (let at = start; at + 1 < end; at += options[at] <= 1 ? 1 : Math.max(options[at + 1], 2)) {
    const stop = Math.min(at + options[at + 1], end);
    if (options[at] === 5) for (let edge = at + 2; edge + 4 <= stop; edge += 4) setU32(options, edge, (getU32(options, edge) + flow.lastAck) >>> 0);
    if (options[at] === 8 && stop - at === 10) setU32(options, at + 6, (getU32(options, at + 6) + flow.tsVal) >>> 0);
  }
}

/** What is wrong with a frame of the gateway, or null. */
export function faultOf(frame: Uint8Array, mtu: number): string | null {
  if (frame.length > 14 + mtu) return `${frame.length} bytes`;
  const type = getU16(frame, 12);
  if (type === 0x0806) return frame.length === 42 ? null : 'an ARP message of the wrong length';
  if (type === 0x86dd) return ipv6FaultOf(frame);
  if (type !== 0x0800) return `type ${type}`;
  if (frame[14] !== 0x45) return 'an IP header with options, or of another version';
  if (getU16(frame, 16) !== frame.length - 14) return `a total length of ${getU16(frame, 16)} in ${frame.length} bytes`;
  if (sum16(frame, 14, 34) !== 0xffff) return 'a wrong IP checksum';
  if (frame[22] === 0) return 'no time to live';
  const isFragment = (getU16(frame, 20) & 0x3fff) !== 0;
  const protocol = frame[23];
  if (isFragment) return null;
  if (protocol === 1) return sum16(frame, 34, frame.length) === 0xffff ? null : 'a wrong ICMP checksum';
  if (protocol !== 6 && protocol !== 17) return `protocol ${protocol}`;
  return transportFaultOf(frame, 34, protocol, sum16(frame, 26, 34));
}

function ipv6FaultOf(frame: Uint8Array): string | null {
  if (frame[14] >> 4 !== 6) return 'an IPv6 header of another version';
  if (getU16(frame, 18) !== frame.length - 54) return `a payload length of ${getU16(frame, 18)} in ${frame.length} bytes`;
  if (frame[21] === 0) return 'no hop limit';
  const protocol = frame[20];
  if (protocol === 44) return null;
  if (protocol !== 6 && protocol !== 17 && protocol !== 58) return `next header ${protocol}`;
  return transportFaultOf(frame, 54, protocol, sum16(frame, 22, 54));
}

/** `addresses` is the sum of those in the pseudo-header. */
function transportFaultOf(frame: Uint8Array, start: number, protocol: number, addresses: number): string | null {
  const len = frame.length - start;
  if (fold(addresses + protocol + len + sum16(frame, start, frame.length)) !== 0xffff) return 'a wrong checksum';
  if (protocol === 6) return tcpFaultOf(frame, start);
  return protocol === 58 || getU16(frame, start + 4) === len ? null : 'a wrong UDP length';
}

function tcpFaultOf(frame: Uint8Array, start: number): string | null {
  const headerLen = 4 * (frame[start + 12] >> 4);
  const optionsEnd = start + headerLen;
  if (headerLen < 20 || optionsEnd > frame.length) return `a TCP header of ${headerLen} bytes`;
  const flags = frame[start + 13];
  if ((flags & (TCP_SYN | TCP_FIN)) === (TCP_SYN | TCP_FIN) || (flags & 0x17) === 0) return `flags ${flags}`;
  for (let at = start + 20; at < optionsEnd;) {
    const kind = frame[at];
    if (kind === 0) break;
    const len = kind === 1 ? 1 : frame[at + 1];
    if (len < 1 || at + len > optionsEnd) return `option ${kind} of ${len} bytes`;
    at += len;
  }
  return null;
}

/** of 16-bit words, folded */
export function sum16(bytes: Uint8Array, start: number, end: number): number {
  let high = 0;
  let low = 0;
  let at = start;
  for (const stop = end - 7; at < stop; at += 8) {
    high += bytes[at] + bytes[at + 2] + bytes[at + 4] + bytes[at + 6];
    low += bytes[at + 1] + bytes[at + 3] + bytes[at + 5] + bytes[at + 7];
  }
  for (; at < end; at += 2) {
    high += bytes[at];
    if (at + 1 < end) low += bytes[at + 1];
  }
  return fold(high * 256 + low);
}

export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}
