/*
 * Compressed instructions are first written out as the 32-bit instruction that they abbreviate (unprivileged §26),
 * so there is one decoder proper.
 */
#include "cpu/decode.h"

#include "cpu/opcode.h"
#include "cpu/riscv.h"

static inline u32 field(u32 bits, u32 low, u32 len) { return bits >> low & ((1u << len) - 1); }
static inline i32 sign_extend(u32 value, u32 len) { return (i32)(value << (32 - len)) >> (32 - len); }

/* Encoders for the expansion. */
static u32 enc_r(u32 opcode, u32 funct3, u32 funct7, u32 rd, u32 rs1, u32 rs2) {
  return opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25;
}
static u32 enc_i(u32 opcode, u32 funct3, u32 rd, u32 rs1, u32 imm) { return opcode | rd << 7 | funct3 << 12 | rs1 << 15 | imm << 20; }
static u32 enc_s(u32 opcode, u32 funct3, u32 rs1, u32 rs2, u32 imm) {
  return opcode | field(imm, 0, 5) << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | field(imm, 5, 7) << 25;
}
static u32 enc_b(u32 funct3, u32 rs1, u32 rs2, u32 imm) {
  return 0x63 | field(imm, 11, 1) << 7 | field(imm, 1, 4) << 8 | funct3 << 12 | rs1 << 15 | rs2 << 20 | field(imm, 5, 6) << 25 |
         field(imm, 12, 1) << 31;
}
static u32 enc_j(u32 rd, u32 imm) {
  return 0x6f | rd << 7 | field(imm, 12, 8) << 12 | field(imm, 11, 1) << 20 | field(imm, 1, 10) << 21 | field(imm, 20, 1) << 31;
}

#define OPC_LOAD 0x03
#define OPC_LOAD_FP 0x07
#define OPC_MISC_MEM 0x0f
#define OPC_OP_IMM 0x13
#define OPC_AUIPC 0x17
#define OPC_OP_IMM_32 0x1b
#define OPC_STORE 0x23
#define OPC_STORE_FP 0x27
#define OPC_AMO 0x2f
#define OPC_OP 0x33
#define OPC_LUI 0x37
#define OPC_OP_32 0x3b
#define OPC_FMADD 0x43
#define OPC_FNMADD 0x4f
#define OPC_OP_FP 0x53
#define OPC_BRANCH 0x63
#define OPC_JALR 0x67
#define OPC_JAL 0x6f
#define OPC_SYSTEM 0x73

/* No valid instruction is 0. */
#define EXPAND_ILLEGAL 0

static u32 expand_quadrant0(u32 c) {
  u32 rd = field(c, 2, 3) + 8, rs1 = field(c, 7, 3) + 8;
  u32 imm_w = field(c, 10, 3) << 3 | field(c, 6, 1) << 2 | field(c, 5, 1) << 6;
  u32 imm_d = field(c, 10, 3) << 3 | field(c, 5, 2) << 6;
  switch (field(c, 13, 3)) {
    case 0: { // c.addi4spn
      u32 imm = field(c, 11, 2) << 4 | field(c, 7, 4) << 6 | field(c, 6, 1) << 2 | field(c, 5, 1) << 3;
      return imm ? enc_i(OPC_OP_IMM, 0, rd, 2, imm) : EXPAND_ILLEGAL;
    }
    case 1: return enc_i(OPC_LOAD_FP, 3, rd, rs1, imm_d);
    case 2: return enc_i(OPC_LOAD, 2, rd, rs1, imm_w);
    case 3: return enc_i(OPC_LOAD, 3, rd, rs1, imm_d);
    case 5: return enc_s(OPC_STORE_FP, 3, rs1, rd, imm_d);
    case 6: return enc_s(OPC_STORE, 2, rs1, rd, imm_w);
    case 7: return enc_s(OPC_STORE, 3, rs1, rd, imm_d);
    default: return EXPAND_ILLEGAL;
  }
}

static u32 expand_quadrant1(u32 c) {
  u32 rd = field(c, 7, 5), rd3 = field(c, 7, 3) + 8, rs2 = field(c, 2, 3) + 8;
  u32 shamt = field(c, 12, 1) << 5 | field(c, 2, 5);
  i32 imm = sign_extend(shamt, 6);
  u32 imm12 = (u32)imm & 0xfff;
  switch (field(c, 13, 3)) {
    case 0: return enc_i(OPC_OP_IMM, 0, rd, rd, imm12);
    case 1: return rd ? enc_i(OPC_OP_IMM_32, 0, rd, rd, imm12) : EXPAND_ILLEGAL;
    case 2: return enc_i(OPC_OP_IMM, 0, rd, 0, imm12);
    case 3:
      if (rd == 2) { // c.addi16sp
        i32 imm16 = sign_extend(field(c, 12, 1) << 9 | field(c, 6, 1) << 4 | field(c, 5, 1) << 6 | field(c, 3, 2) << 7 | field(c, 2, 1) << 5, 10);
        return imm16 ? enc_i(OPC_OP_IMM, 0, 2, 2, (u32)imm16 & 0xfff) : EXPAND_ILLEGAL;
      }
      return imm ? OPC_LUI | rd << 7 | (u32)imm << 12 : EXPAND_ILLEGAL;
    case 4:
      switch (field(c, 10, 2)) {
        case 0: return enc_i(OPC_OP_IMM, 5, rd3, rd3, shamt);
        case 1: return enc_i(OPC_OP_IMM, 5, rd3, rd3, shamt | 0x400);
        case 2: return enc_i(OPC_OP_IMM, 7, rd3, rd3, imm12);
        default:
          switch (field(c, 12, 1) << 2 | field(c, 5, 2)) {
            case 0: return enc_r(OPC_OP, 0, 0x20, rd3, rd3, rs2);
            case 1: return enc_r(OPC_OP, 4, 0, rd3, rd3, rs2);
            case 2: return enc_r(OPC_OP, 6, 0, rd3, rd3, rs2);
            case 3: return enc_r(OPC_OP, 7, 0, rd3, rd3, rs2);
            case 4: return enc_r(OPC_OP_32, 0, 0x20, rd3, rd3, rs2);
            case 5: return enc_r(OPC_OP_32, 0, 0, rd3, rd3, rs2);
            default: return EXPAND_ILLEGAL;
          }
      }
    case 5: {
      i32 target = sign_extend(field(c, 12, 1) << 11 | field(c, 11, 1) << 4 | field(c, 9, 2) << 8 | field(c, 8, 1) << 10 | field(c, 7, 1) << 6 |
                                   field(c, 6, 1) << 7 | field(c, 3, 3) << 1 | field(c, 2, 1) << 5, 12);
      return enc_j(0, (u32)target);
    }
    default: {
      i32 target = sign_extend(field(c, 12, 1) << 8 | field(c, 10, 2) << 3 | field(c, 5, 2) << 6 | field(c, 3, 2) << 1 | field(c, 2, 1) << 5, 9);
      return enc_b(field(c, 13, 1), rd3, 0, (u32)target);
    }
  }
}

static u32 expand_quadrant2(u32 c) {
  u32 rd = field(c, 7, 5), rs2 = field(c, 2, 5);
  u32 shamt = field(c, 12, 1) << 5 | rs2;
  u32 load_w = field(c, 12, 1) << 5 | field(c, 4, 3) << 2 | field(c, 2, 2) << 6;
  u32 load_d = field(c, 12, 1) << 5 | field(c, 5, 2) << 3 | field(c, 2, 3) << 6;
  u32 store_w = field(c, 9, 4) << 2 | field(c, 7, 2) << 6;
  u32 store_d = field(c, 10, 3) << 3 | field(c, 7, 3) << 6;
  switch (field(c, 13, 3)) {
    case 0: return enc_i(OPC_OP_IMM, 1, rd, rd, shamt);
    case 1: return enc_i(OPC_LOAD_FP, 3, rd, 2, load_d);
    case 2: return rd ? enc_i(OPC_LOAD, 2, rd, 2, load_w) : EXPAND_ILLEGAL;
    case 3: return rd ? enc_i(OPC_LOAD, 3, rd, 2, load_d) : EXPAND_ILLEGAL;
    case 4:
      if (!field(c, 12, 1)) {
        if (rs2) return enc_r(OPC_OP, 0, 0, rd, 0, rs2);
        return rd ? enc_i(OPC_JALR, 0, 0, rd, 0) : EXPAND_ILLEGAL;
      }
      if (rs2) return enc_r(OPC_OP, 0, 0, rd, rd, rs2);
      return rd ? enc_i(OPC_JALR, 0, 1, rd, 0) : enc_i(OPC_SYSTEM, 0, 0, 0, 1);
    case 5: return enc_s(OPC_STORE_FP, 3, 2, rs2, store_d);
    case 6: return enc_s(OPC_STORE, 2, 2, rs2, store_w);
    default: return enc_s(OPC_STORE, 3, 2, rs2, store_d);
  }
}

static u32 expand(u32 c) {
  switch (c & 3) {
    case 0: return expand_quadrant0(c);
    case 1: return expand_quadrant1(c);
    default: return expand_quadrant2(c);
  }
}

/* OP and OP-32: by funct7 and funct3; OP_ILLEGAL where nothing is. */
static u16 op_register(u32 funct7, u32 funct3, u32 rs2, bool word) {
  static const u16 base[8] = {OP_ADD, OP_SLL, OP_SLT, OP_SLTU, OP_XOR, OP_SRL, OP_OR, OP_AND};
  static const u16 base_word[8] = {OP_ADDW, OP_SLLW, 0, 0, 0, OP_SRLW, 0, 0};
  static const u16 muldiv[8] = {OP_MUL, OP_MULH, OP_MULHSU, OP_MULHU, OP_DIV, OP_DIVU, OP_REM, OP_REMU};
  static const u16 muldiv_word[8] = {OP_MULW, 0, 0, 0, OP_DIVW, OP_DIVUW, OP_REMW, OP_REMUW};
  switch (funct7) {
    case 0x00: return word ? base_word[funct3] : base[funct3];
    case 0x01: return word ? muldiv_word[funct3] : muldiv[funct3];
    case 0x20:
      switch (funct3) {
        case 0: return word ? OP_SUBW : OP_SUB;
        case 5: return word ? OP_SRAW : OP_SRA;
        case 4: return word ? OP_ILLEGAL : OP_XNOR;
        case 6: return word ? OP_ILLEGAL : OP_ORN;
        case 7: return word ? OP_ILLEGAL : OP_ANDN;
        default: return OP_ILLEGAL;
      }
    case 0x10:
      switch (funct3) {
        case 2: return word ? OP_SH1ADD_UW : OP_SH1ADD;
        case 4: return word ? OP_SH2ADD_UW : OP_SH2ADD;
        case 6: return word ? OP_SH3ADD_UW : OP_SH3ADD;
        default: return OP_ILLEGAL;
      }
    case 0x04:
      if (word && funct3 == 0) return OP_ADD_UW;
      return word && funct3 == 4 && rs2 == 0 ? OP_ZEXT_H : OP_ILLEGAL;
    case 0x05:
      if (word) return OP_ILLEGAL;
      switch (funct3) {
        case 4: return OP_MIN;
        case 5: return OP_MINU;
        case 6: return OP_MAX;
        case 7: return OP_MAXU;
        default: return OP_ILLEGAL;
      }
    case 0x07: return word ? OP_ILLEGAL : funct3 == 5 ? OP_CZERO_EQZ : funct3 == 7 ? OP_CZERO_NEZ : OP_ILLEGAL;
    case 0x14: return !word && funct3 == 1 ? OP_BSET : OP_ILLEGAL;
    case 0x24: return word ? OP_ILLEGAL : funct3 == 1 ? OP_BCLR : funct3 == 5 ? OP_BEXT : OP_ILLEGAL;
    case 0x34: return !word && funct3 == 1 ? OP_BINV : OP_ILLEGAL;
    case 0x30: return funct3 == 1 ? (word ? OP_ROLW : OP_ROL) : funct3 == 5 ? (word ? OP_RORW : OP_ROR) : OP_ILLEGAL;
    default: return OP_ILLEGAL;
  }
}

/* Shifts and the bit operations that share their encoding: funct3 1 or 5 of OP-IMM. imm: the 12 bits. */
static u16 op_shift_immediate(u32 funct3, u32 imm) {
  if (funct3 == 1) {
    switch (imm >> 6) {
      case 0x00: return OP_SLLI;
      case 0x0a: return OP_BSETI;
      case 0x12: return OP_BCLRI;
      case 0x1a: return OP_BINVI;
      case 0x18:
        switch (imm & 63) {
          case 0: return OP_CLZ;
          case 1: return OP_CTZ;
          case 2: return OP_CPOP;
          case 4: return OP_SEXT_B;
          case 5: return OP_SEXT_H;
          default: return OP_ILLEGAL;
        }
      default: return OP_ILLEGAL;
    }
  }
  if (imm == 0x287) return OP_ORC_B;
  if (imm == 0x6b8) return OP_REV8;
  switch (imm >> 6) {
    case 0x00: return OP_SRLI;
    case 0x10: return OP_SRAI;
    case 0x12: return OP_BEXTI;
    case 0x18: return OP_RORI;
    default: return OP_ILLEGAL;
  }
}

static u16 op_shift_immediate_word(u32 funct3, u32 imm) {
  if (funct3 == 1) {
    if (imm >> 6 == 0x02) return OP_SLLI_UW;
    switch (imm) {
      case 0x600: return OP_CLZW;
      case 0x601: return OP_CTZW;
      case 0x602: return OP_CPOPW;
      default: return imm >> 5 == 0 ? OP_SLLIW : OP_ILLEGAL;
    }
  }
  switch (imm >> 5) {
    case 0x00: return OP_SRLIW;
    case 0x20: return OP_SRAIW;
    case 0x30: return OP_RORIW;
    default: return OP_ILLEGAL;
  }
}

static u16 op_fp(u32 bits) {
  u32 funct7 = bits >> 25, funct3 = field(bits, 12, 3), rs2 = field(bits, 20, 5);
  bool nearest_or_dynamic = funct3 == RM_DYN || funct3 == RM_RNE;
  switch (funct7) {
    case 0x00: return nearest_or_dynamic ? OP_FADD_S : OP_FP;
    case 0x01: return nearest_or_dynamic ? OP_FADD_D : OP_FP;
    case 0x04: return nearest_or_dynamic ? OP_FSUB_S : OP_FP;
    case 0x05: return nearest_or_dynamic ? OP_FSUB_D : OP_FP;
    case 0x08: return nearest_or_dynamic ? OP_FMUL_S : OP_FP;
    case 0x09: return nearest_or_dynamic ? OP_FMUL_D : OP_FP;
    case 0x0c: return nearest_or_dynamic ? OP_FDIV_S : OP_FP;
    case 0x0d: return nearest_or_dynamic ? OP_FDIV_D : OP_FP;
    case 0x11: return funct3 == 0 ? OP_FSGNJ_D : funct3 == 1 ? OP_FSGNJN_D : funct3 == 2 ? OP_FSGNJX_D : OP_FP;
    case 0x70: return funct3 == 0 && rs2 == 0 ? OP_FMV_X_W : OP_FP;
    case 0x71: return funct3 == 0 && rs2 == 0 ? OP_FMV_X_D : OP_FP;
    case 0x78: return funct3 == 0 && rs2 == 0 ? OP_FMV_W_X : OP_FP;
    case 0x79: return funct3 == 0 && rs2 == 0 ? OP_FMV_D_X : OP_FP;
    default: return OP_FP;
  }
}

static enum decoded decode_system(u32 bits, struct op *op) {
  u32 funct3 = field(bits, 12, 3), rd = field(bits, 7, 5), rs1 = field(bits, 15, 5);
  if (funct3 & 3) {
    op->imm = bits;
    // Counters are exact at a block's end only.
    u32 number = bits >> 20;
    bool reads_only = (funct3 & 3) != 1 && rs1 == 0 && number != CSR_CYCLE && number != CSR_INSTRET;
    op->code = reads_only ? OP_CSR_READ : OP_CSR;
    return reads_only ? DECODED_PLAIN : DECODED_SYSTEM;
  }
  if (funct3 == 0 && bits >> 25 == 0x09 && rd == 0) {
    op->code = OP_SFENCE;
    return DECODED_SYSTEM;
  }
  switch (bits) {
    case 0x00000073: op->code = OP_ECALL; return DECODED_SYSTEM;
    case 0x00100073: op->code = OP_EBREAK; return DECODED_SYSTEM;
    case 0x10200073: op->code = OP_SRET; return DECODED_SYSTEM;
    case 0x10500073: op->code = OP_WFI; return DECODED_SYSTEM;
    default: return DECODED_SYSTEM;
  }
}

/* An op without effect but on rd, and rd is x0: it does nothing. */
static enum decoded plain(struct op *op, u16 code) {
  op->code = op->rd == 0 && code != OP_ILLEGAL ? OP_NOP : code;
  return code == OP_ILLEGAL ? DECODED_SYSTEM : DECODED_PLAIN;
}

static enum decoded decode_full(u32 bits, i32 off, u32 size, struct op *op) {
  u32 funct3 = field(bits, 12, 3), rs1 = field(bits, 15, 5), rs2 = field(bits, 20, 5);
  i32 imm_i = (i32)bits >> 20;
  switch (bits & 0x7f) {
    case OPC_LUI:
      op->imm = (i32)(bits & 0xfffff000);
      return plain(op, OP_LI);
    case OPC_AUIPC:
      op->imm = (i64)(i32)(bits & 0xfffff000) + off;
      return plain(op, OP_AUIPC);
    case OPC_OP_IMM: {
      static const u16 codes[8] = {OP_ADDI, 0, OP_SLTI, OP_SLTIU, OP_XORI, 0, OP_ORI, OP_ANDI};
      op->imm = imm_i;
      if (funct3 == 1 || funct3 == 5) {
        u16 code = op_shift_immediate(funct3, bits >> 20);
        if (code != OP_ILLEGAL) op->imm = imm_i & 63;
        return plain(op, code);
      }
      if (funct3 == 0 && rs1 == 0) return plain(op, OP_LI);
      if (funct3 == 0 && imm_i == 0) return plain(op, OP_MV);
      return plain(op, codes[funct3]);
    }
    case OPC_OP_IMM_32: {
      op->imm = imm_i;
      if (funct3 == 0) return plain(op, OP_ADDIW);
      if (funct3 != 1 && funct3 != 5) return plain(op, OP_ILLEGAL);
      u16 code = op_shift_immediate_word(funct3, bits >> 20);
      if (code != OP_ILLEGAL) op->imm = code == OP_SLLI_UW ? imm_i & 63 : imm_i & 31;
      return plain(op, code);
    }
    case OPC_OP:
    case OPC_OP_32: {
      u16 code = op_register(bits >> 25, funct3, rs2, (bits & 0x7f) == OPC_OP_32);
      if (code == OP_ADD && rs1 == 0) {
        op->rs1 = op->rs2;
        code = OP_MV;
      }
      return plain(op, code);
    }
    case OPC_LOAD: {
      static const u16 codes[8] = {OP_LB, OP_LH, OP_LW, OP_LD, OP_LBU, OP_LHU, OP_LWU, OP_ILLEGAL};
      op->imm = imm_i;
      op->code = codes[funct3];
      if (op->code == OP_ILLEGAL) return DECODED_SYSTEM;
      if (op->rd == 0) {
        op->code = OP_LOAD_X0;
        op->rd = (u8)(1u << (funct3 & 3));
      }
      return DECODED_PLAIN;
    }
    case OPC_STORE: {
      static const u16 codes[8] = {OP_SB, OP_SH, OP_SW, OP_SD, 0, 0, 0, 0};
      op->imm = ((i32)bits >> 25 << 5) | (i32)field(bits, 7, 5);
      op->code = codes[funct3];
      return op->code == OP_ILLEGAL ? DECODED_SYSTEM : DECODED_PLAIN;
    }
    case OPC_LOAD_FP:
      op->imm = imm_i;
      op->code = funct3 == 2 ? OP_FLW : funct3 == 3 ? OP_FLD : OP_ILLEGAL;
      return op->code == OP_ILLEGAL ? DECODED_SYSTEM : DECODED_PLAIN;
    case OPC_STORE_FP:
      op->imm = ((i32)bits >> 25 << 5) | (i32)field(bits, 7, 5);
      op->code = funct3 == 2 ? OP_FSW : funct3 == 3 ? OP_FSD : OP_ILLEGAL;
      return op->code == OP_ILLEGAL ? DECODED_SYSTEM : DECODED_PLAIN;
    case OPC_AMO:
      op->imm = bits;
      op->code = funct3 == 2 || funct3 == 3 ? OP_AMO : OP_ILLEGAL;
      return op->code == OP_ILLEGAL ? DECODED_SYSTEM : DECODED_PLAIN;
    case OPC_MISC_MEM:
      if (funct3 == 0) {
        op->code = OP_NOP;
        return DECODED_PLAIN;
      }
      if (funct3 == 1) {
        op->code = OP_FENCE_I;
        return DECODED_SYSTEM;
      }
      if (funct3 == 2 && bits >> 20 == 4 && field(bits, 7, 5) == 0) {
        op->code = OP_CBO_ZERO;
        op->imm = bits;
        return DECODED_PLAIN;
      }
      return DECODED_SYSTEM;
    case OPC_BRANCH: {
      static const u16 codes[8] = {OP_BEQ, OP_BNE, 0, 0, OP_BLT, OP_BGE, OP_BLTU, OP_BGEU};
      op->code = codes[funct3];
      if (op->code == OP_ILLEGAL) return DECODED_SYSTEM;
      if (rs2 == 0 && funct3 < 2) op->code = funct3 ? OP_BNEZ : OP_BEQZ;
      i32 target = ((i32)bits >> 31 << 12) | (i32)(field(bits, 7, 1) << 11 | field(bits, 25, 6) << 5 | field(bits, 8, 4) << 1);
      op->imm = (i64)target + off;
      return DECODED_BRANCH;
    }
    case OPC_JAL: {
      i32 target = ((i32)bits >> 31 << 20) | (i32)(field(bits, 12, 8) << 12 | field(bits, 20, 1) << 11 | field(bits, 21, 10) << 1);
      op->imm = (i64)target + off;
      op->off = (i16)(off + (i32)size);
      op->code = op->rd ? OP_JAL : OP_J;
      return DECODED_JUMP;
    }
    case OPC_JALR:
      if (funct3) return DECODED_SYSTEM;
      op->imm = imm_i;
      op->off = (i16)(off + (i32)size);
      op->code = op->rd ? OP_JALR : OP_JR;
      return DECODED_JUMP;
    case OPC_SYSTEM: return decode_system(bits, op);
    case OPC_OP_FP:
      op->imm = bits;
      op->code = op_fp(bits);
      return DECODED_PLAIN;
    case OPC_FMADD:
    case OPC_FMADD + 4:
    case OPC_FMADD + 8:
    case OPC_FNMADD:
      op->imm = bits;
      op->code = OP_FP;
      return DECODED_PLAIN;
    default: return DECODED_SYSTEM;
  }
}

enum decoded decode(u32 bits, u32 size, i32 off, struct op *op) {
  u32 full = size == 2 ? expand(bits & 0xffff) : bits;
  op->code = OP_ILLEGAL;
  op->n = 0;
  op->off = (i16)off;
  op->rd = (u8)(field(full, 7, 5) * 8);
  op->rs1 = (u8)(field(full, 15, 5) * 8);
  op->rs2 = (u8)(field(full, 20, 5) * 8);
  op->imm = 0;
  enum decoded kind = full == EXPAND_ILLEGAL ? DECODED_SYSTEM : decode_full(full, off, size, op);
  if (op->code == OP_ILLEGAL) op->off = (i16)off;
  return kind;
}
