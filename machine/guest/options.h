/*
 * Arguments of an image, as c2w's images take them, one or two dashes:
 * [--net=qemu|socket[=listenfd=N]] [--mac M] [--memory MIB] [--hostname H] [--entrypoint E] [--no-stdin] [--tty|--no-tty] [--external-bundle A] [--] [CMD ARG...]
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "base.h"

struct options {
  bool net;
  /** fd of the listening socket, negative: look for it */
  i32 listener;
  u8 mac[6];
  /** 0: the image's own; and as it was given */
  u64 memory_mib;
  const char *memory;
  /** empty: the image's own */
  const char *hostname;
  const char *entrypoint;
  bool has_entrypoint;
  bool stdin_open;
  /** the command gets a terminal; else three pipes, bytes as they are */
  bool tty;
  char **command;
  u32 command_count;
};

/** c2w's; also what the driver sees in a snapshot, until the agent sets PS_MAC */
extern const u8 default_mac[6];

/** Reads the host's arguments; a mistake ends the machine with one line on stderr. */
void options_read(struct options *options);

#endif
