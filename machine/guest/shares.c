#include "guest/shares.h"

#include "board/map.h"
#include "dev/virtio_9p.h"
#include "host/host_files.h"

#define NAME_MAX 1024u

static struct {
  u32 count;
  char names[SHARES_MAX][NAME_MAX];
  struct shared_directory directories[SHARES_MAX];
} shares;

/* The name as an absolute path without a slash at its end; empty: not to be mounted. */
static void make_absolute(char *to, const char *name) {
  u32 len = 0;
  while (name[0] == '.' && name[1] == '/') name += 2;
  if (name[0] == '.' && !name[1]) name++;
  if (name[0] != '/') to[len++] = '/';
  for (; *name; name++) to[len++] = *name;
  while (len > 0 && to[len - 1] == '/') len--;
  to[len] = 0;
}

void shares_attach(void) {
  char name[NAME_MAX - 1];
  for (i32 fd = host_next_directory(0, name, sizeof name); fd >= 0; fd = host_next_directory(fd, name, sizeof name)) {
    static char path[NAME_MAX];
    make_absolute(path, name);
    // Nothing can be mounted over the whole of a container, nor are the machine's own files its business.
    if (!path[0] || text_equal(path, INPUT_DIRECTORY) || text_equal(path, DISK_DIRECTORY)) continue;
    if (shares.count == SHARES_MAX) host_panic("more than 8 shared directories; this one is too much", path);
    u32 index = shares.count++;
    copy_bytes(shares.names[index], path, text_len(path) + 1);
    p9_init(index, fd);
    shares.directories[index] = (struct shared_directory){shares.names[index], p9_tag(index), VIRTIO_BASE + (SLOT_SHARE + index) * VIRTIO_STRIDE};
  }
}

void shares_resume(void) {
  i32 found[SHARES_MAX];
  char name[NAME_MAX - 1];
  for (u32 i = 0; i < shares.count; i++) found[i] = -1;
  for (i32 fd = host_next_directory(0, name, sizeof name); fd >= 0; fd = host_next_directory(fd, name, sizeof name)) {
    static char path[NAME_MAX];
    make_absolute(path, name);
    for (u32 i = 0; i < shares.count; i++)
      if (text_equal(path, shares.names[i])) found[i] = fd;
  }
  for (u32 i = 0; i < shares.count; i++) p9_resume(i, found[i]);
}

u32 shares_count(void) { return shares.count; }
const struct shared_directory *shares_get(u32 index) { return &shares.directories[index]; }
