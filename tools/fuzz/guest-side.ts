/*
 * The guest's end of a link: builds the segments of a script, and looks at every frame that the gateway emits.
 *
 * Sequence numbers are kept per flow from what was sent and seen, so that a script's relative numbers fit whatever ISN the
 * stack has chosen. A payload's bytes follow from their sequence numbers, so each can be judged wherever it turns up.
 * The checks are written apart from the code that they judge.
 */
import { getU16, getU32, setU32 } from '../../shared/bytes.ts';
import { ethernet, GATEWAY_IP, GATEWAY_MAC, GUEST_IP, GUEST_MAC, ip, ipv4, tcp } from '../../shared/net/stack/fixture/frames.ts';
import type { FrameBatch } from '../../shared/net/stack/link-port.ts';
import type { Ipv4 } from '../../shared/net/wire/addr.ts';
import { formatMac, getMac } from '../../shared/net/wire/addr.ts';
import { prettyFrame } from '../../shared/net/wire/pretty.ts';
import { TCP_ACK, TCP_FIN, TCP_SYN } from '../../shared/net/wire/tcp.ts';
import type { Step } from './script.ts';
import { check } from './target.ts';

export const ALIAS_IP = ip('192.168.127.254');
/** flows of a script: three to the outside, one to the gateway's DNS, one that the gateway opens */
export const FLOWS = 5;
export const DNS_FLOW = 3;
export const INBOUND_FLOW = 4;
export const INBOUND_PORT = 8080;
const GUEST_PORT = 40_000;
/** so that numbers wrap early in every conversation */
const GUEST_ISN = 0xfffffff0;

/** The byte that stands at a sequence number, in either direction. */
export function byteAt(seq: number): number {
  return (seq ^ (seq >>> 8) ^ (seq >>> 16)) & 255;
}

interface Flow {
  guestPort: number;
  remoteIp: Ipv4;
  remotePort: number;
  guestNext: number;
  stackNext: number;
  lastAck: number;
  tsVal: number;
}

export class GuestSide {
  /** frames that the gateway emitted, and that the switch carried */
  frames = 0;
  /** batches are kept instead of read */
  isFull = false;
  readonly #held: FrameBatch[] = [];
  readonly #mtu: number;
  /** whether the gateway's payload is made by byteAt */
  readonly #knowsPayload: boolean;
  readonly #flows: Flow[];

  constructor(mtu: number, knowsPayload: boolean) {
    this.#mtu = mtu;
    this.#knowsPayload = knowsPayload;
    this.#flows = Array.from({ length: FLOWS }, (_, i) => ({
      guestPort: i === INBOUND_FLOW ? INBOUND_PORT : GUEST_PORT + i, remoteIp: i >= DNS_FLOW ? GATEWAY_IP : ALIAS_IP, remotePort: i === DNS_FLOW ? 53 : 80,
      guestNext: GUEST_ISN, stackNext: 0, lastAck: 0, tsVal: 0,
    }));
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

  segment(step: Extract<Step, { kind: 'segment' }>): Uint8Array {
    const flow = this.#flows[step.flow % FLOWS];
    const seq = (flow.guestNext + step.seq) >>> 0;
    const dataSeq = seq + ((step.flags & TCP_SYN) !== 0 ? 1 : 0);
    const payload = Uint8Array.from({ length: step.payload % 1500 }, (_, i) => byteAt((dataSeq + i) >>> 0));
    const ack = (step.flags & TCP_ACK) !== 0 ? (flow.stackNext + step.ack) >>> 0 : step.ack >>> 0;
    const end = seq + payload.length + ((step.flags & TCP_SYN) !== 0 ? 1 : 0) + ((step.flags & TCP_FIN) !== 0 ? 1 : 0);
    const ahead = (end - flow.guestNext) | 0;
    if (ahead > 0 && ahead < 0x100000) flow.guestNext = end >>> 0;
    if ((step.flags & TCP_ACK) !== 0) flow.lastAck = ack;
    const options = new Uint8Array((step.options.length + 3) & ~3);
    options.set(step.options);
    this.#relocate(options, flow);
    const { guestPort, remoteIp, remotePort } = flow;
    const fields = { srcPort: guestPort, dstPort: remotePort, seq, ack, flags: step.flags, window: step.window, options: [...options], payload };
    return ethernet(GATEWAY_MAC, GUEST_MAC, 0x0800, ipv4(GUEST_IP, remoteIp, 6, tcp(GUEST_IP, remoteIp, fields)));
  }

  /** SACK edges count from the last acknowledgment, an echoed timestamp from the one seen last. */
  #relocate(options: Uint8Array, flow: Flow): void {
    for (let at = 0; at + 1 < options.length; at += options[at] <= 1 ? 1 : Math.max(options[at + 1], 2)) {
      const end = Math.min(at + options[at + 1], options.length);
      if (options[at] === 5) for (let edge = at + 2; edge + 4 <= end; edge += 4) setU32(options, edge, (getU32(options, edge) + flow.lastAck) >>> 0);
      if (options[at] === 8 && end - at === 10) setU32(options, at + 6, (getU32(options, at + 6) + flow.tsVal) >>> 0);
    }
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
    this.frames++;
    if (getMac(frame, 6) !== GATEWAY_MAC) return;
    const fault = faultOf(frame, this.#mtu);
    check(fault === null, () => `the gateway emits a frame with ${fault}: to ${formatMac(getMac(frame, 0))} ${prettyFrame(frame, 0, frame.length)}`);
    if (getU16(frame, 12) === 0x0800 && frame[23] === 6) this.#follow(frame);
  }

  #follow(frame: Uint8Array): void {
    const port = getU16(frame, 36);
    const flow = this.#flows.find((candidate) => candidate.guestPort === port);
    if (flow === undefined) return;
    const flags = frame[47];
    const seq = getU32(frame, 38);
    const len = frame.length - 34 - 4 * (frame[46] >> 4);
    if (this.#knowsPayload) {
      for (let i = 0; i < len; i++) check(frame[frame.length - len + i] === byteAt((seq + i) >>> 0), () => `the byte at ${i} of ${prettyFrame(frame, 0, frame.length)} is not what was sent`);
    }
    const end = (seq + len + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0)) >>> 0;
    if ((flags & TCP_SYN) !== 0) {
      flow.stackNext = end;
      if (port === INBOUND_PORT) flow.remotePort = getU16(frame, 34);
    } else if (((end - flow.stackNext) | 0) > 0) flow.stackNext = end;
    if (frame[54] === 1 && frame[56] === 8) flow.tsVal = getU32(frame, 58);
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

function sum16(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  for (let at = start; at < end; at += 2) sum += (bytes[at] << 8) | (at + 1 < end ? bytes[at + 1] : 0);
  return fold(sum);
}

function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}
