/*
 * Frames without end at a real `portside listen`: a child process, two guests on two links over loopback TCP, frames mutated as the fuzzers' are.
 *
 * The child may reach nothing but a sink of ours on 127.0.0.1: its policy denies all else, and its only DNS zone is the root, so no resolver of this computer is
 * asked; what would pass that (other classes than IN) is not sent. Every so often a further link comes, sends what is no frame, and must be closed.
 *
 * It fails when the child dies, says anything that looks like a bug, no longer answers ARP at the end, or grows: when its resident memory
 * at the end is GROWTH_MAX times what it was after the warm-up, and more than SLACK_KB beyond that.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getU16, setU16, setU32 } from '../../shared/bytes.ts';
import { Chance } from './chance.ts';
import { dnsQuery } from './dns-query.ts';
import { anyFrame, carryOver, mutateFrame, repair } from './mutate-frame.ts';
import { decode } from './script.ts';
import { arpSeeds, dhcpSeeds, icmpSeeds, ipv4Seeds, ipv6Seeds, udpSeeds } from './seeds.ts';
import { check } from './target.ts';
import { WORLDS } from './worlds.ts';

const WORLD = WORLDS[1];
const CHUNK_LEN = 64 * 1024;
/** a link that sends what is no frame comes after so many chunks */
const GARBAGE_EVERY = 500;
const SAMPLE_MS = 1000;
const REPORT_MS = 15_000;
/** of all frames: before that memory may do what it likes */
const WARM_UP = 0.2;
const GROWTH_MAX = 1.15;
const SLACK_KB = 64 * 1024;
/** a guest may wait for its link that long */
const PATIENCE_MS = 60_000;

export interface LoadResult {
  frames: number;
  seconds: number;
  /** resident memory of the child in kB, after the warm-up and at the end */
  warmKb: number;
  lastKb: number;
  samplesKb: number[];
}

/** Throws with what went wrong. */
export async function loadListen(frames: number, seed: number, report: (line: string) => void): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'portside-load-'));
  const sink = await openSink();
  const child = new Child(folder, sink.port);
  try {
    return await load(child, sink.port, frames, new Chance(seed), report);
  } finally {
    child.kill();
    sink.close();
    rmSync(folder, { recursive: true });
  }
}

async function load(child: Child, sinkPort: number, frames: number, chance: Chance, report: (line: string) => void): Promise<LoadResult> {
  const port = await child.port;
  const links = await Promise.all([0, 1].map(() => openLink(port)));
  const source = new FrameSource(sinkPort, chance);
  const samples: { frames: number; kb: number }[] = [];
  const startMs = performance.now();
  let sampledMs = startMs;
  let reportedMs = startMs;
  let sent = 0;
  for (let chunks = 0; sent < frames; chunks++) {
    for (const [which, link] of links.entries()) {
      const chunk = source.chunk(which, frames - sent);
      sent += chunk.frames;
      if (!link.write(chunk.bytes)) await Promise.race([once(link, 'drain', { signal: AbortSignal.timeout(PATIENCE_MS) }), child.failed]);
    }
    if (chunks % GARBAGE_EVERY === 0) await Promise.race([sendGarbage(port, chance), child.failed]);
    const nowMs = performance.now();
    if (nowMs - sampledMs < SAMPLE_MS) continue;
    sampledMs = nowMs;
    samples.push({ frames: sent, kb: child.residentKb() });
    child.checkSaid();
    if (nowMs - reportedMs < REPORT_MS) continue;
    reportedMs = nowMs;
    report(`${sent} frames, ${Math.round((1000 * sent) / (nowMs - startMs))} a second, ${samples.at(-1)!.kb} kB`);
  }
  const seconds = (performance.now() - startMs) / 1000;
  for (const link of links) link.destroy();
  await Promise.race([answersArp(port), child.failed]);
  samples.push({ frames: sent, kb: child.residentKb() });
  await child.stop();
  const warm = samples.filter((sample) => sample.frames >= WARM_UP * frames);
  const quarter = Math.max(1, warm.length >> 2);
  const [warmKb, lastKb] = [median(warm.slice(0, quarter).map(({ kb }) => kb)), median(warm.slice(-quarter).map(({ kb }) => kb))];
  check(lastKb <= GROWTH_MAX * warmKb || lastKb - warmKb <= SLACK_KB, () => `memory grew from ${warmKb} kB to ${lastKb} kB: ${samples.map(({ kb }) => kb).join(' ')}`);
  return { frames: sent, seconds, warmKb, lastKb, samplesKb: samples.map(({ kb }) => kb) };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Frames of both guests in QEMU's framing, new ones for ever. */
class FrameSource {
  readonly #chance: Chance;
  readonly #sinkPort: number;
  readonly #seeds: readonly (readonly Uint8Array[])[];

  constructor(sinkPort: number, chance: Chance) {
    this.#chance = chance;
    this.#sinkPort = sinkPort;
    const inputs = [arpSeeds(), dhcpSeeds(), icmpSeeds(), ipv4Seeds(), ipv6Seeds(), udpSeeds()].flatMap((seeds) => Object.values(seeds));
    const frames = inputs.flatMap((input) => decode(input).steps.flatMap((step) => (step.kind === 'frame' ? [step.bytes] : [])));
    this.#seeds = [0, 1].map((which) => frames.map((frame) => carryOver(frame, WORLDS[0], 0, WORLD, which)));
  }

  chunk(which: number, most: number): { bytes: Uint8Array; frames: number } {
    const bytes = new Uint8Array(CHUNK_LEN);
    let at = 0;
    let frames = 0;
    while (frames < most) {
      const frame = this.#frame(which);
      if (at + 4 + frame.length > CHUNK_LEN) break;
      setU32(bytes, at, frame.length);
      bytes.set(frame, at + 4);
      at += 4 + frame.length;
      frames++;
    }
    return { bytes: bytes.subarray(0, at), frames };
  }

  #frame(which: number): Uint8Array {
    const chance = this.#chance;
    for (;;) {
      const frame = chance.oneIn(3) ? anyFrame(WORLD, which, chance) : mutateFrame(chance.pick(this.#seeds[which]), WORLD, which, chance);
      if (frame.length === 0 || frame.length > WORLD.config.mtu + 18) continue;
      const isShort = frame.length >= 54 && getU16(frame, 12) === 0x0800 && frame[14] === 0x45;
      if (!isShort || (frame[23] !== 6 && frame[23] !== 17)) return frame;
      if (chance.oneIn(4)) {
        // What NAT lets through.
        setU32(frame, 30, WORLD.remoteIp);
        setU16(frame, 36, this.#sinkPort);
        repair(frame);
      } else if (getU16(frame, 36) === 53 && frame[23] === 17) return this.#question(frame);
      return frame;
    }
  }

  /** The gateway answers it itself. */
  #question(frame: Uint8Array): Uint8Array {
    const query = dnsQuery(this.#chance.pick(['example.org', 'a.b.c', 'host.containers.internal', 'x'.repeat(63)]), this.#chance.pick([1, 28, 255]), this.#chance.u32() & 0xffff);
    const out = new Uint8Array(42 + query.length);
    out.set(frame.subarray(0, 42));
    out.set(query, 42);
    setU16(out, 20, 0);
    repair(out);
    return out;
  }
}

class Child {
  /** rejects when it is gone before it was asked to go */
  readonly failed: Promise<never>;
  readonly port: Promise<number>;
  readonly #child: ChildProcess;
  #said = '';
  #isStopping = false;

  constructor(folder: string, sinkPort: number) {
    const config = join(folder, 'network.json');
    const rules = ['tcp', 'udp'].map((protocol) => ({ allow: true, protocol, cidr: '127.0.0.1/32', ports: `${sinkPort}-${sinkPort}` }));
    writeFileSync(config, JSON.stringify({ policy: { otherwise: 'deny', rules }, dns: [{ name: '', records: [], defaultIP: '192.0.2.1' }], maxTcpFlows: 256, maxUdpFlows: 256 }));
    this.#child = spawn(process.execPath, [fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url)), 'listen', 'tcp:127.0.0.1:0', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr!.on('data', (chunk: Buffer) => { this.#said += chunk.toString(); });
    this.failed = once(this.#child, 'close').then(([status, signal]): never => {
      if (this.#isStopping && status === 0) return new Promise(() => {}) as never;
      throw new Error(`listen ended with ${status ?? signal}: ${this.#said}`);
    });
    // Whoever waits hears of it.
    this.failed.catch(() => {});
    this.port = Promise.race([this.#listening(), this.failed]);
  }

  residentKb(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.#child.pid}/status`, 'utf8'))![1]);
  }

  checkSaid(): void {
    check(!/\bbug\b|Error\b|^\s+at /m.test(this.#said), () => `listen says: ${this.#said}`);
  }

  async stop(): Promise<void> {
    this.checkSaid();
    this.#isStopping = true;
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    const [status, signal] = await closed;
    check(status === 0, () => `listen ended with ${status ?? signal}: ${this.#said}`);
    this.checkSaid();
  }

  kill(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
  }

  async #listening(): Promise<number> {
    for (;;) {
      const port = /listening on tcp:127\.0\.0\.1:(\d+)/.exec(this.#said)?.[1];
      if (port !== undefined) return Number(port);
      await once(this.#child.stderr!, 'data');
    }
  }
}

async function openLink(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  // What comes back is read, and is not looked at here.
  socket.resume();
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** A link whose bytes are no frames is closed. */
async function sendGarbage(port: number, chance: Chance): Promise<void> {
  const socket = await openLink(port);
  const closed = once(socket, 'close', { signal: AbortSignal.timeout(PATIENCE_MS) });
  socket.write(chance.pick([Uint8Array.of(0, 0, 0, 0), Uint8Array.of(255, 255, 255, 255), Uint8Array.of(0, 1, 0, 0, 1, 2, 3), chance.bytes(4000).with(0, 9)]));
  await closed;
}

/** Somebody new is heard and answered. */
async function answersArp(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const [question] = decode(arpSeeds()['who-has']).steps;
  check(question.kind === 'frame', () => 'the seed has no ARP question');
  const message = new Uint8Array(4 + question.bytes.length);
  setU32(message, 0, question.bytes.length);
  message.set(question.bytes, 4);
  socket.write(message);
  let answer = Buffer.alloc(0);
  // A router advertisement may come first.
  while (!answer.includes(Buffer.of(8, 6, 0, 1, 8, 0, 6, 4, 0, 2))) {
    const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(PATIENCE_MS) })) as [Buffer];
    answer = Buffer.concat([answer, chunk]);
  }
  socket.destroy();
}

/** Takes connections and datagrams of guests, and sends them back. */
async function openSink(): Promise<{ port: number; close(): void }> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const udp = createSocket('udp4');
  udp.on('error', () => {});
  udp.on('message', (bytes, { port: from, address }) => udp.send(bytes, from, address));
  udp.bind(port, '127.0.0.1');
  await once(udp, 'listening');
  return { port, close: () => { server.close(); udp.close(); } };
}
