/* How much memory a container gets, with the built images: what it sees, that it is really there, and what happens where there is none. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { memoryLines, SPARE_BYTES } from './memory.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const WASM_PAGE = 65536;

function run(image: string, args: string[], timeout = 60_000): { status: number | null; screen: string } {
  const child = spawnSync(process.execPath, [join(ROOT, 'bin/portside.mjs'), 'run', image, ...args], { input: '', timeout });
  return { status: child.status, screen: (child.stdout.toString() + child.stderr.toString()).replaceAll('\r', '') };
}

test('an image is made for 128 MiB to 2 GiB, and what lies between steps is rounded up', () => {
  expect(memoryLines(600)).toContain('memory=640');
  for (const wrong of [127, 2049]) expect(() => memoryLines(wrong)).toThrow(/128 to 2048/);
});

for (const [image, own] of [['busybox', 128], ['debian', 512]] as const) {
  describe.skipIf(!existsSync(join(ROOT, `dist/images/${image}.wasm`)))(image, () => {
    const command = ['sh', '-c', 'free -m | sed -n 2p; df -m /dev/shm | tail -1; env'];
    test.each([[[], own], [['--memory=128'], 128], [['--memory', '600'], 640], [['--memory=2G'], 2048]] as const)('flags %j: the guest has it', (flags, mib) => {
      const { status, screen } = run(image, [...flags, ...command]);
      const [, total] = /^Mem: +(\d+)/m.exec(screen)!;
      expect(Number(total) / mib).toBeGreaterThan(0.97);
      expect(Number(total) / mib).toBeLessThanOrEqual(1);
      // A file system in memory is as large as a part of what there is now, not of what there was in the snapshot.
      expect(Number(/^shm +(\d+)/m.exec(screen)![1]) / mib).toBeCloseTo(0.5, 1);
      expect(screen).not.toMatch(/^ps_|^PS_/m);
      expect(status).toBe(0);
    }, 90_000);

    test('what can\'t be is one clear line', () => {
      for (const wrong of ['64', '4G', 'lots']) {
        expect(run(image, [`--memory=${wrong}`, 'true'])).toEqual({ status: 2, screen: `portside run: --memory takes 128 to 2048 (MiB), or a number with M or G such as 1G; what is between steps of 128 MiB is rounded up; not "${wrong}".\nTry: portside help run\n` });
      }
    }, 90_000);
  });
}

describe.skipIf(!existsSync(join(ROOT, 'dist/images/debian.wasm')))('a container of 1 GiB', () => {
  // 870 MiB in numbered parts, whose length is no power of two, made twice: once to be kept, once to be compared with.
  const script = `head -c 15999992 /dev/urandom >/base
    all() { i=0; while [ $i -lt 57 ]; do printf %08d $i; i=$((i + 1)); cat /base; done; }
    all >/big && all | cmp - /big && stat -c %s /big && free -m | sed -n 2p`;

  test('keeps most of it full of data', () => {
    const { status, screen } = run('debian', ['--memory=1G', 'bash', '-c', script], 280_000);
    expect(screen).toMatch(/^912000000\nMem: +10[0-9]{2} +\d+ +\d+ +8[89]\d/m);
    expect(status).toBe(0);
  }, 300_000);
});

describe.skipIf(!existsSync(join(ROOT, 'dist/images/busybox.wasm')))('a host', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-memory-'));
  const limited = join(folder, 'limited.wasm');
  afterAll(() => rmSync(folder, { recursive: true }));
  // The module itself says that its memory may grow by 200 MiB: the engine refuses the rest, as one without memory would.
  beforeAll(() => writeFileSync(limited, withLimit(readFileSync(join(ROOT, 'dist/images/busybox.wasm')), 200 * 2 ** 20)));

  test('that gives no more memory is told of, not crashed on', () => {
    expect(run(limited, ['--memory=256', 'sh', '-c', 'exit 3']).status).toBe(3);
    expect(run(limited, ['--memory=512', 'true'])).toEqual({ status: 1, screen: 'portside machine: out of memory: the host does not give the machine so much; a smaller --memory may do\n' });
  }, 60_000);

  test('gives an image no memory that nobody asked for', () => {
    const { min } = memorySection(readFileSync(join(ROOT, 'dist/images/busybox.wasm')));
    expect(min * WASM_PAGE).toBeLessThan(300 * 2 ** 20);
    expect(SPARE_BYTES).toBe(1920 * 2 ** 20 + WASM_PAGE);
  });
});

/** Section 5, one memory without a limit: where it is, and its pages. */
function memorySection(module: Buffer): { start: number; end: number; min: number } {
  const number = (off: number): [value: number, next: number] => {
    let value = 0;
    for (let shift = 0; ; shift += 7, off++) {
      value += (module[off] & 0x7f) * 2 ** shift;
      if (module[off] < 0x80) return [value, off + 1];
    }
  };
  for (let off = 8; off < module.length;) {
    const [size, body] = number(off + 1);
    if (module[off] === 5) return { start: off, end: body + size, min: number(body + 2)[0] };
    off = body + size;
  }
  throw new Error('no memory');
}

function withLimit(module: Buffer, more: number): Buffer {
  const { start, end, min } = memorySection(module);
  const leb = (value: number): number[] => (value < 128 ? [value] : [(value % 128) | 0x80, ...leb(Math.floor(value / 128))]);
  const body = [1, 1, ...leb(min), ...leb(min + more / WASM_PAGE)];
  return Buffer.concat([module.subarray(0, start), Uint8Array.from([5, ...leb(body.length), ...body]), module.subarray(end)]);
}
