"""docs/firmware.md is in step with the firmware."""

from pathlib import Path

import pytest
from diagnosis_table import BEGIN, END, markdown

from common.codes import Command, LimitReason, State, names


@pytest.fixture(scope="module")
def document(root: Path) -> str:
    return (root / "docs" / "firmware.md").read_text(encoding="utf-8")


def test_the_diagnosis_table_is_the_one_the_board_uses(document: str) -> None:
    shown = document.split(BEGIN)[1].split(END, maxsplit=1)[0].strip()
    assert shown == markdown(), "write it anew: python tests/docs/diagnosis_table.py"


def test_every_state_stands_in_the_diagram_and_has_a_way_out(document: str) -> None:
    section = document.split("\n## Switching\n")[1].split("\n## ", maxsplit=1)[0]
    for name in names(State).values():
        assert name in section


@pytest.mark.parametrize("codes", [LimitReason])
def test_every_reason_is_explained(document: str, codes: type) -> None:
    section = document.split("\n## Limits\n")[1].split("\n## ", maxsplit=1)[0]
    for name in names(codes).values():
        assert f"| `{name}` |" in section


def test_every_command_about_the_switches_is_explained(document: str) -> None:
    for code in (Command.CONNECT, Command.DISCONNECT, Command.CLEAR_LATCHED, Command.SERVICE):
        assert f"| {code} `{names(Command)[code]}` |" in document
    assert f"| {Command.SHUTDOWN} `SHUTDOWN` |" in document
