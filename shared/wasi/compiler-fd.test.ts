/* Real modules throughout: a machine whose table they are put into, and which calls them. */
import { describe, expect, test } from 'vitest';
import { wasi } from '@bjorn3/browser_wasi_shim';
import { compilerDevice, FUNCTIONS_MAX, LIVE_BYTES_MAX, LIVE_MODULES_MAX, MODULE_BYTES_MAX, TABLE_LENGTH_MAX, type CompilerSettings } from './compiler-fd.ts';
import { machine, translated } from './fixtures/wasm-bytes.ts';
import { GuestMemory } from './guest-memory.ts';
import type { HostFd } from './host-fd.ts';

const { ERRNO_SUCCESS, ERRNO_INVAL, ERRNO_NOSPC } = wasi;
const FIRST = 3;
const IOVS = 0;
const DONE = 1024;
const BYTES = 2048;
/** a word that translated code loads */
const WORD = 512;
/** more than a page: enough for the longest request of most tests */
const PAGES = 16;

type Exports = WebAssembly.Exports & { memory: WebAssembly.Memory; call: (index: number, value: number) => number };

class Machine {
  readonly memory = new GuestMemory();
  readonly table: WebAssembly.Table;
  readonly exports: Exports;
  /** the device, open */
  readonly fd: HostFd;

  constructor({ settings, tableLength, tableMax, pages = PAGES }: { settings?: CompilerSettings; tableLength?: number; tableMax?: number; pages?: number } = {}) {
    const module = new WebAssembly.Module(machine(['add'], tableLength ?? FIRST, tableMax));
    this.exports = new WebAssembly.Instance(module).exports as Exports;
    this.exports.memory.grow(pages - 1);
    this.table = this.exports['__indirect_function_table'] as WebAssembly.Table;
    this.memory.bind(this.exports.memory);
    const device = compilerDevice(module, settings)!;
    device.bind!(this.exports);
    this.fd = device.open();
  }

  /** fd_write of one vector, or of several of these lengths. */
  write(bytes: Uint8Array, lengths: readonly number[] = [bytes.length]): number {
    this.memory.bytes.set(bytes, BYTES);
    let at = BYTES;
    lengths.forEach((len, i) => {
      this.memory.setU32(IOVS + 8 * i, at);
      this.memory.setU32(IOVS + 8 * i + 4, len);
      at += len;
    });
    this.memory.setU32(DONE, 0xdead);
    return this.fd.writev(this.memory, IOVS, lengths.length, DONE);
  }

  request(first: number, count: number, module: Uint8Array = new Uint8Array(0), length = module.length): number {
    const bytes = new Uint8Array(12 + module.length);
    const header = new DataView(bytes.buffer);
    [first, count, length].forEach((value, i) => { header.setUint32(4 * i, value, true); });
    bytes.set(module, 12);
    return this.write(bytes);
  }

  read(room = 32): number[] | number {
    this.memory.setU32(IOVS, BYTES);
    this.memory.setU32(IOVS + 4, room);
    const errno = this.fd.readv(this.memory, IOVS, 1, DONE);
    return errno === ERRNO_SUCCESS ? Array.from({ length: this.memory.u32(DONE) / 4 }, (_, i) => this.memory.u32(BYTES + 4 * i)) : errno;
  }

  /** Through the table, by the machine's own code. */
  call(index: number, value: number): number {
    return this.exports.call(index, value);
  }

  get entries(): unknown[] {
    return Array.from({ length: this.table.length }, (_, i) => this.table.get(i));
  }

  get done(): number {
    return this.memory.u32(DONE);
  }
}

function moduleOf(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  return new WebAssembly.Module(bytes);
}

test('only an image with a table and a helper of the translator has the device', () => {
  expect(compilerDevice(moduleOf(machine(['add'])))).not.toBeNull();
  expect(compilerDevice(moduleOf(machine([])))).toBeNull();
  expect(compilerDevice(moduleOf(translated({ exports: ['translator.add'] }))), 'a helper and no table').toBeNull();
});

test('it is a character device, and says what the machine may use and what its host has set', () => {
  const plain = new Machine();
  expect(plain.fd.fd_fdstat_get().fdstat.fs_filetype).toBe(wasi.FILETYPE_CHARACTER_DEVICE);
  expect(plain.read()).toEqual([1, FIRST, 0, 0, 0, 0, 0, 0]);
  expect(plain.read(31)).toBe(ERRNO_INVAL);
  const settings = { threshold: 1, modules: 16, bytes: 2 ** 32 - 1 };
  expect(new Machine({ settings, tableLength: 70 }).read()).toEqual([1, 70, 1, 16, 2 ** 32 - 1, 0, 0, 0]);
  expect(new Machine({ settings: { lockstep: true } }).read()).toEqual([1, FIRST, 0, 0, 0, 1, 0, 0]);
  expect(new Machine({ settings: { profile: true, lockstep: true } }).read()).toEqual([1, FIRST, 0, 0, 0, 3, 0, 0]);
  const grown = new Machine();
  grown.request(FIRST, 1, translated());
  expect(grown.read(100), 'the first index stays').toEqual([1, FIRST, 0, 0, 0, 0, 0, 0]);
});

test('a module is called through the table, and has the memory and the helpers of the machine', () => {
  const guest = new Machine();
  const module = translated({ exports: ['0', '1'] });
  expect(guest.request(FIRST + 1, 2, module)).toBe(ERRNO_SUCCESS);
  expect(guest.done).toBe(12 + module.length);
  expect(guest.table.length).toBe(FIRST + 3);
  expect(guest.table.get(FIRST)).toBeNull();
  guest.memory.setU32(WORD, 1000);
  expect(guest.call(FIRST + 1, WORD)).toBe(WORD + 1000);
  expect(guest.call(FIRST + 2, WORD)).toBe(WORD + 1000 + 1);
  expect(guest.request(FIRST + 2, 1, translated())).toBe(ERRNO_SUCCESS);
  expect(guest.call(FIRST + 2, WORD), 'replaced').toBe(WORD + 1000);
});

test('helpers come as they are, so that no frame of JavaScript is above them', () => {
  const guest = new Machine();
  expect(guest.request(FIRST, 1, translated({ exports: [], exportsHelper: '0' }))).toBe(ERRNO_SUCCESS);
  expect(guest.table.get(FIRST)).toBe(guest.exports['translator.add']);
});

test('the vectors of a request are joined, wherever they are cut', () => {
  const module = translated();
  const bytes = new Uint8Array(12 + module.length);
  bytes.set(new Uint8Array(Uint32Array.of(FIRST, 1, module.length).buffer));
  bytes.set(module, 12);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const guest = new Machine({ pages: 1 });
    expect(guest.write(bytes, [cut, 0, bytes.length - cut]), `cut at ${cut}`).toBe(ERRNO_SUCCESS);
    expect(guest.done).toBe(bytes.length);
    expect(guest.call(FIRST, WORD)).toBe(WORD);
  }
});

test('entries are given back, those of the machine are not', () => {
  const guest = new Machine();
  guest.request(FIRST, 2, translated({ exports: ['0', '1'] }));
  expect(guest.request(FIRST, 1)).toBe(ERRNO_SUCCESS);
  expect(guest.done).toBe(12);
  expect(guest.table.get(FIRST)).toBeNull();
  expect(guest.call(FIRST + 1, WORD)).toBe(WORD + 1);
  expect(guest.request(FIRST - 1, 3)).toBe(ERRNO_INVAL);
  expect(guest.call(FIRST + 1, WORD)).toBe(WORD + 1);
  expect(guest.request(FIRST, 4000), 'beyond the end, where there is nothing to give back').toBe(ERRNO_SUCCESS);
  expect(guest.entries).toEqual([null, null, null, null, null]);
  expect(() => guest.call(FIRST + 1, WORD)).toThrow(WebAssembly.RuntimeError);
});

describe('what is refused leaves the table as it was', () => {
  const good = translated();
  const cases: Record<string, [number, (guest: Machine) => number]> = {
    'nothing': [ERRNO_INVAL, (guest) => guest.write(new Uint8Array(0), [])],
    'half a header': [ERRNO_INVAL, (guest) => guest.write(new Uint8Array(11))],
    'a length that says less': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, good, good.length - 1)],
    'a length that says more': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, good, good.length + 1)],
    'a release with bytes behind it': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, good, 0)],
    'a length near 2^32': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, good, 2 ** 32 - 1)],
    'no functions': [ERRNO_INVAL, (guest) => guest.request(FIRST, 0, good)],
    'the release of none': [ERRNO_INVAL, (guest) => guest.request(FIRST, 0)],
    'an index of the machine': [ERRNO_INVAL, (guest) => guest.request(FIRST - 1, 1, good)],
    'no wasm': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, new Uint8Array(100))],
    'a module that is cut off': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, good.subarray(0, -3))],
    'a helper that there is not': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, translated({ helper: ['m', 'subtract'] }))],
    'another import than m': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, translated({ helper: ['wasi_snapshot_preview1', 'proc_exit'] }))],
    'a function of the machine that is no helper': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, translated({ helper: ['m', 'call'] }))],
    'an export that is missing': [ERRNO_INVAL, (guest) => guest.request(FIRST, 2, translated({ exports: ['0', '2'] }))],
    'an export that every object has': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, translated({ exports: ['toString'] }))],
    'a module that traps at its start': [ERRNO_INVAL, (guest) => guest.request(FIRST, 1, translated({ trapsAtStart: true }))],
    'too many functions': [ERRNO_NOSPC, (guest) => guest.request(FIRST, FUNCTIONS_MAX + 1, good)],
    'too large an index': [ERRNO_NOSPC, (guest) => guest.request(TABLE_LENGTH_MAX, 1, good)],
    'an index near 2^32': [ERRNO_NOSPC, (guest) => guest.request(2 ** 32 - 1, 2, good)],
    'the release of too large an index': [ERRNO_NOSPC, (guest) => guest.request(2 ** 32 - 1, 4096)],
    'the release of too many': [ERRNO_NOSPC, (guest) => guest.request(FIRST, FUNCTIONS_MAX + 1)],
  };
  test.each(Object.entries(cases))('%s', (_, [errno, attempt]) => {
    const guest = new Machine();
    guest.request(FIRST, 2, translated({ exports: ['0', '1'] }));
    const before = guest.entries;
    expect(attempt(guest)).toBe(errno);
    expect(guest.entries).toEqual(before);
    expect(guest.done, 'nothing is counted').toBe(0xdead);
    expect(guest.request(FIRST, 1, good), 'and it goes on').toBe(ERRNO_SUCCESS);
  });
});

test('a request with any byte changed, or cut anywhere, is served or refused', () => {
  const module = translated({ exports: ['0', '1'] });
  const request = new Uint8Array(12 + module.length);
  request.set(new Uint8Array(Uint32Array.of(FIRST, 2, module.length).buffer));
  request.set(module, 12);
  const said = new Set<number>();
  const attempt = (bytes: Uint8Array, what: string): void => {
    const guest = new Machine({ pages: 1 });
    guest.request(FIRST, 1, module);
    const before = guest.entries;
    const errno = guest.write(bytes);
    expect([ERRNO_SUCCESS, ERRNO_INVAL, ERRNO_NOSPC, wasi.ERRNO_NOMEM], what).toContain(errno);
    if (errno !== ERRNO_SUCCESS) expect(guest.entries, what).toEqual(before);
    said.add(errno);
  };
  for (let at = 0; at < request.length; at++) {
    attempt(request.subarray(0, at), `cut at ${at}`);
    // A large index makes a long table, which takes long to compare.
    if (at >= 1 && at < 4) continue;
    for (const by of [0x01, 0x02, 0x08, 0x40, 0x80, 0xff]) {
      const changed = request.slice();
      changed[at] ^= by;
      attempt(changed, `${by} at ${at}`);
    }
  }
  expect([...said].sort()).toEqual([ERRNO_SUCCESS, ERRNO_INVAL, ERRNO_NOSPC]);
});

describe('limits', () => {
  const overhead = translated({ padding: 1 << 22 }).length - (1 << 22);

  test('the length of a module', () => {
    const guest = new Machine({ pages: 200 });
    expect(guest.request(FIRST, 1, translated({ padding: MODULE_BYTES_MAX - overhead + 1 }))).toBe(ERRNO_NOSPC);
    expect(guest.table.length).toBe(FIRST);
    expect(guest.request(FIRST, 1, translated({ padding: MODULE_BYTES_MAX - overhead }))).toBe(ERRNO_SUCCESS);
  });

  test('vectors that name the same memory again and again', () => {
    const guest = new Machine({ pages: 200 });
    for (let i = 0; i < 64; i++) {
      guest.memory.setU32(IOVS + 8 * i, 0);
      guest.memory.setU32(IOVS + 8 * i + 4, 200 * 65_536);
    }
    expect(guest.fd.writev(guest.memory, IOVS, 64, DONE)).toBe(ERRNO_NOSPC);
  });

  test('functions of a module, and the table', () => {
    const guest = new Machine();
    const names = Array.from({ length: FUNCTIONS_MAX }, (_, i) => String(i));
    expect(guest.request(TABLE_LENGTH_MAX - FUNCTIONS_MAX, FUNCTIONS_MAX, translated({ exports: names }))).toBe(ERRNO_SUCCESS);
    expect(guest.table.length).toBe(TABLE_LENGTH_MAX);
    expect(guest.request(TABLE_LENGTH_MAX - FUNCTIONS_MAX + 1, FUNCTIONS_MAX, translated({ exports: names }))).toBe(ERRNO_NOSPC);
  });

  test('a table that does not grow', () => {
    const guest = new Machine({ tableMax: FIRST + 1 });
    expect(guest.request(FIRST, 2, translated({ exports: ['0', '1'] }))).toBe(ERRNO_NOSPC);
    expect(guest.entries).toEqual([null, null, null]);
    expect(guest.request(FIRST, 1, translated())).toBe(ERRNO_SUCCESS);
    expect(guest.call(FIRST, WORD)).toBe(WORD);
  });

  test('modules that are alive, until all entries of one are gone', () => {
    const guest = new Machine();
    const pair = translated({ exports: ['0', '1'] });
    for (let i = 0; i < LIVE_MODULES_MAX; i++) expect(guest.request(FIRST + 2 * i, 2, pair)).toBe(ERRNO_SUCCESS);
    const [more, one] = [FIRST + 2 * LIVE_MODULES_MAX, translated()];
    expect(guest.request(more, 1, one)).toBe(ERRNO_NOSPC);
    guest.request(FIRST, 1);
    guest.request(FIRST, 1);
    guest.request(FIRST + 3, 1);
    expect(guest.request(more, 1, one), 'half of two modules').toBe(ERRNO_NOSPC);
    guest.request(FIRST + 1, 2);
    expect(guest.request(more, 1, one)).toBe(ERRNO_SUCCESS);
    expect(guest.request(more + 1, 1, one)).toBe(ERRNO_SUCCESS);
    expect(guest.request(more + 2, 1, one)).toBe(ERRNO_NOSPC);
  });

  test('modules that fail or that another one replaces are not alive', () => {
    const guest = new Machine();
    for (let i = 0; i < LIVE_MODULES_MAX + 1; i++) expect(guest.request(FIRST, 2, translated())).toBe(ERRNO_INVAL);
    for (let i = 0; i < LIVE_MODULES_MAX + 1; i++) expect(guest.request(FIRST, 1, translated())).toBe(ERRNO_SUCCESS);
  });

  test('their bytes', () => {
    const guest = new Machine({ pages: 200 });
    const large = translated({ padding: MODULE_BYTES_MAX - overhead });
    const fit = LIVE_BYTES_MAX / MODULE_BYTES_MAX;
    for (let i = 0; i < fit; i++) expect(guest.request(FIRST + i, 1, large)).toBe(ERRNO_SUCCESS);
    expect(guest.request(FIRST + fit, 1, translated())).toBe(ERRNO_NOSPC);
    guest.request(FIRST, 1);
    expect(guest.request(FIRST + fit, 1, large)).toBe(ERRNO_SUCCESS);
    expect(guest.request(FIRST, 1, translated())).toBe(ERRNO_NOSPC);
  });
});
