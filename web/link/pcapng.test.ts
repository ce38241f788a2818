import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Capture } from './capture.ts';
import { FROM_GUEST, PcapngWriter, TO_GUEST } from './pcapng.ts';

/** an ARP request, 42 bytes: not a multiple of 4 */
const ARP = Uint8Array.from([
  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 168, 127, 3, 0, 0, 0, 0, 0, 0, 192, 168, 127, 1,
]);
const AT_US = 1_764_000_000_123_456;
const framed = (...frames: Uint8Array[]): Uint8Array => Uint8Array.from(frames.flatMap((frame) => [0, 0, frame.length >> 8, frame.length & 255, ...frame]));

/** Walks the blocks of a file; each must say its length at both ends. */
async function blocks(blob: Blob): Promise<{ type: number; body: DataView }[]> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const found: { type: number; body: DataView }[] = [];
  for (let at = 0; at < bytes.length;) {
    const len = view.getUint32(at + 4, true);
    expect([len % 4, view.getUint32(at + len - 4, true)]).toEqual([0, len]);
    found.push({ type: view.getUint32(at, true), body: new DataView(bytes.buffer, at + 8, len - 12) });
    at += len;
  }
  return found;
}

test('a file: section, interface, packets with time, length, bytes and direction', async () => {
  const writer = new PcapngWriter();
  writer.add(Uint8Array.of(9, ...ARP, 9), 1, 43, FROM_GUEST, AT_US);
  writer.add(ARP, 0, 41, TO_GUEST, AT_US + 1);
  const { frames, bytes, missed } = writer;
  const blob = writer.finish();
  expect([frames, bytes, missed]).toEqual([2, blob.size, 0]);
  const [section, iface, first, second] = await blocks(blob);
  expect([section.type, section.body.getUint32(0, true), iface.type, iface.body.getUint16(0, true)]).toEqual([0x0a0d0d0a, 0x1a2b3c4d, 1, 1]);
  expect(first.body.getUint32(4, true) * 2 ** 32 + first.body.getUint32(8, true)).toBe(AT_US);
  expect([first.body.getUint32(12, true), first.body.getUint32(16, true)]).toEqual([42, 42]);
  expect(new Uint8Array(first.body.buffer, first.body.byteOffset + 20, 42)).toEqual(ARP);
  expect([first.body.getUint32(20 + 44 + 4, true), second.body.getUint32(20 + 44 + 4, true)]).toEqual([FROM_GUEST, TO_GUEST]);
});

test('at the cap frames are counted and left out; chunks join without a gap', async () => {
  const writer = new PcapngWriter(3 << 20);
  const frame = new Uint8Array(65_000).fill(7);
  for (let i = 0; i < 100; i++) writer.add(frame, 0, frame.length, TO_GUEST, AT_US);
  expect(writer.frames + writer.missed).toBe(100);
  expect(writer.missed).toBeGreaterThan(40);
  expect(writer.bytes).toBeLessThanOrEqual(3 << 20);
  expect(await blocks(writer.finish())).toHaveLength(2 + writer.frames);
});

test('streams are cut into frames, joined at the beginning of one, and after a break anew', () => {
  const capture = new Capture();
  capture.fromGuest(framed(ARP, ARP));
  const stream = framed(ARP, ARP);
  // In the middle of a frame nobody knows where the next one starts.
  capture.toGuest(stream.subarray(10), false);
  expect(capture.writer.frames).toBe(2);
  capture.toGuest(stream.subarray(0, 50), true);
  capture.toGuest(stream.subarray(50), false);
  expect(capture.writer.frames).toBe(4);
  capture.toGuest(stream.subarray(0, 30), true);
  capture.reset();
  capture.toGuest(stream, true);
  expect(capture.writer.frames).toBe(6);
});

test.skipIf(spawnSync('tshark', ['--version']).error !== undefined)('tshark opens it clean (skipped where it is missing)', async () => {
  const writer = new PcapngWriter();
  writer.add(ARP, 0, ARP.length, FROM_GUEST, AT_US);
  const folder = mkdtempSync(join(tmpdir(), 'portside-pcapng-'));
  const file = join(folder, 'x.pcapng');
  writeFileSync(file, new Uint8Array(await writer.finish().arrayBuffer()));
  const { stdout, stderr, status } = spawnSync('tshark', ['-r', file, '-T', 'fields', '-e', 'frame.time_epoch', '-e', 'frame.interface_name', '-e', 'arp.src.proto_ipv4', '-e', 'arp.dst.proto_ipv4'], { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  expect([status, stderr.replaceAll(/^Running as user.*\n/gm, '')]).toEqual([0, '']);
  expect(stdout.trim().split('\t')).toEqual([expect.stringMatching(/^1764000000\.123456/), 'container', '192.168.127.3', '192.168.127.1']);
});
