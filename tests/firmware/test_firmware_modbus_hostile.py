"""A hostile line: ``tests/benchmarks/hostile_frames.py`` in short, on every interpreter."""

import sys

import pytest
from interpreters import HERE, lines, run

FRAMES = 6000


@pytest.mark.parametrize("seed", [1, 2])
def test_hostile_frames_do_nothing_that_nobody_asked_for(seed: int) -> None:
    told = lines(sys.executable, "modbus_hostile.py", str(FRAMES), str(seed))
    assert told[0] == f"frames {FRAMES}"
    assert int(told[2].split()[1]) > FRAMES / 100, "commands among them were carried out"


def test_hostile_frames_leave_the_heap_as_it_was(micropython: str) -> None:
    grown = lines(micropython, "modbus_hostile.py", str(FRAMES), "3")[-1]
    assert int(grown.split()[1]) < 100


def test_a_server_that_answers_for_another_is_found(tmp_path) -> None:
    """The campaign itself can fail: one that takes frames of address 9 as its own is told on."""
    script = (HERE / "scripts" / "modbus_hostile.py").read_text()
    spoilt = tmp_path / "modbus_hostile.py"
    server = "RtuServer(self.board, self.pdu, ADDRESS, 115200)"
    assert server in script
    spoilt.write_text(script.replace(server, server.replace("ADDRESS", "9")))
    done = run(sys.executable, spoilt, str(FRAMES), "1")
    assert done.returncode == 1
    assert "no plain service" in done.stdout or "nobody's question" in done.stdout
