#include "cpu/amo.h"

#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/riscv.h"

#define AMO_ADD 0x00
#define AMO_SWAP 0x01
#define AMO_LR 0x02
#define AMO_SC 0x03
#define AMO_XOR 0x04
#define AMO_OR 0x08
#define AMO_AND 0x0c
#define AMO_MIN 0x10
#define AMO_MAX 0x14
#define AMO_MINU 0x18
#define AMO_MAXU 0x1c

static bool is_amo(u32 function) { return (function & 3) == 0 ? function <= AMO_MAXU : function <= AMO_SC; }

static u64 combine(u32 function, u64 old, u64 operand) {
  switch (function) {
    case AMO_ADD: return old + operand;
    case AMO_SWAP: return operand;
    case AMO_XOR: return old ^ operand;
    case AMO_OR: return old | operand;
    case AMO_AND: return old & operand;
    case AMO_MIN: return (i64)old < (i64)operand ? old : operand;
    case AMO_MAX: return (i64)old > (i64)operand ? old : operand;
    case AMO_MINU: return old < operand ? old : operand;
    default: return old > operand ? old : operand;
  }
}

bool amo_execute(u32 insn) {
  u32 function = insn >> 27, rd = insn >> 7 & 31, rs1 = insn >> 15 & 31, rs2 = insn >> 20 & 31;
  bool word = (insn >> 12 & 7) == 2;
  bool is_load = function == AMO_LR;
  if (!is_amo(function) || (is_load && rs2)) return hart_fault(CAUSE_ILLEGAL, insn);
  u64 va = hart.x[rs1];
  if (va & (word ? 3 : 7)) return hart_fault(is_load ? CAUSE_LOAD_MISALIGNED : CAUSE_STORE_MISALIGNED, va);
  if (function == AMO_SC && !(hart.reservation && hart.reservation_va == va)) {
    // Unprivileged §14.2: it fails, and what does not store need not be permitted to.
    hart.reservation = NULL;
    if (rd) hart.x[rd] = 1;
    return true;
  }
  u8 *at = mmu_data(va, !is_load);
  if (!at) return false;
  u64 old = word ? (u64)(i64) * (i32 *)at : *(u64 *)at;
  u64 operand = word ? (u64)(i64)(i32)hart.x[rs2] : hart.x[rs2];
  u64 result = old;
  if (is_load) {
    hart.reservation = at;
    hart.reservation_va = va;
  } else if (function == AMO_SC) {
    // One hart, so only another SC or LR ends a reservation; another page may be mapped there by now.
    bool holds = hart.reservation == at;
    hart.reservation = NULL;
    if (holds && word) *(u32 *)at = (u32)operand;
    if (holds && !word) *(u64 *)at = operand;
    result = !holds;
  } else {
    // Sign-extended words compare as words do, signed and unsigned alike.
    u64 value = combine(function, old, operand);
    if (word) *(u32 *)at = (u32)value;
    else *(u64 *)at = value;
  }
  if (rd) hart.x[rd] = result;
  return true;
}
