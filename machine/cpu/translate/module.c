#include "cpu/translate/module.h"

#include "host/host.h"

#define BODIES_BYTES (3u << 20)
/** A body must have so much room left, or waits for the next module. */
#define BODY_ROOM (768u << 10)
#define REQUEST_BYTES (BODIES_BYTES + (64u << 10))

enum section { SECTION_TYPE = 1, SECTION_IMPORT = 2, SECTION_FUNCTION = 3, SECTION_EXPORT = 7, SECTION_CODE = 10 };
enum external { EXTERNAL_FUNCTION = 0, EXTERNAL_MEMORY = 2 };
/* Indices of the types, in their order. */
enum type { TYPE_REGION, TYPE_ACCESS, TYPE_INSTRUCTION, TYPE_ADDRESS, TYPE_STATE, TYPE_PRODUCT, TYPE_COUNT };

struct import {
  const char *name;
  u8 type;
};

static const struct import imports[IMPORT_COUNT] = {
    [IMPORT_READ] = {"read", TYPE_ACCESS}, [IMPORT_WRITE] = {"write", TYPE_ACCESS}, [IMPORT_ATOMIC] = {"atomic", TYPE_INSTRUCTION}, [IMPORT_ZERO] = {"zero", TYPE_ADDRESS},
    [IMPORT_FLOAT] = {"float", TYPE_INSTRUCTION}, [IMPORT_STATE] = {"state", TYPE_STATE}, [IMPORT_MULH] = {"mulh", TYPE_PRODUCT}, [IMPORT_MULHSU] = {"mulhsu", TYPE_PRODUCT},
    [IMPORT_MULHU] = {"mulhu", TYPE_PRODUCT},
};

static struct {
  /** functions, each behind its size */
  struct wasm bodies;
  u32 count;
  u8 *request;
  /** of both, ever */
  u32 bodies_used, request_used;
} module;

void module_open(void) {
  if (module.request) return;
  module.bodies.bytes = host_memory(BODIES_BYTES);
  module.bodies.capacity = BODIES_BYTES;
  module.request = host_memory(REQUEST_BYTES);
}

bool module_is_full(void) { return module.bodies.len + BODY_ROOM > BODIES_BYTES; }

bool module_add(const struct ir_unit *unit, struct emit_targets *targets) {
  struct wasm *w = &module.bodies;
  u32 start = w->len, at = wasm_reserve_size(w);
  bool fits = emit_function(w, unit, targets);
  if (w->len > module.bodies_used) module.bodies_used = w->len;
  if (fits) {
    wasm_set_size(w, at);
    module.count++;
    return true;
  }
  w->len = start;
  w->overflowed = false;
  return false;
}

static void write_name(struct wasm *w, const char *text) {
  u32 len = (u32)text_len(text);
  wasm_unsigned(w, len);
  wasm_bytes(w, text, len);
}

static void write_number_name(struct wasm *w, u32 number) {
  char digits[10];
  u32 len = 0;
  do digits[len++] = (char)('0' + number % 10);
  while (number /= 10);
  wasm_unsigned(w, len);
  while (len > 0) wasm_byte(w, (u8)digits[--len]);
}

static void write_type(struct wasm *w, const char *parameters, u32 result) {
  wasm_byte(w, 0x60);
  u32 count = (u32)text_len(parameters);
  wasm_unsigned(w, count);
  for (u32 i = 0; i < count; i++) wasm_byte(w, parameters[i] == 'L' ? WASM_I64 : WASM_I32);
  wasm_unsigned(w, 1);
  wasm_byte(w, result);
}

static void write_types(struct wasm *w) {
  wasm_byte(w, SECTION_TYPE);
  u32 at = wasm_reserve_size(w);
  wasm_unsigned(w, TYPE_COUNT);
  write_type(w, "LIII", WASM_I64);
  write_type(w, "LI", WASM_I32);
  write_type(w, "I", WASM_I32);
  write_type(w, "L", WASM_I32);
  write_type(w, "II", WASM_I64);
  write_type(w, "LL", WASM_I64);
  wasm_set_size(w, at);
}

static void write_imports(struct wasm *w) {
  wasm_byte(w, SECTION_IMPORT);
  u32 at = wasm_reserve_size(w);
  wasm_unsigned(w, IMPORT_COUNT + 1);
  for (u32 i = 0; i < IMPORT_COUNT; i++) {
    write_name(w, "m");
    write_name(w, imports[i].name);
    wasm_byte(w, EXTERNAL_FUNCTION);
    wasm_unsigned(w, imports[i].type);
  }
  write_name(w, "m");
  write_name(w, "memory");
  wasm_byte(w, EXTERNAL_MEMORY);
  // At least a page, without a limit.
  wasm_byte(w, 0);
  wasm_unsigned(w, 1);
  wasm_set_size(w, at);
}

static void write_functions(struct wasm *w) {
  wasm_byte(w, SECTION_FUNCTION);
  u32 at = wasm_reserve_size(w);
  wasm_unsigned(w, module.count);
  for (u32 i = 0; i < module.count; i++) wasm_unsigned(w, TYPE_REGION);
  wasm_set_size(w, at);
  wasm_byte(w, SECTION_EXPORT);
  at = wasm_reserve_size(w);
  wasm_unsigned(w, module.count);
  for (u32 i = 0; i < module.count; i++) {
    write_number_name(w, i);
    wasm_byte(w, EXTERNAL_FUNCTION);
    wasm_unsigned(w, IMPORT_COUNT + i);
  }
  wasm_set_size(w, at);
}

struct request {
  u32 first, count, len;
};

const u8 *module_finish(u32 first_slot, u32 *len) {
  static const u8 magic[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  struct wasm w = {module.request, sizeof(struct request), REQUEST_BYTES, false, 0};
  wasm_bytes(&w, magic, sizeof magic);
  write_types(&w);
  write_imports(&w);
  write_functions(&w);
  wasm_byte(&w, SECTION_CODE);
  u32 at = wasm_reserve_size(&w);
  wasm_unsigned(&w, module.count);
  wasm_bytes(&w, module.bodies.bytes, module.bodies.len);
  wasm_set_size(&w, at);
  *(struct request *)module.request = (struct request){first_slot, module.count, w.len - (u32)sizeof(struct request)};
  *len = w.len;
  if (w.len > module.request_used) module.request_used = w.len;
  module.count = module.bodies.len = 0;
  return w.overflowed ? NULL : module.request;
}

const u8 *module_release(u32 first_slot, u32 count, u32 *len) {
  *(struct request *)module.request = (struct request){first_slot, count, 0};
  *len = sizeof(struct request);
  return module.request;
}

void module_reset(bool zero) {
  if (zero && module.request) {
    fill_bytes(module.bodies.bytes, 0, module.bodies_used);
    fill_bytes(module.request, 0, module.request_used);
    module.bodies_used = module.request_used = 0;
  }
  module.count = module.bodies.len = 0;
}
