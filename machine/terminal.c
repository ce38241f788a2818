#include "terminal.h"

#include "dev/virtio_console.h"
#include "host.h"
#include "map.h"

#define READ_MAX 1024
#define OUTPUT_MAX 16384
#define END_OF_TRANSMISSION 0x04

static const char prefix[] = "\x1b_portside;size=";
#define PREFIX_LEN (sizeof prefix - 1)
/* "65535x65535" and ESC \ follow. */
#define SEQUENCE_MAX (PREFIX_LEN + 13)

static struct {
  struct console console;
  bool open;
  bool ended;
  /** the sequence as far as it has come */
  u8 held[SEQUENCE_MAX + 1];
  u32 held_len;
  u8 output[OUTPUT_MAX];
  u32 output_len;
} terminal;

void terminal_init(void) { console_init(&terminal.console, SLOT_CONSOLE, terminal_write); }

void terminal_open_stdin(bool open) {
  terminal.open = open;
  terminal.ended = false;
  terminal.held_len = 0;
}

bool terminal_wants_input(void) { return terminal.open && console_input_room(&terminal.console) >= READ_MAX + SEQUENCE_MAX; }

static void pass_held(void) {
  console_input(&terminal.console, terminal.held, terminal.held_len);
  terminal.held_len = 0;
}

static u32 parse_u16(const u8 **at, const u8 *end) {
  u32 value = 0;
  while (*at < end && **at >= '0' && **at <= '9' && value < 65536) value = value * 10 + (u32)(*(*at)++ - '0');
  return value;
}

/* held is complete, from ESC _ to ESC \. Nonsense sizes are swallowed: the sequence is ours all the same. */
static void apply_size(void) {
  const u8 *at = terminal.held + PREFIX_LEN, *end = terminal.held + terminal.held_len - 2;
  u32 cols = parse_u16(&at, end);
  if (at >= end || *at++ != 'x') return;
  u32 rows = parse_u16(&at, end);
  if (at != end || cols == 0 || rows == 0 || cols > 65535 || rows > 65535) return;
  console_resize(&terminal.console, (u16)cols, (u16)rows);
}

/* Whether `byte` may follow what is held. */
static bool continues(u8 byte) {
  if (terminal.held_len < PREFIX_LEN) return byte == (u8)prefix[terminal.held_len];
  if (terminal.held[terminal.held_len - 1] == 0x1b) return byte == '\\';
  return (byte >= '0' && byte <= '9') || byte == 'x' || byte == 0x1b;
}

static void take(u8 byte) {
  if (!continues(byte) || terminal.held_len == SEQUENCE_MAX) {
    pass_held();
    if (byte != (u8)prefix[0]) {
      console_input(&terminal.console, &byte, 1);
      return;
    }
  }
  terminal.held[terminal.held_len++] = byte;
  if (byte == '\\' && terminal.held_len > PREFIX_LEN) {
    apply_size();
    terminal.held_len = 0;
  }
}

void terminal_read(void) {
  u8 bytes[READ_MAX];
  i64 len = host_read_in(bytes, READ_MAX);
  if (len == HOST_ENDED) {
    terminal.open = false;
    terminal.ended = true;
    pass_held();
    return;
  }
  u32 plain = 0;
  for (u32 i = 0; i < (u32)len; i++) {
    if (terminal.held_len == 0 && bytes[i] != 0x1b) {
      plain++;
      continue;
    }
    console_input(&terminal.console, bytes + i - plain, plain);
    plain = 0;
    take(bytes[i]);
  }
  console_input(&terminal.console, bytes + len - plain, plain);
  if (terminal.held_len == 1) pass_held();
}

void terminal_turn(void) {
  if (!terminal.ended || terminal.console.input_len > 0) return;
  u8 byte = END_OF_TRANSMISSION;
  console_input(&terminal.console, &byte, 1);
  terminal.ended = false;
}

void terminal_flush(void) {
  if (terminal.output_len == 0) return;
  host_write_out(terminal.output, terminal.output_len);
  terminal.output_len = 0;
}

void terminal_write(const u8 *bytes, u32 len) {
  while (len > 0) {
    if (terminal.output_len == OUTPUT_MAX) terminal_flush();
    u32 room = OUTPUT_MAX - terminal.output_len, part = len < room ? len : room;
    copy_bytes(terminal.output + terminal.output_len, bytes, part);
    terminal.output_len += part;
    bytes += part;
    len -= part;
  }
}
