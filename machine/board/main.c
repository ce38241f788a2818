/*
 * Wiring and the run loop.
 *
 * A turn: run a slice of guest instructions, then look at the world: time, stdin, the link, output. A slice ends at
 * the next timer at the latest, as far as the guest's speed lets us tell. Looking outside costs a call into the host, so
 * it is done by time (POLL_INTERVAL_NS), not per slice. When the guest waits for an interrupt the machine sleeps in one
 * poll over stdin, the link and the next timer.
 *
 * Two entries. `wizer.initialize` boots on virtual time and returns at the handshake, with all derived
 * state (decoded blocks, TLBs) dropped, so that the snapshot is small and the same for the same input. `_start` goes on from
 * there or, without a snapshot, boots by itself. Nothing of the host survives a snapshot: arguments, environment, file
 * descriptors and clocks are asked for anew.
 *
 * Saving is a snapshot of a running machine. A host that can keep memory offers a device, `/portside/save`: it is readable when a
 * save is wanted, and the host takes the memory while the machine reads from it. That read is made between two slices: the guest's
 * registers are in `hart`, devices have no request in flight, output is written, derived state is dropped. The phase says
 * PHASE_SAVED for just so long, so a new instance into which that memory is put goes on in `_start` as from any snapshot.
 *
 * The container's memory. A kernel without virtio-mem can add no memory that it has not seen while booting, but it can take a block of it
 * offline and online again. So a snapshot boots with all that may ever be asked for, in two banks: the first is what the least start gets and
 * lies higher, where the kernel allocates first; the second is taken offline by the agent, is empty then, and is cut off from the image. A
 * start attaches as much of it as it is asked for, and the agent brings those blocks online. What was not attached does not exist: the
 * host's memory grows by no more, and no address leads there.
 */
#include "board/clock.h"
#include "board/fdt.h"
#include "board/map.h"
#include "board/ram.h"
#include "board/sbi.h"
#include "cpu/block.h"
#include "cpu/hart.h"
#include "cpu/interp.h"
#include "cpu/mmu.h"
#include "cpu/translate/region.h"
#include "cpu/trap.h"
#include "dev/plic.h"
#include "dev/rtc.h"
#include "dev/virtio_blk.h"
#include "dev/virtio_mmio.h"
#include "dev/virtio_net.h"
#include "dev/virtio_rng.h"
#include "dev/vmgenid.h"
#include "guest/control.h"
#include "guest/options.h"
#include "guest/pipes.h"
#include "guest/shares.h"
#include "guest/terminal.h"
#include "host/entries.h"
#include "host/host.h"
#include "host/link.h"

#define SLICE 100000
#define POLL_INTERVAL_NS 1000000ull
#define CLOCK_INTERVAL_NS 1000000000ull
#define VIRTUAL_BOOT_LIMIT 20000000000ull
/* Linux wants its image at a multiple of 2 MiB; where firmware would lie is free here, but kept as other boards have it. */
#define KERNEL_OFFSET 0x200000ull
#define FDT_ROOM 0x10000ull
#define COMMAND_LINE_MAX 1024
#define MEMORY_MAX_MIB 2048
/* What Linux calls a memory block on RV64. */
#define MEMORY_STEP (128ull << 20)
#define NAME_MAX 64
#define CONFIG_MAX 4096

enum phase { PHASE_NEW, PHASE_SNAPSHOT, PHASE_RUNNING, PHASE_SAVED };

static struct {
  /** read by the instance that resumes this one */
  volatile enum phase phase;
  bool off;
  u32 off_status;
  /** what the container gets unless it is asked for, and what it can be asked for, at least and at most */
  u64 memory_mib, memory_min_mib, memory_max_mib;
  /** what the first bank has beyond the least that can be asked for */
  u64 reserve_mib;
  /** of the second bank, for the agent to bring online */
  u32 memory_blocks;
  u64 epoch_s;
  char command_line[COMMAND_LINE_MAX];
  /** external disk: its name at run time; empty: embedded or none */
  char disk_name[NAME_MAX];
  i32 disk_fd;
  u64 disk_size;
  /** embedded disk of a snapshot: where the image's maker puts its bytes, right behind the memory of the snapshot */
  u8 *disk_bytes;
  u64 random_state;
  u64 last_poll_ns, last_clock_ns;
  bool start_sent;
  /** `/portside/save`, negative: the host does not offer it */
  i32 save_fd;
  /** `/portside/signal`, likewise */
  i32 signal_fd;
} machine;

static struct options options;

static void early_console(const u8 *text, u64 len) { terminal_write(text, (u32)len); }

static void power_off(u32 status) {
  machine.off = true;
  machine.off_status = status;
  hart.leave = 1;
}

/* The run loop is to look. */
static void leave(void) { hart.leave = 1; }

static u8 *page_of_kernel(u64 va) { return mmu_data(va, true); }

/* splitmix64: while a snapshot is made, the same bytes each time. */
static void fixed_random(u8 *bytes, size_t len) {
  for (size_t i = 0; i < len; i++) {
    machine.random_state += 0x9e3779b97f4a7c15;
    u64 z = machine.random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    bytes[i] = (u8)(z ^ z >> 31);
  }
}

static void fill_random(void *bytes, size_t len) {
  if (clock_is_virtual()) fixed_random(bytes, len);
  else host_random(bytes, len);
}

/* ---- configuration and loading ---- */

static void copy_text(char *to, size_t capacity, const char *from, size_t len, const char *what) {
  if (len >= capacity) host_panic("config: too long", what);
  copy_bytes(to, from, len);
  to[len] = 0;
}

static u64 parse_decimal(const char *text, size_t len, const char *what) {
  u64 value = 0;
  if (len == 0 || len > 12) host_panic("config: not a number", what);
  for (size_t i = 0; i < len; i++) {
    if (text[i] < '0' || text[i] > '9') host_panic("config: not a number", what);
    value = value * 10 + (u64)(text[i] - '0');
  }
  return value;
}

static bool key_is(const char *line, size_t key_len, const char *key) { return text_len(key) == key_len && bytes_equal(line, key, key_len); }

static void read_config_line(const char *line, size_t len) {
  size_t key_len = 0;
  while (key_len < len && line[key_len] != '=') key_len++;
  if (key_len == len) return;
  const char *value = line + key_len + 1;
  size_t value_len = len - key_len - 1;
  if (key_is(line, key_len, "memory")) machine.memory_mib = parse_decimal(value, value_len, "memory");
  else if (key_is(line, key_len, "memory-min")) machine.memory_min_mib = parse_decimal(value, value_len, "memory-min");
  else if (key_is(line, key_len, "memory-max")) machine.memory_max_mib = parse_decimal(value, value_len, "memory-max");
  else if (key_is(line, key_len, "reserve")) machine.reserve_mib = parse_decimal(value, value_len, "reserve");
  else if (key_is(line, key_len, "epoch")) machine.epoch_s = parse_decimal(value, value_len, "epoch");
  else if (key_is(line, key_len, "cmdline")) copy_text(machine.command_line, COMMAND_LINE_MAX, value, value_len, "cmdline");
  else if (key_is(line, key_len, "disk")) copy_text(machine.disk_name, NAME_MAX, value, value_len, "disk");
}

static void read_config(void) {
  static char text[CONFIG_MAX];
  machine.memory_mib = 256;
  copy_text(machine.command_line, COMMAND_LINE_MAX, "console=hvc0", 12, "cmdline");
  i32 fd = host_open(INPUT_DIRECTORY, "config");
  if (fd < 0) return;
  u64 size = host_file_size(fd);
  if (size >= CONFIG_MAX || !host_read_at(fd, text, size, 0)) host_panic("cannot read", "/in/config");
  host_close(fd);
  for (u64 start = 0, end; start < size; start = end + 1) {
    end = start;
    while (end < size && text[end] != '\n') end++;
    read_config_line(text + start, end - start);
  }
  if (machine.memory_min_mib == 0) machine.memory_min_mib = machine.memory_mib;
  if (machine.memory_max_mib == 0) machine.memory_max_mib = machine.memory_mib;
  u64 min = machine.memory_min_mib, max = machine.memory_max_mib;
  if (min < 64 || max > MEMORY_MAX_MIB || machine.reserve_mib > MEMORY_MAX_MIB - min) host_panic("config: memory must be 64 to 2048 MiB", "");
  if (machine.memory_mib < min || machine.memory_mib > max) host_panic("config: memory is not between memory-min and memory-max", "");
  if ((max - min) % (MEMORY_STEP >> 20) || (machine.memory_mib - min) % (MEMORY_STEP >> 20)) host_panic("config: memory goes in steps of 128 MiB", "");
}

/* Reads /in/`name` into RAM at `offset`; returns its size, 0 if there is no such file. */
static u64 load_file(const char *name, u64 offset) {
  i32 fd = host_open(INPUT_DIRECTORY, name);
  if (fd < 0) return 0;
  u64 size = host_file_size(fd);
  u8 *to = ram_at(ram.base + offset, size);
  if (!to) host_panic("does not fit into the machine's memory", name);
  if (!host_read_at(fd, to, size, 0)) host_panic("cannot read", name);
  host_close(fd);
  return size;
}

static u64 file_size(const char *name) {
  i32 fd = host_open(INPUT_DIRECTORY, name);
  if (fd < 0) return 0;
  u64 size = host_file_size(fd);
  host_close(fd);
  return size;
}

static bool read_disk(void *bytes, u64 len, u64 offset) {
  if (!machine.disk_bytes) return machine.disk_fd >= 0 && host_read_at(machine.disk_fd, bytes, len, offset);
  copy_bytes(bytes, machine.disk_bytes + offset, len);
  return true;
}

static void attach_disk(void) {
  machine.disk_fd = host_open(INPUT_DIRECTORY, "disk");
  if (machine.disk_fd < 0) return;
  machine.disk_size = host_file_size(machine.disk_fd);
  blk_init(SLOT_BLK, machine.disk_size, read_disk);
}

/* Linux hands to the agent what it does not know itself: how many blocks of memory are the second bank's. */
static void announce_blocks(void) {
  static const char key[] = " ps_blocks=";
  size_t at = text_len(machine.command_line), key_len = sizeof key - 1;
  u64 blocks = ram.more_size / MEMORY_STEP;
  if (blocks == 0) return;
  if (at + key_len + 3 > COMMAND_LINE_MAX) host_panic("config: too long", "cmdline");
  copy_bytes(machine.command_line + at, key, key_len);
  at += key_len;
  if (blocks >= 10) machine.command_line[at++] = (char)('0' + blocks / 10);
  machine.command_line[at++] = (char)('0' + blocks % 10);
  machine.command_line[at] = 0;
}

/* Kernel, initrd and device tree into RAM; the hart at the kernel's entry. */
static void load(void) {
  u64 kernel_size = load_file("kernel", KERNEL_OFFSET);
  if (kernel_size == 0) host_panic("no kernel: run with a directory mapped to", INPUT_DIRECTORY);
  u64 top = (ram.size - FDT_ROOM) & ~0x1fffffull;
  u64 initrd_size = file_size("initrd");
  if (initrd_size > top - KERNEL_OFFSET - kernel_size) host_panic("does not fit into the machine's memory", "initrd");
  u64 initrd_offset = (top - initrd_size) & PAGE_MASK;
  if (initrd_size) load_file("initrd", initrd_offset);

  announce_blocks();
  struct fdt_values values = {
      .command_line = machine.command_line,
      .initrd_start = ram.base + initrd_offset,
      .initrd_end = ram.base + initrd_offset + initrd_size,
  };
  fill_random(values.rng_seed, sizeof values.rng_seed);
  u64 fdt_offset = top;
  if (!fdt_write(ram.bytes + fdt_offset, FDT_ROOM, &values)) host_panic("device tree does not fit", "");
  hart_start(ram.base + KERNEL_OFFSET, 0, ram.base + fdt_offset);
}

static void attach_more(u64 size) {
  if (size && !ram_attach(size)) host_panic("out of memory", "the host does not give the machine so much; a smaller --memory may do");
}

/* With `more` in the second bank. It comes last: where it begins a snapshot ends, as the image's maker cuts it off. */
static void build(u64 more) {
  static const struct sbi_board firmware = {early_console, power_off};
  static const struct control_listener listener = {leave, terminal_closed, terminal_tell_ports, page_of_kernel};
  u8 generation[16];
  ram_init((machine.memory_min_mib + machine.reserve_mib) << 20, more);
  block_init();
  machine.random_state = 1;
  fill_random(generation, sizeof generation);
  sbi_init(&firmware);
  plic_init(hart_set_external);
  virtio_init(plic_level(IRQ_VIRTIO(0)));
  rtc_init();
  vmgenid_init(generation, plic_edge(IRQ_VMGENID));
  terminal_init();
  pipes_init();
  control_init(&listener);
  link_init();
  net_init(SLOT_NET);
  net_set_mac(default_mac);
  rng_init(SLOT_RNG, fill_random);
  attach_disk();
  attach_more(more);
  load();
}

/* ---- the run loop ---- */

/* Devices that are polled: these, and from 1 on those of the terminals but the first. */
#define DEVICE_SAVE 0u
#define DEVICE_SIGNAL TERMINALS
#define SIGNALS_MAX 32

/* The host takes the memory while it is read from. */
static void save(void) {
  u8 byte;
  terminal_flush();
  region_drop_all(true);
  block_drop_all(true);
  mmu_zero();
  machine.phase = PHASE_SAVED;
  i64 got = host_read(machine.save_fd, &byte, 1);
  machine.phase = PHASE_RUNNING;
  mmu_flush_all();
  if (got == HOST_ENDED) machine.save_fd = -1;
}

/* Each byte is a signal's number. They wait until the agent has its start. */
static void read_signals(void) {
  u8 numbers[SIGNALS_MAX];
  i64 len = host_read(machine.signal_fd, numbers, sizeof numbers);
  if (len == HOST_ENDED) machine.signal_fd = -1;
  for (i64 i = 0; i < len; i++) control_send_signal(numbers[i]);
}

static u32 poll_host(i32 socket, bool socket_writes, u64 timeout_ns) {
  i32 devices[TERMINALS + 1] = {[DEVICE_SAVE] = machine.save_fd, [DEVICE_SIGNAL] = machine.start_sent ? machine.signal_fd : -1};
  for (u32 n = 1; n < TERMINALS; n++) devices[n] = terminal_device(n);
  struct host_wanted wanted = {terminal_wants_input(0) || pipes_want_input(), socket, socket_writes, devices, COUNT_OF(devices), pipes_are_blocked(HOST_OUT), pipes_are_blocked(HOST_ERR)};
  // A look at nothing is not worth a call.
  if (timeout_ns == 0 && !wanted.in && !wanted.out && !wanted.err && machine.save_fd < 0 && machine.signal_fd < 0) return 0;
  return host_poll(&wanted, timeout_ns);
}

/* The guest's clock goes on by the host's monotonic one, which stands still while the host sleeps. */
static void follow_clock(void) {
  if (!machine.start_sent || machine.last_poll_ns - machine.last_clock_ns < CLOCK_INTERVAL_NS) return;
  machine.last_clock_ns = machine.last_poll_ns;
  control_follow_clock();
}

static void poll_world(u32 ready) {
  follow_clock();
  if ((ready & HOST_POLL_IN) && terminal_wants_input(0)) terminal_read(0);
  if ((ready & HOST_POLL_IN) && pipes_want_input()) pipes_read();
  if (ready & HOST_POLL_OUT) pipes_go_on(HOST_OUT);
  if (ready & HOST_POLL_ERR) pipes_go_on(HOST_ERR);
  if (ready & HOST_POLL_DEVICE(DEVICE_SIGNAL)) read_signals();
  for (u32 n = 1; n < TERMINALS; n++)
    if ((ready & HOST_POLL_DEVICE(n)) && terminal_wants_input(n)) terminal_read(n);
  if (options.net && link_turn()) net_set_up(link_is_up());
  net_turn();
  control_turn();
  terminal_turn();
  terminal_flush();
  if (ready & HOST_POLL_DEVICE(DEVICE_SAVE)) save();
}

static void end_if_over(void) {
  u32 status;
  bool exited = control_has_exit(&status);
  if (!exited && !machine.off) return;
  terminal_flush();
  pipes_finish();
  host_exit(exited ? status : machine.off_status);
}

static void sleep_until_event(void) {
  // What the guest has just sent goes out, and what has come meanwhile saves the sleep.
  poll_world(0);
  if (hart_interrupt_pending()) return;
  u64 ticks = clock_ticks(), timeout_ns = HOST_POLL_FOREVER;
  if (hart.stimecmp <= ticks) return;
  if (hart.stimecmp - ticks < (1ull << 56)) timeout_ns = (hart.stimecmp - ticks) * NS_PER_TICK;
  bool writes = false;
  i32 socket = options.net ? link_poll_socket(&writes) : -1;
  u32 ready = poll_host(socket, writes, timeout_ns);
  clock_update();
  machine.last_poll_ns = host_monotonic_ns();
  poll_world(ready);
}

/* Instructions until something is due. */
static i32 next_slice(void) {
  u64 until = clock_instructions_until(hart.stimecmp);
  u64 most = region_slice() ? region_slice() : SLICE;
  return (i32)(until < most ? until : most);
}

static _Noreturn void run_real(void) {
  u64 last_update = hart_instret();
  for (;;) {
    interp_run(next_slice());
    region_turn();
    hart_check_timer();
    if (control_is_ready() && !machine.start_sent) {
      machine.start_sent = true;
      shares_attach();
      control_send_start(&options, machine.memory_blocks);
    }
    end_if_over();
    if (hart.wfi && !hart_interrupt_pending()) {
      sleep_until_event();
      hart_check_timer();
      last_update = hart_instret();
      continue;
    }
    if (hart_instret() - last_update < SLICE / 2) continue;
    last_update = hart_instret();
    clock_update();
    hart_check_timer();
    u64 now = host_monotonic_ns();
    if (now - machine.last_poll_ns < POLL_INTERVAL_NS) continue;
    machine.last_poll_ns = now;
    poll_world(poll_host(-1, false, 0));
  }
}

/* Nothing comes from outside: when the guest sleeps, time jumps to its next timer. */
static void run_virtual(void) {
  while (!control_is_ready()) {
    interp_run(next_slice());
    hart_check_timer();
    if (machine.off) {
      // What it said last is the reason.
      terminal_flush();
      host_panic("the guest switched off before it was ready", "");
    }
    if (hart_instret() > VIRTUAL_BOOT_LIMIT) host_panic("the guest is not ready after 20 billion instructions", "");
    if (hart.wfi && !hart_interrupt_pending()) {
      terminal_flush();
      if (hart.stimecmp == ~0ull) host_panic("the guest sleeps for ever and was never ready", "");
      clock_skip_to(hart.stimecmp);
      hart_check_timer();
    }
  }
  terminal_flush();
}

/* ---- entries ---- */

void machine_initialize(void) {
  read_config();
  clock_start_virtual(machine.epoch_s, machine_instret);
  build((machine.memory_max_mib - machine.memory_min_mib) << 20);
  run_virtual();
  block_drop_all(true);
  mmu_zero();
  u8 *end = ram.more_size ? ram_bytes(ram.size) : host_memory(0);
  ram_detach();
  if (machine.disk_size) {
    host_close(machine.disk_fd);
    machine.disk_fd = -1;
    if (!machine.disk_name[0]) machine.disk_bytes = end;
  }
  machine.phase = PHASE_SNAPSHOT;
}

/* How much of the second bank the start asks for, in blocks. */
static u32 wanted_blocks(void) {
  u64 wanted = options.memory_mib ? options.memory_mib : machine.memory_mib, step = MEMORY_STEP >> 20;
  if (wanted < machine.memory_min_mib || wanted > machine.memory_max_mib) host_panic("--memory is more or less than this image can be given", options.memory);
  return (u32)((wanted - machine.memory_min_mib + step - 1) / step);
}

static void boot(void) {
  read_config();
  clock_start_virtual(0, machine_instret);
  clock_go_real();
  machine.memory_blocks = wanted_blocks();
  build(machine.memory_blocks * MEMORY_STEP);
}

static void restore(bool resumed) {
  u8 generation[16];
  // One that was saved has the memory that it had.
  if (!resumed) {
    machine.memory_blocks = wanted_blocks();
    attach_more(machine.memory_blocks * MEMORY_STEP);
  }
  mmu_flush_all();
  block_drop_all(false);
  clock_go_real();
  host_random(generation, sizeof generation);
  vmgenid_change(generation);
  if (machine.disk_name[0]) {
    machine.disk_fd = host_open(DISK_DIRECTORY, machine.disk_name);
    if (machine.disk_fd < 0) host_panic("the image's disk is not there", machine.disk_name);
  }
}

u64 machine_instret(void) { return hart_instret(); }

void machine_start(void) {
  bool resumed = machine.phase == PHASE_SAVED;
  options_read(&options);
  if (machine.phase == PHASE_NEW) boot();
  else restore(resumed);
  machine.phase = PHASE_RUNNING;
  machine.last_poll_ns = machine.last_clock_ns = 0;
  machine.save_fd = host_open_device(DISK_DIRECTORY, "save");
  machine.signal_fd = host_open_device(DISK_DIRECTORY, "signal");
  region_open();
  net_set_mac(options.mac);
  if (resumed) net_set_up(false);
  if (options.net) link_open(options.listener);
  if (resumed && !options.tty) host_panic("a saved container has the terminal that it had", "--no-tty");
  terminal_open_stdin(options.stdin_open && options.tty);
  if (!options.tty) {
    terminal_be_silent();
    pipes_open(options.stdin_open);
  }
  terminal_open_devices();
  // An agent that waits for its start hears of all this then.
  if (resumed && machine.start_sent) {
    shares_resume();
    control_send_resume(&options);
  }
  run_real();
}
