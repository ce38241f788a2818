#include "board/fdt.h"

#include "board/clock.h"
#include "board/map.h"
#include "board/ram.h"
#include "cpu/riscv.h"

#define FDT_MAGIC 0xd00dfeed
#define FDT_BEGIN_NODE 1
#define FDT_END_NODE 2
#define FDT_PROP 3
#define FDT_END 9
#define HEADER_LEN 40
#define RESERVE_LEN 16
#define STRINGS_MAX 1024

#define PHANDLE_INTC 1
#define PHANDLE_PLIC 2

static struct {
  u8 *out;
  u32 at, capacity;
  char strings[STRINGS_MAX];
  u32 strings_len;
  bool overflow;
} writer;

static void put_bytes(const void *bytes, u32 len) {
  u32 padded = (len + 3) & ~3u;
  if (writer.capacity - writer.at < padded) {
    writer.overflow = true;
    return;
  }
  fill_bytes(writer.out + writer.at, 0, padded);
  copy_bytes(writer.out + writer.at, bytes, len);
  writer.at += padded;
}

static void put_u32(u32 value) {
  u8 bytes[4];
  set_be32(bytes, value);
  put_bytes(bytes, 4);
}

static u32 string_offset(const char *name) {
  for (u32 at = 0; at < writer.strings_len; at += (u32)text_len(writer.strings + at) + 1)
    if (text_equal(writer.strings + at, name)) return at;
  u32 at = writer.strings_len, len = (u32)text_len(name) + 1;
  if (STRINGS_MAX - at < len) {
    writer.overflow = true;
    return 0;
  }
  copy_bytes(writer.strings + at, name, len);
  writer.strings_len += len;
  return at;
}

static void begin(const char *name) {
  put_u32(FDT_BEGIN_NODE);
  put_bytes(name, (u32)text_len(name) + 1);
}

/* A node at an address: name@hex. */
static void begin_at(const char *name, u64 address) {
  char full[48];
  u32 len = (u32)text_len(name), shift = 60;
  copy_bytes(full, name, len);
  full[len++] = '@';
  while (shift > 0 && !(address >> shift)) shift -= 4;
  for (;; shift -= 4) {
    full[len++] = "0123456789abcdef"[address >> shift & 15];
    if (shift == 0) break;
  }
  full[len] = 0;
  begin(full);
}

static void end(void) { put_u32(FDT_END_NODE); }

static void property(const char *name, const void *bytes, u32 len) {
  put_u32(FDT_PROP);
  put_u32(len);
  put_u32(string_offset(name));
  put_bytes(bytes, len);
}
static void property_empty(const char *name) { property(name, "", 0); }
static void property_text(const char *name, const char *text) { property(name, text, (u32)text_len(text) + 1); }
static void property_u32(const char *name, u32 value) {
  u8 bytes[4];
  set_be32(bytes, value);
  property(name, bytes, 4);
}
static void property_u32_pair(const char *name, u32 a, u32 b) {
  u8 bytes[8];
  set_be32(bytes, a);
  set_be32(bytes + 4, b);
  property(name, bytes, 8);
}
static void property_u64(const char *name, u64 value) { property_u32_pair(name, (u32)(value >> 32), (u32)value); }
static void property_reg(u64 address, u64 size) {
  u8 bytes[16];
  set_be32(bytes, (u32)(address >> 32));
  set_be32(bytes + 4, (u32)address);
  set_be32(bytes + 8, (u32)(size >> 32));
  set_be32(bytes + 12, (u32)size);
  property("reg", bytes, 16);
}

static void interrupt(u32 irq) {
  property_u32("interrupt-parent", PHANDLE_PLIC);
  property_u32("interrupts", irq);
}

static void cpus(void) {
  static const char extensions[] =
      "i\0m\0a\0f\0d\0c\0zicntr\0zicsr\0zifencei\0zicboz\0zicond\0zba\0zbb\0zbs\0sstc\0svadu\0svvptc";
  begin("cpus");
  property_u32("#address-cells", 1);
  property_u32("#size-cells", 0);
  property_u32("timebase-frequency", TICKS_PER_SECOND);
  begin("cpu@0");
  property_text("device_type", "cpu");
  property_u32("reg", 0);
  property_text("status", "okay");
  property_text("compatible", "riscv");
  property_text("riscv,isa", "rv64imafdc_zicntr_zicsr_zifencei_zicboz_zicond_zba_zbb_zbs_sstc_svadu_svvptc");
  property_text("riscv,isa-base", "rv64i");
  property("riscv,isa-extensions", extensions, sizeof extensions);
  property_u32("riscv,cboz-block-size", CBO_BLOCK);
  property_text("mmu-type", "riscv,sv39");
  begin("interrupt-controller");
  property_u32("#interrupt-cells", 1);
  property_u32("#address-cells", 0);
  property_empty("interrupt-controller");
  property_text("compatible", "riscv,cpu-intc");
  property_u32("phandle", PHANDLE_INTC);
  end();
  end();
  end();
}

static void soc(void) {
  static const char plic_compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
  begin("soc");
  property_u32("#address-cells", 2);
  property_u32("#size-cells", 2);
  property_text("compatible", "simple-bus");
  property_empty("ranges");

  begin_at("interrupt-controller", PLIC_BASE);
  property("compatible", plic_compatible, sizeof plic_compatible);
  property_reg(PLIC_BASE, PLIC_SIZE);
  property_u32("#interrupt-cells", 1);
  property_u32("#address-cells", 0);
  property_empty("interrupt-controller");
  property_u32_pair("interrupts-extended", PHANDLE_INTC, IRQ_EXTERNAL);
  property_u32("riscv,ndev", IRQ_COUNT - 1);
  property_u32("phandle", PHANDLE_PLIC);
  end();

  begin_at("rtc", RTC_BASE);
  property_text("compatible", "google,goldfish-rtc");
  property_reg(RTC_BASE, RTC_SIZE);
  interrupt(IRQ_RTC);
  end();

  begin_at("rng", VMGENID_BASE);
  property_text("compatible", "microsoft,vmgenid");
  property_reg(VMGENID_BASE, VMGENID_SIZE);
  interrupt(IRQ_VMGENID);
  end();

  for (u32 slot = 0; slot < VIRTIO_SLOTS; slot++) {
    u64 base = VIRTIO_BASE + slot * VIRTIO_STRIDE;
    begin_at("virtio_mmio", base);
    property_text("compatible", "virtio,mmio");
    property_reg(base, VIRTIO_STRIDE);
    interrupt(IRQ_VIRTIO(slot));
    end();
  }
  end();
}

static void memory(u64 base, u64 size) {
  begin_at("memory", base);
  property_text("device_type", "memory");
  property_reg(base, size);
  end();
}

static void tree(const struct fdt_values *values) {
  begin("");
  property_u32("#address-cells", 2);
  property_u32("#size-cells", 2);
  property_text("compatible", "portside,machine");
  property_text("model", "portside,machine");
  begin("chosen");
  property_text("bootargs", values->command_line);
  property("rng-seed", values->rng_seed, sizeof values->rng_seed);
  if (values->initrd_end > values->initrd_start) {
    property_u64("linux,initrd-start", values->initrd_start);
    property_u64("linux,initrd-end", values->initrd_end);
  }
  end();
  memory(ram.base, ram.size);
  if (ram.more_size) memory(RAM_BASE, ram.more_size);
  cpus();
  soc();
  end();
}

u32 fdt_write(u8 *out, u32 capacity, const struct fdt_values *values) {
  if (capacity < HEADER_LEN + RESERVE_LEN) return 0;
  writer.out = out;
  writer.capacity = capacity;
  writer.at = HEADER_LEN + RESERVE_LEN;
  writer.strings_len = 0;
  writer.overflow = false;
  fill_bytes(out, 0, HEADER_LEN + RESERVE_LEN);
  tree(values);
  put_u32(FDT_END);
  u32 struct_end = writer.at;
  put_bytes(writer.strings, writer.strings_len);
  if (writer.overflow) return 0;
  u32 header[10] = {FDT_MAGIC, writer.at, HEADER_LEN + RESERVE_LEN, struct_end, HEADER_LEN, 17, 16, 0, writer.strings_len, struct_end - HEADER_LEN - RESERVE_LEN};
  for (u32 i = 0; i < 10; i++) set_be32(out + 4 * i, header[i]);
  return writer.at;
}
