/*
 * Two passes. The first one follows the code from the start, along what falls through and to all targets that the interpreter has come to
 * by now, calls included, and decodes what it finds. The second one cuts it
 * into blocks and lowers each instruction.
 */
#include "cpu/translate/riscv.h"

#include "board/ram.h"
#include "cpu/decode.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/opcode.h"
#include "cpu/riscv.h"

#define INSTRUCTIONS_MAX 2048
#define SLOTS (PAGE_SIZE / 2)
/** of a block of the unit */
#define BLOCK_INSTRUCTIONS_MAX 200
#define QUEUE_MAX 1024
#define NONE 0xffffu

struct instruction {
  struct op op;
  i32 at;
  u8 size;
  u8 kind;
  /** a block begins here; it may be entered from outside */
  bool leads, enters;
  u16 block;
};

static struct {
  struct ir_unit *unit;
  const struct riscv_taste *taste;
  u64 base;
  struct instruction instructions[INSTRUCTIONS_MAX];
  u32 count;
  /** per page of the unit: number of the instruction at each two bytes, plus 1 */
  u16 slots[IR_PAGES_MAX][SLOTS];
  /** where to read on, and whether that may be entered from outside */
  struct {
    i32 at;
    bool enters;
  } queue[QUEUE_MAX];
  u32 queue_len, queue_at;
} reader;

/* ---- finding code ---- */

static i32 page_delta(i32 at) { return (i32)((i64)((reader.base + (u64)(i64)at) >> PAGE_SHIFT) - (i64)(reader.base >> PAGE_SHIFT)); }

/* The page of the unit that holds an offset, NONE if it can't have it. */
static u32 page_at(i32 at) {
  struct ir_unit *unit = reader.unit;
  i32 delta = page_delta(at);
  for (u32 i = 0; i < unit->page_count; i++)
    if (unit->pages[i].delta == delta) return i;
  u64 pa, va = reader.base + (u64)(i64)at;
  if (unit->page_count == reader.taste->pages_max || !mmu_peek_fetch(va, &pa)) return NONE;
  u32 ram_page = (u32)(ram_offset_of(pa & PAGE_MASK, PAGE_SIZE) >> PAGE_SHIFT);
  if (!reader.taste->may_translate(ram_page)) return NONE;
  fill_bytes(reader.slots[unit->page_count], 0, sizeof reader.slots[0]);
  unit->pages[unit->page_count] = (struct ir_page){delta, ram_page};
  return unit->page_count++;
}

static u32 in_page(i32 at) { return (u32)(reader.base + (u64)(i64)at) & 0xfff; }
static u32 ram_offset_at(u32 page, i32 at) { return reader.unit->pages[page].ram_page << PAGE_SHIFT | in_page(at); }

/* Number of the instruction that was read at an offset, or NONE. */
static u32 find(i32 at) {
  i32 delta = page_delta(at);
  for (u32 i = 0; i < reader.unit->page_count; i++)
    if (reader.unit->pages[i].delta == delta) return reader.slots[i][in_page(at) / 2] - 1u & 0xffff;
  return NONE;
}

static void lead(i32 at, bool enters) {
  u32 found = find(at);
  if (found == NONE) return;
  reader.instructions[found].leads = true;
  reader.instructions[found].enters |= enters;
}

static void enqueue(i32 at, bool enters) {
  if (reader.queue_len == QUEUE_MAX) return;
  reader.queue[reader.queue_len].at = at;
  reader.queue[reader.queue_len++].enters = enters;
}

/* Is what a jump or branch leads to followed? `near`: the interpreter's blocks would go on there without a block that begins there. */
static bool is_wanted(i32 at, bool near, i32 from) {
  u32 page = page_at(at);
  return page != NONE && ((near && page_delta(at) == page_delta(from)) || reader.taste->was_run(ram_offset_at(page, at)));
}

static u32 read_bits(u32 page, i32 at, u32 size) {
  u32 bits = 0;
  copy_bytes(&bits, ram_bytes(ram_offset_at(page, at)), size);
  return bits;
}

/* To `at` from a branch or jump that is there already: true if the unit goes on with it. */
static void follow(i32 at, bool near, i32 from, bool enters) {
  if (find(at) != NONE) {
    lead(at, enters);
    return;
  }
  if (is_wanted(at, near, from)) enqueue(at, enters);
}

static bool is_link(u32 rd) { return rd == 8 || rd == 5 * 8; }

/* auipc and jalr of the same register are a far call: where it goes is known. */
static bool far_target(const struct instruction *jump, i32 *target) {
  const struct instruction *before = jump - 1;
  if (jump == reader.instructions || before->at + before->size != jump->at || before->op.code != OP_AUIPC) return false;
  if (before->op.rd != jump->op.rs1 || jump->leads) return false;
  i64 at = (before->at + before->op.imm + jump->op.imm) & ~1ll;
  *target = (i32)at;
  return at == (i32)at;
}

/* Where a return goes to is in the unit if anything ever returned there. */
static void follow_return(const struct instruction *jump) {
  if (is_link(jump->op.rd)) follow(jump->at + jump->size, false, jump->at, true);
}

static void follow_call(i32 target, const struct instruction *jump) {
  follow(target, true, jump->at, false);
  follow_return(jump);
}

static void follow_jump(const struct instruction *jump) {
  i32 target;
  switch (jump->op.code) {
    case OP_J:
      follow(jump->at + (i32)jump->op.imm, true, jump->at, false);
      break;
    case OP_JAL:
      follow_call(jump->at + (i32)jump->op.imm, jump);
      break;
    case OP_JR:
      if (far_target(jump, &target)) follow(target, true, jump->at, false);
      break;
    case OP_JALR:
      if (far_target(jump, &target)) follow_call(target, jump);
      else follow_return(jump);
      break;
    default: break;
  }
}

/* Reads on from `at` until code is met that was read, or that is not followed. */
static void read_run(i32 at) {
  // What is behind a branch is a block of its own.
  bool leads = false;
  for (;;) {
    if (find(at) != NONE) {
      lead(at, false);
      return;
    }
    u32 page = page_at(at);
    if (page == NONE || reader.count == reader.taste->instructions_max || reader.count == INSTRUCTIONS_MAX) return;
    u32 size = read_bits(page, at, 2) % 4 == 3 ? 4 : 2;
    // What lies in two pages is the interpreter's.
    if (in_page(at) + size > PAGE_SIZE) return;
    struct instruction *instruction = &reader.instructions[reader.count];
    fill_bytes(instruction, 0, sizeof *instruction);
    instruction->at = at;
    instruction->leads = leads;
    instruction->size = (u8)size;
    instruction->kind = (u8)decode(read_bits(page, at, size), size, 0, &instruction->op);
    reader.slots[page][in_page(at) / 2] = (u16)++reader.count;
    i32 behind = at + (i32)size;
    switch (instruction->kind) {
      case DECODED_BRANCH: follow(at + (i32)instruction->op.imm, false, at, false); break;
      case DECODED_JUMP: follow_jump(instruction); return;
      case DECODED_SYSTEM:
        // Most go on behind it, once the interpreter has done it.
        follow(behind, false, at, true);
        return;
      default: break;
    }
    at = behind;
    leads = instruction->kind == DECODED_BRANCH;
  }
}

static void read_all(void) {
  enqueue(0, true);
  for (; reader.queue_at < reader.queue_len; reader.queue_at++) {
    i32 at = reader.queue[reader.queue_at].at;
    read_run(at);
    lead(at, reader.queue[reader.queue_at].enters);
  }
}

/* ---- lowering ---- */

static u8 integer(u8 offset) { return offset / 8; }
static u8 float_register(u32 number) { return (u8)IR_FLOAT(number); }

struct simple {
  u8 code, flags;
};

static const struct simple simple[OP_FADD_D] = {
    [OP_ADD] = {IR_ADD, 0}, [OP_SUB] = {IR_SUB, 0}, [OP_SLL] = {IR_SHL, 0}, [OP_SLT] = {IR_LESS, 0}, [OP_SLTU] = {IR_LESSU, 0}, [OP_XOR] = {IR_XOR, 0},
    [OP_SRL] = {IR_SHR, 0}, [OP_SRA] = {IR_SAR, 0}, [OP_OR] = {IR_OR, 0}, [OP_AND] = {IR_AND, 0},
    [OP_ADDW] = {IR_ADD, IR_WORD}, [OP_SUBW] = {IR_SUB, IR_WORD}, [OP_SLLW] = {IR_SHL, IR_WORD}, [OP_SRLW] = {IR_SHR, IR_WORD}, [OP_SRAW] = {IR_SAR, IR_WORD},
    [OP_ADDI] = {IR_ADD, IR_IMMEDIATE}, [OP_SLTI] = {IR_LESS, IR_IMMEDIATE}, [OP_SLTIU] = {IR_LESSU, IR_IMMEDIATE}, [OP_XORI] = {IR_XOR, IR_IMMEDIATE},
    [OP_ORI] = {IR_OR, IR_IMMEDIATE}, [OP_ANDI] = {IR_AND, IR_IMMEDIATE}, [OP_SLLI] = {IR_SHL, IR_IMMEDIATE}, [OP_SRLI] = {IR_SHR, IR_IMMEDIATE},
    [OP_SRAI] = {IR_SAR, IR_IMMEDIATE}, [OP_ADDIW] = {IR_ADD, IR_WORD | IR_IMMEDIATE}, [OP_SLLIW] = {IR_SHL, IR_WORD | IR_IMMEDIATE},
    [OP_SRLIW] = {IR_SHR, IR_WORD | IR_IMMEDIATE}, [OP_SRAIW] = {IR_SAR, IR_WORD | IR_IMMEDIATE},
    [OP_MUL] = {IR_MUL, 0}, [OP_MULH] = {IR_MULH, 0}, [OP_MULHSU] = {IR_MULHSU, 0}, [OP_MULHU] = {IR_MULHU, 0}, [OP_DIV] = {IR_DIV, 0}, [OP_DIVU] = {IR_DIVU, 0},
    [OP_REM] = {IR_REM, 0}, [OP_REMU] = {IR_REMU, 0}, [OP_MULW] = {IR_MUL, IR_WORD}, [OP_DIVW] = {IR_DIV, IR_WORD}, [OP_DIVUW] = {IR_DIVU, IR_WORD},
    [OP_REMW] = {IR_REM, IR_WORD}, [OP_REMUW] = {IR_REMU, IR_WORD},
    [OP_ANDN] = {IR_ANDN, 0}, [OP_ORN] = {IR_ORN, 0}, [OP_XNOR] = {IR_XNOR, 0}, [OP_CLZ] = {IR_CLZ, 0}, [OP_CTZ] = {IR_CTZ, 0}, [OP_CPOP] = {IR_POPCNT, 0},
    [OP_CLZW] = {IR_CLZ, IR_WORD}, [OP_CTZW] = {IR_CTZ, IR_WORD}, [OP_CPOPW] = {IR_POPCNT, IR_WORD}, [OP_MAX] = {IR_MAX, 0}, [OP_MAXU] = {IR_MAXU, 0},
    [OP_MIN] = {IR_MIN, 0}, [OP_MINU] = {IR_MINU, 0}, [OP_SEXT_B] = {IR_SEXT8, 0}, [OP_SEXT_H] = {IR_SEXT16, 0}, [OP_ZEXT_H] = {IR_ZEXT16, 0},
    [OP_ROL] = {IR_ROTL, 0}, [OP_ROR] = {IR_ROTR, 0}, [OP_RORI] = {IR_ROTR, IR_IMMEDIATE}, [OP_ROLW] = {IR_ROTL, IR_WORD}, [OP_RORW] = {IR_ROTR, IR_WORD},
    [OP_RORIW] = {IR_ROTR, IR_WORD | IR_IMMEDIATE}, [OP_ORC_B] = {IR_ORC, 0}, [OP_REV8] = {IR_SWAP, 0},
    [OP_BCLR] = {IR_BCLR, 0}, [OP_BEXT] = {IR_BEXT, 0}, [OP_BINV] = {IR_BINV, 0}, [OP_BSET] = {IR_BSET, 0}, [OP_BCLRI] = {IR_BCLR, IR_IMMEDIATE},
    [OP_BEXTI] = {IR_BEXT, IR_IMMEDIATE}, [OP_BINVI] = {IR_BINV, IR_IMMEDIATE}, [OP_BSETI] = {IR_BSET, IR_IMMEDIATE},
    [OP_CZERO_EQZ] = {IR_ZERO_IF_ZERO, 0}, [OP_CZERO_NEZ] = {IR_ZERO_IF_NOT, 0},
};

static struct ir *append(const struct instruction *from, u8 retired, u8 code) {
  struct ir *op = &reader.unit->ops[reader.unit->op_count++];
  fill_bytes(op, 0, sizeof *op);
  op->code = code;
  op->n = retired;
  op->at = from->at;
  return op;
}

static void lower_shift_add(const struct op *from, struct ir *op) {
  static const u8 amounts[] = {1, 2, 3, 0, 1, 2, 3};
  op->imm = amounts[from->code - OP_SH1ADD];
  if (from->code >= OP_ADD_UW) op->flags = IR_UNSIGNED;
}

static void lower_memory(const struct op *from, struct ir *op) {
  static const u8 load_sizes[] = {1, 2, 4, 8, 1, 2, 4}, store_sizes[] = {1, 2, 4, 8};
  op->a = integer(from->rs1);
  op->imm = from->imm;
  switch (from->code) {
    case OP_SB: case OP_SH: case OP_SW: case OP_SD:
      op->code = IR_STORE;
      op->size = store_sizes[from->code - OP_SB];
      op->b = integer(from->rs2);
      op->to = IR_ZERO;
      return;
    case OP_FSW: case OP_FSD:
      op->code = IR_STORE;
      op->size = from->code == OP_FSW ? 4 : 8;
      op->b = float_register(integer(from->rs2));
      op->to = IR_ZERO;
      return;
    case OP_FLW: case OP_FLD:
      op->size = from->code == OP_FLW ? 4 : 8;
      op->to = float_register(integer(from->rd));
      return;
    case OP_LOAD_X0:
      op->size = from->rd;
      op->to = IR_ZERO;
      return;
    default:
      op->size = load_sizes[from->code - OP_LB];
      if (from->code >= OP_LBU) op->flags = IR_UNSIGNED;
      op->to = integer(from->rd);
  }
}

static bool rounds_to_nearest(u32 bits) {
  u32 mode = bits >> 12 & 7;
  return mode == RM_RNE || mode == RM_DYN;
}

/* Unprivileged §21 and §22. What is not known here, or has no result of the host's, is left to the soft path. */
static void lower_float(u32 bits, struct ir *op) {
  u32 rd = bits >> 7 & 31, rs1 = bits >> 15 & 31, rs2 = bits >> 20 & 31, rs3 = bits >> 27, funct3 = bits >> 12 & 7, function = bits >> 27;
  op->code = IR_SOFT_FLOAT;
  op->imm = bits;
  op->size = (bits >> 25 & 3) == 1 ? 8 : 4;
  op->to = float_register(rd);
  op->a = float_register(rs1);
  op->b = float_register(rs2);
  if ((bits & 0x7f) != 0x53) {
    op->c = float_register(rs3);
    return;
  }
  if ((bits >> 25 & 3) > 1) return;
  bool nearest = rounds_to_nearest(bits);
  switch (function) {
    case 0x00: case 0x01: case 0x02: case 0x03:
      if (nearest) op->code = (u8)(IR_FADD + function);
      return;
    case 0x0b:
      op->b = IR_ZERO;
      if (nearest && rs2 == 0) op->code = IR_FSQRT;
      return;
    case 0x04:
      if (op->size == 8 && funct3 <= 2) op->code = (u8)(IR_FSIGN + funct3);
      return;
    case 0x05:
      if (funct3 <= 1) op->code = (u8)(IR_FMIN + funct3);
      return;
    case 0x08:
      op->b = IR_ZERO;
      if (op->size == 8 && rs2 == 0) op->code = IR_WIDEN;
      else if (op->size == 4 && rs2 == 1 && nearest) op->code = IR_NARROW;
      return;
    case 0x14:
      op->to = (u8)rd;
      if (funct3 <= 2) op->code = funct3 == 2 ? IR_FEQ : funct3 == 1 ? IR_FLT : IR_FLE;
      return;
    case 0x18:
      op->to = (u8)rd;
      op->b = IR_ZERO;
      if (funct3 == RM_RTZ && rs2 <= 3) op->code = IR_TO_INTEGER;
      op->flags = (u8)((rs2 & 1 ? IR_UNSIGNED : 0) | (rs2 & 2 ? 0 : IR_WORD));
      return;
    case 0x1a:
      op->a = (u8)rs1;
      op->b = IR_ZERO;
      if (nearest && rs2 <= 3) op->code = IR_FROM_INTEGER;
      op->flags = (u8)((rs2 & 1 ? IR_UNSIGNED : 0) | (rs2 & 2 ? 0 : IR_WORD));
      return;
    case 0x1c:
      op->to = (u8)rd;
      op->b = IR_ZERO;
      if (funct3 == 0 && rs2 == 0) op->code = IR_FLOAT_TO_BITS;
      return;
    case 0x1e:
      op->a = (u8)rs1;
      op->b = IR_ZERO;
      if (funct3 == 0 && rs2 == 0) op->code = IR_BITS_TO_FLOAT;
      return;
    default: return;
  }
}

/* One that falls through to the next. */
static void lower_plain(const struct instruction *from, u8 retired) {
  const struct op *op = &from->op;
  if (op->code == OP_NOP) return;
  struct ir *to = append(from, retired, IR_MOVE);
  to->to = integer(op->rd);
  to->a = integer(op->rs1);
  to->b = integer(op->rs2);
  switch (op->code) {
    case OP_MV:
      to->b = IR_ZERO;
      break;
    case OP_LI:
      to->code = IR_CONST;
      to->a = to->b = IR_ZERO;
      to->imm = op->imm;
      break;
    case OP_AUIPC:
      to->code = IR_ADDRESS;
      to->a = to->b = IR_ZERO;
      to->imm = op->imm + from->at;
      break;
    case OP_SH1ADD: case OP_SH2ADD: case OP_SH3ADD: case OP_ADD_UW: case OP_SH1ADD_UW: case OP_SH2ADD_UW: case OP_SH3ADD_UW:
      to->code = IR_SHIFT_ADD;
      lower_shift_add(op, to);
      break;
    case OP_SLLI_UW:
      to->code = IR_SHIFT_ADD;
      to->b = IR_ZERO;
      to->flags = IR_UNSIGNED;
      to->imm = op->imm & 63;
      break;
    case OP_LB: case OP_LH: case OP_LW: case OP_LD: case OP_LBU: case OP_LHU: case OP_LWU: case OP_SB: case OP_SH: case OP_SW: case OP_SD:
    case OP_FLW: case OP_FLD: case OP_FSW: case OP_FSD: case OP_LOAD_X0:
      to->code = IR_LOAD;
      to->b = IR_ZERO;
      lower_memory(op, to);
      break;
    case OP_AMO:
      to->code = IR_ATOMIC;
      to->imm = op->imm;
      break;
    case OP_CBO_ZERO:
      to->code = IR_ZERO_BLOCK;
      to->to = to->b = IR_ZERO;
      break;
    case OP_CSR_READ:
      to->code = IR_READ_STATE;
      to->a = to->b = IR_ZERO;
      to->imm = op->imm;
      break;
    case OP_FP: case OP_FADD_D: case OP_FSUB_D: case OP_FMUL_D: case OP_FDIV_D: case OP_FADD_S: case OP_FSUB_S: case OP_FMUL_S: case OP_FDIV_S:
    case OP_FSGNJ_D: case OP_FSGNJN_D: case OP_FSGNJX_D: case OP_FMV_X_D: case OP_FMV_D_X: case OP_FMV_X_W: case OP_FMV_W_X:
      lower_float((u32)op->imm, to);
      break;
    default:
      to->code = simple[op->code].code;
      to->flags = simple[op->code].flags;
      to->imm = op->imm;
      if (to->flags & IR_IMMEDIATE) to->b = IR_ZERO;
  }
}

static void lower_branch(const struct instruction *from, struct ir_block *block) {
  static const u8 conditions[] = {IR_EQ, IR_NE, IR_LT, IR_GE, IR_LTU, IR_GEU, IR_EQ, IR_NE};
  block->end = IR_BRANCH;
  block->condition = conditions[from->op.code - OP_BEQ];
  block->a = integer(from->op.rs1);
  block->b = integer(from->op.rs2);
  block->taken = from->at + (i32)from->op.imm;
  block->next = from->at + from->size;
}

static void lower_jump(const struct instruction *from, struct ir_block *block, u8 retired) {
  bool links = from->op.code == OP_JAL || from->op.code == OP_JALR;
  i32 target;
  block->end = IR_JUMP;
  if (from->op.code == OP_J || from->op.code == OP_JAL) {
    block->taken = from->at + (i32)from->op.imm;
  } else if (far_target(from, &target)) {
    block->taken = target;
  } else {
    // A return may be to a call of the unit's, a switch within it.
    block->end = links ? IR_AWAY : IR_INDIRECT;
    block->a = integer(from->op.rs1);
    block->imm = from->op.imm;
    block->target_before = reader.unit->op_count;
  }
  if (!links) return;
  block->returns = is_link(from->op.rd);
  struct ir *op = append(from, retired, IR_ADDRESS);
  op->to = integer(from->op.rd);
  op->imm = from->at + from->size;
}

/* The block that begins with an instruction; its operations, and how it ends. */
static void lower_block(struct ir_block *block, u32 number) {
  struct ir_unit *unit = reader.unit;
  const struct instruction *from = &reader.instructions[number];
  block->at = from->at;
  block->is_entry = from->enters;
  block->first = unit->op_count;
  u8 retired = 0;
  for (;;) {
    if (from->kind == DECODED_SYSTEM) {
      block->end = IR_LEAVE;
      block->taken = from->at;
      break;
    }
    if (from->kind == DECODED_BRANCH || from->kind == DECODED_JUMP) {
      if (from->kind == DECODED_BRANCH) lower_branch(from, block);
      else lower_jump(from, block, retired);
      retired++;
      break;
    }
    lower_plain(from, retired++);
    u32 next = find(from->at + from->size);
    if (next == NONE || reader.instructions[next].leads) {
      block->end = IR_JUMP;
      block->taken = from->at + from->size;
      break;
    }
    from = &reader.instructions[next];
  }
  block->behind = from->at + from->size;
  block->instructions = retired;
  block->count = unit->op_count - block->first;
}

/* A block is counted by a byte: long runs are cut. */
static void cut_runs(void) {
  for (u32 i = 0; i < reader.count; i++) {
    if (!reader.instructions[i].leads) continue;
    u32 at = i, len = 0;
    for (;;) {
      if (reader.instructions[at].kind != DECODED_PLAIN) break;
      at = find(reader.instructions[at].at + reader.instructions[at].size);
      if (at == NONE || reader.instructions[at].leads) break;
      if (++len % BLOCK_INSTRUCTIONS_MAX == 0) reader.instructions[at].leads = true;
    }
  }
}

static u16 block_of(i32 at) {
  u32 found = find(at);
  return found == NONE || !reader.instructions[found].leads ? IR_OUTSIDE : reader.instructions[found].block;
}

static bool lower_all(void) {
  struct ir_unit *unit = reader.unit;
  cut_runs();
  for (u32 i = 0; i < reader.count; i++) {
    struct instruction *instruction = &reader.instructions[i];
    if (!instruction->leads) continue;
    if (unit->block_count == IR_BLOCKS_MAX || unit->op_count + BLOCK_INSTRUCTIONS_MAX + 2 > IR_OPS_MAX) {
      // What does not fit is outside.
      instruction->block = IR_OUTSIDE;
      continue;
    }
    instruction->block = (u16)unit->block_count;
    struct ir_block *block = &unit->blocks[unit->block_count++];
    fill_bytes(block, 0, sizeof *block);
    lower_block(block, i);
    unit->instructions += block->instructions;
  }
  for (u32 i = 0; i < unit->block_count; i++) {
    struct ir_block *block = &unit->blocks[i];
    block->taken_block = block->end == IR_JUMP || block->end == IR_BRANCH ? block_of(block->taken) : IR_OUTSIDE;
    block->next_block = block->end == IR_BRANCH ? block_of(block->next) : IR_OUTSIDE;
    block->returns_to = block->returns ? block_of(block->behind) : IR_OUTSIDE;
  }
  return unit->block_count > 0 && unit->blocks[0].at == 0 && unit->blocks[0].instructions > 0;
}

bool riscv_read(struct ir_unit *unit, u64 pc, const struct riscv_taste *taste) {
  unit->op_count = unit->block_count = unit->page_count = unit->instructions = 0;
  reader.unit = unit;
  reader.taste = taste;
  reader.base = pc;
  reader.count = reader.queue_len = reader.queue_at = 0;
  if (page_at(0) == NONE) return false;
  read_all();
  return reader.count > 0 && lower_all();
}
