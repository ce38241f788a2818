#include "guest/control.h"

#include "board/clock.h"
#include "board/map.h"
#include "board/ram.h"
#include "dev/virtio_console.h"
#include "guest/orphan.h"
#include "guest/shares.h"
#include "host/host.h"

/* A line longer than this can't be one of ours; it is skipped. The longest lists the ports. */
#define LINE_MAX 512
/* Room for what is not an argument or a variable. */
#define OUTPUT_FIXED 1024
/* Less is what adjusting the host's clock does in days. */
#define WALL_TOLERANCE_NS 100000000ll

static struct {
  struct console console;
  const struct control_listener *listener;
  char line[LINE_MAX];
  u32 line_len;
  bool line_too_long;
  bool ready;
  bool exited;
  u32 exit_status;
  /** the agent was asked for its ports and has not answered */
  bool asked;
  /** lines for the guest, [output_start, output_len) still to go */
  char *output;
  u32 output_capacity, output_start, output_len;
  /** how far the host's wall clock was ahead of its monotonic clock when the guest heard of it last */
  i64 wall_ahead_ns;
} control;

/* The agent's answer goes on to whoever asked. What it says is not judged here but for its letters. */
static void on_ports(const char *list) {
  control.asked = false;
  u32 len = (u32)text_len(list);
  for (u32 i = 0; i < len; i++)
    if (!(list[i] >= '0' && list[i] <= '9') && list[i] != ',' && list[i] != 'l') return;
  control.listener->ports(list, len);
}

/* Whether the line is `word`, a space and a number up to 255. */
static bool line_has(const char *word, u32 *number) {
  u32 word_len = (u32)text_len(word), value = 0;
  if (control.line_len <= word_len + 1 || !bytes_equal(control.line, word, word_len) || control.line[word_len] != ' ') return false;
  for (u32 i = word_len + 1; i < control.line_len; i++) {
    if (control.line[i] < '0' || control.line[i] > '9' || value > 255) return false;
    value = value * 10 + (u32)(control.line[i] - '0');
  }
  *number = value;
  return value <= 255;
}

static bool read_number(const char **text, u32 base, u64 *number) {
  const char *start = *text;
  for (*number = 0;; ++*text) {
    char c = **text;
    u32 digit = c >= '0' && c <= '9' ? (u32)(c - '0') : c >= 'a' && c <= 'f' ? (u32)(c - 'a') + 10 : 16;
    if (digit >= base) return *text > start;
    *number = *number * base + digit;
  }
}

/* `unused 0xADDRESS BYTES`: what lies there the kernel writes before it reads it again, so the snapshot need not hold it. */
static void forget_unused(const char *text) {
  u64 start, bytes;
  if (control.ready || !clock_is_virtual()) return;
  if (!bytes_equal(text, "0x", 2)) return;
  text += 2;
  if (!read_number(&text, 16, &start) || *text++ != ' ' || !read_number(&text, 10, &bytes) || *text) return;
  if ((start | bytes) & (PAGE_SIZE - 1)) return;
  for (u64 va = start; va < start + bytes; va += PAGE_SIZE) {
    u8 *page = control.listener->page(va);
    if (!page) host_panic("the agent has no memory where it says so", control.line);
    fill_bytes(page, 0, PAGE_SIZE);
  }
}

static void on_line(void) {
  u32 number;
  control.line[control.line_len] = 0;
  static const char ports_word[] = "ports ";
  if (control.line_len >= sizeof ports_word - 1 && bytes_equal(control.line, ports_word, sizeof ports_word - 1)) {
    on_ports(control.line + sizeof ports_word - 1);
    return;
  }
  static const char unused_word[] = "unused ";
  if (control.line_len > sizeof unused_word && bytes_equal(control.line, unused_word, sizeof unused_word - 1)) {
    forget_unused(control.line + sizeof unused_word - 1);
    return;
  }
  if (text_equal(control.line, "ready")) {
    control.ready = true;
    control.listener->changed();
  } else if (line_has("exit", &number)) {
    control.exited = true;
    control.exit_status = number;
    control.listener->changed();
  } else if (line_has("closed", &number)) {
    control.listener->closed(number);
  } else if (bytes_equal(control.line, "orphan ", 7)) {
    orphan_reset(control.line + 7);
  }
}

static void on_output(struct console *console, const u8 *bytes, u32 len) {
  (void)console;
  for (u32 i = 0; i < len; i++) {
    char c = (char)bytes[i];
    if (c == '\r') continue;
    if (c == '\n') {
      if (!control.line_too_long) on_line();
      control.line_len = 0;
      control.line_too_long = false;
    } else if (control.line_len == LINE_MAX - 1) {
      control.line_too_long = true;
    } else {
      control.line[control.line_len++] = c;
    }
  }
}

void control_ask_ports(void) {
  static const char question[] = "ports\n";
  // Nothing of the start may be left to send, or the question would land in the middle of it.
  if (!control.ready || control.asked || control.output_len == 0 || control.output_start < control.output_len) return;
  if (console_input_room(&control.console) < sizeof question - 1) return;
  control.asked = true;
  console_input(&control.console, (const u8 *)question, sizeof question - 1);
}

void control_init(const struct control_listener *listener) {
  control.listener = listener;
  console_init(&control.console, SLOT_CONTROL, on_output);
}

bool control_is_ready(void) { return control.ready; }
bool control_has_exit(u32 *status) {
  *status = control.exit_status;
  return control.exited;
}

static void put(const char *text) {
  u32 len = (u32)text_len(text);
  if (len > control.output_capacity - control.output_len) host_panic("arguments and environment do not fit", "");
  copy_bytes(control.output + control.output_len, text, len);
  control.output_len += len;
}

/* As POSIX shell reads it back: in single quotes, each of which inside becomes '\''. */
static void put_quoted(const char *text, size_t len) {
  char one[2] = {0, 0};
  put("'");
  for (size_t i = 0; i < len; i++) {
    one[0] = text[i];
    put(text[i] == '\'' ? "'\\''" : one);
  }
  put("'");
}

static void put_decimal(u64 value, u32 min_digits) {
  char digits[21];
  u32 at = 20;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value || 20 - at < min_digits);
  put(digits + at);
}

static void put_hex(u64 value) {
  char digits[17];
  u32 at = 16;
  digits[at] = 0;
  do {
    digits[--at] = "0123456789abcdef"[value & 15];
    value >>= 4;
  } while (value);
  put(digits + at);
}

static void put_mac(const u8 mac[6]) {
  char text[18];
  for (u32 i = 0; i < 6; i++) {
    text[3 * i] = "0123456789abcdef"[mac[i] >> 4];
    text[3 * i + 1] = "0123456789abcdef"[mac[i] & 15];
    text[3 * i + 2] = i == 5 ? 0 : ':';
  }
  put_quoted(text, 17);
}

/* Only names that a shell takes can be exported. */
static size_t variable_name_len(const char *entry) {
  size_t len = 0;
  for (; entry[len] && entry[len] != '='; len++) {
    char c = entry[len];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && !(len > 0 && c >= '0' && c <= '9')) return 0;
  }
  return entry[len] == '=' ? len : 0;
}

static void put_variable(const char *entry) {
  size_t name_len = variable_name_len(entry);
  if (name_len == 0) return;
  put("export ");
  for (size_t i = 0; i < name_len; i++) {
    char one[2] = {entry[i], 0};
    put(one);
  }
  put("=");
  put_quoted(entry + name_len + 1, text_len(entry + name_len + 1));
  put("\n");
}

/* DEVICE TAG PATH: the first two are single words. */
static void put_mounts(void) {
  put("PS_MOUNTS=");
  put_decimal(shares_count(), 1);
  for (u32 i = 0; i < shares_count(); i++) {
    const struct shared_directory *directory = shares_get(i);
    put("\nPS_MOUNT_");
    put_decimal(i, 1);
    put("='");
    put_hex(directory->device);
    put(" ");
    put(directory->tag);
    put(" '");
    put_quoted(directory->path, text_len(directory->path));
  }
  put("\n");
}

/* Room for `bytes` more behind what the guest has not read yet. */
static void reserve(u64 bytes) {
  if (control.output_start == control.output_len) control.output_start = control.output_len = 0;
  if (control.output_capacity - control.output_len >= bytes) return;
  u32 left = control.output_len - control.output_start;
  char *output = host_memory(bytes + left);
  copy_bytes(output, control.output + control.output_start, left);
  control.output = output;
  control.output_capacity = (u32)(bytes + left);
  control.output_start = 0;
  control.output_len = left;
}

static i64 wall_ahead(void) { return (i64)(host_realtime_ns() - host_monotonic_ns()); }

static void put_epoch(void) {
  u64 now_ns = clock_wall_ns();
  control.wall_ahead_ns = wall_ahead();
  put("PS_EPOCH=");
  put_decimal(now_ns / 1000000000, 1);
  put(".");
  put_decimal(now_ns % 1000000000, 9);
  put("\n");
}

/* What the host decides anew each time. */
static void put_circumstances(const struct options *options) {
  put_epoch();
  put("PS_MAC=");
  put_mac(options->mac);
  put(options->net ? "\nPS_NET=1\n" : "\nPS_NET=0\n");
}

void control_send_start(const struct options *options, u32 memory_blocks) {
  char **environment;
  u32 variables = host_environment(&environment);
  u64 room = OUTPUT_FIXED + 4 * (text_len(options->hostname) + text_len(options->entrypoint));
  for (u32 i = 0; i < variables; i++) room += 4 * text_len(environment[i]) + 16;
  for (u32 i = 0; i < options->command_count; i++) room += 4 * text_len(options->command[i]) + 8;
  for (u32 i = 0; i < shares_count(); i++) room += 4 * text_len(shares_get(i)->path) + 64;
  reserve(room);
  put_circumstances(options);
  put("PS_MEMORY_BLOCKS=");
  put_decimal(memory_blocks, 1);
  put("\nPS_HOSTNAME=");
  put_quoted(options->hostname, text_len(options->hostname));
  put(options->stdin_open ? "\nPS_STDIN=1\n" : "\nPS_STDIN=0\n");
  put(options->tty ? "PS_PIPES=0\n" : "PS_PIPES=1\n");
  put("PS_ENTRYPOINT=");
  put_quoted(options->entrypoint, text_len(options->entrypoint));
  put(options->has_entrypoint ? "\nPS_HAS_ENTRYPOINT=1\n" : "\nPS_HAS_ENTRYPOINT=0\n");
  put_mounts();
  for (u32 i = 0; i < variables; i++) put_variable(environment[i]);
  put("set --");
  for (u32 i = 0; i < options->command_count; i++) {
    put(" ");
    put_quoted(options->command[i], text_len(options->command[i]));
  }
  put("\nstart\n");
  control_turn();
}

void control_send_resume(const struct options *options) {
  char **environment;
  u32 variables = host_environment(&environment);
  u64 room = OUTPUT_FIXED;
  for (u32 i = 0; i < variables; i++) room += 4 * text_len(environment[i]) + 16;
  reserve(room);
  put_circumstances(options);
  // The agent's own: the command has had its environment.
  for (u32 i = 0; i < variables; i++)
    if (text_len(environment[i]) > 9 && bytes_equal(environment[i], "PORTSIDE_", 9)) put_variable(environment[i]);
  put("resume\n");
  control_turn();
}

/* One variable, and the word that it belongs to. */
static void send_word(const char *variable, u32 number, const char *word) {
  reserve(OUTPUT_FIXED);
  put(variable);
  put("=");
  put_decimal(number, 1);
  put("\n");
  put(word);
  put("\n");
  control_turn();
}

void control_send_terminal(const char *what, u32 number) { send_word("PS_TTY", number, what); }
void control_send_signal(u32 number) { send_word("PS_SIGNAL", number, "signal"); }
void control_send_broken(u32 number) { send_word("PS_BROKEN", number, "broken"); }

void control_send_key(u32 signal) {
  // Not one behind the other without end, nor in the middle of the start.
  if (control.ready && control.output_len > 0 && control.output_start == control.output_len) send_word("PS_SIGNAL", signal, "key");
}

void control_follow_clock(void) {
  i64 moved_ns = wall_ahead() - control.wall_ahead_ns;
  if (moved_ns < WALL_TOLERANCE_NS && moved_ns > -WALL_TOLERANCE_NS) return;
  reserve(OUTPUT_FIXED);
  put_epoch();
  put("clock\n");
  control_turn();
}

void control_turn(void) {
  console_turn(&control.console);
  while (control.output_start < control.output_len) {
    u32 room = console_input_room(&control.console), left = control.output_len - control.output_start;
    if (room == 0) return;
    u32 part = left < room ? left : room;
    console_input(&control.console, (const u8 *)control.output + control.output_start, part);
    control.output_start += part;
  }
}
