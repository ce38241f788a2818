/* What a container without a terminal has of its host: streams that do not wait, and signals. */
import { expect, test } from 'vitest';
import { wasi } from '@bjorn3/browser_wasi_shim';
import { makeContainerMemory } from '../memory/container-memory.ts';
import { Ring, ringBytes } from '../memory/ring.ts';
import { Wake } from '../memory/wake.ts';
import { guestArguments, saysTty, skipsStdin } from './arguments.ts';
import { GuestMemory } from './guest-memory.ts';
import { FOREIGN_IMAGE, parseImageInfo } from './image-info.ts';
import { signalDevice } from './signal-fd.ts';
import { StdoutFd } from './stdio.ts';

const IOVS = 0;
const COUNT = 64;
const BYTES = 1024;

/** Memory with iovecs of these lengths, whose bytes follow each other from BYTES on. */
function guest(...lengths: number[]): GuestMemory {
  const memory = new GuestMemory();
  memory.bind(new WebAssembly.Memory({ initial: 1 }));
  let at = BYTES;
  lengths.forEach((len, i) => {
    memory.setU32(IOVS + 8 * i, at);
    memory.setU32(IOVS + 8 * i + 4, len);
    at += len;
  });
  return memory;
}

test('stdout of pipes takes what fits, then nothing, then says that nobody reads', () => {
  const ring = new Ring(new SharedArrayBuffer(ringBytes(64)));
  const fd = new StdoutFd(ring, false);
  const memory = guest(40, 40);
  for (let i = 0; i < 80; i++) memory.bytes[BYTES + i] = i;
  expect(fd.writev(memory, IOVS, 2, COUNT)).toBe(wasi.ERRNO_SUCCESS);
  expect(memory.u32(COUNT)).toBe(64);
  expect(fd.writeReady()).toBe(-1);
  expect(fd.writev(memory, IOVS, 2, COUNT)).toBe(wasi.ERRNO_AGAIN);
  const into = new Uint8Array(64);
  ring.read(into, 0, 64);
  expect([...into]).toEqual(Array.from({ length: 64 }, (_, i) => i));
  expect(fd.writeReady()).toBe(64);
  ring.abandon();
  expect(fd.writeReady()).toBeGreaterThanOrEqual(0);
  expect(fd.writev(memory, IOVS, 2, COUNT)).toBe(wasi.ERRNO_PIPE);
});

test('a producer that waits for room waits no longer for a reader that has gone', () => {
  const buffer = new SharedArrayBuffer(ringBytes(64));
  const producer = new Ring(buffer);
  producer.write(new Uint8Array(64), 0, 64);
  new Ring(buffer).abandon();
  expect(producer.waitForRoom(1, Infinity)).toBe(false);
});

test('signals are read once each, in the order of their numbers', () => {
  const shared = makeContainerMemory(false);
  const wake = new Wake(shared.control);
  const fd = signalDevice(shared).open();
  const memory = guest(2);
  expect(fd.readReady()).toBe(-1);
  expect(fd.readv(memory, IOVS, 1, COUNT)).toBe(wasi.ERRNO_AGAIN);
  for (const number of [15, 1, 15, 31, 2]) wake.sendSignal(number);
  expect(fd.readReady()).toBe(1);
  const got: number[] = [];
  for (let i = 0; i < 2; i++) {
    expect(fd.readv(memory, IOVS, 1, COUNT)).toBe(wasi.ERRNO_SUCCESS);
    got.push(...memory.bytes.subarray(BYTES, BYTES + memory.u32(COUNT)));
  }
  expect(got).toEqual([1, 2, 15, 31]);
  expect(fd.readReady()).toBe(-1);
  expect(fd.readv(guest(0), IOVS, 1, COUNT)).toBe(wasi.ERRNO_INVAL);
  expect(fd.writev(memory, IOVS, 1, COUNT)).toBe(wasi.ERRNO_BADF);
});

test('only images that know pipes are told to have them', () => {
  const info = parseImageInfo(new TextEncoder().encode(JSON.stringify({ version: 1, name: 'x', pipes: true })));
  expect(info.pipes).toBe(true);
  const line = { args: ['sh'], env: {}, net: false };
  expect(guestArguments(info, { ...line, tty: false, stdin: false })).toEqual(['x', '--no-tty', '--no-stdin', 'sh']);
  expect(guestArguments(info, { ...line, tty: true, stdin: true })).toEqual(['x', 'sh']);
  expect(guestArguments({ ...info, pipes: false }, { ...line, tty: false })).toEqual(['x', 'sh']);
  expect(guestArguments(FOREIGN_IMAGE, { ...line, tty: false, stdin: false })).toEqual(['container', 'sh']);
});

test('what the flags of the image say is found in front of the command only', () => {
  expect([['--no-tty', 'sh'], ['-tty', '--no-tty', '--tty', 'sh'], ['sh', '--no-tty'], ['--hostname', '--no-tty', 'sh']].map((args) => saysTty(args))).toEqual([false, true, null, null]);
  expect(skipsStdin(['--no-tty', '--no-stdin', 'cat'])).toBe(true);
});
