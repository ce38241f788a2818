# Runs cases, one after another, and prints what became of each. Bare, in S-mode, at 0x80200000; the cases lie at CASES
# (cases.ts writes them there; offsets below).
#
# A case is a piece of code with the state that it starts in. It runs at virtual address CODE_VA, in U- or S-mode, with sixteen
# pages at DATA_VA and a superpage at SUPER_VA, whose page table entries the case brings. The runtime itself is mapped where no
# case looks (RUNTIME_VA). Every trap is folded into the case's hash, with all registers; then the case goes on behind the
# trapping instruction. It ends at ebreak, at a fetch fault, outside of its code, or after TRAPS_MAX traps. At the end the data
# pages and the page table entries (with the A and D bits set meanwhile) are folded in as well. One line per case: its hash.
# With `verbose` set, a line per trap shows all that was folded in.
.equ CASES, 0x80210000
.equ TABLE_ROOT, 0x82000000
.equ TABLE_MIDDLE, 0x82001000
.equ TABLE_LEAF, 0x82002000
.equ DATA_PA, 0x83000000
.equ DATA_PAGES, 3
.equ CODE_PA, 0x83100000
.equ CODE_PAGES, 2
.equ CODE_VA, 0x10000
.equ RUNTIME_VA, 0x1580000000
# from a physical address to where the runtime sees it
.equ HIGH, 0x1500000000
.equ TRAPS_MAX, 100

.equ CASE_SIZE, 0
.equ CASE_SSTATUS, 8
.equ CASE_FCSR, 16
.equ CASE_CODE_LEN, 24
.equ CASE_SEED, 32
.equ CASE_CODE_FLAGS, 40
.equ CASE_SUPER, 48
.equ CASE_PAGES, 56
.equ CASE_X, 184
.equ CASE_F, 440
.equ CASE_CODE, 696

.equ SAVE_F, 256
.equ SAVE_HASH, 512
.equ SAVE_TRAPS, 520
.equ SAVE_CASE, 528
.equ SAVE_LEFT, 536
.equ SAVE_VERBOSE, 544
.equ SAVE_RETURN, 552

.text
.globl _start
_start:
  csrw sie, zero
  # Root: the cases' gigabyte 0, the runtime's gigabyte, and for the moment the one that we run in.
  li t0, TABLE_ROOT
  li t1, TABLE_MIDDLE >> 12 << 10 | 1
  sd t1, 0(t0)
  li t1, 0x80000000 >> 12 << 10 | 0xcf
  sd t1, 8 * (0x80000000 >> 30)(t0)
  li t2, 8 * (RUNTIME_VA >> 30)
  add t2, t2, t0
  sd t1, 0(t2)
  li t2, TABLE_MIDDLE
  li t1, TABLE_LEAF >> 12 << 10 | 1
  sd t1, 0(t2)
  li t1, 8 << 60 | TABLE_ROOT >> 12
  csrw satp, t1
  sfence.vma
  li s11, HIGH
  la t1, 1f
  add t1, t1, s11
  jr t1
1:
  add t0, t0, s11
  sd zero, 8 * (0x80000000 >> 30)(t0)
  sfence.vma
  la sp, save
  csrw sscratch, sp
  la t0, trap
  csrw stvec, t0
  li t0, CASES + HIGH
  ld t1, 0(t0)
  sd t1, SAVE_LEFT(sp)
  ld t1, 8(t0)
  sd t1, SAVE_VERBOSE(sp)
  addi t0, t0, 16
  sd t0, SAVE_CASE(sp)

next_case:
  ld s0, SAVE_CASE(sp)
  ld t0, SAVE_LEFT(sp)
  beqz t0, off
  li t0, TRAPS_MAX
  sd t0, SAVE_TRAPS(sp)
  ld s1, CASE_SEED(s0)
  sd s1, SAVE_HASH(sp)
  # data: xorshift64 from the seed
  li t0, DATA_PA + HIGH
  li t1, DATA_PA + HIGH + DATA_PAGES * 4096
1:
  slli t2, s1, 13
  xor s1, s1, t2
  srli t2, s1, 7
  xor s1, s1, t2
  slli t2, s1, 17
  xor s1, s1, t2
  sd s1, 0(t0)
  addi t0, t0, 8
  bltu t0, t1, 1b
  # page table entries
  li t0, TABLE_MIDDLE + HIGH
  ld t1, CASE_SUPER(s0)
  sd t1, 8(t0)
  li t0, TABLE_LEAF + HIGH
  ld t1, CASE_CODE_FLAGS(s0)
  li t2, CODE_PA >> 12 << 10
  or t2, t2, t1
  sd t2, 8 * 0x10(t0)
  addi t2, t2, 1 << 10
  sd t2, 8 * 0x11(t0)
  addi t1, s0, CASE_PAGES
  addi t2, t0, 8 * 0x20
  li t3, 16
1:
  ld t4, 0(t1)
  sd t4, 0(t2)
  addi t1, t1, 8
  addi t2, t2, 8
  addi t3, t3, -1
  bnez t3, 1b
  # code
  ld t0, CASE_CODE_LEN(s0)
  addi t1, s0, CASE_CODE
  li t2, CODE_PA + HIGH
  add t3, t1, t0
1:
  ld t4, 0(t1)
  sd t4, 0(t2)
  addi t1, t1, 8
  addi t2, t2, 8
  bltu t1, t3, 1b
  fence.i
  sfence.vma
  # state
  li t0, 0x6000
  csrs sstatus, t0
  ld t0, CASE_FCSR(s0)
  csrw fcsr, t0
  .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  fld f\n, CASE_F+8*\n(s0)
  .endr
  ld t0, CASE_SSTATUS(s0)
  csrw sstatus, t0
  csrw senvcfg, zero
  csrw sie, zero
  csrci sip, 2
  csrw scause, zero
  csrw stval, zero
  li t0, CODE_VA
  csrw sepc, t0
  # Ends a reservation of the case before.
  addi t0, sp, SAVE_RETURN
  sc.d t1, zero, (t0)
  mv x31, s0
  .irp n,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
  ld x\n, CASE_X+8*\n(x31)
  .endr
  ld x31, CASE_X+8*31(x31)
  sret

# s9: hash; a0: value. Clobbers t6.
.macro mix reg
  xor s9, s9, \reg
  mul s9, s9, s10
  srli t6, s9, 29
  xor s9, s9, t6
.endm

.balign 4
trap:
  csrrw sp, sscratch, sp
  sd x1, 8(sp)
  .irp n,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  sd x\n, 8*\n(sp)
  .endr
  csrr t0, sscratch
  sd t0, 16(sp)
  csrw sscratch, sp
  csrr s0, scause
  csrr s1, stval
  csrr s2, sepc
  csrr s3, sstatus
  li t0, 0x6000
  csrs sstatus, t0
  csrr s4, fcsr
  .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  fsd f\n, SAVE_F+8*\n(sp)
  .endr
  # SIE SPIE SPP SUM MXR, and whether FS is off: how dirty it gets is the implementation's choice
  li t0, 0xc0122
  and s5, s3, t0
  li t0, 0x6000
  and t0, t0, s3
  snez t0, t0
  or s5, s5, t0
  # Privileged 4.1.9: at a breakpoint stval is the address or 0, as the implementation likes.
  li t0, 3
  bne s0, t0, 1f
  li s1, 0
1:
  ld s9, SAVE_HASH(sp)
  li s10, 0x9e3779b97f4a7c15
  mix s0
  mix s1
  mix s2
  mix s4
  mix s5
  addi t0, sp, 8
  addi t1, sp, SAVE_HASH
1:
  ld t2, 0(t0)
  mix t2
  addi t0, t0, 8
  bltu t0, t1, 1b
  sd s9, SAVE_HASH(sp)
  ld t0, SAVE_VERBOSE(sp)
  beqz t0, 2f
  call show_trap
2:
  # Does the case go on?
  li t0, 3
  beq s0, t0, end_case
  li t0, 1
  beq s0, t0, end_case
  li t0, 12
  beq s0, t0, end_case
  ld t0, SAVE_TRAPS(sp)
  addi t0, t0, -1
  sd t0, SAVE_TRAPS(sp)
  beqz t0, end_case
  ld t1, SAVE_CASE(sp)
  ld t1, CASE_CODE_LEN(t1)
  li t0, CODE_VA
  sub t0, s2, t0
  bgeu t0, t1, end_case
  li t1, CODE_PA + HIGH
  add t0, t0, t1
  lhu t0, 0(t0)
  andi t0, t0, 3
  addi t0, t0, -3
  addi s2, s2, 2
  bnez t0, 3f
  addi s2, s2, 2
3:
  csrw sepc, s2
  csrw sstatus, s3
  ld x1, 8(sp)
  .irp n,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
  ld x\n, 8*\n(sp)
  .endr
  ld sp, 16(sp)
  sret

end_case:
  ld s9, SAVE_HASH(sp)
  li t0, DATA_PA + HIGH
  li t1, DATA_PA + HIGH + DATA_PAGES * 4096
1:
  ld t2, 0(t0)
  mix t2
  addi t0, t0, 8
  bltu t0, t1, 1b
  mv s8, s9
  li t0, TABLE_LEAF + HIGH + 8 * 0x10
  addi t1, t0, 8 * 0x20
1:
  ld t2, 0(t0)
  mix t2
  addi t0, t0, 8
  bltu t0, t1, 1b
  li t0, TABLE_MIDDLE + HIGH
  ld t2, 8(t0)
  mix t2
  ld t0, SAVE_VERBOSE(sp)
  beqz t0, 2f
  mv a0, s8
  li a1, 'm'
  call put_value
  li t0, TABLE_LEAF + HIGH + 8 * 0x10
  addi s7, t0, 8 * 0x20
  mv s8, t0
3:
  ld a0, 0(s8)
  li a1, 'p'
  call put_value
  addi s8, s8, 8
  bltu s8, s7, 3b
  li t0, TABLE_MIDDLE + HIGH
  ld a0, 8(t0)
  li a1, 'p'
  call put_value
2:
  mv a0, s9
  li a1, 'h'
  call put_value
  call flush_line
  ld t0, SAVE_CASE(sp)
  ld t1, CASE_SIZE(t0)
  add t0, t0, t1
  sd t0, SAVE_CASE(sp)
  ld t0, SAVE_LEFT(sp)
  addi t0, t0, -1
  sd t0, SAVE_LEFT(sp)
  j next_case

# cause, tval, epc, fcsr, sstatus, x1 to x31, f0 to f31
show_trap:
  sd ra, SAVE_RETURN(sp)
  mv a0, s0
  li a1, 'c'
  call put_value
  mv a0, s1
  li a1, 't'
  call put_value
  mv a0, s2
  li a1, 'e'
  call put_value
  mv a0, s4
  li a1, 'F'
  call put_value
  mv a0, s5
  li a1, 's'
  call put_value
  addi s7, sp, 8
  addi s8, sp, SAVE_F
  li s6, 'x'
1:
  ld a0, 0(s7)
  mv a1, s6
  call put_value
  addi s7, s7, 8
  bltu s7, s8, 1b
  addi t0, sp, SAVE_HASH
  li s6, 'f'
  mv s8, t0
  bltu s7, t0, 1b
  call flush_line
  ld ra, SAVE_RETURN(sp)
  ret

# a1: a letter, a0: a value in 16 hex digits, and a blank. Clobbers t0 to t3.
put_value:
  la t0, line_end
  ld t1, 0(t0)
  sb a1, 0(t1)
  addi t1, t1, 1
  li t2, 60
1:
  srl t3, a0, t2
  andi t3, t3, 15
  addi t3, t3, -10
  bltz t3, 2f
  addi t3, t3, 'a' - '0' - 10
2:
  addi t3, t3, '0' + 10
  sb t3, 0(t1)
  addi t1, t1, 1
  addi t2, t2, -4
  bgez t2, 1b
  li t3, ' '
  sb t3, 0(t1)
  addi t1, t1, 1
  sd t1, 0(t0)
  ret

flush_line:
  la t0, line_end
  ld t1, 0(t0)
  la a1, line
  li t2, '\n'
  sb t2, -1(t1)
  sub a0, t1, a1
  sd a1, 0(t0)
  li t2, HIGH
  sub a1, a1, t2
  li a2, 0
  li a6, 0
  li a7, 0x4442434e
  ecall
  ret

off:
  li a7, 0x53525354
  li a6, 0
  li a0, 0
  li a1, 0
  ecall
1:
  j 1b

.balign 16
save:
  .skip 560
line_end:
  .dword line + HIGH
line:
  .skip 4096
