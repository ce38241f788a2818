/* Time as a bare program sees it that does nothing but read it, and what the RTC, which is the host's clock, says of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Bench, MISSING_TOOLS, PRINT, assemble } from './bare/bare.ts';

const ROUNDS = 10;
/** pairs of readings in a round, each of which is a tick (100 ns) at least: 60 ms */
const PAIRS = 300_000;

/** Prints for each round how many readings were not later than the one before, and how many ns `time` gained on the RTC. */
const PROGRAM = `.text
.globl _start
_start: la sp,stack_top; li s0,${ROUNDS}; li s1,0x101000
1: call rtc; mv s3,a0; rdtime s2; mv s4,s2; li s5,0; li t3,${PAIRS}
2: rdtime t0; rdtime t1; sltu t2,s4,t0; sltu t4,t0,t1; and t2,t2,t4; xori t2,t2,1; add s5,s5,t2; mv s4,t1; addi t3,t3,-1; bnez t3,2b
   call rtc; sub a0,a0,s3; rdtime s4; sub s4,s4,s2; li t0,100; mul s4,s4,t0; sub s6,s4,a0
   mv s11,s5; call print; mv s11,s6; call print; addi s0,s0,-1; bnez s0,1b
li a7,0x53525354; li a6,0; li a0,0; li a1,0; ecall
3: j 3b
rtc: lwu a0,0(s1); lwu a1,4(s1); slli a1,a1,32; or a0,a0,a1; ret
${PRINT}
.balign 16
.skip 4096
stack_top:
`;

const folder = mkdtempSync(join(tmpdir(), 'portside-clock-'));
afterAll(() => rmSync(folder, { recursive: true }));
if (MISSING_TOOLS.length > 0) console.warn(`${MISSING_TOOLS.join(', ')} not installed: readings of time are not tested`);

test.runIf(MISSING_TOOLS.length === 0)('each reading of time is later than the one before, and many do not run away from the host\'s clock', async () => {
  const bench = await Bench.create(folder), kernel = assemble(folder, 'clock', PROGRAM);
  const values = (await bench.run('wasm', kernel)).map((line) => BigInt.asIntN(64, BigInt(`0x${line}`)));
  expect(values).toHaveLength(2 * ROUNDS);
  expect(values.filter((_, index) => index % 2 === 0)).toEqual(Array<bigint>(ROUNDS).fill(0n));
  // A host that takes the processor away between two looks at its clock spoils a round.
  const gained = values.filter((_, index) => index % 2 === 1).map((ns) => Math.abs(Number(ns)));
  expect(Math.min(...gained)).toBeLessThan(5e6);
}, 120_000);
