#include "dev/virtio_ports.h"

#include "board/map.h"

#define TYPE_CONSOLE 3
#define F_MULTIPORT (1ull << 1)
#define QUEUE_CONTROL_TO_GUEST 2u
#define QUEUE_CONTROL_FROM_GUEST 3u
/* Each buffer of the driver's is a page, whether it is ever used or not. */
#define QUEUE_SIZE 16u

/* §5.3.6.2 */
#define DEVICE_READY 0
#define PORT_ADD 1
#define PORT_READY 3
#define PORT_OPEN 6

struct control {
  u32 id;
  u16 event, value;
};
_Static_assert(sizeof(struct control) == 8, "virtio 1.2 §5.3.6.2");

struct port {
  /** the driver is to hear of it; of whether the host's side is open */
  bool add_due, open_due;
  bool host_open;
  /** a program has it open */
  bool guest_open;
  /** of the oldest chain, what was taken already */
  u32 done;
};

static struct {
  struct virtio_device device;
  struct port ports[PORTS];
  const struct ports_host *host;
  /** cols, rows, max ports, emergency write (§5.3.4) */
  u8 config[12];
} all;

static u32 queue_to(u32 port) { return port == 0 ? 0 : 2 * port + 2; }
static u32 queue_from(u32 port) { return queue_to(port) + 1; }

static bool tell(u32 id, u16 event, u16 value) {
  struct chain chain;
  struct control control = {id, event, value};
  if (!virtq_pop(&all.device, QUEUE_CONTROL_TO_GUEST, &chain)) return false;
  virtq_push(&all.device, QUEUE_CONTROL_TO_GUEST, chain.head, chain_write(&chain, 0, &control, sizeof control));
  virtq_signal(&all.device, QUEUE_CONTROL_TO_GUEST);
  return true;
}

static void tell_due(void) {
  for (u32 n = 0; n < PORTS; n++) {
    struct port *port = &all.ports[n];
    if (port->add_due && tell(n, PORT_ADD, 1)) port->add_due = false;
    if (port->open_due && tell(n, PORT_OPEN, port->host_open)) port->open_due = false;
  }
}

static void on_control(const struct control *control) {
  if (control->event == DEVICE_READY && control->value == 1) {
    for (u32 n = 0; n < PORTS; n++) all.ports[n].add_due = true;
    return;
  }
  if (control->id >= PORTS) return;
  struct port *port = &all.ports[control->id];
  if (control->event == PORT_READY && control->value == 1) port->open_due = true;
  if (control->event == PORT_OPEN) port->guest_open = control->value != 0;
}

static void listen(void) {
  struct chain chain;
  while (virtq_pop(&all.device, QUEUE_CONTROL_FROM_GUEST, &chain)) {
    struct control control;
    bool whole = chain_read(&chain, 0, &control, sizeof control) == sizeof control;
    virtq_push(&all.device, QUEUE_CONTROL_FROM_GUEST, chain.head, 0);
    if (whole) on_control(&control);
  }
  virtq_signal(&all.device, QUEUE_CONTROL_FROM_GUEST);
  tell_due();
  all.host->wanted();
}

bool ports_wants_input(void) { return all.ports[0].guest_open && all.ports[0].host_open && virtq_available(&all.device, queue_to(0)); }

u32 ports_input(const u8 *bytes, u32 len) {
  struct chain chain;
  u32 done = 0;
  while (done < len && ports_wants_input() && virtq_pop(&all.device, queue_to(0), &chain)) {
    u32 part = chain_write(&chain, 0, bytes + done, len - done);
    virtq_push(&all.device, queue_to(0), chain.head, part);
    done += part;
  }
  if (done > 0) virtq_signal(&all.device, queue_to(0));
  return done;
}

void ports_end_input(void) {
  all.ports[0].host_open = false;
  all.ports[0].open_due = true;
  tell_due();
}

/* Takes from the readable parts of a chain behind the first `done` bytes; returns how far it came. */
static u32 take(u32 n, const struct chain *chain, u32 done) {
  u32 at = 0;
  for (u32 i = 0; i < chain->count; i++) {
    const struct segment *segment = &chain->segments[i];
    if (segment->writable) continue;
    u32 skip = done > at ? done - at : 0;
    if (skip < segment->len) {
      u32 taken = all.host->take(n, segment->bytes + skip, segment->len - skip);
      done = at + skip + taken;
      if (taken < segment->len - skip) return done;
    }
    at += segment->len;
  }
  return done;
}

bool ports_drain(u32 n) {
  struct port *port = &all.ports[n];
  struct chain chain;
  bool any = false, blocked = false;
  while (!blocked && virtq_pop(&all.device, queue_from(n), &chain)) {
    port->done = take(n, &chain, port->done);
    blocked = port->done < chain_readable_len(&chain);
    if (blocked) {
      virtq_unpop(&all.device, queue_from(n));
      continue;
    }
    port->done = 0;
    virtq_push(&all.device, queue_from(n), chain.head, 0);
    any = true;
  }
  if (any) virtq_signal(&all.device, queue_from(n));
  return !blocked;
}

static void on_notify(struct virtio_device *device, u32 queue) {
  (void)device;
  if (queue == QUEUE_CONTROL_FROM_GUEST) listen();
  else if (queue == QUEUE_CONTROL_TO_GUEST) tell_due();
  else if (queue == queue_to(0)) all.host->wanted();
  else if (queue % 2 == 1) ports_drain(queue == 1 ? 0 : (queue - 3) / 2);
}

static void on_reset(struct virtio_device *device) {
  (void)device;
  for (u32 n = 0; n < PORTS; n++) all.ports[n] = (struct port){.host_open = all.ports[n].host_open};
}

void ports_init(const struct ports_host *host) {
  u32 count = PORTS;
  all.host = host;
  for (u32 n = 0; n < PORTS; n++) all.ports[n].host_open = true;
  copy_bytes(all.config + 4, &count, 4);
  all.device.type = TYPE_CONSOLE;
  all.device.features = F_MULTIPORT | VIRTIO_F_EVENT_IDX;
  all.device.queue_count = 2 * PORTS + 2;
  all.device.queue_size = QUEUE_SIZE;
  all.device.config = all.config;
  all.device.config_len = sizeof all.config;
  all.device.notify = on_notify;
  all.device.reset = on_reset;
  virtio_attach(&all.device, SLOT_PORTS);
}
