import { Worker } from 'node:worker_threads';
import { wasi } from '@bjorn3/browser_wasi_shim';
import { expect, test } from 'vitest';
import { exercise, EXPECTED } from './fixtures/share-exercise.ts';
import { MemoryShare } from './memory-share.ts';
import { CHANNEL_BYTES, RemoteShare, ShareServer } from './share-channel.ts';
import type { OpenHow } from './share.ts';

const MIB = 1 << 20;
const WRITE: OpenHow = { reads: true, writes: true, creates: true, exclusive: false, truncates: false, appends: false, directory: false };
test('a directory in memory does what a directory does', () => {
  expect(exercise(new MemoryShare(MIB))).toEqual(EXPECTED);
});

test('and the same through a channel, for a thread that blocks', async () => {
  const buffer = new SharedArrayBuffer(CHANNEL_BYTES);
  const server = new ShareServer(buffer, new MemoryShare(MIB));
  const worker = new Worker(new URL('./fixtures/share-thread.mjs', import.meta.url), { workerData: { buffer } });
  const result = await new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: 'bell' | { result: string[] }) => {
      if (message === 'bell') void server.onBell();
      else resolve(message.result);
    });
  });
  expect(result).toEqual(EXPECTED);
  await server.close();
  await worker.terminate();
}, 30_000);

test('a server that is gone is asked once', () => {
  let rings = 0;
  const share = new RemoteShare(new SharedArrayBuffer(CHANNEL_BYTES), () => { rings++; }, 10);
  const gone = expect.objectContaining({ errno: wasi.ERRNO_IO });
  expect(() => share.stat('x', false)).toThrow(gone);
  expect(() => { share.unlink('x'); }).toThrow(gone);
  expect(rings).toBe(1);
});

test('what it holds has an end, and is given back', () => {
  const share = new MemoryShare(100_000);
  let changes = 0;
  share.onChange = () => { changes++; };
  const full = expect.objectContaining({ errno: wasi.ERRNO_NOSPC });
  const file = share.open('a', false, WRITE);
  file.write(0, [new Uint8Array(60_000)]);
  expect(() => { file.write(60_000, [new Uint8Array(40_001)]); }).toThrow(full);
  expect(() => { file.setSize(1e12); }).toThrow(full);
  expect([share.used, file.stat().size]).toEqual([60_000, 60_000n]);
  const second = share.open('b', false, WRITE);
  expect(() => { second.setSize(50_000); }).toThrow(full);
  // An open file keeps its bytes without a name, and gives them back at last.
  share.unlink('a');
  expect(share.used).toBe(60_000);
  file.close();
  expect(share.used).toBe(0);
  second.setSize(100_000);
  share.open('c', false, WRITE).close();
  share.rename('c', 'b');
  second.close();
  expect(share.used).toBe(0);
  expect(changes).toBeGreaterThan(5);
});

test('so have its names', () => {
  const share = new MemoryShare(1000);
  let made = 0;
  expect(() => { for (; made < 200_000; made++) share.symlink('x', String(made)); }).toThrow(expect.objectContaining({ errno: wasi.ERRNO_NOSPC }));
  expect(made).toBe(100_000);
  share.unlink('0');
  share.makeDirectory('again');
});
