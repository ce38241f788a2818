#include "cpu/fuse.h"

#include "cpu/fusion.h"
#include "cpu/opcode.h"

struct sequence {
  u16 code;
  u8 len;
  u8 next; /* of those that begin with the same op, as index + 1 */
  u16 ops[4];
};

#define FUSED2(a, b) {OP_##a##_##b, 2, 0, {OP_##a, OP_##b}},
#define FUSED3(a, b, c) {OP_##a##_##b##_##c, 3, 0, {OP_##a, OP_##b, OP_##c}},
#define FUSED4(a, b, c, d) {OP_##a##_##b##_##c##_##d, 4, 0, {OP_##a, OP_##b, OP_##c, OP_##d}},
static struct sequence sequences[] = {FUSED_OPS};
#undef FUSED2
#undef FUSED3
#undef FUSED4

_Static_assert(COUNT_OF(sequences) < 256, "indices are bytes");

static u8 first_of[OP_COUNT];

void fuse_init(void) {
  fill_bytes(first_of, 0, sizeof first_of);
  for (u32 i = 0; i < COUNT_OF(sequences); i++) {
    u8 *first = &first_of[sequences[i].ops[0]];
    sequences[i].next = *first;
    *first = (u8)(i + 1);
  }
}

static bool is_constant(u16 code) { return code == OP_LI || code == OP_AUIPC; }

/* slli and srli of the same register: a mask, or one op with both amounts. */
static void fold_shifts(struct op *first, const struct op *second) {
  u32 left = first->imm & 63, right = second->imm & 63;
  if (left == right) {
    first->code = OP_ANDI;
    first->imm = (i64)(~0ull >> left);
  } else {
    first->code = OP_EXTRACT;
    first->imm = left | right << 8;
  }
}

bool fuse_fold(struct op *last, bool has_previous) {
  if (last->code == OP_NOP) return true;
  struct op *first = last - 1;
  if (!has_previous || last->rs1 != first->rd || first->rd == 0) {
    // The one case in which the value may be the second operand, as addition commutes.
    bool second_operand = has_previous && last->code == OP_ADD && first->code == OP_SLLI && last->rs2 == first->rd && last->rd == first->rd;
    if (!second_operand || last->rs1 == first->rd) return false;
    first->code = OP_SHADD;
    first->rs2 = last->rs1;
    return true;
  }
  if (last->code == OP_JALR || last->code == OP_JR) {
    // A far call: where it goes is known. rd of the auipc keeps its value.
    if (first->code != OP_AUIPC) return false;
    last->code = last->code == OP_JALR ? OP_JAL : OP_J;
    last->imm = (first->imm + last->imm) & ~1ll;
    return false;
  }
  if (last->rd != first->rd) return false;
  if (last->code == OP_ADDI && is_constant(first->code)) {
    first->imm += last->imm;
    return true;
  }
  if (last->code == OP_ADDIW && first->code == OP_LI) {
    first->imm = (i32)(first->imm + last->imm);
    return true;
  }
  if (last->code == OP_SRLI && first->code == OP_SLLI) {
    fold_shifts(first, last);
    return true;
  }
  if (last->code == OP_ADD && first->code == OP_SLLI && last->rs2 != first->rd) {
    first->code = OP_SHADD;
    first->rs2 = last->rs2;
    return true;
  }
  return false;
}

static bool has_link(u16 code) { return code >= OP_BEQ && code <= OP_NEXT; }

void fuse_ops(struct op *ops, u32 count) {
  // Without the links: where each op is, and its code. The last op's link may be that of any kind of op.
  u8 places[BLOCK_OPS_MAX], cost[BLOCK_OPS_MAX + 1], best[BLOCK_OPS_MAX];
  u16 codes[BLOCK_OPS_MAX];
  u32 len = 0;
  for (u32 i = 0; i + 1 < count; i += has_link(ops[i].code) ? 2 : 1) {
    codes[len] = ops[i].code;
    places[len++] = (u8)i;
  }
  // From the end: dispatches from each op on, and with which sequence.
  cost[len] = 0;
  for (u32 i = len; i-- > 0;) {
    cost[i] = cost[i + 1] + 1;
    best[i] = 0;
    for (u32 at = first_of[codes[i]]; at; at = sequences[at - 1].next) {
      const struct sequence *sequence = &sequences[at - 1];
      if (sequence->len > len - i || cost[i + sequence->len] + 1 >= cost[i] || !bytes_equal(sequence->ops, codes + i, sequence->len * sizeof(u16))) continue;
      cost[i] = cost[i + sequence->len] + 1;
      best[i] = (u8)at;
    }
  }
  for (u32 i = 0; i < len;) {
    if (best[i]) ops[places[i]].code = sequences[best[i] - 1].code;
    i += best[i] ? sequences[best[i] - 1].len : 1;
  }
}
