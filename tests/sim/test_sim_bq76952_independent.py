"""The emulator shares no code and no number with the driver: each has read the manual itself."""

import ast
from pathlib import Path

import pytest

import firmware.afe
import sim.bq76952

EMULATOR = Path(sim.bq76952.__file__).parent
DRIVER = Path(firmware.afe.__file__).parent


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name for name in names if name.split(".")[0] in {"firmware", "common", "sim"}}


@pytest.mark.parametrize("path", sorted(EMULATOR.glob("*.py")), ids=lambda p: p.name)
def test_the_emulator_imports_nothing_of_the_firmware_s_side(path: Path) -> None:
    assert imported(path) == set()


@pytest.mark.parametrize("path", sorted(DRIVER.glob("*.py")), ids=lambda p: p.name)
def test_the_driver_imports_nothing_of_the_simulator_and_no_chip_from_common(path: Path) -> None:
    modules = {name for name in imported(path) if not name.startswith("firmware")}
    assert modules <= {
        "common.codes",
        "common.codes.Switch",
        "common.crc",
        "common.crc.crc32",
        "common.crc.crc8_byte",
        "common.models",
        "common.models.N_TEMPERATURES",
        "common.mp",
        "common.mp.const",
    }


def test_each_has_its_own_numbers() -> None:
    for folder in (EMULATOR, DRIVER):
        text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
        for number in ("0x9278", "0x92C0", "0x0097", "0x009B", "0x7695", "298261.6178"):
            assert number in text, (folder.name, number)
