import { afterEach, describe, expect, test, vi } from 'vitest';
import { CHUNK_BYTES } from '../stored-image.ts';
import { RangeSource } from './disk.ts';
import { ImageError, inspect, loadImage } from './image.ts';
import { ImageKeeper } from './keeper.ts';
import { WasmSections } from './wasm-sections.ts';
import type { Progress } from '../protocol.ts';

const URL_OF_IMAGE = 'http://x/y.wasm';
const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const custom = (name: string, content: Uint8Array | number[]): number[] => {
  const bytes = [name.length, ...new TextEncoder().encode(name), ...content];
  const leb: number[] = [];
  for (let size = bytes.length; ; size >>>= 7) {
    leb.push((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
    if (size <= 0x7f) break;
  }
  return [0, ...leb, ...bytes];
};
// (module (memory (export "memory") 1) (func (export "_start")))
const COMMAND = [
  ...HEADER, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1,
  7, 19, 2, 6, ...new TextEncoder().encode('memory'), 2, 0, 6, ...new TextEncoder().encode('_start'), 0, 0, 10, 4, 1, 2, 0, 0x0b,
];
// (import "env" "f" (func))
const FOREIGN = [...COMMAND.slice(0, 14), 2, 9, 1, 3, ...new TextEncoder().encode('env'), 1, 0x66, 0, 0, ...COMMAND.slice(14)];
const SECTION = { version: 1, name: 'x', title: 'X', net: 'qemu', resize: true, ports: true, memoryMiB: 64, disk: { file: 'x.disk', bytes: 7 } };
const section = (value: unknown): number[] => custom('portside', new TextEncoder().encode(JSON.stringify(value)));
const module = (bytes: number[]): WebAssembly.Module => new WebAssembly.Module(Uint8Array.from(bytes));

afterEach(() => { vi.unstubAllGlobals(); });

/** Serves `chunks`, and breaks off behind them if told so. */
function serve(chunks: number[][], init: ResponseInit = {}, breaks = false): void {
  const body = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(Uint8Array.from(chunk));
      if (breaks) setTimeout(() => { controller.error(new TypeError('network error')); }, 5);
      else controller.close();
    },
  });
  vi.stubGlobal('fetch', async () => new Response(body, init));
}

const load = (bytes: number | null, onProgress: (progress: Progress) => void): ReturnType<typeof loadImage> =>
  loadImage({ url: URL_OF_IMAGE, bytes, sha256: null }, new ImageKeeper(URL_OF_IMAGE, null, null), onProgress);

async function failure(bytes: number | null = null): Promise<string> {
  const error: unknown = await load(bytes, () => {}).then(() => 'loaded', (reason: unknown) => reason);
  return error instanceof ImageError ? error.code : String(error);
}

describe('an image', () => {
  test('is compiled as it arrives, with honest progress', async () => {
    const seen: Progress[] = [];
    const bytes = [...COMMAND, ...section(SECTION)];
    serve([bytes.slice(0, 2), bytes.slice(2, 20), bytes.slice(20)]);
    const { info } = await load(bytes.length, (progress) => seen.push(progress));
    expect(info).toEqual({ ours: true, id: null, name: 'x', title: 'X', net: 'qemu', resize: true, ports: true, pipes: false, terminals: 1, memoryMiB: 64, disk: { file: 'x.disk', bytes: 7 } });
    expect(seen[0]).toEqual({ phase: 'download', loaded: 0, total: bytes.length });
    expect(seen.at(-2)).toEqual({ phase: 'download', loaded: bytes.length, total: bytes.length });
    expect(seen.at(-1)).toEqual({ phase: 'compile' });
  });

  test('the server\'s word for the size counts; too small a word is dropped', async () => {
    const seen: Progress[] = [];
    serve([COMMAND], { headers: { 'X-Portside-Bytes': '9', 'Content-Encoding': 'br', 'Content-Length': '5' } });
    await load(null, (progress) => seen.push(progress));
    expect(seen[0].total).toBe(9);
    expect(seen.at(-2)).toEqual({ phase: 'download', loaded: COMMAND.length });
  });

  test.each([
    ['not-found', [[]], { status: 404 }], ['http', [[]], { status: 503 }],
    ['not-wasm', [[]], {}], ['not-wasm', [[0, 0x61]], {}], ['not-wasm', [[...new TextEncoder().encode('<!doctype html>')]], {}],
    ['cut-off', [COMMAND.slice(0, -3)], {}], ['cut-off', [COMMAND], { headers: { 'X-Portside-Bytes': '1000' } }],
    ['compile', [[...HEADER, 1, 1, 99]], {}],
    ['not-a-container', [HEADER], {}], ['not-a-container', [FOREIGN], {}],
  ] as [string, number[][], ResponseInit][])('%s: %j %j', async (code, chunks, init) => {
    serve(chunks, init);
    expect(await failure()).toBe(code);
  });

  test('a download that breaks, and one that never begins', async () => {
    serve([COMMAND.slice(0, 30)], {}, true);
    expect(await failure()).toBe('cut-off');
    vi.stubGlobal('fetch', async () => { throw new TypeError('Failed to fetch'); });
    expect(await failure()).toBe('unreachable');
  });

  test.each([
    [[]], ['text'], [null], [{ ...SECTION, version: 2 }],
  ])('a section that is %j is as good as none', (value) => {
    expect(inspect(module([...COMMAND, ...section(value)]))).toMatchObject({ ours: false, net: 'socket', resize: false, disk: null });
  });

  test.each([
    [{ file: '../x', bytes: 1 }], [{ file: '/x', bytes: 1 }], [{ file: '.x', bytes: 1 }], [{ file: 'a/b', bytes: 1 }], [{ file: 'x', bytes: -1 }],
    [{ file: 'x', bytes: 1.5 }], [{ file: 7, bytes: 1 }], [7],
  ])('a disk %j is none', (disk) => {
    expect(inspect(module([...COMMAND, ...section({ ...SECTION, disk })]))).toMatchObject({ ours: true, disk: null });
  });

  test('sections are followed however the bytes are cut', () => {
    const bytes = Uint8Array.from([...COMMAND, ...custom('long', new Uint8Array(300))]);
    const ends = new Set<number>();
    for (let end = 0; end <= bytes.length; end++) {
      const sections = new WasmSections();
      for (let at = 0; at < end; at += 7) sections.push(bytes.subarray(at, Math.min(at + 7, end)));
      if (sections.complete) ends.add(end);
    }
    expect([...ends]).toEqual([8, 14, 18, 23, 44, 50, bytes.length]);
    // Lengths of 32 bits, in as many bytes as they may have, and in more.
    const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    for (const [length, good] of [[[0x80, 0x80, 0x80, 0x80, 0], true], [[0xff, 0xff, 0xff, 0xff, 0x0f], true], [[0x80, 0x80, 0x80, 0x80, 0x10], false], [[0x80, 0x80, 0x80, 0x80, 0x80, 0], false]] as const) {
      expect(new WasmSections().push(Uint8Array.from([...header, 0, ...length]))).toBe(good);
    }
  });
});

describe('a disk', () => {
  const disk = Uint8Array.from({ length: 3 * CHUNK_BYTES + 1000 }, (_, i) => (i * 7 + (i >> 9)) & 0xff);
  const slice = (start: number, end: number): Uint8Array => disk.slice(start, end);
  const read = (source: RangeSource, offset: number, len: number): Uint8Array | null => {
    const into = new Uint8Array(len);
    return source.readAt(offset, into) ? into : null;
  };

  test('reads across chunks, once each, and ahead when read in sequence', () => {
    const source = new RangeSource(disk.length, slice);
    expect(read(source, CHUNK_BYTES - 10, 20)).toEqual(slice(CHUNK_BYTES - 10, CHUNK_BYTES + 10));
    expect(source.requests).toBe(2);
    expect(Buffer.compare(read(source, 0, disk.length)!, disk)).toBe(0);
    expect(source.requests).toBe(2);
  });

  test('a failure is tried again with growing pauses, then reported, and the next read tries anew', () => {
    const pauses: number[] = [];
    let failures = 3;
    const source = new RangeSource(disk.length, (start, end) => (failures-- > 0 ? null : slice(start, end)), (ms) => pauses.push(ms));
    expect(read(source, 5, 5)).toEqual(slice(5, 10));
    expect(pauses).toEqual([100, 400, 1600]);
    failures = 4;
    expect(read(source, 2 * CHUNK_BYTES, 5)).toBeNull();
    expect(read(source, 2 * CHUNK_BYTES, 5)).toEqual(slice(2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 5));
  });

  test('an answer of another length is a failure; a server without ranges is asked once', () => {
    expect(read(new RangeSource(disk.length, () => new Uint8Array(5), () => {}), 0, 5)).toBeNull();
    const source = new RangeSource(disk.length, () => disk);
    expect(read(source, 10, 5)).toEqual(slice(10, 15));
    expect(Buffer.compare(read(source, 0, disk.length)!, disk)).toBe(0);
    expect(source.requests).toBe(1);
  });

  test('the cache has a cap', () => {
    const source = new RangeSource(40 * CHUNK_BYTES, (start, end) => new Uint8Array(end - start), () => {}, 8 * CHUNK_BYTES);
    for (let chunk = 39; chunk >= 0; chunk--) read(source, chunk * CHUNK_BYTES, 1);
    expect(source.requests).toBe(40);
    for (let chunk = 0; chunk < 8; chunk++) read(source, chunk * CHUNK_BYTES, 1);
    expect(source.requests).toBe(40);
    read(source, 39 * CHUNK_BYTES, 1);
    expect(source.requests).toBe(41);
  });
});
