#include "dev/net_offload.h"

#define ETHERNET_LEN 14u
#define ETHERTYPE_AT 12u
#define ETHERTYPE_IPV4 0x0800
#define IP_MIN 20u
#define IP_TOTAL_AT 2u
#define IP_ID_AT 4u
#define IP_FRAGMENT_AT 6u
#define IP_PROTOCOL_AT 9u
#define IP_SUM_AT 10u
#define IP_SOURCE_AT 12u
#define IP_TCP 6
#define TCP_MIN 20u
#define TCP_SEQ_AT 4u
#define TCP_ACK_AT 8u
#define TCP_OFFSET_AT 12u
#define TCP_FLAGS_AT 13u
#define TCP_SUM_AT 16u
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80

static u32 get_be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static void set_be16(u8 *p, u32 v) {
  p[0] = (u8)(v >> 8);
  p[1] = (u8)v;
}

/* Sum in the host's byte order, not folded. */
static u64 add_up(u64 sum, const u8 *bytes, u32 len) {
  for (; len >= 4; bytes += 4, len -= 4) {
    u32 word;
    copy_bytes(&word, bytes, 4);
    sum += word;
  }
  if (len) {
    u32 word = 0;
    copy_bytes(&word, bytes, len);
    sum += word;
  }
  return sum;
}

static u16 fold(u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (u16)sum;
}

static void put_sum(u8 *at, u16 sum) { copy_bytes(at, &sum, 2); }

static u64 pseudo_header(const u8 *ip, u32 tcp_len) {
  u8 rest[4] = {0, ip[IP_PROTOCOL_AT], (u8)(tcp_len >> 8), (u8)tcp_len};
  return add_up(add_up(0, ip + IP_SOURCE_AT, 8), rest, 4);
}

static void put_ip_sum(u8 *ip, u32 ip_len) {
  put_sum(ip + IP_SUM_AT, 0);
  put_sum(ip + IP_SUM_AT, (u16)~fold(add_up(0, ip, ip_len)));
}

bool offload_checksum(u8 *frame, u32 len, u32 start, u32 offset) {
  if (start > len || offset > len - start || len - start - offset < 2) return false;
  u16 sum = (u16)~fold(add_up(0, frame + start, len - start));
  // RFC 768: a sum of 0 would mean none.
  put_sum(frame + start + offset, sum ? sum : 0xffff);
  return true;
}

/* Length of all headers of an unfragmented TCP packet over IPv4, 0 if it is something else. */
static u32 tcp_headers(const u8 *frame, u32 len, u32 *ip_len) {
  if (len < ETHERNET_LEN + IP_MIN + TCP_MIN || get_be16(frame + ETHERTYPE_AT) != ETHERTYPE_IPV4) return 0;
  const u8 *ip = frame + ETHERNET_LEN;
  *ip_len = (ip[0] & 15) * 4u;
  if (ip[0] >> 4 != 4 || *ip_len < IP_MIN || ip[IP_PROTOCOL_AT] != IP_TCP || (get_be16(ip + IP_FRAGMENT_AT) & 0x3fff)) return 0;
  if (len < ETHERNET_LEN + *ip_len + TCP_MIN) return 0;
  u32 tcp_len = (ip[*ip_len + TCP_OFFSET_AT] >> 4) * 4u, all = ETHERNET_LEN + *ip_len + tcp_len;
  return tcp_len < TCP_MIN || all > len ? 0 : all;
}

bool tso_plan(struct tso *tso, const u8 *packet, u32 len, u32 payload_max) {
  tso->packet = packet;
  tso->len = len;
  tso->payload_max = payload_max;
  tso->header_len = tcp_headers(packet, len, &tso->ip_len);
  if (tso->header_len == 0 || payload_max < TSO_PAYLOAD_MIN) return false;
  u32 payload = len - tso->header_len;
  tso->frames = payload ? (payload + payload_max - 1) / payload_max : 1;
  return true;
}

u32 tso_frame_len(const struct tso *tso, u32 index) {
  u32 rest = tso->len - tso->header_len - index * tso->payload_max;
  return tso->header_len + (rest < tso->payload_max ? rest : tso->payload_max);
}

void tso_write(const struct tso *tso, u32 index, u8 *frame) {
  u32 len = tso_frame_len(tso, index), done = index * tso->payload_max;
  copy_bytes(frame, tso->packet, tso->header_len);
  copy_bytes(frame + tso->header_len, tso->packet + tso->header_len + done, len - tso->header_len);
  u8 *ip = frame + ETHERNET_LEN, *tcp = ip + tso->ip_len;
  u32 tcp_len = len - ETHERNET_LEN - tso->ip_len;
  set_be16(ip + IP_TOTAL_AT, len - ETHERNET_LEN);
  set_be16(ip + IP_ID_AT, get_be16(ip + IP_ID_AT) + index);
  put_ip_sum(ip, tso->ip_len);
  set_be32(tcp + TCP_SEQ_AT, get_be32(tcp + TCP_SEQ_AT) + done);
  if (index + 1 < tso->frames) tcp[TCP_FLAGS_AT] &= (u8)~(TCP_FIN | TCP_PSH);
  if (index > 0) tcp[TCP_FLAGS_AT] &= (u8)~TCP_CWR;
  put_sum(tcp + TCP_SUM_AT, 0);
  put_sum(tcp + TCP_SUM_AT, (u16)~fold(add_up(pseudo_header(ip, tcp_len), tcp, tcp_len)));
}

/* A plain data segment: nothing but ACK and PSH, a payload, and no padding behind the IP packet. */
static u32 data_headers(const u8 *frame, u32 len, u32 *ip_len) {
  u32 all = tcp_headers(frame, len, ip_len);
  if (all == 0 || all == len || get_be16(frame + ETHERNET_LEN + IP_TOTAL_AT) != len - ETHERNET_LEN || *ip_len != IP_MIN) return 0;
  return (frame[ETHERNET_LEN + *ip_len + TCP_FLAGS_AT] | TCP_PSH) == (TCP_ACK | TCP_PSH) ? all : 0;
}

bool gro_start(struct gro *gro, const u8 *frame, u32 len) {
  u32 ip_len, all = data_headers(frame, len, &ip_len);
  if (all == 0) return false;
  gro->len = len;
  gro->count = 1;
  gro->header_len = all;
  gro->payload = len - all;
  gro->closed = frame[ETHERNET_LEN + IP_MIN + TCP_FLAGS_AT] & TCP_PSH;
  copy_bytes(gro->packet, frame, len);
  return true;
}

bool gro_join(struct gro *gro, const u8 *frame, u32 len) {
  u32 ip_len, all = data_headers(frame, len, &ip_len), payload = len - all;
  if (gro->closed || all == 0 || all != gro->header_len || payload > gro->payload || gro->len + payload > LINK_FRAME_MAX) return false;
  const u8 *ip = frame + ETHERNET_LEN, *first = gro->packet + ETHERNET_LEN, *tcp = ip + IP_MIN, *first_tcp = first + IP_MIN;
  // All but lengths, identification and sums; of TCP all but sequence number, flags and sum. Options count: time stamps may not differ.
  bool same = bytes_equal(frame, gro->packet, ETHERNET_LEN) && ip[1] == first[1] && bytes_equal(ip + IP_FRAGMENT_AT, first + IP_FRAGMENT_AT, 4) &&
              bytes_equal(ip + IP_SOURCE_AT, first + IP_SOURCE_AT, 8 + 4) && bytes_equal(tcp + TCP_ACK_AT, first_tcp + TCP_ACK_AT, 5) &&
              bytes_equal(tcp + TCP_FLAGS_AT + 1, first_tcp + TCP_FLAGS_AT + 1, 2) && bytes_equal(tcp + TCP_MIN, first_tcp + TCP_MIN, all - ETHERNET_LEN - IP_MIN - TCP_MIN);
  if (!same || get_be32(tcp + TCP_SEQ_AT) != get_be32(first_tcp + TCP_SEQ_AT) + (gro->len - gro->header_len)) return false;
  copy_bytes(gro->packet + gro->len, frame + all, payload);
  gro->len += payload;
  gro->count++;
  gro->packet[ETHERNET_LEN + IP_MIN + TCP_FLAGS_AT] |= tcp[TCP_FLAGS_AT];
  gro->closed = payload < gro->payload || (tcp[TCP_FLAGS_AT] & TCP_PSH);
  return true;
}

void gro_finish(struct gro *gro) {
  u8 *ip = gro->packet + ETHERNET_LEN;
  set_be16(ip + IP_TOTAL_AT, gro->len - ETHERNET_LEN);
  put_ip_sum(ip, IP_MIN);
  put_sum(ip + IP_MIN + TCP_SUM_AT, fold(pseudo_header(ip, gro->len - ETHERNET_LEN - IP_MIN)));
}
