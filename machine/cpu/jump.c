#include "cpu/jump.h"

struct jump_entry jump_cache[JUMP_CACHE_SIZE];
