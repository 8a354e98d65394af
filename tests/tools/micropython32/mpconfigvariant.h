// MicroPython as boards have it: 32 bits, small integers of 31, floats of 24 bits.
#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_FLOAT)
#include "ports/unix/variants/mpconfigvariant_common.h"
