"""``echelon provision`` against a board with the real firmware, in the real MicroPython."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from desk_rig import desk, has_micropython

from gateway.calibrating import Point

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

ECHELON = Path(sys.executable).with_name("echelon")
KEY = bytes(range(7, 39))
BY = ("--by", "Ann", "--service")


def provision(bus, action, *arguments):
    return subprocess.run(
        [
            ECHELON,
            "provision",
            action,
            bus.port,
            "1",
            *map(str, arguments),
            "--timeout-ms",
            "2000",
        ],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def reference(world, place=0):
    """What good instruments say of the pack: its cells, its stack, its current."""
    pack = world.packs[place]
    cells = [float(v) for v in pack.cell_v]
    return cells, sum(cells), float(pack.current_a)


def note(bus, world, file):
    """A point, while nothing changes but the cells' slow settling."""
    cells, stack, current = reference(world)
    done = provision(
        bus, "point", "--file", file, "--cell-v", ",".join(f"{v:.5f}" for v in cells),
        "--stack-v", stack, f"--current-a={current:.4f}",
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.slow
def test_a_workshop_calibrates_a_board_and_tells_it_whose_pack_it_is(tmp_path):
    board = tmp_path / "boards" / "EC-LEFT"
    board.mkdir(parents=True)
    (board / "device.key").write_text(KEY.hex() + "\n")
    key, wrong, file = tmp_path / "key", tmp_path / "wrong", tmp_path / "points"
    key.write_bytes(KEY)
    wrong.write_bytes(bytes(32))
    with desk(tmp_path, 5.0) as (world, bus):
        said = note(bus, world, file)
        assert "noted in" in said
        assert "reference 3." in said
        fixed = ("--file", file, "--reference", "Fluke 8846A", "--by", "Ann")
        closed = provision(bus, "calibrate", *fixed, "--key", key)
        assert closed.returncode == 1
        assert closed.stdout.endswith(
            "EC-LEFT refuses: it must be in service mode (--service puts it there)\n"
        ), closed
        done = provision(bus, "calibrate", *fixed, "--key", key, "--service")
        assert done.stdout.endswith("EC-LEFT takes it (set 1 times so far)\n"), done
        assert done.returncode == 0

        shown = json.loads(provision(bus, "show", "--json").stdout)
        made = shown["calibration"]
        assert (made["times"], made["by"], made["reference"]) == (1, "Ann", "Fluke 8846A")
        assert any(made["cell_offset_v"])
        after = tmp_path / "after"
        time.sleep(1.0)
        note(bus, world, after)
        before = Point.read(file.read_text().splitlines()[0], "before")
        # The board's side is noted without the calibration: it is as wrong as it was.
        again = Point.read(after.read_text().splitlines()[0], "after")
        for one, two, cell in zip(before.board.cell_v, again.board.cell_v, range(14), strict=True):
            moved = again.reference.cell_v[cell] - before.reference.cell_v[cell]
            assert two - one == pytest.approx(moved, abs=0.003)
        dry = provision(
            bus, "calibrate", "--file", after, "--reference", "x", "--by", "y", "--dry-run"
        )
        assert dry.returncode == 0, dry
        snapshot = json.loads(
            subprocess.run(
                [ECHELON, "read", bus.port, "1", "--json", "--timeout-ms", "2000"],
                capture_output=True, text=True, check=True,
            ).stdout
        )["state"]  # fmt: skip
        cells, _stack, _current = reference(world)
        assert snapshot["cell_voltages_v"] == pytest.approx(cells, abs=0.004)

        texts = ("maker=Example Motors", "type=HV 62", "made=2019-03", "passport=urn:p:17")
        thief = provision(bus, "identity", *texts, "--key", wrong, *BY)
        assert thief.stdout == "EC-LEFT refuses: it does not know this key\n", thief
        time.sleep(1.0)  # five seconds of the board's: a wrong key costs one
        told = provision(bus, "identity", *texts, "--key", key, *BY)
        assert told.stdout == "EC-LEFT takes it (set 1 times so far)\n", told
        second = provision(bus, "identity", "batch=B17", "--key", key, *BY)
        assert second.returncode == 0
        shown = json.loads(provision(bus, "show", "--json").stdout)["identity"]
        assert (shown["maker"], shown["batch"], shown["times"]) == ("Example Motors", "B17", 2)
        assert "maker             Example Motors" in provision(bus, "show").stdout
    assert (board / "calibration.0").exists()
    assert len(list(board.rglob("identity.*"))) == 2
