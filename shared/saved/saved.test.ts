import { describe, expect, test } from 'vitest';
import { setU32 } from '../bytes.ts';
import { makeContainerMemory } from '../memory/container-memory.ts';
import { Ring } from '../memory/ring.ts';
import { FOREIGN_IMAGE } from '../wasi/image-info.ts';
import { changedPages, countField, PAGE_BYTES, PageLoader, RUN_HEADER_BYTES, RUN_PAGES } from './pages.ts';
import { checkImage, checkSave, loadSave } from './resume.ts';
import { SaveError } from './save-error.ts';
import { KIND_MEMORY, KIND_SCREEN, SaveReader, SaveWriter, type SaveHeader, type SaveSource } from './save-file.ts';
import { SaveCollector, sendMemory } from './save-ring.ts';
import { ScreenTail } from './screen-tail.ts';

const WASM_PAGE = 65_536;
const ID = 'ab'.repeat(32);
const IMAGE = { ...FOREIGN_IMAGE, ours: true, id: ID, name: 'x' };
const HEADER: SaveHeader = { image: { id: ID, name: 'x', title: 'X' }, source: 'x', savedAtMs: 5, memoryBytes: 4 * WASM_PAGE, cols: 80, rows: 25, terminals: [2] };

function sourceOf(bytes: Uint8Array): SaveSource {
  return { bytes: bytes.length, read: async (start, end) => new Uint8Array(bytes.subarray(start, end)) };
}

function sink(): { write(bytes: Uint8Array): void; bytes(): Uint8Array<ArrayBuffer> } {
  const parts: Uint8Array[] = [];
  return { write: (bytes) => { parts.push(bytes); }, bytes: () => new Uint8Array(Buffer.concat(parts)) };
}

async function fileOf(chunks: [number, Uint8Array<ArrayBuffer>][], header = HEADER): Promise<Uint8Array<ArrayBuffer>> {
  const out = sink();
  const writer = new SaveWriter(out);
  await writer.begin(header);
  for (const [kind, bytes] of chunks) await writer.chunk(kind, bytes);
  await writer.end();
  return out.bytes();
}

function run(first: number, count: number, fill: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(RUN_HEADER_BYTES + count * PAGE_BYTES).fill(fill);
  setU32(bytes, 0, first);
  setU32(bytes, 4, count);
  return bytes;
}

function memoryOf(pages: number): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages });
}

describe('pages', () => {
  test('what differs from the baseline comes back, and nothing else is written', () => {
    const before = new Uint8Array(WASM_PAGE).map((_, i) => i >> 12);
    const now = new Uint8Array(200 * PAGE_BYTES);
    now.set(before);
    now.fill(0, 3 * PAGE_BYTES, 5 * PAGE_BYTES);
    now[7 * PAGE_BYTES + 9] = 99;
    now.fill(1, 100 * PAGE_BYTES, 180 * PAGE_BYTES);
    const runs: [number, number, boolean][] = [];
    const parts: Uint8Array[] = [];
    changedPages(now.buffer, before.buffer, (first, count, zeros) => {
      runs.push([first, count, zeros]);
      const header = new Uint8Array(RUN_HEADER_BYTES);
      setU32(header, 0, first);
      setU32(header, 4, countField(count, zeros));
      parts.push(header, zeros ? new Uint8Array(0) : now.slice(first * PAGE_BYTES, (first + count) * PAGE_BYTES));
    });
    expect(runs).toEqual([[3, 2, true], [7, 1, false], [100, RUN_PAGES, false], [100 + RUN_PAGES, 80 - RUN_PAGES, false]]);
    const loaded = new Uint8Array(now.length);
    loaded.set(before);
    const loader = new PageLoader(loaded, loaded.length);
    const stream = new Uint8Array(Buffer.concat(parts));
    for (let at = 0; at < stream.length; at += 777) loader.take(stream.subarray(at, at + 777));
    loader.end();
    expect(Buffer.compare(loaded, now)).toBe(0);
  });

  test.each([
    ['behind the end', [run(63, 2, 1)]], ['not ascending', [run(5, 1, 1), run(5, 1, 1)]], ['none', [run(5, 0, 1)]], ['too many', [run(0, RUN_PAGES + 1, 1)]],
  ])('runs that cannot be: %s', (_name, runs) => {
    const loader = new PageLoader(new Uint8Array(4 * WASM_PAGE), 4 * WASM_PAGE);
    expect(() => { for (const bytes of runs) loader.take(bytes); }).toThrow(SaveError);
  });
});

describe('the file', () => {
  test('memory and screen come back', async () => {
    const screen = new TextEncoder().encode('hello');
    const file = await fileOf([[KIND_MEMORY, run(1, 2, 7)], [KIND_SCREEN, screen]]);
    const memory = memoryOf(2);
    const loaded = await loadSave(sourceOf(file), IMAGE, memory);
    expect(loaded).toEqual({ header: HEADER, screen: [screen] });
    const bytes = new Uint8Array(memory.buffer);
    expect([bytes.length, bytes[PAGE_BYTES - 1], bytes[PAGE_BYTES], bytes[3 * PAGE_BYTES - 1], bytes[3 * PAGE_BYTES]]).toEqual([4 * WASM_PAGE, 0, 7, 7, 0]);
    expect(await checkSave(sourceOf(file))).toEqual(HEADER);
  });

  test('every truncation and every altered byte is refused', async () => {
    const file = await fileOf([[KIND_MEMORY, run(1, 1, 7)], [KIND_SCREEN, new Uint8Array([1, 2, 3])]]);
    for (let end = 0; end < file.length; end++) await expect(checkSave(sourceOf(file.subarray(0, end)))).rejects.toThrow(SaveError);
    for (let at = 0; at < file.length; at++) await expect(checkSave(sourceOf(file.with(at, file[at] ^ 0x10)))).rejects.toThrow(SaveError);
    await expect(checkSave(sourceOf(new Uint8Array([...file, 0])))).rejects.toThrow('something follows its end');
  });

  test('what inflates to more than it says, memory that is no machine\'s, parts that nobody knows', async () => {
    const file = await fileOf([[KIND_MEMORY, run(0, 32, 0)]]);
    // The same bytes under a smaller length, with a right checksum: as somebody would write who means harm.
    const honest = await SaveReader.open(sourceOf(file));
    expect((await honest.next())!.bytes).toHaveLength(RUN_HEADER_BYTES + 32 * PAGE_BYTES);
    const at = 16 + JSON.stringify(HEADER).length;
    setU32(file, at + 8, 100);
    const digestBefore = Buffer.from(await crypto.subtle.digest('SHA-256', file.slice(0, at)));
    const chunkEnd = at + 44 + new DataView(file.buffer).getUint32(at + 4);
    const blank = file.slice(at, chunkEnd);
    blank.fill(0, 12, 44);
    file.set(new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(Buffer.concat([digestBefore, blank])))), at + 12);
    await expect(checkSave(sourceOf(file))).rejects.toThrow('does not inflate');
    await expect(checkSave(sourceOf(await fileOf([], { ...HEADER, memoryBytes: 5000 })))).rejects.toThrow('header cannot be read');
    await expect(checkSave(sourceOf(await fileOf([], { ...HEADER, image: { ...HEADER.image, id: 'x' } })))).rejects.toThrow('header cannot be read');
    await expect(checkSave(sourceOf(await fileOf([[9, new Uint8Array(3)]])))).rejects.toThrow('nobody knows');
    await expect(loadSave(sourceOf(await fileOf([])), IMAGE, memoryOf(5))).rejects.toThrow('smaller than the image');
  });

  test('another image is named, another version too', () => {
    expect(() => checkImage(HEADER, IMAGE)).not.toThrow();
    expect(() => checkImage(HEADER, { ...IMAGE, id: 'cd'.repeat(32) })).toThrow('another version of the image x');
    expect(() => checkImage(HEADER, { ...IMAGE, id: 'cd'.repeat(32), name: 'y' })).toThrow('saved with the image x, and y is another');
    expect(() => checkImage(HEADER, FOREIGN_IMAGE)).toThrow('this one is another');
  });
});

describe('from the container to the file', () => {
  const details = { image: HEADER.image, source: 'x', cols: 80, rows: 25, terminals: [2], screen: async () => new TextEncoder().encode('screen') };

  test('one moment of the memory, without what the image has anyway', async () => {
    const shared = makeContainerMemory(false);
    const memory = memoryOf(4).buffer;
    new Uint8Array(memory).fill(3, 5 * PAGE_BYTES, 7 * PAGE_BYTES);
    const out = sink();
    const collector = new SaveCollector(shared, details, out);
    sendMemory(shared, memory, () => memoryOf(2).buffer);
    expect(await collector.done).toMatchObject({ changedBytes: 2 * PAGE_BYTES, bytes: out.bytes().length });
    const into = memoryOf(2);
    const { screen } = await loadSave(sourceOf(out.bytes()), IMAGE, into);
    expect(Buffer.compare(Buffer.from(into.buffer), Buffer.from(memory))).toBe(0);
    expect(Buffer.concat(screen).toString()).toBe('screen');
  });

  test('a file that cannot be written does not hold the container up, and a second save works', async () => {
    const shared = makeContainerMemory(false);
    // More than a chunk, so that the write fails in the middle of a message.
    const memory = memoryOf(12).buffer;
    new Uint8Array(memory).fill(3);
    let writes = 0;
    const full = new SaveCollector(shared, details, { write: () => { if (++writes > 1) throw new Error('full'); } });
    sendMemory(shared, memory, () => memoryOf(2).buffer);
    await expect(full.done).rejects.toThrow('full');
    expect(writes).toBe(2);
    expect(new Ring(shared.save).readable).toBe(0);
    const out = sink();
    const again = new SaveCollector(shared, details, out);
    sendMemory(shared, memory, () => memoryOf(2).buffer);
    await again.done;
    expect(await checkSave(sourceOf(out.bytes()))).toMatchObject({ memoryBytes: memory.byteLength });
  });

  test('no room for the baseline is a failure of its own; a save that is given up ends', async () => {
    const shared = makeContainerMemory(false);
    const collector = new SaveCollector(shared, details, sink());
    sendMemory(shared, memoryOf(1).buffer, () => { throw new RangeError('no memory'); });
    await expect(collector.done).rejects.toMatchObject({ code: 'out-of-memory' });
    const cancelled = new SaveCollector(shared, details, sink());
    cancelled.cancel(new SaveError('ended', 'It ended.'));
    await expect(cancelled.done).rejects.toThrow('It ended.');
    sendMemory(shared, memoryOf(64).buffer, () => memoryOf(1).buffer);
  });
});

describe('the end of a screen', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

  test('waits for the moment of the save, and leaves out what came after it', async () => {
    const tail = new ScreenTail();
    tail.show(bytes('before '));
    tail.add(bytes('one '));
    const wanted = tail.until(8);
    tail.add(bytes('two three'));
    expect(Buffer.from(await wanted).toString()).toBe('before one two ');
  });

  test('is as the terminal has it where some of the output is not for it', async () => {
    const tail = new ScreenTail();
    tail.add(bytes('one[report]'), bytes('one'));
    const wanted = tail.until(15);
    // What is held back until the next chunk, and another report behind what is wanted.
    tail.add(bytes(' two'), bytes(' tw'));
    tail.add(bytes('[report] three'), bytes('o three'));
    expect(Buffer.from(await wanted).toString()).toBe('one tw');
    expect(Buffer.from(await tail.until(29)).toString()).toBe('one two three');
  });

  test('asks the new terminal nothing', async () => {
    const tail = new ScreenTail();
    const sent = bytes('a\x1b[6nb\x1b[>cc\x1b]11;?\x07d\x1b[?25$p\x1b[31me\x1b[2 qf');
    tail.add(sent);
    expect(Buffer.from(await tail.until(1)).toString()).toBe('a');
    expect(Buffer.from(await tail.until(sent.length)).toString()).toBe('abcd\x1b[31me\x1b[2 qf');
  });

  test('is short, and begins with a whole line', async () => {
    const tail = new ScreenTail();
    for (let i = 0; i < 100_000; i++) tail.add(bytes(`line ${i % 10}\n`));
    const kept = Buffer.from(await tail.until(700_000)).toString();
    expect(kept.length).toBeGreaterThan(100 << 10);
    expect(kept.length).toBeLessThanOrEqual(128 << 10);
    expect(kept.slice(0, 5)).toBe('line ');
    expect(kept.endsWith('line 9\n')).toBe(true);
  });
});
