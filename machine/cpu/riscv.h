/*
 * Encodings of the RISC-V manual: "unprivileged" is volume I, "privileged" volume II.
 */
#ifndef RISCV_H
#define RISCV_H

/* Privileged §4.1.8, scause: exceptions, then interrupts (bit 63). */
#define CAUSE_FETCH_ACCESS 1
#define CAUSE_ILLEGAL 2
#define CAUSE_BREAKPOINT 3
#define CAUSE_LOAD_MISALIGNED 4
#define CAUSE_LOAD_ACCESS 5
#define CAUSE_STORE_MISALIGNED 6
#define CAUSE_STORE_ACCESS 7
#define CAUSE_ECALL_U 8
#define CAUSE_FETCH_PAGE 12
#define CAUSE_LOAD_PAGE 13
#define CAUSE_STORE_PAGE 15
#define CAUSE_INTERRUPT (1ull << 63)

#define IRQ_SOFTWARE 1
#define IRQ_TIMER 5
#define IRQ_EXTERNAL 9
#define SIP_SSIP (1ull << IRQ_SOFTWARE)
#define SIP_STIP (1ull << IRQ_TIMER)
#define SIP_SEIP (1ull << IRQ_EXTERNAL)

/* Privileged §2.2, CSR numbers. */
#define CSR_FFLAGS 0x001
#define CSR_FRM 0x002
#define CSR_FCSR 0x003
#define CSR_SSTATUS 0x100
#define CSR_SIE 0x104
#define CSR_STVEC 0x105
#define CSR_SCOUNTEREN 0x106
#define CSR_SENVCFG 0x10a
#define CSR_SSCRATCH 0x140
#define CSR_SEPC 0x141
#define CSR_SCAUSE 0x142
#define CSR_STVAL 0x143
#define CSR_SIP 0x144
#define CSR_STIMECMP 0x14d
#define CSR_SATP 0x180
#define CSR_CYCLE 0xc00
#define CSR_TIME 0xc01
#define CSR_INSTRET 0xc02

/* Privileged §4.1.1, sstatus. */
#define SSTATUS_SIE (1ull << 1)
#define SSTATUS_SPIE (1ull << 5)
#define SSTATUS_SPP (1ull << 8)
#define SSTATUS_FS_SHIFT 13
#define SSTATUS_FS (3ull << SSTATUS_FS_SHIFT)
#define SSTATUS_SUM (1ull << 18)
#define SSTATUS_MXR (1ull << 19)
#define SSTATUS_UXL_64 (2ull << 32)
#define SSTATUS_SD (1ull << 63)

#define FS_OFF 0
#define FS_DIRTY 3

/* Privileged §4.1.10, senvcfg. */
#define SENVCFG_FIOM (1ull << 0)
#define SENVCFG_CBZE (1ull << 7)

/* Privileged §4.3 and §4.4, satp and page table entries. */
#define SATP_MODE_SHIFT 60
#define SATP_MODE_BARE 0
#define SATP_MODE_SV39 8
#define SATP_ASID_SHIFT 44
#define SATP_ASID 0xffffull
#define SATP_PPN ((1ull << 44) - 1)
#define PTE_V (1ull << 0)
#define PTE_R (1ull << 1)
#define PTE_W (1ull << 2)
#define PTE_X (1ull << 3)
#define PTE_U (1ull << 4)
#define PTE_G (1ull << 5)
#define PTE_A (1ull << 6)
#define PTE_D (1ull << 7)
#define PTE_PPN_SHIFT 10
#define PTE_RESERVED (0x3ffull << 54)


/* Unprivileged §20.2, fflags and rounding modes. */
#define FFLAG_NX 1
#define FFLAG_UF 2
#define FFLAG_OF 4
#define FFLAG_DZ 8
#define FFLAG_NV 16
#define RM_RNE 0
#define RM_RTZ 1
#define RM_RDN 2
#define RM_RUP 3
#define RM_RMM 4
#define RM_DYN 7

/* Zicboz: what one cbo.zero clears, in bytes; the device tree says so. */
#define CBO_BLOCK 64

#endif
