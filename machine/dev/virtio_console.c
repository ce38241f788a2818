#include "dev/virtio_console.h"

#define TYPE_CONSOLE 3
#define F_SIZE (1ull << 0)
#define QUEUE_TO_GUEST 0
#define QUEUE_FROM_GUEST 1

static void deliver(struct console *console) {
  struct chain chain;
  bool any = false;
  while (console->input_len > 0 && virtq_pop(&console->device, QUEUE_TO_GUEST, &chain)) {
    u32 len = chain_write(&chain, 0, console->input, console->input_len);
    virtq_push(&console->device, QUEUE_TO_GUEST, chain.head, len);
    console->input_len -= len;
    for (u32 i = 0; i < console->input_len; i++) console->input[i] = console->input[len + i];
    any = true;
  }
  if (any) virtq_signal(&console->device, QUEUE_TO_GUEST);
}

static void drain(struct console *console) {
  struct chain chain;
  bool any = false;
  while (virtq_pop(&console->device, QUEUE_FROM_GUEST, &chain)) {
    for (u32 i = 0; i < chain.count; i++)
      if (!chain.segments[i].writable) console->output(console, chain.segments[i].bytes, chain.segments[i].len);
    virtq_push(&console->device, QUEUE_FROM_GUEST, chain.head, 0);
    any = true;
  }
  if (any) console->signal_due = true;
}

void console_turn(struct console *console) {
  if (!console->signal_due) return;
  console->signal_due = false;
  virtq_signal(&console->device, QUEUE_FROM_GUEST);
}

static void on_notify(struct virtio_device *device, u32 queue) {
  struct console *console = (struct console *)device;
  if (queue == QUEUE_TO_GUEST) deliver(console);
  else drain(console);
}

void console_init(struct console *console, u32 slot, void (*output)(struct console *console, const u8 *bytes, u32 len)) {
  console->device.type = TYPE_CONSOLE;
  console->device.features = F_SIZE | VIRTIO_F_EVENT_IDX;
  console->device.queue_count = 2;
  console->device.config = console->config;
  console->device.config_len = sizeof console->config;
  console->device.notify = on_notify;
  console->output = output;
  console_resize(console, 80, 25);
  virtio_attach(&console->device, slot);
}

void console_input(struct console *console, const u8 *bytes, u32 len) {
  u32 room = console_input_room(console);
  if (len > room) len = room;
  copy_bytes(console->input + console->input_len, bytes, len);
  console->input_len += len;
  deliver(console);
}

void console_resize(struct console *console, u16 cols, u16 rows) {
  copy_bytes(console->config, &cols, 2);
  copy_bytes(console->config + 2, &rows, 2);
  virtio_config_changed(&console->device);
}
