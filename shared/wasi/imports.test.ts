import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { FrameWriter, wholeFrames } from '../link/frame-writer.ts';
import { MAX_FRAME_BYTES } from '../link/tunnel.ts';
import type { ContainerMemory } from '../memory/container-memory.ts';
import { makeContainerMemory } from '../memory/container-memory.ts';
import { Drain } from '../memory/drain.ts';
import { Ring } from '../memory/ring.ts';
import { Wake } from '../memory/wake.ts';
import { compileFixture } from './fixtures/compile.mjs';
import type { HostEnd } from './imports.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

let conformance = '';
/** as container2wasm makes them: see its header */
let c2wImage = '';
beforeAll(async () => {
  conformance = String(await compileFixture('conformance.c'));
  c2wImage = String(await compileFixture('c2w-image.c'));
}, 120_000);

interface GuestOptions {
  net?: boolean;
  foreign?: boolean;
  env?: string[];
  files?: Record<string, Uint8Array>;
  /** the image instead of the fixture */
  image?: string;
}

/** The fixture in a thread of its own, and this test as its page and its link. */
class Guest {
  readonly memory: ContainerMemory;
  readonly stdin: Ring;
  readonly wake: Wake;
  readonly toGuest: FrameWriter;
  readonly fromGuest: Ring;
  output = '';
  outputBytes = 0;
  readonly #worker: Worker;
  readonly #stdout: Drain;
  readonly #ended: Promise<{ end: HostEnd; cpuMs: number }>;
  /** resolves right before `_start` */
  readonly started: Promise<void>;
  readonly #eof: Promise<void>;

  constructor(args: string[], options: GuestOptions = {}) {
    this.memory = makeContainerMemory(options.net ?? false);
    this.stdin = new Ring(this.memory.stdin);
    this.wake = new Wake(this.memory.control);
    this.toGuest = new FrameWriter(new Ring(this.memory.toGuest), MAX_FRAME_BYTES, () => false);
    this.fromGuest = new Ring(this.memory.fromGuest);
    let onEnd = (): void => {};
    this.#eof = new Promise((resolve) => { onEnd = resolve; });
    this.#stdout = new Drain(new Ring(this.memory.stdout), {
      onReadable: (ring, next) => {
        const bytes = new Uint8Array(ring.readable);
        ring.read(bytes, 0, bytes.length);
        this.output += decoder.decode(bytes, { stream: true });
        this.outputBytes += bytes.length;
        next();
      },
      onEnd,
    }, null);
    const host = {
      memory: this.memory, args: ['fixture', ...args], env: options.env ?? [],
      net: options.net ?? false, foreign: options.foreign ?? false, files: options.files,
    };
    this.#worker = new Worker(new URL('./fixtures/host-thread.mjs', import.meta.url), { workerData: { path: options.image ?? conformance, options: host } });
    let onStart = (): void => {};
    this.started = new Promise((resolve) => { onStart = resolve; });
    this.#ended = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: 'ready' | { end: HostEnd; cpuMs: number }) => {
        if (message === 'ready') onStart();
        else resolve(message);
      });
      this.#worker.on('error', reject);
    });
    guests.push(this);
  }

  type(text: string): void {
    const bytes = encoder.encode(text);
    expect(this.stdin.write(bytes, 0, bytes.length)).toBe(bytes.length);
    this.wake.bump();
  }

  endInput(): void {
    this.stdin.close();
    this.wake.bump();
  }

  sendFrame(content: Uint8Array): void {
    const bytes = new Uint8Array(4 + content.length);
    new DataView(bytes.buffer).setUint32(0, content.length);
    bytes.set(content, 4);
    expect(this.toGuest.write(bytes, 0, bytes.length)).toBe(true);
    this.wake.bump();
  }

  /** Frames that the guest has sent until there are `count`. */
  async frames(count: number, ms = 5000): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    const seen = { frames: 0 };
    for (const until = Date.now() + ms; frames.length < count && Date.now() < until; await tick()) {
      for (let len = wholeFrames(this.fromGuest, 1, seen); len > 0; len = wholeFrames(this.fromGuest, 1, seen)) {
        const bytes = new Uint8Array(len);
        this.fromGuest.read(bytes, 0, len);
        frames.push(bytes.subarray(4));
      }
    }
    return frames;
  }

  async waitFor(text: string): Promise<void> {
    for (const until = Date.now() + 5000; !this.output.includes(text); await tick()) {
      if (Date.now() > until) throw new Error(`no "${text}" in: ${this.output}`);
    }
  }

  async end(): Promise<{ end: HostEnd; cpuMs: number }> {
    const result = await this.#ended;
    await this.#eof;
    return result;
  }

  close(): void {
    this.#stdout.close();
    void this.#worker.terminate();
  }
}

const guests: Guest[] = [];
afterEach(() => {
  for (const guest of guests.splice(0)) guest.close();
});

function tick(): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, 1); });
}

/** A frame whose content says where it comes from. */
function frame(seed: number, len: number): Uint8Array {
  return Uint8Array.from({ length: len }, (_, i) => (seed * 31 + i * 7) & 0xff);
}

describe('process', () => {
  test('arguments and environment beyond ASCII arrive whole', async () => {
    const guest = new Guest(['args', 'größe', '漢字', ''], { env: ['A=ü', 'B='] });
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(guest.output).toBe('[fixture][args][größe][漢字][]{A=ü}{B=} tty 1\n');
  });

  test('the exit code is the guest\'s; a trap is no exit', async () => {
    expect((await new Guest(['exit', '42']).end()).end).toEqual({ kind: 'exit', code: 42 });
    expect((await new Guest(['trap']).end()).end).toMatchObject({ kind: 'trap', message: expect.stringContaining('unreachable') });
  });

  test('a slow reader of stdout loses nothing', async () => {
    const guest = new Guest(['write', '12']);
    await guest.end();
    expect(guest.outputBytes).toBe(12 * (1 << 18));
  });

  test('pointers that lie get errnos', async () => {
    const guest = new Guest(['hostile'], { net: true, files: { disk: new Uint8Array(10) } });
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    const [pointers, poll] = guest.output.trim().split('\n');
    // FAULT 21, INVAL 28, BADF 8
    expect(pointers).toBe('21 21 21 21 21 28 28 21 28 21 21 21 21 21 21 21 8 8');
    expect(poll).toBe('0 2 8 28');
  });

  test('clocks: the wall clock is right, absolute and relative waits last as long as they say', async () => {
    const guest = new Guest(['clocks']);
    await guest.end();
    const [, wall, absolute, relative] = /wall (\d+) absolute (\d+) relative (\d+)/.exec(guest.output)!.map(Number);
    expect(Math.abs(wall - Date.now() / 1000)).toBeLessThan(3);
    expect(absolute).toBeGreaterThan(28_000);
    expect(relative).toBeGreaterThan(39_900);
    expect(relative).toBeLessThan(1_000_000);
  });
});

describe('stdin', () => {
  test('nothing yet is AGAIN, closed is the end, and everything between arrives in portions', async () => {
    const guest = new Guest(['stdin']);
    await guest.waitFor('early 1');
    const line = 'x'.repeat(1000);
    guest.type(line);
    guest.endInput();
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(guest.output).toBe(`early 1\n${line}\nend after 1000\n`);
  });

  test('an idle guest uses no CPU', async () => {
    const guest = new Guest(['machine'], { net: true });
    await new Promise((resolve) => { setTimeout(resolve, 800); });
    guest.type('q');
    const { cpuMs } = await guest.end();
    expect(guest.output).toContain('few');
    // This process has run the test meanwhile; a spinning guest would have used 800.
    expect(cpuMs).toBeLessThan(300);
  });

  test('select sees what is ready, through wasi-libc', async () => {
    const guest = new Guest(['select'], { net: true });
    guest.type('k');
    guest.wake.link = 1;
    await guest.end();
    expect(guest.output).toMatch(/^select [12] stdin 1 listen [01]\n$/);
  });
});

describe('preopens', () => {
  test('socket, then directories, then BADF', async () => {
    const guest = new Guest(['preopens'], { net: true, files: { disk: new Uint8Array(1) } });
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(guest.output).toBe('3: errno 0 tag 1 type 6\n4: errno 0 tag 0 type 3\n5: errno 8 tag -1 type 0\n');
  });

  test('without a network there is no socket', async () => {
    const guest = new Guest(['preopens']);
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(guest.output).toBe('3: errno 8 tag -1 type 0\n');
  });

  test('a disk file is read by pread, and only read', async () => {
    const bytes = frame(3, 200_000);
    const guest = new Guest(['disk', '/portside/disk'], { net: true, files: { disk: bytes } });
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    const sum = bytes.reduce((acc, byte) => (Math.imul(acc, 31) + byte) >>> 0, 0);
    expect(guest.output).toBe(`fd 5 size 200000 sum ${sum} past 0\ncreate 1\ndotdot -1 missing -1\nagain 1\n`);
  });

  test('a disk that fails is EIO', async () => {
    const guest = new Guest(['disk', '/portside/broken'], { files: { broken: new Uint8Array(9) } });
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 2 });
    expect(guest.output).toBe('pread errno 29\n');
  });
});

describe('the link', () => {
  const sizes = [1, 14, 60, 1514, 65_538, 3, 1000, 9000];

  test('c2w\'s way: frames of all sizes there and back, a break, a second accept that nobody announced', async () => {
    const guest = new Guest(['c2w', '10'], { net: true, foreign: true });
    guest.wake.link = 1;
    await guest.waitFor('accepted 1');
    sizes.forEach((len, i) => { guest.sendFrame(frame(i, len)); });
    expect(await guest.frames(sizes.length)).toEqual(sizes.map((len, i) => frame(i, len)));
    guest.wake.link = 0;
    await tick();
    guest.sendFrame(frame(99, 20));
    guest.wake.link = 2;
    await guest.waitFor('accepted 1\naccepted 1');
    guest.sendFrame(frame(100, 20));
    expect(await guest.frames(1)).toEqual([frame(100, 20)]);
    guest.type('q');
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(guest.output).toContain(`frames ${sizes.length + 1} accepts 2 short 1`);
  });

  test('an image of c2w\'s whose errno was left at EAGAIN connects again after a break, and is never given a part of a length', async () => {
    const guest = new Guest(['--net=socket=listenfd=3', '--mac', '02:00:00:00:00:07'], { net: true, foreign: true, files: { disk: new Uint8Array(1) }, image: c2wImage });
    // It asks for a connection before there is a link, and for a lease as soon as there is one.
    await guest.started;
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    for (const link of [1, 2, 3]) {
      guest.wake.link = link;
      const [discover] = await guest.frames(1, 20_000);
      expect([...discover.subarray(0, 14)]).toEqual([255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 0]);
      guest.sendFrame(frame(0, 1514));
      guest.sendFrame(frame(1, 1));
      guest.wake.link = 0;
    }
    expect(guest.output).toBe('');
  }, 90_000);

  test('it finds directories beside the socket', async () => {
    const guest = new Guest(['settings'], { net: true, foreign: true, env: ['A=b c'], files: { disk: new Uint8Array(1) }, image: c2wImage });
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(guest.output).toMatch(/^c: settings\nenv: A=b c\nt: \d{10}\nm: portside\n$/);
  });

  test('c2w\'s polls of the other fd end early: a round trip does not take their timeouts', async () => {
    const guest = new Guest(['c2w', '400'], { net: true, foreign: true });
    guest.wake.link = 1;
    await guest.waitFor('accepted 1');
    const start = Date.now();
    for (let i = 0; i < 10; i++) {
      guest.sendFrame(frame(i, 60));
      expect(await guest.frames(1)).toEqual([frame(i, 60)]);
    }
    guest.type('q');
    await guest.end();
    expect(Date.now() - start).toBeLessThan(2000);
  });

  test('a machine\'s way: one wait, large receives, many frames in a batch', async () => {
    const guest = new Guest(['machine'], { net: true });
    guest.wake.link = 1;
    await guest.waitFor('accepted 1');
    const many = Array.from({ length: 200 }, (_, i) => frame(i, 1 + ((i * 977) % 9000)));
    for (const each of many) guest.sendFrame(each);
    expect(await guest.frames(many.length)).toEqual(many);
    guest.wake.link = 0;
    await guest.waitFor('link gone');
    guest.wake.link = 2;
    await guest.waitFor('gone\naccepted 1');
    guest.endInput();
    await guest.end();
    expect(guest.output).toContain(`received ${many.reduce((sum, each) => sum + each.length + 4, 0)} polls few`);
  });

  test('a link that nobody reads costs the guest a moment and whole frames, not its life', async () => {
    const guest = new Guest(['flood', '2000', '60000', '1'], { net: true });
    guest.wake.link = 1;
    const start = Date.now();
    expect((await guest.end()).end).toEqual({ kind: 'exit', code: 0 });
    expect(Date.now() - start).toBeLessThan(5000);
    const left = await guest.frames(10);
    expect(left.length).toBeGreaterThan(10);
    expect(left.every((each) => each.length === 60_000)).toBe(true);
  });
});
