# Firmware for qemu-system-riscv64 -M virt: hands S-mode over as our machine does, delegates every exception but its own
# calls, and knows of SBI only the console (DBCN write) and the end (SRST). OpenSBI would emulate and redirect some
# traps, and what is compared is the hart alone.
.equ UART, 0x10000000
.equ FINISHER, 0x100000
.equ KERNEL, 0x80200000

.text
.globl _start
_start:
  csrr t0, mhartid
  beqz t0, 1f
0:
  wfi
  j 0b
1:
  la t0, trap
  csrw mtvec, t0
  la t0, stack_top
  csrw mscratch, t0
  # All but calls from S and M.
  li t0, 0xb1ff
  csrw medeleg, t0
  li t0, 0x222
  csrw mideleg, t0
  li t0, 7
  csrw mcounteren, t0
  csrw scounteren, t0
  # STCE and CBZE of menvcfg
  li t0, 1 << 63 | 1 << 7
  csrw 0x30a, t0
  li t0, -1
  srli t0, t0, 10
  csrw pmpaddr0, t0
  li t0, 0x1f
  csrw pmpcfg0, t0
  li t0, 1 << 11
  csrw mstatus, t0
  li t0, KERNEL
  csrw mepc, t0
  li a0, 0
  mret

.balign 4
trap:
  csrrw sp, mscratch, sp
  sd t0, -8(sp)
  sd t1, -16(sp)
  csrr t0, mepc
  addi t0, t0, 4
  csrw mepc, t0
  li t0, 0x53525354
  beq a7, t0, off
  li t0, 0x4442434e
  bne a7, t0, unknown
  li t0, UART
1:
  beqz a0, 2f
4:
  # THRE: what comes too early is lost
  lbu t1, 5(t0)
  andi t1, t1, 0x20
  beqz t1, 4b
  lbu t1, 0(a1)
  sb t1, 0(t0)
  addi a0, a0, -1
  addi a1, a1, 1
  j 1b
unknown:
  li a0, -2
2:
  ld t0, -8(sp)
  ld t1, -16(sp)
  csrrw sp, mscratch, sp
  mret
off:
  li t0, UART
5:
  lbu t1, 5(t0)
  andi t1, t1, 0x40
  beqz t1, 5b
  li t0, FINISHER
  li t1, 0x5555
  sw t1, 0(t0)
3:
  j 3b

.balign 16
.skip 64
stack_top:
