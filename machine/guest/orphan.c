#include "guest/orphan.h"

#include "base.h"
#include "dev/net_offload.h"
#include "dev/virtio_net.h"

#define ETHERNET_LEN 14u
#define IPV4_LEN 20u
#define IPV6_LEN 40u
#define TCP_LEN 20u
#define IP_TCP 6
#define TTL 64
#define TCP_SYN 0x02
#define TCP_SUM_AT 16u
#define IPV4_SUM_AT 10u

struct endpoint {
  u8 address[16];
  /** 4 or 16 */
  u32 address_len;
  u32 port;
};

static i32 hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* Up to 8 digits; returns how many. */
static u32 parse_hex(const char *text, u32 *value) {
  u32 len = 0;
  for (*value = 0; len < 8 && hex_digit(text[len]) >= 0; len++) *value = *value << 4 | (u32)hex_digit(text[len]);
  return len;
}

/* Where the endpoint ends; NULL if it is none. */
static const char *parse(const char *text, struct endpoint *endpoint) {
  static const u8 mapped[12] = {[10] = 0xff, [11] = 0xff};
  u32 word;
  endpoint->address_len = 0;
  while (endpoint->address_len < 16 && *text != ':') {
    if (parse_hex(text, &word) != 8) return NULL;
    copy_bytes(endpoint->address + endpoint->address_len, &word, 4);
    endpoint->address_len += 4;
    text += 8;
  }
  if (*text != ':' || (endpoint->address_len != 4 && endpoint->address_len != 16) || parse_hex(text + 1, &endpoint->port) != 4) return NULL;
  if (endpoint->address_len == 16 && bytes_equal(endpoint->address, mapped, sizeof mapped)) {
    copy_bytes(endpoint->address, endpoint->address + 12, 4);
    endpoint->address_len = 4;
  }
  return text + 5;
}

static void put16(u8 *at, u32 value) {
  at[0] = (u8)(value >> 8);
  at[1] = (u8)value;
}

static u32 sum_words(u32 sum, const u8 *bytes, u32 len) {
  for (u32 i = 0; i < len; i += 2) sum += (u32)bytes[i] << 8 | bytes[i + 1];
  return sum;
}

/* Returns the length of the header. */
static u32 put_ip(u8 *ip, const struct endpoint *from, const struct endpoint *to) {
  if (from->address_len == 4) {
    ip[0] = 0x45;
    put16(ip + 2, IPV4_LEN + TCP_LEN);
    ip[8] = TTL;
    ip[9] = IP_TCP;
    copy_bytes(ip + 12, from->address, 4);
    copy_bytes(ip + 16, to->address, 4);
    return IPV4_LEN;
  }
  ip[0] = 0x60;
  put16(ip + 4, TCP_LEN);
  ip[6] = IP_TCP;
  ip[7] = TTL;
  copy_bytes(ip + 8, from->address, 16);
  copy_bytes(ip + 24, to->address, 16);
  return IPV6_LEN;
}

/* A SYN by itself: sequence number and window do not matter, only that it belongs to no beginning. */
static u32 put_tcp(u8 *tcp, const struct endpoint *from, const struct endpoint *to) {
  put16(tcp, from->port);
  put16(tcp + 2, to->port);
  tcp[12] = TCP_LEN / 4 << 4;
  tcp[13] = TCP_SYN;
  u32 sum = sum_words(sum_words(IP_TCP + TCP_LEN, from->address, from->address_len), to->address, to->address_len);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  put16(tcp + TCP_SUM_AT, sum);
  return TCP_LEN;
}

void orphan_reset(const char *line) {
  struct endpoint local, remote;
  const char *rest = parse(line, &local);
  if (!rest || *rest != ' ' || !parse(rest + 1, &remote) || local.address_len != remote.address_len) return;
  u8 frame[ETHERNET_LEN + IPV6_LEN + TCP_LEN] = {0};
  net_get_mac(frame);
  // The peer's card: nobody learns from a frame with a packet in it.
  frame[6] = 0x02;
  put16(frame + 12, local.address_len == 4 ? 0x0800 : 0x86dd);
  u32 tcp_at = ETHERNET_LEN + put_ip(frame + ETHERNET_LEN, &remote, &local);
  u32 len = tcp_at + put_tcp(frame + tcp_at, &remote, &local);
  bool summed = offload_checksum(frame, len, tcp_at, TCP_SUM_AT);
  if (local.address_len == 4) summed = summed && offload_checksum(frame, tcp_at, ETHERNET_LEN, IPV4_SUM_AT);
  if (summed) net_inject(frame, len);
}
