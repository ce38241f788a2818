/** Captures as tshark reads them: real traffic of real sockets and two stacks, and a disk that is slow, full or absent. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { WriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ethernet, GATEWAY_IP, GATEWAY_MAC, GUEST_IP, GUEST_MAC, ipv4, tcp, udp } from '../../shared/net/stack/fixture/frames.ts';
import { emittedFrames, hasTshark } from '../fixture/tshark.ts';
import { FROM_GUEST, PcapWriter, TO_GUEST } from './pcap-writer.ts';

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'portside-pcap-'));
  file = join(folder, 'x.pcapng');
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The blocks of a little-endian file, each as its type and what is between its two lengths. */
function blocksOf(bytes: Buffer): { type: number; body: Buffer }[] {
  const blocks: { type: number; body: Buffer }[] = [];
  for (let at = 0; at < bytes.length;) {
    const len = bytes.readUInt32LE(at + 4);
    expect([len % 4, bytes.readUInt32LE(at + len - 4)]).toEqual([0, len]);
    blocks.push({ type: bytes.readUInt32LE(at), body: bytes.subarray(at + 8, at + len - 4) });
    at += len;
  }
  return blocks;
}

/** Takes nothing until it is told to. */
class StalledDisk extends Writable {
  readonly written: Buffer[] = [];
  goOn: (() => void) | null = null;
  isOpen = false;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(chunk);
    if (this.isOpen) done();
    else this.goOn = done;
  }
}

test('section, interfaces, packets: lengths, time, direction and padding', async () => {
  const writer = await PcapWriter.open(file);
  const frame = Uint8Array.from({ length: 64 }, (_, i) => i);
  expect([writer.addInterface('net1.link1'), writer.addInterface('net1.link2')]).toEqual([0, 1]);
  writer.write(1, 1_764_000_000_123.5, frame, 1, 62, FROM_GUEST);
  writer.write(0, 1_764_000_000_124, frame, 0, 64, TO_GUEST);
  await writer.close();
  await writer.close();
  writer.write(0, 0, frame, 0, 64, TO_GUEST);
  expect([writer.framesWritten, writer.framesDropped]).toEqual([2, 1]);
  const [section, first, second, packet, last, ...more] = blocksOf(readFileSync(file));
  expect([section.type, section.body.readUInt32LE(0), first.type, second.body.subarray(12, 22).toString(), packet.type, more]).toEqual([0x0a0d0d0a, 0x1a2b3c4d, 1, 'net1.link2', 6, []]);
  const micros = packet.body.readUInt32LE(4) * 2 ** 32 + packet.body.readUInt32LE(8);
  expect([packet.body.readUInt32LE(0), micros, packet.body.readUInt32LE(12), packet.body.readUInt32LE(16)]).toEqual([1, 1_764_000_000_123_500, 61, 61]);
  expect(packet.body.subarray(20, 84)).toEqual(Buffer.from([...frame.subarray(1, 62), 0, 0, 0]));
  expect(packet.body.subarray(84)).toEqual(Buffer.from([2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
  expect(last.body.subarray(20 + 64)).toEqual(Buffer.from([2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0]));
});

test('a disk that stands still costs frames, counted, and no more memory than the cap; the file stays whole', async () => {
  const disk = new StalledDisk();
  const writer = new PcapWriter(disk as unknown as WriteStream);
  writer.addInterface('a');
  const frame = new Uint8Array(65_000);
  for (let i = 0; i < 1000; i++) writer.write(0, i, frame, 0, frame.length, TO_GUEST);
  writer.addInterface('b');
  expect(writer.framesWritten + writer.framesDropped).toBe(1000);
  expect(writer.framesDropped).toBeGreaterThan(700);
  expect(disk.writableLength).toBeLessThanOrEqual(16.5 * 1024 * 1024);
  disk.isOpen = true;
  disk.goOn!();
  await expect.poll(() => disk.writableLength).toBe(0);
  writer.write(1, 1000, frame, 0, frame.length, TO_GUEST);
  await writer.close();
  const blocks = blocksOf(Buffer.concat(disk.written));
  expect(blocks.filter((block) => block.type === 6).length).toBe(writer.framesWritten);
  expect(blocks.at(-1)!.body.readUInt32LE(0)).toBe(1);
});

test('a disk that is full ends the capture and nothing else; a folder that is not there is refused', async () => {
  const writer = await PcapWriter.open('/dev/full');
  writer.addInterface('a');
  await expect.poll(() => writer.error?.message).toContain('ENOSPC');
  writer.write(0, 0, new Uint8Array(60), 0, 60, TO_GUEST);
  await writer.close();
  expect([writer.framesWritten, writer.framesDropped]).toEqual([0, 1]);
  await expect(PcapWriter.open(join(folder, 'no/where'))).rejects.toMatchObject({ code: 'RELAY_CAPTURE', message: expect.stringContaining('ENOENT') });
});

describe.skipIf(!hasTshark)('tshark', () => {
  test('reads it', async () => {
    const writer = await PcapWriter.open(file);
    writer.addInterface('net1.link1');
    const frame = new Uint8Array(60).fill(0xff, 0, 6);
    writer.write(0, 1_764_000_000_123.25, frame, 0, 60, FROM_GUEST);
    await writer.close();
    const fields = ['frame.time_epoch', 'frame.interface_name', 'frame.packet_flags_direction', 'frame.len'].flatMap((field) => ['-e', field]);
    expect(execFileSync('tshark', ['-r', file, '-T', 'fields', ...fields], { stdio: ['ignore', 'pipe', 'ignore'] }).toString()).toMatch(/^1764000000.123250000\tnet1.link1\t(0x0*)?1\t60\n$/);
  });

  test('finds what is wrong in frames that we emit, and only there', async () => {
    const writer = await PcapWriter.open(file);
    writer.addInterface('net1.link1');
    const payload = new Uint8Array(20).fill(7);
    const segment = ethernet(GUEST_MAC, GATEWAY_MAC, 0x0800, ipv4(GATEWAY_IP, GUEST_IP, 6, tcp(GATEWAY_IP, GUEST_IP, { srcPort: 79, dstPort: 161, seq: 1, ack: 1, flags: 0x18, window: 1, options: [], payload })));
    const datagram = ethernet(GUEST_MAC, GATEWAY_MAC, 0x0800, ipv4(GATEWAY_IP, GUEST_IP, 17, udp(GATEWAY_IP, GUEST_IP, 67, 68, payload)));
    const wrong = [segment.with(50, segment[50] ^ 1), segment.with(24, segment[24] ^ 1), datagram, ethernet(GUEST_MAC, GATEWAY_MAC, 0x0806, payload)];
    for (const frame of [segment, ...wrong]) writer.write(0, 1_764_000_000_000, frame, 0, frame.length, TO_GUEST);
    for (const frame of wrong) writer.write(0, 1_764_000_000_000, frame, 0, frame.length, FROM_GUEST);
    await writer.close();
    const { frames, complaints } = emittedFrames(file);
    // A TCP checksum, an IP checksum, DHCP that is none, ARP that is cut.
    expect([frames, complaints.map((line) => Number(line.trim().split(' ')[0]))]).toEqual([5, [2, 3, 4, 5]]);
  });
});
