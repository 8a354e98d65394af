// The port's configuration, and a clock, which it has not: the milliseconds that a script writes
// into a register of the nRF51's second timer (CC[0] of TIMER1). No time passes by itself.
#include "mpconfigport.h"

#undef MICROPY_PY_TIME
#define MICROPY_PY_TIME (1)
#define mp_hal_ticks_ms() (*(volatile unsigned long *)0x40009540)
#define mp_hal_ticks_us() 0
#define mp_hal_ticks_cpu() 0
#define mp_hal_delay_ms(ms) ((void)(ms))
#define mp_hal_delay_us(us) ((void)(us))
