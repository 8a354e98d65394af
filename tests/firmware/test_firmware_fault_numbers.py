"""Boards are spared the names of faults: constants hold the numbers, and this holds them."""

import re
from pathlib import Path

import pytest

from common.codes import Fault
from firmware.diagnosis import _AFE_CHARGE, _FAULT, _WHAT, table
from firmware.settings import Settings
from gateway.reading_keys import FAULT_VALUES

FIRMWARE = Path(__file__).parents[2] / "firmware"
CONSTANT = re.compile(r"^_\w+ = const\(([^)]*)\)  # ([A-Z_]{5,}(?:, [A-Z_]{5,})*)$", re.MULTILINE)


@pytest.mark.parametrize(
    "module",
    ["app", "diagnosis", "image_sunspec", "measurement", "plausibility", "protection"],
)
def test_a_number_that_stands_for_faults_is_theirs(module: str) -> None:
    found = CONSTANT.findall((FIRMWARE / f"{module}.py").read_text())
    assert found
    for number, names in found:
        bits = sum(1 << getattr(Fault, name) for name in names.split(", "))
        assert eval(number) == bits, names


def test_every_fault_with_a_value_has_its_unit_in_json() -> None:
    settings = Settings("P", 4, "nmc", 10000)
    with_values = {row[_FAULT] for row in table(settings) if row[_WHAT] < _AFE_CHARGE}
    assert set(FAULT_VALUES) == with_values
