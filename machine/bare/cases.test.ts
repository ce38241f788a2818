/*
 * Cases written by hand, group by group: what the checksums of isa.test.ts and the random programs do not reach, and what
 * the fuzzer has found. Each runs on QEMU and on our machine, natively and as wasm; registers, flags, memory, page table entries and each
 * trap's cause, value and address are compared.
 *
 * `ours` holds what QEMU 7.2 cannot tell, because it lacks the extension or breaks the manual: the registers then are given here.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bench, CODE_BYTES_MAX, DATA_PA, DATA_PAGES, DATA_VA, DATA_VIRTUAL_PAGES, MISSING_TOOLS, PTE, SSTATUS, SUPER_VA, assemble, differences, pte, type Case, type Target } from './bare.ts';
import { INTERESTING, Random } from './generate.ts';

interface Written {
  name: string;
  code: string;
  user?: boolean;
  sstatus?: bigint;
  fcsr?: bigint;
  superPte?: bigint;
  /** entries that differ from readable, writable, accessed and dirty ones */
  pages?: Record<number, bigint>;
  codeFlags?: bigint;
  /** registers at the end, instead of a comparison */
  ours?: Record<string, bigint>;
}

const USABLE = PTE.V | PTE.R | PTE.W | PTE.A | PTE.D;
const data = (page: number): bigint => DATA_PA + BigInt(page % DATA_PAGES) * 0x1000n;
const page = (number: number): string => `0x${(DATA_VA + BigInt(number) * 0x1000n).toString(16)}`;
const LEAF_TABLE = 0x82002000n, MIDDLE_TABLE = 0x82001000n;
/** nothing answers there, here or on QEMU's board */
const NOWHERE = 0x11000000n;
const ONES = (1n << 64n) - 1n;

const COMPRESSED = `
  li sp, ${page(0)}; li s0, ${page(1)}; li s1, ${page(2)}
  c.addi4spn a0, sp, 4; c.addi4spn a1, sp, 1020; c.sdsp a0, 8(sp); c.swsp a1, 252(sp); c.ldsp a2, 8(sp); c.lwsp a3, 252(sp)
  c.sd a2, 248(s0); c.ld a4, 248(s0); c.sw a3, 124(s0); c.lw a5, 124(s0); c.fsd fa0, 16(s0); c.fld fa1, 16(s0); c.fsdsp fa1, 504(sp); c.fldsp fa2, 504(sp)
  c.addi a0, -32; c.addiw a1, 31; c.li t0, -17; c.lui t1, 0xfffe1; c.lui t2, 31; c.addi16sp sp, -512; c.addi16sp sp, 496
  c.srli a2, 63; c.srai a3, 1; c.andi a4, -32; c.sub a5, a0; c.xor a5, a1; c.or a5, a2; c.and a5, a3; c.subw a4, a0; c.addw a4, a1
  c.slli t0, 61; c.mv t3, t0; c.add t3, t1; c.nop
  c.j 1f; c.li t4, 1; 1: c.li s0, 0; c.beqz s0, 2f; c.li t4, 2; 2: c.bnez s1, 3f; c.li t4, 3
  3: la t5, 4f; c.jalr t5; c.li t4, 4; 4: c.addi t5, 6; la t6, 5f; c.jr t6; c.li t4, 5; 5: c.nop`;

/** Stores `words` at `address`, makes them visible to fetches, leaves the address in t6. */
function put(address: string, words: number[]): string {
  return `li t6, ${address}; ${words.map((word, i) => `li t5, 0x${(word >>> 0).toString(16)}; sw t5, ${4 * i}(t6)`).join('; ')}; fence.i`;
}
const EBREAK = 0x00100073, ADDI_A0_1 = 0x00150513, ADDI_A0_2 = 0x00250513, RET = 0x00008067;
const RWX = USABLE | PTE.X;

const GROUPS: Record<string, Written[]> = {
  'C': [
    { name: 'every compressed instruction', code: COMPRESSED },
    { name: 'reserved and illegal ones', code: '.2byte 0; .2byte 0x8000; .2byte 0x2001; .2byte 0x6101; .2byte 0x6081; .2byte 0x9c41; .2byte 0x9c61; .2byte 0x4002; .2byte 0x6002; .2byte 0x8002; .2byte 0x0004' },
    { name: 'hints do nothing', code: 'c.li a0, 5; .2byte 0x0005; .2byte 0x8006; .2byte 0x9002 - 0x1000; .2byte 0x0002; .2byte 0x4001; .2byte 0x6005' },
  ],
  'Zicond and Zicboz': [
    { name: 'czero', code: 'li a0, 7; li a1, 0; li a2, -1; .insn r 0x33, 5, 7, a3, a0, a1; .insn r 0x33, 5, 7, a4, a0, a2; .insn r 0x33, 7, 7, a5, a0, a1; .insn r 0x33, 7, 7, a6, a0, a2',
      ours: { x13: 0n, x14: 7n, x15: 7n, x16: 0n } },
    { name: 'cbo.zero clears its 64 bytes', code: `li a0, ${page(0)}; li a1, -1; sd a1, 56(a0); sd a1, 64(a0); sd a1, 128(a0); addi a2, a0, 100; .insn i 0x0f, 2, x0, a2, 4; ld a3, 56(a0); ld a4, 64(a0); ld a5, 128(a0)`,
      ours: { x13: ONES, x14: 0n, x15: ONES } },
    { name: 'cbo.zero is illegal in U-mode until senvcfg allows it', user: true, code: '.insn i 0x0f, 2, x0, a2, 4', ours: { cause: 2n, tval: 0x0046200fn } },
  ],
  'CSRs': [
    { name: 'stvec keeps two modes', code: 'csrr s0, stvec; li a0, -1; csrw stvec, a0; csrr a1, stvec; csrw stvec, s0', ours: { x11: ONES & ~2n } },
    { name: 'satp ignores modes that are not there', code: 'csrr s0, satp; li a0, 15 << 60; csrw satp, a0; csrr a1, satp; sub a1, a1, s0; li a0, 5 << 60; csrw satp, a0; csrr a2, satp; sub a2, a2, s0; li s0, 0' },
    { name: 'sepc has no bit 0', code: 'li a0, -1; csrw sepc, a0; csrr a1, sepc', ours: { x11: ONES & ~1n } },
    { name: 'scause, stval, sscratch keep what they get', code: 'csrr s0, sscratch; li a0, -1; csrw scause, a0; csrr a1, scause; li a2, 0x8000000000000009; csrw scause, a2; csrr a3, scause; csrw stval, a0; csrr a4, stval; csrw sscratch, a0; csrr a5, sscratch; csrw sscratch, s0; li s0, 0' },
    { name: 'sie and sip hold the three interrupts of S-mode', code: 'li a0, -1; csrw sie, a0; csrr a1, sie; csrw sie, zero; csrr a2, sie; csrw sip, a0; csrr a3, sip; csrw sip, zero; csrr a4, sip' },
    { name: 'sstatus has no bits but its own', code: 'csrr s0, sstatus; li a0, -1; li a1, 0x6000; csrc sstatus, a1; csrr a2, sstatus; li a0, 0xfffffffffff21edd; csrs sstatus, a0; csrr a3, sstatus; csrw sstatus, s0; li s0, 0', ours: { x13: 2n << 32n | 0x20n } },
    { name: 'FIOM and CBZE are all that senvcfg has', code: 'li a0, -1; csrw senvcfg, a0; csrr a1, senvcfg; csrw senvcfg, zero', ours: { x11: 0x81n } },
    { name: 'fflags, frm and fcsr are one register', code: 'li a0, -1; csrw fcsr, a0; frflags a1; frrm a2; fsflagsi a3, 5; fsrmi a4, 3; frcsr a5; csrw fcsr, zero; frcsr a6; csrrsi a7, fflags, 31; csrrci t0, fflags, 1; frcsr t1' },
    { name: 'reads that write nothing may read what is read-only', code: 'csrrs a0, 0xc00, x0; csrrsi a1, 0xc00, 0; csrrc a2, 0xc00, x0; li a0, 0; li a1, 0; li a2, 0; csrrw x0, 0xc00, x0; csrrsi x0, 0xc00, 1' },
    { name: 'a register that holds 0 is a write all the same', code: 'li a0, 0; csrrs x0, 0xc00, a0', ours: { cause: 2n, tval: 0xc0052073n } },
    { name: 'foreign ones are illegal', code: ['mstatus', 'mtvec', 'mepc', 'pmpcfg0', '0x7c0', '0x5c0', '0x9c0', '0x200', '0x004', '0x8ff', 'mhartid', '0xda0'].map((csr) => `csrr a0, ${csr}`).join('; ') },
    { name: 'those of S-mode are illegal in U-mode', user: true, code: ['sstatus', 'sie', 'stvec', 'scounteren', 'senvcfg', 'sscratch', 'sepc', 'scause', 'stval', 'sip', '0x14d', 'satp'].map((csr) => `csrr a0, ${csr}; csrw ${csr}, a0`).join('; ') },
    { name: 'instret counts instructions', code: 'rdinstret a0; nop; c.nop; nop; rdinstret a1; .4byte 0xffffffff; nop; rdinstret a2; lw a3, 0(zero); rdcycle a4; rdcycle a5; sub a1, a1, a0; sub a5, a5, a4',
      ours: { x11: 4n, x15: 1n } },
    { name: 'scounteren opens counters to U-mode', sstatus: SSTATUS.FS | SSTATUS.SUM, pages: { 0: pte(data(0), RWX | PTE.U) },
      code: `csrw scounteren, 2; ${put(page(0), [0xc0102573 | 0, 0xc0002573, EBREAK]).replace('0xc0102573', '0xc0102073')}; csrw sepc, t6; li t0, 0x100; csrc sstatus, t0; sret` },
    { name: 'scounteren again', code: 'csrw scounteren, 7' },
  ],
  'traps': [
    { name: 'calls and breakpoints', user: true, code: 'ecall; li a0, 1; ecall; c.ebreak' },
    { name: 'system instructions in U-mode', user: true, code: 'sret; wfi; sfence.vma; sfence.vma a0, a1; sfence.vma x0, a1; mret; .4byte 0x10300073; .4byte 0x7b200073; uret' },
    { name: 'and those of M-mode in S-mode', code: 'mret; .4byte 0x7b200073; uret; .4byte 0x22000073; .4byte 0x62000073; sfence.vma a0, a1' },
    { name: 'illegal words show themselves', code: '.4byte 0xffffffff; .4byte 0x00007003; .4byte 0x0000303b; .4byte 0xfe001013; .4byte 0x0000200f; .4byte 0x00002063; .4byte 0x00001067; .4byte 0x0000702f; .4byte 0x1810252f; .4byte 0x00104073; .4byte 0x0000000b; .4byte 0x02007053' },
    { name: 'floating point while it is off', sstatus: 0n, code: `li a0, ${page(0)}; fadd.d f0, f1, f2; fmadd.s f0, f1, f2, f3; flw f0, 4(a0); fld f1, 8(a0); fsw f0, 0(a0); fsd f1, 8(a0); c.fld fa0, 0(a0); c.fsd fa0, 0(a0); c.fldsp fa0, 0(sp); c.fsdsp fa0, 0(sp); frcsr a1; csrr a1, fflags; fsrmi 1; fmv.x.d a2, f1; fmv.d.x f1, a0; fcvt.l.d a3, f1; fsgnj.d f0, f1, f2; fmv.x.w a4, f3; fmv.w.x f3, a4; feq.d a5, f1, f1; fclass.s a5, f1` },
    { name: 'rounding modes that are none', code: 'fsrmi 5; fadd.d f0, f1, f2; fadd.d f0, f1, f2, rne; fsqrt.s f1, f1; fcvt.w.s a0, f1; fcvt.d.w f2, a0; fcvt.d.s f3, f4; fcvt.s.d f4, f5; fsrmi 7; fmul.s f0, f1, f2; fdiv.s f3, f4, f5, rtz; .4byte 0x0220d053; .4byte 0x0220e053; fmin.d f0, f1, f2; feq.s a1, f1, f2; fsgnj.s f1, f2, f3; fclass.d a2, f1; fmv.x.w a3, f1' },
    { name: 'misaligned atomics', code: `li a0, ${page(0)}; addi a1, a0, 2; addi a2, a0, 4; lr.w a3, (a1); lr.d a3, (a2); amoadd.w a4, a4, (a1); amoswap.d a5, a5, (a2); amomaxu.w a4, a4, (a2)` },
    { name: 'a misaligned SC traps', code: `li a0, ${page(0)} + 2; li a1, 7; sc.w a1, a1, (a0)`, ours: { cause: 6n, tval: DATA_VA + 2n, x11: 7n } },
    { name: 'a jump clears bit 0', code: 'la a0, 1f + 1; jr a0; li a1, 5; 1: li a2, 6' },
    { name: 'software interrupt', sstatus: SSTATUS.FS | 2n, code: 'csrsi sie, 2; li a0, 1; csrsi sip, 2; li a0, 2; csrci sip, 2; li a0, 3; li a0, 4' },
    { name: 'an interrupt that is not enabled ends wfi', code: 'csrsi sip, 2; csrsi sie, 2; wfi; li a0, 1' },
    { name: 'the timer is pending when time has passed it', code: 'li t0, -1; csrw 0x14d, t0; csrr a0, sip; csrw 0x14d, zero; csrr a1, sip; csrw 0x14d, t0; csrr a2, sip' },
    { name: 'sret goes where SPP says', code: 'la a0, 1f; csrw sepc, a0; li t0, 0x122; csrs sstatus, t0; sret; li a1, 9; 1: csrr a2, sstatus; li t0, 0x122; and a2, a2, t0; csrc sstatus, t0; la a0, 2f; csrw sepc, a0; sret; 2: nop' },
  ],
  'pages': [
    ...[true, false].flatMap((user): Written[] => [
      ...['V', 'R', 'W', 'RW', 'A', 'D', 'AD', 'U', 'WX'].map((without): Written => {
        const own = RWX | (user ? PTE.U : 0n), flags = [...without].reduce((rest, bit) => rest ^ PTE[bit as 'V'], own);
        return { name: `${without} flipped, ${user ? 'U' : 'S'}-mode`, user, pages: { 3: pte(data(0), flags) },
          code: `li a0, ${page(3)}; lw a1, 0(a0); sw a0, 8(a0); lw a2, 8(a0); lr.w a3, (a0); amoadd.w a4, a0, (a0); fld f1, 0(a0); fsd f1, 16(a0); ld a5, -4(a0); sd a0, -4(a0); jr a0` };
      }),
      ...[54n, 59n, 60n, 61n, 63n].map((bit): Written => ({ name: `reserved bit ${bit}, ${user ? 'U' : 'S'}-mode`, user, pages: { 3: pte(data(0), RWX | (user ? PTE.U : 0n)) | 1n << bit }, code: `li a0, ${page(3)}; lw a1, 0(a0); sw a1, 0(a0); jr a0` })),
    ]),
    { name: 'SUM opens user pages to loads and stores', sstatus: SSTATUS.FS | SSTATUS.SUM, pages: { 3: pte(data(0), RWX | PTE.U) }, code: `li a0, ${page(3)}; lw a1, 0(a0); sw a1, 4(a0); li t0, 0x40000; csrc sstatus, t0; lw a2, 0(a0); sw a2, 4(a0); csrs sstatus, t0; lw a3, 0(a0)` },
    { name: 'not even with SUM does S-mode run a user page', sstatus: SSTATUS.FS | SSTATUS.SUM, pages: { 3: pte(data(0), RWX | PTE.U) }, code: `li a0, ${page(3)}; jr a0` },
    { name: 'MXR lets executable pages be read', pages: { 3: pte(data(0), PTE.V | PTE.X | PTE.A) }, code: `li a0, ${page(3)}; lw a1, 0(a0); li t0, 0x80000; csrs sstatus, t0; lw a2, 0(a0); sw a2, 0(a0); csrc sstatus, t0; lw a3, 0(a0); lr.w a4, (a0)` },
    { name: 'addresses beyond Sv39', code: 'li a0, 1 << 38; lw a1, 0(a0); sw a1, 0(a0); li a0, -1 << 39; lw a1, 0(a0); li a0, 1 << 63; sd a1, 0(a0); amoadd.d a1, a1, (a0); jr a0' },
    { name: 'a fetch beyond Sv39', code: 'li a0, 1 << 40; jr a0' },
    { name: 'faults behind jumps within a page', code: 'la t0, 3f; jr t0; 1: lw a1, 0(zero); li a2, 2; .4byte 0xffffffff; c.nop; sd a2, 1(zero); jr t4; 3: jal t4, 1b; lw a3, 0(zero); j 4f; ebreak; 4: jal t5, 5f; 5: sd a3, 1(zero); beqz zero, 6f; ebreak; 6: ebreak; mv a4, t4; mv a5, t5' },
    { name: 'loops, and what follows them', code: 'li a0, 3; li a1, 0; 1: addi a1, a1, 5; addi a0, a0, -1; bnez a0, 1b; lw a2, 0(zero); li a0, 4; j 3f; 2: addi a1, a1, 7; jal t4, 4f; 3: addi a0, a0, -1; bgez a0, 2b; j 5f; 4: lw a3, 0(zero); addi a1, a1, 11; jr t4; 5: nop' },
    { name: 'superpage', superPte: pte(DATA_PA, USABLE), code: `li a0, ${SUPER_VA}; li t0, 0x1000; add a1, a0, t0; sd a0, 8(a1); ld a2, -4(a1); sd a1, -4(a1); li t0, 0x101000; add a2, a0, t0; lw a3, 0(a2)` },
    { name: 'superpage that is not aligned', superPte: pte(DATA_PA + 0x1000n, USABLE), code: `li a0, ${SUPER_VA}; lw a1, 0(a0); sw a1, 0(a0); jr a0` },
    { name: 'superpage gets its A and D bits', superPte: pte(DATA_PA, PTE.V | PTE.R | PTE.W), code: `li a0, ${SUPER_VA}; lw a1, 0(a0); sw a1, 0(a0)` },
    ...[PTE.A, PTE.D, PTE.U, PTE.G].map((bit): Written => ({ name: `a pointer with flag ${bit}`, superPte: pte(LEAF_TABLE, PTE.V | bit), code: `li a0, ${SUPER_VA}; li t0, 0x20000; add a0, a0, t0; lw a1, 0(a0)` })),
    { name: 'a table outside of memory', superPte: pte(NOWHERE, PTE.V), code: `li a0, ${SUPER_VA}; lw a1, 0(a0)`, ours: { cause: 5n, tval: SUPER_VA } },
    { name: 'a page outside of memory', pages: { 3: pte(NOWHERE, RWX) }, code: `li a0, ${page(3)}; lw a1, 0(a0); sw a1, 0(a0); lw a1, -2(a0); jr a0` },
    { name: 'an access over the edge of a page', pages: { 4: 0n, 6: pte(data(0), PTE.V | PTE.R | PTE.A) }, code: `li a0, ${page(4)}; ld a1, -4(a0); sd a0, -4(a0); lw a2, -2(a0); li a0, ${page(6)}; ld a3, -1(a0); sd a0, -1(a0); lw a4, -4(a0); li a0, ${page(5)}; ld a5, -4(a0); sd a0, -4(a0); li a0, ${page(8)}; sd a0, -3(a0); ld a6, -3(a0)` },
    { name: 'an edge whose second page lacks D', pages: { 3: pte(data(0), USABLE ^ PTE.D), 4: pte(data(1), USABLE ^ PTE.D) }, code: `li a0, ${page(4)}; sd a0, -4(a0); ld a1, -4(a0)` },
    { name: 'sfence.vma of one address of a superpage', superPte: pte(DATA_PA, USABLE), pages: { 15: pte(MIDDLE_TABLE, USABLE) }, code: `li a0, ${SUPER_VA}; li t0, 0x1000; add a1, a0, t0; lw a2, 0(a0); lw a3, 0(a1); li t1, ${page(15)}; ld t2, 8(t1); sd zero, 8(t1); sfence.vma a0, zero; lw a4, 0(a1); lw a5, 0(a0); sd t2, 8(t1); sfence.vma a1; lw a6, 0(a1)` },
    { name: 'sfence.vma of another ASID', pages: { 15: pte(LEAF_TABLE, USABLE) }, code: `li a0, ${page(3)}; li a1, ${page(15)}; lw a2, 0(a0); li t0, 8 * 0x23; add a1, a1, t0; ld t1, 0(a1); li t2, 5; sfence.vma zero, t2; sfence.vma a0, t2; lw a3, 0(a0); sd zero, 0(a1); sfence.vma a0, zero; lw a4, 0(a0)` },
    { name: 'pages change under an ASID, and back', pages: { 3: pte(data(0), RWX), 4: pte(data(1), RWX), 15: pte(LEAF_TABLE, USABLE) },
      // With ASID 1: page 3 as page 4, data and code; with ASID 0 again: as it was, since only ASID 1 was flushed.
      code: `${put(page(3), [ADDI_A0_1, RET])}; mv s0, t6; ${put(page(4), [ADDI_A0_2, RET])}; li a0, 0; jalr s0; lw s2, 0(s0); csrr s1, satp; li t0, 1 << 44; or t1, s1, t0; csrw satp, t1; sfence.vma; li a1, ${page(15)}; li t0, 8 * 0x23; add a1, a1, t0; ld t2, 0(a1); ld t3, 8(a1); sd t3, 0(a1); li t0, 1; sfence.vma s0, t0; jalr s0; lw s3, 0(s0); csrw satp, s1; sd t2, 0(a1); sfence.vma s0; jalr s0; lw s4, 0(s0); csrw satp, t1; sfence.vma zero, t0; jalr s0; lw s5, 0(s0); csrw satp, s1; sfence.vma; li s1, 0; li t1, 0` },
    { name: 'sfence.vma after a change of the tables', pages: { 15: pte(LEAF_TABLE, USABLE) }, code: `li a0, ${page(3)}; li a1, ${page(15)}; lw a2, 0(a0); li t0, 8 * 0x23; add a1, a1, t0; ld t1, 0(a1); sd zero, 0(a1); sfence.vma a0; lw a3, 0(a0); sd t1, 0(a1); sfence.vma; lw a4, 0(a0); andi t1, t1, ~4; sd t1, 0(a1); sfence.vma a0, zero; sw a4, 0(a0); lw a5, 0(a0)` },
  ],
  'fetches': [
    ...[['unmapped', 0n], ['not executable', USABLE], ['of the other mode', RWX | PTE.U], ['not accessed yet', RWX ^ PTE.A], ['outside of memory', -1n]].map(([what, flags]): Written => (
      { name: `page ${what}`, pages: { 3: flags === -1n ? pte(NOWHERE, RWX) : pte(data(0), flags as bigint) }, code: `${put(page(6), [EBREAK])}; li a0, ${page(3)}; jr a0` })),
    ...[['executable', RWX], ['unmapped', 0n], ['not executable', USABLE], ['not accessed yet', RWX ^ PTE.A]].map(([what, flags]): Written => ({
      // Pages 3 and 4 are data pages 0 and 1: an instruction lies over their edge.
      name: `an instruction over the edge of a page, the next ${what}`, pages: { 3: pte(data(3), RWX), 4: pte(data(4), flags as bigint), 7: pte(data(4), USABLE) },
      code: `li a0, ${page(3)}; li t0, 0xffe; add a1, a0, t0; li t1, 0x0513; sh t1, 0(a1); li a2, ${page(7)}; li t1, 0x0015; sh t1, 0(a2); li t1, 0x9002; sh t1, 2(a2); li t1, 0x0001; sh t1, -2(a1); fence.i; addi a1, a1, -2; jr a1` })),
    { name: 'an edge whose second half changes', pages: { 3: pte(data(3), RWX), 4: pte(data(4), RWX) },
      code: `li a0, ${page(3)}; li t0, 0xffe; add s1, a0, t0; li t1, 0x0513; sh t1, 0(s1); li a2, ${page(4)}; li t1, 0x0015; sh t1, 0(a2); li t1, 0x8082; sh t1, 2(a2); fence.i; li a0, 0; jalr s1; li t1, 0x0035; sh t1, 0(a2); fence.i; jalr s1` },
    { name: 'code that changes itself', pages: { 3: pte(data(0), RWX), 6: pte(data(0), USABLE) },
      code: `${put(page(3), [ADDI_A0_1, RET])}; mv s0, t6; li a0, 0; jalr s0; ${put(page(3), [ADDI_A0_2])}; jalr s0; ${put(page(6), [ADDI_A0_1])}; jalr s0; jalr s0` },
    { name: 'the same address after another page was mapped there', pages: { 3: pte(data(0), RWX), 4: pte(data(1), RWX), 15: pte(LEAF_TABLE, USABLE) },
      code: `${put(page(3), [ADDI_A0_1, RET])}; mv s0, t6; ${put(page(4), [ADDI_A0_2, RET])}; li a0, 0; jalr s0; jalr s0; li a1, ${page(15)}; li t0, 8 * 0x23; add a1, a1, t0; ld t1, 8(a1); sd t1, 0(a1); sfence.vma; jalr s0; jalr s0` },
    { name: 'no execution for one mode does not leak to the other', user: true, codeFlags: PTE.V | PTE.X | PTE.A | PTE.U, pages: { 3: pte(data(0), RWX) }, code: `lw a0, 0(x0); la a1, 1f; 1: lw a2, 0(a1); li a0, ${page(3)}; jr a0` },
  ],
  'LR and SC': [
    { name: 'pairs', code: `li a0, ${page(0)}; li a1, -2; lr.w a2, (a0); sc.w a3, a1, (a0); lw a4, 0(a0); sc.w a5, a0, (a0); lr.d a6, (a0); addi a7, a0, 8; sc.d t0, a1, (a7); ld t1, 8(a0); sc.d t2, a1, (a0); lr.d.aqrl t3, (a0); sc.d.rl t4, a0, (a0); ld t5, 0(a0)` },
    { name: 'another address, without a right to write there', pages: { 3: 0n }, code: `li a0, ${page(0)}; li a1, ${page(3)}; lr.w a2, (a0); sc.w a3, a1, (a1); sc.w a4, a1, (a0)` },
    { name: 'a page that may be read only', pages: { 3: pte(data(0), PTE.V | PTE.R | PTE.A) }, code: `li a0, ${page(3)}; lr.w a1, (a0); sc.w a2, a0, (a0); amoor.d a3, x0, (a0)` },
  ],
  'floating point': [
    { name: 'values that are not boxed are NaNs', code: 'li a0, 0x3f800000; fmv.d.x f0, a0; fmv.w.x f1, a0; fadd.s f2, f0, f1; fsgnjx.s f3, f0, f1; fsgnj.s f3, f0, f0; fmv.x.w a1, f0; feq.s a2, f1, f1; feq.s a3, f0, f0; fclass.s a4, f0; fmin.s f4, f0, f1; fcvt.d.s f5, f0; fcvt.w.s a5, f0; fmadd.s f6, f1, f1, f0; fsqrt.s f7, f0' },
    ...[0, 1, 2, 3, 4].map((mode): Written => ({
      name: `results between two numbers, mode ${mode}`, fcsr: BigInt(mode) << 5n,
      code: `li a0, 0x3ff0000000000001; fmv.d.x f0, a0; li a0, 0x3ca0000000000000; fmv.d.x f1, a0; fadd.d f2, f0, f1; fsub.d f3, f0, f1; fneg.d f4, f0; fadd.d f5, f4, f1; fmul.d f6, f0, f0; fdiv.d f7, f1, f0; fsqrt.d f8, f0; fcvt.s.d f9, f0; fcvt.w.d a0, f0; li a1, -1; fcvt.d.lu f10, a1; fcvt.s.l f11, a1; fcvt.s.lu f12, a1; li a2, 0x00100000; slli a2, a2, 32; fmv.d.x f13, a2; fmul.d f14, f13, f1; frcsr a3; fmadd.d f15, f0, f0, f1; fnmsub.d f16, f0, f0, f0; frcsr a4` })),
  ],
};

const cases = Object.values(GROUPS).flat();
const folder = mkdtempSync(join(tmpdir(), 'portside-cases-'));
afterAll(() => rmSync(folder, { recursive: true }));
if (MISSING_TOOLS.length > 0) console.warn(`${MISSING_TOOLS.join(', ')} not installed: traps, pages and instruction groups are not compared with QEMU`);

/** Code of all cases, each in a slot of its own. */
function codes(): Uint8Array[] {
  const slots = cases.map(({ code }, i) => `.org ${i * CODE_BYTES_MAX}; case_${i}: ${code}\nebreak; end_${i}:`);
  const lengths = cases.map((_, i) => `.2byte end_${i} - case_${i}`);
  const bytes = assemble(folder, 'cases', `.option norelax\n.globl _start\n_start:\n${slots.join('\n')}\n.org ${cases.length * CODE_BYTES_MAX}\n${lengths.join('\n')}\n`, 0x10000);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return cases.map((_, i) => bytes.slice(i * CODE_BYTES_MAX, i * CODE_BYTES_MAX + view.getUint16(cases.length * CODE_BYTES_MAX + 2 * i, true)));
}

function made(one: Written, code: Uint8Array): Case {
  const random = new Random(7n), user = one.user ?? false, own = USABLE | (user ? PTE.U : 0n);
  return {
    name: one.name, user, sstatus: one.sstatus ?? SSTATUS.FS, fcsr: one.fcsr ?? 0n, seed: 1n, code,
    codeFlags: one.codeFlags ?? (PTE.V | PTE.R | PTE.X | PTE.A | (user ? PTE.U : 0n)), superPte: one.superPte ?? 0n,
    pages: Array.from({ length: DATA_VIRTUAL_PAGES }, (_, i) => one.pages?.[i] ?? pte(data(i), own)),
    x: [0n, ...Array.from({ length: 31 }, (_, i) => INTERESTING[i % INTERESTING.length]!)], f: Array.from({ length: 32 }, () => random.u64()),
  };
}

/** Each case's lines; the last one ends with its hash. */
function split(lines: string[]): string[][] {
  const all: string[][] = [[]];
  for (const line of lines) {
    all.at(-1)!.push(line);
    if (line.includes(' h')) all.push([]);
  }
  return all.slice(0, -1);
}

/** Registers at the last trap, and cause and value of the first. */
function state(lines: string[]): Record<string, bigint> {
  const value = (text: string): bigint => BigInt(`0x${text.slice(1)}`);
  const [cause, tval] = lines[0]!.split(' '), last = lines.at(-2)!.split(' ');
  return { cause: value(cause!), tval: value(tval!), ...Object.fromEntries(last.filter((text) => text.startsWith('x')).map((text, i) => [`x${i + 1}`, value(text)])) };
}

describe.runIf(MISSING_TOOLS.length === 0)('cases', () => {
  const results: Partial<Record<Target, string[][]>> = {};
  beforeAll(async () => {
    const bench = await Bench.create(folder), all = codes().map((code, i) => made(cases[i]!, code));
    for (const target of ['qemu', 'native', 'wasm', 'translated'] as const) results[target] = split(await bench.runCases(target, all, true));
  }, 300_000);

  for (const [group, list] of Object.entries(GROUPS)) {
    test(group, () => {
      for (const target of ['native', 'wasm', 'translated'] as const) {
        const wrong = list.flatMap((one) => {
          const index = cases.indexOf(one), [theirs, ours] = [results.qemu![index], results[target]![index]];
          if (ours === undefined || (theirs === undefined && one.ours === undefined)) return [`${one.name}: did not run`];
          if (one.ours === undefined) return differences(theirs, ours).map((text) => `${one.name}: ${text}`);
          const got = state(ours);
          return Object.entries(one.ours).filter(([name, value]) => got[name] !== value).map(([name, value]) => `${one.name}: ${name} is ${got[name]?.toString(16)}, not ${value.toString(16)}`);
        });
        expect(wrong, target).toEqual([]);
      }
    });
  }
});

/** Where each extension is tested: the base ones in isa.test.ts and by the fuzzer, these here. */
const EXTENSIONS = ['i', 'm', 'a', 'f', 'd', 'c', 'zicntr', 'zicsr', 'zifencei', 'zicboz', 'zicond', 'zba', 'zbb', 'zbs', 'sstc', 'svadu', 'svvptc'];

test('the device tree announces what is tested, no more and no less, twice the same', () => {
  const source = readFileSync(fileURLToPath(new URL('../board/fdt.c', import.meta.url)), 'utf8');
  const [, letters, words] = /"riscv,isa", "rv64([a-z]+)_([a-z_]+)"/.exec(source)!;
  expect([...letters!, ...words!.split('_')]).toEqual(EXTENSIONS);
  expect(/extensions\[\] =\s+"([^"]+)"/.exec(source)![1]!.split('\\0')).toEqual(EXTENSIONS);
});
