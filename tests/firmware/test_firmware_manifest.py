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
    "common/update_codes.py": "the same, of an update",
    "firmware/loader.py": "a file of its own on a board, which no update changes",
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


@pytest.mark.parametrize("afe", ["bq76952", "ltc6813"])
def test_everything_compiles_and_fits_a_board(
    tmp_path: Path, script: dict[str, Any], afe: str
) -> None:
    image = script["Manifest"](script["MANIFEST"]).image("xtensawin", afe)
    sizes = script["compile_all"](image, "xtensawin", tmp_path)
    built = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mpy")}
    beside = {f"{folder}/{name}" for name, folder in script["BESIDE"].items()}
    assert built == {str(Path(name).with_suffix(".mpy")) for name in beside | set(sizes)}
    # lean leaves out nothing but what only held constants and types
    left_out = {"common/mp.py", "firmware/afe/ltc6813_registers.py", *script["BESIDE"]}
    assert set(image) - set(sizes) <= left_out
    size = sum(sizes.values()) - sum(script["idle_cells"](sizes))
    assert 100_000 < size <= 160_000  # of the 264 kB of an RP2040, when not frozen


def test_an_image_has_the_driver_of_its_afe_only(script: dict[str, Any]) -> None:
    manifest = script["Manifest"](script["MANIFEST"])
    drivers = {
        afe: {name for name in manifest.image("armv6m", afe) if name.startswith("firmware/afe/")}
        for afe in script["AFES"]
    }
    shared = {"firmware/afe/__init__.py", "firmware/afe/thermistor.py"}
    assert drivers["bq76952"] & drivers["ltc6813"] == shared
    assert set().union(*drivers.values()) == {
        name for name in manifest.files if name.startswith("firmware/afe/")
    }
    assert all("bq76952" in name for name in drivers["bq76952"] - shared)
    assert "firmware/afe/ina228.py" in drivers["ltc6813"]


@pytest.mark.parametrize(
    ("architecture", "boards"),
    [("armv6m", {"rp2"}), ("armv7emsp", {"rp2", "stm32"}), ("xtensawin", {"esp32"})],
)
def test_an_image_has_the_boards_of_its_architecture(
    script: dict[str, Any], architecture: str, boards: set[str]
) -> None:
    image = script["Manifest"](script["MANIFEST"]).image(architecture, "bq76952")
    there = {Path(name).stem for name in image if name.startswith("firmware/boards/")}
    assert there == boards | {"__init__", "lines", "machine_board"}
    assert ("firmware/modbus/tcp.py" in image) == (architecture == "xtensawin")
