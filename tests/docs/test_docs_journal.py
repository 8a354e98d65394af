"""docs/journal.md is in step with the records."""

import re
import struct
from pathlib import Path

import pytest

from firmware.estimators import estimators_state as state
from firmware.fram import RECORDS
from firmware.storage import CRC_BYTES, HEAD, HEAD_BYTES


@pytest.fixture(scope="module")
def document(root: Path) -> str:
    return (root / "docs" / "journal.md").read_text(encoding="utf-8")


def test_each_record_has_the_place_in_an_fram_that_is_told(document: str) -> None:
    rows = []
    at = 0
    for name, most in RECORDS:
        second = at + HEAD_BYTES + most + CRC_BYTES
        rows.append(f"| `{name}` | {most} | {at} | {second} |")
        at = 2 * second - at
    shown = document.split("<!-- FRAM places")[1].split("<!-- end -->", maxsplit=1)[0]
    assert [line for line in shown.splitlines() if line.startswith("| `")] == rows


def test_each_record_s_layout_is_told(document: str) -> None:
    section = document.split("\n## Layouts\n")[1].split("`estimates`, version", maxsplit=1)[0]
    first = "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`(\w+)`", first)) == sorted(name for name, _most in RECORDS)


def test_the_bytes_of_the_estimates_are_as_told(document: str) -> None:
    section = document.split("\n`estimates`, version ")[1].split(
        "Taken up from earlier", maxsplit=1
    )[0]
    assert section.startswith(f"{state._VERSION}:")
    told = re.findall(r"\n\| (\d+(?: a cell)?) \|", section)
    formats = (
        (state._HEAD, ""), (state._SOC, ""), (state._CHARGE, ""), (state._HEALTH, " a cell"),
        (state._RESISTANCE, ""), (state._PAIR, " a cell"), (state._POWER, ""), (state._CELLS, ""),
        (state._CELL, " a cell"),
    )  # fmt: skip
    assert told == [f"{struct.calcsize(form)}{each}" for form, each in formats]
    assert struct.calcsize(HEAD) == HEAD_BYTES == 11
