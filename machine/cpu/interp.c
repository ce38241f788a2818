/*
 * Theory of operation
 *
 * One function, one switch: V8 compiles it into a jump table, which is faster there than tail calls between
 * handlers. What the loop keeps in locals (`op`, `base`, `budget`, `tlb`) is what every instruction needs; all else of
 * the hart lies at constant addresses.
 *
 * `base` is the virtual address of the current block, so the address of an op is base + op->off. `budget` counts the
 * slice's instructions down, once per block; it is the only check for the world outside. Whoever wants the hart to stop
 * sets hart.leave: slow operations look at it, take what is left of the budget (hart.slice_stolen) and so make the block
 * that runs the last one.
 *
 * The function returns at least once a slice (about a millisecond). This matters to V8: it replaces wasm code by optimised code
 * only when a function is entered anew.
 */
#include "cpu/interp.h"

#include "board/ram.h"
#include "cpu/amo.h"
#include "cpu/block.h"
#include "cpu/csr.h"
#include "cpu/fp.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/opcode.h"
#include "cpu/riscv.h"
#include "cpu/translate/region.h"
#include "cpu/zero.h"
#include "cpu/trap.h"

#define X(offset) (*(u64 *)((u8 *)hart.x + (offset)))
#define F(offset) (*(u64 *)((u8 *)hart.f + (offset)))
#define RD X(op->rd)
#define RS1 X(op->rs1)
#define RS2 X(op->rs2)
#define IMM ((u64)op->imm)
#define LINK ((struct link *)(op + 1))

#define SEXT32(value) ((u64)(i64)(i32)(value))

/* Unprivileged §13.2: division by zero and overflow have results and do not trap. */
static u64 div_signed(i64 a, i64 b) { return b == 0 ? ~0ull : a == INT64_MIN && b == -1 ? (u64)a : (u64)(a / b); }
static u64 rem_signed(i64 a, i64 b) { return b == 0 ? (u64)a : a == INT64_MIN && b == -1 ? 0 : (u64)(a % b); }
static u64 div_word(i32 a, i32 b) { return b == 0 ? ~0ull : a == INT32_MIN && b == -1 ? SEXT32(a) : SEXT32(a / b); }
static u64 rem_word(i32 a, i32 b) { return b == 0 ? SEXT32(a) : a == INT32_MIN && b == -1 ? 0 : SEXT32(a % b); }

static inline u64 orc_b(u64 v) {
  u64 set = ((v & 0x7f7f7f7f7f7f7f7f) + 0x7f7f7f7f7f7f7f7f | v) & 0x8080808080808080;
  return (set >> 7) * 0xff;
}

static inline u64 rotate_right(u64 v, u32 by) { return v >> (by & 63) | v << (-by & 63); }
static inline u32 rotate_right_word(u32 v, u32 by) { return v >> (by & 31) | v << (-by & 31); }

static bool sfence(bool one_page, u64 va, bool one_asid, u64 asid) {
  if (hart.mode != MODE_S) return false;
  if (one_page && one_asid) mmu_flush_page_asid(va, asid);
  else if (one_page) mmu_flush_page(va);
  else if (one_asid) mmu_flush_asid(asid);
  else mmu_flush_all();
  return true;
}

/* The in-page address bits that must be zero for the fast path are those below the natural alignment. */
#define TLB_HIT(side, va, size) ((entry = &tlb->side[(u32)((va) >> PAGE_SHIFT) & (TLB_SIZE - 1)]), likely(((va) & (PAGE_MASK | ((size)-1))) == entry->tag))

#define LOAD_BODY(type, target, convert)                                \
  {                                                                     \
    u64 va = RS1 + IMM;                                                 \
    const struct tlb_entry *entry;                                      \
    if (TLB_HIT(read, va, sizeof(type))) {                              \
      target = convert(*(const type *)(entry->addend + (uintptr_t)va)); \
    } else {                                                            \
      hart.slice_left = budget;                                         \
      if (unlikely(!mmu_load(va, sizeof(type)))) goto fault;            \
      target = convert((type)hart.loaded);                              \
    }                                                                   \
    op++;                                                               \
  }

#define STORE_BODY(type, source)                                    \
  {                                                                 \
    u64 va = RS1 + IMM;                                             \
    const struct tlb_entry *entry;                                  \
    if (TLB_HIT(write, va, sizeof(type))) {                         \
      *(type *)(entry->addend + (uintptr_t)va) = (type)(source);    \
    } else {                                                        \
      hart.slice_left = budget;                                     \
      if (unlikely(!mmu_store(va, sizeof(type), source))) goto fault; \
      if (hart.leave) STEAL_BUDGET;                                 \
    }                                                               \
    op++;                                                           \
  }

#define ALU_BODY(expression) \
  {                          \
    RD = (u64)(expression);  \
    op++;                    \
  }

#define LOAD(type, target, convert)   \
  LOAD_BODY(type, target, convert)    \
  continue;

#define STORE(type, source) \
  STORE_BODY(type, source)  \
  continue;

#define STEAL_BUDGET               \
  {                                \
    hart.slice_stolen += budget;   \
    budget = 0;                    \
  }

/* An instruction that traps does not retire, but a guest that only traps must come to the end of its slice. */
#define COUNT_TRAP        \
  {                       \
    budget--;             \
    hart.slice_stolen++;  \
  }

#define ALU(code, expression) \
  case code:                  \
    ALU_BODY(expression)      \
    continue;

#define BRANCH_BODY(condition) \
  {                            \
    if (condition) {           \
      budget -= op->n;         \
      goto taken;              \
    }                          \
    op += 2;                   \
  }

/* What a sequence is made of: each works on its own slot and moves on, a branch that is not taken behind its link. */
#define DO_LD LOAD_BODY(u64, RD, AS_IS)
#define DO_LW LOAD_BODY(i32, RD, SIGNED)
#define DO_LHU LOAD_BODY(u16, RD, AS_IS)
#define DO_LBU LOAD_BODY(u8, RD, AS_IS)
#define DO_LWU LOAD_BODY(u32, RD, AS_IS)
#define DO_SD STORE_BODY(u64, RS2)
#define DO_SW STORE_BODY(u32, RS2)
#define DO_SH STORE_BODY(u16, RS2)
#define DO_SB STORE_BODY(u8, RS2)
#define DO_MV ALU_BODY(RS1)
#define DO_LI ALU_BODY(IMM)
#define DO_AUIPC ALU_BODY(base + IMM)
#define DO_ADD ALU_BODY(RS1 + RS2)
#define DO_SUB ALU_BODY(RS1 - RS2)
#define DO_MUL ALU_BODY(RS1 * RS2)
#define DO_OR ALU_BODY(RS1 | RS2)
#define DO_XOR ALU_BODY(RS1 ^ RS2)
#define DO_AND ALU_BODY(RS1 & RS2)
#define DO_SRL ALU_BODY(RS1 >> (RS2 & 63))
#define DO_ADDW ALU_BODY(SEXT32(RS1 + RS2))
#define DO_ADDI ALU_BODY(RS1 + IMM)
#define DO_ANDI ALU_BODY(RS1 & IMM)
#define DO_XORI ALU_BODY(RS1 ^ IMM)
#define DO_SLLI ALU_BODY(RS1 << (IMM & 63))
#define DO_SRLI ALU_BODY(RS1 >> (IMM & 63))
#define DO_ADDIW ALU_BODY(SEXT32(RS1 + IMM))
#define DO_SLLIW ALU_BODY(SEXT32((u32)RS1 << (IMM & 31)))
#define DO_SRLIW ALU_BODY(SEXT32((u32)RS1 >> (IMM & 31)))
#define DO_SRAIW ALU_BODY((i64)((i32)RS1 >> (IMM & 31)))
#define DO_SHADD ALU_BODY((RS1 << (IMM & 63)) + RS2)
#define DO_BEQ BRANCH_BODY(RS1 == RS2)
#define DO_BNE BRANCH_BODY(RS1 != RS2)
#define DO_BLT BRANCH_BODY((i64)RS1 < (i64)RS2)
#define DO_BLTU BRANCH_BODY(RS1 < RS2)
#define DO_BGEU BRANCH_BODY(RS1 >= RS2)
#define DO_BEQZ BRANCH_BODY(RS1 == 0)
#define DO_BNEZ BRANCH_BODY(RS1 != 0)
#define DO_J         \
  {                  \
    budget -= op->n; \
    goto taken;      \
  }
#define DO_JAL           \
  {                      \
    RD = base + op->off; \
    budget -= op->n;     \
    goto taken;          \
  }
#define DO_JR                   \
  {                             \
    budget -= op->n;            \
    base = (RS1 + IMM) & ~1ull; \
    goto jump;                  \
  }
#define DO_JALR                          \
  {                                      \
    u64 target = (RS1 + IMM) & ~1ull;    \
    RD = base + op->off;                 \
    budget -= op->n;                     \
    base = target;                       \
    goto jump;                           \
  }
#define FUSED2(a, b) \
  case OP_##a##_##b: \
    DO_##a DO_##b continue;
#define FUSED3(a, b, c)    \
  case OP_##a##_##b##_##c: \
    DO_##a DO_##b DO_##c continue;
#define FUSED4(a, b, c, d)       \
  case OP_##a##_##b##_##c##_##d: \
    DO_##a DO_##b DO_##c DO_##d continue;

#define BRANCH(code, condition) \
  case code:                    \
    BRANCH_BODY(condition)      \
    continue;

#define FP_GUARD                                  \
  if (unlikely(hart.fs == FS_OFF)) goto illegal; \
  hart.fs = FS_DIRTY;

/* Exponent field neither that of infinities and NaNs nor, unless zero_fine, that of subnormals and zero. */
#define F64_PLAIN(bits, zero_fine) (((bits) >> 52 & 0x7ff) != 0x7ff && ((zero_fine) || ((bits) >> 52 & 0x7ff) != 0))
#define F32_PLAIN(bits, zero_fine) (((bits) >> 23 & 0xff) != 0xff && ((zero_fine) || ((bits) >> 23 & 0xff) != 0))

#define FP_NATIVE_D(code, operator, zero_fine)                                             \
  case code:                                                                               \
    FP_GUARD                                                                               \
    if (likely(fp_native_allowed())) {                                                     \
      u64 bits = fp_f64_bits(fp_as_f64(F(op->rs1)) operator fp_as_f64(F(op->rs2)));        \
      if (likely(F64_PLAIN(bits, zero_fine))) {                                            \
        F(op->rd) = bits;                                                                  \
        op++;                                                                              \
        continue;                                                                          \
      }                                                                                    \
    }                                                                                      \
    goto soft_float;

#define FP_NATIVE_S(code, operator, zero_fine)                                                        \
  case code:                                                                                          \
    FP_GUARD                                                                                          \
    if (likely(fp_native_allowed() && fp_is_boxed(F(op->rs1)) && fp_is_boxed(F(op->rs2)))) {          \
      u32 bits = fp_f32_bits(fp_as_f32(F(op->rs1)) operator fp_as_f32(F(op->rs2)));                   \
      if (likely(F32_PLAIN(bits, zero_fine))) {                                                       \
        F(op->rd) = FP_BOX | bits;                                                                    \
        op++;                                                                                         \
        continue;                                                                                     \
      }                                                                                               \
    }                                                                                                 \
    goto soft_float;

#define AS_IS(value) (value)
#define SIGNED(value) ((u64)(i64)(value))
#define BOXED(value) (FP_BOX | (value))
#define F64_SIGN (1ull << 63)

/* The block that leads into a region is interpreted, until the next one does or the loop's top is reached. */
static struct region_entry *bypass_entry(struct region_entry *entry) {
  entry->patched->ops[0].code = entry->code;
  return entry;
}

static struct region_entry *restore_entry(const struct region_entry *entry) {
  if (entry->patched) entry->patched->ops[0].code = OP_REGION;
  return NULL;
}

void interp_run(i32 slice) {
  i32 budget = slice;
  hart.slice_budget = hart.slice_left = slice;
  hart.slice_stolen = 0;
  hart.leave = 0;
  hart.wfi = 0;

  const struct op *op;
  struct tlb *tlb;
  u64 base;

  struct region_entry *bypassed = NULL;

top: // hart.pc, mode and CSRs may have changed in any way
  if (bypassed) bypassed = restore_entry(bypassed);
  if (hart.sip & hart.sie) hart_take_interrupt();
  if (unlikely(hart.leave || budget < 0)) goto done;
enter: {
  tlb = mmu_tlb();
  hart.slice_left = budget;
  struct block *block = block_find();
  if (unlikely(!block)) {
    COUNT_TRAP
    hart_take_trap(hart.fault_cause, hart.fault_value);
    goto top;
  }
  base = hart.pc;
  op = block->ops;
}

  for (;;) {
    switch (op->code) {
      case OP_NOP: op++; continue;
      ALU(OP_LI, IMM)
      ALU(OP_AUIPC, base + IMM)
      ALU(OP_MV, RS1)
      ALU(OP_ADD, RS1 + RS2)
      ALU(OP_SUB, RS1 - RS2)
      ALU(OP_SLL, RS1 << (RS2 & 63))
      ALU(OP_SLT, (i64)RS1 < (i64)RS2)
      ALU(OP_SLTU, RS1 < RS2)
      ALU(OP_XOR, RS1 ^ RS2)
      ALU(OP_SRL, RS1 >> (RS2 & 63))
      ALU(OP_SRA, (i64)RS1 >> (RS2 & 63))
      ALU(OP_OR, RS1 | RS2)
      ALU(OP_AND, RS1 & RS2)
      ALU(OP_ADDW, SEXT32(RS1 + RS2))
      ALU(OP_SUBW, SEXT32(RS1 - RS2))
      ALU(OP_SLLW, SEXT32((u32)RS1 << (RS2 & 31)))
      ALU(OP_SRLW, SEXT32((u32)RS1 >> (RS2 & 31)))
      ALU(OP_SRAW, (i64)((i32)RS1 >> (RS2 & 31)))
      ALU(OP_ADDI, RS1 + IMM)
      ALU(OP_SLTI, (i64)RS1 < op->imm)
      ALU(OP_SLTIU, RS1 < IMM)
      ALU(OP_XORI, RS1 ^ IMM)
      ALU(OP_ORI, RS1 | IMM)
      ALU(OP_ANDI, RS1 & IMM)
      ALU(OP_SLLI, RS1 << (IMM & 63))
      ALU(OP_SRLI, RS1 >> (IMM & 63))
      ALU(OP_SRAI, (i64)RS1 >> (IMM & 63))
      ALU(OP_ADDIW, SEXT32(RS1 + IMM))
      ALU(OP_SLLIW, SEXT32((u32)RS1 << (IMM & 31)))
      ALU(OP_SRLIW, SEXT32((u32)RS1 >> (IMM & 31)))
      ALU(OP_SRAIW, (i64)((i32)RS1 >> (IMM & 31)))

      ALU(OP_MUL, RS1 * RS2)
      ALU(OP_MULH, mul_high(RS1, RS2) - ((i64)RS1 < 0 ? RS2 : 0) - ((i64)RS2 < 0 ? RS1 : 0))
      ALU(OP_MULHSU, mul_high(RS1, RS2) - ((i64)RS1 < 0 ? RS2 : 0))
      ALU(OP_MULHU, mul_high(RS1, RS2))
      ALU(OP_DIV, div_signed((i64)RS1, (i64)RS2))
      ALU(OP_DIVU, RS2 ? RS1 / RS2 : ~0ull)
      ALU(OP_REM, rem_signed((i64)RS1, (i64)RS2))
      ALU(OP_REMU, RS2 ? RS1 % RS2 : RS1)
      ALU(OP_MULW, SEXT32(RS1 * RS2))
      ALU(OP_DIVW, div_word((i32)RS1, (i32)RS2))
      ALU(OP_DIVUW, (u32)RS2 ? SEXT32((u32)RS1 / (u32)RS2) : ~0ull)
      ALU(OP_REMW, rem_word((i32)RS1, (i32)RS2))
      ALU(OP_REMUW, (u32)RS2 ? SEXT32((u32)RS1 % (u32)RS2) : SEXT32(RS1))

      ALU(OP_SH1ADD, (RS1 << 1) + RS2)
      ALU(OP_SH2ADD, (RS1 << 2) + RS2)
      ALU(OP_SH3ADD, (RS1 << 3) + RS2)
      ALU(OP_ADD_UW, (u32)RS1 + RS2)
      ALU(OP_SH1ADD_UW, ((u64)(u32)RS1 << 1) + RS2)
      ALU(OP_SH2ADD_UW, ((u64)(u32)RS1 << 2) + RS2)
      ALU(OP_SH3ADD_UW, ((u64)(u32)RS1 << 3) + RS2)
      ALU(OP_SLLI_UW, (u64)(u32)RS1 << (IMM & 63))

      ALU(OP_ANDN, RS1 & ~RS2)
      ALU(OP_ORN, RS1 | ~RS2)
      ALU(OP_XNOR, ~(RS1 ^ RS2))
      ALU(OP_CLZ, RS1 ? __builtin_clzll(RS1) : 64)
      ALU(OP_CTZ, RS1 ? __builtin_ctzll(RS1) : 64)
      ALU(OP_CPOP, __builtin_popcountll(RS1))
      ALU(OP_CLZW, (u32)RS1 ? __builtin_clz((u32)RS1) : 32)
      ALU(OP_CTZW, (u32)RS1 ? __builtin_ctz((u32)RS1) : 32)
      ALU(OP_CPOPW, __builtin_popcount((u32)RS1))
      ALU(OP_MAX, (i64)RS1 > (i64)RS2 ? RS1 : RS2)
      ALU(OP_MAXU, RS1 > RS2 ? RS1 : RS2)
      ALU(OP_MIN, (i64)RS1 < (i64)RS2 ? RS1 : RS2)
      ALU(OP_MINU, RS1 < RS2 ? RS1 : RS2)
      ALU(OP_SEXT_B, (i64)(i8)RS1)
      ALU(OP_SEXT_H, (i64)(i16)RS1)
      ALU(OP_ZEXT_H, (u16)RS1)
      ALU(OP_ROL, rotate_right(RS1, -(u32)RS2))
      ALU(OP_ROR, rotate_right(RS1, (u32)RS2))
      ALU(OP_RORI, rotate_right(RS1, (u32)IMM))
      ALU(OP_ROLW, SEXT32(rotate_right_word((u32)RS1, -(u32)RS2)))
      ALU(OP_RORW, SEXT32(rotate_right_word((u32)RS1, (u32)RS2)))
      ALU(OP_RORIW, SEXT32(rotate_right_word((u32)RS1, (u32)IMM)))
      ALU(OP_ORC_B, orc_b(RS1))
      ALU(OP_REV8, __builtin_bswap64(RS1))

      ALU(OP_BCLR, RS1 & ~(1ull << (RS2 & 63)))
      ALU(OP_BEXT, RS1 >> (RS2 & 63) & 1)
      ALU(OP_BINV, RS1 ^ 1ull << (RS2 & 63))
      ALU(OP_BSET, RS1 | 1ull << (RS2 & 63))
      ALU(OP_BCLRI, RS1 & ~(1ull << (IMM & 63)))
      ALU(OP_BEXTI, RS1 >> (IMM & 63) & 1)
      ALU(OP_BINVI, RS1 ^ 1ull << (IMM & 63))
      ALU(OP_BSETI, RS1 | 1ull << (IMM & 63))
      ALU(OP_CZERO_EQZ, RS2 ? RS1 : 0)
      ALU(OP_CZERO_NEZ, RS2 ? 0 : RS1)

      ALU(OP_SHADD, (RS1 << (IMM & 63)) + RS2)
      ALU(OP_EXTRACT, RS1 << (IMM & 63) >> (IMM >> 8))
      FUSED_OPS

      case OP_LB: LOAD(i8, RD, SIGNED)
      case OP_LH: LOAD(i16, RD, SIGNED)
      case OP_LW: LOAD(i32, RD, SIGNED)
      case OP_LD: LOAD(u64, RD, AS_IS)
      case OP_LBU: LOAD(u8, RD, AS_IS)
      case OP_LHU: LOAD(u16, RD, AS_IS)
      case OP_LWU: LOAD(u32, RD, AS_IS)
      case OP_SB: STORE(u8, RS2)
      case OP_SH: STORE(u16, RS2)
      case OP_SW: STORE(u32, RS2)
      case OP_SD: STORE(u64, RS2)
      case OP_FLW: FP_GUARD LOAD(u32, F(op->rd), BOXED)
      case OP_FLD: FP_GUARD LOAD(u64, F(op->rd), AS_IS)
      case OP_FSW:
        if (unlikely(hart.fs == FS_OFF)) goto illegal;
        STORE(u32, F(op->rs2))
      case OP_FSD:
        if (unlikely(hart.fs == FS_OFF)) goto illegal;
        STORE(u64, F(op->rs2))
      case OP_LOAD_X0:
        hart.slice_left = budget;
        if (unlikely(!mmu_load(RS1 + IMM, op->rd))) goto fault;
        op++;
        continue;
      case OP_CBO_ZERO:
        if (unlikely(!zero_allowed())) goto illegal;
        if (unlikely(!zero_block(RS1))) goto fault;
        op++;
        continue;
      case OP_AMO:
        hart.slice_left = budget;
        if (unlikely(!amo_execute((u32)op->imm))) goto fault;
        op++;
        continue;

      BRANCH(OP_BEQ, RS1 == RS2)
      BRANCH(OP_BNE, RS1 != RS2)
      BRANCH(OP_BLT, (i64)RS1 < (i64)RS2)
      BRANCH(OP_BGE, (i64)RS1 >= (i64)RS2)
      BRANCH(OP_BLTU, RS1 < RS2)
      BRANCH(OP_BGEU, RS1 >= RS2)
      BRANCH(OP_BEQZ, RS1 == 0)
      BRANCH(OP_BNEZ, RS1 != 0)
      case OP_JAL: DO_JAL
      case OP_J:
      case OP_NEXT: DO_J
      case OP_JALR: DO_JALR
      case OP_JR: DO_JR

      taken: { // to base + op->imm
        const struct block *next = LINK->to;
        u64 from = base;
        base += IMM;
        if (likely(next && budget >= 0)) {
          op = next->ops;
          continue;
        }
        if (budget < 0 || ((from ^ base) & PAGE_MASK)) goto jump;
        // A link that is missing is looked for once; it is made if the target is in the same page.
        u32 epoch = block_epoch;
        hart.pc = base;
        hart.slice_left = budget;
        struct block *found = block_find();
        if (unlikely(!found)) goto fetch_fault;
        // block_find may have dropped all blocks, and this one with them.
        if (epoch == block_epoch && !found->second) LINK->to = found;
        op = found->ops;
        continue;
      }

      jump: { // to `base`, by way of the jump cache
        const struct jump_entry *entry = jump_entry_at(base);
        if (likely(entry->key == (base ^ hart.code_tag) && budget >= 0)) {
          op = entry->block->ops;
          continue;
        }
        hart.pc = base;
        if (budget < 0) goto top;
        goto enter;
      }

      case OP_REGION: {
        struct block *block = (struct block *)((u8 *)op - offsetof(struct block, ops));
        struct region_entry *entry = &region_entries[block->entry];
        if (bypassed) bypassed = restore_entry(bypassed);
        u64 result = region_run(entry, base, budget, tlb);
        if (unlikely(result == REGION_REFUSED)) {
          bypassed = bypass_entry(entry);
          continue;
        }
        budget = (i32)result;
        base = hart.pc;
        if (likely(result >> 32 == 0)) goto jump;
        // It is there for the interpreter to execute an instruction.
        if (budget < 0) goto top;
        struct block *found = block_find();
        if (unlikely(!found)) goto fetch_fault;
        if (found->entry) bypassed = bypass_entry(&region_entries[found->entry]);
        op = found->ops;
        continue;
      }

      case OP_CSR_READ:
        hart.slice_left = budget;
        if (unlikely(!csr_execute((u32)op->imm))) goto illegal;
        if (unlikely(hart.leave)) STEAL_BUDGET;
        op++;
        continue;
      case OP_CSR:
        // What a counter shows are the instructions before this one.
        hart.slice_left = budget - (op->n - 1);
        if (unlikely(!csr_execute((u32)op->imm))) goto illegal;
        budget -= op->n;
        base += op->off + 4;
        if (hart.leave || (hart.sip & hart.sie)) {
          hart.pc = base;
          goto top;
        }
        tlb = mmu_tlb();
        goto jump;
      case OP_ECALL:
        budget -= op->n;
        hart.slice_left = budget;
        if (hart.mode == MODE_S) {
          hart_call_firmware();
          hart.pc = base + op->off + 4;
        } else {
          hart.pc = base + op->off;
          hart_take_trap(CAUSE_ECALL_U, 0);
        }
        goto top;
      case OP_EBREAK:
        hart_fault(CAUSE_BREAKPOINT, base + op->off);
        goto fault;
      case OP_SRET:
        budget -= op->n;
        if (unlikely(!hart_sret())) {
          budget += op->n;
          goto illegal;
        }
        goto top;
      case OP_WFI:
        if (unlikely(hart.mode != MODE_S)) goto illegal;
        budget -= op->n;
        hart.pc = base + op->off + 4;
        if (!hart_interrupt_pending()) hart.wfi = hart.leave = 1;
        goto top;
      case OP_SFENCE:
        if (unlikely(!sfence(op->rs1 != 0, RS1, op->rs2 != 0, RS2))) goto illegal;
        tlb = mmu_tlb();
        budget -= op->n;
        base += op->off + 4;
        goto jump;
      case OP_FENCE_I:
        budget -= op->n;
        base += op->off + 4;
        block_fence();
        goto jump;

      FP_NATIVE_D(OP_FADD_D, +, true)
      FP_NATIVE_D(OP_FSUB_D, -, true)
      FP_NATIVE_D(OP_FMUL_D, *, false)
      FP_NATIVE_D(OP_FDIV_D, /, false)
      FP_NATIVE_S(OP_FADD_S, +, true)
      FP_NATIVE_S(OP_FSUB_S, -, true)
      FP_NATIVE_S(OP_FMUL_S, *, false)
      FP_NATIVE_S(OP_FDIV_S, /, false)
      case OP_FSGNJ_D:
        FP_GUARD
        F(op->rd) = (F(op->rs1) & ~F64_SIGN) | (F(op->rs2) & F64_SIGN);
        op++;
        continue;
      case OP_FSGNJN_D:
        FP_GUARD
        F(op->rd) = (F(op->rs1) & ~F64_SIGN) | (~F(op->rs2) & F64_SIGN);
        op++;
        continue;
      case OP_FSGNJX_D:
        FP_GUARD
        F(op->rd) = F(op->rs1) ^ (F(op->rs2) & F64_SIGN);
        op++;
        continue;
      case OP_FMV_X_D:
        if (unlikely(hart.fs == FS_OFF)) goto illegal;
        if (op->rd) RD = F(op->rs1);
        op++;
        continue;
      case OP_FMV_X_W:
        if (unlikely(hart.fs == FS_OFF)) goto illegal;
        if (op->rd) RD = SEXT32(F(op->rs1));
        op++;
        continue;
      case OP_FMV_D_X:
        FP_GUARD
        F(op->rd) = RS1;
        op++;
        continue;
      case OP_FMV_W_X:
        FP_GUARD
        F(op->rd) = FP_BOX | (u32)RS1;
        op++;
        continue;
      case OP_FP:
      soft_float:
        if (unlikely(!fp_execute((u32)op->imm))) goto illegal;
        op++;
        continue;

      default: // OP_ILLEGAL
      illegal:
        hart_fault(CAUSE_ILLEGAL, mmu_instruction_bits(base + op->off));
        goto fault;
    }
  fault:
    hart.pc = base + op->off;
    budget -= op->n - 1;
    COUNT_TRAP
    hart_take_trap(hart.fault_cause, hart.fault_value);
    goto top;
  }

fetch_fault:
  COUNT_TRAP
  hart_take_trap(hart.fault_cause, hart.fault_value);
  goto top;

done:
  budget += hart.slice_stolen;
  hart.instret_base += (u64)(i64)(slice - budget);
  hart.slice_budget = hart.slice_left = hart.slice_stolen = 0;
}
