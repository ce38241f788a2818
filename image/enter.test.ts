/* The agent's programs, judged by GNU as (the same bytes) and readelf. What it does is tried in a guest, in convert/convert.test.ts. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assemble } from './assemble.ts';
import { buildEnter } from './enter.ts';

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-enter-')); });
afterAll(() => rmSync(dir, { recursive: true }));

const hasAs = spawnSync('riscv64-linux-gnu-as', ['--version']).status === 0;
const EXTERNALS = { uid: 0x12340, gid: 0x12344, group_count: 0x12348, groups: 0x1234c, workdir: 0x12ffc, buffer: 0x13000, buffer_end: 0x14fff };

test.skipIf(!hasAs).each(['enter', 'clock'])('GNU as and ld make the same bytes of %s.s', (name) => {
  const source = readFileSync(new URL(`guest/${name}.s`, import.meta.url), 'utf8');
  const equates = Object.entries(EXTERNALS).map(([symbol, value]) => `.globl ${symbol}\n${symbol} = ${value}\n`).join('');
  // as expands `la` relative to pc; absolute addresses are lui and addi.
  const absolute = source.replace(/^ +la (\w+), (\w+)$/gm, 'lui $1, %hi($2)\naddi $1, $1, %lo($2)');
  writeFileSync(join(dir, 'enter.s'), `.option norvc\n.option norelax\n${equates}${absolute}`);
  execFileSync('riscv64-linux-gnu-as', ['-march=rv64i', '-mno-relax', '-o', join(dir, 'enter.o'), join(dir, 'enter.s')]);
  execFileSync('riscv64-linux-gnu-ld', ['--no-relax', '-Ttext=0x10078', '-e', '0x10078', '-o', join(dir, 'enter'), join(dir, 'enter.o')]);
  execFileSync('riscv64-linux-gnu-objcopy', ['-O', 'binary', '-j', '.text', join(dir, 'enter'), join(dir, 'enter.bin')]);
  const ours = assemble(source, 0x10078, () => EXTERNALS);
  const theirs = readFileSync(join(dir, 'enter.bin'));
  // The section's end is padded to whole words.
  expect(Buffer.from(theirs.subarray(0, ours.length)).toString('hex')).toBe(Buffer.from(ours).toString('hex'));
});

test('an instruction, register, number or label that there is not is an error with its line', () => {
  for (const [source, what] of [['nop', 'nop'], ['\nmv a0, q9', 'q9'], ['li a0, 4096', '4096'], ['j nowhere', 'nowhere']]) {
    expect(() => assemble(source, 0, () => ({})), source).toThrow(new RegExp(`line \\d: .*${what}`));
  }
});

test('an ELF that readelf takes, with ids and paths behind the code', async () => {
  const elf = await buildEnter('/srv/ü', { uid: 1000, gid: 4_000_000_000, groups: [4, 24] });
  writeFileSync(join(dir, 'elf'), elf);
  expect(Buffer.from(elf).toString('latin1')).toContain(Buffer.from('/srv/ü\0').toString('latin1'));
  const readelf = spawnSync('readelf', ['-lhW', join(dir, 'elf')]);
  if (readelf.error === undefined) expect([readelf.stderr.toString(), readelf.stdout.toString()]).toEqual(['', expect.stringMatching(/RISC-V[\s\S]*LOAD +0x0+ 0x0+10000/)]);
});
