#include "guest/pipes.h"

#include "dev/virtio_ports.h"
#include "guest/control.h"
#include "host/host.h"

#define INPUT_MAX 65536u

static struct {
  /** a command has them; what a guest does with its ports else is of no account */
  bool open;
  bool reads_in;
  /** by descriptor; 0 is not used */
  bool blocked[PORTS], broken[PORTS];
  /** read and not given to the guest yet: [input_start, input_len) */
  u8 input[INPUT_MAX];
  u32 input_start, input_len;
  /** stdin has ended, and the guest was not told yet */
  bool ended;
} pipes;

static void feed(void) {
  if (!pipes.open) return;
  pipes.input_start += ports_input(pipes.input + pipes.input_start, pipes.input_len - pipes.input_start);
  if (pipes.input_start < pipes.input_len || !pipes.ended) return;
  pipes.ended = false;
  ports_end_input();
}

static u32 take(u32 port, const u8 *bytes, u32 len) {
  if (!pipes.open || port == 0 || pipes.broken[port]) return len;
  for (u32 done = 0; done < len;) {
    i64 written = host_write_some((i32)port, bytes + done, len - done);
    if (written == HOST_ENDED) {
      pipes.broken[port] = true;
      control_send_broken(port);
      return len;
    }
    if (written == HOST_NOTHING_YET) {
      pipes.blocked[port] = true;
      return done;
    }
    done += (u32)written;
  }
  return len;
}

static const struct ports_host host = {feed, take};

void pipes_init(void) { ports_init(&host); }

void pipes_open(bool with_in) {
  pipes.open = true;
  pipes.reads_in = with_in;
  pipes.ended = !with_in;
  feed();
}

bool pipes_want_input(void) { return pipes.open && pipes.reads_in && pipes.input_start == pipes.input_len && ports_wants_input(); }

void pipes_read(void) {
  i64 len = host_read_in(pipes.input, INPUT_MAX);
  if (len == HOST_NOTHING_YET) return;
  pipes.input_start = 0;
  pipes.input_len = len == HOST_ENDED ? 0 : (u32)len;
  if (len == HOST_ENDED) {
    pipes.reads_in = false;
    pipes.ended = true;
  }
  feed();
}

bool pipes_are_blocked(i32 fd) { return pipes.blocked[fd]; }

void pipes_go_on(i32 fd) {
  pipes.blocked[fd] = false;
  ports_drain((u32)fd);
}

void pipes_finish(void) {
  if (!pipes.open) return;
  for (i32 fd = HOST_OUT; fd <= HOST_ERR; fd++) {
    pipes.blocked[fd] = false;
    while (!ports_drain((u32)fd)) host_wait_writable(fd);
  }
}
