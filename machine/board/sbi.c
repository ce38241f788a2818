#include "board/sbi.h"

#include "board/ram.h"
#include "cpu/block.h"
#include "cpu/hart.h"
#include "cpu/mmu.h"

#define SBI_SUCCESS 0
#define SBI_ERR_FAILED (-1)
#define SBI_ERR_NOT_SUPPORTED (-2)
#define SBI_ERR_INVALID_PARAM (-3)
#define SBI_ERR_ALREADY_AVAILABLE (-6)

#define EXT_BASE 0x10
#define EXT_TIME 0x54494d45
#define EXT_IPI 0x735049
#define EXT_RFENCE 0x52464e43
#define EXT_HSM 0x48534d
#define EXT_SRST 0x53525354
#define EXT_DBCN 0x4442434e

#define SPEC_VERSION 0x02000000
/* None is registered for this machine; Linux only prints it. */
#define IMPLEMENTATION_ID 0x5053

static struct sbi_board board;

#define A(n) hart.x[10 + (n)]

static bool is_known(u64 extension) {
  switch (extension) {
    case EXT_BASE:
    case EXT_TIME:
    case EXT_IPI:
    case EXT_RFENCE:
    case EXT_HSM:
    case EXT_SRST:
    case EXT_DBCN: return true;
    default: return false;
  }
}

/* §4: a mask of harts and where it starts; base -1 means all. */
static bool names_us(u64 mask, u64 base) { return base == ~0ull || (base == 0 && (mask & 1)); }

static i64 base_call(u64 function, u64 *value) {
  switch (function) {
    case 0: *value = SPEC_VERSION; return SBI_SUCCESS;
    case 1: *value = IMPLEMENTATION_ID; return SBI_SUCCESS;
    case 2: *value = 1; return SBI_SUCCESS;
    case 3: *value = is_known(A(0)); return SBI_SUCCESS;
    case 4:
    case 5:
    case 6: *value = 0; return SBI_SUCCESS;
    default: return SBI_ERR_NOT_SUPPORTED;
  }
}

static i64 rfence_call(u64 function) {
  if (function > 6) return SBI_ERR_NOT_SUPPORTED;
  if (!names_us(A(0), A(1))) return SBI_ERR_INVALID_PARAM;
  if (function == 0) block_fence();
  else mmu_flush_all();
  return SBI_SUCCESS;
}

static i64 hsm_call(u64 function, u64 *value) {
  switch (function) {
    case 0: return A(0) == 0 ? SBI_ERR_ALREADY_AVAILABLE : SBI_ERR_INVALID_PARAM;
    case 1: return SBI_ERR_FAILED;
    case 2: *value = 0; return A(0) == 0 ? SBI_SUCCESS : SBI_ERR_INVALID_PARAM;
    case 3: // default retentive suspend is what wfi is
      if (A(0) != 0) return SBI_ERR_NOT_SUPPORTED;
      if (!hart_interrupt_pending()) hart.wfi = hart.leave = 1;
      return SBI_SUCCESS;
    default: return SBI_ERR_NOT_SUPPORTED;
  }
}

static i64 console_call(u64 function, u64 *value) {
  switch (function) {
    case 0: {
      // §12.1: as much as there is; a range that is not RAM is an invalid parameter.
      u8 *text = ram_at(A(1), A(0));
      if (!text || A(2)) return SBI_ERR_INVALID_PARAM;
      board.console(text, A(0));
      *value = A(0);
      return SBI_SUCCESS;
    }
    case 1: *value = 0; return SBI_SUCCESS;
    case 2: {
      u8 byte = (u8)A(0);
      board.console(&byte, 1);
      return SBI_SUCCESS;
    }
    default: return SBI_ERR_NOT_SUPPORTED;
  }
}

static void answer(void) {
  u64 extension = A(7), function = A(6), value = 0;
  i64 error = SBI_ERR_NOT_SUPPORTED;
  switch (extension) {
    case EXT_BASE: error = base_call(function, &value); break;
    case EXT_TIME:
      if (function == 0) {
        hart.stimecmp = A(0);
        hart_check_timer();
        hart.leave = 1;
        error = SBI_SUCCESS;
      }
      break;
    case EXT_IPI:
      if (function == 0) {
        error = names_us(A(0), A(1)) ? SBI_SUCCESS : SBI_ERR_INVALID_PARAM;
        if (error == SBI_SUCCESS) hart_set_software(true);
      }
      break;
    case EXT_RFENCE: error = rfence_call(function); break;
    case EXT_HSM: error = hsm_call(function, &value); break;
    case EXT_SRST:
      // Off and reboot alike end the machine: whoever runs us starts it again.
      if (function == 0) {
        board.power_off(A(0) == 0 || A(0) == 1 || A(0) == 2 ? 0 : 1);
        error = SBI_SUCCESS;
      }
      break;
    case EXT_DBCN: error = console_call(function, &value); break;
    default: break;
  }
  A(0) = (u64)error;
  A(1) = value;
}

void sbi_init(const struct sbi_board *its_board) {
  board = *its_board;
  hart_set_firmware(answer);
}
