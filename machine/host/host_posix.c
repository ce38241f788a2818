/*
 * The host as a POSIX process: for gdb, valgrind and tests. The directory given by PORTSIDE_IN stands for /in, PORTSIDE_DISK
 * for /portside; PORTSIDE_LISTEN is a TCP port on 127.0.0.1 to listen on.
 */
#define _GNU_SOURCE
#include "host/entries.h"
#include "host/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char **argument_texts;
static u32 argument_count;

void *host_memory_if(u64 len) {
  void *memory = mmap(NULL, len ? len : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

void *host_memory(u64 len) {
  void *memory = host_memory_if(len);
  if (!memory) host_panic("out of memory", "");
  return memory;
}

void host_exit(u32 status) { exit((int)status); }

void host_panic(const char *what, const char *detail) {
  fprintf(stderr, "portside machine: %s: %s\n", what, detail);
  exit(1);
}

static u64 clock_ns(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}
u64 host_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
u64 host_realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

void host_random(void *bytes, size_t len) {
  for (size_t done = 0; done < len;) {
    ssize_t got = getrandom((u8 *)bytes + done, len - done, 0);
    if (got > 0) done += (size_t)got;
  }
}

u32 host_args(char ***texts) {
  *texts = argument_texts;
  return argument_count;
}

u32 host_environment(char ***texts) {
  u32 count = 0;
  while (environ[count]) count++;
  *texts = environ;
  return count;
}

void host_write_out(const u8 *bytes, size_t len) {
  for (size_t done = 0; done < len;) {
    ssize_t written = write(1, bytes + done, len - done);
    if (written > 0) done += (size_t)written;
    else if (errno != EINTR && errno != EAGAIN) return;
  }
}

i64 host_write_some(i32 fd, const u8 *bytes, size_t len) {
  ssize_t written = write(fd, bytes, len);
  if (written >= 0) return written;
  return errno == EAGAIN || errno == EINTR ? HOST_NOTHING_YET : HOST_ENDED;
}

void host_wait_writable(i32 fd) {
  struct pollfd polled = {.fd = fd, .events = POLLOUT};
  poll(&polled, 1, -1);
}

i64 host_read_in(u8 *bytes, size_t len) {
  ssize_t got = read(0, bytes, len);
  if (got > 0) return got;
  return got < 0 && (errno == EAGAIN || errno == EINTR) ? HOST_NOTHING_YET : HOST_ENDED;
}

i32 host_open(const char *directory, const char *name) {
  const char *real = getenv(!strcmp(directory, "/in") ? "PORTSIDE_IN" : "PORTSIDE_DISK");
  char path[4096];
  if (!real || snprintf(path, sizeof path, "%s/%s", real, name) >= (int)sizeof path) return -1;
  return open(path, O_RDONLY | O_CLOEXEC);
}

/* No devices here: nobody asks for a save, and there is one terminal. */
i32 host_open_device(const char *directory, const char *name) {
  (void)directory;
  (void)name;
  return -1;
}

i64 host_read(i32 fd, u8 *bytes, size_t len) {
  (void)fd;
  (void)bytes;
  (void)len;
  return HOST_ENDED;
}

void host_write(i32 fd, const u8 *bytes, size_t len) {
  if (fd == HOST_ERR && write(fd, bytes, len) < 0) return;
}

bool host_request(i32 fd, const u8 *bytes, size_t len) { return write(fd, bytes, len) == (ssize_t)len; }

u64 host_file_size(i32 fd) {
  struct stat status;
  return fstat(fd, &status) ? 0 : (u64)status.st_size;
}

bool host_read_at(i32 fd, void *bytes, u64 len, u64 offset) {
  for (u64 done = 0; done < len;) {
    ssize_t got = pread(fd, (u8 *)bytes + done, len - done, (off_t)(offset + done));
    if (got <= 0) return false;
    done += (u64)got;
  }
  return true;
}

i32 host_find_listener(i32 wanted) {
  (void)wanted;
  const char *port = getenv("PORTSIDE_LISTEN");
  if (!port) return -1;
  i32 fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((u16)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1)) host_panic("cannot listen", port);
  return fd;
}

i32 host_accept(i32 listener) {
  i32 fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

i64 host_receive(i32 fd, u8 *bytes, size_t len) {
  ssize_t got = recv(fd, bytes, len, 0);
  if (got > 0) return got;
  return got < 0 && errno == EAGAIN ? HOST_NOTHING_YET : HOST_ENDED;
}

i64 host_send(i32 fd, const u8 *bytes, size_t len) {
  ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
  if (sent >= 0) return sent;
  return errno == EAGAIN ? HOST_NOTHING_YET : HOST_ENDED;
}

void host_close(i32 fd) {
  if (fd >= 0) close(fd);
}

u32 host_poll(const struct host_wanted *wanted, u64 timeout_ns) {
  struct pollfd polled[] = {
      {.fd = wanted->in ? 0 : -1, .events = POLLIN},
      {.fd = wanted->socket, .events = wanted->socket_writes ? POLLIN | POLLOUT : POLLIN},
      {.fd = wanted->out ? HOST_OUT : -1, .events = POLLOUT},
      {.fd = wanted->err ? HOST_ERR : -1, .events = POLLOUT},
  };
  struct timespec timeout = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
  if (ppoll(polled, COUNT_OF(polled), timeout_ns == HOST_POLL_FOREVER ? NULL : &timeout, NULL) <= 0) return 0;
  return (polled[0].revents ? HOST_POLL_IN : 0) | (polled[1].revents ? HOST_POLL_SOCKET : 0) | (polled[2].revents ? HOST_POLL_OUT : 0) | (polled[3].revents ? HOST_POLL_ERR : 0);
}

int main(int argc, char **argv) {
  argument_texts = argv;
  argument_count = (u32)argc;
  machine_start();
}
