/** All targets, by name. */
import { isDeepStrictEqual } from 'node:util';
import { FrameDecoder } from '../../shared/link/qemu-framing.ts';
import { parseClientMessage, parseRelayMessage, parseSessionGrant } from '../../shared/link/tunnel.ts';
import { emitArp, parseArp } from '../../shared/net/wire/arp.ts';
import { DHCP_LEN_MAX, emitDhcp, parseDhcp } from '../../shared/net/wire/dhcp.ts';
import { parseDnsQuestion, readTtls } from '../../shared/net/wire/dns.ts';
import { parseIcmp } from '../../shared/net/wire/icmp.ts';
import { parseIcmpv6 } from '../../shared/net/wire/icmpv6.ts';
import { prettyFrame } from '../../shared/net/wire/pretty.ts';
import { TcpOptions } from '../../shared/net/wire/tcp-options.ts';
import { getU32 } from '../../shared/bytes.ts';
import { ARCHIVE_TARGETS } from './archive-targets.ts';
import { Chance } from './chance.ts';
import { IO_TARGETS } from './io-targets.ts';
import { LINK_TARGET } from './link-target.ts';
import { mutateScript } from './mutate-script.ts';
import { NetworkSeries, playNetwork } from './network-target.ts';
import { PAGE_TARGETS } from './page-targets.ts';
import { playPlugIn, PlugInSeries } from './plug-in-target.ts';
import { decode, scriptPieces } from './script.ts';
import * as seeds from './seeds.ts';
import { check, type FuzzTarget } from './target.ts';
import { playTcp, TcpSeries } from './tcp-target.ts';

const FRAME_MAX = 1518;

/** Cuts the stream where chance wants, as the first byte seeds it, and compares with a plain reading of the whole. */
function runFraming(input: Uint8Array): void {
  const chance = new Chance(input[0] ?? 0);
  const stream = input.subarray(1);
  const expected: string[] = [];
  let at = 0;
  let error = false;
  while (!error && stream.length - at >= 4) {
    const len = getU32(stream, at);
    error = len === 0 || len > FRAME_MAX;
    if (error || stream.length - at - 4 < len) break;
    expected.push(Buffer.from(stream.subarray(at + 4, at + 4 + len)).toString('latin1'));
    at += 4 + len;
  }
  const got: Uint8Array[] = [];
  let failed: string | null = null;
  const decoder = new FrameDecoder(FRAME_MAX, (bytes, start, end) => got.push(bytes.subarray(start, end)));
  for (let from = 0; from < stream.length;) {
    // Each chunk is a buffer of its own with dirt around it, as sockets have it.
    const len = Math.min(stream.length - from, 1 + chance.below(chance.pick([2, 5, 60, 1600, 5000])));
    const chunk = new Uint8Array(len + 6).fill(0xa5);
    chunk.set(stream.subarray(from, from + len), 3);
    failed = decoder.push(chunk, 3, 3 + len);
    check(decoder.carriedBytes <= FRAME_MAX + 4, () => `${decoder.carriedBytes} bytes carried`);
    from += len;
  }
  // Frames stay valid as long as the chunks do: they are compared at the end.
  check(JSON.stringify(got.map((frame) => Buffer.from(frame).toString('latin1'))) === JSON.stringify(expected), () => `${got.length} frames of ${expected.length}, or others`);
  check((failed !== null) === error, () => `the stream is ${error ? 'wrong' : 'right'}, the decoder says ${failed}`);
}

/** What was understood is said again, and understood as the same. */
function runTunnel(input: Uint8Array): void {
  const text = new TextDecoder().decode(input);
  for (const parse of [parseClientMessage, parseRelayMessage, parseSessionGrant]) {
    const message = parse(text);
    if (typeof message === 'string') continue;
    const again = parse(JSON.stringify(message));
    check(JSON.stringify(again) === JSON.stringify(message), () => `${JSON.stringify(message)} became ${JSON.stringify(again)}`);
  }
}

function runOptions(input: Uint8Array): void {
  const bytes = new Uint8Array(input.length + 8).fill(0xa5);
  bytes.set(input, 4);
  const options = new TcpOptions();
  options.parse(bytes, 4, 4 + input.length);
  check(options.sackCount >= 0 && options.sackCount <= 4 && options.windowScale >= -1 && options.windowScale <= 14, () => JSON.stringify(options));
  // Nothing in front of or behind the options has a say.
  const alone = new TcpOptions();
  alone.parse(Uint8Array.from(input), 0, input.length);
  const { sackStart: _a, sackEnd: _b, ...known } = options;
  const { sackStart: _c, sackEnd: _d, ...same } = alone;
  check(JSON.stringify(known) === JSON.stringify(same), () => `${JSON.stringify(known)} is ${JSON.stringify(same)} alone`);
}

/** `bytes` amid others, as they lie in what was read from a socket. */
function amidDirt(bytes: Uint8Array): { bytes: Uint8Array; start: number; end: number } {
  const dirty = new Uint8Array(bytes.length + 64).fill(0x41);
  dirty.set(bytes, 32);
  return { bytes: dirty, start: 32, end: 32 + bytes.length };
}

/** Nobody reads beyond a frame: what lies around it has no say in what it says. */
function runViews(input: Uint8Array): void {
  for (const step of decode(input).steps) {
    if (step.kind !== 'frame' && step.kind !== 'other') continue;
    const alone = Uint8Array.from(step.bytes);
    const amid = amidDirt(alone);
    const line = prettyFrame(alone, 0, alone.length);
    const same = prettyFrame(amid.bytes, amid.start, amid.end);
    check(line === same, () => `"${line}" amid others is "${same}"`);
    const icmp = parseIcmp(alone, Math.min(34, alone.length), alone.length);
    const icmp6 = parseIcmpv6(alone, Math.min(54, alone.length), alone.length);
    check(typeof icmp6 === 'string' || !('dataEnd' in icmp6) || (icmp6.dataStart <= icmp6.dataEnd && icmp6.dataEnd <= alone.length), () => JSON.stringify(icmp6));
    check(typeof icmp === 'string' || (icmp.dataStart <= icmp.dataEnd && icmp.dataEnd <= alone.length), () => JSON.stringify(icmp));
  }
}

/** Queries and answers: questions and times to live lie within the message, and nothing beyond it is read. */
function runDns(input: Uint8Array): void {
  for (const step of decode(input).steps) {
    if (!('bytes' in step)) continue;
    // The seeds' queries: behind Ethernet, IP and UDP; an answer without the id.
    const message = step.kind === 'frame' ? step.bytes.slice(42) : Uint8Array.from([0, 7, ...step.bytes]);
    const amid = amidDirt(message);
    for (const isResponse of [false, true]) {
      const question = parseDnsQuestion(message, 0, message.length, isResponse);
      const same = parseDnsQuestion(amid.bytes, amid.start, amid.end, isResponse);
      if (typeof question === 'string' || typeof same === 'string') {
        check(question === same, () => `${JSON.stringify(question)} amid others is ${JSON.stringify(same)}`);
        continue;
      }
      check(isDeepStrictEqual({ ...same, end: same.end - amid.start }, question), () => `${JSON.stringify(question)} amid others is ${JSON.stringify(same)}`);
      check(question.end <= message.length, () => `a question that ends at ${question.end} of ${message.length}`);
      const ttls = readTtls(message, question.end);
      check(ttls === null || (ttls.seconds >= 0 && ttls.offsets.every((at) => at + 4 <= message.length)), () => `times to live at ${ttls?.offsets.join()} of ${message.length}`);
    }
  }
}

/** Every frame of the script through the codec, there and back. */
function runCodec<T extends object>(parse: (bytes: Uint8Array, start: number, end: number) => T | string, emit: (repr: T, out: Uint8Array, at: number) => number, headLen: number, maxLen: number): (input: Uint8Array) => void {
  return (input) => {
    for (const step of decode(input).steps) {
      if (step.kind !== 'frame' && step.kind !== 'other') continue;
      const repr = parse(step.bytes, Math.min(headLen, step.bytes.length), step.bytes.length);
      if (typeof repr === 'string') continue;
      const out = new Uint8Array(maxLen + 8).fill(0xa5);
      const len = emit(repr, out, 4);
      check(len <= maxLen && out[3] === 0xa5 && out[4 + maxLen] === 0xa5, () => `emitted ${len} bytes of at most ${maxLen}`);
      const again = parse(out, 4, 4 + len);
      // Long texts are left out of a message that is full.
      const expected = Object.fromEntries(Object.entries(repr).filter(([name]) => !LONG_FIELDS.includes(name) || name in Object(again)));
      check(isDeepStrictEqual(again, expected), () => `${JSON.stringify(repr)} became ${JSON.stringify(again)}`);
    }
  };
}

const LONG_FIELDS = ['hostname', 'domain', 'parameters'];
const runArp = runCodec(parseArp, emitArp, 14, 28);
const runDhcp = runCodec(parseDhcp, emitDhcp, 42, DHCP_LEN_MAX);

function network(name: string, makeSeeds: () => Record<string, Uint8Array>, codec?: (input: Uint8Array) => void): FuzzTarget {
  const look = (input: Uint8Array): void => {
    runViews(input);
    codec?.(input);
  };
  return {
    name, seeds: makeSeeds, mutate: mutateScript, pieces: scriptPieces,
    startSeries: () => new NetworkSeries(look),
    async run(input) {
      look(input);
      await playNetwork(input);
    },
  };
}

export const TARGETS: readonly FuzzTarget[] = [
  { name: 'framing', seeds: seeds.framingSeeds, run: runFraming },
  { name: 'tunnel', seeds: seeds.tunnelSeeds, run: runTunnel },
  { name: 'tcp-options', seeds: seeds.optionSeeds, run: runOptions },
  network('ethernet', seeds.ethernetSeeds),
  network('arp', seeds.arpSeeds, runArp),
  network('ipv4', seeds.ipv4Seeds),
  network('ipv6', seeds.ipv6Seeds),
  network('icmp', seeds.icmpSeeds),
  network('udp', seeds.udpSeeds),
  network('dhcp', seeds.dhcpSeeds, runDhcp),
  network('dns-query', seeds.dnsQuerySeeds, runDns),
  network('dns-answer', seeds.dnsAnswerSeeds, runDns),
  network('nat', seeds.networkSeeds),
  network('host-udp', seeds.hostUdpSeeds),
  network('host-tcp', seeds.hostTcpSeeds),
  network('resolver', seeds.resolverSeeds, runDns),
  { name: 'tcp', seeds: seeds.tcpSeeds, mutate: mutateScript, pieces: scriptPieces, startSeries: () => new TcpSeries(), run: (input) => void playTcp(input) },
  { name: 'plug-in', seeds: seeds.plugInSeeds, mutate: mutateScript, pieces: scriptPieces, startSeries: () => new PlugInSeries(), run: playPlugIn },
  LINK_TARGET,
  ...PAGE_TARGETS,
  ...ARCHIVE_TARGETS,
  ...IO_TARGETS,
];
