"""Boards are spared the names of faults: constants hold the numbers, and this holds them."""

import re
from pathlib import Path

import pytest

from common.codes import Fault

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
