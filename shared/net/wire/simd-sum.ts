/*
 * The checksum's sum, 16 bytes at a time.
 *
 * Summing its payload in JavaScript was two fifths of what a segment towards the guest cost. WebAssembly has the instruction for it
 * (pairs of 16-bit words added into 32-bit lanes), but sees only its own memory: so the buffers in which frames are built
 * (stack/batch-pool.ts) lie in that memory, and a payload is summed where it was copied to anyway. The memory never grows, so its
 * ArrayBuffer is never detached. Where there is no SIMD there is no memory, and everything is summed in JavaScript.
 *
 * The module is assembled here, byte by byte, rather than compiled: it is one loop. One's complement sums do not depend on byte
 * order (RFC 1071 §2 (B)): it adds little-endian words, and the result is swapped once.
 */

/** 16 MiB of address space; pages are real once written to */
const MEMORY_PAGES = 256;
export const SUM_MEMORY_LEN = MEMORY_PAGES * 65_536;

const I32 = 0x7f;
const V128 = 0x7b;
const LOCAL_GET = 0x20;
const LOCAL_SET = 0x21;
const LOCAL_TEE = 0x22;
const I32_CONST = 0x41;
const I32_ADD = 0x6a;
const I32_LT_U = 0x49;
const LOOP = 0x03;
const BR_IF = 0x0d;
const END = 0x0b;
const EMPTY_BLOCK = 0x40;
const V128_LOAD = [0xfd, 0x00, 0, 0];
const I32X4_EXTADD_PAIRWISE_I16X8_U = [0xfd, 0x7f];
const I32X4_ADD = [0xfd, 0xae, 0x01];
const i32x4ExtractLane = (lane: number): number[] => [0xfd, 0x1b, lane];

const AT = 0;
const STOP = 1;
const SUMS = 2;

/** sum(at, stop): `stop - at` is a positive multiple of 16. Lanes overflow beyond 512 KiB. */
const SUM = [
  LOOP, EMPTY_BLOCK,
  LOCAL_GET, SUMS, LOCAL_GET, AT, ...V128_LOAD, ...I32X4_EXTADD_PAIRWISE_I16X8_U, ...I32X4_ADD, LOCAL_SET, SUMS,
  LOCAL_GET, AT, I32_CONST, 16, I32_ADD, LOCAL_TEE, AT, LOCAL_GET, STOP, I32_LT_U, BR_IF, 0,
  END,
  // Halves of the lanes are added once more, so that four lanes fit in one number.
  LOCAL_GET, SUMS, ...I32X4_EXTADD_PAIRWISE_I16X8_U, LOCAL_SET, SUMS,
  LOCAL_GET, SUMS, ...i32x4ExtractLane(0), LOCAL_GET, SUMS, ...i32x4ExtractLane(1), I32_ADD,
  LOCAL_GET, SUMS, ...i32x4ExtractLane(2), I32_ADD, LOCAL_GET, SUMS, ...i32x4ExtractLane(3), I32_ADD,
  END,
];

const section = (id: number, bytes: number[]): number[] => [id, bytes.length, ...bytes];
const text = (ascii: string): number[] => [ascii.length, ...[...ascii].map((char) => char.charCodeAt(0))];
/** LEB128 of MEMORY_PAGES */
const PAGES = [(MEMORY_PAGES & 0x7f) | 0x80, MEMORY_PAGES >> 7];

const MODULE = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, [1, 0x60, 2, I32, I32, 1, I32]),
  ...section(3, [1, 0]),
  ...section(5, [1, 1, ...PAGES, ...PAGES]),
  ...section(7, [2, ...text('memory'), 2, 0, ...text('sum'), 0, 0]),
  ...section(10, [1, SUM.length + 3, 1, 1, V128, ...SUM]),
]);

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly sum: (at: number, stop: number) => number;
}

function instantiate(): Exports | null {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports as unknown as Exports;
  } catch {
    // No SIMD, or a Content-Security-Policy that forbids WebAssembly.
    return null;
  }
}

const instance = instantiate();
const sum = instance?.sum ?? (() => 0);

/** The memory that `simdSum` reads, null where there is none. */
export const SUM_MEMORY: ArrayBuffer | null = instance?.memory.buffer ?? null;

/** Sum of the memory's bytes [start, stop) as big-endian words, folded to 16 bits. `stop - start` is a positive multiple of 16. */
export function simdSum(start: number, stop: number): number {
  let folded = sum(start, stop);
  folded = (folded & 0xffff) + (folded >>> 16);
  folded = (folded & 0xffff) + (folded >>> 16);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}
