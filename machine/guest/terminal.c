#include "guest/terminal.h"

#include "board/map.h"
#include "dev/virtio_console.h"
#include "guest/control.h"
#include "host/host.h"

#define READ_MAX 1024
#define OUTPUT_MAX 16384
#define INTERRUPT 0x03
#define END_OF_TRANSMISSION 0x04
#define QUIT 0x1c
#define GUEST_SIGINT 2u
#define GUEST_SIGQUIT 3u
#define DEVICE_DIRECTORY "/portside"
#define NO_DEVICE (-1)

static const char prefix[] = "\x1b_portside;";
#define PREFIX_LEN (sizeof prefix - 1)
/* "size=65535x65535" and ESC \ follow, or "ports" and ESC \. */
#define SEQUENCE_MAX (PREFIX_LEN + 18)

enum state { CLOSED, OPEN, HUNG_UP };

struct terminal {
  struct console console;
  /** the first counts as open while stdin is */
  enum state state;
  /** stdin has ended, and the guest was not told yet */
  bool ended;
  /** where its input comes from: 0, or the host's device, negative: none */
  i32 fd;
  /** the sequence as far as it has come */
  u8 held[SEQUENCE_MAX + 1];
  u32 held_len;
  u8 output[OUTPUT_MAX];
  u32 output_len;
};

static struct terminal terminals[TERMINALS];
/** the command has pipes */
static bool silent;
static const char *const device_names[TERMINALS] = {NULL, "tty2", "tty3", "tty4"};

static void flush(struct terminal *terminal) {
  if (terminal->output_len == 0) return;
  if (terminal == terminals && silent) host_write(HOST_ERR, terminal->output, terminal->output_len);
  else if (terminal == terminals) host_write_out(terminal->output, terminal->output_len);
  else if (terminal->state == OPEN && terminal->fd >= 0) host_write(terminal->fd, terminal->output, terminal->output_len);
  terminal->output_len = 0;
}

static void gather(struct console *console, const u8 *bytes, u32 len) {
  struct terminal *terminal = (struct terminal *)console;
  while (len > 0) {
    if (terminal->output_len == OUTPUT_MAX) flush(terminal);
    u32 room = OUTPUT_MAX - terminal->output_len, part = len < room ? len : room;
    copy_bytes(terminal->output + terminal->output_len, bytes, part);
    terminal->output_len += part;
    bytes += part;
    len -= part;
  }
}

void terminal_init(void) {
  console_init(&terminals[0].console, SLOT_CONSOLE, gather);
  for (u32 n = 1; n < TERMINALS; n++) {
    console_init(&terminals[n].console, SLOT_TERMINALS + n - 1, gather);
    terminals[n].fd = NO_DEVICE;
  }
}

void terminal_open_stdin(bool open) {
  terminals[0].state = open ? OPEN : CLOSED;
  terminals[0].ended = false;
  terminals[0].held_len = 0;
}

void terminal_be_silent(void) { silent = true; }

static void open_device(u32 n) { terminals[n].fd = host_open_device(DEVICE_DIRECTORY, device_names[n]); }

void terminal_open_devices(void) {
  for (u32 n = 1; n < TERMINALS; n++) {
    terminals[n].held_len = 0;
    // One that was hung up when the machine was saved still waits for its shell's end.
    if (terminals[n].state == HUNG_UP) terminals[n].fd = NO_DEVICE;
    else open_device(n);
  }
}

bool terminal_wants_input(u32 n) {
  bool reads = n == 0 ? terminals[0].state == OPEN : terminals[n].fd >= 0;
  return reads && console_input_room(&terminals[n].console) >= READ_MAX + SEQUENCE_MAX;
}

i32 terminal_device(u32 n) { return terminal_wants_input(n) ? terminals[n].fd : NO_DEVICE; }

static void pass_held(struct terminal *terminal) {
  console_input(&terminal->console, terminal->held, terminal->held_len);
  terminal->held_len = 0;
}

static u32 parse_u16(const u8 **at, const u8 *end) {
  u32 value = 0;
  while (*at < end && **at >= '0' && **at <= '9' && value < 65536) value = value * 10 + (u32)(*(*at)++ - '0');
  return value;
}

static void apply_size(struct terminal *terminal, const u8 *at, const u8 *end) {
  u32 cols = parse_u16(&at, end);
  if (at >= end || *at++ != 'x') return;
  u32 rows = parse_u16(&at, end);
  if (at != end || cols == 0 || rows == 0 || cols > 65535 || rows > 65535) return;
  console_resize(&terminal->console, (u16)cols, (u16)rows);
}

/* held is complete, from ESC _ to ESC \. Nonsense is swallowed: the sequence is ours all the same. The answer about ports goes to stdout, so
   that is where the question must come from. */
static void apply(struct terminal *terminal) {
  const u8 *at = terminal->held + PREFIX_LEN, *end = terminal->held + terminal->held_len - 2;
  if (end - at > 5 && bytes_equal(at, "size=", 5)) apply_size(terminal, at + 5, end);
  else if (end - at == 5 && bytes_equal(at, "ports", 5) && terminal == terminals) control_ask_ports();
}

/* Whether `byte` may follow what is held. */
static bool continues(const struct terminal *terminal, u8 byte) {
  if (terminal->held_len < PREFIX_LEN) return byte == (u8)prefix[terminal->held_len];
  if (terminal->held[terminal->held_len - 1] == 0x1b) return byte == '\\';
  return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || byte == '=' || byte == 0x1b;
}

static void take(struct terminal *terminal, u8 byte) {
  if (!continues(terminal, byte) || terminal->held_len == SEQUENCE_MAX) {
    pass_held(terminal);
    if (byte != (u8)prefix[0]) {
      console_input(&terminal->console, &byte, 1);
      return;
    }
  }
  terminal->held[terminal->held_len++] = byte;
  if (byte == '\\' && terminal->held_len > PREFIX_LEN) {
    apply(terminal);
    terminal->held_len = 0;
  }
}

static void take_all(struct terminal *terminal, const u8 *bytes, u32 len) {
  u32 plain = 0;
  for (u32 i = 0; i < len; i++) {
    if (terminal->held_len == 0 && bytes[i] != 0x1b) {
      plain++;
      continue;
    }
    console_input(&terminal->console, bytes + i - plain, plain);
    plain = 0;
    take(terminal, bytes[i]);
  }
  console_input(&terminal->console, bytes + len - plain, plain);
  if (terminal->held_len == 1) pass_held(terminal);
}

static void on_end(u32 n) {
  struct terminal *terminal = &terminals[n];
  pass_held(terminal);
  if (n == 0) {
    terminal->state = CLOSED;
    terminal->ended = true;
    return;
  }
  host_close(terminal->fd);
  terminal->fd = NO_DEVICE;
  if (terminal->state != OPEN) return;
  terminal->state = HUNG_UP;
  control_send_terminal("hangup", n + 1);
}

/* ^C and ^\: PID 1 gets no signal from a terminal unless it handles it, so the agent looks whether that was meant. */
static void look_for_keys(const u8 *bytes, u32 len) {
  for (u32 i = 0; i < len; i++) {
    if (bytes[i] != INTERRUPT && bytes[i] != QUIT) continue;
    control_send_key(bytes[i] == INTERRUPT ? GUEST_SIGINT : GUEST_SIGQUIT);
    return;
  }
}

void terminal_read(u32 n) {
  u8 bytes[READ_MAX];
  i64 len = n == 0 ? host_read_in(bytes, READ_MAX) : host_read(terminals[n].fd, bytes, READ_MAX);
  if (len == HOST_ENDED) {
    on_end(n);
    return;
  }
  if (len == HOST_NOTHING_YET) return;
  take_all(&terminals[n], bytes, (u32)len);
  if (n == 0) look_for_keys(bytes, (u32)len);
  if (n == 0 || terminals[n].state != CLOSED) return;
  terminals[n].state = OPEN;
  control_send_terminal("open", n + 1);
}

void terminal_closed(u32 number) {
  u32 n = number - 1;
  if (n == 0 || n >= TERMINALS || terminals[n].state == CLOSED) return;
  flush(&terminals[n]);
  if (terminals[n].fd >= 0) host_close(terminals[n].fd);
  terminals[n].state = CLOSED;
  terminals[n].console.input_len = 0;
  terminals[n].held_len = 0;
  open_device(n);
}

void terminal_turn(void) {
  for (u32 n = 0; n < TERMINALS; n++) console_turn(&terminals[n].console);
  struct terminal *first = &terminals[0];
  if (!first->ended || first->console.input_len > 0) return;
  u8 byte = END_OF_TRANSMISSION;
  console_input(&first->console, &byte, 1);
  first->ended = false;
}

void terminal_flush(void) {
  for (u32 n = 0; n < TERMINALS; n++) flush(&terminals[n]);
}

void terminal_write(const u8 *bytes, u32 len) { gather(&terminals[0].console, bytes, len); }

void terminal_tell_ports(const char *list, u32 len) {
  terminal_write((const u8 *)prefix, PREFIX_LEN);
  terminal_write((const u8 *)"ports=", 6);
  terminal_write((const u8 *)list, len);
  terminal_write((const u8 *)"\x1b\\", 2);
}
