#include "cpu/hart.h"

#include "board/clock.h"
#include "cpu/riscv.h"

struct hart hart;
static void (*firmware)(void);

void hart_set_firmware(void (*answer)(void)) { firmware = answer; }
void hart_call_firmware(void) { firmware(); }

void hart_check_timer(void) {
  if (clock_ticks() >= hart.stimecmp) hart.sip |= SIP_STIP;
  else hart.sip &= ~SIP_STIP;
}

void hart_set_external(bool level) {
  hart.sip = level ? hart.sip | SIP_SEIP : hart.sip & ~SIP_SEIP;
  if (level) hart.leave = 1;
}

void hart_set_software(bool level) {
  hart.sip = level ? hart.sip | SIP_SSIP : hart.sip & ~SIP_SSIP;
  if (level) hart.leave = 1;
}
