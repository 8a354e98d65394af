"""What goes onto a board: all the firmware but what only the desk needs, and it compiles."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import common

# What stays on the desk, and why.
LEFT_OUT = {
    "common/decode.py": "reads a board's answers",
    "common/link.py": "the desk link's protocol",
    "common/model_docs.py": "words about registers: boards serve numbers",
    "common/settings_codes.py": "names of numbers that boards have as constants",
    "common/sunspec_json.py": "makes files for clients",
    "firmware/boards/desk.py": "the board of the tests",
    "firmware/boards/unix.py": "the board of the simulator",
    "firmware/manifest.py": "is the list itself",
}
# Tools of the desk; models of cells of which a board that screens takes the one it needs.
LEFT_OUT_FOLDERS = ("firmware/tools/", "common/cells/pulse_")


@pytest.fixture(scope="module")
def script(root: Path) -> dict[str, Any]:
    return runpy.run_path(str(root / "tests" / "benchmarks" / "firmware_size.py"))


def test_the_manifest_lists_every_file_a_board_needs(root: Path, script: dict[str, Any]) -> None:
    tree = {
        str(path.relative_to(root))
        for folder in ("common", "firmware")
        for path in (root / folder).rglob("*.py")
    }
    listed = script["Manifest"](script["MANIFEST"]).files
    assert sorted(set(listed)) == sorted(listed)
    kept_back = {path for path in tree if path.startswith(LEFT_OUT_FOLDERS)}
    assert set(listed) == tree - set(LEFT_OUT) - kept_back


def test_package_json_installs_the_same_files(root: Path, script: dict[str, Any]) -> None:
    manifest = script["Manifest"](script["MANIFEST"])
    package = (root / "firmware" / "package.json").read_text(encoding="utf-8")
    assert package == script["package_json"](manifest), "make firmware writes it anew"
    for target, source in json.loads(package)["urls"]:
        assert (root / "firmware" / source).resolve() == root / target


def test_the_manifest_has_the_version_of_the_program(script: dict[str, Any]) -> None:
    assert script["Manifest"](script["MANIFEST"]).version == common.__version__


def test_everything_compiles_and_fits_a_board(script: dict[str, Any]) -> None:
    sizes = script["compile_all"](script["Manifest"](script["MANIFEST"]), "armv6m")
    others = {"firmware/boards/esp32.py", "firmware/boards/stm32.py", "firmware/modbus/tcp.py"}
    assert {name for name, size in sizes.items() if not size} == others
    assert sum(sizes.values()) < 200_000  # of the 264 kB of an RP2040's RAM, when not frozen


@pytest.mark.parametrize(
    ("architecture", "boards"),
    [("armv6m", {"rp2"}), ("armv7emsp", {"rp2", "stm32"}), ("xtensawin", {"esp32"})],
)
def test_an_image_has_the_boards_of_its_architecture(
    root: Path, script: dict[str, Any], architecture: str, boards: set[str]
) -> None:
    manifest = script["Manifest"](script["MANIFEST"])
    manifest.files = [name for name in manifest.files if name.startswith("firmware/boards/")]
    sizes = script["compile_all"](manifest, architecture)
    there = {Path(name).stem for name, size in sizes.items() if size}
    assert there == boards | {"__init__", "machine_board"}
    built = root / "build" / "firmware" / architecture / "firmware" / "boards"
    assert {path.stem for path in built.glob("*.mpy")} == there
