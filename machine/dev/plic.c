#include "dev/plic.h"

#include "board/bus.h"
#include "board/map.h"

#define PRIORITY_END (4 * IRQ_COUNT)
#define PENDING 0x1000
#define ENABLE 0x2000
#define THRESHOLD 0x200000
#define CLAIM 0x200004
#define PRIORITY_MAX 7

static struct {
  void (*external)(bool level);
  u32 priority[IRQ_COUNT];
  u32 level, pending, claimed, enabled;
  u32 threshold;
} plic;

/* The source to serve next, 0 if none: highest priority, then lowest number. */
static u32 best(void) {
  u32 ready = plic.pending & plic.enabled, found = 0, highest = plic.threshold;
  for (u32 irq = 1; irq < IRQ_COUNT; irq++) {
    if ((ready >> irq & 1) && plic.priority[irq] > highest) {
      highest = plic.priority[irq];
      found = irq;
    }
  }
  return found;
}

static void update(void) { plic.external(best() != 0); }

static void set_level(u32 irq, bool level) {
  u32 bit = 1u << irq;
  if (level) {
    plic.level |= bit;
    if (!(plic.claimed & bit)) plic.pending |= bit;
  } else {
    plic.level &= ~bit;
    plic.pending &= ~bit;
  }
  update();
}

static void set_edge(u32 irq, bool level) {
  if (!level) return;
  plic.pending |= 1u << irq;
  update();
}

struct irq_line plic_level(u32 irq) { return (struct irq_line){set_level, irq}; }
struct irq_line plic_edge(u32 irq) { return (struct irq_line){set_edge, irq}; }

static bool on_read(u32 offset, u32 size, u64 *value) {
  if (size != 4) return false;
  *value = 0;
  if (offset < PRIORITY_END) {
    *value = plic.priority[offset / 4];
  } else if (offset == PENDING) {
    *value = plic.pending;
  } else if (offset == ENABLE) {
    *value = plic.enabled;
  } else if (offset == THRESHOLD) {
    *value = plic.threshold;
  } else if (offset == CLAIM) {
    u32 irq = best();
    if (irq) {
      plic.pending &= ~(1u << irq);
      plic.claimed |= 1u << irq;
      update();
    }
    *value = irq;
  }
  return true;
}

static void complete(u32 irq) {
  if (irq >= IRQ_COUNT || !(plic.claimed >> irq & 1)) return;
  plic.claimed &= ~(1u << irq);
  if (plic.level >> irq & 1) plic.pending |= 1u << irq;
}

static bool on_write(u32 offset, u32 size, u64 value) {
  if (size != 4) return false;
  if (offset >= 4 && offset < PRIORITY_END) plic.priority[offset / 4] = value & PRIORITY_MAX;
  else if (offset == ENABLE) plic.enabled = (u32)value & ~1u;
  else if (offset == THRESHOLD) plic.threshold = value & PRIORITY_MAX;
  else if (offset == CLAIM) complete((u32)value);
  update();
  return true;
}

void plic_init(void (*external)(bool level)) {
  static const struct bus_device device = {on_read, on_write};
  plic.external = external;
  bus_register(PLIC_BASE, PLIC_SIZE, &device);
}
