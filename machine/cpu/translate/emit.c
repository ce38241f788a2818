/*
 * Theory of operation
 *
 * Operations become wasm one by one: the engine's compiler does the rest. What it costs that compiler decides how: values that live in locals
 * across many places where control flow meets make it slower than linear. So the guest's state is in memory between blocks. A block loads the
 * variables that it uses into locals and stores those that it has written at its end; a block that only one other leads to takes
 * over what that one has in its locals. Only a small unit, a loop as a rule, keeps its variables in locals for as long as it runs (and stores them
 * at the ends of blocks all the same).
 *
 * Memory is reached through windows: at the first access by a base register the TLB is asked for the whole range that the block's further accesses by the
 * same, unchanged register lie in, and those are plain loads and stores behind one host address. A window that begins with a load is for loads,
 * as a page's D bit may not be set for a store that does not come.
 *
 * An operation that the interpreter has to do leaves by way of its block's own end, which stores what the block has written so far.
 */
#include "cpu/translate/emit.h"

#include "board/ram.h"
#include "cpu/fp.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"
#include "cpu/riscv.h"
#include "cpu/translate/shape.h"

/* Locals: parameters, then those of each type in one run. */
#define WINDOWS 6
enum local { L_BASE, L_ENTRY, L_BUDGET, L_TLB, L_HART, L_SLOT, L_HOST, L_BLOCK, L_EXACT, L_HOW, L_AHEAD, L_WINDOWS, L_VA = L_WINDOWS + WINDOWS, L_TEMP, L_TARGET, L_PC, L_VARIABLES };
#define L_I32_COUNT (L_VA - L_HART)
/** Bytes that one window opens at most. */
#define WINDOW_MAX 1024
#define EXITS_MAX 256
/** Instructions of a unit whose variables stay in locals. */
#define KEEPS_MAX 120
#define L_I64_COUNT (L_VARIABLES - L_VA)

struct window {
  /** register, IR_ZERO: none; offsets from it that are open */
  u8 base;
  bool writes;
  i64 low, high;
};

static struct {
  struct wasm *w;
  const struct ir_unit *unit;
  struct emit_targets *targets;
  /** offsets of the exits that have links */
  i32 exits[EXITS_MAX];
  const struct ir_block *block;
  /** local of each variable, 0: the unit does not use it; L_BASE is none */
  u8 locals[IR_VARIABLES];
  /** variables live in locals all the time */
  bool keeps;
  u32 float_temp;
  u32 leave_level, slow_level;
  /** in the block: where an operation leaves to, what it reads and writes */
  u32 block_level;
  u64 reads, writes;
  /** variables whose locals hold them, and windows */
  struct state {
    u64 valid;
    struct window windows[WINDOWS];
  } state;
  u32 next_window;
  /** of each block at its end */
  struct state ends[IR_BLOCKS_MAX];
  /** the one block that leads to a block, IR_OUTSIDE: there are others, or it may be entered */
  u16 predecessor[IR_BLOCKS_MAX];
  bool seen[IR_BLOCKS_MAX];
  /** in the block so far: floating point is on; … and marked as used */
  bool float_on, float_dirty;
  bool uses_exact;
} emit;

#define W emit.w

static void code(u32 byte) { wasm_byte(W, byte); }
static bool is_float(u32 variable) { return variable >= IR_INTEGERS; }

/* Offset in the hart. */
static u32 place_of(u32 variable) {
  return is_float(variable) ? (u32)(offsetof(struct hart, f) + 8 * (variable - IR_INTEGERS)) : (u32)(offsetof(struct hart, x) + 8 * variable);
}

static void get(u32 variable) {
  if (variable == IR_ZERO) wasm_i64(W, 0);
  else wasm_get(W, emit.locals[variable]);
}

static void set(u32 variable) {
  if (variable == IR_ZERO) code(W_DROP);
  else wasm_set(W, emit.locals[variable]);
}

static void get_b(const struct ir *op) {
  if (op->flags & IR_IMMEDIATE) wasm_i64(W, op->imm);
  else get(op->b);
}

/* The lower half, if `word`. */
static void get_sized(u32 variable, bool word) {
  get(variable);
  if (word) code(W_I32_WRAP_I64);
}

static void get_b_word(const struct ir *op) {
  if (op->flags & IR_IMMEDIATE) wasm_i32(W, (i32)op->imm);
  else get_sized(op->b, true);
}

static void store_variable(u32 variable) {
  wasm_get(W, L_HART);
  get(variable);
  wasm_access(W, is_float(variable) ? W_F64_STORE : W_I64_STORE, place_of(variable));
}

static void load_variable(u32 variable) {
  if (variable == IR_ZERO) return;
  wasm_get(W, L_HART);
  wasm_access(W, is_float(variable) ? W_F64_LOAD : W_I64_LOAD, place_of(variable));
  set(variable);
}

/* From the base. */
static void set_pc(i32 at) {
  wasm_i64(W, at);
  wasm_set(W, L_PC);
}

/* The interpreter is to execute this operation's instruction: what was not retired goes back into the budget. */
static void leave_slowly(const struct ir *op) {
  set_pc(op->at);
  wasm_i32(W, (i32)emit.block->instructions - op->n);
  wasm_set(W, L_AHEAD);
  wasm_branch(W, W_BR, emit.block_level);
}

/* On the stack: whether to leave. */
static void leave_slowly_if(const struct ir *op) {
  wasm_open(W, W_IF, WASM_EMPTY);
  leave_slowly(op);
  wasm_close(W);
}

/* ---- integers ---- */

static void constant_sized(i32 value, bool word) {
  if (word) wasm_i32(W, value);
  else wasm_i64(W, value);
}

static void emit_divide(const struct ir *op) {
  bool word = op->flags & IR_WORD, is_signed = op->code == IR_DIV || op->code == IR_REM, remainder = op->code == IR_REM || op->code == IR_REMU;
  bool can_overflow = is_signed && !remainder;
  u32 type = word ? WASM_I32 : WASM_I64, divide = remainder ? (is_signed ? W_I64_REM_S : W_I64_REM_U) : is_signed ? W_I64_DIV_S : W_I64_DIV_U;
  get_sized(op->b, word);
  code(word ? W_I32_EQZ : W_I64_EQZ);
  wasm_open(W, W_IF, type);
  if (remainder) get_sized(op->a, word);
  else constant_sized(-1, word);
  code(W_ELSE);
  if (can_overflow) {
    get_sized(op->b, word);
    constant_sized(-1, word);
    code(word ? W_I32_EQ : W_I64_EQ);
    wasm_open(W, W_IF, type);
    constant_sized(0, word);
    get_sized(op->a, word);
    code(word ? W_I32_SUB : W_I64_SUB);
    code(W_ELSE);
  }
  get_sized(op->a, word);
  get_sized(op->b, word);
  code(word ? divide - W_I64_DIV_S + W_I32_DIV_S : divide);
  if (can_overflow) wasm_close(W);
  wasm_close(W);
  if (word) code(W_I64_EXTEND_I32_S);
  set(op->to);
}

static void emit_select(const struct ir *op, u32 compare) {
  get(op->a);
  get(op->b);
  get(op->a);
  get(op->b);
  code(compare);
  code(W_SELECT);
  set(op->to);
}

/* The bytes of a in the opposite order. */
static void emit_swap(const struct ir *op) {
  static const u64 masks[2] = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff};
  get(op->a);
  for (u32 i = 0; i < 2; i++) {
    wasm_tee(W, L_TEMP);
    wasm_i64(W, 8 << i);
    code(W_I64_SHR_U);
    wasm_i64(W, (i64)masks[i]);
    code(W_I64_AND);
    wasm_get(W, L_TEMP);
    wasm_i64(W, (i64)masks[i]);
    code(W_I64_AND);
    wasm_i64(W, 8 << i);
    code(W_I64_SHL);
    code(W_I64_OR);
  }
  wasm_i64(W, 32);
  code(W_I64_ROTL);
  set(op->to);
}

static void emit_orc(const struct ir *op) {
  get(op->a);
  wasm_i64(W, 0x7f7f7f7f7f7f7f7f);
  code(W_I64_AND);
  wasm_i64(W, 0x7f7f7f7f7f7f7f7f);
  code(W_I64_ADD);
  get(op->a);
  code(W_I64_OR);
  wasm_i64(W, (i64)0x8080808080808080);
  code(W_I64_AND);
  wasm_i64(W, 7);
  code(W_I64_SHR_U);
  wasm_i64(W, 0xff);
  code(W_I64_MUL);
  set(op->to);
}

static void emit_count(const struct ir *op, u32 wide) {
  get(op->a);
  if (op->flags & IR_WORD) {
    code(W_I32_WRAP_I64);
    code(wide - W_I64_CLZ + W_I32_CLZ);
    code(W_I64_EXTEND_I32_U);
  } else {
    code(wide);
  }
  set(op->to);
}

/* 1 << b */
static void get_bit(const struct ir *op) {
  wasm_i64(W, 1);
  get_b(op);
  code(W_I64_SHL);
}

static void emit_bit(const struct ir *op) {
  get(op->a);
  if (op->code == IR_BEXT) {
    get_b(op);
    code(W_I64_SHR_U);
    wasm_i64(W, 1);
    code(W_I64_AND);
  } else {
    get_bit(op);
    if (op->code == IR_BCLR) {
      wasm_i64(W, -1);
      code(W_I64_XOR);
    }
    code(op->code == IR_BCLR ? W_I64_AND : op->code == IR_BINV ? W_I64_XOR : W_I64_OR);
  }
  set(op->to);
}

static void emit_negated(const struct ir *op) {
  get(op->a);
  get(op->b);
  if (op->code != IR_XNOR) {
    wasm_i64(W, -1);
    code(W_I64_XOR);
  }
  code(op->code == IR_ANDN ? W_I64_AND : op->code == IR_ORN ? W_I64_OR : W_I64_XOR);
  if (op->code == IR_XNOR) {
    wasm_i64(W, -1);
    code(W_I64_XOR);
  }
  set(op->to);
}

static void emit_binary(const struct ir *op, u32 wide) {
  bool shifts = wide >= W_I64_SHL && wide <= W_I64_ROTR;
  if ((op->flags & IR_WORD) && shifts) {
    get_sized(op->a, true);
    get_b_word(op);
    code(wide - W_I64_CLZ + W_I32_CLZ);
    code(W_I64_EXTEND_I32_S);
  } else {
    get(op->a);
    get_b(op);
    code(wide);
    if (op->flags & IR_WORD) code(W_I64_EXTEND32_S);
  }
  set(op->to);
}

static void emit_shift_add(const struct ir *op) {
  get(op->a);
  if (op->flags & IR_UNSIGNED) {
    wasm_i64(W, 0xffffffff);
    code(W_I64_AND);
  }
  if (op->imm) {
    wasm_i64(W, op->imm);
    code(W_I64_SHL);
  }
  get(op->b);
  code(W_I64_ADD);
  set(op->to);
}

static void emit_unary(const struct ir *op, u32 operation) {
  get(op->a);
  code(operation);
  set(op->to);
}

static void emit_mask(const struct ir *op, i64 mask) {
  get(op->a);
  wasm_i64(W, mask);
  code(W_I64_AND);
  set(op->to);
}

/* to = condition on b ? 0 : a */
static void emit_zero_if(const struct ir *op) {
  wasm_i64(W, 0);
  get(op->a);
  get(op->b);
  code(W_I64_EQZ);
  if (op->code == IR_ZERO_IF_NOT) code(W_I32_EQZ);
  code(W_SELECT);
  set(op->to);
}

static void emit_multiply_high(const struct ir *op) {
  get(op->a);
  get(op->b);
  wasm_call(W, (u32)(IMPORT_MULH + (op->code - IR_MULH)));
  set(op->to);
}

/* ---- memory ---- */

/* Leaves the host address of `size` bytes at base + offset in a local: by the TLB, else by the helper, which refuses what is not plain memory in one page. */
static void emit_translation(const struct ir *op, i64 offset, u32 size, bool writes, u32 to) {
  u32 side = writes ? (u32)offsetof(struct tlb, write) : (u32)offsetof(struct tlb, read);
  bool is_natural = size == op->size;
  get(op->a);
  if (offset) {
    wasm_i64(W, offset);
    code(W_I64_ADD);
  }
  wasm_tee(W, L_VA);
  // Index times the size of an entry.
  code(W_I32_WRAP_I64);
  wasm_i32(W, PAGE_SHIFT - 4);
  code(W_I32_SHR_U);
  wasm_i32(W, (TLB_SIZE - 1) * (i32)sizeof(struct tlb_entry));
  code(W_I32_AND);
  wasm_get(W, L_TLB);
  code(W_I32_ADD);
  wasm_tee(W, L_SLOT);
  wasm_access(W, W_I64_LOAD, side + (u32)offsetof(struct tlb_entry, tag));
  wasm_get(W, L_VA);
  // What is aligned by its size does not cross an edge.
  wasm_i64(W, (i64)(PAGE_MASK | (is_natural ? size - 1u : 0)));
  code(W_I64_AND);
  code(W_I64_NE);
  if (!is_natural) {
    wasm_get(W, L_VA);
    code(W_I32_WRAP_I64);
    wasm_i32(W, 0xfff);
    code(W_I32_AND);
    wasm_i32(W, (i32)(PAGE_SIZE - size));
    code(W_I32_GT_U);
    code(W_I32_OR);
  }
  wasm_open(W, W_IF, WASM_EMPTY);
  wasm_get(W, L_VA);
  wasm_i32(W, (i32)size);
  wasm_call(W, writes ? IMPORT_WRITE : IMPORT_READ);
  wasm_tee(W, to);
  code(W_I32_EQZ);
  leave_slowly_if(op);
  code(W_ELSE);
  wasm_get(W, L_SLOT);
  wasm_access(W, W_I32_LOAD, side + (u32)offsetof(struct tlb_entry, addend));
  wasm_get(W, L_VA);
  code(W_I32_WRAP_I64);
  code(W_I32_ADD);
  wasm_set(W, to);
  wasm_close(W);
}

static bool is_access(const struct ir *op) { return op->code == IR_LOAD || op->code == IR_STORE; }
static bool writes_variable(const struct ir *op) { return op->code != IR_STORE && op->code != IR_ZERO_BLOCK && op->to != IR_ZERO; }

/* The range that this access and those behind it by the same register lie in; false: it is alone. */
static bool find_range(const struct ir *op, struct window *window) {
  const struct ir *end = &emit.unit->ops[emit.block->first + emit.block->count];
  bool any = false;
  *window = (struct window){op->a, op->code == IR_STORE, op->imm, op->imm + op->size};
  for (const struct ir *next = op; next < end; next++) {
    if (next != op && is_access(next) && next->a == op->a && (next->code == IR_LOAD || window->writes)) {
      i64 low = next->imm < window->low ? next->imm : window->low, high = next->imm + next->size > window->high ? next->imm + next->size : window->high;
      if (high - low <= WINDOW_MAX) {
        window->low = low;
        window->high = high;
        any = true;
      }
    }
    if (writes_variable(next) && next->to == op->a) break;
  }
  return any;
}

/* The window that is open for an access, WINDOWS: there is none. */
static u32 find_window(const struct ir *op) {
  for (u32 i = 0; i < WINDOWS; i++) {
    const struct window *window = &emit.state.windows[i];
    if (op->a != IR_ZERO && window->base == op->a && op->imm >= window->low && op->imm + op->size <= window->high && (window->writes || op->code == IR_LOAD)) return i;
  }
  return WINDOWS;
}

/* The host address of the access on the stack; the result is what is to be added to it. */
static u32 emit_address(const struct ir *op) {
  u32 number = find_window(op);
  struct window range;
  if (number == WINDOWS) {
    if (op->a == IR_ZERO || !find_range(op, &range)) {
      emit_translation(op, op->imm, op->size, op->code == IR_STORE, L_HOST);
      wasm_get(W, L_HOST);
      return 0;
    }
    number = emit.next_window++ % WINDOWS;
    emit_translation(op, range.low, (u32)(range.high - range.low), range.writes, L_WINDOWS + number);
    emit.state.windows[number] = range;
  }
  wasm_get(W, L_WINDOWS + number);
  return (u32)(op->imm - emit.state.windows[number].low);
}

static void close_windows(u32 variable) {
  for (u32 i = 0; i < WINDOWS; i++)
    if (emit.state.windows[i].base == variable) emit.state.windows[i].base = IR_ZERO;
}

_Static_assert(sizeof(struct tlb_entry) == 16, "the index is shifted by 4");

static void emit_load(const struct ir *op) {
  u32 offset = emit_address(op);
  if (is_float(op->to)) {
    if (op->size == 8) {
      wasm_access(W, W_F64_LOAD, offset);
    } else {
      wasm_access(W, W_I64_LOAD32_U, offset);
      wasm_i64(W, (i64)FP_BOX);
      code(W_I64_OR);
      code(W_F64_REINTERPRET_I64);
    }
  } else {
    bool is_unsigned = op->flags & IR_UNSIGNED;
    u32 load = op->size == 8 ? W_I64_LOAD : op->size == 4 ? W_I64_LOAD32_S : op->size == 2 ? W_I64_LOAD16_S : W_I64_LOAD8_S;
    wasm_access(W, load + (op->size < 8 && is_unsigned), offset);
  }
  set(op->to);
}

static void emit_store(const struct ir *op) {
  u32 offset = emit_address(op);
  if (is_float(op->b) && op->size == 8) {
    get(op->b);
    wasm_access(W, W_F64_STORE, offset);
    return;
  }
  get(op->b);
  if (is_float(op->b)) code(W_I64_REINTERPRET_F64);
  wasm_access(W, op->size == 8 ? W_I64_STORE : op->size == 4 ? W_I64_STORE32 : op->size == 2 ? W_I64_STORE16 : W_I64_STORE8, offset);
}

/* ---- floating point ---- */

static void mark_float_used(void) {
  if (emit.float_dirty) return;
  wasm_get(W, L_HART);
  wasm_i32(W, FS_DIRTY);
  wasm_access(W, W_I32_STORE, (u32)offsetof(struct hart, fs));
}

/* Is it on (else the instruction is illegal), and is it marked as used. */
static void guard_float(const struct ir *op, bool dirties) {
  if (!emit.float_on) {
    wasm_get(W, L_HART);
    wasm_access(W, W_I32_LOAD, (u32)offsetof(struct hart, fs));
    code(W_I32_EQZ);
    leave_slowly_if(op);
    emit.float_on = true;
  }
  if (!dirties) return;
  mark_float_used();
  emit.float_dirty = true;
}

/* fp_native_allowed(): only a helper of ours or what leaves the unit changes what it depends on. */
static void compute_exact(void) {
  wasm_get(W, L_HART);
  wasm_access(W, W_I32_LOAD, (u32)offsetof(struct hart, frm));
  code(W_I32_EQZ);
  wasm_get(W, L_HART);
  wasm_access(W, W_I32_LOAD, (u32)offsetof(struct hart, fflags));
  wasm_i32(W, FFLAG_NX);
  code(W_I32_AND);
  code(W_I32_AND);
  wasm_set(W, L_EXACT);
}

/* The interpreter's way, over the guest's state in memory. */
static void emit_soft(const struct ir *op) {
  const u8 operands[3] = {op->a, op->b, op->c};
  for (u32 i = 0; i < 3; i++)
    if (operands[i] != IR_ZERO) store_variable(operands[i]);
  wasm_i32(W, (i32)op->imm);
  wasm_call(W, IMPORT_FLOAT);
  code(W_I32_EQZ);
  leave_slowly_if(op);
  load_variable(op->to);
  if (emit.uses_exact) compute_exact();
}

static void get_number(u32 variable, u32 size) {
  get(variable);
  if (size == 8) return;
  code(W_I64_REINTERPRET_F64);
  code(W_I32_WRAP_I64);
  code(W_F32_REINTERPRET_I32);
}

/* A single (4 bytes) on the stack becomes a boxed one. */
static void box(u32 size) {
  if (size == 8) return;
  code(W_I32_REINTERPRET_F32);
  code(W_I64_EXTEND_I32_U);
  wasm_i64(W, (i64)FP_BOX);
  code(W_I64_OR);
  code(W_F64_REINTERPRET_I64);
}

/* To `soft` unless all of these, singles, are boxed. */
static void require_boxed(u32 a, u32 b, u32 soft) {
  get(a);
  code(W_I64_REINTERPRET_F64);
  if (b != a) {
    get(b);
    code(W_I64_REINTERPRET_F64);
    code(W_I64_AND);
  }
  wasm_i64(W, (i64)FP_BOX);
  code(W_I64_LT_U);
  wasm_branch(W, W_BR_IF, soft);
}

/* To `soft` if a (or b) is a NaN. */
static void require_numbers(const struct ir *op, bool both, u32 soft) {
  u32 equal = op->size == 8 ? W_F64_EQ : W_F32_EQ;
  get_number(op->a, op->size);
  get_number(op->a, op->size);
  code(equal);
  if (both) {
    get_number(op->b, op->size);
    get_number(op->b, op->size);
    code(equal);
    code(W_I32_AND);
  }
  code(W_I32_EQZ);
  wasm_branch(W, W_BR_IF, soft);
}

static void require_exact(u32 soft) {
  wasm_get(W, L_EXACT);
  code(W_I32_EQZ);
  wasm_branch(W, W_BR_IF, soft);
}

/*
 * The float in the temporary local, of `size` bytes and boxed: to `soft` if its exponent is that of infinities and NaNs or, unless `zero_fine`,
 * that of zero and subnormals, where flags may be due.
 */
static void require_plain(u32 size, bool zero_fine, u32 soft) {
  u32 bits = size == 8 ? 52 : 23, max = size == 8 ? 0x7ff : 0xff;
  wasm_get(W, emit.float_temp);
  code(W_I64_REINTERPRET_F64);
  wasm_i64(W, bits);
  code(W_I64_SHR_U);
  code(W_I32_WRAP_I64);
  wasm_i32(W, (i32)max);
  code(W_I32_AND);
  if (!zero_fine) {
    wasm_i32(W, 1);
    code(W_I32_SUB);
  }
  wasm_i32(W, (i32)(zero_fine ? max : max - 1));
  code(W_I32_GE_U);
  wasm_branch(W, W_BR_IF, soft);
}

static void emit_arithmetic(const struct ir *op, u32 soft) {
  u32 operation = op->size == 8 ? W_F64_ADD : W_F32_ADD;
  require_exact(soft);
  if (op->size == 4) require_boxed(op->a, op->b, soft);
  get_number(op->a, op->size);
  get_number(op->b, op->size);
  code(operation + (u32)(op->code - IR_FADD));
  box(op->size);
  wasm_set(W, emit.float_temp);
  require_plain(op->size, op->code == IR_FADD || op->code == IR_FSUB, soft);
  wasm_get(W, emit.float_temp);
  set(op->to);
}

static void emit_root(const struct ir *op, u32 soft) {
  require_exact(soft);
  if (op->size == 4) require_boxed(op->a, op->a, soft);
  get_number(op->a, op->size);
  code(op->size == 8 ? W_F64_SQRT : W_F32_SQRT);
  box(op->size);
  wasm_set(W, emit.float_temp);
  // Of zero and of what is negative, infinite or a NaN.
  require_plain(op->size, false, soft);
  wasm_get(W, emit.float_temp);
  set(op->to);
}

static void emit_extreme(const struct ir *op, u32 soft) {
  if (op->size == 4) require_boxed(op->a, op->b, soft);
  require_numbers(op, true, soft);
  get_number(op->a, op->size);
  get_number(op->b, op->size);
  u32 min = op->size == 8 ? W_F64_MIN : W_F32_MIN;
  code(min + (op->code == IR_FMAX));
  box(op->size);
  set(op->to);
}

static void emit_compare(const struct ir *op, u32 soft) {
  if (op->size == 4) require_boxed(op->a, op->b, soft);
  require_numbers(op, true, soft);
  get_number(op->a, op->size);
  get_number(op->b, op->size);
  u32 equal = op->size == 8 ? W_F64_EQ : W_F32_EQ;
  code(op->code == IR_FEQ ? equal : op->code == IR_FLT ? equal + (W_F64_LT - W_F64_EQ) : equal + (W_F64_LE - W_F64_EQ));
  code(W_I64_EXTEND_I32_U);
  set(op->to);
}

/* Then frm has to be a rounding mode, even where nothing is rounded. */
static bool rounds_dynamically(const struct ir *op) { return (op->imm >> 12 & 7) == RM_DYN; }

static void emit_from_integer(const struct ir *op, u32 soft) {
  bool word = op->flags & IR_WORD, is_unsigned = op->flags & IR_UNSIGNED;
  // A word fits into a double.
  if (!word || op->size == 4 || rounds_dynamically(op)) require_exact(soft);
  get(op->a);
  if (word && is_unsigned) {
    wasm_i64(W, 0xffffffff);
    code(W_I64_AND);
  } else if (word) {
    code(W_I64_EXTEND32_S);
  }
  u32 convert = op->size == 8 ? W_F64_CONVERT_I64_S : W_F32_CONVERT_I64_S;
  code(convert + is_unsigned);
  box(op->size);
  set(op->to);
}

/* Towards zero, where the result is in range. */
static void emit_to_integer(const struct ir *op, u32 soft) {
  bool word = op->flags & IR_WORD, is_unsigned = op->flags & IR_UNSIGNED;
  double above = word ? (is_unsigned ? 4294967296.0 : 2147483648.0) : is_unsigned ? 18446744073709551616.0 : 9223372036854775808.0;
  double below = is_unsigned ? -1.0 : word ? -2147483649.0 : -9223372036854775808.0;
  require_exact(soft);
  if (op->size == 4) require_boxed(op->a, op->a, soft);
  get_number(op->a, op->size);
  if (op->size == 4) code(W_F64_PROMOTE_F32);
  wasm_tee(W, emit.float_temp);
  code(W_F64_CONST);
  wasm_bytes(W, &above, 8);
  code(W_F64_LT);
  wasm_get(W, emit.float_temp);
  code(W_F64_CONST);
  wasm_bytes(W, &below, 8);
  // The least long is a double itself.
  code(!word && !is_unsigned ? W_F64_GE : W_F64_GT);
  code(W_I32_AND);
  code(W_I32_EQZ);
  wasm_branch(W, W_BR_IF, soft);
  wasm_get(W, emit.float_temp);
  code(is_unsigned ? W_I64_TRUNC_F64_U : W_I64_TRUNC_F64_S);
  if (word) code(W_I64_EXTEND32_S);
  set(op->to);
}

static void emit_widen(const struct ir *op, u32 soft) {
  if (rounds_dynamically(op)) require_exact(soft);
  require_boxed(op->a, op->a, soft);
  require_numbers(op, false, soft);
  get_number(op->a, 4);
  code(W_F64_PROMOTE_F32);
  set(op->to);
}

static void emit_narrow(const struct ir *op, u32 soft) {
  require_exact(soft);
  get(op->a);
  code(W_F32_DEMOTE_F64);
  box(4);
  wasm_set(W, emit.float_temp);
  require_plain(4, false, soft);
  wasm_get(W, emit.float_temp);
  set(op->to);
}

/*
 * Natively where the host's arithmetic gives the guest's result and flags, else softly. Those that the interpreter has opcodes for mark floating
 * point as used even if they turn out to be illegal.
 */
static void emit_native(const struct ir *op, void (*natively)(const struct ir *op, u32 soft)) {
  guard_float(op, op->code <= IR_FDIV);
  u32 done = wasm_open(W, W_BLOCK, WASM_EMPTY), soft = wasm_open(W, W_BLOCK, WASM_EMPTY);
  natively(op, soft);
  mark_float_used();
  wasm_branch(W, W_BR, done);
  wasm_close(W);
  emit_soft(op);
  wasm_close(W);
  emit.float_dirty = true;
}

static void emit_sign(const struct ir *op) {
  guard_float(op, true);
  get(op->a);
  code(W_I64_REINTERPRET_F64);
  if (op->code != IR_FSIGN_XOR) {
    wasm_i64(W, INT64_MAX);
    code(W_I64_AND);
  }
  get(op->b);
  code(W_I64_REINTERPRET_F64);
  if (op->code == IR_FSIGN_NOT) {
    wasm_i64(W, -1);
    code(W_I64_XOR);
  }
  wasm_i64(W, INT64_MIN);
  code(W_I64_AND);
  code(op->code == IR_FSIGN_XOR ? W_I64_XOR : W_I64_OR);
  code(W_F64_REINTERPRET_I64);
  set(op->to);
}

static void emit_float_to_bits(const struct ir *op) {
  guard_float(op, false);
  get(op->a);
  code(W_I64_REINTERPRET_F64);
  if (op->size == 4) code(W_I64_EXTEND32_S);
  set(op->to);
}

static void emit_bits_to_float(const struct ir *op) {
  guard_float(op, true);
  get(op->a);
  if (op->size == 4) {
    wasm_i64(W, (i64)FP_BOX);
    code(W_I64_OR);
  }
  code(W_F64_REINTERPRET_I64);
  set(op->to);
}

/* ---- helpers ---- */

static void emit_atomic(const struct ir *op) {
  store_variable(op->a);
  if (op->b != IR_ZERO) store_variable(op->b);
  wasm_i32(W, (i32)op->imm);
  wasm_call(W, IMPORT_ATOMIC);
  code(W_I32_EQZ);
  leave_slowly_if(op);
  load_variable(op->to);
}

static void emit_zero_block(const struct ir *op) {
  get(op->a);
  wasm_call(W, IMPORT_ZERO);
  code(W_I32_EQZ);
  leave_slowly_if(op);
}

/* The helper is told the budget as it is in front of the instruction, and gives it back, or what is left when the hart is to stop. */
static void emit_read_state(const struct ir *op) {
  i32 ahead = (i32)emit.block->instructions - op->n;
  wasm_i32(W, (i32)op->imm);
  wasm_get(W, L_BUDGET);
  wasm_i32(W, ahead);
  code(W_I32_ADD);
  wasm_call(W, IMPORT_STATE);
  wasm_tee(W, L_TEMP);
  wasm_i64(W, 0);
  code(W_I64_LT_S);
  leave_slowly_if(op);
  wasm_get(W, L_TEMP);
  code(W_I32_WRAP_I64);
  wasm_i32(W, ahead);
  code(W_I32_SUB);
  wasm_set(W, L_BUDGET);
  load_variable(op->to);
}

static void emit_op(const struct ir *op) {
  static const u8 binary[] = {[IR_ADD] = W_I64_ADD, [IR_SUB] = W_I64_SUB, [IR_AND] = W_I64_AND, [IR_OR] = W_I64_OR, [IR_XOR] = W_I64_XOR, [IR_SHL] = W_I64_SHL,
                              [IR_SHR] = W_I64_SHR_U, [IR_SAR] = W_I64_SHR_S, [IR_ROTL] = W_I64_ROTL, [IR_ROTR] = W_I64_ROTR, [IR_MUL] = W_I64_MUL};
  switch (op->code) {
    case IR_CONST:
      wasm_i64(W, op->imm);
      set(op->to);
      break;
    case IR_ADDRESS:
      wasm_get(W, L_BASE);
      wasm_i64(W, op->imm);
      code(W_I64_ADD);
      set(op->to);
      break;
    case IR_MOVE:
      get(op->a);
      set(op->to);
      break;
    case IR_DIV: case IR_DIVU: case IR_REM: case IR_REMU: emit_divide(op); break;
    case IR_LESS:
    case IR_LESSU:
      get(op->a);
      get_b(op);
      code(op->code == IR_LESS ? W_I64_LT_S : W_I64_LT_U);
      code(W_I64_EXTEND_I32_U);
      set(op->to);
      break;
    case IR_MIN: emit_select(op, W_I64_LT_S); break;
    case IR_MINU: emit_select(op, W_I64_LT_U); break;
    case IR_MAX: emit_select(op, W_I64_GT_S); break;
    case IR_MAXU: emit_select(op, W_I64_GT_U); break;
    case IR_ZERO_IF_ZERO: case IR_ZERO_IF_NOT: emit_zero_if(op); break;
    case IR_MULH: case IR_MULHSU: case IR_MULHU: emit_multiply_high(op); break;
    case IR_CLZ: emit_count(op, W_I64_CLZ); break;
    case IR_CTZ: emit_count(op, W_I64_CTZ); break;
    case IR_POPCNT: emit_count(op, W_I64_POPCNT); break;
    case IR_SEXT8: emit_unary(op, W_I64_EXTEND8_S); break;
    case IR_SEXT16: emit_unary(op, W_I64_EXTEND16_S); break;
    case IR_ZEXT16: emit_mask(op, 0xffff); break;
    case IR_ZEXT32: emit_mask(op, 0xffffffff); break;
    case IR_SWAP: emit_swap(op); break;
    case IR_ORC: emit_orc(op); break;
    case IR_ANDN: case IR_ORN: case IR_XNOR: emit_negated(op); break;
    case IR_BCLR: case IR_BEXT: case IR_BINV: case IR_BSET: emit_bit(op); break;
    case IR_SHIFT_ADD: emit_shift_add(op); break;
    case IR_LOAD:
      if (is_float(op->to)) guard_float(op, true);
      emit_load(op);
      break;
    case IR_STORE:
      if (is_float(op->b)) guard_float(op, false);
      emit_store(op);
      break;
    case IR_ATOMIC: emit_atomic(op); break;
    case IR_ZERO_BLOCK: emit_zero_block(op); break;
    case IR_READ_STATE: emit_read_state(op); break;
    case IR_SOFT_FLOAT:
      guard_float(op, false);
      emit_soft(op);
      break;
    case IR_FADD: case IR_FSUB: case IR_FMUL: case IR_FDIV: emit_native(op, emit_arithmetic); break;
    case IR_FSQRT: emit_native(op, emit_root); break;
    case IR_FMIN: case IR_FMAX: emit_native(op, emit_extreme); break;
    case IR_FEQ: case IR_FLT: case IR_FLE: emit_native(op, emit_compare); break;
    case IR_FROM_INTEGER: emit_native(op, emit_from_integer); break;
    case IR_TO_INTEGER: emit_native(op, emit_to_integer); break;
    case IR_WIDEN: emit_native(op, emit_widen); break;
    case IR_NARROW: emit_native(op, emit_narrow); break;
    case IR_FSIGN: case IR_FSIGN_NOT: case IR_FSIGN_XOR: emit_sign(op); break;
    case IR_FLOAT_TO_BITS: emit_float_to_bits(op); break;
    case IR_BITS_TO_FLOAT: emit_bits_to_float(op); break;
    default: emit_binary(op, binary[op->code]); break;
  }
}

/* ---- what shape.c asks for ---- */

static void emit_leave_unlinked(i32 at) {
  set_pc(at);
  wasm_branch(W, W_BR, emit.leave_level);
}

/* Its link, NULL: there is no room. */
static struct emit_link *link_to(i32 at) {
  struct emit_targets *targets = emit.targets;
  for (u32 i = 0; i < targets->link_count; i++)
    if (emit.exits[i] == at) return &targets->links[i];
  if (targets->link_count == targets->links_max || targets->link_count == EXITS_MAX) return NULL;
  emit.exits[targets->link_count] = at;
  return &targets->links[targets->link_count++];
}

static void emit_leave(i32 at) {
  struct emit_link *link = link_to(at);
  if (link) {
    wasm_i32(W, (i32)(uintptr_t)link);
    wasm_set(W, L_HOW);
  }
  emit_leave_unlinked(at);
}

static void emit_leave_for_target(void) {
  wasm_get(W, L_TARGET);
  wasm_get(W, L_BASE);
  code(W_I64_SUB);
  wasm_set(W, L_PC);
  wasm_branch(W, W_BR, emit.leave_level);
}

static void emit_leave_to_interpreter(i32 at) {
  set_pc(at);
  wasm_branch(W, W_BR, emit.slow_level);
}

static u64 bit(u32 variable) { return variable == IR_ZERO ? 0 : 1ull << variable; }

static bool may_leave(const struct ir *op) {
  return is_access(op) || op->code == IR_ATOMIC || op->code == IR_ZERO_BLOCK || op->code >= IR_SOFT_FLOAT;
}

static void for_each(u64 variables, void (*each)(u32 variable)) {
  for (; variables; variables &= variables - 1) each((u32)__builtin_ctzll(variables));
}

/* What the block reads and writes; whether anything in it may leave. */
static bool look_through(const struct ir_block *block) {
  bool leaves = false;
  emit.reads = bit(block->a) | bit(block->b);
  emit.writes = 0;
  for (u32 i = block->first; i < block->first + block->count; i++) {
    const struct ir *op = &emit.unit->ops[i];
    emit.reads |= bit(op->a) | bit(op->b) | bit(op->c);
    if (writes_variable(op)) emit.writes |= bit(op->to);
    leaves |= may_leave(op);
  }
  return leaves;
}

static void begin_state(u32 number) {
  u32 from = emit.predecessor[number];
  if (from != IR_OUTSIDE) emit.state = emit.ends[from];
  else fill_bytes(&emit.state, 0, sizeof emit.state);
  if (emit.keeps) emit.state.valid = ~0ull;
}

static void look_at_budget(i32 at) {
  wasm_get(W, L_BUDGET);
  wasm_i32(W, 0);
  code(W_I32_LT_S);
  wasm_open(W, W_IF, WASM_EMPTY);
  emit_leave_unlinked(at);
  wasm_close(W);
}

static void take_from_budget(u32 instructions) {
  if (instructions == 0) return;
  wasm_get(W, L_BUDGET);
  wasm_i32(W, (i32)instructions);
  code(W_I32_SUB);
  wasm_set(W, L_BUDGET);
}

static void emit_target(const struct ir_block *block) {
  get(block->a);
  wasm_i64(W, block->imm);
  code(W_I64_ADD);
  wasm_i64(W, -2);
  code(W_I64_AND);
  wasm_set(W, L_TARGET);
}

static void emit_operations(u32 number, bool heads_loop) {
  const struct ir_block *block = &emit.unit->blocks[number];
  emit.block = block;
  emit.float_on = emit.float_dirty = false;
  begin_state(number);
  if (heads_loop) look_at_budget(block->at);
  bool leaves = look_through(block);
  for_each((leaves ? emit.reads | emit.writes : emit.reads) & ~emit.state.valid, load_variable);
  take_from_budget(block->instructions);
  u32 done = 0;
  if (leaves) {
    done = wasm_open(W, W_BLOCK, WASM_EMPTY);
    emit.block_level = wasm_open(W, W_BLOCK, WASM_EMPTY);
  }
  for (u32 i = block->first; i <= block->first + block->count; i++) {
    if (block->end >= IR_INDIRECT && block->end <= IR_AWAY && i == block->target_before) emit_target(block);
    if (i == block->first + block->count) break;
    const struct ir *op = &emit.unit->ops[i];
    emit_op(op);
    if (writes_variable(op)) close_windows(op->to);
  }
  if (leaves) {
    wasm_branch(W, W_BR, done);
    wasm_close(W);
    for_each(emit.writes, store_variable);
    wasm_branch(W, W_BR, emit.slow_level);
    wasm_close(W);
  }
  for_each(emit.writes, store_variable);
  emit.state.valid |= emit.reads | emit.writes;
  emit.ends[number] = emit.state;
}

static void emit_condition(u32 number) {
  static const u8 compares[] = {[IR_EQ] = W_I64_EQ, [IR_NE] = W_I64_NE, [IR_LT] = W_I64_LT_S, [IR_GE] = W_I64_GE_S, [IR_LTU] = W_I64_LT_U, [IR_GEU] = W_I64_GE_U};
  const struct ir_block *block = &emit.unit->blocks[number];
  get(block->a);
  if (block->b == IR_ZERO && block->condition <= IR_NE) {
    code(W_I64_EQZ);
    if (block->condition == IR_NE) code(W_I32_EQZ);
    return;
  }
  get(block->b);
  code(compares[block->condition]);
}

static void emit_choose(u32 number) {
  wasm_i32(W, (i32)number);
  wasm_set(W, L_BLOCK);
}

static void emit_get_chosen(void) { wasm_get(W, L_BLOCK); }

static void emit_look_up_target(void) {
  u32 table = (u32)(uintptr_t)emit.targets->entries;
  wasm_get(W, L_TARGET);
  wasm_get(W, L_BASE);
  code(W_I64_SUB);
  wasm_tee(W, L_TEMP);
  code(W_I32_WRAP_I64);
  wasm_i32(W, (i32)EMIT_HASH);
  code(W_I32_MUL);
  wasm_i32(W, (i32)(32 - emit.targets->bits));
  code(W_I32_SHR_U);
  wasm_i32(W, 4);
  code(W_I32_SHL);
  wasm_tee(W, L_SLOT);
  wasm_access(W, W_I64_LOAD, table + (u32)offsetof(struct emit_target, offset));
  wasm_get(W, L_TEMP);
  code(W_I64_NE);
  wasm_open(W, W_IF, WASM_EMPTY);
  wasm_get(W, L_TEMP);
  wasm_set(W, L_PC);
  wasm_branch(W, W_BR, emit.leave_level);
  wasm_close(W);
  wasm_get(W, L_SLOT);
  wasm_access(W, W_I32_LOAD, table + (u32)offsetof(struct emit_target, block));
  wasm_set(W, L_BLOCK);
}

static const struct shape_parts parts = {emit_operations, emit_condition, emit_leave, emit_leave_to_interpreter, emit_leave_for_target, emit_choose, emit_get_chosen, emit_look_up_target};

/* ---- the function ---- */

static void note_use(u32 variable) {
  if (variable != IR_ZERO) emit.locals[variable] = 1;
}

static bool is_native_float(u32 op) { return op >= IR_FADD && op <= IR_FMAX; }

static void collect(void) {
  const struct ir_unit *unit = emit.unit;
  fill_bytes(emit.locals, 0, sizeof emit.locals);
  emit.uses_exact = false;
  for (u32 i = 0; i < unit->op_count; i++) {
    const struct ir *op = &unit->ops[i];
    note_use(op->to);
    note_use(op->a);
    note_use(op->b);
    note_use(op->c);
    if (is_native_float(op->code) || (op->code >= IR_FEQ && op->code <= IR_FLE) || (op->code >= IR_FROM_INTEGER && op->code <= IR_NARROW)) emit.uses_exact = true;
  }
  for (u32 i = 0; i < unit->block_count; i++) {
    note_use(unit->blocks[i].a);
    note_use(unit->blocks[i].b);
  }
}

static void note_edge(u32 from, u32 to) {
  if (to != IR_OUTSIDE) emit.predecessor[to] = emit.seen[to] ? IR_OUTSIDE : (u16)from;
  if (to != IR_OUTSIDE) emit.seen[to] = true;
}

static void find_predecessors(void) {
  const struct ir_unit *unit = emit.unit;
  for (u32 i = 0; i < unit->block_count; i++) {
    emit.seen[i] = unit->blocks[i].is_entry;
    emit.predecessor[i] = IR_OUTSIDE;
  }
  for (u32 i = 0; i < unit->block_count; i++) {
    const struct ir_block *block = &unit->blocks[i];
    if (block->end == IR_JUMP || block->end == IR_BRANCH) note_edge(i, block->taken_block);
    if (block->end == IR_BRANCH) note_edge(i, block->next_block);
  }
}

static void declare(u32 count, u32 type) {
  wasm_unsigned(W, count);
  code(type);
}

/* Numbers the variables' locals and declares all. */
static void declare_locals(void) {
  u32 integers = 0, floats = 0;
  for (u32 v = 0; v < IR_INTEGERS; v++)
    if (emit.locals[v]) emit.locals[v] = (u8)(L_VARIABLES + integers++);
  emit.float_temp = L_VARIABLES + integers;
  for (u32 v = IR_INTEGERS; v < IR_VARIABLES; v++)
    if (emit.locals[v]) emit.locals[v] = (u8)(emit.float_temp + 1 + floats++);
  wasm_unsigned(W, 3);
  declare(L_I32_COUNT, WASM_I32);
  declare(L_I64_COUNT + integers, WASM_I64);
  declare(1 + floats, WASM_F64);
}

bool emit_function(struct wasm *w, const struct ir_unit *unit, struct emit_targets *targets) {
  emit.w = w;
  emit.unit = unit;
  emit.targets = targets;
  emit.keeps = unit->instructions <= KEEPS_MAX;
  w->depth = 0;
  collect();
  find_predecessors();
  declare_locals();
  wasm_i32(W, (i32)(uintptr_t)&hart);
  wasm_set(W, L_HART);
  for (u32 v = 0; v < IR_VARIABLES && emit.keeps; v++)
    if (emit.locals[v]) load_variable(v);
  if (emit.uses_exact) compute_exact();
  wasm_get(W, L_ENTRY);
  wasm_set(W, L_BLOCK);
  emit.leave_level = wasm_open(W, W_BLOCK, WASM_EMPTY);
  emit.slow_level = wasm_open(W, W_BLOCK, WASM_EMPTY);
  if (!shape_emit(w, unit, &parts)) return false;
  code(W_UNREACHABLE);
  wasm_close(W);
  wasm_i32(W, EMIT_SLOW);
  wasm_set(W, L_HOW);
  wasm_close(W);
  wasm_get(W, L_HART);
  wasm_get(W, L_BASE);
  wasm_get(W, L_PC);
  code(W_I64_ADD);
  wasm_access(W, W_I64_STORE, (u32)offsetof(struct hart, pc));
  wasm_get(W, L_HOW);
  code(W_I64_EXTEND_I32_U);
  wasm_i64(W, 32);
  code(W_I64_SHL);
  wasm_get(W, L_BUDGET);
  wasm_get(W, L_AHEAD);
  code(W_I32_ADD);
  code(W_I64_EXTEND_I32_U);
  code(W_I64_OR);
  code(W_END);
  return !w->overflowed;
}
