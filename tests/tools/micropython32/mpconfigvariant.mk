MICROPY_FORCE_32BIT = 1
# The x87 unit would calculate in 80 bits and hide what a board's 32 do.
CFLAGS_EXTRA += -msse2 -mfpmath=sse
CFLAGS_EXTRA += "-DMP_CONFIGFILE=<mpconfig32.h>"
# Needs sources that Debian's source package leaves out, or libraries for 32 bits.
MICROPY_PY_BTREE = 0
MICROPY_PY_FFI = 0
MICROPY_PY_SSL = 0
FROZEN_MANIFEST =
