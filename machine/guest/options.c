#include "guest/options.h"

#include "host/host.h"

const u8 default_mac[6] = {2, 0, 0, 0, 0, 1};

static bool starts_with(const char *text, const char *prefix) {
  size_t len = text_len(prefix);
  return text_len(text) >= len && bytes_equal(text, prefix, len);
}

static bool parse_number(const char *text, i32 *number) {
  i32 value = 0;
  if (!*text) return false;
  for (; *text; text++) {
    if (*text < '0' || *text > '9' || value > 100000) return false;
    value = value * 10 + (*text - '0');
  }
  *number = value;
  return true;
}

static i32 hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_mac(const char *text, u8 mac[6]) {
  if (text_len(text) != 17) return false;
  for (u32 i = 0; i < 6; i++, text += 3) {
    i32 high = hex_digit(text[0]), low = hex_digit(text[1]);
    bool separated = i == 5 || text[2] == ':' || text[2] == '-';
    if (high < 0 || low < 0 || !separated) return false;
    mac[i] = (u8)(high << 4 | low);
  }
  return true;
}

/* 512, 512M, 512MiB, 2G, 2GiB */
static bool parse_memory(const char *text, u64 *mib) {
  u64 value = 0;
  u32 digits = 0;
  for (; *text >= '0' && *text <= '9' && digits < 6; text++, digits++) value = value * 10 + (u64)(*text - '0');
  bool giga = *text == 'G' || *text == 'g';
  if (giga || *text == 'M' || *text == 'm') text += starts_with(text + 1, "iB") ? 3 : 1;
  *mib = giga ? value << 10 : value;
  return digits > 0 && value > 0 && !*text;
}

static void set_net(struct options *options, const char *value) {
  const char *listen = value;
  if (starts_with(value, "qemu")) listen = value + 4;
  else if (starts_with(value, "socket")) listen = value + 6;
  else host_panic("--net must be qemu or socket, not", value);
  if (*listen && !(starts_with(listen, "=listenfd=") && parse_number(listen + 10, &options->listener))) host_panic("--net takes =listenfd=N, not", listen);
  options->net = true;
}

static const char *flag_names[] = {"net", "mac", "memory", "hostname", "entrypoint", "external-bundle", "no-stdin", "tty", "no-tty"};
enum flag { FLAG_NET, FLAG_MAC, FLAG_MEMORY, FLAG_HOSTNAME, FLAG_ENTRYPOINT, FLAG_BUNDLE, FLAG_NO_STDIN, FLAG_TTY, FLAG_NO_TTY };

/* `name` up to its end or a '='. */
static i32 find_flag(const char *name, const char **value) {
  for (u32 i = 0; i < COUNT_OF(flag_names); i++) {
    size_t len = text_len(flag_names[i]);
    if (!starts_with(name, flag_names[i]) || (name[len] && name[len] != '=')) continue;
    *value = name[len] ? name + len + 1 : NULL;
    return (i32)i;
  }
  return -1;
}

static void apply(struct options *options, i32 flag, const char *value) {
  switch (flag) {
    case FLAG_NET: set_net(options, value); break;
    case FLAG_MAC:
      if (!parse_mac(value, options->mac)) host_panic("--mac is not a MAC address", value);
      break;
    case FLAG_MEMORY:
      if (!parse_memory(value, &options->memory_mib)) host_panic("--memory takes MiB, or a number with M or G, not", value);
      options->memory = value;
      break;
    case FLAG_HOSTNAME: options->hostname = value; break;
    case FLAG_ENTRYPOINT:
      options->entrypoint = value;
      options->has_entrypoint = true;
      break;
    default: host_panic("--external-bundle is not supported by this image", value);
  }
}

void options_read(struct options *options) {
  char **arguments;
  u32 count = host_args(&arguments), at = 1;
  *options = (struct options){.listener = -1, .hostname = "", .memory = "", .entrypoint = "", .stdin_open = true, .tty = true};
  copy_bytes(options->mac, default_mac, 6);
  while (at < count && arguments[at][0] == '-') {
    const char *name = arguments[at] + (arguments[at][1] == '-' ? 2 : 1), *value = NULL;
    if (text_equal(arguments[at], "--")) {
      at++;
      break;
    }
    i32 flag = find_flag(name, &value);
    if (flag < 0) host_panic("unknown flag", arguments[at]);
    at++;
    if (flag >= FLAG_NO_STDIN) {
      if (flag == FLAG_NO_STDIN) options->stdin_open = false;
      else options->tty = flag == FLAG_TTY;
      continue;
    }
    if (!value) {
      if (at == count) host_panic("flag without a value", arguments[at - 1]);
      value = arguments[at++];
    }
    apply(options, flag, value);
  }
  options->command = arguments + (at < count ? at : count);
  options->command_count = at < count ? count - at : 0;
}
