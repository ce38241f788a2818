/*
 * virtio-console (virtio 1.2 §5.3), single port, with VIRTIO_CONSOLE_F_SIZE.
 *
 * Output goes to `output` at once, when the driver notifies. Its interrupt waits for console_turn: Linux polls for its buffer with
 * interrupts off, an interrupt would come too late, and 100,000 such in a row make Linux disable the line ("nobody cared").
 * Input waits in a buffer of the machine until the guest has given room; who fills it looks at console_input_room first, so a
 * guest that does not read stops stdin.
 */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "dev/virtio_mmio.h"

#define CONSOLE_INPUT_MAX 4096

struct console {
  struct virtio_device device;
  void (*output)(struct console *console, const u8 *bytes, u32 len);
  /** cols, rows, max ports, emergency write (§5.3.4) */
  u8 config[12];
  u8 input[CONSOLE_INPUT_MAX];
  u32 input_len;
  /** output was taken and its interrupt not decided upon */
  bool signal_due;
};

void console_init(struct console *console, u32 slot, void (*output)(struct console *console, const u8 *bytes, u32 len));
static inline u32 console_input_room(const struct console *console) { return CONSOLE_INPUT_MAX - console->input_len; }
/** Takes at most console_input_room bytes. */
void console_input(struct console *console, const u8 *bytes, u32 len);
/** To be called every now and then, and before the machine sleeps. */
void console_turn(struct console *console);
void console_resize(struct console *console, u16 cols, u16 rows);

#endif
