/*
 * Theory of operation
 *
 * Strongly connected components, again and again. The blocks of a unit fall into components, which are laid out in topological order, each
 * behind the end of a wasm block, so that a branch forward is a `br` out of that block. A component of more than one block (or with an edge to
 * itself) is a loop; its heads are the blocks that are reached from outside of it. Without the edges to its heads its blocks fall into
 * components again, which are laid out within the wasm loop, and so on. A loop with one head begins with it. One with several begins with a table: who
 * branches to a head chooses it first. The same holds for the unit as a whole, whose heads are its entries.
 *
 * An indirect jump may lead to every entry of the unit.
 */
#include "cpu/translate/shape.h"

#define DEPTH_MAX 60
#define POOL_SIZE (IR_BLOCKS_MAX * 24)
#define NO_LEVEL 0u

static struct {
  struct wasm *w;
  const struct ir_unit *unit;
  const struct shape_parts *parts;
  u16 entries[IR_BLOCKS_MAX];
  u32 entry_count;
  /** innermost set of blocks that a block is in: edges are followed within it only */
  u16 scope[IR_BLOCKS_MAX];
  u16 scopes;
  /** heads of loops that are open, or blocks whose edges are cut: no edge leads to them within their scope */
  bool is_cut[IR_BLOCKS_MAX];
  bool heads_loop[IR_BLOCKS_MAX];
  /** in the scope that is being looked at: reached from outside of its component */
  bool is_head[IR_BLOCKS_MAX];
  /** where a branch to a block goes: level of the wasm block whose end is in front of it or of the loop that it heads */
  u32 level[IR_BLOCKS_MAX];
  /** it is to be chosen before a branch to it */
  bool is_chosen[IR_BLOCKS_MAX];
  /* Tarjan's algorithm, within one scope. */
  u32 next_index;
  u32 index[IR_BLOCKS_MAX], low[IR_BLOCKS_MAX];
  u16 component[IR_BLOCKS_MAX];
  bool on_stack[IR_BLOCKS_MAX];
  u16 stack[IR_BLOCKS_MAX];
  u32 stack_len;
  /** lists of blocks and of where components begin, one on the other */
  u16 pool[POOL_SIZE];
  u32 pool_len;
  u32 depth;
} shape;

struct components {
  /** blocks, component by component, in the opposite of topological order */
  u16 *blocks;
  /** where each begins, and the end */
  u16 *starts;
  u32 count;
};

/* Does `body` for each block `to` that `number` leads to. */
#define FOR_SUCCESSORS(number, to, body)                                            \
  {                                                                                 \
    const struct ir_block *from_ = &shape.unit->blocks[number];                     \
    if (from_->end == IR_INDIRECT) {                                                \
      for (u32 i_ = 0; i_ < shape.entry_count; i_++) {                              \
        u32 to = shape.entries[i_];                                                 \
        body                                                                        \
      }                                                                             \
    } else if (from_->end <= IR_BRANCH) {                                          \
      for (u32 i_ = 0; i_ < (from_->end == IR_BRANCH ? 2u : 1u); i_++) {            \
        u32 to = i_ ? from_->next_block : from_->taken_block;                       \
        if (to == IR_OUTSIDE) continue;                                             \
        body                                                                        \
      }                                                                             \
    }                                                                               \
  }

static bool leads_within(u32 to, u32 scope) { return shape.scope[to] == scope && !shape.is_cut[to]; }

static void connect(u32 at, u32 scope, struct components *found, u32 *filled) {
  shape.index[at] = shape.low[at] = ++shape.next_index;
  shape.stack[shape.stack_len++] = (u16)at;
  shape.on_stack[at] = true;
  FOR_SUCCESSORS(at, to, {
    if (!leads_within(to, scope)) continue;
    if (!shape.index[to]) {
      connect(to, scope, found, filled);
      if (shape.low[to] < shape.low[at]) shape.low[at] = shape.low[to];
    } else if (shape.on_stack[to] && shape.index[to] < shape.low[at]) {
      shape.low[at] = shape.index[to];
    }
  })
  if (shape.low[at] != shape.index[at]) return;
  found->starts[found->count] = (u16)*filled;
  for (u32 of = IR_OUTSIDE; of != at;) {
    of = shape.stack[--shape.stack_len];
    shape.on_stack[of] = false;
    shape.component[of] = (u16)found->count;
    found->blocks[(*filled)++] = (u16)of;
  }
  found->count++;
}

static u16 *take(u32 count) {
  if (count > POOL_SIZE - shape.pool_len) return NULL;
  u16 *list = &shape.pool[shape.pool_len];
  shape.pool_len += count;
  return list;
}

static void branch_to(u32 number) {
  if (shape.is_chosen[number]) shape.parts->choose(number);
  wasm_branch(shape.w, W_BR, shape.level[number]);
}

static void go_to(u32 block, i32 at) {
  if (block == IR_OUTSIDE) shape.parts->leave(at);
  else branch_to(block);
}

/* To the block that is chosen, one of these. */
static void branch_by_table(const u16 *targets, u32 count) {
  u32 first_level = shape.level[targets[0]];
  bool same = true;
  for (u32 i = 1; i < count; i++) same = same && shape.level[targets[i]] == first_level;
  if (same) {
    wasm_branch(shape.w, W_BR, first_level);
    return;
  }
  u32 last = 0;
  for (u32 i = 0; i < count; i++)
    if (targets[i] > last) last = targets[i];
  shape.parts->get_chosen();
  wasm_byte(shape.w, W_BR_TABLE);
  wasm_unsigned(shape.w, last + 1);
  // Blocks that are no targets share the default, which nothing chooses.
  u32 by_default = shape.w->depth - first_level;
  for (u32 number = 0, i = 0; number <= last; number++) {
    while (i < count && targets[i] < number) i++;
    wasm_unsigned(shape.w, i < count && targets[i] == number ? shape.w->depth - shape.level[number] : by_default);
  }
  wasm_unsigned(shape.w, by_default);
}

static void write_block(u32 number) {
  const struct ir_block *block = &shape.unit->blocks[number];
  shape.parts->operations(number, shape.heads_loop[number]);
  switch (block->end) {
    case IR_JUMP: go_to(block->taken_block, block->taken); break;
    case IR_BRANCH:
      shape.parts->condition(number);
      if (block->taken_block != IR_OUTSIDE && !shape.is_chosen[block->taken_block]) {
        wasm_branch(shape.w, W_BR_IF, shape.level[block->taken_block]);
      } else {
        wasm_open(shape.w, W_IF, WASM_EMPTY);
        go_to(block->taken_block, block->taken);
        wasm_close(shape.w);
      }
      go_to(block->next_block, block->next);
      break;
    case IR_INDIRECT:
      shape.parts->look_up_target();
      branch_by_table(shape.entries, shape.entry_count);
      break;
    case IR_AWAY: shape.parts->leave_for_target(); break;
    default: shape.parts->leave_to_interpreter(block->taken); break;
  }
}

static void sort(u16 *numbers, u32 count) {
  for (u32 i = 1; i < count; i++) {
    u16 number = numbers[i];
    u32 at = i;
    for (; at > 0 && numbers[at - 1] > number; at--) numbers[at] = numbers[at - 1];
    numbers[at] = number;
  }
}

static bool write_scope(const u16 *blocks, u32 count, const u16 *chosen, u32 chosen_count);

static bool leads_to_itself(u32 number, u32 scope) {
  FOR_SUCCESSORS(number, to, {
    if (to == number && leads_within(to, scope)) return true;
  })
  return false;
}

/* Notes which blocks of a scope are reached from outside of their component, or by its table. */
static void note_heads(const u16 *blocks, u32 count, u32 scope, const u16 *chosen, u32 chosen_count) {
  for (u32 i = 0; i < count; i++) shape.is_head[blocks[i]] = false;
  for (u32 i = 0; i < chosen_count; i++) shape.is_head[chosen[i]] = true;
  for (u32 i = 0; i < count; i++) {
    u32 component = shape.component[blocks[i]];
    FOR_SUCCESSORS(blocks[i], to, {
      if (leads_within(to, scope) && shape.component[to] != component) shape.is_head[to] = true;
    })
  }
}

static u32 collect_heads(const u16 *blocks, u32 count, u16 *heads) {
  u32 found = 0;
  for (u32 i = 0; i < count; i++)
    if (shape.is_head[blocks[i]]) heads[found++] = blocks[i];
  sort(heads, found);
  return found;
}

static bool write_loop(const u16 *blocks, u32 count, const u16 *heads, u32 head_count) {
  u32 level = wasm_open(shape.w, W_LOOP, WASM_EMPTY);
  u16 scope = ++shape.scopes;
  for (u32 i = 0; i < count; i++) shape.scope[blocks[i]] = scope;
  for (u32 i = 0; i < head_count; i++) {
    shape.level[heads[i]] = level;
    shape.is_cut[heads[i]] = shape.heads_loop[heads[i]] = true;
    shape.is_chosen[heads[i]] = head_count > 1;
  }
  bool fits = write_scope(blocks, count, heads, head_count > 1 ? head_count : 0);
  wasm_close(shape.w);
  return fits;
}

/*
 * Writes the blocks of a scope. It is entered at its first component, or, with a table, at one of `chosen`: blocks of it, in ascending order. A table's
 * branches go to levels of this scope, so the heads of a loop keep the loop's for everybody else.
 */
static bool write_scope(const u16 *blocks, u32 count, const u16 *chosen, u32 chosen_count) {
  if (++shape.depth > DEPTH_MAX) return false;
  u32 scope = shape.scope[blocks[0]], pool_len = shape.pool_len, filled = 0;
  struct components found = {take(count), take(count + 1), 0};
  u16 *heads = take(count), *head_starts = take(count + 1);
  if (!found.blocks || !found.starts || !heads || !head_starts) return false;
  shape.next_index = 0;
  for (u32 i = 0; i < count; i++) shape.index[blocks[i]] = 0;
  // What is entered first is to come first: the others are not reached but from there.
  for (u32 i = 0; i < chosen_count; i++)
    if (!shape.index[chosen[i]]) connect(chosen[i], scope, &found, &filled);
  for (u32 i = 0; i < count; i++)
    if (shape.is_cut[blocks[i]] && !shape.index[blocks[i]]) connect(blocks[i], scope, &found, &filled);
  u32 reached = found.count;
  found.starts[reached] = (u16)filled;

  note_heads(found.blocks, filled, scope, chosen, chosen_count);
  u32 head_filled = 0;
  for (u32 c = 0; c < reached; c++) {
    head_starts[c] = (u16)head_filled;
    u32 start = found.starts[c];
    head_filled += collect_heads(&found.blocks[start], found.starts[c + 1] - start, heads + head_filled);
  }
  head_starts[reached] = (u16)head_filled;

  // The last component's wasm block is the outermost one. The first one has one only if a table leads there.
  u32 outer = shape.w->depth, first = chosen_count ? reached : reached - 1;
  for (u32 c = 0; c < first; c++) wasm_open(shape.w, W_BLOCK, WASM_EMPTY);
  u16 *kept = take(chosen_count ? chosen_count * 2 : 1);
  if (!kept) return false;
  for (u32 i = 0; i < chosen_count; i++) {
    kept[2 * i] = (u16)shape.level[chosen[i]];
    kept[2 * i + 1] = shape.is_chosen[chosen[i]];
  }
  for (u32 c = 0; c < first; c++) {
    bool is_loop_with_table = head_starts[c + 1] - head_starts[c] > 1;
    for (u32 i = found.starts[c]; i < found.starts[c + 1]; i++) {
      shape.level[found.blocks[i]] = outer + c + 1;
      if (!shape.is_cut[found.blocks[i]]) shape.is_chosen[found.blocks[i]] = is_loop_with_table;
    }
  }
  if (chosen_count) {
    branch_by_table(chosen, chosen_count);
    // From here on a branch to a head of the loop goes to the loop.
    for (u32 i = 0; i < chosen_count; i++)
      if (shape.is_cut[chosen[i]]) {
        shape.level[chosen[i]] = kept[2 * i];
        shape.is_chosen[chosen[i]] = true;
      }
  }
  bool fits = true;
  for (u32 c = reached; c-- > 0 && fits;) {
    if (c < first) wasm_close(shape.w);
    const u16 *own = &found.blocks[found.starts[c]];
    u32 own_count = found.starts[c + 1] - found.starts[c];
    if (own_count == 1 && !leads_to_itself(own[0], scope)) write_block(own[0]);
    else fits = write_loop(own, own_count, heads + head_starts[c], head_starts[c + 1] - head_starts[c]);
  }
  shape.pool_len = pool_len;
  shape.depth--;
  return fits;
}

bool shape_emit(struct wasm *w, const struct ir_unit *unit, const struct shape_parts *parts) {
  shape.w = w;
  shape.unit = unit;
  shape.parts = parts;
  shape.entry_count = shape.scopes = shape.pool_len = shape.stack_len = shape.depth = 0;
  u16 *all = take(unit->block_count);
  if (!all) return false;
  for (u32 i = 0; i < unit->block_count; i++) {
    all[i] = (u16)i;
    shape.scope[i] = 0;
    shape.is_cut[i] = shape.heads_loop[i] = shape.is_chosen[i] = false;
    shape.level[i] = NO_LEVEL;
    if (unit->blocks[i].is_entry) shape.entries[shape.entry_count++] = (u16)i;
  }
  return write_scope(all, unit->block_count, shape.entries, shape.entry_count);
}
