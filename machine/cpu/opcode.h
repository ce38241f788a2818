/*
 * What an op can do: one case each in interp.c. Named after the instruction; _X and the like say how a fused or
 * specialised one differs.
 */
#ifndef OPCODE_H
#define OPCODE_H

#include "cpu/fusion.h"

enum opcode {
  OP_ILLEGAL,
  OP_NOP,
  OP_LI,    /* rd = imm */
  OP_AUIPC, /* rd = base + imm */
  OP_MV,
  /* register with register */
  OP_ADD, OP_SUB, OP_SLL, OP_SLT, OP_SLTU, OP_XOR, OP_SRL, OP_SRA, OP_OR, OP_AND,
  OP_ADDW, OP_SUBW, OP_SLLW, OP_SRLW, OP_SRAW,
  /* with immediate */
  OP_ADDI, OP_SLTI, OP_SLTIU, OP_XORI, OP_ORI, OP_ANDI, OP_SLLI, OP_SRLI, OP_SRAI,
  OP_ADDIW, OP_SLLIW, OP_SRLIW, OP_SRAIW,
  /* M */
  OP_MUL, OP_MULH, OP_MULHSU, OP_MULHU, OP_DIV, OP_DIVU, OP_REM, OP_REMU,
  OP_MULW, OP_DIVW, OP_DIVUW, OP_REMW, OP_REMUW,
  /* Zba */
  OP_SH1ADD, OP_SH2ADD, OP_SH3ADD, OP_ADD_UW, OP_SH1ADD_UW, OP_SH2ADD_UW, OP_SH3ADD_UW, OP_SLLI_UW,
  /* Zbb */
  OP_ANDN, OP_ORN, OP_XNOR, OP_CLZ, OP_CTZ, OP_CPOP, OP_CLZW, OP_CTZW, OP_CPOPW,
  OP_MAX, OP_MAXU, OP_MIN, OP_MINU, OP_SEXT_B, OP_SEXT_H, OP_ZEXT_H,
  OP_ROL, OP_ROR, OP_RORI, OP_ROLW, OP_RORW, OP_RORIW, OP_ORC_B, OP_REV8,
  /* Zbs */
  OP_BCLR, OP_BEXT, OP_BINV, OP_BSET, OP_BCLRI, OP_BEXTI, OP_BINVI, OP_BSETI,
  /* Zicond */
  OP_CZERO_EQZ, OP_CZERO_NEZ,
  /* memory */
  OP_LB, OP_LH, OP_LW, OP_LD, OP_LBU, OP_LHU, OP_LWU,
  OP_SB, OP_SH, OP_SW, OP_SD,
  OP_FLW, OP_FLD, OP_FSW, OP_FSD,
  OP_LOAD_X0, /* a load whose result nobody wants; imm: offset, rd: its size */
  OP_CBO_ZERO,
  OP_AMO, /* imm: instruction */
  /* control; links follow these, and all but the branches end a block */
  OP_BEQ, OP_BNE, OP_BLT, OP_BGE, OP_BLTU, OP_BGEU, OP_BEQZ, OP_BNEZ,
  OP_JAL, OP_J, OP_JALR, OP_JR,
  OP_NEXT, /* the block was cut here; imm: offset of the next instruction */
  /* system; these end a block and return to the top of the interpreter, but for the pure reads */
  OP_CSR, OP_CSR_READ, OP_ECALL, OP_EBREAK, OP_SRET, OP_WFI, OP_SFENCE, OP_FENCE_I,
  /* floating point; imm: instruction */
  OP_FP,
  OP_FADD_D, OP_FSUB_D, OP_FMUL_D, OP_FDIV_D, OP_FADD_S, OP_FSUB_S, OP_FMUL_S, OP_FDIV_S,
  OP_FSGNJ_D, OP_FSGNJN_D, OP_FSGNJX_D, OP_FMV_X_D, OP_FMV_D_X, OP_FMV_X_W, OP_FMV_W_X,
  /* what two instructions make (fuse.c) */
  OP_SHADD,   /* rd = (rs1 << imm) + rs2 */
  OP_EXTRACT, /* rd = rs1 << imm % 256 >> imm / 256 */
  OP_REGION,  /* first op of a block whose code was translated (translate/region.h) */
/* sequences run in one dispatch (fusion.h) */
#define FUSED2(a, b) OP_##a##_##b,
#define FUSED3(a, b, c) OP_##a##_##b##_##c,
#define FUSED4(a, b, c, d) OP_##a##_##b##_##c##_##d,
  FUSED_OPS
#undef FUSED2
#undef FUSED3
#undef FUSED4
  OP_COUNT
};

#endif
