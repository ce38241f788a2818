/*
 * Where an image's bytes go: `npx tsx image/census.ts [dist/images/NAME.wasm]`. Counts the pages of the guest's memory that the
 * snapshot holds, by the part of the kernel image that they lie in (from /proc/iomem's order: text, rodata, data) or as
 * allocated memory, and what each part weighs compressed.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { loadKernel } from './kernel.ts';
import { readLock, ROOT } from './packages.ts';

// Node has it; its types do not.
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<object>;
  instantiate(module: object, imports: object): Promise<{ exports: { memory: { buffer: ArrayBuffer } } }>;
  Module: { imports(module: object): Array<{ module: string; name: string }> };
};

const PAGE = 4096;
/** Offset of the kernel in RAM: the boot protocol wants it 2 MiB into it. */
const KERNEL_OFF = 0x20_0000;
/** A place in the kernel's text that alternatives patching leaves alone, or else another is tried. */
const PROBES = [0x30_0000, 0x40_0000, 0x50_0000, 0x60_0000];

export interface CensusLine {
  part: string;
  pages: number;
  gzipBytes: number;
}

/** Counts pages that are not zero; `kernel` is the image that was booted. */
export async function census(wasm: Uint8Array, kernel: Uint8Array): Promise<CensusLine[]> {
  const memory = await memoryOf(wasm);
  const ram = findRam(memory, kernel);
  const parts = new Map<string, Uint8Array[]>();
  const zero = Buffer.alloc(PAGE);
  for (let off = 0; off + PAGE <= memory.length; off += PAGE) {
    const page = memory.subarray(off, off + PAGE);
    if (zero.equals(page)) continue;
    const part = off < ram ? 'machine (its own data)' : partOf(off - ram, kernel.length);
    parts.set(part, [...(parts.get(part) ?? []), page]);
  }
  return [...parts].map(([part, pages]) => ({ part, pages: pages.length, gzipBytes: gzipSync(Buffer.concat(pages), { level: 6 }).length }));
}

/** Parts of the kernel image by offset; boundaries of 6.12's linker script: text, init, rodata, data, each 2 MiB aligned. */
function partOf(off: number, kernelLen: number): string {
  const at = off - KERNEL_OFF;
  if (at < 0) return 'below the kernel';
  if (at < 0x100_0000) return at < 0xb0_0000 ? 'kernel text' : 'kernel init (freed)';
  if (at < 0x1c0_0000) return 'kernel rodata';
  if (at < kernelLen + 0x10_0000) return 'kernel data and bss';
  return 'allocated (page tables, struct pages, slab, files, processes)';
}

async function memoryOf(wasm: Uint8Array): Promise<Buffer> {
  const module = await WebAssembly.compile(wasm);
  const imports: Record<string, Record<string, () => number>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 52;
  const instance = await WebAssembly.instantiate(module, imports);
  return Buffer.from(instance.exports.memory.buffer);
}

function findRam(memory: Buffer, kernel: Uint8Array): number {
  for (const probe of PROBES) {
    const at = memory.indexOf(Buffer.from(kernel.subarray(probe, probe + 256)));
    if (at >= 0) return at - probe - KERNEL_OFF;
  }
  throw new Error('the kernel is not in this image');
}

if (process.argv[1]?.endsWith('census.ts')) {
  const file = process.argv[2] ?? join(ROOT, 'dist/images/busybox.wasm');
  const kernel = await loadKernel(await readLock());
  for (const { part, pages, gzipBytes } of (await census(await readFile(file), kernel.image)).sort((a, b) => b.pages - a.pages)) {
    console.log(`${((pages * PAGE) / 2 ** 20).toFixed(2).padStart(7)} MiB  ${(gzipBytes / 2 ** 20).toFixed(2).padStart(6)} MiB gzip  ${part}`);
  }
}
